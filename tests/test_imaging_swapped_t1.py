"""T1 native and T1 post-gadolinium given the wrong way round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bmcore.domain import Case, Severity
from bmcore.imaging.preprocess import prepare
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
    assert "T1 native and T1 post-gadolinium" in sentence
    assert "% of the brain brighter in t1c" in sentence and "% brighter in t1n" in sentence
