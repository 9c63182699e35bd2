"""What the plain measurements of a patient's lesions say of the primary: boosted trees.

A linear regression on the measurements (``models.image_features.MEASURED``) cannot use that a
measurement counts only beyond a limit, or only together with another one. Gradient-boosted trees
can (Friedman 2001; Newton steps with an L2 penalty as in Chen and Guestrin 2016). Their six scores
of a patient join the image features. As with the CNN there are several members, each learnt without
one fold of the patients: the training patients' scores come from the member that has not seen them.

Learnt with scikit-learn, kept as plain arrays and used with numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.known_values import mean_of_known

CLASSES = len(PRIMARIES)
_NODES = ("feature", "threshold", "left", "right", "value")
_TREES = ("start", "member", "primary")
_TENSORS = (*_NODES, *_TREES, "baseline", "mean")
_LEAF = -1  # as a node's feature


@dataclass(frozen=True)
class TreesConfig:
    """How a member is learnt.

    steps: trees of each primary; rate: what of each is added; depth: questions from root to leaf.
    least: patients in a leaf; l2: penalty on the leaves; share: of the measurements that a split
    may choose from. seed: of those choices.
    """

    steps: int = 120
    rate: float = 0.04
    depth: int = 3
    least: int = 20
    l2: float = 10.0
    share: float = 0.3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class MeasurementTrees:
    """The trees of all members, as arrays over all nodes and over all trees.

    A node asks whether measurement ``feature`` is at most ``threshold`` and goes ``left``, else
    ``right`` (positions among the nodes); a leaf has the feature -1 and a ``value``. A tree has
    its root at ``start`` and adds to the score of ``primary`` by ``member``. baseline (k, 6): the
    scores without any tree. mean (k, m): of the training patients, for what is not measured.
    """

    feature: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.float64]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    start: npt.NDArray[np.int32]
    member: npt.NDArray[np.int16]
    primary: npt.NDArray[np.int16]
    baseline: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]

    @property
    def members(self) -> int:
        return len(self.baseline)

    def scores(self, x: npt.NDArray) -> npt.NDArray[np.float64]:
        """The scores (k, n, 6) of x (n, m), NaN where not measured; each row of six sums to 0.

        ValueError where x has another number of measurements.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.mean.shape[1]:
            raise ValueError(f"x must be (n, {self.mean.shape[1]}), but is {x.shape}")
        return np.stack([self._of_member(x, k) for k in range(self.members)])

    def _of_member(self, x: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
        z = np.where(np.isnan(x), self.mean[k], x)
        trees = self.member == k
        node = np.broadcast_to(self.start[trees], (len(z), int(trees.sum()))).copy()
        if not node.size:
            return np.tile(self.baseline[k], (len(z), 1))
        rows = np.arange(len(z))[:, None]
        while (inner := self.feature[node] != _LEAF).any():
            low = z[rows, np.maximum(self.feature[node], 0)] <= self.threshold[node]
            node = np.where(inner, np.where(low, self.left[node], self.right[node]), node)
        out = np.tile(self.baseline[k], (len(z), 1))
        of, values = self.primary[trees], self.value[node].astype(np.float64)
        for c in range(CLASSES):
            out[:, c] += values[:, of == c].sum(axis=1)
        learnt = np.isin(np.arange(CLASSES), of)
        return np.where(learnt, out - out[:, learnt].mean(axis=1, keepdims=True), 0.0)

    # --- keep ------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, npt.NDArray]:
        """All of it; ``from_tensors`` reads it back."""
        return {name: getattr(self, name) for name in _TENSORS}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray]) -> MeasurementTrees:
        """The trees that ``tensors`` came from. ValueError on names, shapes or numbers that do not
        fit, and on nodes that do not lead to a leaf."""
        if set(tensors) != set(_TENSORS):
            raise ValueError(f"tensors must be {sorted(_TENSORS)}, but are {sorted(tensors)}")
        found = cls(**{name: np.asarray(tensors[name]) for name in _TENSORS})
        found._check()
        return found

    def _check(self) -> None:
        for names in (_NODES, _TREES):
            shapes = {np.shape(getattr(self, name)) for name in names}
            if len(shapes) != 1 or len(next(iter(shapes))) != 1:
                raise ValueError(f"{', '.join(names)} must be of one length")
        if self.baseline.ndim != 2 or self.baseline.shape[1] != CLASSES or not len(self.baseline):
            raise ValueError(f"baseline must be (members, {CLASSES}), but is {self.baseline.shape}")
        if self.mean.ndim != 2 or len(self.mean) != len(self.baseline):
            raise ValueError(f"mean must be ({len(self.baseline)}, m), but is {self.mean.shape}")
        for name in ("threshold", "value", "baseline", "mean"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds numbers that are not finite")
        limits = {"member": self.members, "primary": CLASSES, "start": len(self.feature)}
        for name, limit in limits.items():
            _within(name, getattr(self, name), 0, limit)
        _within("feature", self.feature, _LEAF, self.mean.shape[1])
        inner = np.flatnonzero(self.feature != _LEAF)
        for name in ("left", "right"):  # always further on, so that every road ends
            own = getattr(self, name)[inner]
            if (own <= inner).any() or (own >= len(self.feature)).any():
                raise ValueError(f"{name} must lead to a later node")


def _within(name: str, values: npt.NDArray, low: int, high: int) -> None:
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} must hold whole numbers, but holds {values.dtype}")
    if values.size and (values.min() < low or values.max() >= high):
        raise ValueError(f"{name} must lie between {low} and {high - 1}")


# --- learn ----------------------------------------------------------------------------------------


