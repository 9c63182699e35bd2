"""Can a map of the CNN's evidence be believed? Three checks, each with its verdict in words.

A map is by Grad-CAM, or by integrated gradients where that does not pass (``trusted``). The worker
makes both, see ``checked_maps``.

1. Place: how much of the map lies in the lesion and its oedema.
2. Deletion (Petsiuk, Das and Saenko, BMVC 2018): the image is flattened to the brain's median, the
   brightest places of the map first. If the map shows what the net used, the probability of the
   primary falls sooner than with maps of random numbers that are as smooth as this one. The area
   under the curve of the probability sums it up: less is better.
3. Learning (Adebayo et al., NeurIPS 2018): the same map is made with nets of random weights. A map
   that stays the same when all that was learnt is gone shows the picture, not what was learnt.

Only places that the net can look at take part (``explain.looked_at``). Grad-CAM has cells of 6 mm;
a lesion that fills fewer than ``LEAST_CELLS`` of them is too small for any of the three. Integrated
gradients tell voxels apart and need ``LEAST_VOXELS``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Primary
from bmcore.inference import explain

if TYPE_CHECKING:
    from torch import nn

FORMAT = 2  # a new number makes every stored audit anew
RANDOM_SEED = 1  # of the random maps and orders
STEPS = 12  # of the deletion curve
ORDERS = 20  # random maps that the deletion is compared with
NETS = 8  # of random weights
LEAST_CELLS = 3.0
LEAST_VOXELS = 24  # of 1.5 mm: two for each step of the deletion
ALIKE = 0.5  # mean rank correlation from which a map counts as the same without what was learnt
PASSES, FAILS, OPEN = "passes", "fails", "cannot tell"


@dataclass(frozen=True)
class Check:
    """What was asked, the verdict "passes", "fails" or "cannot tell", and because of what."""

    question: str
    verdict: str
    because: str


@dataclass(frozen=True)
class Audit:
    """What was measured of the map of one lesion for one primary.

    empty: the map is 0 everywhere; nothing else was measured then. in_core, in_oedema: shares of
    the map's sum (0-1); filled: share of the cube's brain that core and oedema fill; bound: the net
    can look at marked tissue alone. cells: 6 mm cells that it can look at.
    curve: probability of the primary for this lesion, STEPS + 1 values from nothing to everything
    flattened; random_low, random_mean, random_high: of the ORDERS random maps, at the same steps
    (2.5th and 97.5th percentile). area, random_areas: areas under the curves, 0-1.
    alike: rank correlation of the map with that of each net of random weights. method: of the map.
    """

    lesion: int
    primary: Primary
    empty: bool
    in_core: float = 0.0
    in_oedema: float = 0.0
    filled: float = 0.0
    bound: bool = False
    cells: float = 0.0
    curve: tuple[float, ...] = ()
    random_low: tuple[float, ...] = ()
    random_mean: tuple[float, ...] = ()
    random_high: tuple[float, ...] = ()
    area: float = 0.0
    random_areas: tuple[float, ...] = ()
    alike: tuple[float, ...] = ()
    method: str = explain.GRADCAM

    @property
    def passes(self) -> bool:
        """True where the map shows something and passes all checks."""
        return not self.empty and all(check.verdict == PASSES for check in self.checks)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The three checks in words; none for an empty map."""
        return () if self.empty else (_place(self), _deletion(self), _learning(self))


def trusted(
    net: nn.Module, patch: npt.NDArray[np.float32], lesion_number: int, primary: Primary
) -> Audit:
    """The audit of the map to show: of Grad-CAM, or of integrated gradients where these pass and
    Grad-CAM does not. For ``patch`` see ``measure``."""
    first = measure(net, patch, lesion_number, primary)
    if first.passes:
        return first
    second = measure(net, patch, lesion_number, primary, explain.INTEGRATED)
    return second if second.passes else first


def as_json(audit: Audit) -> dict[str, Any]:
    """For a file; ``from_json`` reads it."""
    return {**asdict(audit), "format": FORMAT}


