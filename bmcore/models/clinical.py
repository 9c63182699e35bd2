"""The clinical record as a vector of named numbers, the same in training and in use.

A missing number (age, pack-years) is NaN with a flag of 1 beside it; ``MLR.fit`` learns the number
that stands in for NaN from its own training patients, so nothing is learnt here. A missing category
is a category of its own: all its 0/1 columns are 0 and the flag is 1.
"""

from __future__ import annotations

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


FEATURES: tuple[Feature, ...] = (
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
FEATURE_KEYS: tuple[str, ...] = tuple(f.key for f in FEATURES)


def vector(record: ClinicalRecord) -> npt.NDArray[np.float64]:
    """The record as float64 (12,) in the order of ``FEATURES``; NaN for a missing number.

    Age in units of 10 years; pack-years as ln(1 + pack-years), since their spread is skewed; the
    rest 0 or 1.
    """
    values = dict.fromkeys(FEATURE_KEYS, 0.0)
    values["age_decades"] = np.nan if record.age_years is None else record.age_years / 10
    values["age_missing"] = float(record.age_years is None)
    values["sex_female"] = float(record.sex == "female")
    values["sex_missing"] = float(record.sex is None)
    values[f"smoking_{record.smoking or 'missing'}"] = 1.0
    values["pack_years_log1p"] = (
        np.nan if record.pack_years is None else np.log1p(record.pack_years)
    )
    values["pack_years_missing"] = float(record.pack_years is None)
    values["extracranial_metastases"] = float(bool(record.extracranial_metastases))
    values["extracranial_metastases_missing"] = float(record.extracranial_metastases is None)
    return np.array([values[key] for key in FEATURE_KEYS], dtype=np.float64)
