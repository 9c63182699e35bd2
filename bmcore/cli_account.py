"""The commands ``python -m bmcore account add``, ``invite``, ``list``, ``role``, ``disable``,
``enable`` and ``password``.

A password is asked for at the terminal or read as one line from stdin, never taken as an argument:
arguments stand in the shell's history and in the list of processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bmcore import disk
from bmcore.cli_study import refusals
from bmcore.plain import local_time

if TYPE_CHECKING:
    from bmcore.review.store import Store

_Name = Annotated[str, typer.Argument(help="Name of the person, as in the study's plan.")]
_Role = Annotated[str, typer.Argument(help="reader, investigator or administrator.")]


def mount(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    account = typer.Typer(no_args_is_help=True, help="Who may sign in to the dashboard.")
    account.command("add")(add)
    account.command("list")(show)
    account.command("role")(role)
    account.command("disable")(disable)
    account.command("enable")(enable)
    account.command("password")(password)
    account.command("invite")(invite)
    app.add_typer(account, name="account")


def add(
    name: _Name,
    role: Annotated[str, typer.Option(help="reader, investigator or administrator.")] = "reader",
) -> None:
    """Make an account. The first one turns sign-in on and must be an administrator."""
    from bmcore.domain import refuse
    from bmcore.review import accounts

    with refusals(), _store() as store:
        if role != "administrator" and not accounts.exist(store):
            raise refuse(
                "the first account must be an administrator",
                found=role,
                hint="once there is an account, everybody has to sign in.",
            )
        made = accounts.add(store, name, role, _ask())
    typer.echo(f"{made.name}: {made.role}")


def invite(
    name: _Name,
    role: Annotated[str, typer.Option(help="reader, investigator or administrator.")] = "reader",
    site: Annotated[
        str, typer.Option(help="Address of the dashboard, such as https://reader.clinic.org.")
    ] = "http://localhost:8501",
) -> None:
    """A one-time link by which the person sets their own password. It works for a week.

    For a name that has an account it sets a new password. There must be an administrator.
    """
    from bmcore.domain import refuse
    from bmcore.review import accounts, invitations

    with refusals(), _store() as store:
        if not accounts.exist(store):
            raise refuse(
                "there is no account yet",
                hint="make the first: python -m bmcore account add NAME --role administrator",
            )
        made, token = invitations.invite(store, name, role, "the command line")
    typer.echo(f"{made.name}, {made.role}, until {local_time(made.expires_at)}:")
    typer.echo(f"{site.rstrip('/')}/invite?token={token}")


def show() -> None:
    """All accounts with role and state."""
    from bmcore.review import accounts

    with refusals(), _store() as store:
        found = accounts.listed(store)
    for one in found:
        typer.echo(f"{one.name}: {one.role}{', disabled' if one.disabled else ''}")
    if not found:
        typer.echo("no accounts: the dashboard needs no password, on this computer only")


def role(name: _Name, role: _Role) -> None:
    """Give an account another role; its open sessions end."""
    from bmcore.review import accounts

    with refusals(), _store() as store:
        changed = accounts.set_role(store, name, role)
    typer.echo(f"{changed.name}: {changed.role}")


def disable(name: _Name) -> None:
    """Disable an account; its open sessions end, its answers stay."""
    _set_disabled(name, True)


def enable(name: _Name) -> None:
    """Enable an account again."""
    _set_disabled(name, False)


def password(name: _Name) -> None:
    """Give an account a new password; its open sessions end, and a lock is removed."""
    from bmcore.review import accounts

    with refusals(), _store() as store:
        changed = accounts.set_password(store, name, _ask())
    typer.echo(f"{changed.name}: new password")


def _set_disabled(name: str, disabled: bool) -> None:
    from bmcore.review import accounts

    with refusals(), _store() as store:
        changed = accounts.set_disabled(store, name, disabled)
    typer.echo(f"{changed.name}: {'disabled' if disabled else 'enabled'}")


def _ask() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@contextmanager
def _store() -> Iterator[Store]:
    from bmcore.review.store import open_store
    from bmcore.settings import settings

    disk.open_home(settings().home)
    with open_store(settings().url) as store:
        yield store
