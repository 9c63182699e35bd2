"""One case as the audit sees it: can it be read, what does it hold, has it been seen before?"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore.domain import SEQUENCES, BmcoreError
from training.data.content import image_content
from training.run.files import read_json, write_json
from training.run.processes import Stopwatch

if TYPE_CHECKING:
    from bmcore.domain import Case, Volume
    from bmcore.intake.datasets import YaleDataset

VERSION = 1


@dataclass(frozen=True)
class Looked:
    """content: hash of the files; "" where they could not be read at all. problem: why the case
    cannot be used, "" where it can. sequences: those that are there. mask, lesion: whether there is
    a reference mask, and anything in it. voxels: sequence -> hash of its voxels. brain: number of
    voxels of the box that is learnt from. seconds: that reading and preparing took.
    """

    content: str
    problem: str
    sequences: tuple[str, ...] = ()
    mask: bool = False
    lesion: bool = False
    voxels: tuple[tuple[str, str], ...] = ()
    brain: int = 0
    seconds: float = 0.0


def look_at(dataset: YaleDataset, case_id: str, kept: Path) -> Looked:
    """Read a case whole and prepare it once; what was found is kept by the files' content.

    Never raises for what is wrong with the case: ``problem`` says it.
    """
    try:
        content = image_content(dataset, case_id)
    except OSError as error:
        return Looked("", f"a file cannot be read: {error.strerror}")
    file = kept / f"{case_id}.json"
    known = read_json(file) if file.exists() else {}
    if known.get("version") == VERSION and known["looked"]["content"] == content:
        values = known["looked"]
        return Looked(**{k: _tuples(v) for k, v in values.items()})
    found = _look(dataset, case_id, content)
    write_json(file, {"version": VERSION, "looked": asdict(found)})
    return found


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(v) for v in value)
    return value


def _look(dataset: YaleDataset, case_id: str, content: str) -> Looked:
    from bmcore.imaging.preprocess import prepare
    from bmcore.intake import gatekeeper

    watch = Stopwatch()
    try:
        if case_id not in dataset.case_ids:
            return Looked(content, "missing sequence: there is no T1 post-gadolinium (t1c)")
        case = dataset.load(case_id)
        prepared = prepare(case)
        gatekeeper.stop((*case.findings, *prepared.findings))
    except (BmcoreError, OSError) as error:
        return Looked(content, f"cannot be read: {_words(error)}")
    except Exception as error:
        return Looked(content, f"cannot be read: {type(error).__name__}: {error}")
    mask = case.truth.mask if case.truth else None
    return Looked(
        content,
        "" if mask is not None else "no reference mask (seg)",
        tuple(case.sequences),
        mask is not None,
        mask is not None and bool((np.asarray(mask.data) > 0).any()),
        _hashes(case),
        int(prepared.brain.size),
        round(watch.seconds, 3),
    )


def _words(error: BmcoreError | OSError) -> str:
    if isinstance(error, BmcoreError):
        return " ".join(f.sentence for f in error.findings)
    return error.strerror or str(error)


def _hashes(case: Case) -> tuple[tuple[str, str], ...]:
    """Of each sequence that shows anything; an empty image is like any other empty image."""
    return tuple(
        (name, voxels_hash(case.sequences[name]))  # type: ignore[index]
        for name in SEQUENCES
        if name in case.sequences and np.ptp(np.asarray(case.sequences[name].data)) > 0
    )


def voxels_hash(volume: Volume) -> str:
    """sha256 over shape and values: the same image gives the same text however it was packed."""
    data = np.ascontiguousarray(np.asarray(volume.data, np.float32))
    digest = hashlib.sha256(repr(data.shape).encode())
    digest.update(data.tobytes())
    return digest.hexdigest()
