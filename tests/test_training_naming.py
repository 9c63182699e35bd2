"""What naming learns from: brightness beside the healthy brain, kept patients, new ones."""

from dataclasses import replace

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, InputRefused, Lesion
from bmcore.imaging.lesion_brightness import (
    MEASURES,
    healthy_levels,
    lesion_measures,
    pooled,
    relative_patches,
)
from bmcore.imaging.lesion_crops import LesionCrop, LesionCrops, Marked
from bmcore.imaging.lesions import label_lesions
from bmcore.models.image_features import FEATURE_NAMES, MEASURED, measured
from bmcore.phantom.seeds import MEMBERS_A_SEED, member_seed
from tests.reading_fixture import bundle_that_sees_the_spot, tiny_bundle
from training import evaluate_naming, naming_dataset
from training.data.naming_patient import (
    keep_patient,
    load_naming_cohort,
    load_naming_patient,
    save_naming_patient,
)
from training.run.files import read_json, write_json

WHITE, GREY, FLUID = (1.2, 1.1, 0.8, 0.9), (0.9, 0.95, 1.1, 1.2), (0.4, 0.4, 2.2, 0.4)


def healthy(n: int = 3000) -> np.ndarray:
    """Half white, four tenths grey, a tenth fluid, with a little noise; (4, n)."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, n, p=[0.5, 0.4, 0.1])
    level = np.array([WHITE, GREY, FLUID])[kind].T
    return (level * rng.normal(1, 0.02, (4, n))).astype(np.float32)


def crop(levels: tuple[float, ...], necrosis: bool = False, radius: int = 6) -> LesionCrop:
    """A ball of these brightnesses, in brain of white matter."""
    away = np.sqrt(((np.indices((29, 29, 29)) - 14) ** 2).sum(axis=0))
    own = away <= radius
    images = np.where(
        own, np.array(levels)[:, None, None, None], np.array(WHITE)[:, None, None, None]
    )
    labels = np.where(own, 3, 0).astype(np.uint8)
    if necrosis:
        labels[away <= radius - 3] = 1
        images = np.where(away <= radius - 3, np.array(FLUID)[:, None, None, None], images)
    return LesionCrop(images.astype(np.float32), labels, own, np.ones_like(own))


def test_the_levels_of_the_healthy_brain_are_found_in_every_sequence():
    found = healthy_levels(healthy())
    for got, true in ((found.white, WHITE), (found.grey, GREY), (found.fluid, FLUID)):
        np.testing.assert_allclose(got, true, rtol=0.04)
    without = healthy()
    without[0] = 0  # T1 native missing: T1 post-gadolinium says which voxels are which
    assert np.isnan(healthy_levels(without).white[0])
    np.testing.assert_allclose(healthy_levels(without).white[1:], WHITE[1:], rtol=0.06)
    assert np.isnan(healthy_levels(healthy(100)).white).all()


def test_enhancement_is_not_cut_off_and_gain_says_nothing():
    """Standardised images end at 6 spreads; here 3 and 6 times white matter differ by ln 2."""
    levels = healthy_levels(healthy())
    faint, strong = (
        lesion_measures(crop((1.0, k * WHITE[1], 1.0, 1.0)), levels)["t1c"] for k in (3, 6)
    )
    assert strong - faint == pytest.approx(np.log(2), abs=0.01)
    one = crop((1.0, 2.0, 1.0, 1.0), necrosis=True)
    brighter = replace(one, images=one.images * np.array([2, 3, 0.5, 7])[:, None, None, None])
    gained = healthy() * np.array([[2], [3], [0.5], [7]], np.float32)
    a = lesion_measures(one, levels)
    b = lesion_measures(brighter, healthy_levels(gained.astype(np.float32)))
    assert set(a) == set(MEASURES)
    for name in MEASURES:
        assert a[name] == pytest.approx(b[name], abs=0.02), name


def test_dark_bright_and_bleeding_lesions_are_told_apart():
    levels = healthy_levels(healthy())
    plain, dark, bright, bled = (
        lesion_measures(crop(k), levels)
        for k in (
            (0.85, 2.0, 1.3, 1.4), (0.85, 2.0, 0.7, 0.9), (1.4, 2.4, 1.3, 1.4),
            (0.85, 2.0, 0.7, 1.4),
        )
    )  # fmt: skip
    assert dark["t2_both"] < -0.5 < plain["t2_both"]
    assert bright["t1n"] > 0.3 > plain["t1n"]
    assert bled["t2_apart"] > dark["t2_apart"] + 0.3
    core = lesion_measures(crop((0.85, 2.0, 1.3, 1.4), necrosis=True), levels)
    assert core["core_t2w"] == pytest.approx(1, abs=0.1) and np.isnan(plain["core_t2w"])


def test_a_missing_sequence_is_not_measured_and_the_cnn_sees_0():
    one = crop((1.0, 2.0, 1.0, 1.0))
    one.images[2] = 0
    without = healthy()
    without[2] = 0
    levels = healthy_levels(without)
    found = lesion_measures(one, levels)
    assert np.isnan([found[k] for k in ("t2w", "t2_both", "t2_apart")]).all()
    assert np.isfinite([found[k] for k in ("t1c", "t1n", "t2f", "uptake")]).all()
    patch = relative_patches([one], levels)[0]
    assert (patch[2] == 0).all() and patch[1, 16, 16, 16] > 1
    assert patch[6, 16, 16, 16] == 1 and patch[6].sum() * 1.5**3 == pytest.approx(
        one.own.sum(), rel=0.05
    )


def test_small_lesions_count_only_where_there_are_no_others():
    rows = [dict.fromkeys(MEASURES, v) for v in (1.0, 3.0, 9.0)]
    over = pooled(rows, np.array([1000.0, 125.0, 8.0]))["t1c"]
    assert over == pytest.approx(((10 * 1 + 5 * 3) / 15, (1000 + 375) / 1125, 1.0, 3.0))
    assert pooled(rows[2:], np.array([8.0]))["t1c"] == (9.0,) * 4
    rows[0]["t1c"] = float("nan")
    assert pooled(rows[:1], np.array([1000.0]))["t1c"][0] != pooled(rows, np.ones(3))["t1c"][0]


def lesion(number: int, volume: float) -> Lesion:
    return Lesion(number, volume, volume, 0, 0, 10.0, (0, 0, 0), (0, 0, 0), "left", "frontal")


def test_the_features_have_names_and_need_crops():
    crops = LesionCrops((crop((1.0, 2.0, 1.4, 1.5)),), healthy())
    values = measured([lesion(1, 900.0), lesion(2, 5.0)], crops)
    assert values.shape == (len(MEASURED),) and len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    named = dict(zip([f.key for f in MEASURED], values, strict=True))
    assert named["log_lesion_count"] == pytest.approx(np.log(2))
    assert named["share_t2_dark"] < 0.5 and np.isnan(named["core_t2w_least"])
    with pytest.raises(ValueError, match="do not fit"):
        measured([lesion(1, 900.0)], LesionCrops((), healthy()))


# --- one real synthetic patient -------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    from bmcore.phantom.shared_head import draw_on_one_head

    return list(draw_on_one_head(member_seed(naming_dataset.TRIAL_SEED, 1), 2))


@pytest.fixture(scope="module")
def kept(drawn):
    return keep_patient(drawn[0], "reference")


def test_patients_of_one_head_share_it_and_nothing_else(drawn):
    one, other = drawn
    assert one.images["t1c"].shape == other.images["t1c"].shape
    same = (one.images["t1c"] > 0) & (other.images["t1c"] > 0)
    assert same.sum() > 0.97 * (one.images["t1c"] > 0).sum()
    assert one.kinds != other.kinds and one.clinical != other.clinical
    assert len(one.kinds) == one.lesion_count and one.owner.max() == one.lesion_count
    assert not np.allclose(one.images["t1c"][same], other.images["t1c"][same], rtol=0.05)


def test_a_kept_patient_comes_back_and_gives_the_same_features(kept, tmp_path):
    save_naming_patient(tmp_path / "reference" / "head00001-0.npz", kept)
    again = load_naming_patient(tmp_path / "reference" / "head00001-0.npz")
    assert (again.lesions, again.record, again.primary, again.kinds) == (
        kept.lesions, kept.record, kept.primary, kept.kinds,
    )  # fmt: skip
    np.testing.assert_array_equal(again.true, kept.true)
    assert (again.true >= 0).all() and len(again.true) == len(again.lesions)
    a, b = (measured(p.lesions, p.crops) for p in (kept, again))
    np.testing.assert_allclose(a, b, atol=0.06)
    save_naming_patient(tmp_path / "net" / "head00001-0.npz", kept)
    cohort = load_naming_cohort(tmp_path)
    assert [p.case_id for p in cohort.patients] == ["head00001-0", "head00001-0@net"]
    assert len(set(cohort.persons)) == 1
    assert np.abs(cohort.patients[0].patches[:, :4]).max() <= 6


def test_use_reads_the_features_that_training_keeps(drawn, kept, tmp_path):
    """The same patient through the road of a prediction, with two nets and the third set."""
    import torch

    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.lesion_reading import read_lesions
    from bmcore.models.autoencoder import build_autoencoder
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.cnn import build_cnn, member_logits
    from bmcore.models.configs import TRAINED, AutoencoderConfig
    from bmcore.models.image_features import cnn_patches, patient_features, with_tree_scores
    from bmcore.models.measurement_trees import TreesConfig, fit

    torch.manual_seed(0)
    config = replace(TRAINED, members=2)
    net = build_cnn(config).eval()
    write_part(tmp_path, "cnn", net.state_dict(), config)
    code = AutoencoderConfig(len(FEATURE_NAMES), code=4, feature_set=3)
    random = np.random.default_rng(0)
    trees = fit(
        random.normal(size=(80, len(MEASURED))), random.integers(0, 6, 80), np.arange(80) % 2,
        TreesConfig(steps=4, least=5),
    )  # fmt: skip
    write_part(tmp_path, "trees", trees.tensors(), {})
    write_part(tmp_path, "autoencoder", build_autoencoder(code).state_dict(), code)
    bundle = load_bundle(tmp_path)
    case = drawn[0].as_case("x")
    prepared = prepare(case)
    labels = np.where(prepared.brain, to_working_grid(case.truth.mask, prepared), 0)
    marked = Marked(labels.astype(np.uint8), label_lesions(labels, prepared.affine))
    read = read_lesions(bundle, case, prepared, marked, kept.lesions)
    plain = patient_features(member_logits(net, cnn_patches(kept.crops)), kept.lesions, kept.crops)
    expected = with_tree_scores(plain, trees)
    assert expected.shape == (2, len(FEATURE_NAMES)) and not np.allclose(expected[0], expected[1])
    np.testing.assert_allclose(read.features, expected.mean(axis=0), atol=1e-4)
    codes = bundle.autoencoder.encode(expected)
    np.testing.assert_allclose(read.code, codes.mean(axis=0), atol=1e-4)
    assert read.lesion_probabilities.shape == (len(kept.lesions), 6)
    logits = member_logits(net, cnn_patches(kept.crops))
    both = torch.from_numpy(cnn_patches(kept.crops))
    with torch.no_grad():
        np.testing.assert_allclose(net(both).numpy(), logits.mean(axis=0), atol=1e-4)


def test_the_test_patients_are_no_training_patients(tmp_path):
    with pytest.raises(InputRefused, match="seeds of the test patients"):
        naming_dataset.main(tmp_path, n=5, seed=naming_dataset.TEST_SEED)
    seeds = {
        c: {member_seed(c, h) for h in (0, 100_002)}
        for c in (naming_dataset.TRAIN_SEED, naming_dataset.TEST_SEED, naming_dataset.TRIAL_SEED)
    }
    assert len(set.union(*seeds.values())) == 6
    with pytest.raises(ValueError, match="head must lie"):
        member_seed(31, 100_003)


def test_a_stopped_drawing_goes_on_with_the_next_patient(kept, tmp_path, monkeypatch):
    drawn_heads: list[int] = []
    asked: list[set[int]] = []

    def draw(seed, count, only):
        drawn_heads.append(seed)
        asked.append(only)
        return iter(sorted(only))

    monkeypatch.setattr(naming_dataset, "draw_on_one_head", draw)
    monkeypatch.setattr(naming_dataset, "keep_patient", lambda *_: kept)
    naming_dataset.main(tmp_path, n=10)
    assert len(list((tmp_path / "reference").glob("*.npz"))) == 10 and len(drawn_heads) == 2
    (tmp_path / "reference" / "head00001-3.npz").unlink()
    naming_dataset.main(tmp_path, n=10)
    assert len(drawn_heads) == 3 and asked[-1] == {3}  # the one head that lacked a patient
    naming_dataset.main(tmp_path, n=10, part="1/2")
    assert len(drawn_heads) == 3
    with pytest.raises(InputRefused, match="--part cannot be used"):
        naming_dataset.main(tmp_path, n=10, part="2/2")


def test_some_patients_are_kept_with_the_lesions_of_the_net_too(kept, tmp_path, monkeypatch):
    from bmcore.models import bundles

    kept_as: list[tuple[int, str, object]] = []

    def keep(drawn, mask, bundle, describe):
        kept_as.append((drawn, mask, describe))
        assert bundle == "opened"
        return kept

    monkeypatch.setattr(bundles, "load_bundle", lambda folder: "opened")
    monkeypatch.setattr(
        naming_dataset, "draw_on_one_head", lambda seed, count, only: iter(sorted(only))
    )
    monkeypatch.setattr(naming_dataset, "keep_patient", keep)
    naming_dataset.main(tmp_path, n=40, bundle=tmp_path, net_every=2)
    net = sorted(path.name for path in (tmp_path / "net").iterdir())
    assert net == [f"head{head:05d}-4.npz" for head in (0, 1, 4, 5)]  # both halves have as many
    assert kept_as[:6] == [(n, "reference", n == 0) for n in range(5)] + [(4, "net", False)]
    (tmp_path / "net" / net[0]).unlink()
    kept_as.clear()
    naming_dataset.main(tmp_path, n=40, bundle=tmp_path, net_every=2)
    assert kept_as == [(4, "net", False)]


def test_a_patient_drawn_alone_is_the_one_drawn_among_others(drawn):
    from bmcore.phantom.shared_head import draw_on_one_head

    seed = member_seed(naming_dataset.TRIAL_SEED, 1)
    (alone,) = draw_on_one_head(seed, 2, only={1})
    assert alone.primary == drawn[1].primary and alone.clinical == drawn[1].clinical
    for name, image in alone.images.items():
        np.testing.assert_array_equal(image, drawn[1].images[name])


# --- new patients -----------------------------------------------------------------------------


class FakeBundle:
    """Says how common the primaries were."""

    folder = "models"

    def __init__(self, digest="a", nets="n"):
        from types import SimpleNamespace

        from bmcore.models.case_mix import EVEN

        self.shares, self.info = EVEN, SimpleNamespace(digest=digest)
        self.entry = lambda part: {"sha256": nets}


def told(n: int = 240) -> list[dict]:
    """Fused is sure and right for most; image and record know less; the net's mask costs a bit."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n):
        label = index % 6
        masks = {}
        for mask, loss in (("reference", 0.0), ("net", 0.15)):
            said = {}
            for kind, sure in (("clinical", 1.0), ("image", 1.0 - loss), ("fused", 2.0 - loss)):
                e = np.exp(
                    sure * np.eye(6)[label] + 0.5 * np.random.default_rng(index).normal(size=6)
                )
                said[kind] = list(e / e.sum())
            names = [str(p) for p in PRIMARIES]
            sets = {k: names if rng.random() < 0.9 else [names[label - 1]] for k in said}
            masks[mask] = {"lesions": 3, "answers": said, "sets": sets}
        rows.append({"seed": index, "primary": str(PRIMARIES[label]), "masks": masks})
    return rows


