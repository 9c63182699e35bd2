"""The value under the cursor is the file's, in each orientation, and windows fit the tissue."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import Case, Volume
from bmcore.geometry import to_ras
from bmcore.imaging import grey_codes, grey_windows
from bmcore.intake.nifti_file import read_volume
from pages.parts.viewer import payload
from tests import pages_fixture as fixture
from tests.volumes_fixture import REALDATA, needs_realdata

ROOT = Path(__file__).resolve().parent.parent
VOXELS = 200
KINDS = ("whole numbers", "scaled", "floats")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def head(shape: tuple[int, int, int] = (41, 47, 37), seed: int = 3) -> np.ndarray:
    """Noise on slow contrast inside an ellipsoid, 16 bits; a few voxels are far brighter."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    inside = (grid**2).sum(0) < 0.8
    data = np.where(inside, 900 + 200 * grid[0] + rng.normal(0, 60, shape), 0)
    data[tuple(rng.integers(15, 25, (3, 30)))] = rng.integers(2000, 31_000, 30)
    data[tuple(rng.integers(15, 25, (3, 30)))] = -rng.integers(1, 300, 30)
    return np.rint(data).astype(np.int16)


def stored(folder: Path, kind: str, turn: str) -> Path:
    """The same head in a file of this kind and orientation ("oblique": tilted by 20 degrees)."""
    data = head()
    affine = np.diag([0.9, 1.1, 1.3, 1.0])
    affine[:3, 3] = (-18, -26, -24)
    values: np.ndarray = data
    if kind == "floats":
        noise = np.random.default_rng(1).normal(0, 0.2, data.shape)
        values = np.float32(np.where(data == 0, 0, data * 0.37 + noise))
    if turn == "oblique":
        tilt = np.eye(4)
        tilt[:2, :2] = [[np.cos(0.35), -np.sin(0.35)], [np.sin(0.35), np.cos(0.35)]]
        image = nib.Nifti1Image(values, tilt @ affine)
    else:
        change = nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(turn))
        )
        turned = nib.apply_orientation(values, change)
        moved = affine @ nib.orientations.inv_ornt_aff(change, values.shape)
        image = nib.Nifti1Image(turned, moved)
    path = folder / f"{kind}-{turn}.nii"
    image.to_filename(path)
    if kind == "scaled":  # nibabel would scale the voxels back
        header = nib.load(path).header.copy()
        header["scl_slope"], header["scl_inter"], header["vox_offset"] = 0.0173, -12.5, 352
        with path.open("r+b") as file:
            file.write(header.binaryblock)
    return path


