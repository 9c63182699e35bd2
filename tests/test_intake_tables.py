"""Clinical tables as clinics keep them: whose row it is, what codes mean, shapes of files."""

from __future__ import annotations

import openpyxl
import pytest

from bmcore.domain import ClinicalRecord, InputRefused, Severity
from bmcore.intake.clinical import read_clinical
from bmcore.intake.clinical_legends import legend_in, parse_legends


def csv(tmp_path, text):
    path = tmp_path / "clinical.csv"
    path.write_text(text, encoding="utf-8")
    return path


def table(tmp_path, text, **more):
    return read_clinical(csv(tmp_path, text), **more)


def said(read) -> str:
    return "\n".join(f"{f.severity}: {f.sentence}" for f in read.findings)


def how(read) -> dict[str, str]:
    return {reading.heading: reading.how for reading in read.readings}


def test_an_id_that_only_looks_alike_is_another_patients(tmp_path):
    read = table(tmp_path, "case_id,age,sex\nMüller_03,61,F\n")
    assert read.record_for("Möller_03") is None and read.record_for("M-ller_03") is None
    assert read.record_for("Müller_03") == ClinicalRecord(61, "female")
    assert read.record_for("Mu\u0308ller_03") == ClinicalRecord(61, "female")  # accent apart


@pytest.mark.parametrize("case_id", ["12", "007", "100101", "張三-1", "Ж7"])
def test_ids_match_as_they_are_written_in_any_script(tmp_path, case_id):
    text = "Patient ID,Age,Sex\n12,61,F\n007,50,M\n100101,44,F\n張三-1,70,F\nЖ7,71,M\n"
    assert table(tmp_path, text).record_for(case_id) is not None


@pytest.mark.parametrize("case_id", ["7", "0012", "BraTS-MET-00013-000", "case 12"])
def test_another_writing_of_a_number_is_no_match(tmp_path, case_id):
    read = table(tmp_path, "Patient ID,Age\n12,61\n007,50\n")
    assert read.record_for(case_id) is None


def test_the_ids_that_could_be_meant_are_named(tmp_path):
    read = table(tmp_path, "Patient ID,Age\n12,61\n007,50\nMüller_03,70\n")
    assert read.like("7") == ("007",) and read.like("muller 03") == ("Müller_03",)


@pytest.mark.parametrize("cells", [("1", "2", "1"), ("1", "1", "1"), ("0", "1", "0")], ids="".join)
def test_codes_of_sex_without_a_legend_are_asked_for_never_guessed(tmp_path, cells):
    rows = "".join(f"P{n},{50 + n},{c}\n" for n, c in enumerate(cells))
    read = table(tmp_path, "case_id,age,sex\n" + rows)
    assert {record.sex for record in read.records.values()} == {None}
    (asked,) = read.asked
    assert (asked.field, asked.codes) == ("sex", tuple(sorted(set(cells))))
    assert "warning: clinical.csv: column 'sex' holds codes whose meaning is not stated" in said(
        read
    )
    answered = table(
        tmp_path,
        "case_id,age,sex\n" + rows,
        legends=parse_legends(["sex: 0=female, 1=male, 2=female"]),
    )
    assert answered.records["P0"].sex == ("female" if cells[0] == "0" else "male")
    assert answered.asked == () and "by the legend that was given" in how(answered)["sex"]


@pytest.mark.parametrize(
    ("heading", "first", "second"),
    [
        ("Extracranial metastases (0=yes, 1=no)", True, False),
        ("Extracranial metastases (0 = no; 1 = yes)", False, True),
        ("Extracranial metastases [yes=0, no=1]", True, False),
        ("Extracranial metastases: 0=yes 1=no", True, False),
    ],
)
def test_the_legend_in_the_heading_is_used(tmp_path, heading, first, second):
    read = table(tmp_path, f'case_id;age;"{heading}"\nP1;61;0\nP2;55;1\n')
    assert read.records["P1"].extracranial_metastases is first
    assert read.records["P2"].extracranial_metastases is second
    assert how(read)[heading].startswith("by the legend in the heading; ")


