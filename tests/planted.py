"""Fifty strings that name a person, planted wherever a file can carry one; and the search for them.

The search looks into gzip, zip (npz, xlsx, packages), PDF streams and SQLite, for each string in
several encodings and in the forms that programs give a name.
"""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import sqlite3
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from bmcore.domain import Volume

HEADER = {  # NIfTI field -> what stands there
    "descrip": "Zoltanescu^Ilka MR 1942-03-11", "db_name": "KlinikumOrtenau",
    "aux_file": "Vukovarsky.PAR", "intent_name": "Pat_Ingeborgis", "data_type": "Quetzalo",
}  # fmt: skip
EXTENSIONS = {  # NIfTI extension code -> its text
    2: "DICOM Hallgrimsdottir^Sif", 4: "<AFNI_atr>Oyelaranson</AFNI_atr>",
    6: "comment: Papadimitriou born 19370721", 8: "<XCEDE><name>Xochiquetzalina</name></XCEDE>",
    10: "Jimdim Bartholomeus", 12: "workflow Wolfeschlegel", 16: "pypickle Nakashimoto",
    18: "mind Rasmussenova", 30: "unknown kind Tervonenko",
}  # fmt: skip
BEHIND = "after the last voxel: Guggenbichler, Ahornweg 17"
GZIP_NAME, GZIP_COMMENT = "Szczepanski_Lech.nii", "MRN 8841-2207-55"
UNUSED = {"pixdim": "Yurievna", "quatern": "Kasimira", "qoffset": "Donatelo", "toffset": "Ulfr"}
NAN = "Ebb"  # three bytes in the mantissa of a NaN
FOLDER = "Kowalczykowna_Jadwiga_19551224"
FILES = {
    "t1n": "Mustermannson_t1_native", "t1c": "Lindqvistova_t1_gd", "t2w": "Eriksdotter_t2",
    "t2f": "Obermaierski_flair",
}  # fmt: skip
LEFT_OUT = ("Fitzwilliamson_swi", "Steinbrechero_mask", "Ignatiewna_dti")
TABLE_FILE = "Abdulrahmanov_table"
TABLE = {  # heading -> cell
    "Patient name Montgomerino": "Bjarnadottir", "Geburtsdatum Ostrowskaja": "03.11.1942x",
    "Notes": "seen by Dr Featherstonehaugh", "Comment": "Tel 07531-998877",
    "Ethnicity": "Chukotkanin",
    "Referring ward Sonnenbergklinik": "Prof Achterbergh",
}  # fmt: skip
TRUTH_FILE, TRUTH_OTHER = "Castellanosa_truth", "Zimmerwaldova-Petra"
STUDY_FILES = {"note": "Haugstadbakken", "models": "Rothenburgerin"}
OLD = {
    "t1n": "Vandersteenhoven_n", "t1c": "Ruzhinskaya_c", "t2w": "Maccormackson_w",
    "t2f": "Delacroixette_f", "unused": "Tschiggfreya_dwi", "seg": "Pfefferkornin_seg",
}  # fmt: skip
EXCEPTION = ("Gwendolynne unquoted", "Taliesinson")

STRINGS: tuple[str, ...] = (
    *HEADER.values(), *EXTENSIONS.values(), BEHIND, GZIP_NAME, GZIP_COMMENT, *UNUSED.values(),
    FOLDER, *FILES.values(), *LEFT_OUT, TABLE_FILE, *TABLE.keys() - {"Notes", "Comment",
    "Ethnicity"}, *TABLE.values(), TRUTH_FILE, TRUTH_OTHER, *STUDY_FILES.values(), *OLD.values(),
    *EXCEPTION,
)  # fmt: skip


def image(volume: Volume, plain: bool = False) -> nib.Nifti1Image:
    """An image with a string in every text field and every kind of extension."""
    made = nib.Nifti1Image(np.asarray(volume.data, np.float32), volume.affine)
    made.set_qform(volume.affine, code=0)
    for name, text in HEADER.items():
        made.header[name] = text.encode()
    if not plain:
        for code, text in EXTENSIONS.items():
            made.header.extensions.append(nib.nifti1.Nifti1Extension(code, text.encode()))
    return made


def file_bytes(volume: Volume, zipped: bool = True) -> bytes:
    """The bytes of a NIfTI file with strings also in unused numbers, in a NaN, behind the data."""
    raw = bytearray(image(volume).to_bytes())
    for name, place in {"pixdim": 92, "quatern": 256, "qoffset": 268, "toffset": 136}.items():
        text = UNUSED[name].encode()  # pixdim[4:6]; the qform's, whose code is 0
        raw[place : place + len(text)] = text
    offset = int(struct.unpack("<f", raw[108:112])[0])
    raw[offset : offset + 4] = NAN.encode()[:2] + b"\xc5\x7f"
    raw += BEHIND.encode() * 3
    if not zipped:
        return bytes(raw)
    head = b"\x1f\x8b\x08\x18" + struct.pack("<I", 861926400) + b"\0\x03"  # with name and comment
    head += GZIP_NAME.encode() + b"\0" + GZIP_COMMENT.encode() + b"\0"
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = packer.compress(bytes(raw)) + packer.flush()
    return head + body + struct.pack("<II", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)


def forms(text: str) -> set[bytes]:
    """``text`` as a program may write it."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    words = {
        text, text.lower(), text.upper(), slug, html.escape(text), json.dumps(text)[1:-1],
        urllib.parse.quote(text), urllib.parse.quote_plus(text), ", ".join(text.split()),
    }  # fmt: skip
    # the telling word alone: a name can be cut out of what stood around it
    words |= {word for word in re.findall(r"[^\W\d_]{8,}", text) if word.lower() not in _ORDINARY}
    found = {word.encode(code) for word in words for code in ("utf-8", "utf-16-le", "utf-16-be")}
    for cut in range(3):  # base64 of a text that begins anywhere
        coded = base64.b64encode(b" " * cut + text.encode())[4 if cut else 0 : -4]
        found |= {coded} if len(coded) >= 8 else set()  # four letters stand anywhere by chance
    return {form for form in found if len(form) >= 4}


_ORDINARY = {"unquoted", "workflow", "pypickle", "geburtsdatum"}


def found_in(folder: Path, strings: Iterable[str] = STRINGS) -> list[str]:
    """ "string: file" for every planted string in any byte, or any name, below ``folder``."""
    pattern = {text: forms(text) for text in strings}
    told = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        pieces = [name.encode()]
        if path.is_file():
            pieces += opened(path.read_bytes())
            if path.suffix == ".sqlite":
                with sqlite3.connect(path) as database:
                    pieces.append("\n".join(database.iterdump()).encode())
        told += [
            f"{text}: {name}"
            for text, shapes in pattern.items()
            if any(shape in piece for piece in pieces for shape in shapes)
        ]
    return told


def opened(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, and those in everything that is packed in them."""
    yield content
    if depth > 4:
        return
    if content[:2] == b"\x1f\x8b":
        yield from opened(gzip.decompress(content), depth + 1)
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for info in packed.infolist():
                yield info.filename.encode() + info.comment + info.extra
                yield from opened(packed.read(info), depth + 1)
    elif content[:4] == b"%PDF":
        for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
            yield _pdf_stream(stream.strip())


def _pdf_stream(stream: bytes) -> bytes:
    if stream.endswith(b"~>"):
        stream = base64.a85decode(stream.removesuffix(b"~>"))
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream
