"""Which file is which sequence, told from its name; and names that are safe as folder names."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from bmcore.domain import SEQUENCES, refuse
from bmcore.intake import sequence_name
from bmcore.intake.sequence_name import ASIDE, UNSAID, Proposal

YALE_NAME = re.compile(r"(?P<case>[A-Za-z0-9._-]+)-(?P<kind>t1n|t1c|t2w|t2f|seg)\.nii(?:\.gz)?")


def plain_name(name: str) -> str:
    """The file name without what browsers and file managers add: ``t1c.nii (1).gz``."""
    name = re.sub(r"(?i)\.(?:download|crdownload|part|tmp|bak)$", "", PurePath(name).name)
    copy = r"\s*(?:\(\d+\)|-\s*(?:copy|kopie|copie|copia)(?:\s*\(\d+\))?)"
    return re.sub(rf"(?i){copy}(?=(?:\.nii)?(?:\.gz)?$)", "", name)


def stem(name: str) -> str:
    """The file name without folder and without ``.nii`` / ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$|\.gz$", "", plain_name(name), flags=re.IGNORECASE)


def propose_all(names: Iterable[str]) -> dict[str, Proposal]:
    """What the name of each file proposes, seen together with the names of the others.

    A word for a mask or another image in front of all names of three or more is the name of a
    patient or study. A sign of contrast that stands in every name ("post" in all of them) is none:
    T1 is then left open. So is T1 without a word on contrast where another file is a native T1 by
    its words and none is post-contrast.
    """
    wanted = list(names)
    readings = {name: sequence_name.read(stem(name)) for name in wanted}
    words = [reading.words for reading in readings.values()]
    shared = frozenset.intersection(*words) if len(words) > 1 else frozenset()
    if len(wanted) > 2:
        readings = {
            name: sequence_name.read(stem(name), shared) if r.proposal.sequence == ASIDE else r
            for name, r in readings.items()
        }
    found = {name: reading.proposal for name, reading in readings.items()}
    for name, reading in readings.items():
        own = {w for sign in reading.signs for w in sign.split()} - shared
        if reading.proposal.sequence == "t1c" and reading.signs and not own:
            found[name] = Proposal(None, 0.0, "says contrast, but so do the names of all files")
    told = [p.sequence for p in found.values()]
    if "t1c" in told:
        return found
    native = any(p.sequence == "t1n" and p.confidence > UNSAID for p in found.values())
    for name, proposal in found.items():
        if native and proposal.sequence == "t1n" and proposal.confidence <= UNSAID:
            why = "says T1 and nothing of contrast, beside a native T1"
            found[name] = Proposal(None, 0.0, why)
    return found


def guess_sequences(names: Iterable[str]) -> dict[str, str | None]:
    """The sequence that each name proposes: "t1n", "t1c", "t2w", "t2f", or None.

    None where the name does not say, says two things, or names something else (a mask, SWI,
    diffusion, a subtraction ...). A name that says T1 and nothing of contrast counts as T1 native.
    """
    proposals = propose_all(names)
    return {n: p.sequence if p.sequence in SEQUENCES else None for n, p in proposals.items()}


def clean_case_id(text: str) -> str:
    """A case id safe as a folder name: letters, digits, ``.``, ``_``, ``-``; 64 characters at most.

    Other characters become ``-``; leading and trailing dots and dashes fall away, so that no id
    leaves its folder. Where letters or digits of another script were lost, four characters of a
    hash tell ids apart that would look the same. It names a folder; it is never a key to a table.
    InputRefused where nothing is left.
    """
    text = unicodedata.normalize("NFC", text)
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    cleaned = re.sub(r"\.{2,}", ".", cleaned).strip("._-")[:64].strip("._-")
    if any(c.isalnum() and not c.isascii() for c in text):
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:4]
        cleaned = f"{cleaned[:59].strip('._-')}-{mark}".strip("-")
    if not cleaned:
        raise refuse(
            "the case id holds no letter or digit",
            found=repr(text[:80]),
            expected="letters, digits, dot, underscore or dash",
            hint="give the case another id.",
        )
    return cleaned


def common_name(names: Iterable[str]) -> str:
    """What file names begin with in common, up to the last mark between words; "" for nothing."""
    given, same = list(names), 0
    while len(given) > 1 and same < min(map(len, given)) and len({n[same] for n in given}) == 1:
        same += 1
    common = given[0][:same]
    cut = max(common.rfind(mark) for mark in "-_. ")
    return common[: cut if cut > 0 else None].strip("-_. ")
