"""The sum of target lesions of RANO-BM, then and now: measurements, and which limit they reach.

Lin et al., Lancet Oncol 2015, 16:e270-278: a lesion is measurable from a longest axial diameter of
10 mm on, with 5 mm across it, on two axial slices or more; up to five of them are targets. A sum of
their longest diameters that has fallen by 30 % is a partial response, one that has grown by 20 %
over the smallest sum so far, with one lesion 5 mm longer or more, is progressive disease. What else
makes these words a response, clinical state, corticosteroids and a scan four weeks later, is not
known here, and neither is an examination before the earlier one, which stands for baseline and
nadir.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmcore.imaging.lesion_change import MERGED, NEW, SPLIT, Change, Measured

LEAST_MM, LEAST_ACROSS_MM, LEAST_SLICES = 10.0, 5.0, 2
MOST_TARGETS = 5
FALL, RISE, RISE_MM = 0.30, 0.20, 5.0
COMPLETE, PARTIAL, STABLE, PROGRESSIVE = (
    *("complete response", "partial response"),
    *("stable disease", "progressive disease"),
)
_EXACT = 1e-9


@dataclass(frozen=True)
class TargetSum:
    """The target lesions of the earlier examination.

    targets: their numbers there. then_mm, now_mm: the sums of their longest axial diameters; a
    lesion that is gone counts 0. grown_mm: how much the one that has grown most has grown. merged:
    some have become one, which counts once. split: some have come apart, and all parts count (as
    in RECIST 1.1).
    """

    targets: tuple[int, ...]
    then_mm: float
    now_mm: float
    grown_mm: float
    merged: bool = False
    split: bool = False

    @property
    def change(self) -> float:
        """(now - then) / then."""
        return (self.now_mm - self.then_mm) / self.then_mm

    @property
    def limit(self) -> str:
        """The word of RANO-BM for such a sum alone."""
        if self.now_mm == 0:
            return COMPLETE
        if self.change <= -FALL + _EXACT:
            return PARTIAL
        if self.change >= RISE - _EXACT and self.grown_mm >= RISE_MM - _EXACT:
            return PROGRESSIVE
        return STABLE


def measurable(lesion: Measured) -> bool:
    """True where the lesion is large enough to be measured, as RANO-BM asks."""
    return (
        lesion.longest_mm >= LEAST_MM - _EXACT
        and lesion.across_mm >= LEAST_ACROSS_MM - _EXACT
        and lesion.slices >= LEAST_SLICES
    )


def target_sum(changes: Sequence[Change]) -> TargetSum | None:
    """The sum of the up to five longest lesions that were measurable then; None without any."""
    then = [c for c in changes if c.then is not None and measurable(c.then)]
    then.sort(key=lambda c: (-_then(c).longest_mm, _then(c).number))
    chosen = then[:MOST_TARGETS]
    if not chosen:
        return None
    numbers = tuple(_then(c).number for c in chosen)
    lengths = {c.now.number: c.now.longest_mm for c in changes if c.now is not None}
    counted: set[int] = set()
    grown = []
    for target in chosen:
        parts = _parts(target, changes)
        grown.append(sum(lengths[n] for n in parts - counted) - _then(target).longest_mm)
        counted |= parts
    return TargetSum(
        numbers,
        sum(_then(c).longest_mm for c in chosen),
        sum(lengths[n] for n in counted),
        max(grown),
        any(c.kind == MERGED for c in chosen),
        any(c.kind == SPLIT and c.other in numbers for c in changes),
    )


def _parts(target: Change, changes: Sequence[Change]) -> set[int]:
    """Numbers of the later lesions that a target has become."""
    if target.kind == MERGED:
        return {target.other} if target.other is not None else set()
    own = {target.now.number} if target.now is not None else set()
    number = _then(target).number
    return own | {
        c.now.number for c in changes if c.kind == SPLIT and c.other == number and c.now is not None
    }


def _then(change: Change) -> Measured:
    assert change.then is not None
    return change.then


def sentences(changes: Sequence[Change]) -> tuple[str, ...]:
    """What was measured and which limit of RANO-BM it meets, in words; never a diagnosis."""
    out = []
    found = target_sum(changes)
    if found is None:
        out.append(
            "No lesion of the earlier examination was measurable (longest axial diameter at least "
            f"{LEAST_MM:.0f} mm, {LEAST_ACROSS_MM:.0f} mm across, on {LEAST_SLICES} slices), so "
            "there is no sum of target lesions."
        )
    else:
        out += _of_sum(found)
    return (*out[:1], *_of_new(changes), *out[1:])


def _of_new(changes: Sequence[Change]) -> list[str]:
    """A new lesion outweighs every sum, so it is said before what the sum alone amounts to."""
    new = [c.now.number for c in changes if c.kind == NEW and c.now is not None]
    if not new:
        return []
    listed = ", ".join(str(number) for number in new)
    one = len(new) == 1
    return [
        f"{'Lesion' if one else 'Lesions'} {listed} {'has' if one else 'have'} no counterpart "
        f"then. RANO-BM counts a new lesion as {PROGRESSIVE} (under immunotherapy not by itself); "
        "look whether it was there and was not outlined."
    ]


def _of_sum(found: TargetSum) -> list[str]:
    count = len(found.targets)
    which = "1 target lesion" if count == 1 else f"{count} target lesions"
    out = [
        f"Longest axial diameters of {which} of the earlier examination: {found.then_mm:.1f} mm "
        f"then, {found.now_mm:.1f} mm now ({signed(found.change)})."
    ]
    limits = {
        COMPLETE: "none of them is left",
        PARTIAL: f"a fall of {FALL:.0%} or more",
        STABLE: f"neither a fall of {FALL:.0%} nor a rise of {RISE:.0%} with one lesion "
        f"{RISE_MM:.0f} mm longer",
        PROGRESSIVE: f"a rise of {RISE:.0%} or more, with one lesion {RISE_MM:.0f} mm longer or "
        "more",
    }
    out.append(f"RANO-BM's word for such a sum alone is {found.limit}: {limits[found.limit]}.")
    if found.merged:
        out.append("Target lesions that have become one count once in the sum of now.")
    if found.split:
        out.append("Of a target lesion that has come apart all parts count in the sum of now.")
    return out


def signed(share: float) -> str:
    """A change in whole percent with its sign, for instance "+12%" or "−3%"."""
    percent = round(100 * share)
    sign = "+" if percent > 0 else "−" if percent < 0 else "±"
    return f"{sign}{abs(percent)}%"
