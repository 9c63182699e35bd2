"""The cases of a folder for training, whichever layout it has.

The Yale layout, which BraTS-METS shares, is read by ``intake.datasets``; the others
(``intake.layouts``) come through the door as any case does: what lies on several grids or has its
skull is aligned and stripped first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bmcore.domain import (
    Case,
    ClinicalRecord,
    Finding,
    InputRefused,
    Primary,
    Severity,
    Truth,
    refuse,
)
from bmcore.intake import layouts
from bmcore.intake.clinical import ClinicalTable, read_clinical
from bmcore.intake.datasets import YaleDataset
from bmcore.intake.naming import clean_case_id
from bmcore.intake.nifti import choose_files, read_raw
from bmcore.settings import settings

if TYPE_CHECKING:
    from bmcore.intake.layouts import LayoutCase

TABLES = ("clinical.csv", "clinical.xlsx", "participants.tsv")  # beside the cases, the first found
_YALE = ("yale", "brats-mets")


class Dataset(Protocol):
    """case_ids: sorted, fit for names of files; ``cohort.person_of`` tells by them whose scans
    belong to one person. load: one case, with its Truth; InputRefused where it cannot be read.
    files_of: its images and mask. row_of: what the table says of it."""

    folder: Path

    @property
    def case_ids(self) -> tuple[str, ...]: ...

    def load(self, case_id: str) -> Case: ...

    def files_of(self, case_id: str) -> Sequence[Path]: ...

    def row_of(self, case_id: str) -> tuple[ClinicalRecord, Primary | None]: ...


def open_dataset(folder: Path) -> Dataset:
    """The cases of ``folder``. InputRefused, naming the layouts, where it is laid out as none."""
    found = layouts.recognise(folder)
    if found is not None and found[0] not in _YALE:
        return LayoutDataset(Path(folder), *found)
    try:
        return YaleDataset(folder)
    except InputRefused as refusal:
        known = Finding(
            Severity.REFUSED,
            "the folder is laid out as no data set that is known",
            Path(folder).name,
            expected=f"one of {', '.join(layouts.LAYOUTS)}",
            hint="describe it by a table cases.csv (columns case, t1n, t1c, t2w, t2f, seg, "
            "patient).",
        )
        raise InputRefused(known, *refusal.findings) from refusal


class LayoutDataset:
    """A folder in one of the other layouts. layout: its name; cases: what the adapter found.

    Scans whose data set names a person beside them have ids like ``100101--100101A``.
    """

    def __init__(self, folder: Path, layout: str, cases: Sequence[LayoutCase]) -> None:
        self.folder, self.layout = folder, layout
        self._cases = {_id_of(case): case for case in cases}
        if len(self._cases) < len(cases):
            raise refuse(
                "two cases have names that are the same without special characters",
                file=folder.name,
                found=f"{len(cases)} cases, {len(self._cases)} names",
                hint="rename one of them.",
            )

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._cases))

    @cached_property
    def table(self) -> ClinicalTable:
        """The clinical table beside the cases; an empty one where there is none."""
        paths = (self.folder / name for name in TABLES)
        path = next((path for path in paths if path.is_file()), None)
        return ClinicalTable() if path is None else read_clinical(path)

    def files_of(self, case_id: str) -> list[Path]:
        return sorted(self._cases[case_id].files.values())

    def row_of(self, case_id: str) -> tuple[ClinicalRecord, Primary | None]:
        """InputRefused where two rows of the table fit the case."""
        key = self._row_of(self._cases[case_id])
        if key is None:
            return ClinicalRecord(), None
        return self.table.records[key], self.table.primaries.get(key)

    def load(self, case_id: str) -> Case:
        """One case on one grid without skull, with its record, mask and primary."""
        from bmcore.inference.admission import admit

        if case_id not in self._cases:
            raise refuse(f"the data set has no case {case_id}", file=self.folder.name)
        own = self._cases[case_id]
        why = {name: f"by the layout {self.layout}" for name in own.files if name != "seg"}
        raw = read_raw(choose_files(own.files, why=why), case_id, own=True, convention=own.mask)
        record, primary = self.row_of(case_id)
        case = admit(raw, record, settings().home).case
        mask = case.truth.mask if case.truth else None
        provenance = f"reference of the data set in {self.folder.name}"
        return replace(case, case_id=case_id, truth=Truth(provenance, mask, primary))

    def _row_of(self, own: LayoutCase) -> str | None:
        """The row of the table that bears exactly one of the case's ids; None without one.

        InputRefused where two rows do.
        """
        ids = dict.fromkeys((own.own_id, own.patient, *own.ids))
        rows = [name for name in ids if name in self.table.records]
        if len({self.table.records[name] for name in rows}) > 1:
            raise refuse(
                "two rows of the clinical table fit one case",
                file=own.own_id,
                found=" and ".join(rows),
                expected="one row per case",
            )
        return rows[0] if rows else None


def _id_of(case: LayoutCase) -> str:
    own, patient = clean_case_id(case.own_id), clean_case_id(case.patient or case.own_id)
    return own if own == patient else f"{patient}--{own}"
