"""The one way in which the endpoint of a reader study is computed.

Headline, running width and report call ``compute``: one estimand, one method. The readers' figures
of merit come from ``measures``, the analysis is ``weighted_mrmc``: Obuchowski and Rockette's with
the jackknife over cases, for complete and incomplete designs alike. Against the models alone it is
the analysis of each reader's difference to them (``standalone``).

Superiority: the interval of coverage 1 - alpha lies above 0. Non-inferiority: its lower limit lies
above minus the margin (so one-sided at alpha / 2). Equivalence: the interval of coverage
1 - 2 alpha lies within the margins (two one-sided tests, Schuirmann 1987, J Pharmacokinet Biopharm
15:657). "Above" is in the direction that is better. Decision times are compared as a ratio, and
their margin is a share: 0.1 is ten per cent longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats as _scipy

from bmcore.stats import decision_time, endpoint_ends, standalone, weighted_mrmc
from bmcore.stats.comparison import Comparison, quantile
from bmcore.stats.delong import logit_interval
from bmcore.stats.endpoint_choice import NEEDS_CATEGORIES, Endpoint
from bmcore.stats.endpoint_ends import End
from bmcore.stats.estimate import Estimate, poisson_rate
from bmcore.stats.measures import MEASURES, Options
from bmcore.stats.readings import (
    CANNOT_TELL,
    CANNOT_TELL_RULES,
    MODELS,
    Reading,
    by_arm_and_reader,
    paired,
)
from bmcore.stats.weighted_mrmc import Contrast, Figure

_UNBOUNDED = ("false lesions", "decision time")
_FEW_READERS = 4


@dataclass(frozen=True, eq=False)
class Finding:
    """What came out. ``arms``: the mean of each arm (seconds for decision times); ``difference``:
    new less control (a ratio for decision times), with the interval that decides; ``p``: of the
    test that belongs to the aim; ``verdict``: "shown", "not shown", "opposite" (the interval lies
    wholly on the other side) or "cannot be said"; ``sentence``: all of it in words; ``left_out``:
    readers who have read too little; ``contrast``: the analysis behind it."""

    endpoint: Endpoint
    arms: tuple[Estimate, Estimate]
    difference: Estimate
    p: float
    verdict: str
    sentence: str
    readers: int
    left_out: tuple[str, ...]
    contrast: Contrast

    @property
    def width(self) -> float:
        """Length of the interval that decides; NaN where there is none."""
        return self.difference.high - self.difference.low


def compute(
    endpoint: Endpoint, readings: Iterable[Reading], categories: tuple[str, ...] = ()
) -> Finding:
    """Estimate, interval and verdict of ``endpoint`` from one row a reading.

    categories: all answers of the primary question, for the measures that need them. A reader
    enters with the cases he read in both arms, or with all of his where there is no such case;
    against the models alone with those that they answered.
    ValueError: two readings of one case by one reader in one arm; categories that are needed and
    not given. Where the data do not suffice, the verdict is "cannot be said" and the method says
    why.
    """
    if endpoint.measure in NEEDS_CATEGORIES and not categories:
        raise ValueError(f"{endpoint.measure} needs the categories of the primary question")
    if MODELS in endpoint.arms:
        return _against_models(endpoint, readings, categories)
    table = paired(by_arm_and_reader(readings, endpoint.arms))
    figures, left_out = _figures(endpoint, table, categories)
    found = _contrast(endpoint, figures)
    rows = [r for arm in table.values() for own in arm.values() for r in own.values()]
    end = _end(endpoint, found, _changes(figures), rows, categories)
    arms = tuple(_arm(endpoint, f, rows, categories) for f in figures)
    who = len({r.reader for r in rows}) if endpoint.measure == "agreement" else found.readers
    return _finding(endpoint, (arms[0], arms[1]), found, end, left_out, who)


def _against_models(
    e: Endpoint, readings: Iterable[Reading], categories: tuple[str, ...]
) -> Finding:
    """As ``compute``, where one of the two arms is the models alone."""
    table = by_arm_and_reader(readings, e.arms)
    readers = table[e.arms[0] if e.arms[1] == MODELS else e.arms[1]]
    models = {case: row for rows in table[MODELS].values() for case, row in rows.items()}
    options = Options(e.category, categories, e.size_mm, e.false_from, e.cannot_tell)
    own, against, left_out = standalone.figures(
        readers, models, lambda rows: MEASURES[e.measure](rows, options)
    )
    alone = standalone.of_models(readers, models, lambda rows: MEASURES[e.measure](rows, options))
    rows = list(models.values())
    first = (
        _arm(replace(e, readers="fixed"), alone, rows, categories),
        _arm(e, own, rows, categories),
    )
    arms = first if e.arms[0] == MODELS else first[::-1]
    changes = against if e.arms[0] == MODELS else standalone.turned(against)
    found = _contrast(e, [changes])
    end = _end(e, found, changes, rows, categories)
    return _finding(e, (arms[0], arms[1]), found, end, left_out, found.readers)


def _contrast(e: Endpoint, figures: Sequence[Mapping[str, Figure]]) -> Contrast:
    bounds = (-math.inf, math.inf) if e.measure in _UNBOUNDED else (-1.0, 1.0)
    return weighted_mrmc.contrast(figures, f"{e.name}, difference", e.level, bounds)


def _finding(
    e: Endpoint,
    arms: tuple[Estimate, Estimate],
    found: Contrast,
    end: End | None,
    left_out: tuple[str, ...],
    readers: int,
) -> Finding:
    chosen = _chosen(e, found)
    if end is not None:
        chosen = Comparison(end.difference, math.nan, math.inf, end.p)
    difference = _as_ratio(chosen.difference) if _timed(e) else chosen.difference
    verdict, p = _verdict(e, chosen)
    if end is not None:
        p = end.p
    elif not difference.has_interval:  # a ratio too far out to be told
        verdict, p = "cannot be said", math.nan
    sentence = _sentence(e, difference, p, verdict, readers)
    return Finding(e, arms, difference, p, verdict, sentence, readers, left_out, found)


def sensitivity_analyses(
    endpoint: Endpoint,
    readings: Iterable[Reading],
    categories: tuple[str, ...] = (),
    least_share: float = 0.8,
) -> dict[str, Finding]:
    """The endpoint anew under other treatments of what is missing, by name.

    Without drop-outs (readers with fewer than ``least_share`` of the cases in either arm); only
    cases that everyone has read in both arms; for AUCs each other rule for "cannot tell", for
    answers "cannot tell" left out.
    """
    rows = [r for r in readings if r.arm in endpoint.arms]
    cases = {r.case for r in rows}
    read = by_arm_and_reader(rows, tuple(a for a in endpoint.arms if a != MODELS))
    names = {r.reader for r in rows if r.arm != MODELS}
    least = least_share * len(cases)
    stayed = {r for r in names if all(len(arm.get(r, {})) >= least for arm in read.values())}
    whole = {c for c in cases if all(c in arm.get(r, {}) for arm in read.values() for r in names)}
    found = {
        "without drop-outs": compute(
            endpoint, [r for r in rows if r.reader in stayed or r.arm == MODELS], categories
        ),
        "cases read by everyone": compute(
            endpoint, [r for r in rows if r.case in whole], categories
        ),
    }
    if endpoint.measure in ("AUC", "macro AUC"):
        for rule in CANNOT_TELL_RULES:
            if rule != endpoint.cannot_tell:
                other = replace(endpoint, cannot_tell=rule)
                found[f"cannot tell: {rule}"] = compute(other, rows, categories)
    elif endpoint.measure not in (*_UNBOUNDED, "lesion sensitivity", "wAFROC"):
        kept = [r for r in rows if r.answer != CANNOT_TELL]
        found["cannot tell: left_out"] = compute(endpoint, kept, categories)
    return found


def _figures(
    e: Endpoint,
    table: Mapping[str, Mapping[str, Mapping[str, Reading]]],
    categories: tuple[str, ...],
) -> tuple[list[dict[str, Figure]], tuple[str, ...]]:
    options = Options(e.category, categories, e.size_mm, e.false_from, e.cannot_tell)
    measure = MEASURES[e.measure]
    arms: list[dict[str, Figure]] = []
    left_out: set[str] = set()
    for of_arm in table.values():
        if e.measure == "agreement":
            rows = [row for reader in of_arm.values() for row in reader.values()]
            kept, out = weighted_mrmc.usable({weighted_mrmc.TOGETHER: measure(rows, options)})
        else:
            own = {r: measure(list(rows.values()), options) for r, rows in of_arm.items()}
            kept, out = weighted_mrmc.usable(own)
        arms.append(kept)
        left_out.update(out)
    both = set(arms[0]) & set(arms[1])
    crossed = {r for r in set(arms[0]) | set(arms[1]) if all(r in rows for rows in table.values())}
    left_out.update(crossed - both)
    return [{r: f for r, f in a.items() if r not in left_out} for a in arms], tuple(
        sorted(left_out)
    )


def _chosen(e: Endpoint, found: Contrast) -> Comparison:
    return found.random if e.readers == "random" else found.fixed


def _changes(figures: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Each reader's figure in the new arm less that in the control arm; none where a reader or a
    case is in one arm alone."""
    control, new = figures
    if set(control) != set(new) or any(control[r].cases != new[r].cases for r in new):
        return {}
    return {
        r: replace(f, value=f.value - control[r].value, left_out=f.left_out - control[r].left_out)
        for r, f in new.items()
    }


