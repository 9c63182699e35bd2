"""A reader's marks and corrected masks on disk: what goes in comes out, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmcore.domain import InputRefused, Volume
from bmcore.geometry import to_ras
from bmcore.reading import drafts
from tests.volumes_fixture import affine, turned

POINT = [1.0, -2.0, 3.5]


def raw(kind: str = "missed", **more) -> dict:
    points = [POINT, [4.0, 2.0, 3.5]] if kind == "length" else [POINT]
    return {"id": "m1", "kind": kind, "points": points, "lesion": None, "plane": None} | more


def runs_of(labels: np.ndarray) -> list[int]:
    """Run-length code as the browser writes it: i fastest."""
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=flat[0] + 1))
    counts = np.diff(starts, append=flat.size)
    return np.stack([flat[starts], counts], 1).ravel().tolist()


def test_marks_are_kept_for_each_reader_apart(tmp_path: Path) -> None:
    marks = drafts.read_marks([raw(), raw("length", id="m2", plane="axial")], [], "unaided", None)
    drafts.save_marks(tmp_path, "Case-1", "Dr A/../B", marks)
    assert drafts.load_marks(tmp_path, "Case-1", "dr a/../b ") == tuple(marks)
    assert drafts.load_marks(tmp_path, "Case-1", "Dr C") == ()
    assert marks[1].length_mm == 5.0 and marks[0].length_mm is None
    assert [p.name for p in tmp_path.iterdir()] == ["drafts"]  # the name led nowhere else
    assert drafts.as_values(marks)[0] == raw()


def test_a_mark_keeps_the_phase_in_which_it_was_made(tmp_path: Path) -> None:
    """Sent again with the models shown, a mark made without them stays unaided."""
    drafts.save_marks(tmp_path, "C", "A", drafts.read_marks([raw()], [], "unaided", None))
    later = drafts.read_marks(
        [raw(), raw("accept", id="m2", lesion=1)], [1, 2], "aided", "12345678"
    )
    kept = drafts.save_marks(tmp_path, "C", "A", later)
    assert [(m.phase, m.basis) for m in kept] == [("unaided", None), ("aided", "12345678")]


@pytest.mark.parametrize(
    "mark",
    [
        raw("arrow"),
        raw("length", points=[POINT]),
        raw(points=[[1.0, float("nan"), 2.0]]),
        raw(points=[[1e9, 0, 0]]),
        raw(points=[[1, 2]]),
        raw("accept", lesion=7),
        raw("reject", lesion=None),
        raw(plane="oblique"),
        raw(id="x" * 99),
        "text",
        {},
    ],
)
def test_a_mark_that_means_nothing_is_refused(mark: object) -> None:
    with pytest.raises(InputRefused):
        drafts.read_marks([mark], [1, 2], "aided", None)


def test_too_many_marks_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="at most 500"):
        drafts.read_marks([raw()] * 501, [], "unaided", None)
    drafts.save_marks(tmp_path, "C", "A", [])
    (path,) = tmp_path.rglob("marks.json")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputRefused, match="damaged"):
        drafts.load_marks(tmp_path, "C", "A")


@given(st.integers(0, 2**32 - 1))
def test_run_length_code_comes_back_voxel_for_voxel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 0, 0, 1, 2, 3], rng.integers(1, 6, 3)).astype(np.uint8)
    assert np.array_equal(drafts.decode_runs(runs_of(labels), labels.shape), labels)


@pytest.mark.parametrize(
    "runs",
    [[], [0], [0, 7], [0, 9], [4, 8], [0, 4, 3, -4, 0, 8], [0, 8.0], [True, 8], ["0", 8], None],
)
def test_run_length_code_that_does_not_fit_is_refused(runs: object) -> None:
    with pytest.raises(InputRefused, match="corrected segmentation"):
        drafts.decode_runs(runs, (2, 2, 2))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_a_corrected_mask_lies_where_it_was_painted(tmp_path: Path, codes: str) -> None:
    """Painted in RAS voxel order; stored on the grid of the file, whatever its order."""
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 3] = 3
    labels[0, 4, 5] = 1
    straight = Volume(labels, affine((1, 1, 5), (-3, 2, 1)))
    like = turned(Volume(np.zeros_like(labels), straight.affine), codes)
    saved = drafts.save_mask(tmp_path, "C", "A", labels, like)
    assert np.array_equal(saved.data, turned(straight, codes).data)
    back = drafts.load_mask(tmp_path, "C", "A", like)
    assert back is not None and np.array_equal(to_ras(back.data, back.affine)[0], labels)
    assert drafts.load_mask(tmp_path, "C", "B", like) is None
    drafts.drop_mask(tmp_path, "C", "A")
    assert drafts.load_mask(tmp_path, "C", "A", like) is None and not drafts.mask_stamp(
        tmp_path, "C", "A"
    )


def test_a_corrected_mask_of_another_grid_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    like = Volume(labels, affine())
    with pytest.raises(InputRefused, match="another grid"):
        drafts.save_mask(tmp_path, "C", "A", labels[:3], like)
    drafts.save_mask(tmp_path, "C", "A", labels, like)
    with pytest.raises(InputRefused, match="another grid"):
        drafts.load_mask(tmp_path, "C", "A", Volume(labels, affine((2, 1, 1))))
    (path,) = tmp_path.rglob("mask.nii.gz")
    path.write_bytes(b"not a mask")
    with pytest.raises(InputRefused, match="cannot be read"):
        drafts.load_mask(tmp_path, "C", "A", like)
