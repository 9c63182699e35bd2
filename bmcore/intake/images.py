"""The images of one case, read in a child process; its voxels come back as mapped files.

A mapped file costs memory only where it is looked at, and the system may take that back. It has no
name any more when ``read_images`` returns, so nothing is left behind.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import Finding, InputRefused, Severity, Volume, refuse
from bmcore.intake.child import Limits, ask
from bmcore.intake.nifti_file import MAX_VOXELS, read_mask, read_volume

MAX_VOXELS_A_CASE = 4 * 512 * 512 * 300 + MAX_VOXELS  # four large sequences and a mask

Read = tuple[dict[str, Volume], list[Finding], list[Finding]]


def read_images(files: Mapping[str, Path], own: bool = False, convention: str = "") -> Read:
    """Volumes by name, what refused the others, and notes. "seg" is a mask, the others are images.

    convention: how the labels of the mask are meant, see ``read_mask``. own: the files are our own
    copies, checked when they came and unchanged by their hash; they are read here, within the same
    limits of size.
    """
    volumes: dict[str, Volume] = {}
    problems: list[Finding] = []
    notes: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="bmcore-") as folder:
        for name, path in files.items():
            try:
                labels = convention if name == "seg" else None
                read = _read(path, labels, None if own else Path(folder) / name)
                _check_total([*volumes.values(), read[0]], path)
                volumes[name] = read[0]
                notes += read[1]
            except InputRefused as error:
                problems += error.findings
    return volumes, problems, notes


def _check_total(volumes: Sequence[Volume], path: Path) -> None:
    total = sum(volume.data.size for volume in volumes)
    if total > MAX_VOXELS_A_CASE:
        raise refuse(
            "the images of the case are too large together",
            file=path.name,
            found=f"{total} voxels",
            expected=f"at most {MAX_VOXELS_A_CASE}",
        )


def _read(path: Path, labels: str | None, out: Path | None) -> tuple[Volume, list[Finding]]:
    """labels: the convention of a mask; None for an image."""
    if out is None:
        volume, findings = (
            read_volume(path) if labels is None else read_mask(path, convention=labels)
        )
        return volume, list(findings)
    if not path.is_file():
        raise refuse("the file is not there", file=path.name, hint="check the path.")
    job = {"path": str(path.absolute()), "labels": labels, "out": str(out)}
    told = ask("image", job, path.name, Limits.for_file(path, 32 * 2**20))
    shape, dtype = tuple(int(n) for n in told["shape"]), np.float32 if labels is None else np.uint8
    if len(shape) != 3 or not 0 < math.prod(shape) <= MAX_VOXELS:
        raise refuse("the file is damaged and cannot be read", file=path.name, found=str(shape))
    data = np.asarray(np.memmap(out, dtype, "r", shape=shape, order="F"))
    out.unlink()
    notes = [Finding(**{**f, "severity": Severity(f["severity"])}) for f in told["findings"]]
    return Volume(data, np.array(told["affine"], dtype=np.float64)), notes


def read_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: read ``job["path"]`` and write its voxels to ``job["out"]``, i fastest."""
    out = Path(job["out"])

    def on_disk(shape: tuple[int, int, int], dtype: type) -> npt.NDArray:
        return np.memmap(out, dtype, "w+", shape=shape, order="F")

    path, labels = Path(job["path"]), job["labels"]
    if labels is None:
        volume, findings = read_volume(path, on_disk)
    else:
        volume, findings = read_mask(path, on_disk, str(labels))
    return {
        "shape": list(volume.shape),
        "affine": volume.affine.tolist(),
        "findings": [asdict(finding) for finding in findings],
    }


def start_here(job: Mapping[str, Any]) -> dict[str, Any]:
    """In the child: nothing; what reading an image needs is imported by now."""
    return {}


def same_voxels(first: Volume, second: Volume) -> bool:
    """True where two volumes hold the same values; stops at the first slice that differs."""
    if first.shape != second.shape:
        return False
    return all(
        np.array_equal(first.data[..., k], second.data[..., k]) for k in range(first.shape[2])
    )
