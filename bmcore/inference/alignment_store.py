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
from bmcore.imaging import extraction
from bmcore.imaging.alignment_quality import Quality
from bmcore.imaging.heads import Alignment
from bmcore.intake.raw import content_digest

KEPT = 200
_VERSION = 1  # to be raised when ``heads`` or ``registration`` give other results
_BYTES = 64 * 2**20


def key_of(volumes: Mapping[str, Volume]) -> str:
    """A digest of the images, of the nets that are installed and of this version."""
    contents = {name: content_digest(volume) for name, volume in volumes.items()}
    text = json.dumps([_VERSION, extraction.available(), contents], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def keep(home: Path, key: str, alignment: Alignment) -> None:
    """Write an alignment; the oldest beyond KEPT go."""
    folder = disk.private_folder(disk.open_home(Path(home)) / "heads")
    about = {
        "affine": np.asarray(alignment.affine).tolist(),
        "shape": list(alignment.shape),
        "source": np.asarray(alignment.source).tolist(),
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
    there = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in there[KEPT:]:
        old.unlink(missing_ok=True)


def read(home: Path, key: str) -> Alignment | None:
    """What ``keep`` wrote; None where there is none, or it cannot be read (it is made again)."""
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
            tuple(about["shape"]),
            np.array(about["source"], float),
            {name: np.array(move, float) for name, move in about["moves"].items()},
            about["extraction"],
            Quality.from_dict(about["quality"]),
        )
    except (*zips.FAULTS, zlib.error, KeyError, TypeError, ValueError):
        return None
