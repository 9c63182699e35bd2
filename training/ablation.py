"""What each part of the segmenter's training is worth: ``python -m training.ablation --data DIR
--scenes DIR --out DIR``.

Small nets, alike but for one thing, are trained for the same few steps and measured on the held-out
cases of DATA. The differences say which way a part works, not how good the shipped net is. A
stopped run goes on. Writes OUT/ablation.json, which ``training.evaluate`` puts into the model card.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from training.common import (
    DataOption,
    OutOption,
    SeedOption,
    World,
    distributed,
    fingerprint,
    read_json,
    run_app,
    write_json,
)
from training.patches import PaintedPatches, prepare_all
from training.segmenter import Beginning, TrainConfig, train, validate

# name -> changes of the training, changes of the net
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "As shipped": ({}, {}),
    "No weight decay": ({"decay": 0.0}, {}),
    "Weight decay 0.1": ({"decay": 0.1}, {}),
    "Dropout 0.2": ({"dropout": 0.2}, {"dropout": 0.2}),
    "Label smoothing 0.05": ({"smoothing": 0.05}, {}),
    "No averaged weights": ({"ema": 0.0}, {}),
    "No extra weight for small lesions": ({"weigh": False}, {}),
    "No Dice over single lesions": ({"lesion_term": 0.0}, {}),
    "Each scene always in the same look": ({"repaint": False}, {}),
    "No sequence ever missing": ({"drop": 0.0}, {}),
    "Deep supervision": ({}, {"deep_supervision": True}),
    "Stopped after half of the steps": ({"halt": 0.5}, {}),
}
REGIONS = (("dice_ET", "ET Dice"), ("lesion_wise_dice_ET", "Lesion-wise ET Dice"))


def measure(
    name: str, scenes: Path, held: list[str], out: Path, base: TrainConfig, world: World
) -> dict[str, Any]:
    """One variant: train (or go on), validate, and give its row of the table."""
    from bmcore.models.segmenter import SegmenterConfig, build_segmenter

    changes, net_changes = VARIANTS[name]
    config = replace(base, **changes)
    net_config = replace(SegmenterConfig(filters=16, window=base.patch), **net_changes)
    folder = out / "variants" / name.lower().replace(" ", "-")
    done = folder / "row.json"
    options = fingerprint(config, net_config, held)
    if done.exists() and read_json(done)["options"] == options:
        return read_json(done)["row"]
    folder.mkdir(parents=True, exist_ok=True)
    source = PaintedPatches(scenes, config)
    result = train(source, config, net_config, folder, world, Beginning())
    net = build_segmenter(net_config)
    net.load_state_dict(result["weights"])
    full = validate(out / "cache", held, net, world)
    alone = validate(out / "cache", held, net, world, hidden=(0, 2, 3))
    row = {"Variant": name}
    row |= {words: full[key] for key, words in REGIONS}
    row["ET Dice, T1c alone"] = alone["dice_ET"]
    row["False lesions a case"] = full["false_lesions_per_case"]
    row["Minutes"] = round(result["seconds"] / 60, 1)
    write_json(done, {"options": options, "row": row})
    return row


def main(
    data: DataOption,
    scenes: Annotated[Path, typer.Option(help="Folder that training.scenes has written.")],
    out: OutOption,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each small net.")] = 600,
    patch: Annotated[int, typer.Option(help="Edge in voxels, a multiple of 16.")] = 48,
    variant: Annotated[
        list[str] | None, typer.Option(help="Only these, by name; may be repeated.")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Train the variants and write OUT/ablation.json."""
    base = TrainConfig(
        batch=2, patch=patch, steps=steps, rate=1.5e-3, warmup=50, ema=0.99, seed=seed
    )
    out.mkdir(parents=True, exist_ok=True)
    with distributed("cpu") as world:
        held = prepare_all([data], out / "cache", world)
        rows = []
        for name in variant or list(VARIANTS):
            typer.echo(name)
            rows.append(measure(name, scenes, held, out, base, world))
            table = {
                "title": "What each part of the segmenter's training is worth",
                "rows": rows,
                "notes": [
                    f"Small nets (16 filters) of {steps} steps on patches of {patch} voxels, one "
                    f"seed, measured on {len(held)} held-out synthetic patients; intervals "
                    "resample patients and do not hold the chance of the training run.",
                ],
            }
            write_json(out / "ablation.json", table)


if __name__ == "__main__":
    run_app(main)
