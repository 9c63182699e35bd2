"""Which file of a case is which sequence, and why."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bmcore.domain import SEQUENCE_NAMES, SEQUENCES, Finding, InputRefused, Severity, refuse
from bmcore.intake import treated
from bmcore.intake.belongs import different_people, said_to_belong
from bmcore.intake.naming import YALE_NAME, clean_case_id, plain_name, propose_all, stem
from bmcore.intake.nifti_file import is_nifti
from bmcore.intake.sequence_name import ASIDE, Proposal

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
    notes = [_unused(p, "it is not a NIfTI image") for p in others[:MOST_LISTED]]
    if len(others) > MOST_LISTED:
        what = f"{len(others) - MOST_LISTED} more files are not NIfTI images and were not used"
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
    notes += treated.doubt(stem(p.name) for p in ordered.values())
    own_id = _id_from(list(ordered.values()), folder)
    return Choice(ordered, clean_case_id(own_id), tuple(notes), given, why, own_id)


def _worth_saying(path: Path, sequence: str, settled: Mapping[str, Path]) -> bool:
    return sequence in settled or YALE_NAME.fullmatch(plain_name(path.name)) is None


def _taken(sequence: str, path: Path, why: str) -> Finding:
    what = f"taken as {SEQUENCE_NAMES[sequence]} ({sequence}): {why}"
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
                what = f"more than one file was taken as {SEQUENCE_NAMES[sequence]}"
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


def every_file(choice: Choice) -> list[Finding]:
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
