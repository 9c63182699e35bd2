"""Lesions found and false marks by size and arm; the AFROC curve against its figure of merit."""

import itertools
import math

import numpy as np
import pytest

from bmcore.stats import afroc
from bmcore.stats.lesion_tables import afroc_curve, by_size
from bmcore.stats.readings import Reading

ARMS = ("unaided", "aided")


def drawn(seed=0, readers=3, cases=20):
    rng = np.random.default_rng(seed)
    sizes = [tuple(rng.uniform(2, 25, rng.integers(0, 5))) for _ in range(cases)]
    rows = []
    for arm, j, i in itertools.product(ARMS, range(readers), range(cases)):
        better = 0.15 if arm == "aided" else 0.0
        marks = tuple(
            float(rng.uniform(30, 100))
            if rng.random() < min(0.4 + d / 40 + better, 1)
            else -math.inf
            for d in sizes[i]
        )
        false = tuple(float(x) for x in rng.uniform(10, 70, rng.poisson(0.7)))
        rows.append(
            Reading(f"R{j}", f"{i:02d}", arm, lesions_mm=sizes[i], marks=marks, false_marks=false,
                    false_mm=tuple(rng.uniform(2, 12, len(false))))
        )  # fmt: skip
    return rows, sizes


def test_sensitivity_and_false_marks_by_size_are_counted_by_hand():
    rows, sizes = drawn()
    table = by_size(rows, ARMS)
    assert [r.lesions for r in table] == [
        sum(low <= d < high for s in sizes for d in s)
        for low, high in itertools.pairwise((0, 5, 10, 20, math.inf))
    ]
    for row, arm in itertools.product(table, (0, 1)):
        mine = [r for r in rows if r.arm == ARMS[arm]]
        hits = [
            m > -math.inf
            for r in mine
            for d, m in zip(r.lesions_mm, r.marks, strict=True)
            if row.low_mm <= d < row.high_mm
        ]
        assert row.sensitivity.arms[arm].value == pytest.approx(np.mean(hits))
        false = sum(row.low_mm <= d < row.high_mm for r in mine for d in r.false_mm)
        assert row.false.arms[arm].value == pytest.approx(false / len(mine))
    assert table[1].sensitivity.difference.has_interval
    assert table[3].false.arms[0].high == pytest.approx(3.6889 / 20, abs=1e-4)  # none in 20 cases


def test_false_marks_without_diameters_have_no_table_by_size():
    rows = [Reading("R", "1", arm, false_marks=(5.0,)) for arm in ARMS]
    assert by_size(rows, ARMS)[0].false is None
    with pytest.raises(ValueError, match="2 diameters for 1 false marks"):
        Reading("R", "1", "a", false_marks=(5.0,), false_mm=(1.0, 2.0))


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("false_from", ["all", "normal"])
def test_the_area_under_the_curve_is_the_figure_of_merit(weighted, false_from):
    rows = [r for r in drawn(3)[0] if r.reader == "R1" and r.arm == "aided"]
    curve = afroc_curve(rows, false_from, weighted)
    where = np.array([i for i, r in enumerate(rows) for _ in r.lesions_mm])
    marks = afroc.Marks(
        np.array([max(r.false_marks, default=-np.inf) for r in rows])[None, None],
        np.array([m for r in rows for m in r.marks])[None, None],
        where,
    )
    expected = afroc.afroc(marks, false_from, weighted)[0][0].value
    assert curve.area == pytest.approx(expected)
    assert (curve.false[-1], curve.found[-1]) == pytest.approx((1, 1))
    assert (np.diff(curve.found) >= 0).all()


def test_a_reader_who_marks_nothing_has_an_area_of_a_half():
    rows = [Reading("R", "1", "a", lesions_mm=(3.0, 4.0)), Reading("R", "2", "a")]
    assert afroc_curve(rows).area == 0.5
    with pytest.raises(ValueError, match="case with a lesion"):
        afroc_curve(rows[1:])
