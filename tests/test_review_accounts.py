"""Local accounts: hashes, locks after wrong passwords, and the command line."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import InputRefused
from bmcore.review import accounts, schema
from bmcore.review.access import AccessRefused, Role
from bmcore.review.store import Store, open_store
from bmcore.settings import settings

GOOD = "seven quiet horses"


@pytest.fixture
def store(tmp_path: Path):
    with open_store(f"sqlite:///{tmp_path / 'votes.sqlite'}") as opened:
        accounts.add(opened, "Dr  Ada", "reader", GOOD)
        yield opened


def refused(store: Store, password: str, at: datetime, name: str = "Dr Ada") -> str:
    with pytest.raises(AccessRefused) as fault:
        accounts.sign_in(store, name, password, lambda: at)
    return " ".join(f.sentence for f in fault.value.findings)


def test_a_password_is_kept_as_an_argon2_hash_and_lets_its_owner_in(store: Store) -> None:
    row = store.read(lambda c: c.execute(sa.select(schema.accounts)).one())
    assert row.password.startswith("$argon2id$") and GOOD not in str(row)
    found = accounts.sign_in(store, "dr ADA", GOOD)
    assert (found.name, found.role) == ("Dr Ada", Role.READER)
    user = accounts.session_user(store, found.name, found.stamp)
    assert user is not None and user.role is Role.READER


def test_five_wrong_passwords_lock_the_name_longer_and_longer(store: Store) -> None:
    now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    for _ in range(5):
        assert "is wrong" in refused(store, "a wrong password", now)
    assert "try again in 60 s" in refused(store, GOOD, now + timedelta(seconds=0.5))
    now += timedelta(seconds=61)
    assert "is wrong" in refused(store, "a wrong password", now)  # the sixth
    assert "locked" in refused(store, GOOD, now + timedelta(seconds=100))
    later = now + timedelta(seconds=121)
    accounts.sign_in(store, "Dr Ada", GOOD, lambda: later)
    for _ in range(4):  # a right one starts the count anew
        assert "is wrong" in refused(store, "a wrong password", later)
    accounts.sign_in(store, "Dr Ada", GOOD, lambda: later)


def test_the_longest_lock_is_a_quarter_of_an_hour(store: Store) -> None:
    now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    for _ in range(15):
        refused(store, "a wrong password", now)
        now += timedelta(seconds=901)
    accounts.sign_in(store, "Dr Ada", GOOD, lambda: now)


def test_a_lock_from_a_clock_that_was_ahead_is_over_once_the_clock_is_right(store: Store) -> None:
    now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    for _ in range(5):
        refused(store, "a wrong password", now + timedelta(days=400))
    assert "is wrong" in refused(store, "a wrong password", now)  # the sixth
    assert "try again in 120 s" in refused(store, GOOD, now + timedelta(seconds=0.5))
    accounts.sign_in(store, "Dr Ada", GOOD, lambda: now + timedelta(seconds=121))


def test_a_name_without_an_account_is_told_the_same(store: Store) -> None:
    """Also at the sixth and the tenth wrong password, and for names that nobody can have."""
    others = ["Nobody", "x" * 5000, "nul \0 and \ud800", ""]
    for n in range(10):
        now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC) + timedelta(seconds=15 * n)
        known = refused(store, "a wrong password", now)
        assert ("is locked after" in known) is (5 <= n < 8 or n == 9), n
        for name in others:
            assert refused(store, "a wrong password", now, name) == known


def test_what_was_typed_as_a_name_is_not_kept_and_old_attempts_go(store: Store) -> None:
    now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    refused(store, "a wrong password", now, "my password by mistake")
    kept = store.read(lambda c: c.execute(sa.select(schema.sign_in_attempts)).all())
    assert len(kept) == 1 and "mistake" not in str(kept)
    refused(store, "a wrong password", now + timedelta(hours=25))
    kept = store.read(lambda c: c.execute(sa.select(schema.sign_in_attempts)).all())
    assert [row.tried_at for row in kept] == [now + timedelta(hours=25)]


def test_the_counted_names_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MOST_COUNTED", 10)
    monkeypatch.setattr(accounts, "_matches", lambda stored, password: False)
    now = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
    for n in range(25):
        refused(store, "a wrong password", now + timedelta(seconds=n), f"Nobody {n}")
    kept = store.read(lambda c: c.execute(sa.select(schema.sign_in_attempts)).all())
    assert len(kept) == 10 and max(row.tried_at for row in kept) == now + timedelta(seconds=24)


def test_a_wrong_password_takes_as_long_for_a_name_without_an_account(store: Store) -> None:
    """Both compute one hash; the medians of a few lie within the noise of this computer."""
    times: dict[str, list[float]] = {"Dr Ada": [], "Nobody": []}
    for n in range(8):
        for name in times:
            start = time.perf_counter()
            refused(store, "a wrong password", datetime(2026, 11, 1 + n, tzinfo=UTC), name)
            times[name].append(time.perf_counter() - start)
    known, unknown = (sorted(spent)[3] for spent in times.values())
    assert 0.5 < known / unknown < 2


def test_no_more_than_two_hashes_are_computed_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, lock = [0], [0], threading.Lock()

    class Slow:
        def verify(self, stored: str, password: str) -> bool:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.05)
            with lock:
                running[0] -= 1
            return True

    monkeypatch.setattr(accounts, "_hasher", lambda: Slow())
    threads = [
        threading.Thread(target=accounts._matches, args=("stored", "password")) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2]


def test_a_shut_account_does_not_let_in_and_ends_its_sessions(store: Store) -> None:
    stamp = accounts.sign_in(store, "Dr Ada", GOOD).stamp
    accounts.add(store, "Max", "administrator", GOOD)
    accounts.set_disabled(store, "Dr Ada", True)
    assert accounts.session_user(store, "Dr Ada", stamp) is None
    assert "is wrong" in refused(store, GOOD, datetime.now(UTC))


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaa", "my name is dr ada", "x" * 201])
def test_weak_passwords_are_refused(store: Store, password: str) -> None:
    with pytest.raises(InputRefused, match="too weak"):
        accounts.set_password(store, "Dr Ada", password)


def test_the_last_administrator_stays(store: Store) -> None:
    accounts.add(store, "Max", "administrator", GOOD)
    for change in (
        lambda: accounts.set_disabled(store, "Max", True),
        lambda: accounts.set_role(store, "Max", "reader"),
    ):
        with pytest.raises(InputRefused, match="there must be at least one administrator"):
            change()
    assert accounts.session_user(store, "Max", accounts.listed(store)[1].stamp) is not None


def test_accounts_are_kept_on_the_command_line_and_no_password_is_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    settings.cache_clear()

    def run(*words: str, said: str = "", code: int = 0) -> str:
        result = CliRunner().invoke(app, ["account", *words], input=said)
        assert result.exit_code == code, result.output
        return result.output

    try:
        assert "no accounts" in run("list")
        assert "must be an administrator" in run("add", "Ada", said=f"{GOOD}\n", code=2)
        run("add", "Max", "--role", "administrator", said=f"{GOOD}\n")
        run("add", "Ada", said=f"{GOOD}\n")
        assert "there is already an account" in run("add", "ADA", said=f"{GOOD}\n", code=2)
        run("role", "Ada", "investigator")
        run("password", "Ada", said="eight quiet horses\n")
        run("disable", "Ada")
        assert "Ada: investigator, disabled" in run("list")
        run("enable", "Ada")
        assert "no such role" in run("role", "Ada", "king", code=2)
        with open_store(settings().url) as store:
            accounts.sign_in(store, "Ada", "eight quiet horses")
        help_text = run("add", "--help")
        assert "--password" not in help_text
    finally:
        settings.cache_clear()
