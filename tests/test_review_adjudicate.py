"""Disagreements are listed and decided by a third reader; masks become one mask."""

from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import Case, InputRefused, Volume
from bmcore.imaging.consensus import kept_lesions, majority, staple, write_yale
from bmcore.intake.datasets import YaleDataset
from bmcore.review import plan
from bmcore.review.adjudicate import decide, decisions, disagreements, lesion_verdicts
from bmcore.review.answers import StudyAnswer
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.study import read_study
from bmcore.review.verify import verify
from bmcore.review.worklist import Seconds
from tests.volumes_fixture import affine, ball

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "examples" / "study.yaml"
GRID = affine()


# consensus by a third reader


def read_all(desk, reader, choice, confidence=50):
    """Every unaided sheet in the reader's order; the aided ones too, as they come in between."""
    while (work := desk.next(reader)) is not None:
        place = work.item.place
        said = {"primary": {"choice": choice, "confidence": confidence}}
        if place.arm != "unaided":
            said |= {"lesions": {"lesions": {"1": "accept"}, "missed": 0}, "quality": 3}
        if place.arm == "aided_explained":
            said["explanation"] = "neutral"
        desk.submit(place, said, Seconds(), f"{place}")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


@pytest.fixture
def store(url):
    with open_store(url) as opened:
        full = read_study(EXAMPLE)
        small = full.model_copy(
            update={
                "cases": ("demo-01", "demo-02"),
                "repeats": full.repeats.model_copy(update={"count": 1, "min_distance": 1}),
            }
        )
        plan.lock(opened, small, "Ida Lund")
        desk = ReadingSession(opened, small.study)
        read_all(desk, "r01", "nsclc", 20)
        read_all(desk, "r02", "nsclc", 90)
        opened.add_reader("Third Reader", "neuroradiologist", 20)
        opened.add_reader("Reader One", "radiologist", 6)
        yield opened


def test_the_same_choice_with_another_confidence_is_no_disagreement(store):
    assert disagreements(store, "primary-2027") == []


def test_a_disagreement_is_decided_once_by_a_third_reader_with_the_record_of_it(store, url):
    read_all(ReadingSession(store, "primary-2027"), "r03", "rcc")
    found = disagreements(store, "primary-2027")
    assert [(d.case_id, d.arm, d.question) for d in found] == [
        (case, arm, "primary")
        for case in ("demo-01", "demo-02")
        for arm in ("aided", "aided_explained", "unaided")
    ]
    first = found[0]
    assert [a.value["choice"] for a in first.answers] == ["nsclc", "nsclc", "rcc"]
    value = {"choice": "rcc", "confidence": 80}
    with pytest.raises(InputRefused, match="Reader One answered this question"):
        decide(store, first, value, decided_by="reader one")
    with pytest.raises(InputRefused, match="not registered"):
        decide(store, first, value, decided_by="Somebody")
    with pytest.raises(InputRefused, match="cannot be stored"):
        decide(store, first, {"choice": "bone"}, decided_by="Third Reader")
    made = decide(store, first, value, decided_by="Third Reader", note="Kidney mass on CT.")
    assert decide(store, first, value, decided_by="Third Reader") == made
    assert (made.decided_by, made.note, len(made.basis)) == (
        "Third Reader",
        "Kidney mass on CT.",
        3,
    )
    assert disagreements(store, "primary-2027")[0].decision == made
    other = {"choice": "nsclc", "confidence": 60}
    with pytest.raises(InputRefused, match="decided before"):
        decide(store, first, other, decided_by="Third Reader")
    again = decide(store, first, other, decided_by="Third Reader", reason="Biopsy came back.")
    assert again.supersedes == made.id
    assert decisions(store, "primary-2027") == [made, again]
    assert not disagreements(store, "primary-2027")[0].open
    desk, changed = ReadingSession(store, "primary-2027"), {"choice": "gi", "confidence": 9}
    desk.correct(first.answers[0].place, "primary", changed, "Wrong line.")
    stale = disagreements(store, "primary-2027")[0]
    assert stale.open and stale.decision == again  # it was given on another answer
    late = decide(store, stale, other, decided_by="Third Reader")
    assert late.reason == "the answers changed since" and late.supersedes == again.id
    assert not disagreements(store, "primary-2027")[0].open
    assert verify(url).problems == ()


def test_answers_that_changed_since_the_list_was_drawn_are_not_decided(store):
    desk = ReadingSession(store, "primary-2027")
    read_all(desk, "r03", "rcc")
    stale = disagreements(store, "primary-2027")[0]
    changed = {"choice": "gi", "confidence": 9}
    desk.correct(stale.answers[0].place, "primary", changed, "Wrong line.")
    with pytest.raises(InputRefused, match="changed since they were listed"):
        decide(store, stale, changed, decided_by="Third Reader")


def said(reader, lesions, number):
    return StudyAnswer(
        **{"site": "s", "id": number, "study": "x", "version": 1, "reader": reader, "arm": "aided"},
        **{"case_id": "c", "occasion": 0, "question": "lesions", "supersedes": None},
        **{"reason": None, "created_at": number, "value": {"lesions": lesions, "missed": 0}},
    )


