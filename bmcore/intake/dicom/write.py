"""Volumes to DICOM files: one classic MR series each, for the demo study and for tests.

World coordinates become patient coordinates in ``patient_from_world`` only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmcore import disk
from bmcore.domain import Volume

_MR = "1.2.840.10008.5.1.4.1.1.4"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
patient_from_world = np.diag([-1.0, -1.0, 1.0, 1.0])


def uid_of(*parts: object) -> str:
    """A valid UID (2.25) made of ``parts``: the same for the same."""
    text = "\0".join(map(str, parts))
    return f"2.25.{int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)}"


def write_series(volume: Volume, folder: Path, values: Mapping[str, Any], number: int) -> int:
    """Write ``volume`` (column, row, slice) as files of one series; how many there are.

    values: keyword -> value for every file, StudyInstanceUID among them. number: of the series.
    Voxels are rounded to whole numbers from 0 to 32767.
    """
    lps = patient_from_world @ volume.affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    disk.private_folder(folder)
    series = uid_of(values["StudyInstanceUID"], "series", number)
    normal = np.cross(lps[:3, 0], lps[:3, 1])
    shared = {
        "ImageOrientationPatient": [_number(v) for v in (*lps[:3, 0] / sizes[0],
                                                         *lps[:3, 1] / sizes[1])],
        "PixelSpacing": [_number(sizes[1]), _number(sizes[0])],
        "SliceThickness": _number(sizes[2]), "SpacingBetweenSlices": _number(sizes[2]),
        "SeriesNumber": number, "SeriesInstanceUID": series,
    }  # fmt: skip
    for k in range(volume.shape[2]):
        place = (lps @ [0, 0, k, 1])[:3]
        own = {
            **values, **shared, "SOPInstanceUID": uid_of(series, k), "InstanceNumber": k + 1,
            "ImagePositionPatient": [_number(v) for v in place],
            "SliceLocation": _number(float(place @ normal / np.linalg.norm(normal))),
        }  # fmt: skip
        pixels = np.clip(np.rint(volume.data[:, :, k].T), 0, 32767).astype("<u2")
        _write(folder / f"IM{k + 1:04d}", own, pixels)
    return volume.shape[2]


def _number(value: float) -> str:
    return f"{value:.9g}"[:16]


def _write(path: Path, values: Mapping[str, Any], pixels: np.ndarray) -> None:
    from pydicom import Dataset, dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.SOPClassUID, made.Modality = _MR, "MR"
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE)
    made.file_meta.MediaStorageSOPClassUID = UID(_MR)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    with disk.create(path) as file:
        dcmwrite(file, made, enforce_file_format=True)
