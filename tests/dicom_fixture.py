"""Small synthetic DICOM series with invented headers, and the volume that must come out of them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items

from bmcore.domain import Volume
from tests.volumes_fixture import ball

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
SHAPE = (40, 34, 12)  # columns, rows (the JPEG 2000 encoder needs 32), slices
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# TR, TE, TI, kinds of echo
TIMES = {
    "t1n": (500, 10, None, "SE"),
    "t1c": (500, 10, None, "SE"),
    "t2w": (4000, 100, None, "SE"),
    "t2f": (9000, 110, 2500, "SE\\IR"),
}
NAMES = {"t1n": "T1 AX", "t1c": "T1 AX GD", "t2w": "T2 AX", "t2f": "FLAIR AX"}


def oblique(sizes=(0.9, 1.1, 4.0), angles=(0.1, -0.15, 0.2), origin=(-12.0, 8.0, 20.0)):
    """A 4x4 affine to RAS+ mm whose axes lie along no axis of the world."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        own = np.eye(3)
        own[a, a] = own[b, b] = np.cos(angle)
        own[a, b], own[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ own
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-sizes[0], -sizes[1], sizes[2]])
    affine[:3, 3] = origin
    return affine


def volume(seed: int = 0, shape=SHAPE, affine: np.ndarray | None = None) -> Volume:
    """Whole numbers 100-3000 inside an ellipsoid, 0-20 outside; no two slices are alike."""
    rng = np.random.default_rng(seed)
    inside = ball(shape, np.array(shape) * 0.45)
    data = np.where(inside, rng.integers(100, 3000, shape), rng.integers(0, 20, shape))
    return Volume(data.astype(np.float32), oblique() if affine is None else affine)


def made_uid(*parts: object) -> str:
    return str(uid.generate_uid(entropy_srcs=[str(part) for part in parts]))


def slices(
    source: Volume, sequence: str = "t1c", number: int = 1, study: int = 1, **tags: object
) -> list[Dataset]:
    """One classic series of ``source``, in the order of its slices."""
    lps = LPS @ source.affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    row, column = lps[:3, 0] / sizes[0], lps[:3, 1] / sizes[1]
    tr, te, ti, kinds = TIMES[sequence]
    base = {
        "PatientName": "Nobody^At all", "PatientID": "P1", "PatientBirthDate": "19500203",
        "PatientSex": "F", "Modality": "MR", "StudyInstanceUID": made_uid("study", study),
        "SeriesInstanceUID": made_uid("series", study, number), "SeriesNumber": number,
        "FrameOfReferenceUID": made_uid("frame", study), "StudyDate": f"202301{study:02d}",
        "StudyTime": "100000", "StudyID": str(study), "AcquisitionDate": f"202301{study:02d}",
        "AcquisitionTime": f"10{number:02d}00",
        "SeriesDescription": NAMES[sequence], "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "MRAcquisitionType": "2D",
        "ScanningSequence": kinds.split("\\"), "SequenceVariant": "SP", "RepetitionTime": tr,
        "EchoTime": te, "InversionTime": ti, "FlipAngle": 90, "BodyPartExamined": "BRAIN",
        "ContrastBolusAgent": "Gadobutrol" if sequence == "t1c" else None,
        "SliceThickness": round(float(sizes[2]) * 0.9, 3), "AcquisitionNumber": 1,
    }  # fmt: skip
    base.update(tags)
    made = []
    for k in range(source.shape[2]):
        one = Dataset()
        one.SOPClassUID = MR
        one.SOPInstanceUID = made_uid("image", base["SeriesInstanceUID"], k)
        one.InstanceNumber = k + 1
        one.ImagePositionPatient = [f"{v:.9g}" for v in (lps @ [0, 0, k, 1])[:3]]
        one.ImageOrientationPatient = [f"{v:.12g}" for v in (*row, *column)]
        one.PixelSpacing = [f"{sizes[1]:.9g}", f"{sizes[0]:.9g}"]
        for name, value in base.items():
            if value is not None:
                setattr(one, name, value)
        set_pixels(one, np.asarray(source.data[:, :, k]).T)
        made.append(one)
    return made


def set_pixels(one: Dataset, values: np.ndarray, bits=16, allocated=16, signed=False) -> None:
    """Store ``values`` (rows, columns) as they are."""
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = values.shape
    one.BitsAllocated, one.BitsStored, one.HighBit = allocated, bits, bits - 1
    one.PixelRepresentation = int(signed)
    one.PixelData = values.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    one["PixelData"].VR = "OW" if allocated > 8 else "OB"


def stored(one: Dataset) -> np.ndarray:
    return np.frombuffer(one.PixelData, "<u2").reshape(one.Rows, one.Columns)


