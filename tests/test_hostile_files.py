"""Files that were made to do harm, one of each kind: a refusal in words, soon, in little memory.

What each of them did before is told beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests import mutants
from tests.mutants import READERS

MIB = 2**20
ZEROS = bytes(16 * MIB)


def aliases(path: Path) -> None:
    """306 bytes that stand for 9**9 values: over a minute, gigabytes."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{n}: &{n} [" + ",".join([f"*{p}"] * 9) + "]"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    path.write_text("\n".join(lines))


def digits(path: Path) -> None:
    """A ValueError that nobody caught."""
    path.write_text("study: " + "9" * 5000)


def many_values(path: Path) -> None:
    """20 s."""
    path.write_text("cases: [" + "a," * 500_000 + "]")


def deep_yaml(path: Path) -> None:
    path.write_text("[" * 200_000)


def dates(path: Path) -> None:
    """A TypeError that nobody caught."""
    path.write_text("2024-01-01: x\nstudy: 2024-13-45")


def list_of_nothing(path: Path) -> None:
    """240 kB, 30 s and 3 GiB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("package.json", "w") as part,
    ):
        part.write(b'{"format":1,"files":[')
        for _ in range(40):
            part.write(b"[]," * 2**20)
        part.write(b"[]]}")


def swollen_image(path: Path) -> None:
    """1 MB that unpacks to 1 GiB, which was written to the disk before it was looked at."""
    _with_case(path, lambda archive, name: _write(archive, name, 1024 * MIB))


def overlapping_images(path: Path) -> None:
    """An archive whose files share their bytes."""
    _with_case(path, lambda archive, name: _write(archive, name, 4 * MIB))
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02")
    raw[place + 20 : place + 24] = struct.pack("<I", 2**31)
    path.write_bytes(raw)


def unknown_case(path: Path) -> None:
    """Files of a case that the plan does not know."""
    _with_case(path, lambda archive, name: archive.writestr(name, b"x"), "cases/Other/a-t1c.nii.gz")


def nested_plan(path: Path) -> None:
    """A RecursionError that nobody caught."""
    _with_case(path, lambda archive, name: archive.writestr(name, b"x"), plan=b"[" * 200_000)


def crowded_archive(path: Path) -> None:
    """A directory of a million names."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), b"")
    raw = path.read_bytes()
    start, end = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    names, last = raw[start:end] * 1_000_000, bytearray(raw[end:])
    last[12:16] = struct.pack("<I", len(names))
    path.write_bytes(raw[:start] + names + last)


