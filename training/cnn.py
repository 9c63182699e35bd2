"""Train the lesion CNN: ``python -m training.cnn --data DIR --out DIR``.

Patients are dealt into folds. A net is trained for each pair of folds it must not see, and one on
all patients. The features of a patient by a net that saw neither this patient nor a second fold let
the autoencoder and the MLR be fitted and tested on held-out features only, with the second fold as
their test (stacked generalisation, Wolpert 1992, nested). With 5 folds these are 10 nets on 60 % of
the patients: six times the work of one net.

A killed run, started again with the same options, goes on to the bit. ``torchrun --nproc_per_node N
-m training.cnn`` shares each batch among N processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES, refuse
from bmcore.models.cnn import (
    FEATURE_NAMES,
    CNNConfig,
    build_cnn,
    lesion_logits,
    patient_features,
    patient_probabilities,
)
from bmcore.models.folds import stratified_folds
from bmcore.models.lesion_training import AUGMENTATION, augment, class_weights, patient_loss
from training.cohort import Cohort, Patient, prepare_cohort
from training.common import (
    EMA,
    Checkpoint,
    DataOption,
    DeviceOption,
    EpochsOption,
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
    tensors_hash,
    update_metrics,
)

FEATURES_FILE = Path("cnn") / "features.npz"
Log = Callable[[str, float, int], None]


@dataclass(frozen=True)
class CNNTraining:
    """How each net is trained.

    epochs: passes over the patients.  batch: patients a step and process.  lesions: at most so many
    a patient and pass, drawn anew each time.  rate: peak of the one-cycle rate of AdamW.
    decay: weight decay.  smoothing: label smoothing.  lesion_term: weight of the lesions' own loss.
    class_power: 0 all patients alike, 1 all primaries alike.  ema: decay of the averaged weights.
    folds: of the nested cross-validation.  seed: of weights, folds and augmentation.
    """

    epochs: int = 12
    batch: int = 12
    lesions: int = 4
    rate: float = 3e-3
    decay: float = 0.02
    smoothing: float = 0.05
    lesion_term: float = 0.3
    class_power: float = 0.5
    ema: float = 0.98
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One net to train. name: of its files; number: part of its seeds; unseen: folds left out."""

    name: str
    number: int
    unseen: tuple[int, ...]


def runs_of(folds: int) -> list[Run]:
    """The final net first, then one for each pair of folds."""
    pairs = combinations(range(folds), 2)
    return [
        Run("final", 0, ()),
        *(Run(f"without-{a}-{b}", n, (a, b)) for n, (a, b) in enumerate(pairs, start=1)),
    ]


# --- one net -----------------------------------------------------------------------------------


def _batches(
    patients: Sequence[Patient], config: CNNTraining, run: Run, epoch: int, world: World
) -> list[npt.NDArray[np.int64]]:
    """Positions of the patients of each step, this process's share; the same number for each.

    The order depends on seed, net and epoch alone. It is filled up from its beginning, so that each
    process has full batches.
    """
    random = np.random.default_rng([config.seed, run.number, epoch])
    step = config.batch * world.size
    count = max(1, round(len(patients) / step))
    order = np.resize(random.permutation(len(patients)), count * step)
    return [part[world.rank :: world.size] for part in order.reshape(count, step)]


def _batch(
    patients: Sequence[Patient], chosen: npt.NDArray, most: int, random: np.random.Generator
) -> tuple[Any, Any, Any]:
    """Patches (n, 7, 32, 32, 32), whose they are (n,), and the patients' labels, as tensors."""
    import torch

    stacks, owners = [], []
    for owner, position in enumerate(chosen):
        patches = patients[position].patches
        drawn = np.sort(random.permutation(len(patches))[:most])
        stacks.append(patches[drawn].astype(np.float32))
        owners += [owner] * len(drawn)
    patient = torch.tensor(owners)
    labels = torch.tensor([patients[position].label for position in chosen])
    return augment(torch.from_numpy(np.concatenate(stacks)), patient, random), patient, labels


