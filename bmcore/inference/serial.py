"""A Prediction as plain values and back: a JSON dict, a dict of arrays, a NIfTI mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    PRIMARIES,
    RESEARCH_NOTICE,
    Answer,
    BundleInfo,
    ClinicalRecord,
    Finding,
    Lesion,
    Novelty,
    Prediction,
    Primary,
    Severity,
    Volume,
)
from bmcore.inference.uncertainty import calibration_words
from bmcore.origin import Origin

FORMAT = 1
MADE = 2  # which way lesions are read: 1 counted them anew where images were resampled
AT_EDGE = "at the edge of the brain mask: check"
_ARRAYS = ("lesion_probabilities", "image_features", "code", "clinical_vector")


def finding_dict(finding: Finding) -> dict[str, str | None]:
    return {**asdict(finding), "severity": str(finding.severity)}


def finding_from(values: Mapping[str, Any]) -> Finding:
    return Finding(**{**values, "severity": Severity(values["severity"])})


def summary(prediction: Prediction) -> dict[str, Any]:
    """What ``prediction.json`` of the command line holds; its keys are stable.

    ``probabilities`` maps each answer to {primary: probability}, or to null where there is no
    answer; ``reasons`` then says why. ``timings_s`` are seconds a stage. ``prediction_set`` maps
    each answer to the primaries that cannot be ruled out at ``coverage``, or to null; ``abstains``
    maps each answer to the words of why it should not be read as one, or to null; ``novelty`` is
    null, like the sets and the coverage, where the models hold no calibration (``calibration``
    says so in words). ``novelty.score`` above 1 is an alarm. ``case_mix``: the shares that the
    probabilities stand for, and the site's; ``probabilities_at_site`` and ``balanced`` (the primary
    of the largest likelihood ratio) of each answer, null where not stated.
    """
    return {
        "case_id": prediction.case_id,
        "sequences": list(prediction.sequences),
        "probabilities": {a.kind: a.as_dict() for a in prediction.answers},
        "reasons": {a.kind: a.reason for a in prediction.answers if a.reason is not None},
        "lesion_count": len(prediction.lesions),
        "bundle": asdict(prediction.bundle),
        "timings_s": {k: round(float(v), 3) for k, v in prediction.timings_s.items()},
        "findings": [finding_dict(f) for f in prediction.findings],
        "notice": RESEARCH_NOTICE,
        "calibration": calibration_words(prediction),
        "coverage": next((a.coverage for a in prediction.answers if a.coverage is not None), None),
        "prediction_set": {
            a.kind: None if a.prediction_set is None else [str(p) for p in a.prediction_set]
            for a in prediction.answers
        },
        "abstains": {a.kind: a.abstains for a in prediction.answers},
        "novelty": _novelty_dict(prediction.novelty),
        "mask": _mask_dict(prediction),
        "case_mix": {
            "training": _by_primary(prediction.training_shares),
            "site": _by_primary(prediction.site_shares),
        },
        "probabilities_at_site": {a.kind: _by_primary(a.at_site) for a in prediction.answers},
        "balanced": {
            a.kind: None if a.balanced is None else str(a.balanced) for a in prediction.answers
        },
    }


def _mask_dict(prediction: Prediction) -> dict[str, Any]:
    """On which grid ``mask.nii.gz`` of the command line lies, and how it came there."""
    origin = prediction.origin
    if origin is None:
        return {"grid": "that of the images", "shape": list(prediction.mask.shape), "origin": None}
    return {
        "grid": "that of T1 post-gadolinium as it came; lesions were measured on 1 mm voxels",
        "shape": list(origin.shape),
        "origin": origin.as_dict(),
    }


def _by_primary(values: tuple[float, ...] | None) -> dict[str, float] | None:
    if values is None:
        return None
    return {str(p): float(v) for p, v in zip(PRIMARIES, values, strict=True)}


def _in_order(values: Mapping[str, float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(values[str(p)]) for p in PRIMARIES)


def _novelty_dict(novelty: Novelty | None) -> dict[str, Any] | None:
    if novelty is None:
        return None
    return {"score": novelty.score, "alarm": novelty.alarm, **asdict(novelty)}


def _novelty(values: Mapping[str, Any] | None) -> Novelty | None:
    if values is None:
        return None
    return Novelty(values["image_score"], values["code_score"], tuple(values["unusual"]))


def full_dict(prediction: Prediction) -> dict[str, Any]:
    """``summary`` and all that ``from_parts`` needs besides the arrays and the mask."""
    return {
        "format": FORMAT,
        "made": MADE,
        **summary(prediction),
        "clinical_record": asdict(prediction.clinical_record),
        "lesions": [asdict(lesion) for lesion in prediction.lesions],
        "reconstruction_error": prediction.reconstruction_error,
    }


def arrays(prediction: Prediction) -> dict[str, npt.NDArray]:
    """The arrays by name; those that are None are left out."""
    found = {name: getattr(prediction, name) for name in _ARRAYS}
    kept = {name: value for name, value in found.items() if value is not None}
    return {**kept, "mask_affine": prediction.mask.affine}


def mask_image(mask: Volume) -> nib.Nifti1Image:
    """Labels as uint8 NIfTI in the mask's own voxel order and affine (mm)."""
    image = nib.Nifti1Image(np.asarray(mask.data, dtype=np.uint8), mask.affine)
    image.set_qform(mask.affine, code=1)
    image.set_sform(mask.affine, code=1)
    image.header.set_xyzt_units("mm")
    return image


