"""The second look at candidates: what is cut out, what is learnt, what becomes of the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bmcore.domain import InputRefused
from bmcore.models.bundles import load_bundle
from bmcore.models.candidates import (
    EDGE,
    build_candidate_head,
    cut_cubes,
    describe,
    description_size,
    find_candidates,
    judge,
    revise,
)
from bmcore.models.segmenter import SegmenterConfig, build_segmenter, read_chances
from training import candidates as training
from training.candidates import ROOM, VIEWS, CandidateTraining, Found, measure, train, varied
from training.segmenter import Beginning, settle

TINY = SegmenterConfig(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32)
DEMO = Path(__file__).resolve().parent.parent / "models" / "demo"


def _core() -> npt.NDArray[np.float32]:
    """Two candidates, one of them at the edge of the volume, and a speck."""
    core = np.zeros((40, 40, 40), np.float32)
    core[0:3, 5:8, 5:8] = 0.2
    core[1, 6, 6] = 0.4
    core[20:26, 20:26, 20:26] = 0.9
    core[35, 35, 35] = 0.8
    return core


def _net(**more: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_segmenter(replace(TINY, **more)).eval()


class _Sure(torch.nn.Module):
    """Says that the first candidate of a pass is a lesion with p = 0.8 and the others with 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, described: torch.Tensor) -> torch.Tensor:
        chance = torch.full((len(described),), 0.1)
        chance[0] = 0.8
        return torch.logit(chance)


def test_candidates_are_the_parts_above_the_limit_with_their_peak_and_place() -> None:
    core = _core()
    parts, found = find_candidates(core, 0.05)
    assert [(c.centre, round(c.peak, 3)) for c in found] == [((1, 6, 6), 0.4), ((22, 22, 22), 0.9)]
    assert set(np.unique(parts)) == {0, 1, 2}  # the speck belongs to none
    assert np.array_equal(parts == 1, (core > 0.05) & (np.indices(core.shape)[0] < 10))
    assert [c.centre for c in find_candidates(core, 0.5)[1]] == [(22, 22, 22)]
    assert find_candidates(np.zeros((8, 8, 8), np.float32), 0.05)[1] == []


def test_a_cube_holds_the_surroundings_and_nothing_beyond_the_volume() -> None:
    core = _core()
    images = np.random.default_rng(0).normal(size=(4, *core.shape)).astype(np.float32)
    parts, found = find_candidates(core, 0.05)
    cubes = cut_cubes(images, parts, found)
    assert cubes.shape == (2, 5, EDGE, EDGE, EDGE) and cubes.dtype == np.float32
    middle = EDGE // 2
    for cube, candidate in zip(cubes, found, strict=True):
        there = images[(slice(None), *candidate.centre)]
        assert np.array_equal(cube[:4, middle, middle, middle], there)
        assert np.count_nonzero(cube[4]) == np.count_nonzero(parts == candidate.number)
    assert not cubes[0, :, : middle - 1].any() and cubes[0, 0, middle - 1].any()
    assert cut_cubes(images, parts, []).shape == (0, 5, EDGE, EDGE, EDGE)


@pytest.mark.parametrize("more", [{}, {"fine": 8}, {"blocks_down": (1, 1, 1), "blocks_up": (1, 1)}])
def test_a_description_has_the_size_that_the_config_says(more: dict) -> None:
    net = _net(**more)
    cubes = np.random.default_rng(0).normal(size=(3, 5, EDGE, EDGE, EDGE)).astype(np.float32)
    cubes[:, 4] = 0
    cubes[:, 4, 15:18, 15:18, 15:18] = 1
    described = describe(net, cubes, np.array([0.1, 0.5, 1.0]))
    assert described.shape == (3, description_size(net.config))
    assert np.isfinite(described).all()
    assert np.allclose(described[:2, -3], [np.log(0.1 / 0.9), 0], atol=1e-5)  # log odds
    with torch.inference_mode():
        answer = torch.softmax(net(torch.from_numpy(cubes[:, :4])), 1)
    core = (answer[:, 1] + answer[:, 3])[:, 15:18, 15:18, 15:18].amax((1, 2, 3))
    assert np.allclose(described[:, -2], core, atol=1e-5)
    assert np.allclose(described[:, -1], np.log(28))
    assert describe(net, cubes[:0], np.zeros(0)).shape == (0, description_size(net.config))


