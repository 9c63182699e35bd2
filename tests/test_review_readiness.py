"""Before a plan is locked for good: each fault is one line that names the case or the reader."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import BundleInfo, ClinicalRecord, InputRefused, Severity, Volume
from bmcore.intake import library
from bmcore.models.bundles import load_bundle
from bmcore.review import accounts, example, plan, readiness, start
from bmcore.review.access import Role
from bmcore.review.readiness_facts import AccountState, CaseState, Facts
from bmcore.review.readiness_gather import forget, gather
from bmcore.review.reading_session import ReadingSession
from bmcore.review.start import NotReady
from bmcore.review.store import open_store
from bmcore.review.study import parse_study, read_study_text
from bmcore.review.verify import verify
from bmcore.review.votes import Evidence, Reader, VoteDraft
from bmcore.review.worklist import Seconds
from bmcore.settings import settings
from tests import pages_fixture, pages_home, people_fixture
from tests.people_fixture import PASSWORD, READER_A, READER_B

DIGEST = "d" * 64
BUNDLE = BundleInfo("real", "2", "patients", False, DIGEST)
CASES = ["Case-1", "Case-2"]
WHOLE = Facts(
    cases={c: CaseState(image=c, bundle=DIGEST) for c in CASES},
    bundle=BUNDLE,
    trained_on=frozenset({"Case-9"}),
    accounts=(AccountState(READER_A, Role.READER), AccountState(READER_B, Role.READER)),
    primaries=frozenset(CASES),
)


def study(**changes):
    return people_fixture.make_study(CASES, **changes)


def reader(name, **changes):
    return {"id": "ra", "name": name, "role": "radiologist", "years": 5.0, **changes}


def sentences(facts, plan_=None):
    return [f"{f.severity}: {f.sentence}" for f in readiness.check(plan_ or study(), facts)]


def cases(**states):
    return {"Case-1": CaseState(image="1", bundle=DIGEST), **states}


# the rule


def test_where_all_is_there_nothing_is_said() -> None:
    assert readiness.check(study(), WHOLE) == ()
    assert [c.severity for c in readiness.checks(study(), WHOLE)] == [None] * 7


READY = CaseState(image="2", bundle=DIGEST)
FAULTS = {
    "a case that is not there": (
        {"cases": cases()},
        ["refused: case Case-2 is not in the work list", "cannot have read what is not there"],
    ),
    "a case whose images are gone": (
        {"cases": cases(**{"Case-2": replace(READY, fault="Case-2-t1c.nii.gz is gone")})},
        ["refused: case Case-2 cannot be read: Case-2-t1c.nii.gz is gone"],
    ),
    "a case that the models have not read": (
        {"cases": cases(**{"Case-2": CaseState(image="2")})},
        ["refused: case Case-2: the models have not read it. Try: run the models on it."],
    ),
    "an answer of other models": (
        {"cases": cases(**{"Case-2": CaseState(image="2", bundle="e" * 64, unread="others")})},
        ["refused: case Case-2: others"],
    ),
    "no models": (
        {"bundle": None, "bundle_fault": "no manifest."},
        ["refused: no models can be used here: no manifest"],
    ),
    "a case that the models learnt from": (
        {"trained_on": frozenset({"Case-2"})},
        ["refused: case Case-2 is one of the cases that the models learnt from"],
    ),
    "nobody knows what the models learnt from": (
        {"trained_on": frozenset()},
        ["warning: neither the models nor the plan name the cases"],
    ),
    "two names for the same images": (
        {"cases": cases(**{"Case-2": replace(READY, image="1")})},
        ["warning: case Case-2 holds the same images as case Case-1"],
    ),
    "no way to Grad-CAM": (
        {"nets": False},
        ["refused: case Case-1: no Grad-CAM map", "refused: case Case-2: no Grad-CAM map"],
    ),
    "a reader without an account": (
        {"accounts": WHOLE.accounts[:1]},
        [f"refused: reader {READER_B} has no account"],
    ),
    "an account of nearly that name": (
        {"accounts": (WHOLE.accounts[0], AccountState("Dr. Bo", Role.READER))},
        [f"refused: reader {READER_B} has no account. Try: write Dr. Bo"],
    ),
    "an account that is shut": (
        {"accounts": (WHOLE.accounts[0], replace(WHOLE.accounts[1], disabled=True))},
        [f"refused: reader {READER_B}: the account is disabled"],
    ),
    "an account spelled in another way": (
        {"accounts": (WHOLE.accounts[0], AccountState("DR  BO", Role.READER))},
        [f"info: reader {READER_B} is the account DR  BO"],
    ),
    "no accounts at all": ({"accounts": ()}, ["warning: nobody signs in here"]),
    "a reader registered as something else": (
        {"registered": (Reader(READER_B, "radiologist"),)},
        [f"warning: reader {READER_B} is oncologist in the plan and voted here as radiologist"],
    ),
    "a reader who has seen the answers": (
        {"seen": {Reader("dr  BO", "other").key: frozenset({"Case-2", "Else"})}},
        [f"refused: reader {READER_B} has seen the models' answers on case Case-2"],
    ),
    "no reference": (
        {"primaries": frozenset({"Case-1"})},
        ["warning: case Case-2 has no reference primary"],
    ),
    "a broken file of references": (
        {"primaries": frozenset(), "primaries_fault": "truth.csv: no column"},
        ["refused: the reference primaries cannot be read: truth.csv: no column"],
    ),
    "a plan that is locked already": (
        {"locked": {"small": study().digest}},
        ["refused: this plan is already locked, as small"],
    ),
    "an id in use": (
        {"locked": {"small": "0" * 64}},
        ["refused: the study small is locked with another plan"],
    ),
    "demo models": (
        {"bundle": replace(BUNDLE, synthetic=True)},
        ["info: these are demo models"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_told_and_no_other(name: str) -> None:
    changes, expected = FAULTS[name]
    told = sentences(replace(WHOLE, **changes))
    for words in expected:
        assert any(words in line for line in told), told
    alone = {
        "a case that is not there": 2,
        "a case whose images are gone": 2,
        "no way to Grad-CAM": 2,
    }
    assert len(told) == alone.get(name, 1), told


PLANS = {
    "a name to be filled in": (
        {"readers": [reader("FILL IN 1")]},
        "refused: reader ra: the name is still to be filled in",
    ),
    "a name that cannot be stored": (
        {"readers": [reader("Dr \x9f Ada")]},
        "refused: reader ra: the reader holds a character that cannot be stored",
    ),
    "no years": (
        {"readers": [reader(READER_A, years=0.0)]},
        f"warning: reader {READER_A} has 0 years of experience",
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_each_fault_of_the_readers_in_the_plan_is_told(name: str) -> None:
    changes, expected = PLANS[name]
    told = sentences(WHOLE, study(**changes))
    assert len(told) == 1 and told[0].startswith(expected), told


def test_two_spellings_of_one_person_are_told() -> None:
    """A full-width letter: two names to the plan, one person to the accounts."""
    two = [reader(READER_A), reader("Dr \uff21da", id="rb")]
    with pytest.raises(InputRefused, match="readers: name Dr Ada stands in two spellings"):
        study(readers=two)
    old = {**people_fixture.plan_data(CASES), "readers": two}
    told = sentences(WHOLE, parse_study(old, "locked", locked=True))
    assert any("readers ra and rb have the same name" in line for line in told), told


def test_a_case_that_the_models_learnt_from_is_found_in_another_spelling() -> None:
    facts = replace(WHOLE, trained_on=frozenset({"Case-\uff12"}))  # a full-width 2
    assert "one of the cases that the models learnt from" in " ".join(sentences(facts))


def test_what_the_arms_do_not_show_is_not_asked_for() -> None:
    bare = study(
        design={"kind": "crossover", "arms": ["aided", "aided_explained"], "washout_days": 1},
        primary_endpoint={"measure": "accuracy", "compare": ["aided", "aided_explained"]},
        questions=[{"id": "p", "kind": "primary", "text": "Primary?"}],
    )
    seen = replace(WHOLE, seen={Reader(READER_A, "other").key: frozenset(CASES)})
    assert readiness.check(bare, seen) == ()  # nobody reads without the models
    assert "blinding" not in {c.topic for c in readiness.checks(bare, seen)}


def test_an_endpoint_against_the_models_asks_for_their_answers_although_no_arm_shows_them() -> None:
    bare = study(
        design={"kind": "sequential", "arms": ["unaided"]},
        primary_endpoint={"measure": "accuracy", "compare": ["models", "unaided"]},
        questions=[{"id": "p", "kind": "primary", "text": "Primary?"}],
    )
    assert readiness.check(bare, WHOLE) == ()
    missing = replace(WHOLE, cases=cases(**{"Case-2": CaseState(image="2")}))
    assert readiness.unread(bare, missing) == ("Case-2",)
    told = sentences(missing, bare)
    assert any("refused: case Case-2: the models have not read it" in line for line in told), told
    silent = replace(WHOLE, cases=cases(**{"Case-2": replace(READY, answered=False)}))
    assert sentences(silent, bare)[0].startswith(
        "warning: case Case-2: the models gave no fused answer"
    )


def test_a_case_meant_by_another_spelling_is_named() -> None:
    other = people_fixture.make_study(["demo-01"])
    facts = replace(WHOLE, cases={"Demo-1": CaseState(bundle=DIGEST)})
    assert "Try: write Demo-1 in the plan if that is meant" in sentences(facts, other)[0]


# from the files and the database


def add_case(home: Path, work: Path, case_id: str, number: int, info: BundleInfo) -> None:
    """A case of images of its own (no two are alike), with a prediction."""
    drawn = pages_fixture.make_case(case_id)
    own = {s: Volume(v.data + np.float32(number), v.affine) for s, v in drawn.sequences.items()}
    files = pages_home.write_files(replace(drawn, sequences=own), work / case_id)
    home.mkdir(exist_ok=True)
    library.add_case(home, files, case_id, drawn.clinical)
    pages_home.store_prediction(home, drawn, info)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """A home with two cases that the models have read, known primaries and accounts."""
    root = tmp_path_factory.mktemp("ready")
    info = pages_home.make_bundle(root / "models")
    for n, case_id in enumerate(CASES):
        add_case(root / "home", root / "files", case_id, n, info)
    (root / "home" / "truth.csv").write_text(
        "case_id,primary\nCase-1,melanoma\nCase-2,breast\n", encoding="utf-8"
    )
    with open_store(people_fixture.url(root / "home")) as store:
        people_fixture.make_accounts(store)
    return root


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A copy of it, with the settings on it."""
    import shutil

    shutil.copytree(made / "home", tmp_path / "home")
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BMCORE_BUNDLE", str(made / "models"))
    monkeypatch.setenv("BMCORE_DATABASE_URL", "")
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture
def store(home: Path):
    with open_store(people_fixture.url(home)) as opened:
        yield opened


