"""Files that appear together, folders that appear whole: whatever stops the program, and when."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bmcore import disk
from bmcore.domain import InputRefused
from bmcore.inference import files
from bmcore.inference.files import new_folder, together

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("results.csv", "answers.csv", "report.html", "report.pdf")
KILLED = """
import os, sys
from pathlib import Path
from bmcore import disk
from bmcore.inference import files
left = [int(sys.argv[2])]
def one_by_one(done):
    def step(*given, **more):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return done(*given, **more)
    return step
disk.sync, Path.rename, Path.replace, Path.unlink, Path.mkdir = map(
    one_by_one, (disk.sync, Path.rename, Path.replace, Path.unlink, Path.mkdir))
"""
REPLACE = (
    KILLED
    + f"""
with files.together(Path(sys.argv[1]), {NAMES!r}) as work:
    for name in {NAMES!r}:
        (work / name).write_text("new")
"""
)
FILL = (
    KILLED
    + """
with files.new_folder(Path(sys.argv[1]), last="cases") as home:
    for name in ("models", "cases"):
        (home / name).mkdir()
        (home / name / "file").write_text("new")
    (home / "bmcore.sqlite").write_text("new")
"""
)


def killed(code: str, folder: Path, step: int) -> int:
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(step)], cwd=ROOT)
    return done.returncode


def write_new(out: Path) -> None:
    with together(out, NAMES) as work:
        for name in NAMES:
            (work / name).write_text("new")


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with three of the four files from before, and one that is not ours."""
    for name in (*NAMES[:2], NAMES[3], "notes.txt"):
        (tmp_path / name).write_text("old")
    return tmp_path


def test_a_folder_in_the_way_of_one_file_leaves_all_of_them_as_they_were(earlier: Path) -> None:
    (earlier / "answers.csv").unlink()
    (earlier / "answers.csv").mkdir()
    before = content(earlier)
    with pytest.raises(InputRefused, match=r"answers\.csv: a folder stands where an output file"):
        write_new(earlier)
    assert content(earlier) == before


@pytest.mark.parametrize("step", range(1, 5))
def test_a_move_that_fails_leaves_all_files_as_they_were(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    before, moves, real = content(earlier), [], disk.move_in

    def move_in(new: Path, place: Path) -> None:
        moves.append(place)
        if len(moves) == step:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(new, place)

    monkeypatch.setattr(disk, "move_in", move_in)
    with pytest.raises(InputRefused, match=r"the disk is full\. Try: make room"):
        write_new(earlier)
    assert content(earlier) == before


def test_killed_at_any_step_the_next_run_finds_all_old_or_all_new_files(tmp_path: Path) -> None:
    seen = set()
    for step in range(1, 80, 2):
        out = tmp_path / str(step)
        out.mkdir()
        for name in (*NAMES[:2], NAMES[3], "notes.txt"):
            (out / name).write_text("old")
        before = content(out)
        ended = killed(REPLACE, out, step)
        if (out / NAMES[-1]).exists():  # whoever opens the report meanwhile
            now = [(out / name).read_text() for name in NAMES if (out / name).exists()]
            assert now in (["old"] * 3, ["new"] * 4), step
        with pytest.raises(ZeroDivisionError), together(out, NAMES):
            1 / 0  # noqa: B018
        after = content(out)
        after.pop(".bmcore-out.lock", None)
        assert after in (before, {**before, **dict.fromkeys(NAMES, "new")}), step
        seen.add("new" if after != before else "old")
        if ended == 0:
            assert seen == {"old", "new"} and step > 20
            return
    raise AssertionError("it was never done")


def test_a_list_that_somebody_changed_is_refused_and_nothing_is_removed(earlier: Path) -> None:
    (earlier / files.BEFORE).mkdir()
    (earlier / files.BEFORE / "report.pdf").write_text("older")
    for text in ("{", "[]", json.dumps({"names": ["../x"], "earlier": []})):
        (earlier / files.BEFORE / "list.json").write_text(text)
        before = content(earlier)
        with pytest.raises(InputRefused):
            write_new(earlier)
        assert content(earlier) == before


def test_two_programs_do_not_write_into_one_folder(earlier: Path) -> None:
    with together(earlier, NAMES) as work:
        with pytest.raises(InputRefused, match="another program is writing here"):
            write_new(earlier)
        for name in NAMES:
            (work / name).write_text("new")
    assert content(earlier) == {**dict.fromkeys(NAMES, "new"), "notes.txt": "old"}


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_whose_making_was_killed_is_made_anew_or_said(tmp_path: Path, there: bool) -> None:
    whole = {"models/file": "new", "cases/file": "new", "bmcore.sqlite": "new"}
    said = 0
    for step in range(1, 60, 2):
        home = tmp_path / str(step) / "home"
        (home if there else home.parent).mkdir(parents=True)
        ended = killed(FILL, home, step)
        if (home / "cases").exists():
            assert {k: v for k, v in content(home).items() if ".home." not in k} == whole, step
        if ended == 0:
            assert step > 10 and content(home) == whole and said == (5 if there else 0), said
            return
        try:
            with new_folder(home, last="cases") as made:
                (made / "cases").mkdir()
        except InputRefused as refusal:
            said += "when the program was stopped" in str(refusal)
            assert "stopped" in str(refusal) or content(home) == whole, step
        else:
            assert sorted(p.name for p in home.iterdir()) == ["cases"], step
            assert sorted(p.name for p in home.parent.iterdir()) == ["home"], step
    raise AssertionError("it was never done")


def test_a_new_folder_is_private_from_the_start_and_an_empty_one_stays_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to(tmp_path / "empty", target_is_directory=True)
    before = (tmp_path / "empty").stat()
    for place in (tmp_path / "a" / "new", tmp_path / "link"):
        with new_folder(place, last="") as made:
            assert made.stat().st_mode & 0o077 == 0
            (made / "file").write_text("")
        assert [p.name for p in place.iterdir()] == ["file"]
    assert (tmp_path / "a" / "new").stat().st_mode & 0o077 == 0
    assert (tmp_path / "empty").stat().st_ino == before.st_ino
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "empty", "link"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk")
def test_a_disk_of_its_own_is_filled_and_one_that_is_full_stays_empty(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine allows no mount")
    try:
        with pytest.raises(InputRefused, match="the disk is full"):  # noqa: SIM117
            with new_folder(place, last="") as made:
                (made / "file").write_bytes(bytes(2**20))
        assert list(place.iterdir()) == []
        with new_folder(place, last="") as made:
            (made / "file").write_bytes(b"x")
        assert [p.name for p in place.iterdir()] == ["file"]
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("what", ["file", "filled"])
def test_what_is_neither_new_nor_empty_is_left_alone(tmp_path: Path, what: str) -> None:
    place = tmp_path / "place"
    if what == "filled":
        place.mkdir()
        (place / "own").write_text("mine")
    else:
        place.write_text("mine")
    with pytest.raises(InputRefused, match="must be new or empty"), new_folder(place, last=""):
        pass
    assert list(content(tmp_path).values()) == ["mine"]
