"""A plan is checked as a whole, locked by its hash, and gives each reader a list of his own."""

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import BmcoreError, InputRefused
from bmcore.plain import local_time
from bmcore.review import conduct, plan, schema
from bmcore.review.allocation import Place, repeated_cases, work_list
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.study import parse_study, read_study, read_study_text
from bmcore.review.verify import verify
from bmcore.review.worklist import Seconds

SIX = [f"demo-0{n}" for n in range(1, 7)]
EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "examples" / "study.yaml"
SAID = {"primary": {"choice": "nsclc", "confidence": 60}}
LOOKED = {"lesions": {"lesions": {"1": "accept", "2": "reject"}, "missed": 1}, "quality": 4}


def data(**changes):
    plain = yaml.safe_load(EXAMPLE.read_text())
    six = {"cases": SIX, "repeats": {"count": 2, "min_distance": 3}}
    return {**plain, **six, **changes}


def study(**changes):
    return parse_study(data(**changes), "here")


def crossover(n_cases, n_readers, arms, repeats=0, distance=1):
    return study(
        design={"kind": "crossover", "arms": arms, "washout_days": 28},
        cases=[f"case-{n:03d}" for n in range(n_cases)],
        readers=[
            {"id": f"r{n:02d}", "name": f"Reader {n}", "role": "oncologist", "years": 1}
            for n in range(n_readers)
        ],
        questions=[{"id": "primary", "kind": "primary", "text": "Which?"}],
        repeats={"count": repeats, "min_distance": distance},
    )


# the file


def test_the_example_is_a_sound_plan_and_comments_do_not_change_its_hash(tmp_path):
    plan_ = read_study(EXAMPLE)
    assert plan_.design.arms == ("unaided", "aided", "aided_explained")
    bare = tmp_path / "bare.yaml"
    bare.write_text(yaml.safe_dump(yaml.safe_load(EXAMPLE.read_text()), sort_keys=True))
    assert read_study(bare).digest == plan_.digest
    assert study(title="Another").digest != plan_.digest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"desing": 1}, "desing is not a known key"),
        ({"cases": None}, r"cases cannot be used \(found None; expected a list\). Try: write each"),
        ({"seeds": {"order": 1}}, "seeds.allocation is missing"),
        ({"seeds": {"order": "1", "allocation": 2}}, r"seeds.order .*\(found '1'; expected"),
        ({"readers": [{"id": "r", "name": "A", "role": "surgeon", "years": 2}]}, "'surgeon'"),
        (
            {"readers": [{"id": "r", "name": "A", "role": "other"}]},
            r"readers\[0\].years is missing",
        ),
        ({"cases": ["a", "a", "b", "c", "d"]}, "cases: a appears 2 times"),
        ({"cases": ["phantom-0001", "b", "c", "d"]}, "phantom-0001 is a training case"),
        ({"repeats": {"count": 5, "min_distance": 3}}, "5 repeats 3 cases apart do not fit.*4 at"),
        ({"design": {"kind": "sequential", "arms": ["aided", "unaided"]}}, "in this order"),
        ({"design": {"kind": "crossover", "arms": ["unaided", "aided"]}}, "one day or more"),
        (
            {"design": {"kind": "sequential", "arms": ["unaided"], "washout_days": 3}},
            "only a crossover design has a washout",
        ),
        (
            {"questions": [{"id": "q", "kind": "quality", "text": "?"}]},
            "quality cannot be asked in",
        ),
        ({"questions": [{"id": "q", "kind": "text", "text": "?"}]}, "one of kind primary must be"),
        (
            {"primary_endpoint": {"measure": "accuracy", "compare": ["aided", "aided"]}},
            "two different",
        ),
    ],
)
def test_a_fault_in_the_file_names_the_key_what_was_found_and_expected(changes, sentence):
    with pytest.raises(InputRefused, match=sentence):
        study(**changes)


def test_all_faults_are_told_at_once_and_a_key_given_twice_is_one(tmp_path):
    with pytest.raises(InputRefused) as refused:
        study(cases=["phantom-0001", "a", "a"], repeats={"count": 9, "min_distance": 1})
    assert len(refused.value.findings) == 3
    twice = tmp_path / "twice.yaml"
    twice.write_text(EXAMPLE.read_text() + "\ncases: [demo-01]\n")
    with pytest.raises(InputRefused, match=r"line \d+: the key cases is given twice"):
        read_study(twice)
    twice.write_text("- a list")
    with pytest.raises(InputRefused, match="holds no keys"):
        read_study(twice)
    with pytest.raises(InputRefused, match="cannot be read"):
        read_study(tmp_path / "none.yaml")


