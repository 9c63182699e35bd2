"""The plan of a reader study: one frozen object, checked as a whole; its hash locks it.

Written by people as ``study.yaml`` (``read_study``); every key is described in ``docs/study.md``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from bmcore.domain import InputRefused, refuse
from bmcore.models.case_mix import CaseMix, from_counts
from bmcore.review import plan_findings, plan_partial, plan_question, plan_rules, plan_yaml
from bmcore.review.plan_endpoint import LOCKED, Endpoint, asked, canonical, problems
from bmcore.review.plan_partial import Check
from bmcore.review.plan_question import ARMS, SHOWN_IN, Arm, Question
from bmcore.stats.endpoint_choice import Endpoint as Choice

__all__ = ["ARMS", "Arm", "Question", "Study", "StudyReader", "parse_study", "read_study"]
_KNOWN = "known"  # key of the validation context: faults that the plan in force has already
_Id = Annotated[str, Field(pattern=plan_findings.ID)]
_CaseId = Annotated[str, Field(min_length=1, max_length=200, pattern=plan_findings.CASE_ID)]
_Candidate = Annotated[str, Field(pattern=plan_findings.CANDIDATE)]
_Text = Annotated[str, Field(min_length=1, max_length=4000, pattern=plan_findings.TEXT)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Design(_Part):
    """kind: "sequential" (one case, all arms in turn) or "crossover" (one arm a period)."""

    kind: Literal["sequential", "crossover"]
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    washout_days: Annotated[int, Field(ge=0, le=3650)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.arms)) != len(self.arms):
            raise ValueError("arms: each arm once")
        if self.kind == "sequential":
            if list(self.arms) != [arm for arm in ARMS if arm in self.arms]:
                raise ValueError(f"arms: a sequential design goes {', '.join(ARMS)}, in this order")
            if self.washout_days:
                raise ValueError("washout_days: only a crossover design has a washout")
        elif len(self.arms) < 2:
            raise ValueError("arms: a crossover design needs two arms or more")
        elif self.washout_days < 1:
            raise ValueError("washout_days: a crossover design needs one day or more")
        return self


class StudyReader(_Part):
    """A reader by a short id; the id goes into the seeds, so it must not change."""

    id: _Id
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=plan_findings.LINE)]
    role: Literal["radiologist", "neuroradiologist", "oncologist", "other"]
    years: Annotated[float, Field(ge=0, le=80)]


class Seeds(_Part):
    """order: of each reader's cases; allocation: of groups, periods and repeats."""

    order: Annotated[int, Field(ge=0)]
    allocation: Annotated[int, Field(ge=0)]


class Repeats(_Part):
    """Cases read a second time unannounced; ``min_distance``: cases from first to second."""

    count: Annotated[int, Field(ge=0)] = 0
    min_distance: Annotated[int, Field(ge=1)] = 1


class Preference(_Part):
    """Two segmentations that readers compare without knowing which is which. candidates: "models",
    "reference" or "bundle:" and the digest of other models."""

    candidates: tuple[_Candidate, _Candidate]
    text: _Text = "Which segmentation is better?"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.candidates[0] == self.candidates[1]:
            raise ValueError("candidates: name two different ones")
        return self


def _readable_mix(value: dict[str, float]) -> dict[str, float]:
    from_counts(value)  # ValueError says what is wrong
    return value


# How common the primaries are where the study's cases come from: numbers, percentages or shares
CaseMixField = Annotated[dict[str, float], AfterValidator(_readable_mix)]


InForce = Callable[[str], "Study | None"]  # name -> the plan that is locked under it


