"""What each part of the segmenter's training is worth: ``python -m training.ablation --scenes DIR
--data DIR --out DIR``.

Small nets, alike but for one thing, are trained for the same few steps and measured on the held-out
cases of DATA. The differences say which way a part works, not how good the shipped net is. A
stopped run goes on. Writes OUT/ablation.json, which ``training.evaluate`` puts into the model card.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from training.data.patches import PaintedPatches
from training.data.prepared import prepare_all
from training.evaluation.validation import validate
from training.loops.segmenter_trainer import Initialisation, TrainConfig, train
from training.run.files import (
    atomic_path,
    fingerprint,
    read_json,
    tensors_hash,
    write_json,
)
from training.run.options import (
    DeviceOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import World, distributed

if TYPE_CHECKING:
    import torch

    from bmcore.models.configs import SegmenterConfig

# name -> changes of the training, changes of the net
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Unchanged small net": ({}, {}),
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
    "Stopped after half of the steps": ({"early_stop": 0.5}, {}),
}


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained variant: its net, averaged weights, CPU or GPU."""

    config: SegmenterConfig
    weights: dict[str, torch.Tensor]
    hardware: str


CORE_CHANCE = 0.2  # nets of few steps are seldom sure
CHANGE = "Lesion-wise, change to the first row, paired"
REGIONS = (("dice_ET", "ET Dice"), ("lesion_wise_dice_ET", "Lesion-wise ET Dice"))


def _folder(out: Path, name: str) -> Path:
    return out / "variants" / name.lower().replace(" ", "-")


def learn(name: str, heads: PaintedPatches, out: Path, base: TrainConfig, world: World) -> Learnt:
    """Train one variant, or go on, or read what was trained before with the same options."""
    from safetensors.torch import load_file, save_file

    from bmcore.models.configs import SegmenterConfig

    changes, net_changes = VARIANTS[name]
    config = replace(base, **changes)
    net_config = SegmenterConfig.of(
        filters=16,
        blocks_down=(1, 1, 1, 1),
        full_resolution_channels=8,
        window=base.patch,
        **net_changes,
    )
    folder = _folder(out, name)
    file, about = folder / "weights.safetensors", folder / "learnt.json"
    options = fingerprint(config.as_dict(), net_config.as_dict())
    known = read_json(about) if about.exists() else {}
    if known.get("options") != options:
        folder.mkdir(parents=True, exist_ok=True)
        source = PaintedPatches(heads.folder, config, device=world.device, like=heads)
        result = train(source, config, net_config, folder, world, Initialisation(workers=1))
        half = {k: v.half().cpu().contiguous() for k, v in result["weights"].items()}
        with atomic_path(file) as beside:
            save_file(half, beside)
        hardware = "GPU" if world.device.startswith("cuda") else "CPU"
        known = {"options": options, "seconds": result["seconds"], "hardware": hardware}
        write_json(about, known)
    weights = {k: v.float() for k, v in load_file(file).items()}
    return Learnt(net_config, weights, known["hardware"])


def measure(
    name: str, learnt: Learnt, held: list[str], out: Path, world: World
) -> tuple[dict[str, Any], list[float]]:
    """The row of one variant in the table, and the lesion-wise Dice of each patient."""
    from bmcore.models.segmenter import build_segmenter

    done = _folder(out, name) / "row.json"
    options = fingerprint(tensors_hash(learnt.weights), held, CORE_CHANCE)
    kept = read_json(done) if done.exists() else {}
    if kept.get("options") == options:
        return kept["row"], kept["each"]
    net = build_segmenter(learnt.config.changed(core_threshold=CORE_CHANCE))
    net.load_state_dict(learnt.weights)
    net.to(world.device)
    full = validate(out / "cache", held, net, world)
    alone = validate(out / "cache", held, net, world, hidden=(0, 2, 3))
    row: dict[str, Any] = {"Variant": name}
    row |= {words: full[key] for key, words in REGIONS}
    row["ET Dice, T1c alone"] = alone["dice_ET"]
    row["False lesions a case"] = full["false_lesions_per_case"]
    each = full["lesion_wise_dice_ET_of_each"]
    write_json(done, {"options": options, "row": row, "each": each})
    return row, each


def against(first: list[float], other: list[float]) -> dict[str, Any]:
    """Mean difference of the second to the first on the same patients, patients resampled."""
    from bmcore.stats.bootstrap import mean_statistic, paired_difference

    patients = np.arange(len(first))
    return asdict(paired_difference(mean_statistic(other), mean_statistic(first), patients))


def main(
    scenes: Annotated[Path, typer.Option(help="Folder that training.scenes has written.")],
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of cases to measure on; without it only train."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each small net.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Patches a step.")] = 4,
    patch: Annotated[int, typer.Option(help="Edge in voxels, a multiple of 16.")] = 64,
    variant: Annotated[
        list[str] | None, typer.Option(help="Only these, by name; may be repeated.")
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Train the variants and, with --data, write OUT/ablation.json."""
    base = TrainConfig(
        batch=batch, patch=patch, steps=steps, rate=1.5e-3, warmup=50, ema=0.99, seed=seed
    )
    out.mkdir(parents=True, exist_ok=True)
    with distributed(device) as world:
        held = prepare_all([data], out / "cache", world) if data else []
        heads = PaintedPatches(scenes, base, device=world.device)
        rows: list[dict[str, Any]] = []
        first: list[float] = []
        for name in variant or list(VARIANTS):
            typer.echo(name)
            learnt = learn(name, heads, out, base, world)
            if not held:
                continue
            row, each = measure(name, learnt, held, out, world)
            first = first or each
            row[CHANGE] = against(first, each) if rows else ""
            rows.append(row)
            table = {
                "title": "What each part of the segmenter's training is worth",
                "rows": rows,
                "notes": [
                    f"Small nets (16 filters) of {steps} steps on {batch} patches of {patch} "
                    f"voxels each, one seed, trained on a {learnt.hardware} and measured on "
                    f"{len(held)} held-out synthetic patients, tumour core from a probability of "
                    f"{CORE_CHANCE} on; intervals resample patients and do not hold the chance of "
                    "the training run.",
                ],
            }
            write_json(out / "ablation.json", table)


if __name__ == "__main__":
    run_app(main)