def test_a_legend_that_is_not_understood_closes_the_column(tmp_path):
    read = table(tmp_path, "case_id;age;Sex (1 = Klingon, 2 = Vulcan)\nP1;61;1\nP2;6;2\n")
    assert read.records["P1"].sex is None
    assert "was not used: the legend in its heading is not understood" in said(read)


def test_pairs_are_found_in_either_order():
    assert legend_in("sex", "1 = male, 2 = female") == {"1": "male", "2": "female"}
    assert legend_in("sex", "male=1; female=2; 9=unknown") == {
        "1": "male", "2": "female", "9": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "cell", "years"),
    [
        ("Age (months)", "96", 8.0),
        ("Age in months", "720", 60.0),
        ("Age_months", "720", 60.0),
        ("Age [years]", "61", 61.0),
        ("Age (months)", "61 years", 61.0),
        ("Age (decades)", "6", None),
    ],
)
def test_the_unit_of_an_age_in_the_heading_counts(tmp_path, heading, cell, years):
    read = table(tmp_path, f"case_id,{heading},sex\nP1,{cell},F\nP2,,M\n")
    assert read.records["P1"].age_years == years
    if years is None:
        assert "was not used: its unit is not understood" in said(read)


@pytest.mark.parametrize(
    ("cell", "years", "words"),
    [
        (">89", 90, "'>89' was read as 90"),
        ("90+", 90, "'90+' was read as 90"),
        ("≥90", 90, "'≥90' was read as 90"),
        ("061Y", 61, None),
        ("018M", 1.5, "was read as 1.5 years"),
        ("999", None, "cannot be read"),
        ("-99", None, "cannot be read"),
        ("n/a", None, None),
        ('"61,5"', 61.5, None),
        ("61 years", 61, None),
        ("0", 0, "the age is below 18"),
        ("17", 17, "the age is below 18"),
        ("720 months", 60, "was read as 60.0 years"),
        ("18-38", None, "cannot be read"),
        (">40", None, "cannot be read"),
    ],
)
def test_ages_as_clinics_write_them(tmp_path, cell, years, words):
    read = table(tmp_path, f"case_id,age\nA,{cell}\nB,60\n")
    assert read.records["A"].age_years == years
    assert (words in said(read)) if words else read.findings == ()


@pytest.mark.parametrize(
    ("cell", "packs"),
    [("1.234", 1.234), ('"1,234"', None), ("20-30", None), (">40", None), ("1 234", None),
     ('"1,5"', 1.5), ("40 py", 40)],
)  # fmt: skip
def test_pack_years_that_can_be_read_two_ways_are_not(tmp_path, cell, packs):
    read = table(tmp_path, f"case_id,age,pack_years\nA,60,{cell}\nB,60,1\n")
    assert read.records["A"].pack_years == packs
    assert (packs is None) == ("pack-years cannot be read" in said(read))


def test_words_with_two_meanings_are_missing_and_noted(tmp_path):
    read = table(
        tmp_path,
        "case_id,age,extracranial metastases,smoking\n"
        "P1,61,None,None\nP2,55,Liver,Never\nP3,60,-,never\nP4,60,yes,never\n",
    )
    assert read.records["P1"].extracranial_metastases is None and read.records["P1"].smoking is None
    for row, word in ((2, "'None' may mean none"), (4, "'-' may mean none")):
        assert f"row {row}, column 'extracranial metastases': {word} or not known" in said(read)
    assert "row 2, column 'smoking': 'None' may mean" in said(read)
    assert "found Liver" in said(read)


def test_plus_and_minus_in_one_column_are_yes_and_no(tmp_path):
    read = table(tmp_path, "case_id,age,extracranial metastases\nA,60,+\nB,61,-\n")
    found = [read.records[c].extracranial_metastases for c in "AB"]
    assert found == [True, False] and "+ as yes, - as no" in said(read)


def test_a_2_forbids_reading_0_and_1_as_no_and_yes(tmp_path):
    read = table(tmp_path, "case_id,age,extracranial metastases\nA,60,1\nB,61,2\n")
    assert {r.extracranial_metastases for r in read.records.values()} == {None}
    assert read.asked[0].codes == ("1", "2")


