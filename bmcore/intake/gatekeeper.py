"""One list of findings a case: what stops it, what goes along into prediction, page and report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from bmcore.domain import (
    SEQUENCE_NAMES,
    SEQUENCES,
    ClinicalRecord,
    Finding,
    InputRefused,
    Severity,
)
from bmcore.intake.clinical_values import ADULT_YEARS

_ORDER = (Severity.REFUSED, Severity.WARNING, Severity.INFO)


def collect(*groups: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings of all groups, each once, the gravest first."""
    found = dict.fromkeys(finding for group in groups for finding in group)
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def blocking(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that must stop a prediction."""
    return tuple(f for f in findings if f.severity is Severity.REFUSED)


def stop(findings: Iterable[Finding]) -> None:
    """Raise InputRefused with the blocking findings, if there are any."""
    found = blocking(findings)
    if found:
        raise InputRefused(*found)


def of_record(record: ClinicalRecord) -> tuple[Finding, ...]:
    """What is doubtful about a clinical record."""
    if record.age_years is None or record.age_years >= ADULT_YEARS:
        return ()
    return (
        Finding(
            Severity.WARNING,
            f"the age is below {ADULT_YEARS:.0f}; the models know adults only",
            found=f"{record.age_years:g} years",
            expected="an adult",
            hint="check the age; leave it empty if it is not known.",
        ),
    )


def as_named(findings: Iterable[Finding], names: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings with files as the user named them. names: sequence -> name of its file."""
    return tuple(replace(f, file=names.get(f.file or "", f.file)) for f in findings)


def missing(there: Collection[str]) -> list[Finding]:
    """A note for each sequence that is not ``there``."""
    return [
        Finding(
            Severity.INFO,
            f"the sequence {SEQUENCE_NAMES[s]} ({s}) is missing; the models work without it, "
            "less surely",
        )
        for s in SEQUENCES
        if s not in there
    ]
