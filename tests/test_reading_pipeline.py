"""From a case to a Prediction: a head with one bright spot whose place and size are known."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import PRIMARIES, Case, ClinicalRecord, Volume
from bmcore.geometry import transform
from bmcore.inference import pipeline, uncertainty
from tests import reading_fixture as fixture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fixture.bundle_that_sees_the_spot(fixture.tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def found(bundle: Any) -> Any:
    return pipeline.predict(fixture.head(), bundle)


def turned(case: Case, codes: str) -> Case:
    """The same head with its voxels stored in another order."""
    sequences = {}
    for name, volume in case.sequences.items():
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(codes)
        )
        data = nib.apply_orientation(volume.data, turn)
        affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
        sequences[name] = Volume(data, affine)
    return replace(case, sequences=sequences)


def test_the_spot_is_found_where_it_is_and_as_large_as_it_is(found: Any) -> None:
    (one,) = found.lesions
    i, j, k = np.indices(fixture.SHAPE)
    away = sum((a - c) ** 2 for a, c in zip((i, j, k), fixture.LESION_VOXEL, strict=True))
    spot = away <= fixture.LESION_RADIUS_MM**2
    assert one.volume_mm3 == pytest.approx(spot.sum())  # 1 mm voxels
    expected = transform(fixture.ras(), fixture.LESION_VOXEL)
    np.testing.assert_allclose(one.centroid_mm, expected, atol=0.01)
    assert one.side == "left"
    np.testing.assert_array_equal(found.mask.data == 3, spot)
    np.testing.assert_array_equal(found.mask.affine, fixture.ras())


def test_the_three_answers_the_code_and_the_timings_are_there(found: Any) -> None:
    assert [a.kind for a in found.answers] == ["clinical", "image", "fused"]
    assert all(sum(a.probabilities) == pytest.approx(1) for a in found.answers)
    assert found.lesion_probabilities.shape == (1, 6)
    assert found.code.shape == (3,) and found.reconstruction_error > 0
    assert set(found.timings_s) == {
        "prepare", "segment", "restore", "lesions", "features", "novelty", "answers", "total",
    }  # fmt: skip
    assert found.timings_s["total"] >= sum(found.timings_s.values()) - found.timings_s["total"]


def test_models_without_the_part_uncertainty_never_abstain(found: Any) -> None:
    assert all(a.prediction_set is a.abstains is a.coverage is None for a in found.answers)
    assert found.novelty is None
    assert uncertainty.calibration_words(found) == "no calibration stored with these models"


def test_the_same_case_gives_the_same_numbers(found: Any, bundle: Any) -> None:
    again = pipeline.predict(fixture.head(), bundle)
    for field in fields(found):
        a, b = getattr(found, field.name), getattr(again, field.name)
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        elif isinstance(a, Volume):
            np.testing.assert_array_equal(a.data, b.data)
        elif field.name != "timings_s":
            assert a == b, field.name


@pytest.mark.parametrize("codes", ["LPS", "LAS", "PSR"])
def test_the_voxel_order_of_the_file_changes_nothing_but_the_file(
    found: Any, bundle: Any, codes: str
) -> None:
    case = turned(fixture.head(), codes)
    other = pipeline.predict(case, bundle)
    np.testing.assert_allclose(other.lesions[0].centroid_mm, found.lesions[0].centroid_mm)
    assert other.lesions[0].volume_mm3 == found.lesions[0].volume_mm3
    np.testing.assert_allclose(other.fused.probabilities, found.fused.probabilities, atol=1e-5)
    np.testing.assert_array_equal(other.mask.affine, case.grid.affine)
    back, _ = nib.apply_orientation(other.mask.data, nib.io_orientation(case.grid.affine)), None
    np.testing.assert_array_equal(back, found.mask.data)


def test_no_lesion_silences_the_image_and_keeps_the_clinical_answer(bundle: Any) -> None:
    empty = pipeline.predict(fixture.head(lesion=False), bundle)
    assert empty.lesions == () and not empty.mask.data.any()
    assert empty.image.reason == empty.fused.reason == "No lesion found"
    assert empty.clinical.probabilities is not None
    assert empty.code is empty.image_features is empty.lesion_probabilities is None
    assert any(f.what == "No lesion found" for f in empty.findings)


def test_t1c_alone_is_enough(found: Any, bundle: Any) -> None:
    case = fixture.head()
    alone = replace(case, sequences={"t1c": case.sequences["t1c"]})
    one = pipeline.predict(alone, bundle)
    assert one.sequences == ("t1c",)
    assert one.lesions == found.lesions
    assert one.image.probabilities is not None


def test_progress_only_grows_and_ends_at_one(bundle: Any) -> None:
    told: list[tuple[str, float]] = []
    pipeline.predict(fixture.head(), bundle, lambda stage, done: told.append((stage, done)))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert "Finding the tumour" in {stage for stage, _ in told}


def test_a_changed_clinical_value_changes_two_answers_and_not_the_image(
    found: Any, bundle: Any
) -> None:
    same = pipeline.answers(found.clinical_record, found.code, bundle)
    for a, b in zip(same, found.answers, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities)
    older = pipeline.answers(ClinicalRecord(age_years=90, sex="male"), found.code, bundle)
    assert older[1] == found.image
    assert older[0] != found.clinical and older[2] != found.fused


def test_every_lesion_gets_its_own_probabilities_also_past_the_largest_twelve(bundle: Any) -> None:
    from bmcore.imaging.lesion_crops import Marked
    from bmcore.imaging.preprocess import prepare
    from bmcore.models.cnn import MAX_LESIONS, lesion_probabilities

    case = fixture.head()
    prepared = prepare(case)
    mask = np.zeros(prepared.brain.shape, np.uint8)
    places = [fixture.lesion(n + 1, (float(n - 7), 2.0, 2.0)) for n in range(MAX_LESIONS + 3)]
    marked = Marked(mask, mask.astype(np.int32))
    read = pipeline.read_lesions(bundle, case, prepared, marked, places)
    assert read.lesion_probabilities is not None and read.features is not None
    assert read.lesion_probabilities.shape == (MAX_LESIONS + 3, len(PRIMARIES))
    from bmcore.imaging.patches import lesion_patches
    from bmcore.models.cnn import lesion_logits

    last = lesion_patches(prepared.images, mask, places[-1:], prepared.affine)
    np.testing.assert_allclose(
        read.lesion_probabilities[-1],
        lesion_probabilities(lesion_logits(bundle.cnn, last))[0],
        rtol=1e-4,
    )


def test_the_worker_predicts_a_case_of_the_library_in_its_own_process(
    tmp_path: Path, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real child, the real bundle on disk (it finds nothing), the real library."""
    from bmcore.inference import archive
    from bmcore.intake.library import add_case
    from bmcore.intake.nifti import write_volume
    from bmcore.review.store import open_store
    from bmcore.running import keeper, line
    from bmcore.settings import settings
    from tests.waiting import until

    for name, volume in fixture.head().sequences.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        write_volume(volume, tmp_path / "in" / f"HEAD-1-{name}.nii.gz", np.float32)
    entry = add_case(tmp_path, tmp_path / "in")
    monkeypatch.setenv("BMCORE_BUNDLE", str(bundle.folder))
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path))
    monkeypatch.setenv("BMCORE_WORKER_MINUTES", "0.001")
    settings.cache_clear()
    with open_store(settings().url) as store:
        line.submit(tmp_path, store, [entry.case_id], "Ada")
        until(lambda: not line.state(tmp_path, store, entry.case_id).busy, 300)
        state = line.state(tmp_path, store, entry.case_id)
    settings.cache_clear()
    assert state.state == "done", (state, keeper.log_path(tmp_path).read_text())
    stored = archive.latest(tmp_path, entry.case_id, bundle.info.digest)
    assert stored is not None and stored.image.reason == "No lesion found"


