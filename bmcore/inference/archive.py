"""Predictions on disk: the archive the pages read, and the three files of the command line.

The archive is ``<home>/predictions/<case>/<first 16 of the bundle digest>/<time>/`` with
``prediction.json``, ``arrays.npz`` and ``mask.nii.gz``, and their hashes in ``sha256.json``. Each
run gets a new folder that appears by one rename, so a page never reads half a prediction; the
newest ``KEPT`` runs stay, and those that were shown to somebody (``pin``).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore import __version__, disk, zips
from bmcore.domain import BmcoreError, Prediction, Volume, refuse
from bmcore.inference import serial
from bmcore.inference.files import (
    BEFORE,
    check_places,
    folder_name,
    staging,
    to_json,
    together,
)
from bmcore.intake import library
from bmcore.intake.nifti_file import read_bytes
from bmcore.plain import load_json, read_json, safe_cell

KEPT = 3
FILES = ("prediction.json", "arrays.npz", "mask.nii.gz")
_SUMS, _PIN, _IMAGES = "sha256.json", "shown", "images"
_ARRAY_BYTES = 64 * 2**20
OUTPUT_FILES = ("mask.nii.gz", "lesions.csv", "prediction.json")


def save(prediction: Prediction, folder: Path | str, images: str = "") -> Path:
    """Write ``prediction`` as ``folder``, which must not exist yet; returns it.

    images: of what images, see ``CaseEntry.images_sha256``.
    """
    folder = Path(folder)
    if folder.exists():
        raise refuse("a prediction is already stored in this folder", file=folder)
    with staging(folder.parent, folder.name) as beside:
        disk.save_image(serial.mask_image(prediction.mask), beside / "mask.nii.gz")
        with disk.create(beside / "arrays.npz") as stream:
            np.savez_compressed(stream, **serial.arrays(prediction))  # type: ignore[arg-type]
        with disk.create(beside / "prediction.json", "w", encoding="utf-8") as stream:
            stream.write(to_json(serial.full_dict(prediction)))
        with disk.create(beside / _SUMS, "w", encoding="utf-8") as stream:
            stream.write(to_json({**_sums(beside), _IMAGES: images}))
        disk.move_in(beside, folder)
    return folder


def load(folder: Path | str) -> Prediction:
    """Read what ``save`` wrote; ``InputRefused`` if it is absent, damaged, changed after it was
    written, or of another format."""
    folder = Path(folder)
    if not folder.is_dir():
        raise refuse("there is no stored prediction in this folder", file=folder)
    with _refusing(folder):
        _check(folder, FILES)
        values = load_json(folder / "prediction.json")
        named = zips.load_arrays(folder / "arrays.npz", _ARRAY_BYTES)
        labels = np.asarray(read_bytes(folder / "mask.nii.gz").data)
        return serial.from_parts(values, named, labels)


def _words(folder: Path) -> Prediction:
    empty = {"mask_affine": np.eye(4), "clinical_vector": np.zeros(0)}
    with _refusing(folder):
        _check(folder, FILES[:1])
        values = load_json(folder / "prediction.json")
        return serial.from_parts(values, empty, np.zeros((1, 1, 1), np.uint8))


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    try:
        yield
    except _Changed as changed:
        raise refuse(
            "this stored prediction was changed after it was written",
            file=folder,
            found=f"{changed} of another content",
            hint="restore the files from a backup, or run the models again.",
        ) from None
    except (*zips.FAULTS, zlib.error, BmcoreError) as problem:
        raise refuse(
            "this stored prediction cannot be read",
            file=folder,
            found=f"{type(problem).__name__}: {problem}".replace("\n", " "),
            hint="run the prediction again; the damaged folder can be removed.",
        ) from problem


def _sums(folder: Path) -> dict[str, str]:
    """{file: SHA-256} of a stored prediction."""
    return {name: _file_sum(folder / name) for name in FILES}


def _file_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Changed(Exception):
    """Names the files."""


def _check(folder: Path, names: Sequence[str]) -> None:
    """Refuse files that are not what was written. Runs of earlier versions have no list of hashes;
    what was shown of them is in the chain."""
    if not (folder / _SUMS).is_file():
        return
    listed = load_json(folder / _SUMS)
    changed = [name for name in names if listed.get(name) != _file_sum(folder / name)]
    if changed:
        raise _Changed(", ".join(changed))


def run_digest(folder: Path | str) -> str:
    """SHA-256 (hex) over the names and hashes of a stored prediction's files."""
    text = json.dumps(_sums(Path(folder)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Stored:
    """A prediction with the folder it lies in and the hash of its files, see ``run_digest``."""

    prediction: Prediction
    folder: Path
    sha256: str


def latest_stored(home: Path | str, case_id: str, digest: str) -> Stored | None:
    """The newest prediction of a case by the bundle ``digest``, or None."""
    runs = _own_runs(home, case_id, digest)
    if not runs:
        return None
    return Stored(load(runs[0]), runs[0], run_digest(runs[0]))


def find_run(home: Path | str, case_id: str, digest: str, run: str) -> Path:
    """Where the run of this name lies, or would lie."""
    return _shelf(home, case_id) / _short(digest) / folder_name(run, "the run")


def pin(run: Path) -> None:
    """Keep this run for good: somebody was shown it, and votes rest on it."""
    disk.create(run / _PIN, "ab").close()


def keep(home: Path | str, prediction: Prediction, images: str = "") -> Path:
    """Store ``prediction`` as the newest of its case and bundle; returns its folder.

    images: of what images it is, see ``CaseEntry.images_sha256``; a case of the same name with
    others never gets it.
    """
    shelf = _shelf(home, prediction.case_id) / _short(prediction.bundle.digest)
    before = max((int(run.name) for run in _runs(shelf)), default=0)
    now = max(time.time_ns(), before + 1)  # a clock that was set back does not change the order
    stored = save(prediction, shelf / f"{now:020d}", images)
    for old in _runs(shelf)[KEPT:]:
        if not (old / _PIN).exists():
            shutil.rmtree(old, ignore_errors=True)  # a second process may be removing it too
    return stored


def latest(home: Path | str, case_id: str, digest: str | None = None) -> Prediction | None:
    """The newest prediction of a case by the bundle ``digest`` (any bundle if None), or None."""
    runs = _own_runs(home, case_id, digest)
    return load(runs[0]) if runs else None


def latest_words(home: Path | str, case_id: str, digest: str) -> Prediction | None:
    """``latest`` from ``prediction.json`` alone, which is what results and reports need: the mask
    is one voxel of 0, arrays are missing or empty. Refused as by ``load``."""
    runs = _own_runs(home, case_id, digest)
    return _words(runs[0]) if runs else None


def newest(home: Path | str, case_id: str, digest: str) -> Path | None:
    """The folder of the newest prediction of a case by the bundle ``digest``, or None."""
    runs = _own_runs(home, case_id, digest)
    return runs[0] if runs else None


def bundles(home: Path | str) -> tuple[str, ...]:
    """The first 16 digits of the hash of every bundle that has read some case, sorted."""
    cases = disk.below(Path(home) / "predictions")
    return tuple(sorted({b.name for case in cases for b in disk.below(case) if _runs(b)}))


def read_by(home: Path | str, digest: str) -> set[str]:
    """Ids of all that the bundle has read, by their folders alone; opens none."""
    short = _short(digest)
    return {p.name for p in disk.below(Path(home) / "predictions") if (p / short).is_dir()}


def codes(home: Path | str, digest: str) -> dict[str, npt.NDArray[np.float32]]:
    """The image code of the newest prediction of every case by the bundle: case id -> (d,).

    No mask is read. Cases without a lesion have no code and are left out, and so are damaged files:
    opening the case says what is wrong with them.
    """
    found = {}
    for shelf in disk.below(Path(home) / "predictions"):
        runs = [] if shelf.name.startswith(".") else _own_runs(home, shelf.name, digest)
        if not runs:
            continue
        try:
            stored = zips.load_arrays(runs[0] / "arrays.npz", _ARRAY_BYTES)
        except (*zips.FAULTS, zlib.error):
            continue
        if "code" in stored:
            found[shelf.name] = stored["code"]
    return found


def _own_runs(home: Path | str, case_id: str, digest: str | None) -> list[Path]:
    """Complete runs on the images that the case has now, newest first; of any bundle if None.

    Of a run that does not say its images (an earlier version's) the time tells: it is none of
    images that were added after it.
    """
    shelf = _shelf(home, case_id)
    shelves = disk.below(shelf) if digest is None else [shelf / _short(digest)]
    runs = sorted((r for s in shelves for r in _runs(s)), key=lambda r: r.name, reverse=True)
    entry = library.find_entry(Path(home), case_id) if runs else None
    if entry is None or not entry.readable:
        return runs  # no images that it could be compared with
    added = int(entry.added.timestamp()) * 10**9
    stated = [(_images_of(run), run) for run in runs]
    return [r for of, r in stated if (of == entry.images_sha256 if of else int(r.name) >= added)]


def _images_of(run: Path) -> str:
    kept = disk.content_of(run / _SUMS)
    try:
        return "" if kept is None else str(read_json(kept).get(_IMAGES, ""))
    except (ValueError, AttributeError):
        return ""  # damaged, which ``load`` says


def _shelf(home: Path | str, case_id: str) -> Path:
    return Path(home) / "predictions" / folder_name(case_id, "the case's name")


def _short(digest: str) -> str:
    return folder_name(digest, "the bundle's digest")[:16]


def _runs(shelf: Path) -> list[Path]:
    """Complete runs, newest first; hidden folders are still being written."""
    return [run for run in reversed(disk.below(shelf)) if run.name.isdigit() and run.is_dir()]


def check_out(out: Path | str, force: bool = False) -> Path:
    """``out`` if ``write_outputs`` can write there, else ``InputRefused``; creates nothing.

    Earlier results are in the way unless ``force``.
    """
    out = Path(out)
    nearest = out.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if out.exists():
        check_places(out, OUTPUT_FILES)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise refuse(
            "the output folder cannot be written", file=out, hint="name a folder of your own."
        )
    _check_earlier(out, force)
    return out


def _check_earlier(out: Path, force: bool) -> None:
    there = [n for n in OUTPUT_FILES if (out / n).exists() or (out / BEFORE / n).exists()]
    if there and not force:
        raise refuse(
            "the output folder holds results already",
            file=out,
            found=", ".join(there),
            hint="name another folder, or replace them with --force.",
        )


def write_outputs(
    prediction: Prediction,
    out: Path | str,
    inputs: Mapping[str, Mapping[str, str]] | None = None,
    force: bool = False,
) -> list[Path]:
    """Write ``mask.nii.gz``, ``lesions.csv`` and ``prediction.json`` into ``out``; returns them.

    The mask lies on the grid of T1 post-gadolinium as it came. inputs: sequence -> hashes of its
    file, for ``prediction.json``. Earlier results are replaced
    only with ``force``, all three or none; anything else in ``out`` is left alone.
    ``prediction.json`` goes away first and comes last: where it stands, all three belong together.
    """
    out = check_out(out, force)
    with together(out, OUTPUT_FILES) as beside:
        disk.save_image(serial.mask_image(mask_as_came(prediction)), beside / "mask.nii.gz")
        with disk.create(beside / "lesions.csv", "w", newline="", encoding="utf-8") as stream:
            rows = csv.DictWriter(stream, serial.LESION_COLUMNS)
            rows.writeheader()
            for row in serial.lesion_rows(prediction):
                rows.writerow({key: safe_cell(value) for key, value in row.items()})
        with disk.create(beside / "prediction.json", "w", encoding="utf-8") as stream:
            stream.write(to_json({**serial.summary(prediction), **_run(prediction, inputs or {})}))
        _check_earlier(out, force)  # somebody may have been quicker
    return [out / name for name in OUTPUT_FILES]


def mask_as_came(prediction: Prediction) -> Volume:
    """The mask on the grid of T1 post-gadolinium as it came; its own where nothing was aligned."""
    if prediction.origin is None:
        return prediction.mask
    from bmcore.imaging.heads import back

    return back(prediction.mask, prediction.origin)


def _run(prediction: Prediction, inputs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What the answer rests on: values, inputs, time and program. No name of a file or folder."""
    return {
        "clinical_record": asdict(prediction.clinical_record),
        "inputs": {name: dict(hashes) for name, hashes in inputs.items()},
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bmcore": __version__,
    }
