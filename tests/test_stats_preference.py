"""Blinded preference against R's BradleyTerry2, against shares, and in simulated studies."""

import math

import numpy as np
import pytest

from bmcore.stats import preference
from bmcore.stats.estimate import proportion
from bmcore.stats.preference import Choice


def table(rows):
    """Choices of one reader from (left, right, wins of left, wins of right)."""
    out = []
    for left, right, first, second in rows:
        for i in range(first + second):
            answer = "left" if i < first else "right"
            out.append(Choice("R", f"{left}{right}{i}", left, right, answer))
    return out


def drawn(rng, cases=40, readers=4, better=0.8, side=0.5, bored=0.3):
    """Two masks a case; readers differ in taste, cases differ in which mask is better."""
    case = rng.normal(0, 0.6, cases)
    taste = rng.normal(0, 0.2, readers)
    out = []
    for j in range(readers):
        for i in range(cases):
            sign = 1 if rng.random() < 0.5 else -1
            half = (sign * (better + case[i] + taste[j]) + side) / 2
            weights = np.exp([half, -half, math.log(bored)])
            answer = ("left", "right", "tie")[rng.choice(3, p=weights / weights.sum())]
            names = ("model", "expert") if sign == 1 else ("expert", "model")
            out.append(Choice(f"R{j}", f"C{i}", *names, answer))
    return out


# BradleyTerry2 1.1.2 (R 4.2.2), BTm(cbind(wl, wr), L, R, ~ item + left): coefficient and its error.
BRADLEY_TERRY2 = [
    ("b", -0.5112934470, 0.2668673276),
    ("c", -0.6157998336, 0.2668510796),
    ("left", 0.3230213269, 0.1885367690),
]


def test_abilities_and_side_are_those_of_bradleyterry2():
    rows = [("a", "b", 14, 8), ("b", "a", 9, 10), ("a", "c", 17, 5), ("c", "a", 8, 12),
            ("b", "c", 12, 9), ("c", "b", 11, 7)]  # fmt: skip
    found = preference.fit(table(rows))
    for name, value, error in BRADLEY_TERRY2:
        if name == "left":
            assert math.log(found.side.value / (1 - found.side.value)) == pytest.approx(value)
            continue
        one = found.abilities[name]
        assert one.difference.value == pytest.approx(value, abs=1e-6)
        # Every choice is a case of its own here, so the clustered error is near the plain one.
        assert one.difference.value / one.statistic == pytest.approx(error, rel=0.05)
    assert found.abilities["a"].difference.value == 0
    chance = 1 / (1 + math.exp(found.abilities["b"].difference.value))
    assert found.preferred["a", "b"].value == pytest.approx(chance)


def test_ties_take_their_share_and_the_side_is_told_from_the_candidate():
    rng = np.random.default_rng(0)
    found = preference.fit([c for _ in range(20) for c in drawn(rng, cases=20)])
    choices = drawn(np.random.default_rng(1), cases=2000, readers=1)
    big = preference.fit(choices)
    assert found.ties.value == pytest.approx(0.12, abs=0.04)
    assert big.side.value == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.05)
    assert big.preferred["expert", "model"].value == pytest.approx(
        1 - 1 / (1 + math.exp(-0.8)), abs=0.05
    )
    assert big.left_by_reader["R0"].value > 0.5
    assert "favours a side" in big.left_by_reader["R0"].method


def test_choices_of_one_case_are_not_independent():
    rng = np.random.default_rng(5)
    choices = drawn(rng, cases=12, readers=8)
    apart = [Choice(c.reader, f"{c.case}{c.reader}", c.left, c.right, c.answer) for c in choices]
    one = preference.fit(choices).preferred["expert", "model"]
    other = preference.fit(apart).preferred["expert", "model"]
    assert one.value == pytest.approx(other.value)
    assert one.n == 12
    assert other.n == 96


def test_the_interval_covers_two_equal_masks():
    inside = 0
    for seed in range(200):
        choices = drawn(np.random.default_rng([3, seed]), cases=30, better=0.0, side=0.4)
        found = preference.fit(choices).preferred["expert", "model"]
        inside += found.low <= 0.5 <= found.high
    assert 0.91 <= inside / 200 <= 0.99


