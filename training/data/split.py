"""One split by person, stored beside the cases, that every step of a training keeps to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bmcore.domain import refuse
from bmcore.models.folds import stratified_folds
from training.run.files import read_json, write_json

SPLIT = "split.json"


@dataclass(frozen=True)
class Split:
    """persons: case id -> whose scan it is. folds: person -> number of the fold, from 0 on."""

    persons: Mapping[str, str]
    folds: Mapping[str, int]

    def __post_init__(self) -> None:
        lost = set(self.persons.values()) - set(self.folds)
        if lost:
            raise ValueError(f"these persons have no fold: {', '.join(sorted(lost))}")

    @property
    def count(self) -> int:
        """Number of folds."""
        return max(self.folds.values()) + 1

    def fold(self, case_id: str) -> int:
        """The fold of a case. InputRefused for a case that the split does not know."""
        if case_id not in self.persons:
            raise refuse(
                "the stored split does not know this case",
                file=case_id,
                hint="start python -m training.run again; it deals new cases.",
            )
        return self.folds[self.persons[case_id]]

    def cases(self, fold: int) -> list[str]:
        """The cases of a fold, sorted."""
        return sorted(c for c, p in self.persons.items() if self.folds[p] == fold)


def deal(persons: Mapping[str, str], labels: Mapping[str, int], folds: int, seed: int) -> Split:
    """Deal persons into ``folds``, each class spread evenly. labels: case id -> class."""
    ids = sorted(persons)
    whose = [persons[c] for c in ids]
    dealt = stratified_folds([labels[c] for c in ids], folds, seed, whose)
    return Split(dict(persons), {p: int(k) for p, k in zip(whose, dealt, strict=True)})


def write_split(folder: Path, split: Split) -> None:
    write_json(folder / SPLIT, {"persons": split.persons, "folds": split.folds})


def read_split(folder: Path) -> Split | None:
    """The split stored in a folder of cases; None where there is none."""
    path = folder / SPLIT
    if not path.exists():
        return None
    kept = read_json(path)
    return Split(kept["persons"], {p: int(k) for p, k in kept["folds"].items()})


def folds_of(split: Split, case_ids: Sequence[str]) -> np.ndarray:
    """The fold (n,) of each case."""
    return np.array([split.fold(c) for c in case_ids], dtype=np.int64)