def test_what_lies_in_the_candidate_is_described_and_not_what_lies_far_from_it() -> None:
    net = _net()
    maps = [torch.zeros(1, 8, 16, 16, 16), torch.zeros(1, 16, 8, 8, 8)]
    maps[0][0, 2, 8, 8, 8] = 3
    maps[0][0, 2, 1, 1, 1] = 9
    maps[0][0, 5, 8, 8, 10] = 4  # beside it, in the shell
    net.levels = lambda images: (maps, maps[:1])
    net.mixed = lambda images, last: torch.zeros(1, 4, 32, 32, 32)
    cubes = np.zeros((1, 5, EDGE, EDGE, EDGE), np.float32)
    cubes[0, 4, 16:18, 16:18, 16:20] = 1  # two cells of 2 mm
    described = describe(net, cubes, np.array([0.5]))[0]
    mean, largest, coarse, mean_again, largest_again, shell = np.split(
        described[:-3], np.cumsum([8, 8, 16, 8, 8])
    )
    assert mean[2] == pytest.approx(1.5) and largest[2] == pytest.approx(3)
    assert np.array_equal(mean, mean_again) and np.array_equal(largest, largest_again)
    assert np.delete(mean, 2).sum() == 0 == coarse.sum()
    assert shell[5] > 0 and np.delete(shell, 5).sum() == 0


def test_a_mirrored_cube_is_judged_alike() -> None:
    net = _net(candidates=8)
    cubes = np.random.default_rng(0).normal(size=(3, 5, EDGE, EDGE, EDGE)).astype(np.float32)
    cubes[:, 4] = 0
    cubes[:, 4, 12:20, 14:18, 15:17] = 1
    peaks = np.array([0.1, 0.2, 0.9])
    chances = judge(net, cubes, peaks)
    assert chances.shape == (3,) and ((chances > 0) & (chances < 1)).all()
    assert np.allclose(judge(net, cubes[:, :, ::-1].copy(), peaks), chances, atol=1e-5)
    assert judge(net, cubes[:0], peaks[:0]).shape == (0,)


def test_the_judged_probability_becomes_the_peak_and_everything_else_keeps_its_share() -> None:
    core = _core()
    chances = np.stack([(1 - core) * 0.75, core * 0.25, (1 - core) * 0.25, core * 0.75])
    images = np.zeros((4, *core.shape), np.float32)
    net = _net()
    net.candidates = _Sure()
    out = revise(net, images, chances, 0.05)
    parts, _ = find_candidates(core, 0.05)
    now = out[1] + out[3]
    assert now[parts == 1].max() == pytest.approx(0.8, abs=1e-6)
    assert now[parts == 2].max() == pytest.approx(0.1, abs=1e-6)
    assert now[0, 5, 5] == pytest.approx(0.4, abs=1e-6)  # half of the peak, as before
    assert np.array_equal(out[:, parts == 0], chances[:, parts == 0])
    assert np.allclose(out.sum(0), 1, atol=1e-6)
    assert np.allclose(out[1], now / 4, atol=1e-6) and np.allclose(out[2], (1 - now) / 4, atol=1e-6)
    assert chances[1, 22, 22, 22] == pytest.approx(0.225)  # the input is left alone


def test_a_part_that_was_certain_can_be_taken_back() -> None:
    chances = np.zeros((4, 16, 16, 16), np.float32)
    chances[0] = 1
    chances[:, 4:8, 4:8, 4:8] = np.array([0, 0, 0, 1], np.float32)[:, None, None, None]
    net = _net()
    net.candidates = _Sure()
    out = revise(net, np.zeros((4, 16, 16, 16), np.float32), chances, 0.05)
    assert np.isfinite(out).all() and np.allclose(out.sum(0), 1)
    assert out[3, 5, 5, 5] == pytest.approx(0.8, abs=1e-6)
    assert out[0, 5, 5, 5] == pytest.approx(0.2, abs=1e-6)


def test_a_segmenter_with_a_second_look_answers_with_its_peaks() -> None:
    net = _net(candidates=8, candidate_chance=0.3)
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 32)).astype(np.float32)
    brain = np.ones((32, 32, 32), bool)
    asked = net.config
    net.config = replace(asked, candidates=0)
    before = read_chances(net, images, brain)
    net.config = asked
    after = read_chances(net, images, brain)
    core = before[1] + before[3]
    parts, found = find_candidates(core, 0.3)
    judged = judge(net, cut_cubes(images, parts, found), np.array([c.peak for c in found]))
    assert len(found) > 0
    for candidate, chance in zip(found, judged, strict=True):
        peak = (after[1] + after[3])[parts == candidate.number].max()
        assert peak == pytest.approx(chance, abs=1e-5)
    with pytest.raises(ValueError, match="candidate_chance"):
        replace(TINY, candidate_chance=0.0)
    with pytest.raises(ValueError, match="candidates must not be negative"):
        replace(TINY, candidates=-1)


def test_a_second_look_is_left_out_of_the_weights_that_a_new_run_begins_with() -> None:
    taught, plain = _net(candidates=8), build_segmenter(TINY)
    settle(plain, Beginning(weights=dict(taught.state_dict())))
    assert all(torch.equal(v, taught.state_dict()[k]) for k, v in plain.state_dict().items())


