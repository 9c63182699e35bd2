"""The blocks of which a report is made. The PDF and the web page both draw them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = "\u2013"


class Titled(Protocol):
    """What a drawn report says on each page."""

    @property
    def created_at(self) -> datetime: ...

    @property
    def notice(self) -> str: ...


@dataclass(frozen=True)
class Title:
    """The date (UTC) and the notice of a report that is not a dossier."""

    created_at: datetime
    notice: str


@dataclass(frozen=True)
class Heading:
    """``level`` 2 begins a chapter, 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Words:
    """A paragraph; kind "plain", "finding" (larger), "notice" (in a box), "quiet" (small), or
    "joined" and "note" (plain and small, on the page of what follows)."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Table:
    """``widths`` are shares of the page; ``numbers`` are columns to be set right-aligned."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A figure, made when it is first drawn. ``alt`` says in words what it shows."""

    alt: str
    make: Callable[[], Figure]
    width: float = 1.0

    @cached_property
    def figure(self) -> Figure:
        """The drawing, made once."""
        return self.make()


Block = Heading | Words | Table | Picture


def moment(when: object) -> str:
    """A time as "01 Mar 2026, 09:00 UTC"."""
    return f"{when:%d %b %Y, %H:%M} UTC"
