"""What one reader has marked on one case: every change is a chained row, made when it is made.

A mark has an id that the browser gave and a version that grows with each change: it is set, removed
and restored. A change names the version that it was made on, so that what is sent twice is stored
once, and a mark goes only where somebody took it away. Each reader sees only the own marks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
import sqlalchemy as sa

from bmcore.domain import BmcoreError, refuse
from bmcore.plain import brief
from bmcore.review import chain, corrections, schema
from bmcore.review.owner import Owner
from bmcore.review.transactions import Transactions

POINTS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **dict.fromkeys(("accept", "reject", "missed"), (1, 1)),
        "length": (2, 2),
        "diameters": (4, 4),
        "angle": (3, 3),
        "area": (3, 200),
    }
)
KINDS = tuple(POINTS)
MEASURED = ("length", "diameters", "angle", "area")
PHASES = ("unaided", "aided")
ACTIONS = ("set", "removed", "restored")
MAX_MARKS = 500
MAX_CHANGES = 20_000  # of one reader on one case
_FAR_MM = 5_000.0


@dataclass(frozen=True)
class Mark:
    """One thing a reader marked. points_mm: world RAS, as many as POINTS says.

    kind: "accept" or "reject" judge the models' lesion of this number, "missed" is a lesion that
    the reader sees, those of MEASURED are measurements: the two ends of a length; of the longest
    diameter and of the one across it; end, corner and end of an angle; the corners of an area.
    plane: where a measurement was drawn. phase: "unaided"
    where it was made before the reader saw the models' answers. basis: the segmentation that it was
    given on; another segmentation makes the verdict void. version: of the last change.
    """

    id: str
    kind: str
    points_mm: tuple[tuple[float, float, float], ...]
    phase: str
    lesion: int | None = None
    plane: str | None = None
    basis: str | None = None
    version: int = 1

    @property
    def length_mm(self) -> float | None:
        """Distance between the two points of a length, else None."""
        return math.dist(*self.points_mm) if self.kind == "length" else None

    @property
    def measures(self) -> tuple[tuple[float, str], ...]:
        """What was measured, each with its unit (mm, degrees or mm²); () for other kinds."""
        points = np.array(self.points_mm)
        if self.kind in ("length", "diameters"):
            ends = points.reshape(-1, 2, 3)
            return tuple((float(v), "mm") for v in np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1))
        if self.kind == "angle":
            legs = points[[0, 2]] - points[1]
            cosine = legs[0] @ legs[1] / (np.linalg.norm(legs[0]) * np.linalg.norm(legs[1]))
            return ((math.degrees(math.acos(float(np.clip(cosine, -1, 1)))), "degrees"),)
        if self.kind == "area":
            sides = points[1:] - points[0]
            doubled = np.cross(sides[:-1], sides[1:]).sum(axis=0)
            return ((float(np.linalg.norm(doubled)) / 2, "mm2"),)
        return ()

    def visible(self, models_shown: bool, basis: str | None) -> bool:
        """May it be drawn now? While the models are hidden, nothing that was made with their help
        is shown either, and a verdict on another segmentation than ``basis`` is void.
        """
        return (models_shown or self.phase == "unaided") and self.basis in (None, basis)

    @property
    def content(self) -> str:
        """Canonical JSON of what is marked."""
        values = {
            "kind": self.kind,
            "points_mm": self.points_mm,
            "lesion": self.lesion,
            "plane": self.plane,
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Scene:
    """What is on the screen. lesions: numbers that can be judged; basis: the segmentation shown."""

    phase: str
    lesions: tuple[int, ...] = ()
    basis: str | None = None


@dataclass(frozen=True)
class Kept:
    """A reader's marks on a case. removed: last taken away last; saved_at: of the last change."""

    marks: tuple[Mark, ...] = ()
    removed: tuple[Mark, ...] = ()
    saved_at: datetime | None = None


@dataclass(frozen=True)
class _Change:
    """``action`` on the mark ``id`` as it was at version ``after`` (0: it is new)."""

    id: str
    action: str
    after: int
    mark: Mark | None