def train_net(
    patients: Sequence[Patient],
    run: Run,
    config: CNNTraining,
    net_config: CNNConfig,
    place: Path,
    world: World,
    log: Log,
    on_epoch: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Train one net with a checkpoint an epoch; the averaged weights, on the CPU.

    A finished net is kept as ``place/NAME.safetensors`` and only read the next time.
    """
    import torch
    from safetensors.torch import save_file

    options = fingerprint(
        asdict(config), asdict(net_config), run.name, world.size, [p.case_id for p in patients],
        [p.label for p in patients], place.name,
    )  # fmt: skip
    finished = place / f"{run.name}.safetensors"
    kept = _finished_net(finished, options)
    if kept is not None:
        return kept
    seed_everything(config.seed * 1000 + run.number)
    net = build_cnn(net_config).to(world.device, memory_format=torch.channels_last_3d)
    ema = EMA(net, config.ema)
    model = world.wrap(net)
    labels = np.array([p.label for p in patients])
    weights = torch.from_numpy(class_weights(labels, len(PRIMARIES), config.class_power))
    steps = len(_batches(patients, config, run, 0, world))
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.rate, total_steps=steps * config.epochs
    )
    checkpoint = Checkpoint(place / f"{run.name}.pt", options)  # weights are alike in all processes
    start = _go_on(checkpoint, net, optimiser, schedule, ema)
    for epoch in range(start, config.epochs):
        random = np.random.default_rng([config.seed, run.number, epoch, world.rank])
        torch.manual_seed(int(random.integers(2**62)))  # dropout: of this process and epoch alone
        losses = []
        model.train()
        for chosen in _batches(patients, config, run, epoch, world):
            patches, patient, truth = (
                t.to(world.device) for t in _batch(patients, chosen, config.lesions, random)
            )
            logits = model(patches.contiguous(memory_format=torch.channels_last_3d))
            loss = patient_loss(
                logits, patient, truth, weights.to(world.device),
                lesion_term=config.lesion_term, smoothing=config.smoothing,
            )  # fmt: skip
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            ema.update(net)
            losses.append(loss.item())
        mean = world.mean(float(np.mean(losses)))
        if not np.isfinite(mean):
            raise RuntimeError(f"the loss of {run.name} is not finite; lower the rate")
        log(f"{run.name}/loss", mean, epoch)
        state = {
            "epoch": epoch + 1,
            "net": net.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "ema": ema.state_dict(),
        }
        if world.main:
            checkpoint.save(state)
        if on_epoch:
            on_epoch(mean)
    tensors = {k: v.detach().cpu().contiguous() for k, v in ema.shadow.items()}
    if world.main:
        with atomic_path(finished) as beside:
            save_file(tensors, beside, metadata={"options": options})
        checkpoint.remove()
    world.barrier()
    return tensors


def _go_on(checkpoint: Checkpoint, net: Any, optimiser: Any, schedule: Any, ema: EMA) -> int:
    """Set all states back where there is a checkpoint; the epoch to go on with."""
    state = checkpoint.load()
    if state is None:
        return 0
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    ema.load_state_dict(state["ema"])
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


# --- all nets and what they say of patients they have not seen -----------------------------------


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Features of each patient by nets that have not seen the patient.

    features (n, K, f): entry [p, b] comes from the net that saw neither the fold of p nor fold b;
    NaN where b is the fold of p. probabilities (n, K, 6): of the CNN alone, likewise.
    fold, labels (n,); clinical (n, m); case_ids.
    """

    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    fold: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    clinical: npt.NDArray[np.float64]
    case_ids: npt.NDArray

    @property
    def folds(self) -> int:
        return int(self.features.shape[1])

    @property
    def one_each(self) -> npt.NDArray[np.float32]:
        """One row a patient (n, f), from one net that has not seen the patient."""
        return self.features[np.arange(len(self.fold)), (self.fold + 1) % self.folds]


def load_held_out(out: Path) -> HeldOut:
    """What ``training.cnn`` left in OUT. Raises InputRefused where it has not been run."""
    path = out / FEATURES_FILE
    if not path.exists():
        raise refuse(
            "the features of the CNN are not there", file=path, hint="run training.cnn first."
        )
    with np.load(path, allow_pickle=False) as kept:
        if kept["names"].tolist() != list(FEATURE_NAMES):
            raise refuse("the features are of another version", file=path, hint="run it again.")
        return HeldOut(**{name: kept[name] for name in HeldOut.__dataclass_fields__})


def _describe(
    cohort: Cohort, fold: npt.NDArray, nets: dict[tuple[int, ...], dict], net_config: CNNConfig
) -> HeldOut:
    n, folds = len(cohort.patients), int(fold.max()) + 1
    features = np.full((n, folds, len(FEATURE_NAMES)), np.nan, np.float32)
    probabilities = np.full((n, folds, len(PRIMARIES)), np.nan, np.float32)
    net = build_cnn(net_config)
    for (a, b), tensors in nets.items():
        net.load_state_dict(tensors)
        for position in np.flatnonzero((fold == a) | (fold == b)):
            patient = cohort.patients[position]
            other = b if fold[position] == a else a
            logits = lesion_logits(net, patient.patches)
            features[position, other] = patient_features(
                net, patient.patches, patient.lesions, logits
            )
            probabilities[position, other] = patient_probabilities(logits)
    ids = np.array([p.case_id for p in cohort.patients])
    return HeldOut(features, probabilities, fold, cohort.labels, cohort.clinical, ids)


def _metrics(held_out: HeldOut) -> dict[str, Any]:
    """The CNN alone, each patient by the mean of the nets that have not seen the patient."""
    from bmcore.stats import classification as c

    truth, p = held_out.labels, np.nanmean(held_out.probabilities, axis=1)
    top = p.argmax(axis=1)
    return {
        "what": "CNN alone, patients it has not seen, mean of the nets",
        "accuracy": c.accuracy(truth, top),
        "balanced_accuracy": c.balanced_accuracy(truth, top, len(PRIMARIES)),
        "macro_auc": c.auc(truth, p).macro,
        "log_loss": c.log_loss(truth, p),
    }


def train_all(
    cohort: Cohort, out: Path, config: CNNTraining, net_config: CNNConfig, world: World
) -> None:
    """Train every net, write the held-out features, the bundle's part ``cnn`` and metrics.json."""
    from bmcore.models.bundles import write_part

    watch = Stopwatch()
    folds = min(config.folds, len(cohort.patients))
    fold = stratified_folds(cohort.labels, folds, config.seed)
    options = (cohort.digest, asdict(config), asdict(net_config), world.size)
    place = out / "cnn" / fingerprint(*options)[:12]  # other options start beside, not over, these
    runs = runs_of(folds)
    nets: dict[tuple[int, ...], dict[str, Any]] = {}
    with progress(world) as bars, board(out / "cnn", world) as log:
        task = bars.add_task("train", total=len(runs) * config.epochs)
        for number, run in enumerate(runs):
            members = [p for p, f in zip(cohort.patients, fold, strict=True) if f not in run.unseen]

            def shown(loss: float, name: str = run.name) -> None:
                bars.update(task, advance=1, description=f"net {name}, loss {loss:.3f}")

            nets[run.unseen] = train_net(members, run, config, net_config, place, world, log, shown)
            bars.update(task, completed=(number + 1) * config.epochs)
    if not world.main:
        return
    final = nets.pop(())
    held_out = _describe(cohort, fold, nets, net_config)
    with atomic_path(out / FEATURES_FILE) as beside, beside.open("wb") as stream:
        np.savez(stream, names=np.array(FEATURE_NAMES), **vars(held_out))
    metrics = _metrics(held_out)
    training = {
        **asdict(config),
        "patients": cohort.counts,
        "patients_digest": cohort.digest,
        "nets": len(runs),
        "seconds": round(watch.seconds),
        "hardware": "GPU" if world.device.startswith("cuda") else "CPU",
        "processes": world.size,
        "augmentation": dict(AUGMENTATION),
        "standardisation": "median and interquartile range inside the brain, clipped to +-6",
        "normalisation": "group norm, 4 groups",
        "regularisation": "weight decay, dropout, label smoothing, averaged weights, augmentation",
        "tensors_sha256": tensors_hash(final),
    }
    write_part(out, "cnn", final, net_config, training, {k: _row(v) for k, v in metrics.items()})
    update_metrics(out, "cnn", {**metrics, "training": training})


def _row(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def main(
    data: DataOption,
    out: OutOption,
    epochs: EpochsOption = CNNTraining.epochs,
    folds: Annotated[
        int, typer.Option(min=3, help="Folds of the cross-validation.")
    ] = CNNTraining.folds,
    batch: Annotated[int, typer.Option(min=1, help="Patients a step.")] = CNNTraining.batch,
    seed: SeedOption = CNNTraining.seed,
    device: DeviceOption = "auto",
) -> None:
    """Train the lesion CNN on DATA; writes OUT/cnn.safetensors and OUT/metrics.json."""
    out.mkdir(parents=True, exist_ok=True)
    config = CNNTraining(epochs=epochs, folds=folds, batch=batch, seed=seed)
    with distributed(device) as world:
        train_all(prepare_cohort(data, out, world), out, config, CNNConfig(), world)


if __name__ == "__main__":
    run_app(main)