MANY = (
    ("kind: sequential", "kind: parallel", "design.kind cannot be used"),
    ("  order: 20270118", "  order: 3\n  order: 4", "line 13: the key seeds.order is given twice"),
    ("years: 6}", "years: -6}", "readers[0].years cannot be used"),
    ("name: Reader Two", "name: Reader One", "readers: name reader one appears 2 times"),
    ("- Demo-2\n", "- Demo-1\n", "cases: Demo-1 appears 2 times"),
    ("- Demo-3\n", "- 007\n", "line 24: cases[2]: 007 could be read as another number"),
    (
        "arms: [aided, aided_explained]",
        "arms: [aided, aidd]",
        "questions[2].arms[1] cannot be used",
    ),
    ("count: 1 ", "count: 99 ", "repeats: 99 repeats 2 cases apart do not fit"),
    ("alpha: 0.05", "alpha: 0:00.05", "primary_endpoint.alpha: 0:00.05 could be read"),
    ("title: Naming", 'title: "  " # ', "title: nothing in it can be seen"),
)


def test_no_fault_of_a_file_hides_another_and_none_is_told_that_is_not_there():
    text = EXAMPLE.read_text()
    for was, now, _ in MANY:
        assert was in text
        text = text.replace(was, now, 1)
    with pytest.raises(InputRefused) as refused:
        read_study_text(text, "s.yaml")
    told = [finding.what for finding in refused.value.findings]
    assert [what for *_, what in MANY if not any(what in line for line in told)] == [], told
    assert len(told) == len(MANY), told


# rules for new plans

NFC, NFD = (unicodedata.normalize(form, "Müller-01") for form in ("NFC", "NFD"))
UNASKED = [{**q, "arms": ["unaided"]} if q["id"] == "primary" else q for q in data()["questions"]]
TWICE = {"id": "again", "kind": "quality", "text": "Oedema?", "arms": ["aided"]}


def people(*called):
    return [
        {"id": f"r{n}", "name": name, "role": "other", "years": 2} for n, name in enumerate(called)
    ]


LATER_RULES = {
    "a training case in another spelling": (
        {"cases": [NFC, *SIX], "training_cases": [NFD]},
        r"cases: Müller-01 stands in two spellings \('M\\xfcller-01' and 'Mu\\u0308ller-01'\) and "
        "is a training case",
    ),
    "a practice case that is a training case": (
        {"practice": [NFD], "training_cases": [NFC]},
        "practice: Müller-01 .* is a training case",
    ),
    "a practice case that is counted": (
        {"practice": [NFD], "cases": [NFC, *SIX]},
        "practice: Müller-01 .* is a counted case",
    ),
    "one case twice": ({"cases": [NFC, NFD, *SIX]}, "cases: Müller-01 stands in two spellings"),
    "a blank behind": ({"cases": ["A", "A ", *SIX]}, r"cases: A .*\('A' and 'A '\)"),
    "zero width": ({"cases": ["A", "A\u200b", *SIX]}, r"'A\\u200b'"),
    "a variation selector": ({"cases": ["A", "A\ufe0f", *SIX]}, r"'A\\ufe0f'"),
    "a case of blanks": ({"cases": ["  ", *SIX]}, r"cases\[0\]: nothing in it can be seen"),
    "a reader in zero width": (
        {"readers": people("Ann", "Ann\u200b")},
        "readers: name Ann stands in two spellings",
    ),
    "a reader in two alphabets": (
        {"readers": people("\u0410nn", "Bo")},
        r"readers\[0\].name: \u0410nn mixes Cyrillic and Latin letters",
    ),
    "a reader of another alphabet": (
        {"readers": people("Pax", "\u0420\u0430\u0445")},
        "readers: name .* stands in two spellings",
    ),
    "a reader of blanks": (
        {"readers": people(" \u00ad", "Bo")},
        "readers: name of r0: nothing in it can be seen",
    ),
    "patients beside shares": (
        {"case_mix": {"breast": 30.0, "nsclc": 0.7}},
        "case_mix: the numbers must be all patients, all shares of 1, or all percentages",
    ),
    "no title": ({"title": " \u3164"}, "title: nothing in it can be seen"),
    "no analysis": ({"analysis_plan": "  "}, "analysis_plan: nothing in it can be seen"),
    "primary not asked everywhere": (
        {"questions": UNASKED},
        "primary is of kind primary and must be asked in every arm of the design, but is not in "
        "aided, aided_explained",
    ),
    "two of one kind": (
        {"questions": [*data()["questions"], TWICE]},
        "questions: 2 are of kind quality; expected one at most",
    ),
}


