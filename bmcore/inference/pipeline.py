"""The one road from a case and a model bundle to a Prediction; nothing else composes the models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    SEQUENCES,
    Answer,
    Case,
    ClinicalRecord,
    Finding,
    Lesion,
    Novelty,
    Prediction,
    Prepared,
    Severity,
    Volume,
)
from bmcore.inference.lesion_reading import read_lesions
from bmcore.inference.serial import AT_EDGE
from bmcore.intake import gatekeeper

if TYPE_CHECKING:
    from bmcore.imaging.lesion_crops import Marked
    from bmcore.models.bundles import Bundle
    from bmcore.models.runtime import Runtime

OnProgress = Callable[[str, float], None]
NO_LESION = "No lesion found"


def predict(case: Case, bundle: Bundle, on_progress: OnProgress | None = None) -> Prediction:
    """Segment a case, measure its lesions and name the primary in three answers.

    ``on_progress(stage in words, fraction 0-1 of the whole)``. Lesions are found on the input's
    grid, in the mask that is returned; the CNN reads patches of the working grid. Where no lesion
    is found the image and the fused answer carry the reason ``NO_LESION`` and the clinical one
    stays. InputRefused where a finding blocks the case. Sets, abstention and novelty are those of
    ``inference.uncertainty``. The same case and bundle give the same numbers on the same machine.
    """
    from bmcore.imaging.lesion_crops import mark
    from bmcore.inference import case_mix, uncertainty

    site, learnt = case_mix.of_site(), bundle.shares
    clock = _Clock(on_progress)
    segmented = _segment(case, bundle, clock)
    prepared, mask = segmented.prepared, segmented.mask
    with clock.stage("lesions", "Measuring the lesions", 0.89):
        lesions = measure(mask, prepared, drawn=case.origin is not None)
    with clock.stage("features", "Reading each lesion", 0.93):
        marked = mark(segmented.labels, mask, prepared)
        image = read_lesions(bundle, case, prepared, marked, lesions)
    with clock.stage("novelty", "Comparing with what the models know", 0.97):
        novelty = uncertainty.novelty(prepared, image.reconstruction_error, bundle)
    with clock.stage("answers", "Naming the primary", 0.99):
        three = answers(case.clinical, image.code, bundle, novelty)
        vector = clinical_vector(case.clinical, bundle)
    clock.done()
    return Prediction(
        case_id=case.case_id,
        sequences=tuple(s for s, there in zip(SEQUENCES, prepared.present, strict=True) if there),
        mask=mask,
        lesions=lesions,
        clinical=three[0],
        image=three[1],
        fused=three[2],
        bundle=bundle.info,
        clinical_record=case.clinical,
        lesion_probabilities=image.lesion_probabilities,
        image_features=image.features,
        code=image.code,
        clinical_vector=vector,
        reconstruction_error=image.reconstruction_error,
        timings_s=clock.timings_s,
        findings=(*_findings(case, prepared, lesions), *uncertainty.findings(novelty)),
        novelty=novelty,
        origin=case.origin,
        training_shares=None if learnt is None else learnt.shares,
        site_shares=None if site is None else site.shares,
    )


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What the segmenter says of a case.

    prepared: the case on the working grid. probabilities (4, i, j, k) of background, necrosis,
    oedema and enhancing tumour and labels (i, j, k), 0-3, lie there too; mask: the labels on the
    grid of the input.
    """

    prepared: Prepared
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    mask: Volume


def segment_case(case: Case, bundle: Bundle, chosen: Runtime | None = None) -> Segmentation:
    """Prepare a case, segment it and place the mask on the input's grid; nothing else does so.

    chosen: device and precision, None for the best there is.
    """
    return _segment(case, bundle, _Clock(None), chosen)


def _segment(
    case: Case, bundle: Bundle, clock: _Clock, chosen: Runtime | None = None
) -> Segmentation:
    from bmcore.imaging.preprocess import prepare, restore

    with clock.stage("prepare", "Preparing the images", 0.02):
        prepared = prepare(case)
        gatekeeper.stop((*case.findings, *prepared.findings))
    with clock.stage("segment", "Finding the tumour", 0.12):
        labels, probabilities = find_tumour(bundle, prepared, clock.within(0.12, 0.85), chosen)
    with clock.stage("restore", "Placing the mask on your images", 0.86):
        mask = restore(labels, prepared)
    return Segmentation(prepared, probabilities, labels, mask)


def answers(
    record: ClinicalRecord,
    code: npt.NDArray[np.float32] | None,
    bundle: Bundle,
    novelty: Novelty | None = None,
) -> tuple[Answer, Answer, Answer]:
    """The clinical, image and fused answers at once, for instance after a changed clinical value.

    ``code`` (d,) and ``novelty`` are the prediction's; ``code`` is None where no lesion was found.
    """
    from bmcore.inference.case_mix import of_site, with_mix
    from bmcore.inference.uncertainty import weigh

    site = of_site()

    def whole(answer: Answer) -> Answer:
        return with_mix(weigh(answer, bundle, novelty), bundle.shares, site)

    vector = clinical_vector(record, bundle)
    clinical = whole(_answer("clinical", bundle.clinical_mlr, vector))
    if code is None:
        return clinical, Answer("image", None, NO_LESION), Answer("fused", None, NO_LESION)
    image = _answer("image", bundle.image_mlr, np.asarray(code, np.float64))
    fused = _answer("fused", bundle.fused_mlr, fused_vector(code, vector))
    return clinical, whole(image), whole(fused)


