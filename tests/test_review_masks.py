"""Consensus masks of a study: what readers painted or rejected, brought together."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused, Label
from bmcore.geometry import to_ras
from bmcore.intake.datasets import YaleDataset
from bmcore.review import adjudicate, corrections, plan
from bmcore.review.masks import PROVENANCE, Rule, tied_lesions, write_consensus
from bmcore.review.owner import Owner, drawer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.worklist import Seconds
from tests import pages_fixture, people_fixture

CASE = "BraTS-MET-00101-000"
READERS = ("ra", "rb", "rc")


@pytest.fixture
def desk(tmp_path: Path):
    readers = [
        {"id": r, "name": f"Reader {r}", "role": "radiologist", "years": 1.0} for r in READERS
    ]
    study = people_fixture.make_study([CASE], readers=readers)
    with open_store(people_fixture.url(tmp_path)) as store:
        plan.lock(store, study, "Prof Iris")
        yield ReadingSession(store, "small")


def read(case_id: str):
    case = pages_fixture.make_case(case_id)
    return case, pages_fixture.make_prediction(case)


def judge(desk: ReadingSession, reader: str, second: str) -> None:
    """All sheets; lesion 1 accepted, lesion 2 (on the right) as asked."""
    study = desk.version.study
    while (work := desk.next(reader)) is not None:
        place = work.item.place
        values = people_fixture.answers_for(study, place.arm)
        if "lesions" in values:
            values["lesions"] = {"lesions": {"1": "accept", "2": second}, "missed": 0}
        desk.submit(place, values, Seconds(), f"k {place}")


def paint(desk: ReadingSession, home: Path, reader: str, labels: np.ndarray) -> None:
    place = next(w.item.place for w in desk.work(reader))
    mask = read(CASE)[1].mask
    ras, _ = to_ras(labels, mask.affine)
    flat = ras.ravel(order="F")
    changed = np.flatnonzero(flat != to_ras(mask.data, mask.affine)[0].ravel(order="F"))
    runs = np.stack([changed, np.ones_like(changed), flat[changed]], 1).ravel().tolist()
    strokes = corrections.read_strokes([{"id": f"by {reader}", "runs": runs}], flat.size)
    canvas = corrections.Canvas(home, mask, corrections.content_id(mask))
    corrections.save(desk.store, Owner(CASE, drawer(desk.version.study, place)), strokes, canvas)


def written(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def halves(mask: np.ndarray) -> tuple[bool, bool]:
    """Is there a tumour in the left and in the right half? i grows to the right (RAS)."""
    tumour = np.isin(mask, (Label.NETC, Label.ET))
    middle = mask.shape[0] // 2
    return bool(tumour[:middle].any()), bool(tumour[middle:].any())


def resolve(desk: ReadingSession, second: str) -> None:
    """A third reader decides every disagreement on lesions: lesion 2 as asked."""
    desk.store.add_reader("Prof Third", "neuroradiologist", 20.0)
    open_ = [d for d in adjudicate.disagreements(desk.store, "small") if d.question == "lesions"]
    value = {"lesions": {"1": "accept", "2": second}, "missed": 0}
    adjudicate.decide_all(desk.store, [(d, value) for d in open_], decided_by="Prof Third")


@pytest.mark.parametrize("second", ["accept", "reject"])
def test_a_lesion_goes_where_all_readers_reject_it(
    desk: ReadingSession, tmp_path: Path, second: str
) -> None:
    for reader in READERS:
        judge(desk, reader, second)
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("lesion votes"), read)
    stays = second == "accept"
    assert one.path is not None and halves(written(one.path)) == (True, stays)
    dataset = YaleDataset(tmp_path / "out")  # as the training reads it
    assert halves(np.asarray(dataset.load(CASE).truth.mask.data)) == (True, stays)


def test_no_mask_is_written_while_a_disagreement_is_open(
    desk: ReadingSession, tmp_path: Path
) -> None:
    """Then the consensus decides, also against most readers; what it rests on stands beside."""
    for number, reader in enumerate(READERS):
        judge(desk, reader, "reject" if number < 1 else "accept")
    with pytest.raises(InputRefused, match="resolved") as refused:
        write_consensus(desk, tmp_path, tmp_path / "out", Rule("majority"), read)
    assert f"1 disagreement open: {CASE} (1)" in str(refused.value)
    assert not (tmp_path / "out").exists()
    resolve(desk, "reject")
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("lesion votes", "Iris"), read)
    assert one.path is not None and halves(written(one.path)) == (True, False)
    assert "verdicts by Prof Third" in one.words
    told = json.loads((tmp_path / "out" / PROVENANCE).read_text())
    assert told["plan"]["sha256"] == desk.version.digest and told["rule"]["by"] == "Iris"
    (case,) = told["cases"]
    assert case["sha256"] == hashlib.sha256(one.path.read_bytes()).hexdigest()
    assert [d["by"] for d in told["decisions"]] == ["Prof Third"]


def test_a_tie_is_asked_and_not_decided_in_silence(desk: ReadingSession, tmp_path: Path) -> None:
    """Two readers, one for and one against: a tie until a third reader has decided."""
    for number, reader in enumerate(READERS[:2]):
        judge(desk, reader, "reject" if number else "accept")
    assert tied_lesions(desk) == {CASE: {2: (1, 1)}}
    resolve(desk, "edit")
    assert tied_lesions(desk) == {}


def test_the_majority_takes_what_was_painted_before_what_was_judged(
    desk: ReadingSession, tmp_path: Path
) -> None:
    """Two readers paint the left lesion away, the third keeps the models' mask."""
    model = np.asarray(read(CASE)[1].mask.data)
    painted = model.copy()
    painted[: painted.shape[0] // 2] = 0
    for reader in READERS:
        judge(desk, reader, "accept")
    for reader in READERS[:2]:
        paint(desk, tmp_path, reader, painted)
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("majority"), read)
    assert one.path is not None and np.array_equal(written(one.path), painted)


