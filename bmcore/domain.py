"""The nouns of the project. Each is small, frozen and cannot be wrong: the constructor checks.

Axes and units, everywhere: voxel axes (i, j, k); world RAS+ in millimetres; arrays (c, i, j, k);
tensors (b, c, i, j, k). Names carry their unit (``_mm``, ``_mm3``, ``_s``).
"No lesion found", "sequence missing" and "clinical value missing" are named states, never zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.geometry import check_affine, same_grid
from bmcore.origin import Origin

RESEARCH_NOTICE = (
    "Research software, not a medical device. Not for diagnosis or treatment decisions."
)

SEQUENCES: tuple[str, ...] = ("t1n", "t1c", "t2w", "t2f")
SEQUENCE_NAMES: Mapping[str, str] = MappingProxyType(
    {"t1n": "T1 native", "t1c": "T1 post-gadolinium", "t2w": "T2", "t2f": "FLAIR"}
)


class Label(IntEnum):
    """Mask labels of BraTS-METS 2023."""

    NETC = 1  # non-enhancing tumour core (necrosis)
    SNFH = 2  # surrounding non-enhancing FLAIR hyperintensity (oedema)
    ET = 3  # enhancing tumour


LABEL_NAMES: Mapping[int, str] = MappingProxyType(
    {Label.NETC: "necrosis", Label.SNFH: "oedema", Label.ET: "enhancing tumour"}
)
REGIONS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"ET": (3,), "TC": (1, 3), "WT": (1, 2, 3)}
)


class Primary(StrEnum):
    """The six primaries named by the models, in the order of every probability vector."""

    BREAST = "breast"
    GI = "gi"
    SCLC = "sclc"
    MELANOMA = "melanoma"
    NSCLC = "nsclc"
    RCC = "rcc"


PRIMARIES: tuple[Primary, ...] = tuple(Primary)
PRIMARY_NAMES: Mapping[str, str] = MappingProxyType(
    {
        Primary.BREAST: "Breast",
        Primary.GI: "Gastrointestinal",
        Primary.SCLC: "Small cell lung (SCLC)",
        Primary.MELANOMA: "Melanoma",
        Primary.NSCLC: "Non-small cell lung (NSCLC)",
        Primary.RCC: "Renal cell",
    }
)
ANSWER_NAMES: Mapping[str, str] = MappingProxyType(
    {"clinical": "Clinical only", "image": "Image only", "fused": "Fused"}
)
ARM_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "unaided": "without the models",
        "aided": "with the models",
        "aided_explained": "with the models and their reasons",
    }
)
ANSWER_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "clinical": "clinical data alone",
        "image": "the images alone",
        "fused": "images and clinical data together",
    }
)


SIDE_NOT_KNOWN = "side not known"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    REFUSED = "refused"


@dataclass(frozen=True)
class Finding:
    """One thing noticed about the input: what, in which file, found, expected, what to try."""

    severity: Severity
    what: str
    file: str | None = None
    found: str | None = None
    expected: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        if not self.what.strip():
            raise ValueError("a Finding needs a sentence in 'what'")

    @property
    def sentence(self) -> str:
        """The finding on one line: ``file: what (found …; expected …). Try: …``."""
        text = f"{self.file}: {self.what}" if self.file else self.what
        details = [
            f"{name} {value}"
            for name, value in (("found", self.found), ("expected", self.expected))
            if value
        ]
        if details:
            text += f" ({'; '.join(details)})"
        if not text.endswith((".", "!", "?")):
            text += "."
        return f"{text} Try: {self.hint}" if self.hint else text


class BmcoreError(Exception):
    """Anything the user can act on. ``findings`` hold one sentence a problem."""

    def __init__(self, *findings: Finding) -> None:
        if not findings:
            raise ValueError("a BmcoreError carries at least one Finding")
        self.findings: tuple[Finding, ...] = findings
        super().__init__("\n".join(f.sentence for f in findings))


class InputRefused(BmcoreError):
    """The files or the clinical record cannot be used."""


class BundleRefused(BmcoreError):
    """The model bundle on disk is damaged, changed or of an unknown version."""


def refuse(
    what: str,
    *,
    file: object = None,
    found: object = None,
    expected: object = None,
    hint: str | None = None,
    error: type[BmcoreError] = InputRefused,
) -> BmcoreError:
    """Make (not raise) the error for one problem: ``raise refuse("…", file=p, expected="…")``."""

    def text(value: object) -> str | None:
        return None if value is None else str(value)

    return error(Finding(Severity.REFUSED, what, text(file), text(found), text(expected), hint))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D image: ``data`` (i, j, k), ``affine`` 4x4 from voxel to world RAS+ mm."""

    data: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise ValueError(
                f"a Volume must be 3D and not empty, but its shape is {self.data.shape}"
            )
        object.__setattr__(self, "affine", _frozen(check_affine(self.affine)))
        object.__setattr__(self, "data", _frozen(self.data))

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.data.shape


