"""Train the second look at candidates: ``python -m training.candidates --segmenter DIR --out DIR``.

A trained segmentation net reads new synthetic patients (or the cases of ``--data``); every place
that it suspects, and every bright dot of t1c, is measured (``bmcore.models.candidates``), and a
small head learns which of them are metastases; a small net learns to draw those that are
(``training.contours``). The segmentation net stays as it is. What was measured and cut out is kept
below OUT/cache, one file a patient: a killed run, started again with the same options, goes on, and
ends with the same weights on a CPU. OUT then holds the segmentation net with the second look in it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import refuse
from bmcore.workers import in_processes
from training import contours
from training.common import (
    DeviceOption,
    EpochsOption,
    OutOption,
    SeedOption,
    Stopwatch,
    atomic_path,
    board,
    distributed,
    progress,
    read_json,
    run_app,
    seed_everything,
    write_json,
)
from training.patches import augment, lost_sequences

if TYPE_CHECKING:
    import torch

    from bmcore.domain import Case
    from bmcore.intake.datasets import YaleDataset
    from bmcore.models.segmenter import SegmenterConfig

PLAN = "plan.json"
VIEWS = 3  # of each candidate: as it is, and augmented
CALM = 0.6  # share of the synthetic patients in the style CLINIC; the others are WILD
DROP = 0.3  # share of the patients whose sequences may be missing, and the chance of each
RATES = (0.25, 0.5, 1.0, 2.0)  # false candidates a patient


@dataclass(frozen=True)
class CandidateTraining:
    """A sentence a field.

    hidden: units of each of the head's two hidden layers. chance: probability of tumour core from
    which a place is a candidate. contrast: spreads of t1c from which a bright dot is one. epochs:
    passes over all candidates. batch: candidates a step. rate, decay: peak learning rate (one
    cycle), weight decay. smoothing: of the labels. held: share of the patients that only measure.
    """

    hidden: int = 128
    chance: float = 0.02
    contrast: float = 2.0
    epochs: int = 100
    batch: int = 64
    rate: float = 3e-3
    decay: float = 0.3
    smoothing: float = 0.02
    held: float = 0.1
    seed: int = 0


# --- candidates of patients -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    """described float32 (VIEWS, n, len(FEATURES)); lesion (n,): whether a candidate touches
    a metastasis; peak (n,): probability of tumour core that the segmentation net gave it."""

    described: npt.NDArray[np.float32]
    lesion: npt.NDArray[np.bool_]
    peak: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Patient:
    """images (4, i, j, k), standardised, some sequences all 0; brain (i, j, k); truth (i, j, k):
    labels 0-3; chances (4, i, j, k) that the segmentation net gave."""

    images: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.uint8]
    chances: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Reader:
    """What a process needs to cut out the candidates of a patient.

    segmenter: folder of the net. data: Yale layout, None for synthetic patients. threads: of torch
    in this process, 0 for all.
    """

    segmenter: Path
    data: Path | None
    seed: int
    chance: float
    contrast: float
    device: str
    threads: int

    def case(self, number: int) -> Case:
        """Patient ``number`` of DATA, or drawn from the seed."""
        if self.data is not None:
            dataset = _dataset(self.data)
            return dataset.load(dataset.case_ids[number])
        from bmcore.phantom.cohort import draw_case
        from bmcore.phantom.style import CLINIC, WILD

        random = np.random.default_rng([self.seed, number])
        style = CLINIC if random.uniform() < CALM else WILD
        return draw_case(self.seed * 100_003 + number, style).as_case(f"synthetic-{number}")

    def read(self, number: int) -> Patient:
        """Patient ``number``, now and then without some of the sequences, with the net's answer.

        InputRefused where there is no reference mask.
        """
        from bmcore.imaging.preprocess import prepare, to_working_grid
        from bmcore.models import runtime
        from bmcore.models.segmenter import read_chances

        case = self.case(number)
        if case.truth is None or case.truth.mask is None:
            raise refuse("no reference mask", file=case.case_id, expected="a seg file")
        prepared = prepare(case)
        truth = to_working_grid(case.truth.mask, prepared).astype(np.uint8)
        random = np.random.default_rng([self.seed, number, 1])
        images = prepared.images.copy()
        if random.uniform() < DROP:
            images[lost_sequences(random, DROP)] = 0
        how = runtime.choose(self.device, threads=self.threads)
        net = _plain_net(self.segmenter).to(how.device)
        with runtime.inference(how):
            chances = read_chances(net, images, prepared.brain)
        return Patient(images, prepared.brain, truth, chances)

    def find(self, number: int) -> tuple[Found, contours.Crops]:
        """The candidates of patient ``number``, and what is cut out of those that are lesions."""
        from scipy import ndimage

        from bmcore.models.candidates import cut_cubes, describe
        from bmcore.models.second_look import propose

        patient = self.read(number)
        images, truth = patient.images, patient.truth
        parts, found = propose(images, patient.brain, patient.chances, self.chance, self.contrast)
        peaks = np.array([c.peak for c in found])
        random = np.random.default_rng([self.seed, number, 2])
        views = varied(cut_cubes(images, parts, found), random)
        described = np.stack([describe(view, peaks) for view in views])
        near = ndimage.binary_dilation(np.isin(truth, (1, 3)), np.ones((3, 3, 3)))
        hit = np.bincount(parts.ravel(), weights=near.ravel(), minlength=1) > 0
        crops = contours.cut_crops(
            images, patient.chances, patient.brain, truth, parts, found, random
        )
        return Found(described, hit[[c.number for c in found]], peaks), crops


@functools.lru_cache(maxsize=1)
def _plain_net(segmenter: Path) -> torch.nn.Module:
    """The segmentation net, read once a process, without mirror image and second look."""
    from bmcore.models.bundles import load_bundle
    from bmcore.models.second_look import NONE

    net = load_bundle(segmenter).segmenter
    config: SegmenterConfig = net.config  # type: ignore[assignment]
    net.config = replace(config, mirror=False, **NONE)  # type: ignore[assignment, arg-type]
    return net


@functools.lru_cache(maxsize=1)
def _dataset(data: Path) -> YaleDataset:
    from bmcore.intake.datasets import YaleDataset

    return YaleDataset(data)


def varied(
    cubes: npt.NDArray[np.float32], random: np.random.Generator
) -> Iterator[npt.NDArray[np.float32]]:
    """VIEWS of cubes (n, 5, e, e, e): as they are, then with the images augmented like patches."""
    yield cubes
    for _ in range(VIEWS - 1):
        out = cubes.copy()
        for cube in out:
            cube[:-1] = augment(cube[:-1], random, 0.12)
        yield out


def keep(reader: Reader, number: int, file: Path) -> None:
    """Write what is known of the candidates of one patient, unless it is there."""
    if file.exists():
        return
    found, crops = reader.find(number)
    with atomic_path(file) as beside, beside.open("wb") as stream:
        np.savez(
            stream, described=found.described, lesion=found.lesion, peak=found.peak,
            **{name: getattr(crops, name) for name in contours.NAMES},
        )  # fmt: skip


def gather(reader: Reader, patients: int, cache: Path, weights: str, workers: int) -> list[Path]:
    """The files of all patients below ``cache``, in order; those that are there are kept.

    weights: hash of the segmentation net. InputRefused where ``cache`` holds other candidates.
    """
    from bmcore.models.candidates import FEATURES, LEAST

    cache.mkdir(parents=True, exist_ok=True)
    data = None if reader.data is None else str(reader.data.resolve())
    plan: dict[str, Any] = {"data": data, "seed": reader.seed, "chance": reader.chance}
    plan |= {"contrast": reader.contrast, "crop": contours.CROP}
    plan |= {"weights": weights, "features": list(FEATURES), "views": VIEWS, "least_voxels": LEAST}
    if (cache / PLAN).exists() and read_json(cache / PLAN) != plan:
        raise refuse(
            "the folder holds candidates of other patients or another net, or measured otherwise",
            file=cache,
            hint="take another --out.",
        )
    write_json(cache / PLAN, plan)
    jobs = [(reader, n, cache / f"{n:05d}.npz") for n in range(patients)]
    with progress() as bars:
        task = bars.add_task("read patients", total=patients)
        for _ in in_processes(keep, jobs, workers):
            bars.advance(task)
    return [file for _, _, file in jobs]


def load(files: Sequence[Path]) -> Found:
    """The candidates of several patients as one."""
    rows = []
    for file in files:
        with np.load(file) as kept:
            rows.append((kept["described"], kept["lesion"], kept["peak"]))
    described, lesion, peak = zip(*rows, strict=True)
    return Found(np.concatenate(described, 1), np.concatenate(lesion), np.concatenate(peak))


def load_crops(files: Sequence[Path]) -> contours.Crops:
    """What was cut out of the lesions of several patients."""
    every = []
    for file in files:
        with np.load(file) as kept:
            every.append(contours.Crops(*(kept[name] for name in contours.NAMES)))
    return contours.join(every)


# --- training -------------------------------------------------------------------------------------


def train(found: Found, config: CandidateTraining, out: Path, device: str) -> dict[str, Any]:
    """Train a head on all candidates: its weights (CPU), the loss of each pass, and seconds."""
    import torch
    from torch.nn import functional

    from bmcore.models.candidates import KNOTS, build_candidate_head

    count = len(found.lesion)
    if found.lesion.all() or not found.lesion.any():
        raise refuse(
            "the candidates are all of one kind",
            found=f"{int(found.lesion.sum())} lesions, {int((~found.lesion).sum())} others",
            expected="some of both",
            hint="give more --cases.",
        )
    batch = min(config.batch, count)
    watch = Stopwatch()
    seed_everything(config.seed)
    described = torch.from_numpy(found.described).to(device)
    soft = torch.from_numpy(found.lesion).to(device, torch.float32)
    soft = soft * (1 - config.smoothing) + config.smoothing / 2
    head = build_candidate_head(described.shape[-1], config.hidden).to(device)
    shares = torch.linspace(0, 1, KNOTS, device=device)
    head.knots.copy_(torch.quantile(described[0], shares, dim=0).T)  # type: ignore[operator]
    optimiser = torch.optim.AdamW(head.parameters(), weight_decay=config.decay)
    each, curve = count // batch, []
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.rate, total_steps=config.epochs * each
    )
    with progress() as bars, board(out) as log:
        task = bars.add_task("train", total=config.epochs)
        for epoch in range(config.epochs):
            order = torch.randperm(count)[: each * batch].to(device)
            losses = []
            for chosen in order.view(each, batch):
                view = torch.randint(len(described), (batch,)).to(device)
                logits = head(described[view, chosen])
                loss = functional.binary_cross_entropy_with_logits(logits, soft[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            curve.append(float(np.mean(losses)))
            log("loss", curve[-1], epoch)
            bars.update(task, advance=1, description=f"train, loss {curve[-1]:.3f}")
    weights = {k: v.detach().cpu() for k, v in head.state_dict().items()}
    return {"weights": weights, "curve": curve, "seconds": round(watch.seconds)}


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
    """The segmentation net with the second look in it, as float16, with what is known of both.

    head, drawing: results of ``train`` and ``contours.train``.
    """
    from safetensors.torch import load_file

    from bmcore.models.bundles import load_bundle, write_part
    from bmcore.models.second_look import CONTOURS, HEAD, without_second_look

    entry = load_bundle(segmenter).manifest["parts"]["segmenter"]
    weights = without_second_look(load_file(segmenter / entry["file"]))
    weights |= {HEAD + k: v.half() for k, v in head["weights"].items()}
    weights |= {CONTOURS + k: v.half() for k, v in drawing["weights"].items()}
    config = entry["config"] | {
        "candidates": said["hidden"], "candidate_chance": said["chance"],
        "contours": said["contours"]["channels"], "dot_contrast": said["contrast"],
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
    contrast: Annotated[
        float, typer.Option(min=0.1, help="Spreads of t1c from which a bright dot is a candidate.")
    ] = CandidateTraining.contrast,
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
    """Teach the segmentation net of SEGMENTER a second look and write both to OUT."""
    from bmcore.models.bundles import load_bundle
    from bmcore.models.candidates import FEATURES, build_candidate_head
    from bmcore.models.contours import build_contour_net

    config = CandidateTraining(
        hidden=hidden, chance=chance, contrast=contrast, epochs=epochs, rate=rate, seed=seed
    )
    drawing = contours.ContourTraining(channels=channels, epochs=contour_epochs, seed=seed)
    weights = load_bundle(segmenter).manifest["parts"]["segmenter"]["sha256"]
    patients = cases if data is None else len(_dataset(data).case_ids)
    with distributed(device) as world:
        threads = 0 if workers == 1 else 1
        kind = world.device.split(":")[0]
        reader = Reader(segmenter, data, seed, chance, contrast, kind, threads)
        files = gather(reader, patients, out / "cache", weights, workers)
        held = max(1, round(config.held * len(files)))
        judged = train(load(files[held:]), config, out, world.device)
        crops = load_crops(files[held:])
        drawn = contours.train(crops, drawing, out, world.device)
    head = build_candidate_head(len(FEATURES), hidden)
    head.load_state_dict(_rounded(judged["weights"]))
    net = build_contour_net(channels)
    net.load_state_dict(_rounded(drawn["weights"]))
    metrics = measure(head, load(files[:held]), held)
    metrics["contours"] = contours.measure(net, load_crops(files[:held]))
    said = {
        **asdict(config),
        "patients": len(files) - held,
        "source": "synthetic, styles CLINIC and WILD" if data is None else data.name,
        "segmenter_sha256": weights,
        "hardware": "GPU" if kind == "cuda" else "CPU",
        "views": VIEWS,
        "contours": {**asdict(drawing), "lesions": len(crops)},
    }
    publish(out, segmenter, judged, drawn, metrics, said)
    for name in ("peak", "second look", "contours"):
        typer.echo(f"{name}: {metrics.get(name, 'no measure')}")


def _rounded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As they are once they have been kept as float16."""
    return {k: v.half().float() for k, v in weights.items()}


if __name__ == "__main__":
    run_app(main)
