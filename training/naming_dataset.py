"""Draw the patients that naming the primary learns from: ``python -m training.naming_dataset``.

python -m training.naming_dataset --n 2000 --out runs/naming
python -m training.naming_dataset --out runs/naming --mask net --bundle models/demo

``ON_ONE_HEAD`` synthetic patients at a time share a head (``phantom.shared_head``; they go into one
fold); a patient takes about 3 s on one core. What naming learns from
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
from bmcore.phantom.shared_head import draw_on_one_head
from training.data.naming_patient import MASKS, keep_patient, save_naming_patient
from training.run.options import OutOption, run_app

TRAIN_SEED, TEST_SEED, TRIAL_SEED = 31, 32, 33  # cohorts that share no patient
HEADS_A_SEED = 100_003
ON_ONE_HEAD = 5  # patients; the last of them is asked of the segmentation net


def head_seed(cohort: int, head: int) -> int:
    """The seed of head ``head`` of a cohort; two cohorts share none below 100,003 heads."""
    if not 0 <= head < HEADS_A_SEED:
        raise ValueError(f"head must lie between 0 and {HEADS_A_SEED - 1}, but is {head}")
    return cohort * HEADS_A_SEED + head


def patient_file(out: Path, head: int, number: int, mask: str) -> Path:
    return out / mask / f"head{head:05d}-{number}.npz"


def draw_missing(
    heads: list[int], cohort: int, out: Path, mask: str, segmenter: Path | None
) -> int:
    """Draw the patients of those heads that OUT does not hold yet; how many were drawn.

    With the mask ``net`` only the last patient of each head, since the net takes far longer than
    all the rest.
    """
    bundle = None
    if mask == "net":
        from bmcore.models.bundles import load_bundle

        if segmenter is None:
            raise refuse("the mask 'net' needs a segmentation net", hint="give --bundle.")
        bundle = load_bundle(segmenter)
    drawn = 0
    for head in heads:
        asked = range(ON_ONE_HEAD) if mask == "reference" else [ON_ONE_HEAD - 1]
        missing = [n for n in asked if not patient_file(out, head, n, mask).exists()]
        if not missing:
            continue
        for number, case in enumerate(draw_on_one_head(head_seed(cohort, head), ON_ONE_HEAD)):
            if number not in missing:
                continue
            described = mask == "reference" and number == 0
            patient = keep_patient(case, mask, bundle, described)
            save_naming_patient(patient_file(out, head, number, mask), patient)
            drawn += 1
        typer.echo(f"head {head}, {mask} mask: {len(missing)} patients")
    return drawn


def _part(text: str) -> tuple[int, int]:
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise refuse("--part cannot be used", found=text, expected="for instance 0/2 or 1/2")
    return int(first), int(count)


def main(
    out: OutOption,
    n: Annotated[int, typer.Option("--n", min=1, help="Patients in all.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = TRAIN_SEED,
    mask: Annotated[str, typer.Option(help="reference, or net: as the net finds them.")] = MASKS[0],
    bundle: Annotated[Path | None, typer.Option(help="Whose net finds the lesions.")] = None,
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
) -> None:
    """Draw the training patients of naming and keep what is learnt from below OUT."""
    if seed == TEST_SEED:
        raise refuse(
            "these are the seeds of the test patients",
            found=seed,
            hint="train on other patients; training.evaluate_naming draws the test patients.",
        )
    if mask not in MASKS:
        raise refuse("unknown mask", found=mask, expected=" or ".join(MASKS))
    first, count = _part(part)
    heads = list(range(-(-n // ON_ONE_HEAD)))
    drawn = draw_missing(heads[first::count], seed, out, mask, bundle)
    typer.echo(f"{drawn} patients drawn in {out}")


if __name__ == "__main__":
    run_app(main)