def fused_vector(
    code: npt.NDArray[np.float32], clinical: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """What the fused MLR is fed: the clinical vector (m,), then the image code (d,)."""
    return np.concatenate([clinical, np.asarray(code, np.float64)])


def find_tumour(
    bundle: Bundle,
    prepared: Prepared,
    on_progress: Callable[[float], None] | None = None,
    chosen: Runtime | None = None,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Labels 0-3 (i, j, k) and probabilities (4, i, j, k) on the working grid.

    chosen: device and precision, None for the best there is.
    """
    from bmcore.models import runtime
    from bmcore.models.inference import predict_probabilities
    from bmcore.models.postprocessing import to_labels

    chosen = chosen or runtime.choose()
    net = bundle.segmenter.to(chosen.device)
    with runtime.inference(chosen):
        probabilities = predict_probabilities(net, prepared.images, prepared.brain, on_progress)
    return to_labels(probabilities, prepared.brain, net.config.postprocessing), probabilities


def measure(mask: Volume, prepared: Prepared, drawn: bool = False) -> tuple[Lesion, ...]:
    """The lesions of a mask on the input's grid; centroids in world mm and input voxels.

    drawn: the outline of the brain is ours, so lesions at it are marked.
    """
    from bmcore.imaging.lesions import at_edge, find_lesions
    from bmcore.imaging.preprocess import restore

    brain = np.asarray(restore(prepared.brain.astype(np.uint8), prepared).data) > 0
    lesions = find_lesions(mask.data, mask.affine, brain, prepared.placement)
    return at_edge(lesions, np.asarray(mask.data), mask.affine, brain) if drawn else lesions


def measure_marked(
    labels: npt.NDArray[np.uint8], prepared: Prepared
) -> tuple[tuple[Lesion, ...], Marked]:
    """The lesions of labels 0-3 (i, j, k) on the working grid, measured on the input's grid as in
    ``predict``, and where they lie on the working grid."""
    from bmcore.imaging.lesion_crops import mark
    from bmcore.imaging.preprocess import restore

    mask = restore(labels, prepared)
    return measure(mask, prepared), mark(labels, mask, prepared)


class _Clock:
    """Times the stages and tells how far the whole is."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.tell = on_progress or (lambda stage, fraction: None)
        self.timings_s: dict[str, float] = {}
        self.words = ""
        self.started = time.perf_counter()

    @contextmanager
    def stage(self, name: str, words: str, fraction: float) -> Iterator[None]:
        self.words = words
        self.tell(words, fraction)
        begun = time.perf_counter()
        yield
        self.timings_s[name] = time.perf_counter() - begun

    def within(self, low: float, high: float) -> Callable[[float], None]:
        """A progress function (0-1) of one stage as a part of the whole."""
        return lambda fraction: self.tell(self.words, low + fraction * (high - low))

    def done(self) -> None:
        self.timings_s["total"] = time.perf_counter() - self.started
        self.tell("Finished", 1.0)


def clinical_vector(record: ClinicalRecord, bundle: Bundle) -> npt.NDArray[np.float64]:
    """The record (m,) in the columns that the bundle's clinical regression has learnt."""
    from bmcore.models.clinical import FEATURE_KEYS, vector

    return vector(record, bundle.clinical_mlr.features or FEATURE_KEYS)


def _answer(kind: str, mlr, x: npt.NDArray[np.float64]) -> Answer:
    probabilities = np.asarray(mlr.predict_proba(x[None]), float)[0]
    return Answer(kind, tuple(float(p) for p in probabilities))


def _findings(case: Case, prepared: Prepared, lesions: Sequence[Lesion]) -> tuple[Finding, ...]:
    """All that was noticed of one case, each once, the gravest first."""
    none = Finding(
        Severity.WARNING,
        NO_LESION,
        hint="look at the images yourself: a small lesion can be missed.",
    )
    record = gatekeeper.of_record(case.clinical)
    more = [*_at_edge(lesions), *(() if lesions else (none,))]
    return gatekeeper.collect(case.findings, prepared.findings, record, more)


def _at_edge(lesions: Sequence[Lesion]) -> list[Finding]:
    near = [str(lesion.number) for lesion in lesions if lesion.at_edge]
    if not near:
        return []
    which = f"lesion {near[0]} lies" if len(near) == 1 else f"lesions {', '.join(near)} lie"
    return [
        Finding(
            Severity.WARNING,
            f"{which} {AT_EDGE}",
            hint="look at the outline of the brain: it may cut the lesion, or what was found may "
            "lie outside the brain.",
        )
    ]
