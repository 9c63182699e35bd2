"""Clinical tables: what is understood, what is missing, what is reported."""

import json
import zipfile

import openpyxl
import pytest

from bmcore.domain import ClinicalRecord, InputRefused, Primary, Severity
from bmcore.intake.clinical import read_clinical

A, B = "BraTS-MET-00086-000", "BraTS-MET-00110-000"


def csv(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "clinical.csv"
    path.write_bytes(text.encode(encoding))
    return path


def xlsx(tmp_path, *rows, sheet="Data", other=None):
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    if other:
        book.create_sheet(other, 0)
    path = tmp_path / "clinical.xlsx"
    book.save(path)
    return path


def refusal(path) -> str:
    with pytest.raises(InputRefused) as caught:
        read_clinical(path)
    return str(caught.value)


HEADINGS = ["BraTS_MET_ID", "Primary", "Sex", "Age", "Smoking", "Pack_years",
            "Extranodal_metastases", "Ethnicity", "ET_num", "Death", "Mystery"]  # fmt: skip


def test_the_yale_spreadsheet_is_read_and_blanks_stay_missing(tmp_path):
    path = xlsx(
        tmp_path, HEADINGS, [86, 5, 0, 61.5, 2, 40, 1, 0, 3, 1, "x"],
        [110, 1, 1, None, 0, None, None, None, 1, None, None],
        [115, 7, "NA", 70, 1, 12, 0, None, 1, 0, None],
        other="Codebook",
    )  # fmt: skip
    table = read_clinical(path)
    assert table.records[A] == ClinicalRecord(61.5, "male", "current", 40, True)
    assert table.records[B] == ClinicalRecord(None, "female", "never", None, None)
    assert table.records["BraTS-MET-00115-000"].sex is None
    assert table.primaries[A] is Primary.NSCLC and table.primaries[B] is Primary.BREAST
    assert table.primaries["BraTS-MET-00115-000"] is None
    assert table.unrecognised == ("Mystery",)
    assert table.recognised["Ethnicity"] == "known, not used"
    assert table.recognised["Extranodal_metastases"] == "metastases outside the brain"
    said = [f.sentence for f in table.findings]
    assert any("column 'Mystery' was not understood" in s for s in said)
    assert any("row 4: the primary is none of the six" in s for s in said)
    assert any("0 never, 1 former, 2 current" in s for s in said)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("case_id,age,gender,smoking status\nX-1,63.5,F,Ex-smoker\n", "utf-8"),
        ("\ufeffcase_id;Age (years);Sex;Smoking history\r\nX-1;63,5;female;former\r\n", "utf-8"),
        ("Case\tAge at diagnosis\tSex\tSmoker\nX-1\t63.5 years\tw\tformer smoker\n", "utf-16"),
        ('"Patient ID","AGE","SEX","Tobacco use"\n"X-1","63.5","woman","former"\n\n', "utf-8-sig"),
    ],
)
def test_csv_of_several_kinds_says_the_same(tmp_path, text, encoding):
    table = read_clinical(csv(tmp_path, text, encoding))
    assert dict(table.records) == {"X-1": ClinicalRecord(63.5, "female", "former")}
    assert table.unrecognised == () and table.findings == ()


@pytest.mark.parametrize("blank", ["", " ", "NA", "n/a", "unknown", "-", "NaN", "None", "?"])
def test_every_word_for_nothing_is_missing_and_never_0(tmp_path, blank):
    path = csv(tmp_path, f"age,sex,smoking,pack_years,extranodal\n{','.join([blank] * 4)},1\n")
    (record,) = read_clinical(path).records.values()
    assert record == ClinicalRecord(extracranial_metastases=True)
    assert len(record.missing) == 4


def test_0_is_a_value(tmp_path):
    (record,) = read_clinical(csv(tmp_path, "pack-years,extracranial mets\n0,0\n")).records.values()
    assert record.pack_years == 0 and record.extracranial_metastases is False


def test_a_bad_value_in_a_single_record_is_refused_with_row_and_column(tmp_path):
    said = refusal(csv(tmp_path, "Age,Sex\n230,robot\n"))
    assert "row 2, column 'Age': age in years cannot be read (found 230; expected a number" in said
    assert "row 2, column 'Sex': sex cannot be read (found robot; expected male or female" in said


def test_a_bad_value_in_a_table_becomes_missing_and_is_listed(tmp_path):
    path = csv(tmp_path, "BraTS_MET_ID,Age,Primary\n86,18-38,lung\n110,50,4\n")
    table = read_clinical(path)
    assert table.records[A].age_years is None and table.records[B].age_years == 50
    assert table.primaries == {A: None, B: Primary.MELANOMA}
    warned = [f.sentence for f in table.findings if f.severity is Severity.WARNING]
    assert len(warned) == 2
    assert "row 2, column 'Age': age in years cannot be read; it counts as missing" in warned[0]
    assert "found lung" in warned[1]


def test_a_1_among_0s_does_not_tell_former_from_current_smokers(tmp_path):
    table = read_clinical(csv(tmp_path, "BraTS_MET_ID,smoking\n86,0\n110,1\n"))
    assert table.records[A].smoking == "never" and table.records[B].smoking is None
    assert "1 could not be read" in table.findings[0].what


def test_a_row_without_id_serves_the_only_case(tmp_path):
    table = read_clinical(csv(tmp_path, "age\n50\n"))
    assert table.record_for("anything") == ClinicalRecord(50)
    named = read_clinical(csv(tmp_path, "id,age\n86,50\n"))
    assert named.record_for(A) == ClinicalRecord(50) and named.record_for(B) is None


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("id,age\n86,50\n86,51\n", "twice with different values (found rows 2 and 3"),
        ("foo,bar\n1,2\n", "no column was understood (found foo, bar"),
        ("age\n", "headings but no rows"),
        ("", "the clinical file is empty"),
        ("age,sex\n50,1,9\n", "row 2 has more cells than there are headings"),
        ('age,sex\n"50,1\n', "the CSV file is damaged"),
        ("age\0,sex\n1,1\n", "the clinical file is not text"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, say):
    assert say in refusal(csv(tmp_path, text))


def test_damaged_and_ambiguous_spreadsheets_are_refused(tmp_path):
    assert "no sheet 'Data' (found B, A" in refusal(
        xlsx(tmp_path, ["age"], [5], sheet="A", other="B")
    )
    path = tmp_path / "bad.xlsx"
    path.write_bytes(b"PK\x03\x04 and nothing else")
    assert "the spreadsheet is damaged" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "not a workbook")
    assert "the spreadsheet is damaged" in refusal(path)
    assert "the clinical file is not there" in refusal(tmp_path / "none.csv")


def test_a_small_spreadsheet_that_unpacks_to_a_huge_one_is_refused(tmp_path):
    path = tmp_path / "bomb.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/sheet.xml", "w") as part,
    ):
        for _ in range(201):
            part.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    assert "too large once unpacked" in refusal(path)


def test_two_columns_for_one_thing_are_reported(tmp_path):
    table = read_clinical(
        csv(tmp_path, "BraTS_MET_ID,extranodal,extracranial_metastases\n86,0,1\n")
    )
    assert table.records[A].extracranial_metastases is True
    assert "two columns were taken as metastases outside the brain" in table.findings[0].what


def test_the_result_can_be_stored_as_json(tmp_path):
    table = read_clinical(csv(tmp_path, "id,age,sex\n86,50,1\n"))
    assert json.loads(json.dumps(dict(table.recognised))) == {
        "id": "case", "age": "age in years", "sex": "sex"
    }  # fmt: skip
