"""Prediction sets: how often the true class is in them, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.stats.estimate import proportion


def coverage_and_size(
    members: npt.NDArray[np.bool_], labels: npt.NDArray[np.int64], names: Sequence[str], most: int
) -> dict[str, Any]:
    """Coverage over all and for each class, mean size, and how many sets exceed ``most`` classes.

    members (n, k): which classes are in the set of each case; labels (n,): the true ones; names
    (k,): of the classes.
    """
    hit, size = members[np.arange(len(labels)), labels], members.sum(axis=1)
    return {
        "coverage": proportion(int(hit.sum()), hit.size),
        "coverage_per_primary": {
            name: proportion(int(hit[labels == i].sum()), int((labels == i).sum()))
            for i, name in enumerate(names)
        },
        "mean_set_size": float(size.mean()),
        "abstains_undecided": proportion(int((size > most).sum()), size.size),
    }
