"""A home folder for tests of the pages: a small case, small random models, a prediction."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bmcore.domain import BundleInfo, Case, ClinicalRecord
from tests import pages_fixture as fixture


def write_files(case: Case, folder: Path) -> dict[str, Path]:
    """The sequences of ``case`` as NIfTI files; sequence -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, volume in case.sequences.items():
        paths[name] = folder / f"{case.case_id}-{name}.nii.gz"
        nib.save(nib.Nifti1Image(np.asarray(volume.data), volume.affine), paths[name])
    return paths


def add_case(home: Path, work: Path, case_id: str, record: ClinicalRecord | None = None) -> Case:
    from bmcore.intake import library

    case = fixture.make_case(case_id)
    files = write_files(case, work / case_id)
    library.add_case(home, files, case_id, record or case.clinical)
    return library.load_case(home, case_id)


def make_bundle(folder: Path) -> BundleInfo:
    """Models with random weights, complete and valid; their answers mean nothing."""
    from bmcore.models.bundle_writer import finish
    from tests.test_models_bundles import fill

    folder.mkdir(parents=True, exist_ok=True)
    fill(folder)
    return finish(folder, "test models", "1", "random numbers", True).info


def store_prediction(home: Path, case: Case, info: BundleInfo, lesions: bool = True) -> None:
    from bmcore.inference import archive

    archive.keep(home, fixture.make_prediction(case, info, lesions))
