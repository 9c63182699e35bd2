"""Measure the finished models on new synthetic patients: ``python -m training.evaluate_naming``.

python -m training.evaluate_naming --bundle models/demo --out runs/naming-test --n 1000
python -m training.evaluate_naming --bundle models/demo --out runs/naming-trial --n 5 --seed 33
python -m training.evaluate_naming --bundle models/demo --out runs/naming-test --part 0/2

The patients of ``TEST_SEED`` are new: no training command draws them, and nothing is chosen on
them. They are to be named once by one set of models; a second set is refused in the same folder.
Each is drawn (4 s) and segmented by the bundle's own net (5 to 30 s by processor); what the CNN and
the measurements read with that mask and with the reference mask is kept as one small JSON file,
written at once or not at all: a killed run goes on, and several processes may read a part each.
``models/naming_test.jsonl.gz`` holds what the shipped nets have read, for ``--kept``.
Whoever finds all patients there lets the models name the primaries and sums up. The summary holds
every number with interval and n, the loss against the reference masks, paired, and the targets set
before, met or not.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, ClinicalRecord, Primary, refuse
from bmcore.phantom.seeds import member_seed
from training.naming_dataset import TEST_SEED
from training.run.files import write_json
from training.run.options import OutOption, run_app
from training.run.read_once import only_by, pack, part_of, read_each, unpack

if TYPE_CHECKING:
    from bmcore.domain import Answer, Case, Prepared
    from bmcore.models.bundles import Bundle
    from bmcore.stats.estimate import Estimate

MASKS = ("net", "reference")
KINDS = ("clinical", "image", "fused")
READ_BY = "read_by.json"  # the nets whose features are kept
NAMED_BY = "named_by.json"  # the models whose answers are in the summary
SUMMARY = "naming_test.json"
ROWS = "naming_test.jsonl.gz"


def read_patient(seed: int, bundle: Bundle) -> dict[str, Any]:
    """What the nets read of one new patient, with the net's mask and with the reference."""
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.pipeline import find_tumour
    from bmcore.phantom.cohort import draw_case

    drawn = draw_case(seed)
    case = drawn.as_case(f"synthetic-{seed}")
    prepared = prepare(case)
    reference = to_working_grid(case.truth.mask, prepared)  # type: ignore[union-attr, arg-type]
    labels = {
        "net": find_tumour(bundle, prepared)[0],
        "reference": np.where(prepared.brain, reference, 0).astype(np.uint8),
    }
    return {
        "seed": seed,
        "primary": str(drawn.primary),
        "record": asdict(case.clinical),
        "masks": {mask: _read(case, prepared, labels[mask], bundle) for mask in MASKS},
    }


def _read(
    case: Case, prepared: Prepared, labels: npt.NDArray[np.uint8], bundle: Bundle
) -> dict[str, Any]:
    """Number of lesions and what the nets read (members, f); None where no lesion was found."""
    from bmcore.inference.lesion_reading import member_features
    from bmcore.inference.pipeline import measure_marked

    lesions, marked = measure_marked(labels, prepared)
    if not lesions:
        return {"lesions": 0, "features": None}
    _, features = member_features(bundle, case, prepared, marked, lesions)
    return {"lesions": len(lesions), "features": features}


