"""Real MRI files: intake, working grid, side. Skipped where the folder is absent."""

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, InputRefused, Severity, Volume
from bmcore.imaging.lesions import find_lesions
from bmcore.imaging.preprocess import prepare, restore, to_working_grid
from bmcore.intake.nifti import read_case
from bmcore.intake.nifti_file import read_volume
from tests.volumes_fixture import REALDATA, needs_realdata, turned

pytestmark = [pytest.mark.realdata, needs_realdata]


def labels(path, table) -> np.ndarray:
    data = np.asarray(nib.load(REALDATA / path).dataobj).astype(int)
    return np.array(table, np.uint8)[data]


@pytest.fixture(scope="module")
def yale() -> Case:
    return read_case(REALDATA / "01_brats_met_00110")


@pytest.fixture(scope="module")
def tcga() -> Case:
    return read_case(REALDATA / "04_tcga_fg6692_sri24")


def test_the_yale_case_is_read_without_the_foreign_mask(yale):
    assert yale.case_id == "BraTS-MET-00110-000" and yale.missing == ()
    assert yale.grid.shape == (240, 240, 155)
    assert [f.file for f in yale.findings] == ["aurora_t1c_only_prediction.nii.gz"]


def test_the_yale_lesion_lies_on_the_left_also_when_resaved_as_lps(yale):
    # Another model's output, not truth: 1 oedema, 2 tumour; the lesion is left parieto-occipital.
    mask = labels("01_brats_met_00110/aurora_t1c_only_prediction.nii.gz", (0, 2, 3))
    volume = Volume(mask, yale.grid.affine)
    found = []
    for codes in ("RAS", "LPS"):
        case = Case("X", {n: turned(v, codes) for n, v in yale.sequences.items()})
        prepared = prepare(case)
        assert not [f for f in prepared.findings if f.severity is Severity.WARNING]
        seg = turned(volume, codes)
        working = to_working_grid(seg, prepared)
        assert np.array_equal(restore(working, prepared).data, seg.data)
        brain = restore(prepared.brain, prepared).data
        found.append(find_lesions(seg.data, seg.affine, brain))
        assert 1.3e6 < prepared.brain.sum() < 1.7e6  # 1.5 litres of brain
    (first,), (second,) = found
    assert first.side == "left" and second.side == "left"
    assert first.volume_mm3 == second.volume_mm3 == (mask == 3).sum()
    np.testing.assert_allclose(first.centroid_mm, second.centroid_mm, atol=1e-3)


def test_the_lps_case_with_negative_background_has_its_lesion_on_the_right(tcga):
    assert [f.severity for f in tcga.findings] == [Severity.INFO] * 4
    assert min(v.data.min() for v in tcga.sequences.values()) < 0
    prepared = prepare(tcga)
    assert 1.4e6 < prepared.brain.sum() < 1.8e6
    mask = labels("04_tcga_fg6692_sri24/seg_fusion/mav.nii.gz", (0, 1, 2, 0, 3))
    brain = restore(prepared.brain, prepared).data
    lesion = find_lesions(mask, tcga.grid.affine, brain)[0]
    assert (lesion.side, lesion.region) == ("right", "frontal")  # as the README of the data says


def test_four_grids_are_refused_and_each_file_is_named():
    with pytest.raises(InputRefused) as caught:
        read_case(REALDATA / "03_tcga_fg6692_native")
    findings = caught.value.findings
    assert {"FLAIR_AX" in f.file for f in findings} == {True, False} and len(findings) == 2
    assert all("on a different grid from t1c" in f.what for f in findings)
    assert all(
        "256 x 224 x 26 voxels of 0.90 x 0.90 x 5.50 mm, LAS" in f.expected for f in findings
    )


def test_a_native_scan_with_skull_on_thick_oblique_slices_works_with_warnings():
    (file,) = (REALDATA / "03_tcga_fg6692_native").glob("*_t1c.nii.gz")
    case = read_case([file])
    prepared = prepare(case)
    warned = " ".join(f.what for f in prepared.findings if f.severity is Severity.WARNING)
    assert "skull seems not to be removed" in warned and "slices are thick" in warned
    back = restore(prepared.brain.astype(np.uint8), prepared)
    assert back.shape == case.grid.shape and np.array_equal(back.affine, case.grid.affine)


ODD = sorted(p for p in (REALDATA / "19_nifti_odd").rglob("*") if p.is_file())


@pytest.mark.parametrize("path", ODD, ids=lambda p: p.name)
def test_odd_files_are_read_or_refused_in_words(path):
    try:
        volume, _ = read_volume(path)
    except InputRefused as error:
        (finding,) = error.findings
        assert finding.file == path.name and len(finding.what) > 15
    else:
        assert volume.data.ndim == 3 and np.isfinite(volume.data).all()
        assert path.name in {
            "anatomical.nii", "avg152T1_LR_nifti2.nii.gz", "big.nii.gz", "with_extension.nii.gz",
            "minimal.nii", "minimal.nii.gz",
        }  # fmt: skip