@pytest.mark.parametrize("name", LATER_RULES)
def test_a_later_rule_refuses_new_plans_and_opens_those_that_are_locked(store, name):
    changes, sentence = LATER_RULES[name]
    with pytest.raises(InputRefused, match=sentence) as refused:
        study(**changes)
    assert all(f.expected is None for f in refused.value.findings)  # no fault of another kind
    old = parse_study(data(**changes), "locked", locked=True)
    plan.lock(store, old, "Ida Lund")
    (kept,) = plan.versions(store, "primary-2027")
    assert (kept.study, kept.digest) == (old, old.digest)
    assert all(work_list(kept.study, r.id) for r in kept.study.readers)


def test_an_amendment_is_refused_for_what_it_brings_and_not_for_what_is_locked(store):
    old = data(cases=[NFC, NFD, *SIX], questions=[*data()["questions"], TWICE])
    plan.lock(store, parse_study(old, "locked", locked=True), "Ida Lund")
    known = plan.in_force(store)
    grown = {**old, "readers": [*old["readers"], *people("Late Reader")]}
    with pytest.raises(InputRefused, match="stands in two spellings"):
        parse_study(grown, "here")
    new = read_study_text(yaml.safe_dump(grown, allow_unicode=True), "here", known)
    assert plan.amend(store, new, "Ida Lund", "A fourth reader joins.").version == 2
    with pytest.raises(InputRefused, match="title: nothing in it") as refused:
        parse_study({**grown, "title": " "}, "here", in_force=known)
    assert len(refused.value.findings) == 1
    with pytest.raises(InputRefused, match="stands in two spellings"):
        parse_study({**grown, "study": "another"}, "here", in_force=known)


def test_names_that_differ_in_what_is_seen_stay_two():
    apart = ["a-1", "A-1", "a-10", "Muller-01", NFC, "a 1"]
    assert study(cases=[*apart, *SIX], training_cases=["b-1"]).cases[:6] == tuple(apart)
    assert [
        r.name for r in study(readers=people("Ann", "Anna", "\u0410\u043d\u043d\u0430")).readers
    ]


def test_the_arms_of_a_question_are_named_once_each():
    for arms in ([], ["aided", "aided"]):
        asked = [*data()["questions"], {"id": "x", "kind": "text", "text": "?", "arms": arms}]
        with pytest.raises(InputRefused, match=r"questions\[6\].arms: name each arm once"):
            study(questions=asked)
        assert parse_study(data(questions=asked), "locked", locked=True).questions[6].arms == (
            *arms,
        )


@pytest.mark.parametrize(
    "twin",
    [
        {},
        {"direction": "higher"},
        {"margin": 0},
        {"lesions_mm": [None, None]},
        {"lesions_mm": [0, None]},
        {"false_marks": "all", "cannot_tell": "lowest", "readers": "random"},
    ],
)
def test_an_endpoint_with_its_defaults_written_out_is_the_same_endpoint(twin):
    again = {"measure": "accuracy", "compare": ["unaided", "aided"], **twin}
    with pytest.raises(
        InputRefused, match=r"secondary_endpoints\[0\]: this endpoint is named twice"
    ):
        study(secondary_endpoints=[again])
    other = {**again, "direction": "lower"}
    assert len(study(secondary_endpoints=[other]).secondary_endpoints) == 1
    assert parse_study(data(secondary_endpoints=[again]), "locked", locked=True)


