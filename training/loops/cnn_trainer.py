"""The nets of the lesion CNN: what they learn from, how long, and their training.

Each net is looked at every few passes. How long to train, and one temperature, are chosen once for
all nets, from what each says of the patients of its unseen fold: every patient takes part in the
choice, so there is little to be lucky with.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, refuse
from bmcore.models.cnn import build_cnn, lesion_logits
from bmcore.models.configs import CNNConfig
from bmcore.models.lesion_training import (
    augment_geometry,
    augment_intensity,
    class_weights,
    patient_loss,
)
from bmcore.models.mlr import log_loss, temperature
from training.data.cohort import Patient
from training.loops.ema import EMA
from training.loops.optimise import optimise
from training.run.checkpoint import Checkpoint
from training.run.files import (
    atomic_path,
    fingerprint,
)
from training.run.processes import World
from training.run.random_state import seed_everything

Log = Callable[[str, float, int], None]


@dataclass(frozen=True)
class CNNTraining:
    """How each net is trained.

    epochs: most passes over the patients; every: passes between looks at the unseen fold, of which
    one is chosen.  dropout, decay: how strongly the net is held back.  batch: patients a step and
    process.  lesions: at most so many a patient and pass, drawn anew each time.  views: augmented
    copies of each patient, the first unchanged.  rate: of AdamW, reached after ``warmup`` steps and
    then constant, since averaged weights need no falling rate and any pass can be the last.
    smoothing: label smoothing.  lesion_term: weight of the lesions' own loss.  class_power: 0 all
    patients alike, 1 all primaries alike.  ema: decay of the averaged weights.  folds: of the
    nested cross-validation.  seed: of weights, folds and augmentation.
    """

    epochs: int = 42
    every: int = 6
    dropout: float = 0.2
    decay: float = 0.02
    batch: int = 12
    lesions: int = 4
    views: int = 4
    rate: float = 2e-3
    warmup: int = 20
    smoothing: float = 0.05
    lesion_term: float = 0.3
    class_power: float = 0.5
    ema: float = 0.98
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """What the unseen folds chose: the number of passes, the temperature, and their log loss."""

    epochs: int
    temperature: float
    loss: float
    patients: int


@dataclass(frozen=True, eq=False)
class Views:
    """What the net computes on: float16 (views, n, channels, i, j, k); the first view is as cut."""

    case_id: str
    person: str
    label: int
    tensor: Any


@dataclass(frozen=True)
class Run:
    """One net to train. name: of its files; number: part of its seeds; unseen: fold left out."""

    name: str
    number: int
    unseen: int


def make_views(
    patients: Sequence[Patient], config: CNNTraining, net_config: CNNConfig
) -> list[Views]:
    """Each patient's augmented copies, once for all nets; they depend on seed and patient alone."""
    import torch

    net = build_cnn(net_config)
    out = []
    for patient in patients:
        patches = torch.from_numpy(patient.patches.astype(np.float32))
        owner = torch.zeros(len(patches), dtype=torch.long)
        seed = zlib.crc32(patient.case_id.encode())
        random = np.random.default_rng([config.seed, seed])
        copies = [
            patches,
            *(augment_geometry(patches, owner, random) for _ in range(config.views - 1)),
        ]
        with torch.no_grad():
            ready = torch.stack([net.prepare(copy).half() for copy in copies])
        out.append(Views(patient.case_id, patient.person, patient.label, ready))
    return out


def _batches(
    count: int, config: CNNTraining, seeds: tuple[int, ...], world: World
) -> list[npt.NDArray[np.int64]]:
    """Positions of the patients of each step, this process's share; the same number for each.

    The order depends on the seeds alone. It is filled up from its beginning, so that each process
    has full batches.
    """
    random = np.random.default_rng(seeds)
    step = config.batch * world.size
    steps = max(1, round(count / step))
    order = np.resize(random.permutation(count), steps * step)
    return [part[world.rank :: world.size] for part in order.reshape(steps, step)]


