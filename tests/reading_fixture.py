"""Things the tests of the reading room share: a made-up prediction, a small head, a tiny bundle.

Nothing here is medical. The head is a ball of 24 mm radius with one bright lesion whose place and
size a test can name; the tiny bundle is untrained.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bmcore.domain import (
    Answer,
    BundleInfo,
    Case,
    ClinicalRecord,
    Finding,
    Lesion,
    Prediction,
    Severity,
    Volume,
)

SHAPE = (64, 64, 56)
CENTRE = (31.5, 31.5, 27.5)  # voxel in the middle of the ball
LESION_VOXEL = (22, 34, 30)  # left of the middle: smaller i in RAS
LESION_RADIUS_MM = 4.0
INFO = BundleInfo("tiny", "1", "nothing", True, "ab" * 32)


def ras() -> np.ndarray:
    """1 mm, RAS+, with the ball's middle at the world's origin."""
    affine = np.eye(4)
    affine[:3, 3] = [-c for c in CENTRE]
    return affine


def head(
    case_id: str = "HEAD-1", lesion: bool = True, record: ClinicalRecord | None = None
) -> Case:
    """Four sequences of a textured ball; the lesion is bright on t1c and t2f."""
    i, j, k = np.indices(SHAPE)
    away = np.sqrt(sum((a - c) ** 2 for a, c in zip((i, j, k), CENTRE, strict=True)))
    texture = np.random.default_rng(0).normal(0, 5, SHAPE)
    ball = np.where(away < 24, 100 + texture, 0)
    spot = np.sqrt(sum((a - c) ** 2 for a, c in zip((i, j, k), LESION_VOXEL, strict=True)))
    inside = (spot <= LESION_RADIUS_MM) & lesion
    images = {}
    for name in ("t1n", "t1c", "t2w", "t2f"):
        bright = 400.0 if name == "t1c" else 150.0
        data = np.where(inside, bright, ball) if name in ("t1c", "t2f") else ball
        images[name] = Volume(data.astype(np.float32), ras())
    return Case(case_id, images, record or ClinicalRecord(age_years=61, sex="female"))


def lesion(number: int = 1, centre: tuple[float, float, float] = (-9.5, 2.5, 2.5)) -> Lesion:
    return Lesion(
        number, 257.0, 200.0, 57.0, 120.5, 9.0, centre, (22.0, 34.0, 30.0), "left", "frontal lobe"
    )


def prediction(case_id: str = "HEAD-1", lesions: int = 2, **changes: object) -> Prediction:
    """A prediction with every field filled; with no lesions, the image says why it is silent."""
    mask = np.zeros((5, 6, 7), np.uint8)
    if lesions:
        mask[1, 2, 3], mask[2, 2, 3], mask[3, 3, 3] = 1, 2, 3
    affine = np.array([[-1, 0, 0, 0.1], [0, -1, 0, 239], [0, 0, 1.5, -3], [0, 0, 0, 1]])
    chances = {"image": (0.2, 0.1, 0.1, 0.3, 0.2, 0.1), "fused": (0.05, 0.05, 0.1, 0.2, 0.55, 0.05)}
    image, fused = (
        Answer(kind, chances[kind]) if lesions else Answer(kind, None, "No lesion found")
        for kind in ("image", "fused")
    )
    made = Prediction(
        case_id=case_id,
        sequences=("t1n", "t1c"),
        mask=Volume(mask, affine),
        lesions=tuple(lesion(n + 1) for n in range(lesions)),
        clinical=Answer("clinical", (0.1, 0.1, 0.1, 0.1, 0.5, 0.1)),
        image=image,
        fused=fused,
        bundle=INFO,
        clinical_record=ClinicalRecord(age_years=61, sex="female"),
        lesion_probabilities=np.full((lesions, 6), 1 / 6, np.float32) if lesions else None,
        image_features=np.array([0.5, np.nan, 2], np.float32) if lesions else None,
        code=np.array([0.1, -0.2], np.float32) if lesions else None,
        clinical_vector=np.array([6.1, np.nan, 1.0]),
        reconstruction_error=0.25 if lesions else None,
        timings_s={"segment": 1.25, "total": 2.0},
        findings=(Finding(Severity.WARNING, "a note", "a.nii.gz", "this", "that", "look"),),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def tiny_bundle(folder: Path) -> Path:
    """An untrained bundle on disk: its segmentation net says "background" everywhere."""
    import torch

    from bmcore.domain import PRIMARIES
    from bmcore.models import bundle_writer
    from bmcore.models.autoencoder import build_autoencoder
    from bmcore.models.clinical import FEATURE_KEYS
    from bmcore.models.cnn import FEATURE_NAMES, build_cnn
    from bmcore.models.configs import AutoencoderConfig, CNNConfig, SegmenterConfig
    from bmcore.models.mlr import MLR, MLRConfig
    from bmcore.models.segmenter import build_segmenter

    torch.manual_seed(0)
    shape = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,))
    tensors = build_segmenter(shape).state_dict()
    bias = [name for name, value in tensors.items() if value.shape == (32,)][-1]
    tensors[bias][:8] += 100  # the eight outputs of the class "background"
    bundle_writer.write_part(folder, "segmenter", tensors, shape)
    cnn = CNNConfig(width=8, blocks=1, maps=4, embedding=4)
    weights = build_cnn(cnn).state_dict()
    weights["last_conv.bias"] += 1  # no unit is silent, so that Grad-CAM has something to show
    weights["embed.bias"] += 1
    bundle_writer.write_part(folder, "cnn", weights, cnn)
    reducer = AutoencoderConfig(features=len(FEATURE_NAMES), hidden=8, code=3)
    bundle_writer.write_part(
        folder, "autoencoder", build_autoencoder(reducer).state_dict(), reducer
    )
    rng = np.random.default_rng(0)
    code = ("c1", "c2", "c3")
    for part, names in (
        ("clinical_mlr", FEATURE_KEYS),
        ("image_mlr", code),
        ("fused_mlr", FEATURE_KEYS + code),
    ):
        x, y = rng.normal(1, 1, (60, len(names))), np.arange(60) % len(PRIMARIES)
        model = MLR(names, MLRConfig(c=0.3)).fit(x, y)
        bundle_writer.write_part(folder, part, model.tensors(), {"features": list(names)})
    bundle_writer.finish(folder, "tiny", "1", "nothing", synthetic=True)
    return folder


def bundle_as_shipped(folder: Path) -> Path:
    """The tiny bundle with an untrained CNN that sees brightness beside the healthy brain and the
    second set of image features."""
    import torch

    from bmcore.models.autoencoder import build_autoencoder
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.cnn import build_cnn
    from bmcore.models.configs import TRAINED, AutoencoderConfig
    from bmcore.models.image_features import PLAIN

    tiny_bundle(folder)
    torch.manual_seed(0)
    config = replace(TRAINED, members=1)
    write_part(folder, "cnn", build_cnn(config).state_dict(), config)
    code = AutoencoderConfig(PLAIN, hidden=8, code=3, feature_set=2)
    write_part(folder, "autoencoder", build_autoencoder(code).state_dict(), code)
    return folder


def bundle_that_sees_the_spot(folder: Path):  # type: ignore[no-untyped-def]
    """The tiny bundle with a segmentation net by hand: enhancing where t1c is 4 or more spreads."""
    import torch

    from bmcore.models.bundles import load_bundle
    from bmcore.models.configs import SegmenterConfig

    class Threshold(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = SegmenterConfig.of(filters=8)
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            out = torch.zeros(images.shape[0], 4, *images.shape[2:], device=images.device)
            out[:, 3] = (images[:, 1] - 4) * 10 * self.scale
            return out

    bundle = load_bundle(folder)
    bundle.segmenter = Threshold().eval()
    return bundle
