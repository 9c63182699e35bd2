"""Intensity standardisation: one rule for training and for use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CLIP = 6.0


def standardise(
    image: npt.NDArray, brain: npt.NDArray[np.bool_], clip: float = CLIP
) -> npt.NDArray[np.float32]:
    """Robust z-score inside the brain: (x - median) / spread, clipped to +-``clip``, 0 outside.

    image (i, j, k) in any unit; brain bool (i, j, k). The spread is the interquartile range / 1.349
    (equals the standard deviation for a normal distribution), so that a bright lesion or vessel
    does not change the scale. An image without spread inside the brain comes back as zeros.
    ValueError where shapes differ.
    """
    if image.shape != brain.shape:
        raise ValueError(f"image {image.shape} and brain {brain.shape} must have one shape")
    out = np.zeros(image.shape, np.float32)
    if not brain.any():
        return out
    values = image[brain].astype(np.float32)
    low, middle, high = np.percentile(values[:: max(1, values.size // 400_000)], (25, 50, 75))
    spread = (high - low) / 1.349
    if spread <= 1e-6 * max(1.0, abs(float(middle))):
        return out
    out[brain] = np.clip((values - middle) / spread, -clip, clip)
    return out
