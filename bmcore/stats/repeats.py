"""Intervals that hold the chance of the training besides that of the patients.

The same patients are judged by several trainings that differ by chance (folds dealt anew, other
seeds). A resample draws patients and one of the trainings, so the spread of the resamples holds
both; the value is the mean over the trainings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bmcore.stats.bootstrap import Resampling, Statistic, Weights, patient_bootstrap
from bmcore.stats.estimate import Estimate


def over_trainings(
    statistics: Sequence[Statistic], n: int, resampling: Resampling | None = None
) -> Estimate:
    """One number of n patients, each a row, judged by several trainings (their ``statistics``).

    With one training this is the plain patient bootstrap. ValueError without any.
    """
    if not statistics:
        raise ValueError("at least one training is needed")
    resampling = resampling or Resampling()
    count = len(statistics)
    random = np.random.default_rng([resampling.seed, count])

    def statistic(weights: Weights) -> Weights:
        if (weights == 1).all():
            return np.asarray(np.mean([one(weights) for one in statistics], axis=0))
        chosen = random.integers(count, size=len(weights))
        out = np.empty(len(weights))
        for number, one in enumerate(statistics):
            rows = chosen == number
            if rows.any():
                out[rows] = one(weights[rows])
        return out

    what = f"mean of {count} trainings, one drawn in each resample" if count > 1 else ""
    return patient_bootstrap(statistic, np.arange(n), resampling, what)
