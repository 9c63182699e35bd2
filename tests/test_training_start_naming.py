"""The naming learnt anew beside that of the start bundle, on the same patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bmcore.domain import PRIMARIES, Truth
from bmcore.inference import pipeline
from bmcore.models.bundles import load_bundle
from tests import reading_fixture as fixture
from training.data.cohort import NET, Patient, patient_of, save_patient
from training.pipeline import start_naming
from training.run.files import read_json

PERSONS = 24


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixture.bundle_as_shipped(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def read(start: Path) -> tuple[Any, Patient]:
    """One head as use reads it, and as training keeps it."""
    bundle = fixture.bundle_that_sees_the_spot(start)
    found = pipeline.predict(fixture.head(), bundle)
    truth = Truth("drawn", found.mask, PRIMARIES[0])
    patient, why = patient_of(replace(fixture.head(), truth=truth))
    assert patient is not None, why
    return found, patient


def test_the_start_bundle_answers_for_a_kept_patient_as_in_use(
    start: Path, read: tuple[Any, Patient]
) -> None:
    found, patient = read
    told = start_naming.start_answers(load_bundle(start), patient)
    for answer in found.answers:  # patches are kept in half precision
        np.testing.assert_allclose(told[answer.kind], answer.probabilities, atol=2e-3)


def compared(
    place: Path, start: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch, right: float
) -> dict[str, Any]:
    """A run whose own naming gives the true primary the probability ``right``."""
    truth = np.arange(PERSONS) % len(PRIMARIES)
    other = (1 - right) / (len(PRIMARIES) - 1)
    rows = np.where(np.arange(len(PRIMARIES)) == truth[:, None], right, other)
    ids = [f"p{n}{NET}" for n in range(PERSONS)]
    columns = {f"{k}_{p}": rows[:, n] for k in start_naming.KINDS for n, p in enumerate(PRIMARIES)}
    table = pd.DataFrame(columns, index=ids)
    whose = np.array([i.removesuffix(NET) for i in ids])
    monkeypatch.setattr(
        start_naming, "answers_on_predicted_masks", lambda learnt: (table, truth, whose)
    )
    (place / "patients").mkdir()
    random = np.random.default_rng(0)
    for case_id in ids:  # each a little different, none of it to do with the primary
        record = replace(patient.record, age_years=float(random.integers(40, 80)))
        measured = patient.measured + random.normal(0, 0.3, patient.measured.shape)
        one = replace(patient, case_id=case_id, record=record, measured=measured)
        save_patient(place / "patients" / f"{case_id}.npz", one)
    run = SimpleNamespace(order=SimpleNamespace(start=start), learnt=place)
    start_naming.write(run)  # type: ignore[arg-type]
    return read_json(place / start_naming.FILE)


@pytest.mark.parametrize(
    ("right", "verdict"),
    [(0.95, "better than"), (0.01, "worse than"), (1 / 6, "not shown to differ from")],
)
def test_who_names_better_is_said_by_kind_and_kept(
    tmp_path: Path,
    start: Path,
    read: tuple[Any, Patient],
    monkeypatch: pytest.MonkeyPatch,
    right: float,
    verdict: str,
) -> None:
    found = compared(tmp_path, start, read[1], monkeypatch, right)
    assert found["patients"] == PERSONS
    assert {row["verdict"] for row in found["answers"].values()} == {verdict}
    assert found["why"].count(verdict) == len(start_naming.KINDS)
    assert found == read_json(tmp_path / "metrics.json")["start_naming"]
    assert found["answers"]["fused"]["macro_auc"]["n"] == PERSONS


def test_a_bundle_with_other_image_features_is_not_compared(
    tmp_path: Path, read: tuple[Any, Patient], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fixture.tiny_bundle(tmp_path / "old")
    place = tmp_path / "learnt"
    place.mkdir()
    found = compared(place, old, read[1], monkeypatch, 0.5)
    assert "other image features" in found["why"] and found["answers"] == {}
