"""What the viewer is sent: the same picture whatever way round the file lies."""

import gzip
import json
import shutil
import struct
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, Volume
from bmcore.geometry import transform
from pages.parts.viewer import payload, script
from tests import pages_fixture as fixture

ROOT = Path(__file__).resolve().parent.parent


def unpack(block: bytes) -> tuple[dict, np.ndarray]:
    """Header and voxels (i, j, k) as the browser reads them."""
    assert block[:4] == b"BMV1"
    (length,) = struct.unpack("<I", block[4:8])
    header = json.loads(block[8 : 8 + length])
    flat = np.frombuffer(gzip.decompress(block[8 + length :]), np.uint8)
    return header, flat.reshape(header["shape"], order="F")


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
    expected = payload.image_block(straight, "x")
    assert payload.image_block(turned(straight, codes), "x") == expected


@pytest.mark.parametrize("codes", ["LPS", "SPL"])
def test_the_voxel_under_the_cursor_is_the_voxel_of_the_file(codes: str) -> None:
    case = fixture.make_case(sizes_mm=(1, 1, 5))
    other = Case("T", {s: turned(v, codes) for s, v in case.sequences.items()})
    data = payload.describe(other, {s: s for s in other.sequences})
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
    data = payload.describe(Case("T", sequences), {s: s for s in sequences})
    assert np.array(data["affine"]) == pytest.approx(tilt @ straight.grid.affine)


def test_grey_values_come_back_to_within_one_step_of_256() -> None:
    volume = fixture.make_case().sequences["t1c"]
    header, voxels = unpack(payload.image_block(volume, "x"))
    step = (header["high"] - header["low"]) / 255
    back = header["low"] + voxels * step
    assert np.abs(back - volume.data).max() <= step
    assert header["id"] == "x"


def test_an_image_of_zeros_and_one_with_nan_can_be_drawn() -> None:
    empty = Volume(np.zeros((4, 4, 4), np.float32), np.eye(4))
    assert not unpack(payload.image_block(empty, "x"))[1].any()
    broken = np.full((4, 4, 4), 5, np.float32)
    broken[0, 0, 0] = np.nan
    _, voxels = unpack(payload.image_block(Volume(broken, np.eye(4)), "x"))
    assert voxels[0, 0, 0] == 0 and voxels[1, 1, 1] > 0


def test_labels_and_maps_arrive_as_they_are() -> None:
    prediction = fixture.make_prediction(fixture.make_case())
    assert np.array_equal(unpack(payload.mask_block(prediction.mask, "m"))[1], prediction.mask.data)
    heat = Volume(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2), np.eye(4))
    _, voxels = unpack(payload.heat_block(heat, "h"))
    assert voxels.min() == 0 and voxels.max() == 255


def test_a_full_size_case_is_at_most_8_mb_and_its_first_sequence_2_mb() -> None:
    """240 x 240 x 155, a head of 1.5 million voxels of noise of sigma 3 % on slow contrast.

    Real skull-stripped images of this size give about 1.4 MB a sequence.
    """
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in (240, 240, 155)], indexing="ij"))
    head = (grid[0] / 0.6) ** 2 + (grid[1] / 0.75) ** 2 + (grid[2] / 0.8) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 0.03, head.shape)
    data = np.where(head, 1 + 0.3 * np.sin(7 * grid[0]) + noise, 0).astype(np.float32)
    size = len(payload.image_block(Volume(data, np.eye(4)), "x"))
    assert 1_300_000 < head.sum() < 1_700_000
    assert size < 2_000_000 and 4 * size < 8_000_000


def test_the_joined_script_has_one_default_export_and_no_import_left() -> None:
    text = script("geometry.js", "paint.js", "blocks.js", "viewer.js")
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
        "viewer.mjs": ("geometry.js", "paint.js", "blocks.js", "viewer.js"),
        "block.mjs": ("blocks.js",),
    }.items():
        (tmp_path / name).write_text(script(*parts), encoding="utf-8")
        code = f"import('./{name}').then(m => console.log(typeof m.default))"
        run = subprocess.run(["node", "-e", code], cwd=tmp_path, capture_output=True, text=True)
        assert run.stdout.strip() == "function", run.stderr
