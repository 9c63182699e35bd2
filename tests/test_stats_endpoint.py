"""The endpoint as a choice of fields: refusals, verdicts and the numbers of printed analyses."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from bmcore.stats import afroc, binary_mrmc, delong, endpoint, mrmc, multiplicity
from bmcore.stats.endpoint import compute, sensitivity_analyses
from bmcore.stats.endpoint_choice import Asked, Endpoint, cannot_compute
from bmcore.stats.readings import CANNOT_TELL, Reading, class_score
from tests import standalone_fixture as standalone
from tests.vandyke_fixture import SCORES, TRUTH

ARMS = ("unaided", "aided")
ASKED = Asked(ARMS, ("lung", "breast", "melanoma"), readers=4)


def vandyke():
    """Van Dyke's ratings as readings: everyone says "ill" with the rating as confidence."""
    return [
        Reading(f"R{j}", f"{i:03d}", ARMS[t], "ill" if TRUTH[i] else "well", "ill", SCORES[t, j, i])
        for t, j, i in itertools.product(range(2), range(5), range(114))
    ]


def votes(right, missing=()):
    """Readings from right, bool (2, readers, cases); (reader, case) pairs that nobody read."""
    rows = []
    for t, j, i in itertools.product(*map(range, right.shape)):
        if (j, i) in missing:
            continue
        truth = ("lung", "breast", "melanoma")[i % 3]
        other = ("breast", "melanoma", "lung")[i % 3]
        rows.append(
            Reading(f"R{j}", f"{i:03d}", ARMS[t], truth, truth if right[t, j, i] else other, 50.0)
        )
    return rows


@pytest.fixture(scope="module")
def right():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.6, 60)
    before = rng.normal(size=(5, 60)) + hard < 0.2 + rng.normal(0, 0.1, (5, 1))
    after = rng.normal(size=(5, 60)) + hard < 0.8 + rng.normal(0, 0.1, (5, 1))
    return np.stack([before, after])


def test_the_auc_endpoint_gives_the_printed_numbers_of_van_dyke():
    # OR-DBM MRMC 2.51, as in tests/test_stats_mrmc.py: 0.04380 (-0.00036, 0.08796), p .0517 for
    # random readers; (0.00711, 0.08049), p .0193 for fixed ones; 15.26 degrees of freedom.
    found = compute(Endpoint("AUC", ARMS, "ill"), vandyke())
    shown = (found.difference.value, found.difference.low, found.difference.high)
    assert [round(x, 5) for x in shown] == [0.04380, -0.00036, 0.08796]
    assert (round(found.p, 4), found.verdict, found.readers) == (0.0517, "not shown", 5)
    assert round(found.contrast.random.df, 2) == 15.26
    fixed = compute(Endpoint("AUC", ARMS, "ill", readers="fixed"), vandyke())
    assert (round(fixed.difference.low, 5), round(fixed.difference.high, 5)) == (0.00711, 0.08049)
    assert (round(fixed.p, 4), fixed.verdict) == (0.0193, "shown")
    plain = mrmc.compare_auc(SCORES, TRUTH, "jackknife")
    for arm, mine in enumerate(found.arms):
        assert mine.value == pytest.approx(plain.random[arm].value)
        assert mine.low == pytest.approx(plain.random[arm].low, abs=0.03)


def test_a_complete_study_gives_the_analysis_of_shares_of_complete_studies(right):
    rows, truth = votes(right), np.arange(60) % 3 == 0
    answers = np.where(right, truth, ~truth).astype(float)
    theirs = binary_mrmc.compare_rates(answers, truth, "accuracy").differences_random[0, 1]
    found = compute(Endpoint("accuracy", ARMS), rows)
    for name in ("value", "low", "high"):
        mine = getattr(found.difference, name)
        assert mine == pytest.approx(getattr(theirs.difference, name), abs=1e-9)
    assert found.p == pytest.approx(theirs.p, abs=1e-9)
    hits = right[:, :, ::3]
    assert compute(Endpoint("sensitivity", ARMS, "lung"), rows).difference.value == pytest.approx(
        hits[1].mean() - hits[0].mean()
    )


