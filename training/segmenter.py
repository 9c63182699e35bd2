"""Train the segmentation net: ``python -m training.segmenter --data DIR --out DIR``.

Each case is prepared once and kept below OUT/cache. A killed run, started again with the
same options, goes on to the bit. ``torchrun --nproc_per_node N -m training.segmenter`` works.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    DataOption,
    DeviceOption,
    OutOption,
    SeedOption,
    Stopwatch,
    World,
    atomic_path,
    board,
    distributed,
    fingerprint,
    progress,
    run_app,
    seed_everything,
    write_json,
)

if TYPE_CHECKING:
    import torch

    from bmcore.models.segmenter import SegmenterConfig


@dataclass(frozen=True)
class TrainConfig:
    """A sentence a field; the manifest holds all of them.

    steps, batch, patch: optimiser steps, patches a step, edge of a patch in voxels of 1 mm.
    lesion_share: share of patches centred near a lesion.  core_share: share centred on
    necrosis, which few lesions have.  drop: chance to lose t1n, t2w, t2f.
    rate, decay, warmup: peak learning rate (cosine to 0), weight decay, steps of warm-up.
    ema: decay of the averaged weights that are kept.  smoothing: label smoothing.
    validation: share of the patients held out.  save_every: steps between checkpoints.
    """

    steps: int = 4000
    batch: int = 2
    patch: int = 80
    lesion_share: float = 0.55
    core_share: float = 0.3
    drop: float = 0.25
    rate: float = 7e-4
    decay: float = 1e-2
    warmup: int = 150
    ema: float = 0.998
    smoothing: float = 0.0
    validation: float = 0.06
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        # 32 leaves 2x2x2 at the deepest level, where bfloat16 gradients on CPUs come out as NaN
        if self.patch % 16 or self.patch < 48:
            raise refuse(
                "the patch edge does not fit the net",
                found=self.patch,
                expected="a multiple of 16, at least 48",
                hint="take --patch 80.",
            )


AUGMENTATION = {
    "mirror": "left-right, chance 0.5",
    "gain and shift": "each sequence: gain exp(N(0, 0.2)), shift N(0, 0.15) spreads",
    "gamma": "each sequence, chance 0.3: exponent exp(N(0, 0.25)) of the range",
    "noise": "chance 0.3: Gaussian, up to 0.3 spreads",
    "blur": "each sequence, chance 0.15: mean over 2-3 voxels along one axis",
    "missing sequences": "t1n, t2w, t2f each lost by chance 'drop'; all three by 0.08",
}


# --- cases, prepared once -----------------------------------------------------------------------


def _spots(labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Up to 8 voxels of each lesion, so that each lesion is met about as often."""
    from scipy import ndimage

    parts, n = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    spots = [rng.permutation(np.argwhere(parts == i + 1))[:8] for i in range(min(n, 60))]
    return np.concatenate(spots or [np.zeros((0, 3))]).astype(np.int16)


def prepare_case(data: Path, case_id: str, cache: Path) -> Path:
    """Write images (float16), labels and loss weights of one case to ``cache/CASE.*.npy``."""
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.intake.datasets import YaleDataset
    from bmcore.models.losses import small_lesion_weights

    done = cache / f"{case_id}.spots.npy"
    if done.exists():
        return done
    case = YaleDataset(data).load(case_id)
    if case.truth is None or case.truth.mask is None:
        raise refuse(
            "no reference mask",
            file=case_id,
            expected="a seg file beside the sequences",
            hint="leave this case out of the training folder.",
        )
    prepared = prepare(case)
    labels = np.where(prepared.brain, to_working_grid(case.truth.mask, prepared), 0).astype(
        np.uint8
    )
    weights = np.rint(small_lesion_weights(labels) * 20).astype(np.uint8)
    arrays: dict[str, npt.NDArray] = {
        "images": prepared.images.astype(np.float16),
        "labels": labels,
        "weights": weights,
        "cores": np.random.default_rng(1)
        .permutation(np.argwhere(labels == 1))[:64]
        .astype(np.int16),
        "spots": _spots(labels, np.random.default_rng(0)),
    }
    for name, array in arrays.items():  # spots last: its presence says that the case is whole
        target = cache / f"{case_id}.{name}.npy"
        with atomic_path(target) as beside, beside.open("wb") as file:
            np.save(file, array)
    return done


