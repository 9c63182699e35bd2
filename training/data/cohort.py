"""Prepare each patient once: files -> lesion patches, measured lesions, clinical record, label.

What is kept of a patient is one npz below OUT/cache, written at once or not at all, so a killed run
goes on with the next patient. ``cohort.json`` there names all patients and those left out, and why;
a folder with a ``cohort.json`` can be given as ``--data`` instead of the files it was made from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    PRIMARIES,
    ClinicalRecord,
    Finding,
    InputRefused,
    Lesion,
    Primary,
    refuse,
)
from bmcore.models.clinical import vector
from bmcore.models.cnn import MAX_LESIONS
from bmcore.models.configs import PATCH_SHAPE
from bmcore.models.image_features import MEASURED, cnn_patches, measured
from training.data.content import case_content
from training.data.split import SPLIT, Split, folds_of, read_split, write_split
from training.run.files import (
    atomic_path,
    fingerprint,
    read_json,
    write_json,
)
from training.run.processes import World, progress

if TYPE_CHECKING:
    from bmcore.domain import Case, Prepared
    from bmcore.imaging.lesion_crops import LesionCrops
    from training.data.datasets import Dataset

VERSION = 2
MADE = 2  # which way patients are measured: 1 counted the lesions on the working grid
_TIME_POINT = re.compile(r"(BraTS-MET-\d+|head\d+)-\d{1,3}")
INDEX = "cohort.json"
NET = "@net"  # behind the case id of a patient whose lesions the segmentation net found


def person_of(case_id: str) -> str:
    """The case id without the time point, ``BraTS-MET-00086`` of ``BraTS-MET-00086-001``, the
    head of synthetic patients that share one, ``head00012`` of ``head00012-3``, and what stands
    before two dashes, as ``data.datasets`` names scans of other layouts (``100101--100101A``).

    Scans of one person must lie in one fold, and so must one scan with two masks; case ids of other
    forms stand for a person each.
    """
    case_id, dashes, _ = case_id.removesuffix(NET).partition("--")
    if dashes:
        return case_id
    found = _TIME_POINT.fullmatch(case_id)
    return found.group(1) if found else case_id


@dataclass(frozen=True, eq=False)
class Patient:
    """patches float16 (n, 7, 32, 32, 32) of the n <= 12 largest of ``lesions``, relative to the
    healthy brain; measured (m,): ``models.image_features.MEASURED``; label: primary."""

    case_id: str
    patches: npt.NDArray[np.float16]
    lesions: tuple[Lesion, ...]
    record: ClinicalRecord
    primary: Primary
    measured: npt.NDArray[np.float64]
    whose: str = ""  # the person, where the cohort says so

    def __post_init__(self) -> None:
        n = min(len(self.lesions), MAX_LESIONS)
        if n == 0 or self.patches.shape != (n, *PATCH_SHAPE):
            raise ValueError(
                f"{self.case_id}: {len(self.lesions)} lesions, but patches {self.patches.shape}"
            )
        if self.measured.shape != (len(MEASURED),):
            raise ValueError(f"{self.case_id}: measured must be ({len(MEASURED)},)")

    @property
    def label(self) -> int:
        return PRIMARIES.index(self.primary)

    @property
    def person(self) -> str:
        """Who it is: as the cohort says, else see ``person_of``."""
        return self.whose or person_of(self.case_id)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Patients with a primary and at least one lesion. left_out: case id -> reason.

    digest: sha256 over the kept files, so that results of other patients are not taken for theirs.
    folds (n,): of a stored split (``training.data.split``), None where each step deals its own.
    """

    patients: tuple[Patient, ...]
    left_out: dict[str, str]
    digest: str
    folds: npt.NDArray[np.int64] | None = None

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        return np.array([p.label for p in self.patients], dtype=np.int64)

    @cached_property
    def persons(self) -> npt.NDArray[np.str_]:
        return np.array([p.person for p in self.patients])

    @cached_property
    def clinical(self) -> npt.NDArray[np.float64]:
        return np.stack([vector(p.record) for p in self.patients])

    @property
    def counts(self) -> dict[str, int]:
        """Patients of each primary, one with two masks once, and of each reason for being left
        out."""
        once = {p.case_id.removesuffix(NET): str(p.primary) for p in self.patients}
        kept = Counter(once.values())
        reasons = Counter(f"left out: {reason}" for reason in self.left_out.values())
        return {str(p): kept[str(p)] for p in PRIMARIES} | dict(reasons)


def prepare_cohort(data: Path, out: Path, world: World) -> Cohort:
    """Prepare what is not prepared yet (shared among the processes) and load all.

    Raises InputRefused with one sentence a problem where cases cannot be read.
    """
    if (data / INDEX).exists():
        return load_cohort(data)
    from training.data.datasets import open_dataset

    dataset = open_dataset(data)
    cache = out / "cache"
    problems: list[Finding] = []
    with progress(world) as bars:
        task = bars.add_task("prepare patients", total=len(dataset.case_ids))
        for number, case_id in enumerate(dataset.case_ids):
            if number % world.size == world.rank:
                try:
                    _prepare_one(dataset, case_id, cache)
                except InputRefused as error:
                    problems += error.findings
            bars.advance(task)
    if problems:
        raise InputRefused(*problems)
    world.barrier()
    if world.main:
        _write_index(cache, list(dataset.case_ids), read_split(data))
    world.barrier()
    return load_cohort(cache)