def test_one_reader_who_stops_after_three_cases_changes_little(right):
    complete = compute(Endpoint("accuracy", ARMS), votes(right[:, :4]))
    stopped = compute(Endpoint("accuracy", ARMS), votes(right, {(4, i) for i in range(3, 60)}), ())
    assert stopped.readers == 5
    assert stopped.difference.n == 60
    assert stopped.difference.value == pytest.approx(complete.difference.value, abs=0.02)
    assert stopped.width == pytest.approx(complete.width, rel=0.15)
    tables = sensitivity_analyses(
        Endpoint("accuracy", ARMS), votes(right, {(4, i) for i in range(3, 60)})
    )
    without = tables["without drop-outs"]
    assert without.difference.value == pytest.approx(complete.difference.value)
    assert tables["cases read by everyone"].difference.n == 3
    assert "cannot tell: left_out" in tables


def test_a_reader_with_too_little_for_an_auc_is_left_out_and_named():
    rows = [r for r in vandyke() if r.reader != "R4" or r.case < "003"]
    found = compute(Endpoint("AUC", ARMS, "ill"), rows)
    assert found.left_out == ("R4",)
    assert found.readers == 4
    expected = mrmc.compare_auc(SCORES[:, :4], TRUTH, "jackknife").differences_random[0, 1]
    assert found.difference.low == pytest.approx(expected.difference.low)


def test_a_split_plot_of_two_groups_of_readers_has_an_answer(right):
    # Readers 0-2 read only unaided, 3 and 4 only aided: no reader is paired.
    rows = [r for r in votes(right) if (r.arm == "unaided") == (r.reader < "R3")]
    found = compute(Endpoint("accuracy", ARMS), rows)
    assert found.difference.value == pytest.approx(right[1, 3:].mean() - right[0, :3].mean())
    paired = compute(Endpoint("accuracy", ARMS), votes(right))
    assert found.difference.has_interval
    assert found.width > 0.9 * paired.width


def test_only_cases_read_in_both_arms_count_for_a_reader_who_has_some(right):
    rows = [r for r in votes(right) if not (r.arm == "aided" and r.case >= "040")]
    found = compute(Endpoint("accuracy", ARMS), rows)
    assert found.difference.n == 40
    assert found.difference.value == pytest.approx(np.diff(right[:, :, :40].mean((1, 2)))[0])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"measure": "AUC for melanoma"}, "measure must be one of"),
        ({"measure": "AUC"}, "must name the category"),
        ({"measure": "accuracy", "category": "lung"}, "not for one category"),
        ({"measure": "accuracy", "aim": "non-inferiority"}, "needs a margin above 0"),
        ({"measure": "accuracy", "aim": "non-inferiority", "margin": 5}, "5 points are 0.05"),
        ({"measure": "accuracy", "margin": 0.05}, "superiority has no margin"),
        ({"measure": "accuracy", "aim": "better"}, "aim must be one of"),
        ({"measure": "agreement"}, "choose fixed"),
        ({"measure": "accuracy", "alpha": 5}, "alpha"),
        ({"measure": "accuracy", "direction": "up"}, "higher or lower"),
        ({"measure": "lesion sensitivity", "size_mm": (10, 5)}, "smaller to a larger"),
        ({"measure": "accuracy", "readers": "some"}, "random or fixed"),
        ({"measure": "wAFROC", "false_from": "none"}, "normal or all"),
        ({"measure": "AUC", "category": "lung", "cannot_tell": "best"}, "cannot_tell"),
        ({"measure": "accuracy", "size_mm": (5, 10)}, "accuracy does not read size_mm"),
        ({"measure": "wAFROC", "size_mm": (10, np.inf)}, "wAFROC does not read size_mm"),
        ({"measure": "accuracy", "false_from": "normal"}, "does not read false_from"),
        ({"measure": "decision time", "cannot_tell": "middle"}, "does not read cannot_tell"),
        (
            {"measure": "decision time", "aim": "equivalence", "margin": 5},
            r"below 1 \(5 per cent are 0.05\)",
        ),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_words(choice, words):
    with pytest.raises(ValueError, match=words):
        Endpoint(arms=ARMS, **choice)
    with pytest.raises(ValueError, match="two different"):
        Endpoint("accuracy", ("aided", "aided"))