def prepare_all(folders: list[Path], cache: Path, world: World) -> list[str]:
    """Prepare every case of the data folders; names are ``FOLDER-NUMBER/CASE`` in order."""
    from bmcore.intake.datasets import YaleDataset

    names = []
    with progress(world) as bars:
        for number, folder in enumerate(folders):
            place = cache / str(number)
            place.mkdir(parents=True, exist_ok=True)
            ids = YaleDataset(folder).case_ids
            task = bars.add_task(f"prepare {folder.name}", total=len(ids))
            for index, case_id in enumerate(ids):
                if index % world.size == world.rank:
                    prepare_case(folder, case_id, place)
                bars.advance(task)
                names.append(f"{number}/{case_id}")
    world.barrier()
    return names


# --- patches ------------------------------------------------------------------------------------


class Patches:
    """Random patches; step n of a seed is always the same, whatever was drawn before."""

    def __init__(self, cache: Path, names: list[str], config: TrainConfig, rank: int) -> None:
        self.cache, self.names, self.config, self.rank = cache, names, config, rank
        self.with_core = [n for n in names if len(self._load(n, "cores")) == 64]

    def _load(self, name: str, kind: str) -> npt.NDArray:
        return np.load(self.cache / f"{name}.{kind}.npy", mmap_mode="r")

    def one(self, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        lot = rng.uniform()
        on_core = bool(self.with_core) and lot < self.config.core_share
        pool = self.with_core if on_core else self.names
        name = pool[int(rng.integers(len(pool)))]
        images, labels = self._load(name, "images"), self._load(name, "labels")
        weights, spots = self._load(name, "weights"), self._load(name, "spots")
        edge = self.config.patch
        shape = np.array(labels.shape)
        if on_core:
            cores = self._load(name, "cores")
            centre = cores[int(rng.integers(len(cores)))] + rng.integers(-edge // 6, edge // 6, 3)
        elif len(spots) and lot < self.config.core_share + self.config.lesion_share:
            centre = spots[int(rng.integers(len(spots)))] + rng.integers(-edge // 3, edge // 3, 3)
        else:
            centre = rng.integers(shape // 5, shape - shape // 5)
        low = np.clip(centre - edge // 2, 0, np.maximum(shape - edge, 0))
        box = tuple(slice(a, a + edge) for a in low)
        missing = [(0, edge - len(range(*b.indices(n)))) for b, n in zip(box, shape, strict=True)]
        crop = np.pad(np.asarray(images[(slice(None), *box)], np.float32), [(0, 0), *missing])
        target = np.pad(np.asarray(labels[box]), missing)
        weight = np.pad(np.asarray(weights[box], np.float32) / 20, missing, constant_values=1)
        crop = augment(crop, rng, self.config.drop)
        if rng.uniform() < 0.5:
            crop, target, weight = crop[:, ::-1], target[::-1], weight[::-1]
        return crop, target, weight

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        rng = np.random.default_rng([self.config.seed, self.rank, step])
        columns = zip(*[self.one(rng) for _ in range(self.config.batch)], strict=True)
        images, labels, weights = (torch.from_numpy(np.stack(c)) for c in columns)
        return images, labels.long(), weights

    def stream(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Steps start..stop-1, the next one made ready in a thread meanwhile."""
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.step, start)
            for step in range(start, stop):
                batch = coming.result()
                if step + 1 < stop:
                    coming = thread.submit(self.step, step + 1)
                yield step, batch


def augment(
    images: npt.NDArray[np.float32], rng: np.random.Generator, drop: float
) -> npt.NDArray[np.float32]:
    """The intensity part of AUGMENTATION on a standardised patch (4, i, j, k); 0 stays 0."""
    from scipy import ndimage

    inside = (images != 0).any(0)
    out = np.empty_like(images)
    for c, image in enumerate(images):
        x = image
        if rng.uniform() < 0.15:
            x = ndimage.uniform_filter1d(x, int(rng.integers(2, 4)), axis=int(rng.integers(3)))
        if rng.uniform() < 0.3:
            low, high = -4.0, 6.0
            exponent = np.float32(np.exp(rng.normal(0, 0.25)))
            unit = np.clip((x - low) / (high - low), 0, 1)
            x = unit**exponent * (high - low) + low
            x -= np.float32((-low / (high - low)) ** exponent * (high - low) + low)
        x = x * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(rng.normal(0, 0.15))
        if rng.uniform() < 0.3:
            noise = rng.standard_normal(x.shape, dtype=np.float32)
            x = x + noise * np.float32(rng.uniform(0, 0.3))
        out[c] = np.where(inside, np.clip(x, -6, 6), 0)
    lost = rng.uniform(size=4) < drop
    lost[1] = False
    if rng.uniform() < 0.08:
        lost[[0, 2, 3]] = True
    out[lost] = 0
    return out


# --- training -----------------------------------------------------------------------------------


def _rate(step: int, config: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / config.warmup)
    return config.rate * warm * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))


def train(
    cache: Path,
    names: list[str],
    config: TrainConfig,
    net_config: SegmenterConfig,
    out: Path,
    world: World,
) -> dict[str, Any]:
    """Train to ``config.steps``; returns averaged weights (float32), loss curve and seconds."""
    import torch

    from bmcore.models.losses import segmentation_loss
    from bmcore.models.segmenter import build_segmenter

    seed_everything(config.seed, world.rank)
    net = build_segmenter(net_config).to(world.device)
    ema = EMA(net, config.ema)
    model = world.wrap(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.decay)
    options = fingerprint(asdict(config), net_config.as_dict(), names, world.size)
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
    patches = Patches(cache, names, config, world.rank)
    with progress(world) as bars, board(out, world) as log:
        task = bars.add_task("train", total=config.steps, completed=start)
        recent = 0.0
        for step, batch in patches.stream(start, config.steps):
            images, labels, weights = (t.to(world.device) for t in batch)
            for group in optimiser.param_groups:
                group["lr"] = _rate(step, config)
            with torch.autocast(kind, dtype=torch.bfloat16):
                logits = model(images)
            loss = segmentation_loss(logits, labels, weights, config.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            ema.update(net)
            value = loss.item()
            if not np.isfinite(value):
                raise RuntimeError(f"the loss is not finite at step {step}; lower --rate")
            recent = value if step == start else 0.98 * recent + 0.02 * value
            bars.update(task, advance=1, description=f"train, loss {recent:.3f}")
            log("loss", value, step)
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
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
    cache: Path, names: list[str], net: torch.nn.Module, world: World, hidden: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Figures on held-out cases: mean Dice a region, lesion-wise ET Dice, detection by size.

    ``hidden``: indices of SEQUENCES to hide, to see what a missing sequence costs.
    """
    from bmcore.domain import REGIONS
    from bmcore.models import runtime
    from bmcore.models.segmenter import segment
    from bmcore.stats import segmentation as metrics
    from bmcore.stats.bootstrap import patient_bootstrap

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
        return asdict(patient_bootstrap(lambda w: (w @ values) / w.sum(axis=1), ids))

    return {
        "cases": len(rows),
        **{k: mean(np.array([r[k] for r in rows])) for k in rows[0]},
        "detection_by_diameter": [
            asdict(b) for b in metrics.detection_by_size(sizes, hits, owners)
        ],
        "false_lesions_per_case": asdict(metrics.false_lesions_per_case(false_counts)),
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
    validation = validate(out / "cache", held, net, world)
    t1c_alone = validate(out / "cache", held, net, world, hidden=(0, 2, 3))
    training = {
        **asdict(config),
        "seconds": round(result["seconds"]),
        "hardware": "GPU" if world.device.startswith("cuda") else "CPU",
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "optimiser": "AdamW, cosine to 0",
        "loss": "weighted cross-entropy + soft Dice over ET, TC, oedema, necrosis",
        "augmentation": AUGMENTATION,
        "standardisation": "median and interquartile range inside the brain, clipped to +-6",
        "normalisation": "group norm, 8 groups",
        **more,
    }
    metrics = {
        "validation": validation,
        "validation_t1c_alone": t1c_alone,
        "loss": result["curve"],
    }
    write_part(out, "segmenter", half, net_config.as_dict(), training, metrics)
    write_json(out / "metrics.json", {"segmenter": metrics, "training": training})
    return metrics


def main(
    data: DataOption,
    out: OutOption,
    more_data: Annotated[
        list[Path] | None, typer.Option("--more-data", help="Another folder; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = TrainConfig.steps,
    batch: Annotated[int, typer.Option(min=1)] = TrainConfig.batch,
    patch: Annotated[int, typer.Option(help="Edge in voxels, a multiple of 16.")] = 80,
    filters: Annotated[int, typer.Option(help="Channels of the first level.")] = 24,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = TrainConfig.rate,
    save_every: Annotated[int, typer.Option(min=1)] = TrainConfig.save_every,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train the segmentation net on DATA and write OUT/segmenter.safetensors and metrics.json."""
    from bmcore.models.segmenter import SegmenterConfig

    config = TrainConfig(steps, batch, patch, rate=rate, save_every=save_every, seed=seed)
    net_config = SegmenterConfig(filters=filters, window=patch)
    out.mkdir(parents=True, exist_ok=True)
    with distributed(device) as world:
        names = prepare_all([data, *(more_data or [])], out / "cache", world)
        used, held = split(names, config.validation, seed)
        result = train(out / "cache", used, config, net_config, out, world)
        if world.main:
            publish(out, result, held, config, net_config, world, patients=len(used))


if __name__ == "__main__":
    run_app(main)
