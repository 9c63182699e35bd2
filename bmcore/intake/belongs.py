"""Whether the names of files point at one patient and one time point."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bmcore.domain import Finding, Severity
from bmcore.intake import contrast_words as contrast
from bmcore.intake import sequence_words as words
from bmcore.intake.naming import stem
from bmcore.intake.sequence_name import split_words

PATIENT, DATE, VISIT = "patient", "date", "time point"

_SUBJECT = re.compile(
    r"(?<![a-z0-9])(?:sub|subj|subject|pat|patient|paziente|paciente|case|fall|pt|proband|mrn|id)"
    r"[-_ ]?(\d+[a-z]?)(?![a-z0-9])|(?<![a-z0-9])p[-_ ]?(\d{3,}[a-z]?)(?![a-z0-9])"
)
_VISIT = re.compile(
    r"(?<![a-z0-9])(?:ses|session|visit|tp|timepoint|week|wk|month|fu|followup|day|exam)"
    r"[-_ ]?([a-z]*\d+)(?![a-z0-9])"
)
_LONG = re.compile(r"(?<![a-z0-9])([a-z]{0,4}\d{5,}[a-z]{0,2})(?![a-z0-9])")
_DATE = re.compile(
    r"(?<!\d)(?:(?P<y>(?:19|20)\d\d)[-_. ]?(?P<m>0[1-9]|1[0-2])[-_. ]?(?P<d>0[1-9]|[12]\d|3[01])"
    r"|(?P<d2>0[1-9]|[12]\d|3[01])[-_. ]?(?P<m2>0[1-9]|1[0-2])[-_. ]?(?P<y2>(?:19|20)\d\d))"
    r"(?:[-_t]?\d{4,6}(?:\.\d+)?)?(?!\d)"
)
# First words of names that are nobody's: of scanners, programs and studies.
_NOBODY = frozenset(
    [
        "brain",
        "head",
        "mri",
        "image",
        "img",
        "scan",
        "series",
        "export",
        "nifti",
        "anat",
        "anatomy",
        "vol",
        "volume",
        "raw",
        "orig",
        "original",
        "clean",
        "final",
        "preop",
        "postop",
        "registered",
        "corrected",
        "resampled",
        "processed",
        "native",
        "stripped",
        "bet",
        "new",
        "old",
        "test",
        "patient",
        "subject",
        "case",
        "baseline",
        "followup",
    ]
)


def different_people(files: Iterable[Path]) -> Finding | None:
    """A REFUSED finding where the names of ``files`` point at different patients or dates.

    Compared are numbers after words such as sub, pat and case, numbers of five digits or more,
    dates, visits, and the first words of the names where each begins with one that is no term of
    imaging. The names of the folders count where the files lie in several.
    """
    named = {path: _name(path) for path in _with_folders(list(files))}
    for what, read in ((PATIENT, _subjects), (DATE, _dates), (VISIT, _visits)):
        marks = {path: read(name) for path, name in named.items()}
        pair = _apart(marks)
        if pair is not None:
            return _finding(what, *pair, marks)
    firsts = {path: _first_word(path) for path in named}
    if all(firsts.values()):
        pair = _apart({path: frozenset({first}) for path, first in firsts.items()})
        if pair is not None:
            return _finding(PATIENT, *pair, {p: frozenset({f}) for p, f in firsts.items()})
    return None


def said_to_belong(finding: Finding) -> Finding:
    """The same as a warning, once the user has said that the files belong together.

    It is kept with the case and names no file.
    """
    what = finding.what + "; whoever brought them said that they belong together"
    return Finding(Severity.WARNING, what, expected=finding.expected)


def _with_folders(files: list[Path]) -> list[Path]:
    """Bare names where all files lie in one folder; the folder's name before each where not."""
    one = len({path.parent for path in files}) <= 1
    return [Path(p.name) if one else Path(p.parent.name) / p.name for p in files]


def _name(path: Path) -> str:
    folder = "" if path.parent == Path() else path.parent.name + " "
    return (folder + stem(path.name)).lower()


def _apart(marks: Mapping[Path, frozenset[str]]) -> tuple[Path, Path] | None:
    """Two files that both have marks and share none."""
    told = [path for path, own in marks.items() if own]
    for place, one in enumerate(told):
        for other in told[place + 1 :]:
            if not marks[one] & marks[other]:
                return one, other
    return None


def _subjects(name: str) -> frozenset[str]:
    kept = _DATE.sub(" ", name)
    numbers = {(m[1] or m[2]).lstrip("0") or "0" for m in _SUBJECT.finditer(kept)}
    return frozenset(numbers | {m[1] for m in _LONG.finditer(kept)})


def _dates(name: str) -> frozenset[str]:
    return frozenset(
        f"{m['y'] or m['y2']}-{m['m'] or m['m2']}-{m['d'] or m['d2']}" for m in _DATE.finditer(name)
    )


def _visits(name: str) -> frozenset[str]:
    return frozenset(m[0] for m in _VISIT.finditer(name))


def _first_word(path: Path) -> str:
    """The word that a name begins with where it may be a person's or a number's; else ""."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem(path.name))
    match = re.match(r"([^\W\d_]{3,})|([^\W\d_]{1,4}\d{1,4}[a-z]?)(?=[\W_])", name)
    if match is None or (match[2] and re.match(r"(?i)(s|se|im|i|e|run|acq|tr|te|b)\d", name)):
        return ""
    first = match[0].lower()
    return "" if any(_is_term(part) for part in split_words(first)) else first


def _is_term(word: str) -> bool:
    spoken = (contrast.AGENT, contrast.NATIVE, contrast.POST, contrast.NO, contrast.YES,
              contrast.NONE, _NOBODY, frozenset({"dark", "fluid"}))  # fmt: skip
    return (
        any(word in some for some in (words.NAMED, words.TAILS, *spoken))
        or words.aside_kind(word) is not None
    )


def _finding(what: str, one: Path, other: Path, marks: Mapping[Path, frozenset[str]]) -> Finding:
    told = " and ".join(f"{', '.join(sorted(marks[p]))} in {p.name}" for p in (one, other))
    return Finding(
        Severity.REFUSED,
        f"the names of the files point at a different {what}",
        found=told,
        expected="one patient at one time point",
        hint="leave out what belongs to another; if all belong together, say so (--same-patient, "
        "or the box on the form).",
    )
