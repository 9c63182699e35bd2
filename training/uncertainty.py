"""Fit what says how sure the answers are: ``python -m training.uncertainty --data DIR --out DIR``.

python -m training.uncertainty --data DIR --out DIR --novelty-of models/demo

OUT is the folder that ``training.evaluate`` was run on, DATA the cohort with its images. From the
probabilities of patients held out come the conformal sets, from the images of the cohort and from
the errors of reconstruction of patients held out comes the novelty. Each patient is described
twice: as the images are, and as a scanner might have given them (another head position, another
voxel size, thick slices), so that native grids are nothing new. Where DATA holds no whole images,
the statistics of the images are those of a bundle, ``--novelty-of``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES, Volume, refuse
from bmcore.imaging.image_statistics import STATISTICS, statistics
from bmcore.imaging.masks import box_of
from bmcore.inference.uncertainty import MAX_SET
from bmcore.models import conformal
from bmcore.models.autoencoder import AutoencoderTraining
from bmcore.models.novelty import (
    EXCHANGES,
    LEAST_PATIENTS,
    NoveltyConfig,
    NoveltyModel,
    NoveltyResult,
)
from bmcore.stats.estimate import Estimate, proportion
from bmcore.stats.prediction_sets import coverage_and_size
from training.data.cohort import INDEX, person_of
from training.data.content import image_content
from training.data.held_out import HeldOut, load_held_out
from training.data.regression_inputs import ANSWERS
from training.data.split import read_split
from training.evaluation.reconstruction import held_out_errors
from training.run.files import (
    atomic_path,
    fingerprint,
    tensors_hash,
    update_metrics,
)
from training.run.options import (
    DataOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import Stopwatch, progress

if TYPE_CHECKING:
    from bmcore.domain import Case
    from bmcore.geometry import Affine
    from training.data.datasets import Dataset

TILT_DEGREES = 15.0
SLICES_MM = (1.0, 1.5, 3.0, 5.0)
HELD_OUT = "held_out.csv"


# --- novelty -----------------------------------------------------------------------------------


def as_scanned(case: Case, rng: np.random.Generator) -> Case:
    """The head turned by up to TILT_DEGREES about each axis, on voxels of another size.

    One axis gets slices of SLICES_MM, the other two 0.8 to 1.2 mm. What was background stays 0.
    """

    shown = np.any([v.data != v.data[0, 0, 0] for v in case.sequences.values()], axis=0)
    box = box_of(shown)
    affine = np.array(case.grid.affine)
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in box]
    target, shape = _scanner_grid(Volume(shown[box], affine), rng)
    inside = _onto(shown[box], affine, target, shape) > 0.5
    turned = {
        name: Volume(np.where(inside, _onto(v.data[box], affine, target, shape), 0), target)
        for name, v in case.sequences.items()
    }
    return replace(case, sequences=turned, truth=None)


def _scanner_grid(grid: Volume, rng: np.random.Generator) -> tuple[Affine, tuple[int, int, int]]:
    """A grid about the middle of ``grid`` that covers a little more than it."""
    from scipy.spatial.transform import Rotation

    from bmcore.geometry import transform, voxel_sizes_mm

    sizes = rng.uniform(0.8, 1.2, 3)
    sizes[rng.integers(3)] = rng.choice(SLICES_MM)
    turn = Rotation.from_euler("xyz", rng.uniform(-TILT_DEGREES, TILT_DEGREES, 3), degrees=True)
    reach = np.array(grid.shape) * voxel_sizes_mm(grid.affine) * 1.1
    shape = np.ceil(reach / sizes).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = turn.as_matrix() * sizes
    middle = transform(grid.affine, (np.array(grid.shape) - 1) / 2)
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return affine, (int(shape[0]), int(shape[1]), int(shape[2]))


def _onto(
    data: npt.NDArray, affine: Affine, target: Affine, shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Linear sampling, after a mean over the thickness of a slice."""
    from scipy import ndimage

    from bmcore.geometry import resample, voxel_sizes_mm

    data = np.asarray(data, np.float32)
    sizes, own = voxel_sizes_mm(target), voxel_sizes_mm(affine)
    thick = int(np.argmax(sizes))
    along = np.abs(np.linalg.inv(affine[:3, :3]) @ target[:3, thick])  # voxels of data
    axis = int(np.argmax(along * own))
    width = round(float(sizes[thick] / own[axis]))
    if width > 1:
        data = ndimage.uniform_filter1d(data, width, axis=axis)
    return resample(data, affine, target, shape)


