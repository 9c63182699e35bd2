"""A reference mask on another grid than its images: brought there, or refused before it is kept."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused, Severity, Truth, Volume
from bmcore.geometry import same_grid
from bmcore.inference import admission
from bmcore.intake import library
from bmcore.intake.nifti import choose_files, read_raw
from tests.volumes_fixture import SHAPE, make_case, save, save_yale
from training.data.datasets import open_dataset

ORIGIN = np.array([12, 14, 10])


def mask(shape=SHAPE) -> np.ndarray:
    out = np.zeros(shape, np.uint8)
    out[14:18, 20:26, 14:18] = 3
    out[14:16, 22:24, 15:17] = 1
    return out


def moved(affine, voxels, scale=1.0):
    step = np.diag([scale, scale, scale, 1.0])
    step[:3, 3] = voxels
    return affine @ step


def cropped(affine) -> Volume:
    """The mask in a box of its own."""
    box = tuple(slice(o, o + 20) for o in ORIGIN)
    return Volume(mask()[box].copy(), moved(affine, ORIGIN))


def finer(affine) -> Volume:
    whole = np.kron(mask(), np.ones((2, 2, 2), np.uint8))
    return Volume(whole, moved(affine, -0.25, 0.5))


def brought(folder, seg: Volume):
    """Images of one grid and ``seg`` beside them."""
    place = save_yale(folder)
    save(seg, place / f"{place.name}-seg.nii.gz", np.uint8)
    return read_raw(choose_files(place), own=True)


@pytest.mark.parametrize(("drawn", "lossy"), [(cropped, False), (finer, True)])
def test_a_mask_on_another_grid_is_brought_onto_that_of_the_images(tmp_path, drawn, lossy):
    affine = make_case().grid.affine
    made = admission.admit(brought(tmp_path / "in", drawn(affine)))
    truth = made.case.truth
    assert truth is not None and same_grid(truth.mask, made.case.grid)
    np.testing.assert_array_equal(truth.mask.data, mask())
    (said,) = [f for f in made.findings if "different grid" in f.what]
    assert said.severity is (Severity.WARNING if lossy else Severity.INFO) and said.file == "seg"
    assert ("small lesions may be lost" in said.what) is lossy
    entry = admission.keep(tmp_path, made)
    assert np.array_equal(library.load_case(tmp_path, entry.case_id).truth.mask.data, mask())


def test_a_mask_beside_the_images_is_refused_before_anything_is_kept(tmp_path):
    affine = make_case().grid.affine
    aside = Volume(mask(), moved(affine, (200, 0, 0)))
    raw = brought(tmp_path / "in", aside)
    with pytest.raises(InputRefused, match="does not lie in T1 post-gadolinium"):
        admission.admit(raw)


def test_a_mask_of_its_own_grid_without_a_position_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="does not say where") as caught:
        brought(tmp_path / "in", Volume(mask()[2:], np.eye(4)))
    assert caught.value.findings[0].file == "BraTS-MET-00110-000-seg.nii.gz"


def test_training_reads_a_mask_of_another_grid_on_that_of_the_images(tmp_path):
    folder = tmp_path / "images"
    case = make_case()
    for name, volume in case.sequences.items():
        save(volume, folder / f"{name}.nii.gz")
    save(cropped(case.grid.affine), folder / "seg.nii.gz")
    (tmp_path / "cases.csv").write_text(
        "case,t1n,t1c,t2w,t2f,seg,patient\nA,"
        + ",".join(f"images/{n}.nii.gz" for n in ("t1n", "t1c", "t2w", "t2f", "seg"))
        + ",P\n"
    )
    data = open_dataset(tmp_path)
    loaded = data.load(data.case_ids[0])
    np.testing.assert_array_equal(loaded.truth.mask.data, mask())
    assert any("different grid" in f.what for f in loaded.findings)


def test_what_could_not_be_opened_is_never_kept(tmp_path):
    case = make_case()
    aside = Volume(mask(), moved(case.grid.affine, (5, 0, 0)))
    blank = Volume(np.zeros(SHAPE, np.float32), case.grid.affine)
    for bad, words in (
        (replace(case, truth=Truth("", aside)), "seg is on a different grid"),
        (replace(case, sequences={**case.sequences, "t2f": blank}), "every voxel has the same"),
    ):
        with pytest.raises(InputRefused, match=words) as caught:
            library.add_volumes(tmp_path, bad)
        assert {f.file for f in caught.value.findings} <= {"seg", "t2f"}
        assert library.list_cases(tmp_path) == [] and not [*(tmp_path / "cases").glob("*")]


def test_a_mask_only_in_another_voxel_order_is_turned(tmp_path):
    affine = make_case().grid.affine
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = SHAPE[0] - 1
    raw = brought(tmp_path / "in", Volume(mask()[::-1].copy(), affine @ turn))
    np.testing.assert_array_equal(raw.truth.mask.data, mask())
    assert nib.aff2axcodes(raw.truth.mask.affine) == nib.aff2axcodes(affine)
