"""The segmentation net, its loss, and a training run that survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused
from bmcore.models.configs import SegmenterConfig
from bmcore.models.inference import segment
from bmcore.models.losses import (
    core_parts,
    deep_loss,
    hand_on,
    lesion_loss,
    segmentation_loss,
    small_lesion_weights,
)
from bmcore.models.postprocessing import drop_small_lesions, relabel_small_et_components, to_labels
from bmcore.models.segmenter import build_segmenter
from bmcore.phantom.cohort import write_cohort
from training.data.patches import CutPatches
from training.data.sampling import augment
from training.loops.segmenter_trainer import TrainConfig
from training.segmenter import split

ROOT = Path(__file__).resolve().parent.parent
TINY = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32)


def _ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    return ((grid - np.array(centre)) ** 2).sum(-1) <= radius**2


def test_the_net_answers_for_every_voxel_of_the_input() -> None:
    import torch

    logits = build_segmenter(TINY)(torch.zeros(1, 4, 32, 48, 16))
    assert tuple(logits.shape) == (1, 4, 32, 48, 16)


def test_a_net_that_sees_a_single_voxel_can_answer_for_that_voxel_alone() -> None:
    # space-to-depth must not swap neighbours: the shuffle and its inverse are the identity
    import torch
    from monai.networks.utils import pixelshuffle, pixelunshuffle

    x = torch.arange(2 * 4 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4, 4)
    assert torch.equal(pixelshuffle(pixelunshuffle(x, 3, 2), 3, 2), x)


def test_segmentation_is_0_outside_the_brain_and_tells_its_progress() -> None:
    net, seen = build_segmenter(TINY), []
    brain = _ball((32, 32, 32), (16, 16, 16), 10)
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 32)).astype(np.float32)
    labels = segment(net, images, brain, seen.append)
    assert labels.dtype == np.uint8 and not labels[~brain].any()
    assert seen[-1] == 1.0


def test_with_mirror_a_mirrored_volume_gives_the_mirrored_answer() -> None:
    net = build_segmenter(TINY.changed(flip_augmentation=True))
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 32)).astype(np.float32)
    brain = np.ones((32, 32, 32), bool)
    there = segment(net, images, brain)
    back = segment(net, images[:, ::-1].copy(), brain)[::-1]
    assert (there == back).mean() > 0.999  # ties at float rounding aside


def test_windows_cover_a_volume_of_any_size_and_the_count_is_right() -> None:
    net, seen = build_segmenter(TINY.changed(window=16)), []
    images = np.random.default_rng(2).normal(size=(4, 37, 20, 16)).astype(np.float32)
    brain = np.ones(images.shape[1:], bool)
    assert segment(net, images, brain, seen.append).shape == (37, 20, 16)
    # windows start every 12 voxels: 3 along 37, 2 along 20, 1 along 16
    assert len(seen) == 6 and seen[-1] == 1.0


def test_an_empty_brain_gives_an_empty_mask() -> None:
    images = np.ones((4, 20, 20, 20), np.float32)
    assert not segment(build_segmenter(TINY), images, np.zeros((20, 20, 20), bool)).any()


def test_arrays_that_do_not_fit_are_refused() -> None:
    images, brain = np.zeros((4, 30, 32, 32), np.float32), np.ones((32, 32, 32), bool)
    with pytest.raises(ValueError, match="over the brain"):
        segment(build_segmenter(TINY), images, brain)
    with pytest.raises(ValueError, match="multiple of 8"):
        SegmenterConfig.of(filters=12)
    with pytest.raises(ValueError, match="window must be a multiple of 16"):
        SegmenterConfig.of(window=50)


def test_a_config_lies_flat_on_disk_under_the_names_of_format_2() -> None:
    manifest = json.loads((ROOT / "models" / "demo" / "manifest.json").read_text())
    flat = manifest["parts"]["segmenter"]["config"]
    config = SegmenterConfig.from_dict(flat)
    whole = config.as_dict()  # what a manifest leaves out is as it is by default
    assert whole == SegmenterConfig().as_dict() | {
        k: tuple(v) if isinstance(v, list) else v for k, v in flat.items()
    }
    assert config.architecture.filters == flat["filters"]
    assert config.changed(window=96).inference.window == 96
    with pytest.raises(TypeError, match="no width"):
        config.changed(width=3)


def test_oedema_stays_only_where_it_is_connected_with_tumour_core() -> None:
    probabilities = np.zeros((4, 20, 20, 20), np.float32)
    probabilities[0] = 0.6
    probabilities[2, 4:12, 4:12, 4:12] = 0.8
    probabilities[3, 7:9, 7:9, 7:9] = 0.9
    probabilities[2, 15:18, 15:18, 15:18] = 0.8
    probabilities[3, 2:4, 16:18, 2:4] = 0.7  # a core without oedema
    brain = np.ones((20, 20, 20), bool)
    labels = to_labels(probabilities, brain, TINY.postprocessing)
    assert labels[5, 5, 5] == 2 and labels[7, 7, 7] == 3 and labels[3, 17, 3] == 3
    assert labels[16, 16, 16] == 0
    assert (
        to_labels(probabilities, brain, TINY.changed(keep_isolated_oedema=True).postprocessing)[
            16, 16, 16
        ]
        == 2
    )
    unsure = TINY.changed(min_lesion_peak=0.95)  # the oedema of a dropped core goes with it
    assert not to_labels(probabilities, brain, unsure.postprocessing).any()


def test_specks_of_tumour_go_and_oedema_stays() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2, 2, 2] = 3
    labels[10:14, 10:14, 10:14] = 3
    labels[16, 16, 16] = 2
    kept = drop_small_lesions(labels, 3)
    assert kept[2, 2, 2] == 0 and kept[12, 12, 12] == 3 and kept[16, 16, 16] == 2
    assert labels[2, 2, 2] == 3  # the input is left alone


def test_specks_of_enhancing_tumour_become_necrosis_and_the_core_stays() -> None:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[2:14, 2:14, 2:14] = 3
    labels[4:12, 4:12, 4:12] = 1  # within a ring of 1216 voxels
    labels[10, 10, 9:11] = 3  # a speck in the middle
    labels[5:8, 5:8, 5:8] = 3  # 27 voxels: 2.2 % of the enhancing ones, too much for a speck
    labels[14, 14, 14] = 1
    labels[15, 15, 15] = 3  # a speck that only necrosis connects with the ring
    labels[20:22, 20:22, 20:22] = 3  # a lesion of its own, as small as it is
    labels[26, 2, 2] = 3
    labels[2, 26, 26] = 2
    expected = labels.copy()
    expected[10, 10, 9:11] = expected[15, 15, 15] = 1
    kept = relabel_small_et_components(labels, 0.02)
    assert np.array_equal(kept, expected) and labels[15, 15, 15] == 3
    assert relabel_small_et_components(kept, 0.02) is kept  # nothing is left to do
    assert not relabel_small_et_components(np.zeros((4, 4, 4), np.uint8), 0.02).any()
    probabilities = np.stack([np.where(labels == label, np.float32(0.97), np.float32(0.01))
                        for label in range(4)])  # fmt: skip
    everywhere = np.ones(labels.shape, bool)
    config = TINY.changed(min_lesion_voxels=1, min_et_component_share=0.02)
    assert to_labels(probabilities, everywhere, config.postprocessing)[15, 15, 15] == 1
    assert (
        to_labels(
            probabilities, everywhere, config.changed(min_et_component_share=0.0).postprocessing
        )[15, 15, 15]
        == 3
    )
    with pytest.raises(ValueError, match="min_et_component_share"):
        TINY.changed(min_et_component_share=1.0)


def test_a_small_lesion_weighs_more_than_a_large_one_and_background_weighs_1() -> None:
    labels = np.zeros((48, 48, 48), np.uint8)
    labels[_ball(labels.shape, (12, 12, 12), 2)] = 3
    labels[_ball(labels.shape, (32, 32, 32), 10)] = 3
    weights = small_lesion_weights(labels)
    assert weights[12, 12, 12] > 3 > weights[32, 32, 32] == 1.0
    assert weights[0, 0, 0] == 1.0


def test_the_loss_falls_to_almost_0_for_the_right_answer() -> None:
    import torch

    labels = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    labels[0, 4:8, 4:8, 4:8] = 3
    labels[0, 5:7, 5:7, 5:7] = 1
    weights = torch.ones(labels.shape)
    right = torch.nn.functional.one_hot(labels, 4).permute(0, 4, 1, 2, 3) * 20.0
    assert segmentation_loss(right, labels, weights).item() < 0.01
    assert segmentation_loss(right.flip(1), labels, weights).item() > 5


def test_a_missed_speck_costs_as_much_as_a_missed_tumour_in_the_loss_over_single_lesions() -> None:
    import torch

    labels = torch.zeros(1, 40, 40, 40, dtype=torch.long)
    labels[0, 4:20, 4:20, 4:20] = 1  # necrosis counts: a lesion is a part of the tumour core
    labels[0, 30:32, 30:32, 30] = 3

    def loss(answer: torch.Tensor) -> float:
        logits = torch.nn.functional.one_hot(answer, 4).permute(0, 4, 1, 2, 3) * 40.0
        return lesion_loss(logits, parts).item()

    parts = torch.from_numpy(core_parts(labels[0].numpy().astype(np.uint8)))[None]
    assert parts.max() == 2

    no_speck, no_tumour = labels.clone(), labels.clone()
    no_speck[0, 30:32] = 0
    no_tumour[0, 4:20] = 0
    assert loss(labels) < 1e-3
    assert loss(no_speck) == pytest.approx(0.5, abs=0.02)  # one of two; 0.1 smooths 4 voxels
    assert loss(no_tumour) == pytest.approx(0.5, abs=0.02)
    false = labels.clone()
    false[0, 30:36, 4:6, 4:6] = 3
    assert loss(false) == pytest.approx(1.0, abs=0.02)  # all that is false is surely so
    more = false.clone()
    more[0, 30:36, 12:14, 4:6] = 3
    assert loss(more) == pytest.approx(1.0, abs=0.02)  # however many: lesions keep their weight
    none = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    assert lesion_loss(torch.zeros(1, 4, 8, 8, 8), none).item() > 0.4  # half sure of everything
    sure = torch.zeros(1, 4, 8, 8, 8)
    sure[:, 0] = 20
    assert lesion_loss(sure, none).item() == 0


def test_being_half_sure_of_nothing_costs_half_a_false_lesion() -> None:
    import torch

    parts = torch.zeros(1, 24, 24, 24, dtype=torch.uint8)
    logits = torch.zeros(1, 4, 24, 24, 24)
    logits[:, 0] = 20
    logits[0, :, 4:7, 4:7, 4:7] = 0.0  # each label as likely: core 0.5, not above it
    assert lesion_loss(logits, parts).item() == pytest.approx(0.5, abs=0.01)


def test_lesions_of_one_batch_are_kept_apart_and_a_border_ends_at_the_next_lesion() -> None:
    import torch

    parts = torch.zeros(2, 24, 24, 24, dtype=torch.uint8)
    parts[0, 4:8, 4:8, 4:8] = 1
    parts[0, 4:8, 4:8, 9:13] = 2  # one voxel away
    parts[1, 4:8, 4:8, 4:8] = 1  # the same number in the other patch
    logits = torch.zeros(2, 4, 24, 24, 24)
    logits[:, 0] = 40
    logits[:, 3] = torch.where(parts > 0, 80.0, 0.0)
    assert lesion_loss(logits, parts).item() < 1e-3
    logits[1] = logits[0] * 0
    logits[1, 0] = 40
    assert lesion_loss(logits, parts).item() == pytest.approx(1 / 3, abs=0.01)


def test_pieces_on_a_gpu_are_those_of_the_cpu() -> None:
    import torch
    from scipy import ndimage

    mask = torch.from_numpy(np.random.default_rng(0).uniform(size=(2, 16, 16, 16)) < 0.03)
    mask[0, 2:6, 2:6, 2:6] = True
    numbers = hand_on(mask, rounds=16).numpy()
    for one, found in zip(mask.numpy(), numbers, strict=True):
        parts, count = ndimage.label(one, np.ones((3, 3, 3)))
        assert len(np.unique(found[one])) == count
        pairs = {(int(a), int(b)) for a, b in zip(parts[one], found[one], strict=True)}
        assert len(pairs) == count  # one number a piece
    assert not (set(numbers[0].ravel()) & set(numbers[1].ravel())) - {0}
    assert (numbers[~mask.numpy()] == 0).all()


def test_a_branch_at_1_mm_answers_in_the_same_shape_and_its_width_is_checked() -> None:
    import torch

    net = build_segmenter(TINY.changed(full_resolution_channels=8)).eval()
    assert tuple(net(torch.zeros(1, 4, 32, 48, 32)).shape) == (1, 4, 32, 48, 32)
    deep = build_segmenter(
        TINY.changed(
            blocks_down=(1, 1, 1),
            blocks_up=(1, 1),
            deep_supervision=True,
            full_resolution_channels=8,
        )
    )
    answers = deep(torch.zeros(1, 4, 32, 32, 32))
    assert [tuple(a.shape[1:3]) for a in answers] == [(4, 32), (4, 16)]
    with pytest.raises(ValueError, match="multiple of 8"):
        TINY.changed(full_resolution_channels=4)


def test_deep_supervision_answers_at_each_level_in_training_and_once_in_use() -> None:
    import torch

    net = build_segmenter(
        TINY.changed(blocks_down=(1, 1, 1), blocks_up=(1, 1), deep_supervision=True)
    )
    images = torch.zeros(1, 4, 32, 48, 32)
    assert [tuple(a.shape[2:]) for a in net(images)] == [(32, 48, 32), (16, 24, 16)]
    assert tuple(net.eval()(images).shape) == (1, 4, 32, 48, 32)


def test_the_deep_loss_of_one_level_is_the_plain_loss_and_coarse_errors_count_half() -> None:
    import torch

    labels = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    labels[0, 4:8, 4:8, 4:8] = 3
    weights = torch.ones(labels.shape)
    right = torch.nn.functional.one_hot(labels, 4).permute(0, 4, 1, 2, 3) * 20.0
    wrong = right.flip(1)
    plain = segmentation_loss(wrong, labels, weights)
    assert torch.isclose(deep_loss([wrong], labels, weights), plain)
    fine_wrong = deep_loss([wrong, right[..., ::2, ::2, ::2]], labels, weights)
    coarse_wrong = deep_loss([right, wrong[..., ::2, ::2, ::2]], labels, weights)
    assert 1.5 < (fine_wrong / coarse_wrong).item() < 2.5


def test_lesions_that_are_nowhere_likely_enough_go() -> None:
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:6, 2:6, 2:6] = 3
    labels[12:16, 12:16, 12:16] = 3
    chance = np.where(labels == 3, 0.55, 0.0).astype(np.float32)
    chance[13, 13, 13] = 0.95
    kept = drop_small_lesions(labels, 3, chance, 0.9)
    assert not kept[2:6, 2:6, 2:6].any() and kept[12:16, 12:16, 12:16].all()
    assert (drop_small_lesions(labels, 3, chance, 0.5) == labels).all()


def test_labels_follow_the_limit_of_the_core_and_are_0_outside_the_brain() -> None:
    probabilities = np.zeros((4, 8, 8, 8), np.float32)
    probabilities[0], probabilities[1], probabilities[2], probabilities[3] = 0.3, 0.15, 0.3, 0.25
    probabilities[:, :4] = np.array((0.2, 0.3, 0.3, 0.2), np.float32)[:, None, None, None]
    brain = np.ones((8, 8, 8), bool)
    brain[:, :, 4:] = False
    labels = to_labels(probabilities, brain, TINY.changed(core_threshold=0.35).postprocessing)
    assert (labels[:4, :, :4] == 1).all() and (labels[4:, :, :4] == 3).all()
    assert not labels[:, :, 4:].any()
    labels = to_labels(probabilities, brain, TINY.changed(core_threshold=0.45).postprocessing)
    assert (labels[:4, :, :4] == 1).all() and not labels[4:].any()  # background is as likely
    even = to_labels(
        probabilities,
        brain,
        TINY.changed(core_threshold=0.5, keep_isolated_oedema=True).postprocessing,
    )
    assert (even[:4, :, :4] == 2).all()  # 0.5 is not more than 0.5
    likeliest = to_labels(probabilities, brain, TINY.postprocessing)
    assert (likeliest[:4, :, :4] == 1).all() and not likeliest[4:].any()
    with pytest.raises(ValueError, match="core_threshold"):
        TINY.changed(core_threshold=1.0)


def test_augmentation_keeps_t1c_keeps_the_outside_0_and_may_drop_the_rest() -> None:
    rng = np.random.default_rng(0)
    images = np.zeros((4, 16, 16, 16), np.float32)
    images[:, 4:12, 4:12, 4:12] = rng.normal(size=(4, 8, 8, 8))
    dropped = np.zeros(4, int)
    for _ in range(60):
        out = augment(images, rng, 0.25)
        assert not out[:, :4].any() and np.abs(out).max() <= 6
        dropped += ~out.any(axis=(1, 2, 3))
    assert dropped[1] == 0 and (dropped[[0, 2, 3]] > 5).all()


def test_the_split_is_by_patient_and_repeats() -> None:
    names = [f"0/{i}" for i in range(50)]
    used, held = split(names, 0.1, 3)
    assert len(held) == 5 and not set(used) & set(held)
    assert split(names, 0.1, 3) == (used, held)


def test_step_n_of_a_seed_is_the_same_patch_whatever_was_drawn_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.images.npy", rng.normal(size=(4, 32, 32, 32)).astype(np.float16))
    np.save(tmp_path / "a.labels.npy", np.zeros((32, 32, 32), np.uint8))
    np.save(tmp_path / "a.weights.npy", np.full((32, 32, 32), 20, np.uint8))
    np.save(tmp_path / "a.spots.npy", np.zeros((0, 3), np.int16))
    np.save(tmp_path / "a.cores.npy", np.zeros((0, 3), np.int16))
    config = TrainConfig(batch=1, patch=48)  # larger than the volume: padded
    first, _, weights, _ = CutPatches(tmp_path, ["a"], config, 0).step(7)
    other = CutPatches(tmp_path, ["a"], config, 0)
    other.step(3)
    assert (other.step(7)[0] == first).all()
    assert tuple(first.shape) == (1, 4, 48, 48, 48) and float(weights.min()) == 1.0


@pytest.mark.parametrize("patch", [32, 50])
def test_a_patch_that_does_not_fit_the_net_is_refused(patch: int) -> None:
    with pytest.raises(InputRefused, match="multiple of 16, at least 48"):
        TrainConfig(patch=patch)


# --- the script, as a researcher runs it --------------------------------------------------------


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, of each a box around the first lesion: little to validate on."""
    out = tmp_path_factory.mktemp("cohort")
    write_cohort(2, 5, out)
    for case in {path.parent for path in out.rglob("*-seg.nii.gz")}:
        (reference,) = case.glob("*-seg.nii.gz")
        centre = np.argwhere(np.asarray(nib.load(reference).dataobj) > 0)[0]
        for path in case.glob("*.nii.gz"):
            image = nib.load(path)
            low = np.clip(centre - 40, 0, np.array(image.shape) - 80)
            cut = image.slicer[tuple(slice(int(a), int(a) + 80) for a in low)]
            nib.save(nib.Nifti1Image(np.asarray(cut.dataobj), cut.affine), path)
    return out