class Study(_Part):
    """The whole plan. ``Study.digest`` is its SHA-256 over canonical JSON."""

    study: _Id
    title: _Text
    design: Design
    seeds: Seeds
    readers: Annotated[tuple[StudyReader, ...], Field(min_length=1)]
    cases: Annotated[tuple[_CaseId, ...], Field(min_length=1)]
    training_cases: tuple[_CaseId, ...]
    practice: Annotated[tuple[_CaseId, ...], Field(max_length=50)] = ()
    questions: Annotated[tuple[Question, ...], Field(min_length=1)]
    repeats: Repeats = Repeats()
    preference: Preference | None = None
    case_mix: CaseMixField | None = None
    primary_endpoint: Endpoint
    secondary_endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=20)] = ()
    multiplicity: Literal["holm", "fixed sequence"] = "fixed sequence"
    analysis_plan: _Text

    @model_validator(mode="after")
    def _fits(self, info: ValidationInfo) -> Self:
        faults = [fault for check in self._checks(info.context or {}) for fault in check()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _checks(self, context: Mapping[str, Any]) -> list[Check]:
        """What the keys are held to together; each check reads the keys that it needs."""
        checks: list[Check] = [
            lambda: plan_rules.doubles("readers: id", [r.id for r in self.readers]),
            lambda: plan_rules.doubles(
                "readers: name", [" ".join(r.name.split()).casefold() for r in self.readers]
            ),
            lambda: plan_rules.doubles("questions: id", [q.id for q in self.questions]),
            lambda: plan_rules.doubles("cases:", self.cases),
            lambda: plan_rules.doubles("practice:", self.practice),
            self._arms_problems,
            self._primary_problems,
            self._case_problems,
            self._practice_problems,
            self._repeats_problems,
        ]
        if context.get(LOCKED):
            return checks
        known = context.get(_KNOWN, ())
        later = [lambda c=c: (f for f in c() if f not in known) for c in self._later()]
        return [*checks, self._endpoint_problems, self._alpha_problems, *later]

    def _later(self) -> list[Check]:
        """Rules that came after the first plans were locked."""
        return [
            lambda: plan_rules.blanks({"title": self.title}),
            lambda: plan_rules.blanks({"analysis_plan": self.analysis_plan}),
            lambda: plan_rules.blanks(
                {"preference.text": self.preference.text} if self.preference else {}
            ),
            lambda: plan_rules.blanks(
                {f"questions: text of {q.id}": q.text for q in self.questions}
            ),
            lambda: plan_rules.blanks({f"readers: name of {r.id}": r.name for r in self.readers}),
            *(
                lambda key=key: plan_rules.blanks(
                    {f"{key}[{n}]": case for n, case in enumerate(getattr(self, key))}
                )
                for key in ("cases", "practice", "training_cases")
            ),
            lambda: plan_rules.mix(self.case_mix),
            lambda: plan_rules.people([r.name for r in self.readers]),
            lambda: plan_rules.case_lists(self.cases, self.practice, self.training_cases),
            lambda: plan_rules.questions(self.questions, self.design.arms),
        ]

    @property
    def _on_lesions(self) -> tuple[Question, ...]:
        return tuple(q for q in self.questions if q.kind in ("lesions", "marks"))

    @property
    def rated_arms(self) -> tuple[Arm, ...]:
        """Where every lesion that a reader names carries a rating: marks are rated, and the models'
        lesions are not accepted without one."""
        graded = {arm for q in self.questions if q.rated for arm in self.arms_of(q)}
        plain = {arm for q in self._on_lesions if not q.rated for arm in self.arms_of(q)}
        return tuple(arm for arm in self.design.arms if arm in graded - plain)

    def _endpoint_problems(self) -> Iterator[str]:
        lesions = tuple({arm for q in self._on_lesions for arm in self.arms_of(q)})
        named = [("primary_endpoint", self.primary_endpoint)]
        named += [(f"secondary_endpoints[{i}]", e) for i, e in enumerate(self.secondary_endpoints)]
        for key, endpoint in named:
            held = asked(
                self.design.arms, len(self.readers), lesions, endpoint.compare, self.rated_arms
            )
            for why in problems(endpoint, held):
                yield f"{key}: {why}"

    def _alpha_problems(self) -> Iterator[str]:
        alpha, before = self.primary_endpoint.alpha, [_meant(self.primary_endpoint)]
        for i, endpoint in enumerate(self.secondary_endpoints):
            if endpoint.alpha != alpha:
                yield (
                    f"secondary_endpoints[{i}].alpha: {endpoint.alpha:g} is not the primary "
                    f"endpoint's ({alpha:g}); all are judged at that one, so leave it out here"
                )
            if _meant(endpoint) in before:
                yield f"secondary_endpoints[{i}]: this endpoint is named twice"
            before.append(_meant(endpoint))

    def _arms_problems(self) -> Iterator[str]:
        for number, question in enumerate(self.questions):
            for arm in question.arms or ():
                if arm not in self.design.arms:
                    yield f"questions[{number}].arms: {arm} is not an arm of the design"
            allowed = SHOWN_IN.get(question.kind, ARMS)
            wrong = [arm for arm in self.arms_of(question) if arm not in allowed]
            if wrong:
                yield (
                    f"questions[{number}].arms: a question of kind {question.kind} cannot be asked "
                    f"in arm {wrong[0]}; expected only {', '.join(allowed)}"
                )

    def _primary_problems(self) -> Iterator[str]:
        if not any(q.kind == "primary" and q.required for q in self.questions):
            yield "questions: one of kind primary must be there and required"

    def _case_problems(self) -> Iterator[str]:
        for case in self.cases:
            if case in self.training_cases:
                yield f"cases: {case} is a training case; the models know it, so take it out"

    def _practice_problems(self) -> Iterator[str]:
        for case in self.practice:
            if case in self.cases:
                yield f"practice: {case} is a counted case; take it out of one of the lists"
            if case in self.training_cases:
                yield f"practice: {case} is a training case; the models know it, so take it out"

    def _repeats_problems(self) -> Iterator[str]:
        fitting = len(self.cases) - self.repeats.min_distance + 1
        if self.repeats.count > max(0, fitting):
            yield (
                f"repeats: {self.repeats.count} repeats {self.repeats.min_distance} cases apart do "
                f"not fit; expected {max(0, fitting)} at most with {len(self.cases)} cases"
            )

    @property
    def all_cases(self) -> tuple[str, ...]:
        """Practice cases and counted ones: all that readers open."""
        return (*self.practice, *self.cases)

    @property
    def mix(self) -> CaseMix | None:
        """The plan's shares of the primaries; None where it states none."""
        return None if self.case_mix is None else from_counts(self.case_mix)

    def arms_of(self, question: Question) -> tuple[Arm, ...]:
        """Where ``question`` is asked."""
        return question.arms if question.arms is not None else self.design.arms

    def questions_in(self, arm: str) -> tuple[Question, ...]:
        """What is asked in ``arm``, in the order of the file."""
        return tuple(q for q in self.questions if arm in self.arms_of(q))

    def reader(self, reader_id: str) -> StudyReader:
        """The reader of this id; refused where there is none."""
        for reader in self.readers:
            if reader.id == reader_id:
                return reader
        raise refuse(
            "this reader does not take part in the study",
            found=reader_id,
            expected=", ".join(r.id for r in self.readers),
        )

    @property
    def canonical(self) -> str:
        """One line of JSON that says all of the plan and nothing else. Keys that came after the
        first plans were locked stand in it only where they say something."""
        whole = self.model_dump(mode="json")
        whole["primary_endpoint"] = canonical(whole["primary_endpoint"])
        whole["secondary_endpoints"] = [canonical(e) for e in whole["secondary_endpoints"]]
        whole["questions"] = [plan_question.canonical(q) for q in whole["questions"]]
        if self.preference is None:
            del whole["preference"]
        if self.case_mix is None:
            del whole["case_mix"]
        if not self.practice:
            del whole["practice"]
        if not self.secondary_endpoints:
            del whole["secondary_endpoints"], whole["multiplicity"]
        return json.dumps(whole, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of ``canonical``: comments and layout of the file do not matter."""
        return hashlib.sha256(self.canonical.encode("utf-8")).hexdigest()


def _meant(endpoint: Endpoint) -> Choice | None:
    """What is computed, whether the usual direction is written out or not."""
    choice = endpoint.choice
    return None if choice is None else replace(choice, direction=choice.better)


def _one_alpha(data: dict[str, Any]) -> dict[str, Any]:
    """The plan with the primary endpoint's alpha in the secondary ones that name none."""
    first, others = data.get("primary_endpoint"), data.get("secondary_endpoints")
    if not isinstance(first, dict) or not isinstance(others, list | tuple):
        return data
    if not isinstance(first.get("alpha"), int | float):
        return data
    alpha = {"alpha": first["alpha"]}
    filled = [{**alpha, **other} if isinstance(other, dict) else other for other in others]
    return {**data, "secondary_endpoints": filled}


def _none(name: str) -> None:
    """No plan in force."""


def read_study(path: Path, in_force: InForce = _none) -> Study:
    """Read and check ``study.yaml``; ``InputRefused`` with one Finding a problem.

    in_force: see ``parse_study``.
    """
    try:
        with path.open("rb") as file:
            text = file.read(plan_yaml.MOST_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise refuse("the study file cannot be read", file=path, found=fault) from fault
    return read_study_text(text, str(path), in_force)


def read_study_text(text: str, where: str, in_force: InForce = _none) -> Study:
    """The study in the text of a ``study.yaml``; where: its name in messages."""
    read = plan_yaml.load(text, where)
    return parse_study(read.values, where, in_force=in_force, noted=read.faults)


def parse_study(
    data: Any,
    where: str,
    *,
    locked: bool = False,
    in_force: InForce = _none,
    noted: Mapping[str, str] = MappingProxyType({}),
) -> Study:
    """The study in plain data, as YAML or JSON give it.

    locked: it was locked before, so rules that came later do not hold for it: its endpoint may be
    named in words, a case may stand in two spellings, and so on (``plan_rules``). in_force: the
    locked plan of a name, None without one; what an amendment keeps of it is not refused anew.
    noted: faults of the text that the data come from, by the key that each is about.
    """
    own = [plan_findings.finding(words, where) for words in noted.values()]
    if not isinstance(data, dict):
        fault = plan_findings.finding(
            "the study file holds no keys",
            where,
            type(data).__name__,
            "keys such as study, design, readers; see docs/examples/study.yaml",
        )
        raise InputRefused(*own, fault)
    name = str(data.get("study"))
    before = in_force(name) if re.fullmatch(plan_findings.ID, name) else None
    known = () if before is None else tuple(f for check in before._later() for f in check())
    whole = data if locked else _one_alpha(data)
    context = {LOCKED: locked, _KNOWN: known}
    try:
        study = Study.model_validate_json(json.dumps(whole), context=context)
    except ValidationError as fault:
        found = list(plan_findings.findings(fault, where, noted))
        if all(error["loc"] for error in fault.errors()):  # else the keys were held to each other
            part = plan_partial.read(Study, whole, context)
            lines = plan_partial.told(part._checks(context))
            found += [plan_findings.finding(line, where) for line in lines]
        raise InputRefused(*own, *found) from fault
    if own:
        raise InputRefused(*own)
    return study
