"""All files to images: each is read in the child process, and what is no image is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bmcore.domain import Finding, InputRefused, Severity
from bmcore.intake.child import Limits, ask
from bmcore.intake.dicom.files import is_archive, is_packed
from bmcore.intake.dicom.found import Image, SourceFile

_AT_ONCE = 100
_SECONDS_A_FILE = 0.5


@dataclass(frozen=True)
class Scanned:
    """images: of all DICOM files that hold any. others: objects without pixels (reports ...), by
    their file. absent: series UID -> how many images a DICOMDIR names that are not there."""

    images: tuple[Image, ...]
    others: tuple[Image, ...]
    absent: Mapping[str, int]
    notes: tuple[Finding, ...]


def scan(files: Sequence[SourceFile]) -> Scanned:
    """Read the header of every file. What cannot be read is told, never passed over in silence."""
    images: list[Image] = []
    others: list[Image] = []
    passed: list[str] = []
    notes: list[Finding] = []
    directories = [f for f in files if PurePosixPath(f.name).name.upper() == "DICOMDIR"]
    for file, row in _rows([f for f in files if f not in directories]):
        if "other" in row:
            passed.append(file.name)
            if file.closed:
                notes.append(_closed(file))
            elif is_packed(file):
                notes.append(_packed(file))
        elif "damaged" in row:
            notes.append(_damaged(file, str(row["damaged"])))
        elif row.get("pixels") is None:
            others.append(Image(file, 0, row))
        else:
            images += _images(file, row)
    absent, missing = _absent(directories, files)
    if passed:
        notes.append(_passed(passed))
    return Scanned(tuple(images), tuple(others), absent, (*missing, *notes))


def _rows(files: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, dict[str, Any]]]:
    start = 0
    while start < len(files):
        batch = files[start : start + _AT_ONCE]
        rows = _ask(batch)
        yield from zip(batch, rows, strict=False)  # the child may stop before the end of a batch
        start += len(rows)


def _ask(batch: Sequence[SourceFile]) -> list[dict[str, Any]]:
    """Rows of the first files of a batch; a file that breaks the child is found by itself."""
    job = {"files": [str(f.path.absolute()) for f in batch]}
    limits = Limits(Limits().seconds + _SECONDS_A_FILE * len(batch))
    try:
        rows = ask("dicom headers", job, batch[0].name, limits)["rows"]
    except InputRefused as error:
        if len(batch) == 1:
            return [{"damaged": error.findings[0].found or error.findings[0].what}]
        return _ask(batch[: len(batch) // 2])
    if not rows:
        raise RuntimeError("the child read no file")
    return list(rows)


def _images(file: SourceFile, row: Mapping[str, Any]) -> Iterator[Image]:
    shared = {name: value for name, value in row.items() if name != "frames"}
    whole = "fault" not in row["pixels"]  # else what it says of its frames is not to be trusted
    frames = row["frames"] or [{}] * (int(row.get("NumberOfFrames", 1)) if whole else 1)
    for number, own in enumerate(frames):
        yield Image(file, number, {**shared, **own})


def _damaged(file: SourceFile, why: str) -> Finding:
    return Finding(
        Severity.WARNING,
        "the file looks like DICOM, but is damaged; it was not used",
        file.name,
        found=why,
        hint="copy or export it again; an image may be missing from its series.",
    )


def _closed(file: SourceFile) -> Finding:
    what = f"an archive beside the images was passed over: {file.closed}"
    hint = "if it holds images of the examination, unpack it yourself and add its folder."
    return Finding(Severity.WARNING, what, file.name, hint=hint)


def _packed(file: SourceFile) -> Finding:
    zipped = is_archive(file.path)
    what = f"an archive {'in the archive ' if zipped else ''}was not opened"
    return Finding(Severity.WARNING, what, file.name, hint="unpack it yourself and add its folder.")


def _passed(names: Sequence[str]) -> Finding:
    shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    many = "1 other file was" if len(names) == 1 else f"{len(names)} other files were"
    return Finding(Severity.INFO, f"{many} passed over: not DICOM", found=shown)


def _absent(
    directories: Sequence[SourceFile], files: Sequence[SourceFile]
) -> tuple[dict[str, int], list[Finding]]:
    """Images that a DICOMDIR lists and that are not there, by series."""
    there = {_key(f.name) for f in files}
    absent: Counter[str] = Counter()
    notes = []
    for directory in directories:
        folder = PurePosixPath(directory.name).parent
        try:
            job = {"path": str(directory.path.absolute())}
            told = ask(
                "dicom directory", job, directory.name, Limits.for_file(directory.path, 10**5)
            )
        except InputRefused as error:
            notes.append(_damaged(directory, error.findings[0].found or error.findings[0].what))
            continue
        gone = [(n, s) for n, s in told["listed"] if s and _key(str(folder / n)) not in there]
        absent.update(series for _, series in gone)
        if gone:
            many = "1 image" if len(gone) == 1 else f"{len(gone)} images"
            verb = "is" if len(gone) == 1 else "are"
            notes.append(
                Finding(
                    Severity.WARNING,
                    f"{many} named in DICOMDIR {verb} not there",
                    directory.name,
                    found=f"the first one is {gone[0][0]}",
                    hint="check that the disc was copied completely.",
                )
            )
    return dict(absent), notes


def _key(name: str) -> str:
    """File names of discs differ in case, and carry a version (``;1``) or a dot at their end."""
    return name.replace("\\", "/").upper().split(";")[0].rstrip(".").removesuffix(".DCM")
