"""Rigid registration of images of one head: mutual information, coarse to fine (SimpleITK).

A result is a 4x4 matrix from the world of the fixed image to that of the moving one (RAS mm). ITK
is given our axes as they are: it asks for no handedness, so nothing is turned to LPS and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bmcore.domain import Volume
from bmcore.geometry import Affine, inverse, voxel_sizes_mm
from bmcore.geometry import transform as transform_points

if TYPE_CHECKING:
    import SimpleITK as sitk

SHRINK = (2, 1)
SMOOTHING_MM = (2.0, 1.0)
BINS = 32
SHARE = 0.15  # of the voxels that the metric is computed on
GRID_MM, ROUGH_MM = 2.0, 6.0  # heads are compared in voxels of this size
SEED = 1
TRIED = 3  # starts that are followed at the coarsest level
# Two sequences of one examination: by how much a position must be better than that of the headers,
# and than it where a head hardly goes between two sequences. Measured on case 03, whole and cut to
# 8 to 18 of 26 slices: 2.2 to 5 where the headers are off by 9 to 18 mm, 1.0 where they are right.
GAIN, FAR_GAIN = 1.02, 1.5
FAR_MM, FAR_DEG = 40.0, 30.0
OVERLAP_MM = 4.0  # what two positions have in common is looked at in voxels of this size
LEAST_COMMON = 0.1  # of the mask; with less in common, two positions are not compared


@dataclass(frozen=True, eq=False)
class Registration:
    """matrix: fixed world -> moving world. before, after: mutual information (nats) with the
    headers alone and with ``matrix``. scale: 1 where the registration was rigid."""

    matrix: Affine
    before: float
    after: float
    scale: float = 1.0

    @property
    def turn_deg(self) -> float:
        """The angle of the rotation."""
        cosine = (np.trace(self.matrix[:3, :3] / self.scale) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def register(
    fixed: Volume,
    moving: Volume,
    mask: npt.NDArray[np.bool_] | None = None,
    starts: Sequence[Affine] = (),
    scaled: bool = False,
    together: bool = False,
) -> Registration:
    """Align ``moving`` to ``fixed`` by six numbers, or seven with one scale (``scaled``).

    mask: where in ``fixed`` (i, j, k) the two are compared; everywhere if None. starts: besides the
    headers (the identity) and the images' middles, matrices to begin from; the one of the highest
    mutual information is taken (Mattes et al., IEEE Trans. Med. Imaging 2003, 22:120).
    together: the two are of one examination: positions are compared where both have values, so that
    a sequence of part of the head is not drawn to where fewer voxels agree by chance; and what the
    headers say stays, unless another position is clearly better.
    """
    with one_thread():
        if together:
            return _together(fixed, moving, mask)
        return _register(fixed, moving, mask, starts, scaled)


def nearby(fixed: Volume, moving: Volume, mask: npt.NDArray[np.bool_]) -> Affine:
    """Six numbers from where the headers have it to the best position beside it, on the voxels as
    they are: for small images, in a fraction of a second."""
    inside, middle = _mask(Volume(mask.astype(np.float32), fixed.affine)), _middle(fixed, mask)
    transform = _transform(np.eye(4), middle, False)
    with one_thread():
        _run(_itk(fixed), _itk(moving), inside, transform, (1,), (0.0,))
    return _matrix(transform)


@contextmanager
def one_thread() -> Iterator[None]:
    """Several add up in another order each time, and the numbers would not be the same again.

    It holds for the process; to run registrations side by side, enter it once around them.
    """
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _register(
    fixed: Volume,
    moving: Volume,
    mask: npt.NDArray[np.bool_] | None,
    starts: Sequence[Affine],
    scaled: bool,
) -> Registration:
    a, b = _itk(_even(fixed, GRID_MM)), _itk(_even(moving, GRID_MM))
    rough_a, rough_b = _itk(_even(fixed, ROUGH_MM)), _itk(_even(moving, ROUGH_MM))
    inside = None
    if mask is not None:
        inside = _mask(Volume(mask.astype(np.float32), fixed.affine))
    middle = _middle(fixed, mask)
    before = _score(a, b, inside, _transform(np.eye(4), middle, scaled))
    tried = [np.eye(4), *starts, *_turns(middle, _middle(moving, None))]
    scores = [_score(rough_a, rough_b, inside, _transform(m, middle, scaled)) for m in tried]
    followed = []
    for place in np.argsort(scores)[::-1][:TRIED]:
        transform = _transform(tried[place], middle, scaled)
        _run(rough_a, rough_b, inside, transform, (1,), (0.0,))
        followed.append((_score(rough_a, rough_b, inside, transform), int(place), transform))
    best = max(followed)[2]
    _run(a, b, inside, best, SHRINK, SMOOTHING_MM)
    matrix, after = _matrix(best), _score(a, b, inside, best)
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    return Registration(matrix, before, after, scale)


def _together(fixed: Volume, moving: Volume, mask: npt.NDArray[np.bool_] | None) -> Registration:
    a, b = _itk(_even(fixed, GRID_MM)), _itk(_even(moving, GRID_MM))
    rough_a, rough_b = _itk(_even(fixed, ROUGH_MM)), _itk(_even(moving, ROUGH_MM))
    shown = np.ones(fixed.shape, bool) if mask is None else mask
    where = _even(Volume(shown.astype(np.float32), fixed.affine), OVERLAP_MM)
    inside = _mask(where)
    middle = _middle(fixed, mask)

    def rough(matrix: Affine) -> float:
        return _score(rough_a, rough_b, inside, _transform(matrix, middle, False))

    header = np.eye(4)
    best = header
    near = sorted(_nods(middle), key=rough)[-TRIED:]
    far = sorted(_turns(middle, _middle(moving, None)), key=rough)[-TRIED:]
    for start in (header, *reversed(near), *reversed(far)):
        transform = _transform(start, middle, False)
        _run(rough_a, rough_b, inside, transform, (1,), (0.0,))
        if _better(_matrix(transform), best, (rough_a, rough_b), where, moving, middle):
            best = _matrix(transform)
    found = header
    for start in (header, best):
        transform = _transform(start, middle, False)
        _run(a, b, inside, transform, SHRINK, SMOOTHING_MM)
        if _better(_matrix(transform), found, (a, b), where, moving, middle):
            found = _matrix(transform)
        if best is header:
            break
    both = _common(where, moving, (header, found))
    seen = inside if _share(both, where) < LEAST_COMMON else _mask(both)
    before, after = (_score(a, b, seen, _transform(m, middle, False)) for m in (header, found))
    return Registration(found, before, after)


def _better(
    matrix: Affine,
    than: Affine,
    images: tuple[Any, Any],
    where: Volume,
    moving: Volume,
    middle: npt.NDArray[np.float64],
) -> bool:
    """Whether ``matrix`` is the clearly better position, by the voxels that both have values for.

    Where they have too little in common, by those that each has values for.
    """
    both = _common(where, moving, (matrix, than))
    seen = _mask(where if _share(both, where) < LEAST_COMMON else both)
    here, there = (_score(*images, seen, _transform(m, middle, False)) for m in (matrix, than))
    gain = GAIN
    if _share(_common(where, moving, (np.eye(4),)), where) >= LEAST_COMMON:
        moved = np.linalg.norm(transform_points(matrix, middle) - middle)
        far = moved > FAR_MM or Registration(matrix, 0, 0).turn_deg > FAR_DEG
        gain = FAR_GAIN if far else GAIN
    return here > gain * there


def _common(where: Volume, moving: Volume, matrices: Sequence[Affine]) -> Volume:
    """The part of ``where`` that all matrices lead into ``moving``."""
    data = np.asarray(where.data) > 0.5
    places = np.argwhere(data)
    kept = np.ones(len(places), bool)
    for matrix in matrices:
        there = transform_points(inverse(moving.affine) @ matrix @ where.affine, places)
        kept &= ((there >= 0) & (there <= np.array(moving.shape) - 1)).all(axis=1)
    out = np.zeros(data.shape, np.float32)
    out[tuple(places[kept].T)] = 1
    return Volume(out, where.affine)


def _share(part: Volume, whole: Volume) -> float:
    return float((np.asarray(part.data) > 0.5).sum() / max((np.asarray(whole.data) > 0.5).sum(), 1))


def _mask(where: Volume) -> Any:
    import SimpleITK as sitk

    return sitk.Cast(_itk(where) > 0.5, sitk.sitkUInt8)


def _nods(middle: npt.NDArray[np.float64]) -> list[Affine]:
    """Matrices that turn the head a little about its middle, and lift or lower it."""
    lifts = [np.array([0, 0, z]) for z in (-15.0, 0.0, 15.0)]
    return [matrix for lift in lifts for matrix in _turns(middle, middle + lift)]


def _run(
    a: Any, b: Any, inside: Any, transform: Any, shrink: Sequence[int], smoothing: Sequence[float]
) -> None:
    """Improve ``transform`` in place; it stays what it was where the images part on the way."""
    method = _method(inside)
    method.SetShrinkFactorsPerLevel(shrink)
    method.SetSmoothingSigmasPerLevel(smoothing)
    before = transform.GetParameters()
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(a, b)
    except RuntimeError as fault:
        if not _apart(fault):
            raise
        transform.SetParameters(before)


def _turns(fixed: npt.NDArray[np.float64], moving: npt.NDArray[np.float64]) -> list[Affine]:
    """Matrices that lay the images' middles on each other, the head nodded and turned a little."""
    out = []
    for nod in (-20.0, -10.0, 0.0, 10.0, 20.0):
        for turn in (-12.0, 0.0, 12.0):
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_euler("xz", (nod, turn), degrees=True).as_matrix()
            matrix[:3, 3] = moving - matrix[:3, :3] @ fixed
            out.append(matrix)
    return out


