"""Other programs' scores through the whole road, our readings out to them, and sizing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bmcore.analysis import raw_data, sizing
from bmcore.cli import app
from bmcore.domain import InputRefused, Primary
from bmcore.plain import safe_cell
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.stats import imrmc_file, incomplete
from bmcore.stats.sizing import Question, power_table
from tests import study_fixture as drawn
from tests.test_analysis_endpoints import data, plan
from tests.test_stats_imrmc_file import example
from tests.vandyke_fixture import PRINTED, SCORES, TRUTH

RUN = CliRunner()


def numbers(out: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return {(r["table"], r["about"], r["measure"]): r for r in csv.DictReader(file)}


def test_imrmcs_example_gives_its_printed_numbers_in_the_report(tmp_path):
    file = tmp_path / "fakepilot2.csv"
    file.write_text(example())
    run = RUN.invoke(app, ["mrmc", str(file), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    assert "3 readers, 300 cases (150 positive), 2 modalities; 1800 readings" in run.output
    found = numbers(tmp_path / "out")
    u = "Readers like these (U)"
    areas = [found["Mean of the readers", f"modality{m}", u]["value"] for m in "AB"]
    assert [round(float(a), 9) for a in areas] == [0.903333333, 0.553333333]  # iMRMC 4.0.0
    change = found["Differences", "modalityB minus modalityA", u]
    assert round(float(change["value"]), 9) == -0.35
    page = (tmp_path / "out" / "report.html").read_text()
    assert "not a medical device" in page and "fakepilot2.csv" in page
    assert (tmp_path / "out" / "report.pdf").stat().st_size > 5000


def test_rjafrocs_dataset02_gives_the_printed_numbers_in_the_report(tmp_path):
    lines = ["Van Dyke 1993", "BEGIN DATA:", *(f"-1,c{i},0,{int(t)}" for i, t in enumerate(TRUTH))]
    for m, name in enumerate(("spin", "cine")):
        for r in range(5):
            lines += [f"r{r},c{i},{name},{SCORES[m, r, i]:g}" for i in range(114)]
    file = tmp_path / "dataset02.imrmc"
    file.write_text("\n".join(lines))
    assert RUN.invoke(app, ["mrmc", str(file), "--out", str(tmp_path / "a")]).exit_code == 0
    found = numbers(tmp_path / "a")
    each = [
        [round(float(found["Each reader", f"r{r}", m]["value"]), 8) for r in range(5)]
        for m in ("spin", "cine")
    ]
    assert each == PRINTED["auc"]
    row = found["Differences", "cine minus spin", "Readers like these (OR)"]
    assert round(float(row["p"]), 4) == 0.0517  # OR-DBM MRMC 2.51
    page = (tmp_path / "a" / "report.html").read_text()
    for value in (PRINTED["reader"], PRINTED["interaction"], *PRINTED["cov"]):
        assert f"{value:.8f}" in page


def test_readings_that_are_missing_change_the_weights_and_nothing_else(tmp_path):
    kept = [x for n, x in enumerate(example().splitlines()) if not ("Reader3" in x and n % 3)]
    file = tmp_path / "part.csv"
    file.write_text("\n".join(kept))
    run = RUN.invoke(app, ["mrmc", str(file), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0 and "1400 readings, 400 missing" in run.output
    scores, truth = imrmc_file.parse("\n".join(kept)).arrays()
    expected = incomplete.compare_auc(scores, truth).means[0].value
    row = numbers(tmp_path / "out")["Mean of the readers", "modalityA", "Readers like these (U)"]
    assert float(row["value"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("reader,case\n1,2", [], "BEGIN DATA"),
        ("BEGIN DATA:\n-1,a,0,1\nr,a,m,x", [], "line 3"),
        (None, [], "cannot be used"),
        (example(), ["--compare", "modalityA,none"], "this modality is not in the file"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_nothing_behind(tmp_path, text, options, words):
    file = tmp_path / "a.csv"
    if text is not None:
        file.write_text(text)
    out = tmp_path / "out"
    run = RUN.invoke(app, ["mrmc", str(file), "--out", str(out), *options])
    assert run.exit_code == 2
    assert (words in run.output and "a.csv" in run.output) or words in run.output
    assert not out.exists() or not list(out.iterdir())


def test_our_readings_go_to_imrmc_and_come_back_with_the_same_area():
    study = plan(measure="AUC", primary="melanoma")
    said = data(study)
    text = imrmc_file.write(raw_data.imrmc(said, "melanoma"))
    scores, truth = imrmc_file.parse(text).arrays(("unaided", "aided"))
    from bmcore.analysis.comparison import measure
    from bmcore.analysis.endpoints import as_readings

    _, by_u, _ = measure(as_readings(said), ("unaided", "aided"), "AUC", "melanoma")
    again = incomplete.compare_auc(scores, truth).differences[0, 1]
    assert again.difference.value == pytest.approx(by_u.difference.value)
    assert again.df == pytest.approx(by_u.df)


def test_names_that_imrmc_cannot_hold_stay_apart():
    study = plan(2, 12)
    said = data(study)
    people = tuple(type(p)(n, p.role) for p, n in zip(said.people, ("A B", "AB"), strict=True))
    names = {"R0": "A B", "R1": "AB"}
    from dataclasses import replace

    readings = tuple(replace(r, reader=names[r.reader]) for r in said.readings)
    found = raw_data.imrmc(replace(said, people=people, readings=readings), "melanoma")
    assert sorted(found.readers) == ["AB", "AB2"]


def test_no_name_in_an_imrmc_file_is_a_formula():
    """The file is opened by spreadsheets too; iMRMC and ``parse`` read it as before."""
    bad = ['=HYPERLINK("http://x","y")', "@SUM(1+1)", "+1+cmd|' /C calc'!A0", "-2+3", '"=1+1"',
           "\t=1", "a;=1", "\u200b=1", "\uff1d1", "-1"]  # fmt: skip
    said = data(plan(len(bad), 12))
    names = dict(zip(dict.fromkeys(r.reader for r in said.readings), bad, strict=True))
    cases = dict(zip(dict.fromkeys(r.case_id for r in said.readings), bad, strict=False))
    readings = tuple(
        replace(r, reader=names[r.reader], case_id=cases.get(r.case_id, r.case_id))
        for r in said.readings
    )
    facts = {cases.get(case, case): told for case, told in said.cases.items()}
    found = raw_data.imrmc(replace(said, readings=readings, cases=facts), "melanoma")
    text = imrmc_file.write(found)
    assert len(found.readers) == len(bad)
    assert imrmc_file.parse(text).scores == found.scores
    for line in text.split("BEGIN DATA:")[1].split():
        reader, case, *_ = line.split(",")
        assert '"' not in line and ";" not in line
        assert reader == "-1" or safe_cell(reader) == reader
        assert safe_cell(case) == case


def test_every_column_of_the_raw_data_is_in_the_codebook(tmp_path):
    url = f"sqlite:///{tmp_path / 'd.db'}"
    with open_store(url) as store:
        drawn.read(store, drawn.study(repeats=4))
        record = read_record(store, "drawn")
    from bmcore.analysis.readings import from_study
    from bmcore.report.build import build
    from bmcore.report.dossier import DossierInputs
    from bmcore.report.write import write

    source = from_study(record, drawn.facts())
    known = {case: Primary(t) for case, t in drawn.TRUTH.items()}
    made = build([], {}, known, None, DossierInputs(data=source, record=record))
    files = {p.name: p for p in write(made, tmp_path / "report")}
    table = pd.read_csv(files["readings.csv"])
    typed = pd.read_parquet(files["readings.parquet"])
    book = pd.read_csv(files["codebook.csv"])
    assert list(table) == list(typed) == list(book["column"])
    assert len(table) == len(typed) == 2 * 2 * (12 + 4)
    assert set(table["occasion"]) == {0, 1}
    row = typed[(typed.reader == "Ada Lund") & (typed.case == "Case-00") & (typed.occasion == 0)]
    assert list(row["arm"]) == ["unaided", "aided"]
    assert list(row["answer"]) == [drawn.said("r01", "Case-00", a) for a in ("unaided", "aided")]
    assert typed["seconds"].notna().all() and typed["lesions"].isna().all()
    study = imrmc_file.parse(files["imrmc.csv"].read_text())
    assert (len(study.truth), len(study.readers), len(study.scores)) == (12, 2, 48)
    assert all(words for words in book["what it is"])


def test_while_a_study_runs_the_raw_data_hold_no_reading(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'd.db'}") as store:
        drawn.read(store, drawn.study(), stop_after=23)
        record = read_record(store, "drawn")
    from bmcore.analysis.readings import from_study
    from bmcore.report.build import build
    from bmcore.report.dossier import DossierInputs
    from bmcore.report.write import write

    source = from_study(record, drawn.facts())
    made = build([], {}, {}, None, DossierInputs(data=source, record=record))
    files = {p.name: p for p in write(made, tmp_path / "report")}
    assert len(pd.read_csv(files["readings.csv"])) == 0
    assert len(pd.read_parquet(files["readings.parquet"])) == 0
    assert "Withheld" in files["imrmc.csv"].read_text()
    assert "Ada" not in files["imrmc.csv"].read_text()


def test_sizing_on_the_command_line_gives_the_numbers_of_the_table():
    options = ["--expected", "0.6", "--difference", "0.1", "--variation", "1"]
    run = RUN.invoke(app, ["study", "size", *options])
    assert run.exit_code == 0, run.output
    from bmcore.stats.sizing import PRESETS

    rows = power_table(Question("accuracy", 0.6, 0.1), next(iter(PRESETS.values())))
    for row in rows:
        assert sizing.words(row) in run.output
    assert "plan four or more" in run.output
    wrong = RUN.invoke(app, ["study", "size", "--expected", "0.95", "--difference", "0.1"])
    assert wrong.exit_code == 2 and "must lie between" in wrong.output


def test_a_finished_study_is_a_pilot_and_a_running_one_is_not(tmp_path):
    known = {case: Primary(t) for case, t in drawn.TRUTH.items()}
    with open_store(f"sqlite:///{tmp_path / 'd.db'}") as store:
        drawn.read(store, drawn.study())
        record = read_record(store, "drawn")
    parts, n = sizing.pilot(record, known, "accuracy")
    right = np.array(
        [[[drawn.said(r, c, a) == drawn.TRUTH[c] for c in drawn.CASES] for r in ("r01", "r02")]
         for a in ("unaided", "aided")], float,
    )  # fmt: skip
    assert n == 12
    assert parts.var == pytest.approx(np.mean(right.var(axis=2, ddof=1)) / 12)
    rows = power_table(Question("accuracy", 0.6, 0.2), pilot=(parts, n))
    assert len(rows) > 3
    with pytest.raises(InputRefused, match="names no primary"):
        sizing.pilot(record, known, "AUC")
    against = {"measure": "accuracy", "compare": ["models", "unaided"]}
    version = replace(record.versions[-1], study=drawn.study(primary_endpoint=against))
    with pytest.raises(InputRefused, match="readers with the models alone"):
        sizing.pilot(replace(record, versions=(version,)), known, "accuracy")
    with open_store(f"sqlite:///{tmp_path / 'e.db'}") as store:
        drawn.read(store, drawn.study(), stop_after=23)
        running = read_record(store, "drawn")
    with pytest.raises(InputRefused, match="not finished"):
        sizing.pilot(running, known, "accuracy")