def test_secondary_endpoints_are_judged_at_the_alpha_of_the_primary_one():
    pair = {"compare": ["unaided", "aided"]}
    first = {"measure": "accuracy", **pair, "alpha": 0.01}
    left_out, other = {"measure": "macro AUC", **pair}, {"measure": "agreement", **pair}
    same = study(primary_endpoint=first, secondary_endpoints=[left_out])
    assert same.secondary_endpoints[0].alpha == 0.01
    twice = [left_out, {**other, "readers": "fixed", "alpha": 0.2}]
    changes = {"primary_endpoint": first, "secondary_endpoints": twice}
    sentence = r"secondary_endpoints\[1\].alpha: 0.2 is not the primary endpoint's \(0.01\)"
    with pytest.raises(InputRefused, match=sentence):
        study(**changes)
    old = parse_study(data(**changes), "locked", locked=True)  # as it was read before
    assert [e.alpha for e in old.secondary_endpoints] == [0.05, 0.2]


@pytest.mark.parametrize("alpha", [5, 1, 0.5, 0.25, 0.00009, 1e-20, 0, -0.05, "5%"])
def test_an_alpha_out_of_reason_is_refused_with_what_five_per_cent_are(alpha):
    endpoint = {"measure": "accuracy", "compare": ["unaided", "aided"], "alpha": alpha}
    with pytest.raises(InputRefused, match=r"alpha.*(5 per cent are 0.05|0.0001 or more)"):
        study(primary_endpoint=endpoint)


def test_a_tiny_alpha_that_is_locked_opens():
    endpoint = {"measure": "accuracy", "compare": ["unaided", "aided"], "alpha": 1e-5}
    old = parse_study(data(primary_endpoint=endpoint), "locked", locked=True)
    assert old.primary_endpoint.choice.alpha == 1e-5


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("years: 14", "years: 010", r"line 17: readers\[1\].years: 010 "),
        ("allocation: 4021", "allocation: 0123", "line 13: seeds.allocation: 0123 "),
        ("allocation: 4021", "allocation: 12:30", "seeds.allocation: 12:30"),
        ("allocation: 4021", "allocation: 0x1F", "seeds.allocation: 0x1F"),
        ("allocation: 4021", "allocation: 0b11", "seeds.allocation: 0b11"),
        ("allocation: 4021", "allocation: 4_021", "seeds.allocation: 4_021"),
        ("alpha: 0.05", "alpha: 0.0_5", "primary_endpoint.alpha: 0.0_5"),
        ("alpha: 0.05", "alpha: 0:00.05", "primary_endpoint.alpha: 0:00.05"),
        ("- Demo-1\n", "- 007\n", r"line 21: cases\[0\]: 007 .*a text in quotes"),
        ("title: ", 'title: "\\ud800"  # ', "title holds half of a character.*line 5"),
    ],
)
def test_a_number_that_yaml_reads_as_another_one_is_refused(was, now, told):
    text = EXAMPLE.read_text()
    assert was in text
    with pytest.raises(InputRefused, match=told):
        read_study_text(text.replace(was, now), "s.yaml")


def test_plain_numbers_and_texts_in_quotes_are_read_as_they_stand():
    text = EXAMPLE.read_text().replace("- Demo-1\n", '- "007"\n').replace("years: 14", "years: 1.5")
    read = read_study_text(text.replace("years: 9", "years: 0").replace("0.05", "5.0e-2"), "s.yaml")
    assert read.cases[0] == "007" and [r.years for r in read.readers] == [6, 1.5, 0]
    assert read.primary_endpoint.alpha == 0.05
    dumped = yaml.safe_dump(read.model_dump(mode="json"))  # what the form writes
    assert read_study_text(dumped, "s.yaml") == read


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"study": "my study"}, r"expected 1 to 64 letters \(a to z\), digits, dots, dashes"),
        ({"study": 2027}, r"found 2027; expected text\). Try: put it in quotes"),
        ({"repeats": None}, "expected keys, each with its value"),
        ({"cases": []}, "expected 1 or more entries"),
        ({"practice": [f"p{n}" for n in range(51)]}, "expected 50 entries at most"),
        ({"preference": {"candidates": ["Models", "reference"]}}, "expected models, reference, or"),
        ({"title": ""}, "title cannot be used .* expected text that is not empty"),
    ],
)
def test_what_a_field_takes_is_said_in_plain_words(changes, sentence):
    with pytest.raises(InputRefused, match=sentence):
        study(**changes)


