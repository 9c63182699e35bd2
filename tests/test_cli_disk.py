"""A full disk, a closed folder, a path that leads nowhere: a sentence, exit 2, nothing left."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bmcore import disk
from bmcore.cli import app
from bmcore.models.bundles import load_bundle
from bmcore.phantom import cohort
from bmcore.review import plan
from bmcore.review.package import pack
from bmcore.review.store import open_store
from bmcore.settings import settings
from tests import pages_home, people_fixture

ROWS = [("-1", "0"), *((reader, which) for reader in ("r1", "r2") for which in "AB")]
SCORES = "BEGIN DATA:\n" + "".join(
    f"{reader},c{n},{which},{n % 2 if reader == '-1' else (n * k) % 5}\n"
    for k, (reader, which) in enumerate(ROWS, start=1)
    for n in range(8)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a locked study, a package of it and scores of another program."""
    root = tmp_path_factory.mktemp("home")
    info = pages_home.make_bundle(root / "models")
    people_fixture.make_home(root, root / "work", info, ["Case-1"])
    questions = [{"id": "primary", "kind": "primary", "text": "Which?"}]
    study = people_fixture.make_study(
        ["Case-1"], design={"kind": "sequential", "arms": ["unaided", "aided"]}, questions=questions
    )
    with open_store(people_fixture.url(root)) as store:
        plan.lock(store, study, "Ada")
    pack(study, root, load_bundle(root / "models"), root / "study.zip")
    (root / "scores.csv").write_text(SCORES)
    return root


@pytest.fixture
def home(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BMCORE_HOME", str(made))
    monkeypatch.setenv("BMCORE_BUNDLE", str(made / "models"))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    settings.cache_clear()
    yield made
    settings.cache_clear()


@contextmanager
def files_no_longer_than(most: int) -> Iterator[None]:
    """What is longer cannot be written, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def draw_quickly(seed: int, *_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


COMMANDS = {  # the words, and the bytes that a file may have: the database has room for a journal
    "package": ("package --study small --out OUT.zip", 60_000),
    "unpack": ("unpack HOME/study.zip --home OUT --author Ada", 1000),
    "merge": ("merge HOME/bmcore.sqlite --out OUT.sqlite", 60_000),
    "report": ("report --out OUT", 60_000),
    "mrmc": ("mrmc HOME/scores.csv --out OUT", 1000),
    "phantom": ("phantom --cases 1 --out OUT", 1000),
    "study example": ("study example --out OUT.yaml", 0),  # it is smaller than the journal
    "verify": ("verify --write-anchor OUT.txt", 50),
}


def words_of(name: str, home: Path, out: Path) -> list[str]:
    words = COMMANDS[name][0].split()
    return [word.replace("HOME", str(home)).replace("OUT", str(out)) for word in words]


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name][1]])
def test_a_full_disk_is_a_sentence_with_the_path_and_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(cohort, "draw_case", draw_quickly)
    out = tmp_path / "out"
    with files_no_longer_than(COMMANDS[name][1]):
        result = CliRunner().invoke(app, words_of(name, home, out))
    assert result.exit_code == 2, result.output
    (told,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert str(out) in told, told
    assert "Try: " in told and "Errno" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["package", "study example", "verify"])
def test_a_folder_that_is_not_there_is_a_sentence_with_the_path(
    home: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "none" / "out"
    result = CliRunner().invoke(app, words_of(name, home, out))
    assert result.exit_code == 2
    assert f"error: {out}" in result.output and "there is no such file or folder" in result.output


def test_an_anchor_that_cannot_be_added_leaves_the_earlier_ones(home: Path, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors"
    anchors.write_text("x" * 40 + "\n")
    with files_no_longer_than(50):
        result = CliRunner().invoke(app, ["verify", "--write-anchor", str(anchors)])
    assert result.exit_code == 2 and anchors.read_text() == "x" * 40 + "\n"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", None), "place: the disk is full"),
        (OSError(errno.EDQUOT, "Quota", "f"), "f: the disk is full for this account"),
        (OSError(errno.EFBIG, "Too large"), "place: the file grew larger"),
        (OSError(errno.EROFS, "Read-only", "f"), "f: the disk is read-only"),
        (PermissionError(errno.EACCES, "no", "f"), "f: this account may not read or write"),
        (OSError(errno.EACCES, "no", "/x/.place.ab12.zip"), "/x/.place"),
        (OSError(errno.EIO, "I/O error", "f"), "could not read or write here .found I/O error"),
        (OSError("No space left on device: 'x'"), "place: the disk is full"),
        (RuntimeError("enforce fail: file write failed"), "place: the disk is full"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(fault: Exception, words: str) -> None:
    import re

    told = disk.refusal(fault, "place")
    assert told is not None and re.search(words, str(told)) and "Try: " in str(told)


@pytest.mark.parametrize(
    "fault", [RuntimeError("something else"), BrokenPipeError(errno.EPIPE, "gone"), ValueError("x")]
)
def test_other_faults_are_not_the_disks(fault: Exception) -> None:
    assert disk.refusal(fault, "place") is None


def test_a_name_under_which_it_is_written_at_first_is_told_as_the_place(tmp_path: Path) -> None:
    for hidden in (tmp_path / ".out.ab12.zip", tmp_path / "out" / ".new" / "cases" / "x"):
        told = disk.refusal(OSError(errno.EACCES, "no", str(hidden)), tmp_path / "out")
        assert told is not None and told.findings[0].file == str(tmp_path / "out")
