"""Measure the segmentation net on cases with reference masks.

python -m training.evaluate_segmentation --data COHORT --bundle BUNDLE --out OUT

Each case is read by the road of daily use with all its sequences and with fewer, and scored on its
own grid. What a case gave lies in OUT/segmentation/CASE.json, so a stopped run goes on with the
next case; files of another net, other images or other settings are measured anew. The tables go to
OUT/segmentation.json and, where OUT holds the evaluation of the answers, into the model card too.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from bmcore.domain import BmcoreError, refuse
from training.data.content import case_content
from training.data.datasets import open_dataset
from training.evaluation.segmentation_case import (
    SUBSETS,
    SURFACES,
    Scoring,
    evaluate_case,
    source_of,
)
from training.evaluation.segmentation_summary import MINIMUM, summarise
from training.model_card.build import rebuild_card
from training.run.files import read_json, write_json
from training.run.options import (
    DataOption,
    DeviceOption,
    OutOption,
    run_app,
)
from training.run.processes import progress

NO_MASK = "no reference mask"


def collect(
    data: Path, bundle_folder: Path, out: Path, scoring: Scoring, device: str = "auto",
    limit: int | None = None, subsets: tuple[str, ...] = tuple(SUBSETS),
) -> tuple[list[dict[str, Any]], dict[str, str]]:  # fmt: skip
    """Measure what is not measured yet; (records, case id -> why it was left out).

    A case that is refused or has no mask is left out by name, never silently.
    """
    from bmcore.models import runtime
    from bmcore.models.bundles import load_bundle

    dataset, bundle, chosen = open_dataset(data), load_bundle(bundle_folder), runtime.choose(device)
    records, left_out = [], {}
    with progress() as bars:
        ids = dataset.case_ids[:limit]
        task = bars.add_task("measure cases", total=len(ids))
        for case_id in ids:
            path = out / "segmentation" / f"{case_id}.json"
            source = source_of(case_content(dataset, case_id), bundle, scoring)
            kept = read_json(path) if path.exists() else {}
            if kept.get("source") != source:
                kept = {}
            missing = tuple(s for s in subsets if s not in kept.get("subsets", {}))
            if missing:
                try:
                    case = dataset.load(case_id)
                    if case.truth is None or case.truth.mask is None:
                        raise refuse(NO_MASK, file=case_id)
                    new = evaluate_case(case, bundle, chosen, scoring, missing)
                except BmcoreError as error:
                    left_out[case_id] = " ".join(f.sentence for f in error.findings)
                    bars.advance(task)
                    continue
                new["subsets"] = kept.get("subsets", {}) | new["subsets"]
                kept = new | {"source": source}
                write_json(path, kept)
            records.append(kept)
            bars.advance(task)
    return records, left_out


def main(
    data: DataOption,
    bundle: Annotated[Path, typer.Option(help="Folder with the segmentation net.")],
    out: OutOption,
    device: DeviceOption = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N cases.")] = None,
    subset: Annotated[
        list[str] | None, typer.Option(help=f"One of: {'; '.join(SUBSETS)}. May be repeated.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0.0, help="Of the surface Dice.")] = 1.0,
    surfaces: Annotated[
        str, typer.Option(help="Of HD95 and surface Dice: voxels (MONAI), elements (BraTS-METS).")
    ] = "voxels",
    minimum: Annotated[int, typer.Option(min=2, help="Least patients of a subgroup.")] = MINIMUM,
) -> None:
    """Measure; writes OUT/segmentation/CASE.json, OUT/segmentation.json and the model card."""
    from bmcore.models.bundles import load_bundle

    unknown = set(subset or ()) - set(SUBSETS)
    if unknown:
        raise refuse("unknown subset", found=", ".join(unknown), expected="; ".join(SUBSETS))
    if surfaces not in SURFACES:
        raise refuse("unknown surfaces", found=surfaces, expected=" or ".join(SURFACES))
    scoring = Scoring(tolerance_mm=tolerance_mm, surfaces=surfaces)
    wanted = tuple(s for s in SUBSETS if not subset or s in subset)
    records, left_out = collect(data, bundle, out, scoring, device, limit, wanted)
    for case_id, reason in left_out.items():
        typer.echo(f"{case_id} left out: {reason}", err=True)
    if not records:
        raise refuse("no case could be measured", file=data, expected="cases with reference masks")
    part = load_bundle(bundle).entry("segmenter")
    result = summarise(records, minimum) | {
        "data": data.name,
        "left_out": left_out,
        "segmenter_sha256": part["sha256"],
        "scoring": asdict(scoring),
    }
    write_json(out / "segmentation.json", result)
    if rebuild_card(out, bundle):
        typer.echo(f"model card written to {out}")


if __name__ == "__main__":
    run_app(main)
