"""A folder, files, a zip or a DICOMDIR to a list of files, each with the name that the user knows.

An archive is checked as a whole before anything of it is written: no path out of it, no link, no
more bytes than ``MOST_BYTES``, nothing that swells like a bomb. Its files are written under
numbers, never under their own names, and only those that may be DICOM. One that was given itself is
refused where it must not be opened; one that lies beside other files is passed over, and named.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from bmcore import disk, zips
from bmcore.domain import SEQUENCES, Finding, InputRefused, Severity, refuse
from bmcore.intake.dicom.found import SourceFile
from bmcore.intake.sequence_name import propose

MOST_FILES = 50_000
MOST_BYTES = 16 * 2**30  # of an archive, unpacked
_MOST_SWELLING = 200  # times; MR images are packed to a half, a bomb to a thousandth
_SWELLING_FROM = 16 * 2**20  # smaller files may be as empty as they like
_PIECE = 2**20
_LOOKED_AT = 400
_NIFTI = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
_JUNK = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
# Packed as a zip, and no archive of images.
_DOCUMENT = re.compile(
    r"\.(?:do[ct][xm]|xl[st][xmb]|pp[st][xm]|od[tspg]|jar|apk|epub|pages|numbers|key|whl|npz)$",
    re.IGNORECASE,
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# gzip, bzip2, xz, rar, 7z, zstd; a tar says so further on.
_OTHER_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"Rar!", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")


def is_archive(path: Path) -> bool:
    """True for a zip, whatever it is called, that is no document."""
    return not _DOCUMENT.search(path.name) and _start(path, 4) in _ZIP


def is_packed(file: SourceFile) -> bool:
    """True for an archive of any kind that would have to be unpacked, which may hold images."""
    if _DOCUMENT.search(file.name) or _NIFTI.search(file.name):
        return False
    start = _start(file.path, 262)
    return start[:4] in _ZIP or start.startswith(_OTHER_ARCHIVES) or start[257:262] == b"ustar"


def holds_packed(path: Path) -> bool:
    """True for such an archive, or a folder with one in it and no NIfTI file at its top."""
    if not path.is_dir():
        return is_packed(SourceFile(path, path.name))
    if any(_NIFTI.search(file.name) for file in path.iterdir()):
        return False
    return any(is_packed(file) for file in islice(_below(path), _LOOKED_AT))


def _start(path: Path, count: int) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except FileNotFoundError:
        return b""


def list_files(
    paths: Iterable[Path | SourceFile], nifti: bool = False
) -> tuple[list[SourceFile], tempfile.TemporaryDirectory[str] | None]:
    """The files below ``paths``, and the folder that archives were unpacked into, if any.

    A DICOMDIR stands for the folder that it lies in; archives in a folder are opened, archives in
    archives are not. A SourceFile is one file with the name that its user knows. nifti: take files
    named .nii or .nii.gz out of archives, too. InputRefused for what is not there, is too much, or
    is an archive that must not be opened and was given by itself.
    """
    paths = list(paths)
    files: list[SourceFile] = []
    unpacked: tempfile.TemporaryDirectory[str] | None = None
    try:
        for given, path in enumerate(paths):
            for file in _at(path, given):
                if not is_archive(file.path):
                    files.append(file)
                    continue
                unpacked = unpacked or tempfile.TemporaryDirectory(prefix="bmcore-")
                folder = disk.private_folder(Path(unpacked.name) / str(len(files)))
                try:
                    files += list(_unpacked(file, folder, nifti))
                except InputRefused as refusal:
                    if file.path == path or (isinstance(path, SourceFile) and len(paths) == 1):
                        raise
                    files.append(replace(file, closed=_why_closed(refusal)))
            if len(files) > MOST_FILES:
                raise refuse(
                    "there are too many files",
                    file=path.name,
                    found=f"more than {MOST_FILES}",
                    hint="choose the folder of one patient.",
                )
    except BaseException:
        if unpacked is not None:
            unpacked.cleanup()
        raise
    return files, unpacked


def _why_closed(refusal: InputRefused) -> str:
    first = refusal.findings[0]
    return first.what if first.found is None else f"{first.what}: {first.found}"


def _at(path: Path | SourceFile, given: int) -> Iterable[SourceFile]:
    if isinstance(path, SourceFile):
        return () if _JUNK.search(path.name) else (replace(path, given=given),)
    if not path.exists():
        raise refuse("the file or folder is not there", file=path, hint="check the path.")
    if path.is_file() and path.name.upper() == "DICOMDIR":
        path = path.resolve().parent
    return _below(path, given) if path.is_dir() else (SourceFile(path, path.name, given),)


def _below(folder: Path, given: int = 0) -> Iterator[SourceFile]:
    """Every file below ``folder``; links are not followed."""
    count = 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            own = path.relative_to(folder).as_posix()
            if _JUNK.search(own) or path.is_symlink() or not path.is_file():
                continue
            count += 1
            if count > MOST_FILES:
                return
            yield SourceFile(path, own, given)


def _unpacked(source: SourceFile, folder: Path, nifti: bool) -> Iterator[SourceFile]:
    try:
        with zips.opened(source.path, MOST_FILES) as archive:
            problems = list(_problems(archive.infolist(), source.name, folder))
            if problems:
                raise InputRefused(*problems)
            for number, part in enumerate(archive.infolist()):
                name = part.filename.replace("\\", "/")
                if part.is_dir() or _JUNK.search(name):
                    continue
                ending = _NIFTI.search(name) if nifti else None
                target = folder / f"{number:06d}{ending[0].lower() if ending else ''}"
                if _write(archive, part, target, ending is not None):
                    yield SourceFile(target, name, source.given)
    except InputRefused:
        raise
    except zips.FAULTS as fault:
        raise refuse(
            "the archive is damaged or cannot be opened",
            file=source.name,
            found=str(fault)[:160] or type(fault).__name__,
            hint="unpack it yourself and choose the folder, or pack it again.",
        ) from fault


def _problems(parts: list[zipfile.ZipInfo], archive: str, folder: Path) -> Iterator[Finding]:
    def no(what: str, part: zipfile.ZipInfo, found: str | None = None) -> Finding:
        name = f"{archive}: {part.filename[:80]}"
        hint = "unpack it yourself, look at it, and choose the folder."
        return Finding(Severity.REFUSED, what, name, found, hint=hint)

    for part in parts:
        name = part.filename.replace("\\", "/")
        if (
            name.startswith("/")
            or re.match(r"[A-Za-z]:", name)
            or ".." in PurePosixPath(name).parts
        ):
            yield no("the archive holds a path outside the archive", part)
        elif stat.S_ISLNK(part.external_attr >> 16):
            yield no("the archive holds a link", part)
        elif part.flag_bits & 1:
            yield no("the archive is locked by a password", part)
        elif part.file_size > max(_SWELLING_FROM, _MOST_SWELLING * part.compress_size):
            size = f"{part.file_size >> 20} MiB of {part.compress_size >> 10} KiB"
            yield no("the archive holds a file that is too large when unpacked", part, size)
    total, packed = (sum(p.file_size for p in parts), sum(p.compress_size for p in parts))
    most = min(MOST_BYTES, max(_SWELLING_FROM, _MOST_SWELLING * packed))
    if total > most:
        found, expected = f"{total >> 20} MiB", f"at most {most >> 20} MiB"
        what = "the archive is too large when unpacked"
        yield Finding(Severity.REFUSED, what, archive, found, expected, "unpack it yourself.")
    elif total > shutil.disk_usage(folder).free:
        what, found = "there is no room on the disk to unpack the archive", f"{total >> 20} MiB"
        yield Finding(
            Severity.REFUSED, what, archive, found, hint="make room, or unpack it yourself."
        )


def _write(archive: zipfile.ZipFile, part: zipfile.ZipInfo, target: Path, wanted: bool) -> bool:
    """Write one file where it is wanted, or may be DICOM or a zip by its beginning; else False."""
    with archive.open(part) as source:
        piece = source.read(_PIECE)
        if not wanted and not may_be_dicom(piece) and piece[:4] != b"PK\x03\x04":
            return False
        with disk.create(target) as file:
            while piece:
                file.write(piece)
                piece = source.read(_PIECE)
    return True


def may_be_dicom(start: bytes) -> bool:
    """True for the beginning of a DICOM file, with or without preamble."""
    if start[128:132] == b"DICM":
        return True
    little, big = start[:2], start[1:2] + start[:1]
    return len(start) > 16 and (
        little in (b"\x02\0", b"\x08\0") or big in (b"\x02\0", b"\x08\0") or start[:4] == bytes(4)
    )


def holds_dicom(paths: Iterable[Path]) -> bool:
    """True where ``paths`` are for the door of DICOM: an archive, a DICOMDIR, or DICOM files in it.

    A folder with NIfTI files at its top is not where one is named like a sequence, or no file is
    DICOM for sure. At most a few hundred files are looked at.
    """
    for path in paths:
        if path.is_dir():
            nifti = [p.name for p in path.iterdir() if _NIFTI.search(p.name)]
            if any(propose(_NIFTI.sub("", name)).sequence in SEQUENCES for name in nifti):
                return False
            for file in islice(_below(path), _LOOKED_AT):
                if nifti and _start(file.path, 132)[128:] != b"DICM":
                    continue
                if _starts_like_dicom(file.path) or is_archive(file.path):
                    return True
        elif is_archive(path) or (path.is_file() and _starts_like_dicom(path)):
            return True
    return False


def _starts_like_dicom(path: Path) -> bool:
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    with path.open("rb") as file:
        return may_be_dicom(file.read(256))
