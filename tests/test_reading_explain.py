"""Explanations: the SHAP bars add up to the answer; Grad-CAM lights up where the evidence is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, ClinicalRecord, InputRefused, Primary
from bmcore.inference import explain, pipeline
from tests import reading_fixture as fixture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fixture.bundle_that_sees_the_spot(fixture.tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def found(bundle: Any) -> Any:
    record = ClinicalRecord(age_years=61, sex="female", extracranial_metastases=False)
    return pipeline.predict(fixture.head(record=record), bundle)


@pytest.mark.parametrize("kind", ["clinical", "image", "fused"])
def test_shap_is_coef_times_distance_from_the_mean_training_patient(bundle: Any, kind: str) -> None:
    mlr = getattr(bundle, f"{kind}_mlr")
    x = np.random.default_rng(1).normal(1, 2, len(mlr.mean_))
    values, base = explain.shap_values(mlr, x)
    closed = mlr.coef_ * (x - mlr.mean_) / mlr.scale_
    np.testing.assert_allclose(values, closed - closed.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(base, mlr.intercept_ - mlr.intercept_.mean(), atol=1e-9)


@pytest.mark.parametrize("kind", ["clinical", "image", "fused"])
@pytest.mark.parametrize("primary", [Primary.MELANOMA, Primary.RCC])
def test_bars_and_base_add_up_to_the_log_odds_of_the_answer(
    bundle: Any, found: Any, kind: str, primary: Primary
) -> None:
    why = explain.attribute(bundle, found, kind, primary)
    logs = np.log(next(a for a in found.answers if a.kind == kind).probabilities)
    assert why.total == pytest.approx(logs[PRIMARIES.index(primary)] - logs.mean(), abs=1e-6)
    assert why.space == "log-odds"


def test_the_parts_of_the_code_add_up_to_the_one_bar_of_the_image(bundle: Any, found: Any) -> None:
    why = explain.attribute(bundle, found, "fused", Primary.NSCLC)
    assert why.names[-1] == "Image (all code parts together)"
    assert why.part_names == ("c1", "c2", "c3")
    assert sum(why.part_contributions) == pytest.approx(why.contributions[-1])
    image = explain.attribute(bundle, found, "image", Primary.NSCLC)
    assert image.names == ("Image (all code parts together)",)
    assert explain.attribute(bundle, found, "clinical", Primary.NSCLC).part_names == ()


def test_values_are_words_with_units_and_missing_is_not_known(bundle: Any, found: Any) -> None:
    why = explain.attribute(bundle, found, "clinical", Primary.NSCLC)
    assert dict(zip(why.names, why.values, strict=True)) == {
        "Age": "61 years",
        "Sex": "female",
        "Smoking": "not known",
        "Pack-years": "not known",
        "Metastases outside the brain": "no",
    }


def test_zero_pack_years_are_a_value_not_a_gap() -> None:
    record = ClinicalRecord(age_years=0, pack_years=0)
    assert explain._value_words(record, "Pack-years") == "0 pack-years"
    assert explain._value_words(record, "Age") == "0 years"


def test_an_answer_that_is_not_there_cannot_be_explained(bundle: Any) -> None:
    empty = fixture.prediction(lesions=0)
    with pytest.raises(InputRefused, match="No lesion found"):
        explain.attribute(bundle, empty, "fused", Primary.NSCLC)


def net_with_evidence_in_channels() -> Any:
    """A net by hand with the tail of the CNN: t1n speaks for breast, t1c for melanoma, t2w against.

    Four maps: t1n, t1c, t2w, and one that is negative wherever t2f is and speaks against melanoma.
    """
    import torch

    class ByHand(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shrink = torch.nn.AvgPool3d(4)
            self.last_conv = torch.nn.Conv3d(7, 4, 1, bias=False)
            self.head = torch.nn.Linear(8, 6, bias=False)
            with torch.no_grad():
                self.last_conv.weight.zero_()
                self.last_conv.weight[0, 0] = self.last_conv.weight[1, 1] = 1
                self.last_conv.weight[2, 2] = 1
                self.last_conv.weight[3, 3] = -1
                self.head.weight.zero_()
                breast, melanoma = (PRIMARIES.index(p) for p in ("breast", "melanoma"))
                self.head.weight[breast, [0, 4]] = 1
                self.head.weight[melanoma, [1, 5]] = 1
                self.head.weight[melanoma, [2, 6]] = -1
                self.head.weight[melanoma, [3, 7]] = -1

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            maps = torch.relu(self.last_conv(self.shrink(patches)))
            pooled = torch.cat([maps.mean(dim=(2, 3, 4)), maps.amax(dim=(2, 3, 4))], dim=1)
            return self.head(pooled)

    return ByHand()


CORNERS = {
    0: np.s_[:8, :8, :8],
    1: np.s_[24:, 24:, 24:],
    2: np.s_[24:, :8, :8],
    3: np.s_[:8, 24:, :8],
}


def patch_with_a_spot_in_each_corner() -> np.ndarray:
    patch = np.zeros((1, 7, 32, 32, 32), np.float32)
    for channel, corner in CORNERS.items():
        patch[(0, channel, *corner)] = 1
    return patch


@pytest.mark.parametrize(("primary", "corner"), [(Primary.BREAST, 0), (Primary.MELANOMA, 1)])
def test_the_map_is_bright_where_the_evidence_for_the_primary_is(
    primary: Primary, corner: int
) -> None:
    heat = explain.evidence(
        net_with_evidence_in_channels(), patch_with_a_spot_in_each_corner(), primary
    )
    expected = np.zeros((8, 8, 8))
    expected[_cells(corner)] = 1
    if primary == Primary.BREAST:  # what lowers melanoma lowers the mean of six: (1/6) / (5/6)
        expected[_cells(2)] = 0.2
    cells = heat[::4, ::4, ::4]  # at the cells' centres the map is not interpolated
    np.testing.assert_allclose(cells, expected, atol=1e-6)  # 0 also where the image speaks against
    assert heat.min() >= 0 and heat.max() == 1


def _cells(corner: int) -> tuple[slice, ...]:
    return tuple(slice(c.start and c.start // 4, c.stop and c.stop // 4) for c in CORNERS[corner])


def test_evidence_against_a_primary_alone_gives_an_empty_map() -> None:
    patch = patch_with_a_spot_in_each_corner()
    patch[0, [0, 1, 3]] = 0  # only t2w is left, which speaks against melanoma
    heat = explain.evidence(net_with_evidence_in_channels(), patch, Primary.MELANOMA)
    assert not heat.any()


def test_a_silent_unit_with_a_negative_weight_is_no_evidence() -> None:
    patch = patch_with_a_spot_in_each_corner()
    patch[0, :3] = 0  # only t2f: its map is negative before the rectifier, its weight too
    heat = explain.evidence(net_with_evidence_in_channels(), patch, Primary.MELANOMA)
    assert not heat.any()


def test_the_weights_of_grad_cam_are_the_mean_gradients_of_the_rectified_maps(bundle: Any) -> None:
    """By autograd alone on the real net's own tail (Selvaraju et al. 2017, equations 1 and 2)."""
    import torch

    net = bundle.cnn
    patch = np.random.default_rng(2).normal(size=(1, 7, 32, 32, 32)).astype(np.float32)
    kept: list[torch.Tensor] = []
    hook = net.last_conv.register_forward_hook(lambda _m, _i, out: kept.append(out.detach()))
    with torch.no_grad():
        net(torch.from_numpy(patch))
    hook.remove()
    lit = 0
    for index, primary in enumerate(PRIMARIES):
        maps = torch.relu(kept[0]).requires_grad_()
        pooled = torch.cat([maps.mean(dim=(2, 3, 4)), maps.amax(dim=(2, 3, 4))], dim=1)
        logits = net.head(torch.relu(net.embed(pooled)))
        (gradient,) = torch.autograd.grad(logits[0, index] - logits.mean(), maps)
        coarse = torch.relu((gradient.mean(dim=(2, 3, 4), keepdim=True) * maps).sum(dim=1))[0]
        expected = coarse.detach().numpy()
        got = explain.evidence(net, patch, primary)[::4, ::4, ::4]  # the cells' centres
        assert bool(got.any()) == bool(expected.any())
        if expected.any():
            lit += 1
            np.testing.assert_allclose(got / got.max(), expected / expected.max(), atol=2e-4)
    assert lit, "at least one primary has evidence: centred over the six, it cannot all be negative"


