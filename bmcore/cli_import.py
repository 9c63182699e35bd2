"""The command ``python -m bmcore import DIR``: a folder of patients, previewed, then brought in.

Exit 0: every examination is in the library. Exit 1: some could not be brought, or nothing was
brought because nobody said yes. Exit 2: the folder or the table cannot be used.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmcore import disk
from bmcore.cli_study import refusals
from bmcore.domain import SEQUENCE_NAMES, BmcoreError, Finding

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from bmcore.door.bulk import Row, Wishes
    from bmcore.intake.clinical import ClinicalTable


def mount(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("import")(bring_in)


def bring_in(
    folder: Annotated[
        Path, typer.Argument(help="A folder or zip for each patient, or a known data set.")
    ],
    clinical: Annotated[
        Path | None, typer.Option(help="CSV or spreadsheet of clinical records, joined by id.")
    ] = None,
    legend: Annotated[
        list[str] | None,
        typer.Option(help="What codes of --clinical mean: 'sex: 1=male, 2=female'."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="csv, bids, yale, brats-mets, ucsf-bmsr or brainmetshare; found out if left out."
        ),
    ] = None,
    label_convention: Annotated[
        str, typer.Option(help="Labels of masks: 2023 (3 enhancing), older (4 enhancing), lesion.")
    ] = "",
    likeliest: Annotated[
        bool,
        typer.Option("--likeliest", help="Take the likeliest series where one is not sure."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Bring in what is new without asking.")
    ] = False,
) -> None:
    """Bring in a folder of patients: one table first, then the cases. Run it again to go on.

    Nothing is stored before the table was shown. One patient that cannot be read does not stop the
    others.
    """
    from rich.console import Console

    from bmcore.door.bulk import NEW, THERE, Wishes
    from bmcore.settings import settings

    console = Console(highlight=False)
    wishes = Wishes(layout, label_convention, likeliest)
    with refusals():
        table = _table(clinical, legend or [])
        rows = _preview(folder, table, wishes, settings().home)
    _show(console, rows)
    new = [row for row in rows if row.state == NEW]
    left = [row for row in rows if row.state not in (NEW, THERE)]
    if new and not yes and not _agreed(len(new)):
        raise typer.Exit(1)
    failed = _bring(console, new, wishes, settings().home)
    there = len(rows) - len(left) - failed
    typer.echo(f"{there} of {len(rows)} examinations are in the library.")
    raise typer.Exit(1 if left or failed else 0)


def _table(path: Path | None, legends: Sequence[str]) -> ClinicalTable | None:
    """The clinical table, with how each column is read on stderr."""
    from bmcore.door.bulk import check_table
    from bmcore.intake.clinical import FIELD_WORDS, read_clinical
    from bmcore.intake.clinical_legends import parse_legends

    if path is None:
        return None
    read = read_clinical(path, parse_legends(legends))
    for reading in read.readings:
        taken = FIELD_WORDS.get(reading.field or "", "nothing")
        typer.echo(f"column {reading.heading}: taken as {taken}, read as {reading.how}", err=True)
    for finding in read.findings:
        typer.echo(f"{finding.severity}: {finding.sentence}", err=True)
    check_table(read)
    return read


def _preview(folder: Path, table: ClinicalTable | None, wishes: Wishes, home: Path) -> list[Row]:
    from bmcore.door import bulk

    layout, there = bulk.items(folder, wishes.layout)
    if layout:
        typer.echo(f"The folder is laid out as {layout}.", err=True)
    rows = []
    for number, item in enumerate(there, start=1):
        typer.echo(f"Looking at {number} of {len(there)}: {item.name}", err=True)
        rows += list(bulk.preview(home, item, table, wishes))
    return bulk.without_doubles(rows)


def _show(console: Console, rows: Sequence[Row]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("Folder", "Patient", "Sequences", "Clinical record", "State", "Noticed")
    for row in rows:
        names = ", ".join(SEQUENCE_NAMES[name] for name in row.sequences) or "none"
        state = f"{row.state}: {row.case_id}" if row.state == "in the library" else row.state
        noticed = "\n".join(row.said)
        cells = (row.item.name, row.patient, names, row.joined or "none given", state, noticed)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    counts = Counter(row.state for row in rows)
    console.print(", ".join(f"{count} {state}" for state, count in counts.items()), markup=False)


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        typer.echo("Nothing was brought in. Add --yes to bring in what is new.", err=True)
        return False
    many = "this examination" if count == 1 else f"these {count} examinations"
    return typer.confirm(f"Bring in {many}?")


def _bring(console: Console, rows: Sequence[Row], wishes: Wishes, home: Path) -> int:
    """Bring the rows in; how many could not be."""
    from bmcore.door import bulk

    failed = 0
    for number, row in enumerate(rows, start=1):
        head = f"{number} of {len(rows)}: {row.item.name}"
        try:
            with console.status(head) as status:
                case_id = bulk.bring(home, row, wishes, _shown_in(status, head))
        except BmcoreError as refusal:
            failed += 1
            _told(head, refusal.findings)
        except Exception as fault:  # of one patient; the others are brought in all the same
            failed += 1
            told = disk.refusal(fault, home)
            if told is not None:
                _told(head, told.findings)
            else:
                typer.echo(f"error: {head}: {type(fault).__name__} while reading it", err=True)
        else:
            console.print(f"{head}: case {case_id}", markup=False)
    return failed


def _shown_in(status: Status, head: str) -> Callable[[str, float], None]:
    def tell(words: str, _fraction: float) -> None:
        status.update(f"{head}: {words}")

    return tell


def _told(head: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        typer.echo(f"error: {head}: {' '.join(finding.sentence.split())}", err=True)