def test_a_wrong_entry_of_a_list_brings_no_second_fault_about_its_length():
    asked = [*data()["questions"], {"id": "x", "kind": "choice", "text": "?", "options": [1, 2]}]
    for changes, faults in (
        ({"readers": [{"id": "r", "name": "A", "role": "surgeon", "years": 2}]}, 4),  # too few, too
        ({"questions": asked}, 2),
    ):
        with pytest.raises(InputRefused) as refused:
            study(**changes)
        assert len(refused.value.findings) == faults
    short = [*data()["questions"], {"id": "x", "kind": "choice", "text": "?", "options": ["a"]}]
    with pytest.raises(InputRefused, match="expected 2 or more entries"):
        study(questions=short)


# the order


def test_a_list_is_the_same_again_and_differs_between_readers_and_seeds():
    s = crossover(40, 4, ["unaided", "aided"])
    lists = {r.id: work_list(s, r.id) for r in s.readers}
    assert lists["r00"] == work_list(s, "r00")
    orders = {tuple(i.place.case_id for i in items) for items in lists.values()}
    assert len(orders) == 4
    other = s.model_copy(update={"seeds": s.seeds.model_copy(update={"order": 1})})
    assert work_list(other, "r00") != lists["r00"]
    # published once, so that nobody changes the drawing without noticing
    example = study()
    assert [i.place.case_id for i in work_list(example, "r01")][::3] == [
        *("demo-03", "demo-04", "demo-01", "demo-03", "demo-02", "demo-04", "demo-05", "demo-06")
    ]


def test_a_reader_added_later_changes_no_other_list():
    few, many = (crossover(20, n, ["unaided", "aided", "aided_explained"]) for n in (3, 9))
    for reader in few.readers:
        assert work_list(few, reader.id) == work_list(many, reader.id)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("repeats", "distance"), [(3, 5), (10, 11), (1, 20)])
def test_hidden_repeats_are_never_nearer_than_the_distance(seed, repeats, distance):
    s = crossover(20, 2, ["unaided", "aided"], repeats, distance)
    s = s.model_copy(update={"seeds": s.seeds.model_copy(update={"order": seed})})
    for reader in s.readers:
        for period in (1, 2):
            items = [i for i in work_list(s, reader.id) if i.period == period]
            where = {(i.place.case_id, i.place.occasion): n for n, i in enumerate(items)}
            assert len(items) == len(where) == 20 + repeats
            for case in repeated_cases(s):
                assert where[case, 1] - where[case, 0] >= distance


def test_repeats_are_spread_and_not_always_at_the_end():
    s = crossover(40, 8, ["unaided", "aided"], 6, 10)
    seconds = [
        i.position for r in s.readers for i in work_list(s, r.id)[:46] if i.place.occasion == 1
    ]
    assert len(set(seconds)) > 15