def test_a_plan_that_the_study_cannot_give_is_refused_in_words():
    assert cannot_compute(Endpoint("AUC", ARMS, "melanoma"), ASKED) == ()
    other = Endpoint("AUC", ("unaided", "explained"), "renal")
    why = cannot_compute(other, Asked(ARMS, ("lung",), 1, confidence=False))
    assert [w.split(",")[0] for w in why] == [
        "the endpoint compares the arm 'explained'",
        "the endpoint is for 'renal'",
        "AUC needs confidences",
        "random readers need two readers or more; name the readers as fixed",
    ]
    bare = Asked(ARMS, ("lung",), 1, marks=False, ratings=False, times=False)
    assert len(cannot_compute(Endpoint("wAFROC", ARMS, false_from="normal"), bare)) == 4
    assert "times" in cannot_compute(Endpoint("decision time", ARMS, readers="fixed"), bare)[0]
    agreement = Endpoint("agreement", ARMS, readers="fixed")
    assert cannot_compute(agreement, bare) == ("agreement needs two readers or more",)
    with pytest.raises(ValueError, match="needs the categories"):
        compute(Endpoint("balanced accuracy", ARMS), [])


def test_non_inferiority_and_equivalence_look_at_the_margin_and_not_at_zero(right):
    rows = votes(right[:, :, :])
    worse = votes(right[::-1])
    found = compute(Endpoint("accuracy", ARMS, aim="non-inferiority", margin=0.05), rows)
    assert found.verdict == "shown"
    assert found.p < 0.025
    assert "non-inferiority was shown with a margin of 0.05" in found.sentence
    lost = compute(Endpoint("accuracy", ARMS, aim="non-inferiority", margin=0.05), worse)
    assert lost.verdict in ("not shown", "opposite")
    same = votes(np.stack([right[0], np.roll(right[0], 7, axis=1)]))
    wide = compute(Endpoint("accuracy", ARMS, aim="equivalence", margin=0.3), same)
    narrow = compute(Endpoint("accuracy", ARMS, aim="equivalence", margin=0.01), same)
    assert (wide.verdict, narrow.verdict) == ("shown", "not shown")
    assert wide.p < 0.05 < narrow.p
    # p below alpha / 2 exactly where the limit passes the margin.
    low = compute(Endpoint("accuracy", ARMS), same).difference.low
    assert low < -0.01
    for margin, verdict in ((-low + 0.001, "shown"), (-low - 0.001, "not shown")):
        one = compute(Endpoint("accuracy", ARMS, aim="non-inferiority", margin=margin), same)
        assert (one.verdict, one.p < 0.025) == (verdict, verdict == "shown")
    assert "90%" in wide.difference.method


def test_equivalence_of_a_difference_of_exactly_zero_has_a_p_value(right):
    flipped = np.stack([right[0], right[0][::-1]])
    found = compute(Endpoint("accuracy", ARMS, aim="equivalence", margin=0.4), votes(flipped))
    assert found.difference.value == pytest.approx(0)
    assert found.p < 0.05


