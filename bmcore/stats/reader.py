"""One reader, or the model, against the reference; and a reader against the model.

answers, truth: (n,) index of the category. In ``answers`` -1 is "did not answer" (left out), and an
index that ``truth`` never holds ("other", "cannot tell") counts as wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import delong
from bmcore.stats.estimate import Estimate, proportion, undefined
from bmcore.stats.paired import McNemar, mcnemar

Answers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReaderScore:
    """Share of right answers; for one category against the rest sensitivity, specificity and the
    AUC of the confidences (not defined where none were asked for)."""

    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    auc: Estimate


def score_reader(
    answers: npt.ArrayLike,
    truth: npt.ArrayLike,
    category: int,
    confidences: npt.ArrayLike | None = None,
    level: float = 0.95,
    undecided: int | None = None,
) -> ReaderScore:
    """Accuracy over all categories; sensitivity, specificity and AUC for ``category``.

    Wilson's interval for the shares; ``delong.auc`` of ``delong.class_scores`` for the AUC, in
    which ``undecided`` ("cannot tell") ranks lowest. A share of no case (no case of
    the category, nothing answered) is not defined.
    """
    named, true = _pair(answers, truth)
    given = named >= 0
    a, t = named[given], true[given]
    ill = t == category
    area = undefined(len(a), "AUC; not defined: no confidences were given")
    if confidences is not None:
        scores = delong.class_scores(named, confidences, category, undecided)[given]
        area = delong.auc(scores, ill, level)
    return ReaderScore(
        accuracy=proportion(int((a == t).sum()), len(a), level),
        sensitivity=proportion(int((a[ill] == category).sum()), int(ill.sum()), level),
        specificity=proportion(int((a[~ill] != category).sum()), int((~ill).sum()), level),
        auc=area,
    )


def against_model(
    answers: npt.ArrayLike, model: npt.ArrayLike, truth: npt.ArrayLike, level: float = 0.95
) -> McNemar:
    """Reader (first) against model (second) on the cases that both answered: McNemar's test and the
    difference in the share of right answers."""
    named, true = _pair(answers, truth)
    machine, _ = _pair(model, truth)
    both = (named >= 0) & (machine >= 0)
    right = true[both]
    return mcnemar(named[both] == right, machine[both] == right, level)


def _pair(answers: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Answers, Answers]:
    a, t = np.asarray(answers), np.asarray(truth)
    if a.shape != t.shape or a.ndim != 1:
        raise ValueError(f"answers and truth must be (n,) alike, but are {a.shape} and {t.shape}")
    if a.size and not all(np.issubdtype(x.dtype, np.integer) for x in (a, t)):
        raise ValueError("answers and truth must be whole category indices (-1: no answer)")
    if (t < 0).any():
        raise ValueError("truth must be known for every case; leave the other cases out")
    return a.astype(np.int64), t.astype(np.int64)
