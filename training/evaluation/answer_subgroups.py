"""The answers for parts of the patients, and where they would help: subgroups, decision curves,
paired tests. Everything from held-out probabilities (n, 6) and the true class (n,)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.stats import classification, decision, model_tests
from bmcore.stats.estimate import Estimate
from bmcore.stats.subgroups import band, bands, count_band, count_bands, subgroup_table

MINIMUM = 20
UNKNOWN = "not known"
Answers = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Described:
    """What a patient is sorted by: sex and age in years (None, "" or NaN: not known), number of
    lesions of the reference and the largest diameter in mm."""

    sex: str | None
    age_years: float | None
    lesions: int
    largest_mm: float


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def subgroups(
    truth: npt.NDArray[np.int64],
    answers: Answers,
    patients: Sequence[Described],
    minimum: int = MINIMUM,
) -> dict[str, list[dict[str, Any]]]:
    """Accuracy and macro AUC of each answer by sex, age, number of lesions and largest lesion."""
    tables = {
        "Sex": ([p.sex or UNKNOWN for p in patients], ["female", "male", UNKNOWN]),
        "Age": (
            [band(_known(p.age_years), (50, 65), " years") for p in patients],
            [*bands((50, 65), " years"), UNKNOWN],
        ),
        "Number of lesions": (
            [count_band(p.lesions, (2, 5)) for p in patients],
            [*count_bands((2, 5))],
        ),
        "Largest lesion": (
            [band(p.largest_mm, (10, 20), " mm") for p in patients],
            [*bands((10, 20), " mm")],
        ),
    }

    def numbers(at: npt.NDArray[np.intp]) -> dict[str, Estimate]:
        out = {}
        for kind, p in answers.items():
            out[f"{kind}_accuracy"] = classification.accuracy(truth[at], p[at].argmax(axis=1))
            out[f"{kind}_macro_auc"] = classification.auc(truth[at], p[at]).macro
        return out

    return {
        title: [
            {"name": row.name, "n": row.n, "numbers": row.numbers, "words": row.words}
            for row in subgroup_table(groups, names, numbers, minimum)
            if row.n or row.name != UNKNOWN
        ]
        for title, (groups, names) in tables.items()
    }


def decision_curves(truth: npt.NDArray[np.int64], answers: Answers) -> dict[str, Any]:
    """Net benefit of each answer for each primary against the rest, as plain rows of numbers."""
    thresholds = decision.THRESHOLDS
    out: dict[str, Any] = {"thresholds": thresholds, "n": len(truth), "method": "", "answers": {}}
    for kind, p in answers.items():
        out["answers"][kind] = {}
        for c, primary in enumerate(PRIMARIES):
            curve = decision.decision_curve(truth == c, p[:, c], thresholds)
            out["method"] = curve.model[0].method
            out["answers"][kind][str(primary)] = {
                **{f"model_{k}": [getattr(e, k) for e in curve.model]
                   for k in ("value", "low", "high")},
                "treat_all": [e.value for e in curve.treat_all],
                **{f"gain_{k}": [getattr(e, k) for e in curve.gain]
                   for k in ("value", "low", "high")},
            }  # fmt: skip
    return out


def paired_tests(
    truth: npt.NDArray[np.int64], first: npt.NDArray, second: npt.NDArray
) -> dict[str, Any]:
    """Is ``first`` different from ``second``? Two-sided p values; no correction for many tests."""
    one, other = (classification.log_loss_of_each(truth, p) for p in (first, second))
    delong = model_tests.delong(truth, first, second)
    return {
        "macro_auc_delong": {
            "difference": delong.difference, "p": delong.p_value, "method": delong.method,
        },
        "macro_auc_permutation": {
            "p": model_tests.permutation_auc(truth, first, second),
            "method": "answers exchanged within random patients, 2000 times",
        },
        "log_loss_permutation": {
            "p": model_tests.permutation_mean(one, other),
            "method": "losses exchanged within random patients, 2000 times",
        },
        "accuracy_permutation": {
            "p": model_tests.permutation_mean(
                first.argmax(axis=1) == truth, second.argmax(axis=1) == truth
            ),
            "method": "right or wrong exchanged within random patients, 2000 times",
        },
    }  # fmt: skip
