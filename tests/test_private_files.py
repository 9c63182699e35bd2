"""Home and database are private from birth, and what is stored is on the disk when it appears."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore import disk
from bmcore.domain import Volume
from bmcore.inference import archive, files
from bmcore.intake import library
from bmcore.review import corrections
from bmcore.review.store import open_store
from tests.reading_fixture import prediction
from tests.volumes_fixture import make_case, save

ROOT = Path(__file__).resolve().parent.parent

# All that stores something, in a process that would let everybody read and write all of it.
STORE_ALL = """
import os, sqlite3, sys
from pathlib import Path
os.umask({umask})
import numpy as np
from bmcore.domain import Volume
from bmcore.intake import library
from bmcore.inference import archive
from bmcore.running import keeper, progress, worker
from bmcore.review import corrections, runs
from bmcore.inference.files import write_json
from bmcore.review.store import open_store
from bmcore.review.connect import make_engine
from pages.parts.access import guard
from pages.parts import loaders
from pages.parts.viewer import block_cache
from tests.reading_fixture import prediction
from tests.volumes_fixture import make_case, save

home, work = Path({home!r}), Path({work!r})
entry = library.add_case(home, [save(make_case().grid, work / "t1c.nii")])
block_cache.images(home, entry)
made = prediction(case_id=entry.case_id)
archive.keep(home, made)
archive.pin(archive.newest(home, entry.case_id, made.bundle.digest))
corrections.keep_file(home, corrections.as_file(made.mask))
progress.Teller(home, runs.Run("predict", entry.case_id, "running", 0, "Ada", None), None)
keeper.COMMAND = [sys.executable, "-c", "print('a line of the log')"]
with worker._only_one(home), worker._machine(home, print): pass
archive.write_outputs(made, home / "out")
guard._logger().warning("a line")
votes = home / "far" / "votes.sqlite"
with open_store(f"sqlite:///{{votes}}") as store:
    store.add_reader("Dr Ada", "radiologist")
    keeper.ensure(home, store)
    keeper._children[home.resolve()].wait()
for mode in ("DELETE", "WAL"):  # journals that lie there while they are looked at
    with sqlite3.connect(votes) as raw:
        raw.execute(f"PRAGMA journal_mode = {{mode}}")
        raw.execute("BEGIN IMMEDIATE")
        raw.execute(f"CREATE TABLE extra_{{mode}} (a)")
        for path in votes.parent.iterdir():
            print(oct(path.stat().st_mode & 0o777), path.name)
    raw.close()
