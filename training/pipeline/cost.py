"""How long the whole will take and how much disk it needs, from a few short measurements."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.domain import refuse
from training.pipeline.audit import Audit
from training.pipeline.order import FINE, FRESH, LEAST_STEPS, Order
from training.run.plain_progress import duration
from training.run.processes import Stopwatch, distributed

BYTES_A_VOXEL = 4 * 2 + 2  # prepared: four images as float16, labels, weights
BYTES_A_PATIENT = 12 * 2**20  # candidates, crops, patches of both masks
BYTES_A_NET = 6  # copies of the weights that lie at once: checkpoint, trained, staged, chosen
SPARE = 1.2
START_NAMES_S = 0.5  # the start bundle's CNN and regressions on a patient
NAMING_A_PATIENT_S = 4.0  # autoencoder, regressions, evaluation and refits on a slow core


@dataclass(frozen=True)
class Pace:
    """Seconds: of one step of the segmentation net, of reading one case with it, of preparing one
    case, and of the CNN for one patient and pass. weights: of the net, in bytes."""

    step: float
    read: float
    prepare: float
    cnn: float
    weights: int


def measure_pace(order: Order, found: Audit) -> Pace:
    """Do a little of everything and look at the clock; some seconds on a GPU, a minute on a CPU."""
    from training.loops.segmenter_trainer import TrainConfig, begin_with
    from training.pipeline.segmentation import fresh_size
    from training.segmenter import net_of

    begin = begin_with(order.start, 0)
    net = net_of(begin, fresh_size() if begin.weights is None else {}, 0.0)
    config = TrainConfig(batch=order.effort.batch, patch=net.inference.window, steps=10)
    voxels = float(np.median([c.looked.brain for c in found.used]))
    prepare = float(np.median([c.looked.seconds for c in found.used]))
    with distributed(order.device) as world:
        step, read, size = _time_net(config, net, begin, world, voxels)
    return Pace(step, read, prepare, _time_cnn(), size)


def _time_net(config: Any, net: Any, begin: Any, world: Any, voxels: float) -> Any:
    import torch

    from bmcore.models import runtime
    from training.loops.segmenter_trainer import SegmenterTrainer

    trainer = SegmenterTrainer(config, net, world, begin)
    edge = config.patch
    images = torch.randn(config.batch, 4, edge, edge, edge)
    labels = torch.randint(0, 4, images.shape[:1] + images.shape[2:])
    batch = (images, labels, torch.ones(labels.shape), torch.zeros_like(labels).to(torch.int16))
    times = []
    for number in range(3):
        watch = Stopwatch()
        trainer.step(number, batch).item()
        times.append(watch.seconds)
    trainer.net.eval()
    with runtime.inference(runtime.choose(trainer.kind)):
        watch = Stopwatch()
        trainer.net(images[:1].to(world.device))
        if trainer.kind == "cuda":
            torch.cuda.synchronize()
        window = watch.seconds
    overlap = (1 - net.inference.overlap) ** 3
    windows = max(1.0, voxels / edge**3) / overlap * (2 if net.inference.flip_augmentation else 1)
    size = sum(p.numel() * 4 for p in trainer.net.parameters())
    return min(times), window * windows + 2.0, size


def _time_cnn() -> float:
    """Seconds of the CNN for one patient and pass: one step on a few."""
    import torch

    from bmcore.models.cnn import build_cnn
    from bmcore.models.configs import TRAINED
    from training.loops.cnn_trainer import CNNTraining

    patients = 3
    net = build_cnn(TRAINED).train()
    patches = torch.rand(patients * CNNTraining.lesions, 7, 32, 32, 32)
    with torch.no_grad():
        ready = net.prepare(patches)
    watch = Stopwatch()
    out = net(ready)
    (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()
    return watch.seconds / patients


def expected(order: Order, found: Audit, pace: Pace, steps: int, nets: int) -> dict[str, float]:
    """Seconds of each step of the chain, by its name."""
    cases, named = len(found.used), len(found.named)
    hands = max(1, order.workers)
    own = dict.fromkeys(net_names(nets), steps * pace.step)
    one_look = cases * (pace.prepare + pace.read) / hands
    naming = {
        "patients for naming": named * (3 * pace.prepare + pace.read) / hands,
        "cnn": 2 * named * order.effort.cnn * nets * pace.cnn,
    }
    rest = 2 * named * NAMING_A_PATIENT_S
    shares = {"autoencoder": 0.2, "mlr": 0.02, "evaluate": 0.6, "spread": 0.04,
              "learning curves": 0.14}  # fmt: skip
    return {
        "links": 1.0 + 0.02 * cases,
        **own,
        "second stage": one_look * 1.3 + 60,
        "limits": one_look * 1.2,
        "segmentation": one_look * (2 if order.effort.t1c_alone else 1),
        **naming,
        **{name: share * rest for name, share in shares.items()},
        "predicted masks": 5.0,
        "beside the start's naming": 0.0 if order.start is None else 5.0 + named * START_NAMES_S,
        "uncertainty": min(named, order.effort.described) * 3 * pace.prepare,
        "bundle": 5.0,
        "predict": 30.0 + pace.read,
    }


def net_names(nets: int) -> list[str]:
    return [*(f"net without fold {k}" for k in range(nets)), "net on all cases"]


def choose_steps(order: Order, found: Audit, pace: Pace, nets: int) -> int:
    """Steps of each segmentation net: as ordered, or as many as the minutes allow.

    InputRefused where they do not even allow LEAST_STEPS.
    """
    if order.effort.steps is not None:
        return order.effort.steps
    most = FRESH if order.start is None else FINE
    if order.minutes is None:
        return most
    rest = sum(expected(order, found, pace, 0, nets).values())
    fit = int((order.minutes * 60 - rest) / ((nets + 1) * pace.step))
    if fit < LEAST_STEPS:
        need = rest + (nets + 1) * LEAST_STEPS * pace.step
        raise refuse(
            "the minutes do not suffice for this cohort on this machine",
            found=f"{order.minutes:g} minutes",
            expected=f"about {duration(need)} or more, and {duration(rest)} of it for all that is "
            "not training the segmentation nets",
            hint="give more --minutes, fewer --folds, or take a machine with a GPU.",
        )
    return min(most, fit // 10 * 10)


def check_disk(order: Order, found: Audit, pace: Pace, nets: int) -> None:
    """InputRefused where the disk of WORK cannot hold what will be kept there."""
    voxels = sum(c.looked.brain for c in found.used)
    kept = voxels * BYTES_A_VOXEL + len(found.used) * BYTES_A_PATIENT
    need = SPARE * (kept + (nets + 1) * pace.weights * BYTES_A_NET)
    order.work.mkdir(parents=True, exist_ok=True)
    there = _size(order.work)  # of an earlier run that goes on
    free = shutil.disk_usage(order.work).free
    if free + there < need:
        raise refuse(
            "there is too little room on the disk",
            file=order.work,
            found=f"{free / 2**30:.1f} GB free",
            expected=f"about {need / 2**30:.1f} GB",
            hint="make room, or name a folder on another disk with --work.",
        )


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
