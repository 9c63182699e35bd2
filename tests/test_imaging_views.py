"""Patches and slices: what the nets and the readers see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmcore.domain import Volume
from bmcore.geometry import transform
from bmcore.imaging.lesions import find_lesions
from bmcore.imaging.patches import lesion_patches, patch_affine
from bmcore.imaging.slices import (
    LABEL_COLOURS,
    auto_window,
    render_slice,
    slice_at,
    slice_count,
    thumbnail,
)
from tests.volumes_fixture import ORIENTATIONS, SHAPE, affine, ball, brain_image, turned

GRID = affine(origin_mm=(-20, -24, -18))


def case(codes="RAS"):
    """Images (4, i, j, k), mask and affine with two lesions, in any voxel order."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[ball(SHAPE, (6, 6, 6), (14, 24, 18))] = 2
    mask[ball(SHAPE, (4, 4, 4), (14, 24, 18))] = 3
    mask[ball(SHAPE, (2, 2, 2), (14, 24, 18))] = 1
    mask[30:33, 30:33, 20:23] = 3
    images = np.stack([turned(Volume(brain_image(i), GRID), codes).data for i in range(4)])
    volume = turned(Volume(mask, GRID), codes)
    return images, volume.data, volume.affine


def test_a_patch_is_centred_on_its_lesion_with_masks_after_the_sequences():
    images, mask, grid = case()
    lesions = find_lesions(mask, grid)
    patches = lesion_patches(images, mask, lesions, grid)
    assert patches.shape == (2, 7, 32, 32, 32) and patches.dtype == np.float32
    volumes = patches[0, 4:].sum((1, 2, 3)) * 1.5**3
    expected = [(mask == label).sum() for label in (1, 2)]
    np.testing.assert_allclose(volumes[:2], expected, rtol=0.1)  # all lie in the first patch
    at = np.argwhere(patches[0, 4] > 0.5)
    np.testing.assert_allclose(at.mean(0), 15.5, atol=0.2)
    assert patches[0, 4, 15, 15, 15] == 1 and 0 <= patches[:, 4:].min() <= patches.max()


def test_a_patch_samples_the_image_at_its_own_places_in_the_world():
    _, mask, grid = case()
    (first, _) = find_lesions(mask, grid)
    ramp = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32)[None, :, None], SHAPE)
    patch = lesion_patches(np.stack([ramp] * 4), mask, [first], grid)[0, 0]
    for voxel in ((15, 15, 15), (20, 10, 18), (12, 24, 9)):
        y = transform(np.linalg.inv(grid), transform(patch_affine(first), voxel))[1]
        assert patch[voxel] == pytest.approx(y, abs=1e-4)


def test_a_patch_past_the_border_is_zero_there():
    images, mask, grid = case()
    patches = lesion_patches(images + 1, mask, find_lesions(mask, grid), grid)
    # 48 mm around i = 14 on a grid that begins at 0: the first (24 - 14) / 1.5 voxels lie outside
    assert not patches[0, :4, :6].any() and patches[0, :4, 7, 12:20, 12:20].all()


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(ORIENTATIONS))
def test_patches_do_not_depend_on_the_voxel_order(codes):
    images, mask, grid = case()
    first = lesion_patches(images, mask, find_lesions(mask, grid), grid)
    images, mask, grid = case(codes)
    other = lesion_patches(images, mask, find_lesions(mask, grid), grid)
    np.testing.assert_allclose(first, other, atol=1e-4)


def test_no_lesion_gives_no_patch_and_wrong_shapes_are_errors():
    images, mask, grid = case()
    assert lesion_patches(images, mask, [], grid).shape == (0, 7, 32, 32, 32)
    with pytest.raises(ValueError, match="match mask"):
        lesion_patches(images, mask[1:], [], grid)


def marked(point, sizes=(1.0, 1.0, 1.0)) -> Volume:
    """Grey 10, one bright voxel, and black in a corner so that there is a background."""
    data = np.full(SHAPE, 10, np.float32)
    data[point] = 100
    return Volume(data, affine(sizes))


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(ORIENTATIONS))
def test_the_patients_right_front_top_is_drawn_at_the_same_place_in_every_voxel_order(codes):
    volume = turned(marked((35, 40, 30)), codes)  # right, anterior, superior on 40 x 48 x 36
    point = (35, 40, 30)
    # rows from the top, columns from the left; right, anterior, superior come first
    expected = {
        "axial": ((48, 40), (47 - 40, 39 - 35)),
        "coronal": ((36, 40), (35 - 30, 39 - 35)),
        "sagittal": ((36, 48), (35 - 30, 47 - 40)),
    }
    for plane, (shape, place) in expected.items():
        picture = render_slice(volume, plane, slice_at(volume, plane, point), window=(0, 100))
        assert picture.shape == (*shape, 3) and picture.dtype == np.uint8
        assert np.argwhere(picture[..., 0] == 255).tolist() == [list(place)]


