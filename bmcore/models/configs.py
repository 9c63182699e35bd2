"""What a net is like: one frozen dataclass a net, and the numbers that its inputs and outputs have.

The same names and values stand in the manifest of a bundle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from bmcore.domain import SEQUENCES

# The segmenter
CLASSES = 4  # background, necrosis, oedema, enhancing tumour
MULTIPLE = 16  # windows and patches must be a multiple of this along each axis
# The head that classifies candidates
KNOTS = 101  # quantiles of each feature that a head keeps
# The net that draws candidates anew
CONTOUR_INPUTS = len(SEQUENCES) + 5
CONTOUR_OUTPUTS = 3  # outside the tumour core, necrosis, enhancing tumour
LOG_ODDS_CHANNEL = len(SEQUENCES)  # of the inputs; the share of necrosis is the one behind
LOG_ODDS_SCALE = 3  # what the log odds are divided by there
# The lesion CNN
PATCH_SHAPE = (7, 32, 32, 32)
CELLS_SHAPE = (15, 16, 16, 16)  # a patch on 3 mm: what the kind "tissue" computes on
KINDS = ("whole", "tissue")
STANDARDISED, RELATIVE = "standardised", "relative"


class NetConfig:
    """How a config is kept in a manifest: one flat dict."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names on disk, in their order."""
        return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Self:
        """The inverse of ``as_dict``. TypeError for unknown names, ValueError for values."""
        return cls(**flat)

    def as_dict(self) -> dict[str, Any]:
        """Name on disk -> value."""
        return asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Architecture:
    """Which layers the segmenter has."""

    filters: int = 32  # channels of the first trunk level, a multiple of 8
    blocks_down: tuple[int, ...] = (1, 2, 2, 3)  # residual blocks of each level, finest first
    blocks_up: tuple[int, ...] = (1, 1, 1)  # of the decoder, coarsest first
    full_resolution_channels: int = 0  # channels of the branch at 1 mm, a multiple of 8; 0 for none

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks_down", tuple(self.blocks_down))
        object.__setattr__(self, "blocks_up", tuple(self.blocks_up))
        if self.filters % 8:
            raise ValueError(f"filters must be a multiple of 8, but is {self.filters}")
        if self.full_resolution_channels % 8:
            found = self.full_resolution_channels
            raise ValueError(f"full_resolution_channels must be a multiple of 8, but is {found}")
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("blocks_up must have one entry less than blocks_down")


@dataclass(frozen=True)
class Training:
    """What counts only while the segmenter learns."""

    dropout: float = 0.0  # share of channels dropped
    deep_supervision: bool = False  # the coarser levels of the decoder answer too


@dataclass(frozen=True)
class Inference:
    """How the segmenter reads a head."""

    window: int = 80  # edge in voxels, as the training patches': group norm sees the whole window
    overlap: float = 0.25  # share of a window that its neighbour reads too
    # also read the left-right mirror image and average: twice the time
    flip_augmentation: bool = False
    # read the box of the brain in one go, with the norms of the window around each place
    # (``nets.local_norm``): overlaps are not computed twice
    whole: bool = False

    def __post_init__(self) -> None:
        if self.window % MULTIPLE or self.window <= 0:
            raise ValueError(f"window must be a multiple of {MULTIPLE}, but is {self.window}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, but is {self.overlap}")


@dataclass(frozen=True)
class PostProcessing:
    """From probabilities to labels (``bmcore.models.postprocessing``)."""

    core_threshold: float | None = None  # tumour core is likelier than this; None: likeliest label
    min_lesion_voxels: int = 3  # connected parts of the tumour core below this size are dropped
    min_lesion_peak: float = 0.0  # so are parts whose likeliest voxel is less likely than this
    keep_isolated_oedema: bool = False  # keep oedema that is connected with no tumour core
    # a piece of enhancing tumour below this share of its lesion's is called necrosis
    min_et_component_share: float = 0.0

    def __post_init__(self) -> None:
        if self.core_threshold is not None and not 0 < self.core_threshold < 1:
            raise ValueError(
                f"core_threshold must lie between 0 and 1, but is {self.core_threshold}"
            )
        if not 0 <= self.min_et_component_share < 1:
            found = self.min_et_component_share
            raise ValueError(f"min_et_component_share must be at least 0 and below 1: {found}")


