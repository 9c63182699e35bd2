"""The commands of the reader study: ``python -m bmcore verify``; mounted by ``bmcore.cli``.

Exit 0: done, intact. Exit 1: read, but broken or not in order. Exit 2: unusable input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import BmcoreError

_Database = Annotated[
    str | None,
    typer.Option(help="File or URL of the database; the one of the settings if left out."),
]


def mount(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command()(verify)


def verify(
    database: _Database = None,
    anchor: Annotated[
        Path | None, typer.Option(help="File of anchor lines to check against as well.")
    ] = None,
    write_anchor: Annotated[
        Path | None, typer.Option(help="Append one anchor line to this file if all is intact.")
    ] = None,
) -> None:
    """Check that no stored row was edited, removed, added or moved. Changes nothing.

    Exit 0: intact. Exit 1: broken, one line a problem. Exit 2: the database cannot be read.
    """
    from bmcore.review.verify import verify as check

    with refusals():
        report = check(_url(database), anchor)
        for problem in report.problems:
            typer.echo(f"broken: {problem}")
        if report.problems:
            raise typer.Exit(1)
        if write_anchor is not None:
            _append_line(write_anchor, report.anchor)
    for site, (count, head) in sorted(report.heads.items()):
        typer.echo(f"intact: {site}, {count} rows, head {head[:16]}")


def _append_line(path: Path, line: str) -> None:
    from bmcore.domain import refuse

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as fault:
        raise refuse("the anchor cannot be written", file=path, found=fault) from fault


def _url(database: str | None) -> str:
    """The URL of a database named by URL or by file; the settings' own if not named."""
    from bmcore.settings import settings

    if database is None:
        return settings().url
    return database if "://" in database else f"sqlite:///{database}"


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a refusal into exit 2 with one line a problem on stderr."""
    try:
        yield
    except BmcoreError as refusal:
        for finding in refusal.findings:
            typer.echo("error: " + " ".join(finding.sentence.split()), err=True)
        raise typer.Exit(2) from None
