"""Names that cases of this home had, in ``HOME/case-names.json``, and what may take them again.

A name on which readers have worked stands in their rows for ever, together with the hash of the
images; it goes to those images again, and to no others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from filelock import FileLock

from bmcore import disk
from bmcore.domain import refuse
from bmcore.intake import removal
from bmcore.plain import read_json

NAMES = "case-names.json"
_MOST_BYTES = 64 * 2**20


def lock(home: Path) -> FileLock:
    """Held by whoever gives a case the next free name, or changes the list."""
    return FileLock(Path(home) / "case-names.lock", mode=disk.FILE_MODE)


def reserved(home: Path) -> dict[str, list[str]]:
    """{name: ``images_sha256`` of the images that may have it again; none: any images}.

    InputRefused where the list is damaged.
    """
    kept = disk.content_of(Path(home) / NAMES)
    if kept is None:
        return {}
    try:
        read = read_json(kept, _MOST_BYTES)
        return {str(name): [str(h) for h in hashes] for name, hashes in read.items()}
    except (ValueError, TypeError, AttributeError) as fault:
        raise refuse(
            "the list of the names that cases had cannot be read",
            file=NAMES,
            found=fault,
            hint="restore the file from a backup.",
        ) from fault


def reserve(home: Path, names: Mapping[str, Collection[str]]) -> None:
    """Add names that are not proposed again; see ``reserved`` for what they come with."""
    disk.open_home(Path(home))
    with lock(home):
        known = reserved(home)
        new = {n: sorted({*known.get(n, ()), *hashes}) for n, hashes in names.items()}
        if any(known.get(name) != hashes for name, hashes in new.items()):
            text = json.dumps({**known, **new}, indent=1, sort_keys=True, ensure_ascii=False)
            disk.write(Path(home) / NAMES, text)


def check(home: Path, name: str, images_sha256: str) -> None:
    """InputRefused where ``name`` belongs to other images, on which readers have worked, or it is
    not decided yet whether the case of this name goes."""
    if name in removal.in_between(home):
        raise refuse(
            f"a case {name} is being removed",
            hint="try again in a moment, or give the new case another id.",
        )
    hashes = reserved(home).get(name, [])
    if hashes and images_sha256 not in hashes:
        raise refuse(
            f"readers have worked on a case {name} with other images, which was removed",
            expected="the same images, or an id that was never in use",
            hint="give the new case another id.",
        )
