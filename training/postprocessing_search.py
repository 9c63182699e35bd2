"""Choose from which probability on the segmentation net's answer is tumour, and what is dropped.

python -m training.postprocessing_search --data COHORT --segmenter FOLDER

A voxel is tumour core from a limit of its probability on; parts of the core that are too small, or
nowhere likely enough, are dropped. The three limits are chosen on patients that neither trained nor
test the net, among those with at most the wanted number of false lesions a case: the most lesions
found at a lesion-wise Dice of enhancing tumour that is as good as the best (``best``). The choice
is written into the net's config, the whole table into its metrics; the weights stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import REGIONS
from bmcore.workers import in_processes
from training.data.case_inference import Net, open_data
from training.run.options import DataOption, DeviceOption, run_app
from training.run.processes import progress, threads_each

CORES = (0.05, 0.1, 0.2, 0.3, 0.5)
VOXELS = (2, 3)
CHANCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)
FROM_MM = 5.0  # sensitivity is told for lesions from here on
LIMITS = ("core_threshold", "min_lesion_voxels", "min_lesion_peak")
Row = dict[str, float]


@dataclass(frozen=True)
class Sweep:
    """What a process needs to score a case under all sets of LIMITS in ``grid``."""

    net: Net
    grid: tuple[tuple[float, int, float], ...]

    def score(self, folder: Path, case_id: str) -> list[tuple[float, int, int, int]]:
        """Of each set of limits: lesion-wise Dice of enhancing tumour, false lesions, and lesions
        of FROM_MM and more that are found and that there are. InputRefused without a mask."""
        from bmcore.models.postprocessing import to_labels
        from bmcore.stats import segmentation

        patient = self.net.read(open_data(folder).load(case_id))
        probabilities = patient.probabilities
        truth = segmentation.region(patient.truth, REGIONS["ET"])
        seen = probabilities[1] + probabilities[3] > min(limits[0] for limits in self.grid)
        box = segmentation.box_around(seen | truth)
        probabilities, brain, truth = (
            probabilities[(slice(None), *box)],
            patient.brain[box],
            truth[box],
        )
        config = self.net.config.changed(
            keep_isolated_oedema=True
        )  # only enhancing tumour is measured
        row, known = [], {}
        for limits in self.grid:
            chosen = config.changed(**dict(zip(LIMITS, limits, strict=True)))
            labels = to_labels(probabilities, brain, chosen.postprocessing)
            key = labels.tobytes()
            if key not in known:  # other limits often keep the same parts
                found = segmentation.region(labels, REGIONS["ET"])
                wise = segmentation.lesion_wise(found, truth)
                large = [s.detected for s in wise.lesions if s.diameter_mm >= FROM_MM]
                known[key] = (wise.dice, wise.false_lesions, sum(large), len(large))
            row.append(known[key])
        return row


def sweep(
    how: Sweep, folders: list[Path], workers: int
) -> tuple[list[Row], npt.NDArray[np.float64]]:
    """One row for each set of limits, over the cases with a mask: means, and the lesion-wise Dice
    of enhancing tumour of each case (cases, rows)."""
    jobs = [(how, folder, case) for folder in folders for case in open_data(folder).case_ids]
    scores: dict[int, list[tuple[float, int, int, int]]] = {}
    with progress() as bars:
        task = bars.add_task("read cases", total=len(jobs))
        for number, row in in_processes(Sweep.score, jobs, workers):
            scores[number] = row
            bars.advance(task)
    table = np.array([scores[n] for n in range(len(jobs))], float)  # (cases, limits, 4)
    dice, false = table[..., 0], table[..., 1].mean(0)
    found = table[..., 2].sum(0) / np.maximum(table[..., 3].sum(0), 1)
    return [
        {
            **dict(zip(LIMITS, limits, strict=True)),
            "lesion_wise_dice_ET": float(dice[:, n].mean()),
            "false_lesions_per_case": float(false[n]),
            "sensitivity_from_5_mm": float(found[n]),
        }
        for n, limits in enumerate(how.grid)
    ], dice


def best(rows: list[Row], dice: npt.NDArray[np.float64], most_false: float) -> Row:
    """The row that finds most lesions of FROM_MM and more among those that are as good as the best.

    dice (cases, rows): lesion-wise Dice of each case. Of the rows with at most ``most_false`` false
    lesions a case, as good as that of the best mean Dice are those which it beats by no more than
    the standard error of the paired difference (one-standard-error rule, Breiman et al. 1984): a
    missed metastasis weighs more than a false one that a reader rejects. Among equals the better
    Dice. The fewest false ones if no row fits.
    """
    fit = [n for n, r in enumerate(rows) if r["false_lesions_per_case"] <= most_false]
    if not fit:
        return min(rows, key=lambda r: r["false_lesions_per_case"])
    top = max(fit, key=lambda n: rows[n]["lesion_wise_dice_ET"])
    loss = dice[:, [top]] - dice
    error = loss.std(axis=0, ddof=1 if len(dice) > 1 else 0) / np.sqrt(len(dice))
    good = [n for n in fit if loss[:, n].mean() <= error[n]]
    order = ("sensitivity_from_5_mm", "lesion_wise_dice_ET")
    return rows[max(good, key=lambda n: tuple(rows[n][name] for name in order))]


def main(
    data: DataOption,
    segmenter: Annotated[Path, typer.Option(help="Folder of training.segmenter, or a bundle.")],
    more_data: Annotated[
        list[Path] | None, typer.Option("--more-data", help="Another folder; may be repeated.")
    ] = None,
    most_false: Annotated[
        float, typer.Option(min=0, help="False lesions per case, at most.")
    ] = 0.5,
    flip_augmentation: Annotated[
        bool | None,
        typer.Option(help="Also read the mirror image (twice the time); else as the config says."),
    ] = None,
    specks: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.5,
            help="Pieces of enhancing tumour below this share of their lesion's become necrosis; "
            "else as the config says.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read cases.")] = 1,
    device: DeviceOption = "auto",
) -> None:
    """Measure all limits on the cases and write the chosen ones into the segmenter's config."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle

    bundle = load_bundle(segmenter)
    entry = bundle.entry("segmenter")
    config = bundle.segmenter_config
    if flip_augmentation is not None:
        config = config.changed(flip_augmentation=flip_augmentation)
    if specks is not None:
        config = config.changed(min_et_component_share=specks)
    folders = [data, *(more_data or [])]
    grid = tuple(product(CORES, VOXELS, CHANCES))
    threads = threads_each(workers)
    rows, dice = sweep(Sweep(Net(segmenter, config, device, threads), grid), folders, workers)
    chosen = best(rows, dice, most_false)
    for row in rows:
        mark = "*" if row is chosen else " "
        typer.echo(mark + "  ".join(f"{key} {value:g}" for key, value in row.items()))
    limits: dict[str, Any] = {name: chosen[name] for name in LIMITS}
    limits |= {
        "flip_augmentation": config.inference.flip_augmentation,
        "min_et_component_share": config.postprocessing.min_et_component_share,
    }
    metrics = entry["metrics"] | {
        "limits": {"data": [f.name for f in folders], "cases": len(dice), "rows": rows}
    }
    write_part(
        segmenter, "segmenter", bundle.weights("segmenter"), entry["config"] | limits,
        entry["training"], metrics,
    )  # fmt: skip


if __name__ == "__main__":
    run_app(main)
