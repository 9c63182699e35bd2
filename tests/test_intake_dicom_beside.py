"""Archives, documents and NIfTI files that lie beside the images of an examination."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused
from bmcore.intake.dicom import choose, holds_dicom, holds_packed, read_study
from tests import dicom_fixture as fixture


def zipped(path: Path, *parts: tuple[zipfile.ZipInfo | str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            archive.writestr(name, content)


def with_link(path: Path) -> None:
    link = zipfile.ZipInfo("Viewer.app/Contents/Frameworks/A")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    zipped(path, (link, b"Versions/Current"))


def locked(path: Path) -> None:
    zipped(path, ("a.txt", b"x"))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)


def broken(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + b"junk" * 100)


def bomb(path: Path) -> None:
    zipped(path, ("a.bmp", bytes(30_000_000)))


@pytest.mark.parametrize(
    ("make", "why"),
    [(with_link, "holds a link"), (locked, "locked by a password"), (broken, "damaged"),
     (bomb, "too large when unpacked")],
)  # fmt: skip
def test_an_archive_beside_the_images_is_passed_over_and_named(tmp_path, make, why):
    fixture.four(tmp_path / "a")
    make(tmp_path / "a" / "extra.zip")
    with read_study(tmp_path / "a") as found:
        assert set(choose(found).series) == set(fixture.TIMES)
        told = [note.sentence for note in found.notes if note.file == "extra.zip"]
    assert len(told) == 1 and "was passed over" in told[0] and why in told[0]
    with pytest.raises(InputRefused, match=why):
        read_study(tmp_path / "a" / "extra.zip")


def test_a_folder_with_nothing_but_a_locked_archive_says_why(tmp_path):
    (tmp_path / "a").mkdir()
    locked(tmp_path / "a" / "study.zip")
    with pytest.raises(InputRefused, match=r"has to be unpacked first.*locked by a password"):
        read_study(tmp_path / "a")


@pytest.mark.parametrize(
    "name", ["Befund.docx", "table.xlsx", "talk.pptx", "a.odt", "a.jar", "a.apk"]
)
def test_a_document_is_no_archive(tmp_path, name):
    fixture.four(tmp_path / "a")
    bomb(tmp_path / "a" / name)
    with read_study(tmp_path / "a") as found:
        assert set(choose(found).series) == set(fixture.TIMES)
        assert any(name in (note.found or "") for note in found.notes)
        assert not any("archive" in note.what for note in found.notes)


def image(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4)), path)


def test_a_stray_nifti_does_not_hide_the_images(tmp_path):
    fixture.four(tmp_path / "a")
    image(tmp_path / "a" / "roi.nii.gz")
    assert holds_dicom([tmp_path / "a"])
    with read_study(tmp_path / "a") as found:
        assert any("roi.nii.gz" in (note.found or "") for note in found.notes)
    image(tmp_path / "a" / "t1c.nii.gz")  # a case in NIfTI, with DICOM below it
    assert not holds_dicom([tmp_path / "a"])


def in_a_zip(folder: Path, raw: bytes) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("1.dcm", raw)
    zipped(folder / "outer.zip", ("inner.zip", inner.getvalue()))


def in_a_tar(folder: Path, raw: bytes) -> None:
    with tarfile.open(folder / "study.tar.gz", "w:gz") as archive:
        own = tarfile.TarInfo("1.dcm")
        own.size = len(raw)
        archive.addfile(own, io.BytesIO(raw))


def in_gzip(folder: Path, raw: bytes) -> None:
    (folder / "1.dcm.gz").write_bytes(gzip.compress(raw))


def in_rar(folder: Path, raw: bytes) -> None:
    (folder / "study.rar").write_bytes(b"Rar!\x1a\x07\x01\0" + raw)


def in_7z(folder: Path, raw: bytes) -> None:
    (folder / "study.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + raw)


@pytest.mark.parametrize("pack", [in_a_zip, in_a_tar, in_gzip, in_rar, in_7z])
def test_what_has_to_be_unpacked_first_is_said(tmp_path, pack):
    folder = tmp_path / "a"
    folder.mkdir()
    pack(folder, fixture.to_bytes(fixture.slices(fixture.volume())[0]))
    (only,) = folder.iterdir()
    for given in (folder, only):
        assert holds_dicom([given]) or holds_packed(given)
        with pytest.raises(InputRefused, match="an archive that has to be unpacked first"):
            read_study(given)
