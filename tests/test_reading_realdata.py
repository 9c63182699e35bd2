"""The road on a real case: the mask of another program stands in for the segmentation net.

So this tests the way to the working grid and back, the measuring and the voxel order on real files,
whatever the models at hand are worth.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, Volume
from bmcore.inference import pipeline
from tests import reading_fixture as fixture
from tests.test_reading_pipeline import turned

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("BMCORE_REALDATA", ROOT.parent / "shared" / "realdata"))
CASE = FOLDER / "01_brats_met_00110"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not CASE.is_dir(), reason=f"no real MRI files in {FOLDER}"),
]


def reference(case: Case, of: tuple[int, ...] = (1, 2)) -> Volume:
    """The other program's tumour (its labels 1 and 2), or some of it, all as enhancing, in the
    case's order."""
    image = nib.Nifti1Image.load(CASE / "aurora_t1c_only_prediction.nii.gz")
    labels = np.where(np.isin(np.asarray(image.dataobj), of), 3, 0).astype(np.uint8)
    alone = Case("reference", {"t1c": Volume(labels, np.asarray(image.affine))})
    return turned(alone, "".join(nib.aff2axcodes(case.grid.affine))).grid


def predicted(case: Case, bundle: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from bmcore.imaging.preprocess import to_working_grid

    mask = reference(case)
    monkeypatch.setattr(
        pipeline, "find_tumour", lambda _b, prepared, *_: (to_working_grid(mask, prepared), None)
    )
    return pipeline.predict(case, bundle)


def test_the_lesion_is_left_and_the_same_when_the_files_are_saved_as_lps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.intake.nifti import read_case

    bundle = fixture.bundle_that_sees_the_spot(fixture.tiny_bundle(tmp_path))
    case = read_case(CASE)
    found = predicted(case, bundle, monkeypatch)
    np.testing.assert_array_equal(found.mask.data, reference(case).data)  # there and back again
    np.testing.assert_array_equal(found.mask.affine, case.grid.affine)
    assert {lesion.side for lesion in found.lesions} == {"left"}
    lps = turned(case, "LPS")
    assert not np.array_equal(lps.grid.affine, case.grid.affine)
    other = predicted(lps, bundle, monkeypatch)
    assert len(other.lesions) == len(found.lesions) > 0
    for a, b in zip(found.lesions, other.lesions, strict=True):
        np.testing.assert_allclose(a.centroid_mm, b.centroid_mm, atol=1e-6)
        assert a.volume_mm3 == pytest.approx(b.volume_mm3)
        same = replace(b, centroid_mm=a.centroid_mm, centroid_voxel=a.centroid_voxel)
        assert replace(same, largest_diameter_mm=a.largest_diameter_mm) == a
    np.testing.assert_allclose(other.fused.probabilities, found.fused.probabilities, atol=1e-4)
