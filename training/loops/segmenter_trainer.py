"""Train the segmentation net."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore.domain import refuse
from training.data.patches import Source
from training.data.sampling import Sampling
from training.loops.ema import EMA
from training.loops.optimise import optimise
from training.run.checkpoint import Checkpoint
from training.run.files import (
    fingerprint,
    tensors_hash,
)
from training.run.processes import (
    Stopwatch,
    World,
    board,
    progress,
)
from training.run.random_state import seed_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from bmcore.models.configs import SegmenterConfig
    from training.data.patches import Batch


LOOK_EVERY = 20  # steps between looks at the loss


@dataclass(frozen=True)
class TrainConfig(Sampling):
    """A sentence a field; the manifest holds all of them, those of ``Sampling`` too.

    steps: optimiser steps.  rate, decay, warmup: peak learning rate (cosine to 0), weight decay,
    steps of warm-up.  ema: decay of the averaged weights that are kept.  smoothing: label
    smoothing.  dropout: of the net.  weigh: whether voxels of small lesions count more.
    lesion_term: weight of the loss over single lesions.  early_stop: share of the steps after which
    the run stops.  validation: share of the patients held out.  save_every: steps between
    checkpoints.
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
    early_stop: float = 1.0
    validation: float = 0.06
    save_every: int = 100

    def as_dict(self) -> dict[str, Any]:
        """As manifests and checkpoints hold it: ``early_stop`` is called "halt" there."""
        return {"halt" if k == "early_stop" else k: v for k, v in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class Initialisation:
    """What a run starts with and leaves the result alone.

    weights, digest, training: of a net trained before, the hash of its file, and what its manifest
    says of its training, where one lies beside it; empty: a fresh net.
    workers: processes that make patches ready.
    config: of that net, with its limits, without false-positive reduction; None where no manifest
    lies beside it. reduction: config and weights of its false-positive reduction.
    """

    weights: dict[str, torch.Tensor] | None = None
    digest: str = ""
    workers: int = 0
    training: dict[str, Any] | None = None
    config: SegmenterConfig | None = None
    reduction: tuple[dict[str, Any], dict[str, torch.Tensor]] = ({}, {})


def begin_with(place: Path | None, workers: int) -> Initialisation:
    """Read the net to begin with: a bundle, a folder of ``training.segmenter``, or the file
    ``segmenter.safetensors``. A fresh start where ``place`` is None.

    False-positive reduction (``training.candidates``) was learnt for that net's own answers. It is
    read beside the weights; who fine-tunes decides what becomes of it.
    """
    if place is None:
        return Initialisation(workers=workers)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from bmcore.models.configs import FalsePositiveReduction, SegmenterConfig
    from bmcore.models.false_positive_reduction import (
        NO_REDUCTION,
        without_false_positive_reduction,
    )
    from bmcore.models.format_1 import tensors_as_format_2
    from bmcore.models.manifest import MANIFEST, read_manifest

    file = place / "segmenter.safetensors" if place.is_dir() else place
    try:
        every = tensors_as_format_2(load_file(file))
    except (OSError, SafetensorError) as error:
        raise refuse("these weights cannot be read", file=file, found=error) from error
    weights = {k: v.float() for k, v in without_false_positive_reduction(every).items()}
    beside = file.parent / MANIFEST
    parts = read_manifest(file.parent)["parts"] if beside.exists() else {}
    entry = parts.get("segmenter", {})
    training = entry.get("training")
    if training is not None:
        training = {k: v for k, v in training.items() if k != "candidates"}
    config, flat = None, entry.get("config")
    reduction: tuple[dict[str, Any], dict[str, torch.Tensor]] = ({}, {})
    if flat is not None:
        config = SegmenterConfig.from_dict(flat).changed(**NO_REDUCTION)
        known = FalsePositiveReduction.__dataclass_fields__
        taught = {k: v for k, v in every.items() if k not in weights}
        reduction = {k: v for k, v in flat.items() if k in known}, taught
    return Initialisation(weights, tensors_hash(weights), workers, training, config, reduction)


def settle(net: torch.nn.Module, begin: Initialisation) -> None:
    """Give ``net`` the weights to begin with, if there are any; InputRefused if they do not fit."""
    if begin.weights is None:
        return
    try:
        net.load_state_dict(begin.weights)
    except RuntimeError as error:
        raise refuse(
            "the weights to begin with do not fit the net",
            found=str(error).splitlines()[-1].strip(),
            hint="leave --filters, --full-resolution-channels and --down out: with the manifest of "
            "that run beside the weights they are taken from it.",
        ) from error


def _rate(step: int, config: TrainConfig) -> float:
    warm = min(1.0, (step + 1) / config.warmup)
    return config.rate * warm * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))


