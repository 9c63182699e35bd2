"""One synthetic patient from a seed, and whole cohorts written in the Yale layout."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, Case, ClinicalRecord, Primary, Truth, Volume
from bmcore.phantom.appearance import draw_looks
from bmcore.phantom.grids import (
    YALE_AFFINE,
    GridName,
    draw_native_grid,
    image_on,
    labels_on,
    on_yale_grid,
    phantom_affine,
)
from bmcore.phantom.lesions import Growth, Kind, add_distractors, draw_kinds, draw_lesions
from bmcore.phantom.mimics import add_mimics, without_mimics
from bmcore.phantom.paint import draw_sequences, whole_head
from bmcore.phantom.seeds import member_seed
from bmcore.phantom.style import CLINIC, PRIORS, Prior, Style
from bmcore.phantom.tissue import draw_map, draw_tissue
from bmcore.workers import in_processes

_FIRST_ID = 86
_FOLDER = Path("PKG - Pretreat-MetsToBrain-Masks") / "Pretreat-MetsToBrain-Masks"
SPREADSHEET = "Pretreat-MetsToBrain-Masks_clin_20240410.xlsx"
_PRIMARY_CODE = {
    Primary.BREAST: 1,
    Primary.GI: 2,
    Primary.SCLC: 3,
    Primary.MELANOMA: 4,
    Primary.NSCLC: 5,
    Primary.RCC: 6,
}


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """images: sequence -> float32 (i, j, k); labels: uint8 0-3, same grid; affine RAS+ 1 mm.

    kinds: the nature of each metastasis; owner int16 (i, j, k): the number of the metastasis that a
    voxel belongs to, 1 for the first of ``kinds``, 0 for none. mimics: names of what enhances and
    is no metastasis (``phantom.mimics``); mimic_labels: their labels 0-3, which ``labels`` lacks.
    """

    seed: int
    images: dict[str, npt.NDArray[np.float32]]
    labels: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    primary: Primary
    clinical: ClinicalRecord
    lesion_count: int
    kinds: tuple[Kind, ...] = ()
    owner: npt.NDArray[np.int16] | None = None
    mimics: tuple[str, ...] = ()
    mimic_labels: npt.NDArray[np.uint8] | None = None

    def as_case(self, case_id: str) -> Case:
        """The same as a Case with its truth."""
        sequences = {s: Volume(v, self.affine) for s, v in self.images.items()}
        mask = Volume(self.labels, self.affine)
        truth = Truth("synthetic: known by construction", mask, self.primary)
        return Case(case_id, sequences, self.clinical, truth=truth)


def draw_record(rng: np.random.Generator, primary: Primary, prior: Prior) -> ClinicalRecord:
    """A clinical record by the priors; each optional value is missing now and then."""
    smoking = "never"
    if rng.uniform() >= prior.never_smoker:
        smoking = "current" if rng.uniform() < 0.4 else "former"
    mean = 35 if primary in (Primary.NSCLC, Primary.SCLC) else 18
    packs = 0.0 if smoking == "never" else float(np.clip(rng.gamma(2.2, mean / 2.2), 1, 150))
    age = float(np.clip(round(rng.normal(prior.age_mean, prior.age_sd)), 20, 95))
    sex = "female" if rng.uniform() < prior.female else "male"
    spread = bool(rng.uniform() < prior.extracranial)
    gone = rng.uniform(size=4) < (0.04, 0.12, 0.3, 0.15)
    return ClinicalRecord(
        age_years=None if gone[0] else age,
        sex=sex,
        smoking=None if gone[1] else smoking,
        pack_years=None if gone[2] or gone[1] else round(packs, 1),
        extracranial_metastases=None if gone[3] else spread,
    )


def draw_case(
    seed: int,
    style: Style = CLINIC,
    primary: Primary | None = None,
    mimics: tuple[str, ...] = (),
) -> PhantomCase:
    """One synthetic patient, the same bits for the same seed, style and library versions.

    mimics: which of ``phantom.mimics`` a patient with any has; else they are drawn.
    Images lie on the phantom's own grid (GRID, RAS+ 1 mm); ``on_yale_grid`` pads to the data set's.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 20231118]))
    shares = np.array([PRIORS[p].share for p in PRIMARIES])
    drawn = PRIMARIES[int(rng.choice(len(PRIMARIES), p=shares / shares.sum()))]
    primary = primary or drawn
    prior = PRIORS[primary]
    clinical = draw_record(rng, primary, prior)
    tissue = draw_tissue(rng, draw_map(rng), bool(rng.uniform() < style.residue_share))
    bare = rng.uniform() < style.no_lesion_share
    kinds = draw_kinds(rng, prior, even=bool(rng.uniform() < style.even_size_share))
    growth = Growth() if bare else draw_lesions(rng, tissue, prior, kinds)
    if rng.uniform() < style.distractor_share:
        add_distractors(rng, tissue, growth)
    there: tuple[str, ...] = ()
    if style.mimic_share and rng.uniform() < style.mimic_share:
        there = add_mimics(rng, tissue, growth, mimics)
    growth.labels[~tissue.mask] = 0
    looks = draw_looks(rng, growth.kinds, style)
    images = draw_sequences(rng, looks, whole_head(tissue, growth))
    true, affine = without_mimics(growth, len(there)), phantom_affine()
    grown = tuple(true.kinds)
    return PhantomCase(
        seed, images, true.labels, affine, primary, clinical, len(grown), grown, true.owner,
        there, np.where(true.labels > 0, 0, growth.labels).astype(np.uint8),
    )  # fmt: skip