@pytest.mark.parametrize("arms", [["unaided", "aided"], ["unaided", "aided", "aided_explained"]])
def test_crossover_periods_are_balanced(arms):
    k = len(arms)
    s = crossover(12, 2 * k, arms)
    pairs, per_period = Counter(), Counter()
    by_case = Counter()
    for reader in s.readers:
        seen = {}
        for item in work_list(s, reader.id):
            per_period[reader.id, item.period, item.place.arm] += 1
            by_case[item.place.case_id, item.period, item.place.arm] += 1
            seen.setdefault(item.place.case_id, []).append(item.place.arm)
        assert all(sorted(read) == sorted(arms) for read in seen.values())  # each arm once
        for read in seen.values():
            pairs.update(pairwise(read))
    assert set(per_period.values()) == {12 // k}
    assert set(by_case.values()) == {2}  # over readers, each case in each arm in each period alike
    assert len(pairs) == k * (k - 1)
    assert len(set(pairs.values())) == 1  # carry-over is balanced


# locked and amended


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        yield opened


def test_a_locked_plan_changes_only_by_an_amendment_with_a_reason(store, url):
    first = plan.lock(store, study(), "Ida Lund")
    assert plan.lock(store, study(), "Somebody else") == first
    with pytest.raises(InputRefused, match="is locked with another plan"):
        plan.lock(store, study(title="Other"), "Ida Lund")
    new = {"id": "r04", "name": "Late Reader", "role": "other", "years": 2}
    grown = study(readers=[*data()["readers"], new])
    with pytest.raises(InputRefused, match="needs a reason"):
        plan.amend(store, grown, "Ida Lund", " ")
    with pytest.raises(InputRefused, match="changes nothing"):
        plan.amend(store, study(), "Ida Lund", "No change at all.")
    second = plan.amend(store, grown, "Ida Lund", "A fourth reader joins.")
    assert (second.version, second.reason) == (2, "A fourth reader joins.")
    assert [v.version for v in plan.versions(store, "primary-2027")] == [1, 2]
    assert plan.studies(store) == ["primary-2027"]
    assert verify(url).problems == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": {"order": 1, "allocation": 2}}, "seeds cannot change"),
        ({"cases": [f"demo-0{n}" for n in range(1, 8)]}, "cases cannot change"),
        ({"repeats": {"count": 0}}, "repeats cannot change"),
        ({"readers": data()["readers"][:2]}, "readers may only be added"),
        ({"questions": data()["questions"][:3]}, "question quality cannot be dropped"),
    ],
)
def test_an_amendment_cannot_change_what_readings_rest_on(store, changes, sentence):
    plan.lock(store, study(), "Ida Lund")
    with pytest.raises(InputRefused, match=sentence):
        plan.amend(store, study(**changes), "Ida Lund", "We want to.")
    assert len(plan.versions(store, "primary-2027")) == 1


def test_a_plan_may_state_the_case_mix_and_the_lock_fixes_it(store):
    shares = {"breast": 30, "nsclc": 90.5, "melanoma": 40}
    stated = study(case_mix=shares)
    assert stated.mix.shares[4] == pytest.approx(90.5 / 160.5, abs=0.005)
    assert study().mix is None and "case_mix" not in study().canonical  # older plans keep theirs
    assert stated.digest not in (study().digest, study(case_mix={**shares, "breast": 31}).digest)
    with pytest.raises(InputRefused, match=r"case_mix.*the names are breast, gi, sclc"):
        study(case_mix={"lung": 3})
    plan.lock(store, stated, "Ida Lund")
    with pytest.raises(InputRefused, match="case_mix cannot change"):
        plan.amend(store, study(case_mix={"breast": 1, "gi": 1}), "Ida Lund", "We want to.")


# at the desk


@pytest.fixture
def desk(store):
    plan.lock(store, study(), "Ida Lund")
    return ReadingSession(store, "primary-2027")


def first_three(desk, reader="r01"):
    return [w.item.place for w in desk.work(reader)[:3]]


def test_aided_content_opens_only_after_the_unaided_answer_is_locked(desk):
    unaided, aided, explained = first_three(desk)
    with pytest.raises(InputRefused, match="opens only after the one without the models is locked"):
        desk.submit(aided, SAID | LOOKED, Seconds(), "a")
    with pytest.raises(InputRefused, match="opens only after"):
        desk.save_draft(aided, {}, Seconds())
    desk.submit(unaided, SAID, Seconds(31.5, 4), "u")
    assert desk.next("r01").item.place == aided
    desk.submit(aided, SAID | LOOKED, Seconds(12, 0), "a")
    desk.submit(explained, SAID | LOOKED | {"explanation": "misleading"}, Seconds(), "e")
    states = [(w.state, w.seconds) for w in desk.work("r01")[:4]]
    assert states == [
        ("unaided locked", Seconds(31.5, 4)),
        ("aided locked", Seconds(12, 0)),
        ("aided locked", Seconds()),
        ("not started", Seconds()),
    ]
    assert desk.progress()["r01"] == {
        **{"not started": 21, "draft": 0, "unaided locked": 1, "aided locked": 2},
        **{"skipped": 0, "flagged": 0},
    }


def test_a_draft_survives_a_restart_and_goes_when_the_sheet_is_locked(desk, url):
    place = first_three(desk)[0]
    desk.save_draft(place, {"remarks": "dural tail?"}, Seconds(5, 1))
    desk.save_draft(place, {"remarks": "dural tail!"}, Seconds(9, 2))
    with open_store(url) as again:
        other = ReadingSession(again, "primary-2027")
        assert other.draft(place).values == {"remarks": "dural tail!"}
        assert other.draft(place).seconds == Seconds(9, 2)
        assert other.work("r01")[0].state == "draft"
        other.submit(place, SAID, Seconds(20, 3), "k")
        assert other.draft(place) is None
        with pytest.raises(InputRefused, match="this reading is locked"):
            other.save_draft(place, {}, Seconds())