def test_each_column_says_how_it_was_read(tmp_path):
    read = table(tmp_path, "case_id,Age,Gender,Extranodal\nA,60,m,0\nB,90+,F,1\n")
    assert how(read) == {
        "case_id": "the id of the case, letter by letter",
        "Age": "years",
        "Gender": "'m' as male, 'F' as female",
        "Extranodal": "0 as no, 1 as yes; '0' as no, '1' as yes",
    }
    kept = [f.sentence for f in read.as_findings("A")]
    assert "sex was read from a table: 'm' as male, 'F' as female." in kept


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\ncase_id;age;sex\nP001;61;F\n",
        'sep=,\n"case_id","age","sex"\nP001,61,F\n',
        'case_id;age;sex;"extracranial mets (yes, no, unknown, n/a)"\nP001;61;F;yes\n',
        "case_id\tage, in years\tsex\nP001\t61\tF\n",
    ],
)
def test_separators_are_told_by_the_rows_and_by_excels_line(tmp_path, text):
    read = table(tmp_path, text)
    assert read.record_for("P001").sex == "female"


def book(tmp_path, *rows, merged=None):
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    if merged:
        made.active.merge_cells(merged)
    path = tmp_path / "clinical.xlsx"
    made.save(path)
    return path


@pytest.mark.parametrize("titles", [1, 3])
def test_headings_below_a_merged_title_are_pointed_at(tmp_path, titles):
    rows = [["Demographics"]] * titles + [["case_id", "Age", "Sex"], ["P001", 61, "F"]]
    with pytest.raises(InputRefused) as caught:
        read_clinical(book(tmp_path, *rows, merged="A1:C1"))
    assert f"the headings seem to be in row {titles + 1}" in str(caught.value)


def test_formulas_without_a_stored_result_are_told(tmp_path):
    rows = [["case_id", "Age", "Sex"], ["P001", '=DATEDIF(1,2,"Y")', "F"], ["P002", 61, "M"]]
    read = read_clinical(book(tmp_path, *rows))
    assert read.records["P001"].age_years is None
    (warned,) = [f for f in read.findings if "no stored result" in f.what]
    assert warned.severity is Severity.WARNING and warned.found == "cells B2"


def test_a_wrong_dimension_tag_hides_no_row(tmp_path):
    import zipfile

    path = book(tmp_path, ["case_id", "Age"], *([f"P{n}", 60 + n] for n in range(5)))
    changed = tmp_path / "changed.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for part in old.namelist():
            new.writestr(part, old.read(part).replace(b'ref="A1:B6"', b'ref="A1:A2"'))
    assert len(read_clinical(changed).records) == 5


@pytest.mark.parametrize(
    "text",
    [
        "case_id|age|sex\nP001|61|F\n",
        "sep=;\rcase_id;age;sex\rP001;61;F\r",
        "sep=;;;\r\ncase_id;age;sex\r\nP001;61;F\r\n",
        "sep = ;\ncase_id;age;sex\nP001;61;F\n",
        "participant_id\tage\tsex\nP001\t61\tF\n",
        'MRN;age;sex\n="P001";61;F\n',
        "Patienten-ID;age;sex\nP\u00ad001\u200b;61;F\n",
    ],
)
def test_more_ways_to_part_cells_and_to_head_and_keep_an_id(tmp_path, text):
    assert table(tmp_path, text).record_for("P001").sex == "female"


def test_excels_marks_of_text_are_no_part_of_an_id(tmp_path):
    read = table(tmp_path, 'case_id;age\n="007";61\n\'008;50\n')
    assert read.record_for("007") and read.record_for("008") and not read.record_for("7")
    read = table(tmp_path, "BraTS_MET_ID;age\n86.0;61\n")
    assert read.record_for("BraTS-MET-00086-000").age_years == 61


@pytest.mark.parametrize("heading", ["Fallzahl", "#", "Pseudonyme", "Kennung", ""])
def test_a_row_that_may_name_another_case_goes_to_none(tmp_path, heading):
    read = table(tmp_path, f"{heading};Age;Sex\nX1;61;F\n")
    with pytest.raises(InputRefused, match="a column that is not understood may say it"):
        read.record_for("Y9")
    assert read.record_for("X1").sex == "female"  # the very id of the case


