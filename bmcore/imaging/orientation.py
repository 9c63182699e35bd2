"""How a head lies in its image: compared with the template, and where the image cuts the brain.

Left and right look alike; nothing but the header tells them apart. Front and back, top and bottom
can be seen, and where they contradict the header, the header's side is not to be trusted either.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.anatomy import mni_box, templates
from bmcore.domain import Finding, Placement, Severity
from bmcore.geometry import Affine
from bmcore.imaging.coarse import BLOCK_MM, Coarse

GRID_MM = 6.0
MARGIN = 0.15  # of the score, by which another orientation must win against a header with a place
LEAST = 0.05  # by which one must win where the header is a default one
CUT_MM2 = 3000.0  # flat face of the brain
WHOLE_MM = 100.0  # from left to right

# Measured by training/bench/belonging.py on 2 real and 60 synthetic cases: the header's orientation
# always wins, by 0.11 to 0.5. A whole brain ends in at most 1,900 mm² of a block's layer at a side.

Turn = tuple[tuple[int, int, int], tuple[int, int, int]]  # axes, and 1 or -1 for each
STRAIGHT: Turn = ((0, 1, 2), (1, 1, 1))
_WORDS = ("left to right", "back to front", "top to bottom")
SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def place(case: Coarse, side_doubt: str | None) -> tuple[Placement, tuple[Finding, ...]]:
    """Whether side and lobe can be told, and what speaks against it.

    side_doubt: why the header does not tell left from right, if so. Placement.turn leads from the
    header's world to one whose front and top are those of the head, where they differ.
    """
    cut, findings = _cuts(case)
    turn, sure = _look(case, LEAST if side_doubt else MARGIN)
    if turn == STRAIGHT:
        side, lobe = side_doubt is None and not cut[0], not any(cut) and (sure or not side_doubt)
        if side_doubt:
            findings.append(_side_unknown(side_doubt))
        return Placement(side, lobe), tuple(findings)
    findings.append(_turned(turn))
    if side_doubt:
        findings.append(_side_unknown(side_doubt))
    lobe = sure and not any(cut)
    return Placement(False, lobe, _matrix(turn)), tuple(findings)


def _side_unknown(why: str) -> Finding:
    return Finding(
        Severity.WARNING,
        f"the side of lesions is not known: {why}",
        hint="compare the side with another viewer or the report of the radiologist.",
    )


def _turned(turn: Turn) -> Finding:
    axes, signs = turn
    if axes == (0, 1, 2):
        how = " and ".join(_WORDS[a] for a in range(3) if signs[a] < 0)
    else:
        told = [
            f"its {SIDES[axis][0 if sign > 0 else 1]}-to-{SIDES[axis][1 if sign > 0 else 0]} is "
            f"the head's {SIDES[place][0]}-to-{SIDES[place][1]}"
            for place, (axis, sign) in enumerate(zip(axes, signs, strict=True))
            if place and place != axis
        ]
        how = "along other axes: " + ", ".join(told)
    return Finding(
        Severity.WARNING,
        f"the head seems to lie {how} in the images, contrary to the header; sides are not known, "
        "and lobes were judged from the image",
        found="compared with a template of the brain",
        hint="export the images again; look at them in a viewer before you use the results.",
    )


def _matrix(turn: Turn) -> Affine:
    axes, signs = turn
    out = np.zeros((4, 4))
    out[3, 3] = 1
    for place_, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        out[place_, axis] = sign
    return out


def _look(case: Coarse, margin: float) -> tuple[Turn, bool]:
    """The orientation that fits the template best, the header's unless ``margin`` speaks against
    it, and whether the best is clear. Mirror images from left to right count as one."""
    images = _tissue_images(case)
    if not images or case.brain.sum() < 500:
        return STRAIGHT, False
    best: dict[tuple, tuple[float, Turn]] = {}
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turn: Turn = (axes, signs)  # type: ignore[assignment]
            key = (axes, signs[1:])
            score = _score(images, case.brain, turn)
            if key not in best or score > best[key][0]:
                best[key] = (score, turn)
    claimed = best[STRAIGHT[0], STRAIGHT[1][1:]][0]
    (first, turn), (second, _) = sorted(best.values(), key=lambda one: -one[0])[:2]
    clear = first - second >= LEAST
    if first - claimed < margin or not clear:
        return STRAIGHT, clear and claimed == first
    axes, signs = turn
    if axes == (0, 1, 2):  # which of the mirror images fits better says nothing
        return (axes, (1, *signs[1:])), clear
    return turn, clear


def _tissue_images(case: Coarse) -> list[npt.NDArray[np.float32]]:
    """Images in which white matter is brighter than grey, as in the template."""
    signs = {"t1n": 1, "t1c": 1, "t2w": -1}
    return [
        sign * np.clip(case.standard(s), -3, 3) for s, sign in signs.items() if s in case.images
    ]


def _score(
    images: list[npt.NDArray[np.float32]], brain: npt.NDArray[np.bool_], turn: Turn
) -> float:
    """Correlation with the template of the outline plus the mean of the images'."""
    outline, tissue = template_grid()
    flips = tuple(slice(None, None, s) for s in turn[1])
    turned = np.transpose(brain, turn[0])[flips]
    corners = np.percentile(np.argwhere(turned), (0.5, 99.5), axis=0)
    scale = (corners[1] - corners[0] + 1) / np.array(outline.shape)
    start = corners[0] - 0.5 + scale / 2

    def sampled(data: npt.NDArray) -> npt.NDArray[np.float32]:
        return ndimage.affine_transform(
            np.asarray(data, np.float32), scale, start, output_shape=outline.shape, order=1
        )

    here = sampled(turned)
    inside = (outline > 0.5) & (here > 0.5)
    if inside.sum() < 100:
        return -1.0
    found = []
    for image in images:
        there = sampled(np.transpose(np.where(brain, image, 0), turn[0])[flips])[inside]
        found.append(np.corrcoef(there, tissue[inside])[0, 1] if there.std() > 0 else 0.0)
    return float(np.corrcoef(here.ravel(), outline.ravel())[0, 1] + np.mean(found))


