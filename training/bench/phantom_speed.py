"""How fast synthetic material is made: ``python -m training.bench.phantom_speed``.

Seconds for one patient (``draw_case``) and for one head with three sets of lesions
(``write_head``); and a patch as ``phantom.batch`` paints it beside the road without it: paint the
whole head with ``phantom.paint`` and cut the patch out. One thread, in turn; medians.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from bmcore.domain import SEQUENCES
from bmcore.models.losses import small_lesion_weights
from bmcore.phantom.appearance import draw_looks
from bmcore.phantom.batch import stack_looks
from bmcore.phantom.cohort import draw_case
from bmcore.phantom.lesions import Growth, draw_kinds, draw_lesions
from bmcore.phantom.paint import draw_sequences, whole_head
from bmcore.phantom.scene import paint_patches, read_head, write_head
from bmcore.phantom.style import PRIORS, WILD
from bmcore.phantom.tissue import Tissue, draw_map, draw_tissue
from training.run.options import run_app
from training.run.processes import Stopwatch


def whole(seed: int, tissue: Tissue, growth: Growth, edge: int) -> float:
    """Seconds to paint all four sequences of a head and cut a patch from its middle."""
    watch, rng = Stopwatch(), np.random.default_rng(seed)
    images = draw_sequences(rng, draw_looks(rng, growth.kinds, WILD), whole_head(tissue, growth))
    for image in images.values():
        middle = tuple(slice(n // 2 - edge // 2, n // 2 + edge // 2) for n in image.shape)
        np.ascontiguousarray(image[middle])
    return watch.seconds


def main(
    runs: Annotated[int, typer.Option(min=1, help="Of each kind.")] = 5,
    edge: Annotated[int, typer.Option(help="Of a patch, in voxels.")] = 80,
) -> None:
    """Print medians and the ratio of the two roads to a patch."""
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    tissue = draw_tissue(rng, draw_map(rng))
    prior = next(iter(PRIORS.values()))
    growth = draw_lesions(rng, tissue, prior, draw_kinds(rng, prior))
    times: dict[str, list[float]] = {k: [] for k in ("patient", "head", "whole", "patch")}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs):
            watch = Stopwatch()
            draw_case(run)
            times["patient"].append(watch.seconds)
            watch = Stopwatch()
            write_head(Path(folder) / str(run), run, 3, small_lesion_weights)
            times["head"].append(watch.seconds)
            times["whole"].append(whole(run, tissue, growth, edge))
            scene = read_head(Path(folder) / str(run))[0]
            watch = Stopwatch()
            looks = draw_looks(np.random.default_rng(run), scene.kinds, WILD)
            stacked = stack_looks([looks[s] for s in SEQUENCES], [0] * 4)
            centre = np.array([scene.shape]) // 2
            paint_patches([scene], centre, edge, stacked, np.arange(4), run)
            times["patch"].append(watch.seconds)
    typer.echo(f"one patient, whole:           {median(times['patient']):.2f} s")
    typer.echo(f"one head, 3 sets of lesions:  {median(times['head']):.2f} s")
    typer.echo(f"patch of {edge}, whole head first: {median(times['whole']):.3f} s")
    typer.echo(f"patch of {edge}, painted alone:    {median(times['patch']):.3f} s")
    ratios = [a / b for a, b in zip(times["whole"], times["patch"], strict=True)]
    typer.echo(f"painted alone is {median(ratios):.1f} times as fast (median of {runs} pairs)")


if __name__ == "__main__":
    run_app(main)
