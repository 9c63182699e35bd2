"""The commands ``python -m bmcore verify | merge | study | package | unpack``; mounted by ``cli``.

Exit 0: done, intact. Exit 1: read, but broken or not in order. Exit 2: unusable input.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bmcore import disk
from bmcore.domain import BmcoreError
from bmcore.plain import local_time

if TYPE_CHECKING:
    from bmcore.review.study import Study

Database = Annotated[
    str | None,
    typer.Option(help="File or URL of the database; the one of the settings if left out."),
]


def mount(app: typer.Typer) -> typer.Typer:
    """Add the commands of this file to the command line; returns the group ``study``."""
    app.command()(verify)
    app.command()(merge)
    study = typer.Typer(no_args_is_help=True, help="The plan of a reader study.")
    study.command("progress")(progress)
    app.add_typer(study, name="study")
    app.command()(package)
    app.command()(unpack)
    return study


def verify(
    database: Database = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the cases, whose files are checked as well; that of the settings if "
            "neither this nor a database is named."
        ),
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="File of anchor lines to check against as well.")
    ] = None,
    write_anchor: Annotated[
        Path | None, typer.Option(help="Append one anchor line to this file if all is intact.")
    ] = None,
) -> None:
    """Check that no stored row was edited, removed, added or moved, that answers were given in the
    order that they claim, and that the files they rest on are unchanged. Changes nothing.

    Exit 0: intact. Exit 1: broken, one line per problem. Exit 2: the database cannot be read.
    """
    from bmcore.review.verify import verify as check

    with refusals():
        report = check(database_url(database), anchor, _home(home, database))
        for problem in report.problems:
            typer.echo(f"broken: {problem}")
        if report.problems:
            raise typer.Exit(1)
        if write_anchor is not None:
            with refusals(write_anchor):
                _append_line(write_anchor, report.anchor)
    for site, (count, head) in sorted(report.heads.items()):
        typer.echo(f"intact: {site}, {count} rows, head {head[:16]}")
    for note in report.notes:
        typer.echo(f"note: {note}")


def merge(
    databases: Annotated[list[str], typer.Argument(help="Files or URLs of the sites' databases.")],
    out: Annotated[str, typer.Option(help="File or URL of the new database.")],
) -> None:
    """Bring the databases of several sites together in a new one; the sources stay as they are.

    Exit 2: a source is broken, or holds another continuation of a chain that is already there.
    """
    from bmcore.review.merge import merge as bring_together

    with refusals(out):
        merged = bring_together([database_url(name) for name in databases], database_url(out))
    for site, count in sorted(merged.sites.items()):
        typer.echo(f"{site}: {count} rows")
    for note in merged.notes:
        typer.echo(f"note: {note}")


def progress(database: Database = None) -> None:
    """How far each reader is, and the log of amendments. Says nothing of what was answered."""
    from bmcore.domain import refuse
    from bmcore.review import conduct, plan
    from bmcore.review.reading_session import ReadingSession
    from bmcore.review.store import open_store

    with refusals():
        url = database_url(database)
        if database is not None and "://" not in database and not Path(database).is_file():
            raise refuse("there is no such database", file=database)
        with open_store(url) as store:
            for name in plan.studies(store):
                for version in plan.versions(store, name):
                    why = "start" if version.reason is None else version.reason
                    when = local_time(version.created_at)
                    typer.echo(f"{name} version {version.version}, {when}, {version.author}: {why}")
                now = conduct.of(store, name)
                if now.halted:
                    typer.echo(f"{name} is {now.halted}")
                if now.due is not None:
                    typer.echo(f"{name} deadline {now.due}")
                for reader, states in ReadingSession(store, name).progress().items():
                    told = ", ".join(f"{count} {state}" for state, count in states.items())
                    typer.echo(f"{name} reader {reader}: {told}")


def package(
    study: Annotated[str, typer.Option(help="study.yaml, or the name of a locked study.")],
    out: Annotated[Path, typer.Option(help="The ZIP file to write.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the models; those of the settings if left out.")
    ] = None,
    database: Database = None,
) -> None:
    """Put a study's cases, predictions, models and plan into one file, for readers elsewhere.

    Without reference masks, reference primaries, votes or answers. Exit 2: a case or a prediction
    is missing, or the file already exists.
    """
    from bmcore.models.bundles import load_bundle
    from bmcore.review.package import pack
    from bmcore.settings import settings

    with refusals(out):
        asked = _plan(study, database)
        models = load_bundle(bundle or settings().bundle)
        count = pack(asked, settings().home, models, out)
    size = out.stat().st_size / 1e6
    typer.echo(f"{asked.study}: {count} cases in {out}, {size:.0f} MB, plan {asked.digest[:16]}")


def unpack(
    file: Annotated[Path, typer.Argument(help="A package.")],
    home: Annotated[Path, typer.Option(help="New or empty folder to make of it.")],
    author: Annotated[str, typer.Option(help="Who sets up this computer; locks the plan here.")],
) -> None:
    """Make a home folder of a package, with its plan locked, and say how to start reading.

    Exit 2: the package is damaged or was changed, or the disk is full; nothing is left behind.
    """
    from bmcore.review.package import unpack as unfold

    with refusals(home):
        study = unfold(file, home, author)
    typer.echo(f"{study.study}: {len(study.cases)} cases, plan {study.digest[:16]}, in {home}")
    where = home.resolve()
    typer.echo(
        f"start: BMCORE_HOME={where} BMCORE_BUNDLE={where / 'models'} BMCORE_DEMO=0 "
        "python -m streamlit run app.py"
    )


def _plan(study: str, database: str | None) -> Study:
    """A plan by its file, or the version in force of a locked study."""
    from bmcore.domain import refuse
    from bmcore.review import plan
    from bmcore.review.store import open_store
    from bmcore.review.study import read_study

    if Path(study).is_file():
        return read_study(Path(study))
    with open_store(database_url(database)) as store:
        known = plan.versions(store, study)
        if not known:
            raise refuse(
                "there is neither a file nor a locked study of this name",
                found=study,
                expected=", ".join(plan.studies(store)) or "a file study.yaml",
            )
        return known[-1].study


def _append_line(path: Path, line: str) -> None:
    """Add a line to a file, all of it or nothing."""
    before = disk.stat_of(path)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError:
        if before is not None and path.is_file():
            os.truncate(path, before.st_size)
        elif before is None:
            path.unlink(missing_ok=True)
        raise


def _home(home: Path | None, database: str | None) -> Path | None:
    """Where the cases lie; None, so that no file is checked, where another database is named."""
    from bmcore.settings import settings

    return settings().home if home is None and database is None else home


def database_url(database: str | None) -> str:
    """The URL of a database named by URL or by file; the settings' own if not named."""
    from bmcore.settings import settings

    if database is None:
        return settings().url
    return database if "://" in database else f"sqlite:///{database}"


@contextmanager
def refusals(place: object = None) -> Iterator[None]:
    """Turn a refusal into exit 2 with one line per problem on stderr.

    So is what the system could not read or write; place: what was written, where it names no file.
    """
    try:
        yield
    except (BmcoreError, OSError, RuntimeError) as fault:
        refusal = fault if isinstance(fault, BmcoreError) else disk.refusal(fault, place)
        if refusal is None:
            raise
        for finding in refusal.findings:
            typer.echo("error: " + " ".join(finding.sentence.split()), err=True)
        raise typer.Exit(2) from None


class Commands(TyperGroup):
    """A group whose commands end with a sentence, never with a traceback, where the disk is full or
    a file cannot be read or written."""

    def invoke(self, ctx: Any) -> Any:
        with refusals():
            return super().invoke(ctx)
