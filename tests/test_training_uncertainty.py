"""Fitting the uncertainty: heads as a scanner might have given them, and the part of the bundle."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, InputRefused
from bmcore.geometry import transform, voxel_sizes_mm
from bmcore.imaging.image_statistics import STATISTICS
from bmcore.models import bundle_writer, bundles
from bmcore.models.autoencoder import AutoencoderTraining, fit_autoencoder
from bmcore.models.configs import AutoencoderConfig
from bmcore.models.image_features import FEATURE_NAMES
from tests import reading_fixture as fixture
from training import uncertainty
from training.data.held_out import FEATURES_FILE, HeldOut

PEOPLE = 24


def test_a_scanned_head_keeps_its_place_in_the_world_and_its_size() -> None:
    head = fixture.head()
    for seed in range(4):
        scanned = uncertainty.as_scanned(head, np.random.default_rng(seed))
        sizes = voxel_sizes_mm(scanned.grid.affine)
        assert np.sort(sizes)[0] > 0.79 and np.sort(sizes)[1] < 1.51 and sizes.max() < 5.01
        t1c = scanned.sequences["t1c"].data
        volume = (t1c > 0).sum() * sizes.prod()
        assert volume == pytest.approx((head.grid.data > 0).sum(), rel=0.1)  # 1 mm voxels
        bright = np.clip(t1c - 120, 0, None)  # the spot alone, so that its middle can be weighed
        voxels = np.stack(np.nonzero(bright), axis=-1)
        spot = np.average(
            transform(scanned.grid.affine, voxels), axis=0, weights=bright[bright > 0]
        )
        expected = transform(head.grid.affine, fixture.LESION_VOXEL)
        np.testing.assert_allclose(spot, expected, atol=1.0)
        assert scanned.truth is None


def test_heads_are_turned_and_seeds_repeat() -> None:
    one, same, other = (
        uncertainty.as_scanned(fixture.head(), np.random.default_rng(s)) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.grid.data, same.grid.data)
    assert not np.allclose(one.grid.affine[:3, :3], other.grid.affine[:3, :3])
    axes = one.grid.affine[:3, :3] / voxel_sizes_mm(one.grid.affine)
    assert 0.5 < np.degrees(np.arccos(np.diag(axes))).max() < 27  # three turns of up to 15


# --- the whole step -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training.evaluate leaves, fabricated: 60 patients; the image answer knows nothing."""
    out = tmp_path_factory.mktemp("learnt")
    fixture.tiny_bundle(out)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    features = rng.normal(size=(60, len(FEATURE_NAMES))).astype(np.float32)
    ids = np.array([f"p-{n:02d}" for n in range(60)])
    one = np.ones(60)
    held_out = HeldOut(features, np.full((60, 6), 1 / 6, np.float32), np.arange(60) // 6 % 3,
                       labels, np.zeros((60, 7)), ids, one, one, ids, one)  # fmt: skip
    (out / FEATURES_FILE).parent.mkdir()
    np.savez(out / FEATURES_FILE, names=np.array(FEATURE_NAMES), **vars(held_out))
    config, how = AutoencoderConfig(len(FEATURE_NAMES), code=3), AutoencoderTraining(steps=20)
    net = fit_autoencoder(features, config, how)
    bundle_writer.write_part(out, "autoencoder", net.state_dict(), config, vars(how))
    with (out / "held_out.csv").open("w", newline="") as stream:
        kinds = ("clinical", "image", "fused")
        rows = csv.writer(stream)
        rows.writerow(["case_id", "primary", *(f"{k}_{p}" for k in kinds for p in PRIMARIES)])
        for n, label in enumerate(labels):
            p = {"clinical": 0.3, "image": 0.0, "fused": 0.8}
            known = [np.full(6, (1 - p[k]) / 6) + p[k] * np.eye(6)[label] for k in kinds]
            rows.writerow([ids[n], PRIMARIES[label], *np.concatenate(known).round(5)])
    return out


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from bmcore.intake.nifti import write_volume

    folder = tmp_path_factory.mktemp("cases")
    for n in range(PEOPLE):
        name = f"BraTS-MET-{100 + n // 2:05d}-{n % 2:03d}"  # two scans a person
        (folder / name).mkdir()
        volume = fixture.head(lesion=n % 3 > 0).sequences["t1c"]
        write_volume(volume, folder / name / f"{name}-t1c.nii.gz", np.float32)
    return folder


def test_the_part_is_written_with_what_was_measured_and_a_stopped_run_goes_on(
    learnt: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def describe(case, seed):  # the real one is slow; it is tested on its own
        if len(asked) == 9:
            raise KeyboardInterrupt
        asked.append(case.case_id)
        return np.random.default_rng(seed).normal(size=(2, len(STATISTICS)))

    monkeypatch.setattr(uncertainty, "describe", describe)
    with pytest.raises(KeyboardInterrupt):
        uncertainty.main(cases, learnt, coverage=0.8)
    assert not bundles.load_bundle(learnt).has("uncertainty")
    asked.append("and on")
    uncertainty.main(cases, learnt, coverage=0.8)
    assert len(asked) == PEOPLE + 1  # each once
    bundle = bundle_writer.finish(learnt, "x", "1", "fabricated", True)
    assert {k: c.n for k, c in bundle.conformal.items()} == dict.fromkeys(
        ("clinical", "image", "fused"), 60
    )
    assert bundle.novelty.rows.shape == (2 * PEOPLE, len(STATISTICS))
    assert (
        np.unique(bundle.novelty.patient).size == PEOPLE // 2 and bundle.novelty.errors.size == 60
    )
    entry = bundle.manifest["parts"]["uncertainty"]
    metrics = entry["metrics"]
    assert metrics["fused"]["coverage"]["value"] == 1.0 and metrics["fused"]["mean_set_size"] == 1
    assert metrics["image"]["abstains_undecided"]["value"] == 1.0  # six equal probabilities
    assert metrics["clinical"]["coverage_per_primary"]["rcc"]["n"] == 10
    assert entry["training"]["coverage"] == 0.8
    json.dumps(json.loads((learnt / "metrics.json").read_text())["uncertainty"], allow_nan=False)


def test_describe_gives_two_rows_a_case() -> None:
    rows = uncertainty.describe(fixture.head(), 0)
    assert rows.shape == (2, len(STATISTICS)) and np.isfinite(rows[:, 0]).all()
    assert abs(rows[0, 0] - rows[1, 0]) < 0.1  # log volume, ml


def test_probabilities_of_other_patients_and_prepared_patients_are_refused(
    learnt: Path, cases: Path, tmp_path: Path
) -> None:
    (tmp_path / "cohort.json").write_text("{}")
    with pytest.raises(InputRefused, match="no whole images"):
        uncertainty.main(tmp_path, learnt)
    held_out = uncertainty.load_held_out(learnt)
    turned = replace(held_out, case_ids=held_out.case_ids[::-1])
    with pytest.raises(InputRefused, match="other patients"):
        uncertainty.held_out_probabilities(learnt, turned)
    with pytest.raises(InputRefused, match=r"run training.evaluate"):
        uncertainty.held_out_probabilities(tmp_path, held_out)
