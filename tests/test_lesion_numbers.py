"""A lesion keeps its number and its place where the images were resampled to the working grid.

Lesions are counted in the mask on the input's grid and read on the working grid of 1 mm; counted
there anew they may join, part or change places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bmcore.domain import SEQUENCES, Case, Prediction, Prepared, Volume
from bmcore.geometry import transform
from bmcore.imaging.lesion_crops import Marked, carry_numbers, cut_crops
from bmcore.imaging.lesions import find_lesions, label_lesions
from bmcore.imaging.preprocess import prepare, restore, to_working_grid
from bmcore.inference import explain, pipeline
from bmcore.inference.lesion_reading import cut_patches
from tests import reading_fixture as fixture

THICK = 3  # mm; of working slices only the middle one of three is on the input's grid
TURN = 0.35  # rad; an oblique scan


def oblique() -> np.ndarray:
    """A grid of 1 x 1 x 3 mm, turned about the left-right axis, with the head in its middle."""
    c, s = np.cos(TURN), np.sin(TURN)
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([1, 1, THICK])
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = -turn @ [31.5, 31.5, 9.5]
    return affine


def thick_head() -> Case:
    """A textured ball in thick, oblique slices."""
    shape = (64, 64, 20)
    places = transform(oblique(), np.argwhere(np.ones(shape, bool))).reshape(*shape, 3)
    ball = np.linalg.norm(places, axis=-1) < 24
    texture = np.random.default_rng(1).normal(100, 5, shape)
    data = np.where(ball, texture, 0).astype(np.float32)
    return Case("THICK-1", {name: Volume(data, oblique()) for name in SEQUENCES})


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(thick_head())


def sampled(prepared: Prepared) -> int:
    """A working slice that is on the input's grid, in the middle of the brain."""
    centre = transform(np.linalg.inv(prepared.affine) @ oblique(), [[31.5, 31.5, 9]])[0]
    return int(np.rint(centre[2]))


Draw = Callable[[np.ndarray, int], None]


def bridged(labels: np.ndarray, k: int) -> None:
    """Two lesions that touch in a slice which the input's grid does not have."""
    labels[20:26, 24:30, k - 1 : k + 2] = 3
    labels[28:33, 24:30, k - 1 : k + 2] = 3
    labels[26:28, 26, k + 1] = 3


def apart(labels: np.ndarray, k: int) -> None:
    """Two lesions apart by a slice that the input's grid does not have, so there they are one."""
    labels[20:26, 24:30, k] = 3
    labels[20:26, 24:30, k + 2 : k + 4] = 3


def turned_about(labels: np.ndarray, k: int) -> None:
    """Two lesions of which the larger on one grid is the smaller on the other."""
    labels[20:26, 24:30, k - 1 : k + 2] = 3  # 36 voxels in the slice that counts, 108 in all
    labels[20:26, 40:45, k - 2 : k + 3] = 3  # 30 in the slice that counts, 150 in all


def long(labels: np.ndarray, k: int) -> None:
    """A lesion whose ends lie elsewhere if its cube is turned."""
    labels[30:34, 16:46, k - 2 : k + 2] = 3


def one_voxel(labels: np.ndarray, k: int) -> None:
    """Beside a lesion a speck that is none on either grid."""
    labels[20:26, 24:30, k - 1 : k + 2] = 3
    labels[40, 40, k] = 3


def drawn(prepared: Prepared, draw: Draw) -> np.ndarray:
    labels = np.zeros(prepared.brain.shape, np.uint8)
    draw(labels, sampled(prepared))
    assert not (labels[~prepared.brain] > 0).any()
    return labels


