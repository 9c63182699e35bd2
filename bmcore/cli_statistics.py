"""The commands ``python -m bmcore mrmc`` and ``study size``; mounted by ``cli``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from bmcore.cli_study import Database, database_url, refusals

if TYPE_CHECKING:
    from bmcore.stats.imrmc_file import ImrmcStudy
    from bmcore.stats.mrmc import Components

MOST_BYTES = 64 * 2**20


def mount(app: typer.Typer, study: typer.Typer) -> None:
    """Add the commands of this file to the command line and to its group ``study``."""
    app.command()(mrmc)
    study.command("size")(size)


def mrmc(
    file: Annotated[Path, typer.Argument(help="A file of the iMRMC software: .imrmc or CSV.")],
    out: Annotated[Path, typer.Option(help="Folder for the report.")],
    compare: Annotated[
        str | None,
        typer.Option(help="The modalities to compare, by commas; all if left out."),
    ] = None,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Date (UTC) on the report; now if left out."),
    ] = None,
) -> None:
    """Compare readers' areas under the ROC curve from another program's scores: PDF, HTML, CSV.

    Missing readings are allowed. The same file and date give the same bytes.
    """
    from bmcore.analysis.score_study import score_section
    from bmcore.report import score_report

    with refusals(out):
        study = _scores(file)
        names = tuple(n.strip() for n in compare.split(",")) if compare else ()
        when = datetime.now(UTC) if date is None else date.replace(tzinfo=UTC)
        section = score_section(study, names)
        written = score_report.write(section, file.name, out, when)
    typer.echo(section.sentence)
    for path in written:
        typer.echo(str(path))


def _scores(file: Path) -> ImrmcStudy:
    from bmcore.domain import refuse
    from bmcore.stats.imrmc_file import parse

    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"the file has more than {MOST_BYTES // 2**20} MiB")
        return parse(content.decode("utf-8"))
    except (OSError, ValueError) as fault:  # no UTF-8 is a ValueError
        raise refuse(
            "this file cannot be used",
            file=file,
            found=fault,
            expected="rows of reader,case,modality,score after BEGIN DATA:",
        ) from fault


def size(
    expected: Annotated[float, typer.Option(help="The measure expected without the models, 0-1.")],
    difference: Annotated[float, typer.Option(help="The difference to be found, such as 0.1.")],
    measure: Annotated[str, typer.Option(help="accuracy, AUC, sensitivity or specificity.")] = (
        "accuracy"
    ),
    prevalence: Annotated[
        float, typer.Option(help="Share of cases with the primary, for all but accuracy.")
    ] = 0.5,
    alpha: Annotated[float, typer.Option(help="Two-sided.")] = 0.05,
    power: Annotated[float, typer.Option(help="The power that is wanted.")] = 0.8,
    fixed_readers: Annotated[
        bool, typer.Option("--fixed-readers", help="These very readers, not readers like them.")
    ] = False,
    variation: Annotated[
        int, typer.Option(min=1, max=5, help="Which preset of variation; all are listed.")
    ] = 3,
    pilot: Annotated[
        str | None,
        typer.Option(help="A finished study here, whose variation is taken instead of a preset."),
    ] = None,
    database: Database = None,
) -> None:
    """How many cases a reader study needs, for 2 to 10 readers.

    Exit 2: impossible values, or a pilot that is not finished.
    """
    from bmcore.analysis import sizing as planned
    from bmcore.domain import refuse
    from bmcore.stats import sizing

    with refusals():
        try:
            question = sizing.Question(
                measure, expected, difference, prevalence, alpha, fixed_readers
            )
        except ValueError as fault:
            raise refuse("these values cannot be used", found=fault) from fault
        presets = list(sizing.PRESETS.values())
        held = None if pilot is None else _pilot(planned, pilot, measure, database)
        chosen = None if held else presets[variation - 1]
        rows = sizing.power_table(question, chosen, held, target=power)
    if chosen:
        for number, one in enumerate(presets, start=1):
            mark = "*" if one is chosen else " "
            typer.echo(f"{mark} {number} {one.name} ({one.source})")
    else:
        typer.echo(f"Variation of the study {pilot}")
    for row in rows:
        typer.echo(planned.words(row))


def _pilot(
    planned: ModuleType, study: str, measure: str, database: str | None
) -> tuple[Components, int]:
    """The variation of a finished study, with the number of its cases."""
    from bmcore.inference import references
    from bmcore.review.record import read_record
    from bmcore.review.store import open_store
    from bmcore.settings import settings

    with open_store(database_url(database)) as store:
        record = read_record(store, study)
    known = references.truths(settings().home)
    found: tuple[Components, int] = planned.pilot(record, known, measure)
    return found
