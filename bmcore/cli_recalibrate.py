"""The command ``python -m bmcore recalibrate``: prediction sets from the site's own cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmcore.cli_study import refusals


def mount(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("recalibrate")(recalibrate)


def recalibrate(
    out: Annotated[Path, typer.Option(help="New folder for the models with the site's sets.")],
    site: Annotated[str, typer.Option(help="Name of the site, as it stands with the models.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="Table of known primaries; else truth.csv or truth.xlsx of the home."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder of the models; those in use if left out.")
    ] = None,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="Chance that a set holds the true primary.")
    ] = 0.9,
) -> None:
    """Learn the prediction sets again from cases of this home whose primary is known.

    The models must have read the cases (dashboard or ``predict``) and must not have learnt from
    them. Says how many cases stand behind each set and how many would be enough.
    """
    from bmcore.inference import archive, recalibrate
    from bmcore.inference.references import truths
    from bmcore.models.bundles import load_bundle
    from bmcore.models.case_mix import from_counts
    from bmcore.settings import settings

    with refusals(out):
        home = settings().home
        models = load_bundle(bundle or settings().bundle)
        known = truths(home, truth)
        digest = models.info.digest
        predictions = {case: archive.latest(home, case, digest) for case in known}
        cases = recalibrate.usable(predictions, known)
        sets = recalibrate.sets_of(cases, coverage)
        made = recalibrate.write(models, sets, out, site)
    for line in recalibrate.words(cases, sets):
        typer.echo(line)
    labels = [str(p) for p in known.values()]
    mix = from_counts({name: labels.count(name) for name in set(labels)})
    typer.echo(f"Shares among your cases: {mix.words}. Set BMCORE_CASE_MIX to use them.")
    typer.echo(f"Models with the sets of {site}: {out}, hash {made.info.digest[:16]}.")
