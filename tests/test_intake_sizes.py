"""Large files as people really have them, which no limit may keep out."""

from __future__ import annotations

import resource
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import InputRefused
from tests import mutants


@pytest.fixture
def images(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Four sequences of 512 x 512 x 300 as a scanner writes them, and one in float32."""
    noise = np.random.default_rng(0).integers(0, 2000, (512, 512, 4), np.int16)
    files = {}
    for name, dtype, code in (
        *((n, np.int16, 4) for n in ("t1n", "t2w", "t2f")),
        ("t1c", np.float32, 16),
    ):
        head = bytearray(mutants.nifti()[:348]) + bytes(4)
        head[40:48] = struct.pack("<4h", 3, 512, 512, 300)
        head[70:74] = struct.pack("<2h", code, np.dtype(dtype).itemsize * 8)
        head[76:92] = struct.pack("<4f", 1, 0.5, 0.5, 0.5)
        head[108:112] = struct.pack("<f", 352)
        for row in range(3):
            place = 280 + 16 * row
            head[place : place + 16] = struct.pack("<4f", *(0.5 * (k == row) for k in range(4)))
        files[name] = tmp_path / f"big-{name}.nii"
        with files[name].open("wb") as file:
            file.write(bytes(head))
            for step in range(75):
                file.write((noise + step + len(files)).astype(dtype).tobytes(order="F"))
    yield files
    for path in files.values():
        path.unlink()


def test_four_images_of_512_512_300_are_read_without_a_copy_in_memory(images):
    from bmcore.intake.nifti import read_case

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    case = read_case(images)
    assert case.grid.shape == (512, 512, 300) and len(case.sequences) == 4
    assert case.sequences["t1n"].data[0, 0, 299] != case.sequences["t2w"].data[0, 0, 299]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


def test_a_table_of_100_000_rows_is_read(tmp_path):
    from bmcore.intake.clinical import read_clinical

    row = '<row r="{0}"><c r="A{0}" t="inlineStr"><is><t>case-{0}</t></is></c>'
    row += '<c r="B{0}"><v>64</v></c></row>'
    rows = "".join(row.format(n) for n in range(2, 100_001))
    sheet = '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>' + rows
    path = tmp_path / "table.xlsx"
    path.write_bytes(mutants.whole_file("xlsx"))
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    text = files["xl/worksheets/sheet1.xml"].decode()
    start, end = text.index("<sheetData>") + 11, text.index("</sheetData>")
    files["xl/worksheets/sheet1.xml"] = (text[:start] + sheet + text[end:]).encode()
    path.write_bytes(mutants.packed(files))
    assert len(read_clinical(path).records) == 99_999
    lines = "\n".join(f"case-{n},64" for n in range(99_999))
    (tmp_path / "t.csv").write_text(f"case_id,age\n{lines}\n")
    assert len(read_clinical(tmp_path / "t.csv").records) == 99_999


def test_a_plan_of_500_cases_and_50_readers_is_read(tmp_path):
    from bmcore.review.study import read_study

    plan = mutants.PLAN.decode()
    head, _, rest = plan.partition("\nreaders:")
    rest = rest[rest.index("\ncases:") :]
    _, _, tail = rest.partition("\ntraining_cases:")
    readers = "".join(
        f"\n  - {{id: r{n}, name: Reader {n}, role: radiologist, years: 3}}" for n in range(50)
    )
    cases = "".join(f"\n  - BraTS-MET-{n:05d}-000" for n in range(500))
    path = tmp_path / "study.yaml"
    path.write_text(f"{head}\nreaders:{readers}\ncases:{cases}\ntraining_cases:{tail}")
    study = read_study(path)
    assert len(study.cases) == 500 and len(study.readers) == 50


def test_garbage_in_a_long_table_is_counted_not_listed(tmp_path):
    from bmcore.intake.clinical import read_clinical

    path = tmp_path / "t.csv"
    path.write_text("case_id,age,sex\n" + "".join(f"c{n},x,y\n" for n in range(20_000)))
    findings = read_clinical(path).findings
    assert len(findings) == 201
    assert "39800 more cells of this table are not understood" in findings[-1].what


def test_a_user_reads_the_name_that_the_file_had_on_the_own_computer():
    from bmcore.domain import refuse
    from pages.parts.access.guard import named

    with pytest.raises(InputRefused) as caught, named({"t2f.nii.gz": "Scan of June.nii"}):
        raise refuse("the file is damaged", file="t2f.nii.gz")
    assert str(caught.value) == "Scan of June.nii: the file is damaged."
