"""What the nets read of a patient's lesions: patches, the CNN, image features, the code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import Case, Lesion, Prepared

if TYPE_CHECKING:
    from bmcore.imaging.lesion_crops import Marked
    from bmcore.models.bundles import Bundle
    from bmcore.models.configs import CNNConfig

CHUNK = 12  # lesions cut at once: memory


@dataclass(frozen=True, eq=False)
class ImageReading:
    """What the CNN and the autoencoder say; all None where no lesion was found.

    lesion_probabilities (n, 6), features (f,), code (d,), reconstruction_error: of several nets of
    a CNN the mean.
    """

    lesion_probabilities: npt.NDArray[np.float32] | None = None
    features: npt.NDArray[np.float32] | None = None
    code: npt.NDArray[np.float32] | None = None
    reconstruction_error: float | None = None


@dataclass(frozen=True, eq=False)
class LesionPatches:
    """What a CNN sees of each lesion (n, 7, 32, 32, 32), and affines (n, 4, 4) from voxels of each
    cube to world RAS mm."""

    cubes: npt.NDArray[np.float32]
    affines: npt.NDArray[np.float64]


def cut_patches(
    config: CNNConfig,
    case: Case,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> LesionPatches:
    """What a CNN of this config sees of each lesion."""
    from bmcore.imaging.lesion_brightness import patch_to_working
    from bmcore.imaging.lesion_crops import cut_crops, relative_images
    from bmcore.imaging.patches import lesion_patches, patch_affine
    from bmcore.models.configs import STANDARDISED
    from bmcore.models.image_features import cnn_patches

    if config.brightness == STANDARDISED:
        cubes = lesion_patches(prepared.images, marked.labels, lesions, prepared.affine)
        return LesionPatches(cubes, _stacked([patch_affine(lesion) for lesion in lesions]))
    images = relative_images(case, prepared)
    crops = cut_crops(images, marked, prepared.brain, lesions)
    places = [prepared.affine @ patch_to_working(crop) for crop in crops.crops]
    return LesionPatches(cnn_patches(crops), _stacked(places))


def _stacked(affines: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.array(affines, float).reshape(-1, 4, 4)


def read_lesions(
    bundle: Bundle,
    case: Case,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> ImageReading:
    """Cut the patches, read them with the CNN, pool to the patient, reduce to the code.

    Every lesion gets its six probabilities; the patient's features use the ``MAX_LESIONS`` largest,
    as in training. Which features a bundle has stands in its autoencoder's config
    (``models.image_features``).
    """
    if not lesions:
        return ImageReading()
    from bmcore.models.cnn import lesion_probabilities

    logits, plain = member_features(bundle, case, prepared, marked, lesions)
    features = complete(plain, bundle)
    error = float(np.mean(bundle.autoencoder.reconstruction_error(features)))
    return ImageReading(
        lesion_probabilities(logits), features.mean(axis=0), code_of(features, bundle), error
    )


def member_features(
    bundle: Bundle,
    case: Case,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits (n, 6) of one or more lesions, and what the nets and the measurements say of the
    patient (members, f): a row a net of the CNN, without the scores of trees."""
    read = _first_set if bundle.autoencoder.config.feature_set == 1 else _second_set
    return read(bundle, case, prepared, marked, lesions)


def complete(features: npt.NDArray[np.float32], bundle: Bundle) -> npt.NDArray[np.float32]:
    """``member_features`` with the trees' scores, where the bundle's features have them."""
    if bundle.autoencoder.config.feature_set != 3:
        return features
    from bmcore.models.image_features import with_tree_scores

    return with_tree_scores(features, bundle.trees)


def code_of(features: npt.NDArray[np.float32], bundle: Bundle) -> npt.NDArray[np.float32]:
    """The patient's code (d,) from complete features (members, f): the mean over the nets."""
    return np.asarray(bundle.autoencoder.encode(features), np.float32).mean(axis=0)


def _first_set(
    bundle: Bundle,
    case: Case,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    from bmcore.models.cnn import MAX_LESIONS, lesion_logits, patient_features

    def cut(some: Sequence[Lesion]) -> npt.NDArray[np.float32]:
        return cut_patches(bundle.cnn.config, case, prepared, marked, some).cubes

    largest = cut(lesions[:MAX_LESIONS])
    logits = lesion_logits(bundle.cnn, largest)
    every = [logits]
    for start in range(MAX_LESIONS, len(lesions), CHUNK):
        every.append(lesion_logits(bundle.cnn, cut(lesions[start : start + CHUNK])))
    features = patient_features(bundle.cnn, largest, lesions, logits)
    return np.concatenate(every), features[None]


def _second_set(
    bundle: Bundle,
    case: Case,
    prepared: Prepared,
    marked: Marked,
    lesions: Sequence[Lesion],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    from dataclasses import replace

    from bmcore.imaging.lesion_crops import MOST, cut_crops, relative_images
    from bmcore.models.cnn import member_logits
    from bmcore.models.image_features import cnn_patches, patient_features

    images = relative_images(case, prepared)
    crops = cut_crops(images, marked, prepared.brain, lesions)
    every = []
    for start in range(0, len(lesions), CHUNK):
        some = replace(crops, crops=crops.crops[start : start + CHUNK])
        every.append(member_logits(bundle.cnn, cnn_patches(some)))
    logits = np.concatenate(every, axis=1)
    measured = replace(crops, crops=crops.crops[:MOST])
    return logits.mean(axis=0), patient_features(logits, lesions, measured)
