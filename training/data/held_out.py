"""Features of patients by nets that have not seen them, and what the regressions are fed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.models.cnn import (
    FEATURE_NAMES,
)
from training.data.cohort import person_of

FEATURES_FILE = Path("cnn") / "features.npz"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Features of each patient by nets that have not seen the patient.

    features (n, K, f): entry [p, b] comes from the net that saw neither the fold of p nor fold b;
    NaN where b is the fold of p. probabilities (n, K, 6): of the CNN alone, likewise.
    fold, labels (n,); clinical (n, m); case_ids.
    """

    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    fold: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    clinical: npt.NDArray[np.float64]
    case_ids: npt.NDArray

    @property
    def folds(self) -> int:
        return int(self.features.shape[1])

    @property
    def persons(self) -> npt.NDArray[np.str_]:
        """Whose scan each row is (n,)."""
        return np.array([person_of(str(case_id)) for case_id in self.case_ids])

    @property
    def one_each(self) -> npt.NDArray[np.float32]:
        """One row a patient (n, f), from one net that has not seen the patient."""
        return self.features[np.arange(len(self.fold)), (self.fold + 1) % self.folds]


def load_held_out(out: Path) -> HeldOut:
    """What ``training.cnn`` left in OUT. Raises InputRefused where it has not been run."""
    path = out / FEATURES_FILE
    if not path.exists():
        raise refuse(
            "the features of the CNN are not there", file=path, hint="run training.cnn first."
        )
    with np.load(path, allow_pickle=False) as kept:
        if kept["names"].tolist() != list(FEATURE_NAMES):
            raise refuse("the features are of another version", file=path, hint="run it again.")
        return HeldOut(**{name: kept[name] for name in HeldOut.__dataclass_fields__})
