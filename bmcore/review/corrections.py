"""A reader's corrected segmentation of a case: every version is kept, none is overwritten.

A version is a chained row and, unless it is the models' own segmentation, a file under
``HOME/marks/masks`` that is named by its SHA-256. A file that is not the one of its row is refused.
The browser sends brush strokes, each with an id, and each is painted once on what stands.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from bmcore import disk
from bmcore.domain import BmcoreError, Volume, refuse
from bmcore.geometry import same_grid, to_ras
from bmcore.plain import brief
from bmcore.review import chain, schema
from bmcore.review.owner import Owner
from bmcore.review.transactions import Transactions

MAX_STROKES = 2_000
MAX_RUNS = 500_000  # in one message; a stroke has some hundreds
_ROUNDS = 20
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class State:
    """The newest version. sha256: None where the models' own segmentation stands again.

    basis: ``content_id`` of the models' segmentation that was painted on; None where that is not
    known (drafts of earlier versions of bmcore).
    """

    version: int
    action: str
    sha256: str | None
    basis: str | None
    at: datetime

    def fits(self, basis: str | None) -> bool:
        """True where it corrects the segmentation ``basis``."""
        return self.basis in (None, basis)


@dataclass(frozen=True)
class Stroke:
    """One brush stroke. runs: (n, 3) of first voxel, count, label; RAS voxel order, i fastest."""

    id: str
    runs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Canvas:
    """What is painted on. like: the models' segmentation, as its file lies; basis: its content."""

    home: Path
    like: Volume
    basis: str


def content_id(volume: Volume) -> str:
    """Eight hex digits that change with the voxels."""
    return f"{zlib.crc32(volume.data.tobytes()):08x}"


def read_strokes(raw: object, voxels: int) -> list[Stroke]:
    """Strokes as the browser sends them, checked: [{"id", "runs": [first, count, label, …]}]."""
    if not isinstance(raw, list) or not 0 < len(raw) <= MAX_STROKES:
        raise refuse("the brush strokes cannot be read", expected=f"1 to {MAX_STROKES} strokes")
    return [_stroke(item, voxels) for item in raw]


def _stroke(item: Any, voxels: int) -> Stroke:
    identity, runs = (item.get("id"), item.get("runs")) if isinstance(item, dict) else (None, None)
    expected = f"first voxel, count and label in turn, labels 0-3, of {voxels} voxels"
    if not isinstance(identity, str) or not 0 < len(identity) <= 40:
        raise refuse("a brush stroke has no id", found=brief(identity))
    if not isinstance(runs, list) or len(runs) % 3 or not 0 < len(runs) <= 3 * MAX_RUNS:
        raise refuse("a brush stroke cannot be read", expected=expected)
    if not all(type(v) is int and 0 <= v <= voxels + 3 for v in runs):
        raise refuse("a brush stroke has impossible numbers", expected=expected)
    table = np.array(runs, np.int64).reshape(-1, 3)
    first, count, label = table.T
    if label.max() > 3 or count.min() < 1 or (first + count).max() > voxels:
        raise refuse("a brush stroke does not fit the case", expected=expected)
    return Stroke(identity, table)


def paint(labels: Labels, strokes: Sequence[Stroke]) -> Labels:
    """``labels`` (RAS voxel order) with the strokes painted on, one after the other."""
    flat = labels.ravel(order="F").copy()
    for stroke in strokes:
        for first, count, label in stroke.runs:
            flat[first : first + count] = label
    return flat.reshape(labels.shape, order="F")


def save(store: Transactions, owner: Owner, strokes: Sequence[Stroke], canvas: Canvas) -> None:
    """Paint the strokes that are new on what stands, and keep the result as a version.

    Where another window has stored a version meanwhile, they are painted on that one.
    """
    for _ in range(_ROUNDS):
        before, known = store.read(lambda connection: _known(connection, owner))
        fresh = [stroke for stroke in strokes if stroke.id not in known]
        if not fresh:
            return
        standing = _standing(before, canvas)
        painted = _painted(standing or canvas.like, fresh)
        plain = np.array_equal(painted.data, canvas.like.data)
        if plain and standing is None:
            return
        row = {
            "version": before.version + 1 if before else 1,
            "action": "dropped" if plain else "saved",
            "sha256": None if plain else keep_file(canvas.home, as_file(painted)),
            "basis": canvas.basis,
            "strokes": json.dumps([stroke.id for stroke in fresh]),
        }
        if store.write(lambda connection, row=row: append(connection, owner, row)):  # type: ignore[misc]
            return
    raise refuse("too many windows paint on this case at once", hint="close the other windows.")


def drop(store: Transactions, owner: Owner, basis: str) -> None:
    """Back to the models' segmentation; the correction is kept and can be brought back."""

    def enter(connection: sa.Connection) -> None:
        now = state(connection, owner)
        if now is not None and now.sha256 is not None:
            _again(connection, owner, now, "dropped", None, basis)

    store.write(enter)


def restore(store: Transactions, owner: Owner, basis: str) -> None:
    """Bring the last correction back, as one of the segmentation ``basis``."""

    def enter(connection: sa.Connection) -> None:
        now, last = state(connection, owner), last_file(connection, owner)
        if now is None or last is None:
            raise refuse("there is no correction of yours on this case")
        if (now.sha256, now.basis) != (last, basis):
            _again(connection, owner, now, "restored", last, basis)

    store.write(enter)


