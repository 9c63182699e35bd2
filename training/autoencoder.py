"""Train the autoencoder: ``python -m training.autoencoder --data DIR --out DIR``.

OUT is the folder that ``training.cnn`` wrote to. The features of each patient come from a net and
from trees that have not seen the patient. Code sizes are compared with PCA by their error on
held-out patients; what a code is worth for naming the primary stands in ``training.evaluate``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import numpy as np
import typer

from bmcore.models.autoencoder import AutoencoderTraining, fit_autoencoder
from bmcore.models.configs import AutoencoderConfig
from training.data.enough import check_enough
from training.data.held_out import load_held_out
from training.evaluation.reconstruction import held_out_errors
from training.run.files import tensors_hash, update_metrics
from training.run.options import (
    DataOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import Stopwatch, progress

SIZES = (4, 8, 16, 32)


def main(
    data: DataOption,
    out: OutOption,
    code: Annotated[int, typer.Option(min=1, help="Numbers in the code.")] = 16,
    steps: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the patients.")] = 400,
    seed: SeedOption = 0,
) -> None:
    """Train the autoencoder; writes OUT/autoencoder.safetensors and OUT/metrics.json."""
    from bmcore.models.bundle_writer import write_part

    watch = Stopwatch()
    held_out = load_held_out(out)
    check_enough(held_out.labels, held_out.persons)
    how = AutoencoderTraining(steps=steps, seed=seed)
    sizes = sorted({*SIZES, code})
    table, errors = [], {}
    with progress() as bars:
        task = bars.add_task("compare code sizes", total=len(sizes))
        for size in sizes:
            ours, pca = held_out_errors(held_out, size, how)
            errors[size] = ours
            row = {"code": size, "autoencoder": ours.mean(), "pca": pca.mean()}
            table.append(row)
            bars.advance(task)
    x = held_out.features
    config = AutoencoderConfig(x.shape[1], code=code, feature_set=3)
    net = fit_autoencoder(x, config, how)
    points = (50, 90, 95, 99)
    metrics = {
        "what": "mean squared z-score error of patients held out; 1 is the mean patient",
        "held_out_error": {f"p{q}": float(np.percentile(errors[code], q)) for q in points},
        "seen_error": float(net.reconstruction_error(x).mean()),
        "sizes": [{k: float(v) for k, v in row.items()} for row in table],
    }
    training = {
        **asdict(how),
        "data": str(data.name),
        "patients": len(x),
        "features": "by CNNs and trees that have not seen the patient",
        "regularisation": "dropout, hidden features, weight decay",
        "seconds": round(watch.seconds),
        "tensors_sha256": tensors_hash(net.state_dict()),
    }
    write_part(out, "autoencoder", net.state_dict(), config, training, metrics)
    update_metrics(out, "autoencoder", {**metrics, "training": training})


if __name__ == "__main__":
    run_app(main)