def without_scale(found: Registration, middle: npt.ArrayLike) -> Affine:
    """The rigid part of a registration with a scale, about the point ``middle`` (fixed world)."""
    middle = np.asarray(middle, float)
    out = np.eye(4)
    out[:3, :3] = found.matrix[:3, :3] / found.scale
    arrives = found.matrix[:3, :3] @ middle + found.matrix[:3, 3]
    out[:3, 3] = arrives - out[:3, :3] @ middle
    return out


def _method(inside: Any) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SHARE, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    if inside is not None:
        method.SetMetricFixedMask(inside)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.005, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _score(a: Any, b: Any, inside: Any, transform: Any) -> float:
    """Mutual information (nats) at ``transform``; no overlap counts as none."""
    method = _method(inside)
    method.SetInitialTransform(transform)
    method.SetShrinkFactorsPerLevel((1,))
    method.SetSmoothingSigmasPerLevel((0,))
    try:
        return -float(method.MetricEvaluate(a, b))
    except RuntimeError as fault:
        if not _apart(fault):
            raise
        return 0.0


def _apart(fault: RuntimeError) -> bool:
    """True where ITK says that there is nothing to compare: no overlap, or one value alone."""
    nothing = ("map outside", "No valid points", "Zero-valued spacing")
    return any(words in str(fault) for words in nothing)


