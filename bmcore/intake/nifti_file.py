"""One NIfTI file in, one NIfTI file out. What is wrong with a file is said here.

The header is parsed and checked in ``nifti_header``.
"""

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
from bmcore.intake.naming import plain_name
from bmcore.intake.nifti_header import (
    DEFAULT_POSITION,
    MAX_VOXELS,
    MIN_VOXELS_AN_AXIS,
    SIDE_DOUBTS,
    VOXEL_MM,
    check_header,
    check_length,
    check_position,
    first_line,
    in_mm,
    orientation_findings,
    parse_header,
    scaling,
)

__all__ = [
    "CONVENTIONS",
    "DEFAULT_POSITION",
    "MAX_VOXELS",
    "MIN_VOXELS_AN_AXIS",
    "ONE_LABEL",
    "SIDE_DOUBTS",
    "VOXEL_MM",
    "in_memory",
    "is_nifti",
    "open_maybe_gzip",
    "read_bytes",
    "read_mask",
    "read_volume",
    "write_volume",
]

MASK_ROUNDING = 1e-3  # scaling in float32 moves whole labels by less
CONVENTIONS = {
    "2023": "1 necrosis, 2 oedema, 3 enhancing tumour (BraTS from 2023)",
    "older": "1 necrosis, 2 oedema, 4 enhancing tumour (BraTS before 2023)",
    "lesion": "not 0 is a lesion",
}
ONE_LABEL = (
    "the mask has the label 1 alone, and was read as telling lesions from the rest only; all of it "
    "counts as enhancing tumour"
)
_PIECE = 2**21  # voxels that are read at once

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


def read_mask(
    path: Path, room: Room = in_memory, convention: str = ""
) -> tuple[Volume, tuple[Finding, ...]]:
    """Read a label mask: uint8 (i, j, k) with labels 0-3.

    convention: how the labels are meant, of ``CONVENTIONS``; "" for nothing said, where a label 4
    is refused and 1 alone is a lesion, which is said. Values within MASK_ROUNDING of a whole number
    are rounded, which is said. InputRefused for any other value, as for images.
    """
    if convention not in ("", *CONVENTIONS):
        raise refuse("there is no such convention", found=convention, expected=_conventions())
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
    return Volume(_meant(labels, values, convention, image, findings), image.affine), tuple(
        findings
    )


def _meant(
    labels: npt.NDArray,
    values: npt.NDArray,
    convention: str,
    image: _Image,
    findings: list[Finding],
) -> npt.NDArray:
    """The labels as bmcore has them; adds to ``findings`` what was changed."""
    found = "labels " + ", ".join(f"{v:g}" for v in values)
    if convention == "lesion":
        labels[labels > 0] = 3
        what = "the mask tells lesions from the rest only; all of it counts as enhancing tumour"
        findings.append(Finding(Severity.INFO, what, image.name, found))
    elif convention == "older" and np.isin(values, [0, 1, 2, 4]).all():
        labels[labels == 4] = 3
        what = "label 4 was read as enhancing tumour, as in BraTS sets before 2023"
        findings.append(Finding(Severity.WARNING, what, image.name, found, "labels 0 to 3"))
    elif convention != "2023" and 4 in values and np.isin(values, [0, 1, 2, 3, 4]).all():
        raise refuse(
            "the mask holds a label 4, which data sets use in different ways",
            file=image.name,
            found=found,
            expected="1 necrosis, 2 oedema, 3 enhancing tumour",
            hint="say how it is meant: " + _conventions(),
        )
    elif not np.isin(values, [0, 1, 2, 3]).all():
        raise _no_labels(image, values)
    elif convention == "" and values.max(initial=0) == 1:
        labels[labels > 0] = 3
        what = ONE_LABEL
        hint = f"if it is necrosis, say --label-convention 2023: {CONVENTIONS['2023']}"
        findings.append(Finding(Severity.WARNING, what, image.name, found, "labels 1 to 3", hint))
    elif convention == "" and _numbered(labels, values):
        what = "the labels look like numbers of lesions, and were read as tissues"
        hint = f"if each is a lesion, say --label-convention lesion: {CONVENTIONS['lesion']}"
        expected = "tissues of a lesion, which touch each other"
        findings.append(Finding(Severity.WARNING, what, image.name, found, expected, hint))
    return labels


def _numbered(labels: npt.NDArray, values: npt.NDArray) -> bool:
    """True for 1, 2 ... where each is in one piece and none touches another."""
    there = values[values > 0]
    if len(there) < 2 or there.tolist() != list(range(1, len(there) + 1)):
        return False
    from scipy import ndimage

    parts = ndimage.label(labels > 0, structure=np.ones((3, 3, 3)))[0]
    of_labels = [np.unique(parts[labels == value]) for value in there]
    return all(len(p) == 1 for p in of_labels) and len({p[0] for p in of_labels}) == len(there)


def _conventions() -> str:
    return "; ".join(f"--label-convention {name}: {words}" for name, words in CONVENTIONS.items())


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
        "the mask holds values that are not labels",
        file=image.name,
        found=shown,
        expected="0 background, 1 necrosis, 2 oedema, 3 enhancing tumour",
        hint="check that this file is the mask and not an image; if each number is a lesion, say "
        f"--label-convention lesion: {CONVENTIONS['lesion']}.",
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
    kind: np.dtype
    scale: tuple[float, float]
    stream: IO[bytes]

    def pieces(self, whole: npt.NDArray) -> Iterator[tuple[npt.NDArray, npt.NDArray]]:
        """(part of ``whole``, its values in float32), scaled as the header says."""
        kind = self.kind
        flat = whole.T.reshape(-1)  # a view: i runs fastest in both
        for start in range(0, flat.size, _PIECE):
            part = flat[start : start + _PIECE]
            raw = self.stream.read(part.size * kind.itemsize)
            if len(raw) < part.size * kind.itemsize:
                raise EOFError(f"{start} of {flat.size} voxels and no more")
            spec = (part.shape, kind, 0, *self.scale)
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
            head = parse_header(raw, path)
            shape = check_header(head, path, least)
            if not isinstance(stream, gzip.GzipFile):
                check_length(path, head, shape)
            header = (
                nib.Nifti1Header(raw[:348]) if head.version == 1 else nib.Nifti2Header(raw[:540])
            )
            affine, unit = in_mm(header, path)
            affine = check_position(affine, path)
            findings = [*unit, *orientation_findings(header, affine, shape, path)]
            stream.seek(head.offset)  # extensions are not looked at
            kind, scale = header.get_data_dtype(), scaling(header, path)
            yield _Image(path.name, shape, affine, tuple(findings), kind, scale, stream)
            stream.read(2**20)  # reaching the end lets gzip compare its checksum
    except InputRefused:
        raise
    except _READ_ERRORS as error:
        raise refuse(
            "the file is damaged or cut short",
            file=path.name,
            found=first_line(error),
            expected="a complete NIfTI file",
            hint="copy or export the file again.",
        ) from error


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
        found=path.suffix or "no extension",
        expected="a name that ends in .nii or .nii.gz",
        hint="convert the series to NIfTI (for instance with dcm2niix)." if dicom else None,
    )
