"""One mask from several: majority, STAPLE, or what readers kept of the model's lesions.

Regions ET, TC and WT are fused one by one and put together again as labels: ET stays ET, the rest
of TC becomes necrosis, the rest of WT oedema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import REGIONS, Case, Label, Volume, refuse
from bmcore.geometry import same_grid, voxel_sizes_mm
from bmcore.imaging.lesions import label_lesions

_MARGIN = 5  # voxels around all masks: STAPLE depends on how much background it sees
_MAX_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class Consensus:
    """mask: labels 0-3 (uint8) on the masks' grid. method: in words, with the number of masks.

    performance: STAPLE only, {region: ((sensitivity, specificity) of each mask, in their order)}.
    """

    mask: Volume
    method: str
    performance: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


def majority(masks: Sequence[Volume], ties_inside: bool = False) -> Consensus:
    """A voxel is in a region if more than half of the masks have it there.

    ties_inside: so is one that exactly half of them have; how many voxels that is stands in
    ``method``.
    """
    stack = _stack(masks)
    votes = {name: 2 * np.isin(stack, labels).sum(axis=0) for name, labels in REGIONS.items()}
    tied = {name: int((found == len(stack)).sum()) for name, found in votes.items()}
    regions = {
        name: found >= len(stack) if ties_inside else found > len(stack)
        for name, found in votes.items()
    }
    method = f"majority of {len(masks)} masks, for ET, TC and WT"
    if any(tied.values()):
        told = ", ".join(f"{name} {n}" for name, n in tied.items())
        became = "taken in" if ties_inside else "left out"
        method += f"; voxels with as many for as against {became}: {told}"
    return Consensus(Volume(_labels(regions), masks[0].affine), method)


def staple(masks: Sequence[Volume]) -> Consensus:
    """STAPLE (Warfield, Zou, Wells: IEEE TMI 2004;23:903-921) as in SimpleITK, at probability .5.

    Estimated for each region inside the box of all masks and 5 voxels around, so that the empty
    rest of the image does not count as agreement. A region that no mask has is empty.
    """
    stack = _stack(masks)
    regions: dict[str, npt.NDArray[np.bool_]] = {}
    performance = {}
    for name, labels in REGIONS.items():
        regions[name], performance[name] = _staple_region(np.isin(stack, labels))
    method = f"STAPLE of {len(masks)} masks, for ET, TC and WT, threshold 0.5"
    return Consensus(Volume(_labels(regions), masks[0].affine), method, performance)


def kept_lesions(mask: Volume, kept: Mapping[int, bool]) -> Consensus:
    """The model's mask without the lesions that readers rejected.

    kept: {number of the lesion as in ``label_lesions``: False to remove}; a lesion not named stays.
    Oedema goes with the lesion whose nearest voxel is closest. InputRefused for a number that the
    mask does not have.
    """
    numbers = label_lesions(mask.data, mask.affine)
    unknown = sorted(set(kept) - set(range(1, int(numbers.max()) + 1)))
    if unknown:
        raise refuse(
            "votes name lesions that the mask does not have",
            found=", ".join(map(str, unknown)),
            expected=f"1 to {int(numbers.max())}",
            hint="take the mask that the readers saw.",
        )
    out = np.array(mask.data, np.uint8)
    rejected = [number for number, stays in kept.items() if not stays]
    if rejected:
        nearest = ndimage.distance_transform_edt(
            numbers == 0,
            sampling=voxel_sizes_mm(mask.affine),
            return_distances=False,
            return_indices=True,
        )
        owner = numbers[tuple(nearest)]
        out[np.isin(owner, rejected) & ((numbers > 0) | (out == Label.SNFH))] = 0
    method = f"model's mask without {len(rejected)} of {int(numbers.max())} lesions, by votes"
    return Consensus(Volume(out, mask.affine), method)


def write_yale(case: Case, consensus: Consensus, folder: Path) -> Path:
    """Write a case with its consensus mask in the Yale layout, for the next training run.

    Makes ``folder/CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz``, as ``YaleDataset`` reads it; returns
    the mask's path. InputRefused where the mask lies on another grid or the case is there already.
    """
    from bmcore.intake.nifti import write_volume

    if not same_grid(case.grid, consensus.mask):
        raise refuse(
            f"the consensus mask is on a different grid from case {case.case_id}",
            found=f"shape {consensus.mask.shape}",
            expected=f"shape {case.grid.shape} and the same affine",
        )
    target = folder / case.case_id
    if target.exists():
        raise refuse("this case was written before", file=target, hint="choose a new folder.")
    for name, volume in case.sequences.items():
        write_volume(volume, target / f"{case.case_id}-{name}.nii.gz", volume.data.dtype)
    return write_volume(consensus.mask, target / f"{case.case_id}-seg.nii.gz", np.uint8)


def _stack(masks: Sequence[Volume]) -> npt.NDArray[np.uint8]:
    """(n, i, j, k), checked: labels 0-3, one grid, two masks or more."""
    if len(masks) < 2:
        raise refuse("a consensus needs masks of two readers or more", found=len(masks))
    for number, mask in enumerate(masks, start=1):
        if not same_grid(masks[0], mask):
            raise refuse(f"mask {number} is on a different grid from mask 1", found=mask.shape)
        if not np.isin(mask.data, (0, 1, 2, 3)).all():
            raise refuse(f"mask {number} holds other labels", expected="0, 1, 2, 3")
    return np.stack([np.asarray(mask.data, np.uint8) for mask in masks])


def _labels(regions: Mapping[str, npt.NDArray[np.bool_]]) -> npt.NDArray[np.uint8]:
    """Labels from regions that may not be nested to the voxel: ET lies in TC, TC in WT."""
    out = np.zeros(regions["WT"].shape, np.uint8)
    out[regions["WT"]] = Label.SNFH
    out[regions["TC"]] = Label.NETC
    out[regions["ET"]] = Label.ET
    return out


def _staple_region(
    votes: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], tuple[tuple[float, float], ...]]:
    """Inside or not, and (sensitivity, specificity) of each mask; votes (n, i, j, k)."""
    inside = np.zeros(votes.shape[1:], bool)
    box = _box(np.asarray(votes.any(axis=0)))
    if box is None:
        return inside, ()
    cut = votes[(slice(None), *box)]
    if (cut == cut[0]).all():  # nothing to weigh, and STAPLE would divide by nought
        inside[box] = cut[0]
        return inside, ((1.0, 1.0),) * len(votes)
    import SimpleITK as sitk

    fuse = sitk.STAPLEImageFilter()
    fuse.SetForegroundValue(1.0)
    fuse.SetMaximumIterations(_MAX_ITERATIONS)
    images = [sitk.GetImageFromArray(vote.astype(np.uint8)) for vote in cut]
    inside[box] = sitk.GetArrayFromImage(fuse.Execute(images)) >= 0.5
    pairs = zip(fuse.GetSensitivity(), fuse.GetSpecificity(), strict=True)
    return inside, tuple((float(p), float(q)) for p, q in pairs)


def _box(any_: npt.NDArray[np.bool_]) -> tuple[slice, ...] | None:
    if not any_.any():
        return None
    (found,) = ndimage.find_objects(any_.astype(np.uint8))
    return tuple(
        slice(max(0, s.start - _MARGIN), min(n, s.stop + _MARGIN))
        for s, n in zip(found, any_.shape, strict=True)
    )


METHODS: Mapping[str, Callable[[Sequence[Volume]], Consensus]] = MappingProxyType(
    {"majority": majority, "staple": staple}
)
