"""The real server, asked by a raw HTTP and websocket client: who gets in, and who does not.

``python -m streamlit run app.py`` as a process, also below a base path and behind a proxy.
"""

from __future__ import annotations

import http.client
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bmcore.review import accounts
from bmcore.review.store import open_store
from bmcore.settings import PROJECT
from tests import people_fixture
from tests.people_fixture import PASSWORD, READER_A
from tests.test_browser import SERVER

ADMIN, LEAD = "Max Admin", "Prof Iris"
NAV = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}


@dataclass
class Site:
    """A running server. base: its base path, with a slash before it."""

    port: int
    log: Path
    home: Path
    base: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body); ``path`` goes out as it stands; underscores become hyphens."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        line.putrequest(method, path, skip_host="Host" in sent)
        for name, value in {**sent, "Content-Length": str(len(body or b""))}.items():
            line.putheader(name, value)
        line.endheaders(body)
        answer = line.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        line.close()
        return found

    def post(self, **changes: Any) -> tuple[int, dict[str, str], bytes]:
        """Send the sign-in form; ``name``, ``password``, ``headers`` and ``path`` can be given."""
        form = {
            "name": changes.get("name", READER_A),
            "password": changes.get("password", PASSWORD),
        }
        headers = {"Origin": f"http://{self.host}", **changes.get("headers", {})}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        path = changes.get("path", f"{self.base}/sign-in")
        return self.ask(path, "POST", urlencode(form).encode(), **headers)

    def enter(self, name: str = READER_A, cookie: str = "") -> str:
        """Sign in; the cookie as the browser sends it back."""
        headers = {"Cookie": cookie} if cookie else {}
        status, told, _ = self.post(name=name, headers=headers)
        assert status == 303, status
        return told["set-cookie"].split(";")[0]

    def connect(
        self, cookie: str = "", session: str = "", path: str | None = None, **headers: str
    ) -> ClientConnection:
        protocols = ["streamlit", "xsrf", *([session] if session else [])]
        origin = headers.pop("Origin", f"http://{self.host}")
        extra = {k.replace("_", "-"): v for k, v in headers.items()}
        if cookie:
            extra["Cookie"] = cookie
        return connect(
            f"ws://{self.host}{self.base if path is None else ''}{path or '/_stcore/stream'}",
            subprotocols=protocols,  # type: ignore[arg-type]
            additional_headers=extra,
            origin=origin,  # type: ignore[arg-type]
            max_size=None,
            open_timeout=60,
        )


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


STREAMLIT = (sys.executable, "-m", "streamlit", "run", "app.py", *SERVER)


@contextmanager
def running(
    home: Path,
    base: str = "",
    command: tuple[str, ...] = STREAMLIT,
    log: Path | None = None,
    more: tuple[str, ...] = (),
    **environment: str,
) -> Iterator[Site]:
    """The server on a free port. more: further options."""
    log = log or home.parent / f"log of {home.name}{base.replace('/', ' ')}"
    site = Site(free_port(), log, home, base)
    port = f"--server.port={site.port}" if command == STREAMLIT else f"--port={site.port}"
    flags = [f"--server.baseUrlPath={base.strip('/')}"] if base else []
    told = {"BMCORE_HOME": str(home), "BMCORE_DEMO": "0", **environment}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, *flags, *more, port],
            cwd=PROJECT,
            env={**os.environ, **told},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(300):
            assert server.poll() is None, site.log.read_text()
            with suppress(OSError):
                if site.ask(f"{base}/_stcore/health")[0] == 200:
                    break
            time.sleep(0.2)
        yield site
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access") / "home"
    folder.mkdir()
    with open_store(people_fixture.url(folder)) as store:
        people_fixture.make_accounts(store)
    return folder


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Site]:
    with running(home) as server:
        yield server


# ---- what the browser does, by hand ------------------------------------------------------------


