"""Mean and spread of a matrix in which some values are missing (NaN): what all scalers share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mean_of_known(x: npt.NDArray) -> npt.NDArray:
    """The mean (m,) of the known values of x (n, m); 0 where there is none."""
    known = ~np.isnan(x)
    return np.where(known, x, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def mean_and_spread(x: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Mean and standard deviation (over n, not n - 1) of the known values; 0 without any."""
    known = ~np.isnan(x)
    mean = mean_of_known(x)
    squares = (np.where(known, x - mean, 0) ** 2).sum(axis=0)
    return mean, np.sqrt(squares / np.maximum(known.sum(axis=0), 1))
