"""The net that draws candidates: what it sees, what it may draw, what it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from bmcore.domain import InputRefused
from bmcore.models.candidates import find_candidates
from bmcore.models.configs import CONTOUR_INPUTS
from bmcore.models.lesion_refinement import (
    REACH,
    SHARPER,
    build_contour_net,
    is_small,
    outline,
    stack,
)
from training.data.lesion_crops import (
    CROP,
    IGNORED,
    SEEN,
    Crops,
    changed,
    cut_crops,
    join,
    no_crops,
)
from training.evaluation.small_nets import measure_refinement
from training.loops.lesion_refinement import ContourTraining, train


def _probabilities(core: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A quarter of the core is necrosis, a quarter of the rest oedema."""
    return np.stack([(1 - core) * 0.75, core * 0.25, (1 - core) * 0.25, core * 0.75])


def test_a_new_net_repeats_the_first_answer() -> None:
    random = np.random.default_rng(0)
    core = random.uniform(0.01, 0.99, (9, 8, 7)).astype(np.float32)
    images = random.normal(size=(4, 9, 8, 7)).astype(np.float32)
    own, brain = core > 0.5, core > 0.2
    seen = stack(images, _probabilities(core), own, brain)
    assert seen.shape == (CONTOUR_INPUTS, 9, 8, 7) and seen.dtype == np.float32
    assert np.array_equal(seen[:4], images) and np.array_equal(seen[7] > 0, own)
    assert np.array_equal(seen[8] > 0, brain) and np.allclose(seen[6], (1 - core) / 4)
    net = build_contour_net(8)
    with torch.inference_mode():
        drawn = torch.softmax(net(torch.from_numpy(seen)[None]), 1)[0].numpy()
    assert np.allclose(drawn[1] + drawn[2], core, atol=1e-4)
    assert np.allclose(drawn[1], core / 4, atol=0.01)


def test_an_outline_keeps_to_the_brain_and_off_other_candidates() -> None:
    core = np.full((30, 30, 30), 0.001, np.float32)
    core[10:14, 10:14, 10:14] = 0.9  # the candidate
    core[10:14, 14:16, 10:14] = 0.5  # connected with it
    core[10:14, 10:14, 14:16] = 0.6  # another candidate at its side
    core[10:12, 18:20, 10:12] = 0.7  # by itself
    parts = np.zeros((30, 30, 30), np.int32)
    parts[10:14, 10:14, 10:14] = 3
    parts[10:14, 10:14, 14:16] = 5
    brain = np.ones((30, 30, 30), bool)
    brain[10] = False
    box = (slice(10, 14),) * 3
    images = np.zeros((4, 30, 30, 30), np.float32)
    net = build_contour_net(8)
    here, drawn, share = outline(net, images, _probabilities(core), brain, parts, 3, box)
    assert here == (slice(10 - REACH, 14 + REACH),) * 3
    whole = np.zeros_like(core)
    whole[here] = drawn
    expected = np.zeros_like(core)
    expected[11:14, 10:14, 10:14] = 0.9**SHARPER
    expected[11:14, 14:16, 10:14] = 0.5**SHARPER
    assert np.allclose(whole, expected, atol=1e-3)
    assert np.allclose(share[whole[here] > 0], 0.25, atol=0.01)
    with torch.no_grad():
        net.last.bias.copy_(torch.tensor([50.0, 0, 0]))
    assert not outline(net, images, _probabilities(core), brain, parts, 3, box)[1].any()


