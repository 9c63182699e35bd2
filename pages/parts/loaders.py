"""What the pages read, cached. Heavy libraries are imported inside, when they are first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from bmcore import disk
from bmcore.domain import BmcoreError, BundleInfo, Case, Finding, Prediction, Volume
from bmcore.settings import settings
from pages.parts import database, preparing
from pages.parts.access import session

if TYPE_CHECKING:
    from bmcore.inference.archive import Stored
    from bmcore.intake.library import CaseEntry
    from bmcore.models.bundles import Bundle
    from bmcore.review.store import Store
    from bmcore.review.votes import Evidence
    from pages.parts.viewer.payload import Images


@dataclass(frozen=True)
class Models:
    """What is known of the models without loading them; ``problem`` says why there are none."""

    info: BundleInfo | None
    problem: str | None = None


def home() -> Path:
    return settings().home


def _tree_stamp(folder: Path, pattern: str) -> str:
    """A text that changes when files of this pattern below ``folder`` do."""
    if not folder.is_dir():
        return "none"
    stats = ((path.name, disk.stat_of(path)) for path in sorted(folder.glob(pattern)))
    told = tuple((name, s.st_mtime_ns, s.st_size) for name, s in stats if s is not None)
    return str(hash(told) & 0xFFFFFFFFFF)


def models() -> Models:
    """Name and badge of the installed models, or why there are none."""
    try:
        return Models(bundle().info)
    except BmcoreError as error:
        return Models(None, " ".join(f.sentence for f in error.findings))


def bundle() -> Bundle:
    """The checked bundle; its nets are built when first used. BundleRefused if it is unusable."""
    return _bundle(settings().bundle, _tree_stamp(settings().bundle, "*"))


@st.cache_resource(max_entries=2, show_spinner=False)
def _bundle(folder: Path, stamp: str) -> Any:
    from bmcore.models.bundles import load_bundle

    return load_bundle(folder)


def store() -> Store:
    """The database; a page writes to it only while somebody is signed in, see ``session``."""
    opened = database.opened()
    opened.before_write = session.require
    return opened


def entries() -> list[CaseEntry]:
    """The work list; makes the demo cases at the first start."""
    from bmcore.intake import library

    if settings().demo:
        _demo_cases(home())
    return list(library.list_cases(home()))


@st.cache_resource(show_spinner="Preparing three synthetic demo cases; this happens only once")
def _demo_cases(folder: Path) -> bool:
    from bmcore.inference.demo import ensure_demo_cases

    ensure_demo_cases(folder)
    return True


def index_cases() -> int:
    """Bring the index of the work list to what lies in the folder; how many records are unread.

    Makes the demo cases at the first start. A large folder is read in the background.
    """
    from bmcore.review import case_index

    if settings().demo:
        _demo_cases(home())
    _indexer(home(), settings().url).start(digest())
    left = case_index.sync(store(), home())
    return left


def absent_cases() -> Finding | None:
    """What to tell where cases are missing from the folder; looked up anew when something was
    stored or a case came or went."""
    from bmcore.review import case_index

    stamp = case_index.stamp(store())
    return _absent(home(), settings().url, stamp)


@st.cache_resource(max_entries=2, show_spinner=False)
def _absent(folder: Path, url: str, stamp: str) -> Any:
    from bmcore.review.absent import absent

    return absent(store(), folder)


def case_ids() -> list[str]:
    """The ids of all cases, oldest first, from the index; reads no record."""
    from bmcore.review import case_index

    index_cases()
    return case_index.ids(store(), case_index.Wish(order="oldest"))


def digest() -> str:
    """Of the models that are loaded; "" where there are none."""
    info = models().info
    return "" if info is None else info.digest


@st.cache_resource(max_entries=2, show_spinner=False)
def _indexer(folder: Path, url: str) -> Any:
    from pages.parts.indexer import Indexer

    return Indexer(folder, database.opened())


def entry(case_id: str) -> CaseEntry:
    """What is known of a case without reading its images."""
    from bmcore.intake import library

    return library.get_entry(home(), case_id)


def images(case_id: str) -> Images:
    """The case as the viewer wants it; fast, because the blocks are kept on disk."""
    from pages.parts.viewer import block_cache

    return block_cache.images(home(), entry(case_id))


def thumbnail(entry: CaseEntry) -> bytes | None:
    """A small PNG of the case; None while it has not been made or cannot be."""
    from pages.parts.viewer import block_cache

    try:
        return block_cache.thumbnail(home(), entry)
    except BmcoreError:
        return None  # the file is gone: opening the case says so in words


def prepare_images() -> int:
    """See to it that missing pictures are made in the background; how many cases have none yet."""
    left = pictures_missing()
    if left:
        preparing.make(home(), database.opened())
    return left


def case_added() -> None:
    """A case has come: its picture and image blocks are made now, in the background."""
    index_cases()
    prepare_images()


def pictures_missing() -> int:
    """How many cases wait for their picture; those that cannot be prepared are not counted."""
    from bmcore.review import case_index

    return case_index.unpictured(store(), 1)[1]


def corrected_mask(sha256: str, like: Volume) -> Volume:
    """A reader's corrected segmentation by its content; refused if its file is not that one."""
    from bmcore.review import corrections

    found = disk.stat_of(corrections.path_of(home(), sha256))
    stamp = "none" if found is None else str(found.st_mtime_ns)
    return _corrected_mask(home(), sha256, stamp, like)


