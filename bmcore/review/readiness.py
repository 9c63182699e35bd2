"""Is all there that a study needs? The rule; ``readiness_facts`` gathers what it looks at.

A plan is locked for good, so what is missing is told before. REFUSED blocks the lock; a WARNING
may be accepted knowingly; INFO is only said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bmcore.domain import Finding, Severity
from bmcore.review import names
from bmcore.review.readiness_facts import Facts, fault, nearest, note, warning
from bmcore.review.readiness_people import blinding, readers
from bmcore.review.readiness_preference import preference
from bmcore.review.study import Study
from bmcore.stats.readings import MODELS

TOPICS: Mapping[str, str] = MappingProxyType(
    {
        "plan": "Plan",
        "cases": "Cases",
        "models": "Models' answers",
        "reasons": "Reasons",
        "readers": "Readers",
        "blinding": "Blinding",
        "reference": "Reference standard",
        "preference": "Blinded preference",
    }
)
# What a running study rests on; the others are asked before it starts.
LASTING = ("cases", "models", "reasons", "readers", "preference")
_UNSEEN = "No reader has been shown the models' answers on these cases."
_GRAVITY = (Severity.REFUSED, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. topic: see TOPICS; ready: what is in order, in one sentence."""

    topic: str
    ready: str
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        return TOPICS[self.topic]

    @property
    def severity(self) -> Severity | None:
        """The gravest of the findings; None where there are none."""
        found = {finding.severity for finding in self.findings}
        return next((s for s in _GRAVITY if s in found), None)


def check(study: Study, facts: Facts) -> tuple[Finding, ...]:
    """Everything that is not in order, one line a fault: what, which case or reader, what to do."""
    return tuple(finding for one in checks(study, facts) for finding in one.findings)


def checks(study: Study, facts: Facts) -> tuple[Check, ...]:
    """All that was looked at, in the order of TOPICS; what the design does not need is left out."""
    whole = "the case" if len(study.cases) == 1 else f"all {len(study.cases)} cases"
    known = f"The primary is known for {whole}."
    found = [
        Check("plan", f"The id {study.study} is free.", tuple(_plan(study, facts))),
        Check("cases", f"The images of {whole} are there.", tuple(_cases(study, facts))),
        Check("models", f"{_name(facts)} has read {whole}.", tuple(_models(study, facts))),
        Check("reasons", "A Grad-CAM map can be shown.", tuple(_reasons(study, facts))),
        Check("readers", "Every reader has an account.", tuple(readers(study, facts))),
        Check("blinding", _UNSEEN, tuple(blinding(study, facts))),
        Check("reference", known, tuple(_reference(study, facts))),
        Check(
            "preference",
            f"Both segmentations of {whole} are there.",
            tuple(preference(study, facts)),
        ),
    ]
    needless = _needless(study)
    return tuple(one for one in found if one.topic not in needless)


def _needless(study: Study) -> set[str]:
    """Topics that the arms of the design do not ask for."""
    needs = {
        "models": needs_models(study),
        "reasons": "aided_explained" in study.design.arms,
        "blinding": "unaided" in study.design.arms,
        "preference": study.preference is not None,
    }
    return {topic for topic, needed in needs.items() if not needed}


def needs_models(study: Study) -> bool:
    """The models' answers are needed: shown in an arm, compared blindly, or in an endpoint."""
    compared = study.preference.candidates if study.preference is not None else ()
    return is_helped(study) or is_against_models(study) or "models" in compared


def _name(facts: Facts) -> str:
    if facts.bundle is None:
        return "The bundle"
    return f"{facts.bundle.name} {facts.bundle.version} (hash {facts.bundle.digest[:16]})"


