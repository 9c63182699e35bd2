"""Who has signed in: what a cookie stands for, which connections and pages rest on it.

The cookie is a random number that means nothing elsewhere; who it stands for lies in this process
alone, so a restart of the server signs everybody out. Only values that ``enter`` made are known.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bmcore.review.access import User

MOST = 10_000  # sign-ins at once; who has not been seen for longest goes first
LOOK_AGAIN_S = 1.0  # for so long an account's standing is believed without the database
LOCAL = ""  # in the place of a cookie's value: the one user of a computer without accounts


@dataclass
class SignIn:
    """One sign-in. seen_s: the last sign of life; checked_s: when the account was looked up."""

    token: str
    name: str
    stamp: str
    seen_s: float
    sessions: set[str] = field(default_factory=set)
    ended: dict[object, Callable[[], None]] = field(default_factory=dict)
    user: User | None = None
    checked_s: float = float("-inf")


class Register:
    """All sign-ins of this process; shared by the server's threads.

    idle_s: signed out after so long without a sign of life.
    """

    def __init__(
        self, idle_s: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._by_token: dict[str, SignIn] = {}
        self._owners: dict[str, str] = {}  # Streamlit session -> token, or LOCAL
        self._lock, self._clock, self._idle_s = threading.RLock(), clock, idle_s
        self._at_end: list[Callable[[frozenset[str]], None]] = []

    def enter(self, name: str, stamp: str) -> str:
        """A new sign-in; returns the value of its cookie, never one that was there before."""
        with self._lock:
            if len(self._by_token) >= MOST:
                self.leave(min(self._by_token.values(), key=lambda s: s.seen_s).token)
            token = secrets.token_urlsafe(32)
            self._by_token[token] = SignIn(token, name, stamp, self._clock())
            return token

    def find(self, token: str | None) -> SignIn | None:
        """The sign-in of a cookie; None where it was never made, has ended or was idle too long.

        Looking is no sign of life, see ``touch``.
        """
        with self._lock:
            found = self._by_token.get(token or "")
            if found is not None and self._clock() - found.seen_s > self._idle_s():
                self.leave(found.token)
                return None
            return found

    def touch(self, token: str | None) -> None:
        """Somebody did something."""
        with self._lock:
            found = self.find(token)
            if found is not None:
                found.seen_s = self._clock()

    def leave(self, token: str | None) -> None:
        """End a sign-in: its connections are closed and its pages are gone."""
        with self._lock:
            found = self._by_token.pop(token or "", None)
            if found is None:
                return
            for session in found.sessions:
                self._owners.pop(session, None)
            endings, sessions = list(found.ended.values()), frozenset(found.sessions)
            at_end = list(self._at_end)
        for ending in endings:
            ending()
        for close in at_end:
            close(sessions)

    def leave_all_of(self, is_person: Callable[[str], bool]) -> None:
        """End every sign-in whose name is the person's."""
        with self._lock:
            tokens = [s.token for s in self._by_token.values() if is_person(s.name)]
        for token in tokens:
            self.leave(token)

    def user(self, token: str | None, look: Callable[[str, str], User | None]) -> User | None:
        """Who this cookie stands for now. look: the account's user by name and stamp, or None."""
        found = self.find(token)
        if found is None:
            return None
        user = look(found.name, found.stamp)
        if user is None:
            self.leave(found.token)
        found.user, found.checked_s = user, self._clock()
        return user

    def believed(self, token: str | None) -> User | None:
        """Who this cookie stands for, if that was looked up less than ``LOOK_AGAIN_S`` ago."""
        found = self.find(token)
        if found is None or self._clock() - found.checked_s > LOOK_AGAIN_S:
            return None
        return found.user

    def on_end(self, token: str, key: object, ending: Callable[[], None]) -> bool:
        """Call ``ending`` once the sign-in ends; False where it has."""
        with self._lock:
            found = self.find(token)
            if found is not None:
                found.ended[key] = ending
            return found is not None

    def no_longer(self, token: str, key: object) -> None:
        with self._lock:
            found = self._by_token.get(token)
            if found is not None:
                found.ended.pop(key, None)

    def at_every_end(self, close: Callable[[frozenset[str]], None]) -> None:
        """Call ``close`` with the Streamlit sessions of each sign-in that ends."""
        with self._lock:
            self._at_end.append(close)

    def own(self, session: str, token: str) -> bool:
        """Bind a Streamlit session to a sign-in, or to LOCAL, for good; False where it is not its.

        A session belongs to the first one that asked.
        """
        with self._lock:
            found = None if token == LOCAL else self.find(token)
            if token != LOCAL and found is None:
                return False
            if self._owners.setdefault(session, token) != token:
                return False
            if found is not None:
                found.sessions.add(session)
            return True

    def owner(self, session: str) -> str | None:
        """The cookie's value, or LOCAL, that a Streamlit session belongs to; None: nobody's."""
        with self._lock:
            token = self._owners.get(session)
            return token if token is None or token == LOCAL or self.find(token) else None
