"""False-positive reduction: each place that may be a metastasis is measured and classified.

A segmentation net that is asked for every voxel leaves many small lesions at a low probability, and
vessels in cross-section too. What tells them apart by eye is the shape of the bright thing, what
lies around it and how many metastases the scan shows elsewhere. So each candidate is measured, as
in computer-aided detection before there were nets, and a small head says whether it is a
metastasis. What becomes of that answer: ``bmcore.models.false_positive_reduction``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from bmcore.domain import SEQUENCES
from bmcore.imaging.masks import NEIGHBOURS, connected
from bmcore.imaging.preprocess import crop_or_pad

if TYPE_CHECKING:
    from torch import nn

    from bmcore.models.nets.candidate_head import CandidateHead

EDGE = 32  # voxels of 1 mm of the cube around a candidate
CHANNELS = len(SEQUENCES) + 1  # the images, and the candidate itself
LEAST = 2  # voxels; what is smaller is no candidate
BRIGHT = (0.35, 0.5, 0.7)  # shares of the contrast of a candidate in t1c from which it is bright
REACHES = (2, 4, 8, 15)  # voxels around a candidate in which its surroundings are measured
FEATURES = (
    *(
        f"{sequence} {what}"
        for sequence in SEQUENCES
        for what in ("mean", "maximum", "minimum", "mean around", "median around",
                     "standard deviation around", "95 % around", "5 % around")
    ),
    *(
        f"bright from {share:g}: {what}"
        for share in BRIGHT
        for what in ("ln(1 + voxels)", "least extent", "middle extent", "largest extent",
                     "least spread", "largest spread", "stretch", "faces of the cube touched")
    ),
    *(f"within {reach}: {what}" for reach in REACHES for what in ("outside the brain", "bright")),
    "ln(1 + voxels)", "least spread", "middle spread", "largest spread", "stretch",
    "others above 0.9", "others above 0.5", "others above 0.2", "others", "sum of their peaks",
    "highest other peak", "next highest", "share above 0.9",
    "log odds of the peak",
)  # fmt: skip
_T1C = SEQUENCES.index("t1c")


@dataclass(frozen=True)
class Candidate:
    """number: in the map of parts. centre: voxel (i, j, k) where it is most likely; peak: there.
    box: of its voxels."""

    number: int
    centre: tuple[int, int, int]
    peak: float
    box: tuple[slice, ...]


def find_candidates(
    core: npt.NDArray[np.float32], least_chance: float
) -> tuple[npt.NDArray[np.int32], list[Candidate]]:
    """The parts (26-neighbourhood) of at least LEAST voxels in which ``core`` exceeds a limit.

    core: probability of tumour core (i, j, k). Returns the number of each voxel's part, 0 where it
    belongs to none, and the candidates in the order of their numbers. The centre is the voxel next
    to the mean place of those within a tenth of the peak.
    """
    parts, _ = connected(core > least_chance)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        own = parts[box] == number
        if np.count_nonzero(own) < LEAST:
            parts[box][own] = 0
            continue
        probabilities = np.where(own, core[box], 0)
        peak = float(probabilities.max())
        top = np.argwhere(probabilities > 0.9 * peak)
        nearest = top[((top - top.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        i, j, k = (int(a) + s.start for a, s in zip(nearest, box, strict=True))
        found.append(Candidate(number, (i, j, k), peak, box))
    return parts, found


def enhancement(
    images: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    parts: npt.NDArray[np.int32],
    candidates: list[Candidate],
) -> npt.NDArray[np.float64]:
    """How bright each candidate is in t1c (n,), in units of the standardised images.

    images, probabilities (4, i, j, k); parts (i, j, k) from ``find_candidates``. The 90th
    percentile over the voxels that are at least half as likely tumour core as its peak and rather
    enhancing than necrotic; over all of the former where none is. What is called enhancing is
    brighter than brain; ventricles, cysts and old infarcts are not, however much their rim may look
    like it.
    """
    t1c, levels = images[_T1C], []
    for candidate in candidates:
        here = candidate.box
        necrosis, enhancing = probabilities[1][here], probabilities[3][here]
        likely = (parts[here] == candidate.number) & (necrosis + enhancing >= candidate.peak / 2)
        chosen = likely & (enhancing >= necrosis)
        levels.append(np.percentile(t1c[here][chosen if chosen.any() else likely], 90))
    return np.array(levels)


def cut_cubes(
    images: npt.NDArray[np.float32],
    parts: npt.NDArray[np.int32],
    candidates: list[Candidate],
) -> npt.NDArray[np.float32]:
    """What is seen of each candidate, float32 (n, 5, EDGE, EDGE, EDGE), 0 beyond the volume.

    images (4, i, j, k), standardised; parts (i, j, k). Channels: the images, and 1 in the
    candidate.
    """
    size = np.full(3, EDGE)
    out = np.zeros((len(candidates), CHANNELS, *size), np.float32)
    for cube, candidate in zip(out, candidates, strict=True):
        low = np.array(candidate.centre) - EDGE // 2
        cube[:-1] = [crop_or_pad(image, low, size) for image in images]
        cube[-1] = crop_or_pad(parts, low, size) == candidate.number
    return out


def extract_features(
    cubes: npt.NDArray[np.float32], peaks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """What is measured on all candidates of one scan, float32 (n, len(FEATURES)).

    cubes (n, 5, e, e, e) from ``cut_cubes``; peaks (n,): of the candidates. Intensities are in
    units of the standardised images, lengths in voxels of 1 mm, logarithms natural.
    """
    log_odds = special.logit(np.clip(peaks, 1e-4, 1 - 1e-4))
    rows = [
        [*_measures(cube), *_company(np.delete(peaks, n)), log_odds[n]]
        for n, cube in enumerate(cubes)
    ]
    return np.array(rows, np.float32).reshape(len(cubes), len(FEATURES))


def _measures(cube: npt.NDArray[np.float32]) -> list[float]:
    images, own = cube[:-1], cube[-1] > 0
    t1c, brain = images[_T1C], (images != 0).any(0)
    near = ndimage.binary_dilation(own, NEIGHBOURS)
    shell = ndimage.binary_dilation(near, NEIGHBOURS, iterations=3) & ~near & brain
    for wider in (~near, np.ones_like(own)):  # a large tumour fills its cube
        if np.count_nonzero(shell) < 5:
            shell = wider
    out = []
    for image in images:
        inside, outside = image[own], image[shell]
        high, low = np.percentile(outside, (95, 5))
        out += [inside.mean(), inside.max(), inside.min()]
        out += [outside.mean(), np.median(outside), outside.std(), high, low]
    base = np.median(t1c[shell])
    inside = t1c[own]
    contrast = (np.percentile(inside, 90) if inside.size > 10 else inside.max()) - base
    for share in BRIGHT:
        out += _bright_part((t1c > base + share * contrast) & brain, own)
    voxels = np.argwhere(own)
    centre = [round(c) for c in voxels.mean(0)]
    bright = (t1c > base + 0.5 * contrast) & brain
    for reach in REACHES:
        box = tuple(slice(max(c - reach, 0), c + reach + 1) for c in centre)
        out += [1 - brain[box].mean(), bright[box].mean()]
    spreads = _spreads(voxels)
    out += [np.log1p(len(voxels)), *spreads, _stretch(spreads)]
    return [float(x) for x in out]


def _bright_part(bright: npt.NDArray[np.bool_], own: npt.NDArray[np.bool_]) -> list[float]:
    """Of the connected bright part that covers most of the candidate; zeros where none does."""
    parts, count = connected(bright)
    covered = np.bincount(parts[own], minlength=count + 1)
    covered[0] = 0
    if not covered.any():
        return [0.0] * 8
    part = parts == covered.argmax()
    voxels = np.argwhere(part)
    spreads = _spreads(voxels)
    faces = sum(bool(part.take(end, axis).any()) for axis in range(3) for end in (0, -1))
    extent = np.sort(np.ptp(voxels, axis=0) + 1)
    return [
        np.log1p(len(voxels)), *extent, spreads[0], spreads[2], _stretch(spreads), faces
    ]  # fmt: skip


def _stretch(spreads: npt.NDArray[np.float64]) -> float:
    """How many times longer than thin; 0.3 voxels keep what is one voxel thin finite."""
    return float((spreads[2] + 0.3) / (spreads[0] + 0.3))


def _spreads(voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Standard deviations of places (n, 3) along their principal axes, rising; 0 under 3 places."""
    if len(voxels) < 3:
        return np.zeros(3)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(voxels.T)), 0))


