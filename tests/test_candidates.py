"""False-positive reduction: what is cut out, what is learnt, what becomes of the answer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bmcore.domain import InputRefused
from bmcore.models.bundle_writer import write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.candidates import (
    EDGE,
    FEATURES,
    build_candidate_head,
    classify,
    cut_cubes,
    enhancement,
    extract_features,
    find_candidates,
)
from bmcore.models.configs import KNOTS, SegmenterConfig
from bmcore.models.false_positive_reduction import (
    NO_REDUCTION,
    reduce_false_positives,
    without_false_positive_reduction,
)
from bmcore.models.inference import predict_probabilities
from bmcore.models.segmenter import build_segmenter
from training import candidates as training
from training.candidates import halved
from training.data.candidate_dataset import (
    VIEWS,
    Found,
    load,
    load_crops,
    varied,
)
from training.evaluation.small_nets import measure_classification
from training.loops.false_positive_reduction import REFINED, CandidateTraining, train, units
from training.loops.segmenter_trainer import begin_with, settle
from training.run.files import tensors_hash

TINY = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32)
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
    return build_segmenter(TINY.changed(**more)).eval()


class _Sure(torch.nn.Module):
    """Says that the first candidate of a pass is a lesion with p = 0.8 and the others with 0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, described: torch.Tensor) -> torch.Tensor:
        chance = torch.full((len(described),), 0.1)
        chance[0] = 0.8
        return torch.logit(chance)


def _sure(**more: object) -> torch.nn.Module:
    """A segmenter whose head is ``_Sure``."""
    net = _net(candidates=8, candidate_threshold=0.05, **more)
    net.candidates = _Sure()
    return net


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


def _cube(own: tuple[slice, ...], bright: tuple[slice, ...]) -> npt.NDArray[np.float32]:
    """A candidate in tissue of 1 whose t1c is 3 in ``bright``."""
    cube = np.ones((5, EDGE, EDGE, EDGE), np.float32)
    cube[(1, *bright)] = 3
    cube[4] = 0
    cube[(4, *own)] = 1
    return cube


def _row(cube: npt.NDArray[np.float32], peaks: tuple[float, ...] = (0.5,)) -> dict[str, float]:
    """The features of the first of the candidates, all in the same cube, by name."""
    described = extract_features(np.stack([cube] * len(peaks)), np.array(peaks))
    assert described.shape == (len(peaks), len(FEATURES)) and described.dtype == np.float32
    assert np.isfinite(described).all()
    return dict(zip(FEATURES, described[0].tolist(), strict=True))


DOT = (slice(15, 18),) * 3


def test_a_dot_is_measured() -> None:
    row = _row(_cube(DOT, DOT))
    assert row["t1c mean"] == row["t1c maximum"] == 3
    assert row["t1c median around"] == 1 == row["t1n mean"]
    assert row["t1c standard deviation around"] == 0
    for share in ("0.35", "0.5", "0.7"):
        assert row[f"bright from {share}: ln(1 + voxels)"] == pytest.approx(np.log(28))
        assert row[f"bright from {share}: largest extent"] == 3
        assert row[f"bright from {share}: faces of the cube touched"] == 0
    assert row["ln(1 + voxels)"] == pytest.approx(np.log(28))
    assert row["least spread"] == pytest.approx(row["largest spread"], abs=1e-5)
    assert row["stretch"] == pytest.approx(1)
    assert row["within 2: bright"] == pytest.approx(27 / 125)
    assert row["within 2: outside the brain"] == 0


def test_a_vessel_is_long_where_the_candidate_on_it_is_round() -> None:
    vessel = (slice(15, 18), slice(15, 18), slice(None))
    dot, rod = _row(_cube(DOT, DOT)), _row(_cube(DOT, vessel))
    assert rod["stretch"] == pytest.approx(1)
    assert rod["bright from 0.5: largest extent"] == EDGE
    assert rod["bright from 0.5: faces of the cube touched"] == 2
    assert rod["bright from 0.5: stretch"] > 5 * dot["bright from 0.5: stretch"]
    faint = _cube(DOT, DOT)
    faint[1, 15:18, 15:18, 18:] = 1.8  # 40 % of the contrast
    row = _row(faint)
    assert row["bright from 0.35: faces of the cube touched"] == 1
    assert row["bright from 0.5: faces of the cube touched"] == 0