def enhanced(frames: Sequence[Dataset], order: Sequence[int] | None = None) -> Dataset:
    """One multi-frame object; ``order``: of the frames in the file. Rescaling is by frame."""
    order = range(len(frames)) if order is None else order
    made = copy.deepcopy(frames[0])
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "EchoTime",
                 "RepetitionTime", "InversionTime", "PixelData", "RescaleSlope",
                 "RescaleIntercept", "SliceThickness"):  # fmt: skip
        if name in made:
            delattr(made, name)
    made.SOPClassUID, made.NumberOfFrames = ENHANCED, len(order)
    one = frames[0]
    made.SharedFunctionalGroupsSequence = Items([item(
        PixelMeasuresSequence=Items([item(PixelSpacing=one.PixelSpacing)]),
        PlaneOrientationSequence=Items([item(ImageOrientationPatient=one.ImageOrientationPatient)]),
        MRTimingAndRelatedParametersSequence=Items([item(RepetitionTime=one.RepetitionTime)]),
        MREchoSequence=Items([item(EffectiveEchoTime=float(one.EchoTime))]),
    )])  # fmt: skip
    groups = []
    for number in order:
        own = frames[number]
        group = item(
            PlanePositionSequence=Items([item(ImagePositionPatient=own.ImagePositionPatient)]),
            FrameContentSequence=Items(
                [item(TemporalPositionIndex=int(own.get("TemporalPositionIdentifier", 1)))]
            ),
        )
        if "RescaleSlope" in own:
            scale = item(RescaleSlope=own.RescaleSlope, RescaleIntercept=own.RescaleIntercept)
            group.PixelValueTransformationSequence = Items([scale])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Items(groups)
    made.PixelData = b"".join(frames[number].PixelData for number in order)
    made["PixelData"].VR = "OW"
    return made


def item(**values: object) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def to_bytes(one: Dataset, syntax: str = uid.ExplicitVRLittleEndian, fragments: int = 1) -> bytes:
    """The file of a data set in a transfer syntax; compressed frames in so many fragments."""
    one = copy.deepcopy(one)
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    own = uid.UID(syntax)
    if own.is_compressed and not own.is_deflated:
        one.compress(own, generate_instance_uid=False)
        if fragments > 1:
            frames = list(pydicom.encaps.generate_frames(one.PixelData, number_of_frames=1))
            one.PixelData = encapsulate(frames, fragments_per_frame=fragments, has_bot=False)
    elif own == uid.ExplicitVRBigEndian:
        one.PixelData = np.frombuffer(one.PixelData, "<u2").astype(">u2").tobytes()
        one["PixelData"].VR = "OW"
    one.file_meta.TransferSyntaxUID = own
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, one, enforce_file_format=True)
    return buffer.getvalue()


def with_meta(raw: bytes, **values: str) -> bytes:
    """The file with further values in its meta header."""
    one = pydicom.dcmread(io.BytesIO(raw))
    for name, value in values.items():
        setattr(one.file_meta, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, one, enforce_file_format=True)
    return buffer.getvalue()


def without_meta(one: Dataset) -> bytes:
    """An old export: implicit VR, neither preamble nor meta header."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, one, enforce_file_format=False, implicit_vr=True, little_endian=True)
    return buffer.getvalue()


def save(
    made: Sequence[Dataset],
    folder: Path,
    write: Callable[[Dataset], bytes] = to_bytes,
    name: str = "{:04d}.dcm",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    start = len(list(folder.iterdir()))
    for number, one in enumerate(made, start=start + 1):
        (folder / name.format(number)).write_bytes(write(one))
    return folder


def four(folder: Path, study: int = 1, **tags: object) -> dict[str, Volume]:
    """The four sequences on one grid as series 1-4, and the volumes that they hold."""
    made = {}
    for number, name in enumerate(TIMES, start=1):
        made[name] = volume(10 * study + number)
        save(slices(made[name], name, number, study, **tags), folder / f"S{study}{number}")
    return made


def agrees(found: Volume, source: Volume, tolerance: float = 0.0) -> bool:
    """True where each voxel of ``source`` has its value at its place in the world."""
    index = np.indices(source.shape).reshape(3, -1)
    world = source.affine[:3, :3] @ index + source.affine[:3, 3:]
    inverse = np.linalg.inv(found.affine)
    there = inverse[:3, :3] @ world + inverse[:3, 3:]
    near = np.rint(there).astype(int)
    off = np.abs(there - near).max()
    inside = (near >= 0).all() and (found.shape > near.T).all()
    if found.data.size != source.data.size or not inside or off > 0.03:
        return False
    values = found.data[tuple(near)]
    return bool(np.abs(values - source.data[tuple(index)]).max() <= tolerance)
