"""What naming the primary learns from: each patient with the reference mask, and with the mask of
the net that has not seen the patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore.domain import PRIMARIES
from bmcore.workers import in_processes
from training.data.case_inference import open_data
from training.data.cohort import (
    NET,
    Patient,
    patient_of,
    patient_with,
    save_patient,
    write_index,
)
from training.data.split import Split
from training.pipeline.order import Run
from training.run.files import read_json, update_metrics, write_json
from training.run.processes import progress, threads_each

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from bmcore.domain import Case

MASKS = ("reference", "net")


def prepare_patients(run: Run) -> None:
    """Write the cohort that naming learns from; a patient is one file, written at once or not at
    all."""
    place = run.learnt / "patients"
    place.mkdir(parents=True, exist_ok=True)
    named = [c.case_id for c in run.audit.named]
    jobs = [(run, case_id, place) for case_id in named]
    with progress() as bars:
        task = bars.add_task("patients for naming", total=len(jobs))
        for _ in in_processes(_keep, jobs, run.order.workers):
            bars.advance(task)
    cases, left_out = [], {}
    for mask in MASKS:
        for case_id in named:
            own = case_id + (NET if mask == "net" else "")
            reason = place / f"{own}.left_out.json"
            if reason.exists():
                left_out[own] = read_json(reason)["reason"]
            else:
                cases.append(own)
    persons = {c: run.split.persons[c] for c in named}
    folds = _close_up({p: run.split.folds[p] for p in persons.values()})
    write_index(place, cases, left_out, Split(persons, folds))


def _close_up(folds: dict[str, int]) -> dict[str, int]:
    """The same folds, numbered without gaps where one holds nobody who is named."""
    numbers = {k: n for n, k in enumerate(sorted(set(folds.values())))}
    return {person: numbers[k] for person, k in folds.items()}


def _keep(run: Run, case_id: str, place: Path) -> None:
    case: Case | None = None
    for mask in MASKS:
        own = case_id + (NET if mask == "net" else "")
        file, reason_file = place / f"{own}.npz", place / f"{own}.left_out.json"
        if file.exists() or reason_file.exists():
            continue
        case = case or open_data(run.cases).load(case_id)
        patient, reason = patient_of(case) if mask == "reference" else _predicted(run, case)
        if patient is None:
            write_json(reason_file, {"reason": reason})
        else:
            save_patient(file, patient)


def _predicted(run: Run, case: Case) -> tuple[Patient | None, str]:
    """The patient with the lesions that the net without the patient's fold finds, as in use."""
    from bmcore.inference.pipeline import segment_case
    from bmcore.models import runtime
    from bmcore.models.bundles import load_bundle

    bundle = load_bundle(run.net("chosen", run.split.fold(case.case_id)))
    threads = threads_each(run.order.workers)
    found = segment_case(case, bundle, runtime.choose(run.order.device, threads=threads))
    patient = patient_with(case, found.prepared, found.labels, case.case_id + NET)
    return patient, "" if patient is not None else "the net finds no lesion"


def _cross_validated(learnt: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The cross-validated answers by case id, of both masks, and the person of each case id."""
    import pandas as pd

    from training.data.held_out import load_held_out

    held_out = load_held_out(learnt)
    table = pd.read_csv(learnt / "held_out.csv", dtype={"case_id": str}).set_index("case_id")
    return table, dict(zip(held_out.case_ids.tolist(), held_out.persons.tolist(), strict=True))


def answers_on_predicted_masks(
    learnt: Path,
) -> tuple[pd.DataFrame, npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """The cross-validated answers on the masks of the nets: a table by case id (with ``NET``), the
    true primaries (n,) as places in PRIMARIES and the persons (n,)."""
    table, person = _cross_validated(learnt)
    table = table[table.index.str.endswith(NET)]
    names = [str(p) for p in PRIMARIES]
    truth = np.array([names.index(p) for p in table["primary"]], np.int64)
    return table, truth, np.array([person[i] for i in table.index])


def on_predicted_masks(learnt: Path) -> dict[str, Any]:
    """The answers on the masks of the nets that have not seen the patient, beside those on the
    reference masks of the same patients; written into metrics.json.

    Intervals and differences are paired by person.
    """
    from bmcore.stats import classification as c
    from bmcore.stats.bootstrap import paired_difference

    table, person = _cross_validated(learnt)
    both = [i for i in table.index if i + NET in table.index]
    result: dict[str, Any] = {"patients": len({person[i] for i in both}), "answers": {}}
    if len({table.loc[i, "primary"] for i in both}) < 2:
        result["note"] = "too few patients in whom the net finds a lesion to compare"
        update_metrics(learnt, "predicted_masks", result)
        return result
    truth = np.array([[str(p) for p in PRIMARIES].index(table.loc[i, "primary"]) for i in both])
    whose = np.array([person[i] for i in both])
    for kind in ("clinical", "image", "fused"):
        columns = [f"{kind}_{p}" for p in PRIMARIES]
        reference = table.loc[both, columns].to_numpy(float)
        predicted = table.loc[[i + NET for i in both], columns].to_numpy(float)
        lost = paired_difference(
            c.auc_statistic(truth, reference), c.auc_statistic(truth, predicted), whose
        )
        result["answers"][kind] = {
            "reference_macro_auc": c.auc(truth, reference).macro,
            "predicted_macro_auc": c.auc(truth, predicted).macro,
            "lost_macro_auc": lost,
            "predicted_log_loss": c.log_loss(truth, predicted),
        }
    update_metrics(learnt, "predicted_masks", result)
    return result
