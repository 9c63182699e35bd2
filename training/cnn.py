"""Train the lesion CNN: ``python -m training.cnn --data DIR --out DIR``.

DATA is a folder of cases in a known layout, of prepared patients, or of
``training.naming_dataset``. Patients are dealt into folds and a net (a member) is trained without
each fold. A patient's features come from the member that has not seen the patient; autoencoder and
regressions learn from them. In use all members read a new patient, which is new to each, and their
codes are averaged: what is learnt from and what is used come from the same nets in the same way.
Boosted trees on the plain measurements (``models.measurement_trees``) are learnt by the same folds.

How long the members are trained stands in ``training.loops.cnn_trainer``.

A killed run, started again with the same options, goes on to the bit. ``torchrun --nproc_per_node N
-m training.cnn`` shares each batch among N processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES
from bmcore.models.cnn import build_cnn, lesion_logits, patient_probabilities
from bmcore.models.configs import TRAINED, CNNConfig
from bmcore.models.folds import stratified_folds
from bmcore.models.image_features import FEATURE_NAMES, PLAIN, measured_of, scores_of
from bmcore.models.lesion_training import AUGMENTATION
from bmcore.models.measurement_trees import TreesConfig
from training.data.cohort import Cohort, prepare_cohort
from training.data.enough import check_enough
from training.data.held_out import FEATURES_FILE, HeldOut
from training.data.naming_patient import MASKS, load_naming_cohort
from training.loops.cnn_trainer import (
    Choice,
    CNNTraining,
    Run,
    Views,
    choose,
    cooled,
    make_views,
    patient_logits,
    train_net,
)
from training.run.files import atomic_path, fingerprint, tensors_hash, update_metrics
from training.run.options import (
    DataOption,
    DeviceOption,
    EpochsOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import (
    Stopwatch,
    World,
    board,
    distributed,
    progress,
)


def runs_of(folds: int) -> list[Run]:
    """A net without each fold."""
    return [Run(f"without-{k}", k, k) for k in range(folds)]


def _describe(
    cohort: Cohort,
    views: Sequence[Views],
    fold: npt.NDArray,
    members: Sequence[dict[str, Any]],
    net_config: CNNConfig,
) -> HeldOut:
    n = len(cohort.patients)
    features = np.zeros((n, PLAIN), np.float32)
    probabilities = np.zeros((n, len(PRIMARIES)), np.float32)
    net = build_cnn(replace(net_config, members=1))
    for k, tensors in enumerate(members):
        net.load_state_dict(tensors)
        for position in np.flatnonzero(fold == k):
            logits = lesion_logits(net, views[int(position)].tensor[0].numpy())
            measured = cohort.patients[position].measured
            features[position] = np.concatenate([scores_of(logits), measured])
            probabilities[position] = patient_probabilities(logits)
    ids = np.array([p.case_id for p in cohort.patients])
    lesions = np.array([len(p.lesions) for p in cohort.patients])
    largest = np.array([max(x.largest_diameter_mm for x in p.lesions) for p in cohort.patients])
    sex = np.array([p.record.sex or "" for p in cohort.patients])
    ages = [np.nan if (a := p.record.age_years) is None else a for p in cohort.patients]
    return HeldOut(
        features, probabilities, fold, cohort.labels, cohort.clinical, ids, lesions, largest,
        sex, np.array(ages, np.float64), cohort.persons,
    )  # fmt: skip


def _metrics(held_out: HeldOut) -> dict[str, Any]:
    """The CNN alone, each patient by the net that has not seen the patient."""
    from bmcore.stats import classification as c

    held_out = held_out.rows(held_out.judged)
    truth, p = held_out.labels, held_out.probabilities
    top = p.argmax(axis=1)
    return {
        "what": "CNN alone, each patient by the net that has not seen the patient",
        "accuracy": c.accuracy(truth, top),
        "balanced_accuracy": c.balanced_accuracy(truth, top, len(PRIMARIES)),
        "macro_auc": c.auc(truth, p).macro,
        "log_loss": c.log_loss(truth, p),
    }


def train_all(
    cohort: Cohort, out: Path, config: CNNTraining, net_config: CNNConfig, world: World
) -> None:
    """Train every net, write the held-out features, the bundle's part ``cnn`` and metrics.json."""
    from bmcore.models.bundle_writer import write_part

    watch = Stopwatch()
    check_enough(cohort.labels, cohort.persons)
    folds = min(config.folds, len(set(cohort.persons)))
    if cohort.folds is None:
        fold = stratified_folds(cohort.labels, folds, config.seed, cohort.persons)
    else:  # one stored split for every step
        folds, fold = int(cohort.folds.max()) + 1, cohort.folds
    options = (cohort.digest, asdict(config), asdict(net_config), world.size)
    place = out / "cnn" / fingerprint(*options)[:12]  # other options start beside, not over, these
    runs = runs_of(folds)
    nets: list[dict[int, dict[str, Any]]] = []
    views = make_views(cohort.patients, config, net_config)
    with progress(world) as bars, board(out / "cnn", world) as log:
        task = bars.add_task("train", total=len(runs) * config.epochs)
        for number, run in enumerate(runs):
            seen = [v for v, f in zip(views, fold, strict=True) if f != run.unseen]

            def shown(loss: float, name: str = run.name) -> None:
                bars.update(task, advance=1, description=f"net {name}, loss {loss:.3f}")

            nets.append(train_net(seen, run, config, net_config, place, world, log, shown))
            bars.update(task, completed=(number + 1) * config.epochs)
    if not world.main:
        return
    choice = _choose(cohort, views, fold, nets, net_config)
    members = [cooled(looks[choice.epochs], choice.temperature) for looks in nets]
    plain = _describe(cohort, views, fold, members, net_config)
    held_out = learn_trees(plain, out, TreesConfig(seed=config.seed))
    with atomic_path(out / FEATURES_FILE) as beside, beside.open("wb") as stream:
        np.savez(stream, names=np.array(FEATURE_NAMES), **vars(held_out))
    metrics = _metrics(held_out)
    tensors = {f"members.{k}.{n}": t for k, own in enumerate(members) for n, t in own.items()}
    training = {
        **asdict(config),
        "patients": cohort.counts,
        "patients_digest": cohort.digest,
        "nets": len(runs),
        "seconds": round(watch.seconds),
        "hardware": "GPU" if world.device.startswith("cuda") else "CPU",
        "processes": world.size,
        "augmentation": dict(AUGMENTATION),
        "standardisation": "ln of the ratio to the patient's own grey or white matter",
        "normalisation": "group norm, 4 groups",
        "regularisation": "dropout, weight decay, label smoothing, averaged weights, augmentation; "
        "number of epochs chosen once for all nets by their unseen folds",
        "calibration": "one temperature for all nets, on their unseen folds",
        "choice": asdict(choice),
        "tensors_sha256": tensors_hash(tensors),
    }
    config_of_all = replace(net_config, members=len(members))
    shown_metrics = {k: _row(v) for k, v in metrics.items()}
    write_part(out, "cnn", tensors, config_of_all, training, shown_metrics)
    update_metrics(out, "cnn", {**metrics, "training": training})


