"""From which probability on it is tumour, chosen on patients that the net has not seen.

The net without fold k reads the patients of fold k. The limits for fold k are chosen on the other
folds and judged on this one, beside those of the start bundle. New limits are kept only where they
are shown to be better, or where the start's give more false lesions than are wanted and the new
ones do not.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.stats.bootstrap import mean_statistic, paired_difference
from bmcore.workers import in_processes
from training.data.case_inference import Net, open_data
from training.pipeline.order import Run
from training.pipeline.second_stage import DRAWS, Verdict, decide
from training.postprocessing_search import CHANCES, CORES, LIMITS, VOXELS, Row, Sweep, best
from training.run.files import read_json, write_json
from training.run.processes import progress, threads_each
from training.segmenter import ALL

MOST_FALSE = 0.5  # false lesions a case
Limits = tuple[float | None, int, float]


def choose(run: Run) -> None:
    """Choose, judge, and write the nets with their limits to ``chosen``."""
    from bmcore.models.bundles import load_bundle

    start: Limits | None = None
    if run.order.start is not None:
        flat = load_bundle(run.order.start).segmenter_config.as_dict()
        start = tuple(flat[name] for name in LIMITS)  # type: ignore[assignment]
    grid: list[Any] = list(product(CORES, VOXELS, CHANCES))
    if start is not None and start[0] is not None and start not in grid:
        grid.append(start)
    table = read_all(run, tuple(grid))
    ids = list(table)
    scores = np.array([table[c] for c in ids], float)  # (cases, limits, 4)
    fold = np.array([run.split.fold(c) for c in ids])
    each = {int(k): pick(scores[fold != k], grid) for k in np.unique(fold)}
    new = np.stack([scores[i, grid.index(each[int(k)])] for i, k in enumerate(fold)])
    verdict = Verdict("new", "from nothing: the limits are those chosen here")
    if start is not None and start in grid:
        persons = np.array([run.split.persons[c] for c in ids])
        verdict = judge(new, scores[:, grid.index(start)], persons)
    overall = pick(scores, grid)
    keep = verdict.kept == "new"
    for number in (*range(run.split.count), ALL):
        chosen = each[number] if number != ALL else overall
        write_chosen(run, number, chosen if keep else start)
    write_json(run.nets / "limits.json", {
        **verdict.as_dict(),
        "limits": dict(zip(LIMITS, overall if keep else start or overall, strict=True)),
        "false_lesions_per_case": {"new": float(new[:, 1].mean()), "most": MOST_FALSE},
    })  # fmt: skip


def read_all(run: Run, grid: tuple[Any, ...]) -> dict[str, list[list[float]]]:
    """Case -> what each set of limits gives (``Sweep.score``), by the net that has not seen it."""
    from bmcore.models.bundles import load_bundle

    jobs, files = [], {}
    threads = threads_each(run.order.workers)
    for number in range(run.split.count):
        folder = run.net("staged", number)
        how = Sweep(
            Net(folder, load_bundle(folder).segmenter_config, run.order.device, threads), grid
        )
        for case_id in open_data(run.cases).case_ids:
            if run.split.fold(case_id) == number:
                files[case_id] = run.nets / "limits" / f"{case_id}.json"
                jobs.append((how, run, case_id))
    with progress() as bars:
        task = bars.add_task("limits: read cases that no net has seen", total=len(jobs))
        for _ in in_processes(_score, jobs, run.order.workers):
            bars.advance(task)
    return {case_id: read_json(files[case_id]) for case_id in sorted(files)}


def _score(how: Sweep, run: Run, case_id: str) -> None:
    file = run.nets / "limits" / f"{case_id}.json"
    if not file.exists():
        write_json(file, how.score(run.cases, case_id))


def pick(scores: npt.NDArray[np.float64], grid: list[Any]) -> Any:
    """The limits that ``postprocessing_search.best`` chooses on these cases (cases, limits, 4)."""
    found, there = scores[..., 2].sum(0), np.maximum(scores[..., 3].sum(0), 1)
    rows: list[Row] = [
        {
            "number": n,
            "lesion_wise_dice_ET": float(scores[:, n, 0].mean()),
            "false_lesions_per_case": float(scores[:, n, 1].mean()),
            "sensitivity_from_5_mm": float(found[n] / there[n]),
        }
        for n in range(len(grid))
    ]
    return grid[int(best(rows, scores[..., 0], MOST_FALSE)["number"])]


def judge(
    new: npt.NDArray[np.float64], start: npt.NDArray[np.float64], persons: npt.NDArray
) -> Verdict:
    """new, start (cases, 4): what the limits gave on cases that they were not chosen on."""
    difference = paired_difference(
        mean_statistic(new[:, 0]), mean_statistic(start[:, 0]), persons, DRAWS
    )
    means = float(new[:, 0].mean()), float(start[:, 0].mean())
    verdict = decide("limits, lesion-wise Dice", "start", difference, *means)
    ours, theirs = float(new[:, 1].mean()), float(start[:, 1].mean())
    if verdict.kept == "start" and theirs > MOST_FALSE >= ours:
        why = (
            f"the start's limits give {theirs:.2f} false lesions per case,  the new ones "
            f"{ours:.2f}, of at most {MOST_FALSE:g}; the new ones are kept"
        )
        return Verdict("new", why, *means, difference)
    return verdict


def write_chosen(run: Run, fold: int, limits: Any) -> None:
    """One net with its limits; as the staged net has them where ``limits`` is None."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle

    source = run.net("staged", fold)
    bundle = load_bundle(source)
    entry = bundle.entry("segmenter")
    config = entry["config"] | ({} if limits is None else dict(zip(LIMITS, limits, strict=True)))
    write_part(
        run.net("chosen", fold), "segmenter", bundle.weights("segmenter"), config,
        entry["training"], entry["metrics"],
    )  # fmt: skip
