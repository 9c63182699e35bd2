"""Rated marks: checked against what is drawn when the sheet is locked, and used by wAFROC."""

from __future__ import annotations

import math

import nibabel as nib
import numpy as np
import pytest

from bmcore.analysis import endpoints
from bmcore.analysis.collect import marks_in_study
from bmcore.analysis.lesions import lesion_section
from bmcore.analysis.readings import CaseFacts, LesionMarks, Person, Reading, StudyData
from bmcore.domain import InputRefused
from bmcore.intake import library
from bmcore.review import marks, plan
from bmcore.review.marks import Scene
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from bmcore.stats import afroc
from tests import pages_fixture as fixture
from tests import pages_home
from tests import study_fixture as drawn
from tests.test_report_parts import failing_case

ARMS = ["unaided", "aided"]
RATED = {"id": "count", "kind": "marks", "rated": True, "text": "Mark and rate"}
PRIMARY = {"id": "primary", "kind": "primary", "text": "Which?"}
WAFROC = {"measure": "wAFROC", "compare": ARMS}
GI = {"primary": {"choice": "gi", "confidence": 40}}


def test_wafroc_may_be_the_endpoint_only_where_both_arms_rate_all_that_counts():
    made = drawn.study(questions=[PRIMARY, RATED], primary_endpoint=WAFROC)
    assert made.rated_arms == ("unaided", "aided")
    verdicts = {"id": "v", "kind": "lesions", "text": "Verdicts", "arms": ["aided"]}
    for asked in ([{**RATED, "rated": False}], [{**RATED, "arms": ["aided"]}], [RATED, verdicts]):
        with pytest.raises(InputRefused, match="wAFROC needs"):
            drawn.study(questions=[PRIMARY, *asked], primary_endpoint=WAFROC)


@pytest.fixture
def desk(tmp_path):
    made = drawn.study(questions=[PRIMARY, RATED], cases=["C1"])
    with open_store(f"sqlite:///{tmp_path / 'study.sqlite'}") as store:
        plan.lock(store, made, "Ida Lund")
        yield ReadingSession(store, made.study)


def mark(desk, place, scene="unaided", **points):
    owner = Owner(place.case_id, drawer(desk.version.study, place))
    new = {"action": "set", "after": 0}
    changes = [
        {"key": n, "mark": n, "content": {"kind": "missed", "points": [p]}, **new}
        for n, p in points.items()
    ]
    assert marks.record(desk.store, owner, changes, Scene(scene)) == {}


def rated(**ratings):
    return GI | {"count": {"marks": ratings}}


@pytest.mark.parametrize(
    ("ratings", "sentence"),
    [
        ({"a": 5}, "1 of 2 marks of question count have no rating"),
        ({"a": 5, "b": 101}, "for each mark a whole number from 0 to 100"),
        ({"a": 5, "b": 7, "c": 9}, "rates marks that are not there"),
        ({}, "2 of 2 marks"),
    ],
)
def test_the_sheet_is_locked_only_with_a_rating_of_each_mark_in_force(desk, ratings, sentence):
    place = desk.next("r01").item.place
    mark(desk, place, a=[1, 2, 3], b=[4, 5, 6])
    with pytest.raises(InputRefused, match=sentence):
        desk.submit(place, rated(**ratings), Seconds(), "k")
    with pytest.raises(InputRefused, match="a rating for each mark's id"):
        desk.submit(place, GI | {"count": True}, Seconds(), "k")
    assert desk.history() == []
    desk.submit(place, rated(a=5, b=7), Seconds(), "k")
    desk.correct(place, "count", {"marks": {"a": 90, "b": 7}}, "Slipped.")
    with pytest.raises(InputRefused, match="1 of 2 marks"):
        desk.correct(place, "count", {"marks": {"a": 90}}, "No.")


def test_ratings_on_and_beside_lesions_come_from_the_marks_of_the_arm(desk, tmp_path):
    case, prediction = failing_case()
    files = pages_home.write_files(case, tmp_path / "files")
    files["seg"] = tmp_path / "files" / "C1-seg.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(prediction.mask.data), case.grid.affine), files["seg"])
    library.add_case(tmp_path, files, "C1")
    unaided, aided = [w.item.place for w in desk.work("r01")]
    mark(desk, unaided, a=list(fixture.LEFT_MM), b=list(fixture.LEFT_MM), c=[0.0, 0.0, -15.0])
    desk.submit(unaided, rated(a=40, b=70, c=20), Seconds(), "u")
    mark(desk, aided, "aided", d=list(fixture.RIGHT_MM))
    desk.submit(aided, rated(a=40, b=75, c=0, d=100), Seconds(), "a")
    found = marks_in_study(tmp_path, desk.store, read_record(desk.store, "drawn"), {})
    on, beside = found.ratings["unaided", "Ada Lund", "C1"]
    assert sorted(on) == [-math.inf, 70.0] and beside == (20.0,)
    on, beside = found.ratings["aided", "Ada Lund", "C1"]
    assert sorted(on) == [75.0, 100.0] and beside == (0.0,)


def test_endpoint_and_afroc_table_use_the_ratings():
    cases = [f"C{n:02d}" for n in range(30)]
    made = drawn.study(questions=[PRIMARY, RATED], primary_endpoint=WAFROC, cases=cases)
    rng = np.random.default_rng(3)
    ratings = {}
    for arm, gain in (("unaided", 0), ("aided", 25)):
        for reader in ("Ada Lund", "Bo Ek"):
            for case in cases:
                seen = float(rng.integers(0, 70) + gain)
                ratings[arm, reader, case] = ((seen,), (float(rng.integers(0, 70)),))
    sizes = dict.fromkeys(cases, (8.0,))
    told = LesionMarks({at: (frozenset({1}), 1) for at in ratings}, sizes, ratings)
    readings = [Reading(r, c, arm, 0, "gi", 50, 1) for arm, r, c in ratings]
    people = tuple(Person(n, "radiologist", 5.0) for n in ("Ada Lund", "Bo Ek"))
    data = StudyData(
        "x", tuple(ARMS), people, {c: CaseFacts(c) for c in cases}, tuple(readings), made
    )
    drawn_ = afroc.Marks(
        np.array([[[ratings[a, p.name, c][1][0] for c in cases] for p in people] for a in ARMS]),
        np.array([[[ratings[a, p.name, c][0][0] for c in cases] for p in people] for a in ARMS]),
        np.arange(30),
    )
    expected = afroc.afroc(drawn_, "all")
    table = lesion_section(data, told).table("afroc")
    assert [x.cells[0] for x in table.lines] == [e for row in expected for e in row]
    assert "By the readers' ratings" in table.note
    answer = endpoints.primary(data, told)
    mean = [np.mean([e.value for e in row]) for row in expected]
    assert answer.finding.difference.value == pytest.approx(mean[1] - mean[0])
    assert answer.finding.difference.low > 0
