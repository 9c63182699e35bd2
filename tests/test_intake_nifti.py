"""Intake of NIfTI files: what is read, and what is refused with which words."""

import gzip
import re
import struct

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmcore.domain import InputRefused, Severity, Volume
from bmcore.geometry import axis_codes, same_grid
from bmcore.intake.nifti import clean_case_id, guess_sequences, read_case, write_volume
from bmcore.intake.nifti_file import read_mask, read_volume
from tests.volumes_fixture import (
    ORIGIN_MM,
    SHAPE,
    affine,
    ball,
    brain_image,
    make_case,
    save,
    save_yale,
    turned,
)

PLACED = affine(origin_mm=ORIGIN_MM)


def refused(call, *args) -> list[str]:
    with pytest.raises(InputRefused) as caught:
        call(*args)
    return [f.sentence for f in caught.value.findings]


def words(case) -> str:
    return "\n".join(f.sentence for f in case.findings)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS"])
def test_a_yale_folder_is_read_in_its_own_voxel_order(tmp_path, codes):
    case = read_case(save_yale(tmp_path, codes=codes))
    assert case.case_id == "BraTS-MET-00110-000"
    assert list(case.sequences) == ["t1n", "t1c", "t2w", "t2f"]
    assert axis_codes(case.grid.affine) == codes
    expected = make_case(codes=codes).sequences["t2w"].data
    np.testing.assert_array_equal(case.sequences["t2w"].data, expected)
    assert case.truth is None and case.findings == ()


def test_a_mask_beside_the_sequences_becomes_truth(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:14, 10:14, 10:14] = 3
    case = read_case(save_yale(tmp_path, mask=mask, codes="LPS"))
    assert case.truth is not None and case.truth.mask is not None
    assert case.truth.mask.data.dtype == np.uint8
    assert same_grid(case.truth.mask, case.grid)
    assert (case.truth.mask.data == 3).sum() == 64  # 4 x 4 x 4 voxels


def test_files_of_other_names_are_named_by_guess_and_the_guess_is_said(tmp_path):
    case = make_case()
    files = [
        save(case.sequences["t1n"], tmp_path / "pat7_T1_AX.nii.gz"),
        save(case.sequences["t1c"], tmp_path / "pat7_T1_AX_POST_GAD.nii"),
        save(case.sequences["t2f"], tmp_path / "pat7_flair.nii.gz"),
    ]
    read = read_case(files)
    assert list(read.sequences) == ["t1n", "t1c", "t2f"] and read.missing == ("t2w",)
    np.testing.assert_array_equal(read.grid.data, case.grid.data)
    assert "pat7_T1_AX_POST_GAD.nii: taken as T1 post-gadolinium (t1c)" in words(read)
    assert "the sequence T2 (t2w) is missing" in words(read)
    assert read.case_id == "pat7_T1_AX" or read.case_id.startswith("pat7")


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("BraTS-MET-00110-000-t1c.nii.gz", "t1c"),
        ("BraTS20_Training_001_t1ce.nii.gz", "t1c"),
        ("BraTS20_Training_001_t1.nii.gz", "t1n"),
        ("BraTS20_Training_001_flair.nii.gz", "t2f"),
        ("BraTS20_Training_001_t2.nii.gz", "t2w"),
        ("UCSF_t1gd.nii.gz", "t1c"),
        ("T1post.nii.gz", "t1c"),
        ("T1pre.nii.gz", "t1n"),
        ("MRHR_T1_AX_POST_GAD_Si_TCGA-FG-6692_SE_13_se2d1r_t1c.nii.gz", "t1c"),
        ("MRHR_FLAIR_AX_Si_TCGA-FG-6692_SE_IR_5_tir2d1_21_fla.nii.gz", "t2f"),
        ("MRHR_T2_AX_Si_TCGA-FG-6692_SE_2_tse2d1_11_t2.nii.gz", "t2w"),
        ("OtherExample_fla_bet.nii.gz", "t2f"),
        ("AX T2 FLAIR.nii", "t2f"),
        ("T1+C.nii", "t1c"),
        ("sub-01_ce-gadolinium_T1w.nii.gz", "t1c"),
        ("sub-01_T1w.nii.gz", "t1n"),
        ("T1_without_contrast.nii", "t1n"),
        ("T1_post_op.nii", "t1n"),
        ("T1_pre_post.nii", None),
        ("T1_FLAIR.nii", None),
        ("t2star.nii", None),
        ("T2_SWI.nii", None),
        ("ADC.nii", None),
        ("aurora_t1c_only_prediction.nii.gz", None),
        ("brain_mask_t1.nii.gz", None),
        ("image1.nii", None),
    ],
)
def test_the_sequence_is_guessed_from_the_name_or_left_open(name, sequence):
    assert guess_sequences([name]) == {name: sequence}


