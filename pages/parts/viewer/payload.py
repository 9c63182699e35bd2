"""What the viewer gets: a small description, and each volume once as a compressed block.

A block is ``BMV2``, the length of its header as uint32 little endian, the header as JSON and the
gzipped voxels in RAS voxel order, i fastest (see blocks.js). The header's ``kind`` says what a
voxel is: "u8" a label or a map, "u16" a code whose grey value is ``low + step * code``, "f32" the
grey value itself. The bytes of a voxel lie in planes, all first (lowest) bytes before all second
ones: that packs better. So every value of the file arrives, none is cut or rounded away; only
floats of a very large volume are, and ``rounded`` says so.

The header of an image also holds ``low`` and ``high``, the ``decimals`` worth showing, its windows
(``presets``), the ``median`` of the brain and the ``box`` that the head fills; where it is stored,
also the file's own grid (``source``), so that nothing else is needed to draw a case.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCE_NAMES, Case, Lesion, Volume
from bmcore.geometry import inverse, to_ras, transform, voxel_sizes_mm
from bmcore.imaging import grey_codes, grey_windows
from bmcore.imaging.brain import background
from bmcore.imaging.diameters import LesionExtent
from bmcore.review import corrections

SHORT_NAMES: Mapping[str, str] = {"t1n": "T1", "t1c": "T1 Gd", "t2w": "T2", "t2f": "FLAIR"}
_IDS: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()
PREVIEW_ABOVE = 2**24  # voxels
_MAGIC = b"BMV2"
_KINDS: Mapping[str, np.dtype[Any]] = {
    "u8": np.dtype("u1"),
    "u16": np.dtype("<u2"),
    "f32": np.dtype("<f4"),
}
_DARK = 0.08  # of a window: what is darker is not the head


@dataclass(frozen=True, eq=False)
class Images:
    """The images of one case as the viewer wants them; a block is read when it is sent.

    ids: sequence -> block id, in the usual order. shape, affine: the files' own grid (t1c).
    read: sequence -> its block. preview: of t1c where it is large, to be sent first.
    """

    case_id: str
    ids: Mapping[str, str]
    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    read: Callable[[str], bytes]
    preview: Callable[[], bytes | None] = lambda: None

    @classmethod
    def of(cls, case: Case, stamp: str) -> Images:
        """The images of a case in memory; ``stamp`` changes whenever they do."""
        ids = {s: f"{case.case_id}/{s}/{stamp}" for s in case.sequences}
        grid = case.grid

        def read(sequence: str) -> bytes:
            return image_block(case.sequences[sequence], sequence, ids[sequence])

        return cls(case.case_id, ids, grid.shape, grid.affine, read)


@dataclass(frozen=True, eq=False)
class Beside:
    """An earlier examination of the patient, put beside the images.

    matrix: 4x4 from the world of the images to that of the earlier ones (RAS mm). linked: both move
    together, because the matrix lays them on each other; else each moves by itself. mask, lesions:
    its own, passed only where they may be seen. pairs: number of a lesion then -> of the same one
    now.
    """

    images: Images
    matrix: npt.NDArray[np.float64]
    linked: bool
    mask: Volume | None = None
    lesions: tuple[Lesion, ...] = ()
    pairs: Mapping[int, int] = field(default_factory=dict)


def image_block(volume: Volume, sequence: str, block_id: str, with_grid: bool = False) -> bytes:
    """A block of grey values, each to be had back as the file has it.

    with_grid: the header holds the file's shape and affine too, as ``source``.
    """
    return image_blocks(volume, sequence, block_id, with_grid)[0]


def image_blocks(
    volume: Volume, sequence: str, block_id: str, with_grid: bool = False
) -> tuple[bytes, bytes | None]:
    """``image_block``, and of a large volume every second voxel along each axis in a block of its
    own, to be drawn until all have come; its id is ``preview_id`` of the other's."""
    ras, affine = to_ras(np.asarray(volume.data, np.float32), volume.affine)
    data = ras if np.isfinite(ras.min() + ras.max()) else np.nan_to_num(ras)
    found = grey_codes.encode(data)
    seen = grey_windows.tissue(data, affine)
    windows = grey_windows.presets(sequence, seen, found.low, found.high)
    header: dict[str, Any] = {
        "id": block_id,
        "kind": "f32" if found.step is None else "u16",
        "low": found.low,
        "high": found.high,
        "step": found.step,
        "decimals": found.decimals,
        "rounded": found.rounded,
        "median": seen.median if seen else None,
        "presets": [{"name": w.name, "low": w.low, "high": w.high} for w in windows],
        "box": _box(data, windows[0]),
    }
    preview = None
    if data.size > PREVIEW_ABOVE:
        part = np.asfortranarray(found.codes[::2, ::2, ::2])
        preview = _pack(part, {**header, "id": preview_id(block_id)})
    if with_grid:
        header["source"] = {"shape": list(volume.shape), "affine": volume.affine.tolist()}
    return _pack(found.codes, header), preview


def preview_id(block_id: str) -> str:
    """Id of the preview of a block."""
    return f"{block_id}/preview"


