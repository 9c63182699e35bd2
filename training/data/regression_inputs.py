"""What the regressions are fed: the clinical vector, the image code, or both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmcore.models.clinical import FEATURE_KEYS

ANSWERS = ("clinical", "image", "fused")


def code_names(size: int) -> tuple[str, ...]:
    return tuple(f"code_{i + 1}" for i in range(size))


def inputs(clinical: npt.NDArray, code: npt.NDArray) -> dict[str, npt.NDArray[np.float64]]:
    """The matrix (n, m) of each answer, from clinical vectors (n, 12) and codes (n, d)."""
    code = np.asarray(code, dtype=np.float64)
    return {"clinical": clinical, "image": code, "fused": np.hstack([clinical, code])}


def names(size: int) -> dict[str, tuple[str, ...]]:
    """The column names of each answer's matrix."""
    code = code_names(size)
    return {"clinical": FEATURE_KEYS, "image": code, "fused": FEATURE_KEYS + code}
