"""Reference primaries and masks that were brought on the page: how they are read, kept, told."""

from __future__ import annotations

import json
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from bmcore.domain import InputRefused, Primary
from bmcore.inference import references
from bmcore.intake.reference_mask import Brought, keep, look
from bmcore.origin import Origin
from bmcore.review import case_changes
from bmcore.review.store import open_store
from bmcore.settings import settings
from tests import people_fixture
from tests.test_pages_app import home, models, press, words

__all__ = ["home", "models"]  # fixtures
CASES = {"A", "B", "C", "D"}
TABLE = "case_id,Primary\nA,melanoma\nB,lung cancer of some kind\nC,breast\nX,breast\n"


def brought_table(home: Path, text: str = TABLE) -> references.Preview:
    path = home / "table.csv"
    path.write_text(text, encoding="utf-8")
    try:
        return references.preview(path, "Truth of May.csv", home, CASES)
    finally:
        path.unlink()


def test_each_row_is_told_what_becomes_of_it(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("case_id,Primary\nC,rcc\n")
    found = brought_table(tmp_path)
    told = {case: (primary, what) for case, primary, what in found.rows}
    assert told["A"] == (Primary.MELANOMA, references.NEW)
    assert told["B"][0] is None and "none of the six" in told["B"][1]
    assert told["C"] == (Primary.BREAST, references.CHANGES)
    assert told["X"][1] == "no case of this id is here"
    assert any(r.heading == "Primary" for r in found.readings)


def test_the_name_of_the_table_is_kept_only_where_the_site_keeps_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BMCORE_KEEP_NAMES", "1")
    settings.cache_clear()
    try:
        references.keep(tmp_path, brought_table(tmp_path), "Prof Iris")
    finally:
        settings.cache_clear()
    one = references.provenance(tmp_path)[0]
    assert (one["file"], one["column"]) == ("Truth of May.csv", "Primary")


def test_many_may_keep_primaries_at_once(tmp_path: Path) -> None:
    tables = [brought_table(tmp_path, f"case_id,Primary\n{c},rcc\n") for c in sorted(CASES)]
    people = [
        threading.Thread(target=references.keep, args=(tmp_path, table, "Prof Iris"))
        for table in tables
    ]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert set(references.truths(tmp_path)) == CASES


@pytest.mark.parametrize("text", ["{", "[]", '{"cases": {"A": {"primary": "liver"}}}', "{}"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / references.STORED).write_text(text)
    with pytest.raises(InputRefused, match=references.STORED):
        references.truths(tmp_path)
    with pytest.raises(InputRefused, match=references.STORED):
        references.provenance(tmp_path)


def test_what_is_kept_wins_and_says_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("case_id,Primary\nC,rcc\n")
    found = brought_table(tmp_path)
    assert references.keep(tmp_path, found, "Prof Iris") == 2
    known = references.truths(tmp_path)
    assert known == {"A": Primary.MELANOMA, "C": Primary.BREAST}
    one = references.provenance(tmp_path)[0]
    assert (one["case"], one["by"], one["sha256"]) == ("A", "Prof Iris", found.digest)
    assert "Truth of May" not in (tmp_path / references.STORED).read_text()
    again = brought_table(tmp_path, TABLE.replace("A,melanoma", "A,rcc"))
    assert references.keep(tmp_path, again, "Max") == 1
    stored = json.loads((tmp_path / references.STORED).read_text())
    assert [(r["case"], r["primary"], r["by"]) for r in stored["replaced"]] == [
        ("A", "melanoma", "Prof Iris")
    ]
    assert (tmp_path / references.STORED).stat().st_mode & 0o077 == 0
    assert references.keep(tmp_path, again, "Max") == 0


def test_a_table_without_primaries_is_refused_with_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no column of this table holds the primary") as refused:
        brought_table(tmp_path, "case_id,Age\nA,50\n")
    assert "Truth of May.csv" in str(refused.value)


def test_the_page_shows_how_it_reads_a_table_before_it_keeps_anything(home: Path, models) -> None:
    from bmcore.review import plan
    from tests import pages_home

    pages_home.add_case(home, home.parent / "files", "A")
    with open_store(people_fixture.url(home)) as store:
        plan.lock(store, people_fixture.make_study(["A"]), "Iris")
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state["manage"] = "Reference"
    page = page.run()
    assert not page.exception and not page.error
    uploader = next(u for u in page.file_uploader if u.label == "Table of primaries")
    page = uploader.upload("May.csv", TABLE.encode(), "text/csv").run()
    assert not page.exception and not page.error, [e.value for e in page.error]
    assert "How the table is read" in words(page)
    assert references.provenance(home) == []
    page = press(page, "Keep the primaries of 1 case")
    assert references.truths(home)["A"] is Primary.MELANOMA
    assert any("Kept the primaries of 1 case" in s.value for s in page.success)


# masks


def mask_file(folder: Path, name: str, labels, affine) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(labels, np.uint8), affine), path)
    return path


