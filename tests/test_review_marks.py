"""A reader's marks and corrected masks: every change stays, and what is wrong is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import sqlalchemy as sa

from bmcore.domain import BmcoreError, InputRefused, Volume
from bmcore.geometry import to_ras
from bmcore.review import corrections, marks, marks_table, old_drafts, schema, vote_drafts
from bmcore.review.corrections import Canvas
from bmcore.review.marks import Scene
from bmcore.review.owner import Owner
from bmcore.review.store import Store, open_store
from bmcore.review.verify import verify
from tests.volumes_fixture import affine, turned

POINT = [1.0, -2.0, 3.5]
UNAIDED, AIDED = Scene("unaided"), Scene("aided", (1, 2), "12345678")
ANN = Owner("Case-1", "Ann")


@pytest.fixture
def store(tmp_path: Path):
    with open_store(f"sqlite:///{tmp_path / 'bmcore.sqlite'}") as opened:
        yield opened
    assert verify(f"sqlite:///{tmp_path / 'bmcore.sqlite'}").problems == ()


def raw(kind: str = "missed", **more) -> dict:
    points = [POINT, [4.0, 2.0, 3.5]] if kind == "length" else [POINT]
    return {"kind": kind, "points": points, "lesion": None, "plane": None} | more


def change(mark: str, action: str = "set", after: int = 0, content: dict | None = None) -> dict:
    found = {"key": f"{mark}/{after}", "mark": mark, "action": action, "after": after}
    return found | ({"content": content or raw()} if action == "set" else {})


def send(store: Store, *changes: dict, scene: Scene = UNAIDED, owner: Owner = ANN) -> dict:
    return marks.record(store, owner, list(changes), scene)


def names(store: Store, **how) -> list[str]:
    return [mark.id for mark in marks.load(store, ANN, **how)]


def rows(store: Store, table: sa.Table) -> list[tuple]:
    query = sa.select(table.c.version, table.c.action).order_by(table.c.id)
    return [tuple(row) for row in store.read(lambda c: list(c.execute(query)))]


# ---- marks -----------------------------------------------------------------------------------


def test_marks_are_kept_for_each_reader_and_case_apart(store: Store) -> None:
    send(store, change("a"), change("b", content=raw("length", plane="axial")))
    kept = marks.load(store, Owner("Case-1", " ann "))
    assert [m.id for m in kept] == ["a", "b"] and kept[1].length_mm == 5.0
    assert marks.as_values(kept)[0] == {"id": "a", "version": 1} | raw()
    assert marks.load(store, Owner("Case-1", "Bo")) == ()
    assert marks.load(store, Owner("Case-2", "Ann")) == ()


def test_a_mark_that_a_later_message_does_not_name_stays(store: Store) -> None:
    send(store, change("a"), change("b"))
    send(store, change("c"))
    assert names(store) == ["a", "b", "c"]


def test_a_removal_is_a_row_of_its_own_and_can_be_taken_back(store: Store) -> None:
    send(store, change("a"), change("b"))
    send(store, change("a", "removed", 1))
    assert names(store) == ["b"]
    kept = store.read(lambda c: marks.in_force(c, ANN))
    assert [(m.id, m.version) for m in kept.removed] == [("a", 2)] and kept.saved_at is not None
    send(store, change("a", "restored", 2))
    assert names(store) == ["a", "b"]
    assert rows(store, schema.marks) == [(1, "set"), (1, "set"), (2, "removed"), (3, "restored")]


def test_what_is_sent_twice_is_stored_once_and_brings_nothing_back(store: Store) -> None:
    """A window that did not hear of the removal sends its mark once more."""
    for _ in range(2):
        assert send(store, change("a")) == {}
    send(store, change("a", "removed", 1))
    assert send(store, change("a"), change("a", "removed", 1)) == {}
    assert names(store) == [] and len(rows(store, schema.marks)) == 2


def test_two_windows_remove_a_mark_and_one_brings_it_back(store: Store) -> None:
    send(store, change("a"), change("a", "removed", 1), change("a", "restored", 2))
    send(store, change("a", "removed", 1))  # the other window had seen version 1 only
    assert names(store) == ["a"]


def test_marks_of_the_unaided_reading_stay_in_it_whatever_is_done_with_the_models(
    store: Store,
) -> None:
    send(store, change("a"), change("b"))
    send(store, change("a", "removed", 1), change("c"), scene=AIDED)
    assert names(store) == ["b", "c"]
    assert names(store, phase="unaided") == ["a", "b"]
    assert [m.phase for m in marks.load(store, ANN)] == ["unaided", "aided"]


def test_a_verdict_keeps_the_segmentation_that_it_was_given_on(store: Store) -> None:
    send(store, change("v", content=raw("accept", lesion=1)), scene=AIDED)
    (mark,) = marks.load(store, ANN)
    assert (mark.phase, mark.basis, mark.lesion) == ("aided", "12345678", 1)


@pytest.mark.parametrize(
    "content",
    [
        raw("arrow"),
        raw("length", points=[POINT]),
        raw(points=[[1.0, float("nan"), 2.0]]),
        raw(points=[[1e9, 0, 0]]),
        raw(points=[[1, 2]]),
        raw("accept", lesion=7),
        raw("accept", lesion=True),
        raw("reject", lesion=None),
        raw(plane="oblique"),
        "text",
        {"kind": "missed"},
    ],
)
def test_a_mark_that_means_nothing_is_refused_and_the_others_are_stored(
    store: Store, content: object
) -> None:
    bad = {**change("bad"), "content": content}
    refused = send(store, change("a"), bad, change("b"), scene=AIDED)
    assert list(refused) == ["bad/0"] and names(store) == ["a", "b"]


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "text",
        {},
        change("x" * 41),
        change("a", "forgotten"),
        change("a", after=-1),
        change("a", after=True),
        change("a", "removed", 7),
        change("a", "restored", 0),
    ],
)
def test_a_change_that_means_nothing_is_refused(store: Store, bad: object) -> None:
    assert len(marks.record(store, ANN, [bad], UNAIDED)) == 1
    assert names(store) == []


@pytest.mark.parametrize(
    ("kind", "points", "measures"),
    [
        ("length", [[0, 0, 0], [3, 4, 0]], ((5.0, "mm"),)),
        ("diameters", [[0, 0, 0], [9, 0, 0], [4, -2, 0], [4, 4, 0]], ((9.0, "mm"), (6.0, "mm"))),
        ("angle", [[2, 0, 0], [0, 0, 0], [1, 1, 0]], ((45.0, "degrees"),)),
        ("area", [[0, 0, 0], [4, 0, 0], [4, 0, 3], [0, 0, 3]], ((12.0, "mm2"),)),
        ("missed", [[1, 2, 3]], ()),
    ],
)
def test_each_kind_of_measurement_is_stored_with_what_it_measures(
    store: Store, kind: str, points: list, measures: tuple
) -> None:
    content = {"kind": kind, "points": points, "lesion": None, "plane": "axial"}
    assert send(store, change("a", content=content)) == {}
    (mark,) = marks.load(store, ANN)
    assert mark.kind == kind
    assert [unit for _, unit in mark.measures] == [unit for _, unit in measures]
    assert [v for v, _ in mark.measures] == pytest.approx([v for v, _ in measures])
    for wrong in (points[: marks.POINTS[kind][0] - 1], [*points, *([[9, 9, 9]] * 200)]):
        assert send(store, change("b", content={**content, "points": wrong}))


def test_the_table_of_marks_has_a_row_a_mark_and_no_cell_that_a_spreadsheet_runs(
    store: Store,
) -> None:
    two = raw("diameters", plane="axial", points=[[-1, 0, 0], [9, 0, 0], [4, -2, 0], [4, 4, 0]])
    send(store, change("a", content=two), change("b"))
    table = marks_table.marks_csv("Case-1", "=Ann()", marks.load(store, ANN))
    first, second = csv.DictReader(io.StringIO(table))
    assert (first["value"], first["unit"], first["second_value"]) == ("10.0", "mm", "6.0")
    assert first["points_ras_mm"].startswith("(-1.00 0.00 0.00) (9.00")
    assert first["reader"] == "'=Ann()"
    assert (second["kind"], second["value"], second["made"]) == ("missed", "", "unaided")


def test_too_many_marks_are_refused(store: Store) -> None:
    for text in ([change("a")] * 501, [], {}, "marks"):
        with pytest.raises(InputRefused, match="1 to 500"):
            marks.record(store, ANN, text, UNAIDED)
    send(store, *[change(f"m{n}") for n in range(500)])
    refused = send(store, change("one more"))
    assert "500 marks" in refused["one more/0"] and len(names(store)) == 500


def test_a_digest_names_the_marks_in_force_and_none_where_there_are_none(store: Store) -> None:
    def digest() -> str | None:
        return store.read(lambda c: marks.digests(c, "Case-1", "Ann"))[0]

    assert store.read(lambda c: marks.digests(c, "Case-1", "Ann")) == (None, None)
    send(store, change("a"))
    first = digest()
    send(store, change("b"))
    assert first is not None and digest() not in (None, first)
    send(store, change("b", "removed", 1))
    assert digest() == first
    send(store, change("a", "removed", 1))
    assert digest() is None


# ---- corrections -----------------------------------------------------------------------------


def stroke(name: str, *runs: int) -> dict:
    return {"id": name, "runs": list(runs)}


def canvas(home: Path, like: Volume | None = None) -> Canvas:
    like = like or Volume(np.zeros((4, 5, 6), np.uint8), affine())
    return Canvas(home, like, corrections.content_id(like))


def brush(store: Store, at: Canvas, *strokes: dict) -> None:
    read = corrections.read_strokes(list(strokes), int(np.prod(at.like.shape)))
    corrections.save(store, ANN, read, at)


def shown(store: Store, at: Canvas) -> np.ndarray | None:
    now = store.read(lambda c: corrections.state(c, ANN))
    if now is None or now.sha256 is None:
        return None
    return np.asarray(corrections.load(at.home, now.sha256, at.like).data)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_a_stroke_lies_where_it_was_painted(store: Store, tmp_path: Path, codes: str) -> None:
    """Painted in RAS voxel order, i fastest; stored on the grid of the file, whatever its order."""
    empty = Volume(np.zeros((4, 5, 6), np.uint8), affine((1, 1, 5), (-3, 2, 1)))
    at = canvas(tmp_path, turned(empty, codes))
    brush(store, at, stroke("s1", 1 + 4 * (2 + 5 * 3), 2, 3))
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 2, 3] = 3
    found = shown(store, at)
    assert found is not None and np.array_equal(to_ras(found, at.like.affine)[0], labels)


def test_every_stroke_is_a_version_and_its_file_stays(store: Store, tmp_path: Path) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    brush(store, at, stroke("s2", 1, 1, 0), stroke("s3", 10, 2, 1))
    flat = shown(store, at).ravel(order="F")
    assert flat[:3].tolist() == [3, 0, 3] and flat[10:12].tolist() == [1, 1]
    files = list((tmp_path / "marks").rglob("*.nii.gz"))
    assert len(files) == 2
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name.split(".")[0]
    assert rows(store, schema.mask_versions) == [(1, "saved"), (2, "saved")]


def test_a_stroke_that_comes_twice_is_painted_once(store: Store, tmp_path: Path) -> None:
    """Sent again from a window that did not hear that it was stored, and undone since."""
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    brush(store, at, stroke("undo of s1", 0, 3, 0), stroke("s2", 9, 1, 2))
    brush(store, at, stroke("s1", 0, 3, 3))
    assert shown(store, at).ravel(order="F")[:3].tolist() == [0, 0, 0]


def test_two_windows_paint_on_the_same_case_and_both_strokes_stay(
    store: Store, tmp_path: Path
) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("window 1", 0, 3, 3))
    brush(store, at, stroke("window 2", 20, 3, 1))  # it had not seen the other stroke
    assert np.bincount(shown(store, at).ravel(), minlength=4).tolist()[1:] == [3, 0, 3]


def test_the_last_stroke_taken_back_leaves_the_models_segmentation(
    store: Store, tmp_path: Path
) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    brush(store, at, stroke("undo", 0, 3, 0))
    assert shown(store, at) is None
    assert store.read(lambda c: marks.digests(c, "Case-1", "Ann")) == (None, None)


def test_back_to_the_models_and_the_correction_brought_back(store: Store, tmp_path: Path) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    before = store.read(lambda c: marks.digests(c, "Case-1", "Ann"))[1]
    corrections.drop(store, ANN, at.basis)
    corrections.drop(store, ANN, at.basis)  # a second click
    assert shown(store, at) is None
    corrections.restore(store, ANN, at.basis)
    assert store.read(lambda c: marks.digests(c, "Case-1", "Ann"))[1] == before is not None
    assert rows(store, schema.mask_versions) == [(1, "saved"), (2, "dropped"), (3, "restored")]


def test_a_correction_of_an_earlier_segmentation_is_not_painted_on(
    store: Store, tmp_path: Path
) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    again = Volume(np.ones((4, 5, 6), np.uint8), affine())
    new = canvas(tmp_path, again)
    now = store.read(lambda c: corrections.state(c, ANN))
    assert now.fits(at.basis) and not now.fits(new.basis)
    brush(store, new, stroke("s2", 9, 1, 2))
    flat = shown(store, new).ravel(order="F")
    assert flat[:3].tolist() == [1, 1, 1] and flat[9] == 2


def checked(home: Path) -> tuple[str, ...]:
    """What ``verify`` finds of the files of ``home``."""
    return verify(f"sqlite:///{home / 'bmcore.sqlite'}", home=home).problems


def test_a_changed_or_missing_file_is_refused_and_named(store: Store, tmp_path: Path) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    assert checked(tmp_path) == ()
    (path,) = (tmp_path / "marks").rglob("*.nii.gz")
    good = path.read_bytes()
    other = Volume(np.full((4, 5, 6), 2, np.uint8), affine())
    path.write_bytes(corrections.as_file(other))
    with pytest.raises(InputRefused, match="was changed after it was stored"):
        shown(store, at)
    with pytest.raises(InputRefused, match="was changed"):
        brush(store, at, stroke("s2", 9, 1, 2))
    (words,) = checked(tmp_path)
    assert path.name in words and "was changed" in words
    path.unlink()
    (words,) = checked(tmp_path)
    assert "is missing" in words
    path.write_bytes(good)
    assert checked(tmp_path) == ()


def test_a_mask_of_another_grid_is_refused(store: Store, tmp_path: Path) -> None:
    at = canvas(tmp_path)
    brush(store, at, stroke("s1", 0, 3, 3))
    now = store.read(lambda c: corrections.state(c, ANN))
    other = Volume(np.zeros((4, 5, 6), np.uint8), affine((2, 1, 1)))
    with pytest.raises(InputRefused, match="different grid"):
        corrections.load(tmp_path, now.sha256, other)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        [{}],
        ["text"],
        [stroke("")],
        [stroke("x" * 41, 0, 1, 3)],
        [stroke("s")],
        [stroke("s", 0, 1)],
        [stroke("s", 0, 9, 3)],
        [stroke("s", 7, 2, 3)],
        [stroke("s", 0, 0, 3)],
        [stroke("s", 0, 1, 4)],
        [stroke("s", -1, 1, 3)],
        [{"id": "s", "runs": [0, 1.0, 3]}],
        [{"id": "s", "runs": [0, True, 3]}],
        [{"id": "s", "runs": "031"}],
    ],
)
def test_a_stroke_that_does_not_fit_is_refused(bad: object) -> None:
    with pytest.raises(InputRefused, match="brush stroke"):
        corrections.read_strokes(bad, 8)


# ---- drafts of earlier versions --------------------------------------------------------------


def old_files(home: Path, mask: bool = True) -> Path:
    folder = old_drafts.folder_of(home, ANN)
    folder.mkdir(parents=True)
    mark = {"id": "old", "points_mm": [POINT], "phase": "unaided"} | raw()
    del mark["points"]
    text = json.dumps({"format": 1, "reader": "Ann", "case": "Case-1", "marks": [mark]})
    (folder / "marks.json").write_text(text, encoding="utf-8")
    if mask:
        labels = np.zeros((4, 5, 6), np.uint8)
        labels[0, 0, 0] = 3
        nib.save(nib.Nifti1Image(labels, affine()), folder / "mask.nii.gz")
    return folder


def test_drafts_of_an_earlier_version_come_in_once_and_their_files_stay(
    store: Store, tmp_path: Path
) -> None:
    folder = old_files(tmp_path)
    for _ in range(2):
        old_drafts.adopt(store, tmp_path, ANN)
    assert names(store) == ["old"] and shown(store, canvas(tmp_path))[0, 0, 0] == 3
    assert len(rows(store, schema.marks)) == len(rows(store, schema.mask_versions)) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["marks.json", "mask.nii.gz"]
    send(store, change("old", "removed", 1))
    old_drafts.adopt(store, tmp_path, ANN)
    assert names(store) == []  # taken away since: it does not come back


def test_a_damaged_draft_is_said_and_the_rest_comes_in(store: Store, tmp_path: Path) -> None:
    folder = old_files(tmp_path)
    (folder / "marks.json").write_text("{", encoding="utf-8")
    with pytest.raises(BmcoreError, match="damaged"):
        old_drafts.adopt(store, tmp_path, ANN)
    assert names(store) == [] and shown(store, canvas(tmp_path)) is not None


# ---- the vote form ---------------------------------------------------------------------------


def test_a_half_filled_form_is_kept_until_it_is_removed(store: Store) -> None:
    slot = vote_drafts.Slot("Case-1", "ann", "unaided")
    vote_drafts.save(store, slot, {"primary": "gi", "confidence": None, "comment": ""})
    vote_drafts.save(store, slot, {"primary": "rcc", "confidence": 0, "comment": ""})
    assert vote_drafts.load(store, slot) == {"primary": "rcc", "confidence": 0}
    assert vote_drafts.load(store, vote_drafts.Slot("Case-1", "bo", "unaided")) == {}
    assert vote_drafts.load(store, vote_drafts.Slot("Case-1", "ann", "aided")) == {}
    vote_drafts.remove(store, slot)
    assert vote_drafts.load(store, slot) == {}
