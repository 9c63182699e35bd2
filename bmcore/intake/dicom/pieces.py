"""What the child process needs to know to read the pixels of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmcore.intake.dicom.found import Image

_PIXELS_A_SECOND = 1_000_000  # of the slowest decoder on a busy machine


def piece(image: Image) -> dict[str, Any]:
    """File, frame, encoding and scaling of one image, for ``pixels``."""
    bits = int(image.get("BitsAllocated", 16))
    stored = int(image.get("BitsStored", bits))
    told = image.get("pixels")
    return {
        "path": str(image.file.path.absolute()),
        "name": image.file.name,
        "frame": image.frame,
        "offset": told.get("offset", 0),
        "big": told.get("big", False),
        "TransferSyntax": image.get("TransferSyntax"),
        "Rows": image.get("Rows"),
        "Columns": image.get("Columns"),
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": int(image.get("HighBit", stored - 1)),
        "PixelRepresentation": image.get("PixelRepresentation", 0),
        "PhotometricInterpretation": str(image.get("PhotometricInterpretation", "")).strip(),
        "RescaleSlope": image.get("RescaleSlope", 1.0),
        "RescaleIntercept": image.get("RescaleIntercept", 0.0),
        "PixelPaddingValue": image.get("PixelPaddingValue"),
        "PixelPaddingRangeLimit": image.get("PixelPaddingRangeLimit"),
    }


def seconds_for(pieces: Sequence[Mapping[str, Any]]) -> float:
    """How long the child may take to decode these."""
    pixels = sum(float(one["Rows"]) * float(one["Columns"]) for one in pieces)
    return 20.0 + pixels / _PIXELS_A_SECOND
