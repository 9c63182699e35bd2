"""What a reader says of a case. A vote is never changed; a changed mind is a new vote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from types import MappingProxyType

from bmcore.domain import (
    ARM_WORDS,
    PRIMARIES,
    PRIMARY_NAMES,
    Finding,
    InputRefused,
    Severity,
    refuse,
)
from bmcore.review import names

ROLE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "radiologist": "Radiologist",
        "neuroradiologist": "Neuroradiologist",
        "oncologist": "Oncologist",
        "other": "Other",
    }
)
CHOICE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{str(p): PRIMARY_NAMES[p] for p in PRIMARIES},
        "other": "Other primary",
        "cannot_tell": "Cannot tell",
    }
)
ROLES = tuple(ROLE_NAMES)
PHASES = ("unaided", "aided")
PRIMARY_CHOICES = tuple(CHOICE_NAMES)
COMMENT_LIMIT = 4000
# Controls but tab and line end, and halves of a character (Unicode's categories Cc and Cs).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Reader:
    """Somebody who votes. Two names that differ only in case or spaces are one reader.

    Characters that cannot be seen are taken out; letters of two alphabets in one name are refused,
    because such a name looks like another one.
    """

    name: str
    role: str
    years: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", names.tidy(_text(self.name)))
        problems = _name_problems("reader", self.name, 80) + _choice("role", self.role, ROLES)
        alphabets = names.mixed_alphabets(self.name)
        if alphabets:
            what = "the reader's name mixes letters of two alphabets"
            problems.append(_problem(what, " and ".join(alphabets), hint="type it again in one."))
        if self.years is not None and not 0 <= self.years <= 80:  # NaN fails this too
            problems.append(_problem("years of experience must lie in 0 to 80", self.years))
        if problems:
            raise InputRefused(*problems)

    @property
    def key(self) -> str:
        """What makes a reader unique."""
        return names.key(self.name)


@dataclass(frozen=True)
class Evidence:
    """What an answer rests on, by SHA-256 (hex); None where there is none or it is not known.

    images: of the case's images; bundle: digest of the models; run and prediction: name and hash
    of the stored prediction that was shown.
    """

    images: str | None = None
    bundle: str | None = None
    run: str | None = None
    prediction: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Answer:
    case_id: str
    reader: str
    role: str
    phase: str
    primary: str
    confidence: int
    idempotency_key: str
    segmentation_quality: int | None = None
    comment: str = ""
    bundle_digest: str | None = None
    model_primary: str | None = None
    reason: str | None = None
    images_sha256: str | None = None
    prediction_run: str | None = None
    prediction_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class VoteDraft(_Answer):
    """A vote to be stored. The constructor refuses what cannot be stored, all problems at once.

    role: see ROLES; phase: "unaided" or "aided"; primary: see PRIMARY_CHOICES; confidence: 0-100,
    a whole number; segmentation_quality: 1-5, None if not rated, always None when unaided;
    comment: up to 4000 characters; bundle_digest: of the models at hand; model_primary: the fused
    answer that the reader saw, None when unaided or where there was none; reason: why an earlier
    vote is replaced, else None; idempotency_key: one a form, so that a double click is one vote;
    images_sha256, prediction_run, prediction_sha256: what the vote rests on, see ``Evidence``.
    """

    def __post_init__(self) -> None:
        self._tidy()
        problems = [
            *_name_problems("case", self.case_id, 200),
            *_name_problems("reader", self.reader, 80),
            *_name_problems("idempotency key", self.idempotency_key, 100),
            *_choice("role", self.role, ROLES),
            *_choice("phase", self.phase, PHASES),
            *_choice("primary", self.primary, PRIMARY_CHOICES),
            *_whole("confidence", self.confidence, 0, 100),
            *_long_text("comment", self.comment),
            *self._what_was_shown(),
        ]
        if self.reason is not None:
            problems += _long_text("reason", self.reason)
            if not self.reason:
                problems.append(_problem("the reason for a change is empty", hint="write why."))
        if problems:
            raise InputRefused(*problems)

    def _tidy(self) -> None:
        """Same text, however it was typed: trimmed, composed characters, line ends as \\n."""
        object.__setattr__(self, "reader", names.tidy(_text(self.reader)))
        for name in ("case_id", "idempotency_key"):
            object.__setattr__(self, name, " ".join(_text(getattr(self, name)).split()))
        for name in ("comment", "reason"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _tidy_lines(value))
        for name in ("role", "phase", "primary", "model_primary"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _text(value))

    def _what_was_shown(self) -> list[Finding]:
        problems: list[Finding] = []
        if self.bundle_digest is not None:
            problems += _name_problems("bundle digest", self.bundle_digest, 200)
        if self.phase == "unaided":
            for name in ("segmentation_quality", "model_primary", "prediction_sha256"):
                if getattr(self, name) is not None:
                    what = f"{name} must be empty in a vote {ARM_WORDS[self.phase]}"
                    problems.append(_problem(what, getattr(self, name), "nothing was shown yet"))
            return problems
        if self.segmentation_quality is not None:
            problems += _whole("segmentation quality", self.segmentation_quality, 1, 5)
        if self.model_primary is not None:
            problems += _choice("model_primary", self.model_primary, tuple(map(str, PRIMARIES)))
        return problems


@dataclass(frozen=True, kw_only=True)
class Vote(_Answer):
    """A stored vote. ``created_at`` is aware, in UTC; ``supersedes`` is the id it replaces.

    mask_sha256, marks_sha256: the reader's corrected mask and marks when the vote was stored.
    """

    id: int
    created_at: datetime
    supersedes: int | None = None
    mask_sha256: str | None = None
    marks_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.created_at.utcoffset() != timedelta(0):
            raise ValueError(f"created_at must be aware and in UTC, but is {self.created_at!r}")

    def says_the_same_as(self, draft: VoteDraft) -> bool:
        """True where ``draft`` is this vote submitted once more."""
        return all(
            _spelling(f.name, getattr(self, f.name)) == _spelling(f.name, getattr(draft, f.name))
            for f in fields(_Answer)
        )


def current(votes: Iterable[Vote]) -> list[Vote]:
    """The latest vote of each reader, case and phase, oldest first."""
    latest: dict[tuple[str, str, str], Vote] = {}
    for vote in sorted(votes, key=lambda v: v.id):
        latest[(vote.reader, vote.case_id, vote.phase)] = vote
    return sorted(latest.values(), key=lambda v: v.id)


def _spelling(name: str, value: object) -> object:
    return Reader(str(value), "other").key if name == "reader" else value


def free_text(what: str, value: str) -> str:
    """A note or a reason as it is stored: tidied like those of a vote, and refused like them."""
    text = _tidy_lines(value)
    problems = _long_text(what, text)
    if problems:
        raise InputRefused(*problems)
    return text


def check_text(what: str, value: str) -> None:
    """Refuse a text that holds what no database keeps."""
    problems = _unprintable(what, value)
    if problems:
        raise InputRefused(*problems)


def _tidy_lines(value: object) -> str:
    return _text(value).replace("\r\n", "\n").replace("\r", "\n").strip()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise refuse("this must be text", found=repr(value), expected="text")
    return unicodedata.normalize("NFC", str(value))


def _problem(
    what: str, found: object = None, expected: str | None = None, hint: str | None = None
) -> Finding:
    shown = None if found is None else str(found)[:80]
    return Finding(Severity.REFUSED, what, None, shown, expected, hint)


def _name_problems(what: str, value: str, limit: int) -> list[Finding]:
    if not value:
        return [_problem(f"the {what} is empty", expected=f"1 to {limit} characters")]
    if len(value) > limit:
        found = f"{len(value)} characters"
        return [_problem(f"the {what} is too long", found, f"{limit} at most")]
    return _unprintable(what, value)


def _long_text(what: str, value: str) -> list[Finding]:
    if len(value) > COMMENT_LIMIT:
        found, expected = f"{len(value)} characters", f"{COMMENT_LIMIT} at most"
        return [_problem(f"the {what} is too long", found, expected, "shorten it.")]
    return _unprintable(what, value)


def _unprintable(what: str, value: str) -> list[Finding]:
    character = _UNPRINTABLE.search(value)
    if character is None:
        return []
    found = f"U+{ord(character[0]):04X} at character {character.start() + 1}"
    sentence = f"the {what} holds a character that cannot be stored"
    return [_problem(sentence, found, hint="delete that character.")]


def _choice(what: str, value: str, allowed: tuple[str, ...]) -> list[Finding]:
    if value in allowed:
        return []
    hint = "choose one." if not value else None
    return [_problem(f"{what} is not one of the choices", repr(value), ", ".join(allowed), hint)]


def _whole(what: str, value: object, low: int, high: int) -> list[Finding]:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return []
    return [_problem(f"{what} must be a whole number from {low} to {high}", repr(value))]
