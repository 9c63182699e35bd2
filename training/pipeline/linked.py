"""The cases that are used, as links in a folder of their own in the Yale layout."""

from __future__ import annotations

import shutil
from pathlib import Path

from bmcore.intake.datasets import YaleDataset
from bmcore.intake.layouts.yale import NESTED
from training.data.content import image_files
from training.data.split import Split, write_split
from training.pipeline.audit import Audit


def link_cases(found: Audit, data: Path, folder: Path, split: Split) -> None:
    """Make ``folder`` hold the cases used, the table and the split; made anew each time.

    Links, or copies where the file system has none. Whoever reads them reads the originals.
    """
    source = YaleDataset(data)
    if folder.exists():
        shutil.rmtree(folder)
    cases = folder / NESTED[1]
    cases.mkdir(parents=True)
    for case in found.used:
        own = cases / case.case_id
        own.mkdir()
        for path in image_files(source, case.case_id):
            _link(path, own / path.name)
    table = source.spreadsheet
    if table is not None:
        shutil.copyfile(table, folder / table.name)
    write_split(folder, split)


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # no links there
        shutil.copyfile(source, target)