def _end(
    e: Endpoint,
    found: Contrast,
    changes: Mapping[str, Figure],
    rows: Sequence[Reading],
    categories: tuple[str, ...],
) -> End | None:
    """See ``endpoint_ends.of_difference``; None where the analysis has an interval."""
    one = _chosen(e, found).difference
    if one.has_interval or not one.defined or not changes:
        return None
    of = endpoint_ends.kinds(e, rows, categories, [changes])
    return endpoint_ends.of_difference(
        e, changes, of, one.method.split("; no interval")[0], found.cases
    )


def _arm(
    e: Endpoint,
    figures: Mapping[str, Figure],
    rows: Sequence[Reading],
    categories: tuple[str, ...],
) -> Estimate:
    """The mean of one arm: on the logit scale for what lies between 0 and 1."""
    found = weighted_mrmc.contrast([figures], e.name, 1 - e.alpha)
    chosen = _chosen(e, found)
    one, n = chosen.difference, found.cases
    if _timed(e):
        return _as_ratio(one)
    if not one.defined or e.measure == "agreement":
        return one
    if e.measure == "false lesions":
        return poisson_rate(0, n, 1 - e.alpha) if one.value == 0 else one
    if not one.has_interval and round(one.value, 12) in (0.0, 1.0):
        of = endpoint_ends.kinds(e, rows, categories, [figures])
        return endpoint_ends.of_arm(replace(one, value=round(one.value, 12)), of, 1 - e.alpha)
    if not one.has_interval:
        return one
    variance = (one.value / chosen.statistic) ** 2
    method = one.method.rsplit(", ", 1)[0]
    return logit_interval(one.value, variance, n, method, df=chosen.df, level=1 - e.alpha)


def _verdict(e: Endpoint, found: Comparison) -> tuple[str, float]:
    """The verdict and the p-value of its test; limits are turned so that above 0 is better."""
    one = found.difference
    if not one.has_interval:
        return "cannot be said", math.nan
    low, high = (one.low, one.high) if e.better == "higher" else (-one.high, -one.low)
    gain = one.value if e.better == "higher" else -one.value
    margin = math.log(1 + e.margin) if _timed(e) else e.margin
    error = max(one.high - one.value, one.value - one.low) / quantile(e.level, found.df)
    if e.aim == "superiority":
        verdict = "shown" if low > 0 else "opposite" if high < 0 else "not shown"
        return verdict, found.p
    if e.aim == "non-inferiority":
        verdict = "shown" if low > -margin else "opposite" if high < -margin else "not shown"
        return verdict, _tail((gain + margin) / error, found.df)
    inside = low > -margin and high < margin
    outside = high < -margin or low > margin
    p = max(_tail((gain + margin) / error, found.df), _tail((margin - gain) / error, found.df))
    return "shown" if inside else "opposite" if outside else "not shown", p


def _tail(statistic: float, df: float) -> float:
    if math.isnan(statistic):
        return math.nan
    return float(_scipy.norm.sf(statistic) if math.isinf(df) else _scipy.t.sf(statistic, df))


def _sentence(e: Endpoint, difference: Estimate, p: float, verdict: str, readers: int) -> str:
    said = {
        "shown": f"{e.aim} was shown",
        "not shown": f"{e.aim} was not shown",
        "opposite": f"{e.aim} was not shown; the interval lies wholly on the other side",
        "cannot be said": f"{e.aim} cannot be said: {difference.method}",
    }[verdict]
    margin = f" with a margin of {e.margin:g}" if e.margin else ""
    change = f"{difference.text()}" + ("" if math.isnan(p) else f", p = {p:.3g}")
    kind = "ratio of times" if _timed(e) else "difference"
    words = (
        f"{e.name}, {e.arms[1]} against {e.arms[0]}: {kind} {change}, {readers} readers, "
        f"{e.readers}; {said}{margin}"
    )
    if e.readers == "random" and 0 < readers < _FEW_READERS:
        words += f"; with {readers} readers such intervals cover less than they say (about 90-93 %)"
    return words


def _timed(e: Endpoint) -> bool:
    return e.measure == "decision time"


def _as_ratio(e: Estimate) -> Estimate:
    return decision_time.as_ratio(Comparison(e, math.nan, math.nan, math.nan)).ratio
