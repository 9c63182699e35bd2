"""The dossier: the right numbers, four whole files, and no text that can do harm."""

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
from bmcore.report import dossier, figures, pdf, sheets
from bmcore.report.outline import Heading, Picture, Table, Words, sections
from bmcore.review.votes import Vote
from bmcore.stats.bootstrap import Resampling

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
    return dossier.build(*study, INFO)


@pytest.fixture(scope="module")
def written(built, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return {path.name: path for path in dossier.write(built, out)}


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


def test_agreement_of_the_drawn_study(built):
    # Unaided, both: c1 nsclc/nsclc, c2 rcc/rcc, c3 other/other; c4 has one answer only.
    unaided = built.agreement.unaided
    assert unaided.readers == ("Ada", "Bo")
    assert (unaided.percent.value, unaided.percent.n) == (1, 3)
    (pair,) = unaided.pairs
    assert (pair.n, pair.percent.value, pair.kappa.value) == (3, 1, 1)
    assert unaided.answers[3] == (None, "cannot_tell")
    # Aided: one case, two answers that differ.
    assert (built.agreement.aided.percent.value, built.agreement.aided.percent.n) == (0, 1)


def test_each_reader_against_the_model(built):
    # Model: melanoma, rcc, gi, sclc. Ada unaided nsclc, rcc, other: 1 of 3. Bo adds c4: 1 of 4.
    by_reader = {p.a: p for p in built.agreement.unaided.models}
    assert by_reader["Ada"].percent.value == pytest.approx(1 / 3)
    assert (by_reader["Bo"].percent.value, by_reader["Bo"].n) == (0.25, 4)
    aided = {p.a: p.percent.value for p in built.agreement.aided.models}
    assert aided == {"Ada": 1, "Bo": 0}


def test_an_aided_vote_is_compared_with_what_its_reader_saw(study):
    votes, _, _ = study
    summary = dossier.agreement_summary(votes, {"c1": "rcc", "c2": "rcc", "c3": "gi", "c4": "gi"})
    assert {p.a: p.percent.value for p in summary.aided.models} == {"Ada": 1, "Bo": 0}


def test_accuracies_against_the_reference(built):
    readers = {(h.who, h.phase): (h.accuracy.value, h.accuracy.n) for h in built.reader_hits}
    assert readers[("Ada", "unaided")] == (pytest.approx(2 / 3), 3)
    assert readers[("Bo", "unaided")] == (0.5, 4)
    assert readers[("Ada", "aided")] == (0, 1)
    models = {h.who: h.accuracy.value for h in built.model_hits}
    assert models == {"clinical": 0.25, "image": 0.5, "fused": 0.75}
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
    remarks = " ".join(dossier.build(votes, predictions, truths, other).remarks)
    assert "10 votes were given with other models" in remarks
    assert "4 predictions were made by other models" in remarks
    assert "trained on synthetic data" in remarks
    assert "1 vote was replaced" in remarks


def test_four_whole_files_and_nothing_else(written):
    assert list(written) == ["report.pdf", "report.html", "votes.csv", "report.json"]
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
    assert sheets.safe_cell(f"{start}1").startswith("'")


def test_plain_text_and_numbers_are_left_as_they_are():
    assert sheets.safe_cell("a = b") == "a = b"
    assert sheets.safe_cell(70) == "70"
    assert sheets.safe_cell(None) == ""


def test_json_is_strict_and_says_the_same_numbers(written, built):
    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    text = written["report.json"].read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=no_constant)
    assert found["notice"] == RESEARCH_NOTICE
    assert found["bundle"]["digest"] == "digest-a"
    assert found["counts"] == built.counts
    assert found["agreement"]["unaided"]["percent"]["value"] == 1
    assert found["agreement"]["unaided"]["pairs"][0]["cohen_kappa"]["low"] is None
    assert found["cases"][2]["answers"]["image"]["reason"] == "no lesion was found"
    assert found["votes"][2]["comment"] == NASTY
    assert len(found["votes_sha256"]) == 64


