"""Train the segmentation net: ``python -m training.segmenter --data DIR --out DIR``.

Each case is prepared once and kept below OUT/cache. With ``--scenes DIR`` (see ``training.scenes``)
the patches are painted from synthetic heads and all cases of DATA are held out for validation. A
killed run, started again with the same options, goes on (on a CPU to the bit). It also runs under
``torchrun --nproc_per_node N -m training.segmenter``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import refuse
from training.common import (
    EMA,
    Checkpoint,
    DeviceOption,
    OutOption,
    SeedOption,
    Stopwatch,
    World,
    board,
    distributed,
    fingerprint,
    progress,
    read_json,
    run_app,
    seed_everything,
    tensors_hash,
    write_json,
)
from training.patches import (
    AUGMENTATION,
    CutPatches,
    PaintedPatches,
    Sampling,
    Source,
    prepare_all,
)
from training.scenes import PLAN

if TYPE_CHECKING:
    import torch

    from bmcore.models.configs import SegmenterConfig
    from bmcore.models.nets.segmenter import Segmenter


LOOK_EVERY = 20  # steps between looks at the loss


@dataclass(frozen=True)
class TrainConfig(Sampling):
    """A sentence a field; the manifest holds all of them, those of ``Sampling`` too.

    steps: optimiser steps.  rate, decay, warmup: peak learning rate (cosine to 0), weight decay,
    steps of warm-up.  ema: decay of the averaged weights that are kept.  smoothing: label
    smoothing.  dropout: of the net.  weigh: whether voxels of small lesions count more.
    lesion_term: weight of the loss over single lesions.  halt: share of the steps after which the
    run stops (early stopping).  validation: share of the patients held out.  save_every: steps
    between checkpoints.
    """

    steps: int = 4000
    rate: float = 7e-4
    decay: float = 1e-2
    warmup: int = 150
    ema: float = 0.998
    smoothing: float = 0.0
    dropout: float = 0.0
    weigh: bool = True
    lesion_term: float = 1.0
    halt: float = 1.0
    validation: float = 0.06
    save_every: int = 100


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a run starts with and leaves the result alone.

    weights, digest, training: of a net trained before, the hash of its file, and what its manifest
    says of its training, where one lies beside it; empty: a fresh net.
    workers: processes that make patches ready.
    """

    weights: dict[str, torch.Tensor] | None = None
    digest: str = ""
    workers: int = 0
    training: dict[str, Any] | None = None


def begin_with(file: Path | None, workers: int) -> Beginning:
    """Read the weights of ``segmenter.safetensors``; a fresh start where ``file`` is None.

    False-positive reduction (``training.candidates``) belongs to the net it was learnt for: it
    is left out.
    """
    if file is None:
        return Beginning(workers=workers)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from bmcore.models.bundles import MANIFEST
    from bmcore.models.false_positive_reduction import without_false_positive_reduction

    try:
        weights = {
            k: v.float() for k, v in without_false_positive_reduction(load_file(file)).items()
        }
    except (OSError, SafetensorError) as error:
        raise refuse("these weights cannot be read", file=file, found=error) from error
    beside = file.parent / MANIFEST
    parts = read_json(beside)["parts"] if beside.exists() else {}
    training = parts.get("segmenter", {}).get("training")
    if training is not None:
        training = {k: v for k, v in training.items() if k != "candidates"}
    return Beginning(weights, tensors_hash(weights), workers, training)


def settle(net: torch.nn.Module, begin: Beginning) -> None:
    """Give ``net`` the weights to begin with, if there are any; InputRefused if they do not fit."""
    if begin.weights is None:
        return
    try:
        net.load_state_dict(begin.weights)
    except RuntimeError as error:
        raise refuse(
            "the weights to begin with do not fit the net",
            found=str(error).splitlines()[-1].strip(),
            hint="give the --filters of the run they come from.",
        ) from error


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


def _rate(step: int, config: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / config.warmup)
    return config.rate * warm * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))


