"""What a new plan is held to besides its form: names and questions that can mean one thing only.

A plan that was locked before a rule was made opens as it is, see ``study.parse_study``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bmcore.models import case_mix
from bmcore.review import names
from bmcore.review.plan_question import FREE, Question


def case_lists(
    cases: Sequence[str], practice: Sequence[str], training: Sequence[str]
) -> Iterator[str]:
    """Cases that are one case in two spellings, within a list and between them."""
    yield from _within("cases", cases)
    yield from _within("practice", practice)
    known = "a training case; the models know it, so take it out"
    yield from _between("cases", cases, training, known)
    yield from _between("practice", practice, training, known)
    yield from _between("practice", practice, cases, "a counted case; take it out of one list")


def doubles(what: str, values: Iterable[str]) -> Iterator[str]:
    """What stands in a list more than once."""
    for value, times in Counter(values).items():
        if times > 1:
            yield f"{what} {value} appears {times} times; expected once"


def blanks(texts: Mapping[str, str]) -> Iterator[str]:
    """Texts in which nothing can be seen. texts: by their keys."""
    for key, text in texts.items():
        if not names.as_seen(text):
            yield f"{key}: nothing in it can be seen (it is {ascii(text)[:80]}); write a text"


def mix(counts: Mapping[str, float] | None) -> Iterator[str]:
    """Shares beside numbers of patients in a case mix."""
    if counts is not None and case_mix.of_two_kinds(counts):
        yield f"case_mix: the numbers must be {case_mix.ONE_KIND}; found {counts}"


def people(readers: Sequence[str]) -> Iterator[str]:
    """Names of readers that would be taken for one another, or that cannot be a name."""
    first: dict[str, str] = {}
    for number, name in enumerate(readers):
        if alphabets := names.mixed_alphabets(name):
            letters = " and ".join(alphabets)
            yield f"readers[{number}].name: {name} mixes {letters} letters; type it in one alphabet"
        look = names.look(names.as_seen(name))
        other = first.setdefault(look, name)
        if look and " ".join(other.split()).casefold() != " ".join(name.split()).casefold():
            yield f"readers: name {_spelled(other, name)}; name each person once"


def questions(asked: Sequence[Question], arms: Sequence[str]) -> Iterator[str]:
    """Several questions of a kind that is counted once a reading; a primary that is not asked."""
    for kind, times in Counter(q.kind for q in asked).items():
        if times > 1 and kind not in FREE:
            yield (
                f"questions: {times} are of kind {kind}; expected one at most (of {', '.join(FREE)}"
                " there may be several)"
            )
    for question in asked:
        left = [arm for arm in arms if question.arms is not None and arm not in question.arms]
        if question.kind == "primary" and left:
            yield (
                f"questions: {question.id} is of kind primary and must be asked in every arm of "
                f"the design, but is not in {', '.join(left)}; a reading without it counts nowhere"
            )


def _within(what: str, values: Sequence[str]) -> Iterator[str]:
    first: dict[str, str] = {}
    for value in values:
        other = first.setdefault(names.as_seen(value), value)
        if other != value and names.as_seen(value):
            yield f"{what}: {_spelled(other, value)}; expected once, in one spelling"


def _between(what: str, values: Sequence[str], others: Sequence[str], why: str) -> Iterator[str]:
    known, same = {names.as_seen(o): o for o in others}, set(others)
    for value in values:
        other = known.get(names.as_seen(value))
        if other is not None and value not in same and names.as_seen(value):
            yield f"{what}: {_spelled(value, other)} and is {why}"


def _spelled(one: str, other: str) -> str:
    """The two in plain characters too: on the screen they look the same."""
    return f"{names.as_seen(one)} stands in two spellings ({one!a} and {other!a})"