def test_a_sheet_sent_twice_is_locked_once_and_another_answer_is_not_lost_in_silence(desk):
    place = first_three(desk)[0]
    first = desk.submit(place, SAID, Seconds(1, 0), "k")
    assert desk.submit(place, SAID, Seconds(2, 0), "k") == first
    changed = {"primary": {"choice": "rcc", "confidence": 1}}
    with pytest.raises(InputRefused, match="already locked with other answers"):
        desk.submit(place, changed, Seconds(), "k")
    with pytest.raises(InputRefused, match="this reading is locked") as refused:
        desk.submit(place, changed, Seconds(), "other form")
    said = str(refused.value)  # a reader sees it: no case, and not whether it is a repeat
    assert (
        place.case_id not in said and "occasion" not in said and "r01, without the models" in said
    )
    assert len(desk.history()) == 1


def test_a_correction_is_a_new_row_with_a_reason(desk, url):
    place = first_three(desk)[0]
    (old,) = desk.submit(place, SAID, Seconds(), "k")
    mind = {"choice": "rcc", "confidence": 80}
    with pytest.raises(InputRefused, match="needs a reason"):
        desk.correct(place, "primary", mind, "")
    new = desk.correct(place, "primary", mind, "Clicked the wrong line.")
    assert desk.correct(place, "primary", mind, "Clicked the wrong line.") == new
    assert new.supersedes == old.id
    assert desk.answers() == [new]
    assert desk.history() == [old, new]
    with pytest.raises(InputRefused, match="only a locked reading"):
        desk.correct(first_three(desk)[1], "primary", mind, "Why not.")
    assert verify(url).problems == ()


def test_a_skipped_case_is_passed_over_with_its_later_arms_and_can_still_be_read(desk):
    unaided, aided, _ = first_three(desk)
    with pytest.raises(InputRefused, match="not this reading's turn"):
        desk.submit(desk.work("r01")[3].item.place, SAID, Seconds(), "far")
    desk.skip(unaided, "motion", "s")
    desk.skip(unaided, "motion", "s")
    assert [w.state for w in desk.work("r01")[:3]] == ["skipped"] * 3
    assert desk.next("r01").item.position == 4
    desk.submit(unaided, SAID, Seconds(), "late")
    assert [w.state for w in desk.work("r01")[:2]] == ["unaided locked", "not started"]
    assert desk.next("r01").item.place == aided


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("a\x00b", r"holds a character that cannot be stored \(found U\+0000 at character 2"),
        ("a\ud800", r"holds a character that cannot be stored \(found U\+D800 at character 2"),
        ("x" * 4001, "is too long"),
    ],
)
def test_a_note_or_a_reason_holds_what_a_comment_may_hold(desk, store, words, said):
    place = first_three(desk)[0]
    desk.submit(place, SAID, Seconds(), "k")
    answer = SAID["primary"] | {"confidence": 1}
    for enter in (
        lambda: desk.flag(place, words, "f"),
        lambda: desk.skip(first_three(desk)[1], words, "s"),
        lambda: desk.correct(place, "primary", answer, words),
        lambda: plan.amend(store, study(title="Another"), "Ida Lund", words),
        lambda: conduct.pause(store, "primary-2027", "Ida Lund", words),
        lambda: conduct.close(store, "primary-2027", "Ida Lund", words),
    ):
        with pytest.raises(BmcoreError, match=said):
            enter()
    assert conduct.log(store, "primary-2027") == ()
    desk.flag(place, " seen\r\ntwice ", "g")
    assert [note.text for note in desk.notes()] == ["seen\ntwice"]


