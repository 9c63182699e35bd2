"""What training on one's own patients brings, on a cohort that the shipped nets have not met.

python -m training.bench.own_data --out DIR --cases 60

Draws the stand-in (``training.bench.stand_in``), trains on it from the shipped bundle and from
nothing (``training.pipeline``), and reads it with the shipped bundle as it is. Segmentation: each
case by a net that has not seen it. Naming: the answers on the masks that the nets found, by
regressions that have not seen the patient. Everything is paired by person, with intervals that
resample persons. What is not compared (T1 post-gadolinium alone, refits, learning curves, novelty)
is done with little effort. A stopped run goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from bmcore.domain import PRIMARIES, REGIONS
from bmcore.geometry import voxel_sizes_mm
from bmcore.stats.bootstrap import (
    Resampling,
    mean_statistic,
    paired_difference,
    patient_bootstrap,
)
from bmcore.workers import in_processes
from training.bench.stand_in import SEED, write_cohort
from training.data.case_inference import open_data
from training.data.cohort import NET
from training.data.content import image_content
from training.data.split import read_split
from training.evaluation.segmentation_case import ALL, Scoring, score_region, source_of
from training.pipeline.order import FINE, FRESH, Effort, Order
from training.pipeline.whole import run_all
from training.run.files import read_json, write_json
from training.run.options import DeviceOption, OutOption, SeedOption, run_app
from training.run.processes import progress

SHIPPED, NOTHING, TUNED = "shipped as it is", "from nothing", "fine-tuned"
PAIRS = ((TUNED, SHIPPED), (TUNED, NOTHING), (NOTHING, SHIPPED))
DRAWS = Resampling(2000)
ASIDE: Mapping[str, Any] = {"refits": 10, "described": 12, "curves": 2, "t1c_alone": False}
FIGURES: Mapping[str, Callable[[Mapping[str, Any]], float]] = {
    "Dice, enhancing tumour": lambda r: r["ET"]["dice"],
    "Dice, tumour core": lambda r: r["TC"]["dice"],
    "Dice, whole tumour": lambda r: r["WT"]["dice"],
    "Lesion-wise Dice, enhancing tumour": lambda r: r["ET"]["lesion_dice"],
    "False lesions a case": lambda r: len(r["TC"]["false_diameters_mm"]),
}


def read_shipped(data: Path, bundle: Path, out: Path, workers: int) -> None:
    """Score every case of DATA with the bundle as it is, and keep its answers."""
    case_ids = open_data(data).case_ids
    with progress() as bars:
        task = bars.add_task("read with the shipped bundle", total=len(case_ids))
        for _ in in_processes(_read_one, [(data, c, bundle, out) for c in case_ids], workers):
            bars.advance(task)


def _read_one(data: Path, case_id: str, folder: Path, out: Path) -> None:
    """Write what the bundle finds in a case and what it answers, unless it is there."""
    from bmcore.inference.pipeline import predict
    from bmcore.models.bundles import load_bundle

    dataset, bundle, scoring = open_data(data), load_bundle(folder), Scoring()
    path = out / f"{case_id}.json"
    source = source_of(image_content(dataset, case_id), bundle, scoring)
    if path.exists() and read_json(path)["source"] == source:
        return
    case = dataset.load(case_id)
    assert case.truth is not None and case.truth.mask is not None  # audited
    told = predict(replace(case, truth=None), bundle)
    mask, truth = np.asarray(told.mask.data), np.asarray(case.truth.mask.data)
    spacing = voxel_sizes_mm(np.asarray(case.truth.mask.affine))
    regions = {name: score_region(mask, truth, name, spacing, scoring) for name in REGIONS}
    named = {a.kind: a.probabilities for a in (told.clinical, told.image, told.fused)}
    subsets = {ALL: {"regions": regions}}
    write_json(path, {"source": source, "subsets": subsets, "answers": named})


def share_cases(work: Path, other: Path) -> None:
    """What the audit of WORK has found, and its prepared cases, for OTHER too."""
    for name in ("audit", "prepared"):
        if (work / name).is_dir() and not (other / name).exists():
            shutil.copytree(work / name, other / name)


def compare_segmentation(
    records: Mapping[str, Mapping[str, Mapping[str, Any]]], persons: Mapping[str, str]
) -> list[dict[str, Any]]:
    """records: road -> case -> record of ``evaluate_case``. A row a figure: each road, and each
    pair on the same cases."""
    ids = sorted(set.intersection(*(set(own) for own in records.values())))
    whose = np.array([persons[i] for i in ids])
    rows = []
    for words, figure in FIGURES.items():
        values = {
            road: mean_statistic([figure(own[i]["subsets"][ALL]["regions"]) for i in ids])
            for road, own in records.items()
        }
        row: dict[str, Any] = {"figure": words}
        row |= {road: patient_bootstrap(s, whose, DRAWS) for road, s in values.items()}
        for a, b in _pairs(values):
            row[f"{a} less {b}"] = paired_difference(values[a], values[b], whose, DRAWS)
        rows.append(row)
    return rows


def _pairs(roads: Collection[str]) -> list[tuple[str, str]]:
    return [(a, b) for a, b in PAIRS if a in roads and b in roads]


def compare_naming(
    answers: Mapping[str, Mapping[str, Mapping[str, Sequence[float] | None]]],
    primaries: Mapping[str, int],
    persons: Mapping[str, str],
) -> list[dict[str, Any]]:
    """answers: road -> case -> kind -> six probabilities. A row a figure: each road on the cases
    that it answers, each pair on those that both do; what holds fewer than two primaries is left
    out."""
    from bmcore.stats import classification as c

    rows: list[dict[str, Any]] = []
    for kind in ("image", "fused"):
        own = {
            road: {i for i in told if told[i].get(kind) is not None and i in primaries}
            for road, told in answers.items()
        }
        auc: dict[str, Any] = {"figure": f"{kind}, macro AUC"}
        loss: dict[str, Any] = {"figure": f"{kind}, log loss"}
        for roads in [*((road,) for road in answers), *_pairs(answers)]:
            ids = sorted(set.intersection(*(own[road] for road in roads)))
            truth = np.array([primaries[i] for i in ids])
            if len(set(truth.tolist())) < 2:
                continue
            whose = np.array([persons[i] for i in ids])
            p = [np.array([answers[road][i][kind] for i in ids]) for road in roads]
            for row, statistic in ((auc, c.auc_statistic), (loss, c.log_loss_statistic)):
                first, *second = (statistic(truth, q) for q in p)
                row[" less ".join(roads)] = (
                    paired_difference(first, second[0], whose, DRAWS)
                    if second
                    else patient_bootstrap(first, whose, DRAWS)
                )
        rows += [row for row in (auc, loss) if len(row) > 1]
    return rows


def _answers_of(work: Path) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Case -> kind -> probabilities on the predicted mask, and case -> primary, of one training."""
    import pandas as pd

    (file,) = work.glob("naming-*/held_out.csv")
    table = pd.read_csv(file, dtype={"case_id": str}).set_index("case_id")
    names = [str(p) for p in PRIMARIES]
    told = {
        i.removesuffix(NET): {
            kind: (q := table.loc[i, [f"{kind}_{p}" for p in names]].to_numpy(float)) / q.sum()
            for kind in ("clinical", "image", "fused")
        }
        for i in table.index
        if i.endswith(NET)
    }
    # of the same row: a patient may have no lesion in the reference mask
    return told, {i: names.index(table.loc[i + NET, "primary"]) for i in told}


