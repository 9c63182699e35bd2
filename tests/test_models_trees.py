"""Boosted trees on the measurements: what they learn, keep, refuse; the bundle that has them."""

from dataclasses import replace

import numpy as np
import pytest

from bmcore.domain import BundleRefused
from bmcore.models.bundle_writer import finish, write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.image_features import PLAIN, TREE_SCORES, measured_of, with_tree_scores
from bmcore.models.known_values import mean_of_known
from bmcore.models.measurement_trees import (
    MeasurementTrees,
    TreesConfig,
    fit,
    out_of_fold,
)
from tests.reading_fixture import tiny_bundle

QUICK = TreesConfig(steps=12, least=5, share=1.0, rate=0.2, l2=1.0)


def patients(n: int = 480, m: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Primary 2 where two measurements are both high or both low, else 4; 0 is told by a third."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, m))
    y = np.where(x[:, 0] * x[:, 1] > 0, 2, 4)
    y[x[:, 2] > 1] = 0
    return x, y, np.arange(n) % 3


def test_what_counts_only_together_is_found():
    x, y, fold = patients()
    trees = fit(x, y, fold, QUICK)
    assert trees.members == 3
    own = out_of_fold(trees, x, fold)
    assert own.shape == (480, 6)
    np.testing.assert_allclose(own.sum(axis=1), 0, atol=1e-9)
    assert (own.argmax(axis=1) == y).mean() > 0.85  # a line through x finds no more than chance
    assert not own[:, [1, 3, 5]].any()


def test_a_member_has_not_seen_its_fold():
    x, y, fold = patients()
    before = out_of_fold(fit(x, y, fold, QUICK), x, fold)
    changed = np.where(fold == 1, (y + 1) % 6, y)
    after = out_of_fold(fit(x, changed, fold, QUICK), x, fold)
    np.testing.assert_array_equal(before[fold == 1], after[fold == 1])
    assert not np.allclose(before[fold == 0], after[fold == 0])


def test_the_scores_are_those_of_scikit_learn():
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y, fold = patients()
    y = np.random.default_rng(1).integers(0, 6, len(y))
    how = TreesConfig(steps=9, seed=3)
    found = fit(x, y, fold, how).scores(x)[2]
    model = HistGradientBoostingClassifier(
        learning_rate=how.rate, max_iter=9, max_depth=3, min_samples_leaf=20, l2_regularization=10,
        max_features=0.3, early_stopping=False, random_state=3,
    ).fit(x[fold != 2], y[fold != 2])  # fmt: skip
    theirs = model.decision_function(x)
    np.testing.assert_allclose(found, theirs - theirs.mean(axis=1, keepdims=True), atol=1e-5)


def test_a_takeover_that_went_wrong_is_not_kept(monkeypatch):
    from bmcore.models import measurement_trees

    x, y, fold = patients()
    right = measurement_trees._exported
    monkeypatch.setattr(
        measurement_trees,
        "_exported",
        lambda model, mean: replace(right(model, mean), value=right(model, mean).value * 1.5),
    )
    with pytest.raises(RuntimeError, match="could not be taken over"):
        fit(x, y, fold, QUICK)


def test_what_is_not_measured_counts_as_the_mean():
    x, y, fold = patients()
    x[::4, 3] = np.nan
    trees = fit(x, y, fold, QUICK)
    unknown, mean = np.full((1, 5), np.nan), trees.mean
    for k in range(3):
        np.testing.assert_array_equal(trees.scores(unknown)[k], trees.scores(mean[k][None])[k])
    np.testing.assert_allclose(mean[0], np.nanmean(x[fold != 0], axis=0))
    assert mean_of_known(np.full((2, 1), np.nan)) == [0.0]


def test_two_primaries_and_one_alone():
    x, y, fold = patients()
    two = np.where(x[:, 0] * x[:, 1] > 0, 2, 4)
    own = out_of_fold(fit(x, two, fold, QUICK), x, fold)
    assert (own.argmax(axis=1) == two).mean() > 0.85
    np.testing.assert_allclose(own[:, [0, 1, 3, 5]], 0, atol=1e-9)
    alone = fit(x, np.full_like(y, 3), fold, QUICK)
    assert not alone.scores(x).any() and alone.members == 3
    assert not MeasurementTrees.from_tensors(alone.tensors()).scores(x).any()
    mixed = fit(x, np.where(fold == 0, 1, 3), np.where(fold == 0, 0, 1), QUICK)  # each sees one
    assert not mixed.scores(x).any()


def test_what_was_kept_is_what_is_read():
    x, y, fold = patients()
    trees = fit(x, y, fold, QUICK)
    read = MeasurementTrees.from_tensors({k: v.copy() for k, v in trees.tensors().items()})
    np.testing.assert_array_equal(read.scores(x), trees.scores(x))
    with pytest.raises(ValueError, match=r"x must be \(n, 5\)"):
        read.scores(x[:, :4])


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("left", lambda v: np.zeros_like(v), "left must lead to a later node"),
        ("right", lambda v: v + 10**6, "right must lead to a later node"),
        ("feature", lambda v: np.where(v >= 0, 5, v), "feature must lie between"),
        ("feature", lambda v: v.astype(np.float32), "whole numbers"),
        ("member", lambda v: v + 1, "member must lie between"),
        ("primary", lambda v: v - 9, "primary must lie between"),
        ("start", lambda v: v[:-1], "of one length"),
        ("value", lambda v: v * np.nan, "not finite"),
        ("baseline", lambda v: v[:, :5], "baseline must be"),
        ("mean", lambda v: v[:2], "mean must be"),
    ],
)
def test_trees_that_do_not_fit_are_refused(name, change, words):
    x, y, fold = patients()
    tensors = fit(x, y, fold, QUICK).tensors()
    with pytest.raises(ValueError, match=words):
        MeasurementTrees.from_tensors(tensors | {name: change(tensors[name])})
    with pytest.raises(ValueError, match="tensors must be"):
        MeasurementTrees.from_tensors({k: v for k, v in tensors.items() if k != name})