def test_a_cell_of_the_last_map_sees_the_patch_around_the_place_it_is_drawn_at() -> None:
    """Where one cell looks is asked of the net itself: the gradient of its value in the patch."""
    import torch

    from bmcore.models.cnn import build_cnn
    from bmcore.models.configs import CNNConfig

    torch.manual_seed(1)
    net = build_cnn(CNNConfig(width=8, blocks=1, maps=4, embedding=4)).eval()
    patch = torch.randn(1, 7, 32, 32, 32, requires_grad=True)
    kept: list[torch.Tensor] = []
    net.down.register_forward_hook(lambda _m, _i, out: kept.append(out))  # before any group norm
    net(patch)
    (gradient,) = torch.autograd.grad(kept[0][0, :, 4, 2, 5].sum(), patch)
    seen = np.argwhere(gradient[0].abs().sum(dim=0).numpy() > 0)
    np.testing.assert_array_equal((seen.min(axis=0) + seen.max(axis=0)) / 2, [16, 8, 20])


def test_gradcam_lies_around_its_lesion_on_the_grid_of_the_input(bundle: Any, found: Any) -> None:
    case = fixture.head(record=found.clinical_record)
    maps = [explain.gradcam(bundle, case, found, 1, primary) for primary in PRIMARIES]
    assert all(m.shape == case.grid.shape for m in maps)
    np.testing.assert_array_equal(maps[0].affine, case.grid.affine)
    assert any(m.data.any() for m in maps)
    i, j, k = np.indices(fixture.SHAPE)
    far = np.max([abs(a - c) for a, c in zip((i, j, k), fixture.LESION_VOXEL, strict=True)], axis=0)
    for m in maps:
        assert m.data.min() >= 0 and m.data.max() <= 1
        assert not m.data[far > 24.5].any()  # the cube's edge is 48 mm


