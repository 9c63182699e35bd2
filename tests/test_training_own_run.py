"""From a folder of cases to a bundle, killed once in every step: one run for all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmcore.models.bundles import load_bundle
from tests import own_data_fixture as fixture
from training.bench.stand_in import Faults
from training.data.held_out import load_held_out
from training.data.split import read_split
from training.pipeline.whole import run_all
from training.run.files import read_json

ROOT = Path(__file__).resolve().parent.parent
STEPS = [
    "links", "net without fold 0", "net without fold 1", "net on all cases", "second stage",
    "limits", "segmentation", "patients for naming", "cnn", "autoencoder", "mlr", "evaluate",
    "predicted masks", "uncertainty", "spread", "learning curves", "beside the start's naming",
    "bundle", "predict",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA in a folder with a space in its name, and all that the run left."""
    place = tmp_path_factory.mktemp("own")
    data = fixture.cohort(place / "my data", 11, Faults(0, -1, -1, -1, -1, -1, 1))
    start = fixture.start_bundle(place / "start")
    command = [sys.executable, "-m", "tests.own_data_killed", str(data), str(place), str(start)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    (place / "told.txt").write_text(done.stdout)
    return place


def test_a_run_that_is_killed_in_every_step_ends_in_a_whole_bundle(place: Path) -> None:
    told = (place / "told.txt").read_text().splitlines()
    assert [line for line in told if line in STEPS] == STEPS
    bundle = load_bundle(place / "models")
    assert not bundle.info.synthetic
    assert "11 cases of patients in the folder my data" in bundle.info.trained_on
    assert bundle.novelty is not None and bundle.bootstrap_refits is not None
    assert bundle.segmenter_config.architecture.filters == 8  # of the start bundle
    assert bundle.entry("segmenter")["training"]["rate"] == 1e-4
    assert (place / "models" / "model_card.md").read_text().count("my data") >= 1
    assert list((place / "work").glob("naming-*/predict/prediction.json"))


def test_every_step_keeps_to_one_split_by_person(place: Path) -> None:
    split = read_split(place / "work")
    assert split is not None
    twins = {"BraTS-MET-00087-000", "BraTS-MET-00097-000"}
    assert len({split.persons[c] for c in twins}) == 1
    (learnt,) = (place / "work").glob("naming-*")
    held = load_held_out(learnt)
    for case_id, fold, person in zip(held.case_ids, held.fold, held.persons, strict=True):
        own = str(case_id).removesuffix("@net")
        assert fold == split.fold(own) and person == split.persons[own]
    (nets,) = (place / "work").glob("segmentation-*")
    for fold in range(2):
        said = load_bundle(nets / "trained" / f"without-{fold}").entry("segmenter")["training"]
        assert said["patients"] == len(split.persons) - len(split.cases(fold))
    whose = load_bundle(place / "models").novelty.patient  # type: ignore[union-attr]
    assert np.unique(whose).size == len(split.folds)


def test_the_answers_are_measured_on_predicted_masks_too(place: Path) -> None:
    (learnt,) = (place / "work").glob("naming-*")
    found = read_json(learnt / "metrics.json")["predicted_masks"]
    beside = read_json(learnt / "metrics.json")["start_naming"]
    assert beside["why"].startswith("the start bundle names no primary")
    assert beside["why"] in (place / "models/model_card.md").read_text()
    assert (
        found["patients"] > 0 and "reference mask" in (place / "models/model_card.md").read_text()
    )


def test_a_second_start_does_nothing_and_a_corrected_table_keeps_the_segmentation(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openpyxl

    from training.pipeline import whole

    said: list[str] = []
    order = fixture.order(place / "my data", place, place / "start")
    run_all(order, said.append)
    steps = [line for line in said if ": starts" in line or "done before" in line]
    assert len(steps) == len(STEPS) and all("done before" in line for line in steps)
    table = next((place / "my data").glob("*.xlsx"))
    book = openpyxl.load_workbook(table)
    column = [cell.value for cell in book["Data"][1]].index("Age") + 1
    book["Data"].cell(9, column).value = 33  # of a case that is used
    book.save(table)
    reached: list[str] = []

    def stop(run, step):
        reached.append(run.learnt.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(whole, "learn_naming", stop)
    said.clear()
    with pytest.raises(KeyboardInterrupt):
        run_all(order, said.append)
    assert "links: starts" in "\n".join(said) and "net on all cases: done before" in "\n".join(said)
    assert not (place / "work" / reached[0]).exists()  # naming is learnt anew, elsewhere