def zipped(path: Path, **files: Path) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, file in files.items():
            packed.write(file, name)
    return path


@pytest.fixture
def drawn(home: Path):
    """Case A, and a mask of it with a lesion of all three tissues, off the middle."""
    from tests import pages_home

    case = pages_home.add_case(home, home.parent / "files", "A")
    labels = np.zeros(case.grid.shape, np.uint8)
    labels[3:9, 4:10, 5:11], labels[4:8, 5:9, 6:10], labels[5:7, 6:8, 7:9] = 2, 3, 1
    return case, labels


def test_a_mask_is_read_as_the_reference_and_what_it_replaces_stays(home: Path, drawn) -> None:
    from bmcore.analysis.collect import reference_mask as used
    from bmcore.intake import library

    case, labels = drawn
    affine, work = case.grid.affine, home.parent / "brought"
    images = library.get_entry(home, "A").images_sha256
    turned = nib.as_closest_canonical(nib.Nifti1Image(labels, affine))
    flipped = nib.Nifti1Image(
        np.asarray(turned.dataobj)[::-1], turned.affine @ np.diag([-1, 1, 1, 1])
        + np.array([[0, 0, 0, turned.affine[0, 0] * (labels.shape[0] - 1)]] + [[0] * 4] * 3),
    )  # fmt: skip
    path = work / "A-seg.nii.gz"
    work.mkdir(parents=True, exist_ok=True)
    nib.save(flipped, path)
    brought = Brought(path, "A-seg.nii.gz")
    (found,) = look(brought, home, {"A"})
    assert (found.case_id, found.what) == ("A", "new")
    assert any("voxel order was turned" in n.what for n in found.notes)
    assert keep(brought, home, (found,), "Prof Iris") == 1
    assert np.array_equal(np.asarray(used(home, "A").data), labels)  # as the analysis takes it
    entry = library.get_entry(home, "A")
    assert entry.images_sha256 == images  # votes rest on the images alone
    assert (entry.reference["by"], entry.reference["sha256"]) == ("Prof Iris", found.digest)
    assert "name" not in entry.reference and "Iris" in library.load_case(home, "A").truth.provenance
    assert [f.what for f in look(brought, home, {"A"})] == ["as before"]
    labels[labels == 1] = 3
    brought = Brought(mask_file(work, "other.nii.gz", labels, affine), "other.nii.gz", case_id="A")
    (found,) = look(brought, home, {"A"})
    assert found.what == "replaces" and keep(brought, home, (found,), "Max") == 1
    entry = library.get_entry(home, "A")
    assert [r["by"] for r in entry.reference["replaced"]] == ["Prof Iris"]
    assert len(list(entry.folder.glob("A-seg-*.nii.gz"))) == 2
    assert not (np.asarray(used(home, "A").data) == 1).any()
    again = library.add_case(home, {s: p for s, p in entry.files.items() if s != "seg"}, "A")
    assert again.reference["by"] == "Max"  # the same images brought again change nothing
    assert library.without_names(entry, home.parent / "package").reference == {}
    references.keep(home, brought_table(home, "case_id,Primary\nA,rcc\n"), "Max")
    with open_store(people_fixture.url(home)) as store:  # all of it follows to another name
        case_changes.rename(store, home, case_changes.Wish("A", "Max", "a better name"), "B")
    assert np.array_equal(np.asarray(used(home, "B").data), labels)
    assert references.truths(home) == {"B": Primary.RCC}
    assert len(list((home / "cases" / "B").glob("B-seg-*.nii.gz"))) == 2


