"""Sets, abstention and novelty of answers; and of images that the shipped models must not know."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, SEQUENCES, Answer, Case, Novelty, Prepared, Primary, Volume
from bmcore.imaging.image_statistics import STATISTICS
from bmcore.inference import pipeline, uncertainty
from bmcore.models import bundle_writer, bundles, manifest, optional_parts
from bmcore.models.conformal import Conformal
from bmcore.models.novelty import NoveltyModel, tolerance
from bmcore.settings import settings
from tests import odd_images
from tests import reading_fixture as fixture

CASE = odd_images.REALDATA / "01_brats_met_00110"
SURE = (0.01, 0.01, 0.01, 0.01, 0.95, 0.01)
FLAT = (0.17, 0.17, 0.17, 0.17, 0.16, 0.16)
ORDINARY, STRANGE = Novelty(0.4, 0.5), Novelty(7.0, 0.5, ("the smoothness of T2",))


class Calibrated:
    """Stands for a bundle: a set holds the primaries until they reach 80 %."""

    def __init__(self) -> None:
        self.conformal = dict.fromkeys(("clinical", "image", "fused"), Conformal([0.8] * 20, 0.9))


def weigh(kind: str, p: tuple[float, ...], novelty: Novelty | None = ORDINARY) -> Answer:
    return uncertainty.weigh(Answer(kind, p), Calibrated(), novelty)  # type: ignore[arg-type]


# --- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["clinical", "image", "fused"])
def test_a_clear_answer_stands_with_its_set(kind: str) -> None:
    answer = weigh(kind, SURE)
    assert answer.prediction_set == (Primary.NSCLC,)
    assert (answer.coverage, answer.abstains, answer.probabilities) == (0.9, None, SURE)
    assert uncertainty.sentence(answer).endswith(
        "still possible (the set holds the true primary in 9 of 10 cases): "
        "Non-small cell lung (NSCLC)."
    )


def test_an_answer_that_rules_out_less_than_half_abstains_and_keeps_its_numbers() -> None:
    answer = weigh("clinical", FLAT)
    assert answer.prediction_set is not None and len(answer.prediction_set) > uncertainty.MAX_SET
    assert answer.abstains == "no answer stands out" and answer.probabilities == FLAT
    assert "abstains, no answer stands out. Still possible (the set" in uncertainty.sentence(answer)


def test_strange_images_silence_the_image_and_the_fused_answer_only() -> None:
    assert weigh("image", SURE, STRANGE).abstains == "outside what the models know"
    assert (
        weigh("fused", FLAT, STRANGE).abstains == "outside what the models know"
    )  # looked at first
    assert weigh("clinical", SURE, STRANGE).abstains is None
    said = uncertainty.sentence(weigh("fused", SURE, STRANGE))
    assert said == "Fused: abstains, outside what the models know."


def test_no_answer_stays_no_answer_and_no_calibration_is_said() -> None:
    silent = Answer("image", None, "No lesion found")
    assert uncertainty.weigh(silent, Calibrated(), STRANGE) == silent  # type: ignore[arg-type]
    assert uncertainty.sentence(silent) == "Image only: no answer, because No lesion found."
    old = Calibrated()
    old.conformal = None  # type: ignore[assignment]
    plain = Answer("fused", SURE)
    assert uncertainty.weigh(plain, old, None) == plain  # type: ignore[arg-type]
    assert uncertainty.sentence(plain) == "Fused: no calibration stored with these models."


def test_the_headline_of_the_page_abstains_in_words() -> None:
    from pages.parts.words import best_guess

    assert best_guess(weigh("fused", SURE)).startswith(
        "From images and clinical data together: Non"
    )
    silent = best_guess(weigh("fused", SURE, STRANGE))
    assert silent == (
        "The answer from images and clinical data together abstains: outside what the models know."
    )


def test_what_abstains_is_named_first_and_beside_the_mask() -> None:
    both = [weigh("image", SURE, STRANGE), weigh("fused", SURE, STRANGE), weigh("clinical", SURE)]
    (said,) = uncertainty.abstaining(both)
    assert said == (
        "No answer from the images alone, nor from images and clinical data together: "
        "outside what the models know."
    )
    assert uncertainty.abstaining([weigh("fused", SURE)]) == ()
    assert uncertainty.mask_doubt(STRANGE).endswith("outside what the models know")
    assert uncertainty.mask_doubt(ORDINARY) == uncertainty.mask_doubt(None) == ""


def test_an_abstaining_answer_is_hatched_and_has_no_number_outside_the_known() -> None:
    from pages.parts.case import charts

    def drawn(answer: Answer) -> tuple[object, object, bool]:
        bars, *text = charts.answers((answer,)).data
        dark = bars.marker.color == charts.LINE or charts.STRONG in bars.marker.color
        return bars.marker.pattern.shape, dark and bars.marker.color, bool(text)

    shape, colour, numbers = drawn(weigh("fused", SURE))
    assert shape is None and charts.STRONG in colour and numbers
    assert drawn(weigh("fused", SURE, STRANGE)) == ("/", charts.LINE, False)
    assert drawn(weigh("fused", FLAT)) == ("/", charts.LINE, True)


def test_an_alarm_is_a_finding_that_says_what_is_odd_and_what_to_try() -> None:
    assert uncertainty.findings(None) == uncertainty.findings(ORDINARY) == ()
    (one,) = uncertainty.findings(STRANGE)
    assert one.sentence.startswith("these images are unlike the training images, so the images")
    assert "found the smoothness of T2" in one.sentence and "Try: check" in one.sentence
    assert "novelty" not in one.sentence  # a score says nothing to a reader
    (other,) = uncertainty.findings(Novelty(0.4, 1.2))
    assert "the lesions are unlike" in other.sentence and "look at the mask" in other.sentence


@pytest.mark.parametrize(
    "wrong",
    [
        {"probabilities": None, "reason": "none", "abstains": "so"},
        {"prediction_set": (), "coverage": 0.9},
        {"prediction_set": (Primary.GI,)},
    ],
)
def test_an_answer_cannot_be_half_weighed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Answer(**({"kind": "image", "probabilities": SURE} | wrong))
    with pytest.raises(ValueError):
        Novelty(float("inf"), None)


# --- a bundle with the part, from the file to the prediction ------------------------------------


def heads() -> np.ndarray:
    """Statistics of twelve small heads: those of the fixture's, varied as tolerated."""
    from bmcore.imaging.image_statistics import statistics
    from bmcore.imaging.preprocess import prepare

    row = statistics(prepare(fixture.head()))
    tolerated = np.array([tolerance(name) for name in STATISTICS])
    return row + np.random.default_rng(0).normal(size=(12, row.size)) * tolerated * 0.3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = fixture.tiny_bundle(tmp_path_factory.mktemp("bundle"))
    before = bundles.load_bundle(folder)
    sets = dict.fromkeys(("clinical", "image", "fused"), Conformal(np.linspace(0, 0.9, 40), 0.9))
    novelty = NoveltyModel(heads(), np.arange(12), [50.0, 100.0])
    tensors, config = optional_parts.pack_uncertainty(sets, novelty)
    config["belongs_to"] = manifest.belongs_to(before.manifest)
    bundle_writer.write_part(folder, "uncertainty", tensors, config)
    bundle_writer.finish(folder, "tiny", "2", "nothing", synthetic=True)
    return fixture.bundle_that_sees_the_spot(folder)