def test_crops_hold_the_lesion_of_the_candidate_and_ignore_others() -> None:
    truth = np.zeros((64, 64, 64), np.uint8)
    truth[20:26, 20:26, 20:26] = 3
    truth[22:24, 22:24, 22:24] = 1
    truth[19:27, 19:27, 27:29] = 2  # oedema
    truth[20:23, 20:23, 30:33] = 3  # a neighbour
    truth[30:62, 40:44, 40:44] = 3  # long
    core = np.where(np.isin(truth, (1, 3)), 0.9, 0.001).astype(np.float32)
    core[20:23, 20:23, 30:33] = 0.001  # the net does not see it
    core[5:8, 50:53, 50:53] = 0.4  # no lesion
    parts, found = find_candidates(core, 0.05)
    images = np.random.default_rng(0).normal(size=(4, 64, 64, 64)).astype(np.float32)
    brain = np.ones((64, 64, 64), bool)
    crops = cut_crops(images, _probabilities(core), brain, truth, parts, found)
    assert len(found) == 3 and len(crops) == 1  # one is none, one is large
    near = crops.label[0]
    assert [np.count_nonzero(near == v) for v in (1, 2, IGNORED)] == [8, 6**3 - 8, 27]
    low = np.array(found[1].centre) - CROP // 2
    view = tuple(slice(a, a + CROP) for a in low)
    assert np.array_equal(near == 1, truth[view] == 1)
    assert np.array_equal(crops.own[0], parts[view] == found[1].number)
    assert np.array_equal(crops.images[0], images[(slice(None), *view)].astype(np.float16))
    assert [is_small((slice(0, 16),) * 3), is_small((slice(0, 17), *(slice(0, 9),) * 2))] == [
        True,
        False,
    ]
    none = cut_crops(images, _probabilities(core), brain, truth * 0, parts, found)
    assert len(none) == 0 and len(join([crops, none, no_crops()])) == len(crops)


def _lesions(count: int, seed: int) -> Crops:
    """Balls of bright t1c of which the net saw the middle only."""
    random = np.random.default_rng(seed)
    away = ((np.indices((CROP,) * 3) - CROP // 2) ** 2).sum(0)
    images = random.normal(0, 0.1, (count, 4, *away.shape)).astype(np.float16)
    probabilities = np.zeros(images.shape, np.float16)
    own, label = np.zeros((2, count, *away.shape), bool)
    for n, radius in enumerate(random.uniform(1.5, 4.5, count)):
        label[n] = away <= radius**2
        own[n] = away <= (radius / 2) ** 2
        images[n, 1][label[n]] += 3
    probabilities[:, 3] = np.where(own, 0.3, 0.001)
    probabilities[:, 0] = 1 - probabilities[:, 3]
    return Crops(images, probabilities, own, np.ones_like(own), label * np.uint8(2))


def test_the_net_learns_to_draw(tmp_path: Path) -> None:
    config = ContourTraining(channels=8, epochs=12, batch=8, rate=4e-3, seed=1)
    result = train(_lesions(48, 1), config, tmp_path, "cpu")
    assert len(result["curve"]) == 12 and result["curve"][-1] < result["curve"][0] / 2
    net = build_contour_net(8)
    net.load_state_dict(result["weights"])
    found = measure_refinement(net, _lesions(20, 2))
    assert found["lesions"] == 20
    assert found["dice_before"] < 0.45 < 0.8 < found["dice_contours"]
    again = train(_lesions(48, 1), config, tmp_path, "cpu")
    assert all(torch.equal(v, again["weights"][k]) for k, v in result["weights"].items())


def test_a_step_sees_a_crop_moved_turned_and_mirrored_with_its_label() -> None:
    crops = _lesions(1, 3)
    views = [changed(crops, 0, np.random.default_rng(n)) for n in range(6)]
    for seen, label in views:
        assert seen.shape == (CONTOUR_INPUTS, SEEN, SEEN, SEEN) and label.shape == seen.shape[1:]
        bright = seen[1] > seen[1].max() / 2
        shared = np.count_nonzero(bright & (label == 2))
        assert shared > 0.6 * np.count_nonzero(label == 2)
        assert np.count_nonzero(seen[7]) == np.count_nonzero(crops.own[0])
    assert len({label.tobytes() for _, label in views}) > 3
    same = changed(crops, 0, np.random.default_rng(0))
    assert np.array_equal(same[0], views[0][0]) and np.array_equal(same[1], views[0][1])


def test_without_lesions_nothing_can_be_learnt(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no candidate touches a metastasis"):
        train(no_crops(), ContourTraining(), tmp_path, "cpu")
    assert measure_refinement(build_contour_net(4), no_crops()) == {"lesions": 0}