def test_slices_are_counted_from_left_back_and_below():
    for codes in ("RAS", "LPS", "SAR"):
        volume = turned(marked((35, 40, 30)), codes)
        assert [slice_count(volume, p) for p in ("sagittal", "coronal", "axial")] == list(SHAPE)
        assert [slice_at(volume, p, (35, 40, 30)) for p in ("sagittal", "coronal", "axial")] == [
            35, 40, 30,
        ]  # fmt: skip
        assert slice_at(volume, "axial", (0, 0, 999)) == 35


def test_thick_slices_are_drawn_in_true_proportions():
    volume = marked((35, 40, 30), (1, 1, 4))
    assert render_slice(volume, "axial", 5).shape == (48, 40, 3)
    picture = render_slice(volume, "coronal", 40, window=(0, 100))
    assert picture.shape == (144, 40, 3)  # 36 slices of 4 mm, 40 voxels of 1 mm
    rows = np.flatnonzero(picture[:, 39 - 35, 0] > 200)
    assert rows.mean() == pytest.approx((35 - 30) * 4 + 1.5)


def test_labels_are_drawn_in_their_colours_and_only_there():
    volume = marked((35, 40, 30))
    labels = np.zeros(SHAPE, np.uint8)
    labels[10, 20, 15], labels[11, 20, 15], labels[12, 20, 15] = 1, 2, 3
    plain = render_slice(volume, "axial", 15, window=(0, 100)).astype(int)
    drawn = render_slice(volume, "axial", 15, Volume(labels, GRID * 0 + affine()), window=(0, 100))
    changed = np.argwhere((drawn != plain).any(-1))
    assert sorted(map(tuple, changed)) == [(27, 39 - 12), (27, 39 - 11), (27, 39 - 10)]
    for label, i in ((1, 10), (2, 11), (3, 12)):
        shift = drawn[27, 39 - i].astype(float) - plain[27, 39 - i]
        toward = np.array(LABEL_COLOURS[label]) - plain[27, 39 - i]
        np.testing.assert_allclose(shift, 0.45 * toward, atol=1)  # the opacity of the mask


def test_heat_is_as_opaque_as_it_is_high():
    volume = marked((35, 40, 30))
    heat = np.zeros(SHAPE, np.float32)
    heat[10, 20, 15], heat[11, 20, 15] = 1.0, 0.3
    plain = render_slice(volume, "axial", 15, window=(0, 100)).astype(int)
    drawn = render_slice(volume, "axial", 15, heat=Volume(heat, affine()), window=(0, 100))
    gap = np.abs(drawn.astype(int) - plain).sum(-1)
    assert gap[27, 29] > gap[27, 28] > 0 and (gap > 0).sum() == 2


def test_the_window_is_chosen_from_what_is_not_background():
    volume = Volume(brain_image(), affine())
    low, high = auto_window(volume)  # the brain is grey 50 to 150
    assert 49 <= low <= 53 and 147 <= high <= 150
    picture = render_slice(volume, "axial", 18)
    assert picture[0, 0].tolist() == [0, 0, 0] and picture.max() == 255


@pytest.mark.parametrize("codes", ["LPS", "SAL", "AIR"])
def test_the_window_does_not_hang_on_the_voxel_order(codes):
    """An image so large that only every second voxel is looked at."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.gamma(2, 100, (128, 128, 122)).astype(np.float32), affine())
    assert auto_window(turned(volume, codes)) == auto_window(volume)


def test_questions_that_make_no_sense_are_errors():
    volume = marked((35, 40, 30))
    with pytest.raises(ValueError, match="axial slices go from 0 to 35, but 36"):
        render_slice(volume, "axial", 36)
    with pytest.raises(ValueError, match="must be one of"):
        render_slice(volume, "oblique", 1)
    with pytest.raises(ValueError, match="must rise"):
        render_slice(volume, "axial", 1, window=(5, 5))
    with pytest.raises(ValueError, match="grid"):
        render_slice(volume, "axial", 1, Volume(np.zeros(SHAPE, np.uint8), affine((2, 2, 2))))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_a_thumbnail_is_square_cropped_and_shows_the_patients_left_on_the_right(codes):
    image = np.zeros(SHAPE, np.float32)
    image[ball(SHAPE)] = 50  # both below the top of the bright window of a thumbnail
    image[: SHAPE[0] // 2][ball(SHAPE)[: SHAPE[0] // 2]] = 110  # the patient's left half: low i
    picture = thumbnail(turned(Volume(image, GRID), codes), 32)
    assert picture.shape == (32, 32) and picture.dtype == np.uint8
    assert picture[:, 18:].sum() > 1.3 * picture[:, :14].sum()
    assert picture[0].any() and picture[-1].any()  # longer than wide: it fills the height
    assert not thumbnail(Volume(np.zeros(SHAPE, np.float32), GRID), 32).any()
