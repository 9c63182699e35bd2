"""Two synthetic time points of one head: lesions that have grown, shrunk, gone and come, and a head
that lies otherwise, painted as two scans of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bmcore.domain import Case, Label, Volume
from bmcore.geometry import Affine, resample
from bmcore.phantom.appearance import draw_looks
from bmcore.phantom.grids import phantom_affine
from bmcore.phantom.lesions import Growth, Kind, draw_lesions
from bmcore.phantom.paint import draw_sequences, whole_head
from bmcore.phantom.style import CLINIC, PRIORS
from bmcore.phantom.tissue import GRID, draw_map, draw_tissue
from tests import pages_fixture


@dataclass(frozen=True, eq=False)
class Points:
    """Both examinations with their masks; moved: world of the later -> world of the earlier."""

    now: Case
    then: Case
    masks: tuple[Volume, Volume]
    moved: Affine


def head_motion(
    turn_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> Affine:
    """A rigid matrix that turns about the middle of the phantom's grid, then shifts."""
    middle = phantom_affine() @ np.array([*((np.array(GRID) - 1) / 2), 1.0])
    out = np.eye(4)
    out[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    out[:3, 3] = middle[:3] - out[:3, :3] @ middle[:3] + shift_mm
    return out


def kind(diameter_mm: float) -> Kind:
    return Kind(diameter_mm, "solid", False, False, strength=1.0, lobed=0.05)


@cache
def two_points(seed: int = 7, sequences: tuple[str, ...] = ("t1n", "t1c", "t2w", "t2f")) -> Points:
    """Four lesions then: the first has grown since, the second shrunk, the third gone; the fourth
    was not there yet. The head is nodded by 9 and turned by 6 degrees."""
    rng = np.random.default_rng(seed)
    tissue = draw_tissue(rng, draw_map(rng))
    kinds = [kind(d) for d in (16.0, 20.0, 9.0, 12.0)]
    growth = draw_lesions(rng, tissue, next(iter(PRIORS.values())), kinds)
    core = np.isin(growth.labels, (Label.ET, Label.NETC))
    own = [core & (growth.owner == n + 1) for n in range(4)]
    free = tissue.mask & (tissue.ventricle < 0.5)
    now = [
        ndimage.binary_dilation(own[0], iterations=4) & free,
        ndimage.binary_erosion(own[1], iterations=4),
        np.zeros_like(own[2]),
        own[3],
    ]
    then = [own[0], own[1], own[2], np.zeros_like(own[3])]
    moved = head_motion((9.0, 3.0, 6.0), (4.0, -6.0, 5.0))
    made = []
    for number, parts in enumerate((now, then)):
        own_rng = np.random.default_rng([seed, number])
        drawn = Growth(kinds=list(kinds))
        for n, part in enumerate(parts):
            drawn.labels[part] = Label.ET
            drawn.owner[part] = n + 1
        looks = draw_looks(own_rng, kinds, CLINIC)
        images = draw_sequences(
            own_rng, {s: looks[s] for s in sequences}, whole_head(tissue, drawn)
        )
        affine = phantom_affine()
        # the earlier head lies otherwise in its own scanner
        target = affine if number == 0 else np.linalg.inv(moved) @ affine
        volumes = {s: Volume(resample(v, affine, target, GRID), affine) for s, v in images.items()}
        mask = Volume(resample(drawn.labels, affine, target, GRID, order=0), affine)
        made.append((volumes, mask))
    (first, mask_now), (second, mask_then) = made
    return Points(
        Case("BraTS-MET-00900-001", first),
        Case("BraTS-MET-00900-000", second),
        (mask_now, mask_then),
        moved,
    )


def add_case(home: Path, case_id: str, gain: float = 1.0) -> Case:
    """The small case of ``pages_fixture`` under this id, brighter by ``gain``: another scan of the
    same head."""
    from bmcore.intake import library

    case = pages_fixture.make_case(case_id)
    brighter = {s: Volume(np.asarray(v.data) * gain, v.affine) for s, v in case.sequences.items()}
    library.add_volumes(home, Case(case_id, brighter, case.clinical), case_id=case_id)
    return library.load_case(home, case_id)