def _company(others: npt.NDArray[np.float64]) -> list[float]:
    """Of the peaks of the scan's other candidates: a small dot among many metastases is one too."""
    sure = np.count_nonzero(others > 0.9)
    counts = [np.log1p(np.count_nonzero(others > limit)) for limit in (0.9, 0.5, 0.2)]
    first, second, *_ = [*np.sort(others)[::-1], 0.0, 0.0]
    share = sure / (1 + len(others))
    return [*counts, np.log1p(len(others)), others.sum(), first, second, share]


def build_candidate_head(features: int, hidden: int) -> CandidateHead:
    """A head from descriptions (n, features) to logits (n,): is this candidate a metastasis?

    ``quantiles`` (features, KNOTS): those of each feature in the training's descriptions, rising.
    Each feature is replaced by the normal score of its rank among them (van der Waerden), so that
    neither units nor outliers matter.
    """
    from bmcore.models.nets.candidate_head import CandidateHead

    return CandidateHead(features, hidden)


def classify(
    head: nn.Module, cubes: npt.NDArray[np.float32], peaks: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Probability (n,) that each candidate is a metastasis; for cubes and peaks see
    ``extract_features``."""
    import torch

    device = next(head.parameters()).device
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(extract_features(cubes, peaks)).to(device))
    return torch.sigmoid(logits.double()).cpu().numpy()
