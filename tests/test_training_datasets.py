"""Training reads a folder in any of the layouts, and keeps the scans of one person together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import InputRefused, Primary
from bmcore.intake.datasets import YaleDataset
from tests import reading_fixture as reading
from tests.volumes_fixture import save, save_yale
from training.data.cohort import load_cohort, person_of, prepare_cohort
from training.data.datasets import LayoutDataset, open_dataset
from training.data.prepared import prepare_all
from training.run.processes import World

STEMS = {"t1n": "T1pre", "t1c": "T1post", "t2w": "T2Synth", "t2f": "FLAIR"}


def ucsf(folder: Path, *names: str) -> Path:
    """Heads with one lesion each, in the layout of UCSF-BMSR, with a clinical table."""
    case = reading.head()
    mask = np.zeros(reading.SHAPE, np.float32)
    i, j, k = reading.LESION_VOXEL
    mask[i - 3 : i + 4, j - 3 : j + 4, k - 3 : k + 4] = 3
    for name in names:
        place = folder / name
        for sequence, stem in STEMS.items():
            save(case.sequences[sequence], place / f"{name}_{stem}.nii.gz")
        labels = type(case.grid)(mask, case.grid.affine)
        save(labels, place / f"{name}_BraTS-seg.nii.gz", np.uint8)
    rows = [f"{name[:6]},61,breast" for name in dict.fromkeys(n[:6] for n in names)]
    table = "\n".join(["case_id,age,primary", *rows])
    (folder / "clinical.csv").write_text(table)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ucsf(tmp_path_factory.mktemp("data"), "100101A", "100101B", "100102A")


def test_a_folder_of_another_layout_is_cases_with_mask_record_and_primary(folder: Path) -> None:
    data = open_dataset(folder)
    assert isinstance(data, LayoutDataset) and data.layout == "ucsf-bmsr"
    assert data.case_ids == ("100101--100101A", "100101--100101B", "100102--100102A")
    case = data.load("100101--100101B")
    assert case.case_id == "100101--100101B" and set(case.sequences) == set(STEMS)
    assert case.clinical.age_years == 61 and case.truth.primary is Primary.BREAST
    assert set(np.unique(case.truth.mask.data)) == {0, 3} and case.origin is None
    with pytest.raises(InputRefused, match="no case"):
        data.load("100101B")


def test_scans_of_one_person_are_one_person_to_the_folds(folder: Path, tmp_path: Path) -> None:
    cohort = prepare_cohort(folder, tmp_path, World(0, 1, "cpu"))
    assert [p.person for p in cohort.patients] == ["100101", "100101", "100102"]
    assert all(p.primary is Primary.BREAST and len(p.lesions) == 1 for p in cohort.patients)
    again = load_cohort(tmp_path / "cache")
    assert again.digest == cohort.digest
    assert person_of("100101--100101A@net") == "100101" and person_of("case-1") == "case-1"


def test_the_segmenter_prepares_the_same_folder(folder: Path, tmp_path: Path) -> None:
    names = prepare_all([folder], tmp_path, World(0, 1, "cpu"))
    assert names == [f"0/{case}" for case in open_dataset(folder).case_ids]
    labels = np.load(tmp_path / "0" / "100102--100102A.labels.npy")
    assert (labels == 3).sum() == 343


def test_a_folder_in_the_yale_layout_stays_what_it_was(tmp_path: Path) -> None:
    save_yale(tmp_path / "any name")
    data = open_dataset(tmp_path / "any name")
    assert isinstance(data, YaleDataset) and data.case_ids == ("BraTS-MET-00110-000",)
    names = {path.name for path in data.files_of("BraTS-MET-00110-000")}
    assert "BraTS-MET-00110-000-t1c.nii.gz" in names


def test_a_folder_in_no_layout_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputRefused) as caught:
        open_dataset(tmp_path)
    assert "ucsf-bmsr" in str(caught.value) and "cases.csv" in str(caught.value)
