"""The CNN on lesion patches, the autoencoder, and on what they run."""

import numpy as np
import pytest
import torch

from bmcore.domain import Lesion
from bmcore.models.autoencoder import AutoencoderTraining, build_autoencoder, fit_autoencoder
from bmcore.models.cnn import (
    FEATURE_NAMES,
    build_cnn,
    lesion_logits,
    patient_features,
    patient_probabilities,
)
from bmcore.models.configs import TRAINED, AutoencoderConfig, CNNConfig
from bmcore.models.nets.lesion_cnn import cells
from bmcore.models.runtime import choose, inference


def lesion(number: int, volume: float, region: str = "frontal", necrosis: float = 0.0) -> Lesion:
    diameter = (6 * volume / np.pi) ** (1 / 3)
    place = (0.0, 0.0, 0.0)
    enhancing, oedema = volume - necrosis, 2 * volume
    return Lesion(
        number, volume, enhancing, necrosis, oedema, diameter, place, place, "left", region
    )


def ball_patch(value: float = 2.0) -> np.ndarray:
    """A ball of radius 6 voxels, all enhancing tumour; t1n ``value``, t1c 3, t2w 1, t2f 0."""
    grid = np.mgrid[:32, :32, :32] - 15.5
    ball = (grid**2).sum(axis=0) <= 36
    patch = np.zeros((7, 32, 32, 32), np.float32)
    for channel, brightness in enumerate((value, 3.0, 1.0)):
        patch[channel][ball] = brightness
    patch[6][ball] = 1
    return patch


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_cnn()


def test_the_net_is_small_and_answers_for_six_primaries(net):
    patches = np.stack([ball_patch(v) for v in (0.0, 1.0, 2.0)])
    assert lesion_logits(net, patches).shape == (3, 6)
    assert 80_000 < sum(p.numel() for p in net.parameters()) < 300_000
    with pytest.raises(ValueError, match="patches must be"):
        net.features(torch.zeros(1, 4, 32, 32, 32))
    assert lesion_logits(net, np.zeros((0, 7, 32, 32, 32))).shape == (0, 6)


def test_the_net_that_is_trained_now_takes_patches_or_what_it_made_of_them():
    torch.manual_seed(0)
    net = build_cnn(TRAINED).eval()
    patches = torch.from_numpy(np.stack([ball_patch(v) for v in (0.0, 1.0)]))
    made = net.prepare(patches)
    assert tuple(made.shape) == (2, 15, 16, 16, 16)
    assert np.allclose(lesion_logits(net, patches.numpy()), lesion_logits(net, made.numpy()))
    with pytest.raises(ValueError, match="patches must be"):
        net.features(torch.zeros(1, 15, 32, 32, 32))
    with pytest.raises(ValueError, match="kind must be"):
        CNNConfig(kind="other")


def test_a_cell_holds_the_brightness_of_the_tumour_alone_however_small_it_is():
    """Two voxels of 1.5 mm with t1c 5 in a brain of 1: 5 is said of the cell, not 35/27.

    Cell (8, 8, 8) is the mean over voxels 15-17 along each axis."""
    patch = np.zeros((1, 7, 32, 32, 32), np.float32)
    patch[0, 1] = 1.0
    patch[0, 1, 16, 16, 16], patch[0, 6, 16, 16, 16] = 5.0, 1.0
    small = cells(torch.from_numpy(patch))[0, :, 8, 8, 8].numpy()
    assert small[2] == pytest.approx(1 / 27)
    assert small[4] == 0  # 1/27 is less than the 1/20 that is asked for
    patch[0, 1, 16, 16, 17], patch[0, 6, 16, 16, 17] = 5.0, 1.0
    two = cells(torch.from_numpy(patch))[0, :, 8, 8, 8].numpy()
    assert two[4] == pytest.approx(5.0) and two[3] == two[5] == 0  # t1n and t2w are 0 there
    assert two[8] == two[12] == 0  # no necrosis, no oedema


def test_a_lesion_of_4_mm_is_told_apart_as_well_as_one_of_18_mm():
    """Pooled inside the tumour, a small lesion's brightness moves the features as a large one's."""
    torch.manual_seed(0)
    net = build_cnn(TRAINED).eval()
    moved = []
    for radius in (1.4, 6.0):  # voxels of 1.5 mm
        ball = ((np.mgrid[:32, :32, :32] - 15.5) ** 2).sum(axis=0) <= radius**2
        pair = np.zeros((2, 7, 32, 32, 32), np.float32)
        pair[:, 1, ball] = 3
        pair[1, 0, ball] = 3  # bright on t1n
        pair[:, 6, ball] = 1
        with torch.no_grad():
            dark, bright = net.features(torch.from_numpy(pair))
        moved.append((dark - bright).norm().item())
    assert moved[0] > 0.3 * moved[1] > 0


