"""Several synthetic patients on one head: other primary, record, lesions and scanner each time.

Most of the time that a patient takes goes into the head, which says nothing of the primary. Where
many patients are needed to learn from, several share one; each is painted on the box of the brain
alone. Patients of one head belong into one fold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields, replace

import numpy as np
from scipy import ndimage

from bmcore.domain import PRIMARIES
from bmcore.phantom.appearance import draw_looks
from bmcore.phantom.cohort import PhantomCase, draw_record
from bmcore.phantom.grids import phantom_affine
from bmcore.phantom.lesions import add_distractors, draw_kinds, draw_lesions
from bmcore.phantom.paint import Parts, draw_sequences, whole_head
from bmcore.phantom.style import CLINIC, PRIORS, Style
from bmcore.phantom.tissue import GRID, draw_map, draw_tissue

MARGIN = 6  # voxels around the brain


def draw_on_one_head(
    seed: int, count: int, style: Style = CLINIC, only: Collection[int] | None = None
) -> Iterator[PhantomCase]:
    """``count`` patients on the head of ``seed``, the same bits for the same seed and versions.

    only: positions, from 0, of the patients that are wanted; the others are not drawn.

    They are drawn as ``phantom.cohort.draw_case`` draws them, but images and labels lie on the box
    of the brain. ValueError where ``style`` draws patients without a metastasis, of other sizes or
    with mimics: here every patient follows a primary.
    """
    if style.no_lesion_share or style.even_size_share or style.mimic_share:
        raise ValueError("patients on one head all follow their primary, without mimics")
    head = np.random.default_rng(np.random.SeedSequence([seed, 0, 20261129]))
    tissue = draw_tissue(head, draw_map(head), bool(head.uniform() < style.residue_share))
    box = tuple(
        slice(max(0, s.start - MARGIN), min(n, s.stop + MARGIN))
        for s, n in zip(ndimage.find_objects(tissue.mask.astype(np.uint8))[0], GRID, strict=True)
    )
    start = np.array([s.start for s in box])
    affine = phantom_affine()
    affine[:3, 3] = affine[:3, :3] @ start + affine[:3, 3]
    shares = np.array([PRIORS[p].share for p in PRIMARIES])
    for number in range(1, count + 1):
        if only is not None and number - 1 not in only:
            continue
        rng = np.random.default_rng(np.random.SeedSequence([seed, number, 20261129]))
        primary = PRIMARIES[int(rng.choice(len(PRIMARIES), p=shares / shares.sum()))]
        prior = PRIORS[primary]
        record = draw_record(rng, primary, prior)
        growth = draw_lesions(rng, tissue, prior, draw_kinds(rng, prior))
        if rng.uniform() < style.distractor_share:
            add_distractors(rng, tissue, growth)
        growth.labels[~tissue.mask] = 0
        looks = draw_looks(rng, growth.kinds, style)
        images = draw_sequences(rng, looks, _cut(whole_head(tissue, growth), box))
        kinds = tuple(growth.kinds)
        yield PhantomCase(
            seed, images, growth.labels[box].copy(), affine, primary, record, len(kinds), kinds,
            growth.owner[box].copy(),
        )  # fmt: skip


def _cut(parts: Parts, box: tuple[slice, ...]) -> Parts:
    cut = {
        f.name: np.ascontiguousarray(getattr(parts, f.name)[box])
        for f in fields(parts)
        if f.name != "start"
    }
    i, j, k = (int(s.start) for s in box)
    return replace(parts, **cut, start=(i, j, k))
