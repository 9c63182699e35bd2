"""The columns of a clinical table: which heading is which field, and how its codes are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bmcore.domain import Finding, Severity, refuse
from bmcore.intake.clinical_headings import (
    EXPECTED,
    FIELD_WORDS,
    YALE_HEADINGS,
    field_of,
    place_of,
    plain_heading,
    split_heading,
    unit_apart,
)
from bmcore.intake.clinical_legends import NOTE_NOT_UNDERSTOOD, Note, read_note
from bmcore.intake.clinical_values import (
    MISSING,
    NEITHER,
    NO_YES,
    WORDS,
    YALE_CODES,
    Word,
    code_key,
    is_code,
    of_pack_years,
    unit_of,
)
from bmcore.intake.tables import Row


@dataclass(frozen=True)
class ColumnReading:
    """How one column was read. heading: as in the file; field: of ALIASES, "" where it was not
    used and nothing is asked; how: in words; codes: those that no legend explains, to be asked
    for; used: whether its cells were read."""

    heading: str
    field: str
    how: str
    codes: tuple[str, ...] = ()
    used: bool = True


def match_columns(
    headings: list[str], rows: list[Row], path: Path
) -> tuple[dict[str, int], list[Finding]]:
    """Field -> place of its column, and findings; InputRefused where no column is understood.

    Of two columns of one field the usual heading counts, an age at the scan before that at the
    diagnosis; where those of sex, smoking or the primary differ in some row, neither.
    """
    columns: dict[str, int] = {}
    closed: set[str] = set()
    findings: list[Finding] = []
    for place, heading in enumerate(headings):
        name = field_of(heading)
        if name is None and heading:
            findings.append(
                Finding(
                    Severity.WARNING,
                    f"the column '{heading}' was not understood and not used",
                    path.name,
                    hint="rename it if it holds the id of the case, age, sex, smoking, pack-years, "
                    "metastases outside the brain or the primary.",
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
        cells = [(row.cells[first], row.cells[second]) for row in rows]
        apart = sum(a != b for a, b in cells if not {a.lower(), b.lower()} & MISSING)
        if apart and name in ("sex", "smoking", "primary"):
            closed.add(name)
        used = "neither was used" if name in closed else f"only '{headings[first]}' was used"
        told = f"; they differ in {apart} of {len(rows)} rows" if apart else ""
        findings.append(
            Finding(
                Severity.WARNING,
                f"two columns were taken as {FIELD_WORDS[name]}{told}; {used}",
                path.name,
                found=f"'{headings[first]}' and '{headings[second]}'",
                expected="one column",
                hint="keep the one that is meant." if apart else None,
            )
        )
    columns = {name: place for name, place in columns.items() if name not in closed}
    if not (set(columns) | closed) - {"case_id"}:
        raise refuse(
            "no column was understood",
            file=path.name,
            found=", ".join(h for h in headings if h)[:200] or "no headings",
            expected="headings such as Age, Sex, Smoking, Pack_years, Extracranial_metastases",
            hint="put the headings into the first row."
            if len(headings) > 1
            else "part the cells of a row by commas, semicolons, tabs or |, headings first.",
        )
    return columns, findings


def without_heading(headings: list[str], rows: list[Row], path: Path) -> list[Finding]:
    """A finding for each column that holds values below an empty heading."""
    found = []
    for place in (n for n, heading in enumerate(headings) if not heading):
        cells = [row.cells[place] for row in rows if row.cells[place]]
        if cells:
            what = f"column {place + 1} has no heading and was not used"
            hint = "write a heading above it; a heading over two columns counts for the first only."
            held = f"{len(cells)} cells, the first '{cells[0][:40]}'"
            found.append(Finding(Severity.WARNING, what, path.name, held, "a heading", hint))
    return found


def _rank(name: str, heading: str) -> tuple[bool, int]:
    """The lower, the sooner a column is the one of its field: first, whether it is understood."""
    base, note = split_heading(heading)
    plain = plain_heading(base)
    return not _note_understood(name, plain, note), place_of(name, plain)


def _note_understood(name: str, plain: str, note: str) -> bool:
    if name == "age_years":
        return unit_of(f"{note}, {unit_apart(plain)[1]}") is not None
    if name == "pack_years":
        return of_pack_years(note)
    return name not in WORDS or not read_note(name, note).problem


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
        name = self.name if self.usable or self.codes else ""
        return ColumnReading(heading, name, how, self.codes, self.usable)


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
    base, note = split_heading(heading)
    plain = plain_heading(base)
    if name == "case_id":
        column.how = "the id of the case, letter by letter"
        if plain in YALE_HEADINGS:
            column.how = "numbers of the cases of Pretreat-MetsToBrain-Masks"
    elif name == "age_years":
        column.per_year = unit_of(f"{note}, {unit_apart(plain)[1]}")
        if column.per_year is None:
            return _refused_column(column, heading, path, "its unit is not understood")
        column.how = "years" if column.per_year == 1.0 else "brought to years"
    elif name == "pack_years":
        if not of_pack_years(note):
            return _refused_column(column, heading, path, NOTE_NOT_UNDERSTOOD)
        column.how = "pack-years"
    else:
        cells = list({row.cells[place] for row in rows})
        said = read_note(name, note)
        given = {code_key(c): v for c, v in legends.get(name, {}).items()}
        _by_legend(column, heading, said, given, path)
        if said.problem and not given:
            column.codes = tuple(sorted({code_key(c) for c in cells if is_code(c)} - {"-"}))
            return _refused_column(column, heading, path, said.problem)
        stated = set(given) | set(said.legend)
        _ask_letters(column, heading, {code_key(c) for c in cells}, stated, plain, path)
        yale = any(plain_heading(h) in YALE_HEADINGS for h in headings)
        _explain_codes(column, heading, cells, path, yale, bool(stated) or said.listed)
    return column


def _refused_column(column: Column, heading: str, path: Path, why: str) -> Column:
    column.usable, column.how = False, f"not used: {why}"
    hint = f"head it '{column.name}' alone if that is what it holds"
    if column.name in WORDS:
        hint += f", or say what the cells mean: --legend '{column.name}: 1=..., 2=...'"
    if column.codes:
        hint += ", or the boxes on the form"
    if column.name == "age_years":
        hint = "write the unit plainly (years, months), or give the age in years."
    column.findings.append(
        Finding(
            Severity.WARNING,
            f"the column '{heading}' was not used: {why}",
            path.name,
            expected=EXPECTED.get(column.name),
            hint=hint.rstrip(".") + ".",
        )
    )
    return column


def _by_legend(
    column: Column, heading: str, said: Note, given: Mapping[str, Word], path: Path
) -> None:
    """Take the legend that the user gave, and the heading's where it does not contradict. Beside
    a note that is not understood, nothing counts but what the user gave."""
    legend = said.legend
    if given:
        column.how = "by the legend that was given"
        if any(legend.get(code, value) != value for code, value in given.items()):
            legend = {}
            what = (
                f"the legend in the heading '{heading}' says otherwise than the one that was given"
            )
            column.findings.append(
                Finding(Severity.WARNING, f"{what}; the one that was given counts", path.name)
            )
    elif legend:
        column.how = "by the legend in the heading"
    words = {} if said.problem else WORDS[column.name]
    column.words = {**words, **legend, **given}


def _ask_letters(
    column: Column, heading: str, cells: set[str], stated: set[str], plain: str, path: Path
) -> None:
    """Ask for single letters that stand for two things: M beside H or V is male in one language
    and female in another, unless F or W is there too."""
    if column.name not in NEITHER:
        return
    letters = {c for c in cells if len(c) == 1 and c.isalpha()} - NEITHER[column.name]
    ours = {c for c in letters - stated if c in column.words}
    strange = {c for c in letters if c in stated or c not in column.words}
    if ours and len({column.words[c] for c in letters if c in column.words}) < 2 and (
        strange or plain == "sexo"
    ):  # fmt: skip
        column.words = {w: v for w, v in column.words.items() if w not in ours}
        asked = tuple(sorted(ours | (strange - stated)))
        _ask(
            column,
            heading,
            asked,
            "letters that mean different things in different languages",
            path,
        )


def _explain_codes(
    column: Column, heading: str, cells: list[str], path: Path, yale: bool, told: bool
) -> None:
    """Codes without a legend: those of the Yale table, 0 and 1 for no and yes; else asked for.

    told: a legend or a list of words says how the column is to be read; no default counts then.
    """
    codes = sorted({code_key(c) for c in cells if is_code(c)} - {"-", *column.words})
    if not codes:
        return
    known: Mapping[str, Word] = {}
    if told:
        pass
    elif yale and set(codes) <= set(YALE_CODES.get(column.name, ())):
        known, column.how = YALE_CODES[column.name], "by the codes of Pretreat-MetsToBrain-Masks"
    elif column.name == "extracranial_metastases" and set(codes) <= {"0", "1"}:
        known, column.how = NO_YES, "0 as no, 1 as yes"
    elif column.name == "extracranial_metastases" and "+" in codes:
        known, column.how = {"+": True, "-": False}, "+ as yes, - as no"
    elif column.name == "smoking" and yale and set(codes) <= {"0", "1", "2"}:
        column.findings.append(_smoking_note(codes, path))
        full = "2" in codes
        known = {"0": "never", "1": "former", "2": "current"} if full else {"0": "never"}
        column.how = "0 never, 1 former, 2 current" if full else "0 never, 1 not read"
    column.words = {**column.words, **known}
    open_ = tuple(c for c in codes if c not in known and not (yale and known))
    if open_:
        _ask(column, heading, open_, "codes whose meaning is not stated", path)
    elif column.name == "extracranial_metastases" and known and not yale:
        what = f"column '{heading}' holds codes; they were read: {column.how}"
        column.findings.append(
            Finding(Severity.INFO, what, path.name, hint="write the words if this is wrong.")
        )


def _ask(column: Column, heading: str, codes: tuple[str, ...], what: str, path: Path) -> None:
    column.codes = (*column.codes, *codes)
    told = ", ".join(column.codes)
    column.how = f"codes {told}: their meaning is not stated; not read"
    column.findings.append(
        Finding(
            Severity.WARNING,
            f"column '{heading}' holds {what}; they count as missing",
            path.name,
            found="codes " + ", ".join(codes),
            expected=EXPECTED[column.name],
            hint=f"write the words, put the legend into the heading ('{split_heading(heading)[0]} "
            f"(1 = ..., 2 = ...)'), or give it: --legend '{column.name}: 1=..., 2=...', or the "
            "boxes on the form.",
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
