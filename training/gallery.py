"""Pictures of the synthetic cohort: ``python -m training.gallery --out docs``.

Draws twelve patients, six of each style, and writes OUT/gallery.png: one row a patient, the four
sequences and the mask in the slice with most tumour, in radiological convention.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCES, Volume
from bmcore.imaging.masks import tumour_core
from training.run.files import atomic_path
from training.run.options import OutOption, SeedOption, run_app
from training.run.processes import progress

if TYPE_CHECKING:
    from bmcore.phantom.cohort import PhantomCase

CASES = 12
WORDS = {"t1n": "T1", "t1c": "T1 + gadolinium", "t2w": "T2", "t2f": "FLAIR"}


def panels(case: PhantomCase) -> list[npt.NDArray[np.uint8]]:
    """The four sequences and t1c with its mask, each (h, w, 3) uint8."""
    from bmcore.imaging.slices import render_slice

    core = tumour_core(case.labels).sum(axis=(0, 1))
    place = int(core.argmax()) if core.any() else case.labels.shape[2] // 2
    mask = Volume(case.labels, case.affine)
    pictures = [
        render_slice(Volume(case.images[s], case.affine), "axial", place) for s in SEQUENCES
    ]
    t1c = Volume(case.images["t1c"], case.affine)
    return [*pictures, render_slice(t1c, "axial", place, mask=mask)]


def main(out: OutOption, seed: SeedOption = 4100) -> None:
    """Draw the gallery and write OUT/gallery.png."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    from bmcore.phantom.cohort import draw_case
    from bmcore.phantom.style import CLINIC, WILD

    figure, axes = plt.subplots(CASES, 5, figsize=(10, 2.1 * CASES), facecolor="black")
    with progress() as bars:
        task = bars.add_task("draw patients", total=CASES)
        for row in range(CASES):
            style, name = (CLINIC, "clinic-like") if row < CASES // 2 else (WILD, "varied")
            case = draw_case(seed + row, style)
            for axis, picture in zip(axes[row], panels(case), strict=True):
                axis.imshow(picture)
                axis.axis("off")
            axes[row, 0].set_title(
                f"{row + 1}  {name}, {case.primary}, lesions: {case.lesion_count}",
                color="white", fontsize=8, loc="left",
            )  # fmt: skip
            bars.advance(task)
    for axis, words in zip(axes[-1], [*WORDS.values(), "mask"], strict=True):
        axis.text(
            0.5, -0.08, words, color="white", fontsize=8, ha="center", transform=axis.transAxes
        )
    figure.tight_layout(pad=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80, format="png", facecolor="black")
    with atomic_path(out / "gallery.png") as beside:  # 128 colours: half the size, looks the same
        Image.open(drawn).convert("RGB").quantize(128).save(beside, format="png", optimize=True)


if __name__ == "__main__":
    run_app(main)
