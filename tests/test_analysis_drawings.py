"""What readers draw in a study: whose mask it is, and the archive that holds masks and marks."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
from datetime import UTC, datetime

import nibabel as nib
import numpy as np
import pytest

from bmcore.analysis import collect, drawings
from bmcore.inference import archive
from bmcore.report.build import build
from bmcore.report.dossier import DossierInputs
from bmcore.report.write import write
from bmcore.review import corrections, marks, plan
from bmcore.review.marks import Scene
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.record import read_record
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from bmcore.stats.continuous import reader_dice
from tests import study_fixture as drawn
from tests.test_report_parts import failing_case

PRIMARY = {"id": "primary", "kind": "primary", "text": "Which?"}
RATED = {"id": "count", "kind": "marks", "rated": True, "text": "Mark and rate"}
GI = {"primary": {"choice": "gi", "confidence": 40}}
AT = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a prediction of C1, and the prediction."""
    folder = tmp_path_factory.mktemp("home")
    _, prediction = failing_case()
    archive.keep(folder, prediction)
    return folder, prediction


def paint(home, store, owner, first: int) -> None:
    """A stroke of 40 voxels of enhancing tumour from the voxel ``first`` on."""
    folder, prediction = home
    canvas = corrections.Canvas(folder, prediction.mask, corrections.content_id(prediction.mask))
    stroke = {"id": f"s{first}", "runs": [first, 40, 3]}
    strokes = corrections.read_strokes([stroke], int(np.prod(prediction.mask.shape)))
    corrections.save(store, owner, strokes, canvas)


@pytest.fixture(scope="module")
def study(home, tmp_path_factory):
    """A study of one case in which both readers painted and marked; outside it one of them painted
    something else under the own name."""
    path = tmp_path_factory.mktemp("base") / "study.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        made = drawn.study(questions=[PRIMARY, RATED], cases=["C1"])
        plan.lock(store, made, "Ida Lund")
        desk = ReadingSession(store, made.study)
        paint(home, store, Owner("C1", "Ada Lund"), 9000)
        for number, (reader, *_) in enumerate(drawn.READERS):
            unaided, aided = [w.item.place for w in desk.work(reader)]
            owner = Owner("C1", drawer(made, unaided))
            content = {"kind": "missed", "points": [[1.0, 2.0, 3.5]]}
            change = {"key": "a", "mark": "a", "content": content, "action": "set", "after": 0}
            assert marks.record(store, owner, [change], Scene("unaided")) == {}
            desk.submit(unaided, GI | {"count": {"marks": {"a": 40}}}, Seconds(), f"u{reader}")
            paint(home, store, owner, 6000 + 20 * number)
            desk.submit(aided, GI | {"count": {"marks": {"a": 90}}}, Seconds(), f"a{reader}")
        yield made, store


def test_masks_of_a_study_are_compared_by_who_drew_them_there(home, study):
    folder, prediction = home
    made, store = study
    record = read_record(store, "drawn")
    found = collect.mask_agreement_in_study(folder, store, record, {"C1": prediction})
    names, table = found["C1"]
    assert names == ("Ada Lund", "Bo Ek")
    cores = []
    for sheet in record.sheets:
        if sheet.place.arm == "aided":
            owner = Owner("C1", drawer(made, sheet.place))
            now = store.read(lambda c, o=owner: corrections.state(c, o))
            kept = corrections.load(folder, now.sha256, prediction.mask)
            cores.append(np.isin(kept.data, (1, 3)))
    assert table == pytest.approx(reader_dice(np.stack(cores)))
    assert table[0, 1] < 1
    # What was painted outside the study is that of the free votes, and of one reader only.
    assert collect.mask_agreement(folder, store, {"C1": prediction}, names) == {}
    data, _ = collect.of_study(folder, store, record, {}, {"C1": prediction})
    assert data.dice["C1"][1][0, 1] == table[0, 1]


def archive_of(home, store, out):
    record = read_record(store, "drawn")
    folder, prediction = home
    data, _ = collect.of_study(folder, store, record, {}, {"C1": prediction})
    inputs = DossierInputs(
        created_at=AT,
        data=data,
        record=record,
        drawings=drawings.of_study(folder, store, record),
        read_mask=lambda sha256: corrections.content_of(folder, sha256),
    )
    files = {p.name: p for p in write(build([], {}, {}, None, inputs), out)}
    return zipfile.ZipFile(files["drawings.zip"])


def table(zipped, name):
    return list(csv.DictReader(io.StringIO(zipped.read(name).decode("utf-8"))))


def test_the_archive_holds_each_mask_as_nifti_and_each_mark_with_its_codebook(
    home, study, tmp_path
):
    _, store = study
    zipped = archive_of(home, store, tmp_path / "out")
    masks = table(zipped, "masks.csv")
    assert [(m["reader"], m["case"], m["arm"]) for m in masks] == [
        ("Ada Lund", "C1", "aided"),
        ("Bo Ek", "C1", "aided"),
    ]
    assert [m["file"] for m in masks] == [
        "masks/C1_r01_aided.nii.gz",
        "masks/C1_r02_aided.nii.gz",
    ]
    _, prediction = home
    for m in masks:
        content = zipped.read(m["file"])
        assert hashlib.sha256(content).hexdigest() == m["sha256"]
        image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
        assert image.shape == prediction.mask.shape
        assert (np.asarray(image.dataobj) != prediction.mask.data).sum() > 20
    told = table(zipped, "marks.csv")
    assert [(m["reader"], m["arm"], m["rating"]) for m in told] == [
        ("Ada Lund", "unaided", "40"),
        ("Ada Lund", "aided", "90"),
        ("Bo Ek", "unaided", "40"),
        ("Bo Ek", "aided", "90"),
    ]
    assert {m["points_mm"] for m in told} == {"1.00 2.00 3.50"}
    book = {(row["file"], row["column"]) for row in table(zipped, "codebook.csv")}
    assert {("masks.csv", c) for c in masks[0]} | {("marks.csv", c) for c in told[0]} < book


def test_a_mask_that_is_gone_is_told_and_a_running_study_gives_nothing(home, study, tmp_path):
    _, store = study
    folder, _ = home
    record = read_record(store, "drawn")
    lost = corrections.path_of(folder, drawings.of_study(folder, store, record).masks[0]["sha256"])
    content = lost.read_bytes()
    lost.unlink()
    try:
        first, second = drawings.of_study(folder, store, record).masks
    finally:
        lost.write_bytes(content)
    assert first["file"] is None and "is missing" in first["problem"]
    assert second["file"] == "masks/C1_r02_aided.nii.gz"
    with open_store(f"sqlite:///{tmp_path / 'open.sqlite'}") as running:
        plan.lock(running, drawn.study(questions=[PRIMARY, RATED], cases=["C1"]), "Ida Lund")
        zipped = archive_of(home, running, tmp_path / "open")
    assert table(zipped, "masks.csv") == table(zipped, "marks.csv") == []
