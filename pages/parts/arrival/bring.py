"""The first step: files from this computer, the server's inbox, or a synthetic study to try."""

from __future__ import annotations

import streamlit as st

from bmcore.door import arrival
from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.arrival import upload


def draw() -> None:
    """Draw the field for files, and what else there is to take."""
    if upload.draw() is not None:
        st.rerun()
    if settings().inbox is not None:
        _inbox()
    _demo()


def _demo() -> None:
    from bmcore.door import demo

    words, take, load = st.columns([4, 2, 2], vertical_alignment="center")
    words.caption(
        "No scan at hand? Try it with a synthetic study: a DICOM zip of one made-up patient."
    )
    if take.button("Try the synthetic study", key="demo_take", width="stretch"):
        guard.check("cases.add")
        home, owner = loaders.home(), guard.user().key
        arrival.begin(home, owner, "Synthetic study", place=demo.place(home), demo=True)
        st.rerun()
    with load:
        guard.download(
            "cases.add",
            "Download it (zip)",
            lambda: demo.study(loaders.home()).read_bytes(),
            file_name=demo.NAME,
            mime="application/zip",
            key="demo_load",
            width="stretch",
        )


def _inbox() -> None:
    from bmcore.door import inbox

    home, folder = loaders.home(), settings().inbox
    assert folder is not None
    with guard.error_boundary():
        there = inbox.listed(folder)
        if not there:
            st.caption("The server's inbox is empty.")
            return
        boxes, button, all_of_it = st.columns([4, 2, 2], vertical_alignment="bottom")
        chosen = boxes.selectbox(
            "Or take it from the server's inbox",
            [item.name for item in there],
            index=None,
            placeholder=f"{len(there)} there",
            format_func=lambda name: next(i.words for i in there if i.name == name),
        )
        if button.button("Bring it in", key="inbox_take", disabled=chosen is None, width="stretch"):
            guard.check("cases.add")
            place = inbox.find(folder, str(chosen))
            arrival.begin(home, guard.user().key, str(chosen), place=place)
            st.rerun()
        which = "all that is in the inbox" if chosen is None else str(chosen)
        words = f"Previews {which} as a folder of patients; nothing is stored before you say so."
        if all_of_it.button("Preview patients", key="inbox_many", help=words, width="stretch"):
            guard.check("cases.add")
            place = folder if chosen is None else inbox.find(folder, str(chosen))
            label = "The server's inbox" if chosen is None else str(chosen)
            arrival.begin(home, guard.user().key, label, place=place, many=True)
            st.rerun()
