"""An answer for the site's own case mix, beside the one for that of the training patients."""

from __future__ import annotations

from dataclasses import replace

from bmcore.domain import ANSWER_NAMES, PRIMARIES, PRIMARY_NAMES, Answer, Prediction
from bmcore.inference.uncertainty import OUTSIDE
from bmcore.models.case_mix import CaseMix, balanced_primary, exchange, parse
from bmcore.settings import settings
from bmcore.stats.estimate import decimals


def of_site() -> CaseMix | None:
    """The shares of the primaries at this site (``BMCORE_CASE_MIX``); None where none are set."""
    return parse(settings().case_mix)


def with_mix(answer: Answer, learnt: CaseMix | None, mix: CaseMix | None) -> Answer:
    """The answer with its balanced decision and, where ``mix`` is stated, its probabilities for it.

    learnt: shares in training; None where they are not known, and nothing can be exchanged.
    """
    if answer.probabilities is None or learnt is None:
        return replace(answer, at_site=None)
    there = None
    if mix is not None:
        there = tuple(float(p) for p in exchange(answer.probabilities, learnt, mix))
    primary = balanced_primary(answer.probabilities, learnt)
    return replace(answer, balanced=primary, at_site=there)


def restated(prediction: Prediction, mix: CaseMix | None) -> Prediction:
    """The prediction with its answers for the case mix ``mix`` instead of the site's own.

    None takes the site's away, and so does a prediction that does not say how common the primaries
    were among the training patients.
    """
    shares = prediction.training_shares
    learnt = None if shares is None else CaseMix(shares)
    clinical, image, fused = (with_mix(a, learnt, mix) for a in prediction.answers)
    return replace(
        prediction,
        clinical=clinical,
        image=image,
        fused=fused,
        site_shares=None if mix is None or learnt is None else mix.shares,
    )


def sentences(prediction: Prediction, whose: str = "this site") -> tuple[str, ...]:
    """What the case mix changes, in words: one line an answer, none where nothing is stated.

    whose: where the shares come from, "this site" or "this study".
    """
    lines = []
    for answer in prediction.answers:
        if answer.balanced is None or answer.abstains == OUTSIDE:
            continue  # nothing is stated, or the images are unlike all that was learnt from
        name, even = ANSWER_NAMES[answer.kind], PRIMARY_NAMES[answer.balanced]
        parts = [f"with all primaries equally common {even}"]
        if answer.at_site is not None:
            ranked = sorted(zip(answer.at_site, PRIMARIES, strict=True), reverse=True)[:2]
            (first, top), (second, other) = ranked
            parts.insert(
                0,
                f"with the shares of {whose} {PRIMARY_NAMES[top]} {decimals(100 * first)}%, then "
                f"{PRIMARY_NAMES[other]} {decimals(100 * second)}%",
            )
        lines.append(f"{name}: {'; '.join(parts)}.")
    return tuple(lines)


def basis(prediction: Prediction) -> str | None:
    """What the shares are that the probabilities stand for, on one line; None if not stated."""
    if prediction.training_shares is None:
        return None
    words = "The probabilities assume the case mix of the training patients: "
    return words + CaseMix(prediction.training_shares).words + "."
