"""The two reporting checklists, filled in from the dossier where its data allow.

CLAIM 2024 update: Tejani et al., Radiol Artif Intell 2024;6(4):e240300 (44 items). TRIPOD+AI:
Collins et al., BMJ 2024;385:e078378 (27 items, some with parts). Topics are named in our own words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmcore.analysis.readings import UNKNOWN, reading_arrays
from bmcore.analysis.tables import ARM_NAMES, count
from bmcore.report.chapters import participants

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier

CLAIM_SOURCE = "Tejani et al., Radiol Artif Intell 2024;6(4):e240300."
TRIPOD_SOURCE = "Collins et al., BMJ 2024;385:e078378."
STATES = ("filled", "partly", "open")


@dataclass(frozen=True)
class Item:
    """One item. state: one of STATES; text: the answer, or what the authors have to add."""

    number: str
    topic: str
    state: str
    text: str

    def __post_init__(self) -> None:
        if self.state not in STATES or not self.text:
            raise ValueError(f"item {self.number} must be one of {', '.join(STATES)}, with a text")


Answer = tuple[str, str]  # state and text
Fill = Answer | Callable[["Dossier"], Answer]
_AUTHORS = ("open", "For the authors.")


def claim(d: Dossier) -> tuple[Item, ...]:
    """The 44 items of CLAIM, in order."""
    return tuple(_item(str(n), topic, fill, d) for n, (topic, fill) in enumerate(_CLAIM, start=1))


def tripod(d: Dossier) -> tuple[Item, ...]:
    """The items of TRIPOD+AI, parts apart, in order."""
    return tuple(_item(number, topic, fill, d) for number, topic, fill in _TRIPOD)


def _item(number: str, topic: str, fill: Fill, d: Dossier) -> Item:
    state, text = fill(d) if callable(fill) else fill
    return Item(number, topic, state, text)


def _objectives(d: Dossier) -> Answer:
    if d.record is None:
        return _AUTHORS
    plan = d.record.study
    return (
        "partly",
        f"{plan.title}. Primary endpoint: {plan.primary_endpoint.measure}. Hypotheses: for the "
        "authors.",
    )


def _design(d: Dossier) -> Answer:
    if d.record is None:
        return ("open", "Free votes, no plan. For the authors.")
    first = d.record.versions[0]
    return (
        "partly",
        f"Reader study locked before reading, {first.created_at:%d %b %Y}, "
        f"{d.record.study.design.kind}; "
        "whether the images were gathered before or after: for the authors.",
    )


def _preparation(d: Dossier) -> Answer:
    return (
        "filled",
        "Sequences on one grid, resampled to 1 mm, standardised inside the brain; docs/methods.md.",
    )


def _missing(d: Dossier) -> Answer:
    facts = list(d.data.cases.values())
    ages = sum(f.age_years is None for f in facts)
    return (
        "filled" if facts else "partly",
        f"Missing values are flagged, never taken for 0. Age not known in {ages} of {len(facts)} "
        "cases. Missing answers of readers: cases that all readers read count for comparisons.",
    )


def _outcome(d: Dossier) -> Answer:
    known = d.counts["cases_with_reference"]
    return (
        "partly",
        f"The primary tumour, known in {known} of {len(d.cases)} cases; how it was established: "
        "for the authors.",
    )


def _variability(d: Dossier) -> Answer:
    if d.results is None:
        return ("open", "After the last sheet of the study.")
    tables = {t.key for t in d.results.section("agreement").tables}
    if "pairs" not in tables:
        return ("open", "Needs two readers, and repeats for agreement within a reader.")
    if "repeats" not in tables:
        return ("partly", "Agreement between readers; within readers it needs hidden repeats.")
    return ("filled", "Agreement between readers, and within readers from hidden repeats.")


def _partitions(d: Dossier) -> Answer:
    if d.record is None:
        return (
            "partly",
            "Folds by patient in training; docs/methods.md. For these cases: for the authors.",
        )
    return (
        "filled",
        f"{len(d.record.study.training_cases)} training cases are named in the plan and none of "
        "them "
        "is read; folds by patient in training.",
    )


def _size(d: Dossier) -> Answer:
    plan = d.record.study if d.record else None
    text = (
        f"{len(plan.cases)} cases, {len(plan.readers)} readers planned"
        if plan
        else f"{len(d.cases)} cases"
    )
    return ("partly", f"{text}; the reason for the number: for the authors.")


def _model(d: Dossier) -> Answer:
    if d.bundle is None:
        return ("open", "No models were at hand.")
    return (
        "filled",
        f"{d.bundle.badge}; digest {d.bundle.digest[:16]}; nets and regression in docs/methods.md "
        "and the model card.",
    )


def _software(d: Dossier) -> Answer:
    named = ", ".join(f"{k} {v}" for k, v in list(d.versions.items())[:6])
    return ("filled", f"{named} and others; see Versions and hashes.")


def _training(d: Dossier) -> Answer:
    if d.bundle is None:
        return ("open", "No models were at hand.")
    return (
        "filled",
        "Training settings, seeds and times are in the manifest of the models, shown on the "
        "Models page.",
    )


def _performance(d: Dossier) -> Answer:
    if d.results is None:
        return ("open", "After the last sheet of the study.")
    known = d.counts["cases_with_reference"]
    if not known:
        return ("open", "No case has a known primary.")
    return (
        "filled",
        f"Readers and models on {known} cases with a known primary, each number with its interval.",
    )


def _failures(d: Dossier) -> Answer:
    if d.running is not None:
        return ("open", "After the last sheet of the study.")
    if not d.counts["cases_with_reference"]:
        return ("open", "No case has a known primary.")
    drawn = sum(bool(f.panels) for f in d.failures)
    return ("filled", f"{count(len(d.failures), 'case')} that went wrong, {drawn} with pictures.")


def _flow(d: Dossier) -> Answer:
    return (
        "partly",
        f"Flow of cases: {len(participants.steps(d))} steps from the first to the counted ones; "
        "eligibility before that: for the authors.",
    )


def _patients(d: Dossier) -> Answer:
    rows = participants.patients(d.data)
    if not rows:
        return ("open", "No case was read yet.")
    gaps = sum(UNKNOWN in text or UNKNOWN in name for name, text in rows)
    return (
        "partly" if gaps else "filled",
        "Table of patients and readers."
        + (f" {count(gaps, 'row')} with unknown values." if gaps else ""),
    )


def _subgroups(d: Dossier) -> Answer:
    if d.results is None:
        return ("open", "After the last sheet of the study.")
    return ("partly", d.results.section("subgroups").sentence)


def _protocol(d: Dossier) -> Answer:
    if d.record is None:
        return ("open", "Free votes have no protocol.")
    newest = d.record.versions[-1]
    return (
        "filled",
        f"Plan version {newest.version}, hash {newest.digest[:16]}, with all amendments listed.",
    )


def _numbers(d: Dossier) -> Answer:
    arrays = reading_arrays(d.data)
    if d.running is not None:
        return ("open", "After the last sheet of the study.")
    each = [
        f"{int((arrays.answers[i] >= 0).any(axis=0).sum())} {ARM_NAMES[arm].lower()}"
        for i, arm in enumerate(arrays.arms)
    ]
    return ("filled", f"Cases read: {', '.join(each)}; n stands at every number.")


def _blinding(d: Dossier) -> Answer:
    if d.record is None:
        return (
            "partly",
            "Readers see no models' answer before their own vote. Blinding to the primary: for "
            "the authors.",
        )
    return (
        "partly",
        "Models' answers are not sent before the unaided sheet is locked. Blinding to the "
        "primary: for the authors.",
    )


_UNCERTAINTY = (
    "filled",
    "95 % intervals with method and n at every number; tests named below each table.",
)
_METRICS = (
    "filled",
    "Right answers, sensitivity, specificity, AUC, agreement, reliance; see How the numbers were "
    "made.",
)
_EXPLAIN = (
    "partly",
    "Shares of the regression (SHAP) and heat maps; effect of the reasons where the study asks "
    "for it.",
)
_IDENTITY = (
    "partly",
    "Cases go by pseudonyms here. How the images were de-identified: for the authors.",
)
_CODE = (
    "partly",
    "Code under the licence of the repository; models with their digest above. Data: for the "
    "authors.",
)
_CLASSES = (
    "filled",
    "Uneven classes: class shares are kept in the folds; sensitivity and specificity per primary. "
    "Probabilities are calibrated by temperature.",
)

_CLAIM: tuple[tuple[str, Fill], ...] = (
    (
        "Title names the kind of AI",
        ("partly", "Deep learning for images and multinomial regression. Title: for the authors."),
    ),
    ("Structured summary", _AUTHORS),
    (
        "Background and intended role",
        (
            "partly",
            "Research use only: a second opinion on the likely primary. Background: for the "
            "authors.",
        ),
    ),
    ("Aims and hypotheses", _objectives),
    ("Prospective or retrospective", _design),
    ("Goal of the study", _objectives),
    ("Sources of data", _AUTHORS),
    ("Who was included and excluded", _AUTHORS),
    ("Preparation of the data", _preparation),
    (
        "Parts of the data that were used",
        ("filled", "Whole brain volumes; a 48 mm cube around each lesion for the lesion net."),
    ),
    ("De-identification", _IDENTITY),
    ("Missing data", _missing),
    (
        "How images were acquired",
        ("open", "Scanner and protocol are not stored with a case. For the authors."),
    ),
    ("Definition of the reference", _outcome),
    ("Why this reference", _AUTHORS),
    ("Who made the reference", _AUTHORS),
    ("Annotation of the test cases", _AUTHORS),
    ("Agreement between and within annotators", _variability),
    ("How data were split", _partitions),
    ("Level of the split", ("filled", "By patient.")),
    ("Intended number of test cases", _size),
    ("Description of the models", _model),
    ("Software", _software),
    ("Start values of the models", _training),
    ("Training", _training),
    ("Choice of the final model", _training),
    (
        "Combination of models",
        ("filled", "Clinical, image and fused answers stand side by side; no ensemble of nets."),
    ),
    ("Measures of performance", _METRICS),
    ("Uncertainty and significance", _UNCERTAINTY),
    ("Robustness", ("partly", "Subgroups below; further analyses on the Models page.")),
    ("Explanations", _EXPLAIN),
    ("Internal evaluation", _training),
    (
        "External evaluation",
        ("open", "Whether these cases are external to the training: for the authors."),
    ),
    ("Registration", _AUTHORS),
    ("Numbers included and excluded", _flow),
    ("Characteristics in each part", _patients),
    ("Performance with uncertainty", _performance),
    ("Diagnostic performance and its precision", _performance),
    ("Failure analysis", _failures),
    (
        "Limitations",
        ("partly", "Limits of the models on the Models page. Of the study: for the authors."),
    ),
    ("Meaning for practice", _AUTHORS),
    ("Full protocol", _protocol),
    ("Software, models and data to be had", _CODE),
    ("Funding", _AUTHORS),
)

_TRIPOD: tuple[tuple[str, str, Fill], ...] = (
    ("1", "Title", _AUTHORS),
    ("2", "Abstract", _AUTHORS),
    ("3a", "Clinical context and reasons", _AUTHORS),
    (
        "3b",
        "Whom and what it is meant for",
        (
            "partly",
            "Adults with untreated brain metastases of unknown origin; research only. Place in "
            "care: for the authors.",
        ),
    ),
    ("3c", "Known inequalities in health", _AUTHORS),
    ("4", "Objectives", _objectives),
    ("5a", "Sources of data", _AUTHORS),
    ("5b", "Dates", _AUTHORS),
    ("6a", "Setting and centres", _AUTHORS),
    ("6b", "Eligibility", _AUTHORS),
    (
        "6c",
        "Treatments",
        (
            "partly",
            "The models are not for treated metastases. Treatments of these patients: for the "
            "authors.",
        ),
    ),
    ("7", "Preparation and quality checks of data", _preparation),
    ("8a", "Outcome", _outcome),
    ("8b", "Who judged the outcome", _AUTHORS),
    ("8c", "Blinding of the judgement", _blinding),
    (
        "9a",
        "Choice of predictors",
        (
            "filled",
            "Age, sex, smoking, pack-years, metastases outside the brain; image features of the "
            "lesions.",
        ),
    ),
    (
        "9b",
        "Definition of predictors",
        (
            "filled",
            "Units and ranges in docs/methods.md; image features are named in the model card.",
        ),
    ),
    (
        "9c",
        "Who judged the predictors",
        ("filled", "Image features are computed; clinical values come with the case."),
    ),
    ("10", "Sample size", _size),
    ("11", "Missing data", _missing),
    ("12a", "Use of the data in the analysis", _partitions),
    (
        "12b",
        "Handling of predictors",
        ("filled", "Imputation with a flag and scaling, fitted inside the fold."),
    ),
    ("12c", "Kind of model and how it was built", _model),
    (
        "12d",
        "Differences between clusters",
        ("open", "Centres are not stored with a case. For the authors."),
    ),
    ("12e", "Measures of performance", _METRICS),
    ("12f", "Updating of the model", ("filled", "The models were not updated on these cases.")),
    ("12g", "How predictions were made", _model),
    ("13", "Class imbalance", _CLASSES),
    ("14", "Fairness", _subgroups),
    (
        "15",
        "Output of the model",
        ("filled", "Six probabilities, a prediction set, and abstention with its reason."),
    ),
    (
        "16",
        "Differences from the training data",
        (
            "partly",
            "Cases unlike the training data raise an alarm. Differences of the settings: for the "
            "authors.",
        ),
    ),
    ("17", "Ethics", _AUTHORS),
    ("18a", "Funding", _AUTHORS),
    ("18b", "Conflicts of interest", _AUTHORS),
    ("18c", "Protocol", _protocol),
    ("18d", "Registration", _AUTHORS),
    ("18e", "Sharing of data", _AUTHORS),
    (
        "18f",
        "Sharing of code",
        ("partly", "Code under the licence of the repository. Where: for the authors."),
    ),
    ("19", "Involvement of patients and public", _AUTHORS),
    ("20a", "Flow of participants", _flow),
    ("20b", "Characteristics", _patients),
    ("20c", "Comparison with the training data", ("open", "For the authors.")),
    ("21", "Numbers in each analysis", _numbers),
    ("22", "Full model", _model),
    ("23a", "Performance with intervals, subgroups too", _performance),
    (
        "23b",
        "Performance by cluster",
        ("open", "Centres are not stored with a case. For the authors."),
    ),
    ("24", "Results of updating", ("filled", "The models were not updated.")),
    ("25", "Interpretation", _AUTHORS),
    (
        "26",
        "Limitations",
        ("partly", "Limits of the models on the Models page. Of the study: for the authors."),
    ),
    (
        "27a",
        "Input of poor quality or missing",
        (
            "filled",
            "Unreadable input is refused with the reason; a missing sequence or value is a named "
            "state.",
        ),
    ),
    (
        "27b",
        "What users must do and know",
        (
            "partly",
            "Readers accept, edit or reject each lesion. Expertise needed: for the authors.",
        ),
    ),
    ("27c", "Next steps", _AUTHORS),
)
