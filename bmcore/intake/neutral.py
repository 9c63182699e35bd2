"""What is kept of a case speaks of its sequences, never of the names its files had.

A file's name, and the folder's, may name a patient. They are shown to whoever brings the files;
stored, logged and exported is "t1c" or "file 2 of 5".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bmcore.domain import SEQUENCES, Case, Finding, Truth
from bmcore.intake.choice import Choice
from bmcore.intake.clean_file import content_digest
from bmcore.intake.raw import RawStudy

# Pseudonyms that a public data set gave; any other name of a folder or file may be a person's.
_PUBLIC = re.compile(r"BraTS-[A-Z]{2,6}-\d{5}-\d{3}")
_NUMBERED = "case-{:04d}"


def public_id(case_id: str) -> str | None:
    """``case_id`` where it is the pseudonym of a public data set, else None."""
    return case_id if _PUBLIC.fullmatch(case_id) else None


def next_id(taken: Iterable[str]) -> str:
    """The next free of case-0001, case-0002, ..., after the highest that is in use."""
    found = (re.fullmatch(r"case-(\d{4,9})", name) for name in taken)
    return _NUMBERED.format(1 + max((int(m[1]) for m in found if m), default=0))


def id_of_images(inputs: Mapping[str, Mapping[str, str]]) -> str:
    """A name made of the images themselves: the same images have the same one."""
    contents = "".join(inputs[name]["content_sha256"] for name in sorted(inputs))
    return f"case-{hashlib.sha256(contents.encode()).hexdigest()[:8]}"


def input_hashes(choice: Choice) -> dict[str, dict[str, str]]:
    """Sequence -> which file it was, the file's SHA-256, and that of the image in it."""
    return {
        name: {**source, "content_sha256": content_digest(choice.files[name])}
        for name, source in sources(choice).items()
    }


def sources(choice: Choice) -> dict[str, dict[str, str]]:
    """Sequence (or "seg") -> which of the given files it was ("file 2 of 5"), its SHA-256, and why
    it was taken for that sequence."""
    numbers = {path: number for number, path in enumerate(choice.given, start=1)}
    found = {}
    for name, path in choice.files.items():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[name] = {"given": f"file {numbers[path]} of {len(numbers)}", "sha256": digest}
        if name in choice.why:
            found[name]["why"] = choice.why[name]
    return found


def without_names(case: Case, choice: Choice, case_id: str) -> Case:
    """``case`` as it may be stored: under ``case_id``, with findings that name no file."""
    truth = case.truth and Truth("mask file", case.truth.mask, case.truth.primary)
    findings = neutral_findings(case.findings, _labels(choice))
    return replace(case, case_id=case_id, findings=findings, truth=truth)


def raw_without_names(raw: RawStudy, choice: Choice) -> RawStudy:
    """``raw`` with findings to store that name no file; its id and the screen's stay."""
    truth = raw.truth and Truth("mask file", raw.truth.mask, raw.truth.primary)
    return replace(raw, stored=neutral_findings(raw.stored, _labels(choice)), truth=truth)


def _labels(choice: Choice) -> dict[str, str]:
    """Name of a file -> its sequence, or its place among the given; both where two share a name."""
    sequences = {path: name for name, path in choice.files.items()}
    labels = {path.name: "another file" for path in choice.others}
    for number, path in enumerate(choice.given, start=1):
        own = sequences.get(path, f"file {number} of {len(choice.given)}")
        labels[path.name] = f"{labels[path.name]} or {own}" if path.name in labels else own
    return labels


def neutral_findings(findings: Iterable[Finding], labels: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings with each name in ``labels`` replaced by its label, in every field."""
    if not labels:
        return tuple(findings)
    names = sorted(labels, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(name) for name in names))

    def clean(text: str | None) -> str | None:
        return None if text is None else pattern.sub(lambda found: labels[found[0]], text)

    return tuple(
        Finding(
            f.severity,
            clean(f.what) or f.what,
            clean(f.file),
            clean(f.found),
            clean(f.expected),
            clean(f.hint),
        )
        for f in findings
    )


def old_findings(findings: Iterable[Finding], names: Mapping[str, str]) -> tuple[Finding, ...]:
    """Findings that an earlier version stored, without names. names: sequence -> file's name.

    A file that is no sequence of the case (it was left out) is no longer told from the others.
    """
    labels = {Path(name).name: sequence for sequence, name in names.items()}
    known = {*labels, *names, *SEQUENCES, None}  # newer versions store the sequence itself
    kept = [f if f.file in known else replace(f, file="a file") for f in findings]
    return neutral_findings(kept, labels)
