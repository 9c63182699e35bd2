"""The three answers on patients held out: nested cross-validation, numbers, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.autoencoder import AutoencoderTraining, build_autoencoder, fit_autoencoder
from bmcore.models.case_mix import CaseMix, balanced, from_counts
from bmcore.models.configs import AutoencoderConfig
from bmcore.models.folds import stratified_folds
from bmcore.models.mlr import MLR, MLRConfig
from bmcore.stats.bootstrap import Resampling
from bmcore.stats.estimate import Estimate
from bmcore.stats.verdict import BETTER, NOT_SHOWN, WORSE, of_differences
from training.data.held_out import HeldOut
from training.data.regression_inputs import inputs
from training.data.tree_scores import Dealt, each_fold
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
REPEATS = 5  # of the cross-validation


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


def encoder(x: npt.NDArray, reduction: Reduction, how: AutoencoderTraining) -> Any:
    """A function from features to code, fitted on x (n, f) alone."""
    if reduction.kind == "autoencoder":
        return fit_autoencoder(
            x, AutoencoderConfig(x.shape[1], code=reduction.size, feature_set=3), how
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
    parts: Sequence[Dealt] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """For each of ``kinds`` the probabilities (n, 6) of every patient while held out.

    Trees, autoencoder and regressions are fitted anew without each fifth of the patients, dealt by
    ``config.seed`` unless ``parts`` are given; the CNN's scores come from the net that has not seen
    the patient. As in use, a patient's code is the mean over the members of the trees.
    """
    if parts is None:
        parts = deal(held_out, config.seed)
    out = {kind: np.full((len(held_out.labels), CLASSES), np.nan) for kind in kinds}
    for part in parts:
        y, persons = held_out.labels[part.learn], held_out.persons[part.learn]
        encode = encoder(part.x, reduction, how)
        code = np.mean([encode(x) for x in part.asked], axis=0)
        known = inputs(held_out.clinical[part.learn], encode(part.x))
        unseen = inputs(held_out.clinical[part.ask], code)
        for kind in kinds:
            if kind != "trivial":
                model = MLR(config=config).fit(known[kind], y, persons)
                out[kind][part.ask] = model.predict_proba(unseen[kind])
    if "trivial" in out:  # one patient added to each primary, so that none has a chance of 0
        share = np.bincount(held_out.labels, minlength=CLASSES) + 1.0
        out["trivial"][:] = share / share.sum()
    return out


def deal(held_out: HeldOut, seed: int, fold: npt.NDArray[np.int64] | None = None) -> list[Dealt]:
    """The parts of a cross-validation by patient, with trees learnt inside each; dealt by ``seed``
    where no ``fold`` (n,) is given."""
    persons = held_out.persons
    if fold is None:
        count = min(held_out.folds, len(set(persons)))
        fold = stratified_folds(held_out.labels, count, seed, persons)
    return list(each_fold(held_out, fold, seed))


def repeated_probabilities(
    held_out: HeldOut, code: int, how: AutoencoderTraining, config: MLRConfig, repeats: int
) -> dict[str, npt.NDArray[np.float64]]:
    """The probabilities (repeats, n, 6) of each answer: autoencoder seeded and folds dealt anew.

    The first repeat has the folds of the CNN: where one split is stored, that is it.
    """
    reduction = Reduction("autoencoder", code)
    runs = []
    for number in range(repeats):
        this = replace(config, seed=config.seed + number)
        seeded = replace(how, seed=how.seed + number)
        parts = deal(held_out, this.seed, None if number else held_out.fold)
        runs.append(held_out_probabilities(held_out, reduction, seeded, this, KINDS, parts))
    return {kind: np.stack([run[kind] for run in runs]) for kind in KINDS}


def measure(
    truth: npt.NDArray, p: npt.NDArray, learnt: CaseMix, resampling: Resampling | None = None
) -> dict[str, Any]:
    """Every number of one answer, with interval, n and method.

    p (repeats, n, 6): by several trainings; the intervals of the first six numbers hold their
    spread too, the others stand on the mean of the trainings. learnt: shares in training.
    """
    from bmcore.stats import classification as c
    from bmcore.stats.operating_points import among_first, sensitivity_at, specificity_at
    from bmcore.stats.repeats import over_trainings

    def each(statistic: Any) -> Estimate:
        return over_trainings([statistic(one) for one in p], len(truth), resampling)

    mean = p.mean(axis=0)
    top, even = mean.argmax(axis=1), balanced(mean, learnt)
    areas = c.auc(truth, mean)
    per_class = c.per_class(truth, top, CLASSES) | {"auc": areas.per_class}
    evenly = c.per_class(truth, even, CLASSES)
    rates = {
        "sensitivity_at_specificity_90": sensitivity_at,
        "specificity_at_sensitivity_90": specificity_at,
    }
    return {
        "accuracy": each(lambda q: c.accuracy_statistic(truth, q.argmax(axis=1))),
        "balanced_accuracy": each(
            lambda q: c.balanced_accuracy_statistic(truth, q.argmax(axis=1), CLASSES)
        ),
        "balanced_decision_balanced_accuracy": each(
            lambda q: c.balanced_accuracy_statistic(truth, balanced(q, learnt), CLASSES)
        ),
        "macro_auc": each(lambda q: c.auc_statistic(truth, q)),
        "log_loss": each(lambda q: c.log_loss_statistic(truth, q)),
        "brier": each(lambda q: c.brier_statistic(truth, q)),
        "calibration_error": c.calibration_error(truth, mean),
        "top_2": among_first(truth, mean, 2),
        "top_3": among_first(truth, mean, 3),
        "per_class": {
            name: {str(q): e for q, e in zip(PRIMARIES, row, strict=True)}
            for name, row in per_class.items()
        },
        "balanced_decision": {
            name: {str(q): e for q, e in zip(PRIMARIES, evenly[name], strict=True)}
            for name in ("sensitivity", "specificity")
        },
        "operating_points": {
            name: {
                str(q): rate(truth == i, mean[:, i], 0.9, resampling)
                for i, q in enumerate(PRIMARIES)
            }
            for name, rate in rates.items()
        },
        "confusion": c.confusion_matrix(truth, top, CLASSES),
        "balanced_confusion": c.confusion_matrix(truth, even, CLASSES),
        "reliability": c.reliability_table(truth, mean),
    }


def differences(truth: npt.NDArray, first: npt.NDArray, second: npt.NDArray) -> dict[str, Any]:
    """``first`` minus ``second``, both (repeats, n, 6), on the same patients and trainings."""
    from bmcore.stats import classification as c
    from bmcore.stats.bootstrap import Statistic
    from bmcore.stats.repeats import over_trainings

    def less(one: Statistic, other: Statistic) -> Statistic:
        return lambda w: np.asarray(one(w)) - np.asarray(other(w))

    makers: dict[str, Any] = {
        "accuracy": lambda q: c.accuracy_statistic(truth, q.argmax(axis=1)),
        "balanced_accuracy": lambda q: c.balanced_accuracy_statistic(
            truth, q.argmax(axis=1), CLASSES
        ),
        "macro_auc": lambda q: c.auc_statistic(truth, q),
        "log_loss": lambda q: c.log_loss_statistic(truth, q),
    }
    return {
        name: over_trainings(
            [less(make(a), make(b)) for a, b in zip(first, second, strict=True)], len(truth)
        )
        for name, make in makers.items()
    }


def verdict(difference: Mapping[str, Estimate], first: str, second: str) -> str:
    """One plain sentence on whether ``first`` beats ``second``, by ``stats.verdict``."""
    auc, loss = difference["macro_auc"], difference["log_loss"]
    numbers = f"macro AUC difference {auc.text()}; log loss difference {loss.text()}"
    words = {BETTER: "better than", WORSE: "worse than"}
    found = words.get(of_differences(difference) or NOT_SHOWN, "not shown to be better than")
    return f"The {first} answer is {found} the {second} answer ({numbers})."


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
    parts = deal(held_out, config.seed)
    with progress() as bars:
        task = bars.add_task("compare reductions", total=len(REDUCTIONS))
        for reduction in REDUCTIONS:
            row: dict[str, Any] = {"reduction": reduction.words}
            answers = held_out_probabilities(
                held_out, reduction, how, config, ("image", "fused"), parts
            )
            for kind, every in answers.items():
                truth, p = held_out.labels[held_out.judged], every[held_out.judged]
                row[f"{kind}_macro_auc"] = c.auc(truth, p).macro
                row[f"{kind}_log_loss"] = c.log_loss(truth, p)
                statistic = c.auc_statistic(truth, p)
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
    repeats: int = REPEATS,
) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
    """The whole evaluation as plain data, and the held-out probabilities (n, 6) of each answer.

    Patients whose lesions the segmentation net found too are judged once, by the reference mask.
    """
    every = repeated_probabilities(held_out, code, how, config, repeats)
    judged = held_out.judged
    answers = {kind: p[:, judged] for kind, p in every.items()}
    mean = {kind: p.mean(axis=0) for kind, p in answers.items()}
    rows = held_out.rows(judged)
    truth = rows.labels
    learnt = from_counts(
        {str(q): int((held_out.labels == i).sum()) for i, q in enumerate(PRIMARIES)}
    )
    pairs = (("fused", "clinical"), ("image", "trivial"), ("clinical", "trivial"))
    informed = {kind: mean[kind] for kind in KINDS if kind != "trivial"}
    compared = {f"{a}_minus_{b}": differences(truth, answers[a], answers[b]) for a, b in pairs}
    patients = [
        Described(*row) for row in zip(rows.sex, rows.age_years, rows.lesions, rows.largest_mm,
                                       strict=True)
    ]  # fmt: skip
    result = {
        "patients": len(truth),
        "folds": held_out.folds,
        "repeats": repeats,
        "primaries": {str(p): int((truth == i).sum()) for i, p in enumerate(PRIMARIES)},
        "answers": {kind: measure(truth, p, learnt) for kind, p in answers.items()},
        "differences": compared,
        "verdicts": [verdict(compared[f"{a}_minus_{b}"], a, b) for a, b in pairs],
        "tests": {f"{a}_minus_{b}": paired_tests(truth, mean[a], mean[b]) for a, b in pairs},
        "decision": decision_curves(truth, informed),
        "reductions": compare_reductions(held_out, how, config),
        "subgroups": subgroups(truth, informed, patients),
        "minimum": MINIMUM,
    }
    return result, {kind: p.mean(axis=0) for kind, p in every.items()}
