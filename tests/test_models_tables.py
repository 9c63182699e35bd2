"""The clinical vector, the folds and the multinomial logistic regression."""

from dataclasses import replace

import numpy as np
import pytest

from bmcore.domain import ClinicalRecord
from bmcore.models.clinical import FEATURE_KEYS, FEATURES, vector, with_flags
from bmcore.models.folds import stratified_folds
from bmcore.models.mlr import C_GRID, MLR, MLRConfig


def named(record: ClinicalRecord, keys: tuple[str, ...] = FEATURE_KEYS) -> dict[str, float]:
    return dict(zip(keys, vector(record, keys), strict=True))


FULL = ClinicalRecord(65, "female", "former", 20, True)


def test_a_full_record_has_no_gap():
    v = named(FULL, with_flags())
    assert v["age_decades"] == 6.5 and v["sex_female"] == 1 and v["smoking_former"] == 1
    assert v["smoking_never"] == v["smoking_current"] == 0
    assert v["pack_years_log1p"] == pytest.approx(np.log(21))
    assert v["extracranial_metastases"] == 1
    assert not any(v[k] for k in with_flags() if k.endswith("_missing"))
    assert len(set(FEATURE_KEYS)) == 7 and not np.isnan(vector(FULL)).any()


def test_an_empty_record_is_all_unknown_and_never_zero():
    assert np.isnan(vector(ClinicalRecord())).all()
    with pytest.raises(ValueError, match="no clinical column is called height"):
        vector(FULL, ("height",))


def test_flags_are_columns_only_where_they_are_asked_for():
    """As bundles of the first version learnt it: a flag, and 0 in the category's columns."""
    v = named(ClinicalRecord(), with_flags())
    assert np.isnan(v["age_decades"]) and np.isnan(v["pack_years_log1p"])
    assert all(v[k] == 1 for k in with_flags() if k.endswith("_missing"))
    assert v["sex_female"] == v["extracranial_metastases"] == v["smoking_never"] == 0
    assert len(with_flags()) == 12 and not any(k.endswith("_missing") for k in FEATURE_KEYS)


@pytest.mark.parametrize("field", list(ClinicalRecord.__dataclass_fields__))
def test_what_is_not_known_argues_for_nothing(field: str):
    """Each field of the record: its columns take the training mean, and contribute exactly 0."""
    random = np.random.default_rng(5)
    records = [
        ClinicalRecord(
            float(random.integers(30, 90)),
            str(random.choice(["male", "female"])),
            str(random.choice(["never", "former", "current"])),
            float(random.integers(0, 60)),
            bool(random.random() < 0.6),
        )
        for _ in range(120)
    ]
    x = np.stack([vector(record) for record in records])
    x[::9] = np.nan  # gaps in training too
    y = random.integers(0, 6, len(x))
    model = MLR(FEATURE_KEYS).fit(x, y)
    columns = [i for i, f in enumerate(FEATURES) if f.group == GROUPS[field]]
    assert columns and np.abs(model.coef_[:, columns]).max() > 1e-4  # it says something if known
    without = vector(replace(FULL, **{field: None}))
    assert np.isnan(without[columns]).all() and np.isfinite(np.delete(without, columns)).all()
    parts = model.contributions(without[None])[0]
    assert (parts[:, columns] == 0).all() and np.abs(np.delete(parts, columns, axis=1)).max() > 0
    mean = np.where(np.isnan(without), model.background_mean, without)
    np.testing.assert_allclose(model.predict_proba(without[None]), model.predict_proba(mean[None]))


GROUPS = {
    "age_years": "Age",
    "sex": "Sex",
    "smoking": "Smoking",
    "pack_years": "Pack-years",
    "extracranial_metastases": "Metastases outside the brain",
}


def test_no_metastases_outside_differs_from_not_known():
    no, unknown = vector(ClinicalRecord(extracranial_metastases=False)), vector(ClinicalRecord())
    assert np.isfinite(no).sum() == 1 and np.isnan(unknown).all()


def test_folds_share_out_each_class_and_repeat():
    y = np.repeat([0, 1, 2], [50, 23, 3])
    fold = stratified_folds(y, 5, seed=4)
    for label, most in ((0, 10), (1, 5), (2, 1)):
        counts = np.bincount(fold[y == label], minlength=5)
        assert counts.max() <= most and counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(fold)) <= 1
    assert (fold == stratified_folds(y, 5, seed=4)).all()
    assert (fold != stratified_folds(y, 5, seed=5)).any()
    with pytest.raises(ValueError, match="need at least"):
        stratified_folds([1, 2], 5, 0)


def test_rows_of_one_patient_go_together_in_folds_and_in_the_inner_choice():
    """30 patients with 3 rows each; with patients given, no fold splits one."""
    patients = np.repeat(np.arange(30), 3)
    y = (np.arange(30) % 3)[patients]
    fold = stratified_folds(y, 5, 1, patients)
    assert all(np.unique(fold[patients == p]).size == 1 for p in range(30))
    assert (np.bincount(fold) == 18).all()
    apart = stratified_folds(y, 5, 1)
    assert any(np.unique(apart[patients == p]).size > 1 for p in range(30))
    with pytest.raises(ValueError, match="but there are 30"):
        stratified_folds(y, 31, 1, patients)
    # marks of persons and labels by lot: the inner choice by person penalises hard, by row hardly
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(30) % 2)[patients]
    x = random.normal(size=(30, 40))[patients] + random.normal(0, 0.05, (90, 40))
    assert MLR().fit(x, labels, patients).c_ < MLR().fit(x, labels).c_


