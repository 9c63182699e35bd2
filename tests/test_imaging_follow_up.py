"""Two examinations: lesions matched, changes and sums worked out by hand, and when a registration
is not believed."""

from __future__ import annotations

import numpy as np
import pytest

from bmcore.domain import InputRefused, Volume
from bmcore.imaging import lesion_change, rano
from bmcore.imaging.follow_up import FollowUp, follow_up
from bmcore.imaging.lesion_change import (
    GONE,
    MATCHED,
    MERGED,
    NEW,
    SPLIT,
    Change,
    Examination,
    Measured,
)
from tests import prior_fixture

SHAPE = (40, 40, 30)


def mask(*boxes: tuple[slice, slice, slice], affine=None) -> Volume:
    """A box of enhancing tumour (3) each."""
    data = np.zeros(SHAPE, np.uint8)
    for box in boxes:
        data[box] = 3
    return Volume(data, np.eye(4) if affine is None else affine)


def box(i: int, j: int, k: int, size: tuple[int, int, int] = (3, 3, 3)) -> tuple:
    return tuple(slice(a, a + n) for a, n in zip((i, j, k), size, strict=True))


def lesion(number: int, longest: float, across: float = 6.0, slices: int = 4) -> Measured:
    return Measured(number, longest, across, longest**3 / 2, slices, (0.0, 0.0, 0.0))


def both(number: int, then: float, now: float, kind: str = MATCHED) -> Change:
    return Change(kind, lesion(number, now), lesion(number, then))


def kinds(changes) -> list[tuple]:
    return [(c.kind, c.now and c.now.number, c.then and c.then.number, c.other) for c in changes]


# --- measuring and matching -----------------------------------------------------------------------


def test_a_bar_of_nine_voxels_is_nine_millimetres_long_and_one_across() -> None:
    """9 x 1 voxels of 1 mm on three slices: 8 mm between the middles of the ends, and a voxel."""
    (found,) = lesion_change.measure(mask(box(10, 20, 5, (9, 1, 3))))
    assert (found.longest_mm, found.across_mm) == pytest.approx((9.0, 1.0))
    assert (found.volume_mm3, found.slices) == (27.0, 3)
    assert found.centre_mm == (14.0, 20.0, 6.0)
    assert lesion_change.measure(mask()) == ()


def test_what_overlaps_is_one_lesion_and_the_rest_is_new_or_gone() -> None:
    """Then a 4-cube at 5 and a 3-cube at 25; now a 5-cube at 6 (27 mm3 in common with the first)
    and a 3-cube at 15."""
    then = mask(box(5, 5, 5, (4, 4, 4)), box(25, 25, 20))
    now = mask(box(6, 6, 6, (5, 5, 5)), box(15, 30, 10))
    found = lesion_change.compare(now, then, np.eye(4))
    assert kinds(found) == [(MATCHED, 1, 1, None), (NEW, 2, None, None), (GONE, None, 2, None)]
    assert found[0].shared == 27 / 64
    assert found[0].volume_change == pytest.approx(125 / 64 - 1)
    assert found[1].longest_change is None and found[2].volume_change is None


def test_matching_is_done_in_the_space_of_the_other_examination() -> None:
    """The head moved by 12 mm to the right: without the matrix nothing fits, with it all does."""
    now, then = mask(box(5, 5, 5)), mask(box(17, 5, 5))
    moved = np.eye(4)
    moved[0, 3] = 12.0  # where a point of now was then
    assert kinds(lesion_change.compare(now, then, moved)) == [(MATCHED, 1, 1, None)]
    assert [k[0] for k in kinds(lesion_change.compare(now, then, np.eye(4)))] == [NEW, GONE]


def test_without_a_voxel_in_common_the_nearest_centre_within_5_mm_is_taken_once() -> None:
    """Centres 4 mm apart are one lesion; a second one 5 mm apart finds its partner taken; at 6 mm
    there is none."""
    then = mask(box(10, 10, 10))
    assert kinds(lesion_change.compare(mask(box(14, 10, 10)), then, np.eye(4)))[0][0] == MATCHED
    two = lesion_change.compare(mask(box(14, 10, 10), box(10, 15, 10)), then, np.eye(4))
    assert sorted(k[0] for k in kinds(two)) == [MATCHED, NEW]
    (near,) = [c for c in two if c.kind == MATCHED]
    assert near.now is not None and near.now.centre_mm == (15.0, 11.0, 11.0) and near.shared == 0
    apart = lesion_change.compare(mask(box(16, 10, 10)), then, np.eye(4))
    assert [c.kind for c in apart] == [NEW, GONE]


