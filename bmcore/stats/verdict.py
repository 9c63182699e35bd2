"""Is one answer better than another? The one rule behind every sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmcore.stats.estimate import Estimate

BETTER, WORSE, NOT_SHOWN = "better", "worse", "not shown"


def of_differences(differences: Mapping[str, Any]) -> str | None:
    """BETTER, WORSE or NOT_SHOWN from the paired differences ``macro_auc`` and ``log_loss``.

    Better: both intervals leave out 0 on the good side; worse: both on the bad side; anything else
    is not shown. Estimates or their JSON. None where one of the two was not measured.
    """
    ends = [_ends(differences.get(name)) for name in ("macro_auc", "log_loss")]
    if any(end is None for end in ends):
        return None
    (auc_low, auc_high), (loss_low, loss_high) = (end for end in ends if end is not None)
    if auc_low is None or loss_low is None or auc_high is None or loss_high is None:
        return NOT_SHOWN
    if auc_low > 0 and loss_high < 0:
        return BETTER
    if auc_high < 0 and loss_low > 0:
        return WORSE
    return NOT_SHOWN


def _ends(found: Any) -> tuple[float | None, float | None] | None:
    if found is None:
        return None
    if isinstance(found, Estimate):
        return (found.low, found.high) if found.has_interval else (None, None)
    return found["low"], found["high"]
