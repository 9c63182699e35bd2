"""Measure the answers on patients held out: ``python -m training.evaluate --data DIR --out DIR``.

Cross-validation by patient, repeated with folds dealt anew. For each outer fold the scaler, the
autoencoder, the penalty, the temperature and the regression are fitted on the other folds; the
image features of a patient come from the net that has not seen the patient. Three answers stand
beside the trivial one: the shares of the primaries in the whole cohort, the same for every patient,
which is the best that can be said without knowing anything of a patient. Intervals resample
patients, and draw one of the repeats each time.
The segmentation net is measured by ``training.evaluate_segmentation``; both write into one card.
What the shipped weights do on new patients is measured by ``training.evaluate_naming``.
"""

from __future__ import annotations

from dataclasses import asdict

from bmcore.domain import PRIMARIES
from bmcore.models.autoencoder import AutoencoderTraining
from bmcore.models.mlr import MLRConfig
from training.data.enough import check_enough
from training.data.held_out import load_held_out
from training.evaluation.answers import evaluate
from training.model_card.build import rebuild_card
from training.run.files import atomic_path, update_metrics
from training.run.options import (
    DataOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import Stopwatch


def main(data: DataOption, out: OutOption, seed: SeedOption = 0) -> None:
    """Evaluate; writes OUT/metrics.json, OUT/model_card.md and .json, OUT/held_out.csv."""
    import pandas as pd

    from bmcore.models.bundle_writer import set_metrics
    from bmcore.models.bundles import load_bundle

    watch = Stopwatch()
    held_out = load_held_out(out)
    check_enough(held_out.labels, held_out.persons)
    bundle = load_bundle(out)
    entry = bundle.entry("autoencoder")
    how = AutoencoderTraining(
        **{k: entry["training"][k] for k in AutoencoderTraining.__dataclass_fields__}
    )
    balanced = bundle.entry("fused_mlr")["training"]["balanced"]
    config = MLRConfig(balanced=balanced, seed=seed)
    result, answers = evaluate(held_out, entry["config"]["code"], how, config)
    result["seconds"] = round(watch.seconds, 1)
    result["data"] = data.name
    table = {"case_id": held_out.case_ids, "primary": [str(PRIMARIES[i]) for i in held_out.labels]}
    for kind, p in answers.items():
        table |= {f"{kind}_{q}": p[:, i] for i, q in enumerate(PRIMARIES)}
    with atomic_path(out / "held_out.csv") as beside:
        pd.DataFrame(table).to_csv(beside, index=False, float_format="%.5f")
    for kind in ("clinical", "image", "fused"):
        numbers = result["answers"][kind]
        keep = ("accuracy", "balanced_accuracy", "macro_auc", "log_loss")
        set_metrics(out, f"{kind}_mlr", {k: asdict(numbers[k]) for k in keep})
    update_metrics(out, "evaluate", result)
    rebuild_card(out)


if __name__ == "__main__":
    run_app(main)