def test_what_lies_outside_the_brain_is_not_its_surroundings() -> None:
    cube = _cube(DOT, DOT)
    cube[:4, :14] = 0
    row = _row(cube)
    assert row["t1c mean around"] == 1 and row["t1c 5 % around"] == 1
    assert row["within 8: outside the brain"] == pytest.approx(6 / 17)


def test_large_thin_and_lone_candidates_are_measured_too() -> None:
    everything = (slice(None),) * 3
    assert _row(_cube(everything, everything))["ln(1 + voxels)"] == pytest.approx(
        np.log(1 + EDGE**3)
    )
    two = (slice(15, 17), slice(15, 16), slice(15, 16))
    assert _row(_cube(two, two))["largest spread"] == 0
    alone = _cube(DOT, DOT)
    alone[:4, ~(alone[4] > 0)] = 0  # nothing but the candidate is brain
    _row(alone)
    flat = _cube(DOT, DOT)
    flat[:4] = 0  # every sequence is missing here
    assert _row(flat)["bright from 0.5: ln(1 + voxels)"] == 0
    assert extract_features(flat[None][:0], np.zeros(0)).shape == (0, len(FEATURES))


def test_the_other_candidates_of_the_scan_are_counted() -> None:
    cube = _cube(DOT, DOT)
    row = _row(cube, (0.3, 0.95, 0.6, 0.25, 0.05))
    assert row["others above 0.9"] == pytest.approx(np.log(2))
    assert row["others above 0.5"] == pytest.approx(np.log(3))
    assert row["others above 0.2"] == pytest.approx(np.log(4))
    assert row["others"] == pytest.approx(np.log(5))
    assert row["sum of their peaks"] == pytest.approx(1.85)
    assert row["highest other peak"] == pytest.approx(0.95)
    assert row["next highest"] == pytest.approx(0.6)
    assert row["share above 0.9"] == pytest.approx(1 / 5)
    assert row["log odds of the peak"] == pytest.approx(np.log(0.3 / 0.7))
    lone = _row(cube, (1.0,))
    assert lone["others"] == lone["highest other peak"] == lone["sum of their peaks"] == 0
    assert lone["log odds of the peak"] == pytest.approx(np.log(9999), rel=1e-4)


def test_features_become_normal_scores_of_their_ranks() -> None:
    head = build_candidate_head(2, 8)
    known = np.stack([np.arange(1001.0), np.repeat([0, 0, 0, 7], 251)[:1001]], 1)
    shares = torch.linspace(0, 1, KNOTS, dtype=torch.float64)
    head.quantiles.copy_(torch.quantile(torch.from_numpy(known), shares, dim=0).T)
    asked = torch.tensor([[500.0, 0.0], [841.34, 7.0], [-50.0, -1.0], [5000.0, 9.0], [3.0, 3.0]])
    scores = head.scores(asked)
    assert scores[:, 0].tolist() == pytest.approx([0, 1, -3, 3, -2.75], abs=0.01)
    # 75 of 100 steps share the value 0, 25 the value 7: the middle of each, beyond them the ends
    assert scores[:, 1].tolist() == pytest.approx([-0.32, 1.15, -3, 3, 0.67], abs=0.03)


def test_values_that_many_candidates_share_keep_their_rank_in_a_kept_head() -> None:
    head, kept = build_candidate_head(1, 8), build_candidate_head(1, 8)
    head.quantiles.copy_(torch.linspace(-1, 1, KNOTS)[None].clamp(float(np.log(2)) - 1))
    kept.load_state_dict(halved(head.state_dict()))
    common = torch.tensor([[float(np.log(2)) - 1], [0.3]])
    assert torch.equal(head.scores(common), kept.scores(common))
    assert kept.layers[1].weight.equal(head.layers[1].weight.half().float())


