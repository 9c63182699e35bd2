"""False-positive reduction and lesion refinement from predictions on patients that no net has seen.

The net without fold k reads the patients of fold k; what it suspects there is what a net suspects
in new patients. A new head, which goes on from that of the start bundle, and a new contour net are
learnt from it, each judged on the fold that it has not seen, beside those of the start bundle on
the same candidates. A new one is kept only where it is shown to be better: paired by person, the
interval of the difference above 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import InputRefused
from bmcore.stats.bootstrap import Resampling, mean_statistic, paired_difference
from bmcore.stats.estimate import Estimate
from bmcore.workers import in_processes
from training.candidates import halved
from training.data.candidate_dataset import Reader, keep, load, load_crops
from training.data.case_inference import Net, open_data
from training.evaluation.small_nets import refinement_scores
from training.loops import false_positive_reduction, lesion_refinement
from training.loops.false_positive_reduction import REFINED, CandidateTraining, units
from training.loops.lesion_refinement import ContourTraining
from training.pipeline.order import Run
from training.run.files import atomic_path, write_json
from training.run.processes import distributed, progress, threads_each
from training.segmenter import ALL

if TYPE_CHECKING:
    import torch

DRAWS = Resampling(1000)
HEADS, CONTOUR_NETS = "head", "contours"


@dataclass(frozen=True)
class Verdict:
    """kept: "new", "start" or "none". new, base: the mean figure of the new one and of what it was
    held against. difference: new minus base, paired by person; None where it could not be learnt.
    why: in a sentence."""

    kept: str
    why: str
    new: float | None = None
    base: float | None = None
    difference: Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        told = None if self.difference is None else self.difference.as_dict()
        return {"kept": self.kept, "why": self.why, "new": self.new, "base": self.base,
                "difference": told}  # fmt: skip


def decide(what: str, base: str, difference: Estimate, new: float, old: float) -> Verdict:
    """The rule. base: "start", or "none" where the start has none."""
    better = difference.low > 0  # NaN, without an interval, is not
    words = (
        f"{what}: new {new:.3f}, {'the start' if base == 'start' else 'without'} {old:.3f}, "
        f"difference {difference.text(3)}; "
    )
    words += "the new one is kept" if better else "the new one is not shown to be better"
    return Verdict("new" if better else base, words, new, old, difference)


def gather(run: Run) -> list[Path]:
    """The candidates of every case, found by the net that has not seen it; one file a case."""
    from bmcore.models.bundles import load_bundle
    from bmcore.models.false_positive_reduction import NO_REDUCTION

    dataset, cache = open_data(run.cases), run.nets / "candidates"
    cache.mkdir(parents=True, exist_ok=True)
    jobs = []
    for fold in range(run.split.count):
        folder = run.net("trained", fold)
        config = load_bundle(folder).segmenter_config
        net = Net(
            folder,
            config.changed(**NO_REDUCTION),
            run.order.device,
            threads_each(run.order.workers),
        )
        reader = Reader(net, run.cases, run.order.seed, config.reduction.candidate_threshold)
        for number, case_id in enumerate(dataset.case_ids):
            if run.split.fold(case_id) == fold:
                jobs.append((reader, number, cache / f"{case_id}.npz"))
    with progress() as bars:
        task = bars.add_task("second stage: read cases that no net has seen", total=len(jobs))
        for _ in in_processes(keep, jobs, run.order.workers):
            bars.advance(task)
    return [cache / f"{case_id}.npz" for case_id in dataset.case_ids]


def teach(run: Run) -> None:
    """Learn, judge, decide; the nets with what was kept lie in ``staged``, the verdicts beside."""
    files = gather(run)
    ids = [file.stem for file in files]
    fold = np.array([run.split.fold(case_id) for case_id in ids])
    persons = np.array([run.split.persons[case_id] for case_id in ids])
    start = _start_nets(run)
    learnt = {
        kind: _learn_all(run, files, fold, kind, start.get(kind)) for kind in (HEADS, CONTOUR_NETS)
    }
    heads = _judge_heads(learnt[HEADS], start.get(HEADS), files, fold, persons)
    contours = _judge_contours(learnt[CONTOUR_NETS], start.get(CONTOUR_NETS), files, fold, persons)
    if heads.kept == "none" and contours.kept == "new":
        words = f"{contours.why}; but it needs a head, and none is kept"
        contours = replace(contours, kept="none", why=words)
    for number in (*range(run.split.count), ALL):
        new = {HEADS: learnt[HEADS], CONTOUR_NETS: learnt[CONTOUR_NETS]}
        write_staged(run, number, {HEADS: heads.kept, CONTOUR_NETS: contours.kept}, new)
    write_json(run.nets / "second_stage.json",
               {HEADS: heads.as_dict(), CONTOUR_NETS: contours.as_dict()})  # fmt: skip


Learnt = Mapping[int, dict[str, Any]]


def _learn_all(
    run: Run, files: list[Path], fold: npt.NDArray, kind: str, start: torch.nn.Module | None
) -> Learnt | str:
    """The weights without each fold, and on all (``ALL``); a sentence where it cannot be learnt.
    A head goes on from ``start``, a contour net begins from nothing."""
    out: dict[int, dict[str, Any]] = {}
    with distributed(run.order.device) as world:
        for number in (*range(run.split.count), ALL):
            kept = run.nets / "small" / f"{kind}.{number}.safetensors"
            own = [f for f, k in zip(files, fold, strict=True) if k != number]
            try:
                out[number] = _learn_one(run, own, kind, kept, world.device, start)
            except InputRefused as error:
                return error.findings[0].sentence
    return out


def _learn_one(
    run: Run,
    files: list[Path],
    kind: str,
    kept: Path,
    device: str,
    start: torch.nn.Module | None,
) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file, save_file

    effort, seed = run.order.effort, run.order.seed
    if not kept.exists():
        logs = kept.with_suffix("")
        if kind == HEADS:
            how = CandidateTraining(epochs=effort.head, seed=seed)
            begin = None if start is None else start.state_dict()
            if begin is not None:
                passes = min(effort.head, REFINED["epochs"])
                how = replace(how, rate=REFINED["rate"], epochs=passes, hidden=units(begin))
            found = false_positive_reduction.train(load(files), how, logs, device, begin)
        else:
            drawing = ContourTraining(epochs=effort.contours, seed=seed)
            found = lesion_refinement.train(load_crops(files), drawing, logs, device)
        with atomic_path(kept) as beside:
            save_file(halved(found["weights"]), beside)
    return load_file(kept)


def _start_nets(run: Run) -> dict[str, torch.nn.Module]:
    """The small nets of the start bundle."""
    from bmcore.models.bundles import load_bundle
    from bmcore.models.candidates import FEATURES, build_candidate_head
    from bmcore.models.false_positive_reduction import CONTOURS, HEAD, tensors_of
    from bmcore.models.lesion_refinement import build_contour_net

    if run.order.start is None:
        return {}
    bundle = load_bundle(run.order.start)
    config, weights = bundle.segmenter_config.reduction, bundle.segmenter.state_dict()
    out: dict[str, torch.nn.Module] = {}
    if config.candidates:
        out[HEADS] = build_candidate_head(len(FEATURES), config.candidates)
        out[HEADS].load_state_dict(tensors_of(weights, HEAD))
    if config.contours:
        out[CONTOUR_NETS] = build_contour_net(config.contours)
        out[CONTOUR_NETS].load_state_dict(tensors_of(weights, CONTOURS))
    return out


def _judge_heads(
    learnt: Learnt | str, start: torch.nn.Module | None, files: list[Path], fold: npt.NDArray,
    persons: npt.NDArray,
) -> Verdict:  # fmt: skip
    import torch

    from bmcore.models.candidates import FEATURES, build_candidate_head
    from bmcore.stats.classification import weighted_auc

    base = "none" if start is None else "start"
    if isinstance(learnt, str):
        return Verdict(base, f"no new head could be learnt: {learnt}")
    scores: dict[str, list[npt.NDArray]] = {"new": [], "base": []}
    truth, whose = [], []
    for file, number, person in zip(files, fold, persons, strict=True):
        found = load([file])
        own = learnt[int(number)]
        head = build_candidate_head(len(FEATURES), units(own))
        head.load_state_dict({k: v.float() for k, v in own.items()})
        described = torch.from_numpy(found.described[0])
        with torch.inference_mode():
            scores["new"].append(head.eval()(described).numpy())
            old = found.peak if start is None else start.eval()(described).numpy()
        scores["base"].append(old)
        truth.append(found.lesion)
        whose.append(np.full(len(found.lesion), person))
    lesion = np.concatenate(truth)
    first, second = (
        weighted_auc(lesion, np.concatenate(scores[name]).astype(float)) for name in scores
    )
    one = np.ones((1, len(lesion)))
    difference = paired_difference(first, second, np.concatenate(whose), DRAWS)
    what = "head that tells metastases from others, AUC"
    return decide(what, base, difference, float(first(one)[0]), float(second(one)[0]))


def _judge_contours(
    learnt: Learnt | str, start: torch.nn.Module | None, files: list[Path], fold: npt.NDArray,
    persons: npt.NDArray,
) -> Verdict:  # fmt: skip
    from bmcore.models.lesion_refinement import build_contour_net

    base = "none" if start is None else "start"
    if isinstance(learnt, str):
        return Verdict(base, f"no new contour net could be learnt: {learnt}")
    new, old, whose = [], [], []
    for file, number, person in zip(files, fold, persons, strict=True):
        net = build_contour_net(ContourTraining.channels)
        net.load_state_dict({k: v.float() for k, v in learnt[int(number)].items()})
        crops = load_crops([file])
        found = refinement_scores(net.eval(), crops)
        new += found["contours"]
        theirs = found if start is None else refinement_scores(start.eval(), crops)
        old += theirs["before" if start is None else "contours"]
        whose += [person] * len(found["contours"])
    if not new:
        return Verdict(base, "no new contour net: no lesion lies whole in its crop")
    difference = paired_difference(mean_statistic(new), mean_statistic(old), np.array(whose), DRAWS)
    what = "net that draws small lesions, Dice"
    return decide(what, base, difference, float(np.mean(new)), float(np.mean(old)))


def write_staged(
    run: Run, fold: int, kept: Mapping[str, str], learnt: Mapping[str, Learnt | str]
) -> None:
    """One net with the second stage that was kept: "new", "start" (as it lies in the trained net)
    or "none"."""
    from bmcore.models.bundle_writer import write_part
    from bmcore.models.bundles import load_bundle
    from bmcore.models.false_positive_reduction import CONTOURS, HEAD

    source = run.net("trained", fold)
    bundle = load_bundle(source)
    entry = bundle.entry("segmenter")
    weights, config = bundle.weights("segmenter"), dict(entry["config"])
    fields = {HEADS: (HEAD, "candidates"), CONTOUR_NETS: (CONTOURS, "contours")}
    for kind, (prefix, name) in fields.items():
        if kept[kind] == "start":
            continue
        weights = {k: v for k, v in weights.items() if not k.startswith(prefix)}
        config[name] = 0
        own = learnt[kind]
        if kept[kind] == "new" and not isinstance(own, str):
            weights |= {prefix + k: v for k, v in own[fold].items()}
            config[name] = units(own[fold]) if kind == HEADS else ContourTraining.channels
            if kind == HEADS:
                config["min_t1c_enhancement"] = CandidateTraining.min_t1c_enhancement
    training = entry["training"] | {"second_stage": dict(kept)}
    write_part(run.net("staged", fold), "segmenter", weights, config, training, entry["metrics"])
