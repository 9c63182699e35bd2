"""What ``predict`` needs before any long work: the case, its clinical record and the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bmcore import cli_dicom
from bmcore.domain import BmcoreError, ClinicalRecord, Finding, refuse

if TYPE_CHECKING:
    from bmcore.domain import Case
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
    """What the user of ``predict`` brought. case: as it may be stored, without names of files.

    inputs: sequence -> hashes. remarks: what was noticed, in the words of the user's own files.
    own_id: the id as the user or the names give it, for the clinical table. names: sequence -> name
    of its file.
    """

    case: Case
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
    images = attempt(lambda: _read_case(asked))
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


def _read_case(asked: Asked) -> tuple[Case, Brought]:
    """The case as the user knows it, and as it may be stored."""
    from bmcore.intake import neutral
    from bmcore.intake.nifti import choose_files, read_choice
    from bmcore.settings import settings

    wanted, told = asked.images, asked.told
    if not wanted.all_paths:
        raise refuse("no image was named", expected="CASE, or --t1c and other sequences")
    if cli_dicom.is_dicom(wanted):
        case, remarks, inputs = cli_dicom.read(wanted, asked.case_id, settings().home)
        return case, Brought(case, inputs, remarks, asked.case_id or case.case_id, {})
    source = wanted.paths[0] if len(wanted.paths) == 1 else (wanted.paths or wanted.named)
    settled = wanted.named if wanted.paths else {}
    choice = choose_files(source, settled, same_patient=told.same_patient)
    own_id = asked.case_id or choice.own_id
    names = {n: path.name for n, path in choice.files.items()}
    case = read_choice(choice, asked.case_id, None)
    inputs = neutral.input_hashes(choice)
    if settings().keep_names:
        named = {n: {**hashes, "file": choice.files[n].name} for n, hashes in inputs.items()}
        return case, Brought(case, named, case.findings, own_id, names)
    own = asked.case_id and case.case_id
    stored_id = own or neutral.public_id(case.case_id) or neutral.id_of_images(inputs)
    stored = neutral.without_names(case, choice, stored_id)
    return case, Brought(stored, inputs, case.findings, own_id, names)


def _with_clinical(images: tuple[Case, Brought], typed: ClinicalRecord, asked: Asked) -> Brought:
    """The case with its record from the table if given, overruled by what was typed.

    How columns were read is kept with the case; what the table's headings and cells are called is
    told on the screen only.
    """
    case, brought = images
    record, remarks, stored = case.clinical, brought.remarks, brought.case
    if asked.clinical is not None:
        from bmcore.intake.clinical import read_clinical
        from bmcore.intake.clinical_values import parse_legends

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
        stored = replace(stored, findings=(*stored.findings, *kept))
    brought = replace(brought, case=stored)
    values = {f.name: getattr(typed, f.name) for f in fields(typed)}
    record = replace(record, **{k: v for k, v in values.items() if v is not None})
    return replace(brought, case=replace(brought.case, clinical=record), remarks=remarks)


def load_models(folder: Path | None) -> Bundle:
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    return load_bundle(folder or settings().bundle)