def blobs(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Six classes, unequally common; the first two features tell them apart, the third is noise."""
    random = np.random.default_rng(seed)
    y = random.choice(6, n, p=[0.15, 0.1, 0.1, 0.2, 0.35, 0.1])
    angle = y * np.pi / 3
    x = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(n)]) * 1.5
    return x + random.normal(size=(n, 3)) * (1, 1, 40) + (0, 3, 100), y


def test_it_learns_what_can_be_learnt_and_not_the_noise():
    x, y = blobs(600)
    new_x, new_y = blobs(600, seed=1)
    model = MLR(("a", "b", "noise")).fit(x, y)
    p = model.predict_proba(new_x)
    assert np.allclose(p.sum(axis=1), 1) and p.min() > 0
    # the Bayes rule of these blobs, worked out from their known densities
    prior = np.array([0.15, 0.1, 0.1, 0.2, 0.35, 0.1])
    centres = 1.5 * np.column_stack(
        [np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)]
    )
    gap = new_x[:, None, :2] - (0, 3) - centres
    bayes = (np.log(prior) - (gap**2).sum(axis=2) / 2).argmax(axis=1)
    limit = (bayes == new_y).mean()
    assert limit - 0.05 < (p.argmax(axis=1) == new_y).mean() < limit + 0.03
    assert np.abs(model.coef_[:, 2]).max() < 0.5 * np.abs(model.coef_[:, :2]).max()
    assert model.c_ in C_GRID


def test_contributions_and_intercept_add_up_to_the_logits():
    x, y = blobs()
    x[::7, 1] = np.nan
    model = MLR().fit(x, y)
    parts = model.contributions(x)
    assert parts.shape == (len(y), 6, 3)
    assert np.allclose(parts.sum(axis=2) + model.intercept_, model.logits(x))
    assert (parts[::7, :, 1] == 0).all()
    assert np.allclose(model.contributions(model.background_mean[None]), 0)


def test_a_missing_value_is_the_training_mean():
    x, y = blobs()
    x[::5, 0] = np.nan
    model = MLR().fit(x, y)
    assert model.mean_[0] == pytest.approx(np.nanmean(x[:, 0]))
    gap, filled = x[:1].copy(), x[:1].copy()
    gap[0, 0], filled[0, 0] = np.nan, model.mean_[0]
    assert np.allclose(model.predict_proba(gap), model.predict_proba(filled))


def test_the_tensors_make_the_same_model_again_to_the_bit():
    x, y = blobs()
    model = MLR(("a", "b", "c")).fit(x, y)
    again = MLR.from_tensors(model.tensors(), ("a", "b", "c"))
    assert (again.predict_proba(x) == model.predict_proba(x)).all()
    assert (again.c_, again.temperature_, again.n_) == (model.c_, model.temperature_, model.n_)
    broken = model.tensors() | {"mean": np.zeros(2)}
    with pytest.raises(ValueError, match="mean must be"):
        MLR.from_tensors(broken, ("a", "b", "c"))
    with pytest.raises(ValueError, match="not finite"):
        MLR.from_tensors(model.tensors() | {"intercept": np.full(6, np.nan)})


def test_without_information_the_answer_is_about_the_share_of_each_primary():
    random = np.random.default_rng(3)
    y = random.choice(6, 300, p=[0.13, 0.07, 0.08, 0.2, 0.44, 0.08])
    p = MLR().fit(random.normal(size=(300, 8)), y).predict_proba(np.zeros((1, 8)))[0]
    assert np.abs(p - np.bincount(y, minlength=6) / 300).max() < 0.05


def test_the_temperature_tames_a_model_that_is_too_sure():
    random = np.random.default_rng(8)
    x, y = random.normal(size=(60, 40)), random.integers(0, 3, 60)
    model = MLR(config=MLRConfig(c=100.0)).fit(x, y)  # nearly no penalty on pure noise
    assert model.temperature_ > 3
    p = model.predict_proba(random.normal(size=(200, 40)))
    assert p[:, :3].max(axis=1).mean() < 0.7


def test_balanced_weights_raise_the_rare_class():
    x, y = blobs()
    plain = MLR(config=MLRConfig(c=1.0)).fit(x, y).predict_proba(x).mean(axis=0)
    even = MLR(config=MLRConfig(c=1.0, balanced=True)).fit(x, y).predict_proba(x).mean(axis=0)
    rare, common = np.argmin(np.bincount(y)), np.argmax(np.bincount(y))
    assert even[rare] > plain[rare] and even[common] < plain[common]


def test_a_primary_never_seen_keeps_a_small_chance():
    x, y = blobs()
    keep = (y == 0) | (y == 4)
    p = MLR().fit(x[keep], y[keep]).predict_proba(x[keep])
    assert 0 < p[:, [1, 2, 3, 5]].max() < 0.05
    assert (p.argmax(axis=1) == y[keep]).mean() > 0.9  # opposite blobs, 3 standard deviations apart


def test_wrong_input_is_named():
    x, y = blobs()
    for bad_x, bad_y in ((x, y[:-1]), (x, y + 6), (x[:, 0], y), (x * np.inf, y)):
        with pytest.raises(ValueError):
            MLR().fit(bad_x, bad_y)
    with pytest.raises(ValueError, match="two primaries"):
        MLR().fit(x, np.zeros(len(y)))
    with pytest.raises(ValueError, match="must be"):
        MLR(("a", "b", "c")).fit(x, y).predict_proba(x[:, :2])
