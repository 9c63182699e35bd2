"""The command line: ``python -m bmcore predict | phantom | report``.

Exit 0: done. Exit 2: unusable input, or what cannot be read or written, such as a full disk; one
line a problem on stderr, and nothing was written.
Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bmcore import (
    __version__,
    cli_account,
    cli_dicom,
    cli_import,
    cli_lock,
    cli_predict,
    cli_recalibrate,
    cli_statistics,
    cli_study,
    disk,
)
from bmcore.domain import RESEARCH_NOTICE, Finding

if TYPE_CHECKING:
    from rich.progress import Progress

    from bmcore.domain import Prediction
    from bmcore.models.bundles import Bundle

app = typer.Typer(
    cls=cli_study.Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,  # they could hold a patient's values
    help=f"Brain metastases on MRI: find them and name the likely primary. {RESEARCH_NOTICE}",
)
_STUDY = cli_study.mount(app)
cli_lock.mount(_STUDY)
cli_statistics.mount(app, _STUDY)
cli_account.mount(app)
cli_import.mount(app)
cli_recalibrate.mount(app)


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    app(prog_name="python -m bmcore")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bmcore {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    typer.echo(RESEARCH_NOTICE, err=True)


# The options of `predict` are its contract, hence more parameters than elsewhere.
@app.command()
def predict(
    out: Annotated[Path, typer.Option(help="Folder for the three result files.")],
    case: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A case's folder, its two to four NIfTI files, or a DICOM folder, zip or disc.",
            show_default=False,
        ),
    ] = None,
    t1n: Annotated[Path | None, typer.Option(help="File or DICOM folder of native T1.")] = None,
    t1c: Annotated[Path | None, typer.Option(help="The same of T1 after contrast.")] = None,
    t2w: Annotated[Path | None, typer.Option(help="The same of T2.")] = None,
    t2f: Annotated[Path | None, typer.Option(help="The same of FLAIR.")] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(help="DICOM: t1c=7 takes series 7 (or a UID), t2w=none leaves T2 out."),
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option(
            help="DICOM: number, date or UID of the examination; given twice, both are read as one."
        ),
    ] = None,
    age: Annotated[float | None, typer.Option(help="Age in years.")] = None,
    sex: Annotated[str | None, typer.Option(help="male or female.")] = None,
    smoking: Annotated[str | None, typer.Option(help="never, former or current.")] = None,
    pack_years: Annotated[float | None, typer.Option(help="Pack-years smoked.")] = None,
    extracranial_metastases: Annotated[
        Literal["yes", "no"] | None, typer.Option(help="Known metastases outside the brain.")
    ] = None,
    clinical: Annotated[
        Path | None,
        typer.Option(help="CSV or spreadsheet of clinical records; the options above win over it."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the models; the demo models if left out.")
    ] = None,
    case_id: Annotated[
        str | None,
        typer.Option(help="Name of the case (a pseudonym); made of the images if left out."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace results in --out.")] = False,
    same_patient: Annotated[
        bool,
        typer.Option(
            "--same-patient",
            help="Files belong together although their names or study UIDs say otherwise.",
        ),
    ] = False,
    legend: Annotated[
        list[str] | None,
        typer.Option(help="What codes of --clinical mean: 'sex: 1=male, 2=female'."),
    ] = None,
) -> None:
    """Predict one case: writes mask.nii.gz, lesions.csv and prediction.json into --out.

    Values that are not known are left out, never given as 0. The results name no file: they hold
    the hash of each sequence, the clinical values, the models' hash, the date and the version.
    """
    metastases = None if extracranial_metastases is None else extracranial_metastases == "yes"
    given: dict[str, object] = {
        "age_years": age,
        "sex": sex,
        "smoking": smoking,
        "pack_years": pack_years,
        "extracranial_metastases": metastases,
    }
    started = time.perf_counter()
    from bmcore.inference.archive import write_outputs
    from bmcore.intake import gatekeeper

    named = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    paths = {name: path for name, path in named.items() if path is not None}
    images = cli_dicom.Wanted(case or [], paths, series or [], study or [], same_patient)
    with cli_study.refusals(out):
        told = cli_predict.Told(same_patient, tuple(legend or ()))
        asked = cli_predict.Asked(images, out, given, clinical, bundle, case_id, force, told)
        models, brought = cli_predict.everything_needed(asked)
        prediction = _predict_with_progress(brought, models)
        write_outputs(prediction, out, brought.inputs, force)
    more = [f for f in prediction.findings if f not in brought.raw.stored]
    remarks = gatekeeper.collect(brought.remarks, gatekeeper.as_named(more, brought.names))
    _show(prediction, remarks, out, time.perf_counter() - started)


@app.command()
def phantom(
    out: Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")],
    cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same cases.")] = 0,
    grid: Annotated[
        Literal["atlas", "native"],
        typer.Option(help="Grid of the Yale files, or an oblique one like a scanner's."),
    ] = "atlas",
) -> None:
    """Make synthetic cases: images, masks and the clinical spreadsheet in the Yale layout."""
    with cli_study.refusals(out):
        from bmcore.inference.files import new_folder
        from bmcore.phantom.cohort import SPREADSHEET, write_cohort

        with new_folder(out, last=SPREADSHEET) as unfinished, _progress() as bar:
            task = bar.add_task("Drawing cases", total=cases)
            write_cohort(
                cases, seed, unfinished, grid=grid,
                on_case=lambda done, _all: bar.update(task, completed=done),
            )  # fmt: skip
    typer.echo(f"{cases} synthetic {'case' if cases == 1 else 'cases'} in {out}")


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="Folder for the report.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="CSV or spreadsheet with the reference primaries, one row per case."),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Report on this study; on the free votes if left out.")
    ] = None,
    date: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="Date (UTC) on the report; now if left out.",
        ),
    ] = None,
    mixed_models: Annotated[
        bool,
        typer.Option(
            "--mixed-models",
            help="Period, subgroups and learning by mixed models too; takes minutes.",
        ),
    ] = False,
) -> None:
    """Write the validation report of the current database: PDF, HTML, CSV, Parquet and JSON.

    While a study runs, its report holds no answer and no effect. The same database, models and
    date give the same files.
    """
    with cli_study.refusals(out):
        from bmcore.analysis import collect
        from bmcore.inference import references
        from bmcore.report import make
        from bmcore.report.write import write
        from bmcore.review.store import open_store
        from bmcore.settings import settings

        home, url = settings().home, settings().url
        models = cli_predict.load_models(None).info
        known = references.truths(home, truth)
        predictions = collect.light_predictions(home, models.digest)
        disk.open_home(home)
        when = None if date is None else date.replace(tzinfo=UTC)
        with open_store(url) as store:
            made = make.make(
                home, store, url, predictions, known, models, study, when, mixed_models
            )
        written = write(made, out)
    for path in written:
        typer.echo(str(path))


def _predict_with_progress(brought: cli_predict.Brought, models: Bundle) -> Prediction:
    """Admission, then prediction; each step is told in words."""
    from bmcore.inference import pipeline

    with _progress() as bar:
        task = bar.add_task("", total=2.0)

        def tell(before: float) -> Callable[[str, float], None]:
            return lambda stage, done: bar.update(task, description=stage, completed=before + done)

        return pipeline.predict(cli_predict.admitted(brought, tell(0.0)), models, tell(1.0))


def _progress() -> Progress:
    """A progress bar on stderr that leaves nothing behind."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _show(prediction: Prediction, findings: Sequence[Finding], out: Path, seconds: float) -> None:
    """The three answers as a short table, then what was found and what it took."""
    from rich.console import Console
    from rich.table import Table

    from bmcore.domain import PRIMARIES, PRIMARY_NAMES
    from bmcore.inference.uncertainty import NO_CALIBRATION, calibration_words, sentence

    console = Console(highlight=False)
    table = Table("Primary", "Clinical only", "Image only", "Fused")
    for index, primary in enumerate(PRIMARIES):
        chances = [
            f"{a.probabilities[index]:.0%}" if a.probabilities else "-" for a in prediction.answers
        ]
        table.add_row(PRIMARY_NAMES[primary], *chances)
    console.print(prediction.case_id, markup=False)
    console.print(table)
    for answer in prediction.answers:
        if answer.probabilities is None or answer.prediction_set is not None:
            console.print(sentence(answer), markup=False, soft_wrap=True)
    if calibration_words(prediction) == NO_CALIBRATION:
        console.print(f"Prediction sets and novelty: {NO_CALIBRATION}", markup=False)
    for finding in findings:
        console.print(f"{finding.severity}: {finding.sentence}", markup=False, soft_wrap=True)
    volume = sum(lesion.volume_mm3 for lesion in prediction.lesions) / 1000
    console.print(f"Lesions: {len(prediction.lesions)}, tumour core {volume:.1f} ml in all")
    console.print(prediction.bundle.badge, markup=False, soft_wrap=True)
    console.print(f"Time {seconds:.1f} s, peak memory {_peak_memory_gib():.1f} GiB")
    console.print(f"Results in {out}", markup=False, soft_wrap=True)


def _peak_memory_gib() -> float:
    """The most memory this process held so far, in GiB."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, KiB elsewhere