def record(store: Transactions, owner: Owner, raw: object, scene: Scene) -> dict[str, str]:
    """Store changes as the browser sends them, in order; {key of a change: why it was refused}.

    raw: [{"key", "mark" (its id), "action", "after", "content"}]. Refused as a whole where it is no
    such list. A mark that the list does not name stays as it is.
    """
    if not isinstance(raw, list) or not 0 < len(raw) <= MAX_MARKS:
        found = f"{len(raw)} changes" if isinstance(raw, list) else type(raw).__name__
        raise refuse("the marks cannot be read", found=found, expected=f"1 to {MAX_MARKS} changes")

    def enter(connection: sa.Connection) -> dict[str, str]:
        kept, refused = in_force(connection, owner), {}
        book = _Book(
            {mark.id: mark for mark in kept.marks}, {mark.id: mark for mark in kept.removed}
        )
        for item in raw:
            try:
                change = _change(item, scene)
                mark = book.enter(change, scene)
                if mark is not None:
                    append(connection, owner, mark, change.action)
            except BmcoreError as error:
                key = str(item.get("key") if isinstance(item, dict) else item)[:100]
                refused[key] = " ".join(finding.sentence for finding in error.findings)
        return refused

    return store.write(enter)


@dataclass
class _Book:
    """The marks there and gone while a list of changes is entered."""

    there: dict[str, Mark]
    gone: dict[str, Mark]

    def enter(self, change: _Change, scene: Scene) -> Mark | None:
        """The mark as it is to be stored; None where the change says nothing new."""
        known = self.there.get(change.id) or self.gone.get(change.id)
        version = known.version if known else 0
        if change.after < version:
            return None  # sent once more, or another window has changed this mark since
        if change.after > version:
            raise refuse("a change came before the mark that it changes", found=change.id)
        mark = self._changed(change)
        mark = replace(mark, version=version + 1)
        self.there.pop(change.id, None)
        self.gone.pop(change.id, None)
        if change.action != "removed" and len(self.there) >= MAX_MARKS:
            raise refuse(f"a reader can have {MAX_MARKS} marks on a case", hint="remove others.")
        (self.gone if change.action == "removed" else self.there)[change.id] = mark
        return replace(mark, phase=scene.phase)  # of the change

    def _changed(self, change: _Change) -> Mark:
        if change.action == "removed" and change.id in self.there:
            return self.there[change.id]
        if change.action == "restored" and change.id in self.gone:
            return self.gone[change.id]
        if change.action == "set" and change.mark is not None and change.id not in self.gone:
            return change.mark
        raise refuse(f"a mark cannot be {change.action} now", found=change.id)


def append(connection: sa.Connection, owner: Owner, mark: Mark, action: str) -> None:
    """Add one change to the chain, inside a transaction that writes."""
    t = schema.marks
    mine = sa.select(sa.func.count()).select_from(t).where(*owner.at(t, chain.own_site(connection)))
    if connection.execute(mine).scalar_one() >= MAX_CHANGES:
        raise refuse("too many changes of the marks on this case", expected=f"{MAX_CHANGES}")
    row = {
        **owner.columns,
        "mark": mark.id,
        "version": mark.version,
        "action": action,
        "content": mark.content,
        "phase": mark.phase,
        "basis": mark.basis,
        "created_at": datetime.now(UTC),
    }
    chain.append(connection, t, row)


def in_force(
    connection: sa.Connection, owner: Owner, site: str | None = None, phase: str | None = None
) -> Kept:
    """The marks as they stand, in the order in which they were first made.

    site: whose, of a merged database; this one's own if None. phase: "unaided" leaves out every
    change that was made once the models' answers were shown, also the removal of earlier marks.
    """
    t = schema.marks
    query = sa.select(t).where(*owner.at(t, site or chain.own_site(connection))).order_by(t.c.id)
    order: dict[str, int] = {}
    there: dict[str, Mark] = {}
    gone: dict[str, Mark] = {}
    saved_at = None
    for row in connection.execute(query):
        if phase not in (None, row.phase):
            continue
        order.setdefault(row.mark, len(order))
        saved_at = row.created_at
        known = there.pop(row.mark, None) or gone.pop(row.mark, None)
        if row.action == "set":
            there[row.mark] = _stored(row)
        elif known is not None:
            side = gone if row.action == "removed" else there
            side[row.mark] = replace(known, version=row.version)
    marks = sorted(there.values(), key=lambda mark: order[mark.id])
    return Kept(tuple(marks), tuple(gone.values()), saved_at)


