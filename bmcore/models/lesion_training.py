"""What the lesion CNN is trained with: augmentation by name, and the loss. Torch tensors only.

What changes the shape of things (``augment_geometry``) is done on patches, a few times a patient
before the training; what changes the brightness of a scan (``augment_intensity``) is done anew in
each step, and on what the net computes on, which is smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from bmcore.models.losses import largest_near

if TYPE_CHECKING:
    import torch

AUGMENTATION: Mapping[str, str] = MappingProxyType(
    {
        "mirror": "left-right, a patient, chance 0.5",
        "turn and zoom": "a lesion, chance 0.5: up to 20 degrees about a random axis, 0.9 to 1.1",
        "mask edge": "a lesion, chance 0.3: the masks grow or shrink by one voxel of 1.5 mm",
        "noise": "a patient, chance 0.3: Gaussian, up to 0.3 spreads",
        "gain and shift": "each sequence of a patient: gain exp(N(0, 0.1)), shift N(0, 0.1)",
        "missing sequences": "t1n, t2w, t2f of a patient, each lost by chance 0.15",
        "views": "the first four are drawn a few times before the training, the rest in each step",
    }
)
LOSABLE = (0, 2, 3)  # t1n, t2w, t2f; t1c is always there


def augment_geometry(
    patches: torch.Tensor, patient: torch.Tensor, random: np.random.Generator
) -> torch.Tensor:
    """A copy of patches (n, 7, 32, 32, 32), mirrored, turned, with other mask edges and noise.

    patient: (n,) whole numbers from 0; lesions of one patient share mirror and noise level. A
    missing sequence stays 0. The same ``random`` gives the same copy.
    """
    import torch

    out = patches.clone()
    owner = patient.cpu().numpy()
    people = int(owner.max()) + 1
    mirrored = torch.from_numpy(random.random(people) < 0.5)[patient.cpu()].to(out.device)
    out[mirrored] = out[mirrored].flip(2)
    turned = np.flatnonzero(random.random(len(out)) < 0.5)
    if turned.size:
        out[turned] = _turn(out[turned], random)
    edge = random.random(len(out))
    for chosen, sign in ((np.flatnonzero(edge < 0.15), 1), (np.flatnonzero(edge > 0.85), -1)):
        if chosen.size:  # shrinking is growing of what lies around
            out[chosen, 4:] = sign * largest_near(sign * out[chosen, 4:])
    level = np.where(random.random(people) < 0.3, random.uniform(0, 0.3, people), 0)[owner]
    noisy = np.flatnonzero(level)
    if noisy.size:
        images = out[noisy, :4]
        drawn = random.standard_normal(tuple(images.shape), dtype=np.float32)
        noise = torch.from_numpy(drawn).to(out.device) * _column(level[noisy, None], out)
        out[noisy, :4] = torch.where(images != 0, images + noise, 0)
    return out


def augment_intensity(
    x: torch.Tensor, patient: torch.Tensor, random: np.random.Generator
) -> torch.Tensor:
    """A copy of x (n, 7 or 15, ...) with other gain and shift of each sequence, or without it.

    x: patches (images first) or ``cnn.cells`` of them (three masks, then the sequences in three
    tissues); patient as in ``augment_geometry``. What is 0 (outside, missing) stays 0.
    """
    import torch

    owner = patient.cpu().numpy()
    people = int(owner.max()) + 1
    gain = np.exp(random.normal(0, 0.1, (people, 4)))
    shift = random.normal(0, 0.1, (people, 4))
    gain[:, LOSABLE] *= random.random((people, len(LOSABLE))) >= 0.15
    factor, rise = _column(gain[owner], x), _column(shift[owner], x)
    out = x.clone()
    for first in (0,) if x.shape[1] == 7 else range(3, x.shape[1], 4):
        images = x[:, first : first + 4]
        shown = (images != 0) & (factor != 0)
        out[:, first : first + 4] = torch.where(shown, images * factor + rise, 0)
    return out


def _column(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.as_tensor(values, dtype=like.dtype, device=like.device)[:, :, None, None, None]


def _turn(patches: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Each patch turned and zoomed about its centre (Rodrigues' formula), linear, 0 outside."""
    import torch
    from torch.nn import functional

    n = len(patches)
    axis = random.normal(size=(n, 3))
    x, y, z = (axis / np.linalg.norm(axis, axis=1, keepdims=True)).T
    angle = np.deg2rad(random.uniform(-20, 20, n))[:, None, None]
    zoom = random.uniform(0.9, 1.1, n)[:, None, None]
    zero = np.zeros(n)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(n, 3, 3)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    theta = torch.as_tensor(np.concatenate([turn / zoom, np.zeros((n, 3, 1))], axis=2))
    grid = functional.affine_grid(
        theta.to(patches.device, patches.dtype), list(patches.shape), align_corners=False
    )
    return functional.grid_sample(patches, grid, align_corners=False)


def patient_loss(
    logits: torch.Tensor,
    patient: torch.Tensor,
    labels: torch.Tensor,
    class_weights: torch.Tensor,
    *,
    lesion_term: float = 0.3,
    smoothing: float = 0.05,
) -> torch.Tensor:
    """Cross-entropy of the mean of each patient's logits, plus ``lesion_term`` times each lesion's.

    logits (n, 6); patient (n,) whole numbers 0 to p - 1, each at least once; labels (p,);
    class_weights (6,). ``smoothing``: label smoothing (Szegedy et al. 2016). A scalar.
    """
    import torch
    from torch.nn import functional

    count = torch.bincount(patient, minlength=len(labels)).unsqueeze(1)
    total = torch.zeros(len(labels), logits.shape[1], dtype=logits.dtype, device=logits.device)
    mean = total.index_add(0, patient, logits) / count
    of_patients = functional.cross_entropy(mean, labels, class_weights, label_smoothing=smoothing)
    of_lesions = functional.cross_entropy(
        logits, labels[patient], class_weights, label_smoothing=smoothing
    )
    return of_patients + lesion_term * of_lesions


def class_weights(labels: np.ndarray, classes: int, power: float = 0.5) -> np.ndarray:
    """Weights (classes,) float32: (n / count) ** power, scaled to a mean of 1 over the patients.

    power 0: all alike; 1: every class counts as much as any other; 0.5 lies between. A class that
    does not occur gets 1.
    """
    count = np.bincount(labels, minlength=classes).astype(float)
    weight = np.where(count > 0, (labels.size / np.maximum(count, 1)) ** power, 0)
    weight /= (weight * count).sum() / labels.size
    return np.where(count > 0, weight, 1.0).astype(np.float32)
