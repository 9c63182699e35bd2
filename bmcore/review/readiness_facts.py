"""What the readiness check looks at: cases, models, accounts and what readers have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from bmcore.domain import BundleInfo, Finding, Severity
from bmcore.review.access import Role
from bmcore.review.votes import Reader


@dataclass(frozen=True)
class CaseState:
    """One case in the work list. fault: why its images cannot be read, None where they can.

    image: SHA-256 of T1 post-gadolinium. bundle: digest of the loaded models if they have read
    it; unread: why not, in words; answered: they gave a fused answer. mapped: the Grad-CAM maps of
    all its lesions are kept. outlined: it has a reference mask. segmented: of the
    bundles that the plan compares, those that have segmented it.
    """

    fault: str | None = None
    image: str = ""
    bundle: str | None = None
    unread: str = "the models have not read it"
    answered: bool = True
    mapped: bool = False
    outlined: bool = False
    segmented: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AccountState:
    """What of an account matters to a reader."""

    name: str
    role: Role
    disabled: bool = False


@dataclass(frozen=True)
class Facts:
    """What there is. bundle: the loaded models, None (``bundle_fault`` says why) where none are.

    nets: Grad-CAM can be made on this computer. trained_on: cases that the models name as their
    training cases. accounts: empty where nobody signs in. registered: readers who have voted here.
    primaries: cases of known primary; primaries_fault: why they cannot be read. seen: key of a
    reader -> cases of which that reader has been shown the models' answers. locked: name of each
    locked study -> hash of its plan in force.
    """

    cases: Mapping[str, CaseState]
    bundle: BundleInfo | None = None
    bundle_fault: str = ""
    nets: bool = True
    trained_on: frozenset[str] = frozenset()
    accounts: Sequence[AccountState] = ()
    registered: Sequence[Reader] = ()
    primaries: frozenset[str] = frozenset()
    primaries_fault: str = ""
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    locked: Mapping[str, str] = field(default_factory=dict)


def fault(what: str, hint: str) -> Finding:
    """Blocks the lock."""
    return Finding(Severity.REFUSED, what, hint=hint)


def warning(what: str, hint: str) -> Finding:
    """May be accepted knowingly."""
    return Finding(Severity.WARNING, what, hint=hint)


def note(what: str) -> Finding:
    """Is only said."""
    return Finding(Severity.INFO, what)


def nearest(name: str, known: Sequence[str]) -> str | None:
    """A name that was perhaps meant: other capitals, marks or leading zeros."""

    def plain(text: str) -> str:
        joined = "".join(c if c.isalnum() else " " for c in text.casefold())
        return " ".join(part.lstrip("0") or part for part in joined.split())

    by_plain = {plain(other): other for other in known}
    if plain(name) in by_plain:
        return by_plain[plain(name)]
    near = get_close_matches(plain(name), by_plain, n=1, cutoff=0.75)
    return by_plain[near[0]] if near else None
