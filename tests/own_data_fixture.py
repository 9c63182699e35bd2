"""A cohort of small balls with lesions in the Yale layout, and nets so small that all of training
takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bmcore.domain import PRIMARIES, ClinicalRecord
from bmcore.imaging.orientation import place
from bmcore.models.bundle_writer import write_part
from bmcore.models.candidates import FEATURES
from bmcore.models.configs import SegmenterConfig
from bmcore.models.segmenter import build_segmenter
from bmcore.phantom.cohort import PhantomCase
from training.bench.stand_in import Faults, as_it_is, write_stand_in
from training.pipeline.order import Effort, Order

EDGE = 52
_placed: list[Any] = []


def place_once(*arguments: Any) -> Any:
    """In place of ``imaging.orientation.place``, half the time of preparing: the balls lie alike,
    so what was found for one holds for all."""
    if not _placed:
        _placed.append(place(*arguments))
    return _placed[0]


TINY = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=48,
                          core_threshold=0.3, min_lesion_voxels=2, min_lesion_peak=0.0)  # fmt: skip
QUICK = Effort(steps=4, batch=1, head=2, contours=1, cnn=6, code=3, refits=2, described=10,
               curves=2, least=6,
               t1c_alone=False)  # fmt: skip


def ball(seed: int) -> PhantomCase:
    """A round brain of two tissues with two lesions, the first of them with a core; the primary
    goes by the number, so that each has several patients."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.arange(EDGE)] * 3, indexing="ij"))

    def within(centre: object, radius: float) -> np.ndarray:
        return ((at - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0) < radius**2

    brain, white = within([26, 26, 26], 20), within([26, 26, 26], 14)
    labels = np.zeros((EDGE,) * 3, np.uint8)
    for side in (-8, 8):
        centre = np.array([26 + side, 26, 26]) + rng.integers(-3, 4, 3)
        radius = rng.uniform(3, 5)
        labels[within(centre, radius + 2) & brain] = 2
        labels[within(centre, radius)] = 3
        if side < 0:
            labels[within(centre, radius - 2)] = 1
    levels = {"t1n": (600, 800, 500, 550, 560), "t1c": (620, 800, 420, 560, 1500),
              "t2w": (700, 500, 1100, 1000, 800), "t2f": (700, 550, 500, 1000, 800)}  # fmt: skip
    images = {}
    for name, (grey, pale, core, oedema, tumour) in levels.items():
        image = np.where(white, pale, grey).astype(np.float32)
        for label, level in ((1, core), (2, oedema), (3, tumour)):
            image[labels == label] = level
        image += rng.normal(0, 25, image.shape).astype(np.float32)
        images[name] = np.where(brain, np.maximum(image, 1), 0)
    primary = PRIMARIES[seed % 3]
    record = ClinicalRecord(float(rng.integers(40, 80)), "female" if seed % 2 else "male")
    return PhantomCase(seed, images, labels, np.eye(4), primary, record, 2)


def cohort(out: Path, count: int, faults: Faults = Faults()) -> Path:
    """Write ``count`` balls; returns the folder that a user would name."""
    write_stand_in((ball(seed) for seed in range(count)), out, faults, as_it_is)
    return out


def start_bundle(folder: Path) -> Path:
    """A tiny segmentation net with a second stage, as a bundle that training starts from."""
    torch.manual_seed(3)
    config = TINY.changed(candidates=4, contours=4)
    net = build_segmenter(config)
    head = net.candidates
    spread = torch.linspace(-3, 3, head.quantiles.shape[1])
    head.quantiles.copy_(spread.repeat(len(FEATURES), 1))
    write_part(folder, "segmenter", net.state_dict(), config, {"steps": 1}, {})
    return folder


def order(data: Path, place: Path, start: Path | None, **more: object) -> Order:
    values = {"folds": 2, "workers": 1, "device": "cpu", "effort": QUICK} | more
    return Order(data, place / "models", place / "work", start, **values)  # type: ignore[arg-type]
