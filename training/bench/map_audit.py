"""How many lesions have a map that passes its audit: ``python -m training.bench.map_audit``.

python -m training.bench.map_audit --bundle models/demo --out runs/maps --heads 12 --part 0/2

New synthetic patients (``TRIAL_SEED``) with the reference's lesions. Every lesion of LEAST_MM and
more is audited as the screen does it (``inference.audit``): Grad-CAM for the lesion's likeliest
primary, and integrated gradients where that does not pass. A lesion passes where one of the two
maps is not empty and passes all three checks. The interval resamples patients. Half a minute a
patient on one core: what was read of a head (five patients) is kept in one file, so that a stopped
run goes on and several processes may share the heads.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bmcore.domain import PRIMARIES
from bmcore.phantom.seeds import member_seed
from training.naming_dataset import ON_ONE_HEAD, TRIAL_SEED
from training.run.options import OutOption, run_app
from training.run.read_once import only_by, part_of, read_each

if TYPE_CHECKING:
    from training.data.naming_patient import NamingPatient

LEAST_MM = 10.0
BEHIND = 1_000  # heads; those before are read by other trials


def new_patients(count: int) -> Iterator[NamingPatient]:
    """Patients that no training command draws, with the reference's lesions."""
    heads = range(-(-count // ON_ONE_HEAD))
    return itertools.islice((p for head in heads for p in patients_of(head)), count)


def patients_of(head: int) -> Iterator[NamingPatient]:
    """The five patients of one of these heads, counted from 0."""
    from bmcore.phantom.shared_head import draw_on_one_head
    from training.data.naming_patient import keep_patient

    for case in draw_on_one_head(member_seed(TRIAL_SEED, BEHIND + head), ON_ONE_HEAD):
        yield keep_patient(case, "reference")


def audited(bundle: Any, patient: Any) -> list[dict[str, Any]]:
    """A row a lesion of LEAST_MM and more: which map is shown, and what its checks say."""
    from bmcore.inference import audit
    from bmcore.models.cnn import lesion_logits
    from bmcore.models.image_features import cnn_patches

    if not patient.lesions:
        return []
    patches = cnn_patches(patient.crops)
    rows = []
    for lesion, patch in zip(patient.lesions, patches, strict=False):
        if lesion.largest_diameter_mm < LEAST_MM:
            continue
        one = patch[None]
        primary = PRIMARIES[int(lesion_logits(bundle.cnn, one)[0].argmax())]
        found = audit.trusted(bundle.cnn, one, lesion.number, primary)
        checks = {check.question: check.verdict for check in found.checks}
        rows.append(
            {"seed": patient.seed, "method": found.method, "passed": found.passes, **checks}
        )
    return rows


def main(
    out: OutOption,
    bundle: Annotated[Path, typer.Option(help="The finished models.")],
    heads: Annotated[int, typer.Option(min=1, help="Heads, each with five patients.")] = 12,
    part: Annotated[str, typer.Option(help="This process' share, as 0/2.")] = "0/1",
) -> None:
    """Audit the maps of new patients' lesions and print the share that passes."""
    from bmcore.models.bundles import load_bundle
    from bmcore.stats.clustered import ratio

    models = load_bundle(bundle)
    only_by(out / "read_by.json", {"cnn": models.entry("cnn")["sha256"]})

    def read(head: int) -> dict[str, Any]:
        return {"patients": [audited(models, patient) for patient in patients_of(head)]}

    found = read_each(out, heads, part_of(part), read)
    if found is None:
        return
    each = [patient for head in found for patient in head["patients"]]
    rows = [row for patient in each for row in patient]
    asked = [len(patient) for patient in each]
    passed = [sum(row["passed"] for row in patient) for patient in each]
    estimate = ratio(passed, asked, "lesions whose map passes")
    typer.echo(f"{len(rows)} lesions of {LEAST_MM:g} mm and more in {len(each)} patients")
    typer.echo(f"map passes its audit: {estimate.text(3)}")
    typer.echo(f"shown map: {dict(Counter(row['method'] for row in rows))}")
    failed = Counter(
        question for row in rows for question, verdict in row.items() if verdict == "fails"
    )
    typer.echo(f"checks that fail in the shown map: {dict(failed)}")


if __name__ == "__main__":
    run_app(main)