def named(row: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """A patient's row with what the models say by each mask: ``answers`` and ``sets`` by kind."""
    from bmcore.inference.lesion_reading import code_of, complete
    from bmcore.inference.pipeline import answers

    record = ClinicalRecord(**row["record"])
    said = {}
    for mask, read in row["masks"].items():
        code = None
        if read["features"] is not None:  # null in JSON: not measurable
            plain = np.array(read["features"], dtype=np.float64).astype(np.float32)
            code = code_of(complete(plain, bundle), bundle)
        three = answers(record, code, bundle)
        said[mask] = {
            "lesions": read["lesions"],
            "answers": {a.kind: _probabilities(three, a) for a in three},
            "sets": {
                a.kind: None if a.prediction_set is None else [str(p) for p in a.prediction_set]
                for a in three
            },
        }
    return {"seed": row["seed"], "primary": row["primary"], "masks": said}


def _probabilities(three: tuple[Answer, ...], answer: Answer) -> list[float]:
    """The six probabilities; where no lesion was found those of the record, which is what stays."""
    given = answer.probabilities or three[0].probabilities
    assert given is not None  # the record always has an answer
    return [float(p) for p in given]


def summarise(rows: list[dict[str, Any]], bundle: Bundle) -> dict[str, Any]:
    """Every number of the test, and the targets."""
    from bmcore.inference.uncertainty import MAX_SET
    from bmcore.stats.prediction_sets import coverage_and_size
    from training.evaluation.answers import differences, measure, verdict

    names = [str(p) for p in PRIMARIES]
    truth = np.array([names.index(row["primary"]) for row in rows])
    learnt = bundle.shares
    if learnt is None:
        raise refuse("the models do not say on how many patients they learnt", file=bundle.folder)
    p = {
        mask: {k: np.array([row["masks"][mask]["answers"][k] for row in rows])[None] for k in KINDS}
        for mask in MASKS
    }
    result: dict[str, Any] = {
        "patients": len(rows),
        "primaries": {name: int((truth == i).sum()) for i, name in enumerate(names)},
        "no_lesion_found": sum(row["masks"]["net"]["lesions"] == 0 for row in rows),
        "answers": {mask: {k: measure(truth, p[mask][k], learnt) for k in KINDS} for mask in MASKS},
        "loss_of_the_net_mask": {
            k: differences(truth, p["reference"][k], p["net"][k]) for k in KINDS[1:]
        },
        "fused_minus_clinical": differences(truth, p["net"]["fused"], p["net"]["clinical"]),
        "sets": {},
    }
    result["verdict"] = verdict(result["fused_minus_clinical"], "fused", "clinical")
    for kind in KINDS:
        sets = [row["masks"]["net"]["sets"][kind] for row in rows]
        with_set = np.array([s is not None for s in sets])
        inside = np.array([[name in (s or ()) for name in names] for s in sets])
        if with_set.any():
            result["sets"][kind] = coverage_and_size(
                inside[with_set], truth[with_set], names, MAX_SET
            )
    result["targets"] = targets(result)
    return result


def targets(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets that were set before the test, each with what was found."""
    net = result["answers"]["net"]
    fused, image = net["fused"], net["image"]
    each = fused["balanced_decision"]["sensitivity"].values()
    rows: list[tuple[str, Any, bool]] = []

    def least(words: str, found: Estimate, limit: float) -> None:
        rows.append((f"{words} at least {limit:.2f}", found, found.value >= limit))

    least("image only, macro AUC", image["macro_auc"], 0.72)
    least("fused, macro AUC", fused["macro_auc"], 0.82)
    above = result["fused_minus_clinical"]["macro_auc"]
    rows.append(("fused above clinical only, paired interval above 0", above, above.low > 0))
    for kind, lost in result["loss_of_the_net_mask"].items():
        gap = lost["macro_auc"]
        rows.append((f"{kind}: macro AUC lost by the net's mask at most 0.02", gap,
                     gap.value <= 0.02))  # fmt: skip
    least("balanced decision, balanced accuracy", fused["balanced_decision_balanced_accuracy"],
          0.48)  # fmt: skip
    lowest = min(each, key=lambda e: e.value if e.defined else 0.0)
    least("balanced decision, sensitivity of each primary", lowest, 0.20)
    least("likeliest, balanced accuracy", fused["balanced_accuracy"], 0.38)
    least("true primary among the first two", fused["top_2"], 0.78)
    for name, found in result["sets"].get("fused", {}).get("coverage_per_primary", {}).items():
        met = 0.85 <= found.value <= 0.95
        words = PRIMARY_NAMES[Primary(name)]
        rows.append((f"coverage of 90 % sets, {words}, .85 to .95", found, met))
    error = fused["calibration_error"]
    rows.append(("calibration error at most 0.04", error, error.value <= 0.04))
    return [{"goal": words, "found": found, "met": bool(met)} for words, found, met in rows]


def main(
    out: OutOption,
    bundle: Annotated[Path, typer.Option(help="The finished models.")],
    n: Annotated[int, typer.Option("--n", min=5, help="Patients.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = TEST_SEED,
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
    kept: Annotated[
        Path | None,
        typer.Option(help="Rows that the same nets read before, models/naming_test.jsonl.gz."),
    ] = None,
) -> None:
    """Read new synthetic patients once with BUNDLE; writes OUT/naming_test.json and its rows."""
    from bmcore.models.bundles import load_bundle

    models = load_bundle(bundle)
    nets = {part: models.entry(part)["sha256"] for part in ("segmenter", "cnn")}
    mark = {"nets": nets, "seed": seed}
    only_by(out / READ_BY, mark)
    if kept is not None:
        typer.echo(f"{unpack(kept, out, mark)} patients were read before")
    rows = read_each(
        out, n, part_of(part), lambda index: read_patient(member_seed(seed, index), models)
    )
    if rows is None:
        return
    pack(out, out / ROWS, mark)
    only_by(out / NAMED_BY, {"digest": models.info.digest})
    result = summarise([named(row, models) for row in rows], models)
    write_json(out / SUMMARY, result)
    for row in result["targets"]:
        met = "met" if row["met"] else "missed"
        typer.echo(f"{met}: {row['goal']}: {row['found'].text(3)}")


if __name__ == "__main__":
    run_app(main)