def test_fewer_false_lesions_and_less_time_are_better():
    rng = np.random.default_rng(4)
    rows = []
    for arm, mean, shift in (("unaided", 1.5, 0.0), ("aided", 0.5, -0.4)):
        for j, i in itertools.product(range(4), range(40)):
            false = (50.0,) * int(rng.poisson(mean))
            seconds = math.exp(4 + shift + rng.normal(0, 0.3))
            rows.append(Reading(f"R{j}", f"{i}", arm, seconds=seconds, false_marks=false))
    found = compute(Endpoint("false lesions", ARMS), rows)
    assert found.verdict == "shown"
    assert found.difference.high < 0
    time = compute(Endpoint("decision time", ARMS), rows)
    assert time.verdict == "shown"
    assert time.difference.value == pytest.approx(math.exp(-0.4), rel=0.1)
    assert time.arms[0].value == pytest.approx(math.exp(4), rel=0.1)
    assert "ratio of times" in time.sentence
    wrong = compute(Endpoint("decision time", ARMS, direction="higher"), rows)
    assert wrong.verdict == "opposite"
    no_longer = Endpoint("decision time", ARMS, aim="non-inferiority", margin=0.1)
    assert compute(no_longer, rows).verdict == "shown"


def test_cannot_tell_never_counts_by_its_confidence():
    # Half of the positives "cannot tell" at confidence 0, 60 or 90: once .50, .75 and 1.00.
    areas = set()
    for sure in (0.0, 60.0, 90.0):
        rows = []
        for arm, i in itertools.product(ARMS, range(40)):
            ill = i < 20
            unsure = ill and i % 2
            answer = CANNOT_TELL if unsure else ("lung" if ill else "breast")
            rows.append(
                Reading("R", f"{i}", arm, "lung" if ill else "breast", answer,
                        sure if unsure else 80.0)
            )  # fmt: skip
        one = Endpoint("AUC", ARMS, "lung", readers="fixed")
        areas.add(compute(one, rows).arms[0].value)
        tables = sensitivity_analyses(one, rows)
        assert tables["cannot tell: middle"].arms[0].value == 1
        assert tables["cannot tell: left_out"].arms[0].value == 1
    assert areas == {0.5}  # ten named win all pairs, ten lowest lose all


def test_a_differential_places_cannot_tell_between_the_named_ones():
    base = {"reader": "R", "case": "1", "arm": "a", "confidence": 3.0}
    shares = {"lung": 0.7, "breast": 0.3}
    unsure = Reading(answer=CANNOT_TELL, differential=shares, **base)
    named, other = Reading(answer="lung", **base), Reading(answer="renal", **base)
    order = [class_score(r, "lung", "differential") for r in (other, unsure, named)]
    assert order == sorted(order)
    assert class_score(unsure, "breast", "differential") < order[1]
    assert class_score(unsure, "renal", "differential") == -math.inf
    assert class_score(unsure, "lung") == -math.inf
    assert math.isnan(class_score(Reading("R", "1", "a"), "lung"))
    with pytest.raises(ValueError, match="rule"):
        class_score(unsure, "lung", "best")


def test_a_case_without_marks_counts_as_all_missed():
    lesions = (4.0, 12.0)
    rows = []
    for arm in ARMS:
        rows += [Reading("R", f"{i}", arm, lesions_mm=lesions, marks=(90.0, 80.0)) for i in (0, 1)]
        rows += [Reading("R", f"{i}", arm, lesions_mm=lesions) for i in (2, 3)]
    one = Endpoint("lesion sensitivity", ARMS, readers="fixed")
    assert compute(one, rows).arms[0].value == 0.5
    small = Endpoint("lesion sensitivity", ARMS, readers="fixed", size_mm=(0, 5))
    assert compute(small, rows).arms[1].value == 0.5
    assert small.name == "lesion sensitivity, 0 mm to under 5 mm"
    with pytest.raises(ValueError, match="1 marks for 2 lesions"):
        Reading("R", "1", "a", lesions_mm=lesions, marks=(3.0,))


