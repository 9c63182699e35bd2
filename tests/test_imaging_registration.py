"""Rigid registration on the MNI152 template: known turns and shifts are found again."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bmcore.anatomy import templates
from bmcore.domain import Volume
from bmcore.geometry import resample, transform
from bmcore.imaging.registration import register, without_scale


def template(voxel_mm: tuple[float, float, float]) -> Volume:
    """The template's brain in voxels of this size."""
    t = templates()
    affine = t.affine @ np.diag([*voxel_mm, 1.0])
    shape = tuple(int(n / mm) for n, mm in zip(t.t1.shape, voxel_mm, strict=True))
    return Volume(resample(t.t1, t.affine, affine, shape), affine)


def moved(volume: Volume, degrees: tuple[float, float, float], shift: tuple[float, float, float]):
    """The same head elsewhere: its header is turned and shifted, its voxels stay; and how."""
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    move[:3, 3] = shift
    return Volume(np.asarray(volume.data), move @ volume.affine), move


def error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    """The largest distance over the template's brain."""
    t = templates()
    points = transform(t.affine, np.argwhere(t.brain)[::997])
    return float(np.linalg.norm(transform(found, points) - transform(truth, points), axis=1).max())


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((0, 0, 0), (0, 0, 0)), ((9, -4, 6), (12, -9, 15)), ((-14, 5, 10), (-20, 18, -25))],
)
def test_a_turned_and_shifted_head_is_found_again(degrees, shift) -> None:
    fixed = template((2.0, 2.0, 2.0))
    moving, truth = moved(template((1.8, 1.8, 5.0)), degrees, shift)  # thick slices
    found = register(fixed, moving, np.asarray(fixed.data) > 0.05)
    assert error_mm(found.matrix, truth) < 1.5
    assert found.after > 0.3 and found.scale == pytest.approx(1)
    assert found.turn_deg == pytest.approx(
        np.degrees(Rotation.from_euler("xyz", degrees, degrees=True).magnitude()), abs=1
    )


def slab(volume: Volume, low: int, high: int) -> Volume:
    """Some of its slices, where they lay."""
    affine = np.array(volume.affine)
    affine[:3, 3] += affine[:3, 2] * low
    return Volume(np.asarray(volume.data)[:, :, low:high], affine)


@pytest.mark.parametrize(("low", "high"), [(0, 36), (6, 14), (12, 22), (22, 30)])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (3.0, 8.0, -12.0)])
def test_a_part_of_the_head_stays_where_the_header_has_it_or_is_found(low, high, shift) -> None:
    """Beside noise outside the head, fewer voxels may agree better by chance elsewhere."""
    rng = np.random.default_rng(2)
    fixed = template((2.0, 2.0, 2.0))
    whole = template((1.8, 1.8, 5.0))
    other = np.where(np.asarray(whole.data) > 0.05, 1.1 - np.asarray(whole.data), 0)
    other = other + rng.normal(0, 0.03, whole.shape)
    part = slab(Volume(other.astype(np.float32), whole.affine), low, high)
    moving, truth = moved(part, (0, 0, 0) if not any(shift) else (5, 0, 2), shift)
    found = register(fixed, moving, np.asarray(fixed.data) > 0.05, together=True)
    assert error_mm(found.matrix, truth) < 2.0
    assert found.after >= found.before


def test_another_contrast_is_aligned_too() -> None:
    fixed = template((2.0, 2.0, 2.0))
    data = np.asarray(fixed.data)
    fluid = Volume(np.where(data > 0.05, 1.1 - data, 0).astype(np.float32), fixed.affine)
    moving, truth = moved(fluid, (6, 3, -8), (10, 5, -12))
    found = register(fixed, moving, data > 0.05)
    assert error_mm(found.matrix, truth) < 1.5
    assert found.after > found.before


def test_a_head_of_another_size_is_found_with_a_scale_which_can_be_left_out() -> None:
    fixed = template((2.0, 2.0, 2.0))
    larger = Volume(np.asarray(fixed.data), np.diag([1.1, 1.1, 1.1, 1.0]) @ fixed.affine)
    moving, _ = moved(larger, (5, 0, 4), (6, -6, 3))
    found = register(fixed, moving, np.asarray(fixed.data) > 0.05, scaled=True)
    assert found.scale == pytest.approx(1.1, abs=0.02)
    middle = np.array([0.0, -20.0, 10.0])
    rigid = without_scale(found, middle)
    assert np.linalg.det(rigid[:3, :3]) == pytest.approx(1)
    assert np.allclose(transform(rigid, middle), transform(found.matrix, middle))


def test_the_voxel_order_of_the_files_plays_no_part() -> None:
    fixed = template((2.0, 2.0, 4.0))
    moving, _ = moved(fixed, (5, -3, 4), (7, 4, -6))
    turn = nib.orientations.axcodes2ornt("PIL")
    image = nib.Nifti1Image(np.asarray(moving.data), moving.affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(moving.affine), turn)
    other = image.as_reoriented(change)
    same = Volume(np.asarray(other.dataobj, np.float32), other.affine)
    mask = np.asarray(fixed.data) > 0.05
    first, second = register(fixed, moving, mask), register(fixed, same, mask)
    assert error_mm(first.matrix, second.matrix) < 1


def test_the_same_images_give_the_same_numbers() -> None:
    fixed = template((3.0, 3.0, 3.0))
    moving, _ = moved(fixed, (4, 0, 5), (6, 2, 1))
    first, second = (register(fixed, moving) for _ in range(2))
    assert np.array_equal(first.matrix, second.matrix)


@pytest.mark.parametrize("codes", [(-1, -1, 1), (1, -1, -1)])
def test_an_image_of_1_mm_that_is_stored_the_other_way_round_lies_where_it_lay(codes) -> None:
    """Voxels of 1 mm are averaged two by two: that must not move them along their own axes."""
    import nibabel as nib

    volume = template((1.0, 1.0, 1.0))
    image = nib.Nifti1Image(np.asarray(volume.data), volume.affine)
    turned = image.as_reoriented([[axis, code] for axis, code in enumerate(codes)])
    other = Volume(np.asarray(turned.dataobj, np.float32), turned.affine)
    found = register(volume, other, np.asarray(volume.data) > 0.05)
    assert error_mm(found.matrix, np.eye(4)) < 0.1


def test_images_that_part_on_the_way_leave_the_start_as_it_was() -> None:
    """As in a slab of neck: what is asked for lies where the other image has no voxel."""
    import SimpleITK as sitk

    from bmcore.imaging import registration as own

    fixed = template((4.0, 4.0, 4.0))
    noise = np.random.default_rng(1).normal(0, 1, fixed.shape).astype(np.float32)
    fixed = Volume(np.asarray(fixed.data) + noise, fixed.affine)
    few = np.zeros(fixed.shape, np.float32)
    few[:3, :3, :3] = 1  # a corner far from the other image
    far = Volume(np.asarray(fixed.data)[15:35, 15:35, 15:35], fixed.affine)
    there = far.affine.copy()
    there[:3, 3] = transform(fixed.affine, (15, 15, 15))
    images = own._itk(fixed), own._itk(Volume(far.data, there))
    inside = sitk.Cast(own._itk(Volume(few, fixed.affine)) > 0.5, sitk.sitkUInt8)
    start = own._transform(np.eye(4), np.zeros(3), False)
    own._run(*images, inside, start, (1,), (0.0,))
    assert np.array_equal(own._matrix(start), np.eye(4))
    assert own._score(*images, inside, start) == 0
