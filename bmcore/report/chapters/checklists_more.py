"""Three more checklists: STARD-AI, DECIDE-AI and METRICS, filled in where the data allow.

Numbers and topics were compared with public item lists on 29 November 2026; the topics are in our
own words, and the published wording counts.

- STARD-AI: Sounderajah et al., Nat Med 2025;31:3283-3289, Table 2: 40 items in 48 rows, as a public
  transcription of that table lists them (the article itself was not at hand).
- DECIDE-AI: Vasey et al., BMJ 2022;377:e070904: 17 items on AI and 10 general ones, by a reprint of
  its table (items 1 to 4) and a public summary of the whole; the 28 sub-items are not kept apart.
- METRICS: Kocak et al., Insights Imaging 2024;15:8, Table 1 (items 1 to 24) and the text of the
  tool (24 to 30). It is a score of quality, not of reporting: no score is computed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.analysis.tables import count
from bmcore.report.chapters import checklist_answers as say
from bmcore.report.chapters.checklists import Fill, Item, item_of

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier

STARD_SOURCE = "Sounderajah et al., Nat Med 2025;31:3283-3289."
DECIDE_SOURCE = (
    "Vasey et al., BMJ 2022;377:e070904. Meant for early live use; a study of stored cases answers "
    "a part."
)
METRICS_SOURCE = "Kocak et al., Insights Imaging 2024;15:8. A quality score; none is computed here."


def stard(d: Dossier) -> tuple[Item, ...]:
    """The 40 items of STARD-AI in 48 rows, in order."""
    return tuple(item_of(number, topic, fill, d) for number, topic, fill in _STARD)


def decide(d: Dossier) -> tuple[Item, ...]:
    """The 17 items on AI and the 10 general ones of DECIDE-AI, in their order."""
    return tuple(item_of(number, topic, fill, d) for number, topic, fill in _DECIDE)


def metrics(d: Dossier) -> tuple[Item, ...]:
    """The 30 items of METRICS, in order."""
    return tuple(item_of(str(n), topic, fill, d) for n, (topic, fill) in enumerate(_METRICS, 1))


def familiarised(d: Dossier) -> say.Answer:
    """How readers came to know the models before."""
    if d.record is None or not d.record.study.practice:
        return say.left_open("No practice cases in the plan. For the authors.")
    study = d.record.study
    right = sum(p.right(study) for p in d.record.practised)
    return say.partly(
        f"{count(len(study.practice), 'practice case')} a reader before the first counted one, "
        f"with feedback: {right} of {len(d.record.practised)} answers right. Recruitment: for the "
        "authors."
    )


def with_models(d: Dossier) -> say.Answer:
    """How often readers went with the models."""
    if d.results is None:
        return say.left_open("After the last reading of the study.")
    if not d.results.section("reliance").tables:
        return say.left_open("Needs readings without and with the models, and known primaries.")
    return say.filled("Helped, harmed, ignored, over-reliance and errors followed, each reader.")


def human_factors(d: Dossier) -> say.Answer:
    """Usability and learning."""
    if d.results is None:
        return say.left_open("After the last reading of the study.")
    keys = {t.key for t in d.results.section("time").tables}
    if "learning" not in keys:
        return say.left_open("No learning curve without readings. Usability: for the authors.")
    return say.partly("Time and right answers along the list. Usability: for the authors.")


def cannot_tell(d: Dossier) -> say.Answer:
    """Answers that name nothing."""
    plan = d.record.study if d.record else None
    rule = plan.primary_endpoint.cannot_tell if plan else "lowest"
    return say.filled(
        f"\u201cCannot tell\u201d counts as not right; its place in a ROC curve: {rule}; other "
        "rules are sensitivity analyses. Abstentions of the models are reported with their "
        "reason."
    )


def exposed(d: Dossier) -> say.Answer:
    """How users were exposed to the system."""
    if d.record is None:
        return say.left_open("Free votes, no plan. For the authors.")
    locked = sum(s.state == "locked" and s.place.arm != "unaided" for s in d.record.sheets)
    return say.partly(
        f"{count(locked, 'reading')} locked with the models' answers; each showing is in the "
        "chain. Workflow: for the authors."
    )


def amendments(d: Dossier) -> say.Answer:
    """Changes of the models or the plan while the study ran."""
    if d.record is None:
        return say.left_open("Free votes, no plan. For the authors.")
    return say.filled(
        f"{count(len(d.record.versions) - 1, 'amendment')} of the plan, listed with reasons. "
        "Readings with the models stay closed while other models are loaded."
    )


_STORED = say.filled("Every answer and prediction is kept with its hash; the chain is verified.")
_LIMITS = say.partly(
    "Limits of the models on the Models page. Of the study: for the authors."
)  # as in the other lists
_USER = say.partly("Radiologists and oncologists, as a second opinion. Skill: for the authors.")
_UNITS = say.left_open("Scanner and protocol are not stored with a case. For the authors.")
_EXTERNAL = say.left_open("Whether these cases are external to the training: for the authors.")
_FAIRNESS = say.partly("Subgroups by sex, age, lesions and primary. Fairness: for the authors.")
_CALIBRATION = say.filled("Curve, intercept and slope of models and readers under Confidence.")

_STARD: tuple[tuple[str, str, Fill], ...] = (
    ("1", "Named as a study of the accuracy of AI, with a measure", say.AUTHORS),
    ("2", "Structured summary", say.AUTHORS),
    ("3", "Background, intended use, place in the workflow", say.AUTHORS),
    ("4", "Objectives and hypotheses", say.objectives),
    ("5", "Prospective or retrospective", say.design),
    ("6", "Ethics approval", say.AUTHORS),
    ("7", "Who and which data were eligible", say.AUTHORS),
    ("8", "How candidates were found", say.AUTHORS),
    ("9", "Where and when", say.AUTHORS),
    ("10", "Consecutive, random or convenience", say.AUTHORS),
    ("11", "Source of the data", say.AUTHORS),
    ("12", "Who annotated, and how", say.AUTHORS),
    ("13", "Devices, and software with its version", say.software),
    ("14", "Acquisition and preprocessing", say.preparation),
    ("15a", "Index test", say.model),
    ("15b", "How the index test was developed", say.training),
    (
        "15c",
        "Cut-offs of the index test",
        say.filled("Likeliest of six primaries; prediction set and abstention in the model card."),
    ),
    ("15d", "Users and their expertise", _USER),
    ("16a", "Reference standard", say.outcome),
    ("16b", "Why this reference", say.AUTHORS),
    ("16c", "Categories of the reference", say.filled("The six primaries; one per case.")),
    ("17a", "What readers of the index test knew", say.blinding),
    ("17b", "What assessors of the reference knew", say.AUTHORS),
    ("18", "Methods for accuracy and its comparison", say.UNCERTAINTY),
    ("19", "Indeterminate results", cannot_tell),
    ("20", "Missing data", say.missing),
    ("21", "Variability of accuracy", say.subgroups),
    ("22", "Sample size", say.size),
    ("23", "Errors, bias and fairness: methods", _FAIRNESS),
    ("24", "Flow of participants", say.flow),
    ("25", "Characteristics in each part of the data", say.patients),
    ("26a", "Severity of disease", say.left_open("Number of lesions in Table 1. For the authors.")),
    ("26b", "Other diagnoses", say.left_open("Every case has metastases. For the authors.")),
    ("27", "Time between test and reference", say.AUTHORS),
    ("28", "Does the test set represent the intended patients", say.AUTHORS),
    ("29", "How an external set differs", _EXTERNAL),
    ("30", "Results against the reference", say.performance),
    ("31", "Accuracy with its precision", say.performance),
    ("32", "Adverse events", say.AUTHORS),
    ("33", "Limitations", _LIMITS),
    ("34", "Meaning for practice", say.AUTHORS),
    ("35", "Ethics and fairness of use", say.AUTHORS),
    ("36", "Registration", say.AUTHORS),
    ("37", "Protocol", say.protocol),
    ("38", "Funding", say.AUTHORS),
    ("39", "Commercial interests", say.AUTHORS),
    ("40a", "Data and code", say.CODE),
    ("40b", "Outputs stored and open to audit", _STORED),
)

_DECIDE: tuple[tuple[str, str, Fill], ...] = (
    ("1", "Title: early evaluation of decision support by AI", say.AUTHORS),
    ("I", "Abstract", say.AUTHORS),
    ("2", "Intended use: condition, patients, users, care", _USER),
    ("II", "Objectives", say.objectives),
    ("III", "Protocol, registration, ethics", say.protocol),
    ("3", "Patients and users; how users were made familiar", familiarised),
    ("4", "The AI system: version, training, input, output", say.model),
    ("5", "Implementation: setting and workflow", say.design),
    ("IV", "Outcomes", say.objectives),
    (
        "6",
        "Safety and errors: how they are found",
        say.partly(
            "Readers flag readings; failures are listed. Risk to patients: for the authors."
        ),
    ),
    ("7", "Human factors: methods", say.AUTHORS),
    ("V", "Analysis", say.UNCERTAINTY),
    ("8", "Methods for ethical aims", say.AUTHORS),
    ("VI", "Involvement of patients", say.AUTHORS),
    ("9", "Participants: characteristics and missing data", say.patients),
    ("10", "Implementation: exposure and adherence", exposed),
    ("VII", "Main results", say.performance),
    ("VIII", "Subgroups", say.subgroups),
    ("11", "Changes of the system during the study", amendments),
    ("12", "Agreement of users with the system", with_models),
    ("13", "Errors and events", say.failures),
    ("14", "Human factors: usability and learning", human_factors),
    ("15", "Do results support the intended use", say.AUTHORS),
    ("16", "Safety: meaning of the errors", say.AUTHORS),
    ("IX", "Strengths and limitations", _LIMITS),
    ("17", "Data and code", say.CODE),
    ("X", "Conflicts of interest", say.AUTHORS),
)

_METRICS: tuple[tuple[str, Fill], ...] = (
    ("A checklist was followed", say.filled("This report fills five, item by item.")),
    ("Eligibility for a representative population", say.AUTHORS),
    ("Reference standard of high quality", say.outcome),
    ("Several centres", say.left_open("Centres are not stored with a case. For the authors.")),
    ("Images as in clinical routine", say.AUTHORS),
    ("Imaging protocol", _UNITS),
    ("Time from imaging to the reference", say.AUTHORS),
    ("How lesions were segmented", say.model),
    (
        "Evaluation of the automatic segmentation",
        say.partly("Model card; lesions found against the reference mask where cases have one."),
    ),
    ("Masks of the test set by one reader or tool", say.filled("The models' masks.")),
    ("Preprocessing", say.preparation),
    ("Standardised feature software", say.left_open("Features are learnt by a net.")),
    ("Parameters of the features", say.model),
    ("Features that are not robust taken out", say.training),
    ("Redundant features taken out", say.training),
    ("Dimensions fit the amount of data", say.training),
    ("Robustness of the nets", say.partly("Sequence subsets and repeats on the Models page.")),
    ("Partition of the data", say.partitions),
    (
        "Confounders",
        say.partly("Clinical, image and fused answers side by side. Others: for the authors."),
    ),
    ("Measures of performance", say.METRICS),
    ("Uncertainty", say.UNCERTAINTY),
    ("Calibration", _CALIBRATION),
    (
        "One kind of image, or proof that it is worse",
        say.partly("Subsets of the four sequences on the Models page."),
    ),
    ("Comparison without radiomics, or gain for the clinic", with_models),
    (
        "Comparison with simple models",
        say.filled("The clinical answer alone (regression) beside the fused one."),
    ),
    ("Internal testing", say.training),
    ("External testing", _EXTERNAL),
    ("Data available", say.left_open("For the authors.")),
    ("Code available", say.CODE),
    ("Model available", say.partly("Bundle with its digest. Where: for the authors.")),
)
