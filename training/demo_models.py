"""All demo models from nothing: ``python -m training.demo_models --out models/demo --work DIR``.

Synthetic heads and a held-out cohort -> segmenter; patients of their own -> its false-positive
reduction; a third cohort -> its limits. Synthetic patients, some also with the lesions that this
segmenter finds -> CNN -> autoencoder -> regressions -> evaluation, learning curves; a few whole
patients -> novelty. All of it -> bundle and model card. Each step is a command of its own; a step
that is done with the same options is skipped, and a step that was stopped goes on.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import refuse
from bmcore.models.manifest import MANIFEST, NAMING
from training.loops.cnn_trainer import CNNTraining
from training.naming_dataset import ON_ONE_HEAD, patient_file
from training.run.chain import Chain
from training.run.files import write_json
from training.run.options import OutOption, SeedOption, run_app
from training.run.processes import progress
from training.scenes import PLAN, draw_heads

SETS = 3  # sets of lesions a head
LEARNT = ("cnn", "autoencoder", "mlr", "evaluate", "uncertainty", "spread", "learning_curves")
DONE = {"evaluate": "model_card.json", "learning_curves": "metrics.json"}
COMMANDS = {"spread": "bootstrap_refits"}  # step -> command, where they differ


def _command(module: str, *options: str) -> None:
    """Run ``python -m module options``; its words go to the screen. A failure stops the chain."""
    command = [sys.executable, "-m", module, *options]
    if subprocess.run(command, check=False).returncode:
        raise refuse(f"the step {module} has failed", found=" ".join(command[2:]))


def _draw_cohort(cases: int, seed: int, folder: Path, workers: int) -> None:
    from bmcore.phantom.cohort import write_cohort

    with progress() as bars:
        task = bars.add_task("draw patients", total=cases)
        write_cohort(
            cases,
            seed,
            folder,
            on_case=lambda done, _: bars.update(task, completed=done),
            workers=workers,
        )
    write_json(folder / "complete.json", {"cases": cases, "seed": seed})


def _draw_naming(options: list[str], workers: int) -> None:
    """Draw the patients for naming in ``workers`` processes side by side."""
    command = [sys.executable, "-m", "training.naming_dataset", *options, "--part"]
    running = [subprocess.Popen([*command, f"{n}/{workers}"]) for n in range(workers)]
    codes = [process.wait() for process in running]
    if any(codes):
        raise refuse("the step training.naming_dataset has failed", found=" ".join(options))


@dataclass(frozen=True)
class Plan:
    """heads, looks, held: numbers of synthetic heads, of patients that teach false-positive
    reduction, of held-out patients. steps: of the segmenter."""

    heads: int
    looks: int
    held: int
    seed: int
    steps: int
    workers: int


def road() -> list[str]:
    """Options of the segmenter's training that depend on the machine."""
    import torch

    if torch.cuda.is_available():
        net = [
            "--filters",
            "32",
            "--full-resolution-channels",
            "8",
            "--down",
            "2,2,2,2",
            "--patch",
            "96",
        ]
        return [*net, "--batch", "8", "--rate", "1e-3", "--ema", "0.999", "--workers", "8"]
    return ["--batch", "1", "--workers", "1"]


def learn_segmenter(chain: Chain, work: Path, out: Path, plan: Plan) -> None:
    """Draw heads, train the segmenter, teach it false-positive reduction, and choose its limits."""
    scenes, tuned, net = work / "scenes", work / "tune", work / "net"
    chain.step(
        "heads", f"{plan.heads} {plan.seed + 4}", scenes / PLAN,
        lambda: draw_heads(scenes, plan.heads, SETS, plan.seed + 4, plan.workers),
    )  # fmt: skip
    options = ["--data", str(work / "held"), "--scenes", str(scenes), "--out", str(net)]
    options += ["--seed", str(plan.seed), "--steps", str(plan.steps)]
    options += road()
    chain.step(
        "segmenter", " ".join(options), net / "metrics.json",
        lambda: _command("training.segmenter", *options),
    )  # fmt: skip
    looks = ["--segmenter", str(net), "--out", str(out), "--cases", str(plan.looks)]
    looks += ["--flip-augmentation", "--seed", str(plan.seed + 8), "--workers", str(plan.workers)]
    chain.step(
        "second look", " ".join(looks), out / "metrics.json",
        lambda: _command("training.candidates", *looks),
    )  # fmt: skip
    chain.step(
        "cohort for the limits", f"{plan.held} {plan.seed + 6}", tuned / "complete.json",
        lambda: _draw_cohort(plan.held, plan.seed + 6, tuned, plan.workers),
    )  # fmt: skip
    limits = [
        "--data",
        str(tuned),
        "--segmenter",
        str(out),
        "--flip-augmentation",
        "--specks",
        "0.02",
    ]
    limits += ["--most-false", "0.2", "--workers", str(plan.workers)]
    chain.step(
        "limits", " ".join(limits), out / MANIFEST,
        lambda: _command("training.postprocessing_search", *limits),
    )  # fmt: skip