def gathered(home: Path, store, plan_=None, **how) -> Facts:
    forget()
    return gather(plan_ or study(), home, load_bundle(settings().bundle), store, **how)


def test_a_home_with_everything_is_ready(home: Path, store) -> None:
    assert [
        f for f in readiness.check(study(), gathered(home, store)) if f.severity != "info"
    ] == []


def plant(home: Path, store, fault: str) -> None:
    case = home / "cases" / "Case-2"
    run = next((home / "predictions" / "Case-2").glob("*/*"))
    if fault == "gone":
        (case / "Case-2-t2f.nii.gz").unlink()
    elif fault == "changed":
        path = case / "Case-2-t1c.nii.gz"
        path.write_bytes(path.read_bytes() + b"x")
    elif fault == "record":
        (case / "case.json").write_text("{", encoding="utf-8")
    elif fault == "unread":
        run.parent.rename(run.parent.with_name("0123456789abcdef"))
    elif fault == "damaged":
        (run / "prediction.json").write_text("{", encoding="utf-8")
    elif fault == "others":
        text = json.loads((run / "prediction.json").read_text())
        text["bundle"]["digest"] = run.parent.name + "0" * 48
        (run / "prediction.json").write_text(json.dumps(text))
        (run / "sha256.json").unlink()  # as an earlier version wrote it
    elif fault == "truth":
        (home / "truth.csv").write_bytes(b"nothing of use\n")
    elif fault == "shut":
        accounts.set_disabled(store, READER_B, True)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("gone", "case Case-2 cannot be read: Case-2-t2f.nii.gz is gone"),
        ("changed", "case Case-2 cannot be read: Case-2-t1c.nii.gz was changed"),
        ("record", "case Case-2 cannot be read: Case-2/case.json"),
        ("unread", "case Case-2: it was read by models other"),
        ("damaged", "case Case-2: the stored answer cannot be read"),
        ("others", "case Case-2: the stored answer comes from other models"),
        ("truth", "the reference primaries cannot be read"),
        ("shut", f"reader {READER_B}: the account is disabled"),
    ],
)
def test_what_is_broken_on_disk_blocks_the_lock(home, store, fault: str, words: str) -> None:
    plant(home, store, fault)
    found = readiness.blocking(readiness.check(study(), gathered(home, store)))
    assert any(words in f.sentence for f in found), [f.sentence for f in found]
    with pytest.raises(NotReady, match=words.split(":")[0]):
        start.lock(store, study(), gathered(home, store), "Iris", confirm="small")
    assert plan.studies(store) == []


