"""Cases that went wrong, chosen by a fixed rule, with slices of the lesion and its mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bmcore.analysis.readings import CaseFacts, Reading, StudyData
from bmcore.domain import (
    PRIMARY_NAMES,
    SEQUENCE_NAMES,
    BmcoreError,
    Case,
    Prediction,
    Primary,
    Volume,
)
from bmcore.geometry import same_grid
from bmcore.imaging.lesions import find_lesions
from bmcore.imaging.slices import render_slice, slice_at
from bmcore.stats.estimate import decimals

MOST = 8
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Failure:
    """One case. words: what went wrong; panels: (title, picture (h, w, 3)) of the axial slice
    through the largest lesion; note: why there is no picture, else where the slice lies."""

    case_id: str
    words: str
    panels: tuple[tuple[str, Picture], ...]
    note: str


def find_failures(
    data: StudyData,
    predictions: Mapping[str, Prediction],
    images: Callable[[str], Case | None] | None = None,
    masks: Callable[[str], Prediction | None] | None = None,
) -> tuple[Failure, ...]:
    """The cases with a known primary that the fused models named wrong, the surest first, then
    those that most readers named wrong with the models' help; ``MOST`` at most.

    masks: reads a prediction again where ``predictions`` come without voxels.
    """
    found: list[tuple[tuple[float, ...], str, str]] = []
    for case, facts in sorted(data.cases.items()):
        if facts.truth is None:
            continue
        readings = [
            r for r in data.readings if r.case_id == case and r.arm != "unaided" and not r.occasion
        ]
        wrong = sum(r.primary != facts.truth for r in readings)
        top, answers = facts.top(), facts.answers.get("fused")
        if top is not None and top != facts.truth and answers is not None:
            found.append(((0, -max(answers)), case, _words(facts, readings, wrong)))
        elif readings and wrong > len(readings) / 2:
            found.append(((1, -wrong / len(readings)), case, _words(facts, readings, wrong)))
    chosen = sorted(found)[:MOST]
    read = masks or predictions.get
    return tuple(_drawn(case, words, read(case), images) for _, case, words in chosen)


def _words(facts: CaseFacts, readings: list[Reading], wrong: int) -> str:
    assert facts.truth is not None
    text = f"Known primary: {PRIMARY_NAMES[Primary(facts.truth)]}."
    top, answers = facts.top(), facts.answers.get("fused")
    if top is not None and answers is not None:
        verdict = "right" if top == facts.truth else "wrong"
        named = f"{PRIMARY_NAMES[Primary(top)]}, {decimals(100 * max(answers))}%"
        text += f" Fused models: {named}, {verdict}."
    if readings:
        text += f" With the models, {wrong} of {len(readings)} readings were wrong."
    if facts.lesions is not None:
        text += f" Lesions found: {facts.lesions}."
    return text


def _drawn(
    case_id: str,
    words: str,
    prediction: Prediction | None,
    images: Callable[[str], Case | None] | None,
) -> Failure:
    case, why = None, "the images are not at hand"
    try:
        case = images(case_id) if images is not None else None
    except BmcoreError as refused:
        why = " ".join(f.sentence for f in refused.findings)
    if case is None or prediction is None:
        return Failure(
            case_id, words, (), f"No picture: {why if case is None else 'no prediction'}."
        )
    if not same_grid(case.grid, prediction.mask):
        note = "No picture: the prediction was made from other images than those stored now."
        return Failure(case_id, words, (), note)
    centre = _centre(case, prediction)
    if centre is None:
        return Failure(case_id, words, (), "No picture: no lesion was found and none is marked.")
    panels = []
    for name in ("t1c", "t2f"):
        if name in case.sequences:
            volume = case.sequences[name]
            at = slice_at(volume, "axial", centre)
            panels.append((SEQUENCE_NAMES[name], render_slice(volume, "axial", at)))
    at = slice_at(case.grid, "axial", centre)
    panels.append(("Models' mask", render_slice(case.grid, "axial", at, prediction.mask)))
    if case.truth is not None and case.truth.mask is not None:
        panels.append(("Reference mask", render_slice(case.grid, "axial", at, case.truth.mask)))
    panels = _cropped(panels, case.grid, at)
    note = (
        f"Axial slice {at} through the largest lesion; patient's right is on the left. "
        "Orange: enhancing tumour, blue: necrosis, yellow: oedema."
    )
    return Failure(case_id, words, tuple(panels), note)


def _cropped(
    panels: list[tuple[str, Picture]], volume: Volume, at: int
) -> list[tuple[str, Picture]]:
    """All pictures of one axial slice cut to what is above the background in ``volume``."""
    data = np.asarray(volume.data)
    head = Volume((data > data.min()).astype(np.float32), volume.affine)
    inside = render_slice(head, "axial", at, window=(0, 1))[..., 0] > 127
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not rows.size or any(picture.shape[:2] != inside.shape for _, picture in panels):
        return panels
    top, left = max(0, rows[0] - 4), max(0, columns[0] - 4)
    box = (slice(top, rows[-1] + 5), slice(left, columns[-1] + 5))
    return [(title, picture[box]) for title, picture in panels]


def _centre(case: Case, prediction: Prediction) -> tuple[float, float, float] | None:
    """World mm of the largest lesion of the models, else of the reference."""
    if prediction.lesions:
        return prediction.lesions[0].centroid_mm
    if case.truth is not None and case.truth.mask is not None:
        lesions = find_lesions(np.asarray(case.truth.mask.data), case.truth.mask.affine)
        return lesions[0].centroid_mm if lesions else None
    return None
