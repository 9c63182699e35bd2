"""Alignments that were worked out before, by the content of the images they are of.

``HOME/heads/<digest>.npz`` holds matrices, measures and the outline of the brain: no image, and no
name. The newest ``KEPT`` stay.
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bmcore import disk, zips
from bmcore.domain import Volume
from bmcore.geometry import to_ras
from bmcore.imaging import extraction
from bmcore.imaging.alignment_quality import Quality
from bmcore.imaging.heads import Alignment
from bmcore.intake.raw import content_digest

KEPT = 200
_VERSION = 4  # to be raised when ``heads`` or ``registration`` give other results
_BYTES = 64 * 2**20


def key_of(volumes: Mapping[str, Volume]) -> str:
    """A digest of the images, of the nets that are installed and of this version.

    The order of voxels in the file does not matter: an image has the same key out of NIfTI and out
    of DICOM, if places agree within 0.001 mm.
    """
    contents = {}
    for name, volume in volumes.items():
        data, affine = to_ras(np.asarray(volume.data), volume.affine)
        contents[name] = content_digest(Volume(data, np.round(affine, 3) + 0.0))
    text = json.dumps([_VERSION, extraction.available(), contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(home: Path, key: str, alignment: Alignment) -> None:
    """Write an alignment; the oldest beyond KEPT go."""
    folder = disk.private_folder(disk.open_home(Path(home)) / "heads")
    about = {
        "affine": np.asarray(alignment.affine).tolist(),
        "moves": {name: np.asarray(move).tolist() for name, move in alignment.moves.items()},
        "extraction": alignment.extraction,
        "quality": asdict(alignment.quality),
        "working": list(alignment.brain.shape),
    }
    file = io.BytesIO()
    np.savez_compressed(
        file,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        brain=np.packbits(alignment.brain),
    )
    disk.write(folder / f"{key}.npz", file.getvalue())
    found = ((disk.stat_of(path), path) for path in folder.glob("*.npz"))
    there = [(stat.st_mtime, path) for stat, path in found if stat is not None]
    for _, old in sorted(there, reverse=True)[KEPT:]:
        old.unlink(missing_ok=True)


def read(home: Path, key: str, reference: Volume) -> Alignment | None:
    """What ``keep`` wrote, for T1 post-gadolinium as it comes now (``reference``); None where there
    is none, or it cannot be read (it is made again)."""
    path = Path(home) / "heads" / f"{key}.npz"
    if not path.is_file():
        return None
    try:
        arrays = zips.load_arrays(path, _BYTES)
        about = json.loads(arrays["about"].tobytes())
        working = tuple(int(n) for n in about["working"])
        count = int(np.prod(working))
        brain = np.unpackbits(arrays["brain"], count=count).astype(bool).reshape(working)
        return Alignment(
            np.array(about["affine"], float),
            brain,
            reference.shape,
            np.asarray(reference.affine),
            {name: np.array(move, float) for name, move in about["moves"].items()},
            about["extraction"],
            Quality.from_dict(about["quality"]),
        )
    except (*zips.FAULTS, zlib.error, KeyError, TypeError, ValueError):
        return None
