"""The audit of a Grad-CAM map: nets by hand whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, Primary
from bmcore.inference import audit
from bmcore.inference.audit import FAILS, OPEN, PASSES, Audit
from bmcore.models.cnn import lesion_logits
from tests.test_reading_explain import CORNERS, net_with_evidence_in_channels

T1C = 1  # CORNERS[1]: there the net by hand finds its evidence for melanoma


def patch_of_four_spots(lesion_at: int) -> np.ndarray:
    """A spot of each sequence in a corner of its own; one of them is marked as enhancing tumour.

    The rest of the cube is brain of almost no brightness.
    """
    patch = np.zeros((1, 7, 32, 32, 32), np.float32)
    patch[0, :4] = 1e-3
    for channel, corner in CORNERS.items():
        patch[(0, channel, *corner)] = 1
    patch[(0, 6, *CORNERS[lesion_at])] = 1
    return patch


def verdicts(found: Audit) -> list[str]:
    return [check.verdict for check in found.checks]


def test_a_map_of_what_the_net_uses_on_the_lesion_passes_place_and_deletion() -> None:
    net, patch = net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=T1C)
    found = audit.measure(net, patch, 1, Primary.MELANOMA)
    assert verdicts(found)[:2] == [PASSES, PASSES]
    # 8 voxels an axis, and 3 more beside them where the map falls from 1 to 0: .75, .5, .25
    assert found.in_core == pytest.approx((8 / 9.5) ** 3) and found.in_oedema == 0
    assert found.filled == pytest.approx(8**3 / 32**3, abs=1e-6)
    assert found.area < min(found.random_areas)
    assert found.curve[0] == pytest.approx(found.random_mean[0])  # nothing is flattened yet
    assert found.curve[-1] == pytest.approx(found.random_mean[-1])  # everything is
    assert found == audit.measure(net, patch, 1, Primary.MELANOMA)


def test_integrated_gradients_find_the_spot_that_adds_to_the_score() -> None:
    """By hand: the score rises with the T1 Gd spot, and nowhere else."""
    from bmcore.inference.explain import INTEGRATED, evidence

    net, patch = net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=T1C)
    heat = evidence(net, patch, Primary.MELANOMA, INTEGRATED)
    assert heat.max() == 1 and heat.shape == (32, 32, 32) and heat.min() >= 0
    spot = np.zeros_like(heat, bool)
    spot[tuple(CORNERS[T1C])] = True
    assert heat[spot].mean() > 20 * heat[~spot].mean()
    away = np.ones_like(spot)
    reach = [s.indices(32) for s in CORNERS[T1C]]
    away[tuple(slice(max(0, low - 4), high + 4) for low, high, _ in reach)] = False
    assert heat[away].max() < 0.1
    found = audit.measure(net, patch, 1, Primary.MELANOMA, INTEGRATED)
    assert found.method == INTEGRATED and verdicts(found)[:2] == [PASSES, PASSES]


def test_integrated_gradients_add_up_to_what_the_flattened_cube_lacks() -> None:
    """Completeness (Sundararajan et al. 2017): all gains and losses add up to the difference of the
    log-odds; here, where nothing is lost, the gains alone, before they are made smooth."""
    from bmcore.inference import explain

    net, patch = net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=T1C)
    patch[0, [0, 2, 3]] = 0  # the T1 Gd spot alone is left
    flat = patch.copy()
    flat[:, :4] = 0
    index = PRIMARIES.index(Primary.MELANOMA)
    logits = [lesion_logits(net, p)[0] for p in (patch, flat)]
    with_spot, without = (z[index] - z.mean() for z in logits)
    gains = explain.integrated_gradients(net, patch, Primary.MELANOMA)
    assert gains.sum() == pytest.approx(with_spot - without, rel=0.02)


def test_a_small_lesion_is_checked_by_the_map_that_tells_voxels_apart() -> None:
    from bmcore.inference.explain import INTEGRATED

    small = Audit(1, Primary.RCC, False, in_core=0.9, cells=1.0)
    assert verdicts(small) == [OPEN] * 3 and "1.0 of the map's 6 mm cells; 3" in _because(small)
    fine = replace(small, method=INTEGRATED)
    assert verdicts(fine)[0] == PASSES
    tiny = replace(fine, cells=20 / 64)
    assert verdicts(tiny) == [OPEN] * 3 and "20 voxels of 1.5 mm; 24 are" in _because(tiny)
    assert not small.passes and not tiny.passes


def _because(found: Audit) -> str:
    return found.checks[0].because


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("passes", "passes", "gradcam"),
        ("fails", "passes", "integrated gradients"),
        ("fails", "fails", "gradcam"),
        ("fails", "empty", "gradcam"),
        ("empty", "passes", "integrated gradients"),
        ("empty", "fails", "gradcam"),
        ("too small", "passes", "integrated gradients"),
    ],
)
def test_the_second_map_is_shown_where_it_passes_and_the_first_does_not(
    first: str, second: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Audit(
        1, Primary.RCC, False, in_core=0.9, cells=9, alike=(0.0,), curve=(1.0, 0.0), area=0.1,
        random_areas=(0.5,) * 20,
    )  # fmt: skip
    kept = {
        "passes": good,
        "fails": replace(good, in_core=0.1),
        "empty": Audit(1, Primary.RCC, empty=True),
        "too small": replace(good, cells=1),
    }
    assert [kept[name].passes for name in kept] == [True, False, False, False]

    def measured(*given: Any) -> Audit:
        second_map = given[-1] == "integrated gradients"
        return replace(kept[second], method=given[-1]) if second_map else kept[first]

    monkeypatch.setattr(audit, "measure", measured)
    nothing: Any = None
    assert audit.trusted(nothing, nothing, 1, Primary.RCC).method == expected


def test_a_map_beside_the_marked_lesion_fails_the_place() -> None:
    found = audit.measure(
        net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=0), 1, Primary.MELANOMA
    )
    assert verdicts(found)[0] == FAILS and found.in_core < 0.05
    assert "of the map lies in marked tissue" in found.checks[0].because


def test_flattening_from_the_least_important_place_on_keeps_the_probability_longer() -> None:
    net, patch = net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=T1C)
    heat = audit.explain.evidence(net, patch, Primary.MELANOMA)
    field = np.ones(heat.shape, bool)
    curves = [
        audit.deletion(net, patch, v, field, Primary.MELANOMA, np.random.default_rng(0))
        for v in (heat, -heat)
    ]
    assert np.trapezoid(curves[0]) < np.trapezoid(curves[1])
    half = audit.STEPS // 2
    assert curves[1][:half].min() >= curves[1][0] - 1e-6  # what speaks for it is all there still
    assert curves[0][1] < 0.9 * curves[0][0]


def test_nets_of_random_weights_differ_and_leave_the_net_as_it_was() -> None:
    import torch

    net = net_with_evidence_in_channels()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    first, second = audit.forgotten(net, 0), audit.forgotten(net, 1)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    for a, b in ((first, second), (first, net)):
        assert not torch.equal(a.last_conv.weight, b.last_conv.weight)
    assert torch.equal(audit.forgotten(net, 1).head.weight, second.head.weight)


def net_that_has_learnt_nothing() -> Any:
    """Its weights are not drawn by any layer, so there is nothing to forget."""
    import torch

    net = net_with_evidence_in_channels()

    class Fixed(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.weight = inner.weight
            self.bias = None
            self.stride = self.padding = self.dilation = 1

        def forward(self, x: Any) -> Any:
            shape = self.weight.shape
            if len(shape) == 2:
                return torch.nn.functional.linear(x, self.weight)
            return torch.nn.functional.conv3d(x, self.weight)

    net.last_conv, net.head = Fixed(net.last_conv), Fixed(net.head)
    return net


def test_a_map_that_stays_without_what_was_learnt_fails_the_third_check() -> None:
    patch = patch_of_four_spots(lesion_at=T1C)
    found = audit.measure(net_that_has_learnt_nothing(), patch, 1, Primary.MELANOMA)
    assert found.alike == pytest.approx([1.0] * audit.NETS)
    assert verdicts(found)[2] == FAILS and "much like it" in found.checks[2].because


def test_a_map_unlike_those_of_random_nets_passes_it() -> None:
    some = Audit(1, Primary.RCC, False, cells=9, alike=(0.3, -0.2, 0.1), curve=(1.0, 0.2))
    check = replace(some, area=0.2, random_areas=(0.4,) * 20).checks[2]
    assert (check.verdict, "0.20 on average" in check.because) == (PASSES, True)


def test_a_deletion_that_only_some_random_orders_exceed_fails() -> None:
    some = Audit(1, Primary.RCC, False, cells=9, curve=(0.9, 0.2), alike=(0.0,), area=0.5)
    few = replace(some, random_areas=(0.6,) * 18 + (0.4,) * 2).checks[1]
    most = replace(some, random_areas=(0.6,) * 19 + (0.4,)).checks[1]
    assert (few.verdict, most.verdict) == (FAILS, PASSES)
    risen = replace(some, curve=(0.2, 0.9), random_areas=(0.4,) * 20).checks[1]
    assert risen.verdict == FAILS and "falls back on" in risen.because


def test_a_lesion_smaller_than_three_cells_of_the_map_cannot_be_checked() -> None:
    from bmcore.models.cnn import build_cnn
    from bmcore.models.configs import TRAINED

    patch = np.zeros((1, 7, 32, 32, 32), np.float32)
    patch[0, :4] = 0.5
    patch[0, 6, 15:18, 15:18, 15:18] = 1  # 27 voxels; a cell has 64
    net = build_cnn(TRAINED).eval()
    every = [audit.measure(net, patch, 1, primary) for primary in Primary]
    seen = [found for found in every if not found.empty]
    assert seen and all(verdicts(found) == [OPEN] * 3 for found in seen)
    assert seen[0].bound and seen[0].cells == pytest.approx(27 / 64)


def test_an_empty_map_has_nothing_to_check() -> None:
    patch = patch_of_four_spots(lesion_at=T1C)
    patch[0, [0, 1, 3]] = 0  # only t2w is left, which speaks against melanoma
    found = audit.measure(net_with_evidence_in_channels(), patch, 1, Primary.MELANOMA)
    assert found.empty and found.checks == ()


def test_an_audit_is_the_same_after_it_was_kept_and_another_version_is_not_believed() -> None:
    net, patch = net_with_evidence_in_channels(), patch_of_four_spots(lesion_at=T1C)
    found = audit.measure(net, patch, 1, Primary.MELANOMA)
    told = json.loads(json.dumps(audit.as_json(found)))
    assert audit.from_json(told) == found
    assert audit.from_json({**told, "format": audit.FORMAT + 1}) is None
    assert audit.from_json({**told, "surprise": 1}) is None and audit.from_json({}) is None
