"""What another process removes while one looks at it is not there; nobody falls over it.

Each look is tried with the thing going away after every question that is asked of the file system,
from the listing on.
"""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bmcore import disk
from bmcore.door import arrival, bulk, inbox, uploads
from bmcore.inference import archive, references
from bmcore.intake import library, removal
from bmcore.review import case_index
from bmcore.review.store import open_store
from pages.parts.models import card
from tests.volumes_fixture import make_case, save

QUESTIONS = range(5)


@contextmanager
def going(path: Path, questions: int) -> Iterator[None]:
    """``path`` is removed by another as soon as this many questions about it are answered; after
    the listing that names it, if none."""
    asked, real_stat, real_list = 0, os.stat, os.listdir
    removing = False

    def remove() -> None:
        nonlocal removing
        removing = True
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        removing = False

    def stat_then_gone(of, *more, **how):
        nonlocal asked
        found = real_stat(of, *more, **how)
        if not removing and str(of) == str(path):
            asked += 1
            if asked == questions:
                remove()
        return found

    def list_then_gone(of="."):
        names = real_list(of)
        if not removing and questions == 0 and path.name in names:
            remove()
        return names

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "stat", stat_then_gone)
        patch.setattr(os, "listdir", list_then_gone)
        yield


def a_case(home: Path) -> Path:
    library.add_case(home, {"t1c": save(make_case().grid, home / "in" / "t1c.nii")}, "STAYS")
    other = {"t1c": save(make_case().grid, home / "in" / "again.nii")}
    return library.add_case(home, other, "GOES").folder


def a_draft(home: Path) -> Path:
    return disk.private_folder(home / "cases" / ".incoming-0123")


def an_arrival(home: Path) -> Path:
    made = arrival.begin(home, "rita", "a folder", [("a.dcm", 4)])
    made.path(0).write_bytes(b"abcd")
    return made.folder


def an_upload(home: Path) -> Path:
    return an_arrival(home) / "files" / "000000"


def a_zip(home: Path) -> Path:
    disk.private_folder(home / "inbox" / "stays")
    (home / "inbox" / "goes.zip").write_bytes(b"PK\x03\x04")
    return home / "inbox" / "goes.zip"


def a_run(home: Path) -> Path:
    return disk.private_folder(home / "predictions" / "CASE" / "0123456789abcdef" / f"{7:020d}")


def a_card(home: Path) -> Path:
    (home / "model_card.json").write_text("{}")
    return home / "model_card.json"


def a_kept_primary(home: Path) -> Path:
    (home / references.STORED).write_text('{"cases": {}, "replaced": []}')
    return home / references.STORED


def a_change(home: Path) -> Path:
    return disk.private_folder(home / "removed" / "token")


def in_the_index(home: Path) -> None:
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        case_index.check_all(store, home, "")
        assert "STAYS" in case_index.ids(store, case_index.Wish())


LOOKS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "cases": (a_case, lambda home: library.list_cases(home)),
    "a case": (a_case, lambda home: library.any_entry(home / "cases" / "GOES")),
    "names in use": (a_case, lambda home: library.next_id(home)),
    "index": (a_case, in_the_index),
    "draft of another": (a_draft, lambda home: a_case(home)),
    "arrivals": (an_arrival, lambda home: arrival.of(home, "rita")),
    "old arrivals": (an_arrival, lambda home: arrival.sweep(home)),
    "room": (an_upload, lambda home: uploads.room(home, 10**9)),
    "inbox": (a_zip, lambda home: inbox.listed(home / "inbox")),
    "folder of many": (a_zip, lambda home: bulk.items(home / "inbox")),
    "answers": (a_run, lambda home: archive.bundles(home)),
    "codes": (a_run, lambda home: archive.codes(home, "0123456789abcdef")),
    "kept primaries": (a_kept_primary, lambda home: references.provenance(home)),
    "card": (a_card, lambda home: card.read(home)),
    "unfinished changes": (a_change, lambda home: removal.waiting(home)),
}


@pytest.mark.parametrize("questions", QUESTIONS)
@pytest.mark.parametrize("look", LOOKS)
def test_what_goes_while_one_looks_is_not_there(look: str, questions: int, tmp_path: Path) -> None:
    bring, call = LOOKS[look]
    with going(bring(tmp_path), questions):
        call(tmp_path)


@pytest.mark.parametrize("questions", QUESTIONS)
def test_the_cases_that_stay_are_listed(questions: int, tmp_path: Path) -> None:
    with going(a_case(tmp_path), questions):
        assert "STAYS" in [entry.case_id for entry in library.list_cases(tmp_path)]


def test_many_cases_at_once_all_come_in(tmp_path: Path) -> None:
    files = [{"t1c": save(make_case().grid, tmp_path / f"in{n}" / "t1c.nii")} for n in range(12)]
    faults: list[BaseException] = []

    def bring(number: int) -> None:
        try:
            library.add_case(tmp_path, files[number], f"P{number:02d}")
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=bring, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(library.list_cases(tmp_path)) == 12