def _batch(
    members: Sequence[Views], chosen: npt.NDArray, most: int, random: np.random.Generator
) -> tuple[Any, Any, Any]:
    """What the net computes on (n, ...), whose it is (n,), and the patients' labels, as tensors."""
    import torch

    stacks, owners = [], []
    for owner, position in enumerate(chosen):
        views = members[position].tensor
        copy = views[int(random.integers(len(views)))]
        drawn = np.sort(random.permutation(len(copy))[:most])
        stacks.append(copy[torch.from_numpy(drawn)])
        owners += [owner] * len(drawn)
    patient = torch.tensor(owners)
    labels = torch.tensor([members[position].label for position in chosen])
    return augment_intensity(torch.cat(stacks).float(), patient, random), patient, labels


class CNNTrainer:
    """A net, its averaged weights and its optimiser; ``epoch`` passes once over the members."""

    def __init__(
        self,
        members: Sequence[Views],
        config: CNNTraining,
        net_config: CNNConfig,
        seeds: tuple[int, int],
        world: World,
    ) -> None:
        import torch

        self.members, self.config, self.seeds, self.world = members, config, seeds, world
        seed_everything(seeds[0] * 1000 + seeds[1])
        net = build_cnn(replace(net_config, dropout=config.dropout, members=1))
        self.net = net.to(world.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = EMA(self.net, config.ema)
        self.model = world.wrap(self.net)
        labels = np.array([m.label for m in members])
        weights = class_weights(labels, len(PRIMARIES), config.class_power)
        self.weights = torch.from_numpy(weights).to(world.device)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), config.rate, weight_decay=config.decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: min(1.0, (step + 1) / config.warmup)
        )

    def epoch(self, number: int) -> float:
        """One pass; the mean loss over its steps and over the processes."""
        import torch

        seeds = (*self.seeds, number)
        random = np.random.default_rng([*seeds, self.world.rank])
        torch.manual_seed(int(random.integers(2**62)))  # dropout: of this process and epoch alone
        losses = []
        self.model.train()
        for chosen in _batches(len(self.members), self.config, seeds, self.world):
            x, patient, truth = (
                t.to(self.world.device)
                for t in _batch(self.members, chosen, self.config.lesions, random)
            )
            loss = patient_loss(
                self.model(x.contiguous(memory_format=torch.channels_last_3d)),
                patient, truth, self.weights,
                lesion_term=self.config.lesion_term, smoothing=self.config.smoothing,
            )  # fmt: skip
            optimise(loss, self.net, self.optimiser, clip=1.0, schedule=self.schedule, ema=self.ema)
            losses.append(loss.item())
        mean = self.world.mean(float(np.mean(losses)))
        if not np.isfinite(mean):
            raise RuntimeError("the loss of the lesion CNN is not finite; lower the rate")
        return mean

    def tensors(self) -> dict[str, Any]:
        """The averaged weights on the CPU, class weights taken out of the head.

        They answer for primaries as common as they are: a weight w in the loss has raised a logit
        by ln(w) (Elkan 2001), which is taken off again.
        """
        out = {k: v.detach().cpu().clone().contiguous() for k, v in self.ema.shadow.items()}
        return out | {"head.bias": out["head.bias"] - self.weights.cpu().log()}

    def state(self, epoch: int) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }


def looks_of(config: CNNTraining) -> tuple[int, ...]:
    """After how many passes a net is looked at."""
    return tuple(sorted({*range(config.every, config.epochs + 1, config.every), config.epochs}))


def patient_logits(
    net_config: CNNConfig, tensors: dict[str, Any], others: Sequence[Views]
) -> npt.NDArray[np.float64]:
    """Mean logits (n, 6) over the lesions of other patients, unchanged view."""
    net = build_cnn(replace(net_config, members=1))
    net.load_state_dict(tensors)
    means = [lesion_logits(net, o.tensor[0].numpy()).mean(axis=0) for o in others]
    return np.array(means, dtype=np.float64).reshape(-1, len(PRIMARIES))


