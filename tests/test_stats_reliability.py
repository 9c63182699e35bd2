"""Gwet, Krippendorff, ICC, Bland-Altman, Dice of readers: printed numbers and degenerate inputs."""

import math

import numpy as np
import pytest

from bmcore.stats import continuous, reliability
from bmcore.stats.agreement import cohen_kappa, fleiss_kappa
from bmcore.stats.bootstrap import Resampling

# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers (rows),
# twelve units, "." is missing. Gwet's handbook uses the same table (his last unit has another
# reader's single vote, which changes nothing here).
KRIPPENDORFF = ["123321412...", "1233224125.3", ".33323422 51.", "1233244125 1."]
# The first 15 patients of Fleiss 1971 as Gwet prints them, with his results, in irrCAC's manual.
FIFTEEN = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050
02031"""


def krippendorff():
    rows = [row.replace(" ", "") for row in KRIPPENDORFF]
    return np.array([[-1 if v == "." else int(v) - 1 for v in row] for row in rows]).T


def counts_to_ratings(text):
    counts = np.array([[int(c) for c in row] for row in text.split()])
    return np.array([np.repeat(np.arange(counts.shape[1]), row) for row in counts])


@pytest.mark.parametrize(
    ("scale", "printed"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_gives_the_printed_values_of_krippendorff(scale, printed):
    found = reliability.krippendorff_alpha(krippendorff(), 5, scale)
    assert round(found.value, 3) == printed
    assert found.n == 11
    assert found.low < found.value <= found.high
    assert "bootstrap" in found.method


def test_alpha_for_two_readers_and_two_categories_follows_the_hand_formula():
    # 2 readers, 10 units: 4 x (0,0), 3 x (1,1), 3 x (0,1). Do = 3/10; n0 = 11, n1 = 9 of 20:
    # De = 2 * 11 * 9 / (20 * 19); alpha = 1 - Do / De.
    pairs = np.array([[0, 0]] * 4 + [[1, 1]] * 3 + [[0, 1]] * 3)
    found = reliability.krippendorff_alpha(pairs, 2)
    assert found.value == pytest.approx(1 - 0.3 / (2 * 11 * 9 / (20 * 19)))


def test_ac1_gives_the_numbers_that_gwet_prints_for_missing_votes():
    # irrCAC manual (Gwet): AC1 0.77544, standard error 0.14295, interval 0.461 to 1.
    table = krippendorff()
    assert table.shape == (12, 4)
    found = reliability.gwet_ac(table, 5)
    assert round(found.value, 5) == 0.77544
    assert round(found.low, 3) == 0.461
    assert found.high == 1.0
    assert (found.value - found.low) / 2.200985 == pytest.approx(0.14295, abs=5e-6)


def test_ac1_gives_the_numbers_that_gwet_prints_for_six_psychiatrists():
    # irrCAC manual: AC1 0.4448007, standard error 0.08418757, interval 0.264 to 0.625.
    found = reliability.gwet_ac(counts_to_ratings(FIFTEEN), 5)
    assert found.value == pytest.approx(0.4448007, abs=5e-8)
    assert (found.high - found.low) / 2 / 2.1447867 == pytest.approx(0.08418757, abs=5e-8)
    assert (round(found.low, 3), round(found.high, 3)) == (0.264, 0.625)


def test_the_kappas_give_the_numbers_that_gwet_prints_beside_it():
    # irrCAC manual: Fleiss 0.4139265 (0.24 to 0.588) on the 15 patients, 0.76117
    # with missing votes; 3 x 3 abstractors: Cohen 0.7964094, AC1 0.8493305, error 0.04321747.
    fleiss = fleiss_kappa(counts_to_ratings(FIFTEEN), 5)
    assert fleiss.value == pytest.approx(0.4139265, abs=5e-8)
    assert (round(fleiss.low, 3), round(fleiss.high, 3)) == (0.240, 0.588)
    assert round(fleiss_kappa(krippendorff(), 5).value, 5) == 0.76117
    table = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    a, b = (np.repeat(ix.ravel(), table.ravel()) for ix in np.indices(table.shape))
    assert cohen_kappa(a, b, 3).value == pytest.approx(0.7964094, abs=5e-8)
    ac = reliability.gwet_ac(np.column_stack([a, b]), 3)
    assert ac.value == pytest.approx(0.8493305, abs=5e-8)
    # His formula for a table of two readers divides by n, ours for any number by n - 1 cases.
    error = (ac.high - ac.low) / 2 / 1.9842169
    assert error * math.sqrt(99 / 100) == pytest.approx(0.04321747, abs=5e-8)


def test_ac2_with_two_categories_is_ac1_and_grows_with_near_misses():
    rng = np.random.default_rng(2)
    two = rng.integers(0, 2, (40, 3))
    assert reliability.gwet_ac(two, 2, "quadratic").value == pytest.approx(
        reliability.gwet_ac(two, 2).value
    )
    true = rng.integers(0, 5, 60)
    near = np.column_stack([true, np.clip(true + rng.integers(-1, 2, 60), 0, 4)])
    plain, linear, quadratic = (
        reliability.gwet_ac(near, 5, w).value for w in ("none", "linear", "quadratic")
    )
    assert plain < linear < quadratic


def test_ac2_by_hand_with_linear_weights():
    # Two readers, three categories, pairs (0,0), (1,1), (0,1), (2,0); w = 1, .5, 0 by distance.
    # pa = (1 + 1 + .5 + 0) / 4; pi = (4, 3, 1) / 8; Tw = 3 + 4 * .5 = 5; pe = 5/6 sum pi(1 - pi).
    pairs = np.array([[0, 0], [1, 1], [0, 1], [2, 0]])
    pi = np.array([4, 3, 1]) / 8
    pe = 5 / 6 * (pi * (1 - pi)).sum()
    found = reliability.gwet_ac(pairs, 3, "linear")
    assert found.value == pytest.approx((0.625 - pe) / (1 - pe))


def test_one_category_no_votes_and_no_disagreement_are_named_states():
    same = np.full((6, 3), 2)
    alpha = reliability.krippendorff_alpha(same, 4)
    assert math.isnan(alpha.value)
    assert "every answer is the same" in alpha.method
    ac = reliability.gwet_ac(same, 4)
    assert ac.value == 1.0
    assert not ac.has_interval
    assert "no disagreement" in ac.method
    assert math.isnan(reliability.gwet_ac(np.zeros((3, 2), int), 1).value)
    lonely = np.array([[0, -1], [-1, 1]])
    for found in (reliability.gwet_ac(lonely, 2), reliability.krippendorff_alpha(lonely, 2)):
        assert math.isnan(found.value)
        assert found.n == 0
        assert "two readers" in found.method
    perfect = reliability.krippendorff_alpha(np.array([[0, 0], [1, 1], [0, 0]]), 2)
    assert perfect.value == 1.0
    assert not perfect.has_interval


def test_a_category_that_does_not_exist_is_refused():
    for call in (reliability.gwet_ac, reliability.krippendorff_alpha):
        with pytest.raises(ValueError, match="run from 0 to 7"):
            call(np.array([[0, 7]]), 5)
    with pytest.raises(ValueError, match="scale"):
        reliability.krippendorff_alpha(np.array([[0, 1]]), 2, "ratio")
    with pytest.raises(ValueError, match="weights"):
        reliability.gwet_ac(np.array([[0, 1]]), 2, "cubic")


def test_a_reader_against_himself_gets_three_numbers_on_the_repeats_only():
    first, second = np.array([0, 1, 2, 1, -1]), np.array([0, 1, 1, 1, 2])
    found = reliability.intra_reader(first, second, 3)
    assert found.percent.n == found.kappa.n == found.ac.n == 4
    assert found.percent.value == 0.75
    # po = 3/4, pe = 1/4 * 1/4 + 2/4 * 3/4 + 1/4 * 0 = 7/16.
    assert found.kappa.value == pytest.approx((0.75 - 7 / 16) / (1 - 7 / 16))
    nothing = reliability.intra_reader(np.array([-1]), np.array([1]), 3)
    assert (nothing.percent.n, nothing.kappa.n, nothing.ac.n) == (0, 0, 0)


# Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
)


@pytest.mark.parametrize(
    ("form", "printed", "limits"),
    [
        # Values: Shrout and Fleiss 1979, table 4. Limits: the manual of R's psych on these data.
        ("1,1", 0.17, (-0.13, 0.72)),
        ("2,1", 0.29, (0.02, 0.76)),
        ("3,1", 0.71, (0.34, 0.95)),
        ("1,k", 0.44, (-0.88, 0.91)),
        ("2,k", 0.62, (0.07, 0.93)),
        ("3,k", 0.91, (0.68, 0.99)),
    ],
)
def test_icc_gives_the_printed_values_of_shrout_and_fleiss(form, printed, limits):
    found = continuous.icc(SHROUT_FLEISS, form)
    assert round(found.value, 2) == printed
    assert (round(found.low, 2), round(found.high, 2)) == limits
    assert found.n == 6


def test_icc_mean_squares_are_those_of_a_two_way_analysis_of_variance():
    # Shrout and Fleiss 1979, table 3: between targets 11.24, within 6.26, judges 32.49, error 1.02.
    squares = continuous._mean_squares(SHROUT_FLEISS.astype(float))
    assert [round(x, 2) for x in squares] == [11.24, 6.26, 32.49, 1.02]


def test_icc_states():
    with pytest.raises(ValueError, match="form"):
        continuous.icc(SHROUT_FLEISS, "4,1")
    with pytest.raises(ValueError, match="two readers"):
        continuous.icc(np.ones((5, 1)))
    holes = SHROUT_FLEISS.astype(float)
    holes[0, 1] = np.nan
    found = continuous.icc(holes, "3,1")
    assert found.n == 5
    assert "1 cases with a missing value" in found.method
    assert math.isnan(continuous.icc(np.full((4, 3), 2.0)).value)
    assert continuous.icc(np.full((4, 3), np.nan)).n == 0
    copies = continuous.icc(np.repeat(np.arange(5.0)[:, None], 3, axis=1))
    assert copies.value == pytest.approx(1.0)
    assert "no disagreement" in copies.method


# Bland and Altman 1986, table 1: first readings of peak flow (l/min), Wright and mini Wright meter.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def test_bland_altman_gives_the_printed_numbers_of_1986():
    found = continuous.bland_altman(WRIGHT, MINI)
    assert round(found.bias.value, 1) == -2.1
    assert round(found.sd, 1) == 38.8
    assert (round(found.bias.low, 1), round(found.bias.high, 1)) == (-22.0, 17.8)
    # Printed with 2 in place of 1.96: -79.7 to 75.5.
    assert found.bias.value - 2 * found.sd == pytest.approx(-79.7, abs=0.1)
    assert found.lower.value == pytest.approx(found.bias.value - 1.959964 * found.sd)
    assert found.lower.low < -114.3 < found.lower.high  # the printed approximate limit is narrower
    assert found.upper.value - found.upper.low < found.upper.high - found.upper.value


def test_bland_altman_states():
    assert math.isnan(continuous.bland_altman([1.0, 2.0], [1.0, 2.5]).bias.value)
    flat = continuous.bland_altman([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert flat.bias.value == 1.0
    assert not flat.lower.has_interval
    with pytest.raises(ValueError, match="alike"):
        continuous.bland_altman([1.0], [1.0, 2.0])


def test_dice_between_readers_counts_overlap_and_treats_empty_masks_as_agreement():
    masks = np.zeros((3, 4, 4, 4), bool)
    masks[0, :2] = True
    masks[1, :1] = True
    table = continuous.reader_dice(masks)
    assert table[0, 1] == pytest.approx(2 * 16 / (32 + 16))
    assert table[0, 2] == 0
    assert table[2, 2] == 1
    one = continuous.mean_reader_dice(table[None])
    assert one.value == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert "single case" in one.method
    many = continuous.mean_reader_dice(np.stack([table, np.ones((3, 3)), np.full((3, 3), np.nan)]))
    assert many.n == 2
    assert 0 <= many.low <= many.value <= many.high <= 1
    assert continuous.mean_reader_dice(np.full((2, 3, 3), np.nan)).n == 0


def test_alpha_does_not_depend_on_how_the_work_is_cut_into_blocks():
    table = np.random.default_rng(1).integers(0, 4, (50, 3))
    few = reliability.krippendorff_alpha(table, 4, "ordinal", Resampling(resamples=300, seed=4))
    again = reliability.krippendorff_alpha(table, 4, "ordinal", Resampling(resamples=300, seed=4))
    assert few == again


@pytest.mark.parametrize("scale", reliability.LEVELS)
def test_one_pattern_of_agreement_on_every_case_gives_alpha_and_ac1_no_interval(scale):
    never = np.array([[0, 1]] * 12)
    # 24 values, half of each kind: 1 - 23 * 24 / (2 * 12 * 12).
    alpha = reliability.krippendorff_alpha(never, 2, scale)
    assert alpha.value == pytest.approx(1 - 23 * 24 / 288)
    ac = reliability.gwet_ac(never, 2)
    assert ac.value == pytest.approx(-1)
    for found in (alpha, ac):
        assert not found.has_interval
        assert "every case shows the same pattern of agreement" in found.method
    some = reliability.krippendorff_alpha(np.array([[0, 1]] * 11 + [[0, 0]]), 2, scale)
    assert some.low < some.value < some.high


SWAPPED = [[1.0, 2.0], [2.0, 1.0]] * 6


@pytest.mark.parametrize("form", continuous.ICC_FORMS)
@pytest.mark.parametrize(
    "table",
    [
        SWAPPED,
        SWAPPED[:2],
        [[0.0, 100.0], [100.0, 0.0]] * 5,
        [[0, 100]] * 3,
        [[0.1, 0.7, 1.3], [1.3, 0.1, 0.7], [0.7, 1.3, 0.1]],
        [[100, 100], [100, 0], [0, 100], [0, 0]],
        [[1e-9, 2e-9], [3e-9, 1e-9]],
    ],
)
def test_icc_stays_within_what_a_correlation_can_be_and_never_has_an_interval_of_width_zero(
    table, form
):
    found = continuous.icc(table, form)
    k = len(table[0])
    assert "the cases do not differ" in found.method or found.high - found.low > 0.1
    if found.defined:
        assert form.endswith("k") or -1 / (k - 1) <= found.value <= 1
    if found.has_interval:
        assert form.endswith("k") or found.low >= -1 / (k - 1)
        assert found.low <= found.value <= found.high


def test_icc_of_cases_that_do_not_differ_is_not_defined_or_has_no_interval():
    # Mean squares of SWAPPED: between cases and readers 0, residual and within 6/11 and 1/2.
    assert not continuous.icc(SWAPPED, "2,1").defined  # -6/11 / (6/11 - 2/12 * 6/11) = -1.2
    assert not continuous.icc(SWAPPED, "1,k").defined
    one = continuous.icc(SWAPPED, "1,1")
    assert one.value == -1 and not one.has_interval
    apart = continuous.icc([[0, 50], [10, 60], [20, 70]], "2,1")
    assert "the readers differ by the same on every case" in apart.method
    assert not continuous.icc([[0, 100]] * 3, "3,1").defined
    # By hand: squares 3333 1/3 between, 0 readers, 3333 1/3 rest; the limit was -1.66.
    held = continuous.icc([[100, 100], [100, 0], [0, 100], [0, 0]], "2,1")
    assert (held.value, held.low) == (0, -1)
