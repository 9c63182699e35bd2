"""Heads as a scanner gives them, on one grid and without skull, and the way back."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bmcore.anatomy import templates
from bmcore.domain import InputRefused, Volume
from bmcore.geometry import resample, transform
from bmcore.imaging import alignment_quality, extraction, heads
from bmcore.imaging.registration import Registration
from bmcore.stats.segmentation import dice

REALDATA = os.environ.get("BMCORE_REALDATA")


def brain_image(voxel_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> Volume:
    """The template's brain, level as a real T1, background 0."""
    t = templates()
    affine = t.affine @ np.diag([*voxel_mm, 1.0])
    shape = tuple(int(n / mm) for n, mm in zip(t.t1.shape, voxel_mm, strict=True))
    data = resample(t.t1 * 800, t.affine, affine, shape)
    inside = resample(t.brain.astype(np.float32), t.affine, affine, shape) > 0.5
    return Volume((data * inside).astype(np.float32), affine)


def with_skull(brain: Volume) -> Volume:
    """A dark bone of 8 mm and a bright scalp of 8 mm around it."""
    data = np.array(brain.data)
    distance = ndimage.distance_transform_edt(data == 0, sampling=2.0)
    data[(distance > 0) & (distance <= 8)] = 20
    data[(distance > 8) & (distance <= 16)] = 900
    return Volume(data, brain.affine)


def elsewhere(volume: Volume, degrees, shift) -> Volume:
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    move[:3, 3] = shift
    return Volume(np.asarray(volume.data), move @ volume.affine)


def test_a_brain_counts_as_stripped_and_a_head_or_noise_does_not() -> None:
    brain = brain_image()
    assert heads.stripped(brain)
    assert heads.stripped(Volume(np.asarray(brain.data) - 5, brain.affine))  # any background
    assert not heads.stripped(with_skull(brain))
    noise = np.random.default_rng(1).normal(40, 10, brain.shape).astype(np.float32)
    assert not heads.stripped(Volume(np.asarray(brain.data) + noise, brain.affine))


def test_several_grids_or_a_skull_need_alignment() -> None:
    brain = brain_image()
    assert not heads.needs_alignment({"t1c": brain, "t1n": brain})
    assert heads.needs_alignment({"t1c": brain, "t1n": elsewhere(brain, (0, 0, 0), (0, 0, 3))})
    assert heads.needs_alignment({"t1c": with_skull(brain)})


@pytest.fixture(scope="module")
def aligned() -> tuple[heads.Alignment, Volume]:
    reference = elsewhere(brain_image((1.8, 1.8, 4.0)), (8, 5, -6), (10, -20, 15))
    other = elsewhere(brain_image((2.0, 2.0, 2.0)), (3, -4, 9), (-5, 12, 4))
    steps: list[str] = []
    made = heads.align({"t1c": reference, "t2f": other}, steps.append)
    assert steps[0] == "Looking for the brain" and "FLAIR" in steps[1]
    return made, reference


def test_sequences_of_several_grids_come_onto_one_and_show_the_same(aligned) -> None:
    made, _ = aligned
    first, second = (np.asarray(made.images[n].data) for n in ("t1c", "t2f"))
    assert first.shape == second.shape == made.brain.shape
    inside = made.brain
    assert np.corrcoef(first[inside], second[inside])[0, 1] > 0.95
    assert (first[~inside] == 0).all() and (second[~inside] == 0).all()
    assert np.allclose(np.linalg.norm(made.images["t1c"].affine[:3, :3], axis=0), 1)


def test_the_head_stands_upright_and_keeps_the_scanners_positions(aligned) -> None:
    made, reference = aligned
    assert alignment_quality.symmetry(made.brain) > 0.95
    place = np.argwhere(np.asarray(reference.data) > 600)[500]
    world = transform(reference.affine, place)
    voxel = np.rint(transform(np.linalg.inv(made.images["t1c"].affine), world)).astype(int)
    assert made.images["t1c"].data[tuple(voxel)] == pytest.approx(
        reference.data[tuple(place)], rel=0.25
    )


def test_labels_come_back_on_the_grid_of_the_scan(aligned) -> None:
    made, reference = aligned
    labels = np.zeros(made.brain.shape, np.uint8)
    centre = np.argwhere(made.brain).mean(axis=0).astype(int)
    labels[tuple(slice(c - 14, c + 15) for c in centre)] = 3
    there = heads.back(Volume(labels, made.images["t1c"].affine), made)
    assert there.shape == reference.shape and np.array_equal(there.affine, reference.affine)
    found = transform(there.affine, np.argwhere(there.data == 3).mean(axis=0))
    assert np.linalg.norm(found - transform(made.images["t1c"].affine, centre)) < 1.5
    volume = (there.data == 3).sum() * abs(np.linalg.det(there.affine[:3, :3]))
    assert volume == pytest.approx(29**3, rel=0.1)


def test_without_a_brain_extraction_a_head_is_refused_in_words(monkeypatch) -> None:
    monkeypatch.setattr(extraction, "available", lambda: ())
    with pytest.raises(InputRefused, match="no brain extraction is installed"):
        heads.align({"t1c": with_skull(brain_image())})
    with pytest.raises(InputRefused, match="no T1 post-gadolinium"):
        heads.align({"t1n": brain_image()})


def test_each_doubt_about_an_alignment_is_a_finding() -> None:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 50, degrees=True).as_matrix()
    half = np.zeros((160, 180, 150), bool)
    half[10:80, 10:170, 10:140] = True
    half[80:140, 60:80, 10:140] = True
    told = alignment_quality.judge(
        {"t2w": Registration(np.eye(4), 0.01, 0.02), "t2f": Registration(turned, 0.2, 0.4)},
        Registration(np.diag([2.0, 2, 2, 1]), 0.1, 0.3, scale=2.0),
        0.8,
        half,
    )
    words = " ".join(finding.what for finding in told)
    for doubt in (
        "T2 may not fit",
        "FLAIR was turned far",
        "hardly fits",
        "do not agree",
        "not the",
    ):
        assert doubt in words, doubt
    good = np.zeros((160, 180, 150), bool)
    good[20:140, 20:160, 25:125] = True
    fine = Registration(np.eye(4), 0.2, 0.4)
    assert alignment_quality.judge({"t2f": fine}, fine, 0.97, good) == ()


@pytest.mark.skipif(not REALDATA, reason="the real scans are not here (BMCORE_REALDATA)")
@pytest.mark.skipif(not extraction.available(), reason="no brain extraction is installed")
def test_the_brain_of_a_real_head_is_found_by_each_extraction() -> None:
    folder = Path(str(REALDATA)) / "03_tcga_fg6692_native"
    image = nib.load(next(folder.glob("*_t1c.nii.gz")))
    head = Volume(np.asarray(image.dataobj, np.float32), image.affine)
    masks = [extraction.extract(head, package) for package in extraction.available()]
    litres = abs(float(np.linalg.det(image.affine[:3, :3]))) / 1e6
    assert all(1.3 < mask.sum() * litres < 1.8 for mask in masks)
    assert all(dice(masks[0], mask) > 0.95 for mask in masks)
