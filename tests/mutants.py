"""Files as users bring them, and damaged ones made from them, by seed: each can be had again.

``mutant(kind, number)`` gives the bytes of one; ``READERS[kind]`` reads it as bmcore would.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
XMLNS = "http://schemas.openxmlformats.org"
# What stands in place of a piece of a text, or between two.
_TOKENS = [
    *("[" * 300, "{" * 300, "]", "}", '{"a":' * 200, "- " * 200, "? " * 50, "<a>" * 200, "<!--"),
    *("&a ", "*a ", "<<: *a", "!!binary ", "!!python/object:os.system ", "%YAML 9.9\n", "---\n"),
    *("9" * 5000, "-1", "1e999", "NaN", ".inf", "-.nan", "0x", "0b_", "1:2:3:99", "2024-13-45"),
    *("\x00", "\ufeff", "\\ud800", "\\u0000", "\u202e", "'", '"', "\\", "\t", "\r", ";;;;", "null"),
    *("../../etc/passwd", "/etc/passwd", "=cmd|' /C calc'!A0", "true", "{}", "[]", '""'),
    *('<!DOCTYPE x [<!ENTITY a "aaaa">]>', "&#0;", "&lt;", "<v>99</v>", ' r="XFD1048576"'),
    *(' t="s"', "," * 600, "é" * 40_000),
]  # fmt: skip
_LENGTHS = [0, 1, 7, 8, 15, 255, *(2**n - 1 for n in (15, 16, 24, 31, 32, 63, 64))]


def mutant(kind: str, number: int) -> bytes:
    """One damaged file: one to four changes of the whole one, or of what is packed in it."""
    chance = random.Random(f"{kind} {number}")
    whole = whole_file(kind)
    if kind in ("nii.gz", "nii2.gz") and chance.random() < 0.7:
        return gzip.compress(_damaged(gzip.decompress(whole), chance, binary=True), 1, mtime=0)
    if kind in ("xlsx", "package", "npz") and chance.random() < 0.8:
        return _damaged_inside(whole, chance, listed=kind == "package")
    return _damaged(whole, chance, binary=kind not in ("plan", "csv", *JSON))


def _damaged(raw: bytes, chance: random.Random, binary: bool) -> bytes:
    for _ in range(chance.randint(1, 4)):
        raw = chance.choice(_BINARY if binary else _TEXT)(raw, chance)
    return raw


def _flip(raw: bytes, chance: random.Random) -> bytes:
    changed = bytearray(raw or b"\0")
    for _ in range(chance.randint(1, 4)):
        changed[_place(raw, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(raw: bytes, chance: random.Random) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)]


def _splice(raw: bytes, chance: random.Random) -> bytes:
    """A piece moved to another place, or out."""
    start, length = _place(raw, chance), chance.randrange(1, 200)
    piece, rest = raw[start : start + length], raw[:start] + raw[start + length :]
    if chance.random() < 0.4:
        return rest
    place = _place(rest, chance)
    return rest[:place] + piece * chance.choice((1, 1, 2, 50)) + rest[place:]


def _token(raw: bytes, chance: random.Random) -> bytes:
    start = _place(raw, chance)
    end = start + chance.choice((0, 0, 1, 5, 20))
    return raw[:start] + chance.choice(_TOKENS).encode() + raw[end:]


def _length(raw: bytes, chance: random.Random) -> bytes:
    """A number where the file keeps one: in the head of a NIfTI file or the end of an archive."""
    size = chance.choice("hifdq")
    value: float = chance.choice(_LENGTHS) * chance.choice((1, -1))
    if size in "hiq":
        bits = 8 * struct.calcsize(size)
        value = (int(value) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    elif chance.random() < 0.3:
        value = chance.choice((float("nan"), float("inf"), 1e30, 1e-30))
    packed = struct.pack(chance.choice("<>") + size, value)
    near = min(len(raw), 560)
    start = chance.randrange(near + 1) if chance.random() < 0.8 else max(0, len(raw) - near)
    return raw[:start] + packed + raw[start + len(packed) :]


def _place(raw: bytes, chance: random.Random) -> int:
    """Mostly near the beginning, where headers are."""
    far = len(raw) if chance.random() < 0.5 else min(len(raw), 400)
    return chance.randrange(max(far, 1))


_TEXT = (_flip, _cut, _splice, _token, _token, _token)
_BINARY = (_flip, _flip, _cut, _splice, _length, _length, _token)


def _damaged_inside(whole: bytes, chance: random.Random, listed: bool) -> bytes:
    """One file of an archive damaged and packed again; with its hash, so that it is looked at."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([n for n in files if not n.endswith(".gz")])
    files[name] = _damaged(files[name], chance, binary=name.endswith(".npy"))
    if listed and name != "package.json":
        about = json.loads(files["package.json"])
        about["files"][name] = hashlib.sha256(files[name]).hexdigest()
        files["package.json"] = json.dumps(about).encode()
    return packed(files)


