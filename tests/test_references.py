"""Reference primaries that were brought on the page: how they are read, kept and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from bmcore.domain import InputRefused, Primary
from bmcore.inference import references
from tests.test_pages_app import home, models, press, words

__all__ = ["home", "models"]  # fixtures
CASES = {"A", "B", "C", "D"}
TABLE = "case_id,Primary\nA,melanoma\nB,lung cancer of some kind\nC,breast\nX,breast\n"


def brought(home: Path, text: str = TABLE) -> references.Preview:
    path = home / "table.csv"
    path.write_text(text, encoding="utf-8")
    try:
        return references.preview(path, "Truth of May.csv", home, CASES)
    finally:
        path.unlink()


def test_each_row_is_told_what_becomes_of_it(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("case_id,Primary\nC,rcc\n")
    found = brought(tmp_path)
    told = {case: (primary, what) for case, primary, what in found.rows}
    assert told["A"] == (Primary.MELANOMA, references.NEW)
    assert told["B"][0] is None and "none of the six" in told["B"][1]
    assert told["C"] == (Primary.BREAST, references.CHANGES)
    assert told["X"][1] == "no case of this id is here"
    assert any(r.heading == "Primary" for r in found.readings)


def test_what_is_kept_wins_and_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("case_id,Primary\nC,rcc\n")
    found = brought(tmp_path)
    assert references.keep(tmp_path, found, "Prof Iris") == 2
    known = references.truths(tmp_path)
    assert known == {"A": Primary.MELANOMA, "C": Primary.BREAST}
    one = references.provenance(tmp_path)[0]
    assert (one["case"], one["file"], one["column"], one["by"]) == (
        "A", "Truth of May.csv", "Primary", "Prof Iris",
    )  # fmt: skip
    assert one["sha256"] == found.digest
    again = brought(tmp_path, TABLE.replace("A,melanoma", "A,rcc"))
    assert references.keep(tmp_path, again, "Max") == 1
    stored = json.loads((tmp_path / references.STORED).read_text())
    assert [(r["case"], r["primary"], r["by"]) for r in stored["replaced"]] == [
        ("A", "melanoma", "Prof Iris")
    ]
    assert (tmp_path / references.STORED).stat().st_mode & 0o077 == 0
    assert references.keep(tmp_path, again, "Max") == 0


def test_a_table_without_primaries_is_refused_with_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no column of this table holds the primary") as refused:
        brought(tmp_path, "case_id,Age\nA,50\n")
    assert "Truth of May.csv" in str(refused.value)


def test_the_page_shows_how_it_reads_a_table_before_it_keeps_anything(home: Path, models) -> None:
    from bmcore.review import plan
    from bmcore.review.store import open_store
    from tests import pages_home, people_fixture

    pages_home.add_case(home, home.parent / "files", "A")
    with open_store(people_fixture.url(home)) as store:
        plan.lock(store, people_fixture.make_study(["A"]), "Iris")
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state["manage"] = "Reference"
    page = page.run()
    assert not page.exception and not page.error
    uploader = next(u for u in page.file_uploader if u.label == "Table of primaries")
    page = uploader.upload("May.csv", TABLE.encode(), "text/csv").run()
    assert not page.exception and not page.error, [e.value for e in page.error]
    assert "How the table is read" in words(page)
    assert references.provenance(home) == []
    page = press(page, "Keep the primaries of 1 case")
    assert references.truths(home)["A"] is Primary.MELANOMA
    assert any("Kept the primaries of 1 case" in s.value for s in page.success)
