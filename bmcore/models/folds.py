"""Which patient lies in which fold: all scans of one patient lie in one fold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stratified_folds(
    labels: npt.ArrayLike, folds: int, seed: int, patients: npt.ArrayLike | None = None
) -> npt.NDArray[np.int64]:
    """Fold number (n,) 0 to ``folds`` - 1 of each row, each class spread as evenly as can be.

    labels (n,) whole numbers; patients (n,): whose row it is, left out where each row is a patient
    of its own. Rows of a patient go together; the label of the first of them counts.
    Patients of a class are shuffled and dealt out in turn; the deal goes on where the class before
    it stopped, so the numbers of patients of the folds differ by at most one and a class with fewer
    members than folds is dealt with too. ValueError where there are fewer patients than folds.
    """
    y = np.asarray(labels)
    whose = np.arange(y.size) if patients is None else np.asarray(patients)
    if y.ndim != 1 or whose.shape != y.shape:
        raise ValueError(f"labels {y.shape} and patients {whose.shape} must be two equal rows")
    _, first, row_of = np.unique(whose, return_index=True, return_inverse=True)
    if folds < 2 or first.size < folds:
        raise ValueError(
            f"{folds} folds need at least {folds} patients, but there are {first.size}"
        )
    random = np.random.default_rng(seed)
    out = np.empty(first.size, dtype=np.int64)
    dealt = 0
    for label in np.unique(y[first]):
        members = random.permutation(np.flatnonzero(y[first] == label))
        out[members] = (dealt + np.arange(members.size)) % folds
        dealt += members.size
    return out[row_of]
