"""The form that adds a case asks where names and pictures leave doubts, and shows tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bmcore.domain import Finding, Severity, Volume
from bmcore.imaging import preprocess
from bmcore.intake import library
from pages.parts import preparing
from tests.pages_fixture import make_case
from tests.test_pages_app import home, models, open_page, words  # noqa: F401

Asked = list[Path]
NAMES = {"t1n": "T1_nativ", "t1c": "T1_KM", "t2w": "T2", "t2f": "FLAIR"}


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The homes in which pictures and image blocks were asked for; none is made."""
    asked: Asked = []
    monkeypatch.setattr(preparing, "make", lambda folder, _: asked.append(folder))
    return asked


def packed(volume: Volume) -> bytes:
    return gzip.compress(nib.Nifti1Image(np.asarray(volume.data), volume.affine).to_bytes())


def with_uploads(names: dict[str, str]) -> AppTest:
    case = make_case()
    files = [
        (f"{name}.nii.gz", packed(case.sequences[s]), "application/gzip")
        for s, name in names.items()
    ]
    page = open_page("cases")
    return next(u for u in page.file_uploader if u.key == "uploads").set_value(files).run()


def boxes(page: AppTest) -> dict[str, str | None]:
    """Names of files as they are shown, without the escapes of Markdown, and what was chosen."""
    asked = [b for b in page.selectbox if str(b.key).startswith("sequence")]
    return {b.label.replace("\\", ""): b.value for b in asked}


def press_add(page: AppTest) -> AppTest:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "switch_page", lambda *_, **__: None)  # a page alone knows no other
        return next(b for b in page.button if b.key == "add_case").click().run()


def test_a_doubtful_name_leaves_its_box_unset_and_says_why(home: Path) -> None:  # noqa: F811
    page = with_uploads({"t1c": "T1", "t1n": "T1_sans_gado", "t2w": "T2", "t2f": "T1_POST_GAD_SUB"})
    assert boxes(page) == {
        "T1.nii.gz": None,
        "T1_sans_gado.nii.gz": "t1n",
        "T2.nii.gz": "t2w",
        "T1_POST_GAD_SUB.nii.gz": "leave out",
    }
    assert "its name says T1 and nothing of contrast, beside a native T1" in words(page)
    assert "Its name says T1 and 'sans gado': no contrast." in words(page)
    assert "Choose a sequence for T1.nii.gz" in words(press_add(page))


def test_names_of_two_patients_wait_for_a_tick(home: Path) -> None:  # noqa: F811
    page = with_uploads({s: f"pat{n}_{name}" for n, (s, name) in enumerate(NAMES.items())})
    button = next(b for b in page.button if b.key == "add_case")
    assert button.disabled and "point at a different patient" in words(page)
    page = next(c for c in page.checkbox if c.key == "same_patient").check().run()
    press_add(page)
    (entry,) = library.list_cases(home)
    told = " ".join(f.sentence for f in entry.findings)
    assert "said that they belong together" in told and "pat1" not in told


def test_doubts_of_the_pictures_wait_for_a_tick_and_are_kept(home, monkeypatch):  # noqa: F811
    doubt = Finding(Severity.WARNING, "t2f against t1c is mirrored", "t2f", hint="look at both.")
    monkeypatch.setattr(preprocess, "inspect", lambda case: (doubt,))
    page = press_add(with_uploads(NAMES))
    assert "FLAIR.nii.gz: t2f against t1c is mirrored" in words(page)
    assert library.list_cases(home) == []
    press_add(next(c for c in page.checkbox if c.key == "looked").check().run())
    (entry,) = library.list_cases(home)
    assert doubt in entry.findings


def test_what_was_taken_as_what_and_why_stays_with_the_case(
    home: Path,  # noqa: F811
    prepared: Asked,
) -> None:
    page = with_uploads(NAMES)
    assert prepared == []
    press_add(page)
    assert prepared[:1] == [home]  # its picture and image blocks are made at once
    (entry,) = library.list_cases(home)
    assert entry.sources["t1c"]["why"] == "its name says T1 and 'km', which is after contrast"
    told = [f for f in entry.findings if "taken as T1 post-gadolinium (t1c)" in f.what]
    assert len(told) == 1 and told[0].file == "t1c"
    assert "KM" not in (entry.folder / "case.json").read_text()


def test_a_table_shows_how_each_column_is_read_and_asks_for_codes(home: Path) -> None:  # noqa: F811
    page = with_uploads(NAMES)
    text = b"case_id,age,sex\ncase-0001,61,1\nother,55,2\n"
    box = next(u for u in page.file_uploader if u.key == "clinical_file")
    page = box.set_value([("table.csv", text, "text/csv")][0]).run()
    (preview,) = page.dataframe
    assert list(preview.value["Read as"])[1:] == [
        "years",
        "codes 1, 2: their meaning is not stated; not read",
    ]
    page = next(b for b in page.selectbox if b.key == "code sex 1").select("male").run()
    page = next(b for b in page.selectbox if b.key == "code sex 2").select("female").run()
    assert page.dataframe[0].value["Read as"][2].startswith("by the legend that was given")
    press_add(page)
    (entry,) = library.list_cases(home)
    assert entry.clinical.sex == "male" and entry.clinical.age_years == 61
    assert any(f.what.startswith("sex was read from a table") for f in entry.findings)


def test_a_refusal_names_the_files_as_the_user_does() -> None:
    """Also within a sentence, and no part of a longer name."""
    from bmcore.domain import BmcoreError, refuse
    from pages.parts.access.guard import named

    names = {"t2f.nii.gz": "FLAIR.nii.gz", "t1c.nii.gz": "T1post.nii.gz", "t1c": "T1post.nii.gz"}
    what = "t2f is on a different grid from t1c (t1c.nii.gz), not from old-t1c.nii.gz"
    with pytest.raises(BmcoreError) as told, named(names):
        raise refuse(what, file="t2f.nii.gz", hint="look at t2f.nii.gz.")
    assert told.value.findings[0].sentence == (
        "FLAIR.nii.gz: t2f is on a different grid from t1c (T1post.nii.gz), not from "
        "old-t1c.nii.gz. Try: look at FLAIR.nii.gz."
    )
