"""What the model did to the readers: helped, harmed, ignored, over-relied upon.

Answers are category indices, -1 is "did not answer"; a case enters for a reader where he answered
unaided and aided and the model answered. The shares of right advice not taken and of wrong advice
taken follow the relative reliance of Schemmer et al. 2023 (Proc IUI, "Appropriate reliance on AI
advice"): ``ignored`` is one less their relative AI reliance, and ``over_reliance`` counts, of the
cases that enter their relative self-reliance, those that moved to the model's wrong answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.stats import clustered, ustatistics
from bmcore.stats.comparison import Comparison, no_comparison
from bmcore.stats.estimate import Estimate, proportion
from bmcore.stats.paired import McNemar, mcnemar, one_way

Bools = npt.NDArray[np.bool_]
NAMES = ("helped", "harmed", "ignored", "over_reliance", "followed_error")

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reliance:
    """Shares, each with its interval and the number of cases it rests on.

    helped: wrong unaided and right aided, of all cases. harmed: right unaided and wrong aided, of
    all cases. ignored: still wrong aided, of the cases wrong unaided where the model was right.
    over_reliance: took the model's wrong answer, of the cases right unaided where the model erred.
    followed_error: gave the model's wrong answer aided, of all cases where the model erred.
    """

    helped: Estimate
    harmed: Estimate
    ignored: Estimate
    over_reliance: Estimate
    followed_error: Estimate


@dataclass(frozen=True)
class ExplanationEffect:
    """Change in the share of right answers when explanations are added (with less without), over
    ``cases``, where the ``model_right`` and where the ``model_wrong``; for readers like these
    (``random``) and for these very readers (``fixed``), by those names; ``by_reader``: with
    explanations (first) against without (second)."""

    random: dict[str, Comparison]
    fixed: dict[str, Comparison]
    by_reader: tuple[McNemar, ...]


def reliance(
    unaided: npt.ArrayLike,
    aided: npt.ArrayLike,
    model: npt.ArrayLike,
    truth: npt.ArrayLike,
    level: float = 0.95,
) -> Reliance:
    """Reliance of one reader, (n,) each; Wilson's interval. A share of no case is not defined."""
    one = [np.atleast_2d(np.asarray(x)) for x in (unaided, aided, model, truth)]
    counts = {
        name: proportion(int((hit & of).sum()), int(of.sum()), level)
        for name, (hit, of) in _events(*one).items()
    }
    return Reliance(**counts)


def reliance_of_all(
    unaided: npt.ArrayLike,
    aided: npt.ArrayLike,
    model: npt.ArrayLike,
    truth: npt.ArrayLike,
    level: float = 0.95,
) -> Reliance:
    """Reliance over all readers, (readers, n) each; model and truth may be (n,).

    Every reading counts alike. The readings of one case hang together, so the variance is that of a
    ratio of sums over cases (Cochran 1977, Sampling Techniques, chapter 6), and the interval, on
    the logit scale, holds for these readers. n is the number of cases that enter.
    """
    found = {}
    for name, (hit, of) in _events(
        *(np.asarray(x) for x in (unaided, aided, model, truth))
    ).items():
        found[name] = clustered.share(hit, of, name.replace("_", " "), level)
    return Reliance(**found)


def explanation_effect(
    without: npt.ArrayLike,
    with_explanation: npt.ArrayLike,
    model: npt.ArrayLike,
    truth: npt.ArrayLike,
    level: float = 0.95,
) -> ExplanationEffect:
    """Effect of the explanation stage: aided answers without and with it, (readers, n) each.

    model, truth: (n,). A case that any reader did not answer in both stages is left out for the
    means, not for ``by_reader``. Random readers and cases by the one-shot variance of
    ``ustatistics``; not defined with one reader or fewer than two cases. Where nothing changed, or
    everything in one direction, ``paired.one_way``.
    """
    before, after = (np.atleast_2d(np.asarray(x)) for x in (without, with_explanation))
    machine, true = np.asarray(model), np.asarray(truth)
    _check((before, after, np.atleast_2d(machine), np.atleast_2d(true)))
    whole = ((before >= 0) & (after >= 0)).all(axis=0)
    change = (after == true).astype(float) - (before == true)
    strata = {
        "cases": whole,
        "model_right": whole & (machine == true),
        "model_wrong": whole & (machine >= 0) & (machine != true),
    }
    random, fixed = {}, {}
    for name, of in strata.items():
        kernel, n = change[:, of], int(of.sum())
        what = f"change by explanations, {name.replace('_', ' ')}"
        if n < 2:
            random[name] = fixed[name] = no_comparison(n, f"{what}; not defined: {n} cases")
            continue
        random[name] = ustatistics.random_mean(kernel, n, what, level, (-1.0, 1.0))
        fixed[name] = ustatistics.fixed_mean(kernel, n, what, level, (-1.0, 1.0))
        if np.ptp(kernel) == 0:
            fixed[name] = one_way(float(kernel[0, 0]), n, what, level)
            if len(kernel) > 1:
                random[name] = fixed[name]
    each = tuple(_change_of(true, b, a) for b, a in zip(before, after, strict=True))
    return ExplanationEffect(random, fixed, each)


def _change_of(true: Codes, before: Codes, after: Codes) -> McNemar:
    both = (before >= 0) & (after >= 0)
    return mcnemar(after[both] == true[both], before[both] == true[both])


def _events(
    unaided: Codes, aided: Codes, model: Codes, truth: Codes
) -> dict[str, tuple[Bools, Bools]]:
    """For each name of ``NAMES`` (readers, n): what happened, and among which readings."""
    tables = tuple(np.atleast_2d(x) for x in (unaided, aided, model, truth))
    _check(tables)
    unaided, aided = tables[:2]
    model, truth = (np.broadcast_to(x, unaided.shape) for x in tables[2:])
    used = (unaided >= 0) & (aided >= 0) & (model >= 0)
    was, now, advice = unaided == truth, aided == truth, model == truth
    return {
        "helped": (~was & now, used),
        "harmed": (was & ~now, used),
        "ignored": (~now, used & ~was & advice),
        "over_reliance": (aided == model, used & was & ~advice),
        "followed_error": (aided == model, used & ~advice),
    }


def _check(tables: tuple[Codes, ...]) -> None:
    """unaided, aided, model, truth, all (readers, n); model and truth may be (1, n)."""
    shapes = [x.shape for x in tables]
    fits = all(s in (shapes[0], (1, *shapes[0][1:])) for s in shapes[2:])
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or not fits:
        raise ValueError(f"answers, model and truth must hold the same cases, but are {shapes}")
    if any(x.size and not np.issubdtype(x.dtype, np.integer) for x in tables):
        raise ValueError("answers, model and truth must be whole category indices (-1: none)")
    if (tables[3] < 0).any():
        raise ValueError("truth must be known for every case; leave the other cases out")
