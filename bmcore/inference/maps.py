"""Grad-CAM maps kept on disk, for computers that show them without the nets.

``<home>/maps/<case>/<first 16 of the bundle digest>/<lesion>-<primary>.nii.gz``, values 0-1 in 255
steps, on the grid of the images.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np

from bmcore import disk
from bmcore.domain import PRIMARIES, Case, InputRefused, Prediction, Primary, Volume, refuse
from bmcore.geometry import same_grid
from bmcore.inference import explain
from bmcore.inference.files import folder_name, staging
from bmcore.intake.nifti_file import read_bytes
from bmcore.models.bundles import Bundle


def keep_maps(home: Path, bundle: Bundle, case: Case, prediction: Prediction) -> list[Path]:
    """Make the maps of every lesion for every primary; those that are there stay."""
    folder = _folder(home, prediction)
    kept: list[Path] = []
    prepared = None  # once for all lesions
    for found in prediction.lesions:
        paths = {primary: folder / _name(found.number, primary) for primary in PRIMARIES}
        kept += paths.values()
        missing = {primary: path for primary, path in paths.items() if not path.exists()}
        if missing:
            patches, prepared = explain.lesion_patches(
                bundle, case, prediction, [found.number], prepared
            )
            for primary, path in missing.items():
                heat = explain.evidence(bundle.cnn, patches.cubes, primary)
                write_map(path, explain.on_the_images(heat, patches.affines[0], prepared))
    return kept


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
    path = _folder(home, prediction) / _name(lesion, primary)
    return read_map(path, prediction) if path.is_file() else None


def are_kept(home: Path, case_id: str, digest: str, lesions: Iterable[int]) -> bool:
    """True where the maps of all these lesions are kept, for every primary; reads none."""
    folder = Path(home) / "maps" / folder_name(case_id, "the case's name") / digest[:16]
    return all((folder / _name(n, primary)).is_file() for n in lesions for primary in PRIMARIES)


def _name(lesion: int, primary: Primary) -> str:
    return f"{lesion}-{primary}.nii.gz"


def _folder(home: Path, prediction: Prediction) -> Path:
    case = folder_name(prediction.case_id, "the case's name")
    return Path(home) / "maps" / case / prediction.bundle.digest[:16]
