"""A plan as it is filled in: plain data from what is there, from another plan, and as YAML."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.intake.library import CaseEntry
from bmcore.review import accounts, plan
from bmcore.review.access import Role
from bmcore.review.plan_endpoint import MEASURE_WORDS
from bmcore.review.store import Store
from bmcore.review.study import ARMS, Study
from bmcore.review.votes import Reader

# id -> what is asked, as the plan's question; offered as ticks.
QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "primary": {
        "kind": "primary",
        "text": "Most likely primary, and how sure are you (0 to 100)?",
    },
    "differential": {
        "kind": "differential",
        "text": "Other primaries that you would consider, likeliest first",
        "required": False,
    },
    "marks": {
        "kind": "marks",
        "text": "Mark every lesion that you see in the images",
    },
    "lesions": {
        "kind": "lesions",
        "text": "Each lesion that the models found: accept, edit or reject; how many were missed?",
        "arms": ["aided", "aided_explained"],
    },
    "quality": {
        "kind": "quality",
        "text": "Quality of the segmentation as a whole, 1 unusable to 5 very good",
        "arms": ["aided", "aided_explained"],
    },
    "explanation": {
        "kind": "explanation",
        "text": "Was the explanation helpful, neutral or misleading?",
        "arms": ["aided_explained"],
    },
    "remarks": {"kind": "text", "text": "Anything else", "required": False},
}
USUAL = ("primary", "differential", "lesions", "quality", "explanation", "remarks")
NEEDS_PRIMARY = ("AUC", "sensitivity", "specificity")


def blank(entries: Iterable[CaseEntry], store: Store) -> dict[str, Any]:
    """A plan to fill in: the readers with an account (or who have voted), every case that can be
    read, new seeds."""
    return {
        "study": _free("study", store),
        "title": "",
        "design": {"kind": "sequential", "arms": list(ARMS[:2])},
        "seeds": {"order": secrets.randbelow(10**8), "allocation": secrets.randbelow(10**8)},
        "readers": _readers(store),
        "cases": [e.case_id for e in entries if e.readable],
        "training_cases": [],
        "questions": questions(USUAL, ARMS[:2]),
        "repeats": {"count": 0, "min_distance": 1},
        "primary_endpoint": {"measure": "accuracy", "compare": list(ARMS[:2])},
        "analysis_plan": "",
    }


def copied(study: Study, store: Store) -> dict[str, Any]:
    """Another plan to start from, with an id that is free and seeds of its own."""
    values: dict[str, Any] = study.model_dump(mode="json", exclude_defaults=True)
    values["study"] = _free(study.study, store)
    values["seeds"] = {
        "order": secrets.randbelow(10**8),
        "allocation": secrets.randbelow(10**8),
    }
    return values


def questions(chosen: Sequence[str], arms: Sequence[str]) -> list[dict[str, Any]]:
    """The chosen questions in the usual order, each in the arms in which it makes sense."""
    made = []
    for name, words in QUESTIONS.items():
        asked = {"id": name, **words}
        if "arms" in asked:
            asked["arms"] = [arm for arm in asked["arms"] if arm in arms]
        if name in chosen and asked.get("arms") != []:
            made.append(asked)
    return made


def analysis_words(endpoint: Mapping[str, Any], arms: Mapping[str, str]) -> str:
    """What the endpoint's analysis is, in sentences; a start for the analysis plan."""
    control, new = endpoint["compare"]
    measure = MEASURE_WORDS.get(endpoint["measure"], endpoint["measure"])
    of = f" for {PRIMARY_NAMES[endpoint['primary']]}" if endpoint.get("primary") else ""
    readers = (
        "for readers and cases like these"
        if endpoint.get("readers", "random") == "random"
        else "for these very readers"
    )
    aim = endpoint.get("aim", "superiority")
    margin = f" with a margin of {endpoint['margin']:g}" if endpoint.get("margin") else ""
    return (
        f"Difference in {measure}{of}, {arms[new].lower()} minus "
        f"{arms[control].lower()}, mean of the readers; Obuchowski and Rockette's analysis with "
        f"the jackknife over cases, {readers}; {aim}{margin}, alpha "
        f"{endpoint.get('alpha', 0.05):g}. Everything else is exploratory."
    )


def as_yaml(values: Mapping[str, Any]) -> str:
    """The plan as the text of a study.yaml."""
    text: str = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)
    return text


def primaries() -> tuple[str, ...]:
    """The primaries that an endpoint may be about."""
    return tuple(map(str, PRIMARIES))


def _readers(store: Store) -> list[dict[str, Any]]:
    voted = {r.key: r for r in store.readers()}
    signed = [a.name for a in accounts.listed(store) if a.role is Role.READER and not a.disabled]
    names = signed or [r.name for r in voted.values()]
    rows = []
    for number, name in enumerate(names, start=1):
        known = voted.get(Reader(name, "other").key)
        role = known.role if known else "radiologist"
        years = known.years if known and known.years is not None else 0.0
        rows.append({"id": f"r{number:02d}", "name": name, "role": role, "years": float(years)})
    return rows


def _free(name: str, store: Store) -> str:
    taken, free, number = set(plan.studies(store)), name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
