"""Draw the patients that naming the primary learns from: ``python -m training.naming_dataset``.

python -m training.naming_dataset --n 2000 --out runs/naming --bundle models/demo --net-every 2

``ON_ONE_HEAD`` synthetic patients at a time share a head (``phantom.shared_head``; they go into one
fold); a patient takes about 3 s on one core. With ``--bundle`` the last patient of every so many
heads is kept a second time, with the lesions that the bundle's segmentation net finds (10 s more).
What naming learns from
is kept (``training.data.naming_patient``, about 1 MB) and the images are thrown away. A patient is
one file, written at once or not at all, so a killed run goes on with the next one, and several may
run at once with ``--part 0/2`` and ``--part 1/2``.

Seeds: those of the 1,000 test patients (``TEST_SEED``) are drawn by ``training.evaluate_naming``
alone; this command refuses them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmcore.domain import refuse
from bmcore.phantom.seeds import member_seed
from bmcore.phantom.shared_head import draw_on_one_head
from training.data.naming_patient import MASKS, keep_patient, save_naming_patient
from training.run.options import OutOption, run_app
from training.run.read_once import part_of

TRAIN_SEED, TEST_SEED, TRIAL_SEED = 31, 32, 33  # cohorts that share no patient
ON_ONE_HEAD = 5  # patients; the last of them is asked of the segmentation net


def patient_file(out: Path, head: int, number: int, mask: str) -> Path:
    return out / mask / f"head{head:05d}-{number}.npz"


def asked_of(head: int, net_every: int | None) -> list[tuple[int, str]]:
    """The (patient, mask) that are kept of a head.

    With ``net_every`` the last patient of every so many heads also has the net's mask.
    """
    asked = [(number, MASKS[0]) for number in range(ON_ONE_HEAD)]
    if net_every and head // 2 % net_every == 0:  # both of two parts have as many
        asked.append((ON_ONE_HEAD - 1, MASKS[1]))
    return asked


def draw_missing(
    heads: list[int], cohort: int, out: Path, segmenter: Path | None, net_every: int = 1
) -> int:
    """Draw the patients of those heads that OUT does not hold yet; how many files were written.

    segmenter: bundle whose net finds the lesions a second time in some patients, see
    ``asked_of``; None keeps the reference's lesions alone.
    """
    bundle = None
    if segmenter is not None:
        from bmcore.models.bundles import load_bundle

        bundle = load_bundle(segmenter)
    written = 0
    for head in heads:
        missing = [
            (number, mask)
            for number, mask in asked_of(head, None if bundle is None else net_every)
            if not patient_file(out, head, number, mask).exists()
        ]
        if not missing:
            continue
        needed = {number for number, _ in missing}
        patients = draw_on_one_head(member_seed(cohort, head), ON_ONE_HEAD, only=needed)
        for number, drawn in zip(sorted(needed), patients, strict=True):
            for mask in (m for n, m in missing if n == number):
                described = mask == MASKS[0] and number == 0
                patient = keep_patient(drawn, mask, bundle, described)
                save_naming_patient(patient_file(out, head, number, mask), patient)
                written += 1
        typer.echo(f"head {head}: {len(missing)} files")
    return written


def main(
    out: OutOption,
    n: Annotated[int, typer.Option("--n", min=1, help="Patients in all.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = TRAIN_SEED,
    bundle: Annotated[
        Path | None, typer.Option(help="Whose net finds the lesions of some patients again.")
    ] = None,
    net_every: Annotated[
        int, typer.Option(min=1, help="The last patient of every so many heads.")
    ] = 1,
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
) -> None:
    """Draw the training patients of naming and keep what is learnt from below OUT."""
    if seed == TEST_SEED:
        raise refuse(
            "these are the seeds of the test patients",
            found=seed,
            hint="train on other patients; training.evaluate_naming draws the test patients.",
        )
    first, count = part_of(part)
    heads = list(range(-(-n // ON_ONE_HEAD)))
    written = draw_missing(heads[first::count], seed, out, bundle, net_every)
    typer.echo(f"{written} files written in {out}")


if __name__ == "__main__":
    run_app(main)
