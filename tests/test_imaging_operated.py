"""Signs that a brain was operated on or treated: a pocket of fluid on one side, and words."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bmcore.anatomy import templates
from bmcore.domain import Severity, Volume
from bmcore.geometry import transform, voxel_sizes_mm
from bmcore.imaging import operated
from bmcore.imaging.coarse import Coarse, coarse
from bmcore.intake import treated
from bmcore.intake.nifti import choose_files
from tests.volumes_fixture import save

FLUID = {"t1n": 100.0, "t1c": 110.0, "t2w": 1900.0, "t2f": 90.0}


def images() -> dict[str, np.ndarray]:
    """The template's tissues as each sequence shows them, on 2 mm voxels."""
    t = templates()
    grey, white, brain = (np.asarray(a)[::2, ::2, ::2] for a in (t.grey, t.white, t.brain))
    fluid = np.clip(1 - grey - white, 0, 1)
    tissue = {"t1n": (500, 800), "t1c": (520, 820), "t2w": (800, 600), "t2f": (700, 550)}
    return {
        s: (fluid * FLUID[s] + grey * g + white * w) * (brain > 0) for s, (g, w) in tissue.items()
    }


def small(of: dict[str, np.ndarray], brain: np.ndarray) -> Coarse:
    t = templates()
    return coarse(of, brain, t.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))


def ball(brain: np.ndarray, mm: tuple[float, float, float], radius: float) -> np.ndarray:
    """Voxels of the brain within ``radius`` mm of the point ``mm`` of the template."""
    affine = templates().affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    at = transform(affine, np.argwhere(brain))
    out = np.zeros(brain.shape, bool)
    out[tuple(np.argwhere(brain)[np.linalg.norm(at - np.array(mm), axis=1) < radius].T)] = True
    return out


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    return np.asarray(templates().brain)[::2, ::2, ::2] > 0


def surface_point(brain: np.ndarray, side: int, inside_mm: float) -> tuple[float, float, float]:
    """A point so deep below the surface at the side of a frontal lobe (mm of the template)."""
    affine = templates().affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    depth = ndimage.distance_transform_edt(brain, sampling=voxel_sizes_mm(affine))
    at = transform(affine, np.argwhere(brain))
    near = np.abs(at[:, 1] - 25) + np.abs(at[:, 2] - 35) + (at[:, 0] * side < 20) * 1000
    cost = near + 5 * np.abs(depth[brain] - inside_mm)
    x, y, z = at[np.argmin(cost)]
    return float(x), float(y), float(z)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_cavity_open_to_the_surface_on_one_side_is_doubted(brain: np.ndarray, side: int) -> None:
    plain = images()
    assert operated.doubts(small(plain, brain)) == ()
    hole = ball(brain, surface_point(brain, side, 10.0), 17.0)
    cut = {s: np.where(hole, FLUID[s], image) for s, image in plain.items()}
    (found,) = operated.pockets(small(cut, brain))
    assert found.millilitres > 8 and found.depth_mm > operated.DEEP_MM
    (said,) = operated.doubts(small(cut, brain))
    assert said.severity is Severity.WARNING and "may have been operated on" in said.what
    assert "mm deep" in said.found


def test_a_cyst_within_and_fluid_on_both_sides_are_no_cavity(brain: np.ndarray) -> None:
    plain = images()
    x, y, z = surface_point(brain, 1, 10.0)
    holes = ball(brain, (x, y, z), 17.0) | ball(brain, (-x, y, z), 17.0)
    both = {s: np.where(holes, FLUID[s], image) for s, image in plain.items()}
    assert operated.pockets(small(both, brain)) == ()
    deep = ball(brain, surface_point(brain, 1, 32.0), 14.0)
    cyst = {s: np.where(deep, FLUID[s], image) for s, image in plain.items()}
    assert operated.pockets(small(cyst, brain)) == ()
    tumour = ball(brain, (x, y, z), 17.0)  # dark in T1, but not fluid in FLAIR
    oedema = {**plain, "t1c": np.where(tumour, 110.0, plain["t1c"])}
    oedema["t2f"] = np.where(tumour, 1500.0, plain["t2f"])
    assert operated.pockets(small(oedema, brain)) == ()
    assert operated.pockets(small({"t1c": both["t1c"]}, brain)) == ()  # one image tells nothing


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("T1_postop_axial", "an operation"),
        ("MRT Schädel nach Resektion", "an operation"),
        ("t1 post-opératoire gado", "an operation"),
        ("Z.n. Bestrahlung T1 KM", "radiotherapy"),
        ("AX T1 POST SRS", "radiotherapy"),
        ("T1 Rezidiv Tumor", "a tumour that came back"),
        ("T1 POST GAD", None),
        ("t1_post", None),
        ("SRS planning T1 post", None),
        ("T1 MPRAGE post contrast optimised", None),
        ("t1c_to_t1n", None),
    ],
)
def test_names_that_speak_of_treatment(name: str, what: str | None) -> None:
    assert treated.said(name) == what


def test_a_name_that_speaks_of_an_operation_is_a_warning_without_the_name(tmp_path) -> None:
    for name in ("Meier_T1_postop_KM", "Meier_T2_postop"):
        save(Volume(np.ones((8, 8, 8), np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz")
    said = [f for f in choose_files(tmp_path).findings if "treated before" in f.what]
    assert len(said) == 1 and "an operation" in said[0].what and "Meier" not in said[0].sentence
