"""Train the segmentation net: ``python -m training.segmenter --data DIR --out DIR``.

Each case is prepared once and kept below OUT/cache. With ``--scenes DIR`` (see ``training.scenes``)
the patches are painted from synthetic heads and all cases of DATA are held out for validation.
``--start-from BUNDLE`` fine-tunes: architecture, limits and false-positive reduction come from
there, and the rate is 1e-4. ``--fold K`` leaves fold K of DATA/split.json out.

A killed run, started again with the same options, goes on (on a CPU to the bit). It also runs under
``torchrun --nproc_per_node N -m training.segmenter``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bmcore.domain import refuse
from training.data.patches import CutPatches, PaintedPatches, Source
from training.data.prepared import prepare_all
from training.data.sampling import AUGMENTATION
from training.data.split import read_split
from training.evaluation.validation import validate
from training.loops.segmenter_trainer import Initialisation, TrainConfig, begin_with, train
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

FINE_RATE = 1e-4
ALL = -1  # instead of the number of a fold: train on all cases


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
    cache: Path,
    result: dict[str, Any],
    held: list[str],
    config: TrainConfig,
    net_config: SegmenterConfig,
    world: World,
    begin: Initialisation,
    **more: Any,
) -> dict[str, Any]:
    """Validate the averaged weights, as float16, and write the bundle part and metrics.json.

    cache: of the prepared cases; held: which of them validate, without false-positive reduction.
    """
    import torch

    from bmcore.models.bundle_writer import write_part
    from bmcore.models.segmenter import build_segmenter

    half = {k: v.half().cpu() for k, v in result["weights"].items()}
    net = build_segmenter(net_config)
    net.load_state_dict({k: v.float() for k, v in half.items()})
    metrics: dict[str, Any] = {"loss": result["curve"]}
    if held:
        net.to(world.device)
        metrics["validation"] = validate(cache, held, net, world)
        hidden = validate(cache, held, net, world, hidden=(0, 2, 3))
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
    reduction, taught = begin.reduction  # of the net that this one was fine-tuned from
    if taught:
        training["false_positive_reduction"] = "that of the net that this one began with"
    flat = net_config.as_dict() | reduction
    write_part(out, "segmenter", half | taught, flat, training, metrics)
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
        Path | None,
        typer.Option(help="Bundle or folder of a net to fine-tune, or its segmenter.safetensors."),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Fold of DATA/split.json that is left out.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of prepared cases; OUT/cache if left out.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = TrainConfig.steps,
    batch: Annotated[int, typer.Option(min=1)] = TrainConfig.batch,
    patch: Annotated[
        int | None, typer.Option(help="Edge in voxels, a multiple of 16; else 80.")
    ] = None,
    filters: Annotated[
        int | None, typer.Option(help="Channels of the first level; else 24.")
    ] = None,
    full_resolution_channels: Annotated[
        int | None, typer.Option(help="Channels of the branch at 1 mm, 0 for none; else 0.")
    ] = None,
    down: Annotated[
        str | None, typer.Option(help="Residual blocks of each level, finest first; else 1,2,2,3.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Peak learning rate; else 7e-4, or 1e-4 to fine-tune.")
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=1, help="Steps of warm-up; else 150, or a tenth of all.")
    ] = None,
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
    if data is None and scenes is None:
        raise refuse(
            "there is nothing to learn from",
            expected="--data with cases, --scenes with synthetic heads, or both",
            hint="run python -m training.scenes --out DIR and give --scenes DIR.",
        )
    begin = begin_with(start_from, workers)
    size = {
        "filters": filters,
        "full_resolution_channels": full_resolution_channels,
        "window": patch,
    }
    net_config = net_of(begin, size | {"blocks_down": down and _levels(down)}, dropout)
    schedule = fine_tuning(steps) if start_from else {}
    schedule |= {k: v for k, v in {"rate": rate, "warmup": warmup}.items() if v is not None}
    config = TrainConfig(
        batch=batch, patch=net_config.inference.window, steps=steps, decay=decay, dropout=dropout,
        smoothing=smoothing, lesion_term=lesion_term, ema=ema, save_every=save_every, seed=seed,
        **schedule,
    )  # fmt: skip
    folders = tuple(folder for folder in (data, *(more_data or [])) if folder)
    learn(Request(out, folders, cache or out / "cache", fold, scenes, device=device),
          config, net_config, begin)  # fmt: skip


def net_of(begin: Initialisation, size: dict[str, Any], dropout: float) -> SegmenterConfig:
    """The net's config: that of the net to begin with, else the default; ``size`` wins over it."""
    from bmcore.models.configs import SegmenterConfig

    base = begin.config or SegmenterConfig.of(filters=24, full_resolution_channels=0, window=80)
    given = {k: v for k, v in size.items() if v is not None}
    return base.changed(**given, dropout=dropout)


def fine_tuning(steps: int) -> dict[str, Any]:
    """Rate and warm-up of a net that has learnt before: a tenth of the peak rate of the shipped
    net's own training, reached over the first tenth of the steps, so that the first batches do not
    undo what it knows."""
    return {"rate": FINE_RATE, "warmup": max(1, min(TrainConfig.warmup, steps // 10))}


@dataclass(frozen=True)
class Request:
    """What to train on and where to. folders: of cases; cache: of them prepared; fold: of the
    split stored with the first folder that is left out, None: a share drawn by chance, ALL: nothing
    is. scenes: of synthetic heads, all cases are then held out. measure: whether the held-out cases
    are read at the end."""

    out: Path
    folders: tuple[Path, ...]
    cache: Path
    fold: int | None = None
    scenes: Path | None = None
    measure: bool = True
    device: str = "auto"


def chosen(request: Request, names: list[str], config: TrainConfig) -> tuple[list[str], list[str]]:
    """(training, validation) names of prepared cases, ``FOLDER-NUMBER/CASE``."""
    if request.fold is None:
        return split(names, config.validation, config.seed)
    if request.fold == ALL:
        return names, []
    stored = read_split(request.folders[0])
    if stored is None:
        raise refuse(
            "no split is stored with these cases",
            file=request.folders[0],
            expected="split.json, as python -m training.run writes it",
            hint="leave --fold out.",
        )
    where = {n: stored.fold(n.split("/", 1)[1]) for n in names}
    used = [n for n in names if where[n] != request.fold]
    held = [n for n in names if where[n] == request.fold]
    if not used or not held:
        raise refuse(
            "the split has no such fold", found=request.fold, expected=f"0 to {stored.count - 1}"
        )
    return used, held


def learn(
    request: Request, config: TrainConfig, net_config: SegmenterConfig, begin: Initialisation
) -> None:
    """Prepare, train and publish."""
    out = request.out
    out.mkdir(parents=True, exist_ok=True)
    with distributed(request.device) as world:
        names = prepare_all(list(request.folders), request.cache, world)
        source: Source
        if request.scenes:
            source = PaintedPatches(request.scenes, config, world.rank, world.device)
            held = names
            drawn = {"heads": len(source.names), "scenes": read_json(request.scenes / PLAN)}
        else:
            used, held = chosen(request, names, config)
            source = CutPatches(request.cache, used, config, world.rank)
            drawn = {"patients": len(used)}
        if begin.weights is not None:
            drawn["started_from_sha256"] = begin.digest
            drawn["training_of_the_start"] = begin.training
        result = train(source, config, net_config, out, world, begin)
        if world.main:
            held = held if request.measure else []
            publish(out, request.cache, result, held, config, net_config, world, begin, **drawn)


if __name__ == "__main__":
    run_app(main)