def test_the_third_set_ends_with_the_scores_of_the_same_member():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, PLAIN)).astype(np.float32)
    y, fold = rng.integers(0, 6, 90), np.arange(90) % 3
    trees = fit(measured_of(features), y, fold, TreesConfig(steps=4, least=5))
    patient = np.repeat(features[:1], 3, axis=0)
    patient[:, :4] = rng.normal(size=(3, 4))  # the CNN's scores differ by member
    whole = with_tree_scores(patient, trees)
    assert whole.shape == (3, PLAIN + len(TREE_SCORES)) and whole.dtype == np.float32
    np.testing.assert_array_equal(whole[:, :PLAIN], patient)
    expected = trees.scores(measured_of(features[:1]))[:, 0]
    np.testing.assert_allclose(whole[:, PLAIN:], expected, rtol=1e-6)
    assert not np.allclose(expected[0], expected[1])
    with pytest.raises(ValueError, match="3 members of the trees, but 2 of the CNN"):
        with_tree_scores(patient[:2], trees)


def small_trees(seed: int = 0) -> MeasurementTrees:
    x, y, fold = patients(60)
    return fit(x, y, fold, replace(QUICK, steps=2, seed=seed, share=0.5))


def test_a_bundle_has_trees_where_its_features_are_made_with_them(tmp_path):
    folder = tiny_bundle(tmp_path)
    assert not load_bundle(folder).has("trees")
    entry = load_bundle(folder).entry("autoencoder")
    net = load_bundle(folder).weights("autoencoder")
    with_trees = entry["config"] | {"feature_set": 3}
    write_part(folder, "autoencoder", net, with_trees)
    with pytest.raises(BundleRefused, match="has no trees, and its image features are made with"):
        finish(folder, "tiny", "2", "nothing", synthetic=True)
    write_part(folder, "trees", small_trees().tensors(), {})
    bundle = finish(folder, "tiny", "2", "nothing", synthetic=True)
    x, _, _ = patients(10)
    np.testing.assert_array_equal(bundle.trees.scores(x), small_trees().scores(x))
    write_part(folder, "autoencoder", net, entry["config"])
    with pytest.raises(BundleRefused, match="has trees, and its image features are made without"):
        finish(folder, "tiny", "2", "nothing", synthetic=True)


def test_trees_that_cannot_be_used_are_named(tmp_path):
    folder = tiny_bundle(tmp_path)
    broken = small_trees().tensors() | {"left": np.zeros(3, np.int32)}
    write_part(folder, "trees", broken, {})
    with pytest.raises(BundleRefused, match="the tensors of trees do not fit"):
        _ = load_bundle(folder).trees
    with pytest.raises(BundleRefused, match="the bundle has no trees"):
        _ = load_bundle(tiny_bundle(tmp_path / "other")).trees


def test_what_was_fitted_to_other_trees_is_refused(tmp_path):
    from bmcore.models.manifest import belongs_to, foreign, read_manifest

    folder = tiny_bundle(tmp_path)
    write_part(folder, "trees", small_trees().tensors(), {})
    described = {"belongs_to": belongs_to(read_manifest(folder))}
    assert "trees" in described["belongs_to"]
    write_part(folder, "spread", {"x": np.zeros(1)}, described)
    assert not foreign("spread", folder, read_manifest(folder))
    write_part(folder, "trees", small_trees(1).tensors(), {})
    (finding,) = foreign("spread", folder, read_manifest(folder))
    assert "belongs to other models" in finding.sentence and "trees" in finding.sentence