def blocking(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that stand in the way of the lock."""
    return tuple(f for f in findings if f.severity is Severity.REFUSED)


def warnings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that may be accepted knowingly."""
    return tuple(f for f in findings if f.severity is Severity.WARNING)


def lasting(study: Study, facts: Facts) -> tuple[Check, ...]:
    """The checks that also matter while the study runs."""
    return tuple(c for c in checks(study, facts) if c.topic in LASTING)


def arisen(old: Study, new: Study, facts: Facts) -> tuple[Finding, ...]:
    """What an amendment brings with it: faults of ``new`` that ``old`` did not have."""
    before = set(check(old, facts))
    kept = [c for c in checks(new, facts) if c.topic != "plan"]
    return tuple(f for c in kept for f in c.findings if f not in before)


def is_helped(study: Study) -> bool:
    """Some arm shows the models' answers."""
    return any(arm != "unaided" for arm in study.design.arms)


def is_against_models(study: Study) -> bool:
    """Some endpoint compares readers with the models alone."""
    named = (study.primary_endpoint, *study.secondary_endpoints)
    return any(MODELS in endpoint.compare for endpoint in named)


def unread(study: Study, facts: Facts) -> tuple[str, ...]:
    """The cases that the loaded models could read and have not."""
    if facts.bundle is None or not needs_models(study):
        return ()
    needed = study.all_cases if is_helped(study) else study.cases
    states = {c: facts.cases[c] for c in needed if c in facts.cases}
    return tuple(
        c for c, s in states.items() if s.fault is None and s.bundle != facts.bundle.digest
    )


def _plan(study: Study, facts: Facts) -> Iterator[Finding]:
    taken = facts.locked.get(study.study)
    if taken == study.digest:
        yield fault(f"this plan is already locked, as {study.study}", "open that study.")
    elif taken is not None:
        what = f"the study {study.study} is locked with another plan"
        yield fault(what, "give this plan an id of its own, or amend that study with a reason.")


def _cases(study: Study, facts: Facts) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    learnt = {names.as_seen(case_id) for case_id in facts.trained_on}
    for case_id in study.all_cases:
        state = facts.cases.get(case_id)
        if state is None:
            hint = "add it on the Cases page, or take it out of the plan."
            near = nearest(case_id, list(facts.cases))
            if near is not None and near not in study.all_cases:
                hint = f"write {near} in the plan if that is meant, or add the case."
            yield fault(f"case {case_id} is not in the work list", hint)
            continue
        if state.fault is not None:
            hint = "remove the case and add it again."
            yield fault(f"case {case_id} cannot be read: {state.fault}", hint)
        if names.as_seen(case_id) in learnt:
            what = f"case {case_id} is one of the cases that the models learnt from"
            yield fault(what, "take it out of the plan.")
        if state.image and state.image in owners:
            what = f"case {case_id} holds the same images as case {owners[state.image]}"
            yield warning(what, "take one of them out; repeats are planned with 'repeats'.")
        owners.setdefault(state.image, case_id)


def _models(study: Study, facts: Facts) -> Iterator[Finding]:
    if facts.bundle is None:
        why = facts.bundle_fault.rstrip(".") or "none are installed"
        yield fault(f"no models can be used here: {why}", "install a complete bundle.")
        return
    for case_id in unread(study, facts):
        yield fault(f"case {case_id}: {facts.cases[case_id].unread}", "run the models on it.")
    there = {c for c in study.all_cases if c in facts.cases and facts.cases[c].fault is None}
    if len(there) < len(study.all_cases):
        yield fault("the models cannot have read what is not there", "fix the cases first.")
    for case_id in study.cases if is_against_models(study) else ():
        state = facts.cases.get(case_id)
        if state is not None and state.bundle is not None and not state.answered:
            what = f"case {case_id}: the models gave no fused answer, so they are compared without"
            yield warning(f"{what} it", "give its clinical record, or take it out of the plan.")
    if facts.bundle.synthetic:
        yield note("these are demo models, trained on synthetic data only")
    elif not facts.trained_on and not study.training_cases:
        what = "neither the models nor the plan name the cases that the models learnt from"
        yield warning(what, "list them under training_cases, so that none is read here.")


def _reasons(study: Study, facts: Facts) -> Iterator[Finding]:
    if facts.nets or facts.bundle is None:
        return
    for case_id in study.all_cases:
        state = facts.cases.get(case_id)
        if state is not None and state.bundle is not None and not state.mapped:
            what = f"case {case_id}: no Grad-CAM map is kept, and none can be made here"
            yield fault(what, "install PyTorch here, or take a package of the study.")


def _reference(study: Study, facts: Facts) -> Iterator[Finding]:
    """The primary endpoint counts answers against it."""
    if facts.primaries_fault:
        what = f"the reference primaries cannot be read: {facts.primaries_fault}"
        yield fault(what, "correct the file, or take it away.")
        return
    for case_id in study.cases:
        if case_id not in facts.primaries:
            what = f"case {case_id} has no reference primary, so its answers cannot be judged"
            yield warning(what, "bring it under “Reference primaries” before the analysis.")
    for case_id in study.practice:
        if case_id not in facts.primaries:
            what = f"practice case {case_id} has no reference primary to show after the answer"
            yield fault(what, "bring it under “Reference primaries”, or take the case out.")
