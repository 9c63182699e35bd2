"""Stored metrics as table rows: a number with its interval, n and method where it has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmcore.stats.estimate import decimals, per_cent, poisson_rate, proportion

NAMES = {
    "accuracy": "Right answers",
    "balanced_accuracy": "Balanced accuracy (each primary counts the same)",
    "macro_auc": "AUC, mean over the primaries",
    "log_loss": "Log loss (lower is better)",
}
_SHARES = ("sensitivity", "sensitivity_from_5_mm")
_COUNTS = ("false_per_case", "False lesions a case")


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a number: what, value, 95 % interval, n, method; nested names are joined."""
    return [
        {
            "What": NAMES.get(name, name.replace("_", " ")),
            "Value": _number(value.get("value")),
            "95 % interval": _interval(value.get("low"), value.get("high")),
            "n": "" if value.get("n") is None else str(value["n"]),
            "Method": str(value.get("method") or ""),
        }
        for name, value in _leaves("", metrics)
    ]


def in_words(row: Mapping[str, str]) -> str:
    """A row of ``metric_rows`` on one line, for instance "0.68 (0.6 to 0.75), n = 300"."""
    interval = f" ({row['95 % interval']})" if row["95 % interval"] else ""
    count = f", n = {row['n']}" if row["n"] else ""
    return f"{row['Value']}{interval}{count}"


def _leaves(prefix: str, metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "value" in value:
            yield name, value
        elif isinstance(value, Mapping):
            yield from _leaves(f"{name}, ", value)
        elif isinstance(value, (int, float, str)) or value is None:
            yield name, {"value": value}


def _number(value: Any, digits: int = 2) -> str:
    if value is None:
        return "not defined"
    if not isinstance(value, float):
        return str(value)
    if 0.99 < value < 1:  # 0.998 is not 1.00
        return next((t for d in (2, 3, 4) if float(t := decimals(value, d)) < 1), "1.00")
    if abs(value) >= 100:
        return decimals(value)
    return decimals(value, digits) if abs(value) >= 0.01 else f"{value:.2g}"


def _interval(low: Any, high: Any, digits: int = 2) -> str:
    if low is None or high is None:
        return ""
    return f"{_number(float(low), digits)} to {_number(float(high), digits)}"


def table_cell(estimate: Any, digits: int = 2) -> str:
    """A number of the model card for a table: "0.54 (0.47 to 0.62)", "0 (no interval, n = 15)",
    "not defined", or empty."""
    if estimate is None or isinstance(estimate, str):
        return estimate or ""
    if not isinstance(estimate, Mapping):
        return _number(estimate, digits)
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "not defined"
    number, interval = _number(float(value), digits), _interval(low, high, digits)
    count = "" if estimate.get("n") is None else f", n = {estimate['n']}"
    return f"{number} ({interval or f'no interval{count}'})"


def share_words(estimate: Mapping[str, Any]) -> str:
    """A share of the model card in a sentence: "47%, 95 % interval 25% to 70%, n = 15"."""
    low, high = estimate["low"], estimate["high"]
    interval = "no interval" if low is None else f"95 % interval {_per_cent(low)} to "
    interval += "" if high is None else _per_cent(high)
    return f"{_per_cent(estimate['value'])}, {interval}, n = {estimate['n']}"


def _per_cent(share: float) -> str:
    return f"{per_cent(share)}%"


def with_ends(card: Any) -> Any:
    """A card as older evaluations wrote it, with intervals where none or all was seen and the
    bootstrap has no width: Wilson's of lesions found, on patients; exact Poisson of false ones."""
    if isinstance(card, list):
        return [with_ends(part) for part in card]
    if not isinstance(card, Mapping):
        return card
    return {key: _at_the_end(key, with_ends(part)) for key, part in card.items()}


def _at_the_end(key: str, found: Any) -> Any:
    if not isinstance(found, Mapping) or not {"value", "low", "high", "n"} <= set(found):
        return found
    value, n = found["value"], found["n"]
    if value is None or found["low"] != found["high"]:
        return found
    if key in _SHARES and value in (0, 1) and n:
        return proportion(value * n, n).as_dict()
    if key in _COUNTS and value == 0 and n:
        return poisson_rate(0, n).as_dict()
    return {**found, "low": None, "high": None}


def size_words(row: Mapping[str, Any]) -> str:
    """The sizes of a row, for instance "under 5 mm", "5 to under 10 mm", "20 mm or more"."""
    low, high = row["low_mm"], row["high_mm"]
    if high is None:
        return f"{low:g} mm or more"
    return f"under {high:g} mm" if low == 0 else f"{low:g} to under {high:g} mm"
