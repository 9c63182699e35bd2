"""Clinical records from a CSV file or from the spreadsheet of Pretreat-MetsToBrain-Masks.

Columns are matched by aliases, whatever their order. An empty cell or a word such as "NA" is a
missing value, never 0. What was not understood is reported, not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bmcore.domain import (
    ClinicalRecord,
    Finding,
    InputRefused,
    Primary,
    Severity,
    refuse,
)
from bmcore.intake.clinical_values import (
    ADULT_YEARS,
    MISSING,
    NO_YES,
    TWO_MEANINGS,
    WORDS,
    YALE_CODES,
    Number,
    Word,
    age_years,
    is_code,
    legend_of,
    pack_years,
    pairs_in,
    plain_word,
    unit_of,
)
from bmcore.intake.tables import Row, read_rows

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

_EXPECTED = {
    "sex": "male or female",
    "age_years": "a number of years from 0 to 120",
    "smoking": "never, former or current",
    "pack_years": "a number from 0 to 300",
    "extracranial_metastases": "yes or no",
    "primary": "the name of the primary",
}


@dataclass(frozen=True)
class ColumnReading:
    """How one column was read. heading: as in the file; field: of ALIASES, "" where it was not
    used; how: in words; codes: those that no legend explains, to be asked for."""

    heading: str
    field: str
    how: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClinicalTable:
    """What a clinical file says.

    records: case id as in the file -> record (ids of Pretreat-MetsToBrain-Masks by the name of the
    case); a row of a file without a column of case ids has the key ``row-N``, with N counted as in
    the file. primaries: case id -> Primary, or None where it is missing or none of the six.
    recognised: heading -> what it was taken for, in words. unrecognised: headings that were not
    understood. readings: each column and how it was read. findings: everything noticed, each with
    row and column in words. yale: the ids are numbers of that data set.
    """

    records: Mapping[str, ClinicalRecord] = field(default_factory=dict)
    primaries: Mapping[str, Primary | None] = field(default_factory=dict)
    recognised: Mapping[str, str] = field(default_factory=dict)
    unrecognised: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    readings: tuple[ColumnReading, ...] = ()

    def record_for(self, case_id: str) -> ClinicalRecord | None:
        """The record whose id is exactly ``case_id``; the only record where the file names no
        case; by number for cases of Pretreat-MetsToBrain-Masks; else None."""
        exact = _exact(case_id)
        if exact in self.records:
            return self.records[exact]
        number = _YALE_ID.fullmatch(exact)
        if number and str(int(number[1])) in self.records:
            return self.records[str(int(number[1]))]
        if len(self.records) == 1 and next(iter(self.records)).startswith("row-"):
            return next(iter(self.records.values()))
        return None

    def like(self, case_id: str) -> tuple[str, ...]:
        """Ids that could be meant by ``case_id``, for a message; never used as a key."""
        wanted = _loose(case_id)
        near = [key for key in self.records if _loose(key) == wanted]
        return tuple(near or list(self.records)[:3])

    @property
    def asked(self) -> tuple[ColumnReading, ...]:
        """Columns with codes whose meaning is not said."""
        return tuple(reading for reading in self.readings if reading.codes)

    def as_findings(self, case_id: str) -> tuple[Finding, ...]:
        """How the columns were read, to be kept with the case; the headings are not."""
        told = {r.field: r.how for r in self.readings if r.field not in ("", "case_id")}
        return tuple(
            Finding(Severity.INFO, f"{FIELD_WORDS[name]} was read from a table: {how}")
            for name, how in told.items()
            if name in FIELD_WORDS and name != "not used"
        )


def read_clinical(
    path: str | Path, legends: Mapping[str, Mapping[str, Word]] | None = None
) -> ClinicalTable:
    """Read a clinical table: CSV (comma, semicolon or tab; UTF-8) or xlsx (sheet ``Data``).

    legends: field -> code -> value, as the user says; they win over the heading's. A value that
    cannot be read is refused (InputRefused) where the file holds one record; in a table it becomes
    missing and is listed as a warning. InputRefused also where the file cannot be read, no column
    is understood, or one case has two different records.
    """
    path = Path(path)
    headings, rows, notes = read_rows(path, lambda heading: _field(heading) is not None)
    columns, findings = _match(headings, path)
    findings = [*notes, *findings]
    understood = {
        name: _understand(name, place, headings, rows, path, legends or {})
        for name, place in columns.items()
    }
    for column in understood.values():
        findings += column.findings
    columns = {n: c for n, c in columns.items() if understood[n].usable}
    bad: list[Finding] = []
    more = 0
    records: dict[str, ClinicalRecord] = {}
    primaries: dict[str, Primary | None] = {}
    where: dict[str, int] = {}
    for row in rows:
        reader = _RowReader(row, headings, columns, understood, path.name)
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
    refused = [f for f in bad if f.severity is Severity.REFUSED]
    if len(rows) == 1 and refused:
        raise InputRefused(*refused)
    findings += [_as_warning(f) for f in bad]
    if more > len(bad):
        what = f"{more - len(bad)} more cells of this table are not understood"
        findings.append(Finding(Severity.WARNING, what, path.name, hint="mend those above first."))
    taken = {headings[c]: FIELD_WORDS[f] for f, c in columns.items()}
    taken |= {h: FIELD_WORDS["not used"] for h in headings if _field(h) == "not used"}
    unknown = tuple(h for h in headings if h and _field(h) is None)
    readings = tuple(
        understood[name].reading(headings[place]) for name, place in sorted_by_place(understood)
    )
    return ClinicalTable(records, primaries, taken, unknown, tuple(findings), readings)


def sorted_by_place(understood: Mapping[str, _Column]) -> list[tuple[str, int]]:
    """Fields and their columns in the order of the file."""
    return sorted(((n, c.place) for n, c in understood.items()), key=lambda pair: pair[1])


_YALE_ID = re.compile(r"BraTS-MET-(\d{5})-000")
_YALE_HEADINGS = ("brats_met_id", "brats_mets_id", "brats_id")


def _exact(text: str) -> str:
    """An id as a key: letters of any script, only ends and the writing of accents made one."""
    return unicodedata.normalize("NFC", text).strip()


def _loose(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).casefold()
    kept = "".join(c for c in plain if c.isalnum() and not unicodedata.combining(c))
    return kept.lstrip("0") or "0"


def _split_heading(heading: str) -> tuple[str, str]:
    """A heading without its legend or unit, and those."""
    note = " ".join(re.findall(r"\((.*?)\)|\[(.*?)\]", heading) and (
        a or b for a, b in re.findall(r"\((.*?)\)|\[(.*?)\]", heading)
    ))  # fmt: skip
    bare = re.sub(r"\(.*?\)|\[.*?\]", "", heading)
    legend = re.match(r"(.*?)[:;,-]?\s*(\S+\s*=.*)$", bare)
    if legend:
        bare, note = legend[1], f"{note} {legend[2]}"
    return bare, note.strip()


def _plain(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _split_heading(heading)[0].lower()).strip("_")


def _unit_apart(plain: str) -> tuple[str, str]:
    """ "age_in_months" -> ("age", "months")."""
    match = re.fullmatch(r"(.*?)_(?:in_)?(years?|yrs?|months?|mo|weeks?|days?)", plain)
    return (match[1], match[2]) if match else (plain, "")


def _field(heading: str) -> str | None:
    plain = _plain(heading)
    for form in (plain, _unit_apart(plain)[0]):
        for name, aliases in ALIASES.items():
            if form in aliases and (form == plain or name == "age_years"):
                return name
    return None


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
        first, second = columns[name], place
        if _rank(name, heading) < _rank(name, headings[first]):
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


def _rank(name: str, heading: str) -> int:
    plain = _plain(heading)
    form = plain if plain in ALIASES[name] else _unit_apart(plain)[0]
    return ALIASES[name].index(form)


@dataclass
class _Column:
    """How a column is to be read. words: text -> value, with the codes that are explained."""

    name: str
    place: int
    usable: bool = True
    how: str = ""
    words: Mapping[str, Word] = field(default_factory=dict)
    per_year: float | None = None
    codes: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)

    def reading(self, heading: str) -> ColumnReading:
        """What stands beside the heading in the preview."""
        told = ", ".join(f"'{text}' as {value}" for text, value in list(self.seen.items())[:8])
        more = f" and {len(self.seen) - 8} more" if len(self.seen) > 8 else ""
        how = "; ".join(part for part in (self.how, told + more if told else "") if part)
        return ColumnReading(heading, self.name if self.usable else "", how, self.codes)


def _understand(
    name: str,
    place: int,
    headings: list[str],
    rows: list[Row],
    path: Path,
    legends: Mapping[str, Mapping[str, Word]],
) -> _Column:
    """How the cells of a column are to be read: by which unit, which legend."""
    heading = headings[place]
    column = _Column(name, place)
    note = _split_heading(heading)[1]
    if name == "case_id":
        column.how = "the id of the case, letter by letter"
        if _plain(heading) in _YALE_HEADINGS:
            column.how = "numbers of the cases of Pretreat-MetsToBrain-Masks"
    elif name == "age_years":
        per_year = unit_of(f"{note} {_unit_apart(_plain(heading))[1]}")
        if per_year is False:
            return _refused_column(column, heading, path, "its unit is not understood")
        column.per_year = None if per_year is None else float(per_year)
        column.how = "years" if column.per_year in (None, 1.0) else "brought to years"
    elif name == "pack_years":
        column.how = "pack-years"
    else:
        _by_legend(column, heading, note, {row.cells[place] for row in rows}, path, legends)
        if not column.usable:
            return column
        yale = any(_plain(h) in _YALE_HEADINGS for h in headings)
        _explain_codes(column, heading, [row.cells[place] for row in rows], path, yale)
    return column


def _refused_column(column: _Column, heading: str, path: Path, why: str) -> _Column:
    column.usable, column.how = False, f"not used: {why}"
    column.findings.append(
        Finding(
            Severity.WARNING,
            f"the column '{heading}' was not used: {why}",
            path.name,
            expected=_EXPECTED.get(column.name),
            hint="write the words or the unit plainly.",
        )
    )
    return column


def _by_legend(
    column: _Column,
    heading: str,
    note: str,
    cells: set[str],
    path: Path,
    legends: Mapping[str, Mapping[str, Word]],
) -> None:
    """Take the legend that the user gave, or the heading's; a heading's that is not understood
    closes the column."""
    column.words = WORDS[column.name]
    given = legends.get(column.name)
    if given is not None:
        column.words = {**column.words, **given}
        column.how = "by the legend that was given"
        return
    pairs = pairs_in(note)
    if not pairs:
        return
    legend = legend_of(column.name, pairs)
    if legend is None:
        if any(cell in pairs for cell in cells):
            _refused_column(column, heading, path, "the legend in its heading is not understood")
        return
    column.words = {**column.words, **{plain_word(c): v for c, v in legend.items()}}
    column.how = "by the legend in the heading"


def _explain_codes(column: _Column, heading: str, cells: list[str], path: Path, yale: bool) -> None:
    """Codes without a legend: those of the Yale table, 0 and 1 for no and yes; else asked for."""
    codes = sorted(
        {c for c in cells if is_code(c) and c != "-" and plain_word(c) not in column.words}
    )
    if not codes:
        return
    known: Mapping[str, Word] = {}
    if yale and column.name in YALE_CODES:
        known, column.how = YALE_CODES[column.name], "by the codes of Pretreat-MetsToBrain-Masks"
    elif column.name == "extracranial_metastases" and set(codes) <= {"0", "1"}:
        known, column.how = NO_YES, "0 as no, 1 as yes"
    elif column.name == "extracranial_metastases" and "+" in codes:
        known, column.how = {"+": True, "-": False}, "+ as yes, - as no"
    elif column.name == "smoking" and yale:
        column.findings.append(_smoking_note(codes, path))
        full = "2" in codes
        known = {"0": "never", "1": "former", "2": "current"} if full else {"0": "never"}
        column.how = "0 never, 1 former, 2 current" if full else "0 never, 1 not read"
    column.words = {**column.words, **known}
    column.codes = tuple(c for c in codes if c not in known and not (yale and known))
    if column.how and not column.codes:
        if column.name == "extracranial_metastases" and not yale:
            what = f"column '{heading}' holds codes; they were read: {column.how}"
            column.findings.append(
                Finding(Severity.INFO, what, path.name, hint="write the words if this is wrong.")
            )
        return
    if column.codes:
        column.how = f"codes {', '.join(column.codes)}: their meaning is not said; not read"
        column.findings.append(
            Finding(
                Severity.WARNING,
                f"column '{heading}' holds codes whose meaning is not said; they count as missing",
                path.name,
                found="codes " + ", ".join(column.codes),
                expected=_EXPECTED[column.name],
                hint=f"write the words, put the legend into the heading ('{heading} (1 = ..., "
                f"2 = ...)'), or give it: --legend '{column.name}: 1=..., 2=...', or the boxes on "
                "the form.",
            )
        )


def _smoking_note(codes: list[str], path: Path) -> Finding:
    """Codes 0/1/2 are read as never/former/current only where the column shows all three kinds.

    The published description does not give the coding. In a column of 0 and 1 alone, 1 may mean
    "ever smoked", so only 0 is read.
    """
    return Finding(
        Severity.WARNING,
        "smoking is given in codes; they were read as 0 never, 1 former, 2 current"
        if "2" in codes
        else "smoking is given in codes 0 and 1; 0 was read as never, 1 could not be read",
        path.name,
        found="codes " + ", ".join(codes),
        expected="never, former or current",
        hint="write the words instead of codes if this is not meant.",
    )


class _RowReader:
    """Reads the cells of one row; what cannot be read is kept in ``problems``."""

    def __init__(
        self,
        row: Row,
        headings: list[str],
        columns: Mapping[str, int],
        understood: Mapping[str, _Column],
        file: str,
    ) -> None:
        self.row, self.headings, self.columns, self.file = row, headings, columns, file
        self.understood = understood
        self.problems: list[Finding] = []

    def key(self) -> str | None:
        if "case_id" not in self.columns:
            return f"row-{self.row.number}"
        text = self._text("case_id")
        if text is None:
            self._problem("the row names no case and was not used", self.columns["case_id"], "")
            return None
        plain = _plain(self.headings[self.columns["case_id"]])
        if plain in _YALE_HEADINGS and re.fullmatch(r"\d{1,5}", text):
            return f"BraTS-MET-{int(text):05d}-000"
        return _exact(text)

    def record(self) -> ClinicalRecord:
        per_year = self.understood["age_years"].per_year if "age_years" in self.columns else None
        return ClinicalRecord(
            age_years=self._number("age_years", lambda text: age_years(text, per_year)),
            sex=self._word("sex"),  # type: ignore[arg-type]
            smoking=self._word("smoking"),  # type: ignore[arg-type]
            pack_years=self._number("pack_years", pack_years),
            extracranial_metastases=self._word("extracranial_metastases"),  # type: ignore[arg-type]
        )

    def primary(self) -> Primary | None:
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
        plain = plain_word(text)
        if plain in column.words:
            value = column.words[plain]
            column.seen.setdefault(text, _in_words(value))
            return value
        if name in ("extracranial_metastases", "smoking") and text.lower() in TWO_MEANINGS:
            self._note(name, f"'{text}' may mean none or not known; it counts as missing")
            return None
        if text.lower() in MISSING or text in column.codes:
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
        self._problem(what, self.columns[name], text, _EXPECTED[name])

    def _problem(self, what: str, column: int, text: str, expected: str | None = None) -> None:
        place = f"row {self.row.number}, column '{self.headings[column]}': {what}"
        hint = "leave the cell empty if it is not known." if expected else None
        self.problems.append(
            Finding(Severity.REFUSED, place, self.file, text[:60] or None, expected, hint)
        )


def _in_words(value: Word) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value)


def _as_warning(finding: Finding) -> Finding:
    if finding.severity is not Severity.REFUSED:
        return finding
    what = finding.what + ("; it counts as missing" if finding.expected else "")
    return Finding(
        Severity.WARNING, what, finding.file, finding.found, finding.expected, finding.hint
    )
