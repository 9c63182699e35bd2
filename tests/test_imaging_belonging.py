"""Whether images are what they were taken for, lie on each other, and how the head lies in them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from bmcore.domain import SIDE_NOT_KNOWN, Case, InputRefused, Severity, Volume
from bmcore.geometry import to_ras
from bmcore.imaging.brain import find_brain
from bmcore.imaging.coarse import Coarse, coarse
from bmcore.imaging.coverage import gaps, without_flat
from bmcore.imaging.lesions import find_lesions
from bmcore.imaging.orientation import place
from bmcore.imaging.picture import doubts
from bmcore.imaging.preprocess import prepare, restore
from bmcore.imaging.together import apart, misfits, side_doubt
from bmcore.intake.nifti import read_case
from bmcore.intake.nifti_file import DEFAULT_POSITION
from bmcore.phantom.cohort import PhantomCase, draw_case
from tests.volumes_fixture import REALDATA, needs_realdata

SEEDS = (3, 12)
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


@lru_cache
def patient(seed: int) -> PhantomCase:
    return draw_case(seed)


def small(images: dict[str, np.ndarray], affine: np.ndarray) -> Coarse:
    """As ``prepare`` sees a case, in the voxel order of ``affine``, which is RAS+ here."""
    brain, _ = find_brain(images, affine)
    return coarse(images, brain, affine)


def changed(seed: int, **images: np.ndarray) -> Coarse:
    known = patient(seed)
    return small({**known.images, **images}, known.affine)


def said(findings) -> str:
    findings = list(findings)
    assert all(f.severity is Severity.WARNING and f.hint for f in findings)
    return "\n".join(f.sentence for f in findings)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [(), ("t1n",), ("t2w", "t2f"), ("t1n", "t2w", "t2f")])
def test_nothing_is_said_of_a_case_as_it_is(seed, missing):
    images = {s: v for s, v in patient(seed).images.items() if s not in missing}
    case = small(images, patient(seed).affine)
    where, told = place(case, None)
    assert said([*told, *misfits(case), *doubts(case), *gaps(case)]) == ""
    assert where.side and where.lobe and where.turn is None


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize(
    ("axis", "words"),
    [(0, "left and right"), (1, "front and back"), (2, "top and bottom")],
)
def test_a_mirrored_sequence_is_found_and_named(sequence, axis, words):
    images = {sequence: np.flip(patient(3).images[sequence], axis)}
    told = said(misfits(changed(3, **images)))
    assert told.count("\n") == 0 and f"{sequence}: the sequences do not fit together" in told
    assert f"mirrored, {words} exchanged" in told


def test_a_mirrored_t1c_is_the_one_named_and_the_side_is_open():
    flipped = np.flip(patient(3).images["t1c"], 0)
    prepared = prepare(as_case(t1c=flipped))
    told = said(prepared.findings)
    assert "t1c against t1n is mirrored, left and right exchanged" in told
    assert "the side of lesions is not known: T1 post-gadolinium and other sequences" in told
    assert not prepared.placement.side
    one = prepare(as_case(t2f=np.flip(patient(3).images["t2f"], 0)))
    assert "t2f against t1c is mirrored" in said(one.findings) and one.placement.side


@pytest.mark.realdata
@needs_realdata
@pytest.mark.parametrize("folder", ["01_brats_met_00110", "04_tcga_fg6692_sri24"])
def test_a_real_mirrored_t1c_that_was_laid_on_the_others_is_named(folder):
    """As a registration lays it there; symmetric as it is, no sequence alone tells."""
    case = read_case(REALDATA / folder, own=True)
    whole = real_small(case)
    flipped = np.flip(np.asarray(whole.images["t1c"]), 0)
    ahead = ndimage.center_of_mass(whole.images["t1c"] != whole.images["t1c"].flat[0])
    behind = ndimage.center_of_mass(flipped != flipped.flat[0])
    shift = np.rint(np.subtract(ahead, behind)).astype(int)
    laid = replace(whole, images={**whole.images, "t1c": np.roll(flipped, shift, (0, 1, 2))})
    found = apart(laid)
    assert [(m.sequence, m.flips) for m, _ in found] == [("t1c", (0,))]
    assert side_doubt(found, 4) is not None and side_doubt(apart(whole), 4) is None


def moved(image: np.ndarray, mm: tuple[int, int, int]) -> np.ndarray:
    return ndimage.shift(image, mm, order=0, cval=0)


@pytest.mark.parametrize("mm", [(10, 0, 0), (0, -12, 0), (0, 0, 10), (7, 7, 7), (0, 25, 0)])
def test_a_sequence_moved_by_10_mm_is_found_with_about_how_far(mm):
    told = said(misfits(changed(3, t2f=moved(patient(3).images["t2f"], mm))))
    far = float(np.linalg.norm(mm))
    assert "t2f against t1c is displaced by about" in told
    found = float(told.split("about ")[1].split(" mm")[0])
    assert abs(found - far) <= 4.0


@pytest.mark.parametrize("mm", [(2, 0, 0), (0, 3, -2)])
def test_a_small_shift_is_no_misfit(mm):
    assert misfits(changed(12, t2f=moved(patient(12).images["t2f"], mm))) == ()


def test_another_patients_sequence_is_found():
    told = said(misfits(changed(3, t2f=patient(12).images["t2f"])))
    assert "t2f against t1c" in told and "another patient's" in told


def test_noise_says_nothing():
    rng = np.random.default_rng(0)
    brain = patient(3).images["t1c"] != 0
    noise = np.where(brain, rng.uniform(50, 150, brain.shape), 0).astype(np.float32)
    assert misfits(changed(3, t2f=noise)) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_native_t1_in_the_place_of_t1c_is_doubted(seed):
    native = patient(seed).images["t1n"]
    assert "nothing is brighter in t1c than in t1n" in said(doubts(changed(seed, t1c=native * 1.3)))
    alone = {"t1c": native, "t2w": patient(seed).images["t2w"]}
    assert "nothing enhances in t1c" in said(doubts(small(alone, patient(seed).affine)))


@pytest.mark.parametrize("seed", SEEDS)
def test_exchanged_sequences_are_doubted(seed):
    own = patient(seed).images
    t1 = changed(seed, t1n=own["t1c"], t1c=own["t1n"])
    assert "T1 native and T1 post-gadolinium look exchanged" in said(doubts(t1))
    t2 = changed(seed, t2w=own["t2f"], t2f=own["t2w"])
    assert "t2w and t2f look exchanged: fluid is bright in t2f" in said(doubts(t2))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_difference_of_images_is_no_t1(seed):
    own = patient(seed).images
    brain = own["t1c"] != 0
    parts = [own[s] / np.median(own[s][brain]) for s in ("t1c", "t1n")]
    derived = np.where(brain, parts[0] - parts[1], 0).astype(np.float32)
    assert "t1c does not look like T1 post-gadolinium" in said(doubts(changed(seed, t1c=derived)))


def as_case(**images: np.ndarray) -> Case:
    known = patient(3)
    volumes = {s: Volume(v, known.affine) for s, v in {**known.images, **images}.items()}
    return Case("P", volumes)


def test_a_flat_sequence_is_treated_as_missing():
    flair = patient(3).images["t2f"]
    inside = flair[patient(3).images["t1c"] != 0]
    prepared = prepare(as_case(t2f=np.minimum(flair, np.percentile(inside, 20))))
    assert prepared.present == (True, True, True, False) and not prepared.images[3].any()
    assert "FLAIR (t2f) has no contrast inside the brain; it is treated as missing" in said(
        [f for f in prepared.findings if f.file == "t2f"]
    )


def test_a_flat_t1c_is_refused():
    with pytest.raises(InputRefused, match="no contrast inside the brain"):
        without_flat({"t1c": np.ones((9, 9, 9))}, np.ones((9, 9, 9), bool))


def test_a_part_of_the_brain_without_values_is_told_with_its_share():
    cut = patient(3).images["t1c"].copy()
    cut[..., cut.shape[2] // 2 :] = 0
    told = said(f for f in prepare(as_case(t1c=cut)).findings if "no value" in f.what)
    share = float(told.split(": ")[1].split("%")[0])
    assert 25 < share < 75 and "of the brain has no value in T1 post-gadolinium (t1c)" in told


@pytest.mark.parametrize("thick", [5, 7])
def test_partial_volume_at_the_edge_is_no_gap_and_lost_slices_are(thick):
    """Whole brains on a grid of thick slices, the outline drawn a little wide."""
    known = patient(3).images["t1c"]
    depth = known.shape[2] // thick
    slices = known[..., : depth * thick].reshape(*known.shape[:2], depth, thick).mean(-1)
    affine = patient(3).affine @ np.diag([1, 1, thick, 1.0])
    narrow = slices * ndimage.binary_erosion(slices != 0, np.ones((5, 5, 1)))
    whole = dict.fromkeys(("t1n", "t2w", "t2f"), slices + 1.0 * (slices != 0))
    assert gaps(small({**whole, "t1c": narrow}, affine)) == ()
    lost = slices.copy()
    lost[..., depth // 2 - 1 : depth // 2 + 1] = 0
    assert "(t1c)" in said(gaps(small({**whole, "t1c": lost}, affine)))


def test_a_gap_is_told_beside_what_else_is_said_of_the_sequence():
    image = np.flip(patient(3).images["t2f"], 1).copy()
    image[..., : image.shape[2] // 2] = 0
    told = said(prepare(as_case(t2f=image)).findings)
    assert "t2f against t1c" in told and "has no value in FLAIR" in told


@pytest.mark.parametrize("padded", [False, True], ids=["cut", "set to 0"])
@pytest.mark.parametrize(("keep", "side"), [((0, 0.55), "right"), ((0.45, 1), "left")])
def test_half_a_brain_has_no_side(padded, keep, side):
    known = patient(3)
    low, high = (int(k * known.labels.shape[0]) for k in keep)
    if padded:
        images = {s: v.copy() for s, v in known.images.items()}
        for image in images.values():
            image[:low], image[high:] = 0, 0
        volumes = {s: Volume(v, known.affine) for s, v in images.items()}
    else:
        start = known.affine.copy()
        start[0, 3] += low
        volumes = {s: Volume(v[low:high], start) for s, v in known.images.items()}
    prepared = prepare(Case("P", volumes))
    assert not prepared.placement.side and not prepared.placement.lobe
    assert f"cut through the brain at the {side}" in said(
        f for f in prepared.findings if "cut through the brain" in f.what
    )


def lesions_of(case: Case, mask: np.ndarray):
    prepared = prepare(case)
    brain = restore(prepared.brain.astype(np.uint8), prepared)
    found = find_lesions(mask, case.grid.affine, np.asarray(brain.data) > 0, prepared.placement)
    return prepared, found


def test_a_default_header_leaves_the_side_open_and_the_lobe_is_told_from_the_picture():
    known = patient(3)
    _, (right_way, *_) = lesions_of(as_case(), known.labels)
    turned = {s: Volume(v[::-1, ::-1], np.eye(4)) for s, v in known.images.items()}  # as LPS
    case = Case("P", turned, side_doubt=DEFAULT_POSITION)
    prepared, (lesion, *_) = lesions_of(case, known.labels[::-1, ::-1])
    assert lesion.side == SIDE_NOT_KNOWN and lesion.region == right_way.region
    told = said(prepared.findings)
    assert "the side of lesions is not known" in told and "lie back to front" in told


def test_images_back_to_front_under_a_good_header_are_doubted():
    known = patient(3)
    case = small({s: v[:, ::-1] for s, v in known.images.items()}, known.affine)
    where, told = place(case, None)
    assert not where.side and "the head seems to lie back to front" in said(told)


def test_lesions_say_what_is_not_known_in_words():
    from pages.parts.words import place as in_words

    _, (lesion, *_) = lesions_of(as_case(), patient(3).labels)
    unknown = replace(lesion, side=SIDE_NOT_KNOWN)
    assert in_words(unknown) == f"{lesion.region.capitalize()}, side not known"
    assert in_words(replace(unknown, region="unknown")) == "Side not known, lobe not known"


@pytest.fixture(scope="module")
def real() -> Case:
    return read_case(REALDATA / "01_brats_met_00110", own=True)


def real_small(case: Case, **images: np.ndarray) -> Coarse:
    own = {s: to_ras(v.data, v.affine)[0] for s, v in case.sequences.items()}
    return small({**own, **images}, to_ras(case.grid.data, case.grid.affine)[1])


@pytest.mark.realdata
@needs_realdata
@pytest.mark.parametrize("folder", ["01_brats_met_00110", "04_tcga_fg6692_sri24"])
def test_nothing_is_said_of_real_cases_as_they_are(folder):
    case = real_small(read_case(REALDATA / folder, own=True))
    where, told = place(case, None)
    assert said([*told, *misfits(case), *doubts(case), *gaps(case)]) == ""
    assert where.side and where.lobe


@pytest.mark.realdata
@needs_realdata
def test_real_images_mirrored_moved_or_of_another_patient_are_found(real):
    flair = np.asarray(real.sequences["t2f"].data)
    for axis, words in ((0, "left and right"), (1, "front and back"), (2, "top and bottom")):
        assert words in said(misfits(real_small(real, t2f=np.flip(flair, axis))))
    assert "displaced by about" in said(misfits(real_small(real, t2f=np.roll(flair, 10, 1))))
    other = read_case(REALDATA / "04_tcga_fg6692_sri24", own=True).sequences["t2f"]
    strange = to_ras(other.data, other.affine)[0]
    assert "another patient's" in said(misfits(real_small(real, t2f=strange)))


def slices_of(image: np.ndarray, mm: int) -> np.ndarray:
    """Thick axial slices on the grid of 1 mm, as a pipeline interpolates them."""
    depth = image.shape[2] // mm
    thick = image[..., : depth * mm].reshape(*image.shape[:2], depth, mm).mean(-1)
    place = np.clip((np.arange(image.shape[2]) - (mm - 1) / 2) / mm, 0, depth - 1)
    low = np.floor(place).astype(int)
    high, share = np.minimum(low + 1, depth - 1), place - low
    return (thick[..., low] * (1 - share) + thick[..., high] * share).astype(np.float32)


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    return ndimage.rotate(image, degrees, axes=(0, 1), reshape=False, order=1)


@pytest.mark.realdata
@needs_realdata
@pytest.mark.parametrize("sequence", ["t2w", "t2f"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: np.roll(image, 2, 0), ""),
        (lambda image: rotated(image, 5), ""),
        (lambda image: slices_of(image, 5), ""),
        (lambda image: slices_of(image, 6), ""),
        (lambda image: rotated(slices_of(image, 6), 5), ""),
        (lambda image: rotated(image, 10), "mm off, turned by"),
    ],
    ids=["2 mm", "5 degrees", "5 mm slices", "6 mm slices", "both", "10 degrees"],
)
def test_a_real_sequence_a_little_off_or_in_thick_slices_is_no_other_patients(
    real, sequence, change, words
):
    image = np.asarray(real.sequences[sequence].data)
    told = said(misfits(real_small(real, **{sequence: change(image)})))
    assert words in told and "another patient" not in told
    assert told == "" or "lies about" in told


@pytest.mark.realdata
@needs_realdata
def test_a_real_native_t1_as_t1c_is_doubted(real):
    native = np.asarray(real.sequences["t1n"].data)
    alone = {"t1c": native, "t2w": np.asarray(real.sequences["t2w"].data)}
    assert "nothing enhances" in said(doubts(small(alone, np.asarray(real.grid.affine))))
    swapped = real_small(real, t1n=np.asarray(real.grid.data), t1c=native)
    assert "look exchanged" in said(doubts(swapped))


@pytest.mark.realdata
@needs_realdata
def test_case_04_with_a_default_header_is_right_frontal_or_open():
    from tests.test_imaging_realdata import labels

    case = read_case(REALDATA / "04_tcga_fg6692_sri24", own=True)
    plain = {s: Volume(v.data, np.eye(4)) for s, v in case.sequences.items()}
    mask = labels("04_tcga_fg6692_sri24/seg_fusion/mav.nii.gz", (0, 1, 2, 0, 3))
    _, found = lesions_of(Case("P", plain, side_doubt=DEFAULT_POSITION), mask)
    assert (found[0].side, found[0].region) == (SIDE_NOT_KNOWN, "frontal")
