"""A name that a case had: who may have it again, and that nothing of the one goes to the other."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bmcore.domain import BmcoreError, Case, InputRefused, Prediction, Primary, Volume
from bmcore.inference import archive, maps, pipeline, references
from bmcore.intake import case_names, library, removal
from bmcore.intake.case_record import CaseEntry
from bmcore.review import case_changes, case_index, exposure, verify
from bmcore.review.case_changes import Wish
from bmcore.review.store import Store, open_store
from bmcore.review.votes import Evidence, VoteDraft
from bmcore.running import tasks
from tests import pages_fixture, people_fixture

FIRST = pages_fixture.make_case("x")
OTHER = Case(
    "x", {n: Volume(np.asarray(v.data) * 1.7, v.affine) for n, v in FIRST.sequences.items()}
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with open_store(people_fixture.url(home)) as opened:
        yield opened


def voted(store: Store, entry: CaseEntry, reader: str = "Dr Ada", phase: str = "unaided") -> None:
    store.add_reader(reader, "radiologist")
    said = {"primary": "rcc", "confidence": 70, "images_sha256": entry.images_sha256}
    store.add_vote(
        VoteDraft(
            case_id=entry.case_id,
            reader=reader,
            role="radiologist",
            phase=phase,
            idempotency_key=f"{reader} {entry.images_sha256} {phase}",
            **said,
        )
    )


def delete(store: Store, home: Path, name: str) -> None:
    case_changes.delete(store, home, Wish(name, "Prof Iris", "withdrew consent", name))


def truth_table(home: Path, name: str) -> None:
    path = home / "table.csv"
    path.write_text(f"case_id,primary\n{name},melanoma\n")
    references.keep(home, references.preview(path, path.name, home, [name]), "Prof Iris")
    path.unlink()


def kept_prediction(home: Path, entry: CaseEntry, **more: str) -> Prediction:
    case = library.load_case(home, entry.case_id)
    made = pages_fixture.make_prediction(case)
    archive.keep(home, made, **more)
    return made


# --- names ---------------------------------------------------------------------------------------


def test_the_number_of_a_deleted_case_goes_to_nobody(store: Store, home: Path) -> None:
    first = library.add_volumes(home, FIRST)
    voted(store, first)
    delete(store, home, first.case_id)
    second = library.add_volumes(home, OTHER)
    assert (first.case_id, second.case_id) == ("case-0001", "case-0002")
    assert store.votes("case-0002") == [] and references.truths(home) == {}
    voted(store, second)
    assert not verify.verify(people_fixture.url(home), home=home).problems


@pytest.mark.parametrize("work", [True, False])
def test_a_name_that_readers_worked_on_goes_to_the_same_images_only(
    store: Store, home: Path, work: bool
) -> None:
    first = library.add_volumes(home, FIRST, case_id="Case-7")
    if work:
        voted(store, first)
    delete(store, home, "Case-7")
    if work:
        with pytest.raises(InputRefused, match=r"Case-7 with other images.*another id"):
            library.add_volumes(home, OTHER, case_id="Case-7")
        assert library.add_volumes(home, FIRST, case_id="Case-7") == library.get_entry(
            home, "Case-7"
        )
    else:
        assert library.add_volumes(home, OTHER, case_id="Case-7").case_id == "Case-7"


def test_a_case_whose_folder_was_removed_by_hand_keeps_its_name(store: Store, home: Path) -> None:
    first = library.add_volumes(home, FIRST)
    voted(store, first)
    shutil.rmtree(first.folder)
    case_changes.reserve_names(store, home)  # as at every start
    assert library.next_id(home) == "case-0002"
    with pytest.raises(InputRefused, match="other images"):
        library.add_volumes(home, OTHER, case_id="case-0001")


def test_a_damaged_list_of_names_is_named(home: Path) -> None:
    (home / case_names.NAMES).write_text('{"a": 3}')
    with pytest.raises(InputRefused, match=case_names.NAMES):
        library.add_volumes(home, FIRST)
    assert library.list_cases(home) == []


def test_while_a_deletion_is_undecided_its_name_is_not_free(store: Store, home: Path) -> None:
    """A process died in the middle of it; somebody adds a case before the next start."""
    first = library.add_volumes(home, FIRST)
    removal.move(home, "0" * 32, removal.removal(home, first.case_id, "0" * 32))
    with pytest.raises(InputRefused, match="case-0001 is being removed"):
        library.add_volumes(home, OTHER, case_id="case-0001")
    second = library.add_volumes(home, OTHER)
    case_changes.recover(store, home)
    assert [(e.case_id, e.images_sha256) for e in library.list_cases(home)] == [
        ("case-0001", first.images_sha256),
        ("case-0002", second.images_sha256),
    ]


def test_what_cannot_be_brought_back_is_not_deleted(home: Path) -> None:
    first = library.add_volumes(home, FIRST, case_id="Case-7")
    removal.move(home, "0" * 32, removal.removal(home, "Case-7", "0" * 32))
    shutil.copytree(home / "removed" / ("0" * 32) / "old-0", first.folder)  # its place is taken
    before = (first.folder / "case.json").read_bytes()
    removal.undo(home, "0" * 32)
    assert removal.waiting(home) == []
    kept = home / "removed" / ("kept-" + "0" * 32) / "old-0" / "case.json"
    assert kept.read_bytes() == before


def test_a_deletion_that_was_cut_off_is_undone_when_the_work_list_is_next_drawn(
    store: Store, home: Path
) -> None:
    library.add_volumes(home, FIRST)
    removal.move(home, "0" * 32, removal.removal(home, "case-0001", "0" * 32))
    case_index.sync(store, home)
    assert [e.case_id for e in library.list_cases(home)] == ["case-0001"]


# --- what the models said ------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [True, False], ids=["states its images", "earlier version"])
def test_an_answer_is_of_its_images_alone(home: Path, stated: bool) -> None:
    """Removed by hand, as a damaged record advises, and another patient added under the name."""
    first = library.add_volumes(home, FIRST, case_id="Case-7")
    made = kept_prediction(home, first, **({"images": first.images_sha256} if stated else {}))
    digest = made.bundle.digest
    assert archive.latest_stored(home, "Case-7", digest) is not None
    shutil.rmtree(first.folder)
    time.sleep(1.1)  # when a case was added is kept in seconds
    library.add_volumes(home, OTHER, case_id="Case-7")
    assert archive.latest(home, "Case-7", digest) is None
    assert archive.latest(home, "Case-7") is None
    assert archive.latest_stored(home, "Case-7", digest) is None
    assert archive.latest_words(home, "Case-7", digest) is None
    assert archive.newest(home, "Case-7", digest) is None
    assert archive.codes(home, digest) == {}
    if stated:  # the same images again: it is theirs
        shutil.rmtree(home / "cases" / "Case-7")
        library.add_volumes(home, FIRST, case_id="Case-7")
        assert archive.latest(home, "Case-7", digest) is not None


def test_a_kept_map_is_of_no_case_that_came_after_it(home: Path) -> None:
    entry = library.add_volumes(home, FIRST, case_id="Case-7")
    made = kept_prediction(home, entry)
    path = maps.map_path(home, made, 1, Primary.BREAST)
    maps.write_map(path, Volume(np.zeros(made.mask.shape, np.float32), made.mask.affine))
    assert maps.find_map(home, made, 1, Primary.BREAST) is not None
    os.utime(path, (0, entry.added.timestamp() - 60))
    assert maps.find_map(home, made, 1, Primary.BREAST) is None


@pytest.mark.parametrize("again", [False, True])
def test_what_was_read_of_a_case_that_is_gone_is_not_kept(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    library.add_volumes(home, FIRST, case_id="Case-7")

    def predict(case: Case, bundle: object, tell: object) -> Prediction:
        shutil.rmtree(home / "cases" / "Case-7")
        if again:
            library.add_volumes(home, OTHER, case_id="Case-7")
        return pages_fixture.make_prediction(case)

    monkeypatch.setattr(pipeline, "predict", predict)
    monkeypatch.setattr(tasks, "bundle", lambda: pages_fixture.INFO)
    bench = SimpleNamespace(home=home, store=store, tell=lambda *_: None, many=False, run=None)
    with pytest.raises(InputRefused, match="Case-7 was deleted meanwhile"):
        tasks.predict(bench, "Case-7")  # type: ignore[arg-type]
    assert not (home / "predictions").exists()


def test_a_clock_that_is_set_back_neither_hides_nor_removes_the_newest_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = library.add_volumes(home, FIRST, case_id="Case-7")
    for _ in range(3):
        made = kept_prediction(home, entry, images=entry.images_sha256)
    monkeypatch.setattr(archive.time, "time_ns", lambda: 10**18)
    stored = archive.keep(home, made, entry.images_sha256)
    assert stored.is_dir() and archive.newest(home, "Case-7", made.bundle.digest) == stored


# --- what was shown, and what is known -----------------------------------------------------------


def test_what_was_shown_of_other_images_opens_nothing(store: Store, home: Path) -> None:
    first = library.add_volumes(home, FIRST, case_id="Case-7")
    voted(store, first)
    store.show_models("Dr Ada", "Case-7", Evidence(first.images_sha256, "d", "r", "p"))

    def may(images: str) -> bool:
        return store.read(lambda c: exposure.may_be_shown(c, "Dr Ada", "Case-7", images))

    assert may(first.images_sha256) and not may("0" * 64)
    sent = store.read(lambda c: exposure.of_case(c, "Dr Ada", "Case-7", "0" * 64))
    assert sent == []
    with pytest.raises(BmcoreError, match="not open to Dr Ada"):
        store.show_models("Dr Ada", "Case-7", Evidence("0" * 64, "d", "r", "p"))


def test_a_known_primary_stays_with_its_images(store: Store, home: Path) -> None:
    entry = library.add_volumes(home, FIRST, case_id="Case-7")
    truth_table(home, "Case-7")
    assert references.truths(home) == {"Case-7": Primary.MELANOMA}
    renamed = removal.renaming(home, entry, "Case-8", "0" * 32)
    removal.move(home, "0" * 32, renamed)
    removal.finish(home, "0" * 32)  # and the process died before the file was written
    assert references.truths(home) == {"Case-8": Primary.MELANOMA}
    library.add_volumes(home, OTHER, case_id="Case-7")
    assert references.truths(home) == {"Case-8": Primary.MELANOMA}
    delete(store, home, "Case-8")
    assert "Case-8" not in references.truths(home)


def test_a_primary_kept_by_an_earlier_version_goes_to_no_later_case(home: Path) -> None:
    library.add_volumes(home, FIRST, case_id="Case-7")
    truth_table(home, "Case-7")
    stored = (home / references.STORED).read_text()
    earlier = stored.replace(library.get_entry(home, "Case-7").images_sha256, "")
    (home / references.STORED).write_text(earlier)
    assert references.truths(home) == {"Case-7": Primary.MELANOMA}
    shutil.rmtree(home / "cases" / "Case-7")
    time.sleep(1.1)
    library.add_volumes(home, OTHER, case_id="Case-7")
    assert references.truths(home) == {}
