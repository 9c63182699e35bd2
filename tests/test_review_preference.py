"""Blinded preference: drawn sides, asked last, kept in the chain, analysed by Bradley and Terry."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from bmcore.analysis.preferences import preference_section
from bmcore.analysis.readings import Compared, from_study
from bmcore.analysis.results import results
from bmcore.domain import BundleInfo, InputRefused
from bmcore.inference import archive
from bmcore.report.build import build
from bmcore.report.dossier import DossierInputs
from bmcore.report.write import write
from bmcore.review import conduct, plan, readiness, readiness_gather
from bmcore.review.preference import PreferenceDesk, pairs
from bmcore.review.readiness_facts import CaseState, Facts
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import Evidence
from bmcore.stats import preference
from tests import study_fixture as drawn
from tests.test_report_parts import failing_case

BOTH = {"candidates": ["models", "reference"]}
HASHES = ("a" * 64, "b" * 64)
INFO = BundleInfo("models", "1", "drawn", False, "e" * 64)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened


def test_sides_and_order_are_drawn_balanced_and_differ_between_readers():
    made = drawn.study(preference=BOTH)
    ada, bo = pairs(made, "r01"), pairs(made, "r02")
    assert pairs(made, "r01") == ada and [p.case_id for p in ada] != [p.case_id for p in bo]
    assert {p.case_id for p in ada} == set(drawn.CASES)
    for mine in (ada, bo):
        assert Counter(p.left for p in mine) == {"models": 6, "reference": 6}
        assert all({p.left, p.right} == {"models", "reference"} for p in mine)
    assert {p.case_id: p.left for p in ada} != {p.case_id: p.left for p in bo}
    assert pairs(drawn.study(), "r01") == ()


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        (["models", "models"], "name two different ones"),
        (["models", "an expert"], "preference.candidates"),
        (["models", "bundle:xyz"], "preference.candidates"),
    ],
)
def test_candidates_that_cannot_be_are_refused(candidates, sentence):
    with pytest.raises(InputRefused, match=sentence):
        drawn.study(preference={"candidates": candidates})


def test_it_changes_no_older_hash_and_is_fixed_by_the_lock(store):
    assert "preference" not in drawn.study().canonical
    plan.lock(store, drawn.study(preference=BOTH), "Ida Lund")
    with pytest.raises(InputRefused, match="preference cannot change once the study is locked"):
        plan.amend(store, drawn.study(), "Ida Lund", "Not asked any more.")


def test_nothing_is_compared_before_the_own_list_is_done(store):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made, stop_after=23)
    desk = PreferenceDesk(store, "drawn")
    first = pairs(made, "r01")[0]
    assert desk.next("r01") is None
    with pytest.raises(InputRefused, match="not this comparison's turn"):
        desk.choose("r01", first.case_id, "left", HASHES)
    with pytest.raises(InputRefused, match="not this comparison's turn"):
        desk.show("r01", first, [Evidence("1" * 64, "models", "run", "2" * 64)])


def compare(desk, made, wins=lambda reader, case: "models"):
    for reader, *_ in drawn.READERS:
        for pair in pairs(made, reader):
            assert desk.next(reader) == pair
            best = wins(reader, pair.case_id)
            side = {pair.left: "left", pair.right: "right"}.get(best, "tie")
            desk.choose(reader, pair.case_id, side, HASHES)


def test_choices_are_kept_once_in_the_chain_and_cannot_be_changed(store, url):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)
    desk = PreferenceDesk(store, "drawn")
    first, second = pairs(made, "r01")[:2]
    with pytest.raises(InputRefused, match="no such choice"):
        desk.choose("r01", first.case_id, "models", HASHES)
    with pytest.raises(InputRefused, match="not this comparison's turn"):
        desk.choose("r01", second.case_id, "left", HASHES)
    desk.choose("r01", first.case_id, "left", HASHES)
    desk.choose("r01", first.case_id, "left", HASHES)
    with pytest.raises(InputRefused, match="locked already, with another choice"):
        desk.choose("r01", first.case_id, "right", HASHES)
    assert desk.counts() == {"r01": (1, 12), "r02": (0, 12)}
    kept = read_record(store, "drawn").preferences
    assert [(c.case_id, c.left, c.answer) for c in kept] == [(first.case_id, first.left, "left")]
    assert verify(url).problems == ()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store._engine.begin() as c:
        c.execute(sa.text("UPDATE preferences SET answer = 'right'"))


def test_the_results_are_bradley_and_terrys_on_the_same_choices(store):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)

    def wins(reader, case):
        n = drawn.CASES.index(case)
        return "tie" if n == 0 else "reference" if n % 4 == 1 else "models"

    compare(PreferenceDesk(store, "drawn"), made, wins)
    data = from_study(read_record(store, "drawn"), drawn.facts())
    words = {"models": "the models", "reference": "the reference"}
    expected = preference.fit(
        [
            preference.Choice(c.reader, c.case, words[c.left], words[c.right], c.answer)
            for c in data.preferences
        ]
    )
    section = results(data).section("preference")
    (line,) = section.table("preferred").lines
    pair = ("the models", "the reference")
    assert line.labels == ("the models rather than the reference",)
    assert (line.cells[0], line.p) == (expected.preferred[pair], expected.p[pair])
    assert line.cells[0].value > 0.6
    assert section.table("no_difference").lines[0].cells[0].value == pytest.approx(2 / 24)
    assert len(section.table("side").lines) == 3
    assert "24 of 24 comparisons made" in section.sentence
    assert preference_section(from_study(read_record(store, "drawn"), {})) is not None


@pytest.mark.parametrize(
    ("wins", "sentence"),
    [
        ("models", "Readers chose the models rather than the reference: 100 % (76 to 100), n = 12, "
         "sides not taken apart."),
        ("tie", "Which segmentation is preferred cannot be said: one was preferred in 0 cases, 10 "
         "needed. No difference was seen in 24 of 24 comparisons. 24 of 24 comparisons made."),
    ],
)  # fmt: skip
def test_a_clear_run_is_a_share_without_p_and_ties_alone_are_no_preference(store, wins, sentence):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)
    compare(PreferenceDesk(store, "drawn"), made, lambda reader, case: wins)
    section = preference_section(from_study(read_record(store, "drawn"), drawn.facts()))
    assert section.sentence.replace("\u00a0", " ").startswith(sentence)
    (line,) = section.table("preferred").lines
    assert np.isnan(line.p)
    told = section.table("side")
    assert not told.lines[0].cells[0].defined
    assert "these choices do not tell the candidate from the side" in told.reasons()


def test_readers_of_opposite_minds_leave_the_preference_open(store):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)
    data = from_study(read_record(store, "drawn"), drawn.facts())
    opposite = tuple(
        Compared(reader, case, *(BOTH["candidates"][:: 1 if n % 2 else -1]), answer)
        for n, case in enumerate(drawn.CASES)
        for reader, answer in (("Ann", "left"), ("Bo", "right"))
    )
    section = preference_section(replace(data, preferences=opposite, comparisons_open=0))
    assert section.sentence.startswith(
        "Which segmentation is preferred cannot be said: no spread was seen by which "
        "chance could be judged."
    )


def test_no_choice_is_told_while_a_reader_has_still_to_compare(store):
    """All readings are locked, one reader has compared everything and one nothing yet."""
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)
    desk = PreferenceDesk(store, "drawn")
    for pair in pairs(made, "r01"):
        desk.choose("r01", pair.case_id, "left", HASHES)
    record = read_record(store, "drawn")
    assert record.finished and record.comparisons_open == len(drawn.CASES)
    section = preference_section(from_study(record, drawn.facts()))
    assert section.tables == ()
    assert section.sentence.startswith("12 of 24 comparisons are made. Which was preferred is")
    conduct.close(store, "drawn", "Iris", "a reader fell ill")
    record = read_record(store, "drawn")
    assert record.comparisons_open == 0
    assert preference_section(from_study(record, drawn.facts())).tables


def test_a_case_without_a_reference_mask_blocks_the_lock():
    outlined, bare = CaseState(outlined=True), CaseState()
    cases = {**dict.fromkeys(drawn.CASES, outlined), drawn.CASES[3]: bare}
    facts = Facts(cases=cases, primaries=frozenset(drawn.CASES))
    told = [f.sentence for f in readiness.check(drawn.study(preference=BOTH), facts)]
    assert sum("has no reference mask" in t for t in told) == 1
    plain = [f.sentence for f in readiness.check(drawn.study(), facts)]
    assert not any("has no reference mask" in t for t in plain)


def test_masks_of_other_models_that_are_missing_block_the_lock():
    other = "f" * 64
    made = drawn.study(preference={"candidates": ["models", f"bundle:{other}"]})
    whole = CaseState(bundle=INFO.digest, segmented=frozenset({other}))
    facts = Facts(cases=dict.fromkeys(drawn.CASES, whole), bundle=INFO)
    told = preference_faults(made, facts)
    assert told == []
    some = {**facts.cases, drawn.CASES[2]: replace(whole, segmented=frozenset())}
    assert preference_faults(made, replace(facts, cases=some)) == [
        f"case {drawn.CASES[2]} has no segmentation by the bundle {other[:16]} to compare. Try: "
        "run predict with that bundle on it, with this home folder."
    ]
    bare = dict.fromkeys(drawn.CASES, replace(whole, segmented=frozenset()))
    (line,) = preference_faults(made, replace(facts, cases=bare))
    assert line.startswith("no case of the plan was read by the bundle ffff")
    same = drawn.study(preference={"candidates": ["models", f"bundle:{INFO.digest[:16]}"]})
    (line,) = preference_faults(
        same,
        replace(
            facts,
            cases={c: replace(whole, segmented=frozenset({INFO.digest[:16]})) for c in drawn.CASES},
        ),
    )
    assert line.startswith("both segmentations that are compared come from one bundle")


def preference_faults(made, facts):
    found = {c.topic: c for c in readiness.checks(made, facts)}
    return [f.sentence for f in found["preference"].findings]


def test_stored_predictions_of_other_models_are_found_by_the_beginning_of_their_hash(tmp_path):
    _, prediction = failing_case()
    archive.keep(tmp_path, prediction)
    digest = prediction.bundle.digest
    assert readiness_gather._segmented(tmp_path, "C1", digest[:16])
    assert not readiness_gather._segmented(tmp_path, "C1", "a" * 16)
    assert not readiness_gather._segmented(tmp_path, "C2", digest)


def test_a_preference_without_an_aided_arm_asks_for_the_models_masks_too():
    made = drawn.study(
        design={"kind": "sequential", "arms": ["unaided"]},
        questions=[{"id": "primary", "kind": "primary", "text": "Which?"}],
        primary_endpoint={"measure": "accuracy", "compare": ["models", "unaided"]},
        preference=BOTH,
    )
    facts = Facts(cases=dict.fromkeys(drawn.CASES, CaseState(outlined=True)), bundle=INFO)
    assert readiness.unread(made, facts) == drawn.CASES
    told = {c.topic: c for c in readiness.checks(made, facts)}
    assert len(told["models"].findings) >= len(drawn.CASES)


def test_the_raw_data_hold_each_choice_with_its_sides_and_times(store, tmp_path):
    made = drawn.study(preference=BOTH)
    drawn.read(store, made)
    desk = PreferenceDesk(store, "drawn")
    first = pairs(made, "r01")[0]
    desk.show("r01", first, [Evidence("1" * 64, "models", "run", "2" * 64)])
    compare(desk, made)
    record = read_record(store, "drawn")
    inputs = DossierInputs(data=from_study(record, drawn.facts()), record=record)
    files = {p.name: p for p in write(build([], {}, {}, None, inputs), tmp_path / "out")}
    rows = list(csv.DictReader(files["preferences.csv"].open()))
    assert len(rows) == 24
    one = next(r for r in rows if (r["reader"], r["place"]) == ("Ada Lund", "1"))
    assert (one["case"], one["left"], one["preferred"]) == (first.case_id, first.left, "models")
    assert one["answer"] == ("left" if first.left == "models" else "right")
    assert (one["left_sha256"], one["right_sha256"]) == HASHES
    assert one["shown_at"] < one["chosen_at"] and float(one["seconds"]) >= 0
    assert {r["shown_at"] for r in rows if r is not one} == {""}
    book = {r["column"] for r in csv.DictReader(files["preferences-codebook.csv"].open())}
    assert book == set(one)