def main(
    out: OutOption,
    work: Annotated[Path, typer.Option(help="Folder for the cohort and what lies between.")],
    cases: Annotated[int, typer.Option(min=15, help="Patients for the answers.")] = 2000,
    heads: Annotated[
        int, typer.Option(min=1, help="Synthetic heads of the wild style, for the segmenter.")
    ] = 200,
    looks: Annotated[
        int, typer.Option(min=2, help="Patients that teach false-positive reduction.")
    ] = 280,
    held: Annotated[int, typer.Option(min=2, help="Patients that validate the segmenter.")] = 12,
    seed: SeedOption = 7,
    segmenter: Annotated[
        Path | None,
        typer.Option(help="Folder of a segmenter trained before; else it is trained too."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the segmenter.")] = 9000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of the CNN.")] = CNNTraining.epochs,
    described: Annotated[
        int, typer.Option(min=12, help="Patients whose whole images tell what is known.")
    ] = 60,
    net_every: Annotated[
        int, typer.Option(min=1, help="Heads of which one patient also has the net's lesions.")
    ] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw patients.")] = 2,
) -> None:
    """Train all demo models and write the bundle to OUT."""
    from bmcore.models.bundle_writer import copy_part, finish
    from bmcore.models.bundles import load_bundle

    work.mkdir(parents=True, exist_ok=True)
    cohort, learnt, kept = work / "cohort", work / "answers", work / "held"
    chain = Chain(work)
    chain.step(
        "held-out cohort", f"{held} {seed + 5}", kept / "complete.json",
        lambda: _draw_cohort(held, seed + 5, kept, workers),
    )  # fmt: skip
    source = segmenter or work / "segmenter"
    if segmenter is None:
        learn_segmenter(chain, work, source, Plan(heads, looks, held, seed, steps, workers))
    copy_part(source, out, "segmenter")
    net = load_bundle(out).entry("segmenter")["sha256"]
    chain.before = ""  # what follows depends on the segmenter alone, which its hash stands for
    chain.step(
        "cohort", f"{described} {seed}", cohort / "complete.json",
        lambda: _draw_cohort(described, seed, cohort, workers),
    )  # fmt: skip
    naming = work / f"naming-{net[:8]}"  # another net finds other lesions
    drawing = ["--n", str(cases), "--out", str(naming), "--bundle", str(out)]
    drawing += ["--net-every", str(net_every)]
    chain.step(
        "naming patients", f"{' '.join(drawing)} {net}",
        patient_file(naming, (cases - 1) // ON_ONE_HEAD, ON_ONE_HEAD - 1, "reference"),
        lambda: _draw_naming(drawing, workers),
    )  # fmt: skip
    for name in LEARNT:
        data = cohort if name == "uncertainty" else naming
        place = ["--data", str(data), "--out", str(learnt), "--seed", str(seed)]
        more = {"cnn": ["--epochs", str(epochs)], "uncertainty": ["--cases", str(described)]}
        options = [*place, *more.get(name, [])]
        done = learnt / DONE.get(name, f"{_part(name)}.safetensors")
        command = f"training.{COMMANDS.get(name, name)}"
        chain.step(name, " ".join(options), done, partial(_command, command, *options))
    for part in NAMING:
        copy_part(learnt, out, part)
    chain.before = ""  # measured of the segmenter alone
    options = ["--data", str(kept), "--bundle", str(out), "--out", str(learnt)]
    chain.step(
        "segmentation", " ".join([*options, net]),
        learnt / "segmentation.json",
        lambda: _command("training.evaluate_segmentation", *options),
    )  # fmt: skip
    total = sum(chain.timings_s.values())
    finish(
        out, "bmcore demo", "1", trained_on(cases, heads, looks), True,
        seeds={"cohort": seed, "training": seed},
        timings_s={**chain.timings_s, "all": total},
        notes="Demo models. They have seen synthetic brains only.",
    )  # fmt: skip
    _command("training.card", "--out", str(learnt), "--bundle", str(out))  # it names the bundle
    typer.echo(f"bundle written to {out}; all steps took {total / 60:.1f} min")


def trained_on(cases: int, heads: int, looks: int) -> str:
    """What the manifest says the demo models were trained on."""
    return (
        f"synthetic brains only: {heads * SETS} varied scenes on {heads} synthetic heads, and "
        f"{looks} whole patients (segmentation); {cases} patients (primary)"
    )


def _part(step: str) -> str:
    return "fused_mlr" if step == "mlr" else step


if __name__ == "__main__":
    run_app(main)
