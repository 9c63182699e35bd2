"""Whether the sequences of a case show one head in one place: mirrored, moved, or another's.

Grids that agree say nothing of what is on them. Two sequences of one head share much information
where they lie on each other, and lose most of it when one is moved by 8 mm; those of two people
share little anywhere, however one of them is turned.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES, Finding, Severity, Volume
from bmcore.geometry import resample, transform
from bmcore.imaging.brain import foreground
from bmcore.imaging.coarse import Coarse
from bmcore.imaging.registration import Registration, nearby

BINS = 16
FLIP_GAIN = 1.1  # information of the mirrored image over that of the image as it lies
EVEN = 0.88  # mean of that where T1 post-gadolinium is the mirror image and was laid on the others
EVEN_OVER = 1.2  # that over the mean of the others among each other
SCREEN = 0.6  # mirror images worth a search, as a share of the information there is
SHIFT_MM = 8.0
OFF_MM = 5.0  # mean over the brain, below which a displacement is not told
OFF_DEG = 4.0
SURE = 1.9  # information in place over that 8 mm off, above which no small turn is looked for
SHARP = 1.74  # below it after that search, two images are of two people
LIMIT = 12  # blocks that a search goes
STRUCTURE = 0.2  # correlation of neighbouring blocks, below which an image is noise
EMPTY = 0.05  # share of the brain without values, above which outlines are not compared

# Measured on three real cases of two patients and three synthetic ones: as they are, in slices of 5
# and 6 mm, moved by 2 to 6 mm, turned by 5 and 10 degrees (n = 232): at least 1.78, none called
# another patient's; 74 without the search, below 1.9. Sequences of another patient laid middle on
# middle, also stretched to size: real ones at most 1.65 (n = 24), real and synthetic at most 1.80
# (4 of 92 missed). Synthetic heads are made of one template and look more alike: 18 of 24 missed.
# Mirrored left to right, a registered T1 post-gadolinium shares 0.92 to 1.04 with the others, as it
# lies 0.60 to 0.82.
MIRRORED = (
    "T1 post-gadolinium and other sequences are mirror images of each other, so one of the headers "
    "is wrong"
)
_SIDES = ("left and right", "front and back", "top and bottom")


@dataclass(frozen=True)
class Misfit:
    """How ``sequence`` lies against the reference. flips: axes mirrored; shift_mm: to the right,
    front and top; off_mm, turn_deg: how far its brain lies off in the mean and is turned, where
    that is little; stranger: it shares too little to be of the same head."""

    sequence: str
    flips: tuple[int, ...] = ()
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    off_mm: float = 0.0
    turn_deg: float = 0.0
    stranger: bool = False

    @property
    def words(self) -> str:
        told = []
        if self.flips:
            told.append(
                "is mirrored, " + " and ".join(_SIDES[a] for a in self.flips) + " exchanged"
            )
        if self.far_mm >= SHIFT_MM:
            along = ", ".join(f"{s:+.0f}" for s in self.shift_mm)
            told.append(
                f"is displaced by about {self.far_mm:.0f} mm ({along} to the right, front, top)"
            )
        elif self.off_mm >= OFF_MM:
            turned = f", turned by {self.turn_deg:.0f} degrees" if self.turn_deg >= OFF_DEG else ""
            told.append(f"lies about {self.off_mm:.0f} mm off{turned}")
        if self.stranger:
            told.append("looks like another patient's or another examination's")
        return " and ".join(told)

    @property
    def far_mm(self) -> float:
        return float(np.linalg.norm(self.shift_mm))


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Blocks of an image as classes 1 to BINS of equal size, 0 outside of what it shows."""

    classes: npt.NDArray[np.int64]
    shown: npt.NDArray[np.bool_]


def misfits(case: Coarse) -> tuple[Finding, ...]:
    """A warning for each sequence that does not fit to the reference, T1 post-gadolinium.

    Where several do not fit to it and fit to one another, the reference is the one named.
    """
    return findings(apart(case))


def findings(found: tuple[tuple[Misfit, str], ...]) -> tuple[Finding, ...]:
    return tuple(_finding(misfit, against) for misfit, against in found)


def side_doubt(found: tuple[tuple[Misfit, str], ...], sequences: int) -> str | None:
    """Why left and right are not known: what is mirrored is T1 post-gadolinium, or half of all."""
    mirrored = [misfit.sequence for misfit, _ in found if 0 in misfit.flips]
    return MIRRORED if "t1c" in mirrored or 2 * len(mirrored) >= sequences else None


