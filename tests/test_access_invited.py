"""People set their own passwords: by a one-time link, as the first administrator, later anew."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import InputRefused
from bmcore.review import accounts, invitations
from bmcore.review.access import AccessRefused, Role
from bmcore.review.store import open_store
from bmcore.settings import settings
from tests import people_fixture
from tests.people_fixture import PASSWORD, READER_A
from tests.test_access_server import NAV, Site, running
from tests.test_pages_app import home, models, press, words

__all__ = ["home", "models"]  # fixtures
ADMIN, NEW = "Max Admin", "twelve slow otters"


def sent(site: Site, page: str, **form: str) -> tuple[int, dict[str, str], str]:
    headers = {
        "Origin": f"http://{site.host}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    status, told, body = site.ask(f"/{page}", "POST", urlencode(form).encode(), **headers)
    return status, told, body.decode()


@pytest.fixture
def store(tmp_path: Path):
    with open_store(people_fixture.url(tmp_path)) as opened:
        people_fixture.make_accounts(opened)
        yield opened


@pytest.fixture
def fresh_settings():
    settings.cache_clear()
    yield
    settings.cache_clear()


# the rule


def test_an_invitation_makes_the_account_once(store) -> None:
    made, token = invitations.invite(store, "Dr  Cy", "reader", ADMIN)
    assert (made.name, made.role, made.made_by) == ("Dr Cy", Role.READER, ADMIN)
    assert token not in str(
        store.read(lambda c: list(c.exec_driver_sql("SELECT * FROM invitations")))
    )
    assert invitations.look(store, token) == made
    with pytest.raises(InputRefused, match="too weak"):
        invitations.accept(store, token, "short")
    account = invitations.accept(store, token, NEW)  # a weak password did not use it up
    assert accounts.sign_in(store, "dr cy", NEW) == account
    assert invitations.open_ones(store) == []
    with pytest.raises(AccessRefused, match="no longer works"):
        invitations.accept(store, token, NEW + " again")
    assert accounts.sign_in(store, "Dr Cy", NEW)


def test_of_two_invitations_the_last_one_works_and_none_after_a_week(store) -> None:
    _, old = invitations.invite(store, "Dr Cy", "reader", ADMIN)
    _, token = invitations.invite(store, "dr cy", "investigator", ADMIN)
    assert invitations.look(store, old) is None
    later = datetime.now(UTC) + timedelta(days=7, seconds=5)
    assert invitations.look(store, token, lambda: later) is None
    with pytest.raises(AccessRefused):
        invitations.accept(store, token, NEW, lambda: later)
    invitations.withdraw(store, "DR CY")
    assert invitations.look(store, token) is None
    with pytest.raises(InputRefused, match="no such role"):
        invitations.invite(store, "Dr Cy", "surgeon", ADMIN)


def test_for_a_name_with_an_account_it_is_a_new_password_and_the_role_stays(store) -> None:
    before = accounts.sign_in(store, READER_A, PASSWORD)
    _, token = invitations.invite(store, READER_A, "administrator", ADMIN)
    after = invitations.accept(store, token, NEW)
    assert after.role is Role.READER and after.stamp != before.stamp  # open sign-ins end
    accounts.set_disabled(store, READER_A, True)
    _, token = invitations.invite(store, READER_A, "reader", ADMIN)
    with pytest.raises(InputRefused, match="disabled"):
        invitations.accept(store, token, NEW)


def test_the_own_password_needs_the_old_one(store) -> None:
    with pytest.raises(AccessRefused, match="is wrong"):
        accounts.change_own_password(store, READER_A, "wrong words here", NEW)
    accounts.change_own_password(store, READER_A, PASSWORD, NEW)
    assert accounts.sign_in(store, READER_A, NEW).name == READER_A


def test_the_command_line_prints_a_link_and_asks_for_an_administrator_first(
    tmp_path, monkeypatch, fresh_settings
) -> None:
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path))
    monkeypatch.setenv("BMCORE_DATABASE_URL", people_fixture.url(tmp_path))
    run = CliRunner().invoke(app, ["account", "invite", "Dr Cy"])
    assert run.exit_code == 2 and "no account yet" in run.output
    with open_store(people_fixture.url(tmp_path)) as store:
        people_fixture.make_accounts(store)
        run = CliRunner().invoke(app, ["account", "invite", "Dr Cy", "--site", "https://x.org/b/"])
        link = re.search(r"https://x\.org/b/invite\?token=(\S+)", run.output)
        assert link, (run.exit_code, run.output, run.exception)
        assert invitations.look(store, link[1]).name == "Dr Cy"


# the server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("invited") / "home"
    folder.mkdir()
    with open_store(people_fixture.url(folder)) as store:
        people_fixture.make_accounts(store)
    with running(folder) as server:
        yield server


def test_the_link_opens_a_page_that_sets_the_password_and_signs_in(site: Site) -> None:
    with open_store(people_fixture.url(site.home)) as store:
        _, token = invitations.invite(store, "Dr <Cy>", "reader", ADMIN)
    status, told, body = site.ask(f"/invite?token={token}", **NAV)
    assert status == 200 and "Welcome, Dr &lt;Cy&gt;" in body.decode()
    assert told["cache-control"] == "no-store"
    status, _, body = sent(site, "invite", token=token, password=NEW, again="other words here")
    assert status == 400 and "do not match" in body
    status, _, body = sent(site, "invite", token=token, password="short", again="short")
    assert status == 400 and "too weak" in body
    status, told, _ = sent(site, "invite", token=token, password=NEW, again=NEW)
    assert status == 303 and "HttpOnly" in told["set-cookie"]
    cookie = told["set-cookie"].split(";")[0]
    assert site.ask("/", Cookie=cookie, **NAV)[0] == 200
    assert site.ask(f"/invite?token={token}", **NAV)[0] == 404
    status, _, body = sent(site, "invite", token=token, password=NEW, again=NEW)
    assert status == 404 or "no longer works" in body
    assert token not in site.log.read_text()


def test_a_form_from_another_page_or_a_made_up_link_sets_nothing(site: Site) -> None:
    with open_store(people_fixture.url(site.home)) as store:
        _, token = invitations.invite(store, "Dr Dee", "reader", ADMIN)
        form = urlencode({"token": token, "password": NEW, "again": NEW}).encode()
        status, _, _ = site.ask(
            "/invite", "POST", form, Origin="http://evil.example",
            Content_Type="application/x-www-form-urlencoded",
        )  # fmt: skip
        assert status == 403
        assert site.ask("/invite?token=made-up", **NAV)[0] == 404
        assert sent(site, "invite", token="made-up", password=NEW, again=NEW)[0] in (400, 404)
        assert "Dr Dee" not in {a.name for a in accounts.listed(store)}


def test_once_there_are_accounts_nobody_makes_a_first_one(site: Site) -> None:
    status, told, _ = site.ask("/first", **NAV)
    assert status == 303 and told["location"].endswith("sign-in")
    status, told, _ = sent(site, "first", token="x", name="Eve", password=NEW, again=NEW)
    assert status == 303 and "set-cookie" not in told
    with open_store(people_fixture.url(site.home)) as store:
        assert "Eve" not in {a.name for a in accounts.listed(store)}


def test_a_shared_server_without_accounts_takes_its_first_by_the_code_of_its_console(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    with running(folder, more=("--server.address=0.0.0.0",)) as site:
        for _ in range(100):
            code = re.search(r"Code: (\S+)", site.log.read_text())
            if code:
                break
            site.ask("/_stcore/health")
        assert code, site.log.read_text()
        assert b"with the code" in site.ask("/sign-in", **NAV)[2]
        assert b"The first administrator" in site.ask("/first", **NAV)[2]
        status, _, body = sent(site, "first", token="x", name="Eve", password=NEW, again=NEW)
        assert status == 403 and "not the code" in body
        status, told, _ = sent(
            site, "first", token=code[1], name="Ann Lee", password=NEW, again=NEW
        )
        assert status == 303
        cookie = told["set-cookie"].split(";")[0]
        assert site.ask("/", Cookie=cookie, **NAV)[0] == 200
        with open_store(people_fixture.url(folder)) as store:
            assert [(a.name, a.role) for a in accounts.listed(store)] == [
                ("Ann Lee", Role.ADMINISTRATOR)
            ]


# the pages


def test_an_administrator_invites_on_the_page_and_the_link_is_shown_once(
    home: Path, models, monkeypatch
) -> None:
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    people_fixture.use_tokens(monkeypatch)
    page = AppTest.from_file("../pages/accounts.py", default_timeout=60)
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(home, ADMIN)
    page = page.run()
    next(t for t in page.text_input if t.label == "Name").set_value("Dr Cy")
    next(r for r in page.radio if r.label == "Role").set_value(Role.READER)
    page = press(page, "Create the link")
    assert not page.exception and not page.error
    link = next(c.value for c in page.code if "/invite?token=" in c.value)
    with open_store(people_fixture.url(home)) as store:
        assert invitations.look(store, link.split("token=")[1]).name == "Dr Cy"
    page = page.run()
    assert not [c for c in page.code if "token=" in c.value]
    assert "Dr Cy" in str(page.dataframe[1].value)


def test_the_own_password_is_changed_on_a_page_of_its_own(home: Path, models, monkeypatch) -> None:
    with open_store(people_fixture.url(home)) as store:
        people_fixture.make_accounts(store)
    people_fixture.use_tokens(monkeypatch)
    page = AppTest.from_file("../pages/my_password.py", default_timeout=60)
    page.session_state[people_fixture.TOKEN] = people_fixture.enter(home, READER_A)
    page = page.run()
    old, new, again = page.text_input
    old.set_value("wrong words here"), new.set_value(NEW), again.set_value(NEW)
    page = press(page, "Change the password")
    assert "is wrong" in words(page) + " ".join(e.value for e in page.error)
    old, new, again = page.text_input
    old.set_value(PASSWORD), new.set_value(NEW), again.set_value(NEW)
    page = press(page, "Change the password")
    with open_store(people_fixture.url(home)) as store:
        assert accounts.sign_in(store, READER_A, NEW)
