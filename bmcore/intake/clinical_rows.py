"""The rows of a clinical table: each cell read as its column says, what cannot be read told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from bmcore.domain import ClinicalRecord, Finding, Primary, Severity
from bmcore.intake.clinical_columns import Column
from bmcore.intake.clinical_headings import EXPECTED, FIELD_WORDS, YALE_HEADINGS, plain_heading
from bmcore.intake.clinical_values import (
    ADULT_YEARS,
    MISSING,
    TWO_MEANINGS,
    Number,
    Word,
    age_years,
    code_key,
    pack_years,
)
from bmcore.intake.tables import Row


class RowReader:
    """Reads the cells of one row; what cannot be read is kept in ``problems``."""

    def __init__(
        self,
        row: Row,
        headings: list[str],
        columns: Mapping[str, int],
        understood: Mapping[str, Column],
        file: str,
    ) -> None:
        self.row, self.headings, self.columns, self.file = row, headings, columns, file
        self.understood = understood
        self.problems: list[Finding] = []

    def key(self) -> str | None:
        """The case that the row is of; None where the row names none."""
        if "case_id" not in self.columns:
            return f"row-{self.row.number}"
        text = self._text("case_id")
        if text is None:
            self._problem("the row names no case and was not used", self.columns["case_id"], "")
            return None
        plain = plain_heading(self.headings[self.columns["case_id"]])
        return exact_id(yale_case(text) if plain in YALE_HEADINGS else text)

    def record(self) -> ClinicalRecord:
        """The clinical values of the row; None for what is missing or cannot be read."""
        per_year = self.understood["age_years"].per_year if "age_years" in self.columns else None
        found = ClinicalRecord(
            age_years=self._number("age_years", lambda text: age_years(text, per_year)),
            sex=self._word("sex"),  # type: ignore[arg-type]
            smoking=self._word("smoking"),  # type: ignore[arg-type]
            pack_years=self._number("pack_years", pack_years),
            extracranial_metastases=self._word("extracranial_metastases"),  # type: ignore[arg-type]
        )
        if found.smoking == "never" and found.pack_years:
            packs = f"{found.pack_years:g} pack-years"
            self._note("pack_years", f"{packs} of somebody who never smoked; check which is right")
        return found

    def primary(self) -> Primary | None:
        """The primary; None where it is missing or none of the six."""
        before = len(self.problems)
        value = self._word("primary")
        given = self._text("primary") is not None
        if value is None and given and len(self.problems) == before:
            column = self.columns["primary"]
            self.problems.append(
                Finding(
                    Severity.INFO,
                    f"row {self.row.number}: the primary is none of the six that the models name",
                    self.file,
                    found=self.row.cells[column],
                    expected="one of " + ", ".join(Primary),
                )
            )
        return value  # type: ignore[return-value]

    def _text(self, name: str) -> str | None:
        if name not in self.columns:
            return None
        text = self.row.cells[self.columns[name]]
        return None if text.lower() in MISSING else text

    def _word(self, name: str) -> Word:
        if name not in self.columns:
            return None
        column = self.understood[name]
        text = self.row.cells[self.columns[name]]
        key = code_key(text)
        if key in column.words:
            value = column.words[key]
            column.seen.setdefault(text, _in_words(value))
            return value
        if name in ("extracranial_metastases", "smoking") and text.lower() in TWO_MEANINGS:
            self._note(name, f"'{text}' may mean none or not known; it counts as missing")
            return None
        if text.lower() in MISSING or key in column.codes:
            return None  # the column's finding tells of its codes
        self._bad(name, text)
        return None

    def _number(self, name: str, read: Callable[[str], Number]) -> float | None:
        text = self._text(name)
        if text is None:
            return None
        number = read(text)
        if number.value is None:
            self._bad(name, text)
            return None
        if number.note:
            self._note(name, number.note, Severity.INFO)
        if name == "age_years" and number.value < ADULT_YEARS:
            self._note(name, f"the age is below {ADULT_YEARS:.0f}; the models know adults only")
        return number.value

    def _note(self, name: str, what: str, severity: Severity = Severity.WARNING) -> None:
        heading = self.headings[self.columns[name]]
        text = f"row {self.row.number}, column '{heading}': {what}"
        self.problems.append(Finding(severity, text, self.file))

    def _bad(self, name: str, text: str) -> None:
        what = f"{FIELD_WORDS[name]} cannot be read"
        if name == "primary":  # known, and none of the words: the other values still count
            hint = f"write one of {', '.join(Primary)}, or other."
            place = self.columns[name]
            self._problem(what, place, text, EXPECTED[name], Severity.WARNING, hint)
            return
        self._problem(what, self.columns[name], text, EXPECTED[name])

    def _problem(
        self,
        what: str,
        column: int,
        text: str,
        expected: str | None = None,
        severity: Severity = Severity.REFUSED,
        hint: str = "leave the cell empty if it is not known.",
    ) -> None:
        place = f"row {self.row.number}, column '{self.headings[column]}': {what}"
        told = hint if expected else None
        self.problems.append(Finding(severity, place, self.file, text[:60] or None, expected, told))


def _in_words(value: Word) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value)


def yale_case(text: str) -> str:
    """The id of the case of Pretreat-MetsToBrain-Masks that a number stands for (86, 86.0); any
    other text as it is."""
    number = re.fullmatch(r"(\d{1,5})(?:\.0+)?", text)
    return f"BraTS-MET-{int(number[1]):05d}-000" if number else text


def exact_id(text: str) -> str:
    """An id as a key: letters of any script, only ends and the writing of accents made one, and
    nothing that cannot be seen."""
    plain = unicodedata.normalize("NFC", text)
    return "".join(c for c in plain if unicodedata.category(c) != "Cf").strip()