def test_a_word_in_every_name_is_no_sign_of_contrast():
    names = ["post_t1.nii", "post_t2.nii", "post_flair.nii"]
    assert guess_sequences(names) == {names[0]: None, names[1]: "t2w", names[2]: "t2f"}
    pair = ["T1_pre.nii", "T1_post.nii"]
    assert guess_sequences(pair) == {pair[0]: "t1n", pair[1]: "t1c"}


def test_unclear_and_double_names_are_refused_with_the_guess_for_each_file(tmp_path):
    volume = make_case().grid
    names = ("scan_t1c.nii", "other_t1ce.nii", "image.nii")
    files = [save(volume, tmp_path / n) for n in names]
    found = refused(read_case, files)
    assert len(found) == 3
    assert all("other_t1ce.nii" in found[1] and "found t1c" in found[i] for i in (0, 1))
    assert "image.nii: the name does not say which sequence this is (found no guess" in found[2]


def test_a_missing_t1c_is_refused_in_words(tmp_path):
    volume = make_case().sequences["t2w"]
    found = refused(
        read_case, [save(volume, tmp_path / "x_t2.nii"), save(volume, tmp_path / "x_t1.nii")]
    )
    assert len(found) == 3 and "no T1 image after gadolinium (t1c)" in found[0]
    assert "x_t1.nii as t1n" in found[0]
    assert "x_t1.nii: taken as T1 native (t1n): its name says T1 and nothing" in found[1]
    assert "x_t2.nii: taken as T2 (t2w): its name says T2" in found[2]


