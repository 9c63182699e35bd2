"""Train the segmentation net: ``python -m training.segmenter --data DIR --out DIR``.

Each case is prepared once and kept below OUT/cache. With ``--scenes DIR`` (see ``training.scenes``)
the patches are painted from synthetic heads and all cases of DATA are held out for validation. A
killed run, started again with the same options, goes on (on a CPU to the bit). It also runs under
``torchrun --nproc_per_node N -m training.segmenter``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bmcore.domain import refuse
from training.data.patches import CutPatches, PaintedPatches, Source
from training.data.prepared import prepare_all
from training.data.sampling import AUGMENTATION
from training.evaluation.validation import validate
from training.loops.segmenter_trainer import TrainConfig, begin_with, train
from training.run.files import (
    read_json,
    write_json,
)
from training.run.options import (
    DeviceOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import (
    World,
    distributed,
)
from training.scenes import PLAN

if TYPE_CHECKING:
    from bmcore.models.configs import SegmenterConfig


# --- training -----------------------------------------------------------------------------------


def _levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if len(levels) != 4 or min(levels) < 1:
        raise refuse(
            "these are no residual blocks of a net",
            found=text,
            expected="four numbers of at least 1",
            hint="take --down 1,2,2,3.",
        )
    return levels


def split(names: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """(training, validation) names, by patient, always at least one of each if there are two."""
    order = np.random.default_rng([seed, 99]).permutation(len(names))
    held = max(1, round(share * len(names))) if len(names) > 1 else 0
    chosen = {int(i) for i in order[:held]}
    return (
        [n for i, n in enumerate(names) if i not in chosen],
        [n for i, n in enumerate(names) if i in chosen],
    )


def publish(
    out: Path,
    result: dict[str, Any],
    held: list[str],
    config: TrainConfig,
    net_config: SegmenterConfig,
    world: World,
    **more: Any,
) -> dict[str, Any]:
    """Validate the averaged weights, as float16, and write the bundle part and metrics.json."""
    import torch

    from bmcore.models.bundle_writer import write_part
    from bmcore.models.segmenter import build_segmenter

    half = {k: v.half().cpu() for k, v in result["weights"].items()}
    net = build_segmenter(net_config)
    net.load_state_dict({k: v.float() for k, v in half.items()})
    metrics: dict[str, Any] = {"loss": result["curve"]}
    if held:
        net.to(world.device)
        metrics["validation"] = validate(out / "cache", held, net, world)
        hidden = validate(out / "cache", held, net, world, hidden=(0, 2, 3))
        metrics["validation_t1c_alone"] = hidden
    training = {
        **config.as_dict(),
        "seconds": round(result["seconds"]),
        "hardware": "GPU" if world.device.startswith("cuda") else "CPU",
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "optimiser": "AdamW, cosine to 0",
        "loss": "weighted cross-entropy + soft Dice over ET, TC, oedema, necrosis, and over "
        "each lesion ('lesion_term')",
        "augmentation": AUGMENTATION,
        "standardisation": "median and interquartile range inside the brain, clipped to +-6",
        "normalisation": "group norm, 8 groups",
        **more,
    }
    write_part(out, "segmenter", half, net_config.as_dict(), training, metrics)
    write_json(out / "metrics.json", {"segmenter": metrics, "training": training})
    return metrics


def main(
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of cases; may be absent with --scenes."),
    ] = None,
    more_data: Annotated[
        list[Path] | None, typer.Option("--more-data", help="Another folder; may be repeated.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(help="Synthetic heads to paint patches from; DATA is then held out."),
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="segmenter.safetensors of a run to begin with.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = TrainConfig.steps,
    batch: Annotated[int, typer.Option(min=1)] = TrainConfig.batch,
    patch: Annotated[int, typer.Option(help="Edge in voxels, a multiple of 16.")] = 80,
    filters: Annotated[int, typer.Option(help="Channels of the first level.")] = 24,
    fine: Annotated[int, typer.Option(help="Channels of the branch at 1 mm, 0 for none.")] = 0,
    down: Annotated[
        str, typer.Option(help="Residual blocks of each level, finest first.")
    ] = "1,2,2,3",
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = TrainConfig.rate,
    decay: Annotated[float, typer.Option(help="Weight decay.")] = TrainConfig.decay,
    dropout: Annotated[float, typer.Option(help="Share of channels dropped.")] = 0.0,
    smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.0,
    lesion_term: Annotated[
        float, typer.Option(min=0, help="Weight of the Dice over single lesions.")
    ] = TrainConfig.lesion_term,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.")] = TrainConfig.ema,
    save_every: Annotated[int, typer.Option(min=1)] = TrainConfig.save_every,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make patches ready.")] = 0,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train the segmentation net on DATA and write OUT/segmenter.safetensors and metrics.json."""
    from bmcore.models.configs import SegmenterConfig

    config = TrainConfig(
        batch=batch, patch=patch, steps=steps, rate=rate, decay=decay, dropout=dropout,
        smoothing=smoothing, lesion_term=lesion_term, ema=ema, save_every=save_every, seed=seed,
    )  # fmt: skip
    if data is None and scenes is None:
        raise refuse(
            "there is nothing to learn from",
            expected="--data with cases, --scenes with synthetic heads, or both",
            hint="run python -m training.scenes --out DIR and give --scenes DIR.",
        )
    net_config = SegmenterConfig.of(
        filters=filters, fine=fine, blocks_down=_levels(down), window=patch, dropout=dropout
    )
    out.mkdir(parents=True, exist_ok=True)
    begin = begin_with(start_from, workers)
    with distributed(device) as world:
        folders = [folder for folder in (data, *(more_data or [])) if folder]
        names = prepare_all(folders, out / "cache", world)
        source: Source
        if scenes:
            source, held = PaintedPatches(scenes, config, world.rank, world.device), names
            drawn = {"heads": len(source.names), "scenes": read_json(scenes / PLAN)}
        else:
            used, held = split(names, config.validation, seed)
            source = CutPatches(out / "cache", used, config, world.rank)
            drawn = {"patients": len(used)}
        if start_from:
            drawn["started_from_sha256"] = begin.digest
            drawn["training_of_the_start"] = begin.training
        result = train(source, config, net_config, out, world, begin)
        if world.main:
            publish(out, result, held, config, net_config, world, **drawn)


if __name__ == "__main__":
    run_app(main)