def test_each_candidate_is_judged() -> None:
    torch.manual_seed(0)
    head = build_candidate_head(len(FEATURES), 8)
    cubes = np.stack([_cube(DOT, DOT), _cube(DOT, (slice(None),) * 3)])
    peaks = np.array([0.1, 0.9])
    probabilities = classify(head, cubes, peaks)
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(extract_features(cubes, peaks)))
    assert (
        np.allclose(probabilities, torch.sigmoid(logits)) and probabilities[0] != probabilities[1]
    )
    assert classify(head, cubes[:0], peaks[:0]).shape == (0,)


def test_the_judged_probability_becomes_the_peak_and_everything_else_keeps_its_share() -> None:
    core = _core()
    probabilities = np.stack([(1 - core) * 0.75, core * 0.25, (1 - core) * 0.25, core * 0.75])
    images = np.zeros((4, *core.shape), np.float32)
    out = reduce_false_positives(_sure(), images, core >= 0, probabilities)
    parts, _ = find_candidates(core, 0.05)
    now = out[1] + out[3]
    assert now[parts == 1].max() == pytest.approx(0.8, abs=1e-6)
    assert now[parts == 2].max() == pytest.approx(0.1, abs=1e-6)
    assert now[0, 5, 5] == pytest.approx(0.4, abs=1e-6)  # half of the peak, as before
    assert np.array_equal(out[:, parts == 0], probabilities[:, parts == 0])
    assert np.allclose(out.sum(0), 1, atol=1e-6)
    assert np.allclose(out[1], now / 4, atol=1e-6) and np.allclose(out[2], (1 - now) / 4, atol=1e-6)
    assert probabilities[1, 22, 22, 22] == pytest.approx(0.225)  # the input is left alone


def test_a_part_that_was_certain_can_be_taken_back() -> None:
    probabilities = np.zeros((4, 16, 16, 16), np.float32)
    probabilities[0] = 1
    probabilities[:, 4:8, 4:8, 4:8] = np.array([0, 0, 0, 1], np.float32)[:, None, None, None]
    out = reduce_false_positives(
        _sure(), np.zeros((4, 16, 16, 16), np.float32), probabilities[0] >= 0, probabilities
    )
    assert np.isfinite(out).all() and np.allclose(out.sum(0), 1)
    assert out[3, 5, 5, 5] == pytest.approx(0.8, abs=1e-6)
    assert out[0, 5, 5, 5] == pytest.approx(0.2, abs=1e-6)


