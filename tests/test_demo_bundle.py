"""The shipped demo models: whole, small, honest about what they are, and of use."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from bmcore.domain import REGIONS, SEQUENCES, Case, Volume
from bmcore.models.bundles import load_bundle
from bmcore.models.manifest import PARTS
from bmcore.settings import PROJECT
from tests.test_reading_realdata import CASE as REAL
from tests.test_reading_realdata import reference

DEMO = PROJECT / "models" / "demo"


def test_the_shipped_bundle_is_whole_and_says_that_it_is_synthetic() -> None:
    bundle = load_bundle(DEMO)
    assert all(bundle.has(part) for part in PARTS)
    assert bundle.info.synthetic and "synthetic" in bundle.info.badge


def test_all_that_is_shipped_stays_under_30_megabytes() -> None:
    size = sum(p.stat().st_size for p in (PROJECT / "models").rglob("*") if p.is_file())
    assert size <= 30_000_000


def test_the_hashes_of_the_manifest_are_those_of_the_files() -> None:
    manifest = json.loads((DEMO / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["parts"].values():
        digest = hashlib.sha256((DEMO / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"]


@pytest.mark.timeout(300)
def test_the_segmenter_finds_the_large_lesions_of_an_unseen_synthetic_patient() -> None:
    from bmcore.imaging.preprocess import prepare, restore
    from bmcore.inference.pipeline import find_tumour
    from bmcore.phantom.cohort import draw_case
    from bmcore.stats.segmentation import lesion_wise, region

    drawn = draw_case(7_000_000_010)  # a demo case, four lesions, beyond every cohort's seeds
    case = drawn.as_case("unseen")
    prepared = prepare(case)
    found = find_tumour(load_bundle(DEMO), prepared)[0]
    mask = restore(found, prepared)
    assert mask.shape == case.grid.shape
    scored = lesion_wise(region(mask.data, (1, 3)), region(drawn.labels, (1, 3)))
    large = [s for s in scored.lesions if s.diameter_mm >= 10]
    assert large and np.mean([s.detected for s in large]) > 0.5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sequences", [("t1c",), ("t1n", "t1c")])
def test_the_segmenter_is_quiet_on_a_brain_without_a_lesion(sequences: tuple[str, ...]) -> None:
    """The mean of 152 healthy brains, T1: nothing like it was among the synthetic patients."""
    from bmcore.anatomy import templates
    from bmcore.imaging.preprocess import prepare
    from bmcore.inference.pipeline import find_tumour

    mni = templates()
    image = Volume(np.where(mni.brain, mni.t1, 0).astype(np.float32), mni.affine)
    prepared = prepare(Case("MNI152", dict.fromkeys(sequences, image)))
    assert not find_tumour(load_bundle(DEMO), prepared)[0].any()


@pytest.mark.timeout(300)
@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real MRI files in {REAL.parent}")
@pytest.mark.parametrize("sequences", [SEQUENCES, ("t1n", "t1c")])
def test_the_segmenter_agrees_with_another_program_on_a_real_metastasis(
    sequences: tuple[str, ...],
) -> None:
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.inference.pipeline import find_tumour
    from bmcore.intake.nifti import read_case
    from bmcore.stats.segmentation import dice, lesion_wise, region

    case = read_case(REAL)
    core = reference(case, (2,))  # its label for the tumour core
    kept = {name: case.sequences[name] for name in sequences}
    prepared = prepare(Case("some sequences", kept))
    found = region(find_tumour(load_bundle(DEMO), prepared)[0], REGIONS["TC"])
    there = to_working_grid(core, prepared) > 0
    assert dice(found, there) >= 0.9  # 0.8 is the goal
    scored = lesion_wise(found, there)
    assert all(s.detected for s in scored.lesions) and scored.false_lesions <= 1
