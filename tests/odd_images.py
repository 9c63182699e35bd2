"""Images that are no brain: noise, a knee-like blob, and the fruit of the real files.

The knee is two bright bones with a dark gap in grey muscle under a bright skin; nothing of it is
medical. The fruit is read by a reader that knows no more DICOM than these twenty files need.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
from scipy import ndimage

from bmcore.domain import SEQUENCES, Case, Volume

ROOT = Path(__file__).resolve().parent.parent
REALDATA = Path(os.environ.get("BMCORE_REALDATA", ROOT.parent / "shared" / "realdata"))
FRUIT = REALDATA / "17_dicom_not_brain" / "fruit_ge"


def _case(name: str, images: dict[str, np.ndarray], sizes_mm: tuple[float, ...]) -> Case:
    affine = np.diag([*sizes_mm, 1.0])
    return Case(name, {s: Volume(v.astype(np.float32), affine) for s, v in images.items()})


def noise(shaped: bool = False) -> Case:
    """Gaussian noise on 0, of its own in each sequence; ``shaped``: inside a brain-like ellipsoid.

    ``shaped`` has the size of a brain (70 x 85 x 65 mm half axes), so only what is inside is odd.
    """
    rng = np.random.default_rng(0)
    shape = (160, 192, 152)
    images = {s: rng.normal(100, 20, shape) for s in SEQUENCES}
    if shaped:
        scaled = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
        inside = ((scaled / np.array([70, 85, 65])[:, None, None, None]) ** 2).sum(axis=0) < 1
        images = {s: np.where(inside, v, 0) for s, v in images.items()}
    return _case("noise", images, (1, 1, 1))


def knee() -> Case:
    """A lying cylinder of muscle with skin, two bones and the gap between them; 1.5 mm voxels."""
    rng = np.random.default_rng(1)
    shape = (90, 90, 100)
    i, j, k = np.indices(shape)
    across = np.hypot(i - 44.5, (j - 44.5) * 1.15)
    tissue = np.select(
        [across > 40, across > 36, (across < 20) & (abs(k - 50) > 4), across < 22], [0, 3, 2, 4], 1
    )
    levels = {"t1n": (0, 60, 180, 220, 30), "t1c": (0, 70, 180, 220, 60),
              "t2w": (0, 40, 120, 160, 200), "t2f": (0, 50, 40, 40, 180)}  # fmt: skip
    images = {}
    for name in SEQUENCES:
        image = ndimage.gaussian_filter(np.array(levels[name], float)[tissue], 0.7)
        images[name] = np.where(tissue > 0, image + rng.normal(0, 4, shape), 0)
    return _case("knee", images, (1.5, 1.5, 1.5))


def fruit(folder: Path, copies: int = 1) -> Case:
    """The fruit as t1c, or given for ``copies`` of t1c, t1n, t2w, t2f; slices by their number."""
    slices = [_dicom_slice(path) for path in sorted(folder.glob("*.dcm"))]
    volume = np.stack([pixels for pixels, _ in slices], axis=-1)
    in_plane, thickness = slices[0][1]
    names = ("t1c", "t1n", "t2w", "t2f")[:copies]
    return _case("fruit", dict.fromkeys(names, volume), (in_plane, in_plane, thickness))


def _dicom_slice(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Pixels (columns, rows) and (pixel edge, slice spacing) in mm, little endian, explicit VR."""
    content = path.read_bytes()
    rows, columns = (
        struct.unpack("<H", _element(content, 0x0028, tag, b"US"))[0] for tag in (0x0010, 0x0011)
    )
    spacing = _element(content, 0x0028, 0x0030, b"DS").decode().split("\\")
    thickness = _element(content, 0x0018, 0x0050, b"DS").decode()
    pixels = np.frombuffer(content[-2 * rows * columns :], "<i2").reshape(rows, columns)
    return pixels.T.astype(np.float32), (float(spacing[0]), float(thickness))


def _element(content: bytes, group: int, tag: int, kind: bytes) -> bytes:
    """The value of the first element of this tag and two-letter kind, with a short length."""
    start = content.index(struct.pack("<HH", group, tag) + kind) + 8
    (length,) = struct.unpack("<H", content[start - 2 : start])
    return content[start : start + length]
