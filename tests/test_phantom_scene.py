"""Heads kept without intensities, and patches painted from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bmcore.domain import InputRefused, Label
from bmcore.imaging.standardise import CLIP
from bmcore.models.losses import small_lesion_weights
from bmcore.phantom.appearance import Look, draw_look
from bmcore.phantom.lesions import Kind
from bmcore.phantom.paint import Parts, paint
from bmcore.phantom.scene import Scene, paint_patch, read_head, write_head
from bmcore.phantom.style import CLINIC, WILD
from bmcore.phantom.tissue import GRID
from training.patches import PaintedPatches, Sampling
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


def test_a_painted_patch_is_standardised_like_a_scan_and_repeats(scene: Scene) -> None:
    centre = scene.spots[0].astype(int)
    first = paint_patch(np.random.default_rng(5), scene, centre, 64)
    again = paint_patch(np.random.default_rng(5), scene, centre, 64)
    other = paint_patch(np.random.default_rng(6), scene, centre, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(first[1], other[1])  # the lesion is the same, its look is not
    images, labels, weights = first
    assert images.shape == (4, 64, 64, 64) and (labels[32, 32, 32] in (1, 3))
    assert weights.min() >= 1 and weights[np.isin(labels, (1, 3))].max() >= 1
    # the whole head in one patch: median 0 and spread 1, as imaging.standardise makes it, but for
    # blur and slices, which the thinned head does not have
    big = max(scene.shape) + 16 - max(scene.shape) % 16
    whole, _, _ = paint_patch(np.random.default_rng(7), scene, np.array(scene.shape) // 2, big)
    for image in whole:
        low, middle, high = np.percentile(image[image != 0], (25, 50, 75))
        assert abs(middle) < 0.25 and 0.6 < (high - low) / 1.349 < 1.3


def test_enhancing_tumour_stands_out_on_t1c_patches(scene: Scene) -> None:
    above = []
    for seed in range(6):
        images, labels, _ = paint_patch(
            np.random.default_rng(seed), scene, scene.spots[0].astype(int), 64
        )
        tumour = labels == Label.ET
        ring = ndimage.binary_dilation(tumour, iterations=5) & (labels == 0) & (images[1] != 0)
        above.append(np.median(images[1][tumour]) - np.median(images[1][ring]))
    assert np.mean(above) > 0.5 and sum(a > 0 for a in above) >= 5


def test_a_patch_past_the_edge_is_0_there_and_weighs_1(scene: Scene) -> None:
    images, labels, weights = paint_patch(np.random.default_rng(0), scene, np.array((0, 0, 0)), 48)
    assert not images[:, :20, :20, :20].any() and not labels[:20, :20, :20].any()
    assert (weights[:20, :20, :20] == 1).all()


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
    seen = np.array([source.arrays(s)[0][0].any(axis=(1, 2, 3)) for s in range(12)])
    assert seen[:, 1].all() and not seen[:, [0, 2, 3]].all(axis=0).any()


def test_a_folder_without_heads_is_refused_and_other_scenes_are_not_mixed(
    heads: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputRefused, match="no synthetic heads are there"):
        PaintedPatches(tmp_path, Sampling())
    (heads / "scenes.json").write_text('{"heads": 1, "sets": 2, "seed": 0, "style": "WILD"}')
    with pytest.raises(InputRefused, match="the folder holds other scenes"):
        draw_heads(heads, 1, 3, 0, 1)