@needs_node
def test_the_readout_is_the_files_value_for_200_voxels_in_each_of_four_orientations(
    tmp_path: Path,
) -> None:
    """Through the real blocks and the viewer's own JavaScript, against nibabel's scaled values."""
    asked, truths = [], []
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for turn in ("RAS", "LPS", "LAS", "oblique"):
            path = stored(tmp_path, kind, turn)
            volume, _ = read_volume(path)
            block = tmp_path / f"{path.stem}.bmv"
            block.write_bytes(payload.image_block(volume, "t1c", path.stem))
            case = Case("T", {"t1c": volume})
            data = payload.describe(payload.Images.of(case, "x"))
            shape = data["shape"]
            lively = np.argwhere(np.abs(to_ras(np.asarray(volume.data), volume.affine)[0]) > 1e-6)
            voxels = lively[rng.choice(len(lively), VOXELS, replace=False)]
            voxels[:20] = rng.integers(0, shape, (20, 3))
            there = nib.load(path).get_fdata()
            source = np.c_[voxels, np.ones(VOXELS)] @ np.array(data["toSource"]).T
            truths.append((path.stem, there[tuple(np.rint(source[:, :3]).astype(int).T)]))
            asked.append({"block": str(block), "shape": shape, "voxels": voxels.tolist()})
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    run = subprocess.run(
        ["node", "tests/js/read_values.mjs", str(tmp_path / "asked.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for (name, truth), found in zip(truths, json.loads(run.stdout), strict=True):
        values = np.array([one["value"] for one in found])
        if name.startswith("whole"):
            assert np.array_equal(values, truth), name
        else:
            assert values == pytest.approx(truth, rel=3e-7, abs=1e-4), name
        for one, value in zip(found, truth, strict=True):
            digits = len(one["words"].partition(".")[2])
            assert "e" not in one["words"]
            assert float(one["words"]) == pytest.approx(value, abs=0.5001 * 10.0**-digits), name


@pytest.mark.parametrize("kind", KINDS)
def test_codes_bring_every_value_back(tmp_path: Path, kind: str) -> None:
    volume, _ = read_volume(stored(tmp_path, kind, "RAS"))
    data = np.asarray(volume.data)
    found = grey_codes.encode(data)
    assert (found.step is None) == (kind == "floats")
    assert found.values() == pytest.approx(data, rel=3e-7, abs=1e-4)
    assert found.decimals == {"whole numbers": 0, "scaled": 3, "floats": 0}[kind]


def test_one_voxel_between_the_steps_makes_floats_of_them_all() -> None:
    data = np.float32(head())
    data[20, 20, 20] += 0.25
    found = grey_codes.encode(data)
    assert found.step in (None, 0.25) and np.array_equal(found.values(), data)
    wide = np.float32([[[0, 1, 70_000]]])  # more whole numbers than 16 bits hold
    assert np.array_equal(grey_codes.encode(wide).values(), wide)
    assert np.array_equal(
        grey_codes.encode(np.full((3, 3, 3), 7.5)).values(), np.full((3, 3, 3), 7.5)
    )


def test_floats_of_a_volume_too_large_for_a_browser_are_rounded_and_say_so(monkeypatch) -> None:
    monkeypatch.setattr(grey_codes, "MOST_FLOATS", 1000)
    rng = np.random.default_rng(0)
    data = rng.normal(0, 300, (20, 20, 20)).astype(np.float32)
    found = grey_codes.encode(data)
    assert found.rounded and found.step is not None and found.codes.dtype == np.uint16
    assert np.abs(found.values() - data).max() <= found.step * 0.51
    header = payload.read_header(payload.image_block(Volume(data, np.eye(4)), "t1c", "x"))
    assert header["rounded"] is True
    assert grey_codes.encode(np.rint(data)).rounded is False


# ---- windows -----------------------------------------------------------------------------------


def grey_of(value: float, window: grey_windows.Window) -> float:
    return (value - window.low) / (window.high - window.low)


@pytest.mark.parametrize("sequence", ["t1n", "t1c", "t2w", "t2f"])
def test_the_median_of_the_brain_is_middle_grey_whatever_the_orientation(sequence: str) -> None:
    data = np.float32(head())
    affine = np.diag([0.9, 1.1, 1.3, 1.0])
    windows = []
    for turn in ("RAS", "LPS", "SAL"):
        change = nib.orientations.ornt_transform(
            nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(turn))
        )
        turned = nib.apply_orientation(data, change)
        moved = affine @ nib.orientations.inv_ornt_aff(change, data.shape)
        header = payload.read_header(payload.image_block(Volume(turned, moved), sequence, "x"))
        windows.append(header["presets"])
        first = grey_windows.Window(**header["presets"][0])
        assert 0.45 <= grey_of(float(np.median(data[data > 100])), first) <= 0.6
    assert windows[0] == windows[1] == windows[2]
    assert [p["name"] for p in windows[0]][:2] == ["Brain", "Grey and white matter"]


def test_a_head_with_its_skull_is_windowed_by_what_is_inside() -> None:
    """Bright scalp and noise in the air: half of the head is brain, the rest twice as bright."""
    shape = (96, 110, 90)
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    data = np.abs(rng.normal(0, 4, shape))
    data[radius < 0.95] += 400
    data[radius < 0.75] -= 200
    seen = grey_windows.tissue(np.float32(data), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert seen is not None and seen.median == pytest.approx(203, abs=5)


@needs_realdata
@pytest.mark.parametrize("folder", ["01_brats_met_00110", "04_tcga_fg6692_sri24"])
def test_the_median_of_real_brains_is_at_45_to_60_percent_grey(folder: str) -> None:
    names = {
        "t1n": ("t1n", "t1_bet"),
        "t1c": ("t1c",),
        "t2w": ("t2w", "t2_bet"),
        "t2f": ("t2f", "fla_bet"),
    }
    for sequence, endings in names.items():
        paths = [p for p in (REALDATA / folder).glob("*.nii*") if any(e in p.name for e in endings)]
        image = nib.load(min(paths, key=lambda p: len(p.name)))
        data = np.asarray(image.dataobj, np.float32)
        seen = grey_windows.tissue(data, image.affine)
        window = grey_windows.presets(sequence, seen, float(data.min()), float(data.max()))[0]
        inside = float(np.median(data[data > 0]))
        assert 0.45 <= grey_of(inside, window) <= 0.6, (sequence, window)


def test_an_empty_image_has_one_window() -> None:
    header = payload.read_header(
        payload.image_block(Volume(np.zeros((8, 8, 8), np.float32), np.eye(4)), "t2w", "x")
    )
    assert [p["name"] for p in header["presets"]] == ["All values"] and header["box"] is None
    assert header["presets"][0]["high"] > header["presets"][0]["low"]


def test_a_large_volume_has_a_preview_with_the_same_windows(monkeypatch) -> None:
    monkeypatch.setattr(payload, "PREVIEW_ABOVE", 1000)
    volume = fixture.make_case().sequences["t1c"]
    block, preview = payload.image_blocks(volume, "t1c", "x")
    assert preview is not None
    whole, half = payload.read_header(block), payload.read_header(preview)
    assert half["id"] == payload.preview_id("x") and half["shape"] == [24, 28, 20]
    assert half["presets"] == whole["presets"] and half["box"] == whole["box"]
    assert np.array_equal(payload.read_voxels(preview), payload.read_voxels(block)[::2, ::2, ::2])
