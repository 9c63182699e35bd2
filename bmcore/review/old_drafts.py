"""Marks and masks that earlier versions kept in files come into the database once; files stay.

They lie in ``HOME/drafts/CASE/READER`` as ``marks.json`` and ``mask.nii.gz``; READER is a digest of
the name, so they are found when the reader's name is known.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import sqlalchemy as sa

from bmcore import disk
from bmcore.domain import BmcoreError, Finding, InputRefused, refuse
from bmcore.inference.files import folder_name
from bmcore.intake.nifti_file import read_bytes
from bmcore.plain import load_json
from bmcore.review import chain, corrections, marks, schema
from bmcore.review.marks import Mark
from bmcore.review.owner import Owner
from bmcore.review.store import Store


def folder_of(home: Path | str, owner: Owner) -> Path:
    """Where earlier versions kept this reader's files of this case."""
    digest = hashlib.sha256(owner.reader.strip().casefold().encode()).hexdigest()[:16]
    return Path(home) / "drafts" / folder_name(owner.case_id, "the case's name") / digest


def cases_drawn_on(store: Store, home: Path | str) -> set[str]:
    """The cases on which any reader has ever marked or corrected something."""
    found: set[str] = set()
    for table in (schema.marks, schema.mask_versions):
        query = sa.select(table.c.case_id).distinct()
        found |= set(store.read(lambda c, q=query: list(c.execute(q).scalars())))  # type: ignore[misc]
    return found | {path.name for path in disk.below(Path(home) / "drafts")}


def adopt(store: Store, home: Path | str, owner: Owner) -> None:
    """Bring old files in, unless something of this reader and case is stored already.

    What is damaged is refused with a sentence, after the rest came in.
    """
    folder = folder_of(home, owner)
    if not folder.is_dir():
        return
    problems: list[Finding] = []
    for table, bring in ((schema.marks, _bring_marks), (schema.mask_versions, _bring_mask)):
        if store.read(lambda connection, table=table: _any(connection, owner, table)):  # type: ignore[misc]
            continue
        try:
            bring(store, Path(home), owner, folder)
        except BmcoreError as error:
            problems += error.findings
    if problems:
        raise InputRefused(*problems)


def _bring_marks(store: Store, home: Path, owner: Owner, folder: Path) -> None:
    seen = _marks(folder / "marks.json")

    def enter(connection: sa.Connection) -> None:
        if not _any(connection, owner, schema.marks):
            for mark in seen:
                marks.append(connection, owner, mark, "set")

    if seen:
        store.write(enter)


def _bring_mask(store: Store, home: Path, owner: Owner, folder: Path) -> None:
    content = _mask(folder / "mask.nii.gz")
    if not content:
        return
    row = {"version": 1, "action": "saved", "basis": None, "strokes": "[]"}
    row["sha256"] = corrections.keep_file(home, content)

    def enter(connection: sa.Connection) -> None:
        corrections.append(connection, owner, row)  # False where another window was faster

    store.write(enter)


def _any(connection: sa.Connection, owner: Owner, table: sa.Table) -> bool:
    mine = owner.at(table, chain.own_site(connection))
    return connection.execute(sa.select(table.c.id).where(*mine).limit(1)).first() is not None


def _marks(path: Path) -> list[Mark]:
    if not path.is_file():
        return []
    try:
        values = load_json(path)["marks"]
        found = [
            Mark(**{**v, "points_mm": tuple(tuple(p) for p in v["points_mm"])}) for v in values
        ]
        for mark in found:
            scene = marks.Scene(mark.phase, tuple(n for n in [mark.lesion] if n), mark.basis)
            points = [list(point) for point in mark.points_mm]
            marks.read_mark(mark.id, {**vars(mark), "points": points}, scene)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise refuse(
            "the marks that an earlier version stored are damaged",
            file=path,
            found=f"{type(error).__name__}: {error}"[:160],
            hint="move the file away; new marks are stored regardless.",
        ) from error


def _mask(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        read_bytes(path)
        return path.read_bytes()
    except (OSError, InputRefused) as error:
        raise refuse(
            "the corrected segmentation that an earlier version stored is damaged",
            file=path,
            found=f"{type(error).__name__}: {error}"[:160],
            hint="move the file away; the models' segmentation is then shown.",
        ) from error
