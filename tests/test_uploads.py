"""Uploads: bytes on the disk as they come, from where they stopped, for whom they belong to."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from bmcore.domain import InputRefused
from bmcore.door import arrival, uploads

FILES = [("A/one.dcm", 5), ("A/empty", 0), ("A/two.dcm", 7), ("A/b/three.dcm", 3)]
BYTES = b"11111222222233" + b"3"
MOST = 10**6


def begun(home: Path, owner: str = "ada", mark: str = "m") -> arrival.Arrival:
    return uploads.begin(home, owner, FILES, mark, MOST)


def append(upload: arrival.Arrival, offset: int, piece: bytes) -> None:
    with uploads.appending(upload, offset) as writer:
        writer.write(piece)


@pytest.mark.parametrize("step", [1, 2, 4, 6, 15])
def test_pieces_of_any_size_become_the_files_that_were_announced(tmp_path: Path, step: int) -> None:
    upload = begun(tmp_path)
    for offset in range(0, 15, step):
        assert upload.received == offset and not upload.complete
        append(upload, offset, BYTES[offset : offset + step])
    assert upload.complete and upload.label == "A (4 files)"
    told = {source.name: source.path.read_bytes() for source in upload.sources()}
    assert told == {"A/one.dcm": b"11111", "A/two.dcm": b"2222222", "A/b/three.dcm": b"333"}


def test_nothing_is_taken_twice_out_of_order_or_beyond_the_end(tmp_path: Path) -> None:
    upload = begun(tmp_path)
    append(upload, 0, BYTES[:8])
    for wrong in (0, 7, 9, 15, -1):
        with pytest.raises(uploads.OutOfStep, match="byte 8 is expected"):
            append(upload, wrong, b"x")
    with uploads.appending(upload, 8), pytest.raises(uploads.OutOfStep, match="another piece"):
        append(upload, 8, b"x")
    with pytest.raises(InputRefused, match="more was sent than was announced"):
        append(upload, 8, b"x" * 8)
    assert upload.received == 8


def test_what_a_broken_line_brought_stays_and_the_same_files_go_on_there(tmp_path: Path) -> None:
    upload = begun(tmp_path)
    with pytest.raises(ConnectionError), uploads.appending(upload, 0) as writer:
        writer.write(BYTES[:9])
        raise ConnectionError
    again = begun(tmp_path)
    assert (again.id, again.received) == (upload.id, 9)
    assert begun(tmp_path, mark="other files").id != upload.id
    assert begun(tmp_path, owner="ben").id != upload.id
    append(again, 9, BYTES[9:])
    assert begun(tmp_path).id != upload.id  # it is complete: a new one of the same files


def test_an_upload_belongs_to_who_began_it(tmp_path: Path) -> None:
    upload = begun(tmp_path)
    assert arrival.find(tmp_path, upload.id, "ada") == upload
    for arrival_id, owner in ((upload.id, "ben"), ("0" * 32, "ada"), ("../cases", "ada")):
        with pytest.raises(InputRefused, match="no longer here"):
            arrival.find(tmp_path, arrival_id, owner)
    assert arrival.of(tmp_path, "ben") == []


def test_limits_are_said_before_a_byte_is_sent(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputRefused, match=r"found 2\.0 GB; expected at most 1 MB"):
        uploads.begin(tmp_path, "ada", [("a", 2 * 10**9)], "", MOST)
    free = uploads.SPARE + 100
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: Free(free))
    assert uploads.room(tmp_path, MOST) == 50  # it has to be unpacked beside itself
    uploads.begin(tmp_path, "ada", [("a", 40)], "", MOST)
    assert uploads.room(tmp_path, MOST) == 30  # 40 bytes are still to come
    with pytest.raises(InputRefused, match="too large for this server"):
        uploads.begin(tmp_path, "ben", [("a", 31)], "", MOST)


class Free:
    def __init__(self, free: int) -> None:
        self.free = free


def test_one_user_cannot_fill_the_server_with_unfinished_uploads(tmp_path: Path) -> None:
    for number in range(uploads.MOST_WAITING):
        begun(tmp_path, mark=str(number))
    with pytest.raises(InputRefused, match="are already waiting"):
        begun(tmp_path, mark="one more")
    assert begun(tmp_path, mark="3").mark == "3"


def test_a_full_disk_is_said_and_what_came_is_kept(tmp_path: Path, monkeypatch) -> None:
    upload = begun(tmp_path)
    append(upload, 0, BYTES[:4])

    class Full:
        def write(self, _piece: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(uploads.disk, "create", lambda *_, **__: Full())
    with pytest.raises(InputRefused, match="disk of the server is full"):
        append(upload, 4, b"1")
    assert upload.received == 4


def test_what_nobody_comes_back_for_is_removed_after_the_stated_time(tmp_path: Path) -> None:
    old, fresh = begun(tmp_path, mark="1"), begun(tmp_path, mark="2")
    longest = time.time() - 3600 * arrival.KEPT_HOURS
    os.utime(old.folder / "arrival.json", (longest - 60, longest - 60))
    os.utime(fresh.folder / "arrival.json", (longest + 60, longest + 60))
    half_made = arrival.folder_of(tmp_path) / ("a" * 32)
    half_made.mkdir()
    os.utime(half_made, (0, 0))
    assert arrival.sweep(tmp_path) == 2
    assert [a.id for a in arrival.of(tmp_path, "ada")] == [fresh.id]
    assert not half_made.exists()


def test_only_this_account_can_read_what_was_brought(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        upload = begun(tmp_path)
        append(upload, 0, BYTES)
    finally:
        os.umask(before)
    for path in (arrival.folder_of(tmp_path), *arrival.folder_of(tmp_path).rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_names_are_shown_and_never_paths(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/root/x", "C:\\data\\Müller\n.dcm", "", "a" * 3000]
    upload = uploads.begin(tmp_path, "ada", [(name, 1) for name in names], "", MOST)
    append(upload, 0, b"12345")
    assert sorted(p.name for p in (upload.folder / "files").iterdir()) == [
        f"{n:06d}" for n in range(5)
    ]
    assert upload.files[2][0] == "C:/data/Müller?.dcm" and len(upload.files[4][0]) == 400


def test_a_damaged_record_is_no_arrival(tmp_path: Path) -> None:
    upload = begun(tmp_path)
    for text in ("", "{}", "[]", json.dumps({"owner": "ada", "files": "x"})):
        (upload.folder / "arrival.json").write_text(text)
        assert arrival.of(tmp_path, "ada") == []
