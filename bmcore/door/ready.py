"""The case that an arrival has become, kept from the outline that the user looks at to the library.

``ready.npz`` in the arrival's folder holds the images as they will be stored, without skull, and
what may be stored of them; it goes when the arrival does. Nothing is read or worked out twice.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bmcore import disk, zips
from bmcore.domain import Case, ClinicalRecord, Finding, Severity, Volume
from bmcore.door.arrival import Arrival
from bmcore.origin import Origin

NAME = "ready.npz"
_BYTES = 2 * 2**30
Technical = Mapping[str, Mapping[str, str]]


def keep(of: Arrival, case: Case, technical: Technical) -> None:
    """Write the case; one with a reference mask is not kept, and is made again from its files."""
    path = of.folder / NAME
    path.unlink(missing_ok=True)
    if case.truth is not None:
        return
    about = {
        "case_id": case.case_id,
        "findings": [asdict(finding) for finding in case.findings],
        "side_doubt": case.side_doubt,
        "origin": None if case.origin is None else case.origin.as_dict(),
        "technical": {name: dict(values) for name, values in technical.items()},
        "affines": {n: np.asarray(v.affine).tolist() for n, v in case.sequences.items()},
    }
    images = {name: np.asarray(volume.data) for name, volume in case.sequences.items()}
    words = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with disk.beside(path) as new, disk.create(new) as file:
        np.savez(file, about=words, **images)  # type: ignore[arg-type]


def read(of: Arrival, clinical: ClinicalRecord) -> tuple[Case, Technical] | None:
    """What ``keep`` wrote, with the clinical record; None where there is none, or it is damaged."""
    path = of.folder / NAME
    if not path.is_file():
        return None
    try:
        arrays = zips.load_arrays(path, _BYTES)
        about = json.loads(arrays.pop("about").tobytes())
        volumes = {n: Volume(arrays[n], np.array(a, float)) for n, a in about["affines"].items()}
        origin = None if about["origin"] is None else Origin.from_dict(about["origin"])
        findings = tuple(finding(values) for values in about["findings"])
        case = Case(
            about["case_id"], volumes, clinical, findings, None, about["side_doubt"], origin
        )
        return case, about["technical"]
    except (*zips.FAULTS, zlib.error, KeyError, TypeError, ValueError):
        return None


def finding(values: Mapping[str, Any]) -> Finding:
    """A finding out of its plain values."""
    return Finding(**{**values, "severity": Severity(values["severity"])})
