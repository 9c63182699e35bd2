"""The two reporting checklists, filled in from the dossier where its data allow.

CLAIM 2024 update: Tejani et al., Radiol Artif Intell 2024;6(4):e240300 (44 items). TRIPOD+AI:
Collins et al., BMJ 2024;385:e078378 (27 items, some with parts). Topics are named in our own words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmcore.report.chapters import checklist_answers as say

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


Fill = say.Answer | Callable[["Dossier"], say.Answer]


def claim(d: Dossier) -> tuple[Item, ...]:
    """The 44 items of CLAIM, in order."""
    return tuple(item_of(str(n), topic, fill, d) for n, (topic, fill) in enumerate(_CLAIM, start=1))


def tripod(d: Dossier) -> tuple[Item, ...]:
    """The items of TRIPOD+AI, parts apart, in order."""
    return tuple(item_of(number, topic, fill, d) for number, topic, fill in _TRIPOD)


def item_of(number: str, topic: str, fill: Fill, d: Dossier) -> Item:
    state, text = fill(d) if callable(fill) else fill
    return Item(number, topic, state, text)


_CLAIM: tuple[tuple[str, Fill], ...] = (
    (
        "Title names the kind of AI",
        say.partly("Deep learning for images and multinomial regression. Title: for the authors."),
    ),
    ("Structured summary", say.AUTHORS),
    (
        "Background and intended role",
        say.partly(
            "Research use only: a second opinion on the likely primary. Background: for the "
            "authors."
        ),
    ),
    ("Aims and hypotheses", say.objectives),
    ("Prospective or retrospective", say.design),
    ("Goal of the study", say.objectives),
    ("Sources of data", say.AUTHORS),
    ("Who was included and excluded", say.AUTHORS),
    ("Preparation of the data", say.preparation),
    (
        "Parts of the data that were used",
        say.filled("Whole brain volumes; a 48 mm cube around each lesion for the lesion net."),
    ),
    ("De-identification", say.IDENTITY),
    ("Missing data", say.missing),
    (
        "How images were acquired",
        say.left_open("Scanner and protocol are not stored with a case. For the authors."),
    ),
    ("Definition of the reference", say.outcome),
    ("Why this reference", say.AUTHORS),
    ("Who made the reference", say.AUTHORS),
    ("Annotation of the test cases", say.AUTHORS),
    ("Agreement between and within annotators", say.variability),
    ("How data were split", say.partitions),
    ("Level of the split", say.filled("By patient.")),
    ("Intended number of test cases", say.size),
    ("Description of the models", say.model),
    ("Software", say.software),
    ("Start values of the models", say.training),
    ("Training", say.training),
    ("Choice of the final model", say.training),
    (
        "Combination of models",
        say.filled("Clinical, image and fused answers stand side by side; no ensemble of nets."),
    ),
    ("Measures of performance", say.METRICS),
    ("Uncertainty and significance", say.UNCERTAINTY),
    ("Robustness", say.partly("Subgroups below; further analyses on the Models page.")),
    ("Explanations", say.EXPLAIN),
    ("Internal evaluation", say.training),
    (
        "External evaluation",
        say.left_open("Whether these cases are external to the training: for the authors."),
    ),
    ("Registration", say.AUTHORS),
    ("Numbers included and excluded", say.flow),
    ("Characteristics in each part", say.patients),
    ("Performance with uncertainty", say.performance),
    ("Diagnostic performance and its precision", say.performance),
    ("Failure analysis", say.failures),
    (
        "Limitations",
        say.partly("Limits of the models on the Models page. Of the study: for the authors."),
    ),
    ("Meaning for practice", say.AUTHORS),
    ("Full protocol", say.protocol),
    ("Availability of software, models and data", say.CODE),
    ("Funding", say.AUTHORS),
)

_TRIPOD: tuple[tuple[str, str, Fill], ...] = (
    ("1", "Title", say.AUTHORS),
    ("2", "Abstract", say.AUTHORS),
    ("3a", "Clinical context and reasons", say.AUTHORS),
    (
        "3b",
        "For whom and for what it is meant",
        say.partly(
            "Adults with untreated brain metastases of unknown origin; research only. Place in "
            "care: for the authors."
        ),
    ),
    ("3c", "Known health inequalities", say.AUTHORS),
    ("4", "Objectives", say.objectives),
    ("5a", "Sources of data", say.AUTHORS),
    ("5b", "Dates", say.AUTHORS),
    ("6a", "Setting and centres", say.AUTHORS),
    ("6b", "Eligibility", say.AUTHORS),
    (
        "6c",
        "Treatments",
        say.partly(
            "The models are not for treated metastases. Treatments of these patients: for the "
            "authors."
        ),
    ),
    ("7", "Preparation and quality checks of data", say.preparation),
    ("8a", "Outcome", say.outcome),
    ("8b", "Who judged the outcome", say.AUTHORS),
    ("8c", "Blinding of the judgement", say.blinding),
    (
        "9a",
        "Choice of predictors",
        say.filled(
            "Age, sex, smoking, pack-years, metastases outside the brain; image features of "
            "the lesions."
        ),
    ),
    (
        "9b",
        "Definition of predictors",
        say.filled(
            "Units and ranges in docs/methods.md; image features are named in the model card."
        ),
    ),
    (
        "9c",
        "Who judged the predictors",
        say.filled("Image features are computed; clinical values come with the case."),
    ),
    ("10", "Sample size", say.size),
    ("11", "Missing data", say.missing),
    ("12a", "Use of the data in the analysis", say.partitions),
    (
        "12b",
        "Handling of predictors",
        say.filled("Imputation with a flag and scaling, fitted inside the fold."),
    ),
    ("12c", "Kind of model and how it was built", say.model),
    (
        "12d",
        "Differences between clusters",
        say.left_open("Centres are not stored with a case. For the authors."),
    ),
    ("12e", "Measures of performance", say.METRICS),
    ("12f", "Updating of the model", say.filled("The models were not updated on these cases.")),
    ("12g", "How predictions were made", say.model),
    ("13", "Class imbalance", say.CLASSES),
    ("14", "Fairness", say.subgroups),
    (
        "15",
        "Output of the model",
        say.filled("Six probabilities, a prediction set, and abstention with its reason."),
    ),
    (
        "16",
        "Differences from the training data",
        say.partly(
            "Cases unlike the training data raise an alarm. Differences of the settings: for "
            "the authors."
        ),
    ),
    ("17", "Ethics", say.AUTHORS),
    ("18a", "Funding", say.AUTHORS),
    ("18b", "Conflicts of interest", say.AUTHORS),
    ("18c", "Protocol", say.protocol),
    ("18d", "Registration", say.AUTHORS),
    ("18e", "Sharing of data", say.AUTHORS),
    (
        "18f",
        "Sharing of code",
        say.partly("Code under the licence of the repository. Where: for the authors."),
    ),
    ("19", "Involvement of patients and public", say.AUTHORS),
    ("20a", "Flow of participants", say.flow),
    ("20b", "Characteristics", say.patients),
    ("20c", "Comparison with the training data", say.left_open("For the authors.")),
    ("21", "Numbers in each analysis", say.numbers),
    ("22", "Full model", say.model),
    ("23a", "Performance with intervals, subgroups too", say.performance),
    (
        "23b",
        "Performance by cluster",
        say.left_open("Centres are not stored with a case. For the authors."),
    ),
    ("24", "Results of updating", say.filled("The models were not updated.")),
    ("25", "Interpretation", say.AUTHORS),
    (
        "26",
        "Limitations",
        say.partly("Limits of the models on the Models page. Of the study: for the authors."),
    ),
    (
        "27a",
        "Input of poor quality or missing",
        say.filled(
            "Unreadable input is refused with the reason; a missing sequence or value is a "
            "named state."
        ),
    ),
    (
        "27b",
        "What users must do and know",
        say.partly(
            "Readers accept, edit or reject each lesion. Expertise needed: for the authors."
        ),
    ),
    ("27c", "Next steps", say.AUTHORS),
)
