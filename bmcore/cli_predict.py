"""What ``predict`` needs before any long work: the case, its clinical record and the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bmcore import cli_dicom
from bmcore.domain import BmcoreError, ClinicalRecord, Finding, InputRefused, refuse

if TYPE_CHECKING:
    from bmcore.domain import Case
    from bmcore.intake.raw import RawStudy
    from bmcore.models.bundles import Bundle

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """What the user of ``predict`` settled about files and tables."""

    same_patient: bool
    legends: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the user of ``predict`` typed."""

    images: cli_dicom.Wanted
    out: Path
    given: dict[str, object]
    clinical: Path | None
    bundle: Path | None
    case_id: str | None
    force: bool
    told: Told


@dataclass(frozen=True)
class Brought:
    """What the user of ``predict`` brought. raw: as it may be stored, without names of files.

    inputs: sequence -> hashes. remarks: what was noticed, in the words of the user's own files.
    own_id: the id as the user or the names give it, for the clinical table. names: sequence -> name
    of its file.
    """

    raw: RawStudy
    clinical: ClinicalRecord
    inputs: Mapping[str, Mapping[str, str]]
    remarks: tuple[Finding, ...]
    own_id: str
    names: Mapping[str, str]


def everything_needed(asked: Asked) -> tuple[Bundle, Brought]:
    """Read and check all input before any long work; all problems are told at once."""
    from bmcore.inference.archive import check_out

    problems: list[Finding] = []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except BmcoreError as refusal:
            problems.extend(refusal.findings)
            return None

    attempt(lambda: check_out(asked.out, asked.force))
    attempt(lambda: _not_among_inputs(asked))
    typed = attempt(lambda: ClinicalRecord(**asked.given))  # type: ignore[arg-type]
    images = attempt(lambda: _read(asked))
    brought = None
    if typed is not None and images is not None:
        brought = attempt(lambda: _with_clinical(images, typed, asked))
    models = attempt(lambda: load_models(asked.bundle))
    if problems or models is None or brought is None:
        raise BmcoreError(*problems)
    return models, brought


def _not_among_inputs(asked: Asked) -> None:
    folders = {
        path.resolve() if path.is_dir() else path.resolve().parent
        for path in asked.images.all_paths
    }
    if asked.out.resolve() in folders:
        raise refuse(
            "the results would lie among the input images",
            file=asked.out,
            hint="name another folder with --out.",
        )


def _read(asked: Asked) -> Brought:
    """What was named, each sequence on its own grid; to be stored and as the user knows it."""
    from bmcore.intake import neutral
    from bmcore.intake.nifti import choose_files, read_raw
    from bmcore.settings import settings

    wanted, told = asked.images, asked.told
    if not wanted.all_paths:
        raise refuse("no image was named", expected="CASE, or --t1c and other sequences")
    if cli_dicom.is_dicom(wanted):
        raw = cli_dicom.read(wanted, asked.case_id, settings().home)
        inputs = {name: dict(values) for name, values in raw.technical.items()}
        return Brought(
            raw, ClinicalRecord(), inputs, raw.findings, asked.case_id or raw.case_id, {}
        )
    source = wanted.paths[0] if len(wanted.paths) == 1 else (wanted.paths or wanted.named)
    settled = wanted.named if wanted.paths else {}
    choice = choose_files(source, settled, same_patient=told.same_patient)
    raw = read_raw(choice, asked.case_id)
    own_id = asked.case_id or choice.own_id
    names = {n: path.name for n, path in choice.files.items()}
    inputs = {n: dict(hashes) for n, hashes in raw.technical.items()}
    if settings().keep_names:
        inputs = {n: {**hashes, "file": choice.files[n].name} for n, hashes in inputs.items()}
    else:
        own = asked.case_id and raw.case_id
        stored_id = own or neutral.public_id(raw.case_id) or neutral.id_of_images(inputs)
        raw = replace(raw, case_id=stored_id)
    return Brought(raw, ClinicalRecord(), inputs, raw.findings, own_id, names)


def _with_clinical(brought: Brought, typed: ClinicalRecord, asked: Asked) -> Brought:
    """The case with its record from the table if given, overruled by what was typed.

    How columns were read is kept with the case; what the table's headings and cells are called is
    told on the screen only.
    """
    record, remarks, raw = brought.clinical, brought.remarks, brought.raw
    if asked.clinical is not None:
        from bmcore.intake.clinical import read_clinical
        from bmcore.intake.clinical_legends import parse_legends

        read = read_clinical(asked.clinical, parse_legends(asked.told.legends))
        own = read.record_for(brought.own_id)
        if own is None:
            raise refuse(
                f"no row of the clinical table belongs to case {brought.own_id}",
                file=asked.clinical,
                found=f"{len(read.records)} rows of other cases, for instance "
                + ", ".join(read.like(brought.own_id)),
                expected="a row with exactly the name of the case",
                hint="name the case with --case-id.",
            )
        kept = read.as_findings(brought.own_id)
        record, remarks = own, (*remarks, *kept, *read.findings)
        raw = replace(raw, stored=(*raw.stored, *kept))
    values = {f.name: getattr(typed, f.name) for f in fields(typed)}
    record = replace(record, **{k: v for k, v in values.items() if v is not None})
    return replace(brought, raw=raw, clinical=record, remarks=remarks)


def admitted(brought: Brought, on_step: Callable[[str, float], None]) -> Case:
    """The case on one grid without skull; told as ``inference.admission`` does."""
    from bmcore.inference.admission import admit
    from bmcore.intake import gatekeeper
    from bmcore.settings import settings

    try:
        return admit(brought.raw, brought.clinical, settings().home, on_step).case
    except InputRefused as refusal:
        raise InputRefused(*gatekeeper.as_named(refusal.findings, brought.names)) from refusal


def load_models(folder: Path | None) -> Bundle:
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    return load_bundle(folder or settings().bundle)
