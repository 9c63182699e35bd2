"""Whose marks on what: a reader, or the drawer of a study's reading, and a case."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from bmcore.domain import refuse
from bmcore.review.allocation import Place
from bmcore.review.study import Study
from bmcore.review.votes import Reader


@dataclass(frozen=True)
class Owner:
    """reader: the name under which marks and corrections of ``case_id`` are kept."""

    case_id: str
    reader: str

    def __post_init__(self) -> None:
        if not self.reader.strip():
            raise refuse("a mark needs a reader", hint="say who is reading.")

    @property
    def key(self) -> str:
        """As a reader's: two spellings of a name are one person."""
        return Reader(self.reader, "other").key

    @property
    def columns(self) -> dict[str, str]:
        return {"case_id": self.case_id, "reader": self.reader, "reader_key": self.key}

    def at(self, table: sa.Table, site: str) -> list[sa.ColumnElement[bool]]:
        """Conditions that find the own rows of ``site`` in ``table``."""
        return [
            table.c.site == site,
            table.c.case_id == self.case_id,
            table.c.reader_key == self.key,
        ]


def drawer(study: Study, place: Place) -> str:
    """The name under which the marks and corrections of this reading are kept.

    Each occasion has its own, and in a crossover each arm, so that a later reading shows nothing of
    the one before; the arms of a sequential design follow on each other and share one. A digest,
    so that what the browser receives does not tell which reading it is.
    """
    apart = place.arm if study.design.kind == "crossover" else ""
    words = "|".join([study.study, place.reader, place.case_id, str(place.occasion), apart])
    return "study " + hashlib.sha256(words.encode()).hexdigest()[:24]