@dataclass(frozen=True)
class FalsePositiveReduction:
    """Of each place that may be a metastasis (``bmcore.models.false_positive_reduction``)."""

    candidates: int = 0  # hidden units of the head that classifies candidates, 0 for none
    # probability of tumour core from which a place is a candidate
    candidate_threshold: float = 0.02
    # how bright in t1c a candidate is somewhere, in spreads above the median of the brain; None for
    # no limit
    min_t1c_enhancement: float | None = None
    contours: int = 0  # channels of what draws small candidates anew, 0 leaves their outlines

    def __post_init__(self) -> None:
        for name in ("candidates", "contours"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.contours and not self.candidates:
            raise ValueError("contours belong to a second look: give candidates too")
        if not 0 < self.candidate_threshold < 1:
            raise ValueError(
                f"candidate_threshold must lie between 0 and 1, but is {self.candidate_threshold}"
            )


# Name on disk -> part of the config; the order is that of the manifests.
_SEGMENTER_FIELDS = {
    "filters": "architecture", "blocks_down": "architecture", "blocks_up": "architecture",
    "dropout": "training",
    "core_threshold": "postprocessing", "min_lesion_voxels": "postprocessing",
    "min_lesion_peak": "postprocessing", "keep_isolated_oedema": "postprocessing",
    "min_et_component_share": "postprocessing",
    "window": "inference", "overlap": "inference", "flip_augmentation": "inference",
    "whole": "inference",
    "deep_supervision": "training",
    "full_resolution_channels": "architecture",
    "candidates": "reduction", "candidate_threshold": "reduction",
    "min_t1c_enhancement": "reduction",
    "contours": "reduction",
}  # fmt: skip


@dataclass(frozen=True)
class SegmenterConfig(NetConfig):
    """The segmenter, in parts; flat on disk. ``of`` and ``changed`` take the names on disk."""

    architecture: Architecture = Architecture()
    training: Training = Training()
    inference: Inference = Inference()
    postprocessing: PostProcessing = PostProcessing()
    reduction: FalsePositiveReduction = FalsePositiveReduction()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(_SEGMENTER_FIELDS)

    @classmethod
    def of(cls, **flat: Any) -> SegmenterConfig:
        """The config with these values, the others as they are by default."""
        return cls().changed(**flat)

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> SegmenterConfig:
        return cls.of(**flat)

    def changed(self, **flat: Any) -> SegmenterConfig:
        """A copy with other values. TypeError for unknown names, ValueError for values."""
        unknown = [name for name in flat if name not in _SEGMENTER_FIELDS]
        if unknown:
            raise TypeError(f"a segmenter's config has no {', '.join(unknown)}")
        parts: dict[str, dict[str, Any]] = {}
        for name, value in flat.items():
            parts.setdefault(_SEGMENTER_FIELDS[name], {})[name] = value
        return replace(self, **{p: replace(getattr(self, p), **v) for p, v in parts.items()})

    def as_dict(self) -> dict[str, Any]:
        values = {**vars(self.architecture), **vars(self.training), **vars(self.inference)}
        values |= {**vars(self.postprocessing), **vars(self.reduction)}
        return {name: values[name] for name in _SEGMENTER_FIELDS}


@dataclass(frozen=True)
class CNNConfig(NetConfig):
    """The net. What is not given is as in bundles of the first version.

    width: channels of the trunk on the 8 x 8 x 8 grid; blocks: residual blocks there; maps:
    channels of the last convolution; embedding: numbers a lesion; dropout: before the last layer.
    kind: "whole" computes on the patch and pools over all of it; "tissue" computes on the
    brightness of the lesion's tissues in 3 mm cells and pools inside the lesion. brightness: of the
    patches, "standardised" (``imaging.patches``, clipped at 6 spreads) or "relative" to the healthy
    brain (``imaging.lesion_brightness``). members: nets that learnt from different patients, all of
    which read every lesion (``models.cnn``).
    """

    width: int = 48
    blocks: int = 4
    maps: int = 32
    embedding: int = 24
    dropout: float = 0.3
    kind: str = "whole"
    brightness: str = STANDARDISED
    members: int = 1

    def __post_init__(self) -> None:
        if self.brightness not in (STANDARDISED, RELATIVE):
            raise ValueError(f"brightness must be standardised or relative: {self.brightness!r}")
        if not 1 <= self.members <= 20:
            raise ValueError(f"members must be 1 to 20, but is {self.members}")
        if min(self.width, self.blocks, self.maps, self.embedding) < 1 or self.width % 8:
            raise ValueError(f"sizes must be 1 or more and width a multiple of 8: {self}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), but is {self.dropout}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, but is {self.kind!r}")


TRAINED = CNNConfig(
    width=16, blocks=1, maps=12, embedding=8, dropout=0.2, kind="tissue", brightness=RELATIVE
)


@dataclass(frozen=True)
class AutoencoderConfig(NetConfig):
    """The net.

    features: numbers a patient; hidden: width of the layer between; code: numbers in the code.
    dropout: in the hidden layers, while training only. feature_set: which numbers a patient has, 1
    (bundles of the first version), 2 or 3 (``models.image_features``).
    """

    features: int
    hidden: int = 32
    code: int = 8
    dropout: float = 0.1
    feature_set: int = 1

    def __post_init__(self) -> None:
        if self.feature_set not in (1, 2, 3):
            raise ValueError(f"feature_set must be 1, 2 or 3, but is {self.feature_set}")
        if min(self.features, self.hidden, self.code) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"an autoencoder needs sizes of 1 or more and dropout in [0, 1): {self}"
            )
