"""JSON within limits, and cells that no spreadsheet runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from bmcore.plain import NotPlain, brief, load_json, local_time, read_json, safe_cell


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("[" * 100_000, "more than 64 levels"),
        ('{"a":' * 100_000, "more than 64 levels"),
        ("[" + "[]," * 400_000 + "[]]", None),
        ("[" + "[]," * 600_000 + "[]]", "more than 1000000 values"),
        ("9" * 5000, "a number of 5000 digits"),
        ("1e999", "too large"),
        ("NaN", "not finite"),
        ('["\\ud800"]', "not text in UTF-8"),
        (b'"\xff"', "not text in UTF-8"),
        ('"' + '\\"' * 2_000_000, "not JSON"),  # one text without an end, many marks inside
        ('{"a": 1', "not JSON"),
        (b" " * 101, "more than 100 bytes"),
    ],
    ids=range(12),
)
def test_json_is_measured_before_it_is_parsed(text, say):
    started = time.monotonic()
    most = 100 if say == "more than 100 bytes" else 2**24
    if say is None:
        assert len(read_json(text, most)) == 400_001
    else:
        with pytest.raises(NotPlain, match=say):
            read_json(text, most)
    assert time.monotonic() - started < 5


def test_brackets_inside_of_text_are_no_levels(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ["' + "[{" * 500 + '\\"[", 1, 2.5, null]}')
    assert load_json(tmp_path / "a.json")["a"][1:] == [1, 2.5, None]


def test_no_more_of_a_file_is_read_than_may_be_in_it(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**36)  # 64 GiB that take no room on the disk
    with pytest.raises(NotPlain, match="more than 16777216 bytes"):
        load_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "value",
    [10**6000, [[[[[[[[1]]]]]]]], "x" * 10**6, {"a": object()}],
    ids=["number", "depth", "text", "thing"],
)
def test_anything_that_came_in_can_be_named_briefly(value):
    assert 0 < len(brief(value)) <= 80


@pytest.mark.parametrize(
    "start",
    ["=", "+", "-", "@", "\t", "\r", "\n", "＝", " =", "\u200b=", "\ufeff@", "\x00=", "\xa0+"],
)
def test_text_that_a_spreadsheet_could_run_is_escaped(start):
    assert safe_cell(f"{start}cmd|' /C calc'!A0").startswith("'")


def test_other_cells_stay_as_they_are():
    texts = ["a = b", "", "Case-1", "3 lesions", "´=1"]
    assert [safe_cell(text) for text in texts] == texts
    assert [safe_cell(value) for value in (None, -0.25, 70, True)] == ["", "-0.25", "70", "True"]


@pytest.mark.parametrize(
    ("zone", "words"), [("CET-1", "24 Jan 2027, 00:30 CET"), ("UTC0", "23 Jan 2027, 23:30 UTC")]
)
def test_times_in_messages_are_local_and_name_their_zone(monkeypatch, zone, words):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert local_time(datetime(2027, 1, 23, 23, 30, tzinfo=UTC)) == words
    finally:
        monkeypatch.undo()
        time.tzset()