def test_masks_that_do_not_fit_are_told_each_with_its_reason(home: Path, drawn) -> None:
    case, labels = drawn
    affine, work = case.grid.affine, home.parent / "brought"
    moved = affine.copy()
    moved[:3, 3] += 7.0
    old = np.where(labels == 3, 4, labels)
    packed = zipped(
        work.parent / "all.zip",
        **{
            "A/mask.nii.gz": mask_file(work, "moved.nii.gz", labels, moved),
            "nobody/mask.nii.gz": mask_file(work, "nobody.nii.gz", labels, affine),
        },
    )
    found = {f.file: f for f in look(Brought(packed, "all.zip"), home, {"A"})}
    assert found["A/mask.nii.gz"].case_id == "A"
    assert "different grid" in found["A/mask.nii.gz"].what
    assert found["nobody/mask.nii.gz"].what == "no case of this name is here"
    assert keep(Brought(packed, "all.zip"), home, tuple(found.values()), "x") == 0
    file = mask_file(work, "A.nii.gz", old, affine)
    (found,) = look(Brought(file, "A.nii.gz"), home, {"A"})
    assert "label 4" in found.what and "What the labels mean" in found.what
    (found,) = look(Brought(file, "A.nii.gz", "older"), home, {"A"})
    assert found.what == "new" and found.ml[3] == pytest.approx((labels == 3).sum() / 1000, rel=0.5)
    file = mask_file(work, "A.nii.gz", labels * 60, affine)
    assert "not labels" in look(Brought(file, "A.nii.gz"), home, {"A"})[0].what
    (work / "no.zip").write_bytes(b"PK not a zip")
    with pytest.raises(InputRefused, match="cannot be read"):
        look(Brought(work / "no.zip", "no.zip"), home, {"A"})


def test_a_mask_on_the_grid_that_t1_came_on_is_brought_onto_the_case(home: Path, drawn) -> None:
    """The case of a raw head lies on another grid than T1 Gd as it came: here half as many slices,
    twice as thick."""
    from bmcore.intake import library

    case, _ = drawn
    i, j, k = case.grid.shape
    came = case.grid.affine @ np.diag([1.0, 1.0, 2.0, 1.0])
    came[:3, 3] += case.grid.affine[:3, 2] / 2  # the middle of two slices
    origin = Origin((i, j, k // 2), came)
    library.add_volumes(home, replace(case, origin=origin), case_id="Raw")
    thick = np.zeros((i, j, k // 2), np.uint8)
    thick[4:9, 5:10, 3:6] = 3
    file = mask_file(home.parent / "brought", "Raw.nii.gz", thick, came)
    brought = Brought(file, "Raw.nii.gz")
    (found,) = look(brought, home, {"Raw"})
    assert found.what == "new" and any("grid that T1 Gd came on" in n.what for n in found.notes)
    keep(brought, home, (found,), "Iris")
    placed = np.asarray(library.load_case(home, "Raw").truth.mask.data)
    assert np.array_equal(placed, np.repeat(thick, 2, axis=2))
    assert found.ml[3] == pytest.approx(5 * 5 * 6 / 1000)


def test_the_page_shows_a_mask_on_the_images_before_it_keeps_it(home: Path, models, drawn) -> None:
    from bmcore.analysis.collect import reference_mask as used
    from bmcore.review import plan

    case, labels = drawn
    with open_store(people_fixture.url(home)) as store:
        plan.lock(store, people_fixture.make_study(["A"]), "Iris")
    page = AppTest.from_file("../pages/study_manage.py", default_timeout=60)
    page.session_state["manage"] = "Reference"
    page = page.run()
    file = mask_file(home.parent / "brought", "A-seg.nii.gz", labels, case.grid.affine)
    uploader = next(u for u in page.file_uploader if u.label == "Mask, or zip of masks")
    page = uploader.upload("A-seg.nii.gz", file.read_bytes(), "application/gzip").run()
    assert not page.exception and not page.error, [e.value for e in page.error]
    assert len(page.get("image")) == 2 and used(home, "A") is None
    page = press(page, "Keep 1 mask")
    assert any("Kept 1 reference mask" in s.value for s in page.success)
    assert np.array_equal(np.asarray(used(home, "A").data), labels)
