"""How well the primary of a synthetic patient can be told at all: the generator's own limit.

python -m training.bench.answers_limit --patients 30000

Patients are drawn without images. Strong classifiers are given the true facts of their lesions
(number, diameters, and every field of ``phantom.lesions.Kind``, whatever fields it has; lobes drawn
by the prior), the clinical record, or both, and are tested on patients they have not seen. No net
that looks at the images can know more than these facts, so its macro AUC is to be judged against
them, not against 1. The rows "learnt from N patients" say what a plain regression makes of the same
facts with a cohort of the size that the nets are trained on: the mean over many such cohorts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bmcore.domain import PRIMARIES
from bmcore.models.clinical import vector
from bmcore.models.mlr import MLR, MLRConfig
from bmcore.phantom.cohort import draw_record
from bmcore.phantom.lesions import Kind, draw_kinds
from bmcore.phantom.style import PRIORS
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.classification import Aucs, auc

Array = npt.NDArray[np.float64]
RESAMPLES = Resampling(resamples=300)


def lesion_facts(kinds: Sequence[Kind], lobes: Sequence[str], places: Sequence[str]) -> list[float]:
    """Numbers for one patient from the true lesions (largest first) and the lobe of each.

    A number or a yes/no: mean over the lesions, mean weighted by volume, least, most, and that of
    the largest lesion. A word: the share of lesions of each value that the caller lists as
    ``field=value`` below. Diameters are taken as logarithms.
    """
    volume = np.array([kind.diameter_mm for kind in kinds]) ** 3
    out = [float(np.log(len(kinds))), float(np.log(volume.sum()))]
    for name in number_fields():
        values = np.array([float(getattr(kind, name)) for kind in kinds])
        if name.endswith("_mm"):
            values = np.log(np.maximum(values, 1e-3))
        weighted = float(volume @ values / volume.sum())
        out += [values.mean(), weighted, values.min(), values.max(), float(values[0])]
    for name, words in word_fields().items():
        found = np.array([getattr(kind, name) for kind in kinds])
        out += [float((found == word).mean()) for word in words]
    return out + [float(np.mean([lobe == place for lobe in lobes])) for place in places]


def number_fields() -> tuple[str, ...]:
    """Fields of ``Kind`` that are numbers or yes/no."""
    return tuple(f.name for f in fields(Kind) if f.name not in word_fields())


def word_fields() -> dict[str, tuple[str, ...]]:
    """Fields of ``Kind`` that are words, and the words that occur in a few thousand lesions."""
    if not _WORDS:
        rng = np.random.default_rng(0)
        kinds = [k for _ in range(150) for prior in PRIORS.values() for k in draw_kinds(rng, prior)]
        for f in fields(Kind):
            values = [getattr(kind, f.name) for kind in kinds]
            if isinstance(values[0], str):
                _WORDS[f.name] = tuple(sorted(set(values)))
            elif not isinstance(values[0], bool | int | float | np.number):
                raise TypeError(f"Kind.{f.name} is neither a number nor a word: {values[0]!r}")
    return _WORDS


_WORDS: dict[str, tuple[str, ...]] = {}


def draw_patients(n: int, seed: int) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Lesion facts (n, f), clinical vectors (n, 12) and labels (n,) of patients as in a cohort."""
    rng = np.random.default_rng(seed)
    shares = np.array([PRIORS[p].share for p in PRIMARIES])
    labels = rng.choice(len(PRIMARIES), n, p=shares / shares.sum())
    places = tuple(sorted({place for prior in PRIORS.values() for place in prior.places}))
    facts, clinical = [], []
    for label in labels:
        primary = PRIMARIES[label]
        prior = PRIORS[primary]
        clinical.append(vector(draw_record(rng, primary, prior)))
        kinds = draw_kinds(rng, prior)
        weights = np.array([prior.places.get(place, 0.0) for place in places])
        lobes = rng.choice(places, len(kinds), p=weights / weights.sum())
        facts.append(lesion_facts(kinds, [str(n) for n in lobes], places))
    return np.array(facts), np.array(clinical), labels.astype(np.int64)


def filled(x: Array, train: slice) -> Array:
    """x with NaN replaced by the mean of the training rows; the flags beside it stay."""
    return np.where(np.isnan(x), np.nanmean(x[train], axis=0), x)


def limit(x: Array, y: npt.NDArray, train: slice, test: slice, seed: int) -> dict[str, Aucs]:
    """Held-out AUC of boosted trees, of logistic regression and of the mean of both."""
    trees = HistGradientBoostingClassifier(
        max_iter=400, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40,
        l2_regularization=1.0, early_stopping=True, n_iter_no_change=15, random_state=seed,
    )  # fmt: skip
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    full = filled(x, train)
    said = {
        "boosted trees": trees.fit(x[train], y[train]).predict_proba(x[test]),
        "logistic regression": line.fit(full[train], y[train]).predict_proba(full[test]),
    }
    said["mean of both"] = np.mean(list(said.values()), axis=0)
    return {name: auc(y[test], p, None, RESAMPLES) for name, p in said.items()}


def from_few(
    x: Array, y: npt.NDArray, test: slice, size: int, cohorts: int, seed: int
) -> tuple[float, float, float]:
    """Mean and 2.5 and 97.5 % of the macro AUC on ``test`` of ``MLR`` learnt from ``size`` others.

    The cohorts do not overlap; the range is over cohorts: what one cohort may come to.
    """
    areas = []
    for number in range(cohorts):
        rows = slice(number * size, (number + 1) * size)
        p = MLR(config=MLRConfig(seed=seed)).fit(x[rows], y[rows]).predict_proba(x[test])
        areas.append(auc(y[test], p, None, Resampling(resamples=100)).macro.value)
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(np.mean(areas)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--patients", type=int, default=30000, help="a third of them is the test")
    parser.add_argument("--few", type=int, nargs="*", default=[108, 180, 1000])
    parser.add_argument("--cohorts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    start = time.perf_counter()
    facts, clinical, y = draw_patients(asked.patients, asked.seed)
    train, test = slice(0, 2 * len(y) // 3), slice(2 * len(y) // 3, None)
    columns = facts.shape[1]
    print(f"{len(y)} patients, {columns} lesion facts, {time.perf_counter() - start:.0f} s to draw")
    print(f"fields of Kind: {', '.join([*number_fields(), *word_fields()])}")
    sources = {"lesions": facts, "clinical": clinical, "both": np.hstack([facts, clinical])}
    for source, x in sources.items():
        for name, areas in limit(x, y, train, test, asked.seed).items():
            each = ", ".join(
                f"{p} {e.value:.2f}" for p, e in zip(PRIMARIES, areas.per_class, strict=True)
            )
            macro = areas.macro
            print(
                f"{source:<9}{name:<20}macro AUC {macro.value:.3f} "
                f"({macro.low:.3f} to {macro.high:.3f}, n = {macro.n}); {each}",
                flush=True,
            )
        small = slice(test.start, min(test.start + 4000, len(y)))
        for size in asked.few:
            if asked.cohorts * size <= train.stop:
                mean, low, high = from_few(x, y, small, size, asked.cohorts, asked.seed)
                print(
                    f"{source:<9}learnt from {size:<8}macro AUC {mean:.3f} "
                    f"(cohorts: {low:.3f} to {high:.3f}, {asked.cohorts} cohorts)",
                    flush=True,
                )
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
