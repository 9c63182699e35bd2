"""Image features with the trees' scores, learnt anew inside a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.models.folds import stratified_folds
from bmcore.models.image_features import PLAIN, measured_of
from bmcore.models.measurement_trees import TreesConfig, fit, out_of_fold
from training.data.held_out import HeldOut


@dataclass(frozen=True, eq=False)
class Dealt:
    """Who is learnt from and who is asked, with features that know nothing of who is asked.

    learn, ask: positions. x (n, f): of those learnt from, the trees' scores by the member that has
    not seen the patient. asked (members, m, f): of those asked, by each member of the trees.
    """

    learn: npt.NDArray[np.intp]
    ask: npt.NDArray[np.intp]
    x: npt.NDArray[np.float32]
    asked: npt.NDArray[np.float32]


def dealt(
    held_out: HeldOut, learn: npt.NDArray, ask: npt.NDArray, seed: int = 0, members: int = 5
) -> Dealt:
    """Learn ``members`` trees from the rows ``learn`` alone and read the rows ``ask`` with each."""
    learn, ask = _positions(learn), _positions(ask)
    plain = held_out.features[:, :PLAIN]
    measured = measured_of(held_out.features)
    persons, labels = held_out.persons[learn], held_out.labels[learn]
    count = min(members, np.unique(persons).size)
    inner = stratified_folds(labels, count, seed, persons)
    trees = fit(measured[learn], labels, inner, TreesConfig(seed=seed))
    own = out_of_fold(trees, measured[learn], inner)
    theirs = trees.scores(measured[ask])
    x = np.hstack([plain[learn], own]).astype(np.float32)
    asked = np.stack([np.hstack([plain[ask], scores]) for scores in theirs]).astype(np.float32)
    return Dealt(learn, ask, x, asked)


def each_fold(held_out: HeldOut, fold: npt.NDArray, seed: int = 0) -> Iterator[Dealt]:
    """Each fold asked in turn, the others learnt from. fold (n,) from 0."""
    for k in range(int(fold.max()) + 1):
        yield dealt(held_out, fold != k, fold == k, seed, held_out.folds)


def _positions(rows: npt.NDArray) -> npt.NDArray[np.intp]:
    return np.flatnonzero(rows) if rows.dtype == bool else np.asarray(rows, np.intp)