@lru_cache(maxsize=1)
def template_grid() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Outline and T1 of the template on its box, in blocks of GRID_MM; made once a process."""
    template = templates()
    low, high = mni_box()
    shape = tuple(int(n) for n in np.ceil((high - low) / GRID_MM))
    grid = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
    grid[:3, 3] = low + GRID_MM / 2
    matrix = np.linalg.inv(template.affine) @ grid

    def sampled(data: npt.NDArray) -> npt.NDArray[np.float32]:
        smooth = ndimage.gaussian_filter(np.asarray(data, np.float32), 2)
        return ndimage.affine_transform(
            smooth, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=1
        )

    return sampled(template.brain), sampled(template.t1 * template.brain)


def _cuts(case: Coarse) -> tuple[tuple[bool, bool, bool], list[Finding]]:
    """For each axis, whether the brain ends flat there so that its middle cannot be told."""
    box = ndimage.find_objects(case.brain.astype(np.uint8))[0]
    inner = case.brain[box]
    sizes = case.sizes_mm
    cut, findings = [], []
    for axis in range(3):
        layers = np.moveaxis(inner, axis, 0)
        area = float(np.prod(sizes) / sizes[axis])
        low, high = (float(layers[n].sum()) * area for n in (0, -1))
        least = CUT_MM2 * max(1.0, sizes[axis] / BLOCK_MM)
        length = inner.shape[axis] * sizes[axis]
        one_side = abs(high - low) > least
        narrow = max(low, high) > least and length < WHOLE_MM
        # Heads end flat at the bottom, and a middle between two cuts of one size is one.
        flat = bool(narrow or (one_side and (axis != 2 or high > low)))
        cut.append(flat)
        if flat:
            where = SIDES[axis][int(high > low)]
            findings.append(_cut_finding(axis, where, max(low, high)))
    return (cut[0], cut[1], cut[2]), findings


def _cut_finding(axis: int, where: str, area_mm2: float) -> Finding:
    lost = "side and lobe" if axis == 0 else "the lobe"
    return Finding(
        Severity.WARNING,
        f"the images cut through the brain at the {where}; {lost} of lesions cannot be determined",
        found=f"{area_mm2 / 100:.0f} cm² of brain on a flat face",
        expected="the whole brain",
        hint="use images that hold the whole brain.",
    )
