"""Candidates of many patients, for false-positive reduction: read, measured, cut out, kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.imaging.masks import NEIGHBOURS, tumour_core
from bmcore.workers import in_processes
from training.data import lesion_crops
from training.data.case_inference import Net, Patient, open_data
from training.data.sampling import augment, lost_sequences
from training.run.files import atomic_path, read_json, write_json
from training.run.processes import progress

if TYPE_CHECKING:
    from bmcore.domain import Case

PLAN = "plan.json"
VIEWS = 3  # of each candidate: as it is, and augmented
CALM = 0.6  # share of the synthetic patients in the style CLINIC; the others are WILD
MIMICS = 0.0  # share of the synthetic patients with lesions that enhance and are no metastases
DROP = 0.3  # share of the patients whose sequences may be missing, and the chance of each


@dataclass(frozen=True, eq=False)
class Found:
    """described float32 (VIEWS, n, len(FEATURES)); lesion (n,): whether a candidate touches
    a metastasis; peak (n,): probability of tumour core that the segmentation net gave it."""

    described: npt.NDArray[np.float32]
    lesion: npt.NDArray[np.bool_]
    peak: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """What a process needs to cut out the candidates of a patient.

    net: without false-positive reduction. data: folder of cases, None for synthetic patients.
    mimics: share of these with mimics (``phantom.mimics``).
    """

    net: Net
    data: Path | None
    seed: int
    chance: float
    mimics: float = 0.0

    def case(self, number: int) -> Case:
        """Patient ``number`` of DATA, or drawn from the seed."""
        if self.data is not None:
            dataset = open_data(self.data)
            return dataset.load(dataset.case_ids[number])
        from bmcore.phantom.cohort import draw_case
        from bmcore.phantom.seeds import member_seed
        from bmcore.phantom.style import CLINIC, WILD

        random = np.random.default_rng([self.seed, number])
        style = CLINIC if random.uniform() < CALM else WILD
        if random.uniform() < self.mimics:
            style = replace(style, mimic_share=1.0)
        return draw_case(member_seed(self.seed, number), style).as_case(f"synthetic-{number}")

    def read(self, number: int) -> Patient:
        """Patient ``number``, now and then without some of the sequences, with the net's answer.

        InputRefused where there is no reference mask.
        """
        random = np.random.default_rng([self.seed, number, 1])
        lost = lost_sequences(random, DROP) if random.uniform() < DROP else None
        return self.net.read(self.case(number), lost)

    def find(self, number: int) -> tuple[Found, lesion_crops.Crops]:
        """The candidates of patient ``number``, and what is cut out of those that are lesions."""
        from scipy import ndimage

        from bmcore.models.candidates import cut_cubes, extract_features, find_candidates

        patient = self.read(number)
        images, truth = patient.images, patient.truth
        parts, found = find_candidates(
            patient.probabilities[1] + patient.probabilities[3], self.chance
        )
        peaks = np.array([c.peak for c in found])
        random = np.random.default_rng([self.seed, number, 2])
        views = varied(cut_cubes(images, parts, found), random)
        described = np.stack([extract_features(view, peaks) for view in views])
        near = ndimage.binary_dilation(tumour_core(truth), NEIGHBOURS)
        hit = np.bincount(parts.ravel(), weights=near.ravel(), minlength=1) > 0
        crops = lesion_crops.cut_crops(
            images, patient.probabilities, patient.brain, truth, parts, found
        )
        return Found(described, hit[[c.number for c in found]], peaks), crops


def varied(
    cubes: npt.NDArray[np.float32], random: np.random.Generator
) -> Iterator[npt.NDArray[np.float32]]:
    """VIEWS of cubes (n, 5, e, e, e): as they are, then with the images augmented like patches."""
    yield cubes
    for _ in range(VIEWS - 1):
        out = cubes.copy()
        for cube in out:
            cube[:-1] = augment(cube[:-1], random, 0.12)
        yield out


def keep(reader: Reader, number: int, file: Path) -> None:
    """Write what is known of the candidates of one patient, unless it is there."""
    if file.exists():
        return
    found, crops = reader.find(number)
    with atomic_path(file) as beside, beside.open("wb") as stream:
        np.savez(
            stream, described=found.described, lesion=found.lesion, peak=found.peak,
            **{name: getattr(crops, field) for name, field in lesion_crops.ARRAYS.items()},
        )  # fmt: skip


def gather(reader: Reader, patients: int, cache: Path, weights: str, workers: int) -> list[Path]:
    """The files of all patients below ``cache``, in order; those that are there are kept.

    weights: hash of the segmentation net. InputRefused where ``cache`` holds other candidates.
    """
    from bmcore.models.candidates import FEATURES, LEAST
    from bmcore.models.lesion_refinement import LARGEST

    cache.mkdir(parents=True, exist_ok=True)
    data = None if reader.data is None else str(reader.data.resolve())
    plan: dict[str, Any] = {"data": data, "seed": reader.seed, "chance": reader.chance}
    mirror = reader.net.config.inference.flip_augmentation
    plan |= {"mirror": mirror, "crop": lesion_crops.CROP, "largest": LARGEST}
    plan |= {"weights": weights, "features": list(FEATURES), "views": VIEWS, "least_voxels": LEAST}
    plan["mimics"] = reader.mimics
    if (cache / PLAN).exists() and read_json(cache / PLAN) != plan:
        raise refuse(
            "the folder holds candidates of other patients or another net, or measured otherwise",
            file=cache,
            hint="take another --out.",
        )
    write_json(cache / PLAN, plan)
    jobs = [(reader, n, cache / f"{n:05d}.npz") for n in range(patients)]
    with progress() as bars:
        task = bars.add_task("read patients", total=patients)
        for _ in in_processes(keep, jobs, workers):
            bars.advance(task)
    return [file for _, _, file in jobs]


def load(files: Sequence[Path]) -> Found:
    """The candidates of several patients as one."""
    rows = []
    for file in files:
        with np.load(file) as kept:
            rows.append((kept["described"], kept["lesion"], kept["peak"]))
    described, lesion, peak = zip(*rows, strict=True)
    return Found(np.concatenate(described, 1), np.concatenate(lesion), np.concatenate(peak))


def load_crops(files: Sequence[Path]) -> lesion_crops.Crops:
    """What was cut out of the lesions of several patients."""
    every = []
    for file in files:
        with np.load(file) as kept:
            every.append(
                lesion_crops.Crops(**{f: kept[name] for name, f in lesion_crops.ARRAYS.items()})
            )
    return lesion_crops.join(every)
