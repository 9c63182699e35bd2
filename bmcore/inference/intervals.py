"""The interval of each bar: how far an answer moves with other training patients.

See ``models.bootstrap_refits`` for what it covers and what not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bmcore.domain import Prediction
from bmcore.inference.pipeline import fused_vector
from bmcore.models.bootstrap_refits import LEVEL

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

Interval = tuple[float, float]
NO_INTERVALS = "These models hold no resampled regressions, so the bars have no intervals."


def intervals(bundle: Bundle, prediction: Prediction) -> Mapping[str, tuple[Interval, ...]] | None:
    """kind -> six pairs (low, high) in the order of PRIMARIES; None where the bundle has no spread.

    Kinds without an answer are left out.
    """
    refits = bundle.bootstrap_refits
    if refits is None:
        return None
    inputs = {"clinical": prediction.clinical_vector}
    if prediction.code is not None:
        inputs["image"] = np.asarray(prediction.code, np.float64)
        inputs["fused"] = fused_vector(prediction.code, prediction.clinical_vector)
    given = {a.kind for a in prediction.answers if a.probabilities is not None}
    found = {}
    for kind in inputs.keys() & given:
        low, high = refits[kind].interval(inputs[kind])
        found[kind] = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    return found


def words(bundle: Bundle) -> str:
    """What the lines on the bars mean, on one line; or that there are none."""
    refits = bundle.bootstrap_refits
    if refits is None:
        return NO_INTERVALS
    return (
        f"Grey line on a bar: how far the answer moves with other training patients ({LEVEL:.0%} "
        f"of {refits['fused'].n} resampled). It does not cover the nets that read the images, and "
        "does not say how often the answer is right."
    )
