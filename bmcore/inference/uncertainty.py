"""How far an answer can be trusted: prediction sets, abstention, and novelty of the images.

Three states of an answer, besides "no answer" with its reason:

- it stands: its probabilities and its prediction set can be read;
- it abstains, ``OUTSIDE``: the case is unlike the training cases (``Novelty.alarm``). This concerns
  the image and the fused answer; the clinical answer does not look at the images and stands on its
  own;
- it abstains, ``UNDECIDED``: more than ``MAX_SET`` of the six primaries cannot be ruled out at the
  coverage of the models.

``OUTSIDE`` is looked at first. The probabilities are kept in either case: they are what was
computed, and a validation study needs them. Models without the part ``uncertainty`` give answers
without sets that never abstain, and say ``NO_CALIBRATION``.

The probabilities are calibrated before they come here: each regression divides its logits by a
temperature fitted on held-out logits (Guo et al. 2017; ``models.mlr``), and the sets hold at their
coverage whether or not that has succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bmcore.domain import (
    ANSWER_NAMES,
    ANSWER_SOURCES,
    PRIMARY_NAMES,
    SEQUENCE_NAMES,
    SEQUENCES,
    Answer,
    Finding,
    Novelty,
    Prediction,
    Prepared,
    Severity,
)

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

OUTSIDE = "outside what the models know"
UNDECIDED = "no answer stands out"
NO_CALIBRATION = "no calibration stored with these models"
MAX_SET = 3  # of six primaries; a set of more than half of them rules out too little to be of use
LOOKS_AT_IMAGES = ("image", "fused")
MOST = 1000.0  # scores end here: further out, nothing more is said


def novelty(prepared: Prepared, error: float | None, bundle: Bundle) -> Novelty | None:
    """How unlike the training cases the images are; None where the models cannot tell.

    ``error``: the autoencoder's reconstruction error, None where no lesion was found.
    """
    from bmcore.imaging.image_statistics import statistics, words

    model = bundle.novelty
    if model is None:
        return None
    judged = model.judge(statistics(prepared), error)
    swap = max(judged.gain, 0.0) / judged.gain_limit
    unusual = [words(name) for name in judged.unusual]
    if judged.pair is not None and swap > 1:
        unusual.insert(0, _swap_words(judged.pair, prepared))
    code_score = None if judged.error is None else judged.error / judged.error_limit
    return Novelty(
        image_score=min(max(judged.image_score, 0.0), MOST),
        code_score=None if code_score is None else min(code_score, MOST),
        unusual=tuple(dict.fromkeys(unusual)),
    )


def _swap_words(pair: tuple[str, str], prepared: Prepared) -> str:
    there = [s for s, present in zip(SEQUENCES, prepared.present, strict=True) if present]
    first, second = sorted(pair, key=lambda s: s not in there)
    if second in there:
        return f"{SEQUENCE_NAMES[first]} and {SEQUENCE_NAMES[second]} seem to be exchanged"
    return f"what is named {SEQUENCE_NAMES[first]} looks like {SEQUENCE_NAMES[second]}"


def weigh(answer: Answer, bundle: Bundle, found: Novelty | None) -> Answer:
    """The answer with its prediction set, and with words where it abstains."""
    conformal = bundle.conformal
    if answer.probabilities is None or conformal is None:
        return answer
    fitted = conformal[answer.kind]
    kept = fitted.prediction_set(answer.probabilities)
    abstains = None
    if found is not None and found.alarm and answer.kind in LOOKS_AT_IMAGES:
        abstains = OUTSIDE
    elif len(kept) > MAX_SET:
        abstains = UNDECIDED
    return replace(answer, prediction_set=kept, coverage=fitted.coverage, abstains=abstains)


def mask_doubt(found: Novelty | None) -> str:
    """What to say beside the segmentation of images that the models do not know; else empty."""
    return f"⚠ Segmentation {OUTSIDE}" if found is not None and found.alarm else ""


def abstaining(answers: Sequence[Answer]) -> tuple[str, ...]:
    """One sentence for each reason why answers abstain, with the answers that it concerns."""
    found: dict[str, list[str]] = {}
    for answer in answers:
        if answer.abstains is not None:
            found.setdefault(answer.abstains, []).append(ANSWER_SOURCES[answer.kind])
    return tuple(
        f"No answer from {', nor from '.join(kinds)}: {why}." for why, kinds in found.items()
    )


def findings(found: Novelty | None) -> tuple[Finding, ...]:
    """A warning where the images are outside what the models know."""
    if found is None or not found.alarm:
        return ()
    if found.image_score > 1:
        what = "these images are unlike the training images"
        hint = (
            "check that each file is the sequence it is said to be, and that it shows a whole "
            "brain without skull."
        )
    else:
        what = "the lesions are unlike those that the models learnt from"
        hint = "look at the mask: what was marked may not be metastases."
    unusual = "; ".join(found.unusual) if found.image_score > 1 else ""
    return (
        Finding(
            Severity.WARNING,
            f"{what}, so the images give no answer",
            found=unusual or None,
            hint=hint,
        ),
    )


def sentence(answer: Answer) -> str:
    """What stands behind an answer on one line: abstention, prediction set, or why there is none.

    For instance "Fused: abstains, no answer stands out. Still possible (…): …".
    """
    name = ANSWER_NAMES[answer.kind]
    if answer.probabilities is None:
        return f"{name}: no answer, because {answer.reason}."
    if answer.prediction_set is None:
        return f"{name}: {NO_CALIBRATION}."
    if answer.abstains == OUTSIDE:
        return f"{name}: abstains, {OUTSIDE}."  # no coverage is promised there, so no set is named
    names = ", ".join(PRIMARY_NAMES[p] for p in answer.prediction_set)
    kept = f"still possible ({_held(answer.coverage)}): {names}."
    if answer.abstains is None:
        return f"{name}: {kept}"
    return f"{name}: abstains, {answer.abstains}. {kept[:1].upper()}{kept[1:]}"


def _held(coverage: float | None) -> str:
    """What a coverage means: "the set holds the true primary in 9 of 10 cases"."""
    percent = round(100 * (coverage or 0.0))
    often = f"{percent // 10} of 10 cases" if percent % 10 == 0 else f"{percent} of 100 cases"
    return f"the set holds the true primary in {often}"


def calibration_words(prediction: Prediction) -> str:
    """What the models can say of their own sureness, in words."""
    coverage = next((a.coverage for a in prediction.answers if a.coverage is not None), None)
    if coverage is None:
        return NO_CALIBRATION
    return f"prediction sets at {coverage:.0%} coverage"
