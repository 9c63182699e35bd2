"""Layouts of data sets: which files of a folder are which sequence of which case.

One small adapter a layout, each with ``find(folder) -> list[LayoutCase]``, which looks at names and
reads no image; an empty list where the folder is not laid out so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from bmcore.domain import refuse
from bmcore.intake.layouts import bids, brainmetshare, brats_mets, by_table, ucsf_bmsr, yale
from bmcore.intake.layouts.case import LayoutCase

__all__ = ["LAYOUTS", "LayoutCase", "find", "recognise"]

# In the order in which they are tried: the more particular first.
LAYOUTS: Mapping[str, Callable[[Path], list[LayoutCase]]] = MappingProxyType(
    {
        "csv": by_table.find,
        "bids": bids.find,
        "ucsf-bmsr": ucsf_bmsr.find,
        "brainmetshare": brainmetshare.find,
        "yale": yale.find,
        "brats-mets": brats_mets.find,
    }
)


def recognise(folder: Path) -> tuple[str, list[LayoutCase]] | None:
    """The layout of a folder and its cases, sorted by id; None where it is none of these."""
    for name, found in ((name, look(Path(folder))) for name, look in LAYOUTS.items()):
        if found:
            return name, sorted(found, key=lambda case: case.own_id)
    return None


def find(folder: Path, layout: str) -> list[LayoutCase]:
    """The cases of a folder in a layout that the user named. InputRefused where there are none."""
    if layout not in LAYOUTS:
        raise refuse("there is no such layout", found=layout, expected=", ".join(LAYOUTS))
    found = LAYOUTS[layout](Path(folder))
    if not found:
        raise refuse(f"the folder is not laid out as {layout}", file=Path(folder).name)
    return sorted(found, key=lambda case: case.own_id)
