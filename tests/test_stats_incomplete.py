"""Incomplete and split-plot designs: U-statistics and a mixed model, against lme4 and by hand."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest

from bmcore.stats import incomplete, mixed, ustatistics
from bmcore.stats.auc_sums import SUBSETS, auc_sums
from tests.vandyke_fixture import SCORES, TRUTH


def lme4_rows():
    """76 readings of 4 readers, 12 cases and 2 arms, made by formula; reader 4 read 3 cases.

    REFERENCE holds what lme4 1.1.31 and lmerTest 3.1.3 (R 4.2.2) print for them:
    y ~ arm + (1|reader) + (1|case); and for z with (1|reader:case) + (1|reader:arm) besides.
    """
    reader_effect = (0.30, -0.25, 0.10, -0.15)
    rows = []
    places = itertools.product((0, 1), range(1, 13), range(1, 5))
    for i, (arm, case, reader) in enumerate(places, start=1):
        y = 4 - 0.25 * arm + reader_effect[reader - 1] + round(math.sin(case * 1.7) * 0.6, 3)
        y = round(y + 0.35 * math.sin(i * 2.399) + 0.2 * math.cos(i * i * 0.7), 4)
        z = y + 0.5 * math.sin(reader * 13.1 + case * 7.7) + 0.15 * arm * math.sin(reader * 5.3)
        if not (reader == 4 and case > 3) and not (case == 7 and reader == 2):
            rows.append((reader, case, arm, y, round(z, 4)))
    return rows


REFERENCE = {
    "y": {
        "case": 0.4313266525**2, "reader": 0.2416327561**2, "residual": 0.2944189817**2,
        "arm": (-0.321, 0.06754434674, 60.0309), "intercept": (4.082506042, 0.18152520656, 9.6315),
        "criterion": 72.8652912142,
    },
    "z": {
        "reader:case": 0.02707821005, "case": 0.38340588463, "reader:arm": 0.0,
        "reader": 0.05840953244, "residual": 0.10724945780,
        "arm": (-0.4011105263, 0.07513127382, 37.0), "criterion": 103.178489316,
        "intercept": (4.0518000050, 0.22585006730, 12.4770),
    },
}  # fmt: skip


@pytest.mark.parametrize("outcome", ["y", "z"])
def test_the_mixed_model_gives_the_numbers_of_lme4_and_lmertest(outcome):
    rows = lme4_rows()
    reader, case, arm = ([r[k] for r in rows] for k in range(3))
    random = {"case": case, "reader": reader}
    if outcome == "z":
        random |= {
            "reader:case": list(zip(reader, case, strict=True)),
            "reader:arm": list(zip(reader, arm, strict=True)),
        }
    found = mixed.fit([r[3 if outcome == "y" else 4] for r in rows], {"arm": arm}, random)
    wanted = REFERENCE[outcome]
    assert found.criterion == pytest.approx(wanted["criterion"], abs=1e-6)
    for name, variance in found.components.items():
        assert variance == pytest.approx(wanted[name], rel=1e-4, abs=1e-6)
    for name in ("arm", "intercept"):
        value, error, df = wanted[name]
        mine = found.effects[name]
        assert mine.difference.value == pytest.approx(value, abs=1e-6)
        assert mine.difference.value / mine.statistic == pytest.approx(error, rel=1e-4)
        assert mine.df == pytest.approx(df, rel=1e-3)
    assert found.singular == (("reader:arm",) if outcome == "z" else ())


def test_a_balanced_mixed_model_is_the_paired_t_test_of_the_readers_means():
    # Reader effects on the change, and none that cases share: the arm's error is that of the
    # readers' mean changes, with readers - 1 degrees of freedom.
    rng = np.random.default_rng(2)
    table = (
        rng.normal(size=(2, 5, 20)) * 0.5 + rng.normal(size=(2, 5, 1)) + rng.normal(size=(1, 1, 20))
    )
    index = list(np.ndindex(2, 5, 20))
    found = mixed.compare_arms(
        [table[i] for i in index], [f"R{i[1]}" for i in index], [f"C{i[2]}" for i in index],
        [str(i[0]) for i in index], ("0", "1"),
    )  # fmt: skip
    change = (table[1] - table[0]).mean(axis=1)
    assert found.difference.value == pytest.approx(change.mean())
    assert found.difference.value / found.statistic == pytest.approx(
        change.std(ddof=1) / math.sqrt(5), rel=0.05
    )
    assert found.df == pytest.approx(4, abs=0.6)
    fixed = mixed.compare_arms(
        [table[i] for i in index], [f"R{i[1]}" for i in index], [f"C{i[2]}" for i in index],
        [str(i[0]) for i in index], ("0", "1"), fixed_readers=True,
    )  # fmt: skip
    assert fixed.difference.value == pytest.approx(change.mean())
    assert (
        fixed.difference.high - fixed.difference.low < found.difference.high - found.difference.low
    )


def test_the_mixed_model_says_what_it_cannot_fit():
    one = mixed.compare_arms([1.0, 2, 3, 4], list("aaaa"), list("1212"), list("uuvv"), ("u", "v"))
    assert "one reader is not a sample" in one.difference.method
    none = mixed.compare_arms([1.0, 2], list("ab"), list("12"), list("uu"), ("u", "v"))
    assert "each arm needs readings" in none.difference.method
    with pytest.raises(ValueError, match="missing values"):
        mixed.fit([1.0, math.nan, 2.0], {}, {"reader": [1, 1, 2]})
    with pytest.raises(ValueError, match="told apart"):
        mixed.fit([1.0, 2, 3, 4], {"a": [1, 1, 1, 1]}, {"reader": [1, 1, 2, 2]})
    with pytest.raises(ValueError, match="fewer than rows"):
        mixed.fit([1.0, 2, 3, 4], {}, {"case": [1, 2, 3, 4]})
    with pytest.raises(ValueError, match="label for each"):
        mixed.fit([1.0, 2, 3, 4], {}, {"case": [1, 2]})


def test_the_disjoint_mean_is_the_sum_over_pairs_done_by_hand():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 3, 4, 5))
    da, db = (rng.random((2, 3, 4, 5)) < 0.6).astype(float)
    products = weights = 0.0
    for i, j in itertools.product(np.ndindex(3, 4, 5), np.ndindex(3, 4, 5)):
        if all(x != y for x, y in zip(i, j, strict=True)):
            products += a[i] * b[j] * da[i] * db[j]
            weights += da[i] * db[j]
    assert incomplete.disjoint_mean(a, da, b, db) == pytest.approx(products / weights)


def test_a_complete_design_is_the_one_shot_analysis_of_complete_designs():
    found, theirs = incomplete.compare_auc(SCORES, TRUTH), ustatistics.compare_auc(SCORES, TRUTH)
    mine, other = found.differences[0, 1], theirs.differences_random[0, 1]
    for name in ("value", "low", "high"):
        assert getattr(mine.difference, name) == pytest.approx(getattr(other.difference, name))
    assert mine.df == pytest.approx(other.df)
    assert found.read == (570, 570)
    for e, plain in zip(found.means, theirs.random, strict=True):
        assert e.value == pytest.approx(plain.value)
        assert e.low == pytest.approx(plain.low, abs=0.05)


def test_four_full_readers_and_one_of_three_cases_are_near_the_full_ones():
    holes = SCORES.copy()
    holes[:, 4] = np.nan
    holes[:, 4, [10, 60, 80]] = SCORES[:, 4, [10, 60, 80]]
    four = ustatistics.compare_auc(SCORES[:, :4], TRUTH).differences_random[0, 1].difference
    found = incomplete.compare_auc(holes, TRUTH).differences[0, 1].difference
    assert found.value == pytest.approx(four.value, abs=0.002)
    assert found.high - found.low == pytest.approx(four.high - four.low, rel=0.1)
    assert found.n == 114


def test_the_variance_of_an_incomplete_split_plot_is_unbiased_over_many_studies():
    # Two groups of readers with cases of their own; 30 % of the readings are missing.
    rng = np.random.default_rng(8)
    values, variances = [], []
    for _ in range(1500):
        right = (
            rng.normal(size=(2, 4, 24)) + rng.normal(size=(1, 1, 24))
            + 0.5 * rng.normal(size=(2, 4, 1)) < np.array([0.2, 0.6])[:, None, None]
        ).astype(float)  # fmt: skip
        right[:, :2, 12:] = right[:, 2:, :12] = np.nan
        right[rng.random(right.shape) < 0.3] = np.nan
        means = [np.nanmean(arm) for arm in right]
        hits, read = np.nan_to_num(right), (~np.isnan(right)).astype(float)
        values.append(means[1] - means[0])
        variances.append(sum(
            s * u * (means[i] * means[j]
                     - incomplete.disjoint_mean(hits[i], read[i], hits[j], read[j]))
            for i, s in enumerate((-1, 1)) for j, u in enumerate((-1, 1))
        ))  # fmt: skip
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.12)


def test_shares_with_holes_have_intervals_and_states():
    right = np.full((2, 3, 8), np.nan)
    right[0, :, :4], right[1, :, 4:] = 1, 0  # arms of different cases
    right[0, 0, 0] = right[1, 1, 5] = 0
    right[1, 1, 5] = 1
    found = incomplete.compare_shares(right)
    assert found.differences[0, 1].difference.value == pytest.approx(1 / 12 - 11 / 12)
    assert found.read == (12, 12)
    lonely = incomplete.compare_shares(right[:, :1])
    assert "one reader" in lonely.differences[0, 1].difference.method
    empty = incomplete.compare_shares(np.full((2, 3, 8), np.nan))
    assert "nothing was read" in empty.differences[0, 1].difference.method
    some = incomplete.compare_shares(right, np.arange(8) < 4)
    assert "nothing was read" in some.differences[0, 1].difference.method
    with pytest.raises(ValueError, match="1, 0 or NaN"):
        incomplete.compare_shares(np.full((1, 2, 2), 0.5))
    with pytest.raises(ValueError, match="truth"):
        incomplete.compare_auc(SCORES, TRUTH[:3])


def test_the_sums_over_pairs_are_those_of_the_table_of_all_pairs():
    # Ties, holes, a reader who read one kind only and one who read nothing; 2 conditions.
    rng = np.random.default_rng(21)
    scores = rng.integers(0, 4, (2, 5, 40)).astype(float)
    truth = rng.random(40) < 0.4
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[0, 3, truth] = np.nan
    scores[1, 4] = np.nan
    read = ~np.isnan(scores)
    above = (
        np.nan_to_num(scores)[:, :, truth][:, :, None]
        - np.nan_to_num(scores)[:, :, ~truth][..., None]
    )
    design = (read[:, :, truth][:, :, None] & read[:, :, ~truth][..., None]).astype(float)
    kernel = (np.sign(above) + 1) / 2 * design
    found = auc_sums(scores, truth)
    assert (found.kernel == kernel.sum(axis=(2, 3))).all()
    assert (found.design == design.sum(axis=(2, 3))).all()
    for table, sums in ((kernel, found.kernel_by), (design, found.design_by)):
        assert (sums[0] == table.sum(axis=(1, 3))).all()
        assert (sums[1] == table.sum(axis=(1, 2))).all()
    for axes in SUBSETS:
        rest = tuple(a for a in range(3) if a not in axes)
        for table, products in ((kernel, found.products), (design, found.read)):
            over = [arm.sum(axis=rest).ravel() for arm in table]
            assert (products[axes] == [[a @ b for b in over] for a in over]).all(), axes


def test_many_cases_need_no_table_of_all_pairs():
    # 2 x 4 x 3,000 x 3,000 pairs as numbers would be 576 MB, several times over.
    rng = np.random.default_rng(22)
    truth = np.arange(6000) % 2 == 0
    scores = rng.integers(-100, 100, (2, 4, 6000)) + 40.0 * truth
    tracemalloc.start()
    incomplete.compare_auc(scores, truth)
    ustatistics.readers_against_model(scores[0], scores[1, 0], truth)
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()
