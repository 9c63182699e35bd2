"""One NIfTI file in, one NIfTI file out. All that can be wrong with a file is said here."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
import numpy.typing as npt

from bmcore import disk
from bmcore.domain import Finding, InputRefused, Severity, Volume, refuse
from bmcore.geometry import axis_codes, transform, voxel_sizes_mm
from bmcore.intake.naming import plain_name

MAX_VOXELS = 512 * 512 * 400
MIN_VOXELS_AN_AXIS = 8
MAX_OFFSET = 16 * 2**20  # header extensions above 16 MiB are not headers
VOXEL_MM = (0.2, 12.0)
MASK_ROUNDING = 1e-3  # scaling in float32 moves whole labels by less
SAME_SIZE = 0.01  # share of a voxel edge by which two statements of it may differ
_PIECE = 2**21  # voxels that are read at once

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
SIDE_DOUBTS = (NO_POSITION, DEFAULT_POSITION)
_READ_ERRORS = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    struct.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)


@dataclass(frozen=True)
class _Header:
    version: int
    shape: tuple[int, ...]
    datatype: int
    offset: int
    intent: int


Room = Callable[[tuple[int, int, int], type], npt.NDArray]  # shape, dtype to an array, i fastest


def in_memory(shape: tuple[int, int, int], dtype: type) -> npt.NDArray:
    """The usual ``Room`` for voxels."""
    return np.empty(shape, dtype, order="F")


def read_volume(path: Path, room: Room = in_memory) -> tuple[Volume, tuple[Finding, ...]]:
    """Read a grey-value image: data float32 (i, j, k) in the file's voxel order, affine RAS+ mm.

    The declared size is checked before any voxel is read (at most 512 x 512 x 400 voxels), and
    voxels are read piece by piece into ``room``, so that no other copy of the image is ever held.
    NaN becomes 0 and is reported; infinity, a constant image, and anything that is not one 3D image
    of real numbers in a ``.nii`` or ``.nii.gz`` file raise InputRefused.
    """
    with _opened(Path(path)) as image:
        data = room(image.shape, np.float32)
        infinite, lost, least, most = 0, 0, np.inf, -np.inf
        for into, piece in image.pieces(data):
            infinite += int(np.isinf(piece).sum())
            missing = np.isnan(piece)
            if missing.any():
                lost += int(missing.sum())
                piece[missing] = 0
            least, most = min(least, float(piece.min())), max(most, float(piece.max()))
            into[:] = piece
    findings = [*image.findings, *_value_findings(image, infinite, lost)]
    if least == most:
        raise refuse(
            "the image is empty: every voxel has the same value",
            file=image.name,
            found=f"{least:g} everywhere",
            expected="an MRI image",
            hint="check the export.",
        )
    return Volume(data, image.affine), tuple(findings)


def _value_findings(image: _Image, infinite: int, lost: int) -> Iterator[Finding]:
    if infinite:
        raise refuse(
            "the image holds infinite values",
            file=image.name,
            found=f"{infinite} voxels",
            expected="finite numbers",
            hint="export the image again from the scanner or the viewer.",
        )
    if lost:
        yield Finding(
            Severity.WARNING,
            "voxels without a value (NaN) were set to 0",
            image.name,
            found=f"{lost} of {np.prod(image.shape)} voxels",
            expected="a number in every voxel",
        )


def read_mask(path: Path, room: Room = in_memory) -> tuple[Volume, tuple[Finding, ...]]:
    """Read a label mask: uint8 (i, j, k) with labels 0-3. Label 4 of older BraTS sets becomes 3.

    Values within MASK_ROUNDING of a whole number are rounded, which is said. InputRefused for any
    other value, as for images.
    """
    with _opened(Path(path)) as image:
        labels = room(image.shape, np.uint8)
        counts, rounded = np.zeros(256, np.int64), 0
        for into, piece in image.pieces(labels):
            with np.errstate(invalid="ignore"):  # NaN fails the comparison
                into[:] = np.rint(piece).astype(np.uint8)
                near = np.abs(into - piece) <= MASK_ROUNDING
            if not near.all():
                raise _no_labels(image, np.unique(piece))
            rounded += int((into != piece).sum())
            counts += np.bincount(into, minlength=256)
    values, findings = np.flatnonzero(counts), list(image.findings)
    if rounded:
        findings.append(
            Finding(
                Severity.INFO,
                "labels that were nearly whole numbers were rounded",
                image.name,
                found=f"{rounded} voxels up to {MASK_ROUNDING:g} off",
                expected="whole numbers",
            )
        )
    older = 4 in values and 3 not in values
    if not np.isin(values, [0, 1, 2, 4] if older else [0, 1, 2, 3]).all():
        raise _no_labels(image, values)
    if older:
        labels[labels == 4] = 3
        findings.append(
            Finding(
                Severity.WARNING,
                "label 4 was read as enhancing tumour, as in BraTS sets before 2023",
                image.name,
                found="labels " + ", ".join(f"{v:g}" for v in values),
                expected="labels 0 to 3",
            )
        )
    return Volume(labels, image.affine), tuple(findings)


def read_bytes(path: Path) -> Volume:
    """A volume of whole numbers 0-255, as bmcore stores masks and maps; InputRefused otherwise."""
    with _opened(Path(path), least=1) as image:
        values = in_memory(image.shape, np.uint8)
        for into, piece in image.pieces(values):
            with np.errstate(invalid="ignore"):
                into[:] = piece.astype(np.uint8)
            if not np.array_equal(into, piece):
                raise refuse("the file holds other than whole numbers 0-255", file=image.name)
    return Volume(values, image.affine)


def _no_labels(image: _Image, values: npt.NDArray) -> Exception:
    shown = ", ".join(f"{v:g}" for v in values[:8]) + (" …" if len(values) > 8 else "")
    return refuse(
        "the mask holds values that are no labels",
        file=image.name,
        found=shown,
        expected="0 background, 1 necrosis, 2 oedema, 3 enhancing tumour",
        hint="check that this file is the mask and not an image.",
    )


def write_volume(volume: Volume, path: Path, dtype: npt.DTypeLike) -> Path:
    """Write ``volume`` as NIfTI-1 with sform and qform set; written beside, then renamed.

    path ends in ``.nii`` or ``.nii.gz``. ValueError where a whole-number dtype cannot hold the
    values.
    """
    path = Path(path)
    suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    if suffix not in (".nii", ".nii.gz"):
        raise ValueError(f"a NIfTI file name must end in .nii or .nii.gz, but is {path.name}")
    data = np.asarray(volume.data)
    cast = data.astype(dtype)
    if np.issubdtype(cast.dtype, np.integer) and not np.array_equal(cast, data):
        raise ValueError(f"the values do not fit into {cast.dtype} without loss")
    image = nib.Nifti1Image(cast, volume.affine)
    image.set_sform(volume.affine, code=1)
    image.set_qform(volume.affine, code=1)
    image.header.set_xyzt_units("mm")
    disk.private_folder(path.parent)
    with disk.beside(path) as new:
        disk.save_image(image, new)
    return path


def open_maybe_gzip(path: Path) -> IO[bytes]:
    """Open by content, not by name: gzip where the file begins with gzip's two bytes."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def is_nifti(path: Path) -> bool:
    """True for a file named .nii or .nii.gz, and for one renamed on its way ("t1c.nii (1).gz")
    whose content, packed or not, begins as a NIfTI file does."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return True
    if not plain_name(name).endswith((".nii", ".nii.gz")) and ".nii" not in name:
        return False
    try:
        with open_maybe_gzip(path) as stream:
            raw = stream.read(348)
    except (OSError, EOFError, zlib.error):
        return False
    return raw[344:347] == b"n+1" or raw[4:7] == b"n+2"


@dataclass(frozen=True, eq=False)
class _Image:
    """A file whose header was found good; ``stream`` stands at the first voxel."""

    name: str
    shape: tuple[int, int, int]
    affine: npt.NDArray
    findings: tuple[Finding, ...]
    header: nib.Nifti1Header
    stream: IO[bytes]

    def pieces(self, whole: npt.NDArray) -> Iterator[tuple[npt.NDArray, npt.NDArray]]:
        """(part of ``whole``, its values in float32), scaled as the header says."""
        kind, scale = self.header.get_data_dtype(), self.header.get_slope_inter()
        flat = whole.T.reshape(-1)  # a view: i runs fastest in both
        for start in range(0, flat.size, _PIECE):
            part = flat[start : start + _PIECE]
            raw = self.stream.read(part.size * kind.itemsize)
            if len(raw) < part.size * kind.itemsize:
                raise EOFError(f"{start} of {flat.size} voxels and no more")
            spec = (part.shape, kind, 0, *scale)
            with np.errstate(over="ignore", invalid="ignore"):  # becomes inf, refused later
                voxels = nib.arrayproxy.ArrayProxy(io.BytesIO(raw), spec, mmap=False)
                yield part, np.require(voxels, np.float32, "W")


@contextmanager
def _opened(path: Path, least: int = MIN_VOXELS_AN_AXIS) -> Iterator[_Image]:
    """The image in ``path``; what goes wrong inside, too, is told as a fault of the file.

    least: voxels along each axis.
    """
    _check_name(path)
    try:
        with open_maybe_gzip(path) as stream:
            raw = stream.read(544)
            head = _parse_header(raw, path)
            shape = _check_header(head, path, least)
            if not isinstance(stream, gzip.GzipFile):
                _check_length(path, head, shape)
            header = (
                nib.Nifti1Header(raw[:348]) if head.version == 1 else nib.Nifti2Header(raw[:540])
            )
            affine, unit = _in_mm(header, path)
            affine = _check_affine(affine, path)
            findings = [*unit, *_orientation_findings(header, affine, shape, path)]
            stream.seek(head.offset)  # extensions are not looked at
            yield _Image(path.name, shape, affine, tuple(findings), header, stream)
            stream.read(2**20)  # reaching the end lets gzip compare its checksum
    except InputRefused:
        raise
    except _READ_ERRORS as error:
        raise refuse(
            "the file is damaged or cut short",
            file=path.name,
            found=_first_line(error),
            expected="a complete NIfTI file",
            hint="copy or export the file again.",
        ) from error


def _first_line(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0][:160]
    return text or type(error).__name__


def _check_name(path: Path) -> None:
    name = path.name.lower()
    if not path.is_file():
        raise refuse("the file is not there", file=path.name, hint="check the path.")
    if is_nifti(path):
        return
    if name.endswith((".hdr", ".img", ".hdr.gz", ".img.gz")):
        raise refuse(
            "the image is split into a header and a data file",
            file=path.name,
            found="an .hdr/.img pair or half of one",
            expected="one .nii or .nii.gz file",
            hint="save the image as a single NIfTI file.",
        )
    with path.open("rb") as file:
        start = file.read(132)
    dicom = start[128:132] == b"DICM" or name.endswith(".dcm")
    raise refuse(
        "the file is a DICOM file" if dicom else "the file is not named as a NIfTI file",
        file=path.name,
        found=path.suffix or "no ending",
        expected="a name that ends in .nii or .nii.gz",
        hint="convert the series to NIfTI (for instance with dcm2niix)." if dicom else None,
    )


def _parse_header(raw: bytes, path: Path) -> _Header:
    """Fields by their byte places in nifti1.h (348 bytes) and nifti2.h (540 bytes)."""
    for order in "<>":
        size = struct.unpack(order + "i", raw[:4])[0] if len(raw) >= 4 else 0
        if size == 540 and len(raw) >= 540 and raw[4:7] == b"n+2":
            dims = struct.unpack(order + "8q", raw[16:80])
            kind = struct.unpack(order + "h", raw[12:14])[0]
            offset = struct.unpack(order + "q", raw[168:176])[0]
            intent = struct.unpack(order + "i", raw[504:508])[0]
            return _Header(2, _shape(dims), kind, offset, intent)
        if size == 348 and len(raw) >= 348 and raw[344:347] == b"n+1":
            dims = struct.unpack(order + "8h", raw[40:56])
            intent, kind = struct.unpack(order + "2h", raw[68:72])
            start = struct.unpack(order + "f", raw[108:112])[0]
            offset = int(start) if np.isfinite(start) else -1
            return _Header(1, _shape(dims), kind, offset, intent)
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


def _check_header(header: _Header, path: Path, least: int) -> tuple[int, int, int]:
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


def _check_length(path: Path, header: _Header, shape: tuple[int, int, int]) -> None:
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


def _in_mm(header: nib.Nifti1Header, path: Path) -> tuple[npt.NDArray, list[Finding]]:
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


def _check_affine(affine: npt.NDArray, path: Path) -> npt.NDArray[np.float64]:
    from bmcore.geometry import check_affine

    try:
        affine = check_affine(affine)
    except ValueError as error:
        raise refuse(
            "the position in space in the header is damaged",
            file=path.name,
            found=_first_line(error),
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


def _orientation_findings(
    header: nib.Nifti1Header, affine: npt.NDArray, shape: tuple[int, int, int], path: Path
) -> list[Finding]:
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
        return [*findings, Finding(Severity.INFO, what, path.name, found=_first_line(error))]
    factor = _UNITS.get(int(header["xyzt_units"]) & 0b111, ("", 1.0))[1]
    if not np.allclose(header.get_sform(), affine):  # brought to mm by the declared unit
        other = np.diag([factor, factor, factor, 1.0]) @ other
    ends = np.array([(0, 0, 0), np.array(shape) - 1])
    gap = float(np.abs(transform(affine, ends) - transform(other, ends)).max())
    if gap <= 1.0:
        return findings
    findings.append(
        Finding(
            Severity.WARNING,
            "the header gives two positions in space that disagree; the sform was used",
            path.name,
            found=f"sform and qform up to {gap:.0f} mm apart",
            expected="the same position",
            hint="check the side against another viewer.",
        )
    )
    return findings


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
