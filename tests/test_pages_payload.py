"""What the viewer is sent: the same picture whatever way round the file lies."""

import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, InputRefused, Volume
from bmcore.geometry import transform
from bmcore.intake.library import CaseEntry
from bmcore.review import case_index
from bmcore.review.store import open_store
from pages.parts import preparing
from pages.parts.preparing import Preparer
from pages.parts.viewer import SCRIPTS, block_cache, payload, script
from tests import pages_fixture as fixture
from tests.volumes_fixture import REALDATA, needs_realdata

ROOT = Path(__file__).resolve().parent.parent


def turned(volume: Volume, codes: str) -> Volume:
    """The same image with its voxel axes in another order and direction."""
    image = nib.Nifti1Image(np.asarray(volume.data), volume.affine)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    image = image.as_reoriented(change)
    return Volume(np.asarray(image.dataobj), image.affine)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "SPL"])
def test_a_file_in_any_orientation_gives_the_same_block(codes: str) -> None:
    straight = fixture.make_case().sequences["t1c"]
    expected = payload.image_block(straight, "t1c", "x")
    assert payload.image_block(turned(straight, codes), "t1c", "x") == expected


@pytest.mark.parametrize("codes", ["LPS", "SPL"])
def test_the_voxel_under_the_cursor_is_the_voxel_of_the_file(codes: str) -> None:
    case = fixture.make_case(sizes_mm=(1, 1, 5))
    other = Case("T", {s: turned(v, codes) for s, v in case.sequences.items()})
    data = payload.describe(payload.Images.of(other, "x"))
    assert data["shape"] == list(fixture.SHAPE)  # RAS: the shape before turning
    assert data["sizesMm"] == pytest.approx([1, 1, 5])
    ras_voxel = np.array([10, 20, 30])
    world = transform(np.array(data["affine"]), ras_voxel)
    assert world == pytest.approx(transform(case.grid.affine, ras_voxel))
    source = np.round(transform(np.array(data["toSource"]), ras_voxel)).astype(int)
    assert other.grid.data[tuple(source)] == case.grid.data[tuple(ras_voxel)]
    assert transform(other.grid.affine, source) == pytest.approx(world)


def test_an_oblique_scan_keeps_its_world_positions() -> None:
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    straight = fixture.make_case()
    sequences = {s: Volume(v.data, tilt @ v.affine) for s, v in straight.sequences.items()}
    data = payload.describe(payload.Images.of(Case("T", sequences), "x"))
    assert np.array(data["affine"]) == pytest.approx(tilt @ straight.grid.affine)


def test_an_image_of_zeros_and_one_with_nan_can_be_drawn() -> None:
    empty = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
    assert not payload.read_voxels(payload.image_block(empty, "t1c", "x")).any()
    broken = np.full((4, 4, 4), 5, np.float32)
    broken[0, 0, 0] = np.nan
    voxels = payload.read_voxels(payload.image_block(Volume(broken, np.eye(4)), "t1c", "x"))
    assert voxels[0, 0, 0] == 0 and voxels[1, 1, 1] == 5


def test_labels_and_maps_arrive_as_they_are() -> None:
    prediction = fixture.make_prediction(fixture.make_case())
    assert np.array_equal(
        payload.read_voxels(payload.mask_block(prediction.mask, "m")), prediction.mask.data
    )
    heat = Volume(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2), np.eye(4))
    voxels = payload.read_voxels(payload.heat_block(heat, "h"))
    assert voxels.min() == 0 and voxels.max() == 255