def test_wafroc_is_the_analysis_of_afroc():
    rng = np.random.default_rng(7)
    false = np.where(rng.random((2, 3, 20)) < 0.5, rng.normal(40, 10, (2, 3, 20)), -np.inf)
    where = np.repeat(np.arange(20), rng.integers(0, 4, 20))
    hits = np.where(
        rng.random((2, 3, len(where))) < 0.7, rng.normal(55, 10, (2, 3, len(where))), -np.inf
    )
    rows = []
    for t, j, i in itertools.product(range(2), range(3), range(20)):
        mine = tuple(hits[t, j, where == i])
        wrong = (false[t, j, i],) if np.isfinite(false[t, j, i]) else ()
        rows.append(
            Reading(f"R{j}", f"{i:02d}", ARMS[t], lesions_mm=(5.0,) * len(mine), marks=mine,
                    false_marks=wrong)
        )  # fmt: skip
    found = compute(Endpoint("wAFROC", ARMS), rows)
    theirs = afroc.compare_afroc(afroc.Marks(false, hits, where), "all").differences_random[0, 1]
    assert found.difference.low == pytest.approx(theirs.difference.low)
    assert found.p == pytest.approx(theirs.p)


def test_balanced_accuracy_macro_auc_and_agreement_have_answers(right):
    rows, names = votes(right), ("lung", "breast", "melanoma")
    by_class = [[right[t, :, k::3].mean() for k in range(3)] for t in range(2)]
    balanced = compute(Endpoint("balanced accuracy", ARMS), rows, names)
    assert balanced.arms[0].value == pytest.approx(np.mean(by_class[0]))
    assert balanced.difference.has_interval
    macro = compute(Endpoint("macro AUC", ARMS), rows, names)
    single = [compute(Endpoint("AUC", ARMS, c), rows).arms[1].value for c in names]
    assert macro.arms[1].value == pytest.approx(np.mean(single))
    kappa = compute(Endpoint("agreement", ARMS, readers="fixed"), rows, names)
    from bmcore.stats.agreement import fleiss_kappa

    codes = [
        [names.index(next(r.answer for r in rows if (r.reader, r.case, r.arm) == key)) for key in
         [(f"R{j}", f"{i:03d}", "aided") for j in range(5)]]
        for i in range(60)
    ]  # fmt: skip
    assert kappa.arms[1].value == pytest.approx(fleiss_kappa(np.array(codes), 3).value)
    assert kappa.difference.has_interval


def test_readers_who_change_nothing_have_tangos_interval_and_no_test(right):
    same = np.stack([right[0], right[0]])
    found = compute(Endpoint("accuracy", ARMS), votes(same))
    assert found.verdict == "not shown"
    assert found.difference.high == pytest.approx(3.8415 / 63.8415, abs=1e-4)
    assert math.isnan(found.p)
    all_right = compute(Endpoint("accuracy", ARMS), votes(np.ones((2, 3, 12), bool)))
    assert all_right.arms[0].low == pytest.approx(12 / 15.8415, abs=1e-4)


def test_readers_who_change_alike_have_the_variance_of_the_cases():
    before = np.zeros((2, 12), bool)
    before[0, :6] = before[1, 6:] = True
    after = before.copy()
    after[0, 6:8] = after[1, :2] = True  # two more cases each, and others
    found = compute(Endpoint("accuracy", ARMS), votes(np.stack([before, after])))
    fixed = compute(Endpoint("accuracy", ARMS, readers="fixed"), votes(np.stack([before, after])))
    assert found.difference.value == pytest.approx(2 / 12)
    assert "readers change alike" in found.difference.method
    assert found.width > fixed.width > 0