def test_who_has_seen_the_answers_is_known_from_votes_studies_and_from_outside(
    home: Path, store
) -> None:
    key_a, key_b = (Reader(n, "other").key for n in (READER_A, READER_B))
    assert gathered(home, store).seen == {}
    store.add_reader(READER_A, "radiologist")
    vote = {"case_id": "Case-1", "reader": READER_A, "role": "radiologist", "primary": "rcc"}
    store.add_vote(VoteDraft(**vote, phase="unaided", confidence=5, idempotency_key="u"))
    assert gathered(home, store).seen == {}
    store.show_models(READER_A, "Case-1", Evidence(bundle="b"))
    other = study(study="other")
    plan.lock(store, other, "Iris")
    desk = ReadingSession(store, "other")
    place = desk.next("rb").item.place
    desk.submit(place, people_fixture.answers_for(other, "unaided"), Seconds(), "u")
    assert gathered(home, store).seen == {key_a: {"Case-1"}}  # an unaided sheet shows nothing
    aided = desk.next("rb").item.place
    desk.submit(aided, people_fixture.answers_for(other, "aided"), Seconds(), "a")
    assert gathered(home, store).seen[key_b] == {place.case_id}
    told = gathered(home, store, seen={key_b: frozenset({"Case-9"})})
    assert told.seen[key_b] == {place.case_id, "Case-9"}
    assert gathered(home, store, other).seen == {key_a: {"Case-1"}}  # its own arms do not count


