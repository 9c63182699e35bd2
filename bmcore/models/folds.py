"""Which patient lies in which fold: one patient, one row, one fold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified_folds(labels: npt.ArrayLike, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Fold number (n,) 0 to ``folds`` - 1 of each patient, each class spread as evenly as can be.

    labels (n,) whole numbers. Patients of a class are shuffled and dealt out in turn; the deal goes
    on where the class before it stopped, so fold sizes differ by at most one and a class with fewer
    members than folds is dealt with too. ValueError where there are fewer patients than folds.
    """
    y = np.asarray(labels)
    if y.ndim != 1 or folds < 2 or y.size < folds:
        raise ValueError(f"{folds} folds need at least {folds} patients, but there are {y.size}")
    random = np.random.default_rng(seed)
    out = np.empty(y.size, dtype=np.int64)
    dealt = 0
    for label in np.unique(y):
        members = random.permutation(np.flatnonzero(y == label))
        out[members] = (dealt + np.arange(members.size)) % folds
        dealt += members.size
    return out
