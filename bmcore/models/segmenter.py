"""The segmentation net: MONAI's residual SegResNet between a space-to-depth stem and its inverse.

Every 2x2x2 block of 1 mm voxels becomes one position with eight times the channels, so that the
trunk works at 2 mm with a wide view and the head still answers for each 1 mm voxel. On a CPU this
costs about an eighth of the same trunk at 1 mm and loses nothing at the input. A thin branch at
1 mm may join the trunk's answer, for what is only a few voxels wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmcore.models.configs import SegmenterConfig

if TYPE_CHECKING:
    from bmcore.models.nets.segmenter import Segmenter


def build_segmenter(config: SegmenterConfig) -> Segmenter:
    """A net from images (b, 4, i, j, k) to logits of that shape; i, j, k multiples of 16.

    With ``training.deep_supervision`` a net in training mode gives a list: those logits, then the
    logits (b, 4, i / 2, j / 2, k / 2) and so on of the coarser levels. With
    ``reduction.candidates`` ``net.candidates`` judges candidates, with ``reduction.contours``
    ``net.contours`` draws them.
    """
    from bmcore.models.nets.segmenter import Segmenter

    return Segmenter(config)