# the lock


def test_the_id_must_be_typed_and_what_was_found_is_kept_with_the_lock(home, store) -> None:
    facts = gathered(home, store)
    for typed in ("", "Small", "small study"):
        with pytest.raises(InputRefused, match="was not typed as it is"):
            start.lock(store, study(), facts, "Iris", confirm=typed)
    assert plan.studies(store) == []
    locked = start.lock(store, study(), facts, "Iris", confirm=" small ")
    assert start.lock(store, study(), facts, "Bo", confirm="") == locked  # a second click
    (kept,) = start.starts(store, "small")
    assert kept.bundle == facts.bundle.digest and kept.version == 1
    assert kept.findings == (("info", "these are demo models, trained on synthetic data only."),)
    assert locked.digest == study().digest  # the plan itself says nothing of it
    assert verify(people_fixture.url(home)).problems == ()
    raw = sqlite3.connect(home / "bmcore.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute("UPDATE starts SET bundle = 'x'")
    raw.close()


def test_a_warning_must_be_accepted_and_is_kept(home, store) -> None:
    (home / "truth.csv").unlink()
    facts = gathered(home, store)
    with pytest.raises(NotReady, match="2 warnings stand"):
        start.lock(store, study(), facts, "Iris", confirm="small")
    start.lock(store, study(), facts, "Iris", confirm="small", accept_warnings=True)
    (kept,) = start.starts(store, "small")
    assert [s for s, _ in kept.findings].count("warning") == 2


def test_other_models_than_those_of_the_lock_are_noticed(home, store) -> None:
    facts = gathered(home, store)
    start.lock(store, study(), facts, "Iris", confirm="small")
    assert start.other_models(store, "small", facts.bundle.digest) is None
    assert start.other_models(store, "small", "0" * 64) == facts.bundle.digest
    plan.lock(store, study(study="old"), "Iris")
    assert start.other_models(store, "old", "0" * 64) is None  # from before it was kept


def test_an_amendment_is_refused_only_for_what_it_brings_itself(home, store) -> None:
    start.lock(store, study(), gathered(home, store), "Iris", confirm="small")
    plant(home, store, "gone")  # a reader will meet that; another wording changes nothing in it
    worded = study(title="Better words")
    start.amend(store, worded, gathered(home, store), "Iris", "clearer")
    people = people_fixture.plan_data(CASES)["readers"]
    wider = study(title="Better words", readers=[*people, reader("Dr Nobody", id="rc")])
    with pytest.raises(NotReady, match="Dr Nobody has no account") as told:
        start.amend(store, wider, gathered(home, store), "Iris", "one more")
    assert len(told.value.findings) == 1
    accounts.add(store, "Dr Nobody", "reader", PASSWORD)
    assert start.amend(store, wider, gathered(home, store), "Iris", "one more").version == 3
    assert [s.version for s in start.starts(store, "small")] == [1, 2, 3]


# the commands


def run(*words: str, typed: str = ""):
    return CliRunner().invoke(app, ["study", *words], input=typed)


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(people_fixture.plan_data(CASES)), encoding="utf-8")
    return path


