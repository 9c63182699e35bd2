"""Uploads to the real server, by a raw client: to the disk, by whom it may be, by no one else."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmcore.door import arrival
from bmcore.review.store import open_store
from tests import people_fixture
from tests.people_fixture import READER_A
from tests.test_access_server import ADMIN, LEAD, Site, running

BYTES = bytes(range(256)) * 4000
FILES = [["ST/one", 600_000], ["ST/two", 424_000]]
FULL = {"received": 1_024_000, "size": 1_024_000}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("uploads") / "home"
    home.mkdir()
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    with running(home, base="/ward/mri", BMCORE_UPLOAD_GB="3") as server:
        yield server


def ask(
    site: Site, cookie: str, path: str, method: str, body: bytes = b"", **headers: str
) -> tuple[int, Any]:
    sent = {"Origin": f"http://{site.host}", "Cookie": cookie, **headers}
    if method == "POST":
        sent.setdefault("Content_Type", "application/json")
    status, _, told = site.ask(f"{site.base}{path}", method, body, **sent)
    return status, json.loads(told) if told[:1] == b"{" else told.decode()


def begin(site: Site, cookie: str, files: object = FILES, mark: str = "m") -> tuple[int, Any]:
    return ask(
        site, cookie, "/uploads", "POST", json.dumps({"files": files, "mark": mark}).encode()
    )


def test_pieces_reach_the_disk_and_a_broken_one_is_resumed(site: Site) -> None:
    lead = site.enter(LEAD)
    status, told = begin(site, lead)
    assert status == 200 and told["received"] == 0 and told["size"] == 1_024_000
    own = f"/uploads/{told['id']}"
    assert ask(site, lead, f"{own}?offset=0", "PUT", BYTES[:300_000])[1]["received"] == 300_000
    half_sent(site, lead, f"{own}?offset=300000", 500_000, BYTES[300_000:650_000])
    there = begin(site, lead)[1]
    assert there["id"] == told["id"] and 300_000 < there["received"] <= 650_000
    offset = there["received"]
    status, said = ask(site, lead, f"{own}?offset={offset + 1}", "PUT", BYTES[offset + 1 :])
    assert status == 409 and f"byte {offset} is expected" in said["error"].lower()
    status, said = ask(site, lead, f"{own}?offset={offset}", "PUT", BYTES[offset:])
    assert status == 200 and said.items() >= FULL.items()
    (found,) = arrival.of(site.home, key_of(LEAD))
    assert found.complete and b"".join(s.path.read_bytes() for s in found.sources()) == BYTES
    assert ask(site, lead, own, "DELETE")[0] == 204 and not found.folder.exists()
    assert ask(site, lead, own, "GET")[0] == 422


def key_of(name: str) -> str:
    from bmcore.review.access import Role, User

    return User(name, Role.INVESTIGATOR).key


def half_sent(site: Site, cookie: str, path: str, length: int, body: bytes) -> None:
    """A piece whose line breaks before it is whole."""
    line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    line.putrequest("PUT", f"{site.base}{path}")
    for name, value in {
        "Origin": f"http://{site.host}",
        "Cookie": cookie,
        "Content-Length": length,
    }.items():
        line.putheader(name, str(value))
    line.endheaders(body)

    time.sleep(0.5)
    line.close()
    time.sleep(0.5)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"])
def test_nobody_reaches_an_upload_without_a_sign_in_or_from_another_page(site, method) -> None:
    lead, reader = site.enter(LEAD), site.enter(READER_A)
    upload = begin(site, lead, mark="theirs")[1]["id"]
    for path in ("/uploads", f"/uploads/{upload}", f"/uploads/{upload}?offset=0"):
        plain = site.ask(f"{site.base}{path}", method, b"x", Origin=f"http://{site.host}")
        assert plain[0] == 401
        assert ask(site, reader, path, method, b"x")[0] == 403
        if method not in ("GET",):
            assert ask(site, lead, path, method, b"x", Origin="http://evil.org")[0] == 403
            bare = site.ask(f"{site.base}{path}", method, b"x", Cookie=lead)
            assert bare[0] == 403
    found = arrival.find(site.home, upload, key_of(LEAD))
    assert found.received == 0
    arrival.drop(found)


def test_another_users_upload_is_not_there_for_anyone_else(site: Site) -> None:
    lead, admin = site.enter(LEAD), site.enter(ADMIN)
    upload = begin(site, lead, mark="mine")[1]["id"]
    for method, more in (("GET", ""), ("PUT", "?offset=0"), ("DELETE", "")):
        status, told = ask(site, admin, f"/uploads/{upload}{more}", method, b"x")
        assert status == 422 and "no longer here" in told["error"]
    assert begin(site, admin, mark="mine")[1]["id"] != upload
    arrival.drop(arrival.find(site.home, upload, key_of(LEAD)))


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ([["a", 4_000_000_000]], 422, "Expected|too large for this server"),
        ([], 422, "nothing in it"),
        ([["a", 0]], 422, "nothing in it"),
        ([["a", -5]], 400, "cannot be read"),
        ([["a", int("9" * 399)]], 400, "cannot be read"),
        ([["a", 2**63]], 400, "cannot be read"),
        ([["a", 2**63 - 1]] * 3, 422, "too large for this server"),
        ([["a", 5.5]], 400, "cannot be read"),
        ([["a", 1e300]], 400, "cannot be read"),
        ([["a", float("nan")]], 400, "cannot be read"),
        ([["a", True]], 400, "cannot be read"),
        ([["a", "5"]], 400, "cannot be read"),
        ([[5, 5]], 400, "cannot be read"),
        ([["a"]], 400, "cannot be read"),
        ("x" * 10, 400, "cannot be read"),
        ([["a", 1]] * 50_001, 422, "too many files"),
    ],
)
def test_what_cannot_be_taken_is_said_before_a_byte_is_sent(site, files, status, words) -> None:
    lead = site.enter(LEAD)
    found, told = begin(site, lead, files)
    assert found == status and re.search(words, told["error"]), told


def test_a_request_that_is_none_of_ours_is_refused(site: Site) -> None:
    lead = site.enter(LEAD)
    upload = begin(site, lead, mark="odd")[1]["id"]
    own = f"/uploads/{upload}"
    assert ask(site, lead, "/uploads", "POST", b"{}", Content_Type="text/plain")[0] == 415
    assert ask(site, lead, "/uploads", "POST", b"\xff")[0] == 400
    assert ask(site, lead, "/uploads", "POST", b" " * 9_000_000)[0] == 413
    assert ask(site, lead, own, "PUT", b"x")[0] == 411
    for offset in ("x", "-1", "0_0", "%D9%A0", "1e3", "NaN", "9" * 399, "9" * 5000, "+0", ""):
        status, told = ask(site, lead, f"{own}?offset={offset}", "PUT", b"x")
        assert status == 411 and "where it begins" in told["error"], offset
    assert ask(site, lead, f"{own}?offset={9**19}", "PUT", b"x")[0] == 409
    assert ask(site, lead, "/uploads", "POST", b'{"files": [["a", 5]], "mark": 5}')[0] == 400
    assert ask(site, lead, f"{own}?offset=0", "PUT", b"x" * (33 * 2**20))[0] == 413
    assert ask(site, lead, f"{own}?offset=0", "PUT", b"x" * 1_100_000)[0] == 422
    for path in ("/uploads/", f"{own}/files/000000", "/uploads/../cases", f"{own}%2f"):
        assert ask(site, lead, path, "PUT", b"x")[0] in (404, 405)
    arrival.drop(arrival.find(site.home, upload, key_of(LEAD)))


def server_memory(site: Site) -> int:
    """Bytes of memory that the server's process holds now."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                if f"--server.port={site.port}".encode() in command.split(b"\0"):
                    told = (folder / "status").read_text()
            except OSError:
                continue  # it has ended
            else:
                if f"--server.port={site.port}".encode() in command.split(b"\0"):
                    return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", told)[1])  # type: ignore[index]
    raise AssertionError("the server's process was not found")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_large_upload_never_lies_in_the_memory_of_the_server(site: Site) -> None:
    """BMCORE_UPLOAD_BENCH_GB=2 sends more, and prints what it took."""
    size = int(float(os.environ.get("BMCORE_UPLOAD_BENCH_GB", "0.25")) * 10**9)
    piece, lead = bytes(8 * 2**20), site.enter(LEAD)
    own = f"/uploads/{begin(site, lead, [['large.zip', size]])[1]['id']}"
    ask(site, lead, f"{own}?offset=0", "PUT", piece)  # what the first piece loads is not counted
    before, at, started, most = server_memory(site), len(piece), time.monotonic(), 0
    while at < size:
        part = piece[: size - at]
        assert ask(site, lead, f"{own}?offset={at}", "PUT", part)[0] == 200
        at += len(part)
        if at % (10 * len(piece)) == 0:
            most = max(most, server_memory(site))
    seconds, grown = time.monotonic() - started, max(most, server_memory(site)) - before
    print(f"{size / 1e9:.2f} GB in {seconds:.1f} s; the server grew by {grown / 2**20:.0f} MiB")
    found = arrival.find(site.home, own.split("/")[2], key_of(LEAD))
    arrival.drop(found)
    assert grown < 64 * 2**20