def test_two_lesions_that_have_become_one_are_not_called_gone() -> None:
    then = mask(box(5, 5, 5, (4, 4, 4)), box(11, 5, 5))
    now = mask(box(5, 5, 5, (9, 4, 4)))
    assert kinds(lesion_change.compare(now, then, np.eye(4))) == [
        (MATCHED, 1, 1, None),
        (MERGED, None, 2, 1),
    ]
    assert kinds(lesion_change.compare(then, now, np.eye(4))) == [
        (MATCHED, 1, 1, None),
        (SPLIT, 2, None, 1),
    ]


def test_a_lesion_smaller_than_the_voxels_of_the_other_examination_is_found() -> None:
    """3 mm in voxels of 1 mm now; then in slices of 6 mm, of which no middle lies in it."""
    thick = np.diag([1.0, 1.0, 6.0, 1.0])
    then = mask(box(10, 10, 2, (3, 3, 1)), affine=thick)  # from 9 to 15 mm, its middle at 12
    now = mask(box(10, 10, 13))  # middles at 13 to 15 mm
    assert kinds(lesion_change.compare(now, then, np.eye(4))) == [(MATCHED, 1, 1, None)]
    assert kinds(lesion_change.compare(then, now, np.eye(4))) == [(MATCHED, 1, 1, None)]


def test_pairs_share_most_in_all_and_each_lesion_has_one_partner() -> None:
    shared = np.array([[10.0, 9.0], [8.0, 0.0]])
    places = [(0.0, 0.0, 0.0)] * 2
    assert lesion_change.match(shared, places, places) == [(0, 1), (1, 0)]  # 17, not 10
    assert lesion_change.match(np.zeros((0, 2)), [], places) == []


# --- the sum of target lesions --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "word"),
    [
        ([(20, 14), (10, 7)], rano.PARTIAL),  # 30 to 21: -30 %
        ([(20, 14.2), (10, 7)], rano.STABLE),  # 30 to 21.2: -29 %
        ([(25, 30)], rano.PROGRESSIVE),  # +20 %, 5 mm
        ([(24.9, 29.8)], rano.STABLE),  # +19.7 %
        ([(20, 24.8)], rano.STABLE),  # +24 %, but 4.8 mm
        ([(10, 13), (10, 13), (10, 13)], rano.STABLE),  # +30 %, but none longer than by 3 mm
        ([(10, 15), (20, 22)], rano.PROGRESSIVE),  # 30 to 37: +23 %, one by 5 mm
        ([(10, 0), (12, 0)], rano.COMPLETE),
    ],
)
def test_the_word_of_rano_bm_for_a_sum(pairs: list, word: str) -> None:
    changes = [
        both(n, then, now) if now else Change(GONE, None, lesion(n, then))
        for n, (then, now) in enumerate(pairs, start=1)
    ]
    found = rano.target_sum(changes)
    assert found is not None and found.limit == word
    assert found.then_mm == pytest.approx(sum(p[0] for p in pairs))
    assert found.now_mm == pytest.approx(sum(p[1] for p in pairs))


def test_targets_are_the_five_longest_that_were_measurable_then() -> None:
    """9.9 mm is too short, 4 mm across too narrow, one slice too few; of six others five count."""
    changes = [both(n, 10 + n, 10 + n) for n in range(1, 7)]
    changes += [
        Change(MATCHED, lesion(7, 30), lesion(7, 9.9)),
        Change(MATCHED, lesion(8, 30), lesion(8, 20, across=4)),
        Change(MATCHED, lesion(9, 30), lesion(9, 20, slices=1)),
    ]
    found = rano.target_sum(changes)
    assert found is not None and found.targets == (6, 5, 4, 3, 2)
    assert found.then_mm == 16 + 15 + 14 + 13 + 12
    assert rano.target_sum(changes[6:]) is None
    assert "no sum of target lesions" in rano.sentences(changes[6:])[0]


