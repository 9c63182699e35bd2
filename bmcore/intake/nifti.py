"""Files to Case: a folder in the Yale layout, or a few NIfTI files of any name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from bmcore.domain import (
    SEQUENCE_NAMES,
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
from bmcore.geometry import axis_codes, same_grid, transform, voxel_sizes_mm
from bmcore.intake.images import read_images, same_voxels
from bmcore.intake.naming import (
    YALE_NAME,
    clean_case_id,
    guess_sequences,
    looks_like_mask,
    stem,
)
from bmcore.intake.nifti_file import write_volume

__all__ = [
    "Source",
    "choose_files",
    "clean_case_id",
    "guess_sequences",
    "read_case",
    "write_volume",
]

Source = str | Path | Iterable[str | Path] | Mapping[str, str | Path]


@dataclass(frozen=True)
class Choice:
    """Which file is taken for what. ``files``: sequence (or "seg") to path; ``given``: all files
    in the order in which they came."""

    files: Mapping[str, Path]
    case_id: str
    findings: tuple[Finding, ...] = ()
    given: tuple[Path, ...] = ()


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
    volumes, problems, found = read_images(choice.files, own)
    notes = [*choice.findings, *found]
    volumes = _on_one_grid(volumes, choice.files, problems, notes)
    if "t1c" not in choice.files:
        problems.append(_no_t1c(choice.files))
    if problems:
        raise InputRefused(*problems)
    notes.extend(_missing(volumes))
    notes.extend(_twins(volumes, choice.files))
    mask = volumes.pop("seg", None)
    truth = Truth(f"mask file {choice.files['seg'].name}", mask) if mask is not None else None
    return Case(
        clean_case_id(case_id) if case_id else choice.case_id,
        volumes,
        clinical or ClinicalRecord(),
        tuple(notes),
        truth,
    )


def choose_files(source: Source) -> Choice:
    """Decide which file is which sequence, without opening any. InputRefused where unsure."""
    if isinstance(source, Mapping):
        unknown = [n for n in source if n not in (*SEQUENCES, "seg")]
        if unknown:
            raise refuse(
                "unknown sequence names",
                found=", ".join(map(str, unknown)),
                expected=", ".join((*SEQUENCES, "seg")),
            )
        files = {n: Path(p) for n, p in source.items()}
        return Choice(files, _id_from(list(files.values()), None), given=tuple(files.values()))
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.exists():
            raise refuse("the file or folder is not there", file=path, hint="check the path.")
        if path.is_dir():
            return _from_folder(path)
        return _from_files([path], None)
    return _from_files([Path(p) for p in source], None)


def _from_folder(folder: Path) -> Choice:
    names = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    images = [p for p in names if p.is_file() and p.name.lower().endswith((".nii", ".nii.gz"))]
    if not images:
        raise refuse(
            "the folder holds no NIfTI file",
            file=folder.name,
            found=f"{len(names)} other files or folders" if names else "an empty folder",
            expected="files that end in .nii or .nii.gz",
            hint="choose the folder of one patient; convert DICOM to NIfTI first.",
        )
    return _from_files(images, folder)


def _from_files(paths: list[Path], folder: Path | None) -> Choice:
    if not paths:
        raise refuse("no file was given", expected="two to four NIfTI files of one patient")
    yale = _yale_choice(paths, folder)
    if yale is not None:
        return yale
    by_name = guess_sequences([p.name for p in paths])
    guesses = {p: by_name[p.name] for p in paths}
    files: dict[str, Path] = {}
    notes: list[Finding] = []
    clash = False
    for path, guess in guesses.items():
        if guess is None and looks_like_mask(path.name):
            notes.append(_unused(path, "it looks like a mask"))
        elif guess is None and folder is not None:
            why = "its name does not say which sequence it is"
            notes.append(_unused(path, why, Severity.WARNING))
        elif guess is None or guess in files:
            clash = True
        else:
            files[guess] = path
    if clash or (not files and not notes):
        raise _unsure(guesses)
    if not files:
        raise InputRefused(
            *(Finding(Severity.REFUSED, n.what, n.file, n.found, n.expected, n.hint) for n in notes)
        )
    ordered = {s: files[s] for s in SEQUENCES if s in files}
    notes.extend(
        Finding(Severity.INFO, f"taken for {SEQUENCE_NAMES[s]} ({s}) because of its name", p.name)
        for s, p in ordered.items()
        if YALE_NAME.fullmatch(p.name) is None
    )
    return Choice(ordered, _id_from(list(ordered.values()), folder), tuple(notes), tuple(paths))


def _yale_choice(paths: list[Path], folder: Path | None) -> Choice | None:
    """The files named ``<case>-t1c.nii.gz`` and so on; None where there is no such t1c."""
    matches = {p: YALE_NAME.fullmatch(p.name) for p in paths}
    cases = sorted({m["case"] for m in matches.values() if m and m["kind"] == "t1c"})
    if not cases or not all(m for p, m in matches.items() if folder is None):
        return None
    if len(cases) > 1:
        raise refuse(
            "the files belong to more than one case",
            file=folder.name if folder else None,
            found=", ".join(cases[:5]),
            expected="the files of one patient at one time point",
            hint="choose the files of one case.",
        )
    files: dict[str, Path] = {}
    notes: list[Finding] = []
    for path, match in matches.items():
        if match is None or match["case"] != cases[0]:
            notes.append(_unused(path, "it is not named like the files of the case"))
        elif match["kind"] in files:
            raise refuse(
                f"two files for {match['kind']}",
                found=f"{files[match['kind']].name} and {path.name}",
                expected="one file for each sequence",
                hint="remove one of them.",
            )
        else:
            files[match["kind"]] = path
    if folder is None and notes:
        raise InputRefused(
            *(Finding(Severity.REFUSED, n.what, n.file, hint="leave it out.") for n in notes)
        )
    ordered = {s: files[s] for s in (*SEQUENCES, "seg") if s in files}
    return Choice(ordered, clean_case_id(cases[0]), tuple(notes), tuple(paths))


def _unused(path: Path, why: str, severity: Severity = Severity.INFO) -> Finding:
    return Finding(
        severity,
        f"the file was not used: {why}",
        path.name,
        hint="name the sequence yourself if it belongs to the case.",
    )


def _unsure(guesses: Mapping[Path, str | None]) -> InputRefused:
    doubles = {g for g in guesses.values() if g and list(guesses.values()).count(g) > 1}
    findings = []
    for path, guess in guesses.items():
        if guess is None:
            what = "the name does not say which sequence this is"
        elif guess in doubles:
            what = f"more than one file was taken for {SEQUENCE_NAMES[guess]}"
        else:
            what = "the name is clear"
        findings.append(
            Finding(
                Severity.REFUSED,
                what,
                path.name,
                found=guess or "no guess",
                expected="one file each for t1c and, if there, t1n, t2w, t2f",
                hint="choose the sequence of each file by hand.",
            )
        )
    return InputRefused(*findings)


def _id_from(paths: list[Path], folder: Path | None) -> str:
    match = YALE_NAME.fullmatch(paths[0].name) if paths else None
    if match:
        return clean_case_id(match["case"])
    if folder is not None and any(c.isalnum() for c in folder.resolve().name):
        return clean_case_id(folder.resolve().name)
    stems = [stem(p.name) for p in paths] or ["case"]
    common = stems[0]
    for other in stems[1:]:
        while not other.startswith(common):
            common = common[:-1]
    usable = sum(c.isalnum() for c in common) >= 3
    return clean_case_id(common if usable else stems[0] if paths else "case")


def _on_one_grid(
    volumes: dict[str, Volume],
    files: Mapping[str, Path],
    problems: list[Finding],
    notes: list[Finding],
) -> dict[str, Volume]:
    reference = "t1c" if "t1c" in volumes else next(iter(volumes), None)
    if reference is None:
        return volumes
    first = volumes[reference]
    placed = {}
    for name, volume in volumes.items():
        turned = volume if same_grid(first, volume) else _turned_like(volume, first)
        if same_grid(first, turned):
            if turned is not volume:
                notes.append(
                    Finding(
                        Severity.INFO,
                        f"the voxel order was turned to that of {reference}, without resampling",
                        files[name].name,
                        found=axis_codes(volume.affine),
                        expected=axis_codes(first.affine),
                    )
                )
            placed[name] = turned
            continue
        problems.append(
            Finding(
                Severity.REFUSED,
                f"{name} lies on another grid than {reference} ({files[reference].name})",
                files[name].name,
                found=describe_grid(volume),
                expected=describe_grid(first),
                hint="register and resample the sequences onto one grid first.",
            )
        )
    return placed


def _turned_like(volume: Volume, like: Volume) -> Volume:
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.io_orientation(like.affine)
    )
    data = nib.apply_orientation(volume.data, turn)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    return Volume(data, affine)


def describe_grid(volume: Volume) -> str:
    """A grid in words: shape, voxel size in mm, orientation, world place of the first voxel."""
    sizes = " x ".join(f"{s:.2f}" for s in voxel_sizes_mm(volume.affine))
    start = ", ".join(f"{v:.1f}" for v in transform(volume.affine, (0, 0, 0)))
    shape = " x ".join(map(str, volume.shape))
    return f"{shape} voxels of {sizes} mm, {axis_codes(volume.affine)}, from ({start}) mm"


def _no_t1c(files: Mapping[str, Path]) -> Finding:
    return Finding(
        Severity.REFUSED,
        "there is no T1 image after gadolinium (t1c), and nothing can be said without it",
        found=", ".join(f"{p.name} as {n}" for n, p in files.items()) or "no image",
        expected="t1c and, if there, t1n, t2w, t2f",
        hint="if one of these files is the T1 after gadolinium, choose its sequence by hand.",
    )


def _missing(volumes: Mapping[str, Volume]) -> list[Finding]:
    return [
        Finding(
            Severity.INFO,
            f"the sequence {SEQUENCE_NAMES[s]} ({s}) is missing; the models work without it, "
            "less surely",
        )
        for s in SEQUENCES
        if s not in volumes
    ]


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