# --- training -------------------------------------------------------------------------------------


def _described(count: int, seed: int) -> Found:
    """Two numbers of twelve tell lesions from others together; the peaks say nothing."""
    random = np.random.default_rng(seed)
    lesion = np.arange(count) % 3 == 0
    described = random.normal(size=(2, count, 12))
    described[:, :, 3] += np.where(lesion, 2, -2) + described[:, :, 7]
    return Found(described.astype(np.float16), lesion, random.uniform(0.05, 0.3, count))


def test_the_second_look_learns_what_the_peak_does_not_tell(tmp_path: Path) -> None:
    config = CandidateTraining(hidden=8, epochs=20, batch=16, rate=1e-2)
    result = train(_described(300, 1), config, tmp_path, "cpu")
    head = build_candidate_head(12, 8)
    head.load_state_dict(result["weights"])
    found = measure(head, _described(200, 2), patients=40)
    assert found["second look"]["auc"] > 0.95 > 0.65 > found["peak"]["auc"]
    kept = found["second look"]["lesions_kept_at_false_per_patient"]
    assert 0.7 < kept["0.25"] <= kept["0.5"] <= kept["2"]
    assert len(result["curve"]) == 20 and result["curve"][-1] < result["curve"][0] / 1.5
    again = train(_described(300, 1), config, tmp_path, "cpu")
    assert all(torch.equal(v, again["weights"][k]) for k, v in result["weights"].items())


def test_views_are_the_cube_its_mirror_image_and_augmented_ones() -> None:
    random = np.random.default_rng(0)
    cubes = random.normal(size=(3, 5, *(EDGE + ROOM,) * 3)).astype(np.float32)
    cubes[:, 2] = 0
    cubes[:, 4] = 0
    middle = (EDGE + ROOM) // 2
    cubes[:, 4, middle, middle, middle] = 1
    views = list(varied(cubes, np.random.default_rng(1)))
    cut = slice(ROOM // 2, -ROOM // 2)
    assert len(views) == VIEWS and {v.shape for v in views} == {(3, 5, EDGE, EDGE, EDGE)}
    assert np.array_equal(views[0], cubes[:, :, cut, cut, cut])
    assert np.array_equal(views[1], views[0][:, :, ::-1])
    for view in views[2:]:
        assert not view[:, 2].any() and (view[:, 4].sum((1, 2, 3)) == 1).all()
        assert not np.array_equal(view[:, 1], views[0][:, 1])
    again = list(varied(cubes, np.random.default_rng(1)))
    assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))


def test_from_candidates_of_one_kind_nothing_can_be_learnt(tmp_path: Path) -> None:
    found = _described(60, 5)
    alone = Found(found.described[:, ::3], found.lesion[::3], found.peak[::3])
    with pytest.raises(InputRefused, match="all of one kind"):
        train(alone, CandidateTraining(batch=8), tmp_path, "cpu")


def test_a_segmenter_is_taught_a_second_look_from_the_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {"segmenter": DEMO, "out": out, "data": None, "cases": 3, "chance": 0.05,
               "hidden": 8, "epochs": 1, "rate": 1e-3, "seed": 0, "workers": 1,
               "device": "cpu"}  # fmt: skip
    training.main(**options)
    bundle = load_bundle(out)
    entry = bundle.manifest["parts"]["segmenter"]
    assert entry["config"]["candidates"] == 8 and bundle.segmenter_config.candidate_chance == 0.05
    said = entry["training"]["candidates"]
    assert said["patients"] == 2 and said["source"].startswith("synthetic")
    assert entry["metrics"]["candidates"]["patients"] == 1
    before, after = load_bundle(DEMO).segmenter.state_dict(), bundle.segmenter.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items() if "candidates." not in k)
    files = sorted((out / "cache").glob("*.npz"))
    kept = training.load(files)
    assert len(files) == 3 and kept.lesion.any() and not kept.lesion.all()
    assert kept.described.shape == (
        VIEWS,
        len(kept.peak),
        description_size(bundle.segmenter_config),
    )

    stamps = [f.stat().st_mtime_ns for f in files]
    (out / "segmenter.safetensors").unlink()
    training.main(**options)  # goes on with what is there
    assert [f.stat().st_mtime_ns for f in files] == stamps
    again = load_bundle(out).segmenter.state_dict()
    assert all(torch.equal(v, again[k]) for k, v in after.items())
    with pytest.raises(InputRefused, match="candidates of other patients"):
        training.main(**(options | {"seed": 1}))
    plan = json.loads((out / "cache" / "plan.json").read_text())
    assert plan["seed"] == 0
