"""Legends and notes of a clinical table: understood as a whole, or the column is not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.domain import InputRefused, Primary
from bmcore.intake.clinical import ClinicalTable, read_clinical
from bmcore.intake.clinical_legends import parse_legends

EXTRA = "Extracranial metastases"


def column(tmp_path: Path, heading: str, *cells: str, legends: tuple[str, ...] = (),
           first: str = "case_id") -> ClinicalTable:  # fmt: skip
    rows = "".join(f"{n};60;{cell}\n" for n, cell in enumerate(cells, start=1))
    path = tmp_path / "clinical.csv"
    path.write_text(f'{first};age;"{heading}"\n{rows}', encoding="utf-8")
    return read_clinical(path, parse_legends(legends))


def values(read: ClinicalTable, name: str) -> list[object]:
    return [getattr(record, name) for record in read.records.values()]


def outside(read: ClinicalTable) -> list[object]:
    return values(read, "extracranial_metastases")


def said(read: ClinicalTable) -> str:
    return "\n".join(f"{f.severity}: {f.sentence}" for f in read.findings)


@pytest.mark.parametrize(
    ("legend", "of_0", "of_1"),
    [
        ("0=present", True, None),
        ("1=no", None, False),
        ("no=1", None, False),
        ("yes=0", True, None),
        ("0→yes", True, None),
        ("0 means yes", True, None),
    ],
)
def test_what_a_legend_leaves_open_is_asked_for_and_what_it_says_stays(
    tmp_path: Path, legend: str, of_0: bool | None, of_1: bool | None
) -> None:
    read = column(tmp_path, f"{EXTRA} ({legend})", "0", "1")
    assert outside(read) == [of_0, of_1]
    assert read.asked[0].codes == ("0" if of_0 is None else "1",)


def test_no_default_completes_a_legend_that_the_user_gave(tmp_path: Path) -> None:
    assert outside(column(tmp_path, EXTRA, "0", "1", legends=("extracranial: 1=no",))) == [
        None, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "legends"), [("sex", ("sex: 1=male",)), ("sex (1=male)", ())], ids=("given", "told")
)
def test_the_codes_of_the_yale_table_do_not_overrule_a_legend(
    tmp_path: Path, heading: str, legends: tuple[str, ...]
) -> None:
    read = column(tmp_path, heading, "0", "1", legends=legends, first="BraTS_MET_ID")
    assert values(read, "sex") == [None, "male"] and read.asked[0].codes == ("0",)
    read = column(tmp_path, "Primary (1=melanoma)", "1", "2", first="BraTS_MET_ID")
    assert list(read.primaries.values()) == [Primary.MELANOMA, None]


@pytest.mark.parametrize("cells", [("1", "2"), ("0", "1", "9")], ids="".join)
def test_other_codes_than_yales_forbid_its_reading(tmp_path: Path, cells: tuple[str, ...]) -> None:
    for heading in ("sex", "Extranodal"):
        read = column(tmp_path, heading, *cells, first="BraTS_MET_ID")
        name = "sex" if heading == "sex" else "extracranial_metastases"
        assert set(values(read, name)) == {None} and read.asked[0].codes == cells


@pytest.mark.parametrize(
    ("heading", "cells", "expected"),
    [
        ("Sex (0/1 = male/female)", "0 1", ["male", "female"]),
        ("Sex (0,1 = male,female)", "0 1", ["male", "female"]),
        ("Sex (male/female = 0/1)", "0 1", ["male", "female"]),
        ("Sex (1=M./2=F.)", "1 2", ["male", "female"]),
        ("Sex {1=Mann | 2=Frau}", "1 2", ["male", "female"]),
        ("Sex (M=Mujer, H=Hombre)", "M H", ["female", "male"]),
        ("Sex (Mujer=M, Hombre=H)", "M H", ["female", "male"]),
        ("Sex (1=male; 2=female; 3=other)", "1 2 3", ["male", "female", None]),
        ("Sex, 1 is male, 2 is female", "1 2", ["male", "female"]),
        ("Smoking (0/1/2 = never/former/current)", "0 1 2", ["never", "former", "current"]),
        ("Smoking (never/former/current = 0/1/2)", "0 1 2", ["never", "former", "current"]),
        ("Smoking (0/1 = never/former; 2 = current)", "0 1 2", ["never", "former", "current"]),
        ("Smoking (0=none, 1=former, 2=current)", "0 1 2", ["never", "former", "current"]),
        (f"{EXTRA} (0/1 = yes/no)", "0 1", [True, False]),
        (f"{EXTRA} (yes/no = 1/2)", "1 2", [True, False]),
        (f"{EXTRA} (1=yes,2=no,9=n/a)", "1 2 9", [True, False, None]),
        (f"{EXTRA} (-1=no, 1=yes)", "-1 1", [False, True]),
        (f"{EXTRA} [0 - yes, 1 - no]", "0 1", [True, False]),
        (f"{EXTRA} (0≙yes, 1≙no)", "0 1", [True, False]),
        (f"{EXTRA} (0==yes, 1==no)", "0 1", [True, False]),
        (f"{EXTRA} (0 => yes, 1 => no)", "0 1", [True, False]),
        (f"{EXTRA} （0=yes，1=no）", "0 1", [True, False]),
        (f"{EXTRA} (0＝yes，1＝no)", "0 1", [True, False]),
        (f"{EXTRA} (no is 1, yes is 0)", "0 1", [True, False]),
        (f"{EXTRA} 0:yes 1:no", "0 1", [True, False]),
        (f"{EXTRA} (1=none, 2=present)", "1 2", [False, True]),
        (f"{EXTRA} (0=yes,\n1=no)", "0 1", [True, False]),
    ],
)
def test_legends_as_clinics_write_them(
    tmp_path: Path, heading: str, cells: str, expected: list[object]
) -> None:
    read = column(tmp_path, heading, *cells.split())
    name = {"Sex": "sex", "Smo": "smoking"}.get(heading[:3], "extracranial_metastases")
    assert values(read, name) == expected and read.asked == ()
    assert read.readings[2].how.startswith("by the legend in the heading; ")


def test_the_primaries_of_a_list_are_matched_place_by_place(tmp_path: Path) -> None:
    read = column(tmp_path, "Primary (1/2/3 = breast/melanoma/rcc)", "1", "2", "3")
    assert list(read.primaries.values()) == [Primary.BREAST, Primary.MELANOMA, Primary.RCC]
    read = column(tmp_path, "Primary (1=NSCLC/SCLC, 2=breast)", "1", "2")
    assert set(read.primaries.values()) == {None} and "was not used" in said(read)


@pytest.mark.parametrize(
    "note",
    [
        "0 yes 1 no", "yes 0, no 1", "none=1", "absent", "excluded", "inverted", "reverse coded",
        "controlled", "number", "1=yes, else no", "0≠no", "0!=no", "not 1=yes", "1=not present",
        "0,2=no; 1=yes", "0=no [1=no]", "0=no, 1=no", "yes=no", "1 if absent", "1=yes; 1=no",
        "1=yes (confirmed), 0=no", "1=metastases, 0=no metastases",
    ],
)  # fmt: skip
def test_beside_a_note_that_is_not_understood_nothing_is_read_but_asked(
    tmp_path: Path, note: str
) -> None:
    read = column(tmp_path, f"{EXTRA} ({note})", "0", "1", "yes")
    assert set(outside(read)) == {None} and read.asked[0].codes == ("0", "1")
    assert "is not understood" in said(read) and "--legend" in said(read)
    assert not any("metastases" in f.what for f in read.as_findings("1"))
    read = column(
        tmp_path, f"{EXTRA} ({note})", "0", "1", "yes", legends=("extracranial: 0=no, 1=yes",)
    )
    assert outside(read) == [False, True, None]  # what the user says, and nothing else


@pytest.mark.parametrize("note", ["yes/no", "no, yes"])
def test_a_heading_that_lists_words_does_not_say_what_codes_mean(tmp_path: Path, note: str) -> None:
    assert outside(column(tmp_path, f"{EXTRA} ({note}, n/a)", "yes", "no", "n/a")) == [
        True, False, None
    ]  # fmt: skip
    read = column(tmp_path, f"{EXTRA} ({note})", "0", "1")
    assert outside(read) == [None, None] and read.asked[0].codes == ("0", "1")


@pytest.mark.parametrize("note", ["0/1", "at diagnosis", "at time of MRI", "known"])
def test_notes_that_change_nothing_leave_0_and_1_as_no_and_yes(tmp_path: Path, note: str) -> None:
    assert outside(column(tmp_path, f"{EXTRA} ({note})", "0", "1")) == [False, True]


@pytest.mark.parametrize(
    ("heading", "cells"),
    [("Smoking (spouse)", "current never"), ("Smoking (past)", "current never"),
     ("Primary (excluded)", "breast melanoma"), ("Sex (donor)", "male female"),
     ("Sex (female)", "female male")],
)  # fmt: skip
def test_words_under_a_note_that_is_not_understood_are_not_read(
    tmp_path: Path, heading: str, cells: str
) -> None:
    read = column(tmp_path, heading, *cells.split())
    assert set(values(read, "smoking") + values(read, "sex")) == {None}
    assert set(read.primaries.values()) == {None} and "note in its heading" in said(read)


@pytest.mark.parametrize(
    ("legends", "cells", "expected"),
    [
        (("sex: M=female, H=male",), "M H", ["female", "male"]),
        (("Sex: 1=male", "sex: 2=female"), "1 2", ["male", "female"]),
        (("sex: 1=male, 2=female",), "1.0 02", ["male", "female"]),
        (("sex: 1.0=male, 2.0=female",), "1 2", ["male", "female"]),
        (("sex: H=male",), "M H", [None, "male"]),
    ],
)
def test_the_users_legend_wins_however_it_is_written(
    tmp_path: Path, legends: tuple[str, ...], cells: str, expected: list[object]
) -> None:
    assert values(column(tmp_path, "sex", *cells.split(), legends=legends), "sex") == expected


def test_words_with_capitals_and_dashes_are_codes_of_a_users_legend(tmp_path: Path) -> None:
    told = ("smoking: Raucher=current, Ex-Raucher=former",)
    read = column(tmp_path, "smoking", "Raucher", "Ex-Raucher", "ex_raucher", legends=told)
    assert values(read, "smoking") == ["current", "former", "former"]


def test_a_users_legend_beside_the_headings(tmp_path: Path) -> None:
    heading = f"{EXTRA} (0=yes, 1=no)"
    read = column(tmp_path, heading, "0", "1", legends=("extracranial: 0=no, 1=yes",))
    assert outside(read) == [False, True] and "says otherwise" in said(read)
    read = column(tmp_path, heading, "0", "1", legends=("extracranial: 1=yes",))
    assert outside(read) == [None, True] and read.asked[0].codes == ("0",)
    read = column(tmp_path, f"{EXTRA} (1=no)", "0", "1", legends=("extracranial: 0=yes",))
    assert outside(read) == [True, False] and "says otherwise" not in said(read)


@pytest.mark.parametrize(
    "legends", [("sex: 1=male", "sex: 1=female"), ("sex: 1=male, 01=female",)], ids=("two", "one")
)
def test_legends_that_contradict_each_other_are_refused(legends: tuple[str, ...]) -> None:
    with pytest.raises(InputRefused, match=r"two meanings for 0?1"):
        parse_legends(legends)


def test_a_heading_that_contradicts_itself_closes_the_column(tmp_path: Path) -> None:
    read = column(tmp_path, "Sex (1=female, 1=male)", "1")
    assert values(read, "sex") == [None] and "two meanings for 1" in said(read)


@pytest.mark.parametrize(
    ("heading", "cells", "expected"),
    [
        ("Sex", "M H", [None, None]), ("Gender", "M V", [None, None]), ("Sex", "F N", [None, None]),
        ("Sexo", "M M", [None, None]), ("Sexo", "M F", ["male", "female"]),
        ("Sex", "M M", ["male", "male"]), ("Sex", "M F X", ["male", "female", None]),
        ("Geschlecht (m/w/d)", "m w", ["male", "female"]), ("Sex", "M U", ["male", None]),
        (EXTRA, "N O", [None, None]), (EXTRA, "J N", [True, False]), (EXTRA, "N", [False]),
    ],
)  # fmt: skip
def test_a_letter_that_means_two_things_is_asked_for(
    tmp_path: Path, heading: str, cells: str, expected: list[object]
) -> None:
    read = column(tmp_path, heading, *cells.split())
    assert (outside(read) if heading == EXTRA else values(read, "sex")) == expected
    asked = bool(set(expected) == {None})
    assert bool(read.asked) is asked
    assert ("different languages" in said(read)) is asked


def test_codes_with_decimals_are_the_codes_of_the_legend(tmp_path: Path) -> None:
    read = column(tmp_path, "Sex (1=male, 2=female)", "1.0", "02", "2,0", "1")
    assert values(read, "sex") == ["male", "female", "female", "male"]
    assert outside(column(tmp_path, EXTRA, "0.0", "1.0", "")) == [False, True, None]
    assert outside(column(tmp_path, f"{EXTRA} (0=yes, 1=no)", "0.0", "-1")) == [True, None]


def age(tmp_path: Path, heading: str, cell: str = "96") -> tuple[float | None, str]:
    path = tmp_path / "clinical.csv"
    path.write_text(f'case_id;"{heading}";sex\nA;{cell};F\n', encoding="utf-8")
    read = read_clinical(path)
    return read.records["A"].age_years, said(read)


@pytest.mark.parametrize(
    "note",
    [
        "m", "d", "w", "h", "ay", "kk", "月", "z", "rank", "year of birth", "birth year", "yy.mm",
        "at start of smoking", "at death", "mother", ">65", "0=below 65, 1=above", "quartile",
        "5-year bands", "years/10", "per 10 years", "x10", "months / years", "years and months",
        "year of diagnosis", "years before MRI", "mean", "2020", "dog years", "1/years", "log",
    ],
)  # fmt: skip
def test_an_age_with_a_note_that_is_not_understood_is_not_read(tmp_path: Path, note: str) -> None:
    for heading in (f"Age ({note})", f"Age: {note}", f"Age [{note}"):
        years, told = age(tmp_path, heading)
        assert years is None and "was not used: its unit is not understood" in told


@pytest.mark.parametrize(
    "heading",
    ["Age (mths)", "Age (mon)", "Age (in Mon.)", "Alter in Monaten", "Edad (meses)", "Âge, mois",
     "Age (giorni)", "Age (jours)", "Age (semaines)", "Age (měsíce)", "Age (месяцев)"],
)  # fmt: skip
def test_units_in_many_languages(tmp_path: Path, heading: str) -> None:
    per_year = 365.2425 if any(w in heading for w in ("giorni", "jours")) else 12
    per_year = 52.1775 if "semaines" in heading else per_year
    years, told = age(tmp_path, heading)
    assert years == pytest.approx(96 / per_year) and "was read as" in told


@pytest.mark.parametrize(
    "heading",
    ["Age (y)", "Age (yrs.)", "Alter (Jahre)", "Edad (años)", "Età (anni)", "Âge (ans)", "Ａｇｅ",
     "Age (at diagnosis)", "Age (at time of MRI)", "Age (years, at scan)", "Age in years", "年齢",
     "Age (years at MRI)", "Age [patient]", "PatientAge", "Patient's Age", "Age*", "Alter"],
)  # fmt: skip
def test_harmless_notes_and_other_languages_leave_years(tmp_path: Path, heading: str) -> None:
    assert age(tmp_path, heading, "61") == (61, "")


@pytest.mark.parametrize("heading", ["Age²", "ΔAge", "√Age", "Age %", "log Age", "Brain age"])
def test_signs_that_change_what_is_meant_are_not_passed_over(tmp_path: Path, heading: str) -> None:
    years, told = age(tmp_path, heading, "61")
    assert years is None and "was not understood" in told


@pytest.mark.parametrize(
    "note",
    ["0=0, 1=<20, 2=>20", "category", "quartile", "yes/no", ">20", "x10", "log", "z-score",
     "months", "cigarettes/day", "spouse", "1=none,2=1-20,3=more", "years", "last 10 years"],
)  # fmt: skip
def test_pack_years_with_a_note_that_is_not_understood_are_not_read(
    tmp_path: Path, note: str
) -> None:
    read = column(tmp_path, f"Pack years ({note})", "2", "0")
    assert values(read, "pack_years") == [None, None]
    assert "was not used: the note in its heading is not understood" in said(read)
    for fine in ("PY", "total", "at diagnosis"):
        assert values(column(tmp_path, f"Pack years ({fine})", "2"), "pack_years") == [2]


def test_of_two_columns_of_one_field_the_understood_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_text("case_id;Age (at death);Age\nA;70;61\n", encoding="utf-8")
    assert read_clinical(path).records["A"].age_years == 61


def test_a_german_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    path.write_text(
        "Patienten-ID;Alter (Jahre);Geschlecht;Raucherstatus;Extrakranielle Metastasen\n"
        "7;61,5;Frau;Nichtraucher;ja\n8;50;Mann;Ex-Raucher;neg\n",
        encoding="utf-8",
    )
    read = read_clinical(path)
    assert read.findings == () and read.unrecognised == ()
    assert values(read, "sex") == ["female", "male"] and values(read, "age_years") == [61.5, 50]
    assert values(read, "smoking") == ["never", "former"] and outside(read) == [True, False]
