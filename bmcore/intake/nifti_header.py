"""The header of a NIfTI file: its fields, their checks, and what they say of the position."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from bmcore.domain import Finding, Severity, refuse
from bmcore.geometry import axis_codes, check_affine, transform, voxel_sizes_mm

MAX_VOXELS = 512 * 512 * 400
MIN_VOXELS_AN_AXIS = 8
MAX_OFFSET = 16 * 2**20  # header extensions above 16 MiB are not headers
VOXEL_MM = (0.2, 12.0)
SAME_SIZE = 0.01  # share of a voxel edge by which two statements of it may differ
_NUMERIC = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8}
_NOT_GREY = {
    32: "complex numbers",
    1792: "complex numbers",
    2048: "complex numbers",
    128: "colours (RGB)",
    2304: "colours (RGBA)",
    1: "single bits",
    1536: "128 bit numbers",
}
_UNITS = {1: ("metre", 1000.0), 2: ("millimetre", 1.0), 3: ("micrometre", 0.001)}
NO_POSITION = (
    "the header does not say how the image lies in the head; left and right may be swapped"
)
DEFAULT_POSITION = (
    "the position in the header is a default one that programs write when they know none; left "
    "and right may be swapped"
)
TWO_SIDES = (
    "the header gives two positions in space that have left and right the other way round; one of "
    "them is wrong"
)
SIDE_DOUBTS = (NO_POSITION, DEFAULT_POSITION, TWO_SIDES)


@dataclass(frozen=True)
class Header:
    """What a NIfTI header says of its data; shape and datatype as declared, offset in bytes."""

    version: int
    shape: tuple[int, ...]
    datatype: int
    offset: int
    intent: int


def parse_header(raw: bytes, path: Path) -> Header:
    """Fields by their byte places in nifti1.h (348 bytes) and nifti2.h (540 bytes)."""
    for order in "<>":
        size = struct.unpack(order + "i", raw[:4])[0] if len(raw) >= 4 else 0
        if size == 540 and len(raw) >= 540 and raw[4:7] == b"n+2":
            dims = struct.unpack(order + "8q", raw[16:80])
            kind = struct.unpack(order + "h", raw[12:14])[0]
            offset = struct.unpack(order + "q", raw[168:176])[0]
            intent = struct.unpack(order + "i", raw[504:508])[0]
            return Header(2, _shape(dims), kind, offset, intent)
        if size == 348 and len(raw) >= 348 and raw[344:347] == b"n+1":
            dims = struct.unpack(order + "8h", raw[40:56])
            intent, kind = struct.unpack(order + "2h", raw[68:72])
            start = struct.unpack(order + "f", raw[108:112])[0]
            offset = int(start) if np.isfinite(start) else -1
            return Header(1, _shape(dims), kind, offset, intent)
    pair = raw[344:347] == b"ni1" or raw[4:7] == b"ni2"
    found = "a header whose data lie in another file" if pair else "no NIfTI header"
    if not raw:
        found = "nothing: the file is empty"
    raise refuse(
        "the file is not a NIfTI image, whatever its name says",
        file=path.name,
        found=found,
        expected="a NIfTI-1 or NIfTI-2 file",
        hint="save the image as .nii or .nii.gz again.",
    )


def _shape(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dims[1 : 1 + dims[0]]) if 1 <= dims[0] <= 7 else ()


def check_header(header: Header, path: Path, least: int) -> tuple[int, int, int]:
    """The declared size (i, j, k); InputRefused for anything but one 3D image of real numbers."""
    shape = header.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    words = " x ".join(map(str, header.shape)) or "no valid dimensions"

    def no(what: str, found: str, expected: str, hint: str | None = None) -> Exception:
        return refuse(what, file=path.name, found=found, expected=expected, hint=hint)

    if 3000 <= header.intent < 3100 or any(n in path.name for n in (".dconn.", ".dscalar.")):
        raise no("the file is a CIFTI file (brain surface data)", words, "one 3D MRI image")
    if not shape or any(n < 1 for n in shape):
        raise no("the size in the header is not valid", words, "three axes of at least one voxel")
    if len(shape) != 3:
        what = "the image is flat" if len(shape) < 3 else "the file holds more than one image"
        hint = "export a single volume." if len(shape) > 3 else None
        raise no(what, f"{words} voxels", "one 3D image", hint)
    if np.prod([float(n) for n in shape]) > MAX_VOXELS:
        raise no("the image is too large", f"{words} voxels", f"at most {MAX_VOXELS} voxels")
    if header.datatype not in _NUMERIC:
        kind = _NOT_GREY.get(header.datatype, f"unknown data type {header.datatype}")
        raise no("the voxels are not plain numbers", kind, "grey values")
    if min(shape) < least:
        raise no(
            "the image has too few slices",
            f"{words} voxels",
            f"at least {least} voxels along each axis",
        )
    first = 352 if header.version == 1 else 544
    if not first <= header.offset <= MAX_OFFSET:
        raise no("the header is damaged", f"image data at byte {header.offset}", f"from {first}")
    return shape[0], shape[1], shape[2]


def check_length(path: Path, header: Header, shape: tuple[int, int, int]) -> None:
    """InputRefused where an unpacked file is shorter than its header says."""
    needed = header.offset + int(np.prod(shape)) * _NUMERIC[header.datatype]
    there = path.stat().st_size
    if there < needed:
        raise refuse(
            "the file is cut short",
            file=path.name,
            found=f"{there} bytes",
            expected=f"{needed} bytes",
            hint="copy or export the file again.",
        )


def scaling(header: nib.Nifti1Header, path: Path) -> tuple[float, float]:
    """Slope and intercept of the grey values: 1 and 0 where the slope is 0 or not finite, which is
    how the standard says that there is no scaling."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise refuse(
            "the header scales the grey values by a slope without an intercept",
            file=path.name,
            found=f"scl_slope {slope:g}, scl_inter {inter:g}",
            expected="two finite numbers, or a slope of 0 for no scaling",
            hint="export the image again.",
        )
    return slope, inter


