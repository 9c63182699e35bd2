"""Options, the same words in every command, and how a command is run."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

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

    So is a disk that is full, and a file that may not be read or written.
    """

    def guarded(app: typer.Typer) -> None:
        try:
            app()
        except BmcoreError as error:
            for finding in error.findings:
                typer.echo(finding.sentence, err=True)
            raise SystemExit(2) from None
        except (OSError, RuntimeError) as error:
            words = disk_words(error)
            if words is None:
                raise
            typer.echo(words, err=True)
            raise SystemExit(2) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    guarded(app)


def disk_words(error: BaseException) -> str | None:
    """A sentence for what the disk refused; None where ``error`` is something else.

    Libraries that write weights tell of a full disk in words of their own.
    """
    text = str(error)
    full = ("No space left", "file write failed", "Disk quota exceeded")
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(w in text for w in full):
        return (
            "The disk is full: make room and start the same command again. What was finished is "
            "kept, and the run goes on from there."
        )
    if isinstance(error, OSError) and number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename}: this account may not read or write here. Take another folder."
    return None
