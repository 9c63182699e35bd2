"""Where the images of a case lay before they were brought onto one grid, so that answers go back.

No image and nothing of a patient is in it: shapes and matrices only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bmcore.geometry import Affine, check_affine


@dataclass(frozen=True, eq=False)
class Origin:
    """The grid of T1 post-gadolinium as it came, and how the others were moved onto it.

    shape, affine: (i, j, k) and the way to world RAS mm. A case that has an origin keeps that
    world: its own grid is another set of points in it. moves: sequence -> 4x4 from that world to
    the world of the sequence as it came. extraction: how the skull was removed, in one word.
    side_doubt: why the headers do not tell left from right; None where they do.
    """

    shape: tuple[int, int, int]
    affine: Affine
    moves: Mapping[str, Affine] = field(default_factory=dict)
    extraction: str = ""
    side_doubt: str | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(int(n) < 1 for n in self.shape):
            raise ValueError(f"the shape of an origin must be three sizes, but is {self.shape}")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", check_affine(self.affine))
        moves = {name: check_affine(move) for name, move in self.moves.items()}
        object.__setattr__(self, "moves", moves)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "shape": list(self.shape),
            "affine": self.affine.tolist(),
            "moves": {name: np.asarray(move).tolist() for name, move in self.moves.items()},
            "extraction": self.extraction,
            "side_doubt": self.side_doubt,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Origin:
        """The inverse of ``as_dict``; ValueError, KeyError or TypeError where it is damaged."""
        return cls(
            tuple(values["shape"]),
            values["affine"],
            values["moves"],
            str(values["extraction"]),
            values["side_doubt"],
        )