def test_the_last_convolution_is_a_6_mm_map_on_the_way_to_the_logits(net):
    seen = []

    def keep(module, given, made):
        made.retain_grad()
        seen.append(made)

    hook = net.last_conv.register_forward_hook(keep)
    try:
        net(torch.from_numpy(ball_patch()[None])).sum().backward()
    finally:
        hook.remove()
    assert tuple(seen[0].shape) == (1, 32, 8, 8, 8)
    assert seen[0].grad.abs().sum() > 0


def test_brightness_of_the_whole_patch_changes_the_features(net):
    """The T1-bright melanoma: a net that normalised its input away could not see it."""
    flat = torch.zeros(2, 7, 32, 32, 32)
    flat[1, 0] = 3
    with torch.no_grad():
        dark, bright = net.eval().features(flat)
    assert (dark - bright).abs().max() > 0.05


def test_a_cell_of_the_last_map_lies_where_grad_cam_draws_it():
    """Cell (4, 2, 5) looks at the patch around voxel (16, 8, 20), four voxels a cell."""
    torch.manual_seed(1)
    net = build_cnn(TRAINED).eval()
    patch = torch.randn(1, 7, 32, 32, 32)
    patch[:, 4:] = 0.3
    patch.requires_grad_()
    kept = []
    net.down.register_forward_hook(lambda _m, _i, out: kept.append(out))
    net(patch)
    (gradient,) = torch.autograd.grad(kept[0][0, :, 4, 2, 5].sum(), patch)
    seen = np.argwhere(gradient[0].abs().sum(dim=0).numpy() > 0)
    assert np.array_equal((seen.min(axis=0) + seen.max(axis=0)) / 2, [16, 8, 20])


def test_grad_cam_of_the_net_that_is_trained_now_stays_on_the_lesion():
    """A ball of 9 mm radius in the middle: nothing is marked farther than a cell from its box."""
    from bmcore.domain import PRIMARIES
    from bmcore.inference.explain import evidence

    torch.manual_seed(3)
    net = build_cnn(TRAINED).eval()
    patch = ball_patch()[None].copy()
    patch[:, :4] += 1.0  # a brain around it
    maps = [evidence(net, patch, primary) for primary in PRIMARIES]
    assert any(heat.max() == 1 for heat in maps)
    for heat in maps:
        heat[4:28, 4:28, 4:28] = 0
        assert heat.max() < 1e-6  # what lets the gradient through the rectifier is left


def test_patient_features_are_named_measurements(net):
    lesions = [lesion(1, 3000, "cerebellum", necrosis=900), lesion(2, 1000, "frontal lobe")]
    patches = np.stack([ball_patch(2.0), ball_patch(0.5)])
    values = dict(zip(FEATURE_NAMES, patient_features(net, patches, lesions), strict=True))
    assert values["log_lesion_count"] == pytest.approx(np.log(2))
    assert values["log_total_volume"] == pytest.approx(np.log(4000))
    assert values["necrosis_fraction"] == pytest.approx(900 / 4000)
    assert values["oedema_ratio"] == pytest.approx(np.log(3))  # oedema is twice the volume
    assert values["share_cerebellum"] == values["share_frontal"] == 0.5
    assert values["share_temporal"] == 0
    assert values["enhancing_t1n"] == pytest.approx(1.25)
    assert values["brightest_t1n"] == pytest.approx(2.0)
    assert values["enhancing_t1c"] == pytest.approx(3.0)
    assert values["enhancing_t1c_spread"] == pytest.approx(0, abs=1e-4)
    assert np.isnan(values["oedema_t2f"]) and np.isnan(values["necrosis_t2w"])


def test_a_missing_sequence_is_not_measured_rather_than_average(net):
    patches = ball_patch()[None].copy()
    patches[:, 0] = 0
    values = dict(zip(FEATURE_NAMES, patient_features(net, patches, [lesion(1, 900)]), strict=True))
    assert np.isnan(values["enhancing_t1n"]) and np.isnan(values["brightest_t1n"])
    assert values["enhancing_t1c"] == pytest.approx(3.0)


