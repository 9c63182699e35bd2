"""The segmentation net on new patients: ``python -m training.bench.segmentation_test``.

python -m training.bench.segmentation_test --bundle models/demo --out runs/test --part 0/2

150 new synthetic patients, to be read once by one net: 60 of ordinary looks, 60 of varied looks,
and 30 of both without a metastasis; beside them 60 of ordinary looks without a metastasis that hold
mimics (``phantom.mimics``): what enhances and is none. Each is read by the road of daily use and
kept as one small JSON file. Several processes may read a part each; whoever finds all of them sums
up: Dice, lesions found by size, false ones a case, and the share of the mimics that are marked, by
kind. Intervals resample patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.phantom.mimics import MIMICS
from bmcore.phantom.seeds import member_seed
from bmcore.phantom.style import CLINIC, WILD, Style
from training.run.files import write_json
from training.run.options import OutOption, run_app
from training.run.read_once import only_by, part_of, read_each

if TYPE_CHECKING:
    from bmcore.domain import Case
    from bmcore.phantom.cohort import PhantomCase
    from training.evaluation.segmentation_case import Reading

SEED = 41  # of a cohort that nothing else draws
SMALL_MM = 5.0
REGIONS = {"ET": "enhancing tumour", "TC": "tumour core", "WT": "whole tumour"}
READ_BY, SUMMARY = "read_by.json", "segmentation_test.json"


@dataclass(frozen=True)
class Group:
    """Patients of one style; mimics: each has one of these kinds, in turn."""

    name: str
    style: Style
    count: int
    mimics: bool = False


def _bare(style: Style) -> Style:
    return replace(style, no_lesion_share=1.0)


GROUPS = (
    Group("ordinary looks", CLINIC, 60),
    Group("varied looks", replace(WILD, no_lesion_share=0.0), 60),
    Group("ordinary looks, no metastasis", _bare(CLINIC), 15),
    Group("varied looks, no metastasis", _bare(WILD), 15),
    Group("mimics, no metastasis", replace(_bare(CLINIC), mimic_share=1.0), 60, mimics=True),
)


def places() -> list[tuple[Group, int]]:
    """Every patient: the group and the number in it."""
    return [(group, number) for group in GROUPS for number in range(group.count)]


def draw(position: int, seed: int = SEED) -> tuple[Group, PhantomCase]:
    """Patient ``position`` of ``places``."""
    from bmcore.phantom.cohort import draw_case

    group, number = places()[position]
    names = tuple(MIMICS)
    only = (names[number % len(names)],) if group.mimics else ()
    return group, draw_case(member_seed(seed, position), group.style, mimics=only)


def row_of(group: Group, drawn: PhantomCase, case: Case, reading: Reading) -> dict[str, Any]:
    """What is kept of a patient that was read: the scores, and whether a mimic is marked."""
    from training.evaluation.segmentation_case import Scoring, score

    assert case.truth is not None and case.truth.mask is not None
    row: dict[str, Any] = {
        "group": group.name,
        "scores": score(reading, case.truth.mask, Scoring()),
    }
    if drawn.mimics:
        assert drawn.mimic_labels is not None
        row["mimic"] = _marked(drawn.mimics[0], drawn.mimic_labels, reading.mask)
    return row


def read_one(position: int, bundle: Any) -> dict[str, Any]:
    """Draw patient ``position`` of ``places``, read and score."""
    from bmcore.models import runtime
    from training.evaluation.segmentation_case import read

    group, drawn = draw(position)
    case = drawn.as_case(f"test-{position}")
    return row_of(group, drawn, case, read(case, bundle, runtime.choose()))


def _marked(
    name: str, labels: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Of the only mimic: its name and whether any of its core is called tumour core."""
    from bmcore.imaging.masks import tumour_core

    touched = tumour_core(labels) & tumour_core(mask)
    return {"name": name, "marked": bool(touched.any()), "voxels": int(touched.sum())}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{"groups": group -> measure in words -> estimate, "mimics": kind -> share that is marked}."""
    from bmcore.stats import bootstrap
    from bmcore.stats.clustered import ratio
    from bmcore.stats.estimate import proportion

    groups: dict[str, Any] = {}
    for group in GROUPS:
        own = [row["scores"]["regions"] for row in rows if row["group"] == group.name]
        false = [len(r["TC"]["false_diameters_mm"]) for r in own]
        table: dict[str, Any] = {
            "False lesions a case": bootstrap.mean(false),
            "Cases without a false lesion": proportion(sum(n == 0 for n in false), len(false)),
        }
        if not group.style.no_lesion_share:
            for region, words in REGIONS.items():
                table[f"Dice, {words}"] = bootstrap.mean([r[region]["dice"] for r in own])
            table["Lesion-wise Dice, enhancing tumour"] = bootstrap.mean(
                [r["ET"]["lesion_dice"] for r in own]
            )
            for words, low, high in (
                (f"Found, under {SMALL_MM:g} mm", 0.0, SMALL_MM),
                (f"Found, {SMALL_MM:g} mm or more", SMALL_MM, np.inf),
            ):
                there = [
                    [s["detected"] for s in r["TC"]["lesions"] if low <= s["diameter_mm"] < high]
                    for r in own
                ]
                table[words] = ratio(
                    [sum(x) for x in there], [len(x) for x in there], "lesions found"
                )
        groups[group.name] = table
    each = [row["mimic"] for row in rows if "mimic" in row]
    mimics = {
        name: proportion(
            sum(m["marked"] for m in each if m["name"] == name),
            sum(m["name"] == name for m in each),
        )
        for name in MIMICS
    }
    return {"groups": groups, "mimics": mimics}


def main(
    out: OutOption,
    bundle: Annotated[Path, typer.Option(help="The finished models.")],
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
) -> None:
    """Read the new patients once with BUNDLE; writes OUT/segmentation_test.json."""
    from bmcore.models.bundles import load_bundle

    models = load_bundle(bundle)
    mark = {"nets": {"segmenter": models.entry("segmenter")["sha256"]}, "seed": SEED}
    only_by(out / READ_BY, mark)
    rows = read_each(out, len(places()), part_of(part), lambda n: read_one(n, models))
    if rows is None:
        return
    result = summarise(rows)
    write_json(out / SUMMARY, result)
    for name, table in {**result["groups"], "mimics marked": result["mimics"]}.items():
        typer.echo(name)
        for words, found in table.items():
            typer.echo(f"  {words}: {found.text(3)}")


if __name__ == "__main__":
    run_app(main)
