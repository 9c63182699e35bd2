"""The segmentation net reads a whole head in one go, and its faster ways change no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.utils import pixelshuffle
from torch import nn

from bmcore.models.configs import SegmenterConfig
from bmcore.models.inference import predict_probabilities
from bmcore.models.nets import segmenter as nets
from bmcore.models.nets.local_norm import PlacedNorm, by_place
from bmcore.models.segmenter import build_segmenter

LAST = torch.channels_last_3d
TINY = SegmenterConfig.of(
    filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32, full_resolution_channels=8
)


@pytest.mark.parametrize("order", [torch.contiguous_format, LAST])
def test_positions_are_spread_as_monai_spreads_them(order: torch.memory_format) -> None:
    x = torch.randn(2, 24, 3, 4, 5).contiguous(memory_format=order)
    assert torch.equal(nets._spread(x), pixelshuffle(x, 3, 2))
    if order is LAST:
        assert nets._spread(x).is_contiguous(memory_format=LAST)


def test_the_norm_of_one_volume_is_group_norm() -> None:
    norm = nn.GroupNorm(8, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (torch.randn(1, 8, 6, 7, 8) * 3 + 5).contiguous(memory_format=LAST)
    with torch.inference_mode():
        assert torch.allclose(nets._normed(x, norm), norm(x), atol=1e-5)
    assert nets._normed(x, norm).requires_grad  # learning goes through the usual way


def norm_of(channels: int) -> PlacedNorm:
    norm = PlacedNorm(4, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("scale", [1, 2, 16])
def test_by_place_in_one_window_is_group_norm(scale: int) -> None:
    """A volume that the window covers has one mean and one variance."""
    norm, edges = norm_of(8), (32, 48, 32)
    x = torch.randn(1, 8, *(n // scale for n in edges)) * 2 + 1
    x = x.contiguous(memory_format=LAST)
    with torch.inference_mode(), by_place(edges, 48):
        by_places = norm(x)
    assert torch.allclose(by_places, norm(x).detach(), atol=1e-4)
    assert by_places.is_contiguous(memory_format=LAST)


def test_by_place_each_half_is_normed_by_itself_and_between_it_is_smooth() -> None:
    """Two halves of another mean and spread, 96 voxels each, and a window of 32: what lies 32 and
    more from the border has mean 0 and variance 1; plain group norm mixes them."""
    x = torch.randn(1, 4, 192, 32, 32)
    x[:, :, 96:] = x[:, :, 96:] * 5 + 20
    norm = PlacedNorm(1, 4)
    with torch.inference_mode(), by_place(x.shape[2:], 32):
        y = norm(x.contiguous(memory_format=LAST))
    for half in (y[:, :, :64], y[:, :, 128:]):
        assert abs(float(half.mean())) < 0.02 and abs(float(half.std()) - 1) < 0.02
    mixed = norm(x).detach()
    assert float(mixed[:, :, :64].mean()) < -0.8 and float(mixed[:, :, 128:].mean()) > 0.8


def test_outside_of_the_block_and_in_other_threads_nothing_changes() -> None:
    import threading

    norm, x = norm_of(4), torch.randn(1, 4, 32, 16, 16)
    usual, found = norm(x).detach(), []
    with torch.inference_mode(), by_place((32, 16, 16), 16):
        other = threading.Thread(target=lambda: found.append(norm(x).detach()))
        other.start()
        other.join()
        assert not torch.allclose(norm(x), usual, atol=1e-3)
    assert torch.equal(found[0], usual) and torch.equal(norm(x), usual)
    with by_place((32, 16, 16), 16), pytest.raises(ValueError, match="one volume"):
        norm(torch.cat([x, x]))


def test_a_head_as_large_as_a_window_is_read_alike_in_windows_and_whole() -> None:
    torch.manual_seed(0)
    net = build_segmenter(TINY).eval()
    rng = np.random.default_rng(0)
    brain = np.zeros((40, 44, 36), bool)
    brain[4:36, 6:38, 2:34] = True  # 32 voxels along each axis
    images = np.where(brain, rng.normal(size=(4, *brain.shape)), 0).astype(np.float32)
    told: list[float] = []
    windows = predict_probabilities(net, images, brain)
    net.config = TINY.changed(whole=True, flip_augmentation=True)
    mirrored = predict_probabilities(net, images[:, ::-1].copy(), brain[::-1].copy(), told.append)
    net.config = TINY.changed(whole=True)
    whole = predict_probabilities(net, images, brain)
    assert np.abs(whole - windows).max() < 1e-4
    assert told == [0.5, 1.0] and mirrored.shape == whole.shape
    assert (whole[0][~brain] == 1).all() and not whole[1:, ~brain].any()


def test_a_head_of_any_size_comes_back_in_its_place() -> None:
    """The box is padded to a multiple of 16 on both sides: a bright voxel must not move."""
    net = build_segmenter(TINY.changed(whole=True)).eval()
    brain = np.zeros((40, 52, 44), bool)
    brain[3:36, 2:51, 5:42] = True  # 33, 49, 37
    images = np.zeros((4, *brain.shape), np.float32)
    dark = predict_probabilities(net, images, brain)
    images[:, 20, 30, 25] = 50
    changed = np.abs(predict_probabilities(net, images, brain) - dark).sum(axis=0)
    assert np.unravel_index(changed.argmax(), brain.shape) == pytest.approx((20, 30, 25), abs=2)


def test_the_config_is_kept_in_a_manifest_and_is_off_where_it_is_not_named() -> None:
    assert SegmenterConfig.of(whole=True).as_dict()["whole"] is True
    earlier = {k: v for k, v in SegmenterConfig().as_dict().items() if k != "whole"}
    assert SegmenterConfig.from_dict(earlier).inference.whole is False