def test_an_ordinary_head_gets_three_sets_and_no_alarm(bundle: Any) -> None:
    found = pipeline.predict(fixture.head(), bundle)
    assert found.novelty is not None and not found.novelty.alarm
    assert all(a.prediction_set and a.coverage == 0.9 for a in found.answers)
    assert all(a.abstains != uncertainty.OUTSIDE for a in found.answers)
    again = pipeline.answers(found.clinical_record, found.code, bundle, found.novelty)
    assert again == found.answers


def test_a_head_of_noise_is_outside_and_says_so(bundle: Any) -> None:
    head = fixture.head()
    rng = np.random.default_rng(0)
    odd = {
        s: Volume(
            np.where(v.data > 0, rng.uniform(50, 150, v.shape), 0).astype(np.float32), v.affine
        )
        for s, v in head.sequences.items()
    }
    odd["t1c"] = head.sequences["t1c"]  # the spot is still there
    odd["t2w"] = head.sequences["t1c"]
    found = pipeline.predict(replace(head, sequences=odd), bundle)
    assert found.novelty is not None and found.novelty.alarm
    assert found.image.abstains == found.fused.abstains == uncertainty.OUTSIDE
    assert found.clinical.abstains != uncertainty.OUTSIDE
    assert any("so the images give no answer" in f.what for f in found.findings)


