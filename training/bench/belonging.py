"""How often what does not belong together is found, and how often nothing is wrong but is said.

Untouched cases, real and synthetic (half of them on a scanner's grid with thick or oblique slices,
a quarter with sequences missing), and faults planted at full resolution: mirror images, shifts,
another patient's sequence, exchanged sequences. It is long (half an hour and more of one
processor); what is known so far is printed as it goes, so that a run that was stopped tells
something.

    BMCORE_REALDATA=folder python -m training.bench.belonging --cases 40 --faulty 20
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import Finding
from bmcore.geometry import Affine, to_ras
from bmcore.imaging.brain import find_brain
from bmcore.imaging.coarse import Coarse, coarse
from bmcore.imaging.coverage import gaps
from bmcore.imaging.operated import doubts as operated
from bmcore.imaging.orientation import place
from bmcore.imaging.picture import doubts
from bmcore.imaging.together import misfits
from bmcore.intake.nifti import read_case
from bmcore.phantom.cohort import draw_case
from bmcore.phantom.grids import draw_native_grid, image_on

Images = dict[str, npt.NDArray]
REAL = ("01_brats_met_00110", "04_tcga_fg6692_sri24")
SIDES = ("left and right", "front and back", "top and bottom")
SHIFTS_MM = ((10, 0, 0), (0, 10, 0), (0, 0, 10), (0, -20, 0))


def small(images: Images, affine: Affine) -> Coarse:
    """A case (RAS+ voxel order) as ``imaging.preprocess`` looks at it."""
    brain, _ = find_brain(images, affine)
    return coarse(images, brain, affine)


def look(case: Coarse) -> tuple[Finding, ...]:
    """All that is said of the pictures of a case."""
    return (*place(case, None)[1], *gaps(case), *misfits(case), *doubts(case), *operated(case))


def untouched(cases: int) -> Iterator[tuple[str, Images, Affine]]:
    """Real cases where there are any, then synthetic ones."""
    folder = Path(os.environ.get("BMCORE_REALDATA", ""))
    for name in REAL:
        if folder.name and (folder / name).is_dir():
            case = read_case(folder / name, own=True)
            images = {s: to_ras(v.data, v.affine)[0] for s, v in case.sequences.items()}
            yield name, images, to_ras(case.grid.data, case.grid.affine)[1]
    for seed in range(cases):
        known = draw_case(seed)
        images, affine = dict(known.images), known.affine
        if seed % 2:
            grid = draw_native_grid(np.random.default_rng(seed))
            placed = {s: to_ras(image_on(grid, v), grid.affine) for s, v in images.items()}
            images = {s: v[0] for s, v in placed.items()}
            affine = placed["t1c"][1]
        if seed % 4 == 2:
            images.pop(("t1n", "t2w", "t2f")[seed // 4 % 3])
        yield f"synthetic {seed}", images, affine


def faults(images: Images, other: Images, affine: Affine) -> Iterator[tuple[str, Images, str]]:
    """(kind, changed images, words that must be said)."""
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(0))
    for s, image in images.items():
        for axis, words in enumerate(SIDES):
            yield f"mirrored, {words}", {s: np.flip(image, axis)}, words
        for mm in SHIFTS_MM:
            moved = ndimage.shift(image, np.array(mm) / sizes, order=0, cval=float(image.min()))
            far = f"moved by {np.linalg.norm(mm):.0f} mm"
            yield far, {s: moved}, "moved by about"
    for s in ("t1n", "t2f"):
        if s in other and other[s].shape == images["t1c"].shape:
            yield "another patient's", {s: other[s]}, "another patient's"
    yield "T1 exchanged", {"t1n": images["t1c"], "t1c": images["t1n"]}, "look exchanged"
    yield "T2 and FLAIR exchanged", {"t2w": images["t2f"], "t2f": images["t2w"]}, "look exchanged"
    yield "native T1 as T1c", {"t1c": images["t1n"] * 1.2}, "nothing is brighter"


def planted(case: Coarse, images: Images, affine: Affine) -> Coarse:
    """``case`` with some images changed; the outline stays that of the sequences together."""
    blank = np.ones(next(iter(images.values())).shape, bool)
    return replace(case, images={**case.images, **coarse(images, blank, affine).images})


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40, help="synthetic untouched cases")
    parser.add_argument("--faulty", type=int, default=20, help="synthetic cases with faults")
    asked = parser.parse_args()
    seconds, alarms = [], []
    for name, images, affine in untouched(asked.cases):
        case = small(images, affine)
        started = time.process_time()
        said = look(case)
        seconds.append(time.process_time() - started)
        if said:
            alarms.append(f"{name}: {' | '.join(f.what for f in said)}")
        print(f"{name}: {' | '.join(f.what for f in said) or 'nothing said'}", flush=True)
    print(f"untouched cases {len(seconds)}, with a false alarm {len(alarms)}")
    print(f"seconds of computing a case, median {np.median(seconds):.2f}, most {max(seconds):.2f}")
    print("\n".join(alarms), flush=True)
    found: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    real = [c for c in untouched(0) if c[0] == REAL[0]]
    drawn = ((f"synthetic {n}", dict((p := draw_case(n)).images), p.affine)
             for n in range(asked.faulty))  # fmt: skip
    before: Images = {}
    for name, images, affine in (*real, *drawn):
        case = small(images, affine)
        for kind, changed, words in faults(images, before, affine):
            tried[kind] += 1
            told = " ".join(f.what for f in look(planted(case, changed, affine)))
            found[kind] += words in told
            if words not in told:
                print(f"{name}: {kind} not found", flush=True)
        print(f"{name}: {found.total()} of {tried.total()} faults found so far", flush=True)
        before = images
    for kind, n in tried.items():
        print(f"{kind}: found {found[kind]} of {n}")


if __name__ == "__main__":
    main()