def test_a_full_size_case_of_whole_numbers_is_at_most_11_mb_and_one_of_floats_24_mb() -> None:
    """240 x 240 x 155, a head of 1.5 million voxels of noise of sigma 3 % on slow contrast.

    Noise of 5 bits, every value of which arrives: real skull-stripped images of this size give
    about 1.8 MB a sequence. Floats are noise in three of their four bytes.
    """
    case, mask = fixture.make_big_case()
    assert 1_300_000 < (case.grid.data != 0).sum() < 1_700_000
    floats = payload.Images.of(case, "x")
    assert 4 * len(floats.read("t1c")) < 24_000_000
    whole = {s: Volume(np.rint(v.data * 500), v.affine) for s, v in case.sequences.items()}
    images = payload.Images.of(Case("T", whole), "x")
    first, rest = len(images.read("t1c")), sum(len(images.read(s)) for s in ("t1n", "t2w", "t2f"))
    assert first < 2_700_000
    assert first + rest + len(payload.mask_block(mask, "m")) < 11_000_000


@needs_realdata
def test_a_real_case_is_at_most_8_mb_and_its_first_sequence_2_mb() -> None:
    from bmcore.intake import nifti

    case = nifti.read_case(REALDATA / "01_brats_met_00110")
    images = payload.Images.of(case, "x")
    sizes = {s: len(images.read(s)) for s in case.sequences}
    assert case.grid.shape == (240, 240, 155) and len(sizes) == 4
    assert sizes["t1c"] < 2_000_000 and sum(sizes.values()) < 8_000_000


def shelved(tmp_path: Path) -> tuple[Path, CaseEntry]:
    from bmcore.intake import library
    from tests import pages_home

    pages_home.add_case(tmp_path / "home", tmp_path / "files", "Case-1")
    return tmp_path / "home", library.get_entry(tmp_path / "home", "Case-1")


def test_blocks_on_disk_are_those_of_the_case_in_memory(tmp_path: Path) -> None:
    home, entry = shelved(tmp_path)
    images = block_cache.images(home, entry)
    case = fixture.make_case("Case-1")
    assert list(images.ids) == ["t1n", "t1c", "t2w", "t2f"]
    assert images.shape == case.grid.shape
    for sequence, volume in case.sequences.items():
        for _ in range(2):  # made, then read from disk
            block = images.read(sequence)
            assert block == payload.image_block(
                volume, sequence, images.ids[sequence], with_grid=True
            )
    other = payload.describe(payload.Images.of(case, "x"))
    for name in ("shape", "affine", "toSource", "sizesMm"):
        assert np.array(payload.describe(images)[name]) == pytest.approx(np.array(other[name]))


def test_a_file_that_was_changed_on_disk_is_refused(tmp_path: Path) -> None:
    home, entry = shelved(tmp_path)
    shutil.copy(entry.folder / "Case-1-t2w.nii.gz", entry.folder / "Case-1-t1c.nii.gz")
    with pytest.raises(InputRefused, match=r"Case-1-t1c.nii.gz: the stored file was changed"):
        block_cache.images(home, entry)
    (entry.folder / "Case-1-t1c.nii.gz").unlink()
    with pytest.raises(InputRefused, match=r"Case-1-t1c.nii.gz: the stored file is gone"):
        block_cache.images(home, entry)


def test_a_thumbnail_is_made_with_the_first_block(tmp_path: Path) -> None:
    home, entry = shelved(tmp_path)
    assert block_cache.thumbnail(home, entry) is None
    block_cache.block(home, entry, "t1c")
    picture = block_cache.thumbnail(home, entry)
    assert picture is not None and picture.startswith(b"\x89PNG") and len(picture) < 20_000


def test_cases_are_prepared_in_the_background_and_a_bad_one_stops_nothing(tmp_path: Path) -> None:
    from bmcore.intake import library
    from tests import pages_home

    home, first = shelved(tmp_path)
    pages_home.add_case(home, tmp_path / "files", "Case-2")
    second = library.get_entry(home, "Case-2")
    (first.folder / "Case-1-t1c.nii.gz").write_bytes(b"not an image")
    waiting, told = ["Case-1", "Case-2"], []
    preparer = Preparer(home)

    def tell(done: Sequence[str]) -> None:
        told.extend(done)
        waiting[:] = [case_id for case_id in waiting if case_id not in done]

    preparer.start(lambda: tuple(waiting), tell)
    preparer.wait()
    assert told == ["Case-1", "Case-2"] and list(preparer.failed) == ["Case-1"]
    assert "was changed" in preparer.failed["Case-1"]
    assert block_cache.thumbnail(home, first) is None
    name = block_cache.picture(home, "Case-2", second.sha256["Case-2-t1c.nii.gz"])
    assert name is not None and block_cache.picture(home, "Case-3", "") is None
    path = home / "cache" / "viewer" / "Case-2" / name
    assert path.read_bytes() == block_cache.thumbnail(home, second)


