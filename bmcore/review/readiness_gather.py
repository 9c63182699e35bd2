"""From a home folder, its models and its database to the facts of the readiness check."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

from bmcore import disk
from bmcore.domain import BmcoreError, Finding
from bmcore.inference import archive, maps, references
from bmcore.intake import library
from bmcore.intake.library import CaseEntry
from bmcore.models.bundles import Bundle
from bmcore.review import accounts, exposure, names, plan, readiness_preference, worklist
from bmcore.review.readiness_facts import AccountState, CaseState, Facts
from bmcore.review.store import Store
from bmcore.review.study import Study
from bmcore.review.votes import Reader

Seen = Mapping[str, frozenset[str]]


def gather(
    study: Study,
    home: Path,
    bundle: Bundle | BmcoreError,
    store: Store | None,
    seen: Seen | None = None,
) -> Facts:
    """What there is for ``study``. Only its own cases are looked into.

    bundle: the loaded models, or why there are none. store: None where there is no database yet.
    seen: who has been shown the models' answers on which cases (keys of readers), besides what
    the database tells.
    """
    loaded = bundle if isinstance(bundle, Bundle) else None
    entries = {entry.case_id: entry for entry in library.list_cases(home)}
    wanted, compared = set(study.all_cases), readiness_preference.named(study)
    states = {
        case_id: _case(home, entry, loaded, compared) if case_id in wanted else CaseState()
        for case_id, entry in entries.items()
    }
    known, unreadable = _primaries(home)
    facts = Facts(
        cases=states,
        bundle=None if loaded is None else loaded.info,
        bundle_fault="" if isinstance(bundle, Bundle) else _words(bundle.findings),
        nets=loaded is not None and loaded.has("cnn") and find_spec("torch") is not None,
        trained_on=frozenset() if loaded is None else _training_cases(loaded),
        primaries=known,
        primaries_fault=unreadable,
        seen=dict(seen or {}),
    )
    return facts if store is None else _with_store(facts, store, study)


def _with_store(facts: Facts, store: Store, study: Study) -> Facts:
    """The facts with what the database holds: accounts, readers, plans, who has seen what."""
    newest = {name: plan.versions(store, name)[-1] for name in plan.studies(store)}
    seen: dict[str, frozenset[str]] = dict(facts.seen)
    for key, cases in _seen(store, newest, study.study).items():
        seen[key] = seen.get(key, frozenset()) | cases
    return replace(
        facts,
        accounts=tuple(AccountState(a.name, a.role, a.disabled) for a in accounts.listed(store)),
        registered=tuple(store.readers()),
        seen=seen,
        locked={name: version.digest for name, version in newest.items()},
    )


def _seen(store: Store, newest: Mapping[str, plan.Version], but: str) -> dict[str, frozenset[str]]:
    """What readers were shown, but in this study; and what older rows say of that: votes and locked
    sheets of other studies with the models."""
    found: dict[str, set[str]] = {}
    for vote in store.votes():
        if vote.phase == "aided":
            found.setdefault(Reader(vote.reader, vote.role).key, set()).add(vote.case_id)

    def look(connection: sa.Connection) -> None:
        for sent in exposure.of_all(connection):
            if sent.study != but:
                found.setdefault(names.key(sent.reader), set()).add(sent.case_id)
        for name, version in newest.items():
            for reader in version.study.readers if name != but else ():
                key = Reader(reader.name, reader.role).key
                for place, told in worklist.events(connection, name, reader.id).items():
                    if told.closed == "locked" and place.arm != "unaided":
                        found.setdefault(key, set()).add(place.case_id)

    store.read(look)
    return {key: frozenset(cases) for key, cases in found.items()}


def _primaries(home: Path) -> tuple[frozenset[str], str]:
    """The cases of known primary, or why the file that holds them cannot be read."""
    try:
        return frozenset(references.truths(home)), ""
    except BmcoreError as error:
        return frozenset(), _words(error.findings)


def _case(
    home: Path, entry: CaseEntry, bundle: Bundle | None, compared: tuple[str, ...]
) -> CaseState:
    image = entry.sha256.get(f"{entry.case_id}-t1c.nii.gz", "")
    state = CaseState(
        _fault(entry),
        image,
        outlined=entry.has_reference_mask,
        segmented=frozenset(d for d in compared if _segmented(home, entry.case_id, d)),
    )
    return state if bundle is None else _read_by(state, home, entry.case_id, bundle)


def _segmented(home: Path, case_id: str, digest: str) -> bool:
    """The newest stored answer of this bundle is whole, and by it."""
    folder = archive.newest(home, case_id, digest)
    if folder is None:
        return False
    try:
        made_by, *_ = _prediction(folder, _stamp(folder / "arrays.npz"))
    except BmcoreError:
        return False
    return made_by.startswith(digest)


def _fault(entry: CaseEntry) -> str | None:
    """Why the images cannot be read; the files are compared with the hashes of their record."""
    if not entry.readable:
        return _words(entry.findings) or "its record is damaged"
    for name, digest in entry.sha256.items():
        path = entry.folder / name
        if not path.is_file():
            return f"{name} is gone"
        if _digest(path, *_stamp(path)) != digest:
            return f"{name} was changed after it was added"
    return None


def _read_by(state: CaseState, home: Path, case_id: str, bundle: Bundle) -> CaseState:
    """The state with what the loaded models have said of the case."""
    digest = bundle.info.digest
    folder = archive.newest(home, case_id, digest)
    if folder is None:
        others = (home / "predictions" / case_id).is_dir()
        words = "it was read by models other than those that are loaded"
        return replace(state, unread=words) if others else state
    try:
        made_by, lesions, answered = _prediction(folder, _stamp(folder / "arrays.npz"))
    except BmcoreError as error:
        words = f"the stored answer cannot be read: {error.findings[0].what}"
        return replace(state, unread=words)
    if made_by != digest:
        return replace(state, unread="the stored answer comes from other models")
    kept = maps.are_kept(home, case_id, made_by, lesions)
    return replace(state, bundle=made_by, answered=answered, mapped=kept)


@lru_cache(maxsize=4096)
def _prediction(folder: Path, _when: tuple[int, int]) -> tuple[str, tuple[int, ...], bool]:
    """(digest of the models, numbers of the lesions, whether there is a fused answer) of a stored
    prediction, read as a whole."""
    found = archive.load(folder)
    lesions = tuple(lesion.number for lesion in found.lesions)
    fused = any(a.kind == "fused" and a.probabilities is not None for a in found.answers)
    return found.bundle.digest, lesions, fused


@lru_cache(maxsize=16384)
def _digest(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget() -> None:
    """Look at every file anew: before a lock, whatever the times of the files say."""
    _digest.cache_clear()
    _prediction.cache_clear()


def _stamp(path: Path) -> tuple[int, int]:
    found = disk.stat_of(path)
    return (0, 0) if found is None else (found.st_mtime_ns, found.st_size)


def _training_cases(bundle: Bundle) -> frozenset[str]:
    """The cases that the parts of a bundle name as ``case_ids`` of their training."""
    parts = bundle.manifest["parts"].values()
    return frozenset(str(c) for p in parts for c in p["training"].get("case_ids", ()))


def _words(findings: tuple[Finding, ...]) -> str:
    return " ".join(finding.sentence for finding in findings)
