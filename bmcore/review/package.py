"""A study in one file, for readers whose computer has no nets: cases, predictions, models, plan.

``pack`` writes it, ``unpack`` makes a home folder of it with the plan locked in a new database.
Reference masks, reference primaries (but those of practice cases), votes and answers are left out.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from bmcore import disk, zips
from bmcore.domain import Finding, InputRefused, Severity, refuse
from bmcore.inference import archive, checked_maps, references
from bmcore.inference.files import new_folder
from bmcore.intake import case_record, library
from bmcore.intake.neutral import old_findings
from bmcore.models.bundles import Bundle
from bmcore.plain import brief, read_json
from bmcore.review import plan
from bmcore.review.store import open_store
from bmcore.review.study import Study, parse_study

FORMAT = 1
_LIST, _PLAN = "package.json", "study.json"
_PRACTICE = "truth.csv"  # of the practice cases alone
_CHUNK = 1 << 20
_PRACTICE_BYTES = 64 * 2**10
_LIST_BYTES, _PLAN_BYTES = 32 * 2**20, 4 * 2**20
_PACKED = (".gz", ".npz", ".safetensors")  # stored as they are, they cannot be packed further
_MOST_FILES = 50_000
_TOLD = 50


def pack(
    study: Study,
    home: Path,
    bundle: Bundle,
    out: Path,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write ``out``; returns the number of cases. All that is missing is told at once.

    The newest prediction of each case by ``bundle`` goes along where the design shows it, and the
    maps of the CNN's evidence with their audits where it shows reasons. Maps that the home folder
    does not have yet are made at up to half a minute a lesion and stay there.
    """
    if out.exists():
        raise refuse("the package is there already", file=out, hint="name a new file.")
    helped = any(arm != "unaided" for arm in study.design.arms)
    _check(study, home, bundle, helped)
    beside = out.with_name(f".{out.name}.part")
    beside.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as work:
        try:
            with (
                disk.create(beside) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
            ):
                listed = {}
                for name, path in _files(study, home, bundle, Path(work), helped, on_case):
                    packed.write(path, name, _compression(path))
                    listed[name] = _digest(path)
                packed.writestr(_PLAN, study.canonical)
                listed[_PLAN] = hashlib.sha256(study.canonical.encode()).hexdigest()
                about = {"format": FORMAT, "study": study.study, "digest": study.digest}
                packed.writestr(_LIST, json.dumps({**about, "files": listed}, indent=1))
            disk.move_in(beside, out)
        finally:
            beside.unlink(missing_ok=True)
    return len(study.cases)


def unpack(package: Path, home: Path, author: str) -> Study:
    """Make ``home``, which must be new or empty, of a package; its plan is locked there.

    InputRefused, and nothing is left behind, where a file is missing, changed or out of place, or
    ``home`` cannot be written.
    """
    with new_folder(home, last="cases") as unfinished:
        return _make(package, unfinished, author)


def _make(package: Path, home: Path, author: str) -> Study:
    with _reading(package), zips.opened(package, _MOST_FILES) as packed:
        with _reading(package, OSError):
            listed = _read_list(packed, package)
            study = _read_plan(packed, package)
        _check_sizes(packed, study, home)
        for name, digest in listed.items():
            _extract(packed, name, digest, home, package)
        for case_id in study.all_cases:
            library.get_entry(home, case_id)
        with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
            plan.lock(store, study, author)
    return study


@contextmanager
def _reading(package: Path, *more: type[Exception]) -> Iterator[None]:
    """Refuse a damaged package; faults of the disk that is written to are no fault of it.

    more: faults that are the package's here, where nothing is written.
    """
    try:
        yield
    except (*zips.FAULTS, zlib.error) as fault:
        if isinstance(fault, OSError) and not isinstance(fault, more):
            raise
        found = f"{type(fault).__name__}: {fault}"[:200]
        raise refuse("the package cannot be read", file=package, found=found) from fault


def _check(study: Study, home: Path, bundle: Bundle, helped: bool) -> None:
    known = {entry.case_id: entry for entry in library.list_cases(home)}
    problems = []
    for case_id in study.all_cases:
        if case_id not in known or not known[case_id].readable:
            problems.append(_finding(f"case {case_id} is not in the work list or is damaged"))
        elif helped and archive.latest(home, case_id, bundle.info.digest) is None:
            problems.append(_finding(f"the models have not read case {case_id}"))
    primaries = references.truths(home) if study.practice else {}
    problems += [
        _finding(f"practice case {case_id} has no known primary")
        for case_id in study.practice
        if case_id not in primaries
    ]
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
    for name in bundle.files:
        yield f"models/{name}", bundle.folder / name
    if study.practice:
        yield _PRACTICE, _practice_primaries(study, home, work)
    for done, case_id in enumerate(study.all_cases, start=1):
        yield from _case_files(case_id, home, work)
        if helped:
            yield from _prediction_files(study, case_id, home, bundle, work)
        on_case(done, len(study.all_cases))


def _practice_primaries(study: Study, home: Path, work: Path) -> Path:
    """The reference primaries of the practice cases, which are shown after each answer."""
    known, table = references.truths(home), work / _PRACTICE
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("case_id", "primary"))
        rows.writerows((case_id, str(known[case_id])) for case_id in study.practice)
    return table