def test_a_row_without_an_id_serves_its_case_beside_measurements(tmp_path):
    read = table(tmp_path, "Age;Sex;Volume;Date;Remark\n61;F;1.5;2020-01-02;none of it\n")
    assert read.record_for("Y9").sex == "female"
    read = table(tmp_path, "Age;Sex;KPS;ECOG;Lesions\n61;F;80;1;12\n")
    assert read.record_for("Y9").sex == "female"
    with pytest.raises(InputRefused, match="'Pat' with 12"):
        table(tmp_path, "Age;Pat\n61;12\n").record_for("Y9")
    with pytest.raises(InputRefused, match="'Extra' with 007"):
        table(tmp_path, "Age;Extra\n61;007\n").record_for("Y9")
    read = table(tmp_path, "case_id;Age\nrow-7;61\n")
    assert read.record_for("Y9") is None and read.record_for("row-7").age_years == 61


def test_values_below_an_empty_heading_are_told(tmp_path):
    read = read_clinical(book(tmp_path, ["case_id", None, "Sex"], ["P1", 61, "F"]))
    assert read.records["P1"].age_years is None
    assert "column 2 has no heading and was not used (found 1 cells, the first '61'" in said(read)


def test_what_the_eye_sees_on_a_sheet_and_its_cells_do_not_say_is_told(tmp_path):
    from openpyxl.cell.rich_text import CellRichText, TextBlock
    from openpyxl.cell.text import InlineFont
    from openpyxl.styles import Font

    made = openpyxl.Workbook()
    sheet = made.active
    struck = CellRichText(TextBlock(InlineFont(strike=True), "2"), "5")
    for row in (["case_id", "Age", "Pack years"], ["A", 61, struck], ["B", None, 3], ["C", 50, 1]):
        sheet.append(row)
    sheet.merge_cells("B2:B3")
    sheet.row_dimensions[4].hidden = True
    sheet.column_dimensions["C"].hidden = True
    sheet["B4"].font = Font(strike=True)
    path = tmp_path / "clinical.xlsx"
    made.save(path)
    read = read_clinical(path)
    assert read.records["A"].pack_years == 5  # not 25
    for words in (
        "1 place is merged of several cells; only the first cell holds the value, the others count "
        "as empty (found B2:B3)",
        "1 row is hidden; read like the others (found row 4)",
        "1 column is hidden; read like the others (found C)",
        "1 cell is struck through; read like the others (found cells B4)",
        "1 cell holds text that is struck through; that text was left out (found cells C2)",
    ):
        assert f"warning: clinical.xlsx: {words}" in said(read)


def sheets(tmp_path, *titles, hidden=()):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title in titles:
        sheet = made.create_sheet(title)
        sheet.append(["case_id", "Age"])
        sheet.append([title, 61])
        sheet.sheet_state = "hidden" if title in hidden else "visible"
    path = tmp_path / "clinical.xlsx"
    made.save(path)
    return path


def test_the_sheet_is_the_one_called_data_or_the_only_one_to_be_seen(tmp_path):
    assert list(read_clinical(sheets(tmp_path, "A", "data")).records) == ["data"]
    read = read_clinical(sheets(tmp_path, "A", "Data", hidden=("Data",)))
    assert list(read.records) == ["A"] and "hidden sheets were not read (found Data)" in said(read)
    with pytest.raises(InputRefused, match="call the sheet with the table 'Data'"):
        read_clinical(sheets(tmp_path, "A", "B"))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("case_id,age\nA,61\n".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfe" + "case_id,age\n".encode("utf-16-le") + b"a", "UTF-16 that is damaged"),
        ("case_id,age\nA,61\n".encode("utf-32"), "UTF-32"),
        (b"$FL2@(#) SPSS DATA FILE" + bytes(50), "an SPSS file"),
        (b"case_id age sex\nA 61 F\n", "part the cells of a row by commas"),
    ],
)
def test_other_files_are_called_by_their_name(tmp_path, raw, words):
    path = tmp_path / "clinical.csv"
    path.write_bytes(raw)
    with pytest.raises(InputRefused) as caught:
        read_clinical(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("part", "words"),
    [("content.xml", "an OpenDocument file"), ("xl/workbook.bin", "a binary Excel file"),
     ("clinical.csv", "unpack it and choose the table in it")],
)  # fmt: skip
def test_other_archives_are_called_by_their_name(tmp_path, part, words):
    import zipfile

    path = tmp_path / "clinical.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(part, "x")
    with pytest.raises(InputRefused) as caught:
        read_clinical(path)
    assert words in str(caught.value)


