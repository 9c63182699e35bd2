"""The road of files on the Cases page: what was found, what is asked, the outline, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bmcore.domain import Finding, Severity
from bmcore.door import arrival, work
from bmcore.imaging import preprocess
from bmcore.intake import library
from bmcore.settings import settings
from pages.parts import preparing, runs
from tests import dicom_fixture as fixture
from tests import pages_home, road_fixture
from tests.test_pages_add_case import NAMES, packed
from tests.test_pages_app import open_page, words

OWNER = road_fixture.OWNER


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    pages_home.make_bundle(folder)
    return folder


@pytest.fixture
def home(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BMCORE_BUNDLE", str(bundle))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    monkeypatch.setenv("BMCORE_INBOX", str(tmp_path / "inbox"))
    monkeypatch.setattr(st, "switch_page", lambda *_, **__: None)  # a page alone knows no other
    road_fixture.quick(monkeypatch)
    settings.cache_clear()
    st.cache_resource.clear()
    yield tmp_path / "home"
    settings.cache_clear()
    st.cache_resource.clear()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that the models were started on; no picture is made."""
    started: list[str] = []
    monkeypatch.setattr(runs, "submit", started.append)
    monkeypatch.setattr(preparing, "make", lambda *_: None)
    return started


def bring(home: Path, folder: Path) -> AppTest:
    road_fixture.upload(home, OWNER, road_fixture.below(folder))
    return sound(open_page("cases"))


