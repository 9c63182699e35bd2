"""The segmentation nets of a run, one without each fold and one on all cases, and their scores."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bmcore.domain import BmcoreError
from bmcore.workers import in_processes
from training.data.case_inference import open_data
from training.data.content import image_content
from training.evaluation.segmentation_case import ALL as EVERY
from training.evaluation.segmentation_case import Scoring, evaluate_case, source_of
from training.evaluation.segmentation_summary import MINIMUM, summarise
from training.loops.segmenter_trainer import TrainConfig, begin_with
from training.pipeline.order import Run
from training.run.files import read_json, write_json
from training.run.processes import progress, threads_each
from training.segmenter import Request, fine_tuning, learn, net_of


def train_net(run: Run, fold: int) -> None:
    """Train the net without ``fold`` (``ALL``: with all cases): fine-tuned from the start bundle,
    or from nothing."""
    import torch

    from bmcore.models.configs import SegmenterConfig

    gpu = run.order.device != "cpu" and torch.cuda.is_available()
    begin = begin_with(run.order.start, run.order.workers if gpu else 0)  # a GPU waits for no patch
    net: SegmenterConfig = net_of(begin, fresh_size() if begin.weights is None else {}, 0.0)
    fine = {} if begin.weights is None else fine_tuning(run.steps)
    config = TrainConfig(
        batch=run.order.effort.batch, patch=net.inference.window, steps=run.steps,
        seed=run.order.seed, save_every=min(100, max(1, run.steps // 4)), **fine,
    )  # fmt: skip
    out = run.net("trained", fold)
    if (out / "metrics.json").exists():  # the folder is of these very data and options
        return
    learn(Request(out, (run.cases,), run.prepared, fold, measure=False, device=run.order.device),
          config, net, begin)  # fmt: skip
    (out / "checkpoint.rank0.pt").unlink(missing_ok=True)  # as large as three nets


def fresh_size() -> dict[str, Any]:
    """The size of a net from nothing: what a GPU, or a CPU, can train."""
    import torch

    if torch.cuda.is_available():
        return {
            "filters": 32,
            "full_resolution_channels": 8,
            "blocks_down": (2, 2, 2, 2),
            "window": 96,
            "flip_augmentation": True,
        }
    return {"filters": 24, "blocks_down": (1, 2, 2, 3), "window": 80, "flip_augmentation": True}


def measure_nets(run: Run) -> None:
    """Score every case by the net that has not seen it, by the road of daily use; all sequences,
    and, as ordered, T1 post-gadolinium alone. Writes ``segmentation.json``."""
    from bmcore.models.bundles import load_bundle

    case_ids = open_data(run.cases).case_ids
    records, left_out = [], {}
    with progress() as bars:
        task = bars.add_task("measure the segmentation", total=len(case_ids))
        jobs = [(run, case_id) for case_id in case_ids]
        for number, (record, why) in in_processes(_measure, jobs, run.order.workers):
            if record is None:
                left_out[case_ids[number]] = why
            else:
                records.append(record)
            bars.advance(task)
    records.sort(key=lambda record: record["case_id"])
    final = load_bundle(run.net("chosen", -1)).entry("segmenter")
    write_json(run.nets / "segmentation.json", summarise(records, MINIMUM) | {
        "data": run.order.data.name,
        "what": f"each case by the net of {run.split.count} that has not seen it; the net in the "
        "bundle has learnt from all cases",
        "left_out": left_out,
        "segmenter_sha256": final["sha256"],
        "scoring": asdict(Scoring()),
    })  # fmt: skip


def _measure(run: Run, case_id: str) -> tuple[dict[str, Any] | None, str]:
    """The record of one case, made unless it is there; None and the reason where it cannot be
    read."""
    from bmcore.models import runtime
    from bmcore.models.bundles import load_bundle

    dataset, scoring = open_data(run.cases), Scoring()
    bundle = load_bundle(run.net("chosen", run.split.fold(case_id)))
    path = run.nets / "segmentation" / f"{case_id}.json"
    source = source_of(image_content(dataset, case_id), bundle, scoring)
    kept: dict[str, Any] = read_json(path) if path.exists() else {}
    if kept.get("source") != source:
        chosen = runtime.choose(run.order.device, threads=threads_each(run.order.workers))
        subsets = (EVERY, "t1c") if run.order.effort.t1c_alone else (EVERY,)
        try:
            kept = evaluate_case(dataset.load(case_id), bundle, chosen, scoring, subsets)
        except BmcoreError as error:
            return None, " ".join(f.sentence for f in error.findings)
        kept["source"] = source
        write_json(path, kept)
    return kept, ""
