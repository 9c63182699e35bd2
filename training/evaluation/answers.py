"""The three answers on patients held out: nested cross-validation, numbers, differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.autoencoder import AutoencoderTraining, build_autoencoder, fit_autoencoder
from bmcore.models.configs import AutoencoderConfig
from bmcore.models.mlr import MLR, MLRConfig
from training.data.held_out import HeldOut
from training.data.regression_inputs import inputs
from training.evaluation.answer_subgroups import (
    MINIMUM,
    Described,
    decision_curves,
    paired_tests,
    subgroups,
)
from training.evaluation.reconstruction import principal_axes, z_scores
from training.run.processes import progress

CLASSES = len(PRIMARIES)
KINDS = ("trivial", "clinical", "image", "fused")


@dataclass(frozen=True)
class Reduction:
    """How image features become a code. kind: autoencoder, pca or none; size: of the code."""

    kind: str = "autoencoder"
    size: int = 8

    @property
    def words(self) -> str:
        return "no reduction" if self.kind == "none" else f"{self.kind}, {self.size}"


REDUCTIONS = (
    Reduction("none", 0),
    Reduction("pca", 4),
    Reduction("pca", 8),
    Reduction("pca", 16),
    Reduction("autoencoder", 4),
    Reduction("autoencoder", 8),
    Reduction("autoencoder", 16),
    Reduction("autoencoder", 32),
)


def _encoder(x: npt.NDArray, reduction: Reduction, how: AutoencoderTraining) -> Any:
    """A function from features to code, fitted on x (n, f) alone."""
    if reduction.kind == "autoencoder":
        return fit_autoencoder(
            x, AutoencoderConfig(x.shape[1], code=reduction.size, feature_set=2), how
        ).encode
    scaler = build_autoencoder(AutoencoderConfig(x.shape[1]))
    scaler.fit_scaler(x)
    if reduction.kind == "none":
        return lambda rows: z_scores(scaler, rows)[0]
    basis = principal_axes(scaler, x, reduction.size)
    return lambda rows: z_scores(scaler, rows)[0] @ basis.T


def held_out_probabilities(
    held_out: HeldOut,
    reduction: Reduction,
    how: AutoencoderTraining,
    config: MLRConfig,
    kinds: tuple[str, ...] = KINDS,
) -> dict[str, npt.NDArray[np.float64]]:
    """For each of ``kinds`` the probabilities (n, 6) of every patient while held out."""
    out = {kind: np.full((len(held_out.fold), CLASSES), np.nan) for kind in kinds}
    for i in range(held_out.folds):
        train, test = held_out.fold != i, held_out.fold == i
        y, persons = held_out.labels[train], held_out.persons[train]
        encode = _encoder(held_out.features[train], reduction, how)
        known = inputs(held_out.clinical[train], encode(held_out.features[train]))
        models = {k: MLR(config=config).fit(known[k], y, persons) for k in kinds if k != "trivial"}
        unseen = inputs(held_out.clinical[test], encode(held_out.features[test]))
        for kind, model in models.items():
            out[kind][test] = model.predict_proba(unseen[kind])
    if "trivial" in out:  # one patient added to each primary, so that none has a chance of 0
        count = np.bincount(held_out.labels, minlength=CLASSES) + 1.0
        out["trivial"][:] = count / count.sum()
    return out


def measure(truth: npt.NDArray, p: npt.NDArray) -> dict[str, Any]:
    """Every number of one answer, with interval, n and method."""
    from bmcore.stats import classification as c

    top = p.argmax(axis=1)
    areas = c.auc(truth, p)
    per_class = c.per_class(truth, top, CLASSES) | {"auc": areas.per_class}
    return {
        "accuracy": c.accuracy(truth, top),
        "balanced_accuracy": c.balanced_accuracy(truth, top, CLASSES),
        "macro_auc": areas.macro,
        "log_loss": c.log_loss(truth, p),
        "brier": c.brier(truth, p),
        "calibration_error": c.calibration_error(truth, p),
        "per_class": {
            name: {str(q): e for q, e in zip(PRIMARIES, row, strict=True)}
            for name, row in per_class.items()
        },
        "confusion": c.confusion_matrix(truth, top, CLASSES),
        "reliability": c.reliability_table(truth, p),
    }


def differences(truth: npt.NDArray, first: npt.NDArray, second: npt.NDArray) -> dict[str, Any]:
    """``first`` minus ``second`` on the same resampled patients."""
    from bmcore.stats import classification as c
    from bmcore.stats.bootstrap import paired_difference

    patients = np.arange(len(truth))
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    pairs = {
        "accuracy": (c.accuracy_statistic(truth, a), c.accuracy_statistic(truth, b)),
        "balanced_accuracy": (
            c.balanced_accuracy_statistic(truth, a, CLASSES),
            c.balanced_accuracy_statistic(truth, b, CLASSES),
        ),
        "macro_auc": (c.auc_statistic(truth, first), c.auc_statistic(truth, second)),
        "log_loss": (c.log_loss_statistic(truth, first), c.log_loss_statistic(truth, second)),
    }
    return {name: paired_difference(*pair, patients) for name, pair in pairs.items()}


def verdict(difference: dict[str, Any], first: str, second: str) -> str:
    """One plain sentence on whether ``first`` beats ``second``, by macro AUC and log loss."""
    auc, loss = difference["macro_auc"], difference["log_loss"]
    numbers = f"macro AUC difference {auc.text()}; log loss difference {loss.text()}"
    if auc.has_interval and auc.low > 0 and loss.high < 0:
        return f"The {first} answer is better than the {second} answer ({numbers})."
    if auc.has_interval and auc.high < 0 and loss.low > 0:
        return f"The {first} answer is worse than the {second} answer ({numbers})."
    return f"The {first} answer is not shown to be better than the {second} answer ({numbers})."


def compare_reductions(
    held_out: HeldOut, how: AutoencoderTraining, config: MLRConfig
) -> list[dict[str, Any]]:
    """Image-only and fused answers with each way to reduce the features.

    All stand on the same folds and features; each row also holds its macro AUC less that of the
    first row (no reduction), on the same resampled patients.
    """
    from bmcore.stats import classification as c
    from bmcore.stats.bootstrap import paired_difference

    rows: list[dict[str, Any]] = []
    plain: dict[str, Any] = {}
    with progress() as bars:
        task = bars.add_task("compare reductions", total=len(REDUCTIONS))
        for reduction in REDUCTIONS:
            row: dict[str, Any] = {"reduction": reduction.words}
            answers = held_out_probabilities(held_out, reduction, how, config, ("image", "fused"))
            for kind, p in answers.items():
                row[f"{kind}_macro_auc"] = c.auc(held_out.labels, p).macro
                row[f"{kind}_log_loss"] = c.log_loss(held_out.labels, p)
                statistic = c.auc_statistic(held_out.labels, p)
                gain = paired_difference(
                    statistic, plain.setdefault(kind, statistic), np.arange(len(p))
                )
                row[f"{kind}_auc_gain"] = gain if rows else None
            rows.append(row)
            bars.advance(task)
    return rows


def evaluate(
    held_out: HeldOut,
    code: int,
    how: AutoencoderTraining,
    config: MLRConfig,
    patients: Sequence[Described] | None = None,
) -> Any:
    """The whole evaluation as plain data, and the held-out probabilities of each answer.

    patients: what each patient of ``held_out`` is sorted by; without it there are no subgroups.
    """
    answers = held_out_probabilities(held_out, Reduction("autoencoder", code), how, config)
    truth = held_out.labels
    pairs = (("fused", "clinical"), ("image", "trivial"), ("clinical", "trivial"))
    informed = {kind: answers[kind] for kind in KINDS if kind != "trivial"}
    compared = {f"{a}_minus_{b}": differences(truth, answers[a], answers[b]) for a, b in pairs}
    result = {
        "patients": len(truth),
        "folds": held_out.folds,
        "primaries": {str(p): int((truth == i).sum()) for i, p in enumerate(PRIMARIES)},
        "answers": {kind: measure(truth, p) for kind, p in answers.items()},
        "differences": compared,
        "verdicts": [verdict(compared[f"{a}_minus_{b}"], a, b) for a, b in pairs],
        "tests": {f"{a}_minus_{b}": paired_tests(truth, answers[a], answers[b]) for a, b in pairs},
        "decision": decision_curves(truth, informed),
        "reductions": compare_reductions(held_out, how, config),
    }
    if patients is not None:
        result |= {"subgroups": subgroups(truth, informed, patients), "minimum": MINIMUM}
    return result, answers
