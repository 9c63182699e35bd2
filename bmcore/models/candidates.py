"""A second look at each place that may be a metastasis.

A segmentation net that is asked for every voxel leaves many small lesions at a low probability, and
vessels in cross-section too, though its own maps tell them apart. So each candidate is judged once
more by itself: the net's maps in a cube around it are pooled over the candidate, as a region-based
detector does (Girshick, Fast R-CNN, 2015), and a small head says whether it is a metastasis. That
answer takes the place of the candidate's peak: see ``revise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES
from bmcore.imaging.preprocess import cut

if TYPE_CHECKING:
    import torch

    from bmcore.models.segmenter import SegmenterConfig

EDGE = 32  # voxels of 1 mm of the cube around a candidate
CHANNELS = len(SEQUENCES) + 1  # the images, and the candidate itself
SCALARS = 3  # peak in the window and in the cube, size
LEAST = 3  # voxels; what is smaller is no candidate
PREFIX = "candidates."  # of the names of its tensors in a segmentation net
AT_ONCE = 16  # cubes read together
_TOUCHING = np.ones((3, 3, 3))
_T = TypeVar("_T")


@dataclass(frozen=True)
class Candidate:
    """number: in the map of parts. centre: voxel (i, j, k) where it is most likely; peak: there."""

    number: int
    centre: tuple[int, int, int]
    peak: float


def find_candidates(
    core: npt.NDArray[np.float32], least_chance: float
) -> tuple[npt.NDArray[np.int32], list[Candidate]]:
    """The parts (26-neighbourhood) of at least LEAST voxels in which ``core`` exceeds a limit.

    core: probability of tumour core (i, j, k). Returns the number of each voxel's part, 0 where it
    belongs to none, and the candidates in the order of their numbers. The centre is the voxel next
    to the mean place of those within a tenth of the peak.
    """
    parts, _ = ndimage.label(core > least_chance, _TOUCHING)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        own = parts[box] == number
        if np.count_nonzero(own) < LEAST:
            parts[box][own] = 0
            continue
        chances = np.where(own, core[box], 0)
        peak = float(chances.max())
        top = np.argwhere(chances > 0.9 * peak)
        nearest = top[((top - top.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        i, j, k = (int(a) + s.start for a, s in zip(nearest, box, strict=True))
        found.append(Candidate(number, (i, j, k), peak))
    return parts, found


def cut_cubes(
    images: npt.NDArray[np.float32],
    parts: npt.NDArray[np.int32],
    candidates: list[Candidate],
    edge: int = EDGE,
) -> npt.NDArray[np.float32]:
    """What is seen of each candidate, float32 (n, 5, edge, edge, edge), 0 beyond the volume.

    images (4, i, j, k), standardised; parts (i, j, k). Channels: the images, and 1 in the
    candidate.
    """
    out = np.zeros((len(candidates), CHANNELS, edge, edge, edge), np.float32)
    size = np.full(3, edge)
    for cube, candidate in zip(out, candidates, strict=True):
        low = np.array(candidate.centre) - edge // 2
        cube[:-1] = [cut(image, low, size) for image in images]
        cube[-1] = cut(parts, low, size) == candidate.number
    return out


def description_size(config: SegmenterConfig) -> int:
    """How many numbers ``describe`` gives for a net of this config."""
    encoder = [config.filters * 2**n for n in range(len(config.blocks_down))]
    decoder = [config.filters * 2**n for n in range(len(config.blocks_up))]
    pooled = 2 * sum(encoder[:-1]) + encoder[-1] + 2 * sum(decoder) + decoder[0]
    return pooled + 2 * config.fine + SCALARS


def describe(
    net: torch.nn.Module, cubes: npt.NDArray[np.float32], peaks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """What the segmentation net computes on each cube, pooled: float32 (n, ``description_size``).

    cubes (n, 5, 32, 32, 32) from ``cut_cubes``; peaks (n,): of the candidates. In order: mean and
    maximum over the candidate of each map of the encoder (its last level: mean over the cube), of
    the decoder and of the branch at 1 mm; the mean over a shell around it of the finest level of
    the decoder; the log odds of the peaks; the highest probability of tumour core that the net
    gives the candidate in this cube; ln(1 + voxels).
    """
    import torch

    config: SegmenterConfig = net.config  # type: ignore[assignment]
    device = next(net.parameters()).device
    rows = [np.zeros((0, description_size(config)), np.float32)]
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(cubes), AT_ONCE):
            cube = torch.from_numpy(cubes[start : start + AT_ONCE]).to(device)
            peak = torch.from_numpy(peaks[start : start + AT_ONCE]).to(device)
            rows.append(_pooled(net, cube, peak).float().cpu().numpy())
    return np.concatenate(rows)


def _pooled(net: torch.nn.Module, cubes: torch.Tensor, peaks: torch.Tensor) -> torch.Tensor:
    import torch
    from torch.nn import functional

    images, own = cubes[:, : len(SEQUENCES)].contiguous(), cubes[:, len(SEQUENCES) :]
    passed, decoded = net.levels(images)  # type: ignore[operator]
    masks, mask = [], own
    for _ in passed[:-1]:
        mask = functional.max_pool3d(mask, 2)
        masks.append(mask)
    out = []
    for level, mask in zip(passed[:-1], masks, strict=True):
        out += _mean_and_largest(level, mask)
    out.append(torch.relu(passed[-1]).float().mean((2, 3, 4)))
    for level, mask in zip(reversed(decoded), masks, strict=True):
        out += _mean_and_largest(level, mask)
    mixed = net.mixed(images, decoded[-1])  # type: ignore[operator]
    core = torch.softmax(net.answer(mixed).float(), 1)[:, [1, 3]].sum(1, keepdim=True)  # type: ignore[operator]
    if net.config.fine:  # type: ignore[union-attr]
        out += _mean_and_largest(mixed, own)
    shell = functional.max_pool3d(masks[0], 5, 1, 2) - masks[0]
    out.append(_mean_and_largest(decoded[-1], shell)[0])
    odds = torch.logit(peaks.float().clamp(1e-4, 1 - 1e-4))
    size = own.sum((2, 3, 4)).log1p()
    return torch.cat([*out, odds[:, None], (core * own).amax((2, 3, 4)), size], 1)


def _mean_and_largest(maps: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Of rectified maps (n, c, i, j, k) inside ``mask`` (n, 1, i, j, k); 0 where it is empty."""
    import torch

    inside = torch.relu(maps).float() * mask
    return [inside.sum((2, 3, 4)) / mask.sum((2, 3, 4)).clamp(min=1), inside.amax((2, 3, 4))]