def test_the_digest_of_the_votes_follows_every_word(study, built):
    votes, predictions, truths = study
    same = dossier.build(reversed(votes), predictions, truths, INFO)
    other = dossier.build([*votes[:-1], replace(votes[-1], comment="!")], predictions, truths, INFO)
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
        "Bo, unaided 50\u00a0% (15 to 85) 4",
        "Model, fused 75\u00a0% (30 to 95) 4",
        "<script>alert(1)</script> & [U+1F9E0] $x_{",
        "Reason for the change: Saw the kidney.",
        "Why a kappa has no interval or is not defined: no disagreement was seen.",
    ):
        assert " ".join(words.split()) in flat, words


@HAS_PDFTOTEXT
def test_with_no_votes_every_part_says_so(tmp_path):
    empty = dossier.build([], {}, {}, None)
    files = dossier.write(empty, tmp_path / "new" / "folder")
    text = " ".join(text_of(files[0]).split())
    for words in (
        "No votes yet.",
        "No models were at hand",
        "No cases yet.",
        "No comments yet.",
        "No segmentation was rated yet.",
        "No case with votes or predictions has a known primary.",
    ):
        assert words in text
    assert json.loads(files[3].read_text())["agreement"]["aided"]["percent"]["value"] is None


def test_one_reader_is_told_that_agreement_needs_a_second(study):
    votes = [v for v in study[0] if v.reader == "Ada"]
    summary = dossier.agreement_summary(votes)
    assert summary.unaided.words == "3 cases, one reader: agreement needs a second reader."
    assert not summary.unaided.fleiss.defined
    assert summary.unaided.pairs == ()
    apart = [vote(1, "Ada", "c1", "rcc"), vote(2, "Bo", "c2", "rcc")]
    assert "no case was answered by two" in dossier.agreement_summary(apart).unaided.words


def test_every_block_has_matching_columns_and_every_picture_can_be_drawn(built):
    blocks = sections(built)
    assert {Heading, Words, Table, Picture} == {type(b) for b in blocks}
    for block in blocks:
        if isinstance(block, Table):
            assert all(len(row) == len(block.head) == len(block.widths) for row in block.rows)
            assert sum(block.widths) == pytest.approx(1)
        if isinstance(block, Picture):
            assert block.alt
            assert figures.as_png(block.figure, dpi=20).startswith(b"\x89PNG")


def test_many_cases_and_a_long_comment_without_a_space_still_make_a_pdf(tmp_path):
    votes = [vote(n, NASTY, f"case {n:03d} " + "x" * 150, "rcc") for n in range(1, 41)]
    votes[0] = replace(votes[0], comment="y" * 4000)
    built = dossier.build(votes, {}, {}, None)
    files = dossier.write(built, tmp_path)
    assert files[0].stat().st_size > 20_000


def test_characters_that_the_font_lacks_are_written_out():
    assert pdf.printable("Márta \U0001f9e0 \u8133\x07") == "Márta [U+1F9E0] [U+8133][U+0007]"


def test_a_folder_that_cannot_be_written_is_refused_and_nothing_is_half_there(tmp_path, built):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BmcoreError, match="cannot be written here"):
        dossier.write(built, tmp_path / "file")


def test_a_fault_while_drawing_leaves_the_old_report_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "report.pdf").write_text("the old one")

    def fail(*_):
        raise RuntimeError("drawn to fail")

    monkeypatch.setattr(sheets, "write_json", fail)
    with pytest.raises(RuntimeError, match="drawn to fail"):
        dossier.write(dossier.build([], {}, {}, None), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.pdf"]
    assert (tmp_path / "report.pdf").read_text() == "the old one"


def test_the_interval_of_three_readers_follows_the_seed(study):
    votes = [*study[0], *[vote(20 + n, "Cy", f"c{n}", "rcc") for n in (1, 2, 3)]]
    first = dossier.agreement_summary(votes, None, Resampling(seed=1)).unaided.percent
    again = dossier.agreement_summary(votes, None, Resampling(seed=1)).unaided.percent
    assert first == again
    assert "bootstrap" in first.method
