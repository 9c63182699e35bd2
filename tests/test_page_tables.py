"""No table and no chart of the dashboard has a download of its own; ours escape formulas."""

from __future__ import annotations

import ast
import csv
import tomllib
from collections.abc import Iterator

import streamlit as st

from bmcore.settings import PROJECT
from tests.test_pages_app import open_page

# Whatever else Streamlit could draw comes with buttons that take data out past the guard.
OTHERS = {
    *("data_editor", "vega_lite_chart", "altair_chart", "line_chart", "bar_chart", "area_chart"),
    *("scatter_chart", "pydeck_chart", "map", "graphviz_chart", "echarts_chart", "mermaid_chart"),
    *("pyplot", "bokeh_chart", "audio", "video", "pdf"),
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every ``something.name(...)`` in app.py and pages/, with its place."""
    for path in [PROJECT / "app.py", *sorted((PROJECT / "pages").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield f"{path.name}:{node.lineno} {node.func.attr}", node


def test_the_server_is_told_to_draw_tables_without_export():
    told = tomllib.loads((PROJECT / ".streamlit" / "config.toml").read_text())
    assert told["client"]["disableDataExport"] is True


def test_each_page_says_so_too_wherever_the_server_was_started(monkeypatch, tmp_path):
    said: dict[str, object] = {}
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    monkeypatch.setattr(st, "set_option", lambda key, value: said.update({key: value}))
    open_page("models")
    assert said == {"client.disableDataExport": True}


def test_nothing_else_is_drawn_that_could_be_exported():
    found = [name for name, call in calls() if name.split()[1] in OTHERS and _is_streamlit(call)]
    # the readers of a plan are typed into a table; it holds nothing but what was just typed
    assert {f"{n.split(':')[0]} {n.split()[1]}" for n in found} == {"form.py data_editor"}
    assert sum(name.endswith(" dataframe") for name, _ in calls()) > 10


def _is_streamlit(call: ast.Call) -> bool:
    """True for ``st.map`` and for ``left.map``, where left is a column; not ``executor.map``."""
    place = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(place, ast.Name) and place.id not in ("executor", "pool")


def test_no_chart_has_a_bar_with_a_camera():
    charts = [(name, call) for name, call in calls() if name.endswith(" plotly_chart")]
    assert len(charts) > 3
    for name, call in charts:
        config = next((k.value for k in call.keywords if k.arg == "config"), None)
        assert config is not None, name
        assert ast.literal_eval(config) == {"displayModeBar": False}, name


def test_downloads_go_through_the_guard():
    found = {name.split(":")[0] for name, _ in calls() if name.endswith(" download_button")}
    assert found == {"guard.py"}


def test_every_csv_writer_of_bmcore_escapes_its_cells(tmp_path, monkeypatch):
    """By reading the code: who writes CSV of what people wrote uses ``safe_cell``."""
    writers = []
    for path in sorted((PROJECT / "bmcore").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "csv.writer(" in text or "csv.DictWriter(" in text or ".to_csv(" in text:
            writers.append((path.relative_to(PROJECT / "bmcore").as_posix(), "safe_cell" in text))
    # spreadsheet.py makes CSV of what came in, for bmcore itself, and leaves no file; package.py
    # writes ids of cases into a package, which bmcore reads back and which must stay as they are
    own = ["intake/spreadsheet.py", "review/package.py"]
    assert [name for name, safe in writers if not safe] == own
    assert ("inference/archive.py", True) in writers and (
        "report/render/data_files.py",
        True,
    ) in writers


def test_lesions_csv_escapes_what_a_spreadsheet_could_run(tmp_path):
    from dataclasses import replace

    from bmcore.inference.archive import write_outputs
    from tests.pages_fixture import make_case, make_prediction

    whole = make_prediction(make_case())
    risky = tuple(replace(lesion, region="=cmd|' /C calc'!A0") for lesion in whole.lesions)
    write_outputs(replace(whole, lesions=risky), tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "lesions.csv").open(encoding="utf-8")))
    assert [row["region"] for row in rows] == ["'=cmd|' /C calc'!A0"] * 2
    assert float(rows[0]["centroid_x_mm"]) == -10  # a number stays a number
