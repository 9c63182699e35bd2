"""Errors of reconstruction of patients held out: the autoencoder beside PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.models.autoencoder import AutoencoderTraining, fit_autoencoder
from bmcore.models.configs import AutoencoderConfig
from training.data.held_out import HeldOut


def held_out_errors(
    held_out: HeldOut, size: int, how: AutoencoderTraining
) -> tuple[npt.NDArray, npt.NDArray]:
    """Error of reconstruction (n,) of each patient held out: autoencoder, and PCA of that size.

    For test fold i everything is fitted on the patients of the other folds.
    """
    ours = np.full(len(held_out.fold), np.nan)
    pca = np.full(len(held_out.fold), np.nan)
    config = AutoencoderConfig(held_out.features.shape[1], code=size, feature_set=3)
    for i in range(held_out.folds):
        train, test = held_out.fold != i, held_out.fold == i
        x, rows = held_out.features[train], held_out.features[test]
        net = fit_autoencoder(x, config, how)
        basis = principal_axes(net, x, size)
        ours[test] = net.reconstruction_error(rows)
        pca[test] = _pca_error(net, basis, rows)
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
