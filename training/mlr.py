"""Fit the three regressions that are shipped: ``python -m training.mlr --data DIR --out DIR``.

OUT is the folder of ``training.cnn`` and ``training.autoencoder``. Clinical only, image code only,
and both together. How good they are is measured by ``training.evaluate``, not here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from bmcore.models.mlr import MLR, MLRConfig
from training.data.enough import check_enough
from training.data.held_out import load_held_out
from training.data.regression_inputs import inputs, names
from training.run.files import tensors_hash, update_metrics
from training.run.options import (
    DataOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import Stopwatch


def main(
    data: DataOption,
    out: OutOption,
    balanced: Annotated[
        bool, typer.Option(help="Weigh all primaries alike; probabilities shift with it.")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Fit the regressions; writes OUT/{clinical,image,fused}_mlr.safetensors and metrics.json."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle

    watch = Stopwatch()
    held_out = load_held_out(out)
    check_enough(held_out.labels, held_out.persons)
    code = load_bundle(out).autoencoder.encode(held_out.features)
    config = MLRConfig(balanced=balanced, seed=seed)
    summary = {}
    for answer, x in inputs(held_out.clinical, code).items():
        features = names(code.shape[1])[answer]
        model = MLR(features, config).fit(x, held_out.labels, held_out.persons)
        training = {
            **asdict(config),
            "data": str(data.name),
            "c_chosen": model.c_,
            "temperature": model.temperature_,
            "patients": model.n_,
            "regularisation": "L2, its strength chosen by inner cross-validation",
            "standardisation": "mean and standard deviation of the training patients",
            "missing": "mean of the training patients",
            "calibration": "temperature, on held-out logits of the inner cross-validation",
            "tensors_sha256": tensors_hash(model.tensors()),
        }
        write_part(out, f"{answer}_mlr", model.tensors(), {"features": list(features)}, training)
        summary[answer] = training
    update_metrics(out, "mlr", {**summary, "seconds": round(watch.seconds, 1)})


if __name__ == "__main__":
    run_app(main)