def test_what_cannot_be_said_says_why():
    one = compute(Endpoint("accuracy", ARMS), votes(np.ones((2, 1, 12), bool)))
    assert one.verdict == "cannot be said"
    assert "one reader is not a sample of readers" in one.sentence
    none = compute(Endpoint("accuracy", ARMS), [])
    assert none.verdict == "cannot be said"
    assert "no reader has read enough" in none.sentence
    few = compute(
        Endpoint("accuracy", ARMS), votes(np.random.default_rng(0).random((2, 3, 30)) > 0.4)
    )
    assert "cover less than they say" in few.sentence
    with pytest.raises(ValueError, match="two readings of case"):
        compute(Endpoint("accuracy", ARMS), votes(np.ones((2, 1, 3), bool)) * 2)


def test_the_running_width_is_that_of_the_final_method(right):
    rows = votes(right)
    half = [r for r in rows if r.case < "030"]
    running = compute(Endpoint("accuracy", ARMS), half)
    again = compute(Endpoint("accuracy", ARMS), votes(right[:, :, :30]))
    assert running.width == again.width
    assert compute(Endpoint("accuracy", ARMS), rows).width < running.width
    assert isinstance(running, endpoint.Finding)


def test_holm_gives_the_adjusted_values_of_statsmodels_and_a_sequence_stops():
    from statsmodels.stats.multitest import multipletests

    p = [0.01, 0.04, 0.03, 0.005, math.nan]
    found = multiplicity.claims("abcde", p, "holm")
    expected = multipletests([*p[:4], 1.0], method="holm")[1]
    assert [c.adjusted for c in found] == pytest.approx(list(expected))
    assert [c.claimed for c in found] == [True, False, False, True, False]
    assert "no test" in found[4].words
    order = multiplicity.claims("abc", [0.01, 0.2, 0.001], "fixed sequence")
    assert [c.claimed for c in order] == [True, False, False]
    assert "exploratory" in order[2].words
    with pytest.raises(ValueError, match="rule"):
        multiplicity.claims("a", [0.1], "bonferroni")
    with pytest.raises(ValueError, match="as many"):
        multiplicity.claims("ab", [0.1], "holm")


# --- readers against the models alone -------------------------------------------------------------


def against_models(scores, truth, models):
    """Readers' confidences for "ill" (readers, cases), and the models' scores (cases,)."""
    kind = ["ill" if t else "well" for t in truth]
    rows = [
        Reading(f"R{j}", f"{i:03d}", "unaided", kind[i], "ill", scores[j, i])
        for j, i in np.ndindex(*scores.shape)
    ]
    rows += [
        Reading("models", f"{i:03d}", "models", kind[i], "ill", scores={"ill": s, "well": 1 - s})
        for i, s in enumerate(models)
    ]
    return rows


def test_readers_against_the_models_is_the_analysis_of_one_condition_by_its_formulas():
    """Van Dyke's readers of spin echo, the fifth in the place of the models: the mean difference
    with the between-reader variance and the covariance of differences of DeLong's areas with the
    jackknife's factors, written out (Hillis 2014, Stat Med 33:330, one treatment)."""
    rows = against_models(SCORES[0, :4], TRUTH, SCORES[0, 4] / 5)
    found = compute(Endpoint("AUC", ("models", "unaided"), "ill"), rows)
    up, down = (SCORES[0][:, TRUTH], SCORES[0][:, ~TRUTH])
    wins = (up[:, :, None] > down[:, None]) + 0.5 * (up[:, :, None] == down[:, None])
    areas = wins.mean(axis=(1, 2))
    n1, n0 = 45, 69
    change = np.concatenate(
        [
            (n1 * areas[:, None] - wins.mean(axis=2)) / (n1 - 1),
            (n0 * areas[:, None] - wins.mean(axis=1)) / (n0 - 1),
        ],
        axis=1,
    )
    less = change[:4] - change[4]
    covariance = np.cov(less, bias=True) * (n1 + n0 - 1)
    gaps = areas[:4] - areas[4]
    cov2 = (covariance.sum() - np.trace(covariance)) / 12
    ms = gaps.var(ddof=1)
    variance = (ms + 4 * max(cov2, 0)) / 4
    df = (ms + 4 * max(cov2, 0)) ** 2 / (ms**2 / 3)
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert found.difference.value == pytest.approx(gaps.mean(), abs=1e-12)
    assert found.difference.high == pytest.approx(gaps.mean() + half, abs=1e-9)
    assert found.contrast.random.df == pytest.approx(df)
    assert found.arms[0].value == pytest.approx(areas[4])
    assert found.arms[1].value == pytest.approx(areas[:4].mean())
    turned = compute(Endpoint("AUC", ("unaided", "models"), "ill"), rows)
    assert turned.difference.value == pytest.approx(-gaps.mean())
    assert turned.difference.low == pytest.approx(-found.difference.high)
    assert turned.arms[1].value == found.arms[0].value


