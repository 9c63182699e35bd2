"""Does the naming that was learnt from the own patients beat that of the start bundle on them?

Naming is learnt anew, and few patients teach it little; the start bundle has as a rule seen none of
them. So both answer for the same patients, on the lesions of the segmentation nets that have not
seen them, the new one by regressions that have not either. Nothing is chosen here: whoever uses the
bundle is told, at the end of the run and in its card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES
from bmcore.models.bundles import Bundle, load_bundle
from bmcore.models.manifest import NAMING, OPTIONAL, TREES
from bmcore.stats.bootstrap import paired_difference
from bmcore.stats.verdict import BETTER, WORSE, of_differences
from training.data.cohort import Patient, load_patient
from training.pipeline.naming import answers_on_predicted_masks
from training.pipeline.order import Run
from training.run.files import update_metrics, write_json
from training.run.processes import progress

FILE = "start_naming.json"
KINDS = ("clinical", "image", "fused")
WORDS = {BETTER: "better than", WORSE: "worse than"}


def write(run: Run) -> None:
    """Compare, and keep it in ``FILE`` and in metrics.json."""
    result = compare(run)
    write_json(run.learnt / FILE, result)
    update_metrics(run.learnt, "start_naming", result)


def compare(run: Run) -> dict[str, Any]:
    """Both namings on the same patients, paired by person; ``why`` says it in a sentence."""
    assert run.order.start is not None
    start = load_bundle(run.order.start)
    own, truth, whose = answers_on_predicted_masks(run.learnt)
    result: dict[str, Any] = {"start": start.info.name, "patients": len(set(whose)), "answers": {}}
    missing = [part for part in NAMING if part not in (TREES, *OPTIONAL) and not start.has(part)]
    if missing:
        result["why"] = f"the start bundle names no primary: it has no {', '.join(missing)}"
    elif start.autoencoder.config.feature_set == 1:
        result["why"] = "the start bundle reads other image features, so it is not compared"
    elif len(set(truth.tolist())) < 2:
        result["why"] = "too few patients in whom the net finds a lesion to compare"
    else:
        theirs = _answers_of(start, run.learnt / "patients", list(own.index))
        result["answers"] = {
            kind: _beside(
                own[[f"{kind}_{p}" for p in PRIMARIES]].to_numpy(float), theirs[kind], truth, whose
            )
            for kind in KINDS
        }
        result["why"] = "; ".join(_words(kind, row) for kind, row in result["answers"].items())
    return result


def start_answers(bundle: Bundle, patient: Patient) -> dict[str, npt.NDArray[np.float64]]:
    """kind -> six probabilities of a bundle for a patient who was prepared for training."""
    from bmcore.inference.lesion_reading import code_of, complete
    from bmcore.inference.pipeline import answers
    from bmcore.models.cnn import member_logits
    from bmcore.models.image_features import features_of

    logits = member_logits(bundle.cnn, patient.patches.astype(np.float32))
    features = complete(features_of(logits, patient.measured), bundle)
    three = answers(patient.record, code_of(features, bundle), bundle)
    return {a.kind: np.array(a.probabilities) for a in three}


def _answers_of(
    bundle: Bundle, patients: Path, case_ids: list[str]
) -> dict[str, npt.NDArray[np.float64]]:
    rows = []
    with progress() as bars:
        task = bars.add_task("the start bundle names the same patients", total=len(case_ids))
        for case_id in case_ids:
            rows.append(start_answers(bundle, load_patient(patients / f"{case_id}.npz")))
            bars.advance(task)
    return {kind: np.array([row[kind] for row in rows]) for kind in KINDS}


def _beside(
    own: npt.NDArray, start: npt.NDArray, truth: npt.NDArray, whose: npt.NDArray
) -> dict[str, Any]:
    """Both macro AUCs; differences (own less start) of macro AUC and log loss; the verdict."""
    from bmcore.stats import classification as c

    differences = {
        name: paired_difference(of(truth, own), of(truth, start), whose)
        for name, of in (("macro_auc", c.auc_statistic), ("log_loss", c.log_loss_statistic))
    }
    return {
        "own_macro_auc": c.auc(truth, own).macro,
        "start_macro_auc": c.auc(truth, start).macro,
        **differences,
        "verdict": WORDS.get(of_differences(differences) or "", "not shown to differ from"),
    }


def _words(kind: str, row: dict[str, Any]) -> str:
    return (
        f"{kind} answer {row['verdict']} the start bundle's: macro AUC "
        f"{row['own_macro_auc'].value:.2f} and {row['start_macro_auc'].value:.2f}, "
        f"difference {row['macro_auc'].text()}"
    )