def apart(case: Coarse) -> tuple[tuple[Misfit, str], ...]:
    """Each sequence that does not fit, and to which."""
    images = ((s, _ranked(case, s)) for s in SEQUENCES if s in case.images)
    ranked = {s: image for s, image in images if image is not None}
    if "t1c" not in ranked or len(ranked) < 2:
        return ()
    others = [s for s in ranked if s != "t1c"]
    found = [m for s in others if (m := compare(ranked["t1c"], ranked[s], s, case)) is not None]
    first, *rest = others
    all_apart = len(found) > 1 and len(found) == len(others)
    if all_apart and all(compare(ranked[first], ranked[s], s, case) is None for s in rest):
        turned = compare(ranked[first], ranked["t1c"], "t1c", case)
        if turned is not None:
            return ((turned, first),)
    strangers = any(m.stranger for m in found)
    if rest and not strangers and _reference_is_mirrored(ranked, first, rest, case):
        return ((Misfit("t1c", (0,)), first),)
    return tuple((m, "t1c") for m in found)


def _reference_is_mirrored(
    ranked: dict[str, _Ranked], first: str, rest: list[str], case: Coarse
) -> bool:
    """Laid on a mirror image by a registration, a head shares about as much with either side; the
    others, which lie on each other, lose more when one of them is mirrored."""
    own = [_mirror_share(ranked["t1c"], ranked[s], case) for s in (first, *rest)]
    between = [_mirror_share(ranked[first], ranked[s], case) for s in rest]
    return bool(np.mean(own) >= EVEN and np.mean(own) > EVEN_OVER * np.mean(between))


def _mirror_share(reference: _Ranked, image: _Ranked, case: Coarse) -> float:
    """Information of the image mirrored left to right over that of the image as it lies."""
    region = _region(reference, image, case.brain)
    here, _ = _climb(reference, image, region, np.zeros(3, int))
    mirrored = _mirrored(image, (0,))
    start = np.rint(_middle(reference.shown) - _middle(mirrored.shown)).astype(int)
    return _climb(reference, mirrored, region, start)[0] / max(here, 1e-9)


def compare(reference: _Ranked, image: _Ranked, sequence: str, case: Coarse) -> Misfit | None:
    """How ``image`` lies against ``reference`` (on the blocks of ``case``); None if it fits."""
    region = _region(reference, image, case.brain)
    here, shift = _climb(reference, image, region, np.zeros(3, int))
    flips: tuple[int, ...] = ()
    best = here
    for axes in _mirrors():
        mirrored = _mirrored(image, axes)
        start = np.rint(_middle(reference.shown) - _middle(mirrored.shown)).astype(int)
        if _information(reference, mirrored, start, region) < SCREEN * here:
            continue
        there, moved = _climb(reference, mirrored, region, start)
        if there > FLIP_GAIN * here and there > best:
            best, flips, shift = there, axes, moved
    final = _shifted(_mirrored(image, flips), shift)
    sharp = _sharpness(reference, final, _region(reference, final, case.brain))
    off_mm, turn_deg = 0.0, 0.0
    if sharp < SURE or shift.any():
        turned, off_mm, turn_deg = _turned(reference, final, shift, case)
        around = _region(reference, turned, case.brain)
        sharp = max(sharp, _sharpness(reference, turned, around))
    stranger = sharp < SHARP
    if stranger:  # mirrored or not is no question between two heads
        flips = ()
    shift_mm = shift * case.sizes_mm
    far = bool(np.linalg.norm(shift_mm) >= SHIFT_MM and not flips)
    off = off_mm >= OFF_MM and not (flips or stranger or far)
    if not (flips or stranger or far or off):
        return None
    moved_mm = tuple(float(v) for v in -shift_mm) if far else (0.0, 0.0, 0.0)
    little = (off_mm, turn_deg) if off else (0.0, 0.0)
    return Misfit(sequence, flips, moved_mm, *little, stranger)  # type: ignore[arg-type]


def _turned(
    reference: _Ranked, image: _Ranked, shift: npt.NDArray[np.int_], case: Coarse
) -> tuple[_Ranked, float, float]:
    """``image``, which was moved by ``shift`` blocks, turned to where it fits best nearby; how far
    its brain lay off in the mean (mm), and by how much it is turned (degrees)."""
    fixed, moving = (
        Volume(ranked.classes.astype(np.float32), case.affine) for ranked in (reference, image)
    )
    matrix = nearby(fixed, moving, ndimage.binary_dilation(case.brain, iterations=2))
    target, shape = matrix @ case.affine, image.classes.shape
    there = resample(moving.data, case.affine, target, shape)  # type: ignore[arg-type]
    shown = resample(image.shown.astype(np.float32), case.affine, target, shape) > 0.5  # type: ignore[arg-type]
    points = transform(case.affine, np.argwhere(case.brain))
    off = transform(matrix, points) - case.affine[:3, :3] @ shift - points
    turned = _Ranked(np.where(shown, np.maximum(np.rint(there), 1), 0).astype(np.int64), shown)
    far = float(np.linalg.norm(off, axis=1).mean())
    return turned, far, Registration(matrix, 0, 0).turn_deg


