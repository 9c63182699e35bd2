"""Do readers change along their list? The trend of a time over the order of reading."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats as _scipy

from bmcore.stats.comparison import compare, no_comparison
from bmcore.stats.decision_time import TimeRatio, as_ratio

STEP = 10


def time_trend(order: npt.ArrayLike, seconds: npt.ArrayLike, level: float = 0.95) -> TimeRatio:
    """One reader: the factor by which the time changes over ten cases, below 1 is faster.

    order: (n,) place of each case on the list; seconds: (n,), above 0, NaN where not known. Least
    squares of the logarithm of the time on the order, Student's t with n - 2 degrees of freedom
    (Draper and Smith 1998, Applied Regression Analysis, chapter 1). Not defined: fewer than three
    times, all at one place, or a factor that ``decision_time.as_ratio`` does not tell. ValueError
    on a time of 0 or less.
    """
    place, time = (np.asarray(x, dtype=float) for x in (order, seconds))
    if place.shape != time.shape or place.ndim != 1:
        raise ValueError(f"order and seconds must be (n,) alike: {place.shape}, {time.shape}")
    if (time <= 0).any():
        raise ValueError("times must be above 0 s; a case without a time is NaN")
    known = np.isfinite(place) & np.isfinite(time)
    place, time = place[known], np.log(time[known])
    n = len(place)
    name = f"change of the time over {STEP} cases, least squares on logarithms"
    if n < 3 or math.isclose(float(np.ptp(place)), 0.0):
        return as_ratio(no_comparison(n, f"{name}; not defined: three cases in a row are needed"))
    fit = _scipy.linregress(place, time)
    slope, error = STEP * float(fit.slope), STEP * float(fit.stderr)
    return as_ratio(compare(slope, error**2, n, name, df=n - 2, level=level))
