"""How a reader likes the viewer to begin is kept for the reader, and only what makes sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.domain import InputRefused
from bmcore.review import view_settings

GOOD = {
    "layout": "four",
    "main": "coronal",
    "pair": ["t1c", "t1c-t1n"],
    "four": ["t2f", "t2w", "t1c", "t1n"],
    "drag": "scroll",
    "presets": {"t1c": "Enhancement"},
}


def test_settings_are_those_of_their_reader_however_the_name_is_written(tmp_path: Path) -> None:
    view_settings.save(tmp_path, "Dr Ann", {**GOOD, "more": "is left out"})
    assert view_settings.load(tmp_path, "dr  ann") == GOOD
    assert view_settings.load(tmp_path, "Bo") == {}
    view_settings.save(tmp_path, "Dr Ann", {"layout": "one"})
    assert view_settings.load(tmp_path, "Dr Ann") == {"layout": "one", "presets": {}}
    assert all("nn" not in path.stem for path in (tmp_path / "views").iterdir())  # no name on disk


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {"layout": "five"},
        {"main": 3},
        {"pair": ["t1c", "nose"]},
        {"pair": ["t1c"] * 3},
        {"four": "t1c"},
        {"presets": {"t1c": "x" * 41}},
        {"presets": {"nose": "Brain"}},
        {"presets": ["t1c"]},
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(InputRefused):
        view_settings.save(tmp_path, "Ann", bad)
    assert view_settings.load(tmp_path, "Ann") == {}


def test_a_damaged_file_means_the_usual_beginning(tmp_path: Path) -> None:
    view_settings.save(tmp_path, "Ann", GOOD)
    (path,) = (tmp_path / "views").iterdir()
    for content in ("{", '{"layout": "five"}', "[1]"):
        path.write_text(content, encoding="utf-8")
        assert view_settings.load(tmp_path, "Ann") == {}
