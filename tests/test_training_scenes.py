"""The segmenter's training from synthetic heads: a warm start, ablations, the limits of lesions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused
from bmcore.intake.datasets import YaleDataset
from bmcore.models.configs import SegmenterConfig
from bmcore.models.losses import small_lesion_weights
from bmcore.models.segmenter import build_segmenter
from bmcore.phantom.cohort import PhantomCase, draw_case
from bmcore.phantom.scene import write_head
from training import average_weights
from training.ablation import against
from training.data.content import image_content
from training.data.prepared import VERSION
from training.loops.segmenter_trainer import begin_with, settle
from training.postprocessing_search import best
from training.run.files import write_json

ROOT = Path(__file__).resolve().parent.parent
TINY = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_head(folder / "00000", 1, 1, small_lesion_weights)
    (folder / "scenes.json").write_text('{"heads": 1, "sets": 1, "seed": 1, "style": "WILD"}')
    return folder


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two cases by name; what is read of them is written by ``put_cache``."""
    folder = tmp_path_factory.mktemp("held")
    for number in (1, 2):
        (folder / f"BraTS-MET-{number:05d}-000").mkdir()
        for kind in ("t1c", "seg"):
            name = f"BraTS-MET-{number:05d}-000-{kind}.nii.gz"
            (folder / f"BraTS-MET-{number:05d}-000" / name).touch()
    return folder


def put_cache(out: Path, held: Path) -> None:
    """Two prepared cases of 48 voxels with one ball each, so that validation takes a moment."""
    place = out / "cache" / "0"
    place.mkdir(parents=True)
    labels = np.zeros((48, 48, 48), np.uint8)
    labels[20:28, 20:28, 20:28] = 3
    images = np.random.default_rng(0).normal(size=(4, 48, 48, 48)).astype(np.float16)
    images[1][labels > 0] += 4
    for folder in held.iterdir():
        np.save(place / f"{folder.name}.images.npy", images)
        np.save(place / f"{folder.name}.labels.npy", labels)
        np.save(place / f"{folder.name}.spots.npy", np.argwhere(labels)[:8].astype(np.int16))
        source = {"version": VERSION, "content": image_content(YaleDataset(held), folder.name)}
        write_json(place / f"{folder.name}.source.json", source)


def write_small(case: PhantomCase, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, data in [*case.images.items(), ("seg", case.labels)]:
        image = nib.Nifti1Image(np.rint(data).astype(np.int16), case.affine)
        nib.save(image, folder / f"{folder.name}-{name}.nii.gz")


def run(*command: str) -> None:
    subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )


def test_an_ablation_gives_one_row_a_variant_with_intervals_and_goes_on(
    scenes: Path, held: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    put_cache(out, held)
    command = [
        "-m", "training.ablation", "--data", str(held), "--scenes", str(scenes),
        "--out", str(out), "--steps", "2", "--batch", "1", "--patch", "48",
        "--variant", "Unchanged small net", "--variant", "Deep supervision",
    ]  # fmt: skip
    run(*command)
    first = json.loads((out / "ablation.json").read_text())
    assert [r["Variant"] for r in first["rows"]] == ["Unchanged small net", "Deep supervision"]
    assert {"value", "low", "high", "n"} <= first["rows"][0]["ET Dice"].keys()
    change = "Lesion-wise, change to the first row, paired"
    assert first["rows"][0][change] == "" and first["rows"][1][change]["n"] == 2
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("checkpoint*")}
    assert len(stamps) == 2
    run(*command)  # everything is there: nothing is trained again
    assert {p: p.stat().st_mtime_ns for p in out.rglob("checkpoint*")} == stamps
    assert json.loads((out / "ablation.json").read_text()) == first


def test_the_change_of_a_variant_is_paired_by_patient() -> None:
    change = against([0.1, 0.9, 0.5], [0.2, 1.0, 0.6])
    assert change["value"] == pytest.approx(0.1) and change["n"] == 3
    assert np.isnan(change["low"]) and np.isnan(
        change["high"]
    )  # all alike: nothing to tell it from
    far = against([0.1, 0.9, 0.5, 0.4], [0.9, 0.1, 0.5, 0.4])
    assert far["value"] == pytest.approx(0) and far["low"] < -0.1 and far["high"] > 0.1


