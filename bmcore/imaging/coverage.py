"""Sequences without contrast, and parts of the brain that a sequence has no values for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCE_NAMES, Finding, Severity, refuse
from bmcore.imaging.brain import background, foreground
from bmcore.imaging.coarse import SPREAD, Coarse

ONE_VALUE = 0.5  # share of the brain with one and the same value
EMPTY = 0.02  # share of the brain without a value; at most 0.008 in whole cases


def without_flat(
    images: Mapping[str, npt.NDArray], brain: npt.NDArray[np.bool_]
) -> tuple[dict[str, npt.NDArray], tuple[Finding, ...]]:
    """The images that have contrast inside ``brain``, and a warning for each that has none.

    A sequence without contrast counts as missing. InputRefused where it is T1 post-gadolinium.
    """
    kept, findings = {}, []
    for name, image in images.items():
        share = _flat_share(image[brain], background(image))
        if share is None:
            kept[name] = image
            continue
        found = f"{share:.0%} of the brain has one value"
        if name == "t1c":
            raise refuse(
                "T1 post-gadolinium (t1c) has no contrast inside the brain",
                file=name,
                found=found,
                expected="an MRI image",
                hint="check the export; look at the image in a viewer.",
            )
        what = f"{SEQUENCE_NAMES[name]} ({name}) has no contrast inside the brain; it is treated "
        findings.append(
            Finding(
                Severity.WARNING,
                what + "as missing",
                name,
                found,
                "an MRI image",
                "check the export; look at the image in a viewer.",
            )
        )
    return kept, tuple(findings)


def _flat_share(values: npt.NDArray, empty: float | None) -> float | None:
    """The share of the commonest value where it is most of them or nothing spreads; else None.

    empty: the value of the background, of which a part of the brain may be; that is no flatness.
    """
    sample = np.asarray(values[:: max(1, values.size // 400_000)], np.float32)
    told = sample[sample != empty] if empty is not None else sample
    if told.size < EMPTY * sample.size:
        return 1.0
    _, counts = np.unique(told, return_counts=True)
    share = float(counts.max() / told.size)
    low, middle, high = np.percentile(told, (25, 50, 75))
    spreads = (high - low) / SPREAD > 1e-6 * max(1.0, abs(float(middle)))
    return share if share >= ONE_VALUE or not spreads else None


def gaps(case: Coarse) -> tuple[Finding, ...]:
    """A warning for each sequence that shows background in a part of the brain.

    What lies at the edge of the brain alone, no deeper than a block or one of the grid's own
    voxels, is partial volume.
    """
    findings = []
    inner = ndimage.binary_erosion(case.brain)
    for name, image in case.images.items():
        empty = ~foreground(image) & case.brain
        if not inner.any() or float(empty[inner].mean()) <= EMPTY:
            continue
        share = float(empty[case.brain].mean())
        findings.append(
            Finding(
                Severity.WARNING,
                f"{share:.0%} of the brain has no value in {SEQUENCE_NAMES[name]} ({name}); what "
                "lies there cannot be found or measured",
                name,
                expected="values in the whole brain",
                hint="check the export; slices or a part of the image are missing.",
            )
        )
    return tuple(findings)