def _records_of(work: Path) -> dict[str, Any]:
    (folder,) = work.glob("segmentation-*/segmentation")
    return {path.stem: read_json(path) for path in folder.glob("*.json")}


def main(
    out: OutOption,
    cases: Annotated[int, typer.Option(min=8, help="Patients.")] = 60,
    start_from: Annotated[Path, typer.Option(help="The shipped bundle.")] = Path("models/demo"),
    folds: Annotated[int, typer.Option(min=2)] = 5,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a net that is fine-tuned; of one from nothing as a rule four times as many.",
        ),
    ] = None,
    fresh_steps: Annotated[
        int | None, typer.Option(min=1, help="Of a net from nothing, where not four times as many.")
    ] = None,
    least: Annotated[int, typer.Option(min=6, help="Patients, at least.")] = Effort.least,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: SeedOption = SEED,
    device: DeviceOption = "auto",
) -> None:
    """Draw, train twice, read, compare; writes OUT/own_data.json and prints it."""
    data = out / "stand-in"
    write_cohort(data, cases, seed, workers)
    effort = replace(Effort(), least=least, **ASIDE)
    works: dict[str, Path] = {}
    if fresh_steps is None and steps is not None:
        fresh_steps = steps * FRESH // FINE
    for road, start, own_steps in ((TUNED, start_from, steps), (NOTHING, None, fresh_steps)):
        before, works[road] = works.get(TUNED), out / road.replace(" ", "-")
        if before is not None:  # the same cases, known by their content
            share_cases(before / "work", works[road] / "work")
        own = replace(effort, steps=own_steps)
        run_all(Order(data, works[road] / "models", works[road] / "work", start, folds,
                      workers=workers, device=device, synthetic=True, effort=own))  # fmt: skip
    shipped = out / "shipped"
    tuned = works[TUNED] / "work"
    read_shipped(tuned / "cases", start_from, shipped, workers)
    split = read_split(tuned / "cases")
    assert split is not None  # the training has stored it
    records: dict[str, Any] = {SHIPPED: {p.stem: read_json(p) for p in shipped.glob("*.json")}}
    records |= {road: _records_of(work / "work") for road, work in works.items()}
    told = {road: _answers_of(work / "work") for road, work in works.items()}
    answers: dict[str, Any] = {SHIPPED: {i: r["answers"] for i, r in records[SHIPPED].items()}}
    answers |= {road: own for road, (own, _) in told.items()}
    primaries = {i: number for _, own in told.values() for i, number in own.items()}
    result = {
        "cases": len(split.persons),
        "persons": len(split.folds),
        "segmentation": compare_segmentation(records, split.persons),
        "naming": compare_naming(answers, primaries, split.persons),
    }
    write_json(out / "own_data.json", result)
    for row in (*result["segmentation"], *result["naming"]):  # type: ignore[misc]
        typer.echo(row["figure"])
        for name, estimate in row.items():
            if name != "figure":
                typer.echo(f"  {name}: {estimate.text(3)}")


if __name__ == "__main__":
    run_app(main)
