"""Learn the regressions again from resampled patients.

python -m training.bootstrap_refits --data DIR --out DIR

OUT is the folder that ``training.mlr`` was run on. What is kept tells how far an answer would move
had other patients been there to learn from; the screens draw it as the interval of each bar.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from bmcore.models import bootstrap_refits
from bmcore.models.mlr import MLR, MLRConfig
from training.data.held_out import load_held_out
from training.data.regression_inputs import inputs
from training.run.files import tensors_hash, update_metrics
from training.run.options import (
    DataOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import Stopwatch, progress


def _inside(refits: bootstrap_refits.Refits, shipped: MLR, x: np.ndarray) -> dict[str, float]:
    """Where the shipped answers of the training patients lie, and how wide the intervals are."""
    answers = shipped.predict_proba(x)
    ends = [refits.interval(row) for row in x]
    low, high = (np.array([end[side] for end in ends]) for side in (0, 1))
    rows, top = np.arange(len(x)), answers.argmax(axis=1)
    return {
        "shipped answer inside its interval": float(((answers >= low) & (answers <= high)).mean()),
        "mean width for the highest primary": float((high - low)[rows, top].mean()),
    }


def main(
    data: DataOption,
    out: OutOption,
    refits: Annotated[int, typer.Option(min=2, help="Regressions a kind of answer.")] = (
        bootstrap_refits.REFITS
    ),
    seed: SeedOption = 0,
) -> None:
    """Refit the three regressions; writes OUT/spread.safetensors and OUT/metrics.json."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.manifest import belongs_to
    from bmcore.models.optional_parts import pack_refits

    watch = Stopwatch()
    held_out, bundle = load_held_out(out), load_bundle(out)
    code = bundle.autoencoder.encode(held_out.features)
    found: dict[str, bootstrap_refits.Refits] = {}
    metrics: dict[str, Any] = {}
    with progress() as bars:
        task = bars.add_task("refit", total=3)
        for kind, x in inputs(held_out.clinical, code).items():
            shipped: MLR = getattr(bundle, f"{kind}_mlr")
            how = bundle.entry(f"{kind}_mlr")["training"]
            shipped.config = MLRConfig(balanced=bool(how.get("balanced", False)))
            found[kind] = bootstrap_refits.fit(
                shipped, x, held_out.labels, held_out.persons, refits, seed
            )
            metrics[kind] = _inside(found[kind], shipped, np.asarray(x, np.float64))
            bars.advance(task)
    tensors = pack_refits(found)
    training = {
        "data": data.name,
        "seed": seed,
        "refits": refits,
        "resampled": f"{np.unique(held_out.persons).size} patients with replacement",
        "kept": "penalty and temperature of the shipped regressions; nets and code",
        "seconds": round(watch.seconds, 1),
        "tensors_sha256": tensors_hash(tensors),
    }
    config = {"level": bootstrap_refits.LEVEL, "belongs_to": belongs_to(bundle.manifest)}
    write_part(out, "spread", tensors, config, training, metrics)
    update_metrics(out, "spread", {**metrics, "training": training})


if __name__ == "__main__":
    run_app(main)