def fit(
    x: npt.NDArray, y: npt.NDArray, fold: npt.NDArray, config: TreesConfig | None = None
) -> MeasurementTrees:
    """A member without each fold: x (n, m), NaN where not measured; y (n,) positions in PRIMARIES;
    fold (n,) from 0.

    Member k has not seen the patients of fold k. A primary that does not occur has the mean
    score, 0, and a member that would see one primary alone says nothing: all its scores are 0. A
    measurement that nobody has counts as 0.
    """
    how = config or TreesConfig()
    x, y = np.asarray(x, np.float64), np.asarray(y)
    return _join([_member(x[fold != k], y[fold != k], how) for k in range(int(fold.max()) + 1)])


def out_of_fold(
    trees: MeasurementTrees, x: npt.NDArray, fold: npt.NDArray
) -> npt.NDArray[np.float64]:
    """The scores (n, 6) of each patient by the member that has not seen the patient."""
    return trees.scores(x)[np.asarray(fold), np.arange(len(x))]


def _member(x: npt.NDArray, y: npt.NDArray, how: TreesConfig) -> MeasurementTrees:
    from sklearn.ensemble import HistGradientBoostingClassifier

    mean = mean_of_known(x)
    if np.unique(y).size < 2:
        return _nothing(mean)
    filled = np.where(np.isnan(x), mean, x)
    model = HistGradientBoostingClassifier(
        learning_rate=how.rate, max_iter=how.steps, max_depth=how.depth, min_samples_leaf=how.least,
        l2_regularization=how.l2, max_features=how.share, early_stopping=False,
        random_state=how.seed,
    ).fit(filled, y)  # fmt: skip
    member = _exported(model, mean)
    own = member.scores(filled)[0][:, model.classes_]
    theirs = model.decision_function(filled)
    if theirs.ndim == 1:  # two primaries: the second against the first
        theirs = np.stack([-theirs, theirs], axis=1) / 2
    gap = (own - own.mean(axis=1, keepdims=True)) - (theirs - theirs.mean(axis=1, keepdims=True))
    if np.abs(gap).max() > 1e-4:
        raise RuntimeError("the trees could not be taken over from this version of scikit-learn")
    return member


def _exported(model: object, mean: npt.NDArray[np.float64]) -> MeasurementTrees:
    """scikit-learn's trees as arrays. It has no public way to its nodes; ``_member`` compares."""
    classes = model.classes_  # type: ignore[attr-defined]
    base = np.ravel(model._baseline_prediction)  # type: ignore[attr-defined]
    baseline = np.zeros(CLASSES)
    signs: Sequence[tuple[int, float]]
    if len(classes) == 2:
        signs = [(int(classes[1]), 0.5), (int(classes[0]), -0.5)]
        for c, sign in signs:
            baseline[c] = sign * base[0]
    else:
        signs = []
        baseline[classes] = base - base.mean()
    nodes: dict[str, list[npt.NDArray]] = {name: [] for name in _NODES}
    starts, owners, at = [], [], 0
    for step in model._predictors:  # type: ignore[attr-defined]
        for place, tree in enumerate(step):
            for c, sign in signs or [(int(classes[place]), 1.0)]:
                own = tree.nodes
                leaf = own["is_leaf"].astype(bool)
                nodes["feature"].append(np.where(leaf, _LEAF, own["feature_idx"]))
                nodes["threshold"].append(np.where(leaf, 0.0, own["num_threshold"]))
                nodes["left"].append(np.where(leaf, 0, own["left"].astype(np.int64) + at))
                nodes["right"].append(np.where(leaf, 0, own["right"].astype(np.int64) + at))
                nodes["value"].append(sign * np.where(leaf, own["value"], 0.0))
                starts.append(at)
                owners.append(c)
                at += len(own)
    flat = {name: np.concatenate(rows) for name, rows in nodes.items()}
    return MeasurementTrees(
        flat["feature"].astype(np.int16),
        flat["threshold"].astype(np.float64),
        flat["left"].astype(np.int32),
        flat["right"].astype(np.int32),
        flat["value"].astype(np.float32),
        np.array(starts, np.int32),
        np.zeros(len(starts), np.int16),
        np.array(owners, np.int16),
        baseline[None],
        mean[None],
    )


def _nothing(mean: npt.NDArray[np.float64]) -> MeasurementTrees:
    """A member without a tree."""
    whole, real = np.zeros(0, np.int32), np.zeros(0, np.float64)
    small = np.zeros(0, np.int16)
    return MeasurementTrees(
        small, real, whole, whole, real.astype(np.float32), whole, small, small,
        np.zeros((1, CLASSES)), mean[None],
    )  # fmt: skip


def _join(members: Sequence[MeasurementTrees]) -> MeasurementTrees:
    ahead = np.cumsum([0, *(len(m.feature) for m in members)])[:-1]

    def all_of(name: str) -> npt.NDArray:
        return np.concatenate([getattr(m, name) for m in members])

    def moved(name: str) -> npt.NDArray:
        rows = []
        for m, by in zip(members, ahead, strict=True):
            own = getattr(m, name)
            stays = (m.feature == _LEAF) if name != "start" else np.zeros(len(own), bool)
            rows.append(np.where(stays, 0, own + by).astype(np.int32))
        return np.concatenate(rows)

    counts = [len(m.start) for m in members]
    return MeasurementTrees(
        all_of("feature"), all_of("threshold"), moved("left"), moved("right"), all_of("value"),
        moved("start"), np.repeat(np.arange(len(members)), counts).astype(np.int16),
        all_of("primary"), all_of("baseline"), all_of("mean"),
    )  # fmt: skip
