"""What naming the primary learns from one synthetic patient, kept small.

Of a patient only what the answers are made of is kept: the patches that the CNN sees, a close box
around each lesion and a sample of the healthy brain (``imaging.lesion_crops``), the measured
lesions, the clinical record and the primary; for checking, the true nature of each lesion. The
lesions are those of one mask: the reference's, or the one that the segmentation net finds. Patches
are kept in steps of 1/21 spread, boxes in steps of 1/40 of the brain's median.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import ClinicalRecord, Lesion, Primary, refuse
from bmcore.imaging.lesion_crops import (
    MOST,
    LesionCrop,
    LesionCrops,
    Marked,
    cut_crops,
    relative_images,
)
from bmcore.models.cnn import MAX_LESIONS
from bmcore.phantom.lesions import Kind
from training.run.files import atomic_path

if TYPE_CHECKING:
    from bmcore.domain import Prepared
    from bmcore.models.bundles import Bundle
    from bmcore.phantom.cohort import PhantomCase
    from training.data.cohort import Cohort

STEPS = 21  # of brightness in one spread; +-6 spreads fit into a signed byte
PARTS = 40  # of the brain's median; up to 6.4 medians fit into a byte
MASK_STEPS = 127  # of the share of a tissue in a patch's voxel
MASKS = ("reference", "net")


@dataclass(frozen=True, eq=False)
class NamingPatient:
    """patches float32 (n, 7, 32, 32, 32) of the n <= MAX_LESIONS largest of ``lesions``.

    crops: see ``imaging.lesion_crops``. kinds: the true nature of every metastasis; true (m,): for
    each of ``lesions`` the position in ``kinds``, -1 where it is none. statistics: of the images
    for novelty, empty where they were not asked for.
    """

    seed: int
    primary: Primary
    record: ClinicalRecord
    lesions: tuple[Lesion, ...]
    patches: npt.NDArray[np.float32]
    crops: LesionCrops
    kinds: tuple[Kind, ...]
    true: npt.NDArray[np.int64]
    statistics: npt.NDArray[np.float64]


def keep_patient(
    drawn: PhantomCase, mask: str, bundle: Bundle | None = None, describe: bool = False
) -> NamingPatient:
    """Keep of a synthetic patient what naming learns from. mask: one of ``MASKS``.

    bundle: whose segmentation net finds the lesions, for the mask ``net``. describe: also the
    statistics of the images. A patient without a lesion in the mask has empty patches and crops.
    """
    from bmcore.imaging.image_statistics import statistics
    from bmcore.imaging.patches import lesion_patches
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.pipeline import find_tumour, measure_marked

    case = drawn.as_case(f"synthetic-{drawn.seed}")
    prepared = prepare(case)
    if mask == "net":
        if bundle is None:
            raise ValueError("the mask 'net' needs a bundle with a segmentation net")
        labels, _ = find_tumour(bundle, prepared)
    else:
        reference = to_working_grid(case.truth.mask, prepared)  # type: ignore[union-attr, arg-type]
        labels = np.where(prepared.brain, reference, 0).astype(np.uint8)
    lesions, marked = measure_marked(labels, prepared)
    shown = lesions[:MAX_LESIONS]
    return NamingPatient(
        drawn.seed,
        drawn.primary,
        drawn.clinical,
        lesions,
        lesion_patches(prepared.images, labels, shown, prepared.affine),
        cut_crops(relative_images(case, prepared), marked, prepared.brain, lesions[:MOST]),
        drawn.kinds,
        _whose(drawn, prepared, marked, lesions),
        statistics(prepared) if describe else np.zeros(0),
    )


def _whose(
    drawn: PhantomCase,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> npt.NDArray[np.int64]:
    """For each lesion the metastasis that most of its voxels belong to, -1 for none."""
    from bmcore.domain import Volume
    from bmcore.imaging.preprocess import to_working_grid

    assert drawn.owner is not None
    core = np.where(np.isin(drawn.labels, (1, 3)), drawn.owner, 0)
    owner = to_working_grid(Volume(core, drawn.affine), prepared)
    out = []
    for lesion in lesions:
        inside = owner[marked.numbers == lesion.number]
        inside = inside[inside > 0]
        out.append(int(np.bincount(inside).argmax()) - 1 if inside.size else -1)
    return np.array(out, dtype=np.int64)


# --- on disk --------------------------------------------------------------------------------------


def save_naming_patient(path: Path, patient: NamingPatient) -> None:
    """Write one patient, at once or not at all."""
    notes = {
        "seed": patient.seed,
        "primary": str(patient.primary),
        "record": asdict(patient.record),
        "lesions": [asdict(lesion) for lesion in patient.lesions],
        "kinds": [asdict(kind) for kind in patient.kinds],
    }
    crops = patient.crops.crops
    marks = [
        c.labels | (c.own.astype(np.uint8) << 2) | (c.brain.astype(np.uint8) << 3) for c in crops
    ]
    with atomic_path(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(
            stream,
            notes=np.array(json.dumps(notes)),
            patches=_bytes(patient.patches),
            shapes=np.array([m.shape for m in marks], np.int16).reshape(-1, 3),
            images=_join([_parts(c.images) for c in crops], np.uint8),
            marks=_join(marks, np.uint8),
            healthy=_parts(patient.crops.healthy),
            true=patient.true,
            statistics=patient.statistics,
        )


def load_naming_patient(path: Path) -> NamingPatient:
    """Read what ``save_naming_patient`` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        found = {name: kept[name] for name in kept.files}
    notes = json.loads(str(found["notes"]))
    crops = _apart(found["shapes"].astype(int), found["images"], found["marks"])
    healthy = found["healthy"].astype(np.float32) / PARTS
    return NamingPatient(
        int(notes["seed"]),
        Primary(notes["primary"]),
        ClinicalRecord(**notes["record"]),
        tuple(_lesion(values) for values in notes["lesions"]),
        _floats(found["patches"]),
        LesionCrops(tuple(crops), healthy),
        tuple(Kind(**values) for values in notes["kinds"]),
        found["true"],
        found["statistics"],
    )