def packed(files: dict[str, bytes]) -> bytes:
    """An archive as bmcore and Excel pack it."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            kind = zipfile.ZIP_STORED if name.endswith(".gz") else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return memory.getvalue()


# --- whole files --------------------------------------------------------------------------------

RECORD = {
    "format": 1, "pseudonym": "Case-1", "sequences": ["t1c"], "demo": False,
    "clinical": {"age_years": 60, "sex": "male"}, "findings": [], "added": "2024-01-01T00:00:00",
    "original_names": {"t1c": "Case-1-t1c.nii.gz"}, "sha256": {},
}  # fmt: skip
PLAN = (ROOT / "docs" / "examples" / "study.yaml").read_bytes()
TABLE = (
    b"case_id,Primary,Sex,Age,Smoking,Pack_years,Extranodal,Notes\n"
    b'BraTS-MET-00086-000,5,1,64,former,20,1,"a, b"\n87,1,0,,never,0,0,\n88,4,1,71,2,30.5,yes,=1\n'
)
ANCHOR = (
    b'{"bmcore_anchor": 1, "made_at": "2024-01-01", "chains": {"site": {"rows": 3, "hash": "a"}}}\n'
)
MARKS = json.dumps({"format": 1, "marks": [
    {"id": "m1", "kind": "length", "points_mm": [[1, 2, 3], [4, 5, 6]], "phase": "aided",
     "lesion": None, "plane": "axial", "basis": None},
]}).encode()  # fmt: skip


def nifti(version: type = nib.Nifti1Image) -> bytes:
    grid = np.diag([1.0, 1.0, 1.0, 1.0])
    image = version(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), grid)
    image.set_qform(grid, 1)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"a comment of some length"))
    return image.to_bytes()


def xlsx() -> bytes:
    """A small spreadsheet with a table of texts, as Excel writes it."""
    main, office = f"{XMLNS}/spreadsheetml/2006/main", f"{XMLNS}/officeDocument/2006/relationships"
    package = f"{XMLNS}/package/2006/relationships"
    texts = ["case_id", "age", "sex", "BraTS-MET-00086-000", "female"]
    cells = '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
    cells += '<c r="C1" t="s"><v>2</v></c></row><row r="2"><c r="A2" t="s"><v>3</v></c>'
    cells += '<c r="B2"><v>64</v></c><c r="C2" t="inlineStr"><is><t>female</t></is></c></row>'
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    relation = '<Relationship Id="{}" Type="{}/{}" Target="{}"/>'
    files = {
        "_rels/.rels": f'<Relationships xmlns="{package}">'
        + relation.format("r1", office, "officeDocument", "xl/workbook.xml")
        + "</Relationships>",
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Data" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">'
        + relation.format("r1", office, "worksheet", "worksheets/sheet1.xml")
        + relation.format("r2", office, "sharedStrings", "sharedStrings.xml")
        + "</Relationships>",
        "xl/sharedStrings.xml": f'<sst xmlns="{main}">{shared}</sst>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><dimension ref="A1:C2"/>'
        f"<sheetData>{cells}</sheetData></worksheet>",
    }
    return packed({name: text.encode() for name, text in files.items()})


def npz() -> bytes:
    memory = io.BytesIO()
    np.savez_compressed(memory, code=np.zeros(8, np.float32), mask_affine=np.eye(4))
    return memory.getvalue()


def package() -> bytes:
    """A study of one case that is read unaided."""
    image = gzip.compress(nifti(), mtime=0)
    record = RECORD | {"sha256": {"Case-1-t1c.nii.gz": hashlib.sha256(image).hexdigest()}}
    study = {
        "study": "s", "title": "t", "design": {"kind": "crossover", "arms": ["unaided", "aided"],
        "washout_days": 9}, "seeds": {"order": 1, "allocation": 2}, "training_cases": [],
        "readers": [{"id": "a", "name": "A", "role": "radiologist", "years": 3}],
        "cases": ["Case-1"], "analysis_plan": "p",
        "questions": [{"id": "q", "kind": "primary", "text": "?"}],
        "primary_endpoint": {"measure": "accuracy", "compare": ["unaided", "aided"]},
    }  # fmt: skip
    files = {
        "cases/Case-1/case.json": json.dumps(record).encode(),
        "cases/Case-1/Case-1-t1c.nii.gz": image,
        "models/manifest.json": MANIFEST,
        "study.json": json.dumps(study).encode(),
    }
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    about = {"format": 1, "study": "s", "digest": "d", "files": listed}
    return packed(files | {"package.json": json.dumps(about).encode()})


MANIFEST = json.dumps(
    {
        "format": 1, "name": "n", "version": "1", "trained_on": "t", "synthetic": True,
        "created": None, "seeds": {}, "packages": {}, "timings_s": {}, "notes": "",
        "parts": {"cnn": {"file": "cnn.safetensors", "sha256": hashlib.sha256(b"x").hexdigest(),
                          "config": {"channels": [8, 16]}, "training": {}, "metrics": {}}},
    }
).encode()  # fmt: skip


def database() -> bytes:
    """The votes of a site."""
    import tempfile

    from bmcore.review.store import open_store
    from tests import study_fixture

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.sqlite"
        with open_store(f"sqlite:///{path}") as store:
            study_fixture.read(store, study_fixture.study(), stop_after=2)
        return path.read_bytes()


def prediction() -> bytes:
    """``prediction.json`` of a whole prediction; the other files stay whole in ``_prediction``."""
    from bmcore.inference import serial
    from bmcore.inference.files import to_json

    return to_json(serial.full_dict(_made_up())).encode()


@lru_cache
def _made_up() -> Any:
    from tests import pages_fixture

    return pages_fixture.make_prediction(pages_fixture.make_case())


DEMO = ROOT / "models" / "demo"
JSON = ("case.json", "manifest.json", "anchor", "marks.json", "prediction.json")
WHOLE: dict[str, Callable[[], bytes]] = {
    "plan": lambda: PLAN,
    "csv": lambda: TABLE,
    "xlsx": xlsx,
    "nii": nifti,
    "nii.gz": lambda: gzip.compress(nifti(), mtime=0),
    "nii2.gz": lambda: gzip.compress(nifti(nib.Nifti2Image), mtime=0),
    "npz": npz,
    "safetensors": lambda: (DEMO / "clinical_mlr.safetensors").read_bytes(),
    "prediction.json": prediction,
    "package": package,
    "case.json": lambda: json.dumps(RECORD).encode(),
    "manifest.json": lambda: MANIFEST,
    "anchor": lambda: ANCHOR,
    "marks.json": lambda: MARKS,
    "sqlite": database,
}


@lru_cache
def whole_file(kind: str) -> bytes:
    return WHOLE[kind]()


# --- reading them as bmcore does ----------------------------------------------------------------


def _plan(path: Path) -> object:
    from bmcore.review.study import read_study

    return read_study(path)


def _table(path: Path) -> object:
    from bmcore.intake.clinical import read_clinical

    return read_clinical(path)


def _image(path: Path) -> object:
    from bmcore.intake.nifti import read_case

    return read_case({"t1c": path})


def _arrays(path: Path) -> object:
    """``npz`` beside a prediction that is not there: its own faults come first."""
    from bmcore.inference import archive

    (path.parent / "prediction.json").write_text("{}")
    path.rename(path.parent / "arrays.npz")
    return archive.load(path.parent)


def _prediction(path: Path) -> object:
    from bmcore.inference import archive

    text = path.read_bytes()
    path.unlink()
    stored = archive.save(_made_up(), path.parent / "stored")
    (stored / "prediction.json").write_bytes(text)
    (stored / "sha256.json").unlink()  # as a run of an earlier version, or whoever changes both
    return archive.load(stored)


def _part(path: Path) -> object:
    """A part of a bundle with the hash that the manifest names: an attacker writes both."""
    from bmcore.models.bundles import load_bundle

    part = path.rename(path.parent / "clinical_mlr.safetensors")
    demo = json.loads((DEMO / "manifest.json").read_text(encoding="utf-8"))
    entry = demo["parts"]["clinical_mlr"]
    entry["sha256"] = hashlib.sha256(part.read_bytes()).hexdigest()
    manifest = demo | {"created": None, "parts": {"clinical_mlr": entry}}
    (path.parent / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return load_bundle(path.parent).clinical_mlr


def _package(path: Path) -> object:
    from bmcore.review.package import unpack

    return unpack(path, path.parent / "home", "me")


def _record(path: Path) -> object:
    from bmcore.intake import library

    folder = path.parent / "cases" / "Case-1"
    folder.mkdir(parents=True)
    path.rename(folder / "case.json")
    library.list_cases(path.parent)
    return library.get_entry(path.parent, "Case-1")


def _manifest(path: Path) -> object:
    from bmcore.models.bundles import load_bundle

    path.rename(path.parent / "manifest.json")
    (path.parent / "cnn.safetensors").write_bytes(b"x")
    return load_bundle(path.parent).info


def _anchor(path: Path) -> object:
    from bmcore.review import verify

    return verify._read_anchor(path)


def _database(path: Path) -> object:
    from bmcore.review.verify import verify

    return verify(f"sqlite:///{path}")


def _marks(path: Path) -> object:
    from bmcore.review import old_drafts

    return old_drafts._marks(path)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "plan": ("study.yaml", _plan),
    "csv": ("table.csv", _table),
    "xlsx": ("table.xlsx", _table),
    "nii": ("a.nii", _image),
    "nii.gz": ("a.nii.gz", _image),
    "nii2.gz": ("b.nii.gz", _image),
    "npz": ("some.npz", _arrays),
    "safetensors": ("some.safetensors", _part),
    "prediction.json": ("some.json", _prediction),
    "package": ("study.zip", _package),
    "case.json": ("some.json", _record),
    "manifest.json": ("some.json", _manifest),
    "anchor": ("anchor.txt", _anchor),
    "marks.json": ("some.json", _marks),
    "sqlite": ("site.sqlite", _database),
}