def test_a_patch_cut_and_placed_back_lies_where_it_came_from() -> None:
    """The way back is checked with an image, not with the map: what was cut must fit itself."""
    from bmcore.imaging.patches import lesion_patches, patch_affine
    from bmcore.imaging.preprocess import prepare

    prepared = prepare(fixture.head())
    i, j, k = np.indices(prepared.brain.shape)
    ramp = ((i + 2 * j + 3 * k) / 1000).astype(np.float32)
    images = np.stack([ramp] * 4)
    one = fixture.lesion()
    patch = lesion_patches(images, np.zeros(ramp.shape, np.uint8), [one], prepared.affine)[0, 0]
    placed = explain.place_patch(patch, patch_affine(one), prepared)
    voxel = np.linalg.inv(prepared.affine) @ [*one.centroid_mm, 1]
    inside = np.max([abs(a - c) for a, c in zip((i, j, k), voxel[:3], strict=True)], axis=0) < 20
    inside &= prepared.brain
    assert inside.sum() > 1000
    np.testing.assert_allclose(placed[inside], ramp[inside], atol=1e-5)


def test_a_lesion_or_a_grid_that_does_not_fit_is_refused(bundle: Any, found: Any) -> None:
    case = fixture.head()
    with pytest.raises(InputRefused, match="no lesion 7"):
        explain.gradcam(bundle, case, found, 7, Primary.GI)
    other = replace(found, mask=fixture.prediction().mask)
    with pytest.raises(InputRefused, match="different grid"):
        explain.gradcam(bundle, case, other, 1, Primary.GI)


def test_the_caption_says_log_odds() -> None:
    words = explain.words_for(Primary.RCC)
    assert "log-odds" in words and "Renal cell" in words
    assert math.exp(0.7) == pytest.approx(2, abs=0.02)  # "+0.7 about doubles the odds"
