"""Which case is the earlier examination of which: said, taken back, carried along, and proposed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bmcore.domain import BmcoreError
from bmcore.imaging.follow_up import FollowUp
from bmcore.inference import follow_up as kept
from bmcore.intake import library, time_points
from bmcore.intake.case_record import CaseEntry
from bmcore.review import case_changes, prior, verify
from bmcore.review.prior import Statement
from bmcore.review.store import Store, open_store
from bmcore.review.votes import Evidence
from tests import people_fixture, prior_fixture

NOW, THEN, FIRST = "BraTS-MET-00900-002", "BraTS-MET-00900-001", "BraTS-MET-00900-000"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    for gain, case_id in enumerate((FIRST, THEN, NOW), start=1):
        prior_fixture.add_case(home, case_id, gain)
    return home


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with open_store(people_fixture.url(home)) as opened:
        yield opened


def said(case_id: str = NOW, reason: str = "same patient number") -> Statement:
    return Statement(case_id, "Max Admin", reason)


def of(store: Store, case_id: str = NOW) -> str | None:
    found = prior.of_case(store, case_id)
    return None if found is None else found.prior_id


# --- said and taken back --------------------------------------------------------------------------


def test_it_is_said_changed_and_taken_back_and_all_of_it_stays_in_the_chain(
    store: Store, home: Path
) -> None:
    assert of(store) is None
    prior.set_prior(store, home, said(), THEN)
    prior.set_prior(store, home, said(reason="again"), THEN)  # nothing new
    prior.set_prior(store, home, said(reason="the one before was not MRI"), FIRST)
    assert of(store) == FIRST and of(store, THEN) is None
    prior.clear(store, home, said(reason="another patient"))
    assert of(store) is None
    with pytest.raises(BmcoreError, match="no earlier examination"):
        prior.clear(store, home, said())
    log = prior.log(store, NOW)
    assert [(p.prior_id, p.reason) for p in log] == [
        (THEN, "same patient number"),
        (FIRST, "the one before was not MRI"),
        (None, "another patient"),
    ]
    assert {p.author for p in log} == {"Max Admin"}
    assert verify.verify(people_fixture.url(home)).problems == ()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store._engine.begin() as c:
        c.execute(sa.text("UPDATE prior_examinations SET prior_id = 'x'"))


def test_what_cannot_be_is_refused(store: Store, home: Path) -> None:
    with pytest.raises(BmcoreError, match="its own"):
        prior.set_prior(store, home, said(), NOW)
    with pytest.raises(BmcoreError, match="no case"):
        prior.set_prior(store, home, said(), "BraTS-MET-00900-009")
    with pytest.raises(BmcoreError, match="name and a reason"):
        said(reason=" ")
    prior_fixture.add_case(home, "Copy")  # as FIRST
    with pytest.raises(BmcoreError, match="same images"):
        prior.set_prior(store, home, said(FIRST), "Copy")
    prior.set_prior(store, home, said(NOW), THEN)
    prior.set_prior(store, home, said(THEN), FIRST)
    with pytest.raises(BmcoreError, match="already an earlier examination"):
        prior.set_prior(store, home, said(FIRST), NOW)  # over two steps
    assert of(store, FIRST) is None and len(prior.log(store, FIRST)) == 0


def test_a_renamed_or_deleted_case_takes_along_what_was_said_of_it(
    store: Store, home: Path
) -> None:
    """Being named as an earlier examination does not hold a case back, and no link dangles."""
    prior.set_prior(store, home, said(NOW), THEN)
    prior.set_prior(store, home, said(THEN), FIRST)
    wish = case_changes.Wish(THEN, "Max Admin", "a better name")
    case_changes.rename(store, home, wish, "Middle")
    assert (of(store, NOW), of(store, "Middle"), of(store, THEN)) == ("Middle", FIRST, None)
    found = prior.of_case(store, NOW)
    assert found is not None and prior.problem(home, found) is None
    case_changes.delete(store, home, case_changes.Wish("Middle", "Max Admin", "sent twice"))
    assert of(store, NOW) is None and of(store, "Middle") is None
    assert "deleted: sent twice" in prior.log(store, NOW)[-1].reason
    assert verify.verify(people_fixture.url(home)).problems == ()


def test_other_images_under_the_name_are_not_taken_for_the_earlier_examination(
    store: Store, home: Path
) -> None:
    prior.set_prior(store, home, said(), THEN)
    found = prior.of_case(store, NOW)
    assert found is not None and prior.problem(home, found) is None
    assert "not those" in (prior.problem(home, replace(found, prior_sha256="0" * 64)) or "")
    assert "not in the work list" in (prior.problem(home, replace(found, prior_id="Gone")) or "")


def test_masks_of_the_models_are_open_where_both_examinations_were_read(
    store: Store, home: Path
) -> None:
    prior.set_prior(store, home, said(), THEN)
    found = prior.of_case(store, NOW)
    assert found is not None
    store.add_reader("Dr A", "radiologist")
    assert not prior.masks_open(store, None, found)
    for case_id, open_then in ((NOW, False), (THEN, True)):
        store.write(lambda connection, case_id=case_id: _expose(connection, case_id))
        assert prior.masks_open(store, "Dr A", found) is open_then
    assert not prior.masks_open(store, "Dr B", found)


def _expose(connection: sa.Connection, case_id: str) -> None:
    from bmcore.review import exposure

    exposure.record(connection, "Dr A", case_id, Evidence(bundle="0" * 64))


# --- proposed -------------------------------------------------------------------------------------


def entry(case_id: str, day: str = "") -> CaseEntry:
    from datetime import UTC, datetime

    from bmcore.domain import ClinicalRecord

    sources = {"t1c": {"date_shifted": day}} if day else {}
    added = datetime(2026, 1, 1, tzinfo=UTC)
    return CaseEntry(case_id, Path(), ("t1c",), ClinicalRecord(), (), False, added, sources=sources)


def test_numbered_time_points_of_one_patient_are_proposed_latest_first() -> None:
    others = [entry(FIRST), entry(THEN), entry(NOW), entry("BraTS-MET-00901-000"), entry("x")]
    found = time_points.propose(entry(NOW), others)
    assert [(p.case_id, p.ordered) for p in found] == [(THEN, True), (FIRST, True)]
    assert "same patient by the id" in found[0].why and "BraTS-MET-00900" in found[0].why
    assert time_points.propose(entry(FIRST), others) == ()
    assert time_points.propose(entry("case-0001"), [entry("case-0002")]) == ()


def test_days_of_dicom_say_which_came_first_and_without_them_the_order_is_asked() -> None:
    mine, other, third = "p0123456789-eaaaaaa", "p0123456789-ebbbbbb", "p0123456789-ecccccc"
    dated = [entry(other, "2020-03-01"), entry(third, "2020-09-01"), entry("pffffffffff-eaaaaaa")]
    (found,) = time_points.propose(entry(mine, "2020-03-15"), dated)
    assert (found.case_id, found.ordered) == (other, True) and "14 days before" in found.why
    (unsure,) = time_points.propose(entry(mine), [entry(other)])
    assert not unsure.ordered and "not known" in unsure.why


# --- the alignment that is kept -------------------------------------------------------------------


def test_an_alignment_is_worked_out_once_and_again_for_other_images(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    done = []

    def counted(later, earlier) -> FollowUp:
        done.append((later, earlier))
        return FollowUp(np.eye(4), 0.6, 0.97, 0.2, 11.0)

    monkeypatch.setattr(kept, "follow_up", counted)
    now, then = (library.get_entry(home, case_id) for case_id in (NOW, THEN))
    first = kept.aligned(home, now, then)
    again = kept.aligned(home, now, then)
    assert len(done) == 1 and first.as_dict() == again.as_dict()
    (path,) = (home / "cache" / "follow_up" / NOW).iterdir()
    path.write_text('{"matrix": [')  # cut off
    kept.aligned(home, now, then)
    assert len(done) == 2
    other = replace(then, content_sha256={**then.content_sha256, "t1c": "0" * 64})
    kept.aligned(home, now, other)
    assert len(done) == 3
    image = home / "cases" / THEN / f"{THEN}-t1c.nii.gz"
    image.write_bytes(image.read_bytes()[:-10])
    with pytest.raises(BmcoreError, match="was changed or is gone"):
        kept.aligned(home, now, replace(then, content_sha256={}))