def _command(cohort: Path, out: Path, *more: str) -> list[str]:
    size = ("--steps", "8", "--batch", "1", "--patch", "48", "--filters", "8", "--save-every", "2")
    return ["-m", "training.segmenter", "--data", str(cohort), "--out", str(out), *size, *more]


def _env() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_killed_run_ends_with_the_same_weights_as_an_undisturbed_one(
    cohort: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(
        [sys.executable, *_command(cohort, whole)], cwd=ROOT, env=_env(), check=True, timeout=600
    )
    (broken / "cache").parent.mkdir()
    (broken / "cache").symlink_to(whole / "cache")
    run = subprocess.Popen([sys.executable, *_command(cohort, broken)], cwd=ROOT, env=_env())
    waited = time.monotonic() + 400
    while not (broken / "checkpoint.rank0.pt").exists():
        assert run.poll() is None and time.monotonic() < waited
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (broken / "segmenter.safetensors").exists(), "killed too late to show anything"
    subprocess.run(
        [sys.executable, *_command(cohort, broken)], cwd=ROOT, env=_env(), check=True, timeout=600
    )
    a, b = (load_file(p / "segmenter.safetensors") for p in (whole, broken))
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert (whole / "metrics.json").exists()


def test_two_processes_train_together(cohort: Path, tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    run = subprocess.run(
        [sys.executable, *torchrun, *_command(cohort, tmp_path / "out", "--device", "cpu")],
        cwd=ROOT,
        env=_env(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / "out" / "segmenter.safetensors").exists()
    assert (tmp_path / "out" / "checkpoint.rank1.pt").exists()