def test_every_problem_of_every_file_is_told_at_once(tmp_path):
    folder = save_yale(tmp_path)
    stem = folder / folder.name
    save(Volume(brain_image(shape=(40, 48, 30)), PLACED), folder / f"{stem.name}-t2w.nii.gz")
    whole = (folder / f"{stem.name}-t2f.nii.gz").read_bytes()
    (folder / f"{stem.name}-t2f.nii.gz").write_bytes(whole[: len(whole) // 2])
    found = refused(read_case, folder)
    assert len(found) == 2
    assert "t2f.nii.gz: the file is damaged or cut short" in found[0]
    assert "t2w.nii.gz: t2w is on a different grid from t1c" in found[1]
    assert "found 40 x 48 x 30 voxels" in found[1] and "expected 40 x 48 x 36 voxels" in found[1]


def test_a_shift_of_2_mm_is_another_grid(tmp_path):
    case = make_case()
    save(case.grid, tmp_path / "t1c.nii")
    moved = affine(origin_mm=(-20, -22, -18))
    save(Volume(case.sequences["t2f"].data, moved), tmp_path / "flair.nii")
    found = refused(read_case, tmp_path)
    assert "flair.nii" in found[0] and "from (-20.0, -22.0, -18.0) mm" in found[0]
    assert "turned by 0.00 degrees; middles 2.00 mm apart (+0.00, +2.00, +0.00" in found[0]


def test_a_sequence_in_another_voxel_order_is_turned_without_resampling(tmp_path):
    case = make_case()
    save(case.grid, tmp_path / "t1c.nii")
    save(turned(case.sequences["t2f"], "LPS"), tmp_path / "flair.nii")
    read = read_case(tmp_path)
    np.testing.assert_array_equal(read.sequences["t2f"].data, case.sequences["t2f"].data)
    assert "flair.nii: the voxel order was turned" in words(read)


def test_one_image_taken_for_two_sequences_is_warned_of(tmp_path):
    volume = make_case().grid
    read = read_case([save(volume, tmp_path / "t1c.nii"), save(volume, tmp_path / "t1n.nii")])
    assert "t1n and t1c hold exactly the same image" in words(read)


def test_a_folder_with_a_third_partys_mask_uses_the_yale_files_only(tmp_path):
    folder = save_yale(tmp_path)
    save(make_case().grid, folder / "other_t1c_prediction.nii.gz")
    read = read_case(folder)
    assert len(
        read.sequences
    ) == 4 and "other_t1c_prediction.nii.gz: the file was not used" in words(read)


def test_two_cases_in_one_folder_are_refused(tmp_path):
    for case_id in ("A-1", "A-2"):
        save(make_case().grid, tmp_path / f"{case_id}-t1c.nii.gz")
    assert "more than one case (found A-1, A-2" in refused(read_case, tmp_path)[0]


def _write(path, data, change=None):
    image = nib.Nifti1Image(data, PLACED)
    raw = bytearray(image.to_bytes())
    if change:
        change(raw)
    path.write_bytes(raw)
    return path


def _with(value, place=(20, 24, 18)):
    data = brain_image()
    data[place] = value
    return data


_RGB = np.zeros((9, 9, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])
_GOOD = brain_image()


@pytest.mark.parametrize(
    ("data", "name", "say"),
    [
        (np.stack([_GOOD, _GOOD], -1), "a.nii", "more than one image (found 40 x 48 x 36 x 2"),
        (_GOOD[..., 0], "a.nii", "the image is flat (found 40 x 48 voxels"),
        (_GOOD[..., :3], "a.nii", "too few slices (found 40 x 48 x 3"),
        (_RGB, "a.nii", "not plain numbers (found colours (RGB)"),
        (_GOOD.astype(np.complex64), "a.nii", "not plain numbers (found complex numbers"),
        (
            np.zeros(SHAPE, np.float32),
            "a.nii",
            "every voxel has the same value (found 0 everywhere",
        ),
        (
            np.full(SHAPE, 7, np.int16),
            "a.nii",
            "every voxel has the same value (found 7 everywhere",
        ),
        (np.full(SHAPE, np.nan, np.float32), "a.nii", "every voxel has the same value"),
        (_with(np.inf), "a.nii", "infinite values (found 1 voxels"),
        (_GOOD.astype(np.float64) * 1e300, "a.nii", "infinite values"),
        (_GOOD, "a.img", "split into a header and a data file"),
        (_GOOD, "a.dcm", "the file is a DICOM file"),
        (_GOOD, "a.png", "not named as a NIfTI file (found .png"),
    ],
)
def test_images_that_cannot_be_used_are_refused_with_file_and_words(tmp_path, data, name, say):
    (found,) = refused(read_volume, _write(tmp_path / name, data))
    assert found.startswith(name) and say in found


@pytest.mark.parametrize(
    ("content", "say"),
    [
        (b"", "nothing: the file is empty"),
        (b"This is a text file.\n" * 40, "not a NIfTI image, whatever its name says"),
        (gzip.compress(b"text" * 300), "not a NIfTI image, whatever its name says"),
        (b"\x1f\x8b" + b"\x00" * 600, "damaged or cut short"),
    ],
    ids=["empty", "text", "packed text", "broken gzip"],  # gzip writes the time of day
)
def test_files_that_are_no_nifti_are_refused(tmp_path, content, say):
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    assert say in refused(read_volume, path)[0]


def test_a_cut_file_and_a_wrong_checksum_are_refused(tmp_path):
    path = _write(tmp_path / "a.nii", _GOOD)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    assert f"found {len(raw) - 1} bytes; expected {len(raw)} bytes" in refused(read_volume, path)[0]
    packed = bytearray(gzip.compress(raw))
    packed[-6] ^= 1  # one bit of the checksum that gzip keeps at the end
    path.write_bytes(packed)
    assert "damaged" in refused(read_volume, path)[0]


def test_a_header_that_declares_terabytes_is_refused_before_reading(tmp_path):
    def huge(raw):
        raw[40:48] = struct.pack("<4h", 3, 30000, 30000, 30000)

    path = _write(tmp_path / "a.nii", _GOOD, huge)
    assert "too large (found 30000 x 30000 x 30000 voxels" in refused(read_volume, path)[0]


def test_voxels_of_metres_are_refused(tmp_path):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(_GOOD, affine((0.001, 0.001, 0.001))), path)
    assert "voxel size is not plausible" in refused(read_volume, path)[0]


def test_missing_values_become_0_and_are_counted(tmp_path):
    volume, (finding,) = read_volume(_write(tmp_path / "a.nii", _with(np.nan)))
    assert volume.data[20, 24, 18] == 0
    assert finding.severity is Severity.WARNING and finding.found == f"1 of {_GOOD.size} voxels"


def test_an_unset_orientation_is_a_warning(tmp_path):
    image = nib.Nifti1Image(_GOOD, None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii")
    _, (finding,) = read_volume(tmp_path / "a.nii")
    assert finding.severity is Severity.WARNING and "left and right may be swapped" in finding.what


def test_a_qform_that_contradicts_the_sform_is_a_warning(tmp_path):
    image = nib.Nifti1Image(_GOOD, PLACED)
    image.set_sform(PLACED, 1)
    image.set_qform(affine(origin_mm=(10, -24, -18)), 1)
    nib.save(image, tmp_path / "a.nii")
    volume, (finding,) = read_volume(tmp_path / "a.nii")
    assert "up to 30 mm apart" in str(finding.found)
    np.testing.assert_allclose(volume.affine, PLACED)


def test_a_trailing_axis_of_one_big_endian_and_a_gzip_named_nii_are_read(tmp_path):
    path = tmp_path / "a.nii"
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    whole = np.rint(_GOOD).astype(np.int16)
    image = nib.Nifti1Image(whole[..., None], affine(), header)
    path.write_bytes(gzip.compress(image.to_bytes()))
    volume, _ = read_volume(path)
    np.testing.assert_array_equal(volume.data, whole)


def test_a_label_4_is_read_only_by_a_convention_that_was_declared(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[5, 5, 5:9] = (0, 1, 2, 4)
    path = save(Volume(labels, PLACED), tmp_path / "m.nii", np.uint8)
    told = refused(read_mask, path)[0]
    assert "label 4, which data sets use in different ways" in told
    assert "--label-convention older: 1 necrosis, 2 oedema, 4 enhancing tumour" in told
    mask, (finding,) = read_mask(path, convention="older")
    assert mask.data[5, 5, 5:9].tolist() == [0, 1, 2, 3] and "label 4" in finding.what
    mask, (finding,) = read_mask(path, convention="lesion")
    assert mask.data[5, 5, 5:9].tolist() == [0, 3, 3, 3] and "lesions from the rest" in finding.what
    for convention in ("2023", "mine"):
        with pytest.raises(InputRefused):
            read_mask(path, convention=convention)
    save(Volume(labels * 2, affine()), path, np.uint8)
    assert "values that are not labels (found 0, 2, 4, 8" in refused(read_mask, path)[0]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("BraTS-MET-00110-000", "BraTS-MET-00110-000"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/../b", "a-.-b"),
        ("Müller, Anna", "M-ller-Anna-5908"),
        ("Möller_03", "M-ller_03-6e2f"),
        (".hidden", "hidden"),
    ],
)
def test_case_ids_are_made_safe(text, safe):
    assert clean_case_id(text) == safe


@settings(max_examples=60)
@given(st.text(max_size=100))
def test_no_text_gives_an_unsafe_case_id(text):
    try:
        safe = clean_case_id(text)
    except InputRefused:
        assert not re.search(r"[A-Za-z0-9]", text[:64])
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", safe)
    assert ".." not in safe and safe[0].isalnum() and clean_case_id(safe) == safe


_SMALL = nib.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), affine()).to_bytes()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 360), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_header_with_random_bytes_is_read_or_refused_but_never_crashes(tmp_path, changes):
    raw = bytearray(_SMALL)
    for place, value in changes:
        raw[place] = value
    path = tmp_path / "fuzz.nii"
    path.write_bytes(raw)
    try:
        volume, _ = read_volume(path)
    except InputRefused as error:
        assert all(f.file == "fuzz.nii" for f in error.findings)
    else:
        assert volume.data.size <= 1000 and np.isfinite(volume.affine).all()


def test_a_written_mask_comes_back_with_its_affine_and_both_forms(tmp_path):
    grid = turned(Volume(ball().astype(np.uint8) * 3, affine((1, 1, 2.5), (10, 20, 30))), "LPS")
    path = write_volume(grid, tmp_path / "deep" / "mask.nii.gz", np.uint8)
    image = nib.load(path)
    assert image.get_data_dtype() == np.uint8
    assert image.header["sform_code"] == 1 and image.header["qform_code"] == 1
    np.testing.assert_allclose(image.get_sform(), grid.affine)
    np.testing.assert_allclose(image.get_qform(), grid.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj), grid.data)
    assert [p.name for p in path.parent.iterdir()] == ["mask.nii.gz"]


def test_a_value_that_does_not_fit_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="do not fit into uint8"):
        write_volume(Volume(np.full((4, 4, 4), 300.0), affine()), tmp_path / "m.nii.gz", np.uint8)
    assert list(tmp_path.iterdir()) == []
