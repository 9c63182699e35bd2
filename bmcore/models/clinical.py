"""The clinical record as a vector of named numbers, the same in training and in use.

What is not known argues for nothing: a number, and every 0/1 column of a category, is NaN then, and
``MLR`` puts the mean of its training patients there, whose contribution is 0. Flags for what is
missing, of which a regression can learn who leaves a question open, are columns only where they
are asked for (``with_flags``); bundles of the first version have them. With the flag of a question
among the columns, its category's columns are 0 where it is open, as those bundles learnt it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bmcore.domain import ClinicalRecord


class Feature(NamedTuple):
    """key: name in files; words: name for users; unit: of one step; group: the question asked."""

    key: str
    words: str
    unit: str
    group: str


_FLAG = "_missing"
EVERY_FEATURE: tuple[Feature, ...] = (
    Feature("age_decades", "Age", "10 years", "Age"),
    Feature("age_missing", "Age not known", "yes/no", "Age"),
    Feature("sex_female", "Female", "yes/no", "Sex"),
    Feature("sex_missing", "Sex not known", "yes/no", "Sex"),
    Feature("smoking_never", "Never smoked", "yes/no", "Smoking"),
    Feature("smoking_former", "Former smoker", "yes/no", "Smoking"),
    Feature("smoking_current", "Current smoker", "yes/no", "Smoking"),
    Feature("smoking_missing", "Smoking not known", "yes/no", "Smoking"),
    Feature("pack_years_log1p", "Pack-years", "ln(1 + pack-years)", "Pack-years"),
    Feature("pack_years_missing", "Pack-years not known", "yes/no", "Pack-years"),
    Feature(
        "extracranial_metastases",
        "Metastases outside the brain",
        "yes/no",
        "Metastases outside the brain",
    ),
    Feature(
        "extracranial_metastases_missing",
        "Metastases outside the brain not known",
        "yes/no",
        "Metastases outside the brain",
    ),
)
FEATURES: tuple[Feature, ...] = tuple(f for f in EVERY_FEATURE if not f.key.endswith(_FLAG))
FEATURE_KEYS: tuple[str, ...] = tuple(f.key for f in FEATURES)


def with_flags() -> tuple[str, ...]:
    """The columns with a flag for each question that is open."""
    return tuple(f.key for f in EVERY_FEATURE)


def vector(record: ClinicalRecord, keys: Sequence[str] = FEATURE_KEYS) -> npt.NDArray[np.float64]:
    """The record as float64 (m,), one number for each of ``keys``; NaN for what is not known.

    Age in units of 10 years; pack-years as ln(1 + pack-years), since their spread is skewed; the
    rest 0 or 1. ValueError for a key that is none of ``EVERY_FEATURE``.
    """
    nan = float("nan")
    categories: dict[str, tuple[object, dict[str, object]]] = {
        "sex": (record.sex, {"sex_female": "female"}),
        "smoking": (
            record.smoking, {f"smoking_{s}": s for s in ("never", "former", "current")}
        ),
        "extracranial_metastases": (
            record.extracranial_metastases, {"extracranial_metastases": True}
        ),
    }  # fmt: skip
    packs = record.pack_years
    values: dict[str, float] = {
        "age_decades": nan if record.age_years is None else record.age_years / 10,
        "age_missing": float(record.age_years is None),
        "pack_years_log1p": nan if packs is None else float(np.log1p(packs)),
        "pack_years_missing": float(packs is None),
    }
    for question, (answer, columns) in categories.items():
        open_value = 0.0 if question + _FLAG in keys else nan
        for key, word in columns.items():
            values[key] = open_value if answer is None else float(answer == word)
        values[question + _FLAG] = float(answer is None)
    unknown = [key for key in keys if key not in values]
    if unknown:
        raise ValueError(f"no clinical column is called {', '.join(unknown)}")
    return np.array([values[key] for key in keys], dtype=np.float64)