def test_a_server_s_start_makes_all_blocks_of_new_cases_and_the_first_of_older_ones(
    tmp_path: Path,
) -> None:
    """Nobody has looked at the list of cases, and the index is not there yet."""
    from bmcore.intake import library
    from bmcore.intake.case_record import write_record
    from tests import pages_home

    home, new = shelved(tmp_path)
    pages_home.add_case(home, tmp_path / "files", "Case-2")
    old = library.get_entry(home, "Case-2")
    old = replace(old, added=old.added - timedelta(days=3))
    write_record(old, old.folder)
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        preparing.catch_up(home, store)
        preparing._known[home.resolve()].wait()
        assert case_index.unpictured(store, 9) == ([], 0) and case_index.count(store) == (2, 2)
    made = {
        entry.case_id: [s for s in entry.sequences if block_cache._path(home, entry, s).is_file()]
        for entry in (new, old)
    }
    assert made == {"Case-1": ["t1n", "t1c", "t2w", "t2f"], "Case-2": ["t1c"]}
    assert block_cache.thumbnail(home, new) and block_cache.thumbnail(home, old)


def test_what_comes_while_the_preparer_is_about_to_end_is_not_forgotten(tmp_path: Path) -> None:
    waiting: list[str] = []
    asked, goes_on = threading.Event(), threading.Event()
    preparer = Preparer(tmp_path)
    done: list[str] = []
    preparer._one_process = lambda cases, tell: tell(cases)  # type: ignore[method-assign]

    def ask() -> list[str]:
        found = list(waiting)
        asked.set()
        goes_on.wait(20)
        return found

    def tell(cases: Sequence[str]) -> None:
        done.extend(cases)
        waiting.clear()

    preparer.start(ask, tell)
    asked.wait(20)  # it has seen that nothing is left, and is about to end
    waiting.append("Case-1")
    preparer.start(ask, tell)
    goes_on.set()
    preparer.wait()
    assert done == ["Case-1"]


def test_a_case_on_which_the_preparing_process_dies_is_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "MODULE", "no_such_module")
    waiting = ["Case-1", "Case-2"]
    preparer = Preparer(tmp_path)
    preparer.start(lambda: tuple(waiting), lambda done: [waiting.remove(c) for c in done])  # type: ignore[arg-type,return-value]
    preparer.wait()
    assert waiting == [] and list(preparer.failed) == ["Case-1", "Case-2"]


def test_the_joined_script_has_one_default_export_and_no_import_left() -> None:
    text = script(*SCRIPTS)
    assert text.count("export default") == 1
    assert "import " not in text.replace("// ", "").split("export default")[0].split("\nclass")[0]
    assert "https://" not in text and "http://" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_tests_pass() -> None:
    run = subprocess.run(
        ["node", "--test", "tests/js/viewer.test.mjs"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_joined_script_is_one_working_module(tmp_path: Path) -> None:
    for name, parts in {
        "viewer.mjs": SCRIPTS,
        "block.mjs": ("blocks.js",),
    }.items():
        (tmp_path / name).write_text(script(*parts), encoding="utf-8")
        code = f"import('./{name}').then(m => console.log(typeof m.default))"
        run = subprocess.run(["node", "-e", code], cwd=tmp_path, capture_output=True, text=True)
        assert run.stdout.strip() == "function", run.stderr
