"""Work list: what there is, in which state; add a case; open one."""

from __future__ import annotations

import base64

import pandas as pd
import streamlit as st

from bmcore.domain import Finding
from bmcore.review import who_read
from pages.parts import loaders
from pages.parts.access import guard, landing
from pages.parts.access.guard import may, page
from pages.parts.arrival import road
from pages.parts.case import manage, next_case, open_row
from pages.parts.case.add import add_case_form
from pages.parts.case.run_models import progress_words
from pages.parts.words import STATE_WORDS, clinical, escaped

OWN = "Added here"
ROW_PX = 64
ORDERS = {
    "Newest first": ("Added", False),
    "Name": ("Case", True),
    "Models": ("Models", True),
    "Fewest readers first": ("Readers", True),
}


def work_list() -> pd.DataFrame:
    """One row a case, in the order of the library. Nothing in it tells what the models found."""
    from bmcore.inference import jobs

    read_by = next_case.read_by()
    mine, named = next_case.key(), may("agreement.see")
    rows = []
    for entry in loaders.entries():
        state = jobs.state(loaders.home(), entry.case_id)
        done = state.state == "none" and loaders.has_prediction(entry.case_id)
        rows.append(
            {
                "Image": _picture(loaders.thumbnail(entry)),
                "Case": entry.case_id,
                "Models": STATE_WORDS["done" if done else state.state],
                "Patient": clinical(entry.clinical),
                "Sequences": ", ".join(loaders.short_names(entry.sequences)),
                "Missing": ", ".join(loaders.missing_names(entry.sequences)),
                "File warnings": len(entry.findings),
                "Read by": who_read.in_words(read_by.get(entry.case_id, {}), mine, named),
                "Readers": len(read_by.get(entry.case_id, {})),
                "Added": entry.added,
                "Origin": "Demo, synthetic" if entry.demo else OWN,
            }
        )
    return pd.DataFrame(rows)


def _picture(png: bytes | None) -> str | None:
    return None if png is None else "data:image/png;base64," + base64.b64encode(png).decode()


def narrow(table: pd.DataFrame) -> pd.DataFrame:
    """The controls above the list, and the rows that they leave."""
    columns = st.columns([3, 4, 2], vertical_alignment="bottom")
    text = columns[0].text_input(
        "Search", placeholder="Case, patient, origin or reader", key="case_search"
    )
    wishes = ["Not read by me", "Missing sequences", "File warnings", "Failed"]
    asked = columns[1].pills("Show only", wishes, selection_mode="multi", key="case_filter")
    order = columns[2].selectbox("Order", list(ORDERS), key="case_order")
    if text:
        told = table[["Case", "Patient", "Origin", "Read by"]].agg(" ".join, axis=1).str.casefold()
        table = table[told.str.contains(text.casefold(), regex=False)]
    if "Not read by me" in asked:
        table = table[~table["Case"].isin(_read_by_me())]
        if next_case.key() is None:
            st.caption("“Not read by me” needs to know who you are: say so on the Review page.")
    if "Missing sequences" in asked:
        table = table[table["Missing"] != ""]
    if "File warnings" in asked:
        table = table[table["File warnings"] > 0]
    if "Failed" in asked:
        table = table[table["Models"] == STATE_WORDS["failed"]]
    column, rising = ORDERS[order]
    return table.sort_values(column, ascending=rising, kind="stable")


def _read_by_me() -> set[str]:
    return who_read.read_by(next_case.read_by(), next_case.key())


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
        alt="Work list: one row a case",
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
def follow_pictures(missing: int) -> None:
    """Draw the page anew when pictures were made in the background."""
    left = loaders.pictures_missing()
    st.caption(f"Preparing images for quick opening: {left} to go.")
    if left < missing:
        st.rerun(scope="app")


@guard.fragment("cases.see", run_every=2.0)
def follow_work(busy: dict[str, str]) -> None:
    """What the models are doing; the page is drawn anew when a case changes its state."""
    from bmcore.inference import jobs

    now = {case_id: jobs.state(loaders.home(), case_id) for case_id in busy}
    if {case_id: state.state for case_id, state in now.items()} != busy:
        st.rerun(scope="app")
    for case_id, state in now.items():
        done = min(1.0, max(0.0, state.fraction))
        st.progress(done, f"{escaped(case_id)}: {progress_words(state)}")


def busy_cases(cases: pd.DataFrame) -> dict[str, str]:
    """Case id to "queued" or "running", for the cases that the models are at."""
    words = {STATE_WORDS[state]: state for state in ("queued", "running")}
    rows = cases[cases["Models"].isin(words)]
    return dict(zip(rows["Case"], rows["Models"].map(words), strict=True))


def draw_home(cases: pd.DataFrame) -> bool:
    """Where cases are missing, or none of the user's own is there: which folder was looked in.

    True where cases are missing.
    """
    from bmcore import disk
    from bmcore.review.absent import absent

    lost = absent(loaders.store(), loaders.home(), set(cases["Case"]) if len(cases) else ())
    for finding in (lost, disk.open_to_others(loaders.home())):
        if finding is not None:
            st.warning(_in_code(finding), icon=":material/folder_off:")
    if lost is None and not (len(cases) and (cases["Origin"] == OWN).any()):
        st.caption(
            f"No case of your own is in the home folder {_code(loaders.home())} yet. If you "
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
    cases = work_list()
    lost = draw_home(cases)
    if loaders.models().info is None:
        st.warning(
            "No models can be used here, so there will be no answers. Reading, marking and voting "
            "work as ever; a case says more when it is opened.",
            icon=":material/extension_off:",
        )
    if cases.empty and not lost:
        st.info("There are no cases yet. Add the first one below.")
    elif not cases.empty:
        busy = busy_cases(cases)
        if busy:
            follow_work(busy)
        next_case.draw_first()
        found = narrow(cases)
        if found.empty:
            st.info("No case fits this search. Take a filter away to see the others.")
        else:
            draw_list(found)
            st.caption(f"{len(found)} of {len(cases)} cases")
    if may("cases.add"):
        open_now = road.is_open() or (cases.empty and not lost)
        with st.expander("Add a case", icon=":material/add:", expanded=open_now):
            draw_add()
    waiting = loaders.prepare_images()
    if waiting:
        follow_pictures(waiting)
