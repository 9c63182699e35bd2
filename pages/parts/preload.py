"""What the server does once while it starts, so that the first visitor does not wait for it.

The libraries of the first page are imported. Nothing is drawn and nothing stored; what fails here
fails again, in words, on the page that needs it. No page is imported and nothing of the viewer: a
component can be registered only while a page runs.
"""

from __future__ import annotations

import gc
import importlib
import logging
import threading

MODULES = (
    "pandas",
    "pyarrow",
    "plotly.graph_objects",
    "bmcore.intake.library",
    "bmcore.models.bundles",
    "bmcore.inference.archive",
    "bmcore.review.marks",
    "bmcore.inference.intervals",
    "bmcore.running.line",
    "bmcore.review.accounts",
    "bmcore.review.migrate",
    "bmcore.review.store",
    "PIL.Image",
)


def start() -> None:
    """Begin in a background thread and return at once."""
    threading.Thread(target=load, name="warm", daemon=True).start()


def load() -> None:
    """Do it now. Takes one to two seconds on the processor.

    Streamlit collects garbage after each script run, while the next page waits. What is imported
    stays for good, so it is taken out of that search: 2,000 modules cost up to half a second there.
    """
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception:
            logging.getLogger(__name__).exception("%s could not be imported", name)
    gc.collect()
    gc.freeze()
    _go_on()


def _go_on() -> None:
    """Runs of the models that an earlier server left undone are done now, and pictures and image
    blocks made of cases that have none."""
    from bmcore import disk
    from bmcore.review.store import open_store
    from bmcore.running import line
    from bmcore.settings import settings
    from pages.parts import preparing

    try:
        disk.open_home(settings().home)
        store = open_store(settings().url)
        line.resume(settings().home, store)
        preparing.catch_up(settings().home, store)
    except Exception:  # the first page says what is wrong with the database
        logging.getLogger(__name__).exception("what waits in the database could not be looked at")
