"""Rigid registration of images of one head: mutual information, coarse to fine (SimpleITK).

A result is a 4x4 matrix from the world of the fixed image to that of the moving one (RAS mm). ITK
is given our axes as they are: it asks for no handedness, so nothing is turned to LPS and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Volume
from bmcore.geometry import Affine, voxel_sizes_mm

if TYPE_CHECKING:
    import SimpleITK as sitk

SHRINK = (4, 2, 1)
SMOOTHING_MM = (4.0, 2.0, 1.0)
BINS = 32
SHARE = 0.15  # of the voxels that the metric is computed on
LEAST_MM = 2.0  # voxels below this size are not needed to align heads
SEED = 1


@dataclass(frozen=True, eq=False)
class Registration:
    """matrix: fixed world -> moving world. before, after: mutual information (nats) with the
    headers alone and with ``matrix``. scale: 1 where the registration was rigid."""

    matrix: Affine
    before: float
    after: float
    scale: float = 1.0

    @property
    def shift_mm(self) -> float:
        """How far the middle of the fixed image's world moves, as ``moved`` says at the origin."""
        return float(np.linalg.norm(self.matrix[:3, 3]))

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
    import SimpleITK as sitk

    a, b = _itk(_coarse(fixed)), _itk(_coarse(moving))
    inside = None
    if mask is not None:
        like = Volume(mask.astype(np.float32), fixed.affine)
        inside = sitk.Cast(_itk(like) > 0.5, sitk.sitkUInt8)
    middle = _middle(fixed, mask)
    tried = [np.eye(4), *starts, _middles(middle, _middle(moving, None))]
    scores = [_score(a, b, inside, _transform(m, middle, scaled)) for m in tried]
    best = _transform(tried[int(np.argmax(scores))], middle, scaled)
    method = _method(inside)
    method.SetInitialTransform(best, inPlace=True)
    method.Execute(a, b)
    matrix = _matrix(best)
    after = _score(a, b, inside, best)
    if after < max(scores):  # no step was better than the start
        matrix, after = tried[int(np.argmax(scores))], max(scores)
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    return Registration(matrix, scores[0], after, scale)


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
        learningRate=2.0, minStep=0.005, numberOfIterations=60, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel(SMOOTHING_MM)
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
        if "map outside" in str(fault) or "No valid points" in str(fault):
            return 0.0
        raise


def _coarse(volume: Volume) -> Volume:
    """Whole steps over voxels that are finer than ``LEAST_MM``, after smoothing."""
    steps = [max(1, int(LEAST_MM // size)) for size in voxel_sizes_mm(volume.affine)]
    data = np.asarray(volume.data, np.float32)
    if max(steps) == 1:
        return Volume(data, volume.affine)
    data = ndimage.uniform_filter(data, steps, mode="nearest")
    starts = [step // 2 for step in steps]
    data = data[tuple(slice(s, None, n) for s, n in zip(starts, steps, strict=True))]
    affine = volume.affine @ np.diag([*steps, 1.0])
    affine[:3, 3] = volume.affine[:3, :3] @ starts + volume.affine[:3, 3]
    return Volume(data, affine)


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


def _middles(fixed: npt.NDArray[np.float64], moving: npt.NDArray[np.float64]) -> Affine:
    out = np.eye(4)
    out[:3, 3] = moving - fixed
    return out


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
