"""The whole road from a folder of cases to a finished bundle, as a chain of resumable steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

from bmcore.domain import refuse
from bmcore.models.manifest import MANIFEST
from training import autoencoder, bootstrap_refits, cnn, evaluate, learning_curves, mlr, uncertainty
from training.data.case_inference import open_data
from training.data.split import Split, deal, read_split, write_split
from training.pipeline import cost, limits, naming, second_stage, start_naming, words
from training.pipeline.audit import Audit, audit, check
from training.pipeline.finish import assemble, check_out, try_predict
from training.pipeline.linked import link_cases
from training.pipeline.order import Order, Run
from training.pipeline.segmentation import fresh_size, measure_nets, train_net
from training.run.chain import Chain, Say
from training.run.files import fingerprint, read_json, write_json
from training.run.plain_progress import duration
from training.segmenter import ALL

PLAN = "plan.json"


def run_all(order: Order, say: Say = typer.echo) -> Path:
    """Audit, plan and do every step that is not done; the folder of the finished bundle.

    InputRefused with a sentence for whatever stands in the way, before hours are spent where that
    can be known.
    """
    found = look_only(order, say)
    check(found, order.effort.least, order.folds)
    split = stored_split(order, found)
    run, expected = plan(order, found, split)
    total = sum(expected.values())
    say(
        f"{order.folds} folds by person, {run.steps} steps for each of {split.count + 1} nets; the "
        f"whole will take about {duration(total)} on this machine"
    )
    chain = Chain(order.work, expected, say)
    do_steps(run, chain)
    say(f"bundle written to {order.out}; all steps took {duration(sum(chain.timings_s.values()))}")
    return order.out


def look_only(order: Order, say: Say = typer.echo) -> Audit:
    """The audit, and what it found in plain lines and as a table in WORK/audit.csv."""
    check_out(order.out)
    _check_places(order)
    say(f"audit of {order.data}")
    found = audit(order.data, order.work / "audit", order.workers)
    words.write_table(found, order.work / "audit.csv")
    for line in words.lines(found):
        say(line)
    say(f"every case, and why it is not used: {order.work / 'audit.csv'}")
    return found


def _check_places(order: Order) -> None:
    if not order.data.is_dir():
        raise refuse("the folder of cases is not there", file=order.data, hint="check --data.")
    for place, name in ((order.out, "--out"), (order.work, "--work")):
        if place.resolve().is_relative_to(order.data.resolve()):
            raise refuse(
                "the results would lie among the cases",
                file=place,
                hint=f"name a folder outside the cases with {name}.",
            )
        if place.exists() and not place.is_dir():
            raise refuse(f"{name} names a file, not a folder", file=place)
    if order.start is not None and not (order.start / MANIFEST).is_file():
        raise refuse(
            "there is no bundle to begin with",
            file=order.start,
            expected="a folder with a manifest.json, such as models/demo",
            hint="give --start-from, or --from-nothing.",
        )


def stored_split(order: Order, found: Audit) -> Split:
    """The split of an earlier start where it is of the same persons and folds, else a new one."""
    known = read_split(order.work)
    if known is not None and known.persons == found.persons and known.count == order.folds:
        return known
    persons = set(found.persons.values())
    split = deal(found.persons, found.labels, min(order.folds, len(persons)), order.seed)
    write_split(order.work, split)
    return split


def plan(order: Order, found: Audit, split: Split) -> tuple[Run, dict[str, float]]:
    """Measure this machine, check the disk, choose the steps; kept, so that a stopped run goes on
    with the same numbers."""
    digest = fingerprint(fresh_size())  # another machine may begin with another net
    if order.start is not None:
        from bmcore.models.bundles import load_bundle

        entry = load_bundle(order.start).entry("segmenter")
        digest = fingerprint(entry["sha256"], entry["config"])
    effort = order.effort
    key = fingerprint(found.images_digest, split.count, digest, order.minutes, vars(effort))
    file = order.work / PLAN
    known = read_json(file) if file.exists() else {}
    if known.get("key") == key:
        pace = cost.Pace(**known["pace"])
    else:
        pace = cost.measure_pace(order, found)
    cost.check_disk(order, found, pace, split.count)
    steps = known["steps"] if known.get("key") == key else (
        cost.choose_steps(order, found, pace, split.count)
    )  # fmt: skip
    write_json(file, {"key": key, "pace": vars(pace), "steps": steps})
    return Run(order, found, split, steps, digest), cost.expected(
        order, found, pace, steps, split.count
    )


def do_steps(run: Run, chain: Chain) -> None:
    """Every step in its order; one that is done with the same data and options is skipped."""
    order, nets, step = run.order, run.nets, chain.step

    def link() -> None:
        link_cases(run.audit, order.data, run.cases, run.split)

    place = f"{order.data.resolve()} {run.rows}"  # the same cases elsewhere need other links
    step("links", place, run.cases / "split.json", link)
    open_data.cache_clear()
    chain.before = ""  # a corrected table changes the links, but no segmentation net
    for fold, name in zip(
        (*range(run.split.count), ALL), cost.net_names(run.split.count), strict=True
    ):
        done = run.net("trained", fold) / "metrics.json"
        step(name, run.images, done, partial(train_net, run, fold))
    step("second stage", run.images, nets / "second_stage.json", partial(second_stage.teach, run))
    _tell(chain, nets / "second_stage.json")
    step("limits", run.images, nets / "limits.json", partial(limits.choose, run))
    _tell(chain, nets / "limits.json")
    step("segmentation", run.images, nets / "segmentation.json", partial(measure_nets, run))
    learn_naming(run, step)
    if order.start is not None:
        beside = run.learnt / start_naming.FILE
        step("beside the start's naming", run.rows, beside, partial(start_naming.write, run))
        _tell(chain, beside)
    step("bundle", run.rows, order.out / "model_card.md", lambda: assemble(run, chain.timings_s))
    step("predict", run.rows, run.learnt / "predict" / "prediction.json",
         partial(try_predict, run))  # fmt: skip


def _tell(chain: Chain, file: Path) -> None:
    """Say what a step has decided."""
    told = read_json(file)
    for verdict in [told] if "why" in told else told.values():
        chain.say(f"  {verdict['why']}")


Step = Callable[[str, str, Path, Callable[[], None]], None]


def learn_naming(run: Run, step: Step) -> None:
    """From the patients for naming to the learning curves: the commands of ``training``, as
    functions."""
    effort, out, seed = run.order.effort, run.learnt, run.order.seed
    data = out / "patients"
    rows = run.rows
    step("patients for naming", rows, data / "cohort.json", partial(naming.prepare_patients, run))
    actions: dict[str, tuple[str, Callable[[], object]]] = {
        "cnn": ("cnn.safetensors", lambda: cnn.main(
            data, out, epochs=effort.cnn, folds=run.split.count, seed=seed,
            device=run.order.device)),
        "autoencoder": ("autoencoder.safetensors",
                        lambda: autoencoder.main(data, out, steps=effort.code, seed=seed)),
        "mlr": ("fused_mlr.safetensors", lambda: mlr.main(data, out, seed=seed)),
        "evaluate": ("model_card.json", lambda: evaluate.main(data, out, seed=seed)),
        "predicted masks": ("metrics.json", lambda: naming.on_predicted_masks(out)),
        "uncertainty": ("uncertainty.safetensors", lambda: uncertainty.main(
            run.cases, out, cases=effort.described, seed=seed)),
        "spread": ("spread.safetensors", lambda: bootstrap_refits.main(
            data, out, refits=effort.refits, seed=seed)),
        "learning curves": ("metrics.json", lambda: learning_curves.main(
            data, out, repeats=effort.curves, seed=seed)),
    }  # fmt: skip
    for name, (done, action) in actions.items():
        step(name, rows, out / done, action)  # type: ignore[arg-type]