"""


def open_things(folder: Path) -> list[str]:
    """What others may do anything with, with the mode."""
    every = [folder, *folder.rglob("*")]
    return [
        f"{stat.S_IMODE(p.stat().st_mode):04o} {p.relative_to(folder)}"
        for p in every
        if p.stat().st_mode & 0o077
    ]


@pytest.mark.parametrize("umask", ["0", "0o022", "0o077"])
def test_nothing_below_a_new_home_can_be_read_by_others_whatever_the_umask(
    tmp_path: Path, umask: str
) -> None:
    home = tmp_path / "new" / "home"
    code = STORE_ALL.format(umask=umask, home=str(home), work=str(tmp_path / "work"))
    environment = {**os.environ, "BMCORE_HOME": str(home), "BMCORE_DEMO": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "votes.sqlite-wal" in done.stdout and "votes.sqlite-journal" in done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"0o600"}
    assert len([p for p in home.rglob("*") if p.is_file()]) > 12
    assert open_things(home) == []


def test_an_open_home_and_its_database_are_closed_when_they_are_opened(tmp_path: Path) -> None:
    home = tmp_path / "home"
    library.add_case(home, [save(make_case().grid, tmp_path / "t1c.nii")], "X")
    url = f"sqlite:///{home / 'bmcore.sqlite'}"
    open_store(url).close()
    other = tmp_path / "other.sqlite"
    open_store(f"sqlite:///{other}").close()
    for path in (home, *home.rglob("*"), other):
        path.chmod(0o777 if path.is_dir() else 0o666)
    disk.open_home(home)
    assert open_things(home) == []
    open_store(f"sqlite:///{other}").close()
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_an_open_home_of_another_account_is_told(tmp_path: Path, monkeypatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(disk, "_ours", lambda path: False)
    disk.open_home(tmp_path)
    finding = disk.open_to_others(tmp_path)
    assert finding is not None and "mode 0755" in finding.sentence
    tmp_path.chmod(0o700)
    assert disk.open_to_others(tmp_path) is None


def test_links_in_a_home_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("of somebody else")
    outside.chmod(0o644)
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    (home / "link").symlink_to(outside)
    disk.open_home(home)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """("sync", path) and ("move", place) in the order in which they reach the system."""
    told: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def note_sync(handle: int) -> None:
        told.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def note(move):
        def moved(source, place, **how):
            told.append(("move", f"{source} {place}"))
            move(source, place, **how)

        return moved

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "rename", note(rename))
    monkeypatch.setattr(os, "replace", note(replace))
    return told


def check_order(events: list[tuple[str, str]], place: Path, names: set[str]) -> None:
    """Each file was synced before it was moved to ``place``, and the folder above afterwards."""
    at = next(n for n, (kind, t) in enumerate(events) if kind == "move" and t.endswith(f" {place}"))
    before = events[at][1].split(" ")[0]
    synced = [path for kind, path in events[:at] if kind == "sync"]
    wanted = {f"{before}/{name}" for name in names} | {before}
    assert wanted <= set(synced), wanted - set(synced)
    assert ("sync", str(place.parent)) in events[at:]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_case_is_on_the_disk_before_it_appears(tmp_path: Path, events) -> None:
    entry = library.add_case(tmp_path, [save(make_case().grid, tmp_path / "t1c.nii")], "X")
    check_order(events, entry.folder, {"X-t1c.nii.gz", "case.json"})
    events.clear()
    library.update_clinical(tmp_path, "X", entry.clinical)
    check_order(events, entry.folder / "case.json", set())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_predictions_corrections_and_records_are_on_the_disk_before_they_appear(
    tmp_path: Path, events
) -> None:
    folder = archive.save(prediction(), tmp_path / "one")
    check_order(events, folder, {"mask.nii.gz", "arrays.npz", "prediction.json"})
    events.clear()
    files.write_json(tmp_path / "state.json", {"a": 1})
    check_order(events, tmp_path / "state.json", set())
    events.clear()
    corrections.keep_file(tmp_path, corrections.as_file(prediction().mask))
    (stored,) = (tmp_path / "marks").rglob("*.nii.gz")
    check_order(events, stored, set())
    events.clear()
    archive.write_outputs(prediction(), tmp_path / "out")
    check_order(events, tmp_path / "out", {"mask.nii.gz", "lesions.csv", "prediction.json"})


def test_the_same_image_gives_the_same_bytes_from_two_exports_at_two_times(tmp_path: Path) -> None:
    case = make_case()
    plain = save(case.grid, tmp_path / "a" / "one.nii")
    big = nib.Nifti1Image(np.asarray(case.grid.data, ">f4"), case.grid.affine)
    big = nib.Nifti1Image(big.dataobj, big.affine, big.header.as_byteswapped(">"))
    big.header["descrip"] = b"another export"
    (tmp_path / "b").mkdir()
    nib.save(big, tmp_path / "b" / "two.nii.gz")
    first = library.add_case(tmp_path / "one", {"t1c": plain}, "X")
    second = library.add_case(tmp_path / "two", {"t1c": tmp_path / "b" / "two.nii.gz"}, "X")
    assert first.sha256 == second.sha256
    assert first.content_sha256 == second.content_sha256
    assert first.sources["t1c"]["sha256"] != second.sources["t1c"]["sha256"]
    other = Volume(np.asarray(case.grid.data) + 1, case.grid.affine)
    third = library.add_case(tmp_path / "three", [save(other, tmp_path / "t1c.nii")], "X")
    assert third.content_sha256 != first.content_sha256


def test_a_case_without_a_name_gets_the_next_free_number_and_is_not_added_twice(
    tmp_path: Path,
) -> None:
    def brought(number: int) -> dict[str, Path]:
        volume = Volume(np.asarray(make_case().grid.data) + number, make_case().grid.affine)
        return {"t1c": save(volume, tmp_path / f"Hans-{number}.nii")}

    assert library.next_id(tmp_path) == "case-0001"
    assert library.add_case(tmp_path, brought(1)).case_id == "case-0001"
    assert library.add_case(tmp_path, brought(2)).case_id == "case-0002"
    assert library.add_case(tmp_path, brought(1)).case_id == "case-0001"
    many = [brought(number) for number in range(3, 9)]
    threads = [threading.Thread(target=library.add_case, args=(tmp_path, m)) for m in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.case_id for e in library.list_cases(tmp_path)] == [
        f"case-{n:04d}" for n in range(1, 9)
    ]