def from_parts(
    values: Mapping[str, Any], stored: Mapping[str, npt.NDArray], labels: npt.NDArray
) -> Prediction:
    """The inverse of ``full_dict``, ``arrays`` and ``mask_image``; KeyError etc. if damaged.

    Where an earlier version may have taken one lesion for another, a warning joins the findings.
    """
    if values["format"] != FORMAT:
        raise ValueError(f"format {values['format']!r}, but this version reads {FORMAT}")
    lesions = tuple(_lesion(row) for row in values["lesions"])
    if len(lesions) != values["lesion_count"]:
        raise ValueError(f"{len(lesions)} lesions listed, but {values['lesion_count']} counted")
    findings = tuple(finding_from(f) for f in values["findings"])
    return Prediction(
        case_id=values["case_id"],
        sequences=tuple(values["sequences"]),
        mask=Volume(labels.astype(np.uint8), stored["mask_affine"]),
        lesions=lesions,
        clinical=_answer("clinical", values),
        image=_answer("image", values),
        fused=_answer("fused", values),
        bundle=BundleInfo(**values["bundle"]),
        clinical_record=ClinicalRecord(**values["clinical_record"]),
        lesion_probabilities=stored.get("lesion_probabilities"),
        image_features=stored.get("image_features"),
        code=stored.get("code"),
        clinical_vector=stored["clinical_vector"],
        reconstruction_error=values["reconstruction_error"],
        timings_s=dict(values["timings_s"]),
        findings=(*findings, *_doubts(values, findings)),
        novelty=_novelty(values.get("novelty")),
        origin=_origin(values.get("mask")),
        training_shares=_in_order(values.get("case_mix", {}).get("training")),
        site_shares=_in_order(values.get("case_mix", {}).get("site")),
    )


def _doubts(values: Mapping[str, Any], findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What speaks against an answer because of the version that gave it."""
    if values.get("made", 1) >= MADE or values["lesion_count"] < 2:
        return ()
    from bmcore.imaging.preprocess import RESAMPLED

    if not any(f.what.startswith(RESAMPLED) for f in findings):
        return ()
    what = "an earlier version read these images and may have taken one lesion for another"
    return (Finding(Severity.WARNING, what, hint="run the models again."),)


def _origin(mask: Mapping[str, Any] | None) -> Origin | None:
    """None in files of an earlier version, too."""
    return Origin.from_dict(mask["origin"]) if mask and mask["origin"] else None


def _answer(kind: str, values: Mapping[str, Any]) -> Answer:
    given = values["probabilities"][kind]
    if given is None:
        return Answer(kind, None, values["reasons"][kind])
    kept = values.get("prediction_set", {}).get(kind)  # absent in files of an earlier version
    balanced = values.get("balanced", {}).get(kind)
    return Answer(
        kind,
        tuple(given[str(p)] for p in PRIMARIES),
        prediction_set=None if kept is None else tuple(Primary(p) for p in kept),
        coverage=None if kept is None else values["coverage"],
        abstains=values.get("abstains", {}).get(kind),
        at_site=_in_order(values.get("probabilities_at_site", {}).get(kind)),
        balanced=None if balanced is None else Primary(balanced),
    )


def _lesion(row: Mapping[str, Any]) -> Lesion:
    known: dict[str, Any] = {f.name: row[f.name] for f in fields(Lesion) if f.name != "at_edge"}
    known["at_edge"] = bool(row.get("at_edge", False))  # absent in files of an earlier version
    places = {name: tuple(known[name]) for name in ("centroid_mm", "centroid_voxel")}
    return Lesion(**(known | places))


def lesion_rows(prediction: Prediction) -> list[dict[str, str | int | float]]:
    """One row a lesion: measures in mm and mm3, then ``p_<primary>`` of the CNN, alone."""
    rows: list[dict[str, str | int | float]] = []
    for index, lesion in enumerate(prediction.lesions):
        x, y, z = lesion.centroid_mm
        row: dict[str, str | int | float] = {
            "number": lesion.number,
            "volume_mm3": round(lesion.volume_mm3, 2),
            "enhancing_mm3": round(lesion.enhancing_mm3, 2),
            "necrosis_mm3": round(lesion.necrosis_mm3, 2),
            "oedema_mm3": round(lesion.oedema_mm3, 2),
            "largest_diameter_mm": round(lesion.largest_diameter_mm, 2),
            "centroid_x_mm": round(x, 2),
            "centroid_y_mm": round(y, 2),
            "centroid_z_mm": round(z, 2),
            "side": lesion.side,
            "region": lesion.region,
        }
        if prediction.lesion_probabilities is not None:
            chances = prediction.lesion_probabilities[index]
            row |= {f"p_{p}": round(float(v), 4) for p, v in zip(PRIMARIES, chances, strict=True)}
        row["remark"] = AT_EDGE if lesion.at_edge else ""
        rows.append(row)
    return rows


LESION_COLUMNS: tuple[str, ...] = (
    "number",
    "volume_mm3",
    "enhancing_mm3",
    "necrosis_mm3",
    "oedema_mm3",
    "largest_diameter_mm",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "side",
    "region",
    *(f"p_{p}" for p in PRIMARIES),
    "remark",
)
