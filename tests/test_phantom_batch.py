"""The painter of many boxes agrees with the painter of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from bmcore.domain import SEQUENCES
from bmcore.phantom.appearance import Look, draw_looks
from bmcore.phantom.batch import Boxes, paint_boxes, stack_looks
from bmcore.phantom.lesions import Kind
from bmcore.phantom.paint import Parts, paint
from bmcore.phantom.style import WILD

SIZE = (40, 44, 36)
KINDS = [Kind(9, "necrotic", False, False), Kind(5, "solid", True, False)]


def _fraction(rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(rng.uniform(size=SIZE), 2).clip(0.3, 0.7) * 2.5 - 0.75


def _parts(seed: int) -> Parts:
    """A made-up box: fractions at random, a tumour with necrosis in oedema, and a speck."""
    rng = np.random.default_rng(seed)
    white, csf = _fraction(rng), 0.4 * _fraction(rng)
    thin = [(rng.uniform(size=SIZE) < 0.02).astype(np.float32) for _ in range(3)]
    labels, owner = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    labels[8:26, 8:26, 8:26], owner[8:26, 8:26, 8:26] = 2, 1
    labels[12:22, 12:22, 12:22], labels[15:19, 15:19, 15:19] = 3, 1
    labels[30:33, 30:33, 28:31], owner[30:33, 30:33, 28:31] = 3, 2
    mask = np.ones(SIZE, bool)
    mask[:4] = False
    rounded = [np.rint(f * 255).astype(np.uint8) for f in (white, csf, *thin)]
    exact = [f * np.float32(1 / 255) for f in rounded]
    other = (rng.uniform(size=SIZE) < 0.05).astype(np.float32)
    return Parts(*exact, other, labels, owner, mask, (60, 70, 50))


def _boxes(several: list[Parts]) -> Boxes:
    tissue, lesion = [], []
    for parts in several:
        kinds = (parts.white, parts.csf, parts.vessel, parts.dura, parts.choroid)
        tissue.append([np.rint(k * 255) for k in kinds] + [parts.mask])
        lesion.append([parts.labels, parts.owner, parts.other * 255])
    arrays = (torch.from_numpy(np.array(a).astype(np.uint8)) for a in (tissue, lesion))
    return Boxes(*arrays, np.array([p.start for p in several]))


def _still(look: Look) -> Look:
    """The look without what is drawn while painting; the batch painter knows no gain."""
    return replace(look, noise=0.0, mottle=(0.0, 5.0), uneven=(0.0, 0.0), spots=0, gain=1.0)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_not_random_is_the_same_to_rounding(seed: int) -> None:
    several = [_parts(seed), _parts(seed + 50)]
    rng = np.random.default_rng(seed)
    looks, box = [], []
    for number in range(2):
        for look in draw_looks(rng, KINDS, WILD).values():
            looks.append(_still(look))
            box.append(number)
    # each kind of artefact at least once, along each axis in turn
    looks[0] = replace(looks[0], slices=(seed % 3, 4.3, 0.7), shift=(1, -1, 0))
    looks[1] = replace(looks[1], ghost=((seed + 1) % 3, 13, 0.05), slices=None)
    looks[2] = replace(looks[2], slices=(seed % 3, 2.2, 0.1), ghost=(seed % 3, 14, 0.04))
    both = paint_boxes(stack_looks(looks, box), _boxes(several), torch.Generator().manual_seed(0))
    for look, number, image in zip(looks, box, both.numpy(), strict=True):
        alone = paint(np.random.default_rng(0), look, several[number])
        np.testing.assert_allclose(image, alone, atol=2e-5 * alone.max())


def test_what_is_random_has_the_same_size() -> None:
    parts = _parts(1)
    look = replace(
        _still(draw_looks(np.random.default_rng(2), KINDS, WILD)["t1c"]),
        noise=0.05, mottle=(0.08, 4.0), uneven=(0.3, 0.2), rician=True, slices=None, ghost=None,
        shift=(0, 0, 0),
    )  # fmt: skip
    many = paint_boxes(
        stack_looks([look] * 16, [0] * 16), _boxes([parts]), torch.Generator().manual_seed(1)
    ).numpy()
    alone = np.array([paint(np.random.default_rng(n), look, parts) for n in range(16)])
    inner = parts.mask & (parts.labels == 0)
    assert many[:, inner].std(0).mean() == pytest.approx(alone[:, inner].std(0).mean(), rel=0.05)
    tumour = parts.labels == 3
    assert many[:, tumour].std() == pytest.approx(alone[:, tumour].std(), rel=0.1)
    assert many[:, inner].mean() == pytest.approx(alone[:, inner].mean(), rel=0.01)


def test_outliers_are_as_many_as_the_share_of_the_head_and_brighter_than_all() -> None:
    parts = _parts(1)
    parts.mask[:] = True
    look = _still(draw_looks(np.random.default_rng(2), KINDS, WILD)["t2w"])
    plain = replace(look, slices=None, ghost=None)
    several = stack_looks([replace(plain, spots=4000)] * 4, [0] * 4)
    spotted = paint_boxes(several, _boxes([parts]), torch.Generator().manual_seed(1)).numpy()
    clean = paint_boxes(
        stack_looks([plain], [0]), _boxes([parts]), torch.Generator().manual_seed(1)
    ).numpy()[0]
    changed = spotted != clean
    expected = 4000 / (160 * 192 * 152) * parts.mask.sum()
    assert changed.sum(axis=(1, 2, 3)).mean() == pytest.approx(expected, rel=0.3)
    assert spotted[changed].min() >= clean.max() and spotted.max() <= 3 * clean.max() * 1.0001


def test_thinned_boxes_have_the_levels_of_the_whole_without_blur() -> None:
    parts = _parts(3)
    look = replace(
        _still(draw_looks(np.random.default_rng(0), KINDS, WILD)["t1n"]),
        blur=(0.01, 0.01, 0.01), slices=None, ghost=None, shift=(0, 0, 0), soft=0.01,
    )  # fmt: skip
    boxes = _boxes([parts])
    every = (slice(None), slice(None), *(slice(None, None, 4),) * 3)
    thin = Boxes(boxes.tissue[every], boxes.lesion[every], boxes.start, 4)
    whole, few = (
        paint_boxes(stack_looks([look], [0]), b, torch.Generator().manual_seed(0))[0].numpy()
        for b in (boxes, thin)
    )
    np.testing.assert_allclose(few, whole[::4, ::4, ::4], rtol=1e-4)


def test_looks_of_scans_with_and_without_lesions_are_stacked() -> None:
    some = draw_looks(np.random.default_rng(0), KINDS, WILD)
    none = draw_looks(np.random.default_rng(0), [], WILD)
    looks = stack_looks([some["t1c"], none["t1c"]], [0, 1])
    assert looks.lesion.shape == (2, 4, 3) and not looks.lesion[1, :, 1:].any()
    assert len(SEQUENCES) == 4 and looks.box.tolist() == [0, 1]