@dataclass
class Window:
    """A Streamlit page on a raw websocket."""

    socket: ClientConnection
    session: str = ""
    words: list[str] = field(default_factory=list)
    buttons: dict[str, str] = field(default_factory=dict)
    redirect: str = ""

    def open(self, page: str = "") -> Window:
        """Ask for a page and read until its script has ended."""
        message = BackMsg()
        message.rerun_script.page_name = page
        self.socket.send(message.SerializeToString())
        return self.read()

    def press(self, label: str) -> None:
        message = BackMsg()
        message.rerun_script.widget_states.widgets.add(id=self.buttons[label]).trigger_value = True
        self.socket.send(message.SerializeToString())

    def read(self) -> Window:
        self.words.clear()
        while True:
            message = ForwardMsg()
            message.ParseFromString(self.socket.recv(timeout=60))  # type: ignore[arg-type]
            kind = message.WhichOneof("type")
            if kind == "new_session" and message.new_session.initialize.session_id:
                self.session = message.new_session.initialize.session_id
            elif kind == "auth_redirect":
                self.redirect = message.auth_redirect.url
            elif kind == "delta":
                element = message.delta.new_element
                self.words.append(str(element))
                if element.WhichOneof("type") == "button":
                    self.buttons[element.button.label] = element.button.id
            elif kind == "script_finished" and "RERUN" not in str(message):
                return self

    @property
    def text(self) -> str:
        return "\n".join(self.words)

    def wait_for_the_end(self, seconds: float = 10) -> int | None:
        """Read on until the server closes; the code of the close."""
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                with suppress(TimeoutError):
                    message = ForwardMsg()
                    message.ParseFromString(self.socket.recv(timeout=0.5))  # type: ignore[arg-type]
                    self.redirect = message.auth_redirect.url or self.redirect
                    self.words.append(str(message.delta.new_element))
        except ConnectionClosed as fault:
            return fault.rcvd.code if fault.rcvd else None
        raise AssertionError("the connection is still open")


def refused(call) -> int:
    with pytest.raises(InvalidStatus) as fault:
        call()
    return int(fault.value.response.status_code)


# ---- nobody ------------------------------------------------------------------------------------

PATHS = [
    *("/media/x.csv", "/_stcore/metrics", "/_stcore/host-config", "/component/x/index.html"),
    *("/_stcore/bidi-components/bmcore_viewer/x.js", "/static/js/index.js", "/favicon.png"),
    *("/_stcore/stream", "/_stcore/upload_file/a/b", "/_stcore/script-health-check"),
    *("/_stcore/agent/openapi.json", "/app/static/x", "/", "/review", "/oauth2callback"),
    *("//media/x.csv", "/media//x.csv", "/media/../media/x.csv", "/./media/x", "/x/../media/x"),
    *("/%6dedia/x.csv", "/media%2fx.csv", "/%2e%2e/media/x", "/MEDIA/x", "/_STCORE/metrics"),
    *("/_stcore/metrics/", "/media/x.csv/", "/_stcore/upload_file/a/b/", "/_stcore%2fmetrics"),
    *("/_stcore/health/", "/_stcore/health/../metrics", "/_stcore/health%2f..%2fmetrics"),
    *("/sign-in/../media/x", "/sign-in%2f..%2fmedia/x", "/;/media/x", "/media;/x"),
]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_without_a_sign_in_nothing_is_given_or_taken(site: Site, method: str) -> None:
    for path in PATHS:
        status, _, body = site.ask(path, method, b"x" if method in ("PUT", "POST") else None)
        assert status in (400, 401), (path, status)
        assert b"session" not in body and len(body) < 100
    if method == "GET":
        assert site.ask("/_stcore/health")[0] == 200


def test_a_person_is_sent_to_the_sign_in_page_and_back(site: Site) -> None:
    status, told, _ = site.ask("/review?case=C1&password=secret", **NAV)
    assert (status, told["location"]) == (303, "./sign-in?next=%2Freview%3Fcase%3DC1")
    status, _, page = site.ask("/sign-in?next=%2Freview%3Fcase%3DC1&password=secret")
    assert status == 200 and b'value="/review?case=C1"' in page and b"secret" not in page
    assert b"not a medical device" in page
    form = {"name": READER_A, "password": PASSWORD, "next": "/review?case=C1"}
    headers = {"Origin": f"http://{site.host}", "Content-Type": "application/x-www-form-urlencoded"}
    status, told, _ = site.ask("/sign-in", "POST", urlencode(form).encode(), **headers)
    assert (status, told["location"]) == (303, "./review?case=C1")


