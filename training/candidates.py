"""False-positive reduction and lesion refinement.

python -m training.candidates --segmenter DIR --out DIR

A trained segmentation net reads new synthetic patients (or the cases of ``--data``); every place
that it suspects is measured (``bmcore.models.candidates``), and a small head learns which of them
are metastases; a small net learns to draw the small ones (``training.contours``). The segmentation
net stays as it is. What was measured and cut out is kept below OUT/cache, one file a patient: a
killed run, started again with the same options, goes on, and ends with the same weights on a CPU.
OUT then holds the segmentation net with both in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from bmcore.domain import refuse
from training import contours
from training.common import (
    DeviceOption,
    EpochsOption,
    OutOption,
    SeedOption,
    distributed,
    run_app,
    seed_everything,
    write_json,
)
from training.gather import VIEWS, Found, Reader, gather, load, load_crops
from training.passes import Passes, run_passes
from training.reading import Net, open_data

if TYPE_CHECKING:
    import torch

RATES = (0.25, 0.5, 1.0, 2.0)  # false candidates a patient


@dataclass(frozen=True)
class CandidateTraining:
    """A sentence a field.

    hidden: units of each of the head's two hidden layers. chance: probability of tumour core from
    which a place is a candidate. epochs: passes over all candidates. batch: candidates a step.
    rate, decay: peak learning rate (one cycle), weight decay. smoothing: of the labels. held: share
    of the patients that only measure. least_t1c: level in t1c that a metastasis reaches somewhere,
    in spreads above the brain's median; of 707 synthetic ones 34 stay below 1.25, 3 over 7 mm3.
    """

    hidden: int = 256
    chance: float = 0.02
    epochs: int = 100
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.3
    smoothing: float = 0.02
    held: float = 0.1
    least_t1c: float = 1.25
    seed: int = 0


def train(found: Found, config: CandidateTraining, out: Path, device: str) -> dict[str, Any]:
    """Train a head on all candidates: its weights (CPU), the loss of each pass, and seconds."""
    import torch
    from torch.nn import functional

    from bmcore.models.candidates import build_candidate_head
    from bmcore.models.configs import KNOTS

    count = len(found.lesion)
    if found.lesion.all() or not found.lesion.any():
        raise refuse(
            "the candidates are all of one kind",
            found=f"{int(found.lesion.sum())} lesions, {int((~found.lesion).sum())} others",
            expected="some of both",
            hint="give more --cases.",
        )
    batch = min(config.batch, count)
    seed_everything(config.seed)
    described = torch.from_numpy(found.described).to(device)
    soft = torch.from_numpy(found.lesion).to(device, torch.float32)
    soft = soft * (1 - config.smoothing) + config.smoothing / 2
    head = build_candidate_head(described.shape[-1], config.hidden).to(device)
    shares = torch.linspace(0, 1, KNOTS, device=device)
    head.knots.copy_(torch.quantile(described[0], shares, dim=0).T)  # type: ignore[operator]
    each = count // batch

    def losses(_: int) -> Iterator[torch.Tensor]:
        order = torch.randperm(count)[: each * batch].to(device)
        for chosen in order.view(each, batch):
            view = torch.randint(len(described), (batch,)).to(device)
            logits = head(described[view, chosen])
            yield functional.binary_cross_entropy_with_logits(logits, soft[chosen])

    how = Passes(config.epochs, each, config.rate, config.decay, "train", "loss")
    return run_passes(head, losses, how, out)


def measure(head: torch.nn.Module, found: Found, patients: int) -> dict[str, Any]:
    """How well ``head`` and the peak alone tell lesions from others, on patients not trained on.

    AUC, and the share of the lesions kept at RATES of false candidates a patient.
    """
    import torch
    from sklearn.metrics import roc_auc_score

    lesion = found.lesion
    out: dict[str, Any] = {"patients": patients, "lesions": int(lesion.sum())}
    out["others"] = int((~lesion).sum())
    if not lesion.any() or lesion.all():
        return out
    with torch.inference_mode():
        second = head.eval()(torch.from_numpy(found.described[0])).numpy()
    for name, score in (("peak", found.peak), ("second look", second)):
        false = np.append(np.sort(score[~lesion])[::-1], -np.inf)
        limits = {rate: false[min(int(rate * patients), len(false) - 1)] for rate in RATES}
        out[name] = {
            "auc": float(roc_auc_score(lesion, score)),
            "lesions_kept_at_false_per_patient": {
                f"{rate:g}": float((score[lesion] > limit).mean()) for rate, limit in limits.items()
            },
        }
    return out


def publish(
    out: Path,
    segmenter: Path,
    head: dict[str, Any],
    drawing: dict[str, Any],
    metrics: dict[str, Any],
    said: dict[str, Any],
) -> None:
    """The segmentation net with both small nets in it, ``halved``, and what is known of them.

    head, drawing: results of ``train`` and ``contours.train``.
    """
    from safetensors.torch import load_file

    from bmcore.models.bundles import load_bundle, write_part
    from bmcore.models.false_positive_reduction import (
        CONTOURS,
        HEAD,
        without_false_positive_reduction,
    )

    entry = load_bundle(segmenter).manifest["parts"]["segmenter"]
    weights = without_false_positive_reduction(load_file(segmenter / entry["file"]))
    weights |= {HEAD + k: v for k, v in halved(head["weights"]).items()}
    weights |= {CONTOURS + k: v for k, v in halved(drawing["weights"]).items()}
    config = entry["config"] | {
        "candidates": said["hidden"], "candidate_chance": said["chance"],
        "least_t1c": said["least_t1c"],
        "contours": said["contours"]["channels"], "mirror": said["mirror"],
    }  # fmt: skip
    said = said | {"seconds": head["seconds"]}
    said["contours"] = said["contours"] | {"seconds": drawing["seconds"]}
    training = entry["training"] | {"candidates": said}
    metrics = metrics | {"loss": head["curve"]}
    metrics["contours"] = metrics["contours"] | {"loss": drawing["curve"]}
    metrics = entry["metrics"] | {"candidates": metrics}
    write_part(out, "segmenter", weights, config, training, metrics)
    write_json(out / "metrics.json", {"segmenter": metrics, "training": training})


def main(
    segmenter: Annotated[Path, typer.Option(help="Folder of training.segmenter, or a bundle.")],
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(help="Cases in the Yale layout to read instead of synthetic patients."),
    ] = None,
    cases: Annotated[int, typer.Option(min=2, help="Synthetic patients, about 10 s each.")] = 300,
    chance: Annotated[
        float, typer.Option(help="Probability of tumour core from which a place is a candidate.")
    ] = CandidateTraining.chance,
    mirror: Annotated[
        bool | None,
        typer.Option(help="Also read the mirror image (twice the time); else as the config says."),
    ] = None,
    hidden: Annotated[
        int, typer.Option(min=1, help="Units of each hidden layer of the head.")
    ] = CandidateTraining.hidden,
    epochs: EpochsOption = CandidateTraining.epochs,
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the net that draws lesions.")
    ] = contours.ContourTraining.channels,
    contour_epochs: Annotated[
        int, typer.Option(min=1, help="Passes over all lesions to learn to draw.")
    ] = contours.ContourTraining.epochs,
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
    drawing = contours.ContourTraining(channels=channels, epochs=contour_epochs, seed=seed)
    bundle = load_bundle(segmenter)
    weights = bundle.manifest["parts"]["segmenter"]["sha256"]
    plain = bundle.segmenter_config.changed(**NO_REDUCTION)
    if mirror is not None:
        plain = plain.changed(mirror=mirror)
    patients = cases if data is None else len(open_data(data).case_ids)
    with distributed(device) as world:
        threads = 0 if workers == 1 else 1
        kind = world.device.split(":")[0]
        reader = Reader(Net(segmenter, plain, kind, threads), data, seed, chance)
        files = gather(reader, patients, out / "cache", weights, workers)
        held = max(1, round(config.held * len(files)))
        judged = train(load(files[held:]), config, out, world.device)
        crops = load_crops(files[held:])
        drawn = contours.train(crops, drawing, out, world.device)
    head = build_candidate_head(len(FEATURES), hidden)
    head.load_state_dict(halved(judged["weights"]))
    net = build_contour_net(channels)
    net.load_state_dict(halved(drawn["weights"]))
    metrics = measure(head, load(files[:held]), held)
    metrics["contours"] = contours.measure(net, load_crops(files[:held]))
    said = {
        **asdict(config),
        "patients": len(files) - held,
        "source": "synthetic, styles CLINIC and WILD" if data is None else data.name,
        "segmenter_sha256": weights,
        "mirror": plain.inference.mirror,
        "hardware": "GPU" if kind == "cuda" else "CPU",
        "views": VIEWS,
        "contours": {**asdict(drawing), "lesions": len(crops)},
    }
    publish(out, segmenter, judged, drawn, metrics, said)
    for name in ("peak", "second look", "contours"):
        typer.echo(f"{name}: {metrics.get(name, 'no measure')}")


def halved(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As they are kept: float16, but for the knots of a head. Most candidates share some values,
    such as the size of two voxels, and a knot that is no longer equal to one of them would move the
    rank of all of them."""
    return {k: v if k == "knots" else v.half() for k, v in weights.items()}


if __name__ == "__main__":
    run_app(main)
