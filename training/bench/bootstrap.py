"""Time each metric's patient bootstrap against a loop over scikit-learn, in one run.

python -m training.bench.bootstrap --patients 300 --resamples 2000

The loop draws patients one resample after the other and calls scikit-learn (numpy where it has no
such function); it is timed on fewer resamples and counted up, which favours neither side.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from bmcore.stats import classification, decision
from bmcore.stats.bootstrap import Resampling

CLASSES = 6


def best_of(work: Callable[[], object], times: int) -> float:
    """Shortest of ``times`` runs, in seconds of CPU: other work on the machine does not count."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def loop(metric: Callable[[npt.NDArray], object], n: int, resamples: int) -> None:
    """One resample after the other; ``metric`` takes the drawn rows (n,)."""
    rng = np.random.default_rng(0)
    for _ in range(resamples):
        metric(rng.integers(0, n, n))


def _net_benefit(positive: npt.NDArray, p: npt.NDArray) -> list[float]:
    return [
        float((positive & (p >= t)).mean() - (~positive & (p >= t)).mean() * t / (1 - t))
        for t in decision.THRESHOLDS
    ]


def jobs(
    truth: npt.NDArray, p: npt.NDArray, how: Resampling
) -> dict[str, tuple[Callable[[], object], Callable[[npt.NDArray], object]]]:
    """Metric -> (ours with 2,000 resamples, the peer on drawn rows)."""
    top = p.argmax(axis=1)
    labels = list(range(CLASSES))
    onehot = np.eye(CLASSES)[truth]

    def areas(rows: npt.NDArray) -> list[float]:
        return [
            metrics.roc_auc_score(truth[rows] == c, p[rows, c])
            for c in labels
            if 0 < (truth[rows] == c).sum() < len(rows)
        ]

    return {
        "accuracy": (
            lambda: classification.accuracy(truth, top, None, how),
            lambda r: metrics.accuracy_score(truth[r], top[r]),
        ),
        "balanced accuracy": (
            lambda: classification.balanced_accuracy(truth, top, CLASSES, None, how),
            lambda r: metrics.balanced_accuracy_score(truth[r], top[r]),
        ),
        "5 rates of each class": (
            lambda: classification.per_class(truth, top, CLASSES, None, how),
            lambda r: metrics.multilabel_confusion_matrix(truth[r], top[r], labels=labels),
        ),
        "AUC, macro and each class": (
            lambda: classification.auc(truth, p, None, how),
            areas,
        ),
        "Brier": (
            lambda: classification.brier(truth, p, None, how),
            lambda r: ((p[r] - onehot[r]) ** 2).sum(axis=1).mean(),
        ),
        "log loss": (
            lambda: classification.log_loss(truth, p, None, how),
            lambda r: metrics.log_loss(truth[r], p[r], labels=labels),
        ),
        "calibration error": (
            lambda: classification.calibration_error(truth, p, None, 10, how),
            lambda r: np.histogram(p[r].max(axis=1), 10, (0, 1), weights=top[r] == truth[r]),
        ),
        "decision curve, 19 points": (
            lambda: decision.decision_curve(truth == 4, p[:, 4], resampling=how),
            lambda r: _net_benefit(truth[r] == 4, p[r, 4]),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--peer-resamples", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=7)
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # a class absent from a resample
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(CLASSES), asked.patients)
    truth = np.array([rng.choice(CLASSES, p=row) for row in p])
    how = Resampling(resamples=asked.resamples)
    print(f"{asked.resamples} resamples of {asked.patients} patients, best of {asked.repeat}")
    print(f"{'':<28}{'here':>10}{'loop':>10}{'ratio':>8}")
    factor = asked.resamples / asked.peer_resamples
    for name, (ours, peer) in jobs(truth, p, how).items():
        taken = best_of(ours, asked.repeat)
        naive = partial(loop, peer, len(truth), asked.peer_resamples)
        other = factor * best_of(naive, 2)
        print(f"{name:<28}{taken:>8.4f} s{other:>8.2f} s{other / taken:>8.1f}")


if __name__ == "__main__":
    main()
