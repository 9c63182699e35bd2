"""From a folder of cases to a finished bundle, in one command.

python -m training.run --data DIR --out models/yale

DATA is the folder that the download of Pretreat-MetsToBrain-Masks unpacked to, or one laid out like
it. The command looks at every case first, says which are used and why the others are not, and how
long the whole will take. Started again after a stop it goes on where it stopped. See docs/train.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.run.options import DeviceOption, SeedOption, run_app

START = Path("models") / "demo"


def main(
    data: Annotated[Path, typer.Option(help="Folder of cases.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the bundle.", show_default=False)],
    start_from: Annotated[
        Path, typer.Option(help="Bundle whose segmentation net is fine-tuned.")
    ] = START,
    from_nothing: Annotated[
        bool, typer.Option("--from-nothing", help="Do not fine-tune: begin with random weights.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Folds, by person.")] = 5,
    minutes: Annotated[
        float | None, typer.Option(min=1, help="Time for the whole; else as long as it takes.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for what lies between; runs/NAME OF OUT if left out."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read cases.")] = 2,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The cases are synthetic: the bundle will say so.")
    ] = False,
    audit_only: Annotated[
        bool, typer.Option("--audit", help="Only look at the cases and say what would be used.")
    ] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train on the cases of DATA and write the bundle to OUT."""
    from training.pipeline.order import Order
    from training.pipeline.whole import look_only, run_all

    between = work or Path("runs") / out.name
    start = None if from_nothing else start_from
    order = Order(data, out, between, start, folds, minutes, workers, device, seed, synthetic)
    (look_only if audit_only else run_all)(order)


if __name__ == "__main__":
    run_app(main)
