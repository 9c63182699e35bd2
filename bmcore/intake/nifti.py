"""Files to Case: a folder in the Yale layout, or a few NIfTI files of any name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bmcore.domain import (
    SEQUENCES,
    Case,
    ClinicalRecord,
    Finding,
    InputRefused,
    Severity,
    Truth,
    Volume,
    refuse,
)
from bmcore.geometry import same_grid
from bmcore.intake import gatekeeper, neutral
from bmcore.intake.choice import Choice, Source, choose_files, every_file
from bmcore.intake.images import read_images, same_voxels
from bmcore.intake.naming import clean_case_id, guess_sequences
from bmcore.intake.nifti_file import SIDE_DOUBTS, write_volume
from bmcore.intake.one_grid import describe_grid, on_one_grid
from bmcore.intake.raw import RawStudy
from bmcore.settings import settings

__all__ = [
    "Choice",
    "Source",
    "choose_files",
    "clean_case_id",
    "describe_grid",
    "guess_sequences",
    "read_case",
    "read_choice",
    "read_raw",
    "write_volume",
]


def read_case(
    source: Source,
    case_id: str | None = None,
    clinical: ClinicalRecord | None = None,
    *,
    own: bool = False,
) -> Case:
    """Read one patient at one time point.

    source: a folder, one file, several files, or ``{sequence: path}`` ("seg" is the mask).
    case_id: taken from the names where None; made safe as a folder name in any case.
    own: our own files, or a data set at the command line; others are read in a child process.
    Volumes are float32 (i, j, k) in the file's own voxel order, affine RAS+ mm. A mask becomes
    ``truth``. Raises InputRefused with one finding for every problem of every file.
    """
    return read_choice(choose_files(source), case_id, clinical, own=own)


def read_choice(
    choice: Choice,
    case_id: str | None,
    clinical: ClinicalRecord | None,
    *,
    own: bool = False,
) -> Case:
    """``read_case`` for files that were chosen already."""
    if "t1c" not in choice.files:
        raise InputRefused(_no_t1c(choice.files), *every_file(choice))
    volumes, problems, found = read_images(choice.files, own, "2023")  # masks as bmcore has them
    notes = [*choice.findings, *found]
    volumes = on_one_grid(volumes, choice.files, problems, notes)
    if problems:
        raise InputRefused(*problems)
    notes.extend(gatekeeper.missing(volumes))
    notes.extend(_twins(volumes, choice.files))
    mask = volumes.pop("seg", None)
    truth = Truth(f"mask file {choice.files['seg'].name}", mask) if mask is not None else None
    return Case(
        clean_case_id(case_id) if case_id else choice.case_id,
        volumes,
        clinical or ClinicalRecord(),
        tuple(notes),
        truth,
        next((f.what for f in found if f.what in SIDE_DOUBTS), None),
    )


def read_raw(
    choice: Choice, case_id: str | None = None, *, own: bool = False, convention: str = ""
) -> RawStudy:
    """The volumes of files that were chosen already, each on its own grid: nothing is refused for
    lying elsewhere. ``technical`` holds the hashes of the files. convention: of a mask's labels,
    see ``nifti_file.read_mask``. InputRefused as ``read_case``.
    """
    if "t1c" not in choice.files:
        raise InputRefused(_no_t1c(choice.files), *every_file(choice))
    volumes, problems, found = read_images(choice.files, own, convention)
    if problems:
        raise InputRefused(*problems)
    notes = [*choice.findings, *found]
    came = volumes.pop("seg", None)
    volumes, turned = _near(volumes, choice.files)
    notes += turned
    notes.extend(gatekeeper.missing(volumes))
    notes.extend(_twins(volumes, choice.files))
    truth = None
    if came is not None:
        both, turned = _near({"t1c": volumes["t1c"], "seg": came}, choice.files)
        notes += turned
        _check_has_place(both["seg"], volumes, choice.files["seg"].name, found)
        truth = Truth(f"mask file {choice.files['seg'].name}", both["seg"])
    raw = RawStudy(
        clean_case_id(case_id) if case_id else choice.case_id,
        volumes,
        tuple(notes),
        tuple(notes),
        neutral.input_hashes(choice),
        next((f.what for f in found if f.what in SIDE_DOUBTS), None),
        truth,
    )
    return raw if settings().keep_names else neutral.raw_without_names(raw, choice)


def _near(
    volumes: dict[str, Volume], files: Mapping[str, Path]
) -> tuple[dict[str, Volume], list[Finding]]:
    """The volumes on one grid where they almost lie there or only need turning, else as they are;
    and what was turned."""
    off: list[Finding] = []
    turned: list[Finding] = []
    placed = on_one_grid(volumes, files, off, turned)
    return (volumes, []) if off else (placed, turned)


def _check_has_place(
    mask: Volume, volumes: Mapping[str, Volume], name: str, found: Iterable[Finding]
) -> None:
    """InputRefused for a mask on a grid of its own whose header does not say where that lies."""
    if any(same_grid(v, mask) for v in volumes.values()):
        return
    if any(f.file == name and f.what in SIDE_DOUBTS for f in found):
        raise refuse(
            "the mask is on a different grid from the images, and its header does not say where "
            "it lies",
            file=name,
            found=describe_grid(mask),
            expected="the grid of one of the images, or a position in the header",
            hint="save the mask from the program that it was drawn in, on T1 post-gadolinium.",
        )


def _no_t1c(files: Mapping[str, Path]) -> Finding:
    return Finding(
        Severity.REFUSED,
        "there is no T1 image after gadolinium (t1c), and nothing can be said without it",
        found=", ".join(f"{p.name} as {n}" for n, p in files.items()) or "no image",
        expected="t1c and, if there, t1n, t2w, t2f",
        hint="if one of these files is the T1 after gadolinium, choose its sequence by hand.",
    )


def _twins(volumes: Mapping[str, Volume], files: Mapping[str, Path]) -> list[Finding]:
    names = [s for s in SEQUENCES if s in volumes]
    return [
        Finding(
            Severity.WARNING,
            f"{a} and {b} hold exactly the same image",
            files[b].name,
            found=f"the same values as {files[a].name}",
            expected="two different sequences",
            hint="check that no file was taken twice.",
        )
        for place, a in enumerate(names)
        for b in names[place + 1 :]
        if same_voxels(volumes[a], volumes[b])
    ]