@st.cache_resource(max_entries=6, show_spinner=False)
def _corrected_mask(folder: Path, sha256: str, stamp: str, _like: Volume) -> Volume:
    from bmcore.review import corrections

    return corrections.load(folder, sha256, _like)


def case_stamp(case_id: str) -> str:
    return _tree_stamp(settings().cases / case_id, "*.nii.gz")


def case(case_id: str) -> Case:
    folder = settings().cases / case_id
    return _case(home(), case_id, _tree_stamp(folder, "*"))


@st.cache_resource(max_entries=4, show_spinner="Opening the images")
def _case(folder: Path, case_id: str, stamp: str) -> Case:
    from bmcore.intake import library

    return library.load_case(folder, case_id)


def prediction(case_id: str) -> Prediction | None:
    """The newest prediction of the loaded models, or None."""
    found = stored(case_id)
    return None if found is None else found.prediction


def stored(case_id: str) -> Stored | None:
    """The newest prediction of the loaded models with its hash, or None.

    Refused where it is not what readers were shown before.
    """
    info = models().info
    if info is None:
        return None
    from bmcore.intake import library

    entry = library.find_entry(home(), case_id)
    stamp = f"{_tree_stamp(settings().predictions / case_id, '*/*')} {entry and entry.added}"
    return _stored(home(), settings().url, case_id, info.digest, stamp)


@st.cache_resource(max_entries=6, show_spinner=False)
def _stored(folder: Path, url: str, case_id: str, digest: str, stamp: str) -> Stored | None:
    from bmcore.inference import archive
    from bmcore.review import evidence

    found = archive.latest_stored(folder, case_id, digest)
    if found is not None:
        evidence.check_run(store(), case_id, found)
    return found


def evidence(case_id: str, shown: bool) -> Evidence:
    """What an answer on this case rests on now; refused where the images were changed.

    shown: the models' answers are on the screen.
    """
    from bmcore.review import evidence as rule

    return rule.of_case(home(), case_id, stored(case_id) if shown else None)


def has_prediction(case_id: str) -> bool:
    """True where the loaded models have read this case; reads no image."""
    info = models().info
    if info is None:
        return False
    from bmcore.inference import archive

    return archive.newest(home(), case_id, info.digest) is not None


def codes() -> Mapping[str, Any]:
    """Case id to the image code (d,) of its newest prediction by the loaded models."""
    info = models().info
    if info is None:
        return {}
    stamp = _tree_stamp(settings().predictions, f"*/{info.digest[:16]}")
    return _codes(home(), info.digest, stamp)


@st.cache_resource(max_entries=2, show_spinner=False)
def _codes(folder: Path, digest: str, stamp: str) -> Any:
    from bmcore.inference import archive

    return archive.codes(folder, digest)


def short_names(sequences: Iterable[str]) -> list[str]:
    """The sequences as short words, in the usual order."""
    from pages.parts.viewer.payload import SHORT_NAMES

    present = set(sequences)
    return [words for name, words in SHORT_NAMES.items() if name in present]


def missing_names(sequences: Iterable[str]) -> list[str]:
    """The sequences that are not there, as short words."""
    from pages.parts.viewer.payload import SHORT_NAMES

    present = set(sequences)
    return [words for name, words in SHORT_NAMES.items() if name not in present]
