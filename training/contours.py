"""Teach a net to draw candidates (``bmcore.models.lesion_refinement``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from training.common import seed_everything
from training.passes import Passes, run_passes
from training.patches import augment

if TYPE_CHECKING:
    import torch

    from bmcore.models.candidates import Candidate

CROP = 24  # voxels; edge of what is kept of a lesion
SEEN = 20  # voxels; edge of what a step sees of that, somewhere in it
IGNORED = 255
DROP = 0.12  # chance to lose each of t1n, t2w, t2f
LIMIT = 0.05  # share of the peak at which ``measure`` ends a lesion


@dataclass(frozen=True, eq=False)
class Crops:
    """n lesions: images and probabilities float16 (n, 4, e, e, e), own and brain bool (n, e, e, e),
    label uint8 (n, e, e, e): 0 outside of the lesion's core, 1 necrosis, 2 enhancing tumour,
    IGNORED in the core of another lesion."""

    images: npt.NDArray[np.float16]
    probabilities: npt.NDArray[np.float16]
    own: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    label: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)


# Name of the array in the files -> field
ARRAYS = {"images": "images", "chances": "probabilities", "own": "own", "brain": "brain",
          "label": "label"}  # fmt: skip


@dataclass(frozen=True)
class ContourTraining:
    """epochs: passes over all crops. batch: crops a step. rate: peak learning rate (one cycle).
    decay: weight decay. entropy: weight of the cross-entropy beside the Dice of each crop."""

    channels: int = 16
    epochs: int = 36
    batch: int = 16
    rate: float = 3e-3
    decay: float = 0.01
    entropy: float = 0.3
    seed: int = 0


def cut_crops(
    images: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    truth: npt.NDArray[np.uint8],
    parts: npt.NDArray[np.int32],
    found: Sequence[Candidate],
) -> Crops:
    """The small candidates that touch a metastasis, each around its centre.

    images, probabilities (4, i, j, k); brain, parts (i, j, k); truth (i, j, k): labels 0-3.
    """
    from scipy import ndimage

    from bmcore.imaging.preprocess import crop_or_pad
    from bmcore.models.lesion_refinement import is_small

    touching = np.ones((3, 3, 3))
    lesions, _ = ndimage.label(np.isin(truth, (1, 3)), touching)
    rows: list[tuple[npt.NDArray, ...]] = []
    size = np.full(3, CROP)
    for candidate in found:
        box = candidate.box
        if not is_small(box):
            continue
        wider = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        own = parts[wider] == candidate.number
        hit = np.unique(lesions[wider][ndimage.binary_dilation(own, touching)])
        hit = hit[hit > 0]
        if not len(hit):
            continue
        low = np.array(candidate.centre) - CROP // 2
        lesion, there = crop_or_pad(lesions, low, size), crop_or_pad(truth, low, size)
        label = np.where(np.isin(lesion, hit), np.where(there == 1, 1, 2), IGNORED)
        label[lesion == 0] = 0
        rows.append((
            np.array([crop_or_pad(image, low, size) for image in images], np.float16),
            np.array([crop_or_pad(chance, low, size) for chance in probabilities], np.float16),
            crop_or_pad(parts, low, size) == candidate.number,
            crop_or_pad(brain, low, size),
            label.astype(np.uint8),
        ))  # fmt: skip
    if not rows:
        return no_crops()
    return Crops(*(np.stack(column) for column in zip(*rows, strict=True)))


def no_crops() -> Crops:
    """None at all."""
    one, four = (0, CROP, CROP, CROP), (0, 4, CROP, CROP, CROP)
    return Crops(
        np.zeros(four, np.float16), np.zeros(four, np.float16), np.zeros(one, bool),
        np.zeros(one, bool), np.zeros(one, np.uint8),
    )  # fmt: skip


def join(crops: Sequence[Crops]) -> Crops:
    """Several as one."""
    return Crops(*(np.concatenate([getattr(c, name) for c in crops]) for name in ARRAYS.values()))


def train(crops: Crops, config: ContourTraining, out: Path, device: str) -> dict[str, Any]:
    """Train a net on all crops: its weights (CPU), the loss of each pass, and seconds.

    The loss is that of each lesion by itself, so that small ones weigh as much as large ones: one
    minus the Dice of its enhancing tumour, and cross-entropy per voxel of tumour core.
    InputRefused where there are no crops.
    """
    import torch

    from bmcore.models import runtime
    from bmcore.models.lesion_refinement import build_contour_net

    if not len(crops):
        raise refuse("no candidate touches a metastasis", hint="give more --cases.")
    seed_everything(config.seed)
    net = build_contour_net(config.channels).to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    batch = min(config.batch, len(crops))
    each = len(crops) // batch
    kind = device.split(":")[0]
    half = runtime.choose(kind, threads=0).precision == "bf16"

    def losses(epoch: int) -> Iterator[torch.Tensor]:
        random = np.random.default_rng([config.seed, epoch])
        order = random.permutation(len(crops))[: each * batch].reshape(each, batch)
        for chosen in order:
            pairs = [changed(crops, int(n), random) for n in chosen]
            seen = torch.from_numpy(np.stack([p[0] for p in pairs])).to(device)
            label = torch.from_numpy(np.stack([p[1] for p in pairs])).to(device, torch.long)
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
                logits = net(seen.to(memory_format=torch.channels_last_3d))
            yield _loss(logits, label, config.entropy)

    how = Passes(config.epochs, each, config.rate, config.decay, "learn outlines", "contours/loss")
    return run_passes(net, losses, how, out)


def _loss(logits: torch.Tensor, label: torch.Tensor, weight: float) -> torch.Tensor:
    """Of each crop by itself, then the mean. weight: of the cross-entropy."""
    import torch
    from torch.nn import functional

    entropy = functional.cross_entropy(logits, label, reduction="none", ignore_index=IGNORED).sum(
        (1, 2, 3)
    )
    known = label != IGNORED
    core = ((label > 0) & known).sum((1, 2, 3))
    drawn = torch.softmax(logits, 1)[:, 2] * known
    tumour = (label == 2).float()
    shared = 2 * (drawn * tumour).sum((1, 2, 3)) + 1
    dice = shared / (drawn.sum((1, 2, 3)) + tumour.sum((1, 2, 3)) + 1)
    return 1 - dice.mean() + weight * (entropy / (core + 10)).mean()


def changed(
    crops: Crops, number: int, random: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """What a step sees of a crop, and its label: moved, turned, mirrored, intensities changed."""
    from bmcore.models.lesion_refinement import stack

    start = random.integers(0, CROP - SEEN + 1, 3)
    view = tuple(slice(int(s), int(s) + SEEN) for s in start)
    every = (slice(None), *view)
    images = augment(crops.images[number][every].astype(np.float32), random, DROP)
    seen = stack(images, crops.probabilities[number][every], crops.own[number][view],
                 crops.brain[number][view])  # fmt: skip
    axes = random.permutation(3)
    flips = tuple(int(a) for a in np.flatnonzero(random.uniform(size=3) < 0.5))
    seen = np.flip(seen.transpose(0, *(axes + 1)), tuple(f + 1 for f in flips))
    label = np.flip(crops.label[number][view].transpose(axes), flips)
    return np.ascontiguousarray(seen), np.ascontiguousarray(label)


def measure(net: torch.nn.Module, crops: Crops) -> dict[str, Any]:
    """Mean Dice of the enhancing tumour of lesions that lie whole in their crop, with the first
    outline and the new one, each from LIMIT of its peak on; on patients not trained on."""
    from bmcore.models.lesion_refinement import outline

    scores: dict[str, list[float]] = {"before": [], "contours": []}
    for n in range(len(crops)):
        own, truth = crops.own[n], crops.label[n] == 2
        whole = own | truth
        if (
            not truth.any()
            or not own.any()
            or any(whole.take(end, axis).any() for axis in range(3) for end in (0, -1))
        ):
            continue
        probabilities = crops.probabilities[n].astype(np.float32)
        box = tuple(slice(int(v.min()), int(v.max()) + 1) for v in np.nonzero(own))
        here, shape, necrosis = outline(
            net, crops.images[n].astype(np.float32), probabilities, crops.brain[n],
            own.astype(np.int32), 1, box,
        )  # fmt: skip
        drawn = np.zeros_like(own)
        drawn[here] = (shape > LIMIT * max(float(shape.max()), 1e-6)) & (necrosis <= 0.5)
        first = np.where(own, probabilities[1] + probabilities[3], 0)
        first = (first > LIMIT * first.max()) & (probabilities[1] <= probabilities[3])
        known = crops.label[n] != IGNORED
        for name, found in (("before", first), ("contours", drawn & known)):
            shared = np.count_nonzero(found & truth)
            scores[name].append(2 * shared / (np.count_nonzero(found) + np.count_nonzero(truth)))
    out: dict[str, Any] = {"lesions": len(scores["before"])}
    return out | {f"dice_{k}": float(np.mean(v)) for k, v in scores.items() if v}