def load(
    store: Transactions, owner: Owner, site: str | None = None, phase: str | None = None
) -> tuple[Mark, ...]:
    """The marks in force, see ``in_force``."""
    return store.read(lambda connection: in_force(connection, owner, site, phase)).marks


def digests(connection: sa.Connection, case_id: str, reader: str) -> tuple[str | None, str | None]:
    """What a vote rests on: SHA-256 of the reader's marks in force, and of the corrected mask.

    None where there is no mark, and where the models' own segmentation stands.
    """
    owner = Owner(case_id, reader)
    kept = in_force(connection, owner).marks
    lines = sorted([mark.id, mark.content, mark.phase, mark.basis or ""] for mark in kept)
    text = json.dumps(lines, separators=(",", ":"))
    correction = corrections.state(connection, owner)
    return (
        hashlib.sha256(text.encode()).hexdigest() if lines else None,
        correction.sha256 if correction else None,
    )


def stamp(connection: sa.Connection) -> str:
    """Changes whenever a mark or a correction is stored."""
    tables = (schema.marks, schema.mask_versions)
    rows = [sa.select(sa.func.count()).select_from(t) for t in tables]
    return " ".join(str(connection.execute(query).scalar_one()) for query in rows)


def as_values(marks: Sequence[Mark]) -> list[Mapping[str, Any]]:
    """Marks as the viewer wants them."""
    return [
        {
            "id": m.id,
            "kind": m.kind,
            "points": [list(p) for p in m.points_mm],
            "lesion": m.lesion,
            "plane": m.plane,
            "version": m.version,
        }
        for m in marks
    ]


def _stored(row: sa.Row[Any]) -> Mark:
    values = json.loads(row.content)
    points = tuple((float(x), float(y), float(z)) for x, y, z in values["points_mm"])
    return Mark(
        row.mark,
        values["kind"],
        points,
        row.phase,
        values["lesion"],
        values["plane"],
        row.basis,
        row.version,
    )


def _change(item: Any, scene: Scene) -> _Change:
    try:
        identity, action, after = item["mark"], item["action"], item["after"]
        whole = type(after) is int and 0 <= after <= MAX_CHANGES
        if not isinstance(identity, str) or not 0 < len(identity) <= 40 or not whole:
            raise ValueError
        if action not in ACTIONS:
            raise ValueError
        content = item["content"] if action == "set" else None
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise refuse("a change of a mark cannot be read", found=brief(item)) from error
    return _Change(identity, action, after, content and read_mark(identity, content, scene))


def read_mark(identity: str, item: Any, scene: Scene) -> Mark:
    """A mark as the browser describes it, checked; InputRefused on anything else."""
    try:
        kind, lesion, plane = item["kind"], item.get("lesion"), item.get("plane")
        points = tuple((float(x), float(y), float(z)) for x, y, z in item["points"])
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise refuse("a mark cannot be read", found=brief(item)) from error
    if kind not in KINDS:
        raise refuse("a mark is of an unknown kind", found=brief(kind), expected=", ".join(KINDS))
    least, most = POINTS[kind]
    if not least <= len(points) <= most:
        raise refuse(f"a mark of kind {kind} has {len(points)} points")
    if not all(math.isfinite(v) and abs(v) < _FAR_MM for point in points for v in point):
        raise refuse("a mark has no position", found=brief(points), expected="world mm")
    if kind == "angle" and (points[0] == points[1] or points[1] == points[2]):
        raise refuse("an angle has a leg without length", found=brief(points))
    if plane not in (None, "axial", "coronal", "sagittal"):
        raise refuse("a mark cannot be read", found=brief(item))
    if kind in ("accept", "reject"):
        if type(lesion) is not int or lesion not in scene.lesions:
            raise refuse("a verdict names no lesion of this case", found=brief(lesion))
        return Mark(identity, kind, points, scene.phase, lesion, plane, scene.basis)
    return Mark(identity, kind, points, scene.phase, None, plane)