def test_a_site_with_its_own_shares_gets_both_answers_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.inference import case_mix
    from bmcore.models import bundle_writer, bundles
    from bmcore.models.case_mix import exchange, from_counts
    from bmcore.models.cnn import build_cnn
    from bmcore.models.configs import CNNConfig
    from bmcore.settings import settings

    monkeypatch.delenv("BMCORE_CASE_MIX", raising=False)
    settings.cache_clear()
    folder = fixture.tiny_bundle(tmp_path / "b")
    config = CNNConfig(width=8, blocks=1, maps=4, embedding=4)
    counts = {"breast": 20, "gi": 10, "sclc": 10, "melanoma": 30, "nsclc": 60, "rcc": 10}
    training = {"patients": counts | {"left out: no lesion": 3}}
    bundle_writer.write_part(folder, "cnn", build_cnn(config).state_dict(), config, training)
    bundle = bundles.load_bundle(folder)
    record, code = ClinicalRecord(age_years=60, sex="female"), np.array([0.4, -0.2, 1.0])
    alone = pipeline.answers(record, code, bundle)[2]
    assert alone.at_site is None and alone.balanced is not None
    monkeypatch.setenv("BMCORE_CASE_MIX", "breast=80, gi=4, sclc=4, melanoma=4, nsclc=4, rcc=4")
    settings.cache_clear()
    try:
        three = pipeline.answers(record, code, bundle)
        found = pipeline.predict(fixture.head(record=record), bundle)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    fused = three[2]
    assert fused.probabilities == alone.probabilities and fused.balanced == alone.balanced
    learnt = from_counts(counts)
    there = from_counts(dict.fromkeys(counts, 4.0) | {"breast": 80.0})
    np.testing.assert_allclose(fused.at_site, exchange(fused.probabilities, learnt, there))
    assert fused.at_site[0] > fused.probabilities[0]
    assert found.training_shares == learnt.shares and found.site_shares == there.shares
    lines = case_mix.sentences(found)
    assert lines and "with the shares of this site" in lines[0]
    assert "case mix of the training patients" in str(case_mix.basis(found))
    assert bundles.load_bundle(fixture.tiny_bundle(tmp_path / "old")).shares is None
