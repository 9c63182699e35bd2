"""The commands ``python -m bmcore study check | lock | example``; mounted by ``cli``.

Exit 0: ready, locked. Exit 1: a sound plan, but something that it needs is missing. Exit 2:
unusable input, or refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmcore import disk
from bmcore.cli_study import Database, database_url, refusals

if TYPE_CHECKING:
    from bmcore.review.readiness import Check
    from bmcore.review.readiness_facts import Facts
    from bmcore.review.store import Store
    from bmcore.review.study import Study

_Bundle = Annotated[
    Path | None, typer.Option(help="Folder of the models; those of the settings if left out.")
]
_Accept = Annotated[
    bool, typer.Option("--accept-warnings", help="Lock although warnings stand; they are kept.")
]
_WORDS = {"refused": "fault", "warning": "warning", "info": "note"}


def mount(study: typer.Typer) -> None:
    """Add the commands of this file to ``study``."""
    study.command("check")(check)
    study.command("lock")(lock)
    study.command("example")(example)


def check(
    file: Annotated[Path, typer.Argument(help="study.yaml")],
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Look at the plan alone, at no case or account.")
    ] = False,
    bundle: _Bundle = None,
    database: Database = None,
) -> None:
    """Check a plan, and whether everything that it needs is there. Stores nothing.

    Exit 0: ready, perhaps with warnings. Exit 1: the plan is sound, but a fault stands in the way
    of the lock. Exit 2: the plan is not sound. One line per problem.
    """
    from bmcore.review import readiness
    from bmcore.review.allocation import work_list
    from bmcore.review.study import read_study

    with refusals():
        plan = read_study(file)
        sheets = {reader.id: len(work_list(plan, reader.id)) for reader in plan.readers}
        design = f"{plan.design.kind}: {', '.join(plan.design.arms)}"
        typer.echo(f"{plan.study}: sound; {design}; {len(plan.cases)} cases")
        for reader, count in sheets.items():
            typer.echo(f"reader {reader}: {count} readings")
        typer.echo(f"hash {plan.digest}")
        if plan_only:
            return
        with _database(database) as store:
            facts = _facts(plan, bundle, store)
        _say(readiness.checks(plan, facts))
        if readiness.blocking(readiness.check(plan, facts)):
            raise typer.Exit(1)


def lock(
    file: Annotated[Path, typer.Argument(help="study.yaml")],
    author: Annotated[str, typer.Option(help="Who locks or amends the plan.")],
    reason: Annotated[
        str | None, typer.Option(help="Amend the locked plan to this one, for this reason.")
    ] = None,
    confirm: Annotated[
        str | None, typer.Option(help="The study's id, typed once more; asked for if left out.")
    ] = None,
    accept_warnings: _Accept = False,
    bundle: _Bundle = None,
    database: Database = None,
) -> None:
    """Lock a plan for good once everything is there; with --reason, amend the locked plan.

    Exit 2: the plan is not sound, something it needs is missing (see ``study check``), the id was
    not confirmed, or the amendment changes what readings rest on.
    """
    from bmcore.review import plan as plans
    from bmcore.review import readiness, start
    from bmcore.review.store import open_store
    from bmcore.review.study import read_study

    with refusals():
        read = read_study(file) if reason is None else None  # makes no database for a faulty plan
        with open_store(database_url(database)) as store:
            plan = read or read_study(file, plans.in_force(store))
            facts = _facts(plan, bundle, store)
            if reason is not None:
                locked = start.amend(
                    store, plan, facts, author, reason, accept_warnings=accept_warnings
                )
            elif facts.locked.get(plan.study) is not None:  # the same, or refused
                locked = start.lock(store, plan, facts, author, confirm=confirm or "")
            else:
                checks = readiness.checks(plan, facts)
                _say(checks)
                start.refuse_unready([f for c in checks for f in c.findings], accept_warnings)
                typed = _ask(plan.study) if confirm is None else confirm
                locked = start.lock(
                    store, plan, facts, author, confirm=typed, accept_warnings=accept_warnings
                )
    typer.echo(f"{plan.study}: locked as version {locked.version}, hash {locked.digest}")


def example(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist yet.")],
    database: Database = None,
) -> None:
    """Write an example of a plan with the cases and readers that are there, to be filled in."""
    from bmcore.domain import refuse
    from bmcore.intake.library import list_cases
    from bmcore.review import example as fitting
    from bmcore.settings import settings

    with refusals(out):
        with _database(database) as store:
            text = fitting.fitted(list_cases(settings().home), store)
        if out.exists():
            raise refuse("the file is there already", file=out, hint="name a new file.")
        disk.write(out, text)
    typer.echo(f"{out}: fill in what is marked, then: python -m bmcore study check {out}")


def _facts(plan: Study, bundle: Path | None, store: Store | None) -> Facts:
    """What there is on this computer for ``plan``."""
    from bmcore.domain import BmcoreError
    from bmcore.models.bundles import Bundle, load_bundle
    from bmcore.review.readiness_gather import gather
    from bmcore.settings import settings

    models: Bundle | BmcoreError
    try:
        models = load_bundle(bundle or settings().bundle)
    except BmcoreError as unusable:
        models = unusable
    return gather(plan, settings().home, models, store)


@contextmanager
def _database(database: str | None) -> Iterator[Store | None]:
    """The database, or None where there is none yet: looking makes no file."""
    from bmcore.review.store import open_store

    url = database_url(database)
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        yield None
        return
    with open_store(url) as store:
        yield store


def _say(checks: Iterable[Check]) -> None:
    """One line a thing that is in order, and one line a problem."""
    for one in checks:
        if not one.findings or one.severity == "info":
            typer.echo(f"ready: {one.title}: {one.ready}")
        for finding in one.findings:
            typer.echo(f"{_WORDS[finding.severity]}: {one.title}: {finding.sentence}")


def _ask(study: str) -> str:
    """The id as typed at the terminal; empty where nobody types."""
    typer.echo("A locked plan cannot be taken back; it changes only by amendments with a reason.")
    try:
        return str(typer.prompt(f"Type {study} to lock it", default="", show_default=False))
    except typer.Abort:
        return ""
