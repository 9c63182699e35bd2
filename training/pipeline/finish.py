"""The end of a run: the bundle, its card, and one case read with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

from bmcore.domain import refuse
from bmcore.models.bundle_writer import copy_part, finish
from bmcore.models.bundles import load_bundle
from bmcore.models.manifest import MANIFEST, NAMING
from training.model_card.build import build_card, write_card
from training.pipeline.order import Run
from training.run.files import read_json, write_json
from training.segmenter import ALL

NAME = "trained on own patients"


def check_out(out: Path) -> None:
    """InputRefused where OUT holds models that this command has not made."""
    manifest = out / MANIFEST
    if not manifest.exists():
        return
    name = read_json(manifest).get("name")
    if name not in (NAME, "unfinished"):
        raise refuse(
            "the folder holds other models",
            file=out,
            found=name,
            expected="a new folder",
            hint="name another --out.",
        )


def assemble(run: Run, timings_s: dict[str, float]) -> None:
    """Put the bundle together in OUT, with its card."""
    out, order = run.order.out, run.order
    copy_part(run.net("chosen", ALL), out, "segmenter")
    for part in NAMING:
        copy_part(run.learnt, out, part)
    source = "synthetic patients" if order.synthetic else "patients"
    start = "nothing" if order.start is None else f"the bundle {order.start.name}"
    finish(
        out, NAME, "1",
        f"{len(run.audit.used)} cases of {source} in the folder {order.data.resolve().name} "
        f"(segmentation, begun from {start}), {len(run.audit.named)} of them with a known primary "
        "(naming)",
        order.synthetic,
        seeds={"training": order.seed},
        timings_s={**timings_s, "all": sum(timings_s.values())},
        notes="Made by python -m training.run. Measured on patients that the nets had not seen.",
    )  # fmt: skip
    place = run.learnt
    write_json(place / "segmentation.json", read_json(run.nets / "segmentation.json"))
    card = build_card(place, load_bundle(out).manifest)
    assert card is not None  # both evaluations are there
    write_card(out, card)


def try_predict(run: Run) -> None:
    """Read one case of the cohort with the finished bundle, by the command that a user types."""
    from bmcore.intake.datasets import YaleDataset

    dataset = YaleDataset(run.cases)
    case_id = run.audit.named[0].case_id
    place = run.learnt / "predict"
    command = [
        sys.executable, "-m", "bmcore", "predict", str(dataset.cases_folder / case_id),
        "--bundle", str(run.order.out), "--out", str(place), "--force",
    ]  # fmt: skip
    if dataset.spreadsheet is not None:
        command += ["--clinical", str(dataset.spreadsheet)]
    home = {**os.environ, "BMCORE_HOME": str(run.learnt / "home")}  # not among the user's cases
    done = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise refuse(
            "the finished bundle could not read a case of its own cohort",
            file=case_id,
            found=" ".join(told),
            hint="the bundle lies there, but do not use it before this is understood.",
        )
    typer.echo(f"predict reads {case_id} with the new bundle: {place / 'prediction.json'}")
