"""Pictures of failures, lesion marks, the flow of cases, the checklists, the trend of the time."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from bmcore.analysis.collect import marks_of_readers
from bmcore.analysis.lesions import lesion_section
from bmcore.analysis.readings import CaseFacts, LesionMarks, Person, Reading, StudyData
from bmcore.domain import PRIMARIES, Answer, BundleInfo, InputRefused, Primary, Truth, Volume
from bmcore.report.build import build
from bmcore.report.chapters import appendix, checklists, checklists_more, participants
from bmcore.report.dossier import DossierInputs
from bmcore.report.failures import MOST, find_failures
from bmcore.stats import afroc, learning
from tests import pages_fixture as fixture
from tests import pages_home

ROLES = (Person("Ada", "radiologist", 6), Person("Bo", "oncologist"))


def source(facts, readings=()):
    return StudyData("drawn", ("unaided", "aided"), ROLES, {f.case_id: f for f in facts}, readings)


def facts(case_id, truth, top, chance=0.75):
    rest = (1 - chance) / 5
    found = tuple(chance if str(p) == top else rest for p in PRIMARIES)
    return CaseFacts(case_id, truth=truth, lesions=2, answers={"fused": found})


# failures


def failing_case(with_reference=True):
    case = fixture.make_case("C1")
    mask = np.asarray(fixture.make_prediction(case).mask.data)
    if with_reference:
        case = replace(case, truth=Truth("drawn", Volume(mask, case.grid.affine)))
    return case, fixture.make_prediction(case)


def test_a_failure_shows_the_slice_of_the_lesion_with_both_masks():
    case, prediction = failing_case()
    one = source([facts("C1", "rcc", "nsclc")])
    (found,) = find_failures(one, {"C1": prediction}, lambda _: case)
    assert found.words.startswith("Known primary: Renal cell. Fused models: Non-small cell lung")
    titles = [title for title, _ in found.panels]
    assert titles == ["T1 post-gadolinium", "FLAIR", "Models' mask", "Reference mask"]
    pictures = dict(found.panels)
    grey, masked = pictures["T1 post-gadolinium"].astype(int), pictures["Models' mask"].astype(int)
    assert (grey.max(axis=2) == grey.min(axis=2)).all()
    coloured = masked.max(axis=2) - masked.min(axis=2) > 20
    rows, columns = np.nonzero(coloured)
    # the first lesion lies on the patient's left, so on the right half of the picture
    assert columns.min() > coloured.shape[1] / 2
    assert 20 < len(rows) < 300


def test_failures_come_surest_first_and_are_no_more_than_can_be_looked_at():
    many = [facts(f"C{n:02d}", "rcc", "gi", 0.5 + n / 100) for n in range(12)]
    right = facts("right", "gi", "gi")
    misled = facts("misled", "gi", "gi")
    readings = (Reading("Ada", "misled", "aided", 0, "rcc", 90, 1),)
    found = find_failures(source([*many, right, misled], readings), {})
    assert [f.case_id for f in found] == [f"C{n:02d}" for n in range(11, 11 - MOST, -1)]
    assert all("the images are not at hand" in f.note for f in found)
    (last,) = find_failures(source([right, misled], readings), {})
    assert (last.case_id, "1 of 1 readings were wrong" in last.words) == ("misled", True)


def test_images_that_cannot_be_read_are_said_and_the_report_goes_on():
    def broken(_):
        raise InputRefused(*fixture.make_prediction(fixture.make_case()).findings)

    _, prediction = failing_case()
    (found,) = find_failures(source([facts("C1", "rcc", "gi")]), {"C1": prediction}, broken)
    assert found.panels == ()
    assert fixture.MODEL_FINDING in found.note


# lesion marks


def test_lesion_marks_give_the_afroc_figure_of_the_statistics():
    # Twelve cases of two lesions. Ada finds both and marks nothing wrong; Bo finds the first, and a
    # wrong spot in every third case.
    cases = [f"C{n:02d}" for n in range(12)]
    hits = {}
    for n, case in enumerate(cases):
        for arm in ("unaided", "aided"):
            hits[arm, "Ada", case] = (frozenset({1, 2}), 0)
            hits[arm, "Bo", case] = (frozenset({1}), int(n % 3 == 0))
    hits["aided", "Bo", "C01"] = (frozenset({1, 2}), 0)
    marks = LesionMarks(hits, dict.fromkeys(cases, (12.0, 4.0)))
    section = lesion_section(source([facts(c, "gi", "gi") for c in cases]), marks)
    found = {x.labels: x.cells for x in section.table("marks").lines}
    assert found["Bo", "Without the models"][0].value == 0.5
    assert found["Bo", "Without the models"][1].value == pytest.approx(1 / 3)
    false = np.array([[-np.inf] * 12, [1.0 if n % 3 == 0 else -np.inf for n in range(12)]])
    lesions = np.array([[1.0] * 24, [1.0, -np.inf] * 12])
    drawn = afroc.Marks(
        np.stack([false, false]), np.stack([lesions, lesions]), np.repeat(np.arange(12), 2)
    )
    figure = {x.labels: x.cells[0] for x in section.table("afroc").lines}
    expected = afroc.afroc(drawn, "all")[0][1]
    assert figure["Bo", "Without the models"] == expected
    assert 0.5 < expected.value < figure["Bo", "With the models"].value < 1
    assert len(section.table("afroc_change").lines) == 1


def test_marks_of_the_viewer_are_held_against_the_reference_mask(tmp_path):
    import nibabel as nib

    from bmcore.intake import library
    from bmcore.review import marks
    from bmcore.review.marks import Mark
    from bmcore.review.owner import Owner
    from bmcore.review.store import open_store

    case, prediction = failing_case()
    files = pages_home.write_files(case, tmp_path / "files")
    files["seg"] = tmp_path / "files" / "C1-seg.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(prediction.mask.data), case.grid.affine), files["seg"])
    library.add_case(tmp_path, files, "C1")
    # unaided: one lesion found and one wrong spot; aided: the models' second lesion accepted too
    seen = [
        Mark("a", "missed", (fixture.LEFT_MM,), "unaided"),
        Mark("b", "missed", ((0.0, 0.0, -15.0),), "unaided"),
        Mark("c", "accept", (fixture.RIGHT_MM,), "aided", lesion=2),
    ]
    wanted = {("Ada", "C1", "unaided"), ("Ada", "C1", "aided"), ("Bo", "C1", "unaided")}
    with open_store(f"sqlite:///{tmp_path / 'bmcore.sqlite'}") as store:
        for mark in seen:
            store.write(lambda c, mark=mark: marks.append(c, Owner("C1", "Ada"), mark, "set"))
        # with the answers on the screen the wrong spot is taken away: too late for the first arm
        gone = {"key": "b/1", "mark": "b", "action": "removed", "after": 1}
        marks.record(store, Owner("C1", "Ada"), [gone], marks.Scene("aided"))
        found = marks_of_readers(tmp_path, store, wanted, {"C1": prediction})
    assert found.lesions == {"C1": 2}
    unaided, aided = (found.hits[arm, "Ada", "C1"] for arm in ("unaided", "aided"))
    assert (len(unaided[0]), unaided[1]) == (1, 1)
    assert (aided[0], aided[1]) == (frozenset({1, 2}), 0)
    assert ("unaided", "Bo", "C1") not in found.hits  # he may not have marked at all


# who was counted, and the checklists


def built(readings=(), listed=()):
    extra = DossierInputs(datetime(2026, 11, 26, tzinfo=UTC), source(listed, tuple(readings)))
    info = BundleInfo("demo", "1", "600 synthetic patients", True, "f" * 64)
    return build([], {}, {}, info, extra)


def test_the_flow_says_who_was_left_out_and_where():
    listed = [facts("C1", "rcc", "gi"), facts("C2", None, "gi"), facts("C3", "gi", "gi")]
    readings = [
        Reading("Ada", "C1", "unaided", 0, "rcc", 50, 1),
        Reading("Ada", "C2", "unaided", 0, "gi", 50, 2),
    ]
    steps = participants.steps(built(readings, listed))
    assert steps == [
        ("Cases at hand: 3", "not read: 1"),
        ("Cases with a reading, counted for agreement: 2", "primary not known: 1"),
        (
            "Cases with a known primary, counted for right answers: 1",
            "not read by every reader in every phase: 1",
        ),
        ("Cases read by every reader in every phase: 0", ""),
    ]
    table = dict(participants.patients(source(listed, tuple(readings))))
    assert table["Cases"] == "2"
    assert table["Known primary: Renal cell"] == "1 of 2 (50 %)"
    assert table["Age, years"] == "not known in 2"


def test_the_checklists_hold_every_item_once_and_are_open_where_nothing_is_known():
    empty = built()
    claim, tripod = checklists.claim(empty), checklists.tripod(empty)
    assert [item.number for item in claim] == [str(n) for n in range(1, 45)]
    numbers = [item.number for item in tripod]
    assert len(set(numbers)) == len(numbers) == 52
    assert {int(n.rstrip("abcdefg")) for n in numbers} == set(range(1, 28))
    state = {item.number: item.state for item in claim}
    assert state["37"] == state["39"] == state["18"] == "open"
    assert state["22"] == "filled"
    words = " ".join(getattr(b, "text", "") for b in appendix.checklists(empty))
    assert "Radiol Artif Intell 2024;6(4):e240300" in words
    assert "BMJ 2024;385:e078378" in words


def test_the_three_later_checklists_hold_every_item_once():
    empty = built()
    stard, decide = checklists_more.stard(empty), checklists_more.decide(empty)
    rows = [item.number for item in stard]
    assert len(set(rows)) == len(rows) == 48
    assert [int(n.rstrip("abcd")) for n in dict.fromkeys(rows)] == sorted(
        int(n.rstrip("abcd")) for n in rows
    )
    assert {int(n.rstrip("abcd")) for n in rows} == set(range(1, 41))
    own = [item.number for item in decide]
    assert [n for n in own if n.isdecimal()] == [str(n) for n in range(1, 18)]
    general = [n for n in own if not n.isdecimal()]
    assert general == ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]
    metrics = checklists_more.metrics(empty)
    assert [item.number for item in metrics] == [str(n) for n in range(1, 31)]
    state = {item.number: item.state for item in (*stard, *decide)}
    assert state["30"] == state["3"] == state["10"] == state["12"] == "open"
    words = " ".join(getattr(b, "text", "") for b in appendix.checklists(empty))
    assert "Nat Med 2025;31:3283-3289" in words and "Insights Imaging 2024;15:8" in words


def test_items_are_filled_once_the_data_allow():
    read = [
        Reading(who, "C1", arm, 0, "rcc", 50, 1)
        for who in ("Ada", "Bo")
        for arm in ("unaided", "aided")
    ]
    extra = DossierInputs(data=source([facts("C1", "rcc", "gi")], tuple(read)))
    made = build([], {}, {"C1": Primary.RCC}, None, extra)
    state = {item.number: (item.state, item.text) for item in checklists.claim(made)}
    assert state["37"][0] == "filled"
    assert state["39"] == ("filled", "1 case that went wrong, 0 with pictures.")
    assert state["22"][0] == "open"
    assert state["18"][0] == "partly"  # no repeats
    later = {item.number: item for item in checklists_more.decide(made)}
    assert later["12"].state == "filled" and later["VII"].state == "filled"


# the trend


def test_the_trend_of_the_time_is_the_factor_over_ten_cases():
    order = np.arange(1, 31)
    exact = 100 * 0.9 ** (order / 10)
    wobble = np.where(order % 2, 1.05, 1 / 1.05)
    found = learning.time_trend(order, exact * wobble)
    assert found.ratio.value == pytest.approx(0.9, abs=0.01)
    assert found.ratio.low < 0.9 < found.ratio.high
    assert found.ratio.n == 30
    assert not learning.time_trend([1, 2], [5, 6]).ratio.defined
    assert not learning.time_trend([1, 1, 1], [5, 6, 7]).ratio.defined
    with pytest.raises(ValueError, match="above 0 s"):
        learning.time_trend([1, 2, 3], [5, 0, 7])


def test_an_answer_of_the_models_that_is_missing_counts_as_not_right():
    none = replace(facts("C2", "gi", "gi"), answers={"fused": None})
    readings = (Reading("Ada", "C1", "unaided", 0, "rcc", 50, 1),)
    made = built(readings, [facts("C1", "rcc", "rcc"), none])
    table = made.results.section("accuracy").table("accuracy")
    fused = next(x for x in table.lines if x.labels[0] == "Models, fused")
    assert (fused.cells[0].value, fused.cells[0].n) == (0.5, 2)
    assert Answer("fused", None, "no lesion was found").top is None