def load_cohort(cache: Path) -> Cohort:
    """Load a prepared cohort. Raises InputRefused where it is not whole or of another version."""
    index = read_json(cache / INDEX)
    if index.get("version") != VERSION:
        raise refuse(
            "the prepared patients are of another version",
            file=cache / INDEX,
            found=index.get("version"),
            expected=VERSION,
            hint="remove the folder and prepare them again.",
        )
    digest = hashlib.sha256()
    patients = []
    split = read_split(cache)
    for case_id in index["cases"]:
        path = cache / f"{case_id}.npz"
        if not path.exists():
            raise refuse("a prepared patient is not there", file=path, hint="prepare them again.")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
        patient = load_patient(path)
        if split is not None:
            patient = replace(patient, whose=split.persons[case_id.removesuffix(NET)])
        patients.append(patient)
    if len(patients) < 2:
        raise refuse(
            "too few patients can be used for training",
            file=cache,
            found=len(patients),
            expected="patients with a known primary and at least one lesion",
        )
    folds = None
    if split is not None:
        folds = folds_of(split, [p.case_id.removesuffix(NET) for p in patients])
        digest.update(fingerprint(split.persons, split.folds).encode())
    return Cohort(tuple(patients), dict(index["left_out"]), digest.hexdigest(), folds)


def save_patient(path: Path, patient: Patient, source: str = "") -> None:
    """Write one patient; ``source`` says from what, so that a change is noticed."""
    notes = {
        "case_id": patient.case_id,
        "lesions": [asdict(lesion) for lesion in patient.lesions],
        "record": asdict(patient.record),
        "primary": str(patient.primary),
        "source": source,
    }
    with atomic_path(path) as beside, beside.open("wb") as stream:
        np.savez_compressed(
            stream,
            patches=patient.patches,
            measured=patient.measured,
            notes=np.array(json.dumps(notes)),
        )


def load_patient(path: Path) -> Patient:
    with np.load(path, allow_pickle=False) as kept:
        notes, patches = json.loads(str(kept["notes"])), kept["patches"]
        values = kept["measured"]
    for lesion in notes["lesions"]:
        lesion.update({k: tuple(lesion[k]) for k in ("centroid_mm", "centroid_voxel")})
    return Patient(
        notes["case_id"],
        patches,
        tuple(Lesion(**lesion) for lesion in notes["lesions"]),
        ClinicalRecord(**notes["record"]),
        Primary(notes["primary"]),
        values,
    )


def write_index(
    cache: Path, cases: list[str], left_out: dict[str, str], split: Split | None = None
) -> None:
    """Name the patients of a prepared cohort; ``split`` is stored beside, or goes."""
    if split is None:
        (cache / SPLIT).unlink(missing_ok=True)
    else:
        write_split(cache, split)
    write_json(cache / INDEX, {"version": VERSION, "cases": cases, "left_out": left_out})


def _write_index(cache: Path, case_ids: list[str], split: Split | None) -> None:
    left_out = {
        c: read_json(p)["reason"] for c in case_ids if (p := _reason_file(cache, c)).exists()
    }
    write_index(cache, [c for c in case_ids if c not in left_out], left_out, split)


def _reason_file(cache: Path, case_id: str) -> Path:
    return cache / f"{case_id}.left_out.json"


def _prepare_one(dataset: Dataset, case_id: str, cache: Path) -> None:
    """Write the patient's npz, or why the patient is left out; nothing where that is done."""
    source = fingerprint(VERSION, MADE, case_content(dataset, case_id))
    kept, reason_file = cache / f"{case_id}.npz", _reason_file(cache, case_id)
    if kept.exists():
        with np.load(kept, allow_pickle=False) as old:
            if json.loads(str(old["notes"]))["source"] == source:
                return
    if reason_file.exists() and read_json(reason_file)["source"] == source:
        return
    kept.unlink(missing_ok=True)
    reason_file.unlink(missing_ok=True)
    patient, reason = patient_of(dataset.load(case_id))
    if patient is None:
        write_json(reason_file, {"reason": reason, "source": source})
    else:
        save_patient(kept, patient, source)


def patient_of(case: Case) -> tuple[Patient | None, str]:
    """The patient, or None and the reason for leaving the case out."""
    from bmcore.imaging.preprocess import prepare, to_working_grid

    truth = case.truth
    if truth is None or truth.primary is None:
        return None, "the primary is not known or none of the six"
    if truth.mask is None:
        return None, "no reference mask"
    prepared = prepare(case)
    labels = np.where(prepared.brain, to_working_grid(truth.mask, prepared), 0).astype(np.uint8)
    patient = patient_with(case, prepared, labels, case.case_id)
    return patient, "" if patient is not None else "no lesion in the reference mask"


def patient_with(
    case: Case, prepared: Prepared, labels: npt.NDArray[np.uint8], name: str
) -> Patient | None:
    """The patient as use reads a case with ``labels`` 0-3 (i, j, k) on the working grid; None where
    they hold no lesion."""
    from bmcore.imaging.lesion_crops import MOST, cut_crops, relative_images
    from bmcore.inference.pipeline import measure_marked

    lesions, marked = measure_marked(labels, prepared)
    if not lesions:
        return None
    images = relative_images(case, prepared)
    crops = cut_crops(images, marked, prepared.brain, lesions[:MOST])
    assert case.truth is not None and case.truth.primary is not None
    return patient_from(name, lesions, crops, case.clinical, case.truth.primary)


def patient_from(
    case_id: str,
    lesions: tuple[Lesion, ...],
    crops: LesionCrops,
    record: ClinicalRecord,
    primary: Primary,
) -> Patient:
    """What is learnt from the lesions of one patient; crops: of the first of them."""
    shown = replace(crops, crops=crops.crops[:MAX_LESIONS])
    patches = cnn_patches(shown).astype(np.float16)
    return Patient(case_id, patches, lesions, record, primary, measured(lesions, crops))