def choose(logits: dict[int, npt.NDArray[np.float64]], labels: npt.NDArray[np.int64]) -> Choice:
    """The number of passes with the least log loss, each with its own best temperature.

    logits: passes -> (n, 6) of all patients, each by the net that has not seen the patient.
    """
    found = []
    for epochs, values in logits.items():
        t = temperature(values, labels)
        found.append(Choice(epochs, t, log_loss(values / t, labels), len(labels)))
    return min(found, key=lambda choice: choice.loss)


def cooled(tensors: dict[str, Any], temperature: float) -> dict[str, Any]:
    """The net with its logits divided by a temperature."""
    names = ("head.weight", "head.bias")
    return tensors | {name: tensors[name] / temperature for name in names}


def train_net(
    members: Sequence[Views],
    run: Run,
    config: CNNTraining,
    net_config: CNNConfig,
    place: Path,
    world: World,
    log: Log,
    on_epoch: Callable[[float], None] | None = None,
) -> dict[int, dict[str, Any]]:
    """Train one net with a checkpoint an epoch; the averaged weights after each look, on the CPU.

    A finished net is kept as ``place/NAME.safetensors`` and only read the next time.
    """
    from safetensors.torch import save_file

    options = fingerprint(
        asdict(config), asdict(net_config), run.name, world.size, [m.case_id for m in members],
        [m.label for m in members], place.name,
    )  # fmt: skip
    finished = place / f"{run.name}.safetensors"
    kept = _finished_net(finished, options)
    if kept is not None:
        return kept
    learner = CNNTrainer(members, config, net_config, (config.seed, run.number), world)
    checkpoint = Checkpoint(place / f"{run.name}.pt", options)  # weights are alike in all processes
    looks = looks_of(config)
    start, seen = _go_on(checkpoint, learner)
    for epoch in range(start, config.epochs):
        mean = learner.epoch(epoch)
        log(f"{run.name}/loss", mean, epoch)
        if epoch + 1 in looks:
            seen |= _named(epoch + 1, learner.tensors())
        if world.main:
            checkpoint.save(learner.state(epoch + 1) | {"looks": seen})
        if on_epoch:
            on_epoch(mean)
    if world.main:
        with atomic_path(finished) as beside:
            save_file(seen, beside, metadata={"options": options})
        checkpoint.remove()
    world.barrier()
    return _by_look(seen)


def _named(epochs: int, tensors: dict[str, Any]) -> dict[str, Any]:
    return {f"{epochs}.{name}": tensor for name, tensor in tensors.items()}


def _by_look(seen: dict[str, Any]) -> dict[int, dict[str, Any]]:
    out: dict[int, dict[str, Any]] = {}
    for key, tensor in seen.items():
        epochs, _, name = key.partition(".")
        out.setdefault(int(epochs), {})[name] = tensor
    return out


def _go_on(checkpoint: Checkpoint, learner: CNNTrainer) -> tuple[int, dict[str, Any]]:
    """Set all states back where there is a checkpoint; the epoch to go on with, and the looks."""
    state = checkpoint.load()
    if state is None:
        return 0, {}
    learner.net.load_state_dict(state["net"])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.schedule.load_state_dict(state["schedule"])
    learner.ema.load_state_dict(state["ema"])
    return int(state["epoch"]), dict(state["looks"])


def _finished_net(path: Path, options: str) -> dict[int, dict[str, Any]] | None:
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as kept:
        if kept.metadata().get("options") == options:
            return _by_look({name: kept.get_tensor(name) for name in kept.keys()})  # noqa: SIM118
    raise refuse(
        "a trained net of other options or other patients is there",
        file=path,
        hint="give the same options, another --out, or remove the folder.",
    )