def _volumes(case: PhantomCase, grid: GridName) -> tuple[dict[str, npt.NDArray], npt.NDArray]:
    """The sequences and the mask (``seg``) on the grid of the files, and its affine."""
    if grid == "atlas":
        named = [*case.images.items(), ("seg", case.labels)]
        return {name: on_yale_grid(np.asarray(data)) for name, data in named}, YALE_AFFINE
    native = draw_native_grid(np.random.default_rng([case.seed, 20261126]))
    volumes: dict[str, npt.NDArray] = {n: image_on(native, v) for n, v in case.images.items()}
    return volumes | {"seg": labels_on(native, case.labels)}, native.affine


def write_case(case: PhantomCase, case_id: str, folder: Path, grid: GridName = "atlas") -> None:
    """Write the four sequences and the mask as ``CASE/CASE-t1c.nii.gz`` …, all or nothing.

    grid: "atlas", that of the Yale files, or "native", an oblique one like a scanner's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    try:
        volumes, affine = _volumes(case, grid)
        for name, data in volumes.items():
            whole = np.clip(np.rint(data), 0, 32000).astype(np.int16)
            image = nib.Nifti1Image(whole, affine)
            image.set_sform(affine, 1)
            image.set_qform(affine, 1)
            nib.save(image, draft / f"{case_id}-{name}.nii.gz")
        target = folder / case_id
        if target.exists():
            shutil.rmtree(target)
        draft.replace(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def case_row(case: PhantomCase, number: int) -> dict[str, object]:
    """The row of the spreadsheet for the patient with this number."""
    record = case.clinical
    spread = record.extracranial_metastases
    return {
        "BraTS_MET_ID": number,
        "Primary": _PRIMARY_CODE[case.primary],
        "Sex": None if record.sex is None else int(record.sex == "female"),
        "Age": record.age_years,
        "ET_num": case.lesion_count,
        "Smoking": record.smoking,
        "Pack_years": record.pack_years,
        "Extranodal_metastases": None if spread is None else int(spread),
        "Death": None,
    }


def _write_one(
    index: int, seed: int, folder: Path, style: Style, grid: GridName
) -> dict[str, object]:
    number = _FIRST_ID + index
    case_id = f"BraTS-MET-{number:05d}-000"
    note = folder / case_id / ".row.json"
    if note.exists():
        return json.loads(note.read_text())
    case = draw_case(member_seed(seed, index), style)
    write_case(case, case_id, folder, grid)
    row = case_row(case, number)
    note.write_text(json.dumps(row))
    return row


def write_cohort(
    n: int,
    seed: int,
    out: Path,
    style: Style = CLINIC,
    on_case: Callable[[int, int], None] | None = None,
    workers: int = 1,
    grid: GridName = "atlas",
) -> Path:
    """Write ``n`` synthetic patients in the layout of Pretreat-MetsToBrain-Masks below ``out``.

    Cases that are there already are kept, so that a stopped run goes on. ``workers`` processes draw
    at once; the result does not depend on their number. grid: see ``write_case``. Returns the
    folder that holds the cases; the spreadsheet (sheet ``Data``) lies in ``out``. ValueError if
    n < 1.
    """
    import pandas as pd

    if n < 1:
        raise ValueError(f"a cohort needs at least one case, but n is {n}")
    out = Path(out)
    folder = out / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(i, seed, folder, style, grid) for i in range(n)]
    rows = {}
    for index, row in in_processes(_write_one, jobs, workers, _one_thread):
        rows[index] = row
        if on_case:
            on_case(len(rows), n)
    draft = out / f".{SPREADSHEET}"
    with pd.ExcelWriter(draft, engine="openpyxl") as writer:
        pd.DataFrame([rows[i] for i in range(n)]).to_excel(writer, sheet_name="Data", index=False)
    draft.replace(out / SPREADSHEET)
    return folder


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
