"""The audit of a cohort, whose scans are whose, and what is refused before hours are spent."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openpyxl
import pytest
import typer
from typer.testing import CliRunner

from bmcore.domain import PRIMARIES, InputRefused
from tests import own_data_fixture as fixture
from training.bench import own_data
from training.bench.stand_in import NO_FAULTS
from training.data.candidate_dataset import Found
from training.data.enough import check_enough
from training.data.split import Split, deal, read_split, write_split
from training.pipeline import cost, limits, second_stage, words
from training.pipeline.audit import Audit, audit, check
from training.pipeline.order import Effort, Order
from training.pipeline.whole import look_only, run_all
from training.run.chain import Chain
from training.run.options import run_app
from training.run.plain_progress import PlainProgress

CASE = "BraTS-MET-000{}-000".format


@pytest.fixture(scope="module", autouse=True)
def placed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bmcore.imaging.preprocess.place_head", fixture.place_once)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fixture.cohort(tmp_path_factory.mktemp("own") / "my data", 11)


@pytest.fixture(scope="module")
def found(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return audit(data, tmp_path_factory.mktemp("kept"))


def _folder(data: Path, case_id: str) -> Path:
    return next(data.rglob(case_id))


def test_each_case_is_used_or_the_audit_says_why_not(found: Audit) -> None:
    why = {c.case_id: c.why for c in found.cases}
    assert len(why) == 12  # the twin too
    assert "t2f.nii.gz: the file is damaged or cut short" in why[CASE(86)]
    assert why[CASE(87)] == "missing sequence: there is no T1 post-gadolinium (t1c)"
    assert why[CASE(88)] == "no reference mask (seg)"
    assert why[CASE(89)] == "the primary is none of the six (7, other)"
    assert why[CASE(90)] == "the table has no row for it"
    assert why[CASE(91)] == "the table names no primary"
    assert [c.case_id for c in found.named] == [CASE(n) for n in range(92, 98)]
    assert {c.case_id for c in found.used} - {c.case_id for c in found.named} == {
        CASE(n) for n in (89, 90, 91)
    }


def test_one_image_under_two_ids_is_one_person(found: Audit) -> None:
    assert found.doubled == ((CASE(92), CASE(97)),)
    persons = found.persons
    assert persons[CASE(92)] == persons[CASE(97)] and len(set(persons.values())) == 8
    split = deal(persons, found.labels, 3, 0)
    assert split.fold(CASE(92)) == split.fold(CASE(97))


def test_a_column_of_persons_joins_cases_and_torn_primaries_are_left_out(
    data: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data, other)
    table = next(other.glob("*.xlsx"))
    book = openpyxl.load_workbook(table)
    sheet = book["Data"]
    place = sheet.max_column + 1
    sheet.cell(1, place).value = "Patient ID"
    for row in range(2, sheet.max_row + 1):
        number = int(sheet.cell(row, 1).value)
        sheet.cell(row, place).value = "P1" if number in (93, 94) else f"Q{number}"
    book.save(table)
    seen = audit(other, tmp_path / "kept")
    why = {c.case_id: (c.person, c.why) for c in seen.cases}
    assert why[CASE(93)][0] == why[CASE(94)][0]
    assert why[CASE(93)][1] == "the table gives the same person different primaries"


def test_the_words_hold_the_counts_against_the_published_ones(found: Audit, tmp_path: Path) -> None:
    told = "\n".join(words.lines(found))
    assert "12 cases; used: 9 for segmentation (8 persons), 6 for naming (5 persons)" in told
    assert "12 found, 200 published (188 fewer)" in told
    assert "86 published" in told and "taken as one person" in told
    words.write_table(found, tmp_path / "audit.csv")
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert len(lines) == 13 and lines[1].startswith(f"{CASE(86)},")
    formula = replace(found, cases=(replace(found.cases[0], person="=1+1"),))
    words.write_table(formula, tmp_path / "audit.csv")
    assert f"{CASE(86)},'=1+1," in (tmp_path / "audit.csv").read_text()


def test_a_changed_image_behind_a_link_and_a_corrected_table_are_noticed(
    data: Path, tmp_path: Path
) -> None:
    from bmcore.intake.datasets import YaleDataset
    from training.data.content import case_content, image_content

    real, linked = tmp_path / "real", tmp_path / "linked"
    shutil.copytree(data, real)
    (linked / "cases").mkdir(parents=True)
    for own in _folder(real, CASE(93)).parent.iterdir():
        (linked / "cases" / own.name).symlink_to(own)
    table = next(real.glob("*.xlsx"))
    (linked / table.name).symlink_to(table)  # one level up

    def now() -> tuple[str, str]:
        dataset = YaleDataset(linked / "cases")
        return image_content(dataset, CASE(93)), case_content(dataset, CASE(93))

    first = now()
    assert now() == first
    image = _folder(real, CASE(93)) / f"{CASE(93)}-t1c.nii.gz"
    kept, times = image.read_bytes(), image.stat()
    shutil.copyfile(_folder(real, CASE(94)) / f"{CASE(94)}-t1c.nii.gz", image)
    second = now()
    assert second[0] != first[0]
    image.write_bytes(kept)
    import os

    os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9))
    assert now() == first  # a new time alone changes nothing
    book = openpyxl.load_workbook(table)
    book["Data"].cell(8, 4).value = 41  # Age
    book.save(table)
    third = now()
    assert third[0] == first[0] and third[1] != first[1]


def test_too_few_patients_one_primary_and_a_full_disk_are_refused(
    found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(found, 5, 2)
    with pytest.raises(InputRefused, match="too few patients"):
        check(found, 6, 2)
    with pytest.raises(InputRefused, match="too few patients"):
        check(found, 2, 9)  # more folds than persons
    one = tuple(replace(c, naming=c.naming and c.primary is PRIMARIES[0]) for c in found.cases)
    with pytest.raises(InputRefused, match="fewer than two primaries"):
        check(replace(found, cases=one), 1, 1)
    order = Order(tmp_path, tmp_path / "out", tmp_path / "work", None, effort=fixture.QUICK)
    pace = cost.Pace(1.0, 1.0, 1.0, 0.1, 10**6)
    cost.check_disk(order, found, pace, 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(InputRefused, match="too little room on the disk"):
        cost.check_disk(order, found, pace, 2)


def test_minutes_set_the_steps_and_too_few_are_refused(found: Audit, tmp_path: Path) -> None:
    order = Order(tmp_path, tmp_path / "out", tmp_path / "work", None, minutes=600, effort=Effort())
    pace = cost.Pace(2.0, 1.0, 1.0, 0.01, 10**6)
    steps = cost.choose_steps(order, found, pace, 5)
    whole = sum(cost.expected(order, found, pace, steps, 5).values())
    assert 100 <= steps < 6000 and 590 * 60 < whole <= 600 * 60
    with pytest.raises(InputRefused, match="minutes do not suffice"):
        cost.choose_steps(replace(order, minutes=5), found, pace, 5)


def test_places_that_cannot_be_are_refused_before_anything_is_read(
    data: Path, tmp_path: Path
) -> None:
    start = fixture.start_bundle(tmp_path / "start")
    good = fixture.order(data, tmp_path, start)
    for bad, words_ in (
        (replace(good, data=tmp_path / "none"), "folder of cases is not there"),
        (replace(good, out=data / "models"), "would lie among the cases"),
        (replace(good, start=tmp_path / "none"), "no bundle to begin with"),
    ):
        with pytest.raises(InputRefused, match=words_):
            run_all(bad)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.json").write_text('{"name": "bmcore demo"}')
    with pytest.raises(InputRefused, match="holds other models"):
        look_only(good)


def test_an_empty_folder_is_a_sentence_and_no_traceback(tmp_path: Path) -> None:
    from training.run.__main__ import main

    app = typer.Typer()
    app.command()(main)
    (tmp_path / "empty").mkdir()
    asked = ["--data", str(tmp_path / "empty"), "--out", str(tmp_path / "out"), "--from-nothing",
             "--work", str(tmp_path / "work"), "--audit"]  # fmt: skip
    result = CliRunner().invoke(app, asked)
    assert isinstance(result.exception, InputRefused)
    assert "no case in the Yale layout" in str(result.exception)


def test_a_full_disk_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("sys.argv", ["x"])
    with pytest.raises(SystemExit) as stop:
        run_app(main)
    told = capsys.readouterr().err
    assert stop.value.code == 2 and "x: the disk is full. Try: make room" in told
    assert "What was finished is kept" in told


def test_learning_to_name_needs_patients_and_two_primaries() -> None:
    persons = np.array([f"p{n}" for n in range(8)])
    check_enough(np.arange(8) % 2, persons)
    with pytest.raises(InputRefused, match="too few patients"):
        check_enough(np.array([0, 1]), persons[:2])
    with pytest.raises(InputRefused, match="the same primary"):
        check_enough(np.zeros(8, int), persons)
    with pytest.raises(InputRefused, match="only one primary has more than one patient"):
        check_enough(np.array([0] * 7 + [1]), persons)


@pytest.mark.parametrize("command", ["autoencoder", "mlr", "evaluate", "uncertainty"])
def test_a_command_before_the_one_that_it_needs_is_a_sentence(command: str, tmp_path: Path) -> None:
    import importlib

    module = importlib.import_module(f"training.{command}")
    with pytest.raises(InputRefused, match=r"run training\.cnn first"):
        module.main(tmp_path, tmp_path)


def test_evaluate_before_autoencoder_is_a_sentence(tmp_path: Path) -> None:
    from bmcore.domain import BmcoreError
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.image_features import FEATURE_NAMES
    from training import evaluate
    from training.data.held_out import FEATURES_FILE, HeldOut

    n = np.arange(12)
    ids, one = np.array([f"p{k}" for k in n]), np.ones(12)
    held = HeldOut(np.zeros((12, len(FEATURE_NAMES)), np.float32), np.full((12, 6), 1 / 6), n % 2,
                   n % 3, np.zeros((12, 7)), ids, n, one, ids, one)  # fmt: skip
    (tmp_path / FEATURES_FILE).parent.mkdir()
    np.savez(tmp_path / FEATURES_FILE, names=np.array(FEATURE_NAMES), **vars(held))
    write_part(tmp_path, "cnn", {"w": np.zeros(1, np.float32)}, {})
    with pytest.raises(BmcoreError, match="the bundle has no autoencoder"):
        evaluate.main(tmp_path, tmp_path)


def test_a_split_comes_back_and_knows_its_cases(tmp_path: Path) -> None:
    split = Split({"a": "p", "b": "p", "c": "q"}, {"p": 0, "q": 1})
    write_split(tmp_path, split)
    kept = read_split(tmp_path)
    assert kept == split and kept.cases(0) == ["a", "b"] and kept.count == 2
    with pytest.raises(InputRefused, match="does not know this case"):
        split.fold("z")
    with pytest.raises(ValueError, match="no fold"):
        Split({"a": "p"}, {})


def test_without_a_terminal_progress_is_lines_with_the_time_left() -> None:
    now, lines = [0.0], []
    bars = PlainProgress(lines.append, lambda: now[0])
    task = bars.add_task("read cases", total=10)
    for _ in range(5):
        now[0] += 12
        bars.advance(task)
    assert lines == ["read cases: 3 of 10, about 84 s left"]


def test_the_time_left_follows_the_pace_of_the_steps_so_far(tmp_path: Path) -> None:
    lines: list[str] = []
    chain = Chain(tmp_path, {"a": 100.0, "b": 300.0}, lines.append)
    chain.step("a", "1", tmp_path / "a", lambda: (tmp_path / "a").touch())
    assert "about 7 min left in all" in lines[0]
    chain.steps["a"]["seconds"] = 200.0  # twice as slow as expected
    assert chain.left_s() == pytest.approx(600.0)


# --- the second stage and the limits: kept only if better -----------------------------------------


def _verdict(new: list[float], old: list[float]) -> str:
    scores = np.zeros((2, len(new), 4))
    scores[0, :, 0], scores[1, :, 0] = new, old
    return limits.judge(scores[0], scores[1], np.arange(len(new))).kept


def test_new_limits_are_kept_only_where_they_are_shown_to_be_better() -> None:
    random = np.random.default_rng(0)
    old = random.uniform(0.4, 0.8, 30)
    assert _verdict(list(old + random.uniform(0.02, 0.08, 30)), list(old)) == "new"
    assert _verdict(list(old + random.normal(0, 0.2, 30)), list(old)) == "start"
    assert _verdict(list(old - 0.1), list(old)) == "start"


def test_new_limits_are_kept_where_the_old_ones_give_too_many_false_lesions() -> None:
    new, old = np.zeros((20, 4)), np.zeros((20, 4))
    new[:, 0], old[:, 0] = 0.5, np.where(np.arange(20) % 2, 0.7, 0.4)
    new[:, 1], old[:, 1] = 0.2, 0.9
    verdict = limits.judge(new, old, np.arange(20))
    assert verdict.kept == "new" and "0.90 false lesions per case" in verdict.why


def _files(place: Path, cases: int, told: float) -> list[Path]:
    """Candidates of some cases; one of twelve numbers tells lesions, as loudly as ``told``."""
    random = np.random.default_rng(1)
    files = []
    for case in range(cases):
        lesion = np.arange(20) % 3 == 0
        described = random.normal(size=(3, 20, second_stage_features())).astype(np.float32)
        described[:, :, 3] += np.where(lesion, told, -told)
        found = Found(described, lesion, random.uniform(0.1, 0.9, 20))
        files.append(place / f"{case}.npz")
        np.savez(files[-1], **vars(found))
    return files


def second_stage_features() -> int:
    from bmcore.models.candidates import FEATURES

    return len(FEATURES)


@pytest.mark.parametrize(("start_knows", "kept"), [(False, "new"), (True, "start")])
def test_a_new_head_is_kept_only_where_it_beats_that_of_the_start(
    start_knows: bool, kept: str, tmp_path: Path
) -> None:
    import torch

    from bmcore.models.candidates import build_candidate_head
    from training.loops.false_positive_reduction import CandidateTraining, train

    files = _files(tmp_path, 8, 1.5)
    fold = np.arange(8) % 2
    from training.data.candidate_dataset import load

    def learnt(chosen: list[Path], epochs: int) -> dict:
        how = CandidateTraining(epochs=epochs, batch=16, rate=1e-2)
        return train(load(chosen), how, tmp_path, "cpu")["weights"]

    new = {k: learnt([f for f, own in zip(files, fold, strict=True) if own != k],
                     1 if start_knows else 8) for k in (0, 1)}  # fmt: skip
    torch.manual_seed(0)
    start = build_candidate_head(second_stage_features(), CandidateTraining.hidden)
    if start_knows:
        start.load_state_dict(learnt(files, 12))
    persons = np.array([f"p{n}" for n in range(8)])
    verdict = second_stage._judge_heads(new, start, files, fold, persons)
    assert verdict.kept == kept, verdict.why
    assert verdict.difference is not None and verdict.difference.n == 8
    failed = second_stage._judge_heads("all of one kind", start, files, fold, persons)
    assert failed.kept == "start" and "all of one kind" in failed.why


def test_nothing_is_spoilt_without_faults(tmp_path: Path) -> None:
    seen = audit(fixture.cohort(tmp_path / "whole", 2, NO_FAULTS), tmp_path / "kept")
    assert [c.why for c in seen.cases] == ["", ""] and seen.doubled == ()


# --- the comparison on a stand-in ---------------------------------------------------------------


def _scored(dice: float) -> dict:
    region = {"dice": dice, "lesion_dice": dice, "false_diameters_mm": [4.0]}
    return {"subsets": {"all": {"regions": dict.fromkeys(("ET", "TC", "WT"), region)}}}


def test_the_roads_are_compared_on_the_same_cases_by_person():
    ids = [f"c{n}" for n in range(12)]
    persons = {i: f"p{n // 2}" for n, i in enumerate(ids)}  # two cases each
    low = {i: _scored(0.5 + n / 100) for n, i in enumerate(ids)}
    high = {i: _scored(0.6 + n / 100) for n, i in enumerate(ids)}
    alone = low | {"only here": _scored(0.0)}
    records = {own_data.SHIPPED: alone, own_data.NOTHING: low, own_data.TUNED: high}
    rows = own_data.compare_segmentation(records, persons)
    row = next(r for r in rows if r["figure"] == "Dice, whole tumour")
    assert row[own_data.SHIPPED].value == pytest.approx(0.555)  # the case of one road is left out
    gain = row[f"{own_data.TUNED} less {own_data.SHIPPED}"]
    assert gain.value == pytest.approx(0.1) and gain.n == 6


def test_naming_is_compared_where_both_roads_answer_and_two_primaries_are_there():
    ids = [f"c{n}" for n in range(8)]
    persons, primaries = {i: i for i in ids}, {i: n % 2 for n, i in enumerate(ids)}
    right = {
        i: [0.9, 0.1, 0, 0, 0, 0] if primaries[i] == 0 else [0.1, 0.9, 0, 0, 0, 0] for i in ids
    }
    knows = {i: {"image": p, "fused": p} for i, p in right.items()}
    silent = knows | {"c0": {"image": None, "fused": right["c0"]}}
    answers = {own_data.SHIPPED: silent, own_data.NOTHING: knows, own_data.TUNED: knows}
    rows = {r["figure"]: r for r in own_data.compare_naming(answers, primaries, persons)}
    image = rows["image, macro AUC"]
    assert image[own_data.TUNED].n == 8 and image[own_data.SHIPPED].n == 7
    assert image[f"{own_data.TUNED} less {own_data.SHIPPED}"].n == 7
    assert image[f"{own_data.TUNED} less {own_data.NOTHING}"].n == 8
    assert rows["fused, macro AUC"][own_data.TUNED].value == 1
    assert own_data.compare_naming(answers, dict.fromkeys(ids, 0), persons) == []


def test_a_patient_without_a_lesion_in_the_reference_mask_has_an_answer(tmp_path: Path) -> None:
    """The net may find one where the reference mask holds none: there is only that row."""
    folder = tmp_path / "naming-1"
    folder.mkdir()
    kinds = [f"{kind}_{p}" for kind in ("clinical", "image", "fused") for p in PRIMARIES]
    rows = [("A", "rcc"), (f"A{own_data.NET}", "rcc"), (f"B{own_data.NET}", "sclc")]
    lines = [",".join(["case_id", "primary", *kinds])]
    lines += [",".join([case_id, primary, *["0.2"] * len(kinds)]) for case_id, primary in rows]
    (folder / "held_out.csv").write_text("\n".join(lines))
    told, primaries = own_data._answers_of(tmp_path)
    names = [str(p) for p in PRIMARIES]
    assert primaries == {"A": names.index("rcc"), "B": names.index("sclc")}
    assert set(told) == {"A", "B"}
    np.testing.assert_allclose(told["B"]["fused"], 1 / len(names))