def test_the_contour_net_draws_what_the_head_judges() -> None:
    core = np.zeros((24, 24, 24), np.float32)
    core[10:13, 10:13, 10:13] = 0.1
    core[12:15, 12:15, 18:20] = 0.2
    probabilities = np.stack([1 - core, core * 0, core * 0, core])
    brain = np.ones((24, 24, 24), bool)
    brain[:10] = False
    net = _sure(contours=8)

    class Ball(torch.nn.Module):
        """Draws 5 x 5 x 5 voxels in the middle of the box, a tenth of it necrosis."""

        def __init__(self) -> None:
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))

        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            logits = torch.zeros(1, 3, *seen.shape[2:])
            logits[:, 0] = 9
            i, j, k = (n // 2 for n in seen.shape[2:])
            logits[:, :, i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = torch.log(
                torch.tensor([0.5, 0.05, 0.45])
            )[None, :, None, None, None]
            return logits

    net.contours = Ball()
    out = reduce_false_positives(net, np.zeros((4, 24, 24, 24), np.float32), brain, probabilities)
    ball = np.zeros((24, 24, 24), bool)
    ball[10:14, 9:14, 9:14] = True  # not outside the brain
    assert np.allclose((out[1] + out[3])[ball], 0.8) and np.allclose(out[1][ball], 0.08)
    assert np.allclose(out.sum(0), 1, atol=1e-6)
    second = (out[1] + out[3])[12:15, 12:15, 18:20]
    assert second.max() == pytest.approx(0.1, abs=1e-6)
    wide = np.zeros((24, 24, 24), np.float32)
    wide[12, 12, 2:20] = 0.3
    wide[12, 12, 2] = 0.15
    out = reduce_false_positives(net, np.zeros((4, 24, 24, 24), np.float32), brain,
                 np.stack([1 - wide, wide * 0, wide * 0, wide]))  # fmt: skip
    assert np.allclose(out[3], wide * 0.8 / 0.3, atol=1e-6)  # too large to be drawn


def test_lesion_refinement_needs_false_positive_reduction() -> None:
    with pytest.raises(ValueError, match="give candidates too"):
        TINY.changed(contours=8)
    with pytest.raises(ValueError, match="contours must not be negative"):
        TINY.changed(candidates=8, contours=-1)
    weights = _net(candidates=8, contours=8).state_dict()
    assert without_false_positive_reduction(weights).keys() == _net().state_dict().keys()


def test_a_segmenter_with_false_positive_reduction_answers_with_its_peaks() -> None:
    net = _net(candidates=8, candidate_threshold=0.3)
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 32)).astype(np.float32)
    brain = np.ones((32, 32, 32), bool)
    asked = net.config
    net.config = asked.changed(candidates=0)
    before = predict_probabilities(net, images, brain)
    net.config = asked
    after = predict_probabilities(net, images, brain)
    core = before[1] + before[3]
    parts, found = find_candidates(core, 0.3)
    judged = classify(
        net.candidates, cut_cubes(images, parts, found), np.array([c.peak for c in found])
    )
    assert len(found) > 0
    for candidate, chance in zip(found, judged, strict=True):
        peak = (after[1] + after[3])[parts == candidate.number].max()
        assert peak == pytest.approx(chance, abs=1e-5)
    with pytest.raises(ValueError, match="candidate_threshold"):
        TINY.changed(candidate_threshold=0.0)
    with pytest.raises(ValueError, match="candidates must not be negative"):
        TINY.changed(candidates=-1)


def test_what_does_not_enhance_is_no_metastasis() -> None:
    core = _core()
    probabilities = np.stack([1 - core, core * 0.25, np.zeros_like(core), core * 0.75])
    images = np.zeros((4, *core.shape), np.float32)
    images[0] = images[2] = images[3] = 4  # the other sequences do not count
    images[1, 0:3, 5:8, 5:8] = 1.5
    images[1, 20:26, 20:26, 20:26] = 0.5
    images[1, 22, 22, 22] = 6  # a single voxel of 216: noise
    images[1, 19, 22, 22] = 5  # beside the second
    parts, found = find_candidates(core, 0.05)
    assert enhancement(images, probabilities, parts, found).tolist() == [1.5, 0.5]
    for least, peaks in ((None, (0.8, 0.1)), (0.4, (0.8, 0.1)), (1.0, (0.8, 0)), (1.6, (0, 0))):
        out = reduce_false_positives(
            _sure(min_t1c_enhancement=least), images, core >= 0, probabilities
        )
        now = out[1] + out[3]
        assert [now[parts == n].max() for n in (1, 2)] == pytest.approx(peaks, abs=1e-6)
        assert np.allclose(out.sum(0), 1, atol=1e-6)


def test_a_thin_rim_is_enough_to_enhance_and_an_unlikely_one_is_not() -> None:
    core = _core()
    probabilities = np.stack([1 - core, core * 0.75, np.zeros_like(core), core * 0.25])
    images = np.zeros((4, *core.shape), np.float32)
    images[1, 20:26, 20:26, 20:26] = -2
    images[1, 20, 20:26, 20:23] = 3  # 18 of 216 voxels
    parts, found = find_candidates(core, 0.05)
    assert enhancement(images, probabilities, parts, found)[1] == -2  # they are called necrosis
    probabilities[[1, 3], 20, 20:26, 20:23] = probabilities[[3, 1], 20, 20:26, 20:23]
    assert enhancement(images, probabilities, parts, found)[1] == 3
    probabilities[[1, 3], 20, 20:26, 20:23] *= 0.4  # less than half as likely as the peak
    assert enhancement(images, probabilities, parts, found)[1] == -2