class SegmenterTrainer:
    """A net, its averaged weights and its optimiser; ``step`` learns from one batch."""

    def __init__(
        self,
        config: TrainConfig,
        net_config: SegmenterConfig,
        world: World,
        begin: Initialisation,
    ) -> None:
        import torch

        from bmcore.models import runtime
        from bmcore.models.segmenter import build_segmenter

        seed_everything(config.seed, world.rank)
        net = build_segmenter(net_config).to(world.device)
        settle(net, begin)
        self.config, self.world = config, world
        self.net = net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = EMA(self.net, config.ema)
        self.model = world.wrap(self.net)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.rate, weight_decay=config.decay
        )
        self.kind = "cuda" if world.device.startswith("cuda") else "cpu"
        if self.kind == "cuda":  # the fastest kernels; there a run goes on, but not to the bit
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
        self.half = runtime.choose(self.kind).precision == "bf16"

    def step(self, number: int, batch: Batch) -> torch.Tensor:
        """One optimiser step; its loss, without gradients."""
        import torch

        from bmcore.models.losses import deep_loss, lesion_loss

        config = self.config
        images, labels, weights, parts = (t.to(self.world.device) for t in batch)
        for group in self.optimiser.param_groups:
            group["lr"] = _rate(number, config)
        with torch.autocast(self.kind, dtype=torch.bfloat16, enabled=self.half):
            logits = self.model(images)
        answers = logits if isinstance(logits, list) else [logits]
        weights = weights if config.weigh else torch.ones_like(weights)
        loss = deep_loss(answers, labels, weights, config.smoothing)
        if config.lesion_term:
            loss = loss + config.lesion_term * lesion_loss(answers[0], parts)
        optimise(loss, self.net, self.optimiser, clip=2.0, ema=self.ema)
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])


class _LossCurve:
    """The running mean of the loss; looked at now and then, since each look makes a GPU wait.

    start: the first step of this process; points: [step, mean] kept so far.
    """

    def __init__(self, start: int, points: list[list[float]]) -> None:
        self.start, self.points = start, points
        self.recent = 0.0
        self.waiting: list[torch.Tensor] = []

    def look(self, step: int, log: Callable[[str, float, int], None]) -> None:
        """Log the losses that wait, the last of them of ``step``."""
        import torch

        values = torch.stack(self.waiting).tolist()
        for place, value in enumerate(values, start=step + 1 - len(values)):
            if not np.isfinite(value):
                raise RuntimeError(f"the loss is not finite at step {place}; lower --rate")
            self.recent = value if place == self.start else 0.98 * self.recent + 0.02 * value
            log("loss", value, place)
        self.waiting.clear()


def train(
    source: Source,
    config: TrainConfig,
    net_config: SegmenterConfig,
    out: Path,
    world: World,
    begin: Initialisation,
) -> dict[str, Any]:
    """Train to ``config.steps``; returns averaged weights (float32), loss curve and seconds."""
    trainer = SegmenterTrainer(config, net_config, world, begin)
    options = fingerprint(
        config.as_dict(), net_config.as_dict(), source.names, world.size, begin.digest
    )
    checkpoint = Checkpoint(out / f"checkpoint.rank{world.rank}.pt", options)
    kept = checkpoint.load() or {"step": 0, "seconds": 0.0, "curve": []}
    if "net" in kept:
        trainer.load_state_dict(kept)
    start, watch = kept["step"], Stopwatch()
    curve = _LossCurve(start, kept["curve"])
    stop = max(1, round(config.early_stop * config.steps))
    with progress(world) as bars, board(out, world) as log:
        task = bars.add_task("train", total=stop, completed=start)
        for step, batch in source.stream(start, stop, begin.workers):
            curve.waiting.append(trainer.step(step, batch))
            save = (step + 1) % config.save_every == 0 or step + 1 == stop
            if save or len(curve.waiting) == LOOK_EVERY:
                curve.look(step, log)
                words = f"train, loss {curve.recent:.3f}"
                bars.update(task, completed=step + 1, description=words)
            if save:
                curve.points.append([step + 1, curve.recent])
                spent = kept["seconds"] + watch.seconds
                state = {"step": step + 1, "seconds": spent, "curve": curve.points}
                checkpoint.save(trainer.state_dict() | state)
    seconds = kept["seconds"] + watch.seconds
    return {"weights": trainer.ema.shadow, "curve": curve.points, "seconds": seconds}
