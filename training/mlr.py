"""Fit the three regressions that are shipped: ``python -m training.mlr --data DIR --out DIR``.

OUT is the folder of ``training.cnn`` and ``training.autoencoder``. Clinical only, image code only,
and both together. How good they are is measured by ``training.evaluate``, not here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from bmcore.models.clinical import FEATURE_KEYS
from bmcore.models.mlr import MLR, MLRConfig
from training.cnn import load_held_out
from training.common import (
    DataOption,
    OutOption,
    SeedOption,
    Stopwatch,
    run_app,
    tensors_hash,
    update_metrics,
)

ANSWERS = ("clinical", "image", "fused")


def code_names(size: int) -> tuple[str, ...]:
    return tuple(f"code_{i + 1}" for i in range(size))


def inputs(clinical: npt.NDArray, code: npt.NDArray) -> dict[str, npt.NDArray[np.float64]]:
    """The matrix (n, m) of each answer, from clinical vectors (n, 12) and codes (n, d)."""
    code = np.asarray(code, dtype=np.float64)
    return {"clinical": clinical, "image": code, "fused": np.hstack([clinical, code])}


def names(size: int) -> dict[str, tuple[str, ...]]:
    """The column names of each answer's matrix."""
    code = code_names(size)
    return {"clinical": FEATURE_KEYS, "image": code, "fused": FEATURE_KEYS + code}


def main(
    data: DataOption,
    out: OutOption,
    balanced: Annotated[
        bool, typer.Option(help="Weigh all primaries alike; probabilities shift with it.")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Fit the regressions; writes OUT/{clinical,image,fused}_mlr.safetensors and metrics.json."""
    from bmcore.models.bundles import load_bundle, write_part

    watch = Stopwatch()
    held_out = load_held_out(out)
    code = load_bundle(out).autoencoder.encode(held_out.one_each)
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
            "missing": "mean of the training patients, and a flag",
            "calibration": "temperature, on held-out logits of the inner cross-validation",
            "tensors_sha256": tensors_hash(model.tensors()),
        }
        write_part(out, f"{answer}_mlr", model.tensors(), {"features": list(features)}, training)
        summary[answer] = training
    update_metrics(out, "mlr", {**summary, "seconds": round(watch.seconds, 1)})


if __name__ == "__main__":
    run_app(main)
