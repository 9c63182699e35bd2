"""What a table's module needs of the store: to do its work in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import sqlalchemy as sa

T = TypeVar("T")


class Transactions(Protocol):
    """A ``Store``, as far as ``marks`` and ``corrections``, which the store imports, know it."""

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction that only reads."""
        ...

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction that writes; all of it is stored or nothing."""
        ...
