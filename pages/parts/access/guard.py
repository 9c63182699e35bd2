"""What every page begins with: ``with page("Title", "action"):``.

It works when the page is the only script that runs. It draws the notice and the badge, lets nobody
further who may not do ``action`` (``bmcore.review.access``), and turns every error into sentences:
what the user can act on is shown as it is, anything else is written to the log file with its
traceback and shown as one friendly sentence with the place in the log.
"""

from __future__ import annotations

import functools
import logging
import re
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any, ParamSpec

import streamlit as st

from bmcore import disk
from bmcore.domain import BmcoreError, Finding
from bmcore.review import access
from bmcore.review.access import AccessRefused, Standing, User
from bmcore.settings import settings
from pages.parts.access import session
from pages.parts.words import escaped, in_words, sentence

P = ParamSpec("P")
LOG_NAME = "app.log"
# What shows answers of others: not for who still has to give the own.
_RESULTS = ("study.decide", "masks.export", "agreement.see", "report.build", "report.export")


class _PrivateLog(RotatingFileHandler):
    """A log that only this account can read."""

    def _open(self) -> IO[str]:  # type: ignore[override]
        return disk.create(self.baseFilename, self.mode, encoding="utf-8")


class _Nameless(logging.Formatter):
    """Writes the kind of an exception and the lines of code, not its message: that may quote a
    cell of a table or the name of a file, and so a patient."""

    def formatException(self, info: Any) -> str:
        told, error = [], info[1]
        while error is not None:
            why = error.strerror if isinstance(error, OSError) else None
            kind = type(error).__qualname__ + (f": {why}" if why else "")
            lines = "".join(traceback.format_tb(error.__traceback__))
            told.append(f"Traceback (most recent call last):\n{lines}{kind}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n\nled to\n\n".join(reversed(told))


def log_file() -> Path:
    return settings().home / "logs" / LOG_NAME


def _logger() -> logging.Logger:
    """The log of this home folder; its file is opened once and kept small (5 files of 1 MB)."""
    logger = logging.getLogger(f"bmcore.pages.{log_file()}")
    if not logger.handlers:
        disk.private_folder(log_file().parent)
        handler = _PrivateLog(log_file(), maxBytes=1_000_000, backupCount=4)
        handler.setFormatter(_Nameless("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    return logger


def show_findings(error: BmcoreError) -> None:
    """All problems in one box, a line each; text from files is never read as Markdown."""
    lines = [sentence(finding) for finding in error.findings]
    st.error(lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines))


def unexpected() -> str:
    """Write the exception that is being handled to the log; the sentence to show instead."""
    reference = uuid.uuid4().hex[:8]
    _logger().exception("reference %s", reference)
    return (
        "Something went wrong on this page; your stored votes are safe. Reload the page. "
        f"If it happens again, pass on the reference {reference}: the details are in {log_file()}."
    )


@contextmanager
def error_boundary() -> Iterator[None]:
    """Turn every error in the block into sentences."""
    try:
        yield
    except AccessRefused as error:
        say_refused(error)
    except BmcoreError as error:
        show_findings(error)
    except Exception:
        st.error(unexpected())


@contextmanager
def named(names: Mapping[str, str]) -> Iterator[None]:
    """Let what is refused in the block name files as the user did: our name -> the user's."""
    try:
        yield
    except BmcoreError as error:
        raise type(error)(*(_as_user(f, names) for f in error.findings)) from error


def _as_user(finding: Finding, names: Mapping[str, str]) -> Finding:
    """Our names of files, as the file of a finding and within its sentences, are the user's."""
    ours = sorted((name for name in names if "." in name), key=len, reverse=True)

    def told(text: str | None) -> str | None:
        if not text or not ours:
            return text
        pattern = "|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-])" for name in ours)
        return re.sub(pattern, lambda found: names[found[0]], text)

    return replace(
        finding,
        file=names.get(finding.file or "", finding.file),
        what=told(finding.what) or finding.what,
        found=told(finding.found),
        expected=told(finding.expected),
        hint=told(finding.hint),
    )


@contextmanager
def page(title: str, action: str) -> Iterator[None]:
    """Set up the page, draw the notice, let in who may do ``action``, and guard what is inside."""
    from pages.parts.access import header, landing, navigation

    st.set_option("client.disableDataExport", True)  # wherever the server was started from
    navigation.join()
    st.set_page_config(f"{title} · bmcore", page_icon=navigation.ICON, layout="wide")
    admitted = False
    with error_boundary():
        header.draw()
        admit(action)
        landing.note(title)
        admitted = True
    if not admitted:
        st.stop()
    with error_boundary():
        yield


def admit(action: str) -> None:
    """Go on only if somebody is signed in who may do ``action``; else say so and stop here."""
    if session.current() is None:
        st.info("Nobody is signed in. Reload the page to sign in.", icon=":material/lock:")
        st.stop()
    try:
        check(action)
    except AccessRefused as error:
        say_refused(error)
        st.stop()


def fragment(
    action: str, *, case: Callable[..., str] | None = None, run_every: float | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A part of a page that runs again by itself; each time only for who may do ``action``.

    case: which case it shows, from the function's arguments. Errors become sentences.
    """

    def guarded(draw: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(draw)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            with error_boundary():
                check(action, case(*args, **kwargs) if case is not None else None)
                draw(*args, **kwargs)

        return st.fragment(run_every=run_every)(run)

    return guarded


def say_refused(error: AccessRefused) -> None:
    """What may not be done, and what to do instead; no fault of the program."""
    st.info(escaped(in_words(error)), icon=":material/lock:")


def user(fresh: bool = False) -> User:
    """Who acts; AccessRefused where nobody is signed in (any more).

    fresh: the account is looked up in the database, else that may be a second ago.
    """
    found = session.current(fresh)
    if found is None:
        raise session.nobody()
    return found


def standing(action: str, case_id: str | None = None) -> Standing:
    """How the user stands to a case outside a study's sheets, or to results."""
    from pages.parts import loaders

    if case_id is not None:
        return access.case_standing(loaders.store(), user(), case_id)
    if action in _RESULTS:
        return access.results_standing(loaders.store(), user())
    return Standing.FREE


def closed_cases() -> set[str]:
    """The cases that the user may not open outside a study now."""
    from pages.parts import loaders

    return access.closed_cases(loaders.store(), user())


def check(action: str, case_id: str | None = None, at: Standing | None = None) -> None:
    """AccessRefused unless the user may do ``action``; also first in everything that stores.

    at: the standing, where the page knows it from an open sheet.
    """
    acting = user(fresh=True)
    access.authorize(acting, action, standing(action, case_id) if at is None else at)


def may(action: str, case_id: str | None = None) -> bool:
    """True where ``check`` would pass; False where nobody is signed in (any more)."""
    try:
        check(action, case_id)
    except AccessRefused:
        return False
    return True


def download(action: str, label: str, data: Any, **how: Any) -> None:
    """A download button, there only for who may do ``action``: the one way out for data."""
    check(action)
    st.download_button(label, data, on_click="ignore", icon=":material/download:", **how)
