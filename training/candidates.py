"""False-positive reduction and lesion refinement.

python -m training.candidates --segmenter DIR --out DIR

A trained segmentation net reads new synthetic patients (or the cases of ``--data``); every place
that it suspects is measured (``bmcore.models.candidates``), and a small head learns which of them
are metastases; a small net learns to draw the small ones (``training.loops.lesion_refinement``).
The segmentation net stays as it is. With ``--refine`` the head goes on from the one that the net
has, and the net that draws lesions stays too: so kinds of candidates that the first patients did
not show are learnt without unlearning the others. What was measured and cut out is kept below
OUT/cache, one file a patient: a killed run, started again with the same options, goes on, and ends
with the same weights on a CPU. OUT then holds the segmentation net with both in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmcore.domain import refuse
from training.data.candidate_dataset import (
    MIMICS,
    VIEWS,
    Reader,
    gather,
    load,
    load_crops,
)
from training.data.case_inference import Net, open_data
from training.evaluation.small_nets import measure_classification, measure_refinement
from training.loops import lesion_refinement
from training.loops.false_positive_reduction import REFINED, CandidateTraining, train, units
from training.run.files import write_json
from training.run.options import (
    DeviceOption,
    EpochsOption,
    OutOption,
    SeedOption,
    run_app,
)
from training.run.processes import distributed, threads_each

if TYPE_CHECKING:
    import torch

    from bmcore.models.bundles import Bundle


def publish(
    out: Path,
    segmenter: Path,
    head: dict[str, Any],
    drawing: dict[str, Any] | None,
    metrics: dict[str, Any],
    said: dict[str, Any],
) -> None:
    """The segmentation net with both small nets in it, ``halved``, and what is known of them.

    head, drawing: results of ``train`` and ``lesion_refinement.train``; no drawing: it stays.
    """
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.false_positive_reduction import (
        CONTOURS,
        HEAD,
        without_false_positive_reduction,
    )

    bundle = load_bundle(segmenter)
    entry = bundle.entry("segmenter")
    before = bundle.weights("segmenter")
    weights = without_false_positive_reduction(before)
    weights |= {HEAD + k: v for k, v in halved(head["weights"]).items()}
    config = entry["config"] | {
        "candidates": said["hidden"], "candidate_threshold": said["chance"],
        "min_t1c_enhancement": said["min_t1c_enhancement"],
        "flip_augmentation": said["flip_augmentation"],
    }  # fmt: skip
    said = said | {"seconds": head["seconds"]}
    metrics = metrics | {"loss": head["curve"]}
    if drawing is None:
        weights |= {k: v for k, v in before.items() if k.startswith(CONTOURS)}
        earlier = entry["training"].get("candidates", {})
        said |= {"contours": earlier.get("contours"), "start": earlier}
        metrics["contours"] = entry["metrics"].get("candidates", {}).get("contours")
    else:
        weights |= {CONTOURS + k: v for k, v in halved(drawing["weights"]).items()}
        config["contours"] = said["contours"]["channels"]
        said["contours"] = said["contours"] | {"seconds": drawing["seconds"]}
        metrics["contours"] = metrics["contours"] | {"loss": drawing["curve"]}
    training = entry["training"] | {"candidates": said}
    metrics = entry["metrics"] | {"candidates": metrics}
    write_part(out, "segmenter", weights, config, training, metrics)
    write_json(out / "metrics.json", {"segmenter": metrics, "training": training})


def main(
    segmenter: Annotated[Path, typer.Option(help="Folder of training.segmenter, or a bundle.")],
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of cases to read instead of synthetic patients."),
    ] = None,
    cases: Annotated[int, typer.Option(min=2, help="Synthetic patients, about 10 s each.")] = 300,
    mimics: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of synthetic patients with enhancing lesions that are none."
        ),
    ] = MIMICS,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Go on from the head that SEGMENTER has, shortly, and keep its net that "
            "draws lesions.",
        ),
    ] = False,
    chance: Annotated[
        float, typer.Option(help="Probability of tumour core from which a place is a candidate.")
    ] = CandidateTraining.chance,
    flip_augmentation: Annotated[
        bool | None,
        typer.Option(help="Also read the mirror image (twice the time); else as the config says."),
    ] = None,
    hidden: Annotated[
        int, typer.Option(min=1, help="Units of each hidden layer of the head.")
    ] = CandidateTraining.hidden,
    epochs: EpochsOption = CandidateTraining.epochs,
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the net that draws lesions.")
    ] = lesion_refinement.ContourTraining.channels,
    contour_epochs: Annotated[
        int, typer.Option(min=1, help="Passes over all lesions to learn to draw.")
    ] = lesion_refinement.ContourTraining.epochs,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = CandidateTraining.rate,
    seed: SeedOption = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read patients.")] = 2,
    device: DeviceOption = "auto",
) -> None:
    """Teach the segmentation net of SEGMENTER false-positive reduction and write all to OUT."""
    from bmcore.models.bundles import load_bundle
    from bmcore.models.candidates import FEATURES, build_candidate_head
    from bmcore.models.false_positive_reduction import NO_REDUCTION
    from bmcore.models.lesion_refinement import build_contour_net

    config = CandidateTraining(hidden=hidden, chance=chance, epochs=epochs, rate=rate, seed=seed)
    drawing = lesion_refinement.ContourTraining(channels=channels, epochs=contour_epochs, seed=seed)
    bundle = load_bundle(segmenter)
    weights = bundle.entry("segmenter")["sha256"]
    start = head_of(bundle, segmenter) if refine else None
    if start is not None:
        config = replace(config, hidden=units(start), **REFINED)
    plain = bundle.segmenter_config.changed(**NO_REDUCTION)
    if flip_augmentation is not None:
        plain = plain.changed(flip_augmentation=flip_augmentation)
    patients = cases if data is None else len(open_data(data).case_ids)
    drawn = None
    with distributed(device) as world:
        kind = world.device.split(":")[0]
        reader = Reader(
            Net(segmenter, plain, kind, threads_each(workers)), data, seed, chance, mimics
        )
        files = gather(reader, patients, out / "cache", weights, workers)
        held = max(1, round(config.held * len(files)))
        judged = train(load(files[held:]), config, out, world.device, start)
        if not refine:
            crops = load_crops(files[held:])
            drawn = lesion_refinement.train(crops, drawing, out, world.device)
    head = build_candidate_head(len(FEATURES), config.hidden)
    head.load_state_dict(halved(judged["weights"]))
    metrics = measure_classification(head, load(files[:held]), held)
    drawn_by: dict[str, Any] = {}
    if drawn is not None:
        net = build_contour_net(channels)
        net.load_state_dict(halved(drawn["weights"]))
        metrics["contours"] = measure_refinement(net, load_crops(files[:held]))
        drawn_by = {"contours": {**asdict(drawing), "lesions": len(crops)}}
    said = {
        **asdict(config),
        "patients": len(files) - held,
        "source": "synthetic, styles CLINIC and WILD" if data is None else data.name,
        "mimics": mimics if data is None else 0.0,
        "segmenter_sha256": weights,
        "flip_augmentation": plain.inference.flip_augmentation,
        "hardware": "GPU" if kind == "cuda" else "CPU",
        "views": VIEWS,
        **drawn_by,
    }
    publish(out, segmenter, judged, drawn, metrics, said)
    for name in ("peak", "second look", "contours"):
        typer.echo(f"{name}: {metrics.get(name, 'no measure')}")


def head_of(bundle: Bundle, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the head of a bundle; InputRefused where it has none."""
    from bmcore.models.false_positive_reduction import HEAD, tensors_of

    found = tensors_of(bundle.weights("segmenter"), HEAD)
    if not found:
        raise refuse(
            "the segmentation net has no false-positive reduction to go on from",
            file=folder,
            hint="leave --refine out.",
        )
    return found


def halved(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As they are kept: float16, but for the quantiles of a head. Most candidates share some
    values, such as the size of two voxels, and a quantile that is no longer equal to one of them
    would move the rank of all of them."""
    return {k: v if k == "quantiles" else v.half() for k, v in weights.items()}


if __name__ == "__main__":
    run_app(main)
