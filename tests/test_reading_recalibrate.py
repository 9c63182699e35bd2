"""Prediction sets from a site's own cases: how many are needed, refused, written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bmcore.domain import PRIMARIES, Answer, InputRefused, Prediction, Primary
from bmcore.inference import recalibrate
from bmcore.models import bundles
from bmcore.models.conformal import LEAST_OWN
from tests import reading_fixture as fixture

NSCLC = PRIMARIES.index(Primary.NSCLC)


def site(n: int) -> tuple[dict[str, Prediction | None], dict[str, Primary]]:
    """n cases, half of them NSCLC; the fused answer is right by and large."""
    rng = np.random.default_rng(0)
    predictions: dict[str, Prediction | None] = {}
    known: dict[str, Primary] = {}
    for number in range(n):
        label = NSCLC if number % 2 else int(rng.integers(6))
        p = rng.dirichlet(1 + 3 * np.eye(6)[label])
        said = {k: Answer(k, tuple(p)) for k in ("clinical", "image", "fused")}
        predictions[f"c{number}"] = fixture.prediction(lesions=1, **said)
        known[f"c{number}"] = PRIMARIES[label]
    return predictions, known


def test_as_many_cases_are_asked_for_as_hold_the_coverage() -> None:
    """By simulation: with that many, nine in ten calibrations cover within five points."""
    n = recalibrate.needed(0.9)
    assert 80 <= n <= 130
    rng = np.random.default_rng(0)
    rank = int(np.ceil((n + 1) * 0.9 - 1e-9))
    covered = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, rank - 1]
    assert (np.abs(covered - 0.9) <= 0.05).mean() == pytest.approx(0.9, abs=0.025)


def test_cases_without_an_answer_are_left_out_and_counted() -> None:
    predictions, known = site(40)
    predictions["c0"] = None
    none = Answer("image", None, "No lesion found")
    predictions["c1"] = replace(
        predictions["c1"], lesions=(), image=none, fused=replace(none, kind="fused")
    )
    found = recalibrate.usable(predictions, known)
    assert len(found.labels["clinical"]) == 39 and len(found.labels["fused"]) == 38
    assert found.left_out == {"not read by these models": 1, "no lesion found": 1}


def test_too_few_cases_are_refused_with_what_is_needed() -> None:
    few = recalibrate.usable(*site(recalibrate.LEAST - 1))
    with pytest.raises(InputRefused, match=f"{LEAST_OWN} of a primary for a threshold of its own"):
        recalibrate.sets_of(few, 0.9)


@pytest.fixture
def shipped() -> Any:
    from bmcore.settings import PROJECT

    return bundles.load_bundle(PROJECT / "models" / "demo")


def test_the_new_bundle_differs_in_its_sets_alone(shipped: Any, tmp_path: Path) -> None:
    cases = recalibrate.usable(*site(120))
    sets = recalibrate.sets_of(cases, 0.8)
    made = recalibrate.write(shipped, sets, tmp_path / "site", "Bergen")
    assert made.conformal["fused"].n == 120 and made.conformal["fused"].coverage == 0.8
    ours, theirs = (b.manifest["parts"] for b in (made, shipped))
    assert all(ours[p]["sha256"] == theirs[p]["sha256"] for p in ours if p != "uncertainty")
    assert "sets of Bergen" in made.info.version and made.info.digest != shipped.info.digest
    lines = recalibrate.words(cases, sets)
    assert "own threshold" in lines[NSCLC] and "shared with the rarer ones" in lines[0]
    with pytest.raises(InputRefused, match="must be new or empty"):
        recalibrate.write(shipped, sets, tmp_path / "site", "Bergen")


def test_the_command_says_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    from bmcore.cli import app
    from bmcore.settings import settings

    monkeypatch.setenv("BMCORE_HOME", str(tmp_path))
    settings.cache_clear()
    try:
        done = CliRunner().invoke(
            app, ["recalibrate", "--out", str(tmp_path / "m"), "--site", "here"]
        )
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert done.exit_code == 2 and "too few cases" in done.output
    assert not (tmp_path / "m").exists()
