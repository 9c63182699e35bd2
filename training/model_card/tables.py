"""Pieces of the model card in Markdown: sections, tables, numbers with their interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmcore.domain import PRIMARY_NAMES

WORDS = {str(k): v for k, v in PRIMARY_NAMES.items()}
Card = Mapping[str, Any]


def cell(estimate: Any, digits: int = 2) -> str:
    """``0.54 (0.47 to 0.62)`` from an estimate as JSON; "not defined" where it has no value."""
    if estimate is None:
        return ""
    if not isinstance(estimate, Mapping):
        return f"{estimate:.{digits}f}" if isinstance(estimate, float) else str(estimate)
    if estimate.get("value") is None:
        return "not defined"
    text = f"{estimate['value']:z.{digits}f}"
    if estimate.get("low") is None:
        return text
    return f"{text} ({estimate['low']:z.{digits}f} to {estimate['high']:z.{digits}f})"


def section(title: str, body: Sequence[str], level: int = 2) -> list[str]:
    return [f"{'#' * level} {title}", "", *body, ""]


def bullets(sentences: Sequence[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def goals(rows: Sequence[Card]) -> list[str]:
    """Aimed at, found, met or not; three digits, since 0.746 misses 0.75."""
    body = [[r["goal"], cell(r["found"], 3), "yes" if r["met"] else "no"] for r in rows]
    return table(["Goal", "Found", "Met"], body)


def subgroups(tables: Card, columns: Mapping[str, str], minimum: int) -> list[str]:
    lines = []
    for title, rows in tables.items():
        body = [
            [r["name"], str(r["n"]),
             *([cell(r["numbers"][c]) for c in columns] if r["numbers"]
               else [r["words"], *[""] * (len(columns) - 1)])]
            for r in rows
        ]  # fmt: skip
        rows_of = table([title, "Patients", *columns.values()], body)
        lines += section(f"By {title.lower()} (from {minimum} patients)", rows_of, 3)
    return lines