def train(
    source: Source,
    config: TrainConfig,
    net_config: SegmenterConfig,
    out: Path,
    world: World,
    begin: Beginning,
) -> dict[str, Any]:
    """Train to ``config.steps``; returns averaged weights (float32), loss curve and seconds."""
    import torch

    from bmcore.models import runtime
    from bmcore.models.losses import deep_loss, lesion_loss
    from bmcore.models.segmenter import build_segmenter

    seed_everything(config.seed, world.rank)
    net = build_segmenter(net_config).to(world.device)
    settle(net, begin)
    net = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    ema = EMA(net, config.ema)
    model = world.wrap(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.decay)
    options = fingerprint(
        asdict(config), net_config.as_dict(), source.names, world.size, begin.digest
    )
    checkpoint = Checkpoint(out / f"checkpoint.rank{world.rank}.pt", options)
    kept = checkpoint.load()
    start, seconds, curve = 0, 0.0, []
    if kept:
        net.load_state_dict(kept["net"])
        optimiser.load_state_dict(kept["optimiser"])
        ema.load_state_dict(kept["ema"])
        start, seconds, curve = kept["step"], kept["seconds"], kept["curve"]
    watch = Stopwatch()
    kind = "cuda" if world.device.startswith("cuda") else "cpu"
    if kind == "cuda":  # the fastest kernels; there a run goes on, but not to the bit
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    half = runtime.choose(kind).precision == "bf16"
    stop = max(1, round(config.halt * config.steps))
    with progress(world) as bars, board(out, world) as log:
        task = bars.add_task("train", total=stop, completed=start)
        recent, losses = 0.0, []
        for step, batch in source.stream(start, stop, begin.workers):
            images, labels, weights, parts = (t.to(world.device) for t in batch)
            for group in optimiser.param_groups:
                group["lr"] = _rate(step, config)
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
                logits = model(images)
            answers = logits if isinstance(logits, list) else [logits]
            loss = deep_loss(
                answers,
                labels,
                weights if config.weigh else torch.ones_like(weights),
                config.smoothing,
            )
            if config.lesion_term:
                loss = loss + config.lesion_term * lesion_loss(answers[0], parts)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            ema.update(net)
            losses.append(loss.detach())
            save = (step + 1) % config.save_every == 0 or step + 1 == stop
            if save or len(losses) == LOOK_EVERY:  # each look makes the GPU wait
                values = torch.stack(losses).tolist()
                first = step + 1 - len(values)
                for place, value in enumerate(values, start=first):
                    if not np.isfinite(value):
                        raise RuntimeError(f"the loss is not finite at step {place}; lower --rate")
                    recent = value if place == start else 0.98 * recent + 0.02 * value
                    log("loss", value, place)
                words = f"train, loss {recent:.3f}"
                bars.update(task, completed=step + 1, description=words)
                losses.clear()
            if save:
                curve.append([step + 1, recent])
                state = {
                    "net": net.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "ema": ema.state_dict(),
                    "step": step + 1,
                    "seconds": seconds + watch.seconds,
                    "curve": curve,
                }
                checkpoint.save(state)
    return {"weights": ema.shadow, "curve": curve, "seconds": seconds + watch.seconds}


def validate(
    cache: Path, names: list[str], net: Segmenter, world: World, hidden: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Figures on held-out cases: mean Dice a region, lesion-wise ET Dice, detection by size.

    ``hidden``: indices of SEQUENCES to hide, to see what a missing sequence costs.
    """
    from bmcore.domain import REGIONS
    from bmcore.models import runtime
    from bmcore.models.inference import segment
    from bmcore.stats import segmentation as metrics
    from bmcore.stats.bootstrap import mean_statistic, patient_bootstrap

    rows: list[dict[str, float]] = []
    sizes: list[float] = []
    hits: list[bool] = []
    owners: list[int] = []
    false_counts: list[int] = []
    how = runtime.choose("cuda" if world.device.startswith("cuda") else "cpu")
    with progress(world) as bars, runtime.inference(how):
        task = bars.add_task("validate", total=len(names))
        for number, name in enumerate(names):
            images = np.load(cache / f"{name}.images.npy").astype(np.float32)
            brain = (images != 0).any(0)
            images[list(hidden)] = 0
            truth = np.load(cache / f"{name}.labels.npy")
            found = segment(net, images, brain)
            row = {
                f"dice_{r}": metrics.dice(metrics.region(found, k), metrics.region(truth, k))
                for r, k in REGIONS.items()
            }
            by_region = {
                r: metrics.lesion_wise(metrics.region(found, k), metrics.region(truth, k))
                for r, k in REGIONS.items()
                if r != "WT"
            }
            detection = by_region["TC"]
            row["lesion_wise_dice_ET"] = by_region["ET"].dice
            rows.append(row)
            sizes += [s.diameter_mm for s in detection.lesions]
            hits += [s.detected for s in detection.lesions]
            owners += [number] * len(detection.lesions)
            false_counts.append(detection.false_lesions)
            bars.advance(task)
    ids = np.arange(len(rows))

    def mean(values: npt.NDArray[np.float64]) -> dict[str, Any]:
        return asdict(patient_bootstrap(mean_statistic(values), ids))

    return {
        "cases": len(rows),
        **{k: mean(np.array([r[k] for r in rows])) for k in rows[0]},
        "detection_by_diameter": [
            asdict(b) for b in metrics.detection_by_size(sizes, hits, owners)
        ],
        "false_lesions_per_case": asdict(metrics.false_lesions_per_case(false_counts)),
        "lesion_wise_dice_ET_of_each": [r["lesion_wise_dice_ET"] for r in rows],
    }


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

    from bmcore.models.bundles import write_part
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
        **asdict(config),
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
        typer.Option(help="Folder of cases in the Yale layout; may be absent with --scenes."),
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
