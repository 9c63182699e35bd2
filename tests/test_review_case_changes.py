"""Deleting and renaming a case: recorded, refused where it must be, and never half done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmcore import disk
from bmcore.domain import BmcoreError
from bmcore.intake import library, removal
from bmcore.review import case_changes, plan, verify
from bmcore.review.absent import absent, known_cases
from bmcore.review.case_changes import Wish
from bmcore.review.store import Store, open_store
from bmcore.review.votes import VoteDraft
from tests import pages_home, people_fixture

CASE = "Case-1"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two cases; of the first also a prediction, a block of the viewer and a job's log."""
    home = tmp_path / "home"
    home.mkdir()
    for case_id in (CASE, "Case-1.5"):
        pages_home.add_case(home, tmp_path / "files", case_id)
    for place in ("predictions/Case-1/abc", "cache/viewer/Case-1", "maps/Case-1"):
        (home / place).mkdir(parents=True)
        (home / place / "file").write_text("made of the case")
    (home / "jobs").mkdir()
    for name in ("Case-1.log", "Case-1.5.log"):
        (home / "jobs" / name).write_text("log")
    return home


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with open_store(people_fixture.url(home)) as opened:
        yield opened


def wish(**changes: str) -> Wish:
    return Wish(**{"case_id": CASE, "author": "Max Admin", "reason": "sent twice", **changes})


def tree(home: Path) -> dict[str, bytes]:
    """All files but the database and locks."""
    return {
        str(p.relative_to(home)): p.read_bytes()
        for p in sorted(home.rglob("*"))
        if p.is_file() and p.suffix != ".lock" and "sqlite" not in p.name
    }


def left_of(home: Path) -> list[str]:
    return [n for n in tree(home) if CASE in n.replace("Case-1.5", "") or "removed" in n]


def vote(store: Store, case_id: str = CASE) -> None:
    store.add_reader("Dr A", "radiologist")
    said = {"primary": "breast", "confidence": 50, "idempotency_key": f"key {case_id}"}
    store.add_vote(
        VoteDraft(case_id=case_id, reader="Dr A", role="radiologist", phase="unaided", **said)
    )


def test_a_case_goes_wholly_and_the_chain_says_who_and_why(store: Store, home: Path) -> None:
    assert len(left_of(home)) == 9
    case_changes.delete(store, home, wish())
    assert left_of(home) == []
    assert [e.case_id for e in library.list_cases(home)] == ["Case-1.5"]
    assert (home / "jobs" / "Case-1.5.log").exists()
    report = verify.verify(people_fixture.url(home))
    assert not report.problems and store.read(case_changes.gone) == {CASE}
    assert absent(store, home, ["Case-1.5"]) is None
    assert CASE in known_cases(store)  # its name is not given to another case


def test_what_readers_left_stays_and_the_name_must_be_typed(store: Store, home: Path) -> None:
    vote(store)
    before = tree(home)
    with pytest.raises(BmcoreError, match="type the name"):
        case_changes.delete(store, home, wish())
    with pytest.raises(BmcoreError, match="keeps its name"):
        case_changes.rename(store, home, wish(), "Other")
    assert tree(home) == before and store.read(case_changes.gone) == set()
    case_changes.delete(store, home, wish(typed=CASE))
    assert left_of(home) == [] and len(store.votes(CASE)) == 1
    assert not verify.verify(people_fixture.url(home)).problems


def test_a_case_of_a_locked_study_stays_as_it_is(store: Store, home: Path) -> None:
    plan.lock(store, people_fixture.make_study([CASE]), "Prof Iris")
    before = tree(home)
    with pytest.raises(BmcoreError, match=r"locked study.*small"):
        case_changes.delete(store, home, wish(typed=CASE))
    with pytest.raises(BmcoreError, match="locked study"):
        case_changes.rename(store, home, wish(), "Other")
    assert tree(home) == before


def test_a_renamed_case_is_the_same_images_under_the_other_name(store: Store, home: Path) -> None:
    old = library.get_entry(home, CASE)
    with pytest.raises(BmcoreError, match="in use"):
        case_changes.rename(store, home, wish(), "Case-1.5")
    case_changes.rename(store, home, wish(), "Other")
    new = library.get_entry(home, "Other")
    assert new.images_sha256 == old.images_sha256 and new.clinical == old.clinical
    assert library.load_case(home, "Other").case_id == "Other"
    assert library.images_on_disk(home, "Other") == old.images_sha256
    assert left_of(home) == [] and absent(store, home, ["Case-1.5", "Other"]) is None
    with pytest.raises(BmcoreError, match="no case"):
        case_changes.rename(store, home, wish(), "Third")


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("new", [None, "Other"])
def test_what_fails_in_the_middle_leaves_everything_as_it_was(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, at: int, new: str | None
) -> None:
    """The disk fails at each of the moves in turn."""
    before, real, moves = tree(home), disk.move_in, []

    def failing(old: Path, place: Path) -> None:
        moves.append(place)
        if len(moves) == at:
            raise OSError("the disk is full")
        real(old, place)

    monkeypatch.setattr(removal.disk, "move_in", failing)
    with pytest.raises(BmcoreError, match=r"nothing was changed.*full"):
        if new is None:
            case_changes.delete(store, home, wish())
        else:
            case_changes.rename(store, home, wish(), new)
    assert tree(home) == before and store.read(case_changes.gone) == set()


@pytest.mark.parametrize("written", [False, True])
def test_what_a_power_cut_left_is_finished_or_undone(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    """Undone where the row had not been stored, finished where it had."""
    before = tree(home)
    with monkeypatch.context() as cut:
        cut.setattr(case_changes, "_settle", lambda *_: None)
        if written:
            case_changes.delete(store, home, wish())
        else:
            steps = removal.removal(home, CASE, "0" * 32)
            removal.move(home, "0" * 32, steps)
    assert tree(home) != before and removal.waiting(home)
    case_changes.recover(store, home)
    assert removal.waiting(home) == []
    assert left_of(home) == [] if written else tree(home) == before
