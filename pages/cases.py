"""Work list: what there is, in which state; add a case; open one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from bmcore.domain import Finding
from bmcore.review import case_index
from pages.parts import loaders, runs, work_list
from pages.parts.access import guard, landing
from pages.parts.access.guard import may, page
from pages.parts.arrival import road
from pages.parts.case import manage, next_case, open_row
from pages.parts.case.add import add_case_form
from pages.parts.words import count, duration, escaped

if TYPE_CHECKING:
    from bmcore.review.case_index import Wish

ROW_PX = 64


def draw_list(table: pd.DataFrame) -> None:
    """The list; a click anywhere in a row opens the case, the keyboard chooses it."""
    opener = st.container()
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key="work_list",
        height="content" if len(table) <= 7 else 520,
        row_height=ROW_PX,
        placeholder="",
        column_config={
            "Image": st.column_config.ImageColumn(width=70, help="T1 post-gadolinium"),
            "Case": st.column_config.TextColumn(pinned=True),
            "Read by": st.column_config.TextColumn(help="Votes outside studies"),
            "Readers": st.column_config.NumberColumn(help="How many have voted, outside studies"),
            "Added": st.column_config.DatetimeColumn(
                format="D MMM YYYY, HH:mm", timezone=st.context.timezone or "UTC"
            ),
            "Missing": st.column_config.TextColumn(help="Sequences that the case lacks"),
        },
        alt="Work list: one row per case",
    )
    chosen = _chosen(table, event["selection"])
    label = f"Open {escaped(chosen)}" if chosen else "Click on a row to open its case"
    if opener.button(label, disabled=chosen is None, key="open", icon=":material/radiology:"):
        next_case.open_case(str(chosen))
    open_row.draw("work_list", "Case", ROW_PX, set(table["Case"]))


def _chosen(table: pd.DataFrame, selection) -> str | None:
    rows = selection.get("rows") or [row for row, _ in selection.get("cells") or []]
    return table["Case"].iloc[rows[0]] if rows and rows[0] < len(table) else None


@guard.fragment("cases.see", run_every=2.0)
def follow_pictures(missing: int, unread: int) -> None:
    """Draw the page anew when records were read, or pictures made, in the background."""
    if unread:
        st.caption(f"Reading the case records: {unread:,} to go.")
        st.rerun(scope="app")
    left = loaders.pictures_missing()
    st.caption(f"Preparing images for quick opening: {left:,} to go.")
    if left < missing:
        st.rerun(scope="app")


@guard.fragment("runs.see", run_every=2.0)
def follow_work(states: dict[str, str], busy: int) -> None:
    """What the models are doing; the page is drawn anew when a case of it changes its state."""
    line = runs.look()
    now = {case_id: state.state for case_id, state in runs.states(states).items()}
    if now != states or (line.busy == 0) != (busy == 0):
        st.rerun(scope="app")
    if not line.busy:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="models_at_work"):
        fraction = line.running.fraction if line.running else 0.0
        if line.running is not None and line.running.run is not None:
            words = f"{escaped(line.running.run.subject)}: {runs.words(line.running)}"
        else:
            words = "The models are starting"
        if line.waiting_count:
            words += f". {runs.line_words(line)}"
        st.progress(min(1.0, max(0.0, fraction)), words, width="stretch")
        if st.button("Show the queue", icon=":material/queue:", key="to_queue"):
            st.switch_page("pages/runs.py")


def draw_run_many(wish: Wish, total: int, whole: int) -> None:
    """Run the models on every case of the list as it is narrowed, not only on this page of it."""
    if not may("runs.start") or loaders.models().info is None:
        return
    unread = replace(wish, unpredicted=True)
    number = case_index.total(loaders.store(), unread)
    if not number:
        return
    usual = runs.usual_s()
    takes = "" if usual is None else f" It takes {duration(usual * number)}."
    words = f"Run the models on {count(number, 'case')} that they have not read"
    if st.button(
        words + (", of this list" if total != whole else ""),
        key="run_many",
        icon=":material/play_arrow:",
        help=f"The cases are read one after the other; whoever asks for a single one goes first."
        f"{takes}",
    ):
        guard.check("runs.start")
        runs.submit_many(case_index.ids(loaders.store(), unread))
        st.rerun()


def draw_home(whole: int, own: int) -> bool:
    """Where cases are missing, or none of the user's own is there: which folder was looked in.

    True where cases are missing.
    """
    from bmcore import disk

    lost = loaders.absent_cases()
    for finding in (lost, disk.open_to_others(loaders.home())):
        if finding is not None:
            st.warning(_in_code(finding), icon=":material/folder_off:")
    if lost is None and not own:
        st.caption(
            f"There is no case of your own yet in the home folder {_code(loaders.home())}. If you "
            "expected some, check BMCORE_HOME and that its drive is mounted."
        )
    return lost is not None


def _in_code(finding: Finding) -> str:
    """A finding on one line; names and paths as code, so that none is read as Markdown."""
    what = finding.what[:1].upper() + finding.what[1:]
    hint = finding.hint or ""
    return f"{what} ({_code(finding.file)}): {_code(finding.found)}. {hint[:1].upper()}{hint[1:]}"


def _code(text: object) -> str:
    plain = str(text).replace("`", "'").replace("\n", " ")
    return f"`{plain}`"


def draw_add() -> None:
    """The road for files of any kind; beside it the form for images that are aligned already."""
    if road.draw_open():
        return
    scans, aligned = st.tabs(["Scans of any kind", "Aligned NIfTI files"])
    with scans:
        road.draw_new()
    with aligned:
        add_case_form()


with page("Cases", "cases.see"):
    landing.to_own_list("Cases")
    st.header("Cases", anchor=False)
    manage.say_done()
    unread = loaders.index_cases()
    whole, own = case_index.count(loaders.store())
    lost = draw_home(whole, own)
    if loaders.models().info is None:
        st.warning(
            "No models can be used here, so there will be no answers. Reading, marking and voting "
            "work as ever; a case says more when it is opened.",
            icon=":material/extension_off:",
        )
    if not whole and not lost and not unread:
        st.info("There are no cases yet. Add the first one below.")
    elif whole:
        place = st.container()
        wish = work_list.controls()
        rows, total = work_list.read(wish)
        with place:
            busy = runs.look().busy
            if busy:
                states = runs.states([row.case_id for row in rows])
                follow_work({c: s.state for c, s in states.items()}, busy)
            next_case.draw_first()
        if not rows:
            st.info("No case fits this search. Remove a filter to see the others.")
        else:
            draw_list(work_list.frame(rows))
            work_list.pager(rows, total, whole)
            draw_run_many(wish, total, whole)
    if may("cases.add"):
        open_now = road.is_open() or (not whole and not lost)
        with st.expander("Add a case", icon=":material/add:", expanded=open_now):
            draw_add()
    waiting = loaders.prepare_images()
    if waiting or unread:
        follow_pictures(waiting, unread)
    runs.get_ready()
