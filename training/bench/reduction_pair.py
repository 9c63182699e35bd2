"""Two false-positive reductions over one segmentation net, on the same new patients.

python -m training.bench.reduction_pair --bundle models/demo --other runs/reduction --seed 42 \\
    --out runs/pair --part 0/2

The patients of ``training.bench.segmentation_test`` under another seed. The net reads each once,
and both bundles go on from its answer: their false-positive reduction, their limits. Written: what
``segmentation_test`` writes of each bundle (``first``, ``second``), and the second less the first,
paired by patient. Several processes may read a part each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bmcore.domain import refuse
from bmcore.stats.bootstrap import mean_statistic, paired_difference
from training.bench.segmentation_test import (
    GROUPS,
    SMALL_MM,
    SUMMARY,
    draw,
    places,
    row_of,
    summarise,
)
from training.run.files import write_json
from training.run.options import OutOption, run_app
from training.run.read_once import only_by, part_of, read_each

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

ROADS = ("first", "second")
Row = Mapping[str, Any]


def check_same_net(first: Bundle, second: Bundle) -> None:
    """InputRefused where the two bundles hold different nets below their reductions."""
    from bmcore.models.false_positive_reduction import without_false_positive_reduction

    a, b = (without_false_positive_reduction(x.weights("segmenter")) for x in (first, second))
    if set(a) != set(b) or any(not bool((a[k] == b[k]).all()) for k in a):
        raise refuse(
            "the bundles hold different segmentation nets",
            expected="one net with two false-positive reductions",
            hint="compare whole nets with training.bench.segmentation_test.",
        )


def read_both(position: int, bundles: tuple[Bundle, Bundle], seed: int) -> dict[str, Any]:
    """Draw a patient, read it once with the net, finish it with both: road -> row."""
    from bmcore.imaging.preprocess import prepare, restore, restore_map
    from bmcore.models import runtime
    from bmcore.models.false_positive_reduction import NO_REDUCTION, reduce_false_positives
    from bmcore.models.inference import predict_probabilities
    from bmcore.models.postprocessing import to_labels
    from training.evaluation.segmentation_case import Reading

    group, drawn = draw(position, seed)
    case = drawn.as_case(f"test-{position}")
    prepared = prepare(case)
    net = bundles[0].segmenter
    own, chosen = net.config, runtime.choose("cpu", threads=1)
    net.config = own.changed(**NO_REDUCTION)
    with runtime.inference(chosen):
        plain = predict_probabilities(net, prepared.images, prepared.brain)
    net.config = own
    rows = {}
    for road, bundle in zip(ROADS, bundles, strict=True):
        net = bundle.segmenter
        with runtime.inference(chosen):
            found = reduce_false_positives(net, prepared.images, prepared.brain, plain)
        labels = to_labels(found, prepared.brain, net.config.postprocessing)
        core = restore_map(found[1] + found[3], prepared)
        mask = np.asarray(restore(labels, prepared).data)
        rows[road] = row_of(group, drawn, case, Reading(mask, np.asarray(core.data), 0.0))
    return rows


def compare(first: list[Row], second: list[Row]) -> dict[str, Any]:
    """Second less first, paired by patient: group -> measure in words -> difference."""
    out: dict[str, Any] = {}
    for group in GROUPS:
        pairs = [
            (a["scores"]["regions"], b["scores"]["regions"])
            for a, b in zip(first, second, strict=True)
            if a["group"] == group.name
        ]
        told = {
            "False lesions a case": _paired(pairs, lambda r: len(r["TC"]["false_diameters_mm"]))
        }
        if not group.style.no_lesion_share:
            told |= {
                "Dice, whole tumour": _paired(pairs, lambda r: r["WT"]["dice"]),
                "Lesion-wise Dice, enhancing tumour": _paired(
                    pairs, lambda r: r["ET"]["lesion_dice"]
                ),
                f"Lesions found under {SMALL_MM:g} mm, a patient": _paired(pairs, _small_found),
            }
        out[group.name] = told
    marked = [(a["mimic"], b["mimic"]) for a, b in zip(first, second, strict=True) if "mimic" in a]
    out["mimics"] = {"Marked": _paired(marked, lambda m: float(m["marked"]))}
    return out


def _small_found(regions: Row) -> float:
    return sum(s["detected"] for s in regions["TC"]["lesions"] if s["diameter_mm"] < SMALL_MM)


def _paired(pairs: list[tuple[Any, Any]], figure: Any) -> Any:
    first, second = ([float(figure(pair[n])) for pair in pairs] for n in (0, 1))
    return paired_difference(mean_statistic(second), mean_statistic(first), np.arange(len(pairs)))


def main(
    out: OutOption,
    bundle: Annotated[Path, typer.Option(help="Holds the net and the first reduction.")],
    other: Annotated[Path, typer.Option(help="Holds the same net and the second reduction.")],
    seed: Annotated[int, typer.Option(help="Of patients that nothing else draws.")],
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
) -> None:
    """Read new patients with both; writes OUT/first, OUT/second and OUT/differences.json."""
    from bmcore.models.bundles import load_bundle

    bundles = (load_bundle(bundle), load_bundle(other))
    check_same_net(*bundles)
    mark = {"nets": [b.entry("segmenter")["sha256"] for b in bundles], "seed": seed}
    only_by(out / "read_by.json", mark)
    rows = read_each(out, len(places()), part_of(part), lambda n: read_both(n, bundles, seed))
    if rows is None:
        return
    each = {road: [row[road] for row in rows] for road in ROADS}
    for road in ROADS:
        write_json(out / road / SUMMARY, summarise(each[road]))
    differences = compare(each["first"], each["second"])
    write_json(out / "differences.json", differences)
    for name, table in differences.items():
        typer.echo(name)
        for words, found in table.items():
            typer.echo(f"  {words}, second less first: {found.text(3)}")


if __name__ == "__main__":
    run_app(main)
