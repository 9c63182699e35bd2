"""A study in one file, for readers whose computer has no nets: cases, predictions, models, plan.

``pack`` writes it, ``unpack`` makes a home folder of it with the plan locked in a new database.
Reference masks, reference primaries, votes and answers are left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from bmcore.domain import Finding, InputRefused, Severity, refuse
from bmcore.intake import library
from bmcore.models.bundles import Bundle
from bmcore.reading import archive, maps
from bmcore.review import plan
from bmcore.review.store import open_store
from bmcore.review.study import Study, parse_study

FORMAT = 1
_LIST, _PLAN = "package.json", "study.json"
_CHUNK = 1 << 20
_MOST_BYTES = 200 * (1 << 30)


def pack(
    study: Study,
    home: Path,
    bundle: Bundle,
    out: Path,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write ``out``; returns the number of cases. All that is missing is told at once.

    The newest prediction of each case by ``bundle`` goes along where the design shows it, and the
    Grad-CAM maps where it shows reasons; making them takes some seconds a lesion.
    """
    if out.exists():
        raise refuse("the package is there already", file=out, hint="name a new file.")
    helped = any(arm != "unaided" for arm in study.design.arms)
    _check(study, home, bundle, helped)
    beside = out.with_name(f".{out.name}.part")
    with tempfile.TemporaryDirectory() as work:
        try:
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
                listed = {}
                for name, path in _files(study, home, bundle, Path(work), helped, on_case):
                    packed.write(path, name, _compression(path))
                    listed[name] = _digest(path)
                packed.writestr(_PLAN, study.canonical)
                listed[_PLAN] = hashlib.sha256(study.canonical.encode()).hexdigest()
                about = {"format": FORMAT, "study": study.study, "digest": study.digest}
                packed.writestr(_LIST, json.dumps({**about, "files": listed}, indent=1))
            beside.rename(out)
        finally:
            beside.unlink(missing_ok=True)
    return len(study.cases)


def unpack(package: Path, home: Path, author: str) -> Study:
    """Make ``home``, which must be new or empty, of a package; its plan is locked there.

    InputRefused, and nothing is left behind, where a file is missing, changed or out of place.
    """
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise refuse("the folder must be new or empty", file=home)
    made = not home.exists()
    try:
        with zipfile.ZipFile(package) as packed:
            listed = _read_list(packed, package)
            for name, digest in listed.items():
                _extract(packed, name, digest, home)
        text = (home / _PLAN).read_text(encoding="utf-8")
        study = parse_study(json.loads(text), f"{package.name}/{_PLAN}")
        with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
            plan.lock(store, study, author)
    except BaseException as fault:
        _empty(home, made)
        if isinstance(fault, (OSError, zipfile.BadZipFile, ValueError, KeyError, EOFError)):
            raise refuse("the package cannot be read", file=package, found=fault) from fault
        raise
    return study


def _check(study: Study, home: Path, bundle: Bundle, helped: bool) -> None:
    known = {entry.case_id: entry for entry in library.list_cases(home)}
    problems = []
    for case_id in study.cases:
        if case_id not in known or not known[case_id].readable:
            problems.append(_finding(f"case {case_id} is not in the work list or is damaged"))
        elif helped and archive.latest(home, case_id, bundle.info.digest) is None:
            problems.append(_finding(f"the models have not read case {case_id}"))
    if problems:
        raise InputRefused(*problems)


def _finding(what: str) -> Finding:
    return Finding(Severity.REFUSED, what)


def _files(
    study: Study,
    home: Path,
    bundle: Bundle,
    work: Path,
    helped: bool,
    on_case: Callable[[int, int], None],
) -> Iterator[tuple[str, Path]]:
    """(name in the package, file) of everything but the plan."""
    for path in sorted(bundle.folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield f"models/{path.name}", path
    for done, case_id in enumerate(study.cases, start=1):
        yield from _case_files(case_id, home, work)
        if helped:
            yield from _prediction_files(study, case_id, home, bundle, work)
        on_case(done, len(study.cases))


def _case_files(case_id: str, home: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """The images and the record, without the reference mask and the names that files once had."""
    folder = home / "cases" / case_id
    record = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    images = {f"{case_id}-{name}.nii.gz": name for name in record["sequences"]}
    record["sha256"] = {n: d for n, d in record["sha256"].items() if n in images}
    record["original_names"] = {name: file for file, name in images.items()}
    clean = work / f"{case_id}.json"
    clean.write_text(json.dumps(record, indent=1), encoding="utf-8")
    yield f"cases/{case_id}/case.json", clean
    for file in images:
        yield f"cases/{case_id}/{file}", folder / file


def _prediction_files(
    study: Study, case_id: str, home: Path, bundle: Bundle, work: Path
) -> Iterator[tuple[str, Path]]:
    prediction = archive.latest(home, case_id, bundle.info.digest)
    assert prediction is not None  # _check has looked
    run = archive.keep(work, prediction)
    if "aided_explained" in study.design.arms:
        maps.keep_maps(work, bundle, library.load_case(home, case_id), prediction)
    for folder in (run, *(work / "maps").glob(case_id)):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(work).as_posix(), path


def _read_list(packed: zipfile.ZipFile, package: Path) -> dict[str, str]:
    about: dict[str, Any] = json.loads(packed.read(_LIST))
    if about["format"] != FORMAT:
        raise refuse(
            "the package was made by another version of bmcore",
            file=package,
            found=f"format {about['format']}",
            expected=f"format {FORMAT}",
        )
    listed = dict(about["files"])
    there = {info.filename: info for info in packed.infolist()}
    problems = [
        _finding(f"{name} lies outside the package's folders")
        for name in listed
        if not _is_inside(name)
    ]
    problems += [_finding(f"{name} is missing") for name in listed if name not in there]
    problems += [
        _finding(f"{name} is not on the package's list")
        for name in there
        if name not in listed and name != _LIST
    ]
    if sum(info.file_size for info in there.values()) > _MOST_BYTES:
        problems.append(_finding("the package is too large"))
    if problems:
        raise InputRefused(*problems)
    return listed


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    known = name == _PLAN or (parts and parts[0] in ("cases", "predictions", "maps", "models"))
    return bool(known) and ".." not in parts and "\\" not in name and not name.startswith("/")


def _extract(packed: zipfile.ZipFile, name: str, digest: str, home: Path) -> None:
    target = home / name
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with packed.open(name) as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            found.update(chunk)
            file.write(chunk)
    if found.hexdigest() != digest:
        raise refuse("a file of the package was changed", file=name, hint="ask for it again.")


def _empty(home: Path, made: bool) -> None:
    if not home.exists():
        return
    if made:
        shutil.rmtree(home, ignore_errors=True)
        return
    for path in home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _compression(path: Path) -> int:
    packed = path.suffix in (".gz", ".npz", ".safetensors")
    return zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