@pytest.mark.parametrize(
    "wanted",
    [
        *("//evil.org", "https://evil.org", "/\\evil.org", "javascript:alert(1)", "/\t/evil.org"),
        *("x", "/sign-out", "/%0d%0aSet-Cookie:x=y" * 200),
    ],
)
def test_the_way_back_never_leads_elsewhere(site: Site, wanted: str) -> None:
    form = {"name": READER_A, "password": PASSWORD, "next": wanted}
    headers = {"Origin": f"http://{site.host}", "Content-Type": "application/x-www-form-urlencoded"}
    status, told, _ = site.ask("/sign-in", "POST", urlencode(form).encode(), **headers)
    assert (status, told["location"]) == (303, "./")


# ---- the cookie --------------------------------------------------------------------------------


def test_a_cookie_that_the_client_made_up_is_neither_accepted_nor_kept(site: Site) -> None:
    """F5: fixation. The former one's sign-in ends with the next."""
    made_up = f"bmcore_sign_in={'A' * 43}"
    assert site.ask("/", Cookie=made_up)[0] == 401
    first = site.enter(cookie=made_up)
    assert first.split("=")[1] != "A" * 43
    assert site.ask("/", Cookie=made_up)[0] == 401
    assert site.ask("/", Cookie=first)[0] == 200
    second = site.enter(cookie=first)
    assert second != first
    assert site.ask("/", Cookie=first)[0] == 401 and site.ask("/", Cookie=second)[0] == 200
    both = f"{second}; bmcore_sign_in={'A' * 43}"
    assert site.ask("/", Cookie=both)[0] == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    _, told, _ = site.post()
    parts = {part.strip().lower() for part in told["set-cookie"].split(";")}
    assert {"httponly", "samesite=strict", "path=/"} <= parts and "secure" not in parts
    _, told, _ = site.post(headers={"X-Forwarded-Proto": "https"})
    assert told["set-cookie"].startswith("__Host-bmcore_sign_in=")
    assert "; Secure" in told["set-cookie"]


