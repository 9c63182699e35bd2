"""Softmax of numpy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def softmax(logits: npt.NDArray) -> npt.NDArray:
    """Probabilities of logits (n, classes): each row is positive and sums to 1."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
