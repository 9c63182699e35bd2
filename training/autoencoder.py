"""Train the autoencoder: ``python -m training.autoencoder --data DIR --out DIR``.

OUT is the folder that ``training.cnn`` wrote to. The features of each patient come from a net that
has not seen the patient. Code sizes are compared with PCA by their error on held-out patients; what
a code is worth for naming the primary stands in ``training.evaluate``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.models.autoencoder import AutoencoderTraining, fit_autoencoder
from bmcore.models.configs import AutoencoderConfig
from training.cnn import HeldOut, load_held_out
from training.common import (
    DataOption,
    OutOption,
    SeedOption,
    Stopwatch,
    progress,
    run_app,
    tensors_hash,
    update_metrics,
)

SIZES = (4, 8, 16, 32)


def held_out_errors(
    held_out: HeldOut, size: int, how: AutoencoderTraining
) -> tuple[npt.NDArray, npt.NDArray]:
    """Error of reconstruction (n,) of each patient held out: autoencoder, and PCA of that size.

    For test fold i everything is fitted on patients of the other folds, on features of nets that
    have not seen fold i either.
    """
    ours = np.full(len(held_out.fold), np.nan)
    pca = np.full(len(held_out.fold), np.nan)
    config = AutoencoderConfig(held_out.features.shape[2], code=size)
    for i in range(held_out.folds):
        train, test = held_out.fold != i, held_out.fold == i
        x = held_out.features[train, i]
        net = fit_autoencoder(x, config, how)
        basis = principal_axes(net, x, size)
        others = [j for j in range(held_out.folds) if j != i]
        rows = [held_out.features[test, j] for j in others]
        ours[test] = np.mean([net.reconstruction_error(r) for r in rows], axis=0)
        pca[test] = np.mean([_pca_error(net, basis, r) for r in rows], axis=0)
    return ours, pca


def z_scores(net: Any, x: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Standardised features (n, f) by the net's scaler, 0 where not measured, and which are."""
    import torch

    with torch.no_grad():
        z, known = net.scaled(torch.as_tensor(np.asarray(x, np.float32)))
    return z.numpy(), known.numpy()


def principal_axes(net: Any, x: npt.NDArray, size: int) -> npt.NDArray:
    """The first principal axes (size or fewer, f) of standardised features, without empty ones."""
    z, _ = z_scores(net, x)
    _, strength, axes = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    return axes[:size][strength[:size] > 1e-4 * strength[0]]


def _pca_error(net: Any, basis: npt.NDArray, x: npt.NDArray) -> npt.NDArray:
    z, known = z_scores(net, x)
    squared = (z @ basis.T @ basis - z) ** 2 * known
    return squared.sum(axis=1) / np.maximum(known.sum(axis=1), 1)


def main(
    data: DataOption,
    out: OutOption,
    code: Annotated[int, typer.Option(min=1, help="Numbers in the code.")] = 8,
    steps: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the patients.")] = 400,
    seed: SeedOption = 0,
) -> None:
    """Train the autoencoder; writes OUT/autoencoder.safetensors and OUT/metrics.json."""
    from bmcore.models.bundles import write_part

    watch = Stopwatch()
    held_out = load_held_out(out)
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
    x = held_out.one_each
    config = AutoencoderConfig(x.shape[1], code=code)
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
        "features": "by CNNs that have not seen the patient",
        "regularisation": "dropout, hidden features, weight decay",
        "seconds": round(watch.seconds),
        "tensors_sha256": tensors_hash(net.state_dict()),
    }
    write_part(out, "autoencoder", net.state_dict(), config, training, metrics)
    update_metrics(out, "autoencoder", {**metrics, "training": training})


if __name__ == "__main__":
    run_app(main)
