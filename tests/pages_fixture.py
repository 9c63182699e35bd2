"""A made-up case and prediction for tests of the screens: a ball with one lesion on each side.

Nothing here is medical: the numbers are chosen so that a test can name where things must be drawn.
"""

from __future__ import annotations

import numpy as np

from bmcore.domain import (
    Answer,
    BundleInfo,
    Case,
    ClinicalRecord,
    Finding,
    Label,
    Lesion,
    Prediction,
    Severity,
    Volume,
)
from bmcore.geometry import transform

MODEL_FINDING = "The models noticed something that would unblind"
SHAPE = (48, 56, 40)
LEFT_MM = (-10.0, 4.0, 6.0)
RIGHT_MM = (12.0, -8.0, -4.0)
INFO = BundleInfo("test", "1", "nothing at all", True, "0" * 64)


def affine(sizes_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """RAS, with the world's origin in the middle of the grid."""
    result = np.diag([*sizes_mm, 1.0])
    result[:3, 3] = -(np.array(SHAPE) - 1) / 2 * np.array(sizes_mm)
    return result


def _distance_mm(grid: np.ndarray, centre: tuple[float, float, float]) -> np.ndarray:
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    return np.linalg.norm(transform(grid, voxels) - np.array(centre), axis=-1)


def make_case(case_id: str = "TEST-1", sizes_mm: tuple[float, float, float] = (1, 1, 1)) -> Case:
    """Four sequences: a grey ball (about 100, brighter to one side, as an image without contrast
    counts as none) with a bright left lesion (300) on t1c and t2f."""
    grid = affine(sizes_mm)
    ball = (_distance_mm(grid, (0, 0, 0)) < 19).astype(np.float32) * 100
    ball += (ball > 0) * np.linspace(-8, 8, ball.shape[1], dtype=np.float32)[:, None]
    lesion = _distance_mm(grid, LEFT_MM) < 4
    sequences = {}
    for number, name in enumerate(("t1n", "t1c", "t2w", "t2f")):
        data = ball + number * 5 * (ball > 0)
        if name in ("t1c", "t2f"):
            data = np.where(lesion, 300.0, data)
        sequences[name] = Volume(data.astype(np.float32), grid)
    record = ClinicalRecord(age_years=61, sex="female", smoking="former", pack_years=20)
    return Case(case_id, sequences, record)


def make_big_case(case_id: str = "TEST-BIG") -> tuple[Case, Volume]:
    """240 x 240 x 155 at 1 mm: a head of noise on slow contrast, and a mask of eight balls."""
    shape = (240, 240, 155)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    head = (grid[0] / 0.6) ** 2 + (grid[1] / 0.75) ** 2 + (grid[2] / 0.8) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 0.03, shape)
    data = np.where(head, 1 + 0.3 * np.sin(7 * grid[0]) + noise, 0).astype(np.float32)
    place = np.eye(4)
    place[:3, 3] = -(np.array(shape) - 1) / 2
    mask = np.zeros(shape, np.uint8)
    for corner in np.ndindex(2, 2, 2):
        middle = np.array(corner) * 0.5 - 0.25
        away = np.sqrt(((grid - middle[:, None, None, None]) ** 2).sum(0))
        mask[away < 0.14] = Label.SNFH
        mask[away < 0.09] = Label.ET
        mask[away < 0.05] = Label.NETC
    sequences = {
        s: Volume(data * (n + 1), place) for n, s in enumerate(("t1n", "t1c", "t2w", "t2f"))
    }
    return Case(case_id, sequences), Volume(mask, place)


def make_lesion(number: int, centre: tuple[float, float, float], side: str) -> Lesion:
    voxel = np.linalg.inv(affine())[:3] @ np.array([*centre, 1.0])
    return Lesion(
        number=number,
        volume_mm3=268.0,
        enhancing_mm3=200.0,
        necrosis_mm3=68.0,
        oedema_mm3=500.0,
        largest_diameter_mm=8.0,
        centroid_mm=centre,
        centroid_voxel=(float(voxel[0]), float(voxel[1]), float(voxel[2])),
        side=side,
        region="frontal lobe",
    )


def make_prediction(case: Case, info: BundleInfo = INFO, lesions: bool = True) -> Prediction:
    """Two lesions with the three labels; without ``lesions`` the image has no answer."""
    grid = case.grid.affine
    mask = np.zeros(SHAPE, np.uint8)
    found: tuple[Lesion, ...] = ()
    if lesions:
        for centre in (LEFT_MM, RIGHT_MM):
            away = _distance_mm(grid, centre)
            mask[away < 7] = Label.SNFH
            mask[away < 4] = Label.ET
            mask[away < 2] = Label.NETC
        found = (make_lesion(1, LEFT_MM, "left"), make_lesion(2, RIGHT_MM, "right"))
    none = "no lesion was found, so the images give no answer"
    return Prediction(
        case_id=case.case_id,
        sequences=tuple(case.sequences),
        mask=Volume(mask, grid),
        lesions=found,
        clinical=Answer("clinical", (0.1, 0.1, 0.1, 0.1, 0.5, 0.1)),
        image=Answer("image", (0.2, 0.1, 0.1, 0.3, 0.2, 0.1))
        if lesions
        else Answer("image", None, none),
        fused=Answer("fused", (0.05, 0.05, 0.1, 0.2, 0.55, 0.05))
        if lesions
        else Answer("fused", None, none),
        bundle=info,
        clinical_record=case.clinical,
        lesion_probabilities=np.full((2, 6), 1 / 6, np.float32) if lesions else None,
        image_features=np.zeros(8, np.float32) if lesions else None,
        code=np.zeros(8, np.float32) if lesions else None,
        clinical_vector=np.zeros(7),
        reconstruction_error=0.1 if lesions else None,
        timings_s={"total": 1.0},
        findings=(Finding(Severity.INFO, MODEL_FINDING),),
    )
