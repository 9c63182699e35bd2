"""Whether there is enough to learn from, asked before anything is learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, refuse

LEAST_PERSONS = 6  # below this no cross-validation says anything


def check_enough(labels: npt.NDArray, persons: npt.NDArray, least: int = LEAST_PERSONS) -> None:
    """InputRefused where naming cannot be learnt: fewer than ``least`` persons, or fewer than two
    primaries that have two patients each (one primary would be left while one is held out)."""
    found = sorted({int(label) for label in labels})
    count = len(set(persons.tolist()))
    if count < least:
        raise refuse(
            "there are too few patients to learn to name the primary from",
            found=f"{count} with a known primary and a lesion",
            expected=f"at least {least}, and dozens to learn anything of use",
        )
    if len(found) < 2:
        name = PRIMARY_NAMES[PRIMARIES[found[0]]]
        raise refuse(
            "all patients have the same primary: there is nothing to tell apart",
            found=f"{count} patients with {name}",
            expected="patients with at least two of the six primaries",
        )
    second = sorted(len(set(persons[labels == k].tolist())) for k in found)[-2]
    if second < 2:
        raise refuse(
            "only one primary has more than one patient: none is left to learn from while one is "
            "held out",
            found=", ".join(
                f"{PRIMARY_NAMES[PRIMARIES[k]]}: {int(np.unique(persons[labels == k]).size)}"
                for k in found
            ),
            expected="at least two patients of two primaries",
        )