def _case_files(case_id: str, home: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """The images and the record, without the reference mask and without names of files."""
    entry = library.without_names(library.get_entry(home, case_id), work / "clean")
    clean = work / f"{case_id}.json"
    clean.write_text(case_record.record_text(entry), encoding="utf-8")
    yield f"cases/{case_id}/case.json", clean
    for file in entry.files.values():
        yield f"cases/{case_id}/{file.name}", file


def _prediction_files(
    study: Study, case_id: str, home: Path, bundle: Bundle, work: Path
) -> Iterator[tuple[str, Path]]:
    prediction = archive.latest(home, case_id, bundle.info.digest)
    assert prediction is not None  # _check has looked
    entry = library.get_entry(home, case_id)
    if "aided_explained" in study.design.arms:
        shelf = checked_maps.Shelf(home, entry.images_sha256, prediction)
        checked_maps.copy_all(shelf, work, bundle, library.load_case(home, case_id))
    prediction = replace(
        prediction, findings=old_findings(prediction.findings, entry.original_names)
    )
    run = archive.keep(work, prediction)
    for folder in (run, *(work / "maps").glob(case_id)):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path.relative_to(work).as_posix(), path


def _read_list(packed: zipfile.ZipFile, package: Path) -> dict[str, str]:
    about: dict[str, Any] = read_json(zips.content(packed, _LIST, _LIST_BYTES), _LIST_BYTES)
    if about["format"] != FORMAT:
        raise refuse(
            "the package was made by another version of bmcore",
            file=package,
            found=f"format {brief(about['format'])}",
            expected=f"format {FORMAT}",
        )
    listed = dict(about["files"])
    there = {info.filename for info in packed.infolist()}
    problems = [
        _finding(f"{name[:200]} lies outside the package's folders")
        for name in listed
        if not _is_inside(name)
    ]
    problems += [_finding(f"{name[:200]} is missing") for name in listed if name not in there]
    problems += [
        _finding(f"{name[:200]} is not on the package's list")
        for name in there
        if name not in listed and name != _LIST
    ]
    if problems:
        raise InputRefused(*problems[:_TOLD])
    return listed


def _read_plan(packed: zipfile.ZipFile, package: Path) -> Study:
    data = read_json(zips.content(packed, _PLAN, _PLAN_BYTES), _PLAN_BYTES)
    return parse_study(data, f"{package.name}/{_PLAN}", locked=True)


@dataclass(frozen=True)
class _Most:
    """What one case, or the models, may take: files, MiB of packed files, MiB of other files."""

    files: int
    packed: int
    plain: int


_A_CASE = _Most(4000, 3 * 1024, 8)
_MODELS = _Most(64, 2 * 1024, 32)


def _check_sizes(packed: zipfile.ZipFile, study: Study, home: Path) -> None:
    """Before anything is written: what is there belongs to a case of the plan and fits it."""
    owners: dict[str, list[zipfile.ZipInfo]] = defaultdict(list)
    for info in packed.infolist():
        parts = PurePosixPath(info.filename).parts
        if parts[0] not in (_LIST, _PLAN, _PRACTICE):
            owners["" if parts[0] == "models" else parts[1]].append(info)
    problems = [
        _finding(f"{_PRACTICE} is not of this plan")
        for info in packed.infolist()
        if info.filename == _PRACTICE and (not study.practice or info.file_size > _PRACTICE_BYTES)
    ]
    for owner, infos in owners.items():
        what = f"case {owner[:80]}" if owner else "the models"
        most = _A_CASE if owner else _MODELS
        swollen = [i for i in infos if _is_packed(i) and i.file_size > 1.1 * i.compress_size + 1024]
        sizes = {kind: sum(i.file_size for i in infos if _is_packed(i) == kind) for kind in (0, 1)}
        if owner and owner not in study.all_cases:
            problems.append(_finding(f"{what} is not a case of the plan"))
        elif len(infos) > most.files:
            problems.append(_finding(f"{what} has more than {most.files} files"))
        elif sizes[1] > most.packed << 20 or sizes[0] > most.plain << 20 or swollen:
            problems.append(_finding(f"{what} is larger than any that bmcore packs"))
    total = sum(info.file_size for info in packed.infolist())
    if total > shutil.disk_usage(home).free:
        room = f"the disk has no room for {1 + (total >> 20)} MiB: name a folder on another one"
        problems.append(_finding(room))
    if problems:
        raise InputRefused(*problems[:_TOLD])


def _is_packed(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(_PACKED)


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    known = name in (_PLAN, _PRACTICE) or (
        (len(parts) == 2 and parts[0] == "models")
        or (3 <= len(parts) <= 6 and parts[0] in ("cases", "predictions", "maps"))
    )
    plain = name.isprintable() and "\\" not in name and not name.startswith("/")
    return known and plain and ".." not in parts and max(map(len, parts)) <= 200


def _extract(packed: zipfile.ZipFile, name: str, digest: str, home: Path, package: Path) -> None:
    target = home / name
    disk.private_folder(target.parent)
    found = hashlib.sha256()
    with disk.create(target) as file:
        for chunk in _chunks(packed, name, package):
            found.update(chunk)
            file.write(chunk)
    if found.hexdigest() != digest:
        raise refuse("a file of the package was changed", file=name, hint="ask for it again.")


def _chunks(packed: zipfile.ZipFile, name: str, package: Path) -> Iterator[bytes]:
    with _reading(package, OSError), packed.open(name) as source:
        while chunk := source.read(_CHUNK):
            yield chunk


def _compression(path: Path) -> int:
    return zipfile.ZIP_STORED if path.name.endswith(_PACKED) else zipfile.ZIP_DEFLATED


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