def in_mm(header: nib.Nifti1Header, path: Path) -> tuple[npt.NDArray, list[Finding]]:
    """The header's affine in mm, by the unit of length that it declares."""
    affine = np.array(header.get_best_affine(), np.float64)
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 0b111, ("none", 1.0))
    if factor == 1.0 or not np.isfinite(affine).all():
        return affine, []
    scaled = np.diag([factor, factor, factor, 1.0]) @ affine
    told = f"unit {unit}, voxel edges {_edges(affine)}"
    if _plausible(scaled) or not _plausible(affine):
        what = f"the header declares the unit {unit}; sizes were brought to mm by it"
        return scaled, [Finding(Severity.INFO, what, path.name, found=told, expected="mm")]
    what = f"the header declares the unit {unit}, which is not plausible; sizes were read as mm"
    return affine, [Finding(Severity.WARNING, what, path.name, found=told, expected="mm")]


def _edges(affine: npt.NDArray) -> str:
    return " x ".join(f"{s:.3g}" for s in voxel_sizes_mm(affine))


def _plausible(affine: npt.NDArray) -> bool:
    sizes = voxel_sizes_mm(affine)
    return bool(sizes.min() >= VOXEL_MM[0] and sizes.max() <= VOXEL_MM[1])


def check_position(affine: npt.NDArray, path: Path) -> npt.NDArray[np.float64]:
    """The affine in mm, float64; InputRefused where it, or the voxel size, cannot be right."""
    try:
        affine = check_affine(affine)
    except ValueError as error:
        raise refuse(
            "the position in space in the header is damaged",
            file=path.name,
            found=first_line(error),
            hint="export the image again.",
        ) from error
    sizes = voxel_sizes_mm(affine)
    if sizes.min() < VOXEL_MM[0] or sizes.max() > VOXEL_MM[1]:
        raise refuse(
            "the voxel size is not plausible for a head MRI",
            file=path.name,
            found=" x ".join(f"{s:.3g}" for s in sizes) + " mm",
            expected=f"{VOXEL_MM[0]} to {VOXEL_MM[1]} mm",
            hint="check the unit of the voxel size in the header.",
        )
    return affine


