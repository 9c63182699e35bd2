"""The model card, JSON and Markdown: ``python -m training.card --out DIR [--bundle DIR]``.

It is put together from what lies in OUT: the evaluation of the answers (metrics.json, or an earlier
card), of the segmentation (segmentation.json), an ablation table (ablation.json); and from the
manifest of the bundle. Both evaluations call it at their end, so their order does not matter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import refuse
from training.model_card.build import build_card, write_card
from training.run.options import OutOption, run_app


def main(
    out: OutOption,
    bundle: Annotated[
        Path | None, typer.Option(help="Finished bundle: its manifest; the card goes there too.")
    ] = None,
) -> None:
    """Write the card anew from the results in OUT."""
    from bmcore.models.bundles import load_bundle

    card = build_card(out, load_bundle(bundle or out).manifest)
    if card is None:
        raise refuse("there is no evaluation to write a card from", file=out,
                     expected="metrics.json or segmentation.json",
                     hint="run training.evaluate or training.evaluate_segmentation.")  # fmt: skip
    for folder in dict.fromkeys((out, bundle or out)):
        write_card(folder, card)
        typer.echo(f"model card written to {folder}")


if __name__ == "__main__":
    run_app(main)