def from_json(values: Mapping[str, Any]) -> Audit | None:
    """The inverse of ``as_json``; None where another version wrote it, or it is damaged."""
    try:
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        if known.pop("format") != FORMAT or known["method"] not in explain.METHODS:
            return None
        return Audit(**{**known, "primary": Primary(known["primary"])})
    except (ValueError, TypeError, KeyError):
        return None


def measure(
    net: nn.Module,
    patch: npt.NDArray[np.float32],
    lesion_number: int,
    primary: Primary,
    method: str = explain.GRADCAM,
) -> Audit:
    """Audit the map of one patch (1, 7, 32, 32, 32). The same patch gives the same audit."""
    heat = explain.evidence(net, patch, primary, method)
    if not heat.any():
        return Audit(lesion_number, primary, empty=True, method=method)
    brain = (patch[0, :4] != 0).any(axis=0)
    core = np.clip(patch[0, 4] + patch[0, 6], 0, 1)
    oedema = np.clip(patch[0, 5], 0, 1 - core)
    bound = explain.looks_at_marked_tissue_alone(net)
    field = explain.looked_at(net, patch)
    total = float(heat.sum())
    place: dict[str, Any] = {
        "in_core": float((heat * core).sum()) / total,
        "in_oedema": float((heat * oedema).sum()) / total,
        "filled": float((core + oedema).sum()) / max(1, int((brain | field).sum())),
        "bound": bound,
        "cells": int(field.sum()) / explain.CELL**3,
    }
    if place["cells"] < _least_cells(method):
        return Audit(lesion_number, primary, False, **place, method=method)
    return Audit(
        lesion_number,
        primary,
        False,
        **place,
        **_deletions(net, patch, heat, field, primary, method),
        alike=_likeness(net, patch, heat, field, primary, method),
        method=method,
    )


