"""T1 native and T1 post-gadolinium given the wrong way round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bmcore.domain import Case, Severity
from bmcore.imaging.preprocess import prepare
from bmcore.imaging.swapped_t1 import swapped_t1
from bmcore.phantom.cohort import draw_case

WORDS = "look exchanged"


@pytest.fixture(scope="module")
def case() -> Case:
    return draw_case(31).as_case("a")


def said(case: Case) -> list[str]:
    findings = prepare(case).findings
    return [f.sentence for f in findings if WORDS in f.what and f.severity is Severity.WARNING]


def test_a_case_the_right_way_round_is_not_remarked(case: Case) -> None:
    assert said(case) == []


def test_exchanged_sequences_are_remarked_with_both_numbers(case: Case) -> None:
    swapped = case.sequences | {"t1n": case.sequences["t1c"], "t1c": case.sequences["t1n"]}
    (sentence,) = said(replace(case, sequences=swapped))
    assert "T1 native and T1 post-gadolinium" in sentence and "% of the brain bright" in sentence


def test_a_lesion_bright_in_both_is_no_exchange_and_a_missing_one_says_nothing() -> None:
    brain = np.ones((20, 20, 20), bool)
    bright = np.zeros(brain.shape, np.float32)
    bright[:4, :4, :4] = 6
    assert swapped_t1({"t1n": bright, "t1c": bright}, brain) == ()
    assert swapped_t1({"t1n": bright, "t1c": bright * 0}, brain)
    assert swapped_t1({"t1n": bright, "t2w": bright * 0}, brain) == ()