def test_merged_targets_count_once_and_of_a_split_one_all_parts_count() -> None:
    """12 and 10 mm have become one of 24; then 24 mm has come apart into 12 and 10."""
    merged = [
        Change(MATCHED, lesion(1, 24), lesion(1, 12)),
        Change(MERGED, None, lesion(2, 10), other=1),
    ]
    found = rano.target_sum(merged)
    assert found is not None and (found.then_mm, found.now_mm, found.merged) == (22, 24, True)
    split = [
        Change(MATCHED, lesion(1, 12), lesion(1, 24)),
        Change(SPLIT, lesion(2, 10), None, other=1),
    ]
    found = rano.target_sum(split)
    assert found is not None and (found.then_mm, found.now_mm, found.split) == (24, 22, True)
    assert not any("no counterpart" in s for s in rano.sentences(split))


def test_what_is_said_are_measurements_with_their_limits() -> None:
    told = rano.sentences([both(1, 20, 13), Change(NEW, lesion(2, 8), None)])
    assert "1 target lesion" in told[0] and "20.0 mm then, 13.0 mm now" in told[0]
    assert "−35%" in told[0] and rano.PARTIAL in told[2]
    assert told[1].startswith("Lesion 2 has no counterpart then") and "not outlined" in told[1]
    assert [rano.signed(v) for v in (0.123, -0.3, 0.001)] == ["+12%", "−30%", "±0%"]


def test_doubts_name_thickness_outlines_and_tilt_and_nothing_else() -> None:
    fine = Examination(1.0, "demo 1")
    assert lesion_change.doubts(fine, Examination(1.9, "demo 1"), 10.0) == ()
    told = lesion_change.doubts(fine, Examination(5.5, "other 2"), 14.0)
    assert "5.5 mm then" in told[0] and "other 2 then" in told[1] and "14 degrees" in told[2]


# --- the registration -----------------------------------------------------------------------------


def measured(**other) -> FollowUp:
    good = {"information": 0.6, "outline": 0.97, "back_mm": 0.2, "turn_deg": 11.0}
    return FollowUp(np.eye(4), **{**good, **other})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"information": 0.25}, "share little"),
        ({"outline": 0.9}, "outlines"),
        ({"back_mm": 3.1}, "differ by 3.1 mm"),
        ({"turn_deg": 40.0}, "40 degrees"),
    ],
)
def test_each_doubt_of_a_registration_is_said(other: dict, words: str) -> None:
    assert measured().doubts == ()
    (doubt,) = measured(**other).doubts
    assert words in doubt
    again = FollowUp.from_dict(measured(**other).as_dict())
    assert again.doubts == (doubt,) and (again.matrix == np.eye(4)).all()


def test_two_scans_of_one_head_are_laid_on_each_other_and_the_lesions_found_again() -> None:
    """A head nodded by 9 and turned by 6 degrees, other contrast: within 1 mm, no doubt. Lesion 1
    has grown, 2 shrunk, 3 is gone, 4 is new."""
    points = prior_fixture.two_points(7, ("t1c",))
    found = follow_up(points.now.sequences["t1c"], points.then.sequences["t1c"])
    assert found.doubts == ()
    corners = np.array(np.meshgrid([60, 180], [100, 260], [10, 140])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(8)])
    assert np.abs((found.matrix - points.moved) @ corners).max() < 1.0
    changes = lesion_change.compare(*points.masks, found.matrix)
    assert sorted(c.kind for c in changes) == [GONE, MATCHED, MATCHED, NEW]
    grown, shrunk = sorted(
        (c for c in changes if c.kind == MATCHED), key=lambda c: -(c.longest_change or 0)
    )
    # four voxels more on either side of about 16 mm, four less on either side of about 20
    assert 0.3 < (grown.longest_change or 0) < 0.7 and -0.6 < (shrunk.longest_change or 0) < -0.25


def test_two_heads_are_not_taken_for_one_and_an_empty_image_is_refused() -> None:
    now = prior_fixture.two_points(7, ("t1c",)).now.sequences["t1c"]
    then = prior_fixture.two_points(8, ("t1c",)).then.sequences["t1c"]
    assert any("one patient" in doubt for doubt in follow_up(now, then).doubts)
    empty = Volume(np.zeros((20, 20, 20), np.float32), np.eye(4))
    with pytest.raises(InputRefused, match="earlier examination"):
        follow_up(now, empty)
