"""The readiness of the readers: who they are, whether they can sign in, what they have seen."""

from __future__ import annotations

from collections.abc import Iterator

from bmcore.domain import BmcoreError, Finding
from bmcore.review.access import Standing, User, allowed
from bmcore.review.readiness_facts import Facts, fault, nearest, note, warning
from bmcore.review.study import Study, StudyReader
from bmcore.review.votes import Reader

TO_FILL_IN = "FILL IN"


def readers(study: Study, facts: Facts) -> Iterator[Finding]:
    """What is wrong with the readers that the plan names."""
    people: dict[str, StudyReader] = {}
    registered = {r.key: r for r in facts.registered}
    for reader in study.readers:
        if reader.name.casefold().startswith(TO_FILL_IN.casefold()):
            what = f"reader {reader.id}: the name is still to be filled in"
            yield fault(what, "write the name of a reader's account in the plan.")
            continue
        try:
            key = Reader(reader.name, reader.role).key
        except BmcoreError as error:
            what = f"reader {reader.id}: {error.findings[0].what}"
            yield fault(what, "correct the name in the plan.")
            continue
        if key in people:
            what = f"readers {people[key].id} and {reader.id} have the same name: {reader.name}"
            yield fault(what, "name each person once.")
        people.setdefault(key, reader)
        yield from _account(reader, key, facts)
        yield from _details(reader, registered.get(key))
    if people and not facts.accounts:
        what = "nobody signs in here: whoever sits at this computer can read as any reader"
        yield warning(what, "make an account for each reader, or watch over who reads.")


def _account(reader: StudyReader, key: str, facts: Facts) -> Iterator[Finding]:
    """What keeps a reader from signing in; nothing where nobody has an account."""
    if not facts.accounts:
        return
    mine = next((a for a in facts.accounts if Reader(a.name, "other").key == key), None)
    if mine is None:
        hint = "make an account of this name on the Accounts page."
        near = nearest(reader.name, [a.name for a in facts.accounts])
        if near is not None:
            hint = f"write {near} in the plan if that is meant, or make an account of this name."
        yield fault(f"reader {reader.name} has no account", hint)
        return
    if mine.disabled:
        what = f"reader {reader.name}: the account is disabled"
        yield fault(what, "an administrator can enable it again.")
    if not allowed(User(mine.name, mine.role), "study.answer", Standing.UNAIDED):
        what = f"reader {reader.name}: the role {mine.role} may not read"
        yield fault(what, "an administrator can change the role.")
    if mine.name != reader.name:
        yield note(f"reader {reader.name} is the account {mine.name}, spelled differently")


def _details(reader: StudyReader, known: Reader | None) -> Iterator[Finding]:
    """What will stand in the report for good."""
    if known is not None and known.role != reader.role:
        what = f"reader {reader.name} is {reader.role} in the plan and voted here as {known.role}"
        yield warning(what, "correct the role in the plan if it is wrong.")
    if reader.years == 0:
        what = f"reader {reader.name} has 0 years of experience in the plan"
        yield warning(what, "fill in the years; they cannot be changed later.")


def blinding(study: Study, facts: Facts) -> Iterator[Finding]:
    """Readers who have seen the models' answers on a case of the study already."""
    for reader in study.readers:
        try:
            seen = facts.seen.get(Reader(reader.name, reader.role).key, frozenset())
        except BmcoreError:
            continue  # named under the readers
        for case_id in study.cases:
            if case_id in seen:
                what = f"reader {reader.name} has seen the models' answers on case {case_id}"
                yield fault(what, "take the case or the reader out of the plan.")
