"""From the probabilities of the segmentation net to labels: limits, and what is cleared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmcore.imaging.masks import connected, tumour_core
from bmcore.models.configs import PostProcessing


def to_labels(
    probabilities: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_], config: PostProcessing
) -> npt.NDArray[np.uint8]:
    """Labels 0-3 (uint8, (i, j, k)) from probabilities (4, i, j, k).

    The likeliest label of each voxel; with ``core_threshold`` tumour core where it is likelier than
    that, then the likelier of necrosis and enhancing, else of background and oedema. 0 outside
    ``brain``. Parts of the core that are too small or nowhere likely enough (``min_lesion_voxels``,
    ``min_lesion_peak``) are cleared, specks of enhancing tumour become necrosis
    (``relabel_small_et_components``), and then, without ``keep_isolated_oedema``, oedema that no
    core is left to explain is cleared too.
    """
    core = probabilities[1] + probabilities[3]
    if config.core_threshold is None:
        labels = probabilities.argmax(0).astype(np.uint8)
    else:
        inside = np.where(probabilities[1] > probabilities[3], np.uint8(1), np.uint8(3))
        outside = np.where(probabilities[2] > probabilities[0], np.uint8(2), np.uint8(0))
        labels = np.where(core > config.core_threshold, inside, outside)
    labels[~brain] = 0
    kept = drop_small_lesions(labels, config.min_lesion_voxels, core, config.min_lesion_peak)
    kept = relabel_small_et_components(kept, config.min_et_component_share)
    return kept if config.keep_isolated_oedema else remove_isolated_oedema(kept)


def drop_small_lesions(
    labels: npt.NDArray[np.uint8],
    least: int,
    core_probability: npt.NDArray[np.float32] | None = None,
    min_peak: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Clear parts (26-neighbourhood) of the tumour core with fewer voxels than ``least``.

    With ``core_probability`` (i, j, k), also parts in which it stays below ``min_peak``.
    """
    parts, n = connected(tumour_core(labels))
    if n == 0:
        return labels
    weak = np.bincount(parts.ravel()) < least
    if core_probability is not None and min_peak > 0:
        inside = parts > 0
        peaks = np.zeros(n + 1, core_probability.dtype)
        # ndimage.maximum would sort all voxels
        np.maximum.at(peaks, parts[inside], core_probability[inside])
        weak |= peaks < min_peak
    return _without(labels, parts, weak)


def relabel_small_et_components(
    labels: npt.NDArray[np.uint8], share: float
) -> npt.NDArray[np.uint8]:
    """Turn specks of enhancing tumour into necrosis.

    A speck is a piece (26-neighbourhood) with less than ``share`` of the enhancing voxels of the
    part of the tumour core that it belongs to: a few voxels at the rim or within necrosis that
    connect with no other enhancing voxel. The tumour core stays as it is.
    """
    if share <= 0:
        return labels
    pieces, count = connected(labels == 3)
    if count < 2:
        return labels
    parts, _ = connected(tumour_core(labels))
    inside = pieces > 0
    part_of = np.zeros(count + 1, parts.dtype)
    part_of[pieces[inside]] = parts[inside]
    sizes = np.bincount(pieces[inside], minlength=count + 1)
    whole = np.bincount(part_of, weights=sizes)
    speck = sizes < share * whole[part_of]
    if not speck.any():
        return labels
    out = labels.copy()
    out[speck[pieces]] = 1
    return out


def remove_isolated_oedema(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Clear parts (26-neighbourhood) of the whole tumour that hold no tumour core.

    The oedema of a metastasis surrounds it; bright white matter far from any core is something
    else.
    """
    parts, n = connected(labels > 0)
    lone = np.ones(n + 1, bool)
    lone[parts[tumour_core(labels)]] = False
    return _without(labels, parts, lone)


def _without(
    labels: npt.NDArray[np.uint8], parts: npt.NDArray[np.int32], gone: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Labels without the parts whose ``gone`` (n + 1,) is true; ``labels`` itself if none is."""
    gone[0] = False  # no part: what lies outside of all
    if not gone.any():
        return labels
    out = labels.copy()
    out[gone[parts]] = 0
    return out
