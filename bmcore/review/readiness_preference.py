"""Is there, on each case, what a blinded comparison of two segmentations shows?"""

from __future__ import annotations

from collections.abc import Iterator

from bmcore.domain import Finding
from bmcore.review.readiness_facts import Facts, fault
from bmcore.review.study import Study

BUNDLE = "bundle:"


def preference(study: Study, facts: Facts) -> Iterator[Finding]:
    """What of the two candidates is missing; that the loaded models have read the cases is asked
    under "models"."""
    if study.preference is None:
        return
    candidates = study.preference.candidates
    yield from _one_and_the_same(candidates, facts)
    for candidate in candidates:
        if candidate == "reference":
            yield from _references(study, facts)
        elif candidate.startswith(BUNDLE):
            yield from _predictions(study, facts, candidate.removeprefix(BUNDLE))


def named(study: Study) -> tuple[str, ...]:
    """The digests of the bundles that a plan compares besides the loaded models."""
    asked = study.preference.candidates if study.preference is not None else ()
    return tuple(c.removeprefix(BUNDLE) for c in asked if c.startswith(BUNDLE))


def _one_and_the_same(candidates: tuple[str, str], facts: Facts) -> Iterator[Finding]:
    first, second = (c.removeprefix(BUNDLE) for c in candidates)
    if facts.bundle is not None:
        first, second = (facts.bundle.digest if c == "models" else c for c in (first, second))
    if "reference" not in candidates and first[:16] == second[:16]:
        what = f"both segmentations that are compared come from one bundle ({first[:16]})"
        yield fault(what, "name another bundle by its hash, or the reference.")


def _references(study: Study, facts: Facts) -> Iterator[Finding]:
    for case_id in study.cases:
        state = facts.cases.get(case_id)
        if state is not None and not state.outlined:
            what = f"case {case_id} has no reference mask to compare with"
            yield fault(
                what,
                "bring the mask under “Reference primaries and masks”, or ask for no preference.",
            )


def _predictions(study: Study, facts: Facts, digest: str) -> Iterator[Finding]:
    there = {c: facts.cases[c] for c in study.cases if c in facts.cases}
    lacking = [c for c, state in there.items() if digest not in state.segmented]
    hint = "run predict with that bundle on it, with this home folder."
    if lacking and len(lacking) == len(there):
        what = f"no case of the plan was read by the bundle {digest[:16]} that is compared"
        yield fault(what, "check the hash, or run predict with that bundle.")
        return
    for case_id in lacking:
        what = f"case {case_id} has no segmentation by the bundle {digest[:16]} to compare"
        yield fault(what, hint)
