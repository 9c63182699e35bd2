"""What every page begins with: ``with page("Title"):``.

It works when the page is the only script that runs. It draws the notice and the badge, and turns
every error into sentences: what the user can act on is shown as it is, anything else is written to
the log file with its traceback and shown as one friendly sentence with the place in the log.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

import streamlit as st

from bmcore.domain import BmcoreError
from bmcore.settings import settings

LOG_NAME = "app.log"


def log_file() -> Path:
    return settings().home / "logs" / LOG_NAME


def _logger() -> logging.Logger:
    """The log of this home folder; its file is opened once and kept small (5 files of 1 MB)."""
    logger = logging.getLogger(f"bmcore.pages.{log_file()}")
    if not logger.handlers:
        log_file().parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(log_file(), maxBytes=1_000_000, backupCount=4)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    return logger


def show_findings(error: BmcoreError) -> None:
    """Each problem as one line; text from files is never read as Markdown."""
    lines = "\n".join(finding.sentence for finding in error.findings)
    st.error("This cannot be used yet:")
    st.text(lines)


def unexpected() -> str:
    """Write the exception that is being handled to the log; the sentence to show instead."""
    reference = uuid.uuid4().hex[:8]
    _logger().exception("reference %s", reference)
    return (
        "Something went wrong on this page; your stored votes are safe. Reload the page. "
        f"If it happens again, pass on the reference {reference}: the details are in {log_file()}."
    )


@contextmanager
def shield() -> Iterator[None]:
    """Turn every error in the block into sentences; also for fragments, which run on their own."""
    try:
        yield
    except BmcoreError as error:
        show_findings(error)
    except Exception:
        st.error(unexpected())


@contextmanager
def page(title: str) -> Iterator[None]:
    """Set up the page, draw the notice, and guard everything inside."""
    from pages.parts import header, navigation

    navigation.join()
    st.set_page_config(f"{title} · bmcore", page_icon=navigation.ICON, layout="wide")
    with shield():
        header.draw()
    with shield():
        yield
