"""HD95 and NSD by surface elements: DeepMind's numbers on the same masks, and drawings."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bmcore.stats import segmentation, surface_elements
from training.evaluation.segmentation_case import SURFACES, Scoring, score_region

# surface-distance-based-measures 0.1 (DeepMind's code) on the masks of ``masks``: HD95 in mm and
# surface Dice at 1 mm. Its table of areas closes ambiguous cells otherwise, so the fourth digit of
# the Dice may differ.
PRINTED = {
    (0, (1, 1, 1)): (1.7320508075688772, 0.9097631312160559),
    (0, (1, 1, 3)): (2.23606797749979, 0.877564756368886),
    (0, (0.9, 0.9, 1.5)): (1.8, 0.8783010007157598),
    (1, (1, 1, 1)): (2.23606797749979, 0.913262679258793),
    (1, (1, 1, 3)): (3.1622776601683795, 0.8826741158568595),
    (3, (0.9, 0.9, 1.5)): (2.3430749027719964, 0.8876639847480549),
}


def masks(seed):
    fields = gaussian_filter(
        np.random.default_rng(seed).standard_normal((2, 30, 28, 26)), (0, 2, 2, 2)
    )
    return fields[0] > 0.05, (fields[0] + 0.6 * fields[1]) > 0.05


@pytest.mark.parametrize("which", PRINTED)
def test_the_numbers_are_deepminds_and_not_monais(which):
    seed, spacing = which
    found, reference = masks(seed)
    hd95, dice = PRINTED[which]
    assert surface_elements.hd95_mm(found, reference, spacing) == pytest.approx(hd95)
    mine = surface_elements.surface_dice(found, reference, spacing)
    assert mine == pytest.approx(dice, abs=4e-4)
    other = segmentation.surface_dice(found, reference, spacing)
    assert mine - other > 0.03  # the two conventions differ by this much


def test_the_area_of_a_flat_face_and_of_a_corner():
    areas = surface_elements.element_areas((1.0, 2.0, 3.0))
    lower = sum(1 << i for i, c in enumerate(surface_elements._CORNERS) if c[0] == 0)
    assert areas[lower] == pytest.approx(6)
    # One corner: the triangle with legs of half an edge along each axis.
    a, b, c = 0.5, 1.0, 1.5
    triangle = math.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2) / 2
    assert areas[1] == areas[254] == pytest.approx(triangle)
    assert areas[0] == areas[255] == 0
    assert (areas[1:255] > 0).all()


def test_a_shifted_cube_and_empty_masks():
    cube = np.zeros((12, 12, 12), bool)
    cube[2:8, 2:8, 2:8] = True
    moved = np.roll(cube, 2, axis=0)
    assert surface_elements.hd95_mm(cube, moved, (1, 1, 1.5)) == 2
    assert surface_elements.hd95_mm(cube, cube, (1, 1, 1)) == 0
    assert surface_elements.surface_dice(cube, cube, (1, 1, 1)) == 1
    nothing = np.zeros_like(cube)
    assert surface_elements.hd95_mm(cube, nothing, (1, 1, 1)) == 374
    assert surface_elements.hd95_mm(nothing, nothing, (1, 1, 1)) == 0
    assert surface_elements.surface_dice(cube, nothing, (1, 1, 1)) == 0
    assert surface_elements.surface_dice(nothing, nothing, (1, 1, 1)) == 1
    with pytest.raises(ValueError, match="one grid"):
        surface_elements.hd95_mm(cube, cube[1:], (1, 1, 1))


def test_lesions_and_cards_take_the_convention_that_was_asked_for():
    found, reference = masks(0)
    spacing = (1.0, 1.0, 1.5)
    plain = segmentation.lesion_wise(found, reference, spacing)
    wise = segmentation.lesion_wise(found, reference, spacing, hd95=surface_elements.hd95_mm)
    assert [x.dice for x in wise.lesions] == [x.dice for x in plain.lesions]
    assert wise.hd95_mm != plain.hd95_mm
    scored = {
        name: score_region(
            found * 3, reference * 3, "ET", np.array(spacing), Scoring(surfaces=name)
        )
        for name in SURFACES
    }
    assert scored["voxels"]["hd95_mm"] == segmentation.hd95_mm(found, reference, spacing)
    assert scored["elements"]["hd95_mm"] == surface_elements.hd95_mm(found, reference, spacing)
    assert scored["elements"]["lesion_hd95_mm"] == wise.hd95_mm
    assert scored["elements"]["nsd"] == surface_elements.surface_dice(found, reference, spacing)
    assert set(SURFACES) == set(surface_elements.CONVENTIONS)
    with pytest.raises(ValueError, match="surfaces must be one of voxels, elements"):
        Scoring(surfaces="mesh")
