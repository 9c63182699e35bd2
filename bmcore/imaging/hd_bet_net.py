"""The net of HD-BET v1: a residual U-net with instance norm, one channel in, two classes out.

Written from the description in Isensee et al. (Hum. Brain Mapp. 2019, 40:4952); the names of the
parts are those in the published weights. Only the parts that a prediction needs are here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

WIDTH = 21  # channels of the first level; each level below has twice as many
LEVELS = 4
HALVINGS = 2**LEVELS
_UNUSED = ("loc2_seg.", "loc3_seg.")  # heads that served the training alone
_SLOPE, _HEAD_SLOPE = 1e-2, 1e-1


def _norm(channels: int) -> nn.InstanceNorm3d:
    return nn.InstanceNorm3d(channels, affine=True)


def _conv(channels: int, out: int, size: int = 3, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, out, size, stride, size // 2)


class Context(nn.Module):
    """Two convolutions, each after norm and activation, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn_1, self.conv1 = _norm(channels), _conv(channels, channels)
        self.bn_2, self.conv2 = _norm(channels), _conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(leaky_relu(self.bn_1(x), _SLOPE))
        return self.conv2(leaky_relu(self.bn_2(y), _SLOPE)) + x


class Down(nn.Module):
    """Half the size, twice the channels; also what the way up joins to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn, self.downsample = _norm(channels), _conv(channels, 2 * channels, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = leaky_relu(self.bn(x), _SLOPE)
        return y, self.downsample(y)


class Up(nn.Module):
    """Twice the size, half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample_conv, self.bn = _conv(channels, channels // 2), _norm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        larger = interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)
        return leaky_relu(self.bn(self.upsample_conv(larger)), _SLOPE)


class Localise(nn.Module):
    """Mix what came up with what was kept on the way down."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn_1 = _conv(channels, channels), _norm(channels)
        self.conv2, self.bn_2 = _conv(channels, channels // 2, size=1), _norm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.bn_1(self.conv1(x)), _SLOPE)
        return leaky_relu(self.bn_2(self.conv2(y)), _SLOPE)


class HDBET(nn.Module):
    """(b, 1, z, y, x), each a multiple of 16, to the logits of background and brain (b, 2, …)."""

    def __init__(self) -> None:
        super().__init__()
        w = WIDTH
        self.init_conv = _conv(1, w)
        for level in range(1, LEVELS + 2):
            setattr(self, f"context{level}", Context(w * 2 ** (level - 1)))
        for level in range(1, LEVELS + 1):
            setattr(self, f"down{level}", Down(w * 2 ** (level - 1)))
            setattr(self, f"up{level}", Up(w * 2 ** (LEVELS + 1 - level)))
        for level in range(1, LEVELS):
            setattr(self, f"loc{level}", Localise(w * 2 ** (LEVELS + 1 - level)))
        self.bn_after_context5 = _norm(16 * w)
        self.end_conv_1, self.end_conv_1_bn = _conv(2 * w, 2 * w), _norm(2 * w)
        self.end_conv_2, self.end_conv_2_bn = _conv(2 * w, 2 * w), _norm(2 * w)
        self.seg_layer = nn.Conv3d(2 * w, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, kept = self.init_conv(x), []
        for level in range(1, LEVELS + 1):
            skip, x = getattr(self, f"down{level}")(getattr(self, f"context{level}")(x))
            kept.append(skip)
        x = leaky_relu(
            self.bn_after_context5(getattr(self, f"context{LEVELS + 1}")(x)), _HEAD_SLOPE
        )
        for level in range(1, LEVELS + 1):
            x = torch.cat((kept.pop(), getattr(self, f"up{level}")(x)), dim=1)
            if level < LEVELS:
                x = getattr(self, f"loc{level}")(x)
        x = leaky_relu(self.end_conv_1_bn(self.end_conv_1(x)), _HEAD_SLOPE)
        x = leaky_relu(self.end_conv_2_bn(self.end_conv_2(x)), _HEAD_SLOPE)
        return self.seg_layer(x)


def load(path: Path) -> HDBET:
    """The net with the weights in ``path``, ready to predict."""
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    wanted = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(_UNUSED) and ".running_" not in name and "num_batches" not in name
    }
    net = HDBET()
    net.load_state_dict(wanted)
    return net.eval()
