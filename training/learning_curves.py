"""What more patients would bring: ``python -m training.learning_curves --data DIR --out DIR``.

OUT is the folder of ``training.cnn`` and ``training.autoencoder``. Of the patients n are drawn to
learn from and all others are asked; again ``REPEATS`` times for each n. Rows: the CNN's scores
alone, the measured features alone, the trees' scores alone, all; all through an autoencoder of 4,
8, 16 and 32 numbers and through PCA of 8; the record; record and images together. The trees are
learnt anew from the n patients. The CNN itself stays as it is (its scores of a patient come from
the member that has not seen the patient), so the rows with it tell what the regression gains, not
what the CNN would.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.models.autoencoder import AutoencoderTraining
from bmcore.models.image_features import PLAIN, SCORES
from bmcore.models.mlr import MLR, MLRConfig
from training.data.held_out import HeldOut, load_held_out
from training.data.tree_scores import Dealt, dealt
from training.evaluation.answers import Reduction, encoder
from training.run.files import update_metrics
from training.run.options import DataOption, OutOption, SeedOption, run_app
from training.run.processes import Stopwatch, progress

SIZES = (100, 200, 500, 1000, 2000)
LEAST_ASKED = 50  # patients that must be left to ask
REPEATS = 10
YALE = 200  # patients of the public set whose primary is one of the six


@dataclass(frozen=True)
class Row:
    """One curve. columns: of the image features, scores, measured, trees or all; record: with it.
    drawn: in the figure too; the table has all of them."""

    words: str
    columns: str
    reduction: Reduction | None
    record: bool = False
    drawn: bool = True


ROWS = (
    Row("CNN scores alone", "scores", Reduction("none", 0)),
    Row("measured features alone", "measured", Reduction("none", 0)),
    Row("trees' scores alone", "trees", Reduction("none", 0)),
    Row("Image only, no reduction", "all", Reduction("none", 0), drawn=False),
    Row("Image only, PCA of 8", "all", Reduction("pca", 8), drawn=False),
    Row("Image only, autoencoder of 4", "all", Reduction("autoencoder", 4), drawn=False),
    Row("Image only, autoencoder of 8", "all", Reduction("autoencoder", 8), drawn=False),
    Row("Image only, autoencoder of 16", "all", Reduction("autoencoder", 16)),
    Row("Image only, autoencoder of 32", "all", Reduction("autoencoder", 32), drawn=False),
    Row("Clinical only", "all", None, True),
    Row("Fused, autoencoder of 16", "all", Reduction("autoencoder", 16), True),
)


COLUMNS = {
    "scores": slice(None, len(SCORES)),
    "measured": slice(len(SCORES), PLAIN),
    "trees": slice(PLAIN, None),
    "all": slice(None, None),
}


def one(held_out: HeldOut, row: Row, part: Dealt, how: AutoencoderTraining) -> float:
    """Macro AUC of the patients that the part asks, after learning from the others."""
    from bmcore.stats.classification import auc_statistic

    learnt: list[npt.NDArray] = []
    asked: list[npt.NDArray] = []
    if row.record:
        learnt, asked = [held_out.clinical[part.learn]], [held_out.clinical[part.ask]]
    if row.reduction is not None:
        own = COLUMNS[row.columns]
        encode = encoder(part.x[:, own], row.reduction, how)
        learnt.append(np.asarray(encode(part.x[:, own]), np.float64))
        asked.append(np.mean([encode(x[:, own]) for x in part.asked], axis=0))
    labels, persons = held_out.labels, held_out.persons
    model = MLR(config=MLRConfig(seed=how.seed))
    model.fit(np.hstack(learnt), labels[part.learn], persons[part.learn])
    p = model.predict_proba(np.hstack(asked))
    statistic = auc_statistic(labels[part.ask], p)
    return float(statistic(np.ones((1, len(part.ask))))[0])


def curves(held_out: HeldOut, how: AutoencoderTraining, repeats: int, seed: int) -> dict[str, Any]:
    """For each row and each n that leaves patients to ask: mean and 2.5 and 97.5 % over draws."""
    held_out = held_out.rows(held_out.judged)
    total = len(held_out.labels)
    sizes = [n for n in SIZES if n + LEAST_ASKED <= total]
    found: dict[str, list[dict[str, Any]]] = {row.words: [] for row in ROWS}
    with progress() as bars:
        task = bars.add_task("learning curves", total=len(sizes) * repeats)
        for n in sizes:
            areas: dict[str, list[float]] = {row.words: [] for row in ROWS}
            for number in range(repeats):
                order = np.random.default_rng([seed, n, number]).permutation(total)
                part = dealt(held_out, order[:n], order[n:], seed + number, held_out.folds)
                for row in ROWS:
                    areas[row.words].append(one(held_out, row, part, how))
                bars.advance(task)
            for words, values in areas.items():
                low, high = np.quantile(values, [0.025, 0.975])
                mean = float(np.mean(values))
                found[words].append({"n": n, "value": mean, "low": float(low), "high": float(high)})
    return {
        "patients": total,
        "sizes": sizes,
        "not_reached": [n for n in SIZES if n not in sizes],
        "public_set": YALE,
        "repeats": repeats,
        "method": "macro AUC of the patients left over; mean and middle 95 % over random draws of "
        "who is learnt from, which overlap; trees learnt anew, the CNN is the same in all",
        "curves": found,
        "drawn": [row.words for row in ROWS if row.drawn],
    }


def main(
    data: DataOption,
    out: OutOption,
    repeats: Annotated[int, typer.Option(min=2, help="Draws for each number.")] = REPEATS,
    seed: SeedOption = 0,
) -> None:
    """Draw the learning curves; writes ``learning_curves`` into OUT/metrics.json."""
    from bmcore.models.bundles import load_bundle

    watch = Stopwatch()
    entry = load_bundle(out).entry("autoencoder")["training"]
    how = AutoencoderTraining(**{k: entry[k] for k in asdict(AutoencoderTraining())})
    result = curves(load_held_out(out), how, repeats, seed)
    result |= {"seconds": round(watch.seconds), "data": data.name}
    update_metrics(out, "learning_curves", result)


if __name__ == "__main__":
    run_app(main)
