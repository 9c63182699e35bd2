"""Draw the patients that naming the primary learns from: ``python -m training.naming_dataset``.

python -m training.naming_dataset --n 2000 --out runs/naming
python -m training.naming_dataset --out runs/naming --mask net --bundle models/demo --every 5

Each synthetic patient is drawn from its own seed (about 4 s on one core), what naming learns from
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
from training.data.naming_patient import MASKS, draw_patient, save_naming_patient
from training.run.options import OutOption, run_app

TRAIN_SEED, TEST_SEED, TRIAL_SEED = 31, 32, 33  # cohorts that share no patient
PATIENTS_A_SEED = 100_003  # as ``phantom.cohort.write_cohort`` numbers them
DESCRIBED = 4  # statistics for novelty of every so many patients


def patient_seed(cohort: int, index: int) -> int:
    """The seed of patient ``index`` of a cohort; two cohorts share none below 100,003 patients."""
    if not 0 <= index < PATIENTS_A_SEED:
        raise ValueError(f"index must lie between 0 and {PATIENTS_A_SEED - 1}, but is {index}")
    return cohort * PATIENTS_A_SEED + index


def patient_file(out: Path, index: int, mask: str) -> Path:
    return out / mask / f"{index:05d}.npz"


def draw_missing(
    indices: list[int], cohort: int, out: Path, mask: str, segmenter: Path | None
) -> int:
    """Draw those of ``indices`` that OUT does not hold yet; how many were drawn."""
    bundle = None
    if mask == "net":
        from bmcore.models.bundles import load_bundle

        if segmenter is None:
            raise refuse("the mask 'net' needs a segmentation net", hint="give --bundle.")
        bundle = load_bundle(segmenter)
    drawn = 0
    for index in indices:
        path = patient_file(out, index, mask)
        if path.exists():
            continue
        described = mask == "reference" and index % DESCRIBED == 0
        patient = draw_patient(patient_seed(cohort, index), mask, bundle, described)
        save_naming_patient(path, patient)
        drawn += 1
        typer.echo(f"patient {index}, {mask} mask: {len(patient.lesions)} lesions")
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
    every: Annotated[int, typer.Option(min=1, help="Only every so many patients.")] = 1,
    offset: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
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
    mine = [i for i in range(n) if i % every == offset % every]
    drawn = draw_missing(mine[first::count], seed, out, mask, bundle)
    typer.echo(f"{drawn} patients drawn, {len(mine)} asked for, in {out}")


if __name__ == "__main__":
    run_app(main)