def sound(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def button(page: AppTest, name: str):
    return next(b for b in page.button if name in (b.key, b.label))


def box(page: AppTest, label: str):
    return next(b for b in page.selectbox if b.label == label)


def told(page: AppTest) -> str:
    """What is shown, without the escapes of Markdown."""
    return words(page).replace("\\", "").replace("\u2060", "")


def test_from_a_folder_to_a_case_whose_models_run(home, ran, tmp_path) -> None:
    fixture.four(tmp_path / "DISC")
    page = bring(home, tmp_path / "DISC")
    table = page.dataframe[0].value
    assert list(table["Taken as"]) == ["T1 post-gadolinium", "T1 native", "T2", "FLAIR"]
    assert "after contrast by its name and its contrast tag" in table["Why"][0]
    assert "DISC (48 files)" in told(page) and box(page, "FLAIR").value == "4"
    page = sound(button(page, "align").click().run())
    assert "Are these the images that you meant?" in told(page)
    sound(button(page, "store").click().run())
    (entry,) = library.list_cases(home)
    assert entry.sequences == ("t1n", "t1c", "t2w", "t2f") and ran == [entry.case_id]
    assert arrival.of(home, OWNER) == [] and list(arrival.folder_of(home).iterdir()) == []
    why = [f.what for f in entry.findings if "t1c" in f.what]
    assert why == ["taken as T1 post-gadolinium (t1c)"]


def test_what_is_not_sure_waits_for_a_choice(home, ran, tmp_path) -> None:
    fixture.four(tmp_path / "X")
    again = fixture.slices(fixture.volume(9), "t2w", 7, SeriesDescription="T2 AX 2nd")
    fixture.save(again, tmp_path / "X" / "S17")
    page = bring(home, tmp_path / "X")
    assert box(page, "T2").value is None and button(page, "align").disabled
    assert "Two series fit T2 (t2w) equally well" in told(page)
    assert "Choose a series for T2, or leave it out." in told(page)
    page = sound(box(page, "T2").select("7").run())
    assert not button(page, "align").disabled
    page = sound(box(page, "FLAIR").select("7").run())
    assert "is chosen for T2 and for FLAIR; it can be one" in told(page)
    assert button(page, "align").disabled
    page = sound(box(page, "FLAIR").select("none").run())
    page = sound(button(page, "align").click().run())
    sound(button(page, "store").click().run())
    (entry,) = library.list_cases(home)
    assert entry.sequences == ("t1n", "t1c", "t2w")


def test_a_patient_is_asked_for_where_there_are_several(home, ran, tmp_path) -> None:
    fixture.four(tmp_path / "X" / "a", 1, PatientID="4711")
    fixture.four(tmp_path / "X" / "b", 2, PatientID="0815")
    page = bring(home, tmp_path / "X")
    (choice,) = (r for r in page.radio if r.key == "examination")
    assert choice.value is None and "2 patients, 2 examinations" in choice.label
    assert "patient 4711" in " ".join(choice.options) and not page.dataframe
    page = sound(choice.set_value("2").run())
    names = [b.value for b in page.selectbox if b.label in ("T2", "FLAIR")]
    assert names == ["3", "4"] and page.dataframe


def test_a_broken_sequence_is_named_and_can_be_left_out(home, ran, tmp_path) -> None:
    fixture.four(tmp_path / "X")
    (tmp_path / "X" / "S14" / "0005.dcm").unlink()
    page = bring(home, tmp_path / "X")
    assert "slice missing between slice 4 and 5" in told(page)
    assert box(page, "FLAIR").value is None and button(page, "align").disabled
    page = sound(box(page, "FLAIR").select("none").run())
    assert not button(page, "align").disabled


def test_files_without_an_image_are_refused_by_name_and_removed(home, tmp_path) -> None:
    (tmp_path / "X").mkdir()
    for name in ("letter.txt", "scan.jpg"):
        (tmp_path / "X" / name).write_text("x" * 200)
    page = bring(home, tmp_path / "X")
    assert "These files cannot be used." in told(page)
    assert "X/letter.txt, X/scan.jpg" in told(page)
    sound(button(page, "Choose other files").click().run())
    assert arrival.of(home, OWNER) == []


def test_doubts_stand_beside_the_outline_and_go_along_with_the_case(
    home, ran, tmp_path, monkeypatch
) -> None:
    doubt = Finding(Severity.WARNING, "t2f against t1c is mirrored", "t2f", hint="look at both.")
    monkeypatch.setattr(preprocess, "inspect", lambda case: (doubt,))
    fixture.four(tmp_path / "X")
    page = sound(button(bring(home, tmp_path / "X"), "align").click().run())
    assert 'series 4 "FLAIR AX": t2f against t1c is mirrored' in told(page)
    assert button(page, "store").label == "I have looked at this: add the case"
    sound(button(page, "store").click().run())
    (entry,) = library.list_cases(home)
    assert doubt in entry.findings


def test_what_was_looked_at_is_what_is_stored_and_nothing_is_read_again(
    home, ran, tmp_path, monkeypatch
) -> None:
    """Between the outline and the library the case lies in the arrival's folder; a damaged one is
    made again from the files."""
    from bmcore.door import ready, take

    def again(*_: object) -> None:
        raise AssertionError("the files were read a second time")

    once, stored = take.raw, []
    for number, damaged in enumerate((False, True), start=1):
        monkeypatch.setattr(take, "raw", once)
        fixture.four(tmp_path / str(number), number, PatientID=f"P{number}")
        page = sound(button(bring(home, tmp_path / str(number)), "align").click().run())
        (of,) = arrival.of(home, OWNER)
        if damaged:
            (of.folder / ready.NAME).write_bytes(b"no archive")
        monkeypatch.setattr(take, "raw", once if damaged else again)
        sound(button(page, "store").click().run())
        known = {entry.case_id for entry in stored}  # two may be added in one second
        stored += [e for e in library.list_cases(home) if e.case_id not in known]
    first, second = stored
    for number, entry in ((1, first), (2, second)):
        case = library.load_case(home, entry.case_id)
        for sequence, source in fixture.four(tmp_path / f"same {number}", number).items():
            assert fixture.agrees(case.sequences[sequence], source, 1e-3), sequence
        assert entry.sources["t1c"]["given"].endswith("of 4") and len(entry.findings) == len(
            first.findings
        )
    assert arrival.of(home, OWNER) == [] and list(arrival.folder_of(home).iterdir()) == []


def test_text_that_may_be_burned_in_is_said_beside_the_outline(home, ran, tmp_path) -> None:
    made = fixture.slices(fixture.volume())
    values = fixture.stored(made[3]).astype(int)
    values[:] = 5
    values[4:14, 2:22:2] = 4000
    fixture.set_pixels(made[3], values)
    fixture.save(made, tmp_path / "X")
    page = sound(button(bring(home, tmp_path / "X"), "align").click().run())
    assert "text may be burned into its images" in told(page)
    assert button(page, "store").label == "I have looked at this: add the case"


def test_nifti_takes_the_same_road(home, ran, tmp_path) -> None:
    from tests.pages_fixture import make_case

    case = make_case()
    files = {f"ward/{name}.nii.gz": packed(case.sequences[s]) for s, name in NAMES.items()}
    road_fixture.upload(home, OWNER, {**files, "ward/cut.nii.gz": packed(case.grid)[:300]})
    page = sound(open_page("cases"))
    table = page.dataframe[0].value
    assert "48 × 56 × 40 of 1.0 × 1.0 × 1.0 mm" in list(table["Size"])
    assert "damaged or cut short" in " ".join(table["Why"])
    page = sound(button(page, "align").click().run())
    sound(button(page, "store").click().run())
    (entry,) = library.list_cases(home)
    assert entry.sources["t1c"]["given"] == "file 2 of 5"
    assert "KM" not in (entry.folder / "case.json").read_text()


def test_a_step_that_failed_says_every_reason_and_leads_back(home, tmp_path, monkeypatch) -> None:
    from bmcore.domain import InputRefused
    from bmcore.door import take

    def refused(*_: object) -> None:
        raise InputRefused(*(Finding(Severity.REFUSED, f"fault {n}", f"f{n}") for n in (1, 2)))

    fixture.four(tmp_path / "X")
    page = bring(home, tmp_path / "X")
    monkeypatch.setattr(take, "raw", refused)
    page = sound(button(page, "align").click().run())
    assert "2 reasons" in told(page)
    assert "f1: fault 1." in told(page) and "f2: fault 2." in told(page)
    page = sound(button(page, "Back to the series").click().run())
    assert box(page, "FLAIR").value == "4"


def test_an_interrupted_upload_is_named_and_can_be_removed(home, tmp_path) -> None:
    from bmcore.door import uploads

    half = uploads.begin(home, OWNER, [("big.zip", 2_000_000)], "m", 10**9)
    with uploads.appending(half, 0) as writer:
        writer.write(b"x" * 1_000_000)
    page = sound(open_page("cases"))
    assert "big.zip" in told(page) and "1 MB of 2 MB are here" in told(page)
    assert any(u.key == "uploads" for u in page.file_uploader)
    sound(button(page, f"remove {half.id}").click().run())
    assert arrival.of(home, OWNER) == []


def test_the_inbox_lists_what_lies_in_it_and_leaves_it_there(home, ran, tmp_path) -> None:
    inbox = tmp_path / "inbox"
    page = sound(open_page("cases"))
    assert "The server's inbox cannot be read" in told(page)
    fixture.four(inbox / "patient 10")
    (inbox / "patient 2").mkdir()
    (inbox / "patient 2" / "x").write_text("y")
    (inbox / "notes.txt").write_text("not a patient")
    (inbox / "elsewhere").symlink_to(tmp_path)
    page = sound(open_page("cases"))
    field = box(page, "Or take it from the server's inbox")
    assert list(field.options) == ["patient 2 (folder)", "patient 10 (folder)"]
    field.select("patient 10")
    page = sound(page.run())
    page = sound(button(page, "inbox_take").click().run())
    page = sound(button(page, "align").click().run())
    sound(button(page, "store").click().run())
    assert len(library.list_cases(home)) == 1 and len(list((inbox / "patient 10").iterdir())) == 4


def test_a_reader_may_not_bring_files(home, tmp_path, monkeypatch) -> None:
    from bmcore.review.access import Role, User
    from pages.parts.access import session

    reader = User("Ann", Role.READER)
    monkeypatch.setattr(session, "current", lambda fresh=False: reader)
    page = sound(open_page("cases"))
    assert not page.file_uploader and "Add a case" not in told(page)


def test_a_child_that_died_reads_as_failed(home, tmp_path) -> None:
    of = arrival.begin(home, OWNER, "x", place=tmp_path)
    work.record(of, work.Work(work.ALIGN, "running", "Reading", pid=1))
    assert work.state(of).state == "failed" and "stopped" in work.state(of).refused[0]
    work.record(of, work.Work(work.ALIGN, "queued", submitted_at=work.time.time()))
    assert work.state(of).state == "queued"


def test_a_folder_of_patients_is_previewed_brought_in_and_told_who_failed(
    home, ran, tmp_path, monkeypatch
) -> None:
    """Nothing is stored before it is asked for; one that fails stops no other; again goes on."""
    from bmcore.domain import InputRefused
    from bmcore.door import bulk

    inbox = tmp_path / "inbox"
    fixture.four(inbox / "ward A", 1, PatientID="4711")
    fixture.four(inbox / "ward B", 2, PatientID="0815")
    fixture.four(inbox / "ward C", 3, PatientID="9")
    (inbox / "ward C" / "S32" / "0005.dcm").unlink()
    again = fixture.slices(fixture.volume(9), "t2w", 7, 1, SeriesDescription="T2 AX 2nd")
    for one in again:
        one.PatientID = "4711"
    fixture.save(again, inbox / "ward A" / "S99")
    page = sound(button(sound(open_page("cases")), "inbox_many").click().run())
    table = page.dataframe[0].value
    assert list(table["Folder"]) == ["ward A", "ward B", "ward C"]
    assert list(table["State"]) == ["Not sure", "New", "Cannot be used"]
    assert "slice missing between slice 4 and 5" in table["Noticed"][2]
    assert "4711" in list(table["Patient"]) and library.list_cases(home) == []
    assert button(page, "bring").label == "Bring in 1 examination"
    (unsure,) = (c for c in page.checkbox if c.label.startswith("Also bring in those"))
    page = sound(unsure.check().run())
    assert button(page, "bring").label == "Bring in 2 examinations"
    once = bulk.bring

    def one_fails(home, row, wishes, on_step=None):
        if row.item.name == "ward B":
            raise InputRefused(Finding(Severity.REFUSED, "fault one", "ward B"))
        return once(home, row, wishes, on_step)

    monkeypatch.setattr(bulk, "bring", one_fails)
    page = sound(button(page, "bring").click().run())
    said = told(page)
    assert "1 examination in the library now" in said
    assert "1 examination could not be brought in" in said and "ward B: fault one" in said
    assert len(library.list_cases(home)) == 1
    monkeypatch.setattr(bulk, "bring", once)
    page = sound(button(page, "Back to the preview").click().run())
    (table,) = (t.value for t in page.dataframe if "Folder" in t.value)
    assert list(table["State"]) == ["In the library", "New", "Cannot be used"]
    page = sound(button(page, "bring").click().run())
    assert len(library.list_cases(home)) == 2
    sound(button(page, "close_many").click().run())
    assert arrival.of(home, OWNER) == [] and (inbox / "ward A").is_dir()
