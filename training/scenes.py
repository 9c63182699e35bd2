"""Draw synthetic heads to learn from: ``python -m training.scenes --out DIR --heads N --seed S``.

The heads are what ``training.segmenter --scenes DIR`` paints its patches from. A stopped run goes
on; the result does not depend on the number of processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import refuse
from bmcore.phantom.seeds import member_seed
from bmcore.workers import in_processes
from training.run.files import read_json, write_json
from training.run.options import OutOption, SeedOption, run_app
from training.run.processes import progress

PLAN = "scenes.json"


def draw_head(folder: Path, seed: int, sets: int) -> None:
    """One head with its sets of lesions, unless it is there already."""
    import torch

    from bmcore.models.losses import small_lesion_weights
    from bmcore.phantom.scene import write_head

    torch.set_num_threads(1)
    if not (folder / "whole").exists():
        write_head(folder, seed, sets, small_lesion_weights)


def draw_heads(out: Path, heads: int, sets: int, seed: int, workers: int) -> None:
    """Draw ``heads`` heads below ``out`` and note what they are in scenes.json."""
    out.mkdir(parents=True, exist_ok=True)
    plan = {"heads": heads, "sets": sets, "seed": seed, "style": "WILD"}
    known = read_json(out / PLAN) if (out / PLAN).exists() else None
    if known and {k: known[k] for k in ("sets", "seed")} != {"sets": sets, "seed": seed}:
        raise refuse(
            "the folder holds other scenes",
            file=out,
            found=f"sets {known['sets']}, seed {known['seed']}",
            expected=f"sets {sets}, seed {seed}",
            hint="take another --out.",
        )
    jobs = [(out / f"{i:05d}", member_seed(seed, i), sets) for i in range(heads)]
    with progress() as bars:
        task = bars.add_task("draw heads", total=heads)
        for _ in in_processes(draw_head, jobs, workers):
            bars.advance(task)
    write_json(out / PLAN, plan)


def main(
    out: OutOption,
    heads: Annotated[int, typer.Option(min=1, help="Heads to draw, about 4 s each.")] = 160,
    sets: Annotated[int, typer.Option(min=1, help="Sets of lesions a head.")] = 3,
    seed: SeedOption = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
) -> None:
    """Draw heads with lesions and write them to OUT, about 70 MB each."""
    draw_heads(out, heads, sets, seed, workers)


if __name__ == "__main__":
    run_app(main)