def test_a_case_that_nobody_judged_is_told_and_not_written(
    desk: ReadingSession, tmp_path: Path
) -> None:
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("lesion votes"), read)
    assert one.path is None and "nobody has judged" in one.words
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("staple"), read)
    assert one.path is None and "two readers or more" in one.words
    assert not (tmp_path / "out").exists()


def test_a_correction_of_an_earlier_segmentation_is_told_and_not_used(
    desk: ReadingSession, tmp_path: Path
) -> None:
    painted = np.zeros_like(np.asarray(read(CASE)[1].mask.data))
    for reader in READERS:
        judge(desk, reader, "accept")
    paint(desk, tmp_path, READERS[0], painted)

    def run_again(case_id: str):
        case = pages_fixture.make_case(case_id)
        return case, pages_fixture.make_prediction(case, lesions=False)

    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("majority"), run_again)
    assert one.path is None and "an earlier segmentation of the models" in one.words


def test_a_mask_that_an_earlier_version_kept_in_a_file_is_used(
    desk: ReadingSession, tmp_path: Path
) -> None:
    from bmcore.review import old_drafts

    model = np.asarray(read(CASE)[1].mask.data)
    painted = model.copy()
    painted[: painted.shape[0] // 2] = 0
    for reader in READERS:
        judge(desk, reader, "accept")
    for reader in READERS[:2]:
        place = next(w.item.place for w in desk.work(reader))
        folder = old_drafts.folder_of(tmp_path, Owner(CASE, drawer(desk.version.study, place)))
        folder.mkdir(parents=True)
        nib.save(nib.Nifti1Image(painted, read(CASE)[1].mask.affine), folder / "mask.nii.gz")
    (one,) = write_consensus(desk, tmp_path, tmp_path / "out", Rule("majority"), read)
    assert one.path is not None and np.array_equal(written(one.path), painted)