def test_flags_are_seen_and_taken_away_without_touching_answers(desk):
    place = first_three(desk)[0]
    desk.flag(place, "a second patient's images?", "f")
    assert desk.work("r01")[0].flagged
    desk.submit(place, SAID, Seconds(), "k")
    assert desk.work("r01")[0].flagged
    desk.flag(place, "", "g", on=False)
    assert not desk.work("r01")[0].flagged
    assert desk.work("r01")[0].state == "unaided locked"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "question primary is not answered"),
        (SAID | {"quality": 3}, "question quality is not asked in a reading without the models"),
        ({"primary": {"choice": "bone", "confidence": 5}}, "one of breast, gi"),
        ({"primary": {"choice": "gi", "confidence": 101}}, "a whole number from 0 to 100"),
        ({"primary": "gi"}, "a choice and a confidence"),
        (SAID | {"differential": ["gi", "gi"]}, "a list without doubles"),
        (SAID | {"remarks": "a\x00"}, "without control characters"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(desk, values, sentence):
    with pytest.raises(InputRefused, match=sentence):
        desk.submit(first_three(desk)[0], values, Seconds(), "k")
    assert desk.history() == []


def test_the_schema_allows_one_answer_a_reader_case_arm_and_question(desk, store):
    place = first_three(desk)[0]
    desk.submit(place, SAID, Seconds(), "k")
    row = dict(store.read(lambda c: c.execute(sa.select(schema.answers)).one())._mapping)
    with pytest.raises(BmcoreError, match=r"append-only|UNIQUE"):
        store.write(
            lambda c: c.execute(sa.insert(schema.answers).values(row | {"id": 9, "seq": 99}))
        )


def test_a_stranger_and_an_unlocked_study_are_refused(desk, store):
    with pytest.raises(InputRefused, match="does not take part"):
        desk.work("r99")
    with pytest.raises(InputRefused, match="not on the reader's list"):
        desk.submit(Place("r01", "other case", "unaided"), SAID, Seconds(), "k")
    with pytest.raises(InputRefused, match="is not locked"):
        ReadingSession(store, "unknown")


def test_a_crossover_waits_for_the_washout(store):
    s = crossover(2, 2, ["unaided", "aided"])
    plan.lock(store, s, "Ida Lund")
    now = [datetime(2027, 1, 1, tzinfo=UTC)]
    desk = ReadingSession(store, s.study, clock=lambda: now[0])
    for n in range(2):
        desk.submit(desk.next("r00").item.place, SAID, Seconds(), str(n))
        now[0] += timedelta(hours=1)
    waiting = desk.next("r00")
    assert waiting.not_before == datetime(2027, 1, 29, 1, tzinfo=UTC)
    say = f"washout is not over. Try: go on after {local_time(waiting.not_before)}."
    with pytest.raises(InputRefused, match=re.escape(say)):
        desk.submit(waiting.item.place, SAID, Seconds(), "early")
    now[0] = datetime(2027, 1, 29, 1, 1, tzinfo=UTC)
    desk.submit(waiting.item.place, SAID, Seconds(), "late")
    assert desk.next("r00").not_before is None


# the commands


def test_the_commands_check_lock_amend_and_show_progress(tmp_path):
    database, file = str(tmp_path / "x.sqlite"), tmp_path / "study.yaml"

    def run(*words):
        return CliRunner().invoke(app, ["study", *words])

    fine = run("check", str(EXAMPLE), "--plan-only")
    assert fine.exit_code == 0
    assert read_study(EXAMPLE).digest in fine.output
    file.write_text(EXAMPLE.read_text().replace("role: oncologist", "role: surgeon"))
    bad = run("check", str(file))
    assert bad.exit_code == 2
    assert "readers[2].role" in bad.output
    at = ["--author", "Ida Lund", "--database", database]
    assert run("progress", "--database", database).exit_code == 2
    assert not Path(database).exists()
    with open_store(f"sqlite:///{database}") as store:
        plan.lock(store, read_study(EXAMPLE), "Ida Lund")  # what ``study lock`` asks: readiness
    file.write_text(EXAMPLE.read_text().replace("alpha: 0.05", "alpha: 0.01"))
    refused = run("lock", str(file), *at)
    assert refused.exit_code == 2
    assert "locked with another plan" in refused.output
    amended = run("lock", str(file), *at, "--reason", "Two endpoints were planned at first.")
    assert amended.exit_code == 0
    assert "version 2" in amended.output
    shown = run("progress", "--database", database)
    assert shown.exit_code == 0
    assert "r03" in shown.output
    assert "Two endpoints were planned" in shown.output