def _with_case(
    path: Path,
    write: Callable[[zipfile.ZipFile, str], object],
    name: str = "cases/Case-1/Case-1-t1c.nii.gz",
    plan: bytes | None = None,
) -> None:
    with zipfile.ZipFile(io.BytesIO(mutants.whole_file("package"))) as whole:
        plan = plan or whole.read("study.json")
    listed = {name: "0" * 64, "study.json": hashlib.sha256(plan).hexdigest()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package.json", json.dumps({"format": 1, "files": listed}))
        archive.writestr("study.json", plan)
        write(archive, name)


def _write(archive: zipfile.ZipFile, name: str, size: int) -> None:
    with archive.open(name, "w", force_zip64=True) as part:
        for _ in range(size // len(ZEROS)):
            part.write(ZEROS)


def _xlsx(path: Path, part: str, old: str, new: str) -> None:
    path.write_bytes(mutants.whole_file("xlsx"))
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in files[part]
    files[part] = files[part].replace(old.encode(), new.encode(), 1)
    path.write_bytes(mutants.packed(files))


def many_texts(path: Path) -> None:
    """170 kB; three times as much took over a minute and 1.2 GiB."""
    _xlsx(path, "xl/sharedStrings.xml", "</sst>", "<si><t>a</t></si>" * 3_000_000 + "</sst>")


def many_cells(path: Path) -> None:
    """40 kB; four times as much took over a minute."""
    row = "<row>" + "<c/>" * 10_000_000 + "</row></sheetData>"
    _xlsx(path, "xl/worksheets/sheet1.xml", "</sheetData>", row)


def bad_index(path: Path) -> None:
    """An IndexError that nobody caught."""
    _xlsx(path, "xl/worksheets/sheet1.xml", "<v>0</v>", "<v>99</v>")


def far_row(path: Path) -> None:
    _xlsx(path, "xl/worksheets/sheet1.xml", 'r="2"', 'r="1048576"')


def many_sheets(path: Path) -> None:
    """1.5 MB, over a minute."""
    sheets = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="r1"/>' for n in range(300_000))
    _xlsx(path, "xl/workbook.xml", "<sheets>", "<sheets>" + sheets)


def entities(path: Path) -> None:
    text = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><sst'
    _xlsx(path, "xl/sharedStrings.xml", "<sst", text)


def brackets(path: Path) -> None:
    """130 kB of headings, over a minute."""
    path.write_text("case_id,age," + "(" * 30_000 + "\na,5,\n")


def commas(path: Path) -> None:
    """2 s and half a GiB."""
    path.write_bytes(b"case_id,age" + b"," * (20 * MIB - 100))


def large_image(path: Path) -> None:
    """512 x 512 x 512 doubles in 4.7 MB: 2 GiB."""
    _image(path, (512, 512, 512), 512**3 * 8)


def image_without_end(path: Path) -> None:
    """A small image that goes on for 1 GiB: reading it stops at its last voxel."""
    _image(path, (32, 32, 32), 1024 * MIB, first=b"")


def _image(path: Path, shape: tuple[int, int, int], size: int, first: bytes = b"\x01") -> None:
    head = bytearray(mutants.nifti()[:348]) + bytes(4)
    head[40:48] = struct.pack("<4h", 3, *shape)
    head[70:74] = struct.pack("<2h", 64, 64)
    head[108:112] = struct.pack("<f", 352)
    with gzip.open(path, "wb", 1) as file:
        file.write(bytes(head) + first.ljust(8, b"\0"))
        for start in range(8, size, len(ZEROS)):
            file.write(ZEROS[: size - start])


def many_extensions(path: Path) -> None:
    """A header with a million extensions."""
    head = bytearray(mutants.nifti()[:348]) + b"\1\0\0\0"
    head[108:112] = struct.pack("<f", 352 + 16 * MIB - 512)
    body = struct.pack("<ii8s", 16, 6, b"a note..") * (MIB - 32)
    path.write_bytes(gzip.compress(bytes(head) + body + bytes(2000), 1))


def nested(path: Path) -> None:
    """A RecursionError that nobody caught."""
    path.write_text("[" * 200_000)


def endless_rows(path: Path) -> None:
    """An OverflowError that nobody caught."""
    path.write_text('{"made_at": "x", "chains": {"s": {"rows": 1e999, "hash": "h"}}}')


def array_of_gigabytes(path: Path) -> None:
    """As large as it likes: 3 GiB in 3 MB took 20 s and 3 GiB."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }" % (2**25)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("code.npy", "w", force_zip64=True) as part,
    ):
        part.write(b"\x93NUMPY\x01\0" + struct.pack("<H", 118) + head.ljust(117) + b"\n")
        for _ in range(256 * MIB // len(ZEROS)):
            part.write(ZEROS)


def array_that_claims_terabytes(path: Path) -> None:
    np.savez(path.with_suffix(".tmp.npz"), code=np.zeros(8))
    with zipfile.ZipFile(path.with_suffix(".tmp.npz")) as archive:
        raw = archive.read("code.npy").replace(b"(8,), ", b"(8" + b"0" * 11 + b",), ")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("code.npy", raw)


FILES: list[tuple[str, Callable[[Path], None], str]] = [
    ("plan", aliases, "anchors and aliases"),
    ("plan", digits, "a number of 5000 digits"),
    ("plan", many_values, "more than 20000 values"),
    ("plan", deep_yaml, "more than 12 levels"),
    ("plan", dates, "2024-01-01 is not a known key"),
    ("package", list_of_nothing, "package.json holds more than"),
    ("package", swollen_image, "case Case-1 is larger than any that bmcore packs"),
    ("package", overlapping_images, "its files overlap"),
    ("package", unknown_case, "case Other is not a case of the plan"),
    ("package", nested_plan, "more than 64 levels"),
    ("package", crowded_archive, "it lists too many files"),
    ("xlsx", many_texts, "more than 1000000 texts"),
    ("xlsx", many_cells, "more than 2000000 cells"),
    ("xlsx", bad_index, "a cell refers to text 99 of 5"),
    ("xlsx", far_row, "the table is too long"),
    ("xlsx", many_sheets, "no sheet 'Data'"),
    ("xlsx", entities, "it declares a document type"),
    ("csv", brackets, "a heading is too long"),
    ("csv", commas, "the table is too long"),
    ("nii.gz", large_image, "the image is too large (found 512 x 512 x 512 voxels"),
    ("nii.gz", image_without_end, "the image is empty"),
    ("nii.gz", many_extensions, "the image is empty"),
    ("case.json", nested, "more than 64 levels"),
    ("manifest.json", nested, "more than 64 levels"),
    ("prediction.json", nested, "more than 64 levels"),
    ("marks.json", nested, "more than 64 levels"),
    ("anchor", nested, "more than 64 levels"),
    ("anchor", endless_rows, "a number that is too large"),
    ("npz", array_of_gigabytes, "code.npy holds more than"),
    ("npz", array_that_claims_terabytes, "does not hold the"),
]
# Reads one file by itself; tells seconds, memory here and in children, and how it ended.
ALONE = """
import sys, time
from pathlib import Path
from tests.mutants import READERS
from tests.test_mutants import peak_bytes
from bmcore.domain import BmcoreError
from bmcore.intake import child
read = READERS[sys.argv[1]][1]
started = time.monotonic()
try:
    read(Path(sys.argv[2]))
    said = "read"
except BmcoreError as error:
    said = str(error)
spent = time.monotonic() - started
below = max((peak_bytes(one.process.pid) for one in child._idle), default=0)
child.end_children()
print(spent, peak_bytes(), below)
print(said)
"""


@pytest.mark.parametrize(
    ("kind", "make", "say"), FILES, ids=[f"{k}: {m.__name__}" for k, m, _ in FILES]
)
def test_it_is_refused_in_words_soon_and_in_little_memory(kind, make, say, tmp_path):
    path = tmp_path / READERS[kind][0]
    make(path)
    run = subprocess.run(
        [sys.executable, "-c", ALONE, kind, str(path)],
        cwd=mutants.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=_not_the_whole_machine,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    numbers, _, said = run.stdout.partition("\n")
    seconds, here, below = map(float, numbers.split())
    assert say in said or "takes too long" in said
    assert seconds < 10 and here < 2**30 and below < 2**30
    if kind == "package":
        assert not (tmp_path / "home").exists()


def _not_the_whole_machine() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