CLINICAL = ("Height;165", "Weight;62 kg", "KPS;80%", "Stage;T2N0", "LDH;245", "Steroids;yes",
            "Pathology;adeno", "Date of MRI;04/03/2021 10:22", "Lesion no;3", "MRI scan;yes",
            "Year of diagnosis;2019", "Physician;Dr. No",
            "Patient name;Muster", "Hand;rechts")  # fmt: skip
NAMES_SOMEBODY = ("Proband;12", "Dossier;12", "N;12", "Kürzel;AB7", "Lesion ID;77",
                  "Pseudonym key;AB", "Accession;2021-014")  # fmt: skip


@pytest.mark.parametrize("column", CLINICAL)
def test_the_usual_clinical_columns_name_nobody(tmp_path, column):
    heading, value = column.split(";")
    read = table(tmp_path, f"Age;Sex;{heading}\n61;F;{value}\n")
    assert read.record_for("Y9").age_years == 61


def test_common_columns_that_are_not_needed_draw_no_warning(tmp_path):
    read = table(tmp_path, "Age;KPS;Größe;Date of MRI;Systemic metastases\n61;80;165;x;yes\n")
    assert [f.what for f in read.findings if f.severity is Severity.WARNING] == [
        "the column 'Systemic metastases' was not understood and not used"
    ]


@pytest.mark.parametrize("column", NAMES_SOMEBODY)
def test_another_column_may_name_another_patient(tmp_path, column):
    heading, value = column.split(";")
    read = table(tmp_path, f"Age;Sex;{heading}\n61;F;{value}\n")
    if heading == "Proband":  # known as a column of ids
        assert read.record_for("Y9") is None and read.record_for("12").age_years == 61
        return
    with pytest.raises(InputRefused, match="may say it"):
        read.record_for("Y9")


def test_an_age_with_the_letter_of_a_sex_is_not_months(tmp_path):
    with pytest.raises(InputRefused, match="age in years cannot be read"):
        table(tmp_path, "Age;Sex\n61M;F\n")
    assert table(tmp_path, "Age;Sex\n018M;F\n").record_for("Y9").age_years == 1.5


def test_of_two_columns_the_one_that_is_used_is_named(tmp_path):
    read = table(tmp_path, "case_id;Age at diagnosis;Age at MRI\nA;40;60\n")
    assert read.records["A"].age_years == 60
    assert "they differ in 1 of 1 rows; only 'Age at MRI' was used" in said(read)
    read = table(tmp_path, "case_id;Sex;Gender\nA;f;m\nB;f;f\n")
    assert read.records["B"].sex is None and "neither was used" in said(read)


def test_when_a_value_was_taken_may_stand_in_the_heading(tmp_path):
    read = table(
        tmp_path,
        "case_id;Age at first MRI;Extracranial disease at presentation;Smoking (pack-years)\n"
        "A;60;yes;20\n",
    )
    found = read.records["A"]
    assert (found.age_years, found.extracranial_metastases, found.pack_years) == (60, True, 20)


def test_a_primary_that_is_not_known_by_name_leaves_the_other_values(tmp_path):
    read = table(tmp_path, "Age;Primary tumour\n61;prostate\n")
    assert read.record_for("Y9").age_years == 61 and "or other" in said(read)
    rows = "A;Colorectal\nB;Mammakarzinom\nC;Melanom\nD;clear cell RCC\nE;lung adenocarcinoma\n"
    known = table(tmp_path, f"case_id;Age;Primary\n{rows.replace(';', ';50;')}")
    assert list(map(str, known.primaries.values())) == ["gi", "breast", "melanoma", "rcc", "nsclc"]


def test_what_speaks_against_a_table_is_said(tmp_path):
    read = table(tmp_path, "case_id;Smoking;Pack years\nA;never;30\n")
    assert "30 pack-years of somebody who never smoked" in said(read)
    assert "no column of case ids was recognised" in said(table(tmp_path, "Foo;Age\nA;1\nB;2\n"))
