"""What readers have drawn, for other programs: corrected masks as files, marks as rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bmcore.review import corrections, marks
from bmcore.review.allocation import Place
from bmcore.review.answers import StudyAnswer, in_force
from bmcore.review.marks import Mark
from bmcore.review.owner import Owner, drawer
from bmcore.review.record import StudyRecord
from bmcore.review.sheet import MODELS_MASK
from bmcore.review.store import Store
from bmcore.review.study import Study

# file -> column -> (type, unit or values, what it is)
CODEBOOK: Mapping[str, Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "masks.csv": {
            "file": ("text", "", "the mask below masks/; empty: the models' own"),
            "reader": ("text", "", "the reader, as named in the study"),
            "case": ("text", "", "id of the case (a pseudonym)"),
            "arm": ("text", "aided, aided_explained", "what was shown"),
            "occasion": ("whole number", "0, 1", "0 first reading, 1 hidden repeat"),
            "sha256": ("text", "", "of the file; recorded in the database's chain"),
            "confirmed": ("text", "yes, no", "a question of kind mask confirmed this very mask"),
            "problem": ("text", "", "why the file is not here"),
        },
        "marks.csv": {
            "reader": ("text", "", "the reader, as named in the study"),
            "case": ("text", "", "id of the case (a pseudonym)"),
            "arm": ("text", "unaided, aided, aided_explained", "the reading that rests on it"),
            "occasion": ("whole number", "0, 1", "0 first reading, 1 hidden repeat"),
            "mark": ("text", "", "id of the mark"),
            "kind": (
                "text",
                "missed, accept, reject, length, diameters, angle, area",
                "missed: a lesion that the reader sees; accept, reject: of the models' lesion",
            ),
            "lesion": ("whole number", "", "number of the models' lesion that is judged"),
            "points_mm": ("text", "mm", "x y z in world coordinates (RAS) of T1 post-gadolinium, "
                          "points by |"),
            "rating": ("whole number", "0-100", "how sure that it is a metastasis, where asked"),
            "made": ("text", "unaided, aided", "before or after the models' answers were shown"),
        },
        "masks/*.nii.gz": {
            "voxel": ("whole number", "0-3", "1 necrosis, 2 oedema, 3 enhancing tumour, 0 else; on "
                      "the grid of the case's T1 post-gadolinium"),
        },
    }
)  # fmt: skip


@dataclass(frozen=True)
class Drawings:
    """Rows of ``masks.csv`` and ``marks.csv``; files: {name in the archive: SHA-256}."""

    masks: tuple[Mapping[str, Any], ...] = ()
    marks: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def of_study(home: Path, store: Store, record: StudyRecord) -> Drawings:
    """All that the locked readings of a study rest on; nothing while it runs."""
    if not record.finished:
        return Drawings()
    study = record.study
    said: dict[Place, dict[str, StudyAnswer]] = {}
    for a in in_force(record.answers):
        said.setdefault(a.place, {})[a.question] = a

    masks: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for sheet in record.sheets:
        own = said.get(sheet.place)
        if sheet.state != "locked" or not own:
            continue
        place = sheet.place
        reading = _Reading(study, place, own, next(iter(own.values())).site)
        points += _marks(store, reading)
        if place.arm != "unaided":
            row = _mask(store, reading)
            if row is not None:
                repeat = "_repeat" * bool(place.occasion)
                stem = f"{place.case_id}_{place.reader}_{place.arm}{repeat}"
                named = _file(home, row["sha256"], stem, files)
                masks.append({**reading.columns, **row, **named})
    return Drawings(tuple(masks), tuple(points), files)


@dataclass(frozen=True)
class _Reading:
    """A locked reading: its answers in force by question, and the site that they were given at."""

    study: Study
    place: Place
    said: Mapping[str, StudyAnswer]
    site: str

    @property
    def owner(self) -> Owner:
        return Owner(self.place.case_id, drawer(self.study, self.place))

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "reader": self.study.reader(self.place.reader).name,
            "case": self.place.case_id,
            "arm": self.place.arm,
            "occasion": self.place.occasion,
        }


def _marks(store: Store, reading: _Reading) -> Iterable[dict[str, Any]]:
    phase = "unaided" if reading.place.arm == "unaided" else None
    rated = {q.id for q in reading.study.questions if q.rated}
    ratings = {
        k: v for q, a in reading.said.items() if q in rated for k, v in a.value["marks"].items()
    }
    for mark in marks.load(store, reading.owner, reading.site, phase):
        yield {
            **reading.columns,
            "mark": mark.id,
            "kind": mark.kind,
            "lesion": mark.lesion,
            "points_mm": _points(mark),
            "rating": ratings.get(mark.id),
            "made": mark.phase,
        }


def _points(mark: Mark) -> str:
    return "|".join(" ".join(f"{x:.2f}" for x in point) for point in mark.points_mm)


def _mask(store: Store, reading: _Reading) -> dict[str, Any] | None:
    """The mask that a question confirmed, else the correction in force; None without either."""
    said = reading.said
    asked = [q.id for q in reading.study.questions if q.kind == "mask" and q.id in said]
    if asked:
        named = said[asked[0]].value["mask"]
        return {"sha256": None if named == MODELS_MASK else named, "confirmed": "yes"}
    now = store.read(lambda c: corrections.state(c, reading.owner, reading.site))
    if now is None or now.sha256 is None:
        return None
    return {"sha256": now.sha256, "confirmed": "no"}


def _file(home: Path, sha256: str | None, stem: str, files: dict[str, str]) -> dict[str, Any]:
    """The file's name in the archive, and why it is not there."""
    if sha256 is None:
        return {"file": None, "problem": None}
    if corrections.problems(home, [sha256]):
        return {"file": None, "problem": "the stored file is missing or was changed"}
    base = re.sub(r"[^A-Za-z0-9._-]", "_", stem)
    free, number = f"{base}.nii.gz", 2
    while free in files:
        free, number = f"{base}_{number}.nii.gz", number + 1
    files[free] = sha256
    return {"file": f"masks/{free}", "problem": None}