def _even(volume: Volume, edge_mm: float) -> Volume:
    """The image in voxels of this edge along its own axes; finer ones are averaged."""
    sizes = voxel_sizes_mm(volume.affine)
    width = np.rint(np.maximum(edge_mm / sizes, 1)).astype(int)
    data = ndimage.uniform_filter(np.asarray(volume.data, np.float32), width, mode="nearest")
    aside = np.where(width % 2 == 0, 0.5, 0.0)  # so far before a voxel lies the mean of even ones
    step = np.diag([*(edge_mm / sizes), 1.0])
    step[:3, 3] = (np.diag(step)[:3] - 1) / 2
    there = step.copy()
    there[:3, 3] -= aside
    affine = volume.affine @ there
    counts = np.maximum(1, np.rint(np.array(volume.shape) * sizes / edge_mm)).astype(int)
    matrix = np.diag(step)[:3]
    even = ndimage.affine_transform(
        data, matrix, step[:3, 3], output_shape=tuple(counts), order=1, mode="nearest"
    )
    return Volume(even, affine)


def _itk(volume: Volume) -> sitk.Image:
    import SimpleITK as sitk

    sizes = voxel_sizes_mm(volume.affine)
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(volume.data, np.float32).T))
    image.SetSpacing([float(s) for s in sizes])
    image.SetOrigin([float(x) for x in volume.affine[:3, 3]])
    image.SetDirection([float(x) for x in (volume.affine[:3, :3] / sizes).ravel()])
    return image


def _middle(volume: Volume, mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    """World mm of the centre of the mask, or of what is bright."""
    weight = np.asarray(volume.data, np.float32) if mask is None else mask
    if mask is None:
        weight = weight > np.percentile(weight[::3, ::3, ::3], 60)
    centre = ndimage.center_of_mass(weight) if weight.any() else np.array(volume.shape) / 2
    return volume.affine[:3, :3] @ np.asarray(centre) + volume.affine[:3, 3]


def _transform(matrix: Affine, middle: npt.NDArray[np.float64], scaled: bool) -> Any:
    import SimpleITK as sitk

    transform = sitk.Similarity3DTransform() if scaled else sitk.VersorRigid3DTransform()
    transform.SetCenter([float(x) for x in middle])
    transform.SetMatrix([float(x) for x in matrix[:3, :3].ravel()], 1e-6)
    shift = matrix[:3, :3] @ middle + matrix[:3, 3] - middle
    transform.SetTranslation([float(x) for x in shift])
    return transform


def _matrix(transform: Any) -> Affine:
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = shift + centre - rotation @ centre
    return out
