"""Pseudonyms by a keyed hash, and descriptions without the words that name a person.

The key lies in the home folder, readable by this account only. The same patient has the same
pseudonym as long as the key is kept; without the key nobody can tell which patient it was, not even
by trying all names. Dates are dropped, or where the site wants it moved: all of one patient by the
same number of days, which the key and the patient make, so that order and intervals stay.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from bmcore import disk
from bmcore.domain import refuse

KEY_FILE = "pseudonyms.key"
_KEY_BYTES = 32
_LEAST_WORD = 3  # shorter pieces of a name would blot out half of every description
_BLOT = "…"
_MOST_SHOWN = 64
_MOVED_DAYS = (
    366,
    5 * 365,
)  # into the past; the largest is longer than what a date tells by itself


class Pseudonyms:
    """New names and UIDs for those of a hospital; the same for the same key."""

    def __init__(self, key: bytes) -> None:
        if len(key) < _KEY_BYTES:
            raise ValueError(f"the key must hold {_KEY_BYTES} bytes, but holds {len(key)}")
        self._key = key

    def patient(self, identity: str) -> str:
        """A pseudonym like ``p1f0c22e9ab``."""
        return "p" + self._digest("patient", identity)[:10]

    def case_id(self, identity: str, study_uid: str) -> str:
        """The pseudonym of a patient at one time point: the patient's, and the examination's."""
        return f"{self.patient(identity)}-e{self._digest('study', study_uid)[:6]}"

    def uid(self, uid: str) -> str:
        """A valid UID (2.25, 128 bits) instead of ``uid``, which may be illegal."""
        return f"2.25.{int(self._digest('uid', uid)[:32], 16)}"

    def moved(self, identity: str, day: str) -> str | None:
        """The date (ISO) of an examination of this patient, moved into the past; None for no date.

        All dates of one patient move by the same number of days, 366 to 1825.
        """
        try:
            known = dt.date.fromisoformat(day)
        except ValueError:
            return None
        low, high = _MOVED_DAYS
        days = low + int(self._digest("days", identity)[:12], 16) % (high - low + 1)
        if known.toordinal() <= days:
            return None  # year 1 to 5: no date at all
        return (known - dt.timedelta(days=days)).isoformat()

    def mark(self, what: str, text: str) -> str:
        """A name for ``text`` that tells nothing of it: 32 letters, the same for the same key."""
        return self._digest(what, text)[:32]

    def _digest(self, what: str, text: str) -> str:
        return hmac.new(self._key, f"{what}\0{text}".encode(), hashlib.sha256).hexdigest()


def pseudonyms_of(home: Path) -> Pseudonyms:
    """The pseudonyms of this home; its key is made at first use. InputRefused for a damaged key."""
    path = disk.open_home(home) / KEY_FILE
    if not path.exists():
        try:
            with disk.create(path, "xb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            disk.sync(path)
        except FileExistsError:
            pass  # another process was quicker; its key is as good
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise refuse(
            "the key of the pseudonyms is damaged",
            file=path,
            found=f"{len(key)} bytes",
            expected=f"{_KEY_BYTES} bytes",
            hint="restore the key from a backup; a new one gives every patient a new pseudonym.",
        )
    return Pseudonyms(key)


def naming_words(values: Iterable[str]) -> set[str]:
    """The words of names, addresses and numbers that must not be shown, in lower case."""
    words = set()
    for value in values:
        for word in re.split(r"[\s^=\\,;/()<>\"']+", _plain(value)):
            if len(word) >= _LEAST_WORD or (word and not word.isascii()):
                words.add(word)
    return words - _ORDINARY


# Words of descriptions that also stand in the fields of test data and phantoms.
_ORDINARY = {
    *("brain", "head", "mri", "mrt", "irm", "test", "case", "post", "pre", "axial", "anonymous"),
    *("none", "unknown", "anonymized", "flair", "tse", "cor", "sag", "tra", "gad"),
}


def shown(text: str, naming: set[str]) -> str:
    """A description as it may be shown: on one line, short, without any of ``naming``."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    for word in sorted(naming, key=len, reverse=True):
        line = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", _BLOT, line, flags=re.IGNORECASE)
        if len(word) >= 2 * _LEAST_WORD or not word.isascii():  # also within a longer word
            line = re.sub(re.escape(word), _BLOT, line, flags=re.IGNORECASE)
    return line[:_MOST_SHOWN]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()