def learn_trees(plain: HeldOut, out: Path, config: TreesConfig) -> HeldOut:
    """Learn trees on the measurements by the folds of ``plain``, write the bundle's part ``trees``,
    and add their scores to the features."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.measurement_trees import fit, out_of_fold

    watch = Stopwatch()
    measured = measured_of(plain.features)
    trees = fit(measured, plain.labels, plain.fold, config)
    scores = out_of_fold(trees, measured, plain.fold)
    training = {
        **asdict(config),
        "patients": len(measured),
        "members": trees.members,
        "missing": "mean of the training patients",
        "regularisation": "shallow trees, small steps, L2 penalty on the leaves, few measurements "
        "to choose from at a split",
        "seconds": round(watch.seconds, 1),
        "tensors_sha256": tensors_hash(trees.tensors()),
    }
    write_part(out, "trees", trees.tensors(), {}, training)
    update_metrics(out, "trees", {"training": training})
    return replace(plain, features=np.hstack([plain.features, scores]).astype(np.float32))


def _choose(
    cohort: Cohort,
    views: Sequence[Views],
    fold: npt.NDArray,
    nets: Sequence[dict[int, dict[str, Any]]],
    net_config: CNNConfig,
) -> Choice:
    """How long to train, from what each net says of its unseen fold after each look."""
    logits = {epochs: np.zeros((len(views), len(PRIMARIES))) for epochs in nets[0]}
    for k, looks in enumerate(nets):
        rows = np.flatnonzero(fold == k)
        for epochs, tensors in looks.items():
            logits[epochs][rows] = patient_logits(
                net_config, tensors, [views[int(i)] for i in rows]
            )
    return choose(logits, cohort.labels)


def _row(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def main(
    data: DataOption,
    out: OutOption,
    epochs: EpochsOption = CNNTraining.epochs,
    folds: Annotated[
        int, typer.Option(min=2, help="Folds of the cross-validation.")
    ] = CNNTraining.folds,
    batch: Annotated[int, typer.Option(min=1, help="Patients a step.")] = CNNTraining.batch,
    seed: SeedOption = CNNTraining.seed,
    device: DeviceOption = "auto",
) -> None:
    """Train the lesion CNN on DATA; writes OUT/cnn.safetensors and OUT/metrics.json."""
    out.mkdir(parents=True, exist_ok=True)
    config = CNNTraining(epochs=epochs, folds=folds, batch=batch, seed=seed)
    with distributed(device) as world:
        drawn = (data / MASKS[0]).is_dir()  # by training.naming_dataset
        cohort = load_naming_cohort(data) if drawn else prepare_cohort(data, out, world)
        train_all(cohort, out, config, TRAINED, world)


if __name__ == "__main__":
    run_app(main)
