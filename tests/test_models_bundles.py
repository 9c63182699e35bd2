"""Model bundles: what is refused, and that what was written is what is read."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bmcore.domain import BundleRefused
from bmcore.imaging.image_statistics import STATISTICS
from bmcore.models.autoencoder import build_autoencoder
from bmcore.models.bundle_writer import copy_part, finish, write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.clinical import FEATURE_KEYS
from bmcore.models.cnn import FEATURE_NAMES, build_cnn
from bmcore.models.configs import AutoencoderConfig, CNNConfig, SegmenterConfig
from bmcore.models.conformal import Conformal
from bmcore.models.format_1 import CONFIG_NAMES
from bmcore.models.manifest import MANIFEST, PARTS, belongs_to
from bmcore.models.mlr import MLR
from bmcore.models.novelty import NoveltyModel
from bmcore.models.optional_parts import pack_uncertainty
from bmcore.models.segmenter import build_segmenter

SMALL = CNNConfig(width=8, blocks=1)
SEGMENTER = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,))


def fill(folder):
    """All six parts with random weights."""
    torch.manual_seed(0)
    code = AutoencoderConfig(len(FEATURE_NAMES))
    write_part(folder, "segmenter", build_segmenter(SEGMENTER).state_dict(), SEGMENTER)
    write_part(folder, "cnn", build_cnn(SMALL).state_dict(), SMALL, {"seed": 1}, {"auc": 0.5})
    write_part(folder, "autoencoder", build_autoencoder(code).state_dict(), code)
    random = np.random.default_rng(0)
    names = [f"code_{i}" for i in range(code.code)]
    for part, features in (
        ("clinical_mlr", list(FEATURE_KEYS)),
        ("image_mlr", names),
        ("fused_mlr", [*FEATURE_KEYS, *names]),
    ):
        x, y = random.normal(size=(40, len(features))), random.integers(0, 6, 40)
        model = MLR(features).fit(x, y)
        write_part(folder, part, model.tensors(), {"features": features})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    fill(folder)
    finish(folder, "demo", "1", "40 fabricated rows", True, seeds={"cnn": 1}, timings_s={"cnn": 2})
    return folder


@pytest.fixture
def bundle(made, tmp_path):
    """A copy that a test may spoil."""
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder, change):
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_what_was_written_is_what_is_read(made):
    bundle = load_bundle(made)
    assert all(bundle.has(part) for part in PARTS)
    torch.manual_seed(0)
    build_segmenter(SEGMENTER)
    same = build_cnn(SMALL).state_dict()
    assert all(torch.equal(v, same[k]) for k, v in bundle.cnn.state_dict().items())
    assert not bundle.cnn.training and bundle.cnn is bundle.cnn
    assert bundle.segmenter_config == SEGMENTER and not bundle.segmenter.training
    assert bundle.fused_mlr.features[:7] == FEATURE_KEYS
    assert bundle.image_mlr.predict_proba(np.zeros((1, 8))).shape == (1, 6)
    assert bundle.autoencoder.encode(np.zeros((2, len(FEATURE_NAMES)))).shape == (2, 8)
    assert bundle.info.badge == "demo 1: demo models, trained on synthetic data"
    assert bundle.manifest["timings_s"] == {"cnn": 2.0}
    assert len(bundle.info.digest) == 64 and bundle.clinical_mlr.n_ == 40


def test_the_digest_changes_with_any_part(made, bundle):
    before = load_bundle(made).info.digest
    assert load_bundle(bundle).info.digest == before
    write_part(bundle, "cnn", build_cnn(SMALL).state_dict(), SMALL)
    assert load_bundle(bundle).info.digest != before


def test_an_unfinished_bundle_says_which_part_it_lacks(tmp_path):
    write_part(tmp_path, "cnn", build_cnn(SMALL).state_dict(), SMALL)
    bundle = load_bundle(tmp_path)
    assert bundle.has("cnn") and not bundle.has("segmenter")
    with pytest.raises(BundleRefused, match="has no segmenter"):
        _ = bundle.segmenter
    with pytest.raises(BundleRefused, match="without all its parts"):
        finish(tmp_path, "x", "1", "nothing", True)
    with pytest.raises(ValueError, match="part must be one of"):
        write_part(tmp_path, "brain", {}, {})


def test_parts_gathered_from_several_folders_make_the_same_bundle(made, tmp_path):
    for part in PARTS:
        copy_part(made, tmp_path, part)
    gathered = finish(tmp_path, "gathered", "1", "nothing", True)
    assert gathered.info.digest == load_bundle(made).info.digest
    assert gathered.manifest["parts"]["cnn"]["metrics"] == {"auc": 0.5}
    with pytest.raises(BundleRefused, match="no model bundle"):
        copy_part(tmp_path / "none", tmp_path, "cnn")


def test_no_manifest_no_bundle(tmp_path):
    with pytest.raises(BundleRefused, match="no model bundle"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(format=3), "unknown format"),
        (lambda m: m.update(extra=1), "expected keys"),
        (lambda m: m["parts"].pop("cnn"), "the bundle has no cnn"),
        (lambda m: m["parts"]["cnn"].update(sha256="0" * 64), "changed or damaged"),
        (lambda m: m["parts"]["cnn"].update(file="../cnn.safetensors"), "not allowed"),
        (lambda m: m["parts"]["cnn"].pop("metrics"), "expected keys"),
        (lambda m: m["parts"].update(brain=m["parts"]["cnn"]), "unknown part"),
    ],
)
def test_a_changed_manifest_is_refused(bundle, change, sentence):
    edit(bundle, change)
    with pytest.raises(BundleRefused, match=sentence):
        load_bundle(bundle)


# --- format 1: the same values by other names --------------------------------------------------

JUDGING = SEGMENTER.changed(
    candidates=8, candidate_threshold=0.05, min_t1c_enhancement=1.5, core_threshold=0.3,
    min_lesion_peak=0.4, min_et_component_share=0.02, flip_augmentation=True,
    keep_isolated_oedema=True, blocks_down=(1, 1, 1, 1), blocks_up=(1, 1, 1),
    full_resolution_channels=8,
)  # fmt: skip


def as_format_1(folder, config=JUDGING):
    """The bundle as it was written before: names in the manifest and of one tensor."""
    torch.manual_seed(1)
    net = build_segmenter(config)
    write_part(folder, "segmenter", net.state_dict(), config)
    path = folder / "segmenter.safetensors"
    old = {k.replace("quantiles", "knots"): v for k, v in load_file(path).items()}
    assert any("knots" in name for name in old)
    save_file(old, path)
    before = {new: name for name, new in CONFIG_NAMES["segmenter"].items()}

    def change(manifest):
        entry = manifest["parts"]["segmenter"]
        entry["config"] = {before.get(k, k): v for k, v in entry["config"].items()}
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest.update(format=1, created="2026-01-01T00:00:00+00:00")

    edit(folder, change)
    return net


def test_a_bundle_of_format_1_is_read_under_the_new_names(bundle, tmp_path):
    net = as_format_1(bundle)
    config = json.loads((bundle / MANIFEST).read_text())["parts"]["segmenter"]["config"]
    assert set(CONFIG_NAMES["segmenter"]) <= set(config)
    before = (bundle / MANIFEST).read_bytes()
    read = load_bundle(bundle)
    assert read.segmenter_config == JUDGING
    found = read.segmenter.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in net.state_dict().items())
    assert (bundle / MANIFEST).read_bytes() == before  # reading changes nothing


def test_a_part_of_format_1_is_taken_over_as_format_2(bundle, tmp_path_factory):
    net = as_format_1(bundle)
    other = tmp_path_factory.mktemp("other")
    copy_part(bundle, other, "segmenter")
    copy_part(bundle, other, "cnn")
    manifest = json.loads((other / MANIFEST).read_text())
    assert manifest["format"] == 2
    assert not set(CONFIG_NAMES["segmenter"]) & set(manifest["parts"]["segmenter"]["config"])
    assert not any("knots" in name for name in load_file(other / "segmenter.safetensors"))
    found = load_bundle(other).segmenter.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in net.state_dict().items())
    same = "cnn.safetensors"
    assert (other / same).read_bytes() == (bundle / same).read_bytes()


def test_a_value_under_both_names_is_refused_rather_than_one_lost(bundle):
    as_format_1(bundle)
    edit(bundle, lambda m: m["parts"]["segmenter"]["config"].update(core_threshold=0.5))
    with pytest.raises(BundleRefused, match=r"unknown keys.*core_chance"):
        _ = load_bundle(bundle).segmenter_config


def test_the_old_names_are_not_taken_in_format_2(bundle):
    as_format_1(bundle)
    edit(bundle, lambda m: m.update(format=2))
    with pytest.raises(BundleRefused, match="unknown keys"):
        _ = load_bundle(bundle).segmenter_config


def test_one_changed_byte_is_refused(bundle):
    path = bundle / "image_mlr.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleRefused, match=r"image_mlr has been changed or damaged"):
        load_bundle(bundle)


def test_all_problems_are_told_at_once(bundle):
    (bundle / "cnn.safetensors").unlink()
    (bundle / "autoencoder.safetensors").unlink()
    with pytest.raises(BundleRefused) as caught:
        load_bundle(bundle)
    assert len(caught.value.findings) == 2


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("cnn", {"depth": 3}, "unknown keys"),
        ("cnn", {"width": 16}, "do not fit its config"),
        ("cnn", {"width": 13}, "cannot be used"),
        ("autoencoder", {"code": 4}, "do not fit its config"),
        ("image_mlr", {"features": ["a"]}, "do not fit"),
        ("image_mlr", {"kernel": "rbf"}, "expected keys"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(bundle, part, change, sentence):
    edit(bundle, lambda m: m["parts"][part]["config"].update(change))
    opened = load_bundle(bundle)
    with pytest.raises(BundleRefused, match=sentence):
        getattr(opened, part)


def test_a_pickle_is_never_read(bundle):
    import hashlib
    import pickle

    content = pickle.dumps({"coef": 1})
    (bundle / "image_mlr.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit(bundle, lambda m: m["parts"]["image_mlr"].update(sha256=digest))
    with pytest.raises(BundleRefused, match="not safetensors"):
        _ = load_bundle(bundle).image_mlr


def test_a_file_swapped_after_the_check_is_refused(bundle):
    opened = load_bundle(bundle)
    (bundle / "cnn.safetensors").write_bytes((bundle / "autoencoder.safetensors").read_bytes())
    with pytest.raises(BundleRefused, match="changed after it was opened"):
        _ = opened.cnn


def test_a_broken_manifest_is_refused(bundle):
    (bundle / MANIFEST).write_text("{")
    with pytest.raises(BundleRefused, match="not JSON"):
        load_bundle(bundle)


# --- the part that may be absent ------------------------------------------------------------------


def add_uncertainty(folder):
    sets = dict.fromkeys(("clinical", "image", "fused"), Conformal(np.linspace(0, 0.9, 30), 0.8))
    rows = np.random.default_rng(0).normal(size=(12, len(STATISTICS)))
    novelty = NoveltyModel(rows, np.arange(12), [0.2, 0.4])
    tensors, config = pack_uncertainty(sets, novelty)
    config["belongs_to"] = belongs_to(json.loads((folder / MANIFEST).read_text()))
    write_part(folder, "uncertainty", tensors, config)
    return rows


def test_a_bundle_without_uncertainty_has_none_and_with_it_another_digest(made, bundle):
    old = load_bundle(made)
    assert old.conformal is None and old.novelty is None
    rows = add_uncertainty(bundle)
    new = finish(bundle, "demo", "1", "40 fabricated rows", True)
    assert new.info.digest != old.info.digest
    found = {kind: (c.n, c.coverage) for kind, c in new.conformal.items()}
    assert found == dict.fromkeys(("clinical", "image", "fused"), (30, 0.8))
    np.testing.assert_array_equal(new.novelty.rows, rows)
    assert new.novelty is new.novelty


def test_uncertainty_of_other_models_is_refused_once_the_bundle_is_finished(bundle):
    add_uncertainty(bundle)
    finish(bundle, "demo", "1", "40 fabricated rows", True)
    write_part(bundle, "segmenter", build_segmenter(SEGMENTER).state_dict(), SEGMENTER)
    finish(bundle, "demo", "1", "40 fabricated rows", True)  # it says nothing of the segmenter
    write_part(bundle, "cnn", build_cnn(SMALL).state_dict(), SMALL)
    assert load_bundle(bundle).has("uncertainty")  # still being built
    with pytest.raises(BundleRefused, match=r"belongs to other models.*another cnn"):
        finish(bundle, "demo", "1", "40 fabricated rows", True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"statistics": ["a"]}, "another version"),
        ({"novelty": {"margin": 0.1}}, "margins be 1 or more"),
        ({"novelty": {"kernel": 1}}, "cannot be used"),
    ],
)
def test_an_uncertainty_that_does_not_fit_is_refused(bundle, change, sentence):
    add_uncertainty(bundle)
    edit(bundle, lambda m: m["parts"]["uncertainty"]["config"].update(change))
    with pytest.raises(BundleRefused, match=sentence):
        _ = load_bundle(bundle).novelty