def test_signing_out_drops_the_sign_in_and_the_cookie(site: Site) -> None:
    cookie = site.enter()
    assert site.ask("/sign-out", Cookie=cookie)[0] == 303  # a link to it does nothing
    assert site.ask("/", Cookie=cookie)[0] == 200
    elsewhere = {"Cookie": cookie, "Origin": "http://evil.org"}
    assert site.ask("/sign-out", "POST", **elsewhere)[0] == 403
    assert site.ask("/", Cookie=cookie)[0] == 200
    status, told, _ = site.ask("/sign-out", "POST", Cookie=cookie, Origin=f"http://{site.host}")
    assert status == 303 and "Max-Age=0" in told["set-cookie"]
    assert site.ask("/", Cookie=cookie)[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.org"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_the_form_is_taken_from_our_own_page_alone(site: Site, headers: dict[str, str]) -> None:
    assert site.post(headers=headers)[0] == 403
    assert site.ask("/sign-in", "POST", b"name=a&password=b")[0] == 403  # nothing said at all


def test_a_password_in_the_address_signs_nobody_in_and_is_not_logged(site: Site) -> None:
    query = urlencode({"name": READER_A, "password": PASSWORD})
    assert "set-cookie" not in site.ask(f"/sign-in?{query}", **NAV)[1]
    headers = {"Origin": f"http://{site.host}"}
    assert site.ask(f"/sign-in?{query}", "POST", **headers)[0] == 415
    assert refused(lambda: site.connect(path=f"/_stcore/stream?{query}")) == 403
    cookie = site.enter()
    with site.connect(cookie, path=f"/_stcore/stream?{query}") as line:
        Window(line).open()
    assert "horses" not in site.log.read_text()


def test_uvicorn_alone_logs_no_query_either(home: Path, tmp_path: Path) -> None:
    """``uvicorn app:app`` logs each request, which ``streamlit run`` does not."""
    query = urlencode({"password": PASSWORD})
    command = (sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1")
    with running(home, command=command, log=tmp_path / "log") as site:
        assert site.ask(f"/?{query}")[0] == 401
        assert refused(lambda: site.connect(path=f"/_stcore/stream?{query}")) == 403
        with site.connect(site.enter(), path=f"/_stcore/stream?{query}") as line:
            assert f"{READER_A}, reader" in Window(line).open().text
    log = site.log.read_text()
    assert '"GET / HTTP/1.1" 401' in log and '"WebSocket /_stcore/stream" [accepted]' in log
    assert "horses" not in log


def test_forms_that_are_long_or_broken_are_refused(site: Site) -> None:
    headers = {"Origin": f"http://{site.host}", "Content-Type": "application/x-www-form-urlencoded"}
    for body, status in (
        (b"name=" + b"x" * 100_000, 413),
        (b"name=%ff%fe&password=x", 400),
        (b"&".join([b"a=b"] * 50), 400),
        (b"", 400),
    ):
        assert site.ask("/sign-in", "POST", body, **headers)[0] == status


def test_a_name_is_drawn_as_it_was_typed(site: Site) -> None:
    name = '"><script>alert(1)</script>'
    status, _, page = site.post(name=name, password="wrong wrong wrong")
    assert status == 401 and b"<script" not in page and b"&lt;script&gt;" in page


def test_24_sign_ins_at_once_wait_for_their_turn_and_others_are_answered(site: Site) -> None:
    """Two hashes of 64 MiB at a time; before, 24 at once took 1.5 GiB."""
    before, most, worst, done = memory(site.port), [0], [0.0], threading.Event()

    def look() -> None:
        while not done.is_set():
            start = time.monotonic()
            site.ask("/_stcore/health")
            worst[0] = max(worst[0], time.monotonic() - start)
            most[0] = max(most[0], memory(site.port))
            time.sleep(0.02)

    found: list[tuple[int, dict[str, str]]] = []

    def enter(n: int) -> None:
        status, told, _ = site.post(name=f"Nobody {n}", password="wrong wrong wrong")
        found.append((status, told))

    threads = [threading.Thread(target=enter, args=(n,)) for n in range(24)]
    watcher = threading.Thread(target=look)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watcher.join()
    assert {status for status, _ in found} <= {401, 503} and len(found) == 24
    assert all(told["retry-after"] for status, told in found if status == 503)
    assert any(status == 401 for status, _ in found)
    assert most[0] - before < 400 * 2**20 and worst[0] < 3, (most, before, worst)


def memory(port: int) -> int:
    """Bytes that the server holds in memory now."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if f"--server.port={port}" in (place / "cmdline").read_text(errors="replace"):
                pages = int((place / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE")
    raise AssertionError("no server")


# ---- the websocket -----------------------------------------------------------------------------


def test_no_websocket_without_a_sign_in_or_for_another_page(site: Site) -> None:
    cookie = site.enter()
    assert refused(lambda: site.connect()) == 403
    assert refused(lambda: site.connect(f"bmcore_sign_in={'A' * 43}")) == 403
    for origin in ("http://evil.org", "http://localhost:9", "http://127.0.0.1:9", "null"):
        assert refused(lambda o=origin: site.connect(cookie, Origin=o)) == 403
    for path in ("//_stcore/stream", "/_stcore/stream/", "/x/_stcore/stream", "/%5fstcore//stream"):
        assert refused(lambda p=path: site.connect(cookie, path=p)) == 403
    with site.connect(cookie) as line:
        assert f"{READER_A}, reader" in Window(line).open().text


def test_a_session_is_reopened_by_its_own_sign_in_alone(site: Site) -> None:
    """F4: with its id and no cookie, with another's, and by the same one."""
    mine, other = site.enter(ADMIN), site.enter(READER_A)
    with site.connect(mine) as line:
        window = Window(line).open()
        assert f"{ADMIN}, administrator" in window.text
        assert refused(lambda: site.connect("", window.session)) == 403
        with site.connect(other, window.session) as stolen:
            thief = Window(stolen).open()
            assert thief.session != window.session
            assert ADMIN not in thief.text and f"{READER_A}, reader" in thief.text
        window.open()  # goes on
    assert refused(lambda: site.connect("", window.session)) == 403  # also once it is closed
    with site.connect(other, window.session) as stolen:
        assert ADMIN not in Window(stolen).open().text
    with site.connect(mine, window.session) as again:
        assert Window(again).open().session == window.session
    new = site.enter(ADMIN, mine)  # the same person's next sign-in
    with site.connect(new, window.session) as again:
        assert Window(again).open().session != window.session


def test_signing_out_closes_every_window_and_nothing_is_handled_after(site: Site) -> None:
    """F2: by the form, and by the button in another window."""
    cookie = site.enter(ADMIN)
    with site.connect(cookie) as one, site.connect(cookie) as two:
        first, second = Window(one).open(), Window(two).open()
        site.ask("/sign-out", "POST", Cookie=cookie, Origin=f"http://{site.host}")
        assert first.wait_for_the_end() == second.wait_for_the_end() == 4401
        assert first.redirect.startswith("sign-in?ended=1")
        with pytest.raises(ConnectionClosed):
            first.open("accounts")
            first.read()
    cookie = site.enter(ADMIN)
    with site.connect(cookie) as one, site.connect(cookie) as two:
        first, second = Window(one).open(), Window(two).open()
        second.press("Sign out")
        assert first.wait_for_the_end() == second.wait_for_the_end() == 4401
    assert site.ask("/", Cookie=cookie)[0] == 401
    for session in (first.session, second.session):  # shut down, not kept for a return
        with site.connect(site.enter(READER_A), session) as line:
            assert Window(line).open().session != session


def test_the_next_person_at_the_browser_ends_the_first_ones_windows(site: Site) -> None:
    """F2: an administrator's tab, and a reader who signs in in another one."""
    cookie = site.enter(ADMIN)
    with site.connect(cookie) as line:
        tab = Window(line).open("accounts")
        assert f"{ADMIN}, administrator" in tab.text
        site.enter(READER_A, cookie)
        assert tab.wait_for_the_end() == 4401
    with open_store(people_fixture.url(site.home)) as store:
        assert {a.name: a.role for a in accounts.listed(store)}[READER_A] == "reader"


@pytest.mark.parametrize("change", ["disable", "role", "password"])
def test_a_change_by_the_command_line_ends_the_windows_within_seconds(
    site: Site, change: str
) -> None:
    cookie = site.enter(people_fixture.READER_B)
    with site.connect(cookie) as line, open_store(people_fixture.url(site.home)) as store:
        window = Window(line).open()
        if change == "disable":
            accounts.set_disabled(store, people_fixture.READER_B, True)
        elif change == "role":
            accounts.set_role(store, people_fixture.READER_B, "investigator")
        else:
            accounts.set_password(store, people_fixture.READER_B, "another long password")
        start = time.monotonic()
        assert window.wait_for_the_end() == 4401
        assert time.monotonic() - start < 5
        assert site.ask("/", Cookie=cookie)[0] == 401
        accounts.set_disabled(store, people_fixture.READER_B, False)
        accounts.set_role(store, people_fixture.READER_B, "reader")
        accounts.set_password(store, people_fixture.READER_B, PASSWORD)


def test_messages_for_developers_do_nothing(site: Site) -> None:
    with site.connect(site.enter()) as line:
        window = Window(line).open()
        for message in (BackMsg(clear_cache=True), BackMsg(debug_shutdown_runtime=True)):
            line.send(message.SerializeToString())
        assert window.open().text  # still there
    assert site.ask("/_stcore/health")[0] == 200


# ---- uploads -----------------------------------------------------------------------------------


def upload(site: Site, session: str, cookie: str, method: str = "PUT", **headers: str) -> int:
    boundary = "boundary"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nx\r\n'
        f"--{boundary}--\r\n"
    ).encode()
    told = site.ask(f"{site.base}/_stcore/health")[1]["set-cookie"]
    xsrf = re.search(r"_streamlit_xsrf=([^;]+)", told)
    assert xsrf is not None
    sent = {
        "Cookie": f"{cookie}; _streamlit_xsrf={xsrf[1]}",
        "X-Xsrftoken": xsrf[1],
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Origin": f"http://{site.host}",
        **headers,
    }
    path = f"{site.base}/_stcore/upload_file/{session}/file-1"
    return site.ask(path, method, body, **sent)[0]


def test_files_go_into_ones_own_page_and_from_who_may_add_them(site: Site) -> None:
    lead, admin, reader = site.enter(LEAD), site.enter(ADMIN), site.enter(READER_A)
    with site.connect(lead) as one, site.connect(reader) as two:
        mine, theirs = Window(one).open().session, Window(two).open().session
        for method in ("PUT", "DELETE"):
            assert upload(site, mine, lead, method) == 204
            assert upload(site, mine, admin, method) == 403  # another's page
            assert upload(site, mine, reader, method) == 403
            assert upload(site, theirs, reader, method) == 403  # a reader adds nothing
            assert upload(site, theirs, lead, method) == 403
            assert upload(site, mine, "", method) == 401
            assert upload(site, "made-up", lead, method) == 403
            assert upload(site, mine, lead, method, Origin="http://127.0.0.1:1") == 403
        assert upload(site, mine, lead, "POST") == 405


def test_metrics_are_for_the_administrator(site: Site) -> None:
    assert site.ask("/_stcore/metrics")[0] == 401
    assert site.ask("/_stcore/metrics", Cookie=site.enter(READER_A))[0] == 404
    assert site.ask("/_stcore/metrics", Cookie=site.enter(ADMIN))[0] == 200


# ---- headers -----------------------------------------------------------------------------------


def test_every_answer_forbids_framing_and_foreign_sources(site: Site) -> None:
    cookie = site.enter()
    for path, headers in (
        ("/", {"Cookie": cookie}),
        ("/", {}),
        ("/", NAV),
        ("/sign-in", {}),
        ("/_stcore/health", {}),
        ("/media/none", {"Cookie": cookie}),
        ("//x", {"Cookie": cookie}),
    ):
        _, told, _ = site.ask(path, **headers)
        policy = dict(p.split(" ", 1) for p in told["content-security-policy"].split("; "))
        assert policy["frame-ancestors"] == "'none'" and told["x-frame-options"] == "DENY", path
        assert "http" not in policy["img-src"] and "*" not in told["content-security-policy"]
        assert told["x-content-type-options"] == "nosniff"
        assert told["referrer-policy"] == "same-origin"
        assert told["cross-origin-resource-policy"] == told["cross-origin-opener-policy"]
        assert "camera=()" in told["permissions-policy"]


def test_a_strange_host_is_not_served(site: Site) -> None:
    for host in ("", "a b", "evil.org/path", "user@evil.org", "127.0.0.1:notaport"):
        assert site.ask("/_stcore/health", Host=host)[0] == 400


# ---- a base path, and a proxy before it --------------------------------------------------------


class Proxy(threading.Thread):
    """A reverse proxy: passes connections on, with the headers that one adds."""

    def __init__(self, target: int, extra: bytes = b"", host: bytes | None = None) -> None:
        super().__init__(daemon=True)
        self._target, self._extra, self._host = target, extra, host
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.start()

    def run(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(line,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, line: socket.socket) -> None:
        with line, socket.create_connection(("127.0.0.1", self._target)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = line.recv(65536)
                if not piece:
                    return
                head += piece
            first, rest = head.split(b"\r\n", 1)
            if self._host is not None:
                rest = re.sub(rb"(?im)^host:[^\r]*", b"Host: " + self._host, rest, count=1)
            server.sendall(first + b"\r\n" + self._extra + rest)
            while True:
                ready, _, _ = select.select([line, server], [], [], 60)
                for one in ready:
                    piece = one.recv(65536)
                    if not piece:
                        return
                    (server if one is line else line).sendall(piece)


@pytest.fixture(scope="module")
def below(home: Path) -> Iterator[Site]:
    with running(home, base="/bm") as server:
        yield server


@pytest.fixture(params=["direct", "proxy"])
def based(below: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The server below /bm, asked itself or through a proxy that tells who asks."""
    if request.param == "direct":
        yield below
        return
    proxy = Proxy(below.port, b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n")
    yield Site(proxy.port, below.log, below.home, below.base)
    proxy.close()


def test_below_a_base_path_nothing_is_given_or_taken_without_a_sign_in(based: Site) -> None:
    """F3: an anonymous upload got 204 there, and files were handed out."""
    for path in PATHS:
        for whole in (f"/bm{path}", path, f"/BM{path}", f"//bm{path}", f"/bm/{path}"):
            for method in ("GET", "PUT", "DELETE"):
                status, _, body = based.ask(whole, method)
                assert status in (400, 401) and len(body) < 100, (method, whole, status)
    assert refused(lambda: based.connect()) == 403
    assert refused(lambda: based.connect(path="/_stcore/stream")) == 403
    assert upload(based, "a", "") == 401


def test_below_a_base_path_people_sign_in_and_work(based: Site) -> None:
    for start in ("/bm", "/bm/", "/bm/review"):
        status, told, _ = based.ask(start, **NAV)
        assert status == 303
        page = "/bm/" + told["location"].removeprefix("./").removeprefix("bm/").split("?")[0]
        assert page == "/bm/sign-in" and based.ask(page)[0] == 200
    lead = based.enter(LEAD)
    assert based.ask("/bm/", Cookie=lead)[0] == 200
    with based.connect(lead) as line, based.connect(based.enter(READER_A)) as other:
        window = Window(line).open()
        assert f"{LEAD}, investigator" in window.text
        assert upload(based, window.session, lead) == 204
        assert upload(based, Window(other).open().session, lead) == 403
        based.ask("/bm/sign-out", "POST", Cookie=lead, Origin=f"http://{based.host}")
        assert window.wait_for_the_end() == 4401


# ---- without accounts --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("open") / "home"
    folder.mkdir()
    with running(folder, BMCORE_IDLE_MINUTES="120") as server:
        yield server


def test_without_accounts_this_computer_needs_no_password(open_site: Site) -> None:
    assert open_site.ask("/")[0] == 200
    with open_site.connect() as line:
        assert "Single user on this computer" in Window(line).open().text


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Proto"],
)
def test_without_accounts_a_proxy_shows_nothing(open_site: Site, header: str) -> None:
    """F10: the proxy sends the host 127.0.0.1, as many do."""
    proxy = Proxy(open_site.port, f"{header}: 127.0.0.1\r\n".encode())
    through = Site(proxy.port, open_site.log, open_site.home)
    try:
        assert through.ask("/")[0] == 401
        assert through.ask("/media/x")[0] == 401
        status, _, page = through.ask("/sign-in")
        assert status == 403 and b"Accounts are needed" in page
        assert refused(lambda: through.connect()) == 403
        assert upload(through, "a", "") == 401
    finally:
        proxy.close()


def test_without_accounts_a_proxy_that_says_nothing_is_seen_by_the_origin(open_site: Site) -> None:
    """A page of votes.example.org, whose proxy asks for 127.0.0.1 and adds no header."""
    proxy = Proxy(open_site.port, host=open_site.host.encode())
    through = Site(proxy.port, open_site.log, open_site.home)
    try:
        assert refused(lambda: through.connect(Origin="https://votes.example.org")) == 403
        assert through.ask("/", Referer="https://votes.example.org/")[0] == 401
    finally:
        proxy.close()


def test_the_first_account_ends_the_open_windows(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with running(folder) as server, server.connect() as line:
        window = Window(line).open()
        with open_store(people_fixture.url(folder)) as store:
            people_fixture.make_accounts(store)
        assert window.wait_for_the_end(15) == 4401
        assert refused(lambda: server.connect("", window.session)) == 403
        with server.connect(server.enter(), window.session) as again:
            assert Window(again).open().session != window.session


# ---- idle time ---------------------------------------------------------------------------------


def test_who_does_nothing_is_signed_out_though_the_page_goes_on_talking(home: Path) -> None:
    """An idle time of six seconds; the page repeats its fragments, as a sheet's clock does."""
    with running(home, BMCORE_IDLE_MINUTES="0.1") as server:
        cookie = server.enter()
        with server.connect(cookie) as line:
            window = Window(line).open()
            start = time.monotonic()
            while time.monotonic() - start < 8:
                message = BackMsg()
                message.rerun_script.is_auto_rerun = True
                try:
                    line.send(message.SerializeToString())
                    line.recv(timeout=0.2)
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    break
            assert 5 < time.monotonic() - start < 8
        assert server.ask("/", Cookie=cookie)[0] == 401
        cookie = server.enter()
        with server.connect(cookie) as line:
            window = Window(line).open()
            for n in range(5):  # somebody is there: ten seconds, and still signed in
                message = BackMsg()
                message.rerun_script.query_string = f"case={n}"
                line.send(message.SerializeToString())
                window.read()
                time.sleep(2)
            assert server.ask("/", Cookie=cookie)[0] == 200