@pytest.mark.parametrize(
    ("draw", "on_input", "on_working"),
    [(bridged, 2, 1), (apart, 1, 2), (turned_about, 2, 2), (one_voxel, 1, 1)],
)
def test_numbers_of_the_input_lie_at_their_places_on_the_working_grid(
    prepared: Prepared, draw: Draw, on_input: int, on_working: int
) -> None:
    labels = drawn(prepared, draw)
    mask = restore(labels, prepared)
    counted = label_lesions(mask.data, mask.affine)
    anew = label_lesions(labels, prepared.affine)
    assert (counted.max(), anew.max()) == (on_input, on_working)  # what the test is about
    numbers = carry_numbers(labels, mask, prepared)
    assert np.unique(numbers[numbers > 0]).tolist() == list(range(1, on_input + 1))
    back = restore(numbers.astype(np.int32), prepared)
    np.testing.assert_array_equal(back.data, counted)  # each voxel of the input has its own again
    np.testing.assert_array_equal(numbers > 0, anew > 0)  # whole lesions, and no speck


def any_case(random: np.random.Generator) -> Case:
    """A noisy block on a grid of any voxel size, order and tilt."""
    sizes = random.choice([0.5, 0.7, 0.9, 1.0, 1.2, 2.0, 3.0], 3)
    shape = np.maximum(6, random.integers(28, 40, 3) / sizes).astype(int)
    order = np.eye(3)[random.permutation(3)] * random.choice([-1, 1], 3)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", random.uniform(-0.4, 0.4, 3)).as_matrix() @ order
    affine[:3, :3] @= np.diag(sizes)
    affine[:3, 3] = random.normal(0, 20, 3)
    data = np.zeros(shape, np.float32)
    inner = tuple(slice(round(3 / s) + 1, -round(3 / s) - 1) for s in sizes)
    data[inner] = random.normal(100, 5, data[inner].shape)
    return Case("ANY-1", {name: Volume(data, affine) for name in SEQUENCES})


@pytest.mark.parametrize("seed", range(12))
def test_on_any_grid_each_voxel_has_its_number_again(seed: int) -> None:
    random = np.random.default_rng(seed)
    prepared = prepare(any_case(random))
    noise = ndimage.gaussian_filter(random.normal(size=prepared.brain.shape), 1.3)
    inner = ndimage.binary_erosion(prepared.brain, iterations=2)
    labels = np.where((noise > np.quantile(noise[inner], 0.85)) & inner, 3, 0).astype(np.uint8)
    mask = restore(labels, prepared)
    counted = label_lesions(mask.data, mask.affine)
    assert counted.max() > 1
    numbers = carry_numbers(labels, mask, prepared)
    assert np.unique(numbers[numbers > 0]).tolist() == list(range(1, counted.max() + 1))
    back = restore(numbers, prepared).data
    np.testing.assert_array_equal(back[counted > 0], counted[counted > 0])


def test_a_lesion_without_a_voxel_on_the_working_grid_gets_the_nearest(prepared: Prepared) -> None:
    """A mask on the input's grid of which the working grid holds only one lesion."""
    labels = drawn(prepared, turned_about)
    mask = restore(labels, prepared)
    second = find_lesions(mask.data, mask.affine)[1]
    labels[20:26, 40:45] = 0
    numbers = carry_numbers(labels, mask, prepared)
    assert np.unique(numbers).tolist() == [0, 1, 2]
    (place,) = np.argwhere(numbers == 2)
    assert np.linalg.norm(transform(prepared.affine, place) - second.centroid_mm) < 1


def test_where_the_input_is_not_resampled_nothing_is_carried() -> None:
    case = fixture.head()
    prepared = prepare(case)
    labels = np.zeros(prepared.brain.shape, np.uint8)
    labels[20:26, 24:30, 20:23] = 3
    labels[30:33, 24:30, 20:24] = 1
    mask = restore(labels, prepared)
    np.testing.assert_array_equal(
        carry_numbers(labels, mask, prepared), label_lesions(labels, prepared.affine)
    )


def test_a_lesion_that_is_not_marked_is_refused(prepared: Prepared) -> None:
    labels = drawn(prepared, turned_about)
    marked = Marked(labels, label_lesions(labels, prepared.affine))
    with pytest.raises(ValueError, match="lesion 7 is not marked"):
        cut_crops(prepared.images, marked, prepared.brain, [fixture.lesion(7)])