def test_a_run_from_heads_begins_with_given_weights(
    scenes: Path, held: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    first, second = tmp_path / "first", tmp_path / "second"
    for out, more in (
        (first, []),
        (second, ["--start-from", str(first / "segmenter.safetensors"), "--seed", "5"]),
    ):
        put_cache(out, held)
        run(
            "-m", "training.segmenter", "--data", str(held), "--out", str(out),
            "--scenes", str(scenes), "--rate", "1e-9", "--steps", "1", "--batch", "1",
            "--patch", "48", "--filters", "8", *more,
        )  # fmt: skip
    a, b = (load_file(p / "segmenter.safetensors") for p in (first, second))
    assert all(np.allclose(a[k], b[k], atol=1e-3) for k in a)  # this rate moves nothing
    made = json.loads((second / "metrics.json").read_text())["training"]
    assert len(made["started_from_sha256"]) == 64
    assert made["training_of_the_start"]["steps"] == 1


def test_of_the_limits_as_good_as_the_best_that_which_finds_most_lesions_is_taken() -> None:
    def row(dice: float, false: float, found: float) -> dict[str, float]:
        return {
            "lesion_wise_dice_ET": dice,
            "false_lesions_per_case": false,
            "sensitivity_from_5_mm": found,
        }

    rows = [row(0.8, 0.9, 1.0), row(0.6, 0.5, 0.9), row(0.7, 0.4, 0.7), row(0.69, 0.3, 0.8)]
    each = np.array([[0.8, 0.6, 0.7, 0.71], [0.8, 0.5, 0.6, 0.57], [0.8, 0.7, 0.8, 0.79]])
    # the first has too many false ones; the second is worse by 0.1 in every case; the last by 0.01,
    # less than the standard error of that difference
    assert best(rows, each, 0.5) is rows[3]
    assert best(rows, each, 1.0) is rows[0]
    even = np.array([[0.8, 0.6, 0.7, 0.69]] * 3)  # worse by 0.01 in every case: no doubt
    assert best(rows, even, 0.5) is rows[2]
    assert best(rows, each[:1], 0.5) is rows[3]  # one case: no worse than the best there
    assert best(rows, each, 0.1) is rows[3]  # none fits: the fewest false ones


def test_limits_are_written_into_the_config_and_the_weights_stay(tmp_path: Path) -> None:
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle

    case = draw_case(3)
    cut = (slice(40, 88),) * 3  # a piece of the head: a small volume is quickly read
    small = replace(
        case, images={k: v[cut] for k, v in case.images.items()}, labels=case.labels[cut]
    )
    write_small(small, tmp_path / "data" / "BraTS-MET-00086-000")
    net = build_segmenter(TINY)
    write_part(tmp_path, "segmenter", {k: v.half() for k, v in net.state_dict().items()}, TINY)
    before = load_bundle(tmp_path).manifest["parts"]["segmenter"]
    run(
        "-m", "training.postprocessing_search", "--data", str(tmp_path / "data"),
        "--segmenter", str(tmp_path), "--most-false", "1000", "--flip-augmentation",
        "--specks", "0.05",
    )  # fmt: skip
    after = load_bundle(tmp_path).manifest["parts"]["segmenter"]
    rows = after["metrics"]["limits"]["rows"]
    assert after["sha256"] == before["sha256"]
    assert len(rows) == 60
    limits = ("core_threshold", "min_lesion_voxels", "min_lesion_peak")
    (chosen,) = (r for r in rows if all(after["config"][n] == r[n] for n in limits))
    top = max(r["lesion_wise_dice_ET"] for r in rows)
    assert chosen["lesion_wise_dice_ET"] == top  # a single case leaves no doubt
    assert after["config"]["flip_augmentation"] and not before["config"]["flip_augmentation"]
    assert after["config"]["min_et_component_share"] == 0.05


def test_weights_that_are_none_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    file = tmp_path / "broken.safetensors"
    file.write_bytes(b"no weights")
    with pytest.raises(InputRefused, match="these weights cannot be read"):
        begin_with(file, 0)
    save_file({"other": np.zeros(3, np.float32)}, file)
    with pytest.raises(InputRefused, match="do not fit the net"):
        settle(build_segmenter(TINY), begin_with(file, 0))


def test_the_average_of_two_nets_lies_between_them_and_says_what_it_was_made_of(
    tmp_path: Path,
) -> None:
    import torch

    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle

    for name, value in (("a", 0.0), ("b", 1.0)):
        net = build_segmenter(TINY)
        weights = {k: torch.full_like(v, value) for k, v in net.state_dict().items()}
        write_part(tmp_path / name, "segmenter", weights, TINY, {"steps": 5})
    average_weights.main(tmp_path / "a", tmp_path / "b", tmp_path / "out", share=0.7)
    bundle = load_bundle(tmp_path / "out")
    assert all(torch.allclose(p, torch.tensor(0.7)) for p in bundle.segmenter.parameters())
    made = bundle.manifest["parts"]["segmenter"]["training"]
    assert made["share_of_this_run"] == 0.7 and len(made["averaged_with_sha256"]) == 64
    other = build_segmenter(SegmenterConfig.of(filters=16, blocks_down=(1, 1), blocks_up=(1,)))
    write_part(tmp_path / "a", "segmenter", other.state_dict(), other.config)
    with pytest.raises(InputRefused, match="differ in shape"):
        average_weights.main(tmp_path / "a", tmp_path / "b", tmp_path / "out")
