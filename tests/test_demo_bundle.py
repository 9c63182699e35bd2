"""The shipped demo models: whole, small, honest about what they are, and of use."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from bmcore.models.bundles import PARTS, load_bundle
from bmcore.settings import PROJECT

DEMO = PROJECT / "models" / "demo"


def test_the_shipped_bundle_is_whole_and_says_that_it_is_synthetic() -> None:
    bundle = load_bundle(DEMO)
    assert all(bundle.has(part) for part in PARTS)
    assert bundle.info.synthetic and "synthetic" in bundle.info.badge


def test_all_that_is_shipped_stays_under_25_megabytes() -> None:
    size = sum(p.stat().st_size for p in (PROJECT / "models").rglob("*") if p.is_file())
    assert size <= 25 * 1024 * 1024


def test_the_hashes_of_the_manifest_are_those_of_the_files() -> None:
    manifest = json.loads((DEMO / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["parts"].values():
        digest = hashlib.sha256((DEMO / entry["file"]).read_bytes()).hexdigest()
        assert digest == entry["sha256"]


@pytest.mark.timeout(300)
def test_the_segmenter_finds_the_large_lesions_of_an_unseen_synthetic_patient() -> None:
    from bmcore.imaging.preprocess import prepare, restore
    from bmcore.phantom.cohort import draw_case
    from bmcore.reading.pipeline import find_tumour
    from bmcore.stats.segmentation import lesion_wise, region

    drawn = draw_case(7_000_000_010)  # a demo case, four lesions, beyond every cohort's seeds
    case = drawn.as_case("unseen")
    prepared = prepare(case)
    found = find_tumour(load_bundle(DEMO), prepared)
    mask = restore(found, prepared)
    assert mask.shape == case.grid.shape
    scored = lesion_wise(region(mask.data, (1, 3)), region(drawn.labels, (1, 3)))
    large = [s for s in scored.lesions if s.diameter_mm >= 10]
    assert large and np.mean([s.detected for s in large]) > 0.5
