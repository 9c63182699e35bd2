"""Synthetic patients: masks that fit, seeds that repeat, priors that hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bmcore.anatomy import brain_to_mni, lobe, templates
from bmcore.domain import PRIMARIES, Label, Primary
from bmcore.imaging.standardise import standardise
from bmcore.phantom.cohort import SPREADSHEET, PhantomCase, draw_case, draw_record, write_cohort
from bmcore.phantom.lesions import draw_kinds
from bmcore.phantom.style import CLINIC, PRIORS, WILD, Style


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [draw_case(seed, style) for seed, style in ((1, CLINIC), (2, CLINIC), (3, WILD))]


def _digest(case: PhantomCase) -> str:
    digest = hashlib.sha256(case.labels.tobytes())
    for image in case.images.values():
        digest.update(image.tobytes())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    cases: list[PhantomCase],
) -> None:
    again = draw_case(1, CLINIC)
    assert _digest(again) == _digest(cases[0])
    assert (again.primary, again.clinical) == (cases[0].primary, cases[0].clinical)
    assert _digest(cases[1]) != _digest(cases[0])


def test_no_lesion_lies_outside_the_head_and_labels_are_0_to_3(cases: list[PhantomCase]) -> None:
    for case in cases:
        head = case.images["t1c"] > 0
        assert set(np.unique(case.labels)) <= {0, 1, 2, 3}
        outside = (case.labels > 0) & ~head
        # Rician noise makes a voxel of the head 0 at most now and then
        assert outside.sum() <= 0.001 * (case.labels > 0).sum()
        assert not case.labels[0].any() and not case.labels[-1].any()


def test_enhancing_tumour_is_brighter_than_the_brain_around_it_after_gadolinium(
    cases: list[PhantomCase],
) -> None:
    ratios = []
    for case in cases:
        image, tumour = case.images["t1c"], case.labels == Label.ET
        ring = ndimage.binary_dilation(tumour, iterations=4) & (case.labels == 0) & (image > 0)
        ratios.append(image[tumour].mean() / image[ring].mean())
    assert min(ratios) > 1.05 and np.mean(ratios) > 1.2


def test_necrosis_is_wrapped_in_tumour(cases: list[PhantomCase]) -> None:
    necrosis = sum(int((c.labels == Label.NETC).sum()) for c in cases)
    assert necrosis > 0
    for case in cases:
        core = case.labels == Label.NETC
        if core.any():
            parts, n = ndimage.label(np.isin(case.labels, (Label.NETC, Label.ET)))
            with_rim = np.unique(parts[case.labels == Label.ET])
            assert np.isin(parts[core], with_rim).mean() > 0.95
            assert n >= 1


def test_a_style_without_lesions_draws_none() -> None:
    bare = draw_case(5, Style(no_lesion_share=1.0, distractor_share=0.0))
    assert bare.lesion_count == 0 and not bare.labels.any()


def test_a_style_refuses_shares_beyond_one() -> None:
    with pytest.raises(ValueError, match="wildness must lie between 0 and 1"):
        Style(wildness=1.5)


def test_diameters_and_counts_follow_the_priors() -> None:
    rng = np.random.default_rng(0)
    for primary in (Primary.NSCLC, Primary.MELANOMA, Primary.RCC):
        prior = PRIORS[primary]
        drawn = [draw_kinds(rng, prior) for _ in range(1500)]
        largest = np.percentile([k[0].diameter_mm for k in drawn], (25, 50, 75))
        counts = np.percentile([len(k) for k in drawn], (25, 50, 75))
        # quantiles of DESIGN's table, drawn 1,500 times: within a tenth, counts within one lesion
        np.testing.assert_allclose(largest, prior.diameters_mm[:3], rtol=0.1)
        np.testing.assert_allclose(counts, prior.counts[:3], atol=1.0)


def test_shares_sum_to_one_and_records_follow_sex_and_smoking() -> None:
    assert sum(p.share for p in PRIORS.values()) == pytest.approx(1.0)
    assert set(PRIORS) == set(PRIMARIES)
    rng = np.random.default_rng(1)
    records = [draw_record(rng, Primary.SCLC, PRIORS[Primary.SCLC]) for _ in range(600)]
    known = [r.smoking for r in records if r.smoking]
    assert 0.005 < np.mean([s == "never" for s in known]) < 0.06  # prior .025
    breast = [draw_record(rng, Primary.BREAST, PRIORS[Primary.BREAST]) for _ in range(50)]
    assert {r.sex for r in breast} == {"female"}
    assert any(r.pack_years is None for r in records)


def test_a_cohort_has_the_exact_layout_of_the_data_set_and_goes_on_where_it_stopped(
    tmp_path: Path,
) -> None:
    folder = write_cohort(1, 3, tmp_path)
    written = folder / "BraTS-MET-00086-000" / "BraTS-MET-00086-000-t1c.nii.gz"
    stamp = written.stat().st_mtime_ns
    write_cohort(2, 3, tmp_path)
    assert written.stat().st_mtime_ns == stamp
    assert folder == tmp_path / "PKG - Pretreat-MetsToBrain-Masks/Pretreat-MetsToBrain-Masks"
    for number in (86, 87):
        case = f"BraTS-MET-{number:05d}-000"
        for part in ("t1n", "t1c", "t2w", "t2f", "seg"):
            image = nib.load(folder / case / f"{case}-{part}.nii.gz")
            assert image.shape == (240, 240, 155)
            assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    table = pd.read_excel(tmp_path / SPREADSHEET, sheet_name="Data")
    assert list(table["BraTS_MET_ID"]) == [86, 87]
    assert {"Primary", "Sex", "Age", "ET_num", "Death"} <= set(table.columns)
    assert not list(folder.glob(".draft-*"))


def test_a_cohort_of_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one case"):
        write_cohort(0, 1, tmp_path)


def test_the_lobes_of_well_known_places() -> None:
    places = {
        "frontal": (40, -5, 50),  # precentral gyrus
        "parietal": (40, -50, 50),
        "temporal": (-55, -20, -15),
        "occipital": (10, -90, 5),  # calcarine
        "cerebellum": (-25, -60, -35),
        "brainstem": (0, -25, -30),  # pons
        "deep": (10, -18, 8),  # thalamus
    }
    assert lobe(list(places.values())) == list(places)
    assert lobe([(45, -60, 30), (-50, -55, -12)]) == ["parietal", "temporal"]  # angular, fusiform


def test_a_shifted_and_stretched_brain_is_brought_back_to_the_template() -> None:
    t = templates()
    moved = np.diag([1.1, 0.9, 1.05, 1.0]) @ t.affine
    moved[:3, 3] += (120, 239, 40)
    back = brain_to_mni(t.brain, moved) @ moved
    voxel = np.array([[98, 134, 72, 1], [60, 60, 60, 1]], float).T
    np.testing.assert_allclose((back @ voxel)[:3], (t.affine @ voxel)[:3], atol=1.5)


def test_standardisation_has_median_0_and_spread_1_inside_and_ignores_a_bright_lesion() -> None:
    rng = np.random.default_rng(0)
    brain = np.zeros((40, 40, 40), bool)
    brain[5:35, 5:35, 5:35] = True
    image = rng.normal(300, 50, brain.shape)
    out = standardise(image, brain)
    assert abs(np.median(out[brain])) < 0.01 and abs(out[brain].std() - 1) < 0.03
    assert not out[~brain].any()
    bright = image.copy()
    bright[6:10, 6:10, 6:10] = 5000
    far = brain & (bright == image)
    np.testing.assert_allclose(standardise(bright, brain)[far], out[far], atol=0.03)
    flat = standardise(np.full(brain.shape, 7.0), brain)
    assert not flat.any()


@pytest.mark.parametrize("primary", list(Primary))
def test_a_wanted_primary_is_drawn(primary: Primary) -> None:
    assert PRIORS[primary].share > 0
    rng = np.random.default_rng(2)
    assert len(draw_kinds(rng, PRIORS[primary])) >= 1
