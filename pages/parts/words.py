"""Small pieces of text shared by the pages."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import streamlit as st

from bmcore.domain import (
    ANSWER_SOURCES,
    PRIMARY_NAMES,
    SIDE_NOT_KNOWN,
    Answer,
    BmcoreError,
    ClinicalRecord,
    Finding,
    Lesion,
)
from bmcore.stats.estimate import decimals

EMPTY_RECORD_WORDS = {
    "clinical": "how common each primary is, since nothing of the record is known",
    "fused": "the images alone, since nothing of the record is known",
}
STATE_WORDS = {
    "none": "Not run",
    "queued": "Queued",
    "running": "Running",
    "done": "Answer ready",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
# What could begin a link, a picture, a style, a formula or an entity.
_MARKS = re.compile(r"[\\`*_\[\]<>$~@]|:(?=\S)|&(?=[#\w])")
# Streamlit makes icons, links and arrows out of text that was escaped, too. A character that is
# not seen (word joiner) takes these apart.
_JOINER = "\u2060"
_BLANKS = re.compile(r"[^\S\u00a0\u202f]+")  # but those that keep a number and its unit together
_TAKEN_APART = re.compile(r":(?=\S)|@|(?<=ww)w(?=\.)|[-<>=~](?=[-<>=~])", re.IGNORECASE)


def best_guess(answer: Answer, record: ClinicalRecord | None = None) -> str:
    """One sentence: the highest answer and the next one, or why there is none or it abstains.

    record: the clinical record behind it; where nothing of it is known, that is said.
    """
    source = ANSWER_SOURCES[answer.kind]
    if record is not None and len(record.missing) == len(record.__dataclass_fields__):
        source = EMPTY_RECORD_WORDS.get(answer.kind, source)
    if answer.probabilities is None:
        return f"No answer from {source}, because {answer.reason}."
    if answer.abstains is not None:
        return f"The answer from {source} abstains: {answer.abstains}."
    ranked = sorted(zip(answer.probabilities, PRIMARY_NAMES.items(), strict=True), reverse=True)
    (first, (_, name)), (second, (_, runner_up)) = ranked[:2]
    shares = (decimals(100 * first), decimals(100 * second))
    return f"From {source}: {name} {shares[0]}%, then {runner_up} {shares[1]}%."


def in_words(error: BmcoreError) -> str:
    """Short sentences: what, why, what to do."""
    lines = []
    for finding in error.findings:
        parts = [finding.what, finding.found, finding.hint]
        told = [part.rstrip(".") for part in parts if part]
        lines.append(" ".join(f"{part[:1].upper()}{part[1:]}." for part in told))
    return " ".join(lines)


def escaped(text: str) -> str:
    """Words of users and plans for what Streamlit reads as Markdown: shown as they were typed."""
    apart = _TAKEN_APART.sub(lambda mark: f"{mark[0]}{_JOINER}", _BLANKS.sub(" ", text).strip())
    plain = _MARKS.sub(r"\\\g<0>", apart)
    return re.sub(r"^(\d*)([.)#+-])", r"\1\\\2", plain)


def sentence(finding: Finding) -> str:
    """A finding on one line, as Markdown: a capital in front where no file stands there."""
    said = finding.sentence
    return escaped(said if finding.file else said[:1].upper() + said[1:])


def clinical(record: ClinicalRecord) -> str:
    """Age and sex on one line; what is missing is said."""
    age = "age not known" if record.age_years is None else f"{record.age_years:.0f} years"
    return f"{age}, {record.sex or 'sex not known'}"


def place(lesion: Lesion) -> str:
    """For instance "Left frontal"; what cannot be told is said."""
    if lesion.region == "unknown":
        text = f"{lesion.side}, lobe not known"
    elif lesion.side == SIDE_NOT_KNOWN:
        text = f"{lesion.region}, {SIDE_NOT_KNOWN}"
    else:
        text = f"{'midline' if lesion.side == 'midline' else lesion.side} {lesion.region}"
    return text[:1].upper() + text[1:]


def when(moment: datetime) -> str:
    """A time (UTC where it has no zone) as "23 Nov 2026, 12:04", where the user is."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(_zone()).strftime("%-d %b %Y, %H:%M")


def day(of: date) -> str:
    """For instance "23 Nov 2026"."""
    return of.strftime("%-d %b %Y")


def _zone() -> tzinfo | None:
    """The zone that the browser told; the server's (None) where it told none that is known."""
    try:
        name = st.context.timezone
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None


def duration(seconds: float) -> str:
    """For instance "about 40 seconds" or "about 3 minutes"."""
    if seconds < 90:
        return f"about {max(5, round(seconds / 5) * 5)} seconds"
    return f"about {round(seconds / 60)} minutes"


def seconds_left(eta_s: float | None) -> str:
    """For instance "about 40 s left"; empty if it cannot be told."""
    if eta_s is None:
        return ""
    if eta_s < 90:
        return f"about {max(5, round(eta_s / 5) * 5)} s left"
    return f"about {round(eta_s / 60)} min left"


def count(number: int, noun: str) -> str:
    """For instance "1 case" or "3 cases"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