def describe(case: Case, seed: int) -> npt.NDArray[np.float64]:
    """The statistics (2, f) of a case as it is and as it might have been scanned."""
    from bmcore.imaging.preprocess import prepare

    rng = np.random.default_rng(seed)
    return np.stack([statistics(prepare(c)) for c in (case, as_scanned(case, rng))])


def describe_all(
    dataset: Dataset, cases: int, seed: int, kept: Path
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Rows (2n, f) and the number of the person of each row (2n,), of the first ``cases``.

    Each patient is kept in a file of its own below ``kept``, so that a stopped run goes on.
    """
    ids = list(dataset.case_ids)[:cases]
    rows = []
    with progress() as bars:
        task = bars.add_task("describe images", total=len(ids))
        for number, case_id in enumerate(ids):
            content = image_content(dataset, case_id)
            mark = fingerprint(STATISTICS, seed + number, content, TILT_DEGREES, SLICES_MM)[:16]
            path = kept / f"{case_id}.{mark}.npy"
            if not path.exists():
                found = describe(dataset.load(case_id), seed + number)
                with atomic_path(path) as beside, beside.open("wb") as stream:
                    np.save(stream, found)
            rows.append(np.load(path, allow_pickle=False))
            bars.advance(task)
    split = read_split(dataset.folder)
    whose = [person_of(c) if split is None else split.persons[c] for c in ids]
    _, person = np.unique(whose, return_inverse=True)
    return np.concatenate(rows), np.repeat(person, 2)


def novelty_metrics(model: NoveltyModel) -> dict[str, Any]:
    """What held-out training cases would have met, and those with two sequences exchanged.

    With all four sequences. The exchanged cases are judged by a model that knows them under their
    right names, so ``noticed`` is a little too good; the tests ask it of new cases.
    """
    known = np.ones(len(STATISTICS), bool)
    far = model.held_out(lambda g, rows: g.distances(rows, known))
    out: dict[str, Any] = {
        "distance, median held out": float(np.median(far)),
        "distance, limit": model.distance_limit(known),
    }
    judged = [model.judge(row) for row in model.rows]
    out["alarms on training cases"] = proportion(sum(map(_alarm, judged)), len(judged))
    for pair, order in EXCHANGES.items():
        noticed = sum(_alarm(model.judge(row[order])) for row in model.rows)
        out[f"noticed, {pair[0]} and {pair[1]} exchanged"] = proportion(noticed, len(judged))
    return out


def _alarm(judged: NoveltyResult) -> bool:
    return judged.image_score > 1


# --- conformal sets ----------------------------------------------------------------------------


def held_out_probabilities(out: Path, held_out: HeldOut) -> dict[str, npt.NDArray[np.float64]]:
    """The probabilities (n, 6) of each answer that ``training.evaluate`` left in OUT.

    InputRefused where they are absent or of other patients than the features are.
    """
    import pandas as pd

    path = out / HELD_OUT
    if not path.exists():
        raise refuse(
            "the held-out probabilities are not there", file=path, hint="run training.evaluate."
        )
    table = pd.read_csv(path, dtype={"case_id": str})
    if table["case_id"].tolist() != [str(c) for c in held_out.case_ids]:
        raise refuse(
            "the held-out probabilities are of other patients than the features",
            file=path,
            hint="run training.evaluate again.",
        )
    found = {}
    for kind in ANSWERS:
        p = table[[f"{kind}_{primary}" for primary in PRIMARIES]].to_numpy(np.float64)
        found[kind] = p / p.sum(axis=1, keepdims=True)  # the table keeps five digits
    return found


def cross_conformal(
    p: npt.NDArray, labels: npt.NDArray, fold: npt.NDArray, coverage: float
) -> dict[str, Any]:
    """Coverage and size of the sets of each fold, with scores of the other folds."""
    inside = np.zeros(p.shape, bool)
    for k in np.unique(fold):
        others = conformal.fit(p[fold != k], labels[fold != k], coverage)
        inside[fold == k] = others.members(p[fold == k])
    return coverage_and_size(inside, labels, [str(q) for q in PRIMARIES], MAX_SET)


def main(
    data: DataOption,
    out: OutOption,
    cases: Annotated[
        int, typer.Option(min=10, help="Patients whose images are described, at most.")
    ] = 180,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="Chance that a set holds the true primary.")
    ] = conformal.COVERAGE,
    novelty_of: Annotated[
        Path | None, typer.Option(help="Bundle whose statistics of images are taken over.")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Fit sets and novelty; writes OUT/uncertainty.safetensors and OUT/metrics.json."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.manifest import belongs_to
    from bmcore.models.optional_parts import pack_uncertainty
    from training.data.datasets import open_dataset

    watch = Stopwatch()
    bare = (data / INDEX).exists() or (data / "reference").is_dir()
    if bare and novelty_of is None:
        raise refuse(
            "prepared patients hold no whole images",
            file=data,
            hint="name the folder of cases, or a bundle with --novelty-of.",
        )
    held_out = load_held_out(out)
    answers = held_out_probabilities(out, held_out)
    once = held_out.judged  # a patient with two masks is one patient
    truth, fold = held_out.labels[once], held_out.fold[once]
    answers = {kind: p[once] for kind, p in answers.items()}
    sets = {kind: conformal.fit(p, truth, coverage) for kind, p in answers.items()}
    bundle = load_bundle(out)
    entry = bundle.entry("autoencoder")
    how = AutoencoderTraining(
        **{k: entry["training"][k] for k in AutoencoderTraining.__dataclass_fields__}
    )
    errors, _ = held_out_errors(held_out, entry["config"]["code"], how)
    if novelty_of is None:
        rows, patient = describe_all(open_dataset(data), cases, seed, out / "novelty")
        images = f"{len(rows) // 2} cases, each as it is and as scanned"
    else:
        known = load_bundle(novelty_of).novelty
        if known is None:
            raise refuse("the bundle holds no statistics of images", file=novelty_of)
        rows, patient = known.rows, known.patient
        images = f"those of the bundle {novelty_of.name}, {len(rows)} descriptions"
    if np.unique(patient).size < LEAST_PATIENTS:
        raise refuse(
            "there are too few patients to say what images are known",
            file=data,
            found=np.unique(patient).size,
            expected=f"at least {LEAST_PATIENTS}",
            hint="take the statistics of a bundle with --novelty-of.",
        )
    novelty = NoveltyModel(rows, patient, errors, NoveltyConfig())
    tensors, config = pack_uncertainty(sets, novelty)
    config["belongs_to"] = belongs_to(bundle.manifest)
    metrics = {kind: cross_conformal(p, truth, fold, coverage) for kind, p in answers.items()}
    metrics["novelty"] = novelty_metrics(novelty)
    training = {
        "data": data.name,
        "seed": seed,
        "coverage": coverage,
        "sets": "adaptive prediction sets, not randomised; a threshold for each primary with "
        f"{conformal.LEAST_OWN} patients or more, one for the rarer ones together",
        "scores_from": f"{len(truth)} patients held out in cross-validation",
        "images_described": images,
        "tilt_degrees": TILT_DEGREES,
        "slices_mm": SLICES_MM,
        "seconds": round(watch.seconds),
        "tensors_sha256": tensors_hash(tensors),
    }
    write_part(out, "uncertainty", tensors, config, training, _plain(metrics))
    update_metrics(out, "uncertainty", {**metrics, "training": training})


def _plain(metrics: Any) -> Any:
    """Estimates as dicts, where they are; the manifest takes no NaN."""
    if isinstance(metrics, dict):
        return {k: _plain(v) for k, v in metrics.items()}
    return metrics.as_dict() if isinstance(metrics, Estimate) else metrics


if __name__ == "__main__":
    run_app(main)
