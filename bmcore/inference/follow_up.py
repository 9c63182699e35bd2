"""The alignment of two examinations of a case in the library, worked out once and kept.

It lies in ``HOME/cache/follow_up/CASE``, under a name made of both images' hashes: other images
give another name. Everything there can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from bmcore import disk
from bmcore.domain import Volume, refuse
from bmcore.imaging.follow_up import FollowUp, follow_up
from bmcore.intake.case_record import CaseEntry, file_digest
from bmcore.intake.nifti_file import read_volume
from bmcore.plain import load_json

_FORMAT = 1  # a new number makes every alignment anew
_REFERENCE = "t1c"


def aligned(home: Path, later: CaseEntry, earlier: CaseEntry) -> FollowUp:
    """How ``earlier`` lies to ``later``: a few seconds of work, or what was kept.

    InputRefused where an image is gone, was changed, or shows no brain.
    """
    path = _path(home, later, earlier)
    known = _known(path)
    if known is not None:
        return known
    found = follow_up(_image(later), _image(earlier))
    disk.private_folder(path.parent)
    disk.write(path, json.dumps(found.as_dict()))
    return found


def _known(path: Path) -> FollowUp | None:
    try:
        return FollowUp.from_dict(load_json(path))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None  # cut off: it is worked out again


def _path(home: Path, later: CaseEntry, earlier: CaseEntry) -> Path:
    images = f"{_FORMAT} {later.images_sha256} {earlier.images_sha256}"
    name = hashlib.sha256(images.encode()).hexdigest()[:32]
    return Path(home) / "cache" / "follow_up" / later.case_id / f"{name}.json"


def _image(entry: CaseEntry) -> Volume:
    path = entry.files.get(_REFERENCE)
    if path is None or not path.is_file() or file_digest(path) != entry.sha256[path.name]:
        raise refuse(
            f"the T1 post-gadolinium of case {entry.case_id} was changed or is gone",
            hint="put the file back from a backup, or add the case again.",
        )
    return read_volume(path)[0]