def test_false_positive_reduction_is_left_out_of_the_weights_that_a_new_run_begins_with(
    tmp_path: Path,
) -> None:
    taught, plain = _net(candidates=8, contours=8), build_segmenter(TINY)
    config = TINY.changed(candidates=8, contours=8)
    said = {"steps": 7, "candidates": {"patients": 3}}
    file = write_part(tmp_path, "segmenter", taught.state_dict(), config.as_dict(), said)
    begin = begin_with(file, 0)
    settle(plain, begin)
    assert all(torch.equal(v, taught.state_dict()[k]) for k, v in plain.state_dict().items())
    assert begin.training == {"steps": 7}
    assert begin.digest == tensors_hash(plain.state_dict())


# --- training -------------------------------------------------------------------------------------


def _described(count: int, seed: int) -> Found:
    """Two numbers of twelve tell lesions from others together; the peaks say nothing."""
    random = np.random.default_rng(seed)
    lesion = np.arange(count) % 3 == 0
    described = random.normal(size=(2, count, 12))
    described[:, :, 3] += np.where(lesion, 2, -2) + described[:, :, 7]
    return Found(described.astype(np.float32), lesion, random.uniform(0.05, 0.3, count))


def test_false_positive_reduction_learns_what_the_peak_does_not_tell(tmp_path: Path) -> None:
    config = CandidateTraining(hidden=8, epochs=20, batch=16, rate=1e-2)
    result = train(_described(300, 1), config, tmp_path, "cpu")
    head = build_candidate_head(12, 8)
    head.load_state_dict(result["weights"])
    found = measure_classification(head, _described(200, 2), patients=40)
    assert found["second look"]["auc"] > 0.95 > 0.65 > found["peak"]["auc"]
    kept = found["second look"]["lesions_kept_at_false_per_patient"]
    assert 0.7 < kept["0.25"] <= kept["0.5"] <= kept["2"]
    assert len(result["curve"]) == 20 and result["curve"][-1] < result["curve"][0] / 1.5
    again = train(_described(300, 1), config, tmp_path, "cpu")
    assert all(torch.equal(v, again["weights"][k]) for k, v in result["weights"].items())


def test_a_head_goes_on_from_another_and_keeps_what_that_knew(tmp_path: Path) -> None:
    config = CandidateTraining(hidden=8, epochs=20, batch=16, rate=1e-2)
    first = train(_described(300, 1), config, tmp_path, "cpu")["weights"]
    assert units(first) == 8
    little = replace(config, epochs=2, rate=1e-3)
    on = train(_described(32, 3), little, tmp_path, "cpu", first)["weights"]
    alone = train(_described(32, 3), little, tmp_path, "cpu")["weights"]
    assert torch.equal(on["quantiles"], first["quantiles"])
    assert not torch.equal(on["layers.1.weight"], first["layers.1.weight"])
    auc = []
    for weights in (on, alone):
        head = build_candidate_head(12, 8)
        head.load_state_dict(weights)
        found = measure_classification(head, _described(200, 2), patients=40)
        auc.append(found["second look"]["auc"])
    assert auc[0] > 0.95 > 0.9 > auc[1]


def test_views_are_the_cube_and_augmented_ones() -> None:
    random = np.random.default_rng(0)
    cubes = random.normal(size=(3, 5, EDGE, EDGE, EDGE)).astype(np.float32)
    cubes[:, 2] = 0
    cubes[:, 4] = 0
    cubes[:, 4, 16, 16, 16] = 1
    before = cubes.copy()
    views = list(varied(cubes, np.random.default_rng(1)))
    assert len(views) == VIEWS and {v.shape for v in views} == {cubes.shape}
    assert np.array_equal(views[0], before)
    for view in views[1:]:
        assert not view[:, 2].any() and np.array_equal(view[:, 4], before[:, 4])
        assert not np.array_equal(view[:, 1], before[:, 1])
    again = list(varied(cubes, np.random.default_rng(1)))
    assert all(np.array_equal(a, b) for a, b in zip(views, again, strict=True))