def test_a_candidate_that_always_wins_has_wilsons_interval():
    rows = []
    for i in range(14):
        names, answer = (("a", "b"), "left") if i % 2 else (("b", "a"), "right")
        rows.append(Choice("R", f"{i}", *names, answer))
    found = preference.fit(rows)
    won = found.preferred["a", "b"]
    assert (won.value, won.n) == (1, 14)
    assert won.low == pytest.approx(proportion(14, 14).low)
    assert "not finite" in found.abilities["b"].difference.method
    assert math.isnan(found.p["a", "b"])


def sided(a_left, a_right):
    """Choices between a and b, a case each; (a won, b won) with a on the left and on the right."""
    out = []
    for (left, right), won in ((("a", "b"), a_left), (("b", "a"), a_right)):
        for winner, times in zip("ab", won, strict=True):
            answer = "left" if winner == left else "right"
            out += [(left, right, answer)] * times
    return [Choice("R", f"C{i}", *row) for i, row in enumerate(out)]


def test_log_odds_are_given_where_these_choices_fix_them_and_nowhere_else():
    """By hand: with a on the left the log odds of a are x + s, on the right x - s, and each is
    finite where both of them won there. All tables of up to two choices a cell, and some larger."""
    tables = [((i, j), (k, m)) for i in range(3) for j in range(3) for k in range(3)
              for m in range(3) if i + j + k + m]  # fmt: skip
    tables += [((12, 0), (0, 0)), ((12, 0), (11, 1)), ((8, 0), (4, 0)), ((9, 0), (3, 0)),
               ((11, 0), (1, 0)), ((30, 1), (29, 2)), ((3, 0), (0, 4))]  # fmt: skip
    for a_left, a_right in tables:
        found = preference.fit(sided(a_left, a_right))
        one, ability = found.preferred["a", "b"], found.abilities["b"].difference
        won, n = a_left[0] + a_right[0], sum(a_left + a_right)
        if min(a_left + a_right) > 0:
            up, down = (math.log(w / lost) for w, lost in (a_left, a_right))
            assert ability.value == pytest.approx(-(up + down) / 2, abs=1e-6)
            assert found.side.value == pytest.approx(1 / (1 + math.exp((down - up) / 2)), abs=1e-6)
            continue
        wilson = proportion(won, n)
        assert (one.value, one.n) == (wilson.value, n)
        assert (one.low, one.high) == pytest.approx((wilson.low, wilson.high))
        assert math.isnan(found.p["a", "b"]) and not ability.defined and not found.side.defined


def test_what_is_not_told_says_why():
    always = preference.fit(sided((8, 0), (4, 0)))
    assert "set no limit" in always.abilities["b"].difference.method
    assert "not tell the candidate from the side" in always.side.method
    one_side = preference.fit(sided((12, 0), (0, 0)))
    assert "not tell the candidate from the side" in one_side.abilities["b"].difference.method
    by_side = preference.fit(sided((6, 0), (0, 6)))  # the left one, whoever it was
    assert "set no limit" in by_side.side.method and by_side.preferred["a", "b"].value == 0.5
    ties = preference.fit([Choice("R", f"{i}", "a", "b", "tie") for i in range(12)])
    assert not ties.preferred["a", "b"].defined and ties.ties.value == 1
    assert "neither was preferred" in ties.preferred["a", "b"].method


def test_a_third_that_always_loses_takes_nothing_from_the_other_two():
    two = sided((5, 3), (4, 6))
    third = [Choice("R", f"C{i}", x, "c", "left") for i in range(9) for x in "ab"]
    third += [Choice("R", f"C{i}", "c", x, "right") for i in range(9, 18) for x in "ab"]
    alone, found = preference.fit(two), preference.fit(two + third)
    for name in ("value", "low", "high"):
        assert getattr(found.preferred["a", "b"], name) == pytest.approx(
            getattr(alone.preferred["a", "b"], name), abs=1e-4
        )
    assert found.side.value == pytest.approx(alone.side.value, abs=1e-4)
    assert found.preferred["a", "c"].low == pytest.approx(proportion(18, 18).low)
    assert math.isnan(found.p["a", "c"]) and not math.isnan(found.p["a", "b"])


def test_choices_that_cannot_be_analysed_are_refused():
    with pytest.raises(ValueError, match="no choice"):
        preference.fit([])
    with pytest.raises(ValueError, match="joins a with c, d"):
        preference.fit([Choice("R", "1", "a", "b", "tie"), Choice("R", "2", "c", "d", "left")])
    with pytest.raises(ValueError, match="left, right or tie"):
        Choice("R", "1", "a", "b", "both")
    with pytest.raises(ValueError, match="with itself"):
        Choice("R", "1", "a", "a", "left")
