"""The working grid and the exact way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmcore.domain import Case, InputRefused, Severity, Volume
from bmcore.geometry import axis_codes, transform
from bmcore.imaging.brain import foreground
from bmcore.imaging.preprocess import prepare, restore, restore_map, to_working_grid
from tests.volumes_fixture import ORIENTATIONS, SHAPE, affine, ball, brain_image, make_case, turned


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS"])
def test_the_working_grid_is_ras_1_mm_a_multiple_of_16_and_holds_the_brain(codes):
    case = make_case(codes=codes)
    prepared = prepare(case)
    assert axis_codes(prepared.affine) == "RAS"
    assert all(n % 16 == 0 for n in prepared.brain.shape)
    assert prepared.images.dtype == np.float32 and prepared.present == (True,) * 4
    assert prepared.brain.sum() == ball().sum()
    assert (prepared.images[:, ~prepared.brain] == 0).all()
    inside = prepared.images[1][prepared.brain]
    assert abs(np.median(inside)) < 1e-5
    assert np.percentile(inside, 75) - np.percentile(inside, 25) == pytest.approx(1.349, abs=0.01)
    low, high = (np.argwhere(prepared.brain).min(0), np.argwhere(prepared.brain).max(0))
    assert (low >= 4).all() and (np.array(prepared.brain.shape) - 1 - high >= 4).all()


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ORIENTATIONS), st.integers(0, 2**20))
def test_a_mask_goes_to_the_working_grid_and_back_voxel_for_voxel(codes, seed):
    case = make_case(codes=codes)
    prepared = prepare(case)
    rng = np.random.default_rng(seed)
    labels = turned(
        Volume(rng.integers(0, 4, SHAPE).astype(np.uint8) * ball(), make_case().grid.affine), codes
    )
    there = to_working_grid(labels, prepared)
    back = restore(there, prepared)
    assert back.data.dtype == np.uint8 and np.array_equal(back.data, labels.data)
    np.testing.assert_array_equal(back.affine, case.grid.affine)


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(ORIENTATIONS))
def test_every_voxel_order_gives_the_same_working_images(codes):
    first, other = prepare(make_case()), prepare(make_case(codes=codes))
    np.testing.assert_array_equal(first.images, other.images)
    np.testing.assert_allclose(first.affine, other.affine, atol=1e-6)


def test_every_working_voxel_stays_at_its_place_in_the_world():
    grid = affine(origin_mm=(-31.0, 17.0, 5.0))
    case = make_case(grid, codes="LPS")
    prepared = prepare(case)
    marked = np.zeros(prepared.brain.shape, np.float32)
    marked[17, 20, 15] = 1
    back = restore_map(marked, prepared)
    (voxel,) = np.argwhere(back.data)
    np.testing.assert_allclose(
        transform(back.affine, voxel), transform(prepared.affine, (17, 20, 15)), atol=1e-6
    )


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "ASL"])
def test_thick_slices_come_back_on_their_exact_grid(codes):
    grid = affine((0.9, 0.9, 5.5), (3, -4, 7))
    shape = (44, 50, 12)
    radii = (16, 20, 4)
    brain = ball(shape, radii)
    case = make_case(grid, shape, codes, brain=brain)
    prepared = prepare(case)
    np.testing.assert_allclose(np.linalg.norm(prepared.affine[:3, :3], axis=0), 1)
    assert prepared.brain.sum() == pytest.approx(brain.sum() * 0.9 * 0.9 * 5.5, rel=0.05)
    back = restore(prepared.brain.astype(np.uint8), prepared)
    assert back.shape == case.grid.shape
    np.testing.assert_array_equal(back.affine, case.grid.affine)
    truth = turned(Volume(brain.astype(np.uint8), grid), codes).data
    overlap = 2 * (back.data & truth).sum() / (back.data.sum() + truth.sum())
    assert overlap > 0.97  # half a voxel of play at the surface
    assert any("slices are thick" in f.what for f in prepared.findings)


def test_half_millimetre_voxels_are_averaged_not_picked():
    brain = ball((64, 64, 64), (26, 26, 26))
    case = make_case(affine((0.5, 0.5, 0.5)), (64, 64, 64), brain=brain)
    prepared = prepare(case)
    fine = case.grid.data[brain].std() / case.grid.data[brain].mean()
    assert prepared.brain.sum() == pytest.approx(brain.sum() / 8, rel=0.05)
    centre = tuple(n // 2 for n in prepared.brain.shape)
    window = tuple(slice(c - 5, c + 5) for c in centre)
    rough = prepared.images[1][window].std() * 1  # standardised: spread in units of the image's own
    assert fine > 0.2 and 0.5 < rough < 1.5
    assert any("resampled to 1 mm" in f.what for f in prepared.findings)


def test_a_crop_that_runs_past_the_image_is_padded_with_zeros():
    brain = ball(SHAPE, (19.6, 23.6, 17.6))  # up to the border of the grid
    case = make_case(brain=brain)
    prepared = prepare(case)
    assert prepared.brain.shape == (48, 64, 48) and prepared.brain.sum() == brain.sum()
    assert np.array_equal(restore(prepared.brain, prepared).data, brain)


def test_a_missing_sequence_is_all_zero_and_said():
    whole = make_case()
    case = Case("X", {"t1c": whole.grid, "t2f": whole.sequences["t2f"]})
    prepared = prepare(case)
    assert prepared.present == (False, True, False, True)
    assert not prepared.images[0].any() and not prepared.images[2].any()
    np.testing.assert_array_equal(prepared.images[1], prepare(whole).images[1])


@pytest.mark.parametrize("background", [0.0, -45.0, -1024.0, 7.5])
def test_the_background_may_have_any_value(background):
    prepared = prepare(make_case(background=background))
    assert prepared.brain.sum() == ball().sum()


def test_holes_and_loose_pieces_do_not_change_the_brain():
    case = make_case()
    data = np.array(case.grid.data)
    data[19:22, 23:26, 17:20] = 0  # a ventricle of zeros
    data[1:3, 1:3, 1:3] = 90  # a piece of scalp far outside
    prepared = prepare(Case("X", {"t1c": Volume(data, case.grid.affine)}))
    assert prepared.brain.sum() == ball().sum()


def test_one_sequence_with_skull_does_not_widen_the_brain_of_the_others():
    case = make_case()
    volumes = dict(case.sequences)
    volumes["t2w"] = Volume(brain_image(3, brain=np.ones(SHAPE, bool)), case.grid.affine)
    assert prepare(Case("X", volumes)).brain.sum() == ball().sum()


def test_a_noisy_background_is_parted_from_the_head():
    rng = np.random.default_rng(0)
    image = brain_image() + rng.normal(0, 3, SHAPE).astype(np.float32)
    found = foreground(image)
    assert (found == ball()).mean() > 0.99


def _findings(radii, shape=(84, 84, 84), size=2.0):
    brain = ball(shape, np.array(radii) / size)
    volume = Volume(brain_image(shape=shape, brain=brain), affine((size,) * 3))
    return prepare(Case("X", {"t1c": volume})).findings


def test_a_head_with_skull_works_but_is_warned_of():
    # radii 81 mm: 4/3 pi 81^3 = 2226 ml, above the largest brains
    findings = _findings((81, 81, 81))
    (skull,) = [f for f in findings if "the skull seems not to be removed" in f.what]
    assert skull.severity is Severity.WARNING and "unreliable" in skull.what
    # radii 70, 80, 60 mm: 1407 ml, a brain
    assert not [f for f in _findings((70, 80, 60)) if "skull" in f.what]


def test_a_head_that_is_cut_by_the_image_is_warned_of():
    findings = _findings((70, 80, 60), shape=(84, 84, 40))
    assert any("touches the edge of the image over a wide area" in f.what for f in findings)


def test_no_brain_is_refused_and_a_wrong_shape_is_an_error():
    case = make_case()
    flat = Case("X", {"t1c": Volume(np.zeros(SHAPE, np.float32), case.grid.affine)})
    with pytest.raises(InputRefused, match="no brain was found in case X"):
        prepare(flat)
    prepared = prepare(case)
    with pytest.raises(ValueError, match="is not that of the working grid"):
        restore(np.zeros((3, 3, 3), np.uint8), prepared)
    with pytest.raises(ValueError, match="does not lie on the input's grid"):
        to_working_grid(Volume(np.zeros((3, 3, 3), np.uint8), affine()), prepared)
