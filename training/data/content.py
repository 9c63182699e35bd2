"""What a case holds, as a hash: its files byte by byte, links followed, and its row of the table.

A file's time and size say little: a changed image behind a link, or a spreadsheet corrected one
folder up, looks the same. What is kept of a case is therefore known by what it was made from.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from training.run.files import fingerprint

if TYPE_CHECKING:
    from training.data.datasets import Dataset


def image_files(dataset: Dataset, case_id: str) -> list[Path]:
    """The NIfTI files of a case, sorted by name."""
    return sorted(p for p in dataset.files_of(case_id) if p.name.endswith((".nii", ".nii.gz")))


def image_content(dataset: Dataset, case_id: str) -> str:
    """sha256 over the names and the bytes of a case's images and mask. OSError where one cannot be
    read."""
    rows = []
    for path in image_files(dataset, case_id):
        with path.open("rb") as stream:
            rows.append([path.name, hashlib.file_digest(stream, "sha256").hexdigest()])
    return fingerprint(rows)


def row_content(dataset: Dataset, case_id: str) -> str:
    """sha256 over what the table says of a case: clinical values and primary."""
    record, primary = dataset.row_of(case_id)
    return fingerprint(asdict(record), str(primary))


def case_content(dataset: Dataset, case_id: str) -> str:
    """sha256 over images, mask and row of a case."""
    return fingerprint(image_content(dataset, case_id), row_content(dataset, case_id))