def orientation_findings(
    header: nib.Nifti1Header, affine: npt.NDArray, shape: tuple[int, int, int], path: Path
) -> list[Finding]:
    """What makes the position in space, or left and right, doubtful."""
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    hint = "check the side against another viewer; export again from the program that knew it."
    if sform == 0 and qform == 0:
        found, expected = "sform and qform both unset", "one of them set"
        return [Finding(Severity.WARNING, NO_POSITION, path.name, found, expected, hint)]
    findings = [*_two_sizes(header, affine, path)]
    if _is_default(affine):
        found = f"axes along the voxels, {axis_codes(affine)}, the first voxel at 0, 0, 0 mm"
        expected = "the place that the scanner or a registration wrote"
        findings.append(
            Finding(Severity.WARNING, DEFAULT_POSITION, path.name, found, expected, hint)
        )
    if sform == 0 or qform == 0:
        return findings
    try:
        other = header.get_qform()
    except (ValueError, nib.spatialimages.HeaderDataError) as error:
        what = "the qform is damaged; the sform was used"
        return [*findings, Finding(Severity.INFO, what, path.name, found=first_line(error))]
    factor = _UNITS.get(int(header["xyzt_units"]) & 0b111, ("", 1.0))[1]
    if not np.allclose(header.get_sform(), affine):  # brought to mm by the declared unit
        other = np.diag([factor, factor, factor, 1.0]) @ other
    ends = np.array([(0, 0, 0), np.array(shape) - 1])
    gap = float(np.abs(transform(affine, ends) - transform(other, ends)).max())
    if gap <= 1.0:
        return findings
    what = "the header gives two positions in space that disagree; the sform was used"
    findings.append(
        Finding(
            Severity.WARNING,
            TWO_SIDES if _other_side(affine, other) else what,
            path.name,
            found=f"sform and qform up to {gap:.0f} mm apart, {axis_codes(affine)} and "
            f"{axis_codes(other)}; the sform was used",
            expected="the same position",
            hint=hint,
        )
    )
    return findings


def _other_side(one: npt.NDArray, other: npt.NDArray) -> bool:
    """True for mirror images of each other, and where left lies at another end of the voxels."""
    mirrored = np.linalg.det(one[:3, :3]) * np.linalg.det(other[:3, :3]) < 0
    ends = [[letter if letter in "LR" else "" for letter in axis_codes(a)] for a in (one, other)]
    return bool(mirrored or ends[0] != ends[1])


def _is_default(affine: npt.NDArray) -> bool:
    """True for what programs write that know no position: voxel axes along the world's, or turned
    from DICOM's to them, and the first voxel at the origin.

    No scanner and no atlas puts the origin into a corner of the image in all three axes.
    """
    axes = affine[:3, :3]
    straight = np.count_nonzero(axes) == 3 and np.count_nonzero(np.diag(axes)) == 3
    signs = tuple(np.sign(np.diag(axes)))
    plain = signs in ((1, 1, 1), (-1, -1, 1), (-1, 1, 1))
    return bool(straight and plain and not np.abs(affine[:3, 3]).any())


def _two_sizes(header: nib.Nifti1Header, affine: npt.NDArray, path: Path) -> Iterator[Finding]:
    """A warning where the voxel size beside the affine is another one."""
    used = voxel_sizes_mm(affine)
    stated = np.abs(np.asarray(header.get_zooms()[:3], np.float64))
    factors = {1.0, _UNITS.get(int(header["xyzt_units"]) & 0b111, ("", 1.0))[1]}
    if any((np.abs(stated * f / used - 1) <= SAME_SIZE).all() for f in factors):
        return
    yield Finding(
        Severity.WARNING,
        "the header gives two voxel sizes; that of the position in space was used, and volumes "
        "rest on it",
        path.name,
        found=f"{_edges(affine)} mm used, {' x '.join(f'{s:.3g}' for s in stated)} mm stated "
        "beside it (pixdim)",
        expected="one size",
        hint="ask whoever exported the image which one is right.",
    )


def first_line(error: BaseException) -> str:
    """An error of a library in one line, for a finding."""
    text = (str(error).splitlines() or [""])[0][:160]
    return text or type(error).__name__
