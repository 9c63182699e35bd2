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
from bmcore.geometry import Affine, voxel_sizes_mm

if TYPE_CHECKING:
    import SimpleITK as sitk

SHRINK = (2, 1)
SMOOTHING_MM = (2.0, 1.0)
BINS = 32
SHARE = 0.15  # of the voxels that the metric is computed on
GRID_MM, ROUGH_MM = 2.0, 6.0  # heads are compared in voxels of this size
SEED = 1
TRIED = 3  # starts that are followed at the coarsest level


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
) -> Registration:
    """Align ``moving`` to ``fixed`` by six numbers, or seven with one scale (``scaled``).

    mask: where in ``fixed`` (i, j, k) the two are compared; everywhere if None. starts: besides the
    headers (the identity) and the images' middles, matrices to begin from; the one of the highest
    mutual information is taken (Mattes et al., IEEE Trans. Med. Imaging 2003, 22:120).
    """
    with one_thread():
        return _register(fixed, moving, mask, starts, scaled)


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
    import SimpleITK as sitk

    a, b = _itk(_even(fixed, GRID_MM)), _itk(_even(moving, GRID_MM))
    rough_a, rough_b = _itk(_even(fixed, ROUGH_MM)), _itk(_even(moving, ROUGH_MM))
    inside = None
    if mask is not None:
        like = Volume(mask.astype(np.float32), fixed.affine)
        inside = sitk.Cast(_itk(like) > 0.5, sitk.sitkUInt8)
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
