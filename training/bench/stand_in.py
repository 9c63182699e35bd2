"""A cohort that the shipped nets have not met, in the Yale layout, with the faults of a download.

python -m training.bench.stand_in --out DIR --cases 60

A third style beside CLINIC and WILD: every intensity goes through a curve of its own, lesions and
sulci are wrinkled at a scale of some millimetres, the primaries are as common as in no other
cohort, and each case lies on a grid like a scanner's own. Then the faults: a file cut short, a case
without T1 post-gadolinium, one without a mask, one with Primary 7, one without a row, one without
a primary, and one patient under two ids. The spreadsheet lies one folder up.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import PRIMARIES, Primary
from bmcore.phantom.cohort import SPREADSHEET, PhantomCase, case_row, draw_case, write_case
from bmcore.phantom.seeds import member_seed
from bmcore.phantom.style import Style
from bmcore.workers import in_processes
from training.run.options import OutOption, SeedOption, run_app
from training.run.processes import progress

THIRD = Style(
    wildness=0.55,
    no_lesion_share=0.0,
    distractor_share=0.4,
    thick_slice_share=0.4,
    artefact_share=0.12,
    even_size_share=0.25,
    residue_share=0.5,
    shift_share=0.2,
)
SHARES = {
    Primary.NSCLC: 0.26, Primary.BREAST: 0.26, Primary.MELANOMA: 0.14, Primary.GI: 0.12,
    Primary.SCLC: 0.11, Primary.RCC: 0.11,
}  # fmt: skip
EXPONENTS = {"t1n": (0.7, 1.5), "t1c": (0.65, 1.3), "t2w": (0.6, 1.2), "t2f": (0.7, 1.6)}
WRINKLE_MM, WRINKLE_SCALE = 1.8, 5.0  # standard deviation of the shift, and over how many mm
SEED = 52
FOLDER = Path("PKG - Pretreat-MetsToBrain-Masks") / "Pretreat-MetsToBrain-Masks"
FIRST = 86


@dataclass(frozen=True)
class Faults:
    """Positions of the cases that are spoilt, -1 for none. cut_short: its FLAIR breaks off.
    twin: the case is there once more under another id, repacked."""

    cut_short: int = 0
    no_t1c: int = 1
    no_mask: int = 2
    other_primary: int = 3
    no_row: int = 4
    no_primary: int = 5
    twin: int = 6


NO_FAULTS = Faults(-1, -1, -1, -1, -1, -1, -1)


def draw_third(seed: int) -> PhantomCase:
    """One patient of the third style; the same bits for the same seed and versions."""
    rng = np.random.default_rng([seed, 20261129, 3])
    shares = np.array([SHARES[p] for p in PRIMARIES])
    primary = PRIMARIES[int(rng.choice(len(PRIMARIES), p=shares / shares.sum()))]
    case = draw_case(seed, THIRD, primary)
    shift = _wrinkles(rng, case.labels.shape)
    images = {name: _curve(rng, name, _moved(v, shift, 1)) for name, v in case.images.items()}
    labels = _moved(case.labels, shift, 0).astype(np.uint8)
    return replace(case, images=images, labels=labels, owner=None)


def _wrinkles(rng: np.random.Generator, shape: tuple[int, ...]) -> list[npt.NDArray[np.float32]]:
    from scipy import ndimage

    fields = []
    for _ in range(3):
        field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), WRINKLE_SCALE)
        fields.append(field * np.float32(WRINKLE_MM / field.std()))
    return fields


def _moved(data: npt.NDArray, shift: list[npt.NDArray[np.float32]], order: int) -> npt.NDArray:
    from scipy import ndimage

    at = [np.arange(n, dtype=np.float32) for n in data.shape]
    grid = np.meshgrid(*at, indexing="ij", copy=False)
    places = [g + s for g, s in zip(grid, shift, strict=True)]
    return ndimage.map_coordinates(data, places, order=order, mode="nearest")


def _curve(rng: np.random.Generator, name: str, image: npt.NDArray) -> npt.NDArray[np.float32]:
    """The image through a power curve of its own range, which stays; background stays 0."""
    top = float(np.percentile(image[image > 0], 99.5)) if (image > 0).any() else 1.0
    exponent = rng.uniform(*EXPONENTS[name])
    return (np.maximum(image, 0) / top) ** np.float32(exponent) * np.float32(top)


def on_native_grid(case: PhantomCase, case_id: str, folder: Path) -> None:
    write_case(case, case_id, folder, "native")


def write_stand_in(
    cases: Iterable[PhantomCase],
    out: Path,
    faults: Faults = Faults(),
    write: Callable[[PhantomCase, str, Path], None] = on_native_grid,
) -> Path:
    """Write the patients in the Yale layout below OUT and spoil some; the folder of the cases."""
    rows = []
    folder = out / FOLDER
    for number, case in enumerate(cases):
        write(case, _id(number), folder)
        rows.append(case_row(case, FIRST + number))
    return finish_stand_in(rows, out, faults)


def _id(number: int) -> str:
    return f"BraTS-MET-{FIRST + number:05d}-000"


def finish_stand_in(rows: list[dict[str, object]], out: Path, faults: Faults) -> Path:
    """Spoil the cases that ``faults`` names, add the twin, write the spreadsheet one folder up."""
    import pandas as pd

    folder = out / FOLDER
    spoil: dict[str, Callable[[Path], None]] = {
        "cut_short": _cut_short,
        "no_t1c": lambda own: (own / f"{own.name}-t1c.nii.gz").unlink(),
        "no_mask": lambda own: (own / f"{own.name}-seg.nii.gz").unlink(),
    }
    for name, change in spoil.items():
        if getattr(faults, name) >= 0:
            change(folder / _id(getattr(faults, name)))
    rows = [dict(row) for row in rows]
    if faults.twin >= 0:
        twin = dict(rows[faults.twin]) | {"BraTS_MET_ID": FIRST + len(rows)}
        _copy_case(folder / _id(faults.twin), folder / _id(len(rows)))
        rows.append(twin)
    if faults.other_primary >= 0:
        rows[faults.other_primary]["Primary"] = 7
    if faults.no_primary >= 0:
        rows[faults.no_primary]["Primary"] = None
    if faults.no_row >= 0:
        del rows[faults.no_row]
    draft = out / f".{SPREADSHEET}"
    with pd.ExcelWriter(draft, engine="openpyxl") as writer:
        pd.DataFrame(rows).to_excel(writer, sheet_name="Data", index=False)
    draft.replace(out / SPREADSHEET)
    return folder


def _cut_short(own: Path) -> None:
    file = own / f"{own.name}-t2f.nii.gz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _copy_case(source: Path, target: Path) -> None:
    """The same images under another id, packed anew, so that only the voxels tell."""
    import nibabel as nib

    if target.exists():
        shutil.rmtree(target)
    target.mkdir()
    for path in sorted(source.glob("*.nii.gz")):
        image = nib.load(path)
        nib.save(image, target / path.name.replace(source.name, target.name))


def as_it_is(case: PhantomCase, case_id: str, folder: Path) -> None:
    """Write a case on its own grid."""
    import nibabel as nib

    own = folder / case_id
    own.mkdir(parents=True, exist_ok=True)
    for name, data in (*case.images.items(), ("seg", case.labels)):
        whole = np.clip(np.rint(np.asarray(data)), 0, 32000).astype(np.int16)
        nib.save(nib.Nifti1Image(whole, case.affine), own / f"{case_id}-{name}.nii.gz")


def _write_one(number: int, seed: int, folder: Path) -> dict[str, object]:
    import json

    note = folder / f".{_id(number)}.json"
    if note.exists():
        return json.loads(note.read_text())
    case = draw_third(member_seed(seed, number))
    on_native_grid(case, _id(number), folder)
    row = case_row(case, FIRST + number)
    note.write_text(json.dumps(row))
    return row


def write_cohort(out: Path, cases: int, seed: int, workers: int) -> Path:
    """Draw ``cases`` patients of the third style below OUT; a stopped run goes on."""
    folder = out / FOLDER
    if (out / SPREADSHEET).exists():
        return folder  # whole, with its faults
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[int, dict[str, object]] = {}
    with progress() as bars:
        task = bars.add_task("draw the stand-in", total=cases)
        jobs = [(n, seed, folder) for n in range(cases)]
        for number, row in in_processes(_write_one, jobs, workers):
            rows[number] = row
            bars.advance(task)
    return finish_stand_in([rows[n] for n in range(cases)], out, Faults())


def main(
    out: OutOption,
    cases: Annotated[int, typer.Option(min=8, help="Patients, about 15 s each.")] = 60,
    seed: SeedOption = SEED,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
) -> None:
    """Write the stand-in cohort to OUT."""
    typer.echo(f"cases in {write_cohort(out, cases, seed, workers)}")


if __name__ == "__main__":
    run_app(main)