def test_a_lesion_stays_unless_more_readers_reject_than_keep_it():
    answers = [
        said("a", {"1": "reject", "2": "reject", "3": "accept"}, 1),
        said("b", {"1": "reject", "2": "edit", "3": "reject"}, 2),
        said("c", {"1": "accept", "2": "accept"}, 3),
        said("c", {"1": "reject", "2": "accept"}, 4),  # the same reader, a later arm
    ]
    assert lesion_verdicts(answers, "lesions") == {"c": {1: False, 2: True, 3: True}}


# masks


def drawn(centre, radius=6.0, core=3.0, necrosis=1.5):
    mask = np.zeros((40, 48, 36), np.uint8)
    for label, r in ((2, radius), (3, core), (1, necrosis)):
        mask[ball(centre=centre, radii=(r, r, r))] = label
    return mask


def volume(mask):
    return Volume(mask, GRID)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_majority_of_drawn_masks_is_counted_voxel_by_voxel():
    a, b, c = np.zeros((3, 6, 6, 6), np.uint8)
    a[1, 1, 1] = b[1, 1, 1] = 3  # ET twice
    a[2, 2, 2], b[2, 2, 2] = 3, 1  # TC twice, ET once: necrosis
    a[3, 3, 3], b[3, 3, 3] = 1, 2  # WT twice: oedema
    c[4, 4, 4] = 3  # once: nothing
    fused = majority([volume(m) for m in (a, b, c)])
    expected = np.zeros_like(a)
    expected[1, 1, 1], expected[2, 2, 2], expected[3, 3, 3] = 3, 1, 2
    np.testing.assert_array_equal(fused.mask.data, expected)
    tie = majority([volume(a), volume(c)])
    assert not tie.mask.data.any()
    assert "majority of 2 masks" in tie.method


@pytest.mark.parametrize("fuse", [majority, staple])
def test_equal_masks_come_back_as_they_are(fuse):
    mask = drawn((20, 24, 18))
    np.testing.assert_array_equal(fuse([volume(mask)] * 3).mask.data, mask)
    empty = volume(np.zeros_like(mask))
    assert not fuse([empty, empty]).mask.data.any()


def test_staple_trusts_the_good_readers_where_errors_follow_its_model():
    """Two careful and three careless readers, who err anywhere in the image alike."""
    truth = ball((24, 24, 24), (7, 7, 7))
    rng = np.random.default_rng(5)
    errors = (0.005, 0.005, 0.35, 0.35, 0.35)
    read = [truth ^ (rng.random(truth.shape) < rate) for rate in errors]
    masks = [volume(np.where(mask, 2, 0).astype(np.uint8)) for mask in read]
    fused = staple(masks)
    good, counted = (dice(m.mask.data > 0, truth) for m in (fused, majority(masks)))
    assert good > 0.95
    assert counted < 0.85
    estimated = fused.performance["WT"]
    assert min(sensitivity for sensitivity, _ in estimated[:2]) > 0.9
    assert max(sensitivity for sensitivity, _ in estimated[2:]) < 0.7
    assert min(specificity for _, specificity in estimated[:2]) > 0.99
    assert all(abs(specificity - 0.65) < 0.03 for _, specificity in estimated[2:])


def test_masks_that_do_not_belong_together_are_refused():
    mask = volume(drawn((20, 24, 18)))
    moved = Volume(mask.data, affine(origin_mm=(5, 0, 0)))
    with pytest.raises(InputRefused, match="mask 2 is on a different grid"):
        majority([mask, moved])
    with pytest.raises(InputRefused, match="two readers or more"):
        staple([mask])
    with pytest.raises(InputRefused, match="other labels"):
        staple([mask, volume(np.full((40, 48, 36), 4, np.uint8))])


def test_a_rejected_lesion_goes_with_its_oedema_and_the_other_stays():
    big, small = drawn((12, 14, 18), 7, 4), drawn((30, 36, 18), 5, 2, 0.5)
    both = np.maximum(big, small)
    np.testing.assert_array_equal(kept_lesions(volume(both), {1: True, 2: False}).mask.data, big)
    np.testing.assert_array_equal(kept_lesions(volume(both), {1: False}).mask.data, small)
    np.testing.assert_array_equal(kept_lesions(volume(both), {}).mask.data, both)
    with pytest.raises(InputRefused, match=r"found 3; expected 1 to 2"):
        kept_lesions(volume(both), {3: False})


def test_a_consensus_is_written_so_that_the_training_reads_it(tmp_path):
    mask = drawn((20, 24, 18))
    noise = np.random.default_rng(1).normal(100, 9, mask.shape).astype(np.float32)
    images = noise * ball() + 1
    case = Case("BraTS-MET-00999-000", {"t1c": volume(images), "t2f": volume(images * 2)})
    fused = majority([volume(mask)] * 2)
    write_yale(case, fused, tmp_path / "consensus")
    read = YaleDataset(tmp_path / "consensus")
    assert read.case_ids == ("BraTS-MET-00999-000",)
    loaded = read.load("BraTS-MET-00999-000")
    assert set(loaded.sequences) == {"t1c", "t2f"}
    np.testing.assert_array_equal(loaded.truth.mask.data, mask)
    np.testing.assert_allclose(loaded.sequences["t1c"].data, images)
    with pytest.raises(InputRefused, match="written before"):
        write_yale(case, fused, tmp_path / "consensus")
