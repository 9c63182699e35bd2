"""One lesion CNN: what it learns from, how long and how strongly held back, and its training.

How long a net is trained, how strongly it is held back (dropout, weight decay) and its temperature
are chosen from its own patients alone: nets of each setting are trained on three quarters of them
and asked about the last quarter; then one net is trained on all of them.
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
from bmcore.models.folds import stratified_folds
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
    read_json,
    write_json,
)
from training.run.processes import World
from training.run.random_state import seed_everything

Log = Callable[[str, float, int], None]


@dataclass(frozen=True)
class CNNTraining:
    """How each net is trained.

    epochs: most passes over the patients; how many is chosen inside.  every: passes between looks
    at the inner held-out patients.  settings: (dropout, weight decay) to choose from; a single one
    is taken as it is.  inner: one part in so many of the net's patients is held out for the choice;
    0: nothing is chosen, the first setting runs for all epochs.  batch: patients a step and
    process.  lesions: at most so many a patient and pass, drawn anew each time.  views: augmented
    copies of each patient, the first unchanged.  rate: of AdamW, reached after ``warmup`` steps and
    then constant, since averaged weights need no falling rate and any pass can be the last.
    smoothing: label smoothing.  lesion_term: weight of the lesions' own loss.  class_power: 0 all
    patients alike, 1 all primaries alike.  ema: decay of the averaged weights.  folds: of the
    nested cross-validation.  seed: of weights, folds and augmentation.
    """

    epochs: int = 30
    every: int = 3
    settings: tuple[tuple[float, float], ...] = ((0.2, 0.02), (0.5, 0.3))
    inner: int = 4
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
    """What the inner held-out patients chose.

    setting: position in ``CNNTraining.settings``. loss: log loss of the inner held-out patients
    with that temperature, None where nothing was chosen. patients: held out inside.
    """

    setting: int
    epochs: int
    temperature: float
    loss: float | None
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
    """One net to train. name: of its files; number: part of its seeds; unseen: folds left out."""

    name: str
    number: int
    unseen: tuple[int, ...]


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
        setting: int,
        world: World,
    ) -> None:
        import torch

        self.members, self.config, self.seeds, self.world = members, config, seeds, world
        dropout, decay = config.settings[setting]
        seed_everything(seeds[0] * 1000 + seeds[1])
        net = build_cnn(replace(net_config, dropout=dropout))
        self.net = net.to(world.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.ema = EMA(self.net, config.ema)
        self.model = world.wrap(self.net)
        labels = np.array([m.label for m in members])
        weights = class_weights(labels, len(PRIMARIES), config.class_power)
        self.weights = torch.from_numpy(weights).to(world.device)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), config.rate, weight_decay=decay)
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

    def patient_logits(self, others: Sequence[Views]) -> npt.NDArray[np.float64]:
        """Mean logits (n, 6) of other patients, unchanged view, by the averaged weights.

        They answer for primaries as common as they are: a weight w in the loss has raised a logit
        by ln(w) (Elkan 2001), which is taken off again.
        """
        with self.ema.applied(self.net):
            means = [lesion_logits(self.net, o.tensor[0].numpy()).mean(axis=0) for o in others]
        return np.array(means, dtype=np.float64) - np.log(self.weights.cpu().numpy())

    def tensors(self, temperature: float) -> dict[str, Any]:
        """The averaged weights on the CPU, class weights and temperature taken out of the head."""
        out = {k: v.detach().cpu().contiguous() for k, v in self.ema.shadow.items()}
        bias = out["head.bias"] - self.weights.cpu().log()
        return out | {
            "head.weight": out["head.weight"] / temperature,
            "head.bias": bias / temperature,
        }

    def state(self, epoch: int) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "ema": self.ema.state_dict(),
        }


def choose(
    members: Sequence[Views], run: Run, config: CNNTraining, net_config: CNNConfig, world: World
) -> Choice:
    """Setting, number of epochs and temperature from these patients alone.

    The choice is that of the least log loss on the inner held-out patients, each with its own best
    temperature. With too few patients, or ``inner`` 0, nothing is chosen.
    """
    labels = np.array([m.label for m in members])
    if config.inner < 2 or len({m.person for m in members}) < 2 * config.inner:
        return Choice(0, config.epochs, 1.0, None, 0)
    persons = [m.person for m in members]
    seed = config.seed * 1000 + run.number
    held = stratified_folds(labels, config.inner, seed, persons) == 0
    learn = [m for m, h in zip(members, held, strict=True) if not h]
    judge = [m for m, h in zip(members, held, strict=True) if h]
    best = Choice(0, config.epochs, 1.0, None, len(judge))
    for setting in range(len(config.settings)):
        learner = CNNTrainer(
            learn, config, net_config, (config.seed, 500 + run.number), setting, world
        )
        for epoch in range(config.epochs):
            learner.epoch(epoch)
            if (epoch + 1) % config.every and epoch + 1 < config.epochs:
                continue
            logits = learner.patient_logits(judge)
            t = temperature(logits, labels[held])
            loss = log_loss(logits / t, labels[held])
            if best.loss is None or loss < best.loss:
                best = Choice(setting, epoch + 1, t, loss, len(judge))
    return best


def train_net(
    members: Sequence[Views],
    run: Run,
    config: CNNTraining,
    net_config: CNNConfig,
    place: Path,
    world: World,
    log: Log,
    on_epoch: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Train one net with a checkpoint an epoch; the averaged weights, on the CPU.

    Class weights and temperature are taken out of the last layer, so the net's logits are
    calibrated. A finished net is kept as ``place/NAME.safetensors`` and only read the next time.
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
    choice = _chosen(members, run, config, net_config, place, world, options)
    seeds = (config.seed, run.number)
    learner = CNNTrainer(members, config, net_config, seeds, choice.setting, world)
    checkpoint = Checkpoint(place / f"{run.name}.pt", options)  # weights are alike in all processes
    start = _go_on(checkpoint, learner)
    for epoch in range(start, choice.epochs):
        mean = learner.epoch(epoch)
        log(f"{run.name}/loss", mean, epoch)
        if world.main:
            checkpoint.save(learner.state(epoch + 1))
        if on_epoch:
            on_epoch(mean)
    tensors = learner.tensors(choice.temperature)
    if world.main:
        with atomic_path(finished) as beside:
            save_file(tensors, beside, metadata={"options": options})
        checkpoint.remove()
    world.barrier()
    return tensors


def _chosen(
    members: Sequence[Views],
    run: Run,
    config: CNNTraining,
    net_config: CNNConfig,
    place: Path,
    world: World,
    options: str,
) -> Choice:
    """The choice for this net, from its file where it was made before with the same options."""
    path = place / f"{run.name}.choice.json"
    kept = read_json(path) if path.exists() else {}
    world.barrier()  # nobody writes the file before everybody has looked for it
    if kept.get("options") == options:
        return Choice(**kept["choice"])
    choice = choose(members, run, config, net_config, world)
    if world.main:
        write_json(path, {"options": options, "choice": asdict(choice)})
    world.barrier()
    return Choice(**read_json(path)["choice"])  # the same numbers in each process


def _go_on(checkpoint: Checkpoint, learner: CNNTrainer) -> int:
    """Set all states back where there is a checkpoint; the epoch to go on with."""
    state = checkpoint.load()
    if state is None:
        return 0
    learner.net.load_state_dict(state["net"])
    learner.optimiser.load_state_dict(state["optimiser"])
    learner.schedule.load_state_dict(state["schedule"])
    learner.ema.load_state_dict(state["ema"])
    return int(state["epoch"])


def _finished_net(path: Path, options: str) -> dict[str, Any] | None:
    from safetensors import safe_open

    if not path.exists():
        return None
    with safe_open(path, framework="pt") as kept:
        if kept.metadata().get("options") == options:
            return {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118
    raise refuse(
        "a trained net of other options or other patients is there",
        file=path,
        hint="give the same options, another --out, or remove the folder.",
    )
