"""Novelty: toy heads of three tissues whose contrast is known, and what must stand out from them.

Real brains, phantoms and the fruit are in ``test_reading_uncertainty``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from bmcore.domain import SEQUENCES, Prepared
from bmcore.imaging.image_statistics import STATISTICS, statistics, words
from bmcore.imaging.standardise import standardise
from bmcore.models.novelty import (
    EXCHANGES,
    FOLDS,
    JITTERS,
    NoveltyConfig,
    NoveltyModel,
    NoveltyResult,
    tolerance,
)

GRID = (56, 68, 56)
TISSUES = {"t1n": (20, 70, 100), "t1c": (25, 80, 105), "t2w": (200, 110, 80), "t2f": (25, 115, 90)}
SUBSETS = [("t1c", *others) for n in range(4) for others in combinations(("t1n", "t2w", "t2f"), n)]


@lru_cache(maxsize=64)
def toy(seed: int, shift: int = 0, noise: float = 4.0) -> Prepared:
    """Fluid around grey matter around white matter with fluid in the middle; jitter by seed."""
    rng = np.random.default_rng(seed)
    radii = np.array([23, 28, 22]) * rng.uniform(0.92, 1.08, 3)
    middle = (np.array(GRID) - 1) / 2 + [0, shift, 0]
    away = np.sqrt(
        sum(
            ((axis - c) / r) ** 2
            for axis, c, r in zip(np.indices(GRID), middle, radii, strict=True)
        )
    )
    away += ndimage.gaussian_filter(rng.normal(0, 1, GRID), 2, truncate=2) * 0.3  # folds
    brain = away < 1
    tissue = np.select([away < 0.2, away < 0.75, away < 0.93], [0, 2, 1], 0)
    images = np.zeros((4, *GRID), np.float32)
    for number, name in enumerate(SEQUENCES):
        levels = np.array(TISSUES[name]) * rng.uniform(0.9, 1.1, 3)
        image = ndimage.uniform_filter(levels[tissue], 2) + rng.normal(0, noise, GRID)
        images[number] = standardise(image, brain)
    return Prepared(
        f"toy-{seed}", images, (True,) * 4, brain, np.eye(4), GRID, np.eye(4)
    )  # fmt: skip


def only(prepared: Prepared, names: tuple[str, ...]) -> Prepared:
    present = tuple(s in names for s in SEQUENCES)
    kept = np.where(np.array(present)[:, None, None, None], prepared.images, 0)
    return replace(prepared, images=kept, present=present)


@lru_cache(maxsize=64)
def whole(seed: int) -> np.ndarray:
    return statistics(toy(seed))


def value(prepared: Prepared, name: str) -> float:
    return float(statistics(prepared)[STATISTICS.index(name)])


@pytest.fixture(scope="module")
def model() -> NoveltyModel:
    rows = np.stack([whole(seed) for seed in range(24)])
    return NoveltyModel(rows, np.arange(24), np.linspace(0.1, 0.5, 24))


def masked(seed: int, names: tuple[str, ...]) -> np.ndarray:
    """The statistics of a toy with these sequences alone (the first test shows that it is so)."""
    gone = set(SEQUENCES) - set(names)
    return np.where([not any(g in s for g in gone) for s in STATISTICS], whole(seed), np.nan)


def exchanged(row: np.ndarray, a: str, b: str) -> np.ndarray:
    return row[EXCHANGES[a, b]]


def alarms(judged: NoveltyResult) -> bool:
    return judged.image_score > 1


# --- statistics --------------------------------------------------------------------------------


def test_a_missing_sequence_is_nan_and_touches_nothing_else() -> None:
    every = whole(0)
    assert np.isfinite(
        every[[not s.endswith(("depth2", "depth3")) for s in STATISTICS]]
    ).all()  # a small head
    assert every.shape == (len(STATISTICS),)
    part = statistics(only(toy(0), ("t1c", "t2f")))
    np.testing.assert_array_equal(part, masked(0, ("t1c", "t2f")))
    assert np.isnan(part[[("t1n" in s or "t2w" in s) for s in STATISTICS]]).all()


def test_the_place_in_the_grid_changes_nothing() -> None:
    """Ten voxels of background more behind: five blocks of 2 mm."""
    first = toy(1)
    room = ((0, 0), (10, 0), (0, 0))
    moved = replace(
        first, images=np.pad(first.images, ((0, 0), *room)), brain=np.pad(first.brain, room)
    )
    np.testing.assert_allclose(statistics(moved), whole(1), atol=1e-4)


def test_correlation_and_mirror_by_hand() -> None:
    one = toy(2)
    images = one.images.copy()
    images[1], images[2] = images[0], -images[0]
    same = replace(one, images=images)
    assert value(same, "t1n~t1c.all") == pytest.approx(1)
    assert value(same, "t1n~t2w.all") == pytest.approx(-1)
    mirrored = 0.5 * (images + images[:, ::-1])
    brain = one.brain & one.brain[::-1]
    even = replace(one, images=np.where(brain, mirrored, 0).astype(np.float32), brain=brain)
    assert value(even, "shape.symmetry") == pytest.approx(1)
    assert value(even, "t1c.symmetry") == pytest.approx(1)
    ramp = np.broadcast_to(np.arange(GRID[0], dtype=np.float32)[:, None, None], GRID)
    tilted = replace(even, images=np.stack([np.where(brain, ramp - 27.5, 0)] * 4))
    assert value(tilted, "t1c.symmetry") == pytest.approx(-1, abs=1e-3)


def test_volume_and_extent_are_those_of_the_brain() -> None:
    brain = np.zeros(GRID, bool)
    brain[10:50, 4:64, 4:54] = True  # 40 x 60 x 50 mm
    box = replace(toy(3), brain=brain, images=toy(3).images * brain)
    expected = {"volume": 120.0, "width": 40.0, "length": 60.0, "height": 50.0}
    for name, size in expected.items():
        assert np.exp(value(box, f"shape.{name}")) == pytest.approx(size)
    assert value(box, "shape.fill") == 1


def test_noise_is_not_smooth_and_a_flat_image_is_no_error() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (4, *GRID)).astype(np.float32)
    assert abs(value(replace(toy(4), images=noise), "t1c.near")) < 0.1
    flat = replace(toy(4), images=np.zeros((4, *GRID), np.float32))
    np.testing.assert_array_equal(np.isnan(statistics(flat)), np.isnan(whole(4)))
    assert value(flat, "t1n~t1c.all") == 0


def test_every_statistic_has_words() -> None:
    assert words("t1n~t2w.tissue") == "how T1 native and T2 go together"
    assert words("t2f.p99") == "the range of grey values of FLAIR"
    assert all(words(name) for name in STATISTICS)


# --- the alarm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_new_toys_are_quiet_with_any_sequences(model: NoveltyModel, names: tuple[str, ...]) -> None:
    assert not any(alarms(model.judge(masked(seed, names))) for seed in range(100, 106))


@pytest.mark.parametrize(("a", "b"), [("t1c", "t2w"), ("t1n", "t2f")])
def test_exchanged_sequences_are_noticed_and_named(model: NoveltyModel, a: str, b: str) -> None:
    for seed in range(100, 106):
        for names in (SEQUENCES, tuple(dict.fromkeys(("t1c", a, b)))):
            judged = model.judge(exchanged(masked(seed, names), a, b))
            assert judged.gain > judged.gain_limit and judged.pair == (a, b)


def test_a_lone_t2_named_t1c_is_told_apart(model: NoveltyModel) -> None:
    """The other sequence of the pair is not there: it is renamed, not exchanged."""
    judged = model.judge(exchanged(masked(100, ("t2w",)), "t1c", "t2w"))
    assert judged.gain > judged.gain_limit and "t2w" in (judged.pair or ())


def test_exchanging_names_in_the_images_is_exchanging_the_statistics() -> None:
    """All but what needs t1c to tell tissue: here t1n and t2f change places."""
    one = toy(6)
    turned = replace(one, images=one.images[[3, 1, 2, 0]])
    np.testing.assert_allclose(statistics(turned), exchanged(whole(6), "t1n", "t2f"), atol=1e-5)
    for pair, order in EXCHANGES.items():
        np.testing.assert_array_equal(order[order], np.arange(len(STATISTICS)), err_msg=str(pair))


@pytest.mark.parametrize("names", [("t1c",), SEQUENCES], ids="+".join)
def test_noise_and_a_part_of_a_head_are_noticed(
    model: NoveltyModel, names: tuple[str, ...]
) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (4, *GRID)).astype(np.float32)
    assert alarms(model.judge(statistics(only(replace(toy(100), images=noise), names))))
    slab = toy(101).brain.copy()
    slab[:, :, 24:] = False
    part = replace(toy(101), images=np.where(slab, toy(101).images, 0), brain=slab)
    assert alarms(model.judge(statistics(only(part, names))))


def test_what_cannot_be_measured_is_outside() -> None:
    brain = np.zeros(GRID, bool)
    brain[:4, :4, :4] = True
    speck = replace(toy(5), brain=brain)
    assert np.isnan(statistics(speck)).all()
    some = NoveltyModel(np.random.default_rng(0).normal(size=(20, len(STATISTICS))),
                        np.arange(20), [0.1, 0.2])  # fmt: skip
    assert some.judge(statistics(speck)).distance == np.inf


def test_the_limit_comes_from_cases_held_out_and_each_choice_of_sequences_has_its_own(
    model: NoveltyModel,
) -> None:
    known = np.isfinite(whole(0))
    far = model.held_out(lambda g, rows: g.distances(rows, known))
    assert far.shape == (JITTERS * 24,)
    alone = np.isfinite(masked(0, ("t1c",)))
    assert model.distance_limit(alone) != model.distance_limit(known)
    rank = int(np.ceil(121 * 0.99))  # the largest of 120
    assert model.distance_limit(known) == pytest.approx(1.5 * np.sort(far)[rank - 1])


def test_rows_of_one_patient_are_held_out_together() -> None:
    """Each patient twice, alike, varying far more than tolerated: a twin that was seen is near."""
    rows = np.random.default_rng(0).normal(size=(30, len(STATISTICS))) * 5
    twice, known = np.repeat(rows, 2, axis=0), np.ones(len(STATISTICS), bool)

    def typical(patient: np.ndarray) -> float:
        model = NoveltyModel(twice, patient, [0.1, 0.2])
        return float(model.held_out(lambda g, rows: g.distances(rows, known)).mean())

    assert typical(np.repeat(np.arange(30), 2)) > 1.1 * typical(np.arange(60))


def test_false_alarms_are_about_as_rare_as_asked_before_the_margin() -> None:
    """200 Gaussian rows, 5 % asked, 1000 new ones that vary as tolerated too."""
    rng = np.random.default_rng(1)
    size = len(STATISTICS)
    mix = rng.normal(size=(size, size)) * 0.1
    tolerated = np.array([tolerance(name) for name in STATISTICS])
    model = NoveltyModel(
        rng.normal(size=(200, size)) @ mix, np.arange(200), [0.1, 0.2], NoveltyConfig(0.05, 1, 1)
    )
    new = rng.normal(size=(1000, size)) @ mix + rng.normal(size=(1000, size)) * tolerated
    judged = [model.judge(row) for row in new]
    share = np.mean([j.distance > j.distance_limit for j in judged])
    assert 0.01 < share < 0.09


def test_a_sequence_that_no_training_case_had_says_nothing() -> None:
    rows = np.random.default_rng(2).normal(size=(20, len(STATISTICS)))
    lost = np.array(["t2f" in s for s in STATISTICS])
    rows[:, lost] = np.nan
    model = NoveltyModel(rows, np.arange(20), [0.1, 0.2])
    case = np.where(lost, 50.0, 0.5)
    quiet = model.judge(case)
    assert quiet.distance < quiet.distance_limit
    assert not any("t2f" in name for name in (*quiet.unusual, *(quiet.pair or ())))
    assert model.judge(np.full(len(STATISTICS), 50.0)).distance > quiet.distance_limit


def test_the_error_of_reconstruction_has_its_own_limit(model: NoveltyModel) -> None:
    row = whole(100)
    assert model.judge(row).error is None
    judged = model.judge(row, 3.0)
    assert judged.error_limit == pytest.approx(2 * 0.5) and judged.error == 3.0


def test_tensors_come_back_and_what_does_not_fit_is_refused(model: NoveltyModel) -> None:
    again = NoveltyModel.from_tensors(model.tensors(), model.config)
    row = exchanged(whole(7), "t1c", "t2w")
    assert again.judge(row, 0.2) == model.judge(row, 0.2)
    with pytest.raises(ValueError, match="tensors must be"):
        NoveltyModel.from_tensors({"rows": model.rows}, model.config)
    with pytest.raises(ValueError, match="rows must be"):
        NoveltyModel(model.rows[:, 1:], model.patient, model.errors)
    with pytest.raises(ValueError, match="patients or more"):
        NoveltyModel(model.rows, model.patient % FOLDS, model.errors)
    with pytest.raises(ValueError, match="errors"):
        NoveltyModel(model.rows, model.patient, [0.1, np.nan])
    with pytest.raises(ValueError, match="margins"):
        NoveltyConfig(margin=0.5)