@dataclass(frozen=True)
class ClinicalRecord:
    """What the clinic knows. ``None`` means missing, never zero.

    age_years 0-120; sex "male"/"female"; smoking "never"/"former"/"current"; pack_years 0-300;
    extracranial_metastases: known metastases outside the brain.
    """

    age_years: float | None = None
    sex: str | None = None
    smoking: str | None = None
    pack_years: float | None = None
    extracranial_metastases: bool | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("age_years", 0, 120), ("pack_years", 0, 300)):
            value = getattr(self, name)
            if value is not None and not (low <= value <= high):  # NaN fails this too
                raise refuse(
                    f"{name} must be between {low} and {high}",
                    found=value,
                    hint="leave it empty if it is not known.",
                )
        for name, allowed in (
            ("sex", ("male", "female")),
            ("smoking", ("never", "former", "current")),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise refuse(
                    f"{name} is not one of the known values",
                    found=repr(value),
                    expected=", ".join(allowed),
                    hint="leave it empty if it is not known.",
                )

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(n for n in self.__dataclass_fields__ if getattr(self, n) is None)


@dataclass(frozen=True, eq=False)
class Truth:
    """A reference and where it comes from. ``primary`` may be unknown, the mask may be absent."""

    provenance: str
    mask: Volume | None = None
    primary: Primary | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """What we accept: one patient, one time point; all sequences on one grid, t1c among them.

    side_doubt: why left and right cannot be told from the headers, in words; None where they can.
    origin: where the images lay before bmcore brought them onto this grid and took the skull away;
    None where they are as they came.
    """

    case_id: str
    sequences: Mapping[str, Volume]
    clinical: ClinicalRecord = field(default_factory=ClinicalRecord)
    findings: tuple[Finding, ...] = ()
    truth: Truth | None = None
    side_doubt: str | None = None
    origin: Origin | None = None

    def __post_init__(self) -> None:
        unknown = set(self.sequences) - set(SEQUENCES)
        if unknown:
            raise refuse(
                "unknown sequence names",
                found=", ".join(sorted(unknown)),
                expected=", ".join(SEQUENCES),
            )
        if "t1c" not in self.sequences:
            raise refuse(
                f"case {self.case_id} has no T1 post-gadolinium (t1c)",
                found=", ".join(self.sequences) or "no sequence",
                expected="t1c and, if there, t1n, t2w, t2f",
                hint="check which file was taken as which sequence.",
            )
        first = self.sequences["t1c"]
        for name, volume in self.sequences.items():
            if not same_grid(first, volume):
                raise refuse(
                    f"{name} is on a different grid from t1c",
                    found=f"shape {volume.shape}",
                    expected=f"shape {first.shape} and the same affine",
                    hint="register and resample the sequences onto one grid first.",
                )
        ordered = {s: self.sequences[s] for s in SEQUENCES if s in self.sequences}
        object.__setattr__(self, "sequences", MappingProxyType(ordered))

    @property
    def grid(self) -> Volume:
        """The volume whose grid all sequences share (t1c)."""
        return self.sequences["t1c"]

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(s for s in SEQUENCES if s not in self.sequences)


@dataclass(frozen=True, eq=False)
class Placement:
    """What can be said of where lesions lie.

    side, lobe: whether they can be told. turn: 4x4 signed permutation from the header's world axes
    to those of the head as the picture shows it; None where they agree.
    """

    side: bool = True
    lobe: bool = True
    turn: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the working grid: RAS+, 1 mm isotropic, cropped to the brain.

    images: float32 (4, i, j, k) in the order of SEQUENCES, standardised inside the brain, 0
        outside;
        a missing sequence is all 0 and ``present`` says so.
    brain: bool (i, j, k).  affine: of the working grid.
    source_shape, source_affine: the input's grid; ``imaging.preprocess.restore`` goes back there.
    """

    case_id: str
    images: npt.NDArray[np.float32]
    present: tuple[bool, bool, bool, bool]
    brain: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]
    source_shape: tuple[int, int, int]
    source_affine: npt.NDArray[np.float64]
    findings: tuple[Finding, ...] = ()
    placement: Placement = field(default_factory=Placement)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[0] != len(SEQUENCES):
            raise ValueError(f"images must be (4, i, j, k), but are {self.images.shape}")
        if self.brain.shape != self.images.shape[1:]:
            raise ValueError(f"brain {self.brain.shape} must match images {self.images.shape[1:]}")


@dataclass(frozen=True)
class Lesion:
    """One connected component (26-neighbourhood) of the tumour core (TC).

    number: 1.. by falling volume.  volume_mm3: of TC; oedema_mm3: oedema nearest to this lesion.
    largest_diameter_mm: greatest distance between two voxel centres of TC plus one voxel.
    centroid_mm: world RAS mm; centroid_voxel: (i, j, k) on the grid it was found on.
    side: "left", "right", "midline" or SIDE_NOT_KNOWN; region: lobe in words, or "unknown".
    at_edge: it reaches the edge of a brain mask that bmcore drew: the mask may cut it, or it may be
    something left outside of the brain.
    """

    number: int
    volume_mm3: float
    enhancing_mm3: float
    necrosis_mm3: float
    oedema_mm3: float
    largest_diameter_mm: float
    centroid_mm: tuple[float, float, float]
    centroid_voxel: tuple[float, float, float]
    side: str
    region: str
    at_edge: bool = False


@dataclass(frozen=True)
class Answer:
    """One of the three answers kept side by side.

    kind: "clinical", "image" or "fused". probabilities: six numbers in the order of PRIMARIES that
    sum to 1, or None with ``reason`` saying why there is no answer (for instance no lesion found).
    prediction_set: the primaries that cannot be ruled out at ``coverage`` (0-1), the most likely
    first; both None where there are no probabilities or the models hold no calibration.
    abstains: why the probabilities should not be read as an answer, in words; None where they may.
    at_site: the probabilities for the shares of the primaries at the site, None where none are set.
    balanced: the primary of the largest likelihood ratio, the likeliest if all were equally common;
    None where the models do not say how common they were in training.
    """

    kind: str
    probabilities: tuple[float, ...] | None
    reason: str | None = None
    prediction_set: tuple[Primary, ...] | None = None
    coverage: float | None = None
    abstains: str | None = None
    at_site: tuple[float, ...] | None = None
    balanced: Primary | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("clinical", "image", "fused"):
            raise ValueError(f"kind must be clinical, image or fused, but is {self.kind!r}")
        if (self.probabilities is None) == (self.reason is None):
            raise ValueError("an Answer has either probabilities or a reason for having none")
        for given in (self.probabilities, self.at_site):
            p = np.asarray((1, *[0] * 5) if given is None else given, float)
            if p.shape != (len(PRIMARIES),) or (p < 0).any() or abs(p.sum() - 1) > 1e-4:
                raise ValueError(f"probabilities must be six numbers that sum to 1, but are {p}")
        rest = (self.prediction_set, self.abstains, self.at_site, self.balanced)
        if self.probabilities is None and any(value is not None for value in rest):
            raise ValueError("only an Answer with probabilities has a set, a decision, or abstains")
        if (self.prediction_set is None) != (self.coverage is None):
            raise ValueError("a prediction set and its coverage come together")
        if self.prediction_set is not None and not self.prediction_set:
            raise ValueError("a prediction set is never empty")

    @property
    def top(self) -> Primary | None:
        if self.probabilities is None:
            return None
        return PRIMARIES[int(np.argmax(self.probabilities))]

    def as_dict(self) -> dict[str, float] | None:
        if self.probabilities is None:
            return None
        return {str(p): float(v) for p, v in zip(PRIMARIES, self.probabilities, strict=True)}


@dataclass(frozen=True)
class BundleInfo:
    """What every screen and report says of the loaded models."""

    name: str
    version: str
    trained_on: str
    synthetic: bool
    digest: str

    @property
    def badge(self) -> str:
        if self.synthetic:
            return f"{self.name} {self.version}: demo models, trained on synthetic data"
        return f"{self.name} {self.version}: trained on {self.trained_on}"


@dataclass(frozen=True)
class Novelty:
    """How unlike the training cases a case is.

    score: 1 is the limit that ordinary cases stay below; the larger of the two below.
    image_score: how far the statistics of the images are from the training cases, or how much
    likelier they are with two sequences exchanged, over its limit. code_score: error of the
    autoencoder's reconstruction over its limit, None where no lesion was found. Both are finite.
    unusual: what stands out, in words, the most unusual first.
    """

    image_score: float
    code_score: float | None
    unusual: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(0 <= s < float("inf") for s in (self.image_score, self.code_score or 0.0)):
            raise ValueError(f"novelty scores must be finite numbers from 0, but are {self}")

    @property
    def score(self) -> float:
        return max(self.image_score, self.code_score or 0.0)

    @property
    def alarm(self) -> bool:
        return self.score > 1


@dataclass(frozen=True, eq=False)
class Prediction:
    """All that the models say of one case.

    mask: labels 0-3 (uint8) on the input's grid. lesion_probabilities: (n_lesions, 6) of the CNN.
    image_features: (f,) patient-level image features, code: (d,) from the autoencoder, both None
    where no lesion was found. clinical_vector: (m,) as fed to the MLR. timings_s: stage -> seconds.
    novelty: None where the models hold no calibration. origin: as the case's. training_shares,
    site_shares: how common the six primaries were among the training patients, and are at the
    site; None where not stated.
    """

    case_id: str
    sequences: tuple[str, ...]
    mask: Volume
    lesions: tuple[Lesion, ...]
    clinical: Answer
    image: Answer
    fused: Answer
    bundle: BundleInfo
    clinical_record: ClinicalRecord
    lesion_probabilities: npt.NDArray[np.float32] | None
    image_features: npt.NDArray[np.float32] | None
    code: npt.NDArray[np.float32] | None
    clinical_vector: npt.NDArray[np.float64]
    reconstruction_error: float | None
    timings_s: Mapping[str, float]
    findings: tuple[Finding, ...] = ()
    novelty: Novelty | None = None
    origin: Origin | None = None
    training_shares: tuple[float, ...] | None = None
    site_shares: tuple[float, ...] | None = None

    @property
    def answers(self) -> tuple[Answer, Answer, Answer]:
        return (self.clinical, self.image, self.fused)
