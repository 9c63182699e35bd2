"""Public data sets on disk, one adapter for each layout."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from bmcore.domain import Case, ClinicalRecord, Finding, Primary, Severity, Truth, refuse
from bmcore.intake.clinical import ClinicalTable, read_clinical
from bmcore.intake.nifti import read_case

_NESTED = ("PKG - Pretreat-MetsToBrain-Masks", "Pretreat-MetsToBrain-Masks")
_SPREADSHEETS = "Pretreat-MetsToBrain-Masks_clin_*.xlsx"


class YaleDataset:
    """Pretreat-MetsToBrain-Masks (TCIA, doi 10.7937/6be1-r748) or anything in its layout.

    folder: the folder of case folders (``CASE/CASE-t1c.nii.gz`` ...), or one or two levels above
    it, as the download unpacks. The spreadsheet lies beside or above the cases; of two versions
    the later date counts. Nothing is read before it is asked for. InputRefused where no case is
    found.
    """

    def __init__(self, folder: str | Path, provenance: str | None = None) -> None:
        self.folder = Path(folder)
        self._levels = [self.folder]
        for name in _NESTED:
            if (self._levels[-1] / name).is_dir():
                self._levels.append(self._levels[-1] / name)
        self.cases_folder = self._levels[-1]
        self.provenance = provenance or f"reference of the data set in {self.folder.name}"
        if not self.case_ids:
            raise refuse(
                "the folder holds no case in the Yale layout",
                file=self.folder,
                found="no folder CASE with a file CASE-t1c.nii.gz",
                expected="BraTS-MET-00086-000/BraTS-MET-00086-000-t1c.nii.gz and so on",
                hint="choose the folder that the download unpacked to.",
            )

    @cached_property
    def case_ids(self) -> tuple[str, ...]:
        """Ids of the cases with a t1c file, sorted."""
        if not self.cases_folder.is_dir():
            return ()
        return tuple(
            sorted(
                p.name
                for p in self.cases_folder.iterdir()
                if p.is_dir() and any(self._file(p, "t1c", e).is_file() for e in ("", ".gz"))
            )
        )

    @cached_property
    def table(self) -> ClinicalTable:
        """The spreadsheet; an empty table with a finding where there is none."""
        found = self.spreadsheet
        if found is None:
            what = "there is no spreadsheet beside the cases: no clinical values, no primaries"
            note = Finding(
                Severity.WARNING,
                what,
                self.folder.name,
                expected=_SPREADSHEETS.replace("*", "DATE"),
            )
            return ClinicalTable(findings=(note,))
        return read_clinical(found)

    @property
    def spreadsheet(self) -> Path | None:
        """The spreadsheet with the latest date in its name, or None."""
        places = [*self._levels, self.folder.parent]
        found = [p for place in places for p in place.glob(_SPREADSHEETS)]
        return max(found, key=lambda p: re.sub(r"\D", "", p.stem), default=None)

    def files_of(self, case_id: str) -> list[Path]:
        """All files of a case, sorted by name."""
        return sorted((self.cases_folder / case_id).iterdir())

    def row_of(self, case_id: str) -> tuple[ClinicalRecord, Primary | None]:
        """What the spreadsheet says of a case: an empty record and None where it has no row."""
        record = self.table.records.get(case_id, ClinicalRecord())
        return record, self.table.primaries.get(case_id)

    def load(self, case_id: str) -> Case:
        """Read one case with its clinical record, mask and primary. InputRefused as read_case."""
        if case_id not in self.case_ids:
            raise refuse(
                f"the data set has no case {case_id}",
                file=self.folder.name,
                found=f"{len(self.case_ids)} cases, {self.case_ids[0]} to {self.case_ids[-1]}",
            )
        record, primary = self.row_of(case_id)
        case = read_case(self.cases_folder / case_id, case_id, record, own=True)
        mask = case.truth.mask if case.truth else None
        truth = Truth(self.provenance, mask, primary)
        return replace(case, truth=truth)

    @staticmethod
    def _file(folder: Path, kind: str, ending: str) -> Path:
        return folder / f"{folder.name}-{kind}.nii{ending}"