def _deletions(
    net: nn.Module,
    patch: npt.NDArray[np.float32],
    heat: npt.NDArray[np.float32],
    field: npt.NDArray[np.bool_],
    primary: Primary,
    method: str,
) -> dict[str, Any]:
    """The curve of the map and those of random maps of the same smoothness."""
    random = np.random.default_rng(RANDOM_SEED)

    def curve(values: npt.NDArray) -> npt.NDArray[np.float64]:
        return deletion(net, patch, values, field, primary, random)

    def any_map() -> npt.NDArray[np.float64]:
        if method == explain.INTEGRATED:
            return explain.smooth(random.random(field.shape), field)
        return explain.spread_cells(random.random([n // explain.CELL for n in field.shape]))

    own = curve(heat)
    others = np.stack([curve(any_map()) for _ in range(ORDERS)])
    low, high = np.quantile(others, [0.025, 0.975], axis=0)
    return {
        "curve": _floats(own),
        "random_low": _floats(low),
        "random_mean": _floats(others.mean(axis=0)),
        "random_high": _floats(high),
        "area": float(np.trapezoid(own, dx=1 / STEPS)),
        "random_areas": _floats(np.trapezoid(others, dx=1 / STEPS, axis=1)),
    }


def deletion(
    net: nn.Module,
    patch: npt.NDArray[np.float32],
    values: npt.NDArray,
    field: npt.NDArray[np.bool_],
    primary: Primary,
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Probability of ``primary`` (STEPS + 1,) while the field is flattened, highest values first.

    Flattened is 0 on all four sequences: the median of the brain after standardisation. Which
    tissue was marked stays. Places of equal value go in random order.
    """
    from bmcore.models.cnn import lesion_logits, lesion_probabilities

    places = np.argwhere(field)
    order = np.lexsort((random.random(len(places)), -values[field]))
    stages = np.repeat(patch, STEPS + 1, axis=0)
    for step in range(1, STEPS + 1):
        i, j, k = places[order[: round(len(places) * step / STEPS)]].T
        stages[step, :4, i, j, k] = 0
    chances = lesion_probabilities(lesion_logits(net, stages))
    return chances[:, PRIMARIES.index(primary)].astype(np.float64)


def _likeness(
    net: nn.Module,
    patch: npt.NDArray[np.float32],
    heat: npt.NDArray[np.float32],
    field: npt.NDArray[np.bool_],
    primary: Primary,
    method: str,
) -> tuple[float, ...]:
    """Rank correlation, over the field, of the map with that of each net of random weights."""
    from scipy.stats import rankdata

    own = rankdata(heat[field])
    found = []
    for number in range(NETS):
        other = rankdata(explain.evidence(forgotten(net, number), patch, primary, method)[field])
        flat = np.ptp(own) == 0 or np.ptp(other) == 0  # an empty map is like no other
        found.append(0.0 if flat else float(np.corrcoef(own, other)[0, 1]))
    return tuple(found)


def forgotten(net: nn.Module, seed: int) -> nn.Module:
    """A copy of the net with all weights drawn anew, as its layers draw them before training."""
    import torch

    other = copy.deepcopy(net).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in other.modules():
            again: Callable[[], None] | None = getattr(layer, "reset_parameters", None)
            if again is not None:
                again()
    return other


# ---- words -------------------------------------------------------------------------------------


def _place(a: Audit) -> Check:
    question = "Is the map on the lesion?"
    if a.cells < _least_cells(a.method):
        return _too_small(question, a)
    inside = a.in_core + a.in_oedema
    words = (
        f"{inside:.0%} of the map lies in marked tissue ({a.in_core:.0%} core, {a.in_oedema:.0%} "
        f"oedema), which fills {a.filled:.0%} of the brain in the cube"
    )
    if inside >= 0.5:
        if a.bound:
            words += "; this net looks nowhere else by its construction"
        return Check(question, PASSES, words)
    if a.bound:
        words += "; this net looks nowhere else, but the map's 6 mm cells blur it"
    return Check(question, FAILS, words)


def _least_cells(method: str) -> float:
    """How many cells of 6 mm a lesion must fill for a map by this method to be checked."""
    return LEAST_VOXELS / explain.CELL**3 if method == explain.INTEGRATED else LEAST_CELLS


def _too_small(question: str, a: Audit) -> Check:
    if a.method == explain.INTEGRATED:
        there = f"{a.cells * explain.CELL**3:.0f} voxels of 1.5 mm; {LEAST_VOXELS}"
    else:
        there = f"{a.cells:.1f} of the map's 6 mm cells; {LEAST_CELLS:.0f}"
    return Check(question, OPEN, f"the lesion fills only {there} are needed")


def _deletion(a: Audit) -> Check:
    question = "Did the net use what the map marks?"
    if not a.curve:
        return _too_small(question, a)
    beaten = sum(a.area < other for other in a.random_areas)
    needed = math.ceil(0.95 * len(a.random_areas) - 1e-9)
    mean = sum(a.random_areas) / len(a.random_areas)
    words = (
        f"with the marked places flattened first, the probability falls "
        f"{'sooner' if a.area < mean else 'no sooner'} than in random order: area under the curve "
        f"{a.area:.2f} against {mean:.2f}, lower than in {beaten} of {len(a.random_areas)} random "
        f"orders; {needed} are needed"
    )
    if a.curve[-1] > a.curve[0]:
        words += (
            f"; a lesion flattened altogether speaks even more for {PRIMARY_NAMES[a.primary]}, "
            "so this primary is what the net falls back on"
        )
    return Check(question, PASSES if beaten >= needed else FAILS, words)


def _learning(a: Audit) -> Check:
    question = "Does the map depend on what the net has learnt?"
    if not a.alike:
        return _too_small(question, a)
    mean = sum(abs(r) for r in a.alike) / len(a.alike)
    words = (
        f"maps of {len(a.alike)} nets with random weights are "
        f"{'much like it' if mean >= ALIKE else 'unlike it'}: rank correlation {mean:.2f} on "
        f"average (1: the same; fails from {ALIKE})"
    )
    return Check(question, FAILS if mean >= ALIKE else PASSES, words)


def _floats(values: npt.ArrayLike) -> tuple[float, ...]:
    return tuple(round(float(v), 6) for v in np.asarray(values))