def _finding(misfit: Misfit, reference: str) -> Finding:
    return Finding(
        Severity.WARNING,
        f"the sequences do not fit together: {misfit.sequence} against {reference} {misfit.words}",
        misfit.sequence,
        expected="sequences of one head that lie on each other",
        hint="look at both; leave the sequence out or export and register it again.",
    )


def _ranked(case: Coarse, sequence: str) -> _Ranked | None:
    """None for an image of noise, of which nothing can be said."""
    image = case.images[sequence]
    shown = foreground(image)
    if not shown.any() or _structure(image, shown & case.brain) < STRUCTURE:
        return None
    values = image[shown]
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return _Ranked(np.where(shown, np.digitize(image, edges) + 1, 0), shown)


def _structure(image: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    """Correlation of blocks with their neighbours along the first two axes."""
    found = []
    for axis in (0, 1):
        one, other = np.moveaxis(image, axis, 0), np.moveaxis(inside, axis, 0)
        both = other[1:] & other[:-1]
        if both.sum() < 50:
            return 0.0
        first, second = one[1:][both], one[:-1][both]
        if first.std() == 0 or second.std() == 0:
            return 0.0
        found.append(float(np.corrcoef(first, second)[0, 1]))
    return min(found)


def _region(reference: _Ranked, image: _Ranked, brain: npt.NDArray[np.bool_]) -> npt.NDArray:
    """Where the two are compared: around both heads, or where both have values if one has gaps."""
    whole = [int(r.shown.sum()) for r in (reference, image)]
    if min(whole) < (1 - EMPTY) * min(max(whole), int(brain.sum())):
        return brain & reference.shown & image.shown
    return ndimage.binary_dilation(reference.shown | image.shown)


def _mirrors() -> list[tuple[int, ...]]:
    return [a for n in (1, 2, 3) for a in itertools.combinations(range(3), n)]


def _mirrored(image: _Ranked, axes: tuple[int, ...]) -> _Ranked:
    if not axes:
        return image
    return _Ranked(np.flip(image.classes, axes), np.flip(image.shown, axes))


def _middle(shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.array(ndimage.center_of_mass(shown))


def _information(
    reference: _Ranked,
    image: _Ranked,
    shift: npt.NDArray[np.int_],
    region: npt.NDArray[np.bool_],
) -> float:
    """Mutual information (nats) of the two inside ``region``, ``image`` moved by whole blocks."""
    moved = _by_blocks(image.classes, shift)
    classes = BINS + 1
    pairs = reference.classes[region] * classes + moved[region]
    joint = np.bincount(pairs, minlength=classes**2).reshape(classes, classes) / max(len(pairs), 1)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    both = joint > 0
    return float((joint[both] * np.log(joint[both] / apart[both])).sum())


def _climb(
    reference: _Ranked,
    image: _Ranked,
    region: npt.NDArray[np.bool_],
    start: npt.NDArray[np.int_],
) -> tuple[float, npt.NDArray[np.int_]]:
    """The most information within reach of ``start``, block by block, and the shift that gives it.

    Goes on from the middles of both outlines too, which finds what was moved far.
    """
    middles = np.rint(_middle(reference.shown) - _middle(image.shown)).astype(int)
    seen: dict[tuple[int, ...], float] = {}

    def told(shift: npt.NDArray[np.int_]) -> float:
        key = tuple(int(k) for k in shift)
        if key not in seen:
            seen[key] = _information(reference, image, shift, region)
        return seen[key]

    for begin in (start, middles):
        best = np.array(begin)
        while True:
            steps = [best + d for d in _STEPS if np.abs(best + d - begin).max() <= LIMIT]
            after = max(steps, key=told)
            if told(after) <= told(best):
                break
            best = after
    most = max(seen, key=lambda key: seen[key])
    return seen[most], np.array(most)


_STEPS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


def _by_blocks(data: npt.NDArray, shift: npt.NDArray[np.int_]) -> npt.NDArray:
    """``data`` moved by whole blocks; zeros come in."""
    out = np.zeros_like(data)
    size = data.shape
    taken = tuple(slice(max(0, -k), n - max(0, k)) for k, n in zip(shift, size, strict=True))
    put = tuple(slice(max(0, k), n - max(0, -k)) for k, n in zip(shift, size, strict=True))
    out[put] = data[taken]
    return out


def _shifted(image: _Ranked, shift: npt.NDArray[np.int_]) -> _Ranked:
    return _Ranked(_by_blocks(image.classes, shift), _by_blocks(image.shown, shift))


def _sharpness(reference: _Ranked, image: _Ranked, region: npt.NDArray[np.bool_]) -> float:
    """Information in place over the mean of that two blocks off along each axis."""
    there = _information(reference, image, np.zeros(3, int), region)
    off = [_information(reference, image, 2 * d, region) for d in _STEPS]
    return there / max(float(np.mean(off)), 1e-9)
