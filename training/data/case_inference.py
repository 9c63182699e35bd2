"""Cases with a reference mask, read by a segmentation net in any process."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from training.data.datasets import Dataset, open_dataset

if TYPE_CHECKING:
    from bmcore.domain import Case
    from bmcore.models.configs import SegmenterConfig
    from bmcore.models.nets.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class Patient:
    """images (4, i, j, k), standardised, some sequences all 0; brain (i, j, k); truth (i, j, k):
    labels 0-3; probabilities (4, i, j, k) that the segmentation net gave."""

    images: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Net:
    """A segmentation net as a process uses it.

    segmenter: folder of the net, used with ``config``. threads: of torch in a process, 0 for all.
    """

    segmenter: Path
    config: SegmenterConfig
    device: str
    threads: int

    def read(self, case: Case, lost: npt.NDArray[np.bool_] | None = None) -> Patient:
        """``case`` without the sequences of ``lost`` (4,), with the net's answer.

        InputRefused where there is no reference mask.
        """
        from bmcore.imaging.preprocess import prepare, to_working_grid
        from bmcore.models import runtime
        from bmcore.models.inference import predict_probabilities

        if case.truth is None or case.truth.mask is None:
            raise refuse("no reference mask", file=case.case_id, expected="a seg file")
        prepared = prepare(case)
        truth = to_working_grid(case.truth.mask, prepared).astype(np.uint8)
        images = prepared.images.copy()
        if lost is not None:
            images[lost] = 0
        how = runtime.choose(self.device, threads=self.threads)
        net = _open(self.segmenter, self.config).to(how.device)
        with runtime.inference(how):
            probabilities = predict_probabilities(net, images, prepared.brain)
        return Patient(images, prepared.brain, truth, probabilities)


@functools.lru_cache(maxsize=1)
def _open(segmenter: Path, config: SegmenterConfig) -> Segmenter:
    """The net, read once a process."""
    from bmcore.models.bundles import load_bundle

    net = load_bundle(segmenter).segmenter
    net.config = config
    return net


@functools.lru_cache(maxsize=1)
def open_data(data: Path) -> Dataset:
    """The cases of a folder, whose table is read once a process."""
    return open_dataset(data)