def without_second_look(weights: Mapping[str, _T]) -> dict[str, _T]:
    """The tensors of a segmentation net but those that judge candidates: they fit no other net."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith(PREFIX)}


def build_candidate_head(size: int, hidden: int) -> torch.nn.Module:
    """A head from descriptions (n, size) to logits (n,): is this candidate a metastasis?

    ``mean`` and ``spread`` (size,), of the training's descriptions, standardise the input.
    """
    import torch
    from torch import nn

    class CandidateHead(nn.Module):
        mean: torch.Tensor
        spread: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(size))
            self.register_buffer("spread", torch.ones(size))
            self.hidden = nn.Linear(size, hidden)
            self.out = nn.Linear(hidden, 1)
            self.seen, self.kept = nn.Dropout(0.2), nn.Dropout(0.3)

        def forward(self, descriptions: torch.Tensor) -> torch.Tensor:
            with torch.autocast(descriptions.device.type, enabled=False):
                x = ((descriptions - self.mean) / self.spread).clamp(-5, 5)
                x = torch.relu(self.hidden(self.seen(x)))
                return self.out(self.kept(x))[:, 0]

    return CandidateHead()


def judge(
    net: torch.nn.Module, cubes: npt.NDArray[np.float32], peaks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Probability (n,) that each candidate is a metastasis; cubes and peaks as for ``describe``.

    net: a segmentation net with ``candidates``. The logits of the cube and of its left-right mirror
    image are averaged.
    """
    import torch

    head: torch.nn.Module = net.candidates.eval()  # type: ignore[assignment, operator, union-attr]
    device = next(head.parameters()).device
    logits = np.zeros(len(cubes))
    with torch.inference_mode():
        for view in (cubes, np.ascontiguousarray(cubes[:, :, ::-1])):
            described = torch.from_numpy(describe(net, view, peaks)).to(device)
            logits += head(described).double().cpu().numpy() / 2
    return 1 / (1 + np.exp(-logits))


def revise(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    chances: npt.NDArray[np.float32],
    least_chance: float,
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k) in which each candidate's peak is what ``judge`` says of it.

    chances: of background, necrosis, oedema, enhancing tumour. In the whole candidate the
    probability of tumour core is multiplied by one factor, so that its largest value becomes the
    probability that it is a metastasis; the shares of necrosis and enhancing tumour in it, and of
    background and oedema in the rest, stay. Everywhere else nothing changes.
    """
    core = chances[1] + chances[3]
    parts, candidates = find_candidates(core, least_chance)
    if not candidates:
        return chances
    peaks = np.array([c.peak for c in candidates])
    judged = judge(net, cut_cubes(images, parts, candidates), peaks)
    factor = np.ones(int(parts.max()) + 1)
    for candidate, chance in zip(candidates, judged, strict=True):
        factor[candidate.number] = chance / candidate.peak
    inside = parts > 0
    before = core[inside].astype(np.float64)
    after = np.minimum(before * factor[parts[inside]], 1)
    out = chances.copy()
    for label in (1, 3):
        out[label][inside] *= after / before
    rest = chances[0][inside] + chances[2][inside]
    oedema = np.divide(chances[2][inside], rest, out=np.zeros_like(rest), where=rest > 0)
    out[2][inside] = (1 - after) * oedema
    out[0][inside] = (1 - after) * (1 - oedema)
    return out
