"""What comes in at the door: the volumes of one patient at one time point, each on its own grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bmcore.domain import Finding, Truth, Volume


@dataclass(frozen=True, eq=False)
class RawStudy:
    """The volumes of one examination, each on its own grid: float32, affine to world RAS+ mm.

    findings: for the screen, in the words of the user's files; stored: the same, naming sequences
    only. technical: sequence -> what may be stored of where it came from (values of the
    measurement, hashes). side_doubt: why the headers do not tell left from right. truth: a
    reference mask that came along, on the grid of one of the volumes.
    """

    case_id: str
    volumes: Mapping[str, Volume]
    findings: tuple[Finding, ...] = ()
    stored: tuple[Finding, ...] = ()
    technical: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    side_doubt: str | None = None
    truth: Truth | None = None


def content_digest(volume: Volume) -> str:
    """SHA-256 of shape, affine and voxels."""
    digest = hashlib.sha256(repr(volume.shape).encode())
    digest.update(np.round(volume.affine, 6).astype("<f8").tobytes())
    for k in range(volume.shape[2]):
        digest.update(np.asarray(volume.data[..., k], "<f4").tobytes(order="F"))
    return digest.hexdigest()
