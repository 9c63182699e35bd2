"""Files to Case: a folder in the Yale layout, or a few NIfTI files of any name."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from bmcore.geometry import (
    allowed_gap_mm,
    axis_codes,
    describe_difference,
    largest_gap_mm,
    same_grid,
    transform,
    voxel_sizes_mm,
)
from bmcore.intake.belongs import different_people, said_to_belong
from bmcore.intake.images import read_images, same_voxels
from bmcore.intake.naming import (
    YALE_NAME,
    clean_case_id,
    guess_sequences,
    plain_name,
    propose_all,
    stem,
)
from bmcore.intake.nifti_file import SIDE_DOUBTS, is_nifti, write_volume
from bmcore.intake.sequence_name import ASIDE, Proposal

__all__ = [
    "Source",
    "choose_files",
    "clean_case_id",
    "guess_sequences",
    "read_case",
    "write_volume",
]

MOST_LISTED = 20  # files of a folder that are no images; what nobody reads to the end is counted
Source = str | Path | Iterable[str | Path] | Mapping[str, str | Path]


@dataclass(frozen=True)
class Choice:
    """Which file is taken for what.

    files: sequence (or "seg") to path. given: all images in the order in which they came; others:
    files of a folder that are no images. why: sequence to the reason, in words without names.
    own_id: the id as the names give it, in any script, for the clinical table; case_id: the same,
    safe as a folder name.
    """

    files: Mapping[str, Path]
    case_id: str
    findings: tuple[Finding, ...] = ()
    given: tuple[Path, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    own_id: str = ""
    others: tuple[Path, ...] = ()


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
        raise InputRefused(_no_t1c(choice.files), *_every_file(choice))
    volumes, problems, found = read_images(choice.files, own)
    notes = [*choice.findings, *found]
    volumes = _on_one_grid(volumes, choice.files, problems, notes)
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
        next((f.what for f in found if f.what in SIDE_DOUBTS), None),
    )


def choose_files(
    source: Source,
    settled: Mapping[str, Path] | None = None,
    *,
    same_patient: bool = False,
    why: Mapping[str, str] | None = None,
) -> Choice:
    """Decide which file is which sequence; only files of unusual names are looked into.

    settled: sequence -> file, chosen by the user; wins over every name. same_patient: the user
    said that files belong together whose names point at different patients or dates. why: reasons
    for a ``source`` that is a mapping. InputRefused where unsure, with every file and its reason.
    """
    settled = {} if settled is None else {n: Path(p) for n, p in settled.items()}
    if isinstance(source, Mapping):
        return _given(source, why or {})
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.exists():
            raise refuse("the file or folder is not there", file=path, hint="check the path.")
        if path.is_dir():
            return _from_folder(path, settled, same_patient)
        return _from_files([path], None, settled, same_patient)
    return _from_files([Path(p) for p in source], None, settled, same_patient)


def _given(source: Mapping[str, str | Path], why: Mapping[str, str]) -> Choice:
    unknown = [n for n in source if n not in (*SEQUENCES, "seg")]
    if unknown:
        raise refuse(
            "unknown sequence names",
            found=", ".join(map(str, unknown)),
            expected=", ".join((*SEQUENCES, "seg")),
        )
    files = {n: Path(p) for n, p in source.items()}
    paths = tuple(files.values())
    notes = tuple(_taken(s, files[s], reason) for s, reason in why.items() if s in files)
    own_id = _id_from(list(paths), None)
    return Choice(files, clean_case_id(own_id), notes, paths, dict(why), own_id)


def _from_folder(folder: Path, settled: Mapping[str, Path], same_patient: bool) -> Choice:
    names = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    files = [p for p in names if p.is_file()]
    images = [p for p in files if is_nifti(p)]
    if not images and not settled:
        raise refuse(
            "the folder holds no NIfTI file",
            file=folder.name,
            found=f"{len(names)} other files or folders" if names else "an empty folder",
            expected="files that end in .nii or .nii.gz",
            hint="choose the folder of one patient; convert DICOM to NIfTI first.",
        )
    others = [p for p in files if p not in images]
    notes = [_unused(p, "it is no NIfTI image") for p in others[:MOST_LISTED]]
    if len(others) > MOST_LISTED:
        what = f"{len(others) - MOST_LISTED} more files are no NIfTI images and were not used"
        notes.append(Finding(Severity.INFO, what))
    choice = _from_files(images, folder, settled, same_patient, notes)
    return replace(choice, others=tuple(others))


def _from_files(
    paths: list[Path],
    folder: Path | None,
    settled: Mapping[str, Path],
    same_patient: bool,
    others: Sequence[Finding] = (),
) -> Choice:
    if not paths and not settled:
        raise refuse("no file was given", expected="two to four NIfTI files of one patient")
    yale = None if settled else _yale_choice(paths, folder)
    if yale is not None:
        return replace(yale, findings=(*yale.findings, *others))
    by_hand = {p.resolve() for p in settled.values()}
    left = [p for p in paths if p.resolve() not in by_hand]
    left, copies = _without_copies(left)
    given = (*paths, *(p for p in settled.values() if p not in paths))
    proposals = propose_all([p.name for p in left])
    proposed = {p: proposals[p.name] for p in left}
    files = dict(settled)
    why = dict.fromkeys(settled, "chosen by hand")
    notes, clash = [*others, *copies], False
    for path, proposal in proposed.items():
        sequence = proposal.sequence
        if sequence is not None and sequence in settled:
            notes.append(_unused(path, f"another file was chosen for {SEQUENCE_NAMES[sequence]}"))
        elif sequence == ASIDE:
            notes.append(_unused(path, f"its name {proposal.reason}"))
        elif sequence is None and (folder is not None or settled):
            notes.append(_unused(path, f"its name {proposal.reason}", Severity.WARNING))
        elif sequence is None or sequence in files:
            clash = True
        else:
            files[sequence] = path
            why[sequence] = f"its name {proposal.reason}"
    if clash or not files:
        raise InputRefused(*_unsure(proposed), *(_refused(n) for n in (*others, *copies)))
    ordered = {s: files[s] for s in SEQUENCES if s in files}
    apart = different_people(ordered.values())
    if apart is not None and not same_patient:
        raise InputRefused(apart)
    notes += [said_to_belong(apart)] if apart is not None else []
    notes += [_taken(s, p, why[s]) for s, p in ordered.items() if _worth_saying(p, s, settled)]
    own_id = _id_from(list(ordered.values()), folder)
    return Choice(ordered, clean_case_id(own_id), tuple(notes), given, why, own_id)


def _worth_saying(path: Path, sequence: str, settled: Mapping[str, Path]) -> bool:
    return sequence in settled or YALE_NAME.fullmatch(plain_name(path.name)) is None


def _taken(sequence: str, path: Path, why: str) -> Finding:
    what = f"taken for {SEQUENCE_NAMES[sequence]} ({sequence}): {why}"
    return Finding(Severity.INFO, what, path.name)


def _without_copies(paths: list[Path]) -> tuple[list[Path], list[Finding]]:
    """Files without further copies of the same bytes under the same name, as browsers make them."""
    kept: dict[str, list[Path]] = {}
    notes = []
    for path in paths:
        same = kept.setdefault(plain_name(path.name), [])
        twin = next((p for p in same if path.is_file() and filecmp.cmp(p, path, False)), None)
        if twin is not None:
            notes.append(_unused(path, f"it is a copy of {twin.name}"))
        else:
            same.append(path)
    chosen = {p for some in kept.values() for p in some}
    return [p for p in paths if p in chosen], notes


def _yale_choice(paths: list[Path], folder: Path | None) -> Choice | None:
    """The files named ``<case>-t1c.nii.gz`` and so on; None where there is no such t1c."""
    paths, copies = _without_copies(paths)
    matches = {p: YALE_NAME.fullmatch(plain_name(p.name)) for p in paths}
    cases = sorted({m["case"] for m in matches.values() if m and m["kind"] == "t1c"})
    if not cases or not all(m for p, m in matches.items() if folder is None):
        return None
    if len(cases) > 1:
        raise InputRefused(
            refuse(
                "the files belong to more than one case",
                file=folder.name if folder else None,
                found=", ".join(cases[:5]),
                expected="the files of one patient at one time point",
                hint="choose the files of one case.",
            ).findings[0],
            *(_refused(_unused(p, f"of case {m['case']}")) for p, m in matches.items() if m),
        )
    files: dict[str, Path] = {}
    notes: list[Finding] = list(copies)
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
    if folder is None and len(notes) > len(copies):
        raise InputRefused(
            *(Finding(Severity.REFUSED, n.what, n.file, hint="leave it out.") for n in notes)
        )
    ordered = {s: files[s] for s in (*SEQUENCES, "seg") if s in files}
    why = dict.fromkeys(ordered, "named as in the Yale data set")
    case_id = clean_case_id(cases[0])
    return Choice(ordered, case_id, tuple(notes), tuple(paths), why, cases[0])


def _unused(path: Path, why: str, severity: Severity = Severity.INFO) -> Finding:
    return Finding(
        severity,
        f"the file was not used: {why}",
        path.name,
        hint="name the sequence yourself if it belongs to the case.",
    )


def _refused(note: Finding) -> Finding:
    return replace(note, severity=Severity.REFUSED)


def _unsure(proposed: Mapping[Path, Proposal]) -> list[Finding]:
    """Every file with what its name says, for a refusal."""
    told = [p.sequence for p in proposed.values()]
    doubles = {s for s in told if s in SEQUENCES and told.count(s) > 1}
    findings = []
    for path, (sequence, _, reason) in proposed.items():
        found = "no guess"
        if sequence == ASIDE:
            what = f"the file was not used: its name {reason}"
        elif sequence is None:
            what = "the name does not say which sequence this is"
            found += f": it {reason}"
        else:
            found = sequence
            what = f"the name is clear: it {reason}"
            if sequence in doubles:
                what = f"more than one file was taken for {SEQUENCE_NAMES[sequence]}"
        findings.append(
            Finding(
                Severity.REFUSED,
                what,
                path.name,
                found=found,
                expected="one file for each of " + ", ".join(SEQUENCES),
                hint="name the sequence of each file yourself (--t1n, --t1c, --t2w, --t2f, or the "
                "boxes on the form).",
            )
        )
    return findings


def _every_file(choice: Choice) -> list[Finding]:
    """Each file of a choice with what was made of it, for a refusal."""
    told = {f.file for f in choice.findings}
    used = {p: s for s, p in choice.files.items()}
    silent = [p for p in choice.given if p.name not in told]
    return [
        *choice.findings,
        *(_taken(used[p], p, choice.why.get(used[p], "as given")) for p in silent if p in used),
    ]


def _id_from(paths: list[Path], folder: Path | None) -> str:
    """The id of the case as folder or files are called, in any script."""
    match = YALE_NAME.fullmatch(plain_name(paths[0].name)) if paths else None
    if match:
        return match["case"]
    if folder is not None and any(c.isalnum() for c in folder.resolve().name):
        return folder.resolve().name
    stems = [stem(p.name) for p in paths] or ["case"]
    common = stems[0]
    for other in stems[1:]:
        while not other.startswith(common):
            common = common[:-1]
    usable = sum(c.isalnum() for c in common) >= 3
    return common if usable else stems[0] if paths else "case"


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
        gap = largest_gap_mm(first, turned)
        if gap is not None and gap <= allowed_gap_mm(first):
            placed[name] = turned
            if axis_codes(volume.affine) != axis_codes(first.affine):
                notes.append(_was_turned(name, reference, volume, first, files))
            if not same_grid(first, turned):
                placed[name] = Volume(turned.data, first.affine)
                notes.append(_was_near(name, reference, turned, first, files))
            continue
        differs = describe_difference(first, turned)
        problems.append(
            Finding(
                Severity.REFUSED,
                f"{name} lies on another grid than {reference} ({files[reference].name}): "
                f"{differs}",
                files[name].name,
                found=describe_grid(volume),
                expected=describe_grid(first),
                hint="register and resample the sequences onto one grid first.",
            )
        )
    return placed


def _was_turned(
    name: str, reference: str, volume: Volume, first: Volume, files: Mapping[str, Path]
) -> Finding:
    return Finding(
        Severity.INFO,
        f"the voxel order was turned to that of {reference}, without resampling",
        files[name].name,
        found=axis_codes(volume.affine),
        expected=axis_codes(first.affine),
    )


def _was_near(
    name: str, reference: str, volume: Volume, first: Volume, files: Mapping[str, Path]
) -> Finding:
    return Finding(
        Severity.INFO,
        f"the grid of {name} was taken as that of {reference}: no voxel lies further from its "
        f"partner than half a voxel ({allowed_gap_mm(first):.2f} mm, at most 1 mm)",
        files[name].name,
        found=describe_difference(first, volume),
        expected="the same grid",
    )


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
