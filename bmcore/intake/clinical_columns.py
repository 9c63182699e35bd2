"""The columns of a clinical table: which heading is which field, and how its codes are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bmcore.domain import Finding, Severity, refuse
from bmcore.intake.clinical_values import (
    NO_YES,
    WORDS,
    YALE_CODES,
    Word,
    is_code,
    legend_of,
    pairs_in,
    plain_word,
    unit_of,
)
from bmcore.intake.tables import Row

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
EXPECTED = {
    "sex": "male or female",
    "age_years": "a number of years from 0 to 120",
    "smoking": "never, former or current",
    "pack_years": "a number from 0 to 300",
    "extracranial_metastases": "yes or no",
    "primary": "the name of the primary",
}
YALE_HEADINGS = ("brats_met_id", "brats_mets_id", "brats_id")


@dataclass(frozen=True)
class ColumnReading:
    """How one column was read. heading: as in the file; field: of ALIASES, "" where it was not
    used; how: in words; codes: those that no legend explains, to be asked for."""

    heading: str
    field: str
    how: str
    codes: tuple[str, ...] = ()


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


def plain_heading(heading: str) -> str:
    """A heading as a key: without legend and unit, small letters and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", _split_heading(heading)[0].lower()).strip("_")


def _unit_apart(plain: str) -> tuple[str, str]:
    """ "age_in_months" -> ("age", "months")."""
    match = re.fullmatch(r"(.*?)_(?:in_)?(years?|yrs?|months?|mo|weeks?|days?)", plain)
    return (match[1], match[2]) if match else (plain, "")


def field_of(heading: str) -> str | None:
    """The field of ALIASES that a heading stands for; None where it is not understood."""
    plain = plain_heading(heading)
    for form in (plain, _unit_apart(plain)[0]):
        for name, aliases in ALIASES.items():
            if form in aliases and (form == plain or name == "age_years"):
                return name
    return None


def match_columns(headings: list[str], path: Path) -> tuple[dict[str, int], list[Finding]]:
    """Field -> place of its column, and findings; InputRefused where no column is understood."""
    columns: dict[str, int] = {}
    findings: list[Finding] = []
    for place, heading in enumerate(headings):
        name = field_of(heading)
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
                f"two columns were taken as {FIELD_WORDS[name]}; only the first was used",
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
    plain = plain_heading(heading)
    form = plain if plain in ALIASES[name] else _unit_apart(plain)[0]
    return ALIASES[name].index(form)


@dataclass
class Column:
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


def understand(
    name: str,
    place: int,
    headings: list[str],
    rows: list[Row],
    path: Path,
    legends: Mapping[str, Mapping[str, Word]],
) -> Column:
    """How the cells of a column are to be read: by which unit, which legend."""
    heading = headings[place]
    column = Column(name, place)
    note = _split_heading(heading)[1]
    if name == "case_id":
        column.how = "the id of the case, letter by letter"
        if plain_heading(heading) in YALE_HEADINGS:
            column.how = "numbers of the cases of Pretreat-MetsToBrain-Masks"
    elif name == "age_years":
        per_year = unit_of(f"{note} {_unit_apart(plain_heading(heading))[1]}")
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
        yale = any(plain_heading(h) in YALE_HEADINGS for h in headings)
        _explain_codes(column, heading, [row.cells[place] for row in rows], path, yale)
    return column


def _refused_column(column: Column, heading: str, path: Path, why: str) -> Column:
    column.usable, column.how = False, f"not used: {why}"
    column.findings.append(
        Finding(
            Severity.WARNING,
            f"the column '{heading}' was not used: {why}",
            path.name,
            expected=EXPECTED.get(column.name),
            hint="write the words or the unit plainly.",
        )
    )
    return column


def _by_legend(
    column: Column,
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


def _explain_codes(column: Column, heading: str, cells: list[str], path: Path, yale: bool) -> None:
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
        column.how = f"codes {', '.join(column.codes)}: their meaning is not stated; not read"
        column.findings.append(
            Finding(
                Severity.WARNING,
                f"column '{heading}' holds codes whose meaning is not stated; they count as "
                "missing",
                path.name,
                found="codes " + ", ".join(column.codes),
                expected=EXPECTED[column.name],
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