def _box(data: npt.NDArray[np.float32], window: grey_windows.Window) -> list[list[int]] | None:
    """First and last voxel along each axis that the window shows as more than black."""
    least = window.low + _DARK * (window.high - window.low)
    empty = background(data)
    shown = data > (least if empty is None else max(least, empty))
    if not shown.any():
        return None
    sides = [np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [[int(side[0]), int(side[-1])] for side in sides]


def mask_block(volume: Volume, block_id: str) -> bytes:
    """A block of labels 0-3."""
    labels, _ = to_ras(np.asarray(volume.data, np.uint8), volume.affine)
    return _pack(labels, {"id": block_id, "kind": "u8"})


def heat_block(volume: Volume, block_id: str) -> bytes:
    """A block of a map with values 0-1, as 0-255."""
    scaled = np.clip(np.asarray(volume.data, np.float32) * 255 + 0.5, 0, 255).astype(np.uint8)
    turned, _ = to_ras(scaled, volume.affine)
    return _pack(turned, {"id": block_id, "kind": "u8"})


def _pack(voxels: npt.NDArray, header: dict[str, Any]) -> bytes:
    """voxels: (i, j, k) in RAS voxel order."""
    text = json.dumps({**header, "shape": list(voxels.shape)}).encode()
    flat = voxels.ravel(order="F").view(np.uint8).reshape(voxels.size, -1)
    # Runs alone are looked for: noise has no longer repeats, and this takes a third of the time.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16, 9, zlib.Z_RLE)
    parts = [packer.compress(np.ascontiguousarray(flat[:, n]).data) for n in range(flat.shape[1])]
    parts.append(packer.flush())
    return b"".join([_MAGIC, struct.pack("<I", len(text)), text, *parts])


def read_header(block: bytes) -> dict[str, Any]:
    """The header of a block; ValueError if it is none."""
    if block[:4] != _MAGIC:
        raise ValueError("this is not an image block")
    (length,) = struct.unpack("<I", block[4:8])
    return json.loads(block[8 : 8 + length])


def read_voxels(block: bytes) -> npt.NDArray:
    """The voxels of a block (i, j, k) in RAS voxel order: labels, or grey values as float32."""
    header = read_header(block)
    (length,) = struct.unpack("<I", block[4:8])
    planes = np.frombuffer(gzip.decompress(block[8 + length :]), np.uint8)
    kind = _KINDS[header["kind"]]
    flat = np.ascontiguousarray(planes.reshape(kind.itemsize, -1).T).view(kind)[:, 0]
    codes = flat.reshape(header["shape"], order="F")
    if header["kind"] != "u16":
        return codes
    return grey_codes.GreyCodes(
        codes, header["low"], header["high"], header["step"], header["decimals"]
    ).values()


def content_id(volume: Volume) -> str:
    """Eight hex digits that change with the voxels; computed once for a volume in memory."""
    if volume not in _IDS:
        _IDS[volume] = corrections.content_id(volume)
    return _IDS[volume]


def describe_beside(images: Images, beside: Beside) -> dict[str, Any]:
    """An earlier examination as the viewer's ``data`` holds it, see prior.js."""
    _, affine = to_ras(np.broadcast_to(np.uint8(0), images.shape), images.affine)
    ras, own = to_ras(np.broadcast_to(np.uint8(0), beside.images.shape), beside.images.affine)
    matrix = np.linalg.inv(own) @ beside.matrix @ affine
    then = beside.images.case_id
    mask = None if beside.mask is None else f"{then}/mask/{content_id(beside.mask)}"
    stamp = zlib.crc32(repr((then, beside.linked, matrix.round(6).tolist())).encode())
    back = inverse(beside.matrix)
    return {
        "case": then,
        "linked": beside.linked,
        "matrix": matrix.tolist(),
        "shape": list(ras.shape),
        "stamp": f"{stamp:08x}",
        "mask": mask,
        "sequences": [
            {
                "id": block_id,
                "of": s,
                "name": f"Earlier {SHORT_NAMES[s]}",
                "words": f"{SEQUENCE_NAMES[s]}, earlier examination",
            }
            for s, block_id in beside.images.ids.items()
        ],
        "lesions": [
            {
                "number": n.number,
                "world": transform(back, n.centroid_mm).tolist(),
                "radiusMm": n.largest_diameter_mm / 2,
                "pair": beside.pairs.get(n.number),
            }
            for n in beside.lesions
        ],
    }


def describe(
    images: Images,
    lesions: tuple[Lesion, ...] = (),
    extents: tuple[LesionExtent, ...] = (),
) -> dict[str, Any]:
    """The viewer's ``data`` without its changing parts. extents: of the same lesions, by number."""
    _, ras = to_ras(np.broadcast_to(np.uint8(0), images.shape), images.affine)
    inverse = np.linalg.inv(images.affine)
    order = np.abs(inverse[:3, :3] @ ras[:3, :3]).argmax(axis=0)
    known = {extent.number: extent for extent in extents}
    return {
        "case": images.case_id,
        "shape": [int(images.shape[axis]) for axis in order],
        "affine": ras.tolist(),
        "toSource": (inverse @ ras).round(6).tolist(),
        "sizesMm": voxel_sizes_mm(ras).tolist(),
        "sequences": [
            {"id": block_id, "key": s, "name": SHORT_NAMES[s], "words": SEQUENCE_NAMES[s]}
            for s, block_id in images.ids.items()
        ],
        "lesions": [
            {
                "number": n.number,
                "world": list(n.centroid_mm),
                "radiusMm": n.largest_diameter_mm / 2,
                **(_where(known[n.number]) if n.number in known else {}),
            }
            for n in lesions
        ],
    }


def _where(extent: LesionExtent) -> dict[str, Any]:
    axial = extent.axial
    return {
        "box": [list(side) for side in extent.box],
        "axial": {
            "slice": axial.slice,
            "ends": [list(end) for end in axial.ends_mm],
            "mm": [axial.longest_mm, axial.across_mm],
        },
    }
