"""A vote says what it may say, and a clear sentence meets everything else."""

import dataclasses
from datetime import UTC, datetime

import pytest

from bmcore.domain import InputRefused, Primary
from bmcore.review.votes import PRIMARY_CHOICES, Reader, Vote, VoteDraft, current

PLAIN = {
    "case_id": "BraTS-MET-00110-000",
    "reader": "Ida Lund",
    "role": "radiologist",
    "phase": "aided",
    "primary": "nsclc",
    "confidence": 70,
    "segmentation_quality": 4,
    "model_primary": "melanoma",
    "bundle_digest": "abc",
    "idempotency_key": "form-1",
}


def draft(**changes):
    return VoteDraft(**{**PLAIN, **changes})


def vote(number, **changes):
    return Vote(**{**PLAIN, **changes}, id=number, created_at=datetime(2026, 1, number, tzinfo=UTC))


def test_the_choices_are_the_six_primaries_then_other_and_cannot_tell():
    assert list(PRIMARY_CHOICES) == [*map(str, Primary), "other", "cannot_tell"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"confidence": 101}, "confidence must be a whole number from 0 to 100"),
        ({"confidence": 70.5}, "confidence must be a whole number"),
        ({"confidence": True}, "confidence must be a whole number"),
        ({"segmentation_quality": 0}, "segmentation quality must be a whole number from 1 to 5"),
        ({"role": "surgeon"}, "role is not one of the choices"),
        ({"phase": "later"}, "phase is not one of the choices"),
        ({"primary": ""}, "primary is not one of the choices"),
        ({"model_primary": "other"}, "model_primary is not one of the choices"),
        ({"comment": "x" * 4001}, "the comment is too long"),
        ({"comment": "a\x00b"}, r"cannot be stored \(found U\+0000 at character 2\)"),
        ({"case_id": "  "}, "the case is empty"),
        ({"reader": "x" * 81}, "the reader is too long"),
        ({"idempotency_key": ""}, "the idempotency key is empty"),
        ({"reason": " "}, "the reason for a change is empty"),
        ({"phase": "unaided"}, "model_primary must be empty in a vote without the models"),
        ({"reader": None}, "this must be text"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(InputRefused, match=sentence):
        draft(**change)


def test_all_problems_are_told_at_once():
    with pytest.raises(InputRefused) as refused:
        draft(confidence=-1, role="surgeon", primary="bone")
    assert len(refused.value.findings) == 3


def test_text_is_tidied_but_not_changed():
    tidy = draft(comment="  one\r\ntwo \U0001f9e0 <b>=1+1  ", reader=" Ida  Lund ", reason="why\n")
    assert tidy.comment == "one\ntwo \U0001f9e0 <b>=1+1"
    assert tidy.reader == "Ida Lund"
    assert tidy.reason == "why"
    assert draft(comment="e\u0301").comment == "\u00e9"


def test_a_draft_cannot_be_changed_after_the_check():
    with pytest.raises(dataclasses.FrozenInstanceError):
        draft().confidence = 3


def test_names_that_differ_in_case_or_spaces_are_one_reader():
    assert Reader("Ida  LUND", "other").key == Reader("ida lund ", "other").key
    assert Reader("Strauß", "other").key == Reader("STRAUSS", "other").key
    with pytest.raises(InputRefused, match="years of experience"):
        Reader("Ida", "radiologist", float("nan"))


def test_the_current_vote_is_the_latest_of_reader_case_and_phase():
    votes = [
        vote(1, primary="rcc"),
        vote(2, reader="Noor"),
        vote(3, primary="gi"),
        vote(4, phase="unaided"),
    ]
    assert [v.id for v in current(reversed(votes))] == [2, 3, 4]


def test_a_stored_vote_needs_a_time_in_utc():
    with pytest.raises(ValueError, match="UTC"):
        Vote(**PLAIN, id=1, created_at=datetime(2026, 1, 1))
