"""What nets that have not seen a patient say of this patient: features and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.models.image_features import FEATURE_NAMES
from training.data.cohort import NET, person_of

FEATURES_FILE = Path("cnn") / "features.npz"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Features of each patient by the member of the CNN that has not seen the patient.

    features (n, f); probabilities (n, 6): of the CNN alone, by the same member. fold, labels (n,):
    the member without fold k read the patients of fold k. clinical (n, m); case_ids. To sort the
    patients by (n,): lesions and largest_mm, number and largest diameter; sex, "" where it is not
    known; age_years, NaN where it is not. whose (n,): the person;
    where it is not given (files of earlier versions) it is read from the case ids.
    """

    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    fold: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    clinical: npt.NDArray[np.float64]
    case_ids: npt.NDArray
    lesions: npt.NDArray[np.int64]
    largest_mm: npt.NDArray[np.float64]
    sex: npt.NDArray[np.str_]
    age_years: npt.NDArray[np.float64]
    whose: npt.NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        if self.whose is None:
            found = np.array([person_of(str(case_id)) for case_id in self.case_ids])
            object.__setattr__(self, "whose", found)

    @property
    def folds(self) -> int:
        return int(self.fold.max()) + 1

    @property
    def persons(self) -> npt.NDArray[np.str_]:
        """Whose scan each row is (n,)."""
        assert self.whose is not None  # see __post_init__
        return self.whose

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """Rows that count once a patient: those with the reference mask."""
        return np.array([not str(case_id).endswith(NET) for case_id in self.case_ids])

    def rows(self, chosen: npt.NDArray) -> HeldOut:
        """The same for some rows."""
        every: dict[str, Any] = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return HeldOut(**{k: v[chosen] for k, v in every.items()})


def load_held_out(out: Path) -> HeldOut:
    """What ``training.cnn`` left in OUT. Raises InputRefused where it has not been run."""
    return read_held_out(out / FEATURES_FILE)


def read_held_out(path: Path) -> HeldOut:
    """The rows in one file of ``training.cnn``. InputRefused where it is absent or of old."""
    if not path.exists():
        raise refuse(
            "the features of the CNN are not there", file=path, hint="run training.cnn first."
        )
    with np.load(path, allow_pickle=False) as kept:
        if kept["names"].tolist() != list(FEATURE_NAMES):
            raise refuse("the features are of another version", file=path, hint="run it again.")
        names = [name for name in HeldOut.__dataclass_fields__ if name in kept.files]
        return HeldOut(**{name: kept[name] for name in names})