def _lesion(values: dict[str, Any]) -> Lesion:
    places = {k: tuple(values[k]) for k in ("centroid_mm", "centroid_voxel")}
    return Lesion(**(values | places))


def _parts(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(images * PARTS, 0, 255)).astype(np.uint8)


def _bytes(patches: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    steps = np.array([STEPS] * 4 + [MASK_STEPS] * 3, np.float32)[:, None, None, None]
    return np.rint(patches * steps).astype(np.int8)


def _floats(patches: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    steps = np.array([STEPS] * 4 + [MASK_STEPS] * 3, np.float32)[:, None, None, None]
    return patches.astype(np.float32) / steps


def _join(arrays: list[npt.NDArray], kind: type) -> npt.NDArray:
    return np.concatenate([a.reshape(-1) for a in arrays]) if arrays else np.zeros(0, kind)


def _apart(
    shapes: npt.NDArray[np.int_], images: npt.NDArray[np.uint8], marks: npt.NDArray[np.uint8]
) -> list[LesionCrop]:
    out, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        bright = images[4 * start : 4 * (start + size)].reshape(4, *shape)
        mark = marks[start : start + size].reshape(tuple(shape))
        out.append(
            LesionCrop(
                (bright / np.float32(PARTS)).astype(np.float32),
                (mark & 3).astype(np.uint8),
                (mark & 4) > 0,
                (mark & 8) > 0,
            )
        )
        start += size
    return out


def load_naming_cohort(folder: Path) -> Cohort:
    """The patients that ``training.naming_dataset`` has drawn so far, as a cohort.

    A patient whose lesions the segmentation net found too is there twice, as one person.
    """
    from training.data.cohort import NET, Cohort, patient_from

    digest = hashlib.sha256()
    patients, left_out = [], {}
    for mask in MASKS:
        for path in sorted((folder / mask).glob("*.npz")):
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
            found = load_naming_patient(path)
            case_id = f"{path.stem}{NET if mask == 'net' else ''}"
            if not found.lesions:
                left_out[case_id] = f"no lesion in the mask: {mask}"
                continue
            patients.append(
                patient_from(case_id, found.lesions, found.crops, found.record, found.primary)
            )
    if len(patients) < 2:
        raise refuse("too few patients were drawn", file=folder, found=len(patients))
    return Cohort(tuple(patients), left_out, digest.hexdigest())