def _again(
    connection: sa.Connection, owner: Owner, now: State, action: str, sha256: str | None, basis: str
) -> None:
    row = {"version": now.version + 1, "action": action, "sha256": sha256, "basis": basis}
    append(connection, owner, {**row, "strokes": "[]"})


def append(connection: sa.Connection, owner: Owner, row: dict[str, Any]) -> bool:
    """Add a version to the chain; False where another one has taken its number."""
    now = state(connection, owner)
    if row["version"] != (now.version + 1 if now else 1):
        return False
    values = {**owner.columns, **row, "created_at": datetime.now(UTC)}
    chain.append(connection, schema.mask_versions, values)
    return True


def state(connection: sa.Connection, owner: Owner, site: str | None = None) -> State | None:
    """The newest version, None where nothing was ever painted. site: see ``marks.in_force``."""
    t = schema.mask_versions
    query = sa.select(t).where(*owner.at(t, site or chain.own_site(connection)))
    row = connection.execute(query.order_by(t.c.version.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return State(row.version, row.action, row.sha256, row.basis, row.created_at)


def last_file(connection: sa.Connection, owner: Owner) -> str | None:
    """SHA-256 of the newest version that is a correction, also where it was dropped since."""
    t = schema.mask_versions
    mine = owner.at(t, chain.own_site(connection))
    query = sa.select(t.c.sha256).where(*mine, t.c.sha256.is_not(None))
    return connection.execute(query.order_by(t.c.version.desc()).limit(1)).scalar_one_or_none()


def _known(connection: sa.Connection, owner: Owner) -> tuple[State | None, set[str]]:
    t = schema.mask_versions
    query = sa.select(t.c.strokes).where(*owner.at(t, chain.own_site(connection)))
    found = connection.execute(query).scalars()
    return state(connection, owner), {stroke for text in found for stroke in json.loads(text)}


def _standing(now: State | None, canvas: Canvas) -> Volume | None:
    """The correction in force, where it is one of the segmentation on the screen."""
    if now is None or now.sha256 is None or not now.fits(canvas.basis):
        return None
    return load(canvas.home, now.sha256, canvas.like)


def _painted(base: Volume, strokes: Sequence[Stroke]) -> Volume:
    ras, _ = to_ras(np.asarray(base.data, np.uint8), base.affine)
    turn = nib.io_orientation(base.affine)
    back = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), turn)
    labels = nib.apply_orientation(paint(ras, strokes), back)
    return Volume(np.ascontiguousarray(labels), base.affine)


# ---- files -----------------------------------------------------------------------------------


def path_of(home: Path | str, sha256: str) -> Path:
    """Where the mask file of this content lies."""
    return Path(home) / "marks" / "masks" / sha256[:2] / f"{sha256}.nii.gz"


def as_file(mask: Volume) -> bytes:
    """A gzipped NIfTI file of labels; the same mask gives the same bytes."""
    image = nib.Nifti1Image(np.asarray(mask.data, np.uint8), mask.affine)
    return gzip.compress(image.to_bytes(), 4, mtime=0)


def keep_file(home: Path | str, content: bytes) -> str:
    """Write a mask file, on the disk for good when this returns; gives its SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = path_of(home, sha256)
    if path.exists():
        _checked(path, sha256)
        return sha256
    disk.private_folder(path.parent)
    disk.write(path, content)
    return sha256


def load(home: Path | str, sha256: str, like: Volume) -> Volume:
    """A stored mask; InputRefused if its file is gone, changed or not on ``like``'s grid."""
    path = path_of(home, sha256)
    content = _checked(path, sha256)
    try:
        image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
        mask = Volume(np.asarray(image.dataobj).astype(np.uint8), image.affine)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise refuse(
            "the corrected segmentation cannot be read",
            file=path,
            found=f"{type(error).__name__}: {error}"[:160],
            hint="go back to the models' segmentation, and tell the administrator.",
        ) from error
    if not same_grid(mask, like):
        raise refuse("the corrected segmentation is on a different grid", file=path)
    return mask


def content_of(home: Path | str, sha256: str) -> bytes:
    """A stored mask's file as it is; InputRefused if it is gone or changed."""
    return _checked(path_of(home, sha256), sha256)


def _checked(path: Path, sha256: str) -> bytes:
    hint = "restore the file from a backup, or go back to the models' segmentation."
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise refuse("a corrected segmentation is missing", file=path, hint=hint) from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise refuse(
            "a corrected segmentation was changed after it was stored",
            file=path,
            found=f"SHA-256 {found[:12]}…",
            expected=f"{sha256[:12]}…",
            hint=hint,
        )
    return content


def problems(home: Path, digests: Iterable[str]) -> tuple[str, ...]:
    """Every stored mask file of these hashes that is missing or changed, as a sentence each."""
    found = []
    for sha256 in sorted(set(digests)):
        try:
            _checked(path_of(home, sha256), sha256)
        except BmcoreError as error:
            found += [finding.sentence for finding in error.findings]
        except OSError as error:
            found.append(f"a corrected segmentation cannot be read: {error}")
    return tuple(found)
