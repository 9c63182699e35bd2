"""Similar cases: nearest in code space, in units that can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bmcore.inference import archive, similar
from tests import reading_fixture as fixture


def bundle(*spread: float) -> Any:
    return SimpleNamespace(image_mlr=SimpleNamespace(scale_=np.array(spread)))


def near(code: list[float], **others: list[float]) -> dict[str, float]:
    found = similar.nearest(
        bundle(1.0, 10.0),
        fixture.prediction(code=np.array(code, np.float32)),
        {name: np.array(value, np.float32) for name, value in others.items()},
    )
    return {one.case_id: one.distance for one in found}


def test_each_number_counts_in_units_of_its_spread() -> None:
    """a is 2 spreads off in the first, b 1 spread in the second: 2 / sqrt(4) and 1 / sqrt(4)."""
    found = near([0, 0], a=[2, 0], b=[0, 10])
    assert list(found) == ["b", "a"]
    assert found == pytest.approx({"a": 1.0, "b": 0.5})


def test_two_patients_drawn_at_random_are_about_one_apart() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2, 2000, 8)).astype(np.float32)
    squares = []
    for first, second in zip(*draws, strict=True):
        one = fixture.prediction(code=first)
        (found,) = similar.nearest(bundle(*[1.0] * 8), one, {"other": second})
        squares.append(found.distance**2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(1, abs=0.03)


def test_the_case_itself_and_codes_of_another_length_are_no_neighbours() -> None:
    found = near([0, 0], **{"HEAD-1": [0, 0], "short": [0], "far": [9, 0]})
    assert list(found) == ["far"]
    none = fixture.prediction(lesions=0)
    assert similar.nearest(bundle(1.0, 1.0), none, {"a": np.zeros(2, np.float32)}) == ()


def test_distance_is_said_in_words() -> None:
    words = [similar.Similar("x", d).words for d in (0.0, 0.5, 0.9, 1.2)]
    assert words[:3] == ["very alike", "alike", "somewhat alike"]
    assert words[3].startswith("not alike")


def test_codes_are_read_from_the_archive_without_masks(tmp_path: Path) -> None:
    """The newest of each case; a case without a lesion has none, a damaged one is left out."""

    @dataclass
    class Stored:
        case_id: str
        value: float
        lesions: int = 2

    stored = [Stored("A", 1), Stored("A", 2), Stored("B", 3), Stored("C", 0, 0), Stored("D", 5)]
    for s in stored:
        code = np.full(2, s.value, np.float32) if s.lesions else None
        archive.keep(tmp_path, fixture.prediction(s.case_id, s.lesions, code=code))
    shelf = tmp_path / "predictions"
    for path in shelf.rglob("mask.nii.gz"):
        path.unlink()
    next((shelf / "D").rglob("arrays.npz")).write_bytes(b"no")
    found = archive.codes(tmp_path, fixture.INFO.digest)
    assert {k: v.tolist() for k, v in found.items()} == {"A": [2, 2], "B": [3, 3]}
    assert archive.codes(tmp_path, "cd" * 32) == {}
    assert archive.codes(tmp_path / "nowhere", fixture.INFO.digest) == {}
