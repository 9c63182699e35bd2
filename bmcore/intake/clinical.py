"""Clinical records from a CSV file or from the spreadsheet of Pretreat-MetsToBrain-Masks.

Columns are matched by aliases, whatever their order. An empty cell or a word such as "NA" is a
missing value, never 0. What was not understood is reported, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bmcore.domain import (
    ClinicalRecord,
    Finding,
    InputRefused,
    Primary,
    Severity,
    refuse,
)
from bmcore.intake.naming import clean_case_id
from bmcore.intake.tables import Row, read_rows

T = TypeVar("T")
MAX_TOLD = 200  # problems; what nobody reads to the end is only counted

ALIASES: Mapping[str, tuple[str, ...]] = {
    "case_id": (
        "brats_met_id", "brats_mets_id", "brats_id", "case_id", "caseid", "case", "subject_id",
        "subject", "patient_id", "patient", "id",
    ),
    "primary": (
        "primary", "primary_tumour", "primary_tumor", "primary_site", "primary_cancer",
        "primary_diagnosis", "primary_type", "cancer_type", "primary_code",
    ),
    "sex": ("sex", "gender", "sex_at_birth", "patient_sex"),
    "age_years": (
        "age_years", "age", "age_yrs", "age_at_diagnosis", "age_at_dx", "age_at_imaging",
        "age_at_scan", "age_at_mri", "patient_age",
    ),
    "smoking": (
        "smoking", "smoking_status", "smoking_history", "smoking_hx", "smoker", "tobacco",
        "tobacco_use", "tobacco_history",
    ),
    "pack_years": (
        "pack_years", "packyears", "pack_year", "pack_yrs", "pack_years_smoked",
        "pack_year_history", "smoking_pack_years", "number_of_pack_years",
    ),
    "extracranial_metastases": (
        "extracranial_metastases", "extracranial_metastasis", "extracranial_mets", "extracranial",
        "extracranial_disease", "extra_cranial_metastases", "extra_cranial_mets",
        "extranodal_metastases", "extranodal_metastasis", "extranodal_mets", "extranodal",
        "extra_nodal_metastases", "extranodal_disease", "metastases_outside_the_brain",
    ),
    "not used": (
        "ethnicity", "race", "race_ethnicity", "ethnic_group", "et_num", "death", "deceased",
        "notes", "comment", "comments",
    ),
}  # fmt: skip

FIELD_WORDS: Mapping[str, str] = {
    "case_id": "case",
    "primary": "primary tumour",
    "sex": "sex",
    "age_years": "age in years",
    "smoking": "smoking",
    "pack_years": "pack-years",
    "extracranial_metastases": "metastases outside the brain",
    "not used": "known, not used",
}

_MISSING = {
    "", "na", "n/a", "#n/a", "n.a.", "<na>", "nan", "none", "null", "unknown", "unk", "missing",
    "-", "--", ".", "?", "not available", "not known", "not recorded", "not reported", "nd",
}  # fmt: skip
_SEX = {"0": "male", "m": "male", "male": "male", "man": "male",
        "1": "female", "f": "female", "female": "female", "woman": "female"}  # fmt: skip
_YES_NO = {"0": False, "no": False, "n": False, "false": False, "absent": False, "negative": False,
           "1": True, "yes": True, "y": True, "true": True, "present": True,
           "positive": True}  # fmt: skip
_SMOKING = {
    "never": "never", "never smoker": "never", "non smoker": "never", "nonsmoker": "never",
    "never smoked": "never", "former": "former", "former smoker": "former", "ex": "former",
    "ex smoker": "former", "past": "former", "previous": "former", "quit": "former",
    "current": "current", "current smoker": "current", "active": "current",
    "active smoker": "current",
}  # fmt: skip
_SMOKING_CODES = {"0": "never", "1": "former", "2": "current"}
_PRIMARY: Mapping[str, Primary | None] = {
    "1": Primary.BREAST, "2": Primary.GI, "3": Primary.SCLC, "4": Primary.MELANOMA,
    "5": Primary.NSCLC, "6": Primary.RCC, "7": None, "other": None,
    "breast": Primary.BREAST, "breast cancer": Primary.BREAST,
    "gi": Primary.GI, "gastrointestinal": Primary.GI, "gastrointestinal cancer": Primary.GI,
    "sclc": Primary.SCLC, "small cell lung": Primary.SCLC, "small cell lung cancer": Primary.SCLC,
    "melanoma": Primary.MELANOMA, "skin melanoma": Primary.MELANOMA,
    "nsclc": Primary.NSCLC, "non small cell lung": Primary.NSCLC,
    "non small cell lung cancer": Primary.NSCLC,
    "rcc": Primary.RCC, "renal": Primary.RCC, "renal cell": Primary.RCC, "kidney": Primary.RCC,
    "renal cell carcinoma": Primary.RCC, "renal cell cancer": Primary.RCC,
}  # fmt: skip
_EXPECTED = {
    "sex": "male or female (0 or 1)",
    "age_years": "a number of years from 0 to 120",
    "smoking": "never, former or current",
    "pack_years": "a number from 0 to 300",
    "extracranial_metastases": "yes or no (1 or 0)",
    "primary": "a code from 1 to 7 or the name of the primary",
}


@dataclass(frozen=True)
class ClinicalTable:
    """What a clinical file says.

    records: case id -> record; a row of a file without a column of case ids has the key ``row-N``,
    with N counted as in the file. primaries: case id -> Primary, or None where it is missing or
    none of the six. recognised: heading -> what it was taken for, in words. unrecognised: headings
    that were not understood. findings: everything noticed, each with row and column in words.
    """

    records: Mapping[str, ClinicalRecord] = field(default_factory=dict)
    primaries: Mapping[str, Primary | None] = field(default_factory=dict)
    recognised: Mapping[str, str] = field(default_factory=dict)
    unrecognised: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def record_for(self, case_id: str) -> ClinicalRecord | None:
        """The record of ``case_id``; the only record where the file names no case; else None."""
        if case_id in self.records:
            return self.records[case_id]
        if len(self.records) == 1 and next(iter(self.records)).startswith("row-"):
            return next(iter(self.records.values()))
        return None


def read_clinical(path: str | Path) -> ClinicalTable:
    """Read a clinical table: CSV (comma, semicolon or tab; UTF-8) or xlsx (sheet ``Data``).

    A value that cannot be read is refused (InputRefused) where the file holds one record; in a
    table it becomes missing and is listed as a warning. InputRefused also where the file cannot
    be read, no column is understood, or one case has two different records.
    """
    path = Path(path)
    headings, rows, notes = read_rows(path)
    columns, findings = _match(headings, path)
    findings = [*notes, *findings]
    smoking = _smoking_codes(columns.get("smoking"), rows, path, findings)
    bad: list[Finding] = []
    more = 0
    records: dict[str, ClinicalRecord] = {}
    primaries: dict[str, Primary | None] = {}
    where: dict[str, int] = {}
    for row in rows:
        reader = _RowReader(row, headings, columns, smoking, path.name)
        key = reader.key()
        record, primary = reader.record(), reader.primary()
        bad += reader.problems[: MAX_TOLD - len(bad)]
        more += len(reader.problems)
        if key is None:
            continue
        if key in records and (records[key], primaries[key]) != (record, primary):
            raise refuse(
                f"case {key} stands in the table twice with different values",
                file=path.name,
                found=f"rows {where[key]} and {row.number}",
                expected="one row for each case",
                hint="remove one of the two rows.",
            )
        records[key], primaries[key], where[key] = record, primary, row.number
    if not records and not bad:
        raise refuse("the table has headings but no rows", file=path.name, expected="a record")
    if len(rows) == 1 and bad:
        raise InputRefused(*bad)
    findings += [_as_warning(f) for f in bad]
    if more > len(bad):
        what = f"{more - len(bad)} more cells of this table are not understood"
        findings.append(Finding(Severity.WARNING, what, path.name, hint="mend those above first."))
    taken = {headings[c]: FIELD_WORDS[f] for f, c in columns.items()}
    taken |= {h: FIELD_WORDS["not used"] for h in headings if _field(h) == "not used"}
    unknown = tuple(h for h in headings if h and _field(h) is None)
    return ClinicalTable(records, primaries, taken, unknown, tuple(findings))


def _plain(heading: str) -> str:
    text = re.sub(r"\(.*?\)|\[.*?\]", "", heading.lower())
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def _field(heading: str) -> str | None:
    plain = _plain(heading)
    return next((name for name, aliases in ALIASES.items() if plain in aliases), None)


def _match(headings: list[str], path: Path) -> tuple[dict[str, int], list[Finding]]:
    columns: dict[str, int] = {}
    findings: list[Finding] = []
    for place, heading in enumerate(headings):
        name = _field(heading)
        if name is None and heading:
            findings.append(
                Finding(
                    Severity.WARNING,
                    f"the column '{heading}' was not understood and not used",
                    path.name,
                    hint="rename it if it holds age, sex, smoking, pack-years or metastases "
                    "outside the brain.",
                )
            )
        if name is None or name == "not used":
            continue
        if name not in columns:
            columns[name] = place
            continue
        rank = ALIASES[name].index
        first, second = columns[name], place
        if rank(_plain(heading)) < rank(_plain(headings[first])):
            first, second = place, columns[name]
        columns[name] = first
        findings.append(
            Finding(
                Severity.WARNING,
                f"two columns were taken for {FIELD_WORDS[name]}; only the first was used",
                path.name,
                found=f"'{headings[first]}' and '{headings[second]}'",
                expected="one column",
            )
        )
    if not set(columns) - {"case_id"}:
        raise refuse(
            "no column was understood",
            file=path.name,
            found=", ".join(h for h in headings if h)[:200] or "no headings",
            expected="headings such as Age, Sex, Smoking, Pack_years, Extracranial_metastases",
            hint="put the headings into the first row.",
        )
    return columns, findings


def _smoking_codes(
    column: int | None, rows: list[Row], path: Path, findings: list[Finding]
) -> Mapping[str, str]:
    """Codes 0/1/2 are read as never/former/current only where the column shows all three kinds.

    The published description does not give the coding. In a column of 0 and 1 alone, 1 may mean
    "ever smoked", so only 0 is read.
    """
    if column is None:
        return _SMOKING
    values = {row.cells[column] for row in rows} & {"0", "1", "2"}
    if not values:
        return _SMOKING
    full = "2" in values
    findings.append(
        Finding(
            Severity.WARNING,
            "smoking is given in codes; they were read as 0 never, 1 former, 2 current"
            if full
            else "smoking is given in codes 0 and 1; 0 was read as never, 1 could not be read",
            path.name,
            found="codes " + ", ".join(sorted(values)),
            expected="never, former or current",
            hint="write the words instead of codes if this is not meant.",
        )
    )
    return _SMOKING | (_SMOKING_CODES if full else {"0": "never"})


class _RowReader:
    """Reads the cells of one row; what cannot be read is kept in ``problems``."""

    def __init__(
        self,
        row: Row,
        headings: list[str],
        columns: Mapping[str, int],
        smoking: Mapping[str, str],
        file: str,
    ) -> None:
        self.row, self.headings, self.columns, self.file = row, headings, columns, file
        self.smoking = smoking
        self.problems: list[Finding] = []

    def key(self) -> str | None:
        if "case_id" not in self.columns:
            return f"row-{self.row.number}"
        text = self._text("case_id")
        if text is None:
            self._problem("the row names no case and was not used", self.columns["case_id"], "")
            return None
        if re.fullmatch(r"\d{1,5}", text):
            return f"BraTS-MET-{int(text):05d}-000"
        return clean_case_id(text)

    def record(self) -> ClinicalRecord:
        return ClinicalRecord(
            age_years=self._number("age_years", 120),
            sex=self._word("sex", _SEX),
            smoking=self._word("smoking", self.smoking),
            pack_years=self._number("pack_years", 300),
            extracranial_metastases=self._word("extracranial_metastases", _YES_NO),
        )

    def primary(self) -> Primary | None:
        before = len(self.problems)
        value = self._word("primary", _PRIMARY)
        given = self._text("primary") is not None
        if value is None and given and len(self.problems) == before:
            column = self.columns["primary"]
            self.problems.append(
                Finding(
                    Severity.INFO,
                    f"row {self.row.number}: the primary is none of the six that the models name",
                    self.file,
                    found=self.row.cells[column],
                    expected="codes 1 to 6",
                )
            )
        return value

    def _text(self, name: str) -> str | None:
        if name not in self.columns:
            return None
        text = self.row.cells[self.columns[name]]
        return None if text.lower() in _MISSING else text

    def _word(self, name: str, table: Mapping[str, T]) -> T | None:
        text = self._text(name)
        if text is None:
            return None
        plain = re.sub(r"[\s_-]+", " ", text.lower()).strip()
        if plain in table:
            return table[plain]
        self._bad(name, text)
        return None

    def _number(self, name: str, high: float) -> float | None:
        text = self._text(name)
        if text is None:
            return None
        match = re.fullmatch(
            r"(\d+(?:[.,]\d+)?)\s*(?:y|yr|yrs|years?|py|pack[- ]?years?)?", text, re.I
        )
        value = float(match[1].replace(",", ".")) if match else -1.0
        if 0 <= value <= high:
            return value
        self._bad(name, text)
        return None

    def _bad(self, name: str, text: str) -> None:
        what = f"{FIELD_WORDS[name]} cannot be read"
        self._problem(what, self.columns[name], text, _EXPECTED[name])

    def _problem(self, what: str, column: int, text: str, expected: str | None = None) -> None:
        place = f"row {self.row.number}, column '{self.headings[column]}': {what}"
        hint = "leave the cell empty if it is not known." if expected else None
        self.problems.append(
            Finding(Severity.REFUSED, place, self.file, text[:60] or None, expected, hint)
        )


def _as_warning(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSED:
        return finding
    what = finding.what + ("; it counts as missing" if finding.expected else "")
    return Finding(
        Severity.WARNING, what, finding.file, finding.found, finding.expected, finding.hint
    )
