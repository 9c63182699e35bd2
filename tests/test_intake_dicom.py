"""A DICOM series comes out as the volume that it was written from, whatever its files are like."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.fileset import FileSet

from bmcore.domain import InputRefused, Severity
from bmcore.intake.dicom import choose, holds_dicom, read_study, read_volume, to_case, to_raw
from bmcore.intake.dicom import geometry as places
from bmcore.intake.dicom.files import list_files
from bmcore.intake.dicom.found import Image, SourceFile
from tests import dicom_fixture as fixture


def only(source: Path):
    """The one series in ``source``."""
    with read_study(source) as found:
        (patient,) = found.patients
        (examination,) = patient.examinations
        (series,) = examination.series
        return series, read_volume(series)[0] if series.usable else None


def test_four_series_are_a_case_with_its_values_at_their_places(tmp_path):
    sources = fixture.four(tmp_path / "disc")
    with read_study(tmp_path / "disc") as found:
        raw = to_raw(choose(found), tmp_path / "home")
    case = to_case(raw)
    assert case.missing == () and case.sequences["t1c"].data.dtype == np.float32
    for name, source in sources.items():
        assert fixture.agrees(case.sequences[name], source), name


def test_names_numbers_and_slice_locations_that_lie_change_nothing(tmp_path):
    source = fixture.volume()
    made = fixture.slices(source)
    order = np.random.default_rng(1).permutation(len(made))
    for place, one in zip(order, made, strict=True):
        one.InstanceNumber, one.SliceLocation = int(place) + 1, float(place)
    fixture.save([made[place] for place in order], tmp_path / "a", name="IM{:03d}")
    _, found = only(tmp_path / "a")
    assert fixture.agrees(found, source)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (0, 2, 1)])
def test_any_plane_and_any_direction(tmp_path, axes, flips):
    affine = fixture.oblique(sizes=(1.1, 1.3, 2.0))
    turned = affine.copy()
    turned[:3, :3] = affine[:3, :3][:, axes] * flips
    source = fixture.volume(affine=turned)
    fixture.save(fixture.slices(source), tmp_path / "a")
    _, found = only(tmp_path / "a")
    assert fixture.agrees(found, source)


def test_the_position_on_the_table_turns_nothing(tmp_path):
    source = fixture.volume()
    fixture.save(fixture.slices(source, PatientPosition="FFP"), tmp_path / "a")
    assert fixture.agrees(only(tmp_path / "a")[1], source)


@pytest.mark.parametrize("order", ["plain", "odd and even", "random"])
def test_enhanced_frames_in_any_order_with_a_scale_each(tmp_path, order):
    source = fixture.volume()
    frames = fixture.slices(source)
    for k, one in enumerate(frames):
        one.RescaleSlope, one.RescaleIntercept = 0.5 + 0.25 * k, -3.0
    count = len(frames)
    orders = {
        "plain": range(count),
        "odd and even": [*range(0, count, 2), *range(1, count, 2)],
        "random": np.random.default_rng(2).permutation(count).tolist(),
    }
    fixture.save([fixture.enhanced(frames, orders[order])], tmp_path / "a", name="object{}")
    slopes = 0.5 + 0.25 * np.arange(count, dtype=np.float32)
    scaled = fixture.Volume(source.data * slopes - 3.0, source.affine)
    series, found = only(tmp_path / "a")
    assert len(series.files) == 1 and fixture.agrees(found, scaled, tolerance=1e-3)


# --- what a folder can be like -------------------------------------------------------------------


def test_zip_disc_and_junk(tmp_path):
    source = fixture.volume()
    files = FileSet()
    for one in fixture.slices(source):
        files.add(fixture.pydicom.dcmread(io.BytesIO(fixture.to_bytes(one))))
    files.write(tmp_path / "disc")
    lost = next(p for p in (tmp_path / "disc").rglob("*") if p.is_file() and p.name != "DICOMDIR")
    with zipfile.ZipFile(tmp_path / "disc.zip", "w") as archive:
        for path in (tmp_path / "disc").rglob("*"):
            if path.is_file() and path != lost:
                archive.write(path, f"CD/{path.relative_to(tmp_path / 'disc')}")
        archive.writestr("__MACOSX/CD/._DICOMDIR", b"\0\5\x16\7")
        archive.writestr("CD/VIEWER.EXE", b"MZ" + bytes(300))
        archive.writestr("CD/inner.zip", (b"PK\x03\x04" + bytes(300)))
    with read_study(tmp_path / "disc.zip") as found:
        told = " ".join(note.sentence for note in found.notes)
        (series,) = found.patients[0].examinations[0].series
    assert "1 image named in DICOMDIR is not there" in told
    assert "an archive in the archive was not opened" in told
    assert any("DICOMDIR" in note.what for note in series.notes)
    with read_study(tmp_path / "disc" / "DICOMDIR") as found:
        (series,) = found.patients[0].examinations[0].series
        assert found.notes == () and fixture.agrees(read_volume(series)[0], source)


def test_what_was_unpacked_is_gone_afterwards(tmp_path):
    fixture.save(fixture.slices(fixture.volume()), tmp_path / "a")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a")
    found = read_study(tmp_path / "a.zip")
    folder = Path(found.unpacked.name)
    assert any(folder.rglob("*"))
    found.close()
    assert not folder.exists()


def test_a_zip_within_a_folder_is_opened(tmp_path):
    source = fixture.volume()
    fixture.save(fixture.slices(source), tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.make_archive(str(tmp_path / "b" / "from PACS"), "zip", tmp_path / "a")
    assert holds_dicom([tmp_path / "b"])
    assert fixture.agrees(only(tmp_path / "b")[1], source)


def hostile(path: Path, *parts: tuple[object, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.dcm", fixture.to_bytes(fixture.slices(fixture.volume())[0]))
        for name, content in parts:
            archive.writestr(name, content)  # type: ignore[arg-type]
    before = set(path.parent.rglob("*"))
    with pytest.raises(InputRefused) as caught:
        read_study(path)
    assert set(path.parent.rglob("*")) == before
    return str(caught.value)


def test_hostile_archives_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    link = zipfile.ZipInfo("link.dcm")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    outside = "a path outside the archive"
    assert outside in hostile(tmp_path / "1.zip", ("../up.dcm", b"x"))
    assert outside in hostile(tmp_path / "2.zip", ("/root.dcm", b"x"))
    assert outside in hostile(tmp_path / "3.zip", ("a\\..\\..\\up.dcm", b"x"))
    assert outside in hostile(tmp_path / "4.zip", ("C:\\up.dcm", b"x"))
    assert "holds a link" in hostile(tmp_path / "5.zip", (link, b"/etc/passwd"))
    bomb = hostile(tmp_path / "6.zip", ("bomb.dcm", bytes(40 * 2**20)))
    assert "bomb.dcm: the archive holds a file that is too large when unpacked" in bomb
    many = hostile(tmp_path / "7.zip", *((f"{n}.dcm", bytes(8 * 2**20)) for n in range(12)))
    assert "too large when unpacked" in many


def test_a_damaged_archive_is_refused_in_words(tmp_path):
    fixture.save(fixture.slices(fixture.volume()), tmp_path / "a")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a")
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputRefused, match="damaged or cannot be opened"):
        read_study(tmp_path / "cut.zip")


def test_links_in_a_folder_are_not_followed(tmp_path):
    fixture.save(fixture.slices(fixture.volume()), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "b" / "0001.dcm").symlink_to(tmp_path / "a" / "0001.dcm")
    assert list_files([tmp_path / "b"])[0] == []


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    assert not holds_dicom([tmp_path / "a"])
    with pytest.raises(InputRefused, match="no DICOM image in it"):
        read_study(tmp_path / "a")


# --- slices in space -----------------------------------------------------------------------------


def image(position, name="a.dcm", cosines=(1, 0, 0, 0, 1, 0)) -> Image:
    values = {"PixelSpacing": [1.0, 1.0], "Rows": 8.0, "Columns": 8.0}
    values["ImagePositionPatient"] = list(map(float, position))
    values["ImageOrientationPatient"] = list(map(float, cosines))
    return Image(SourceFile(Path(name), name), 0, values)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.permutations(range(12)),
    st.floats(0.5, 7.0),
    st.lists(st.floats(-0.02, 0.02), min_size=12, max_size=12),
)
def test_any_order_with_rounding_gives_the_same_even_stack(order, step, noise):
    images = [image((3.0, -4.0, 10 + step * k + noise[k])) for k in order]
    stack, faults = places.stack(images)
    assert faults == [] and stack is not None
    assert np.allclose(stack.affine[:3, 2], (0, 0, step), atol=0.006)
    assert np.allclose(stack.affine[:3, 3], (-3.0, 4.0, 10), atol=0.03)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.floats(0.8, 7.0), st.booleans())
def test_a_missing_slice_is_named_by_its_neighbours(gone, step, falling):
    images = [image((0, 0, step * k)) for k in range(12) if k != gone]
    for number, one in enumerate(reversed(images) if falling else images, start=1):
        one.values["InstanceNumber"] = float(number)  # closed up, as archives do
    _, faults = places.stack(images)
    (fault,) = faults
    pair = (11 - gone, 12 - gone) if falling else (gone, gone + 1)
    assert fault.kind == "missing"
    assert fault.what == f"slice missing between slice {pair[0]} and {pair[1]}"
    below, above = step * (gone - 1), step * (gone + 1)
    assert f"S {below:.1f} mm and S {above:.1f} mm" in fault.found


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.floats(1.0, 6.0), st.floats(0.16, 0.4))
def test_a_slice_off_its_place_is_never_taken_for_even(moved, step, share):
    images = [image((0, 0, step * (k + share * (k == moved)))) for k in range(12)]
    stack, faults = places.stack(images)
    assert stack is None and faults[0].kind in ("uneven", "missing")


def test_two_missing_doubled_tilted_and_sideways_slices():
    def told(images):
        stack, faults = places.stack(images)
        assert stack is None
        return f"{faults[0].kind}: {faults[0].what} ({faults[0].found})"

    even = [image((0, 0, 2.0 * k), f"{k}.dcm") for k in range(12)]
    assert "2 slices missing between slice 4 and 5" in told(even[:4] + even[6:])
    doubled = told([*even, image((0, 0, 6.0), "again.dcm")])
    assert doubled.startswith("double") and "4 and 5 at S 6.0 mm" in doubled
    tilted = told([image((0, 0.8 * k, 2.0 * k)) for k in range(12)])
    assert "gantry tilt" in tilted and "21.8 degrees" in tilted
    sideways = told([image((3.0 * (k == 5), 0, 2.0 * k)) for k in range(12)])
    assert "one behind the other" in sideways
    assert told(even[:1]).startswith("few")
    assert told([image((0, 0, 1.0)), image((0, 0, 1.0))]).startswith("double")


def test_a_stack_against_the_normal_and_row_and_column_spacing(tmp_path):
    source = fixture.volume(affine=fixture.oblique(sizes=(0.7, 1.9, -3.0)))
    fixture.save(fixture.slices(source), tmp_path / "a")
    series, found = only(tmp_path / "a")
    sizes = np.linalg.norm(found.affine[:3, :3], axis=0)
    assert np.allclose(sizes, (0.7, 1.9, 3.0), atol=1e-4) and series.stack.shape == fixture.SHAPE
    assert fixture.agrees(found, source)


def test_half_of_the_slices_is_said(tmp_path):
    made = fixture.slices(fixture.volume(shape=(40, 34, 20)), SpacingBetweenSlices=4.0)
    fixture.save(made[::2], tmp_path / "a")
    series, _ = only(tmp_path / "a")
    (note,) = series.notes
    assert note.severity is Severity.WARNING and "every second one may be missing" in note.what
