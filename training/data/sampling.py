"""Which patches, and how they are augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse

if TYPE_CHECKING:
    import torch

    # images (b, 4, e, e, e), labels (b, e, e, e), loss weights and lesion numbers of that shape
    Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Sampling:
    """Which patches: a sentence a field.

    batch, patch: patches a step, edge of a patch in voxels of 1 mm. lesion_share: share of patches
    centred near a lesion. core_share: share centred on necrosis, which few lesions have.
    decoy_share: share centred on enhancing tissue that is no lesion (synthetic heads only). drop:
    chance to lose t1n, t2w, t2f. repaint: whether a synthetic scene looks different each time.
    calm: share of patches that are painted like clinical scans; the others look wilder.
    """

    batch: int = 2
    patch: int = 80
    lesion_share: float = 0.55
    core_share: float = 0.2
    decoy_share: float = 0.1
    drop: float = 0.25
    repaint: bool = True
    calm: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        # 32 leaves 2x2x2 at the deepest level, where bfloat16 gradients on CPUs come out as NaN
        if self.patch % 16 or self.patch < 48:
            raise refuse(
                "the patch edge does not fit the net",
                found=self.patch,
                expected="a multiple of 16, at least 48",
                hint="take --patch 80.",
            )


AUGMENTATION = {
    "mirror": "left-right, chance 0.5",
    "painting": "synthetic heads: every patch in a contrast, field, blur and noise of its own",
    "gain and shift": "each sequence: gain exp(N(0, 0.2)), shift N(0, 0.15) spreads; painted "
    "patches gain exp(N(0.08, 0.15)), shift N(0, 0.1)",
    "gamma": "each sequence, chance 0.3: exponent exp(N(0, 0.25)) of the range",
    "noise": "chance 0.3: Gaussian, up to 0.3 spreads",
    "blur": "each sequence, chance 0.15: mean over 2-3 voxels along one axis",
    "missing sequences": "t1n, t2w, t2f each lost by chance 'drop'; all three by 0.08",
}


def lost_sequences(rng: np.random.Generator, drop: float) -> npt.NDArray[np.bool_]:
    """Which of the four sequences a patch does without; never t1c."""
    lost = rng.uniform(size=4) < drop
    if rng.uniform() < 0.08:
        lost[[0, 2, 3]] = True
    lost[1] = False
    return lost


def augment(
    images: npt.NDArray[np.float32], rng: np.random.Generator, drop: float
) -> npt.NDArray[np.float32]:
    """The intensity part of AUGMENTATION on a standardised patch (4, i, j, k); 0 stays 0."""
    from scipy import ndimage

    inside = (images != 0).any(0)
    out = np.empty_like(images)
    for c, image in enumerate(images):
        x = image
        if rng.uniform() < 0.15:
            x = ndimage.uniform_filter1d(x, int(rng.integers(2, 4)), axis=int(rng.integers(3)))
        if rng.uniform() < 0.3:
            low, high = -4.0, 6.0
            exponent = np.float32(np.exp(rng.normal(0, 0.25)))
            unit = np.clip((x - low) / (high - low), 0, 1)
            x = unit**exponent * (high - low) + low
            x -= np.float32((-low / (high - low)) ** exponent * (high - low) + low)
        x = x * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(rng.normal(0, 0.15))
        if rng.uniform() < 0.3:
            noise = rng.standard_normal(x.shape, dtype=np.float32)
            x = x + noise * np.float32(rng.uniform(0, 0.3))
        out[c] = np.where(inside & image.any(), np.clip(x, -6, 6), 0)  # what is missing stays so
    out[lost_sequences(rng, drop)] = 0
    return out