# --- the shipped models ------------------------------------------------------------------------


@lru_cache(maxsize=1)
def shipped() -> bundles.Bundle:
    models = bundles.load_bundle(settings().bundle)
    if models.novelty is None:
        pytest.skip("the models hold no part 'uncertainty': run training.uncertainty")
    return models


def prepared(case: Case) -> Prepared:
    from bmcore.imaging.preprocess import prepare

    return prepare(case)


@lru_cache(maxsize=4)
def brain(name: str) -> Prepared:
    """A brain that the models have not seen: a new phantom, or the real case."""
    if name == "real":
        if not CASE.is_dir():
            pytest.skip(f"no real MRI files in {odd_images.REALDATA}")
        from bmcore.intake.nifti import read_case

        return prepared(read_case(CASE))
    from bmcore.phantom.cohort import draw_case

    return prepared(draw_case(8_000_000_000 + int(name)).as_case(name))


def some(one: Prepared, names: tuple[str, ...]) -> Prepared:
    present = tuple(s in names for s in SEQUENCES)
    images = np.where(np.array(present)[:, None, None, None], one.images, 0)
    return replace(one, images=images, present=present)  # type: ignore[arg-type]


def swapped(one: Prepared, a: str, b: str) -> Prepared:
    places = [SEQUENCES.index({a: b, b: a}.get(s, s)) for s in SEQUENCES]
    return replace(one, images=one.images[places])


def novelty(one: Prepared) -> Novelty:
    found = uncertainty.novelty(one, None, shipped())
    assert found is not None
    return found


BRAINS = ["1", "2", pytest.param("real", marks=pytest.mark.realdata)]


@pytest.mark.parametrize("name", BRAINS)
@pytest.mark.parametrize("names", [SEQUENCES, ("t1c",), ("t1c", "t2f")], ids="+".join)
def test_a_new_brain_is_quiet(name: str, names: tuple[str, ...]) -> None:
    shipped()
    found = novelty(some(brain(name), names))
    assert not found.alarm, found


@pytest.mark.parametrize("name", BRAINS)
@pytest.mark.parametrize(("a", "b"), [("t1c", "t2w"), ("t1n", "t2f")])
def test_swapped_sequences_are_noticed_and_named(name: str, a: str, b: str) -> None:
    shipped()
    found = novelty(swapped(brain(name), a, b))
    assert found.alarm and "seem to be exchanged" in found.unusual[0], found


@pytest.mark.parametrize("make", [odd_images.noise, odd_images.knee], ids=["noise", "knee"])
def test_what_is_no_brain_is_outside(make: Any) -> None:
    shipped()
    assert novelty(prepared(make())).alarm


def test_noise_in_the_shape_of_a_brain_is_outside() -> None:
    shipped()
    assert novelty(prepared(odd_images.noise(shaped=True))).alarm


@pytest.mark.realdata
@pytest.mark.parametrize("copies", [1, 4])
def test_the_fruit_is_outside(copies: int) -> None:
    shipped()
    if not odd_images.FRUIT.is_dir():
        pytest.skip(f"no real files in {odd_images.FRUIT}")
    assert novelty(prepared(odd_images.fruit(odd_images.FRUIT, copies))).alarm


def test_sets_of_the_shipped_models_hold_what_their_coverage_asks_of_the_trained_patients() -> None:
    conformal = shipped().conformal
    assert conformal is not None and set(conformal) == {"clinical", "image", "fused"}
    for fitted in conformal.values():
        own = 0 if fitted.labels is None else fitted.labels
        assert (fitted.known <= fitted.thresholds[own]).mean() >= fitted.coverage
        assert len(fitted.prediction_set(SURE)) < len(PRIMARIES)
