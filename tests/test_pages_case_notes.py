"""The notes of a case: warnings are counted and stand first, sequences have their usual names."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def draw(severities: list[str]) -> None:
    from bmcore.domain import Finding, Severity
    from pages.parts.case.header import _draw_notes

    _draw_notes(
        [
            Finding(Severity(s), f"*what* {n}", "t1c" if n else None)
            for n, s in enumerate(severities)
        ]
    )


def shown(*severities: str) -> tuple[str, list[str]]:
    """The words on the button, and the bullets in their order."""
    page = AppTest.from_function(draw, args=(list(severities),)).run()
    assert not page.exception
    (box,) = page.get("popover")
    lines = "\n".join(m.value for m in page.markdown if m.value).splitlines()
    return box.proto.popover.label, lines


def test_warnings_are_counted_apart_and_come_first() -> None:
    label, lines = shown("info", "warning", "info", "warning")
    assert label == "2 warnings"
    assert [line[-2] for line in lines] == ["1", "3", "0", "2"]


def test_words_are_shown_as_they_are_under_the_name_of_the_sequence() -> None:
    label, lines = shown("info", "info")
    assert label == "2 notes"
    assert lines == ["- \\*what\\* 0.", "- T1 Gd: \\*what\\* 1."]


def test_without_notes_nothing_is_drawn() -> None:
    page = AppTest.from_function(draw, args=([],)).run()
    assert not page.get("popover") and not page.markdown