# --- the whole road -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from bmcore.models.bundles import load_bundle

    return load_bundle(fixture.bundle_as_shipped(tmp_path_factory.mktemp("bundle")))


def predicted(labels: np.ndarray, bundle: Any, monkeypatch: pytest.MonkeyPatch) -> Prediction:
    """The thick head as use reads it where the net finds just ``labels``."""
    probabilities = np.stack([(labels == n).astype(np.float32) for n in range(4)])
    monkeypatch.setattr(pipeline, "find_tumour", lambda *_a, **_k: (labels, probabilities))
    return pipeline.predict(thick_head(), bundle)


@pytest.mark.parametrize("draw", [bridged, apart, turned_about])
def test_each_row_is_read_from_its_own_lesion(
    prepared: Prepared, bundle: Any, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    labels, case = drawn(prepared, draw), thick_head()
    found = predicted(labels, bundle, monkeypatch)
    assert found.lesion_probabilities is not None
    assert len(found.lesion_probabilities) == len(found.lesions)
    numbers = [lesion.number for lesion in found.lesions]
    explained, _ = explain.lesion_patches(bundle, case, found, numbers)
    marked = Marked(labels, carry_numbers(labels, found.mask, prepared))
    read = cut_patches(bundle.cnn.config, case, prepared, marked, found.lesions)
    for patches in (explained, read):
        for lesion, cube, affine in zip(found.lesions, patches.cubes, patches.affines, strict=True):
            middle = transform(affine, [15.5, 15.5, 15.5])
            assert np.linalg.norm(middle - lesion.centroid_mm) < 2, lesion.number
            assert cube[6, 14:18, 14:18, 14:18].any()  # enhancing tumour in the middle


def test_a_map_lies_where_its_cube_was_cut_also_on_an_oblique_grid(
    prepared: Prepared, bundle: Any
) -> None:
    """The way back is checked with what was cut: it must fit the mask that it came from."""
    labels = drawn(prepared, long)
    marked = Marked(labels, label_lesions(labels, prepared.affine))
    lesions = find_lesions(labels, prepared.affine)
    patches = cut_patches(bundle.cnn.config, thick_head(), prepared, marked, lesions)
    back = explain.place_patch(patches.cubes[0, 6], patches.affines[0], prepared) > 0.5
    core = labels == 3
    dice = 2 * np.count_nonzero(back & core) / (back.sum() + core.sum())
    assert dice > 0.8


def test_a_mask_of_the_input_comes_back_with_its_lesions(prepared: Prepared) -> None:
    """What the maps are cut from: the mask of a prediction, back on the working grid."""
    mask = restore(drawn(prepared, bridged), prepared)
    labels = to_working_grid(mask, prepared)
    numbers = carry_numbers(labels, mask, prepared)
    assert np.unique(numbers).tolist() == [0, 1, 2]


@pytest.mark.parametrize("draw", [bridged, apart, turned_about])
def test_training_measures_a_patient_as_use_does(
    prepared: Prepared, bundle: Any, monkeypatch: pytest.MonkeyPatch, draw: Draw
) -> None:
    """One reference mask, and a net that finds just that: the same lesions and cubes."""
    from bmcore.domain import Primary, Truth
    from training.data.cohort import patient_of

    found = predicted(drawn(prepared, draw), bundle, monkeypatch)
    case = replace(thick_head(), truth=Truth("drawn", found.mask, Primary.RCC))
    patient, why = patient_of(case)
    assert patient is not None, why
    assert patient.lesions == found.lesions
    numbers = [lesion.number for lesion in found.lesions]
    cubes = explain.lesion_patches(bundle, case, found, numbers)[0].cubes
    np.testing.assert_array_equal(patient.patches, cubes.astype(np.float16))
