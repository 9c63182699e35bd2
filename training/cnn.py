"""Train the lesion CNN: ``python -m training.cnn --data DIR --out DIR``.

Patients are dealt into folds. A net is trained for each pair of folds it must not see, and one on
all patients. The features of a patient by a net that saw neither this patient nor a second fold let
the autoencoder and the MLR be fitted and tested on held-out features only, with the second fold as
their test (stacked generalisation, Wolpert 1992, nested). With 5 folds these are 10 nets on 60 % of
the patients: six times the work of one net.

How one of them is trained, and what it chooses from its own patients alone, stands in
``training.loops.cnn_trainer``.

A killed run, started again with the same options, goes on to the bit. ``torchrun --nproc_per_node N
-m training.cnn`` shares each batch among N processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES
from bmcore.models.cnn import (
    FEATURE_NAMES,
    build_cnn,
    lesion_logits,
    patient_features,
    patient_probabilities,
)
from bmcore.models.configs import TRAINED, CNNConfig
from bmcore.models.folds import stratified_folds
from bmcore.models.lesion_training import AUGMENTATION
from training.data.cohort import Cohort, prepare_cohort
from training.data.held_out import FEATURES_FILE, HeldOut
from training.loops.cnn_trainer import (
    CNNTraining,
    Run,
    Views,
    make_views,
    train_net,
)
from training.run.files import (
    atomic_path,
    fingerprint,
    read_json,
    tensors_hash,
    update_metrics,
)
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
    """The final net first, then one for each pair of folds."""
    pairs = combinations(range(folds), 2)
    return [
        Run("final", 0, ()),
        *(Run(f"without-{a}-{b}", n, (a, b)) for n, (a, b) in enumerate(pairs, start=1)),
    ]


# --- all nets and what they say of patients they have not seen -----------------------------------


def _describe(
    cohort: Cohort,
    views: Sequence[Views],
    fold: npt.NDArray,
    nets: dict[tuple[int, ...], dict],
    net_config: CNNConfig,
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
            logits = lesion_logits(net, views[int(position)].tensor[0].numpy())
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
    from bmcore.models.bundle_writer import write_part

    watch = Stopwatch()
    folds = min(config.folds, len(set(cohort.persons)))
    fold = stratified_folds(cohort.labels, folds, config.seed, cohort.persons)
    options = (cohort.digest, asdict(config), asdict(net_config), world.size)
    place = out / "cnn" / fingerprint(*options)[:12]  # other options start beside, not over, these
    runs = runs_of(folds)
    nets: dict[tuple[int, ...], dict[str, Any]] = {}
    views = make_views(cohort.patients, config, net_config)
    with progress(world) as bars, board(out / "cnn", world) as log:
        task = bars.add_task("train", total=len(runs) * config.epochs)
        for number, run in enumerate(runs):
            members = [v for v, f in zip(views, fold, strict=True) if f not in run.unseen]

            def shown(loss: float, name: str = run.name) -> None:
                bars.update(task, advance=1, description=f"net {name}, loss {loss:.3f}")

            nets[run.unseen] = train_net(members, run, config, net_config, place, world, log, shown)
            bars.update(task, completed=(number + 1) * config.epochs)
    if not world.main:
        return
    final = nets.pop(())
    held_out = _describe(cohort, views, fold, nets, net_config)
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
        "regularisation": "dropout, weight decay and number of epochs chosen by inner held-out "
        "patients of each net; label smoothing, averaged weights, augmentation",
        "calibration": "temperature, on the inner held-out patients of each net",
        "choices": {run.name: _choice_of(place, run) for run in runs},
        "tensors_sha256": tensors_hash(final),
    }
    write_part(out, "cnn", final, net_config, training, {k: _row(v) for k, v in metrics.items()})
    update_metrics(out, "cnn", {**metrics, "training": training})


def _choice_of(place: Path, run: Run) -> dict[str, Any]:
    return read_json(place / f"{run.name}.choice.json")["choice"]


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
        train_all(prepare_cohort(data, out, world), out, config, TRAINED, world)


if __name__ == "__main__":
    run_app(main)
