"""Legends of codes: what stands beside a heading, and what a user says. A legend is understood as
a whole or not at all; what it leaves open is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bmcore.domain import InputRefused, refuse
from bmcore.intake.clinical_values import (
    MISSING,
    TWO_MEANINGS,
    WHEN,
    WORDS,
    Word,
    code_key,
    is_code,
    meaning,
    plain_word,
    tidy,
)

NOT_UNDERSTOOD = "the legend in its heading is not understood"
NOTE_NOT_UNDERSTOOD = "the note in its heading is not understood"
_SAYS = re.compile(
    r"\s*(?::=|=+>?|[-–—]+>|[→⇒≙≡≘:])\s*|(?<=\w)\s+(?:[-–—]|is|means|ist|est|es)\s+(?=\w)"
)
_BETWEEN = (";", "|", ",", "/")
_NO_ANSWER = {
    "unclear", "unsure", "uncertain", "unspecified", "not done", "not applicable", "not stated",
    "not given", "not assessed", "unbekannt", "keine angabe", "k.a", "inconnu", "desconocido",
}  # fmt: skip
_NEITHER = {"other", "d", "divers", "diverse", "intersex", "non binary", "nonbinary", "x"}
_NOTHING: Mapping[str, Word] = {
    "extracranial_metastases": False,
    "smoking": "never",
}  # what "none" may mean there
# Notes of a heading that change nothing in how its cells are read.
_HARMLESS: Mapping[str, str] = {
    "sex": r"(?:(?:biological|legal|registered|assigned)(?: sex)?(?: at birth)?|at birth|gender|sex"
    r"|self reported)",
    "smoking": r"(?:(?:smoking )?(?:status|history)|tobacco|cigarettes)",
    "extracranial_metastases": r"(?:known|outside (?:of )?the brain|other than brain|extracranial)",
    "primary": r"(?:(?:primary )?(?:histology|site|tumou?r|cancer|type|organ|origin|location)"
    r"|(?:cancer|tumou?r) (?:type|site))",
}


@dataclass(frozen=True)
class Note:
    """What stands beside a heading. legend: code -> value; listed: it lists the words of the
    column, without codes; problem: why it is not understood, "" where it is."""

    legend: Mapping[str, Word] = field(default_factory=dict)
    listed: bool = False
    problem: str = ""


def read_note(name: str, text: str) -> Note:
    """The note of a heading of field ``name``, whose cells are words or codes."""
    text = _plain_note(text)
    if not text:
        return Note()
    if "=" in text:
        try:
            return Note(legend_in(name, text))
        except InputRefused as refusal:
            return Note(problem=f"{NOT_UNDERSTOOD} ({refusal.findings[0].what})")
        except ValueError:
            return Note(problem=NOT_UNDERSTOOD)
    items = [plain_word(item) for item in re.split(r"[;|,/]|\bor\b", text) if item.strip()]
    if all(
        re.fullmatch(f"(?:{_HARMLESS[name]}|{WHEN}|(?:of (?:the )?)?patient)", item)
        for item in items
    ):
        return Note()
    if all(is_code(item) or item in MISSING for item in items) and len(items) > 1:
        return Note()
    values = [_value_or_none(name, item) for item in items]
    known = all(_known(name, item) for item in items)
    if known and len({v for v in values if v is not None}) > 1:
        return Note(listed=True)
    return Note(problem=NOTE_NOT_UNDERSTOOD)


def legend_in(name: str, text: str) -> dict[str, Word]:
    """Code -> value, of "0 = yes, 1 = no", "yes=0; no=1" or "0/1 = yes/no".

    A meaning such as "unknown" makes the code a missing value. ValueError where any part is not
    understood; InputRefused where one code has two meanings.
    """
    pairs = _pairs(_plain_note(text))
    if not pairs or name not in WORDS:
        raise ValueError(text)
    found: dict[str, Word] = {}
    nothing = []
    for first, second in pairs:
        code, word = _code_and_word(name, first, second)
        key = code_key(code)
        if name in _NOTHING and plain_word(word) in TWO_MEANINGS:
            nothing.append(key)
            continue
        value = _value(name, word)
        if found.setdefault(key, value) != value:
            raise _two_meanings(code, text)
    for key in nothing:
        # "none" is none of them where the legend has another word beside it, and no other "no"
        if key in found or len(nothing) > 1 or not _others(found, _NOTHING[name]):
            raise ValueError(text)
        found[key] = _NOTHING[name]
    numbers = {key: value for key, value in found.items() if is_code(key) and value is not None}
    if len(numbers) > 1 and len(set(numbers.values())) == 1:
        raise ValueError(text)  # "1 = male, 2 = male": a slip, whichever was meant
    return found


def parse_legends(texts: Iterable[str]) -> dict[str, dict[str, Word]]:
    """Legends as typed, "sex: 1=male, 2=female" -> field -> code -> value.

    Several of one field count together. InputRefused where one is not understood, or two
    contradict each other.
    """
    found: dict[str, dict[str, Word]] = {}
    for text in texts:
        name, _, rest = tidy(text).partition(":")
        plain = plain_word(name).replace(" ", "_")
        column = {"extracranial": "extracranial_metastases"}.get(plain, plain)
        try:
            legend = legend_in(column, rest)
        except ValueError as error:
            raise refuse(
                "the legend is not understood",
                found=text[:80],
                expected="for instance 'sex: 1=male, 2=female'; fields " + ", ".join(WORDS),
            ) from error
        own = found.setdefault(column, {})
        for code, value in legend.items():
            if own.setdefault(code, value) != value:
                raise _two_meanings(code, text)
    return found


def _plain_note(text: str) -> str:
    """A note with "=" for each sign and word that says what a code means."""
    plain = re.sub(r"(?i)(?<!\w)#?n/a(?!\w)", "na", tidy(text))
    return _SAYS.sub("=", plain).strip(" ,;|/")


def _pairs(text: str) -> list[tuple[str, str]] | None:
    """The two sides of each "=" of a legend; None where any part of it is left over."""
    text = text.strip(" ,;|/")
    if text.count("=") == 1:
        first, second = text.split("=")
        sides = next(
            ((first.split(m), second.split(m)) for m in _BETWEEN if m in text), ([first], [second])
        )
        if len(sides[0]) != len(sides[1]) or not all(s.strip() for side in sides for s in side):
            return None
        return [(a.strip(), b.strip()) for a, b in zip(*sides, strict=True)]
    for mark in _BETWEEN:
        pieces = [piece for piece in text.split(mark) if piece.strip()]
        if len(pieces) > 1 and all("=" in piece for piece in pieces):
            return _all_pairs(pieces)
    pieces = re.split(r"\s+(?=\S+=)", text)
    return (
        _all_pairs(pieces) if len(pieces) > 1 and all(p.count("=") == 1 for p in pieces) else None
    )


def _all_pairs(pieces: Iterable[str]) -> list[tuple[str, str]] | None:
    found = [_pairs(piece) for piece in pieces]
    return None if None in found else [pair for pairs in found for pair in pairs or ()]


def _code_and_word(name: str, first: str, second: str) -> tuple[str, str]:
    """Which side is the code: the number; else the one that is no word of the field; of two words
    the single letter. ValueError where that does not tell."""
    if is_code(first) != is_code(second):
        return (first, second) if is_code(first) else (second, first)
    if is_code(first):
        raise ValueError(first)
    known = [_known(name, side) for side in (first, second)]
    if known == [True, True] and _value(name, first) != _value(name, second):
        known = [len(first) > 1, len(second) > 1]
        if known[0] == known[1]:
            raise ValueError(first)
    code, word = (first, second) if known[1] else (second, first)
    if (re.search(r"\d", code) and " " in code) or re.search(r"[!≠<>≤≥~¬]", code):
        raise ValueError(code)
    return code, word


def _value(name: str, word: str) -> Word:
    """The value of a word of a legend; ValueError where the word is not known."""
    plain = plain_word(word).rstrip(".") or plain_word(word)
    try:
        return meaning(name, plain)
    except KeyError:
        missing = MISSING | _NO_ANSWER | (_NEITHER if name == "sex" else set())
        if plain in missing or plain_word(word) in missing:
            return None
        raise ValueError(word) from None


def _value_or_none(name: str, word: str) -> Word:
    try:
        return _value(name, word)
    except ValueError:
        return None


def _known(name: str, word: str) -> bool:
    try:
        _value(name, word)
    except ValueError:
        return name in _NOTHING and plain_word(word) in TWO_MEANINGS
    return True


def _others(found: Mapping[str, Word], none: Word) -> bool:
    values = {value for value in found.values() if value is not None}
    return bool(values) and none not in values


def _two_meanings(code: str, text: str) -> Exception:
    return refuse(
        f"the legend gives two meanings for {code}",
        found=text[:80],
        expected="one meaning for each code",
    )
