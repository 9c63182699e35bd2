"""Who has been shown the models' answers, votes with them from then on; and the chain proves it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from bmcore.domain import BmcoreError, InputRefused
from bmcore.review import chain, exposure, names, plan, schema
from bmcore.review.access import LOCAL, Role, Standing, User, case_standing, results_standing
from bmcore.review.merge import merge
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.verify import verify
from bmcore.review.votes import Evidence, Reader, VoteDraft
from bmcore.review.worklist import Seconds
from tests import study_fixture

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
SHOWN = Evidence("i" * 64, "b" * 64, "00000000000000000001", "p" * 64)
ADA = User("Ada Lund", Role.READER)


def draft(case="X", reader="Ada Lund", phase="unaided", **changes):
    values = {
        "case_id": case,
        "reader": reader,
        "role": "radiologist",
        "phase": phase,
        "primary": "nsclc",
        "confidence": 50,
        "idempotency_key": f"{case} {reader} {phase} {sorted(changes.items())}"[:99],
    }
    return VoteDraft(**{**values, **changes})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "votes.sqlite"


@pytest.fixture
def store(path):
    with open_store(f"sqlite:///{path}") as opened:
        opened.add_reader("Ada Lund", "radiologist")
        opened.add_reader("Bo Ek", "radiologist")
        yield opened


def problems(path):
    return verify(f"sqlite:///{path}").problems


def test_the_answers_are_not_shown_before_the_own_vote(store, path):
    with pytest.raises(InputRefused, match="not open to Ada Lund yet"):
        store.show_models("Ada Lund", "X", SHOWN)
    assert store.shown_to("Ada Lund") == set()
    store.add_vote(draft())
    with pytest.raises(InputRefused, match="not open to Bo Ek yet"):
        store.show_models("Bo Ek", "X", SHOWN)
    assert store.show_models("Ada Lund", "X", SHOWN).bundle == SHOWN.bundle
    assert problems(path) == ()


def test_the_first_sending_is_one_row_however_often_it_is_asked_for(store):
    store.add_vote(draft())
    first = store.show_models("Ada Lund", "X", SHOWN)
    assert store.show_models(" ADA lund", "X", SHOWN) == first
    other = store.show_models("Ada Lund", "X", Evidence("i" * 64, "c" * 64, "2", "q" * 64))
    assert other.seq > first.seq
    assert len(store.read(lambda c: exposure.of_case(c, "Ada Lund", "X"))) == 2


def test_a_vote_without_the_models_is_closed_for_good_once_they_were_shown(store):
    store.add_vote(draft())
    store.add_vote(draft(primary="rcc", reason="Before anything was shown."))
    store.show_models("Ada Lund", "X", SHOWN)
    with pytest.raises(InputRefused, match="closed for good"):
        store.add_vote(draft(primary="gi", reason="I always meant this."))
    with pytest.raises(InputRefused, match="closed for good"):
        store.add_vote(draft(reader="ada  LUND", primary="gi", reason="Other spelling."))
    assert [v.primary for v in store.current_votes("X", "unaided")] == ["rcc"]
    store.add_vote(draft("Y"))  # another case is as open as before
    store.add_vote(draft(reader="Bo Ek"))  # and so is another reader


def test_a_vote_with_the_models_needs_the_vote_without_them_and_their_showing(store):
    with pytest.raises(InputRefused, match="has not voted on case X without the models"):
        store.add_vote(draft(phase="aided"))
    store.add_vote(draft())
    with pytest.raises(InputRefused, match="were never shown to Ada Lund"):
        store.add_vote(draft(phase="aided"))
    store.show_models("Ada Lund", "X", SHOWN)
    assert store.add_vote(draft(phase="aided")).phase == "aided"


def test_a_site_may_choose_aided_only_for_a_case_with_a_reason(store, path):
    with pytest.raises(InputRefused, match="needs a reason"):
        store.write(lambda c: exposure.set_mode(c, "X", exposure.AIDED_ONLY, "Ida", " "))
    store.write(lambda c: exposure.set_mode(c, "X", exposure.AIDED_ONLY, "Ida", "Teaching case."))
    store.show_models("Ada Lund", "X", SHOWN)
    store.add_vote(draft(phase="aided"))
    store.write(lambda c: exposure.set_mode(c, "X", exposure.UNAIDED_FIRST, "Ida", "No more."))
    with pytest.raises(InputRefused, match="not open to Bo Ek yet"):
        store.show_models("Bo Ek", "X", SHOWN)
    assert problems(path) == ()


def test_all_votes_on_a_case_rest_on_the_same_images(store):
    store.add_vote(draft(images_sha256="1" * 64))
    with pytest.raises(InputRefused, match="are not those that earlier votes rest on"):
        store.add_vote(draft(reader="Bo Ek", images_sha256="2" * 64))
    assert store.votes()[0].images_sha256 == "1" * 64


def append_raw(store, table, values):
    """A row that is chained rightly, past the rules."""
    store.write(lambda c: chain.append(c, table, {**values, "created_at": datetime.now(UTC)}))


def raw_vote(**changes):
    values = {"case_id": "X", "reader": "Ada Lund", "role": "radiologist", "phase": "unaided"}
    values |= {"primary": "gi", "confidence": 1, "comment": "", "idempotency_key": "forged"}
    return {**values, **changes}


def test_verify_names_a_vote_without_the_models_that_came_after_their_showing(store, path):
    store.add_vote(draft())
    store.show_models("Ada Lund", "X", SHOWN)
    assert problems(path) == ()
    append_raw(store, schema.votes, raw_vote(supersedes=1, reason="late"))
    (found,) = problems(path)
    assert "votes id 2" in found and "without the models after the models' answers" in found


def test_verify_names_a_vote_with_the_models_that_nothing_went_before(store, path):
    append_raw(store, schema.votes, raw_vote(phase="aided"))
    shown, voted = problems(path)
    assert "never shown before it" in shown
    assert "without a vote without them before it" in voted


def test_verify_tells_of_a_clock_that_was_set_back(store, path):
    late = {"case_id": "X", "mode": "aided only", "author": "Ida", "reason": "x"}
    ahead = datetime.now(UTC) + timedelta(hours=5)
    store.write(lambda c: chain.append(c, schema.reading_modes, {**late, "created_at": ahead}))
    store.add_vote(draft())
    report = verify(f"sqlite:///{path}")
    assert report.problems == ()
    (note,) = [n for n in report.notes if "clock" in n]
    assert "5 hours before" in note


def test_names_that_look_alike_are_one_reader_or_refused(store):
    assert Reader("Ada\u200b Lund", "other").key == Reader("Ada Lund", "other").key
    assert store.add_reader("Ada\u200b Lund", "radiologist").name == "Ada Lund"
    with pytest.raises(InputRefused, match="two alphabets"):
        Reader("\u0410da Lund", "other")
    store.add_reader("Cope", "radiologist")
    with pytest.raises(InputRefused, match="looks like that of the reader Cope"):
        store.add_reader("\u0421\u043e\u0440\u0435", "radiologist")
    assert names.mixed_alphabets("M\u00f8ller-\u00d1and\u00fa") == ()


# studies


def at(store, plan_):
    plan.lock(store, plan_, "Ida Lund")
    clock = [NOW]

    def tick():
        clock[0] += timedelta(minutes=1)
        return clock[0]

    return ReadingSession(store, plan_.study, clock=tick)


def answer(desk, place, evidence=Evidence()):
    values = {"primary": {"choice": "gi", "confidence": 5}}
    if place.arm != "unaided":
        values |= {"lesions": {"lesions": {}, "missed": 0}, "quality": 3}
    desk.submit(place, values, Seconds(1.0), f"{place}", evidence)


def skip_all(desk, reader):
    while (work := desk.next(reader)) is not None:
        desk.skip(work.item.place, "", f"skip {work.item.place}")


def test_skipping_everything_opens_neither_the_cases_nor_the_results(store):
    desk = at(store, study_fixture.study())
    skip_all(desk, "r01")
    case = study_fixture.CASES[0]
    assert case_standing(store, ADA, case) is Standing.SKIPPED
    assert results_standing(store, ADA) is Standing.SKIPPED
    assert case_standing(store, LOCAL, case) is Standing.WAITING  # Bo's list waits
    skip_all(desk, "r02")
    assert case_standing(store, LOCAL, case) is Standing.SKIPPED
    assert results_standing(store, LOCAL) is Standing.SKIPPED


def test_a_closed_list_opens_the_cases_and_its_skipped_sheets_stay_skipped(store, path):
    desk = at(store, study_fixture.study())
    with pytest.raises(InputRefused, match="cannot be closed yet"):
        desk.close("r01", "Ada Lund")
    skip_all(desk, "r01")
    place = desk.work("r01")[0].item.place
    desk.close("r01", "Ada Lund")
    desk.close("r01", "Ada Lund")  # a second click closes nothing new
    assert case_standing(store, ADA, place.case_id) is Standing.OVER
    with pytest.raises(InputRefused, match="can no longer be read"):
        desk.save_draft(place, {}, Seconds())
    with pytest.raises(InputRefused, match="can no longer be read"):
        answer(desk, place)
    assert problems(path) == ()


def test_a_skipped_sheet_may_still_be_read_before_the_list_is_closed(store):
    desk = at(store, study_fixture.study())
    skip_all(desk, "r01")
    place = desk.work("r01")[0].item.place
    answer(desk, place)
    assert desk.work("r01")[0].locked


def test_what_was_shown_outside_closes_the_sheet_without_the_models(store, path):
    case = study_fixture.CASES[3]
    store.add_vote(draft(case))
    store.show_models("Ada Lund", case, SHOWN)
    desk = at(store, study_fixture.study())
    mine = [w for w in desk.work("r01") if w.item.place.case_id == case]
    assert [(w.state, w.final[:18]) for w in mine] == [("skipped", "the models' answer")] * 2
    others = [w for w in desk.work("r02") if w.item.place.case_id == case]
    assert {w.state for w in others} == {"not started"}
    for work in desk.work("r01"):
        if not work.done:
            answer(desk, work.item.place)
    assert results_standing(store, ADA) is Standing.OVER
    assert problems(path) == ()


def test_verify_names_a_sheet_locked_after_the_answers_were_shown_elsewhere(store, path):
    desk = at(store, study_fixture.study())
    place = desk.work("r01")[0].item.place
    row = {"case_id": place.case_id, "reader": "Ada Lund", "reader_key": "ada lund", "study": ""}
    row |= {"arm": "", "occasion": 0, "bundle": "b", "prediction_run": "1"}
    append_raw(store, schema.exposures, row)
    row = {"study": "drawn", "reader": "r01", "case_id": place.case_id, "arm": "unaided"}
    row |= {"occasion": 0, "version": 1, "kind": "locked", "note": "", "active_s": 0, "idle_s": 0}
    append_raw(store, schema.events, {**row, "idempotency_key": "forged"})
    (found,) = problems(path)
    assert "events id 1" in found and "locked as without the models after" in found


def test_a_locked_answer_without_the_models_is_not_corrected_after_they_were_shown(store):
    desk = at(store, study_fixture.study())
    unaided, aided = (w.item.place for w in desk.work("r01")[:2])
    with pytest.raises(InputRefused, match="only after the one without the models is locked"):
        desk.show(aided, SHOWN)
    answer(desk, unaided)
    mind = {"choice": "rcc", "confidence": 9}
    desk.correct(unaided, "primary", mind, "Wrong line.")
    desk.show(aided, SHOWN)
    with pytest.raises(InputRefused, match="closed for good"):
        desk.correct(unaided, "primary", {"choice": "nsclc", "confidence": 90}, "Thought again.")
    answer(desk, aided)
    desk.correct(aided, "primary", mind, "Wrong line.")


def test_the_sheet_without_the_models_never_shows_them(store):
    desk = at(store, study_fixture.study())
    with pytest.raises(InputRefused, match="this reading is without the models"):
        desk.show(desk.work("r01")[0].item.place, SHOWN)


def crossover():
    design = {"kind": "crossover", "arms": ["unaided", "aided"], "washout_days": 1}
    return study_fixture.study(design=design)


def test_in_a_crossover_a_skipped_sheet_is_over_once_the_case_was_read_in_the_other_period(store):
    desk = at(store, crossover())
    first = desk.work("r01")[0].item.place
    skip_all_of_period(desk, "r01")
    later = next(
        w.item.place
        for w in desk.work("r01")
        if w.item.place.case_id == first.case_id and w.item.place.arm != first.arm
    )
    late = ReadingSession(store, "drawn", clock=lambda: NOW + timedelta(days=9))
    for work in late.work("r01"):
        if work.item.period == 2:
            if work.item.place.arm != "unaided":
                late.show(work.item.place, SHOWN)
            answer(late, work.item.place)
        if work.item.place == later:
            break
    (mine,) = [w for w in late.work("r01") if w.item.place == first]
    assert mine.final
    with pytest.raises(InputRefused, match="can no longer be read"):
        answer(late, first)


def skip_all_of_period(desk, reader):
    while desk.next(reader).item.period == 1:
        place = desk.next(reader).item.place
        desk.skip(place, "", f"skip {place}")


def test_a_crossover_reads_without_the_models_after_the_washout_by_design(store, path):
    desk = at(store, crossover())
    for work in desk.work("r01"):
        if work.item.period == 1:
            if work.item.place.arm != "unaided":
                desk.show(work.item.place, SHOWN)
            answer(desk, work.item.place)
    late = ReadingSession(store, "drawn", clock=lambda: NOW + timedelta(days=9))
    for work in late.work("r01"):
        if work.item.period == 2:
            assert work.state == "not started"
            answer(late, work.item.place)
    assert problems(path) == ()


# several sites


def two_sites(tmp_path, images):
    urls = [f"sqlite:///{tmp_path / name}.sqlite" for name in ("a", "b")]
    for url, image in zip(urls, images, strict=True):
        with open_store(url) as store:
            store.add_reader("Ada Lund", "radiologist")
            store.add_vote(draft("X", images_sha256=image))
    return urls


def test_a_merge_keeps_cases_of_one_id_and_different_images_apart(tmp_path):
    urls = two_sites(tmp_path, ("1" * 64, "2" * 64))
    out = f"sqlite:///{tmp_path / 'c.sqlite'}"
    merged = merge(urls, out)
    assert any("has different images" in note for note in merged.notes)
    with open_store(out) as store:
        cases = {v.case_id for v in store.votes()}
        assert len(cases) == 2 and all(case.startswith("X (site-") for case in cases)
        (only,) = store.votes(case_id=min(cases))
        assert only.case_id == min(cases)


def test_a_merge_keeps_cases_of_the_same_images_together(tmp_path):
    urls = two_sites(tmp_path, ("1" * 64, "1" * 64))
    out = f"sqlite:///{tmp_path / 'c.sqlite'}"
    assert not any("images" in note for note in merge(urls, out).notes)
    with open_store(out) as store:
        assert {v.case_id for v in store.votes()} == {"X"}


def test_what_was_shown_before_a_merge_stays_closed_after_it(tmp_path):
    source, out = (f"sqlite:///{tmp_path / name}.sqlite" for name in "ab")
    with open_store(source) as store:
        store.add_reader("Ada Lund", "radiologist")
        store.add_vote(draft())
        store.show_models("Ada Lund", "X", SHOWN)
    merge([source], out)
    with open_store(out) as store:
        store.add_reader("Ada Lund", "radiologist")
        with pytest.raises(InputRefused, match="closed for good"):
            store.add_vote(draft(primary="gi", idempotency_key="moved"))
        store.show_models("Ada Lund", "X", SHOWN)
        store.add_vote(draft(phase="aided"))
    assert verify(out).problems == ()


def test_a_merge_refuses_one_study_on_different_images(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.sqlite" for name in ("a", "b")]
    for url, reader, image in zip(urls, ("r01", "r02"), "12", strict=True):
        with open_store(url) as store:
            desk = at(store, study_fixture.study(cases=["only"]))
            answer(desk, desk.work(reader)[0].item.place, Evidence(images=image * 64))
    with pytest.raises(BmcoreError, match="images of case only differ between the sites"):
        merge(urls, f"sqlite:///{tmp_path / 'c.sqlite'}")
    assert not (tmp_path / "c.sqlite").exists()


def test_a_merge_refuses_a_sheet_that_was_locked_after_the_answers_were_shown_elsewhere(tmp_path):
    urls = [f"sqlite:///{tmp_path / name}.sqlite" for name in ("a", "b")]
    for url, shown in zip(urls, (True, False), strict=True):
        with open_store(url) as store:
            desk = at(store, study_fixture.study(cases=["only"]))
            unaided, aided = (w.item.place for w in desk.work("r01"))
            answer(desk, unaided)
            if shown:
                desk.show(aided, SHOWN)
    shutil.copy(tmp_path / "b.sqlite", tmp_path / "earlier.sqlite")
    set_times(tmp_path / "b.sqlite", NOW + timedelta(days=900))
    with pytest.raises(BmcoreError, match="locked case only without the models at"):
        merge(urls, f"sqlite:///{tmp_path / 'c.sqlite'}")
    earlier = [urls[0], f"sqlite:///{tmp_path / 'earlier.sqlite'}"]
    assert merge(earlier, f"sqlite:///{tmp_path / 'd.sqlite'}").sites


def set_times(path, when):
    """Date the events of a database anew, and its chain with them."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.row_factory = sqlite3.Row
    triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
    for name, _ in triggers:
        raw.execute(f"DROP TRIGGER {name}")
    raw.execute("PRAGMA foreign_keys = OFF")
    rows = [
        (table.name, dict(row))
        for table in schema.CHAINED
        for row in raw.execute(f"SELECT * FROM {table.name}")
    ]
    previous = chain.GENESIS
    for table, row in sorted(rows, key=lambda pair: pair[1]["seq"]):
        if table == "events":
            row["created_at"] = f"{when:%Y-%m-%d %H:%M:%S.%f}"
        at_ = datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC)
        row["previous"] = previous
        previous = row["hash"] = chain.digest(table, {**row, "created_at": at_})
        raw.execute(
            f"UPDATE {table} SET created_at=?, previous=?, hash=? WHERE seq=?",
            (row["created_at"], row["previous"], row["hash"], row["seq"]),
        )
    raw.execute("UPDATE chains SET head=?", (previous,))
    for _, sql in triggers:
        raw.execute(sql)
    raw.close()


def test_the_plan_of_the_fixture_is_read_as_json():
    """The order check reads readers and design from the stored plan."""
    stored = json.loads(study_fixture.study().canonical)
    assert stored["readers"][0]["name"] == "Ada Lund" and stored["design"]["kind"] == "sequential"
