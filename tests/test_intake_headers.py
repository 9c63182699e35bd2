"""Headers: default positions, two sizes, units, grids that nearly agree, masks nearly whole."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused, Severity, Volume
from bmcore.geometry import same_grid
from bmcore.intake.nifti import read_case
from bmcore.intake.nifti_file import read_mask, read_volume
from tests.volumes_fixture import ORIGIN_MM, SHAPE, affine, brain_image, make_case, save

PLACED = affine(origin_mm=ORIGIN_MM)
GOOD = brain_image()


def words(findings) -> str:
    return "\n".join(f.sentence for f in findings)


@pytest.mark.parametrize(
    "header",
    [
        np.eye(4),
        np.diag([-1.0, -1, 1, 1]),
        np.diag([0.94, 0.94, 5, 1]),
        np.diag([-0.94, -0.94, 1, 1]),
    ],
    ids=["identity", "no position in DICOM's axes", "sizes only", "sizes in DICOM's axes"],
)
def test_a_default_header_leaves_the_side_open(tmp_path, header):
    case = read_case({"t1c": save(Volume(GOOD, header), tmp_path / "a.nii")})
    assert case.side_doubt is not None and "left and right may be swapped" in case.side_doubt
    (said,) = [f for f in case.findings if "default" in f.what]
    assert said.severity is Severity.WARNING and said.file == "a.nii"


@pytest.mark.parametrize(
    "header",
    [PLACED, np.array([[1, 0, 0, 0], [0, 1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]])],
    ids=["a place", "SRI24 of the Yale files"],
)
def test_a_header_with_a_place_does_not(tmp_path, header):
    case = read_case({"t1c": save(Volume(GOOD, header), tmp_path / "a.nii")})
    assert case.side_doubt is None and not [f for f in case.findings if "default" in f.what]


def test_a_header_without_any_position_leaves_the_side_open(tmp_path):
    image = nib.Nifti1Image(GOOD, None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii")
    assert read_case({"t1c": tmp_path / "a.nii"}).side_doubt is not None


def test_two_voxel_sizes_are_both_named(tmp_path):
    image = nib.Nifti1Image(GOOD, affine((3, 3, 3), (-60, -72, -54)))
    image.header.set_zooms((1.5, 1.5, 1.5))
    image.header["sform_code"], image.header["qform_code"] = 2, 0
    raw = bytearray(image.to_bytes())
    raw[80:92] = np.array([1.5, 1.5, 1.5], "<f4").tobytes()  # pixdim of the three axes
    (tmp_path / "a.nii").write_bytes(raw)
    volume, findings = read_volume(tmp_path / "a.nii")
    assert np.allclose(np.diag(volume.affine)[:3], 3)
    (said,) = findings
    assert said.severity is Severity.WARNING
    assert "3 x 3 x 3 mm used, 1.5 x 1.5 x 1.5 mm stated" in said.sentence


def in_unit(path, unit, factor):
    scaled = np.diag([factor, factor, factor, 1]) @ PLACED
    image = nib.Nifti1Image(GOOD, scaled)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("unit", "factor"), [("meter", 0.001), ("micron", 1000.0)])
def test_sizes_are_brought_to_mm_by_the_declared_unit(tmp_path, unit, factor):
    volume, (said,) = read_volume(in_unit(tmp_path / "a.nii", unit, factor))
    np.testing.assert_allclose(volume.affine, PLACED, rtol=1e-5)
    assert said.severity is Severity.INFO and "brought to mm" in said.what


def test_a_unit_that_cannot_be_is_a_warning(tmp_path):
    volume, (said,) = read_volume(in_unit(tmp_path / "a.nii", "meter", 1.0))
    np.testing.assert_allclose(volume.affine, PLACED, rtol=1e-6)
    assert said.severity is Severity.WARNING and "not plausible; sizes were read as mm" in said.what


def pair(tmp_path, other):
    case = make_case(grid=affine((0.9375, 0.9375, 1), (-19, -23, -18)))
    save(case.grid, tmp_path / "t1c.nii")
    save(Volume(case.sequences["t2f"].data, other), tmp_path / "flair.nii")
    return tmp_path


@pytest.mark.parametrize(
    "other",
    [affine((0.9387, 0.9387, 1), (-19, -23, -18)), affine((0.9375, 0.9375, 1), (-19, -22.94, -18))],
    ids=["spacing .9387 against .9375", "origin .06 mm off"],
)
def test_nearly_the_same_grid_is_accepted_and_the_rule_is_said(tmp_path, other):
    case = read_case(pair(tmp_path, other))
    assert same_grid(case.grid, case.sequences["t2f"])
    (said,) = [f for f in case.findings if "half a voxel" in f.what]
    assert said.severity is Severity.INFO and "mm apart" in str(said.found)


def turned_grid(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return turn @ affine((0.9375, 0.9375, 1), (-19, -23, -18))


@pytest.mark.parametrize(
    ("other", "say"),
    [
        (affine((0.9375, 0.9375, 1), (-19, -20, -18)), "middles 3.00 mm apart (+0.00, +3.00, +0.0"),
        (turned_grid(4), "turned by 4.00 degrees"),
        (affine((0.97, 0.97, 1), (-19, -23, -18)), "voxel edges differ by +0.0325, +0.0325, +0"),
    ],
)
def test_a_refusal_names_the_difference_in_mm_and_degrees(tmp_path, other, say):
    with pytest.raises(InputRefused) as caught:
        read_case(pair(tmp_path, other))
    (said,) = [f.sentence for f in caught.value.findings]
    assert (
        said.startswith("flair.nii: t2f is on a different grid from t1c (t1c.nii)") and say in said
    )


def test_a_mask_nearly_whole_is_rounded_with_a_note(tmp_path):
    labels = np.zeros(SHAPE, np.float32)
    labels[5, 5, 5:9] = (0, 1, 2, 3)
    mask, (said,) = read_mask(save(Volume(labels * 0.9999, PLACED), tmp_path / "m.nii"))
    assert mask.data.dtype == np.uint8 and np.array_equal(mask.data, labels)
    assert said.severity is Severity.INFO and said.found.startswith("3 voxels")


def test_a_mask_further_off_is_refused(tmp_path):
    labels = np.zeros(SHAPE, np.float32)
    labels[5, 5, 5:9] = (0, 1, 2, 3)
    with pytest.raises(InputRefused, match="not labels"):
        read_mask(save(Volume(labels * 0.99, PLACED), tmp_path / "m.nii"))


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize(
    "scale",
    [(0, 0), (0, 5), (np.nan, np.nan), (np.nan, 3), (np.inf, 0), (-np.inf, 0), (1, 0), (2.5, -7)],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
def test_grey_values_are_scaled_as_the_standard_says(tmp_path, kind, scale, ending, version, order):
    voxels = (GOOD[::4, ::4, ::4] / GOOD.max() * 200).astype(kind)
    path = scaled(tmp_path / f"t1c{ending}", voxels, scale, version, order)
    want = nib.load(path).get_fdata()
    np.testing.assert_allclose(read_volume(path)[0].data, want, rtol=1e-6)
    if scale[0] == 0 or not np.isfinite(scale[0]):
        np.testing.assert_array_equal(read_volume(path)[0].data, voxels)


def test_a_mask_without_scaling_is_read(tmp_path):
    voxels = (GOOD[::4, ::4, ::4] > 0).astype(np.uint8) * 3
    path = scaled(tmp_path / "seg.nii", voxels, (0, 0), nib.Nifti1Image, "<")
    np.testing.assert_array_equal(read_mask(path)[0].data, voxels)


@pytest.mark.parametrize("inter", [np.nan, np.inf])
def test_a_slope_without_an_intercept_is_refused_in_words(tmp_path, inter):
    path = scaled(tmp_path / "t1c.nii", np.ones((9, 9, 9)), (2, inter), nib.Nifti1Image, "<")
    with pytest.raises(nib.spatialimages.HeaderDataError):
        nib.load(path).get_fdata()
    with pytest.raises(InputRefused) as caught:
        read_volume(path)
    assert "by a slope without an intercept" in words(caught.value.findings)


def scaled(path, voxels, scale, version, order):
    """A file whose header holds slope and intercept as they are given."""
    image = version(voxels, affine((3, 3, 3), (-60, -72, -54)))
    header = image.header.as_byteswapped(order)
    nib.save(version(voxels, image.affine, header), path)
    raw = bytearray(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    )
    if version is nib.Nifti1Image:
        raw[112:120] = struct.pack(order + "2f", *scale)
    else:
        raw[176:192] = struct.pack(order + "2d", *scale)
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


@pytest.mark.parametrize(
    ("other", "open_"),
    [
        (np.diag([-1.0, 1, 1, 1]), True),
        (np.diag([1.0, 1, -1, 1]), True),
        (np.diag([-1.0, -1, 1, 1]), True),  # turned about: no mirror image, but left is elsewhere
        (np.eye(4), False),
    ],
    ids=["mirrored", "mirrored top to bottom", "turned about", "moved"],
)
def test_two_positions_with_left_elsewhere_leave_the_side_open(tmp_path, other, open_):
    image = nib.Nifti1Image(GOOD, PLACED)
    moved = PLACED.copy()
    moved[:3, 3] += 9
    image.set_sform(PLACED, 1)
    image.set_qform(moved @ other, 1)
    nib.save(image, tmp_path / "a.nii")
    case = read_case({"t1c": tmp_path / "a.nii"})
    assert (case.side_doubt is not None) is open_
    (said,) = [f for f in case.findings if "two positions" in f.what]
    assert said.severity is Severity.WARNING and "the sform was used" in said.sentence


def drawn(path, **labels):
    """A mask with balls of the given labels, far apart."""
    voxels = np.zeros(SHAPE, np.uint8)
    for number, label in enumerate(labels.values()):
        voxels[5 + 8 * number : 9 + 8 * number, 5:9, 5:9] = label
    return save(Volume(voxels, PLACED), path, np.uint8)


def test_a_mask_of_ones_is_a_lesion_unless_it_is_said_to_be_necrosis(tmp_path):
    path = drawn(tmp_path / "m.nii", a=1, b=1)
    mask, (said,) = read_mask(path)
    assert np.unique(mask.data).tolist() == [0, 3] and said.severity is Severity.WARNING
    assert "label 1 alone" in said.what and "--label-convention 2023" in said.hint
    mask, findings = read_mask(path, convention="2023")
    assert np.unique(mask.data).tolist() == [0, 1] and findings == ()


def test_a_stored_mask_of_necrosis_stays_one(tmp_path):
    t1c = save(Volume(GOOD, PLACED), tmp_path / "t1c.nii")
    case = read_case({"t1c": t1c, "seg": drawn(tmp_path / "seg.nii", a=1)}, own=True)
    assert np.unique(case.truth.mask.data).tolist() == [0, 1]


def test_labels_that_number_lesions_are_told(tmp_path):
    mask, (said,) = read_mask(drawn(tmp_path / "m.nii", a=1, b=2, c=3))
    assert np.unique(mask.data).tolist() == [0, 1, 2, 3]
    assert "look like numbers of lesions" in said.what and "--label-convention lesion" in said.hint
    tissue = drawn(tmp_path / "t.nii", a=1, b=2)
    voxels = np.asarray(nib.load(tissue).dataobj).copy()
    voxels[9, 5:9, 5:9] = 2  # oedema that touches necrosis
    assert read_mask(save(Volume(voxels, PLACED), tissue, np.uint8))[1] == ()
    assert read_mask(drawn(tmp_path / "r.nii", a=1, b=2, c=1))[1] == ()  # necrosis in two places
    with pytest.raises(InputRefused) as caught:
        read_mask(drawn(tmp_path / "n.nii", a=1, b=2, c=5))
    assert "if each number is a lesion" in words(caught.value.findings)
