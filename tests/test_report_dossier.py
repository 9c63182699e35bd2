"""The dossier: the right numbers, five whole files, and no text that can do harm."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from bmcore.domain import (
    PRIMARIES,
    RESEARCH_NOTICE,
    Answer,
    BmcoreError,
    BundleInfo,
    ClinicalRecord,
    Lesion,
    Prediction,
    Primary,
    Volume,
)
from bmcore.report.blocks import Heading, Picture, Table, Words
from bmcore.report.build import build
from bmcore.report.chapters.contents import sections
from bmcore.report.dossier import DossierInputs
from bmcore.report.figures.style import as_png
from bmcore.report.render import data_files, pdf
from bmcore.report.write import write
from bmcore.review.votes import Vote

INFO = BundleInfo("demo", "0.1.0", "600 synthetic patients", True, "digest-a")
NASTY = "<script>alert(1)</script> & \U0001f9e0 $x_{ \u202e"
HAS_PDFTOTEXT = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed"
)


def vote(number, reader, case_id, primary, phase="unaided", **changes):
    values = {
        "role": "radiologist",
        "confidence": 60,
        "idempotency_key": f"k{number}",
        "bundle_digest": INFO.digest,
    }
    at = datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(minutes=number)
    return Vote(
        id=number,
        created_at=at,
        reader=reader,
        case_id=case_id,
        primary=primary,
        phase=phase,
        **{**values, **changes},
    )


def answer(kind, primary):
    if primary is None:
        return Answer(kind, None, "no lesion was found")
    return Answer(kind, tuple(0.75 if p == primary else 0.05 for p in PRIMARIES))


def prediction(case_id, clinical, image, fused, info=INFO):
    lesion = Lesion(1, 10, 8, 2, 3, 4, (0, 0, 0), (0, 0, 0), "left", "frontal lobe")
    return Prediction(
        case_id=case_id,
        sequences=("t1c",),
        mask=Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)),
        lesions=(lesion,) if image else (),
        clinical=answer("clinical", clinical),
        image=answer("image", image),
        fused=answer("fused", fused),
        bundle=info,
        clinical_record=ClinicalRecord(),
        lesion_probabilities=None,
        image_features=None,
        code=None,
        clinical_vector=np.zeros(3),
        reconstruction_error=None,
        timings_s={},
    )


@pytest.fixture(scope="module")
def study():
    """Two readers, four cases; b changes one mind; the model is right on three of four."""
    votes = [
        vote(1, "Ada", "c1", "nsclc"),
        vote(2, "Ada", "c2", "rcc"),
        vote(3, "Ada", "c3", "other", comment=NASTY),
        vote(4, "Bo", "c1", "nsclc"),
        vote(5, "Bo", "c2", "gi"),
        vote(6, "Bo", "c3", "other"),
        vote(7, "Bo", "c2", "rcc", supersedes=5, reason="Saw the kidney."),
        vote(8, "Ada", "c1", "melanoma", "aided", model_primary="melanoma", segmentation_quality=4),
        vote(9, "Bo", "c1", "nsclc", "aided", model_primary="melanoma", segmentation_quality=None),
        vote(10, "Bo", "c4", "cannot_tell", comment="=HYPERLINK(1)"),
    ]
    p = Primary
    predictions = {
        "c1": prediction("c1", p.NSCLC, p.MELANOMA, p.MELANOMA),
        "c2": prediction("c2", p.NSCLC, p.RCC, p.RCC),
        "c3": prediction("c3", p.NSCLC, None, p.GI),
        "c4": prediction("c4", p.NSCLC, p.SCLC, p.SCLC),
    }
    truths = {"c1": p.NSCLC, "c2": p.RCC, "c3": p.GI, "c4": p.SCLC}
    return votes, predictions, truths


@pytest.fixture(scope="module")
def built(study):
    return build(*study, INFO)


@pytest.fixture(scope="module")
def written(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return {path.name: path for path in write(built, out)}


def text_of(path):
    run = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, check=True)
    return run.stdout.decode("utf-8")


def test_only_votes_in_force_count_and_all_are_listed(built):
    assert built.counts == {
        "cases": 4,
        "cases_with_reference": 4,
        "cases_with_prediction": 4,
        "readers": 2,
        "votes": 10,
        "votes_in_force": 9,
    }
    assert 5 not in built.current


def lines_of(built, section, table):
    """{labels: cells} of a result table."""
    found = built.results.section(section).table(table)
    return {line.labels: line.cells for line in found.lines}


def test_agreement_of_the_drawn_study(built):
    # Unaided, both: c1 nsclc/nsclc, c2 rcc/rcc, c3 other/other; c4 has one answer only.
    overall = lines_of(built, "agreement", "agreement")
    percent, *chance_corrected = overall[("Without the models",)]
    assert (percent.value, percent.n) == (1, 3)
    assert all(not e.defined and e.method.startswith("too few: n = 3") for e in chance_corrected)
    pairs = lines_of(built, "agreement", "pairs")
    same, kappa, _ = pairs["Without the models", "Ada and Bo"]
    assert (same.n, same.value, kappa.method) == (3, 1, "too few: n = 3, 10 needed")
    # Aided: one case, two answers that differ.
    assert (overall[("With the models",)][0].value, overall[("With the models",)][0].n) == (0, 1)


def test_each_reader_against_the_models(built):
    # Truth nsclc, rcc, gi, sclc; models melanoma, rcc, gi, sclc. Ada unaided nsclc, rcc, other: two
    # right, as the models. Bo nsclc, rcc, other, cannot tell: two right of four, the models three.
    table = built.results.section("accuracy").table("reader_less_model")
    found = {line.labels: line.cells[0].value for line in table.lines}
    assert found["Ada", "Without the models"] == 0
    assert found["Bo", "Without the models"] == pytest.approx(-0.25)
    assert found["Bo", "With the models"] == 1  # kept nsclc, which was right, against melanoma


def test_reliance_counts_the_answer_that_the_reader_saw(study, built):
    # Both had c1 right before. Ada took over melanoma, Bo did not.
    shares = lines_of(built, "reliance", "reliance")
    helped, harmed, _, over, _ = shares["Ada", "With the models"]
    assert (helped.value, harmed.value, over.value, over.n) == (0, 1, 1, 1)
    assert shares["Bo", "With the models"][3].value == 0
    # With other models at hand now, the answer that was on the screen still counts.
    votes, predictions, truths = study
    other = {**predictions, "c1": prediction("c1", "nsclc", "nsclc", "nsclc")}
    again = lines_of(build(votes, other, truths, INFO), "reliance", "reliance")
    assert again["Ada", "With the models"][3] == over


def test_accuracies_against_the_reference(built):
    found = lines_of(built, "accuracy", "accuracy")
    right = {labels: (cells[0].value, cells[0].n) for labels, cells in found.items()}
    assert right["Ada", "Without the models"] == (pytest.approx(2 / 3), 3)
    assert right["Bo", "Without the models"] == (0.5, 4)
    assert right["Ada", "With the models"] == (0, 1)
    models = {who: n for (who, _), (n, _) in right.items() if who.startswith("Models")}
    assert models == {
        "Models, clinical data only": 0.25,
        "Models, images only": 0.5,
        "Models, fused": 0.75,
    }
    assert built.fused_minus_clinical.value == 0.5
    assert built.fused_minus_clinical.n == 4


def test_confusion_and_quality_counts(built):
    aided = np.array(built.confusion["aided"])
    row = PRIMARIES.index(Primary.MELANOMA)
    assert aided.sum() == 2
    assert aided[row, PRIMARIES.index(Primary.MELANOMA)] == 1
    assert aided[row, PRIMARIES.index(Primary.NSCLC)] == 1
    assert np.array(built.confusion["unaided"]).sum() == 7
    assert (built.quality, built.unrated) == ((0, 0, 0, 1, 0), 1)


def test_other_models_and_synthetic_training_are_told(study):
    votes, predictions, truths = study
    other = replace(INFO, digest="digest-b")
    remarks = " ".join(build(votes, predictions, truths, other).remarks)
    assert "10 votes were given with other models" in remarks
    assert "4 predictions were made by other models" in remarks
    assert "trained on synthetic data" in remarks
    assert "1 vote was replaced" in remarks


def test_the_whole_files_and_nothing_else(written):
    names = ["report.pdf", "report.html", "votes.csv", "results.csv", "report.json"]
    names += ["readings.csv", "readings.parquet", "codebook.csv", "imrmc.csv"]
    assert list(written) == names
    folder = written["report.pdf"].parent
    assert sorted(p.name for p in folder.iterdir()) == sorted(written)
    assert written["report.pdf"].read_bytes().rstrip().endswith(b"%%EOF")


def test_a_cell_that_could_be_a_formula_is_escaped(written):
    with written["votes.csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[9]["comment"] == "'=HYPERLINK(1)"
    assert rows[2]["comment"] == NASTY
    assert (rows[4]["in_force"], rows[6]["supersedes"], rows[6]["in_force"]) == ("no", "5", "yes")
    assert rows[0]["segmentation_quality"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "\n+", "\uff1d"])
def test_every_way_to_begin_a_formula_is_escaped(start):
    assert data_files.safe_cell(f"{start}1").startswith("'")


def test_plain_text_and_numbers_are_left_as_they_are():
    assert data_files.safe_cell("a = b") == "a = b"
    assert data_files.safe_cell(70) == "70"
    assert data_files.safe_cell(None) == ""
    assert data_files.safe_cell(-0.25) == "-0.25"  # a number, no formula


def test_json_is_strict_and_says_the_same_numbers(written, built):
    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    text = written["report.json"].read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=no_constant)
    assert found["notice"] == RESEARCH_NOTICE
    assert found["bundle"]["digest"] == "digest-a"
    assert found["counts"] == built.counts
    tables = found["results"]["sections"]["agreement"]["tables"]
    assert tables["agreement"]["lines"][0]["Percent agreement"]["value"] == 1
    assert tables["pairs"]["lines"][0]["Cohen's kappa"]["low"] is None
    assert len(found["checklists"]["CLAIM 2024"]) == 44
    assert found["cases"][2]["answers"]["image"]["reason"] == "no lesion was found"
    assert found["votes"][2]["comment"] == NASTY
    assert len(found["votes_sha256"]) == 64


def test_the_digest_of_the_votes_follows_every_word(study, built):
    votes, predictions, truths = study
    same = build(reversed(votes), predictions, truths, INFO)
    other = build([*votes[:-1], replace(votes[-1], comment="!")], predictions, truths, INFO)
    assert same.votes_digest == built.votes_digest != other.votes_digest


def test_the_web_page_escapes_text_and_loads_nothing(written):
    page = written["report.html"].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in page
    assert RESEARCH_NOTICE in page
    assert "<td>replaced by 7</td>" in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert page.count("<img ") == page.count('src="data:image/svg+xml;base64,') >= 4


@HAS_PDFTOTEXT
def test_the_pdf_says_what_it_must_on_numbered_pages(written):
    text = text_of(written["report.pdf"])
    pages = text.split("\f")[:-1]
    assert all(RESEARCH_NOTICE in page for page in pages)
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
    flat = " ".join(text.split())
    for words in (
        "600 synthetic patients",
        "Readers and models against the known primary",
        "75\u00a0% (30 to 95), n\u00a0=\u00a04",
        "<script>alert(1)</script> & [U+1F9E0] $x_{",
        "Reason for the change: Saw the kidney.",
        "Votes that were replaced:",
        "Item About State Here",
    ):
        assert " ".join(words.split()) in flat, words


@HAS_PDFTOTEXT
def test_with_no_votes_every_part_says_so(tmp_path):
    empty = build([], {}, {}, None)
    files = write(empty, tmp_path / "new" / "folder")
    text = " ".join(text_of(files[0]).split())
    for words in (
        "No votes yet.",
        "No models were at hand",
        "No cases yet.",
        "No comments yet.",
        "No segmentation was rated yet.",
        "No case has a known primary",
        "There is no reading yet.",
    ):
        assert words in text
    assert json.loads(files[4].read_text())["results"]["words"] == ["There is no reading yet."]


def test_one_reader_is_told_that_agreement_needs_a_second(study):
    def sentence(votes):
        return build(votes, {}, {}, None).results.section("agreement").sentence

    alone = sentence([v for v in study[0] if v.reader == "Ada"])
    assert alone == "3 cases, one reader: agreement needs a second reader."
    apart = [vote(1, "Ada", "c1", "rcc"), vote(2, "Bo", "c2", "rcc")]
    assert "no case was answered by two" in sentence(apart)


def test_every_block_has_matching_columns_and_every_picture_can_be_drawn(built):
    blocks = sections(built)
    assert {Heading, Words, Table, Picture} == {type(b) for b in blocks}
    for block in blocks:
        if isinstance(block, Table):
            assert all(len(row) == len(block.head) == len(block.widths) for row in block.rows)
            assert sum(block.widths) == pytest.approx(1)
        if isinstance(block, Picture):
            assert block.alt
            assert as_png(block.figure, dpi=20).startswith(b"\x89PNG")


def test_many_cases_and_a_long_comment_without_a_space_still_make_a_pdf(tmp_path):
    votes = [vote(n, NASTY, f"case {n:03d} " + "x" * 150, "rcc") for n in range(1, 41)]
    votes[0] = replace(votes[0], comment="y" * 4000)
    built = build(votes, {}, {}, None)
    files = write(built, tmp_path)
    assert files[0].stat().st_size > 20_000


def test_characters_that_the_font_lacks_are_written_out():
    assert pdf.printable("Márta \U0001f9e0 \u8133\x07") == "Márta [U+1F9E0] [U+8133][U+0007]"


def test_a_folder_that_cannot_be_written_is_refused_and_nothing_is_half_there(tmp_path, built):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BmcoreError, match="the output folder is a file"):
        write(built, tmp_path / "file")


def test_a_fault_while_drawing_leaves_the_old_report_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "report.pdf").write_text("the old one")

    def fail(*_):
        raise RuntimeError("drawn to fail")

    monkeypatch.setattr(data_files, "write_json", fail)
    with pytest.raises(RuntimeError, match="drawn to fail"):
        write(build([], {}, {}, None), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.pdf"]
    assert (tmp_path / "report.pdf").read_text() == "the old one"


def test_the_same_data_and_date_give_the_same_bytes(study, tmp_path):
    at = datetime(2026, 11, 26, 9, tzinfo=UTC)
    for folder in ("first", "second"):
        made = build(*study, INFO, DossierInputs(created_at=at))
        write(made, tmp_path / folder)
    for path in sorted((tmp_path / "first").iterdir()):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name