def test_readers_against_a_program_give_the_numbers_that_rjafroc_printed():
    scores = standalone.SCORES * 100 / 101  # a confidence ends at 100; the order stays
    rows = against_models(scores[1:], standalone.TRUTH, scores[0] / 100)
    found = compute(Endpoint("AUC", ("models", "unaided"), "ill"), rows)
    shown, printed = found.difference, standalone.PRINTED
    assert [round(arm.value, 3) for arm in found.arms] == [printed["program"], printed["readers"]]
    assert round(shown.value, 4) == printed["difference"]
    assert (round(shown.low, 3), round(shown.high, 3)) == printed["interval"]
    assert round(found.contrast.random.statistic**2, 2) == printed["f"]
    assert round(found.contrast.random.df) == printed["df"]
    assert round(found.p, 2) == printed["p"]


def test_a_reader_counts_with_the_cases_that_the_models_answered():
    rows = against_models(SCORES[0, :4], TRUTH, SCORES[0, 4] / 5)
    few = [r for r in rows if not (r.arm == "models" and int(r.case) % 3 == 0)]
    kept = [r for r in few if int(r.case) % 3]
    choice = Endpoint("accuracy", ("models", "unaided"))
    assert compute(choice, few).difference.value == compute(choice, kept).difference.value
    none = compute(choice, [r for r in rows if r.arm != "models"])
    assert none.verdict == "cannot be said"
    assert math.isnan(none.arms[0].value)
    analyses = sensitivity_analyses(choice, few)
    assert analyses["cases read by everyone"].difference.value == pytest.approx(
        compute(choice, kept).difference.value
    )


def test_what_only_readers_do_is_not_compared_with_the_models():
    with pytest.raises(ValueError, match="decision time is of readers only"):
        Endpoint("decision time", ("models", "unaided"))
    assert cannot_compute(Endpoint("accuracy", ("models", "unaided")), ASKED) == ()


CHANGES = {"shown": (0, 1), "opposite": (1, 0)}


@pytest.mark.parametrize("readers", ["random", "fixed"])
@pytest.mark.parametrize("verdict", CHANGES)
def test_readings_that_all_change_have_tangos_interval_and_test(readers, verdict):
    """Tango's statistic with n of n in one direction: sqrt(n (1 - d) / (1 + d)) for a limit d."""
    before, after = CHANGES[verdict]
    rows = votes(np.stack([np.full((4, 12), before), np.full((4, 12), after)]))
    found = compute(Endpoint("accuracy", ARMS, readers=readers), rows)
    limits = sorted(after * x - before * x for x in (1.0, (12 - 3.8415) / (12 + 3.8415)))
    assert found.verdict == verdict and found.difference.value == after - before
    assert (found.difference.low, found.difference.high) == pytest.approx(limits, abs=1e-4)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(math.sqrt(12)))


