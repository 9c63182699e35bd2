"""Time the vectorised patient bootstrap against a plain loop, in one run on this machine.

python -m training.bench.bootstrap --patients 300 --resamples 2000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from bmcore.stats import classification
from bmcore.stats.bootstrap import Resampling


def best_of(work: Callable[[], object], times: int) -> float:
    """Shortest of ``times`` runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def plain_loop(truth: np.ndarray, predicted: np.ndarray, resamples: int) -> tuple[float, float]:
    """Percentile interval of the accuracy by drawing patients one resample after the other."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(0, len(truth), len(truth))
        values.append(float(np.mean(truth[drawn] == predicted[drawn])))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(6), asked.patients)
    truth = np.array([rng.choice(6, p=row) for row in probabilities])
    predicted = probabilities.argmax(axis=1)
    how = Resampling(resamples=asked.resamples)
    loop = best_of(lambda: plain_loop(truth, predicted, asked.resamples), asked.repeat)
    print(f"{asked.resamples} resamples of {asked.patients} patients, best of {asked.repeat}")
    print(f"accuracy, plain loop          {loop:8.4f} s")
    jobs: dict[str, Callable[[], object]] = {
        "accuracy": lambda: classification.accuracy(truth, predicted, None, how),
        "balanced accuracy": lambda: classification.balanced_accuracy(
            truth, predicted, 6, None, how
        ),
        "all per-class rates": lambda: classification.per_class(truth, predicted, 6, None, how),
        "AUC, macro and each class": lambda: classification.auc(truth, probabilities, None, how),
        "Brier": lambda: classification.brier(truth, probabilities, None, how),
    }
    for name, job in jobs.items():
        taken = best_of(job, asked.repeat)
        ratio = f"  (plain loop / this = {loop / taken:.1f})" if name == "accuracy" else ""
        print(f"{name:<29} {taken:8.4f} s{ratio}")


if __name__ == "__main__":
    main()