def test_the_summary_holds_targets_losses_and_coverage():
    found = evaluate_naming.summarise(told(), FakeBundle())
    assert found["patients"] == 240 and found["primaries"]["gi"] == 40
    lost = found["loss_of_the_net_mask"]["fused"]["macro_auc"]
    assert 0 < lost.value < 0.05 and lost.low > 0
    assert "fused answer is better than the clinical" in found["verdict"]
    covered = found["sets"]["fused"]["coverage_per_primary"]["rcc"]
    assert covered.n == 40 and 0.75 < covered.value < 1
    words = [row["goal"] for row in found["targets"]]
    assert len(words) == 16 and all(isinstance(row["met"], bool) for row in found["targets"])
    assert {True, False} == {row["met"] for row in found["targets"]}


def test_new_patients_are_read_once_by_one_set_of_models(tmp_path, monkeypatch):
    rows, read = told(12), []

    def one(seed, bundle):
        read.append(seed)
        return rows[seed % MEMBERS_A_SEED]

    monkeypatch.setattr(evaluate_naming, "read_patient", one)
    monkeypatch.setattr(evaluate_naming, "named", lambda row, bundle: row)
    monkeypatch.setattr("bmcore.models.bundles.load_bundle", lambda _: FakeBundle())
    evaluate_naming.main(tmp_path, tmp_path, n=12, seed=33)
    assert len(read) == 12 and (tmp_path / "naming_test.json").exists()
    (tmp_path / "patients" / "00007.json").unlink()
    evaluate_naming.main(tmp_path, tmp_path, n=12, seed=33)
    assert read[12:] == [33 * MEMBERS_A_SEED + 7]
    parts = tmp_path / "parts"
    evaluate_naming.main(parts, tmp_path, n=12, seed=33, part="0/2")
    assert [s % MEMBERS_A_SEED for s in read[13:]] == [0, 2, 4, 6, 8, 10]
    assert not (parts / "naming_test.json").exists()
    evaluate_naming.main(parts, tmp_path, n=12, seed=33, part="1/2")
    assert len(read) == 25
    whole = (tmp_path / "naming_test.json").read_bytes()
    assert (parts / "naming_test.json").read_bytes() == whole
    for other in (FakeBundle("b"), FakeBundle(nets="m")):
        monkeypatch.setattr("bmcore.models.bundles.load_bundle", lambda _, other=other: other)
        with pytest.raises(InputRefused, match="have been read by other models"):
            evaluate_naming.main(tmp_path, tmp_path, n=12, seed=33)
    assert len(read) == 25


def test_a_kept_row_is_named_as_a_prediction_is(drawn, tmp_path, monkeypatch):
    """From the file that is kept of a patient come the answers of ``predict``."""
    from bmcore.inference.pipeline import predict

    bundle = bundle_that_sees_the_spot(tiny_bundle(tmp_path / "models"))
    monkeypatch.setattr("bmcore.phantom.cohort.draw_case", lambda seed: drawn[0])
    row = evaluate_naming.read_patient(5, bundle)
    write_json(tmp_path / "row.json", row)
    found = evaluate_naming.named(read_json(tmp_path / "row.json"), bundle)
    case = drawn[0].as_case("x")
    expected = predict(case, bundle)
    own = found["masks"]["net"]
    assert own["lesions"] == len(expected.lesions) > 0
    for answer in expected.answers:
        np.testing.assert_allclose(own["answers"][answer.kind], answer.probabilities, atol=1e-6)
    assert found["masks"]["reference"]["answers"]["image"] != own["answers"]["image"]
    blind = row | {"masks": {"net": {"lesions": 0, "features": None}}}
    alone = evaluate_naming.named(blind, bundle)["masks"]["net"]["answers"]
    assert alone["fused"] == alone["image"] == alone["clinical"]