def test_the_command_checks_with_one_line_a_fault_and_stores_nothing(home, file) -> None:
    fine = run("check", str(file))
    assert fine.exit_code == 0, fine.output
    assert "ready: Cases: The images of all 2 cases are there." in fine.output
    (home / "cases" / "Case-1" / "Case-1-t1c.nii.gz").unlink()
    bad = run("check", str(file))
    assert bad.exit_code == 1
    assert "fault: Cases: case Case-1 cannot be read: Case-1-t1c.nii.gz is gone" in bad.output
    assert run("check", str(file), "--plan-only").exit_code == 0
    (home / "bmcore.sqlite").unlink()
    assert "warning: Readers: nobody signs in here" in run("check", str(file)).output
    assert not (home / "bmcore.sqlite").exists()


def test_the_command_locks_only_what_is_ready_and_confirmed(home, file) -> None:
    at = ["lock", str(file), "--author", "Iris"]
    assert run(*at).exit_code == 2  # nobody typed
    assert run(*at, typed="smal\n").exit_code == 2
    assert run(*at, "--confirm", "else").exit_code == 2
    (home / "truth.csv").unlink()
    warned = run(*at, "--confirm", "small")
    assert warned.exit_code == 2 and "2 warnings stand" in warned.output
    plant(home, None, "unread")
    blocked = run(*at, "--confirm", "small", "--accept-warnings")
    assert blocked.exit_code == 2 and "case Case-2: it was read by models other" in blocked.output
    assert "small" not in run("progress").output
    run_folder = home / "predictions" / "Case-2" / "0123456789abcdef"
    run_folder.rename(run_folder.with_name(load_bundle(settings().bundle).info.digest[:16]))
    locked = run(*at, "--accept-warnings", typed="small\n")
    assert locked.exit_code == 0 and "locked as version 1" in locked.output, locked.output
    again = run(*at)
    assert again.exit_code == 0 and "locked as version 1" in again.output


def test_the_example_fits_what_is_there(home: Path, store, tmp_path: Path) -> None:
    text = example.fitted(library.list_cases(home), store)
    made = read_study_text(text, "example")
    assert list(made.cases) == CASES
    assert [r.name for r in made.readers] == [READER_A, READER_B]  # who has the role of a reader
    told = readiness.check(made, gathered(home, store, made))
    assert readiness.blocking(told) == ()
    assert [f.what.split(" has ")[-1] for f in readiness.warnings(told)] == [
        "0 years of experience in the plan"
    ] * 2
    store.add_reader(READER_A, "neuroradiologist", 7.5)
    plan.lock(store, made, "Iris")
    again = read_study_text(example.fitted(library.list_cases(home), store), "example")
    assert again.study == "primary-2027-2"  # an id that is free
    assert (again.readers[0].role, again.readers[0].years) == ("neuroradiologist", 7.5)


def test_an_example_for_an_empty_home_is_clearly_to_be_filled_in(tmp_path: Path) -> None:
    made = read_study_text(example.fitted([], None), "example")
    assert made.cases == (example.NO_CASE,)
    assert [r.name for r in made.readers] == ["FILL IN 1", "FILL IN 2"]
    told = readiness.check(made, Facts(cases={}, bundle=BUNDLE))
    assert sum("still to be filled in" in f.what for f in readiness.blocking(told)) == 2


def test_a_case_that_looks_like_a_number_stays_text_in_the_example(home, store, tmp_path) -> None:
    for case_id in ("1", "1e5", "no", "0x1F"):
        pages_home.add_case(home, tmp_path / "more", case_id, ClinicalRecord())
    text = example.fitted(library.list_cases(home), store)
    assert {"1", "1e5", "no", "0x1F"} <= set(read_study_text(text, "example").cases)


def test_the_shipped_example_uses_the_demo_cases() -> None:
    from bmcore.inference.demo import DEMO_SEEDS

    assert yaml.safe_load(example.EXAMPLE.read_text())["cases"] == list(DEMO_SEEDS)


def test_every_finding_says_what_to_do_unless_it_only_tells() -> None:
    told = [
        f
        for changes, _ in FAULTS.values()
        for f in readiness.check(study(), replace(WHOLE, **changes))
    ]
    assert all(f.hint for f in told if f.severity is not Severity.INFO)
    assert pages_fixture.INFO.synthetic  # the models of these tests are demo models
