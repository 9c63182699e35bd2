"""Maps of the CNN's evidence that came with a package, for computers that have no nets.

``<home>/maps/<case>/<first 16 of the bundle digest>/<lesion>-<primary>.nii.gz``, values 0-1 in 255
steps, on the grid of the images, and its audit (``inference.audit``) in the ``.json`` beside it;
packages of earlier versions hold none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np

from bmcore import disk
from bmcore.domain import PRIMARIES, InputRefused, Prediction, Primary, Volume, refuse
from bmcore.geometry import same_grid
from bmcore.inference.files import folder_name, staging
from bmcore.intake import library
from bmcore.intake.nifti_file import read_bytes


def map_path(home: Path, prediction: Prediction, lesion: int, primary: Primary) -> Path:
    """Where the map of a lesion for a primary lies, or would lie."""
    return _folder(home, prediction) / _name(lesion, primary)


def write_map(path: Path, heat: Volume) -> None:
    """Keep a map of 0-1 in 255 steps; it is there whole or not at all."""
    steps = np.round(heat.data * 255).astype(np.uint8)
    with staging(path.parent, "map") as beside:
        disk.save_image(nib.Nifti1Image(steps, heat.affine), beside / path.name)
        disk.move_in(beside / path.name, path)


def read_map(path: Path, prediction: Prediction) -> Volume:
    """A kept map (i, j, k) of 0-1; InputRefused if it is damaged or on another grid."""
    try:
        steps = read_bytes(path)
        found = Volume((steps.data / 255).astype(np.float32), steps.affine)
    except (OSError, InputRefused) as error:
        raise refuse("a kept map cannot be read", file=path, found=error) from error
    if not same_grid(found, prediction.mask):
        raise refuse("a kept map is on a different grid from the images", file=path)
    return found


def find_map(home: Path, prediction: Prediction, lesion: int, primary: Primary) -> Volume | None:
    """A kept map (i, j, k) of 0-1, or None; InputRefused if it is damaged or on another grid."""
    path = map_path(home, prediction, lesion, primary)
    there, entry = disk.stat_of(path), library.find_entry(home, prediction.case_id)
    if there is None or (entry is not None and there.st_mtime < int(entry.added.timestamp())):
        return None  # none, or of a case of the same name that was here before
    return read_map(path, prediction)


def are_kept(home: Path, case_id: str, digest: str, lesions: Iterable[int]) -> bool:
    """True where the maps of all these lesions are kept, for every primary; reads none."""
    folder = Path(home) / "maps" / folder_name(case_id, "the case's name") / digest[:16]
    return all((folder / _name(n, primary)).is_file() for n in lesions for primary in PRIMARIES)


def _name(lesion: int, primary: Primary) -> str:
    return f"{lesion}-{primary}.nii.gz"


def _folder(home: Path, prediction: Prediction) -> Path:
    case = folder_name(prediction.case_id, "the case's name")
    return Path(home) / "maps" / case / prediction.bundle.digest[:16]