def test_large_lesions_weigh_more_and_the_peak_is_kept():
    lesions = [lesion(1, 3000), lesion(2, 1000)]
    logits = np.array([[6, 0, 0, 0, 0, 0], [0, 6, 0, 0, 0, 0]], float)
    values = patient_features(None, np.stack([ball_patch()] * 2), lesions, logits)
    # scores are logits less their mean of 1: 5 and -1, weighted 3:1
    assert values[:2] == pytest.approx([0.75 * 5 - 0.25, 0.25 * 5 - 0.75])
    assert values[6:8] == pytest.approx([5, 5])
    assert patient_probabilities(logits)[:2] == pytest.approx(np.exp(3) / (2 * np.exp(3) + 4))


def test_without_lesions_there_is_no_answer(net):
    with pytest.raises(ValueError, match="at least one"):
        patient_features(net, np.zeros((0, 7, 32, 32, 32)), [])
    with pytest.raises(ValueError, match="no lesion"):
        patient_probabilities(np.zeros((0, 6)))


def curved(n: int, seed: int) -> np.ndarray:
    """Ten features of a two-dimensional sheet, with noise 0.1 and far-off means and spreads."""
    random = np.random.default_rng(seed)
    a, b = random.uniform(-1, 1, (2, n))
    sheet = np.column_stack([a, b, a * b, a**2, b**2, a + b, a - b, a, b, a * b])
    return (sheet + random.normal(scale=0.1, size=sheet.shape)) * 50 + 1000


def test_the_code_keeps_what_a_sheet_in_ten_dimensions_holds():
    config = AutoencoderConfig(features=10, code=4)
    auto = fit_autoencoder(curved(200, 0), config, AutoencoderTraining(steps=300))
    seen, new = (auto.reconstruction_error(curved(200, s)) for s in (0, 1))
    assert new.mean() < 0.35 and new.mean() < 2 * seen.mean() + 0.05  # the mean patient gives 1
    assert auto.encode(curved(5, 2)).shape == (5, 4)
    assert auto.decode(auto.encode(curved(5, 2))).mean() == pytest.approx(1000, rel=0.1)
    strange = np.random.default_rng(0).permuted(curved(200, 1), axis=1)  # features swapped about
    assert auto.reconstruction_error(strange).mean() > 2 * new.mean()


def test_the_autoencoder_repeats_from_its_seed_and_leaves_the_others_alone():
    config, how = AutoencoderConfig(features=10, code=3), AutoencoderTraining(steps=20, seed=5)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    a, b = (fit_autoencoder(curved(50, 0), config, how) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_a_gap_is_the_mean_and_does_not_count_in_the_error():
    x = curved(100, 0)
    auto = fit_autoencoder(x, AutoencoderConfig(features=10, code=3), AutoencoderTraining(steps=50))
    gap, filled = x[:1].copy(), x[:1].copy()
    gap[0, 4], filled[0, 4] = np.nan, x[:, 4].mean()
    assert np.allclose(auto.encode(gap), auto.encode(filled), atol=1e-3)
    assert np.isfinite(auto.reconstruction_error(gap)).all()
    assert np.isfinite(auto.encode(np.full((1, 10), np.nan))).all()
    with pytest.raises(ValueError, match="x must be"):
        auto.encode(x[:, :5])


def test_the_scaler_travels_with_the_weights():
    a = fit_autoencoder(curved(50, 0), AutoencoderConfig(features=10), AutoencoderTraining(steps=5))
    b = build_autoencoder(AutoencoderConfig(features=10)).eval()
    b.load_state_dict(a.state_dict())
    assert np.array_equal(a.encode(curved(3, 1)), b.encode(curved(3, 1)))
    tensor = torch.zeros(2, 10)
    assert isinstance(a.encode(tensor), torch.Tensor)


@pytest.mark.parametrize(
    ("units", "precision"),
    [({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")],
)
def test_a_cpu_computes_in_half_precision_only_with_units_for_it(monkeypatch, units, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    runtime = choose("auto", threads=0)
    assert (runtime.device, runtime.precision) == ("cpu", precision)
    with inference(runtime) as device:
        y = torch.nn.Linear(4, 4).to(device)(torch.ones(1, 4))
    assert y.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    with pytest.raises(ValueError, match="none"):
        choose("cuda")


def test_a_config_that_cannot_be_is_refused():
    for wrong in (
        lambda: CNNConfig(width=10),
        lambda: CNNConfig(dropout=1.0),
        lambda: AutoencoderConfig(features=0),
    ):
        with pytest.raises(ValueError):
            wrong()
