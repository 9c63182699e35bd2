"""Options, the same words in every command, and how a command is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bmcore import disk
from bmcore.domain import BmcoreError

DataOption = Annotated[
    Path,
    typer.Option("--data", help="Folder of cases in a layout that is known.", show_default=False),
]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder for results; made if absent.", show_default=False)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Start of every random draw.")]
EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu or cuda; auto takes a GPU where one is there.")
]


def run_app(main: Callable[..., Any]) -> None:
    """Run a script's ``main`` under typer; a refusal is one line a problem on stderr, exit 2.

    So is a disk that is full, and a file that cannot be read or written.
    """

    def guarded(app: typer.Typer) -> None:
        try:
            app()
        except (BmcoreError, OSError, RuntimeError) as error:
            refusal = error if isinstance(error, BmcoreError) else disk.refusal(error)
            if refusal is None:
                raise
            for finding in refusal.findings:
                typer.echo(finding.sentence, err=True)
            if refusal is not error:
                typer.echo("What was finished is kept; the same command goes on there.", err=True)
            raise SystemExit(2) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    guarded(app)
