"""What the data of a report answer in the checklists; each answer is a state and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.analysis.readings import UNKNOWN, reading_arrays
from bmcore.analysis.tables import ARM_NAMES, count
from bmcore.report.chapters import participants

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier


Answer = tuple[str, str]  # state and text


def filled(text: str) -> Answer:
    """This report or its data answer the item."""
    return ("filled", text)


def partly(text: str) -> Answer:
    """Something is left to the authors."""
    return ("partly", text)


def left_open(text: str) -> Answer:
    """Nothing here can answer the item."""
    return ("open", text)


AUTHORS = left_open("For the authors.")


def objectives(d: Dossier) -> Answer:
    """Aims and hypotheses."""
    if d.record is None:
        return AUTHORS
    plan = d.record.study
    return partly(
        f"{plan.title}. Primary endpoint: {plan.primary_endpoint.name}. Hypotheses: for the "
        "authors."
    )


def design(d: Dossier) -> Answer:
    """Prospective or retrospective."""
    if d.record is None:
        return left_open("Free votes, no plan. For the authors.")
    first = d.record.versions[0]
    return partly(
        f"Reader study locked before reading, {first.created_at:%d %b %Y}, "
        f"{d.record.study.design.kind}; whether the images were gathered before or after: "
        "for the authors."
    )


def preparation(d: Dossier) -> Answer:
    """Preparation of the data."""
    return filled(
        "Sequences on one grid, resampled to 1 mm, standardised inside the brain; docs/methods.md."
    )


def missing(d: Dossier) -> Answer:
    """Missing data."""
    facts = list(d.data.cases.values())
    ages = sum(f.age_years is None for f in facts)
    return (
        "filled" if facts else "partly",
        f"Missing values are flagged, never taken for 0. Age not known in {ages} of {len(facts)} "
        "cases. Missing answers of readers: cases that all readers read count for comparisons.",
    )


def outcome(d: Dossier) -> Answer:
    """The outcome, which is the reference."""
    known = d.counts["cases_with_reference"]
    return partly(
        f"The primary tumour, known in {known} of {len(d.cases)} cases; how it was established: "
        "for the authors."
    )


def variability(d: Dossier) -> Answer:
    """Agreement between and within annotators."""
    if d.results is None:
        return left_open("After the last reading of the study.")
    tables = {t.key for t in d.results.section("agreement").tables}
    if "pairs" not in tables:
        return left_open("Needs two readers, and repeats for agreement within a reader.")
    if "repeats" not in tables:
        return partly("Agreement between readers; within readers it needs hidden repeats.")
    return filled("Agreement between readers, and within readers from hidden repeats.")


def partitions(d: Dossier) -> Answer:
    """How the data were split and used."""
    if d.record is None:
        return partly(
            "Folds by patient in training; docs/methods.md. For these cases: for the authors."
        )
    return filled(
        f"{len(d.record.study.training_cases)} training cases are named in the plan and none "
        "of them is read; folds by patient in training."
    )


def size(d: Dossier) -> Answer:
    """Number of cases and readers."""
    plan = d.record.study if d.record else None
    text = (
        f"{len(plan.cases)} cases, {len(plan.readers)} readers planned"
        if plan
        else f"{len(d.cases)} cases"
    )
    return partly(f"{text}; the reason for the number: for the authors.")


def model(d: Dossier) -> Answer:
    """Description of the models."""
    if d.bundle is None:
        return left_open("No models were at hand.")
    return filled(
        f"{d.bundle.badge}; digest {d.bundle.digest[:16]}; nets and regression in docs/methods.md "
        "and the model card."
    )


def software(d: Dossier) -> Answer:
    """Packages and their versions."""
    named = ", ".join(f"{k} {v}" for k, v in list(d.versions.items())[:6])
    return filled(f"{named} and others; see Versions and hashes.")


def training(d: Dossier) -> Answer:
    """How the models were trained and chosen."""
    if d.bundle is None:
        return left_open("No models were at hand.")
    return filled(
        "Training settings, seeds and times are in the manifest of the models, shown on "
        "the Models page."
    )


def performance(d: Dossier) -> Answer:
    """Performance, with its uncertainty."""
    if d.results is None:
        return left_open("After the last reading of the study.")
    known = d.counts["cases_with_reference"]
    if not known:
        return left_open("No case has a known primary.")
    return filled(
        f"Readers and models on {known} cases with a known primary, each number with its interval."
    )


def failures(d: Dossier) -> Answer:
    """Failure analysis."""
    if d.running is not None:
        return left_open("After the last reading of the study.")
    if not d.counts["cases_with_reference"]:
        return left_open("No case has a known primary.")
    drawn = sum(bool(f.panels) for f in d.failures)
    return filled(f"{count(len(d.failures), 'case')} that went wrong, {drawn} with pictures.")


def flow(d: Dossier) -> Answer:
    """Numbers included and excluded."""
    return partly(
        f"Flow of cases: {len(participants.steps(d))} steps from the first to the counted ones; "
        "eligibility before that: for the authors."
    )


def patients(d: Dossier) -> Answer:
    """Characteristics of patients and readers."""
    rows = participants.patients(d.data)
    if not rows:
        return left_open("No case was read yet.")
    gaps = sum(UNKNOWN in text or UNKNOWN in name for name, text in rows)
    return (
        "partly" if gaps else "filled",
        "Table of patients and readers."
        + (f" {count(gaps, 'row')} with unknown values." if gaps else ""),
    )


def subgroups(d: Dossier) -> Answer:
    """Fairness: performance in subgroups."""
    if d.results is None:
        return left_open("After the last reading of the study.")
    return partly(d.results.section("subgroups").sentence)


def protocol(d: Dossier) -> Answer:
    """The full protocol."""
    if d.record is None:
        return left_open("Free votes have no protocol.")
    newest = d.record.versions[-1]
    return filled(
        f"Plan version {newest.version}, hash {newest.digest[:16]}, with all amendments listed."
    )


def numbers(d: Dossier) -> Answer:
    """Numbers in each analysis."""
    arrays = reading_arrays(d.data)
    if d.running is not None:
        return left_open("After the last reading of the study.")
    each = [
        f"{int((arrays.answers[i] >= 0).any(axis=0).sum())} {ARM_NAMES[arm].lower()}"
        for i, arm in enumerate(arrays.arms)
    ]
    return filled(f"Cases read: {', '.join(each)}; n stands at every number.")


def blinding(d: Dossier) -> Answer:
    """Who was blinded to what."""
    if d.record is None:
        return partly(
            "Readers see no models' answer before their own vote. Blinding to the primary: for "
            "the authors."
        )
    return partly(
        "Models' answers are not sent before the unaided reading is locked. Blinding to the "
        "primary: for the authors."
    )


UNCERTAINTY = filled(
    "95 % intervals with method and n at every number; tests named below each table."
)
METRICS = filled(
    "Right answers, sensitivity, specificity, AUC, agreement, reliance; see How the "
    "numbers were made."
)
EXPLAIN = partly(
    "Shares of the regression (SHAP) and heat maps; effect of the reasons where the "
    "study asks for it."
)
IDENTITY = partly(
    "Cases go by pseudonyms here. How the images were de-identified: for the authors."
)
CODE = partly(
    "Code under the licence of the repository; models with their digest above. Data: "
    "for the authors."
)
CLASSES = filled(
    "Uneven classes: class shares are kept in the folds; sensitivity and specificity "
    "per primary. Probabilities are calibrated by temperature."
)
