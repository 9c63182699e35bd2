"""Heads kept without intensities, and patches painted from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bmcore.domain import SEQUENCES, InputRefused, Label
from bmcore.imaging.standardise import CLIP
from bmcore.models.losses import small_lesion_weights
from bmcore.phantom.appearance import Look, draw_look, draw_looks
from bmcore.phantom.batch import stack_looks
from bmcore.phantom.lesions import Kind
from bmcore.phantom.paint import Parts, paint
from bmcore.phantom.scene import (
    Patches,
    Scene,
    paint_patches,
    read_head,
    settle,
    write_head,
)
from bmcore.phantom.style import CLINIC, WILD
from bmcore.phantom.tissue import GRID
from training.data.patches import PaintedPatches, Recipe
from training.data.sampling import Sampling
from training.scenes import draw_heads


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_head(folder / "00000", 4, 2, small_lesion_weights)
    return folder


@pytest.fixture(scope="module")
def scene(heads: Path) -> Scene:
    return next(s for s in read_head(heads / "00000") if len(s.spots))


def _quiet(look: Look) -> Look:
    """The look without noise, field, artefacts and unevenness."""
    return replace(
        look, noise=0.0, rician=False, field=np.zeros_like(look.field), mottle=(0.0, 5.0),
        uneven=(0.0, 0.0), slices=None, ghost=None, spots=0, shift=(0, 0, 0), gamma=1.0, gain=1.0,
        blur=(0.01, 0.01, 0.01),
    )  # fmt: skip


def _box(n: int = 24) -> Parts:
    """White matter with a cube of enhancing tumour (lesion 1) in its middle."""
    empty = np.zeros((n, n, n), np.float32)
    labels = np.zeros((n, n, n), np.uint8)
    labels[8:16, 8:16, 8:16] = Label.ET
    return Parts(
        empty + 1, empty, empty, empty, empty, empty, labels,
        (labels > 0).astype(np.uint8), np.ones((n, n, n), bool), (60, 60, 60),
    )  # fmt: skip


def test_paint_gives_each_tissue_its_level_and_0_outside_the_head() -> None:
    look = _quiet(
        draw_look(np.random.default_rng(0), "t1c", [Kind(8, "solid", False, False)], CLINIC)
    )
    parts = _box()
    parts.mask[:3] = False
    image = paint(np.random.default_rng(1), look, parts)
    assert not image[:3].any()
    np.testing.assert_allclose(image[12, 12, 12], look.lesion[Label.ET, 1], rtol=1e-5)
    np.testing.assert_allclose(image[20, 20, 20], look.tissue[0], rtol=1e-5)
    assert image[12, 12, 12] > 1.1 * image[20, 20, 20]


def test_the_bias_field_of_a_patch_is_that_of_the_head_it_lies_in() -> None:
    look = _quiet(draw_look(np.random.default_rng(0), "t1n", [], WILD))
    look = replace(look, field=np.random.default_rng(2).normal(0, 0.3, look.field.shape))
    ones = np.ones(GRID, np.float32)
    zero = np.zeros(GRID, np.float32)
    none = np.zeros(GRID, np.uint8)
    whole = Parts(ones, zero, zero, zero, zero, zero, none, none, ones > 0)
    image = paint(np.random.default_rng(0), look, whole)
    at = (70, 90, 60)
    cut = tuple(slice(a, a + 24) for a in at)
    parts = Parts(
        *[getattr(whole, f)[cut] for f in Parts.__dataclass_fields__ if f[:2] != "st"], at
    )
    np.testing.assert_allclose(paint(np.random.default_rng(0), look, parts), image[cut], rtol=1e-4)
    assert image.max() / image.min() > 1.3  # there is a field to compare


def test_thick_slices_blur_along_one_axis_only() -> None:
    look = _quiet(
        draw_look(np.random.default_rng(0), "t1c", [Kind(8, "solid", False, False)], CLINIC)
    )
    image = paint(np.random.default_rng(1), replace(look, slices=(2, 5.0, 0.3)), _box())
    sharp = paint(np.random.default_rng(1), look, _box())
    step = [np.abs(np.diff(image, axis=a)).max() for a in range(3)]
    assert step[2] < 0.7 * step[0]
    assert np.abs(np.diff(sharp, axis=2)).max() == pytest.approx(
        np.abs(np.diff(sharp, axis=0)).max()
    )


def test_a_head_keeps_lesions_inside_and_necrosis_inside_tumour(heads: Path) -> None:
    for scene in read_head(heads / "00000"):
        labels, owner = scene.lesion[0], scene.lesion[1]
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
        assert not labels[scene.tissue[5] == 0].any()
        core = np.isin(labels, (Label.NETC, Label.ET))
        assert (owner[core] > 0).all() and owner.max() <= len(scene.kinds)
        assert core[tuple(scene.spots.T)].all()
        assert (labels[tuple(scene.cores.T)] == Label.NETC).all()
        assert not core[tuple(scene.decoys.T)].all()


def _patch(scene: Scene, seed: int, centre: np.ndarray, edge: int) -> Patches:
    """One patch with all sequences in a look of ``seed``."""
    looks = draw_looks(np.random.default_rng(seed), scene.kinds, WILD)
    stacked = stack_looks([looks[s] for s in SEQUENCES], [0] * 4)
    return paint_patches([scene], np.array([centre]), edge, stacked, np.arange(4), seed)


def test_a_painted_patch_is_standardised_like_a_scan_and_repeats(scene: Scene) -> None:
    centre = scene.spots[0].astype(int)
    first, again, other = (_patch(scene, n, centre, 64) for n in (5, 5, 6))
    assert (first.images == again.images).all() and not (first.images == other.images).all()
    assert (first.labels == other.labels).all()  # the lesion is the same, its look is not
    assert tuple(first.images.shape) == (1, 4, 64, 64, 64) and first.labels[0, 32, 32, 32] in (1, 3)
    core = (first.labels == 1) | (first.labels == 3)
    assert ((first.parts > 0) == core).all() and first.weights.min() >= 1
    # the whole head in one patch: median 0 and spread 1, as imaging.standardise makes it, but for
    # blur and slices, which the thinned head does not have
    big = max(scene.shape) + 16 - max(scene.shape) % 16
    for image in _patch(scene, 7, np.array(scene.shape) // 2, big).images[0].numpy():
        low, middle, high = np.percentile(image[image != 0], (25, 50, 75))
        assert abs(middle) < 0.25 and 0.6 < (high - low) / 1.349 < 1.3


def test_enhancing_tumour_stands_out_on_t1c_patches(scene: Scene) -> None:
    above = []
    for seed in range(6):
        patch = _patch(scene, seed, scene.spots[0].astype(int), 64)
        image, labels = patch.images[0, 1].numpy(), patch.labels[0].numpy()
        tumour = labels == Label.ET
        ring = ndimage.binary_dilation(tumour, iterations=5) & (labels == 0) & (image != 0)
        above.append(np.median(image[tumour]) - np.median(image[ring]))
    assert np.mean(above) > 0.5 and sum(a > 0 for a in above) >= 5


def test_a_patch_past_the_edge_is_0_there_and_weighs_1(scene: Scene) -> None:
    patch = _patch(scene, 0, np.array((0, 0, 0)), 48)
    assert not patch.images[0, :, :20, :20, :20].any() and not patch.labels[0, :20, :20, :20].any()
    assert (patch.weights[0, :20, :20, :20] == 1).all()
    outside = _patch(scene, 0, np.array((-200, 0, 0)), 48)
    assert not outside.images.any() and not outside.labels.any()


def test_a_head_settled_in_memory_gives_the_same_patch(scene: Scene) -> None:
    centre = scene.spots[0].astype(int)
    mapped, settled = (_patch(s, 3, centre, 48) for s in (scene, settle([scene], "cpu")[0]))
    assert (mapped.images == settled.images).all() and (mapped.weights == settled.weights).all()


def test_a_source_on_a_gpu_hands_recipes_on_that_give_the_patches_of_the_cpu(heads: Path) -> None:
    config = Sampling(batch=2, patch=48, seed=4)
    here = PaintedPatches(heads, config)
    there = PaintedPatches(heads, config)
    there.device = "gpu"  # only what a worker does: no voxel is touched
    recipe = there.draw(3)
    there.device = "cpu"
    assert isinstance(recipe, Recipe) and len(recipe.places) == 2
    for a, b in zip(here.step(3), there.finish(recipe), strict=True):
        assert (a == b).all()


def test_step_n_is_the_same_batch_in_a_thread_and_in_processes(heads: Path) -> None:
    config = Sampling(batch=1, patch=48, seed=3)
    near = dict(PaintedPatches(heads, config).stream(2, 5))
    far = dict(PaintedPatches(heads, config).stream(2, 5, workers=1))
    assert near.keys() == far.keys() == {2, 3, 4}
    for step in near:
        assert all(bool((a == b).all()) for a, b in zip(near[step], far[step], strict=True))
        assert float(near[step][0].abs().max()) <= CLIP


def test_t1c_is_never_lost_and_the_others_are_sometimes(heads: Path) -> None:
    source = PaintedPatches(heads, Sampling(batch=1, patch=48, drop=0.5))
    seen = np.array([source.step(s)[0][0].numpy().any(axis=(1, 2, 3)) for s in range(12)])
    assert seen[:, 1].all() and not seen[:, [0, 2, 3]].all(axis=0).any()


def test_a_folder_without_heads_is_refused_and_other_scenes_are_not_mixed(
    heads: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputRefused, match="no synthetic heads are there"):
        PaintedPatches(tmp_path, Sampling())
    (heads / "scenes.json").write_text('{"heads": 1, "sets": 2, "seed": 0, "style": "WILD"}')
    with pytest.raises(InputRefused, match="the folder holds other scenes"):
        draw_heads(heads, 1, 3, 0, 1)