def test_from_candidates_of_one_kind_nothing_can_be_learnt(tmp_path: Path) -> None:
    found = _described(60, 5)
    alone = Found(found.described[:, ::3], found.lesion[::3], found.peak[::3])
    with pytest.raises(InputRefused, match="all of one kind"):
        train(alone, CandidateTraining(batch=8), tmp_path, "cpu")


def test_a_segmenter_is_taught_false_positive_reduction_from_the_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {"segmenter": DEMO, "out": out, "data": None, "cases": 2, "chance": 0.05,
               "hidden": 8, "epochs": 1, "channels": 4, "contour_epochs": 1,
               "rate": 1e-3, "seed": 0, "workers": 1, "mimics": 0.0, "device": "cpu"}  # fmt: skip
    training.main(**options)
    bundle = load_bundle(out)
    entry = bundle.manifest["parts"]["segmenter"]
    assert entry["config"]["candidates"] == 8
    assert bundle.segmenter_config.reduction.candidate_threshold == 0.05
    said = entry["training"]["candidates"]
    assert said["patients"] == 1 and said["source"].startswith("synthetic")
    assert entry["metrics"]["candidates"]["patients"] == 1
    before, after = load_bundle(DEMO).segmenter.state_dict(), bundle.segmenter.state_dict()
    assert all(
        torch.equal(v, after[k]) for k, v in without_false_positive_reduction(before).items()
    )
    assert entry["config"]["contours"] == 4
    assert (
        said["contours"]["lesions"] > 0
        and len(entry["metrics"]["candidates"]["contours"]["loss"]) == 1
    )
    files = sorted((out / "cache").glob("*.npz"))
    kept = load(files)
    assert len(files) == 2 and kept.lesion.any() and not kept.lesion.all()
    assert kept.described.shape == (VIEWS, len(kept.peak), len(FEATURES))
    assert len(load_crops(files)) >= said["contours"]["lesions"]

    stamps = [f.stat().st_mtime_ns for f in files]
    (out / "segmenter.safetensors").unlink()
    training.main(**options)  # goes on with what is there
    assert [f.stat().st_mtime_ns for f in files] == stamps
    again = load_bundle(out).segmenter.state_dict()
    assert all(torch.equal(v, again[k]) for k, v in after.items())
    with pytest.raises(InputRefused, match="candidates of other patients or another net"):
        training.main(**(options | {"seed": 1}))
    plan = json.loads((out / "cache" / "plan.json").read_text())
    assert plan["seed"] == 0

    refined = tmp_path / "refined"
    shutil.copytree(out / "cache", refined / "cache")
    plan["weights"] = load_bundle(out).entry("segmenter")["sha256"]  # of the same net below
    (refined / "cache" / "plan.json").write_text(json.dumps(plan))
    training.main(**(options | {"segmenter": out, "out": refined, "refine": True, "hidden": 99}))
    last = load_bundle(refined)
    weights, said = last.segmenter.state_dict(), last.entry("segmenter")["training"]["candidates"]
    changed = {k for k, v in weights.items() if not torch.equal(v, after[k])}
    assert changed and all(k.startswith("candidates.layers") for k in changed)
    assert said["epochs"] == REFINED["epochs"] and said["start"]["epochs"] == 1
    assert last.segmenter_config.reduction.candidates == 8  # as many units as that it went on from
    bare = tmp_path / "bare"
    write_part(bare, "segmenter", without_false_positive_reduction(before),
               entry["config"] | NO_REDUCTION)  # fmt: skip
    with pytest.raises(InputRefused, match="no false-positive reduction to go on from"):
        training.main(**(options | {"segmenter": bare, "out": tmp_path / "x", "refine": True}))
