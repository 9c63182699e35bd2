"""Cases whose images look alike to the models: nearest in the code that the answers are made from.

The code of a patient is the few numbers that the autoencoder keeps of the image features. Each is
divided by its spread among the training patients (the scaler of the image regression), so that all
count alike. The unit of the distance is the root of the mean squared distance between two training
patients: of standardised numbers the squared distance of two independent draws is 2 on average for
each, so the unit is sqrt(2 d). A distance of 1 is thus what two patients drawn at random have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import Prediction

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

COUNT = 3
_WORDS = ((0.35, "very alike"), (0.7, "alike"), (1.0, "somewhat alike"))
NOT_ALIKE = "not alike: as far apart as two patients drawn at random"


@dataclass(frozen=True)
class Similar:
    """distance: 0 for the same code, 1 as far as two training patients drawn at random."""

    case_id: str
    distance: float

    @property
    def words(self) -> str:
        """The distance in words."""
        return next((text for limit, text in _WORDS if self.distance < limit), NOT_ALIKE)


def nearest(
    bundle: Bundle,
    prediction: Prediction,
    codes: Mapping[str, npt.NDArray[np.float32]],
    count: int = COUNT,
) -> tuple[Similar, ...]:
    """The ``count`` nearest of ``codes`` (case id -> (d,)), nearest first, without the case itself.

    Empty where the prediction has no code (no lesion was found). Which cases may be compared is the
    caller's matter: nearness tells what the models see in both.
    """
    if prediction.code is None:
        return ()
    spread = bundle.image_mlr.scale_
    found = []
    for case_id, code in codes.items():
        if case_id == prediction.case_id or code.shape != prediction.code.shape:
            continue
        away = (np.asarray(code, np.float64) - prediction.code) / spread
        found.append(Similar(case_id, float(np.sqrt((away**2).sum() / (2 * away.size)))))
    return tuple(sorted(found, key=lambda s: (s.distance, s.case_id))[:count])