def test_the_limits_of_all_changed_are_where_tangos_statistic_is_the_quantile():
    """b of n cases better, none worse: (b - n d) / sqrt(n (2 q + d (1 - d))), q as Tango has it."""
    n, level = 12, 0.95
    rows = votes(np.stack([np.zeros((2, n)), np.ones((2, n))]))
    limit = compute(Endpoint("accuracy", ARMS), rows).difference.low
    b_ = -n + (2 * n - n) * limit  # the middle coefficient of Tango's quadratic, c = 0
    q = -b_ / (2 * n)
    statistic = (n - n * limit) / math.sqrt(n * (2 * q + limit * (1 - limit)))
    assert statistic == pytest.approx(scipy.stats.norm.ppf(0.5 + level / 2))


@pytest.mark.parametrize("aim", ["non-inferiority", "equivalence"])
def test_an_unchanged_share_has_the_p_value_of_its_interval(aim):
    same = np.tile(np.arange(24) % 2 == 0, (2, 3, 1))
    at = {}
    for alpha in (0.005, 0.012, 0.05):
        found = compute(Endpoint("accuracy", ARMS, aim=aim, margin=0.2, alpha=alpha), votes(same))
        at[alpha] = (found.verdict, found.p)
    for alpha, (verdict, value) in at.items():
        assert value == pytest.approx(scipy.stats.norm.sf(math.sqrt(24 * 0.2 / 0.8)))
        own = alpha if aim == "equivalence" else alpha / 2
        assert (verdict == "shown") == (value < own)


def test_the_end_of_balanced_accuracy_counts_the_cases_of_each_class():
    truths = ("lung",) * 2 + ("breast",) * 29 + ("melanoma",) * 29
    rows = [
        Reading(f"R{j}", f"{i:03d}", arm, truth, truth, 50.0)
        for arm in ARMS
        for j in range(3)
        for i, truth in enumerate(truths)
    ]
    names = ("lung", "breast", "melanoma")
    found = compute(Endpoint("balanced accuracy", ARMS), rows, names)
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    short = math.sqrt(sum((z2 / (n + z2)) ** 2 for n in (2, 29, 29))) / 3
    assert found.arms[1].low == pytest.approx(1 - short)  # Wilson's limit of n of n: n / (n + z2)
    assert found.difference.high == pytest.approx(short)


def test_a_perfect_area_rests_on_the_cases_of_each_kind():
    truths = ("ill",) * 5 + ("well",) * 95
    rows = [
        Reading(f"R{j}", f"{i:03d}", arm, truth, truth, 100.0)
        for arm in ARMS
        for j in range(7)  # seven sevenths are not exactly 1
        for i, truth in enumerate(truths)
    ]
    one = compute(Endpoint("AUC", ARMS, "ill"), rows).arms[1]
    expected = delong.area_at_the_end(1.0, 5, 95, "one")
    assert (one.value, one.low, one.high) == (1.0, expected.low, 1.0)
    macro = compute(Endpoint("macro AUC", ARMS), rows, ("ill", "well")).arms[1]
    other = delong.area_at_the_end(1.0, 95, 5, "one")
    assert macro.low == pytest.approx((expected.low + other.low) / 2)


def test_readers_who_equal_the_models_everywhere_have_an_interval_too():
    rows = votes(np.ones((2, 3, 12), bool))
    for at_models, value in (("right", 0.0), ("wrong", 1.0)):
        own = [r for r in rows if r.arm == "aided"]
        own += [
            Reading("models", r.case, "models", r.truth, r.truth if at_models == "right" else "?")
            for r in own
            if r.reader == "R0"
        ]
        found = compute(Endpoint("accuracy", ("models", "aided")), own)
        assert found.difference.value == value and found.difference.has_interval
        assert found.verdict == ("shown" if value else "not shown")


def test_agreement_names_how_many_readers_it_is_of(right):
    rows = votes(right)
    found = compute(
        Endpoint("agreement", ARMS, readers="fixed"), rows, ("lung", "breast", "melanoma")
    )
    assert found.readers == 5 and "all readers together" in found.difference.method
