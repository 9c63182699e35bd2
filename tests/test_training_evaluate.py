"""The evaluation of the segmentation and the model card, on masks that can be drawn."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.domain import InputRefused
from bmcore.models.bundle_writer import finish
from training import card, evaluate_segmentation
from training.evaluation import segmentation_case
from training.evaluation.answer_subgroups import (
    Described,
    decision_curves,
    paired_tests,
    subgroups,
)
from training.evaluation.segmentation_case import Reading, Scoring
from training.evaluation.segmentation_summary import summarise
from training.model_card import build
from training.model_card.tables import cell
from training.model_card.text import card_lines
from training.run.files import read_json, write_json

SHAPE = (32, 32, 32)
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


def cube(*start: int, edge: int = 4) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


HERE, THERE, FALSE = cube(6, 6, 6), cube(20, 20, 20), cube(6, 20, 20)


def write_case(folder: Path, number: int, mask: np.ndarray | None, names=SEQUENCES) -> str:
    case_id = f"BraTS-MET-{number:05d}-000"
    place = folder / case_id
    place.mkdir(parents=True)
    brain = np.linalg.norm(np.indices(SHAPE) - 15.5, axis=0) < 15
    rng = np.random.default_rng(number)
    for name in names:
        image = np.where(brain, rng.uniform(50, 150, SHAPE), 0).astype(np.float32)
        nib.save(nib.Nifti1Image(image, np.eye(4)), place / f"{case_id}-{name}.nii.gz")
    if mask is not None:
        seg = nib.Nifti1Image(mask.astype(np.uint8) * 3, np.eye(4))
        nib.save(seg, place / f"{case_id}-seg.nii.gz")
    return case_id


@pytest.fixture
def cohort(tmp_path):
    """Two lesions; one lesion; none; one without T2; one without a mask."""
    folder = tmp_path / "cohort"
    write_case(folder, 1, HERE | THERE)
    write_case(folder, 2, HERE)
    write_case(folder, 3, np.zeros(SHAPE))
    write_case(folder, 4, HERE, ("t1n", "t1c", "t2f"))
    write_case(folder, 5, None)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from tests.test_models_bundles import fill

    folder = tmp_path_factory.mktemp("bundle")
    fill(folder)
    finish(folder, "test models", "1", "random numbers", True)
    return folder


def drawn_reading(case, bundle, chosen):
    """All sequences: case 1 half found and a false part, 2 and 4 found, 3 clean. Fewer: nothing."""
    found = np.zeros(SHAPE, bool)
    if "t2f" in case.sequences and len(case.sequences) > 2:
        found = {"1": HERE | FALSE, "2": HERE, "3": found, "4": HERE}[case.case_id[-5]]
    chance = np.where(HERE, 0.9, np.where(FALSE, 0.4, 0)) * found
    return Reading((found * 3).astype(np.uint8), chance.astype(np.float32), 2.0)


def collect(cohort, bundle, out, **options):
    return evaluate_segmentation.collect(cohort, bundle, out, Scoring(), "cpu", **options)


# --- the runner ---------------------------------------------------------------------------------


def test_the_tables_of_a_drawn_cohort(cohort, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_case, "read", drawn_reading)
    records, left_out = collect(cohort, bundle, tmp_path / "out")
    assert list(left_out) == ["BraTS-MET-00005-000"]
    assert "no reference mask" in left_out["BraTS-MET-00005-000"]
    result = summarise(records, minimum=2)
    assert (result["cases"], result["cases_without_lesion"], result["lesions"]) == (4, 1, 4)
    core = result["subsets"]["all"]["regions"]["TC"]
    # Case 1: Dice 2*64/(128+128) = .5; lesion by lesion (1 + 0 + 0) / 3; the others are perfect.
    assert core["dice"].value == pytest.approx((0.5 + 3) / 4)
    assert core["lesion_dice"].value == pytest.approx((1 / 3 + 3) / 4)
    assert core["lesion_hd95_mm"].value == pytest.approx((2 * 374 / 3) / 4)
    assert core["sensitivity"].value == pytest.approx(3 / 4) and core["sensitivity"].n == 3
    assert core["false_per_case"].value == 0.25
    assert core["volume_error_mm3"].value == 0
    assert result["subsets"]["all"]["both_empty"]["TC"] == 1
    assert result["subsets"]["all"]["seconds"].value == 2
    alone = result["subsets"]["t1c"]["regions"]["TC"]
    assert alone["dice"].value == 0.25  # only the case without a lesion
    assert result["differences"]["t1c"]["TC"]["dice"].value == pytest.approx(0.25 - 3.5 / 4)
    sizes = {row["low_mm"]: row for row in result["detection"]}
    assert sizes[5]["lesions"] == 4 and sizes[5]["sensitivity"].value == 0.75
    assert sizes[5]["false_lesions"] == 1 and sizes[5]["false_per_case"].value == 0.25
    assert result["operating"]["sensitivity_from_5_mm"].value == 0.75
    at = {row["false_per_case"]: row for row in result["froc"]["peak"]["at"]}
    assert at[0.25]["sensitivity"].value == 0.75 and result["froc"]["peak"]["lesions"] == 4
    goals = {g["goal"][:12]: g["met"] for g in result["goals"]}
    assert goals == {"Lesion-wise ": True, "Sensitivity ": False, "Dice of the ": False}


def test_a_subset_whose_sequences_are_missing_is_not_scored(cohort, bundle, tmp_path, monkeypatch):
    write_case(cohort, 6, HERE, ("t1n", "t1c"))
    monkeypatch.setattr(segmentation_case, "read", lambda *_: drawn_empty())
    records, _ = collect(cohort, bundle, tmp_path / "out")
    result = summarise(records)
    with_flair = result["subsets"]["t1c+t2f"]
    assert (with_flair["cases"], with_flair["cases_without_the_sequences"]) == (4, 1)
    assert result["differences"]["t1c+t2f"]["TC"]["dice"].n == 4
    assert result["subsets"]["without t2w, t2f"]["cases"] == 5


def drawn_empty():
    return Reading(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32), 1.0)


def test_small_subgroups_of_cases_get_words(cohort, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation_case, "read", drawn_reading)
    records, _ = collect(cohort, bundle, tmp_path / "out")
    rows = {r["name"]: r for r in summarise(records, 2)["subgroups"]["Number of lesions"]}
    assert rows["1"]["numbers"]["dice"].value == 1 and rows["1"]["n"] == 2
    assert rows["2 to 4"]["numbers"] is None and rows["2 to 4"]["words"] == "too few (n = 1)"
    assert rows["no lesion"]["words"] == "too few (n = 1)"


def test_a_stopped_run_goes_on_and_new_files_are_measured_anew(
    cohort, bundle, tmp_path, monkeypatch
):
    calls = []

    def counted(case, *rest):
        calls.append((case.case_id[-5], len(case.sequences)))
        return drawn_reading(case, *rest)

    monkeypatch.setattr(segmentation_case, "read", counted)
    out = tmp_path / "out"
    collect(cohort, bundle, out, limit=1, subsets=("all",))
    assert calls == [("1", 4)]
    collect(cohort, bundle, out, limit=1)  # the subset that is there is not read again
    assert calls[1:] == [("1", 1), ("1", 2), ("1", 2)]
    del calls[:]
    collect(cohort, bundle, out, limit=2)
    assert {c for c, _ in calls} == {"2"}
    del calls[:]
    records, _ = collect(cohort, bundle, out, limit=2)
    assert calls == [] and len(records) == 2
    path = cohort / "BraTS-MET-00001-000" / "BraTS-MET-00001-000-seg.nii.gz"
    nib.save(nib.Nifti1Image(HERE.astype(np.uint8), np.eye(4)), path)
    collect(cohort, bundle, out, limit=2)
    assert {c for c, _ in calls} == {"1"}
    del calls[:]
    other = Scoring(tolerance_mm=2.0)
    evaluate_segmentation.collect(cohort, bundle, out, other, "cpu", limit=1)
    assert len(calls) == 4


def test_the_command_reads_by_the_road_of_daily_use(cohort, bundle, tmp_path, monkeypatch):
    """A random net marks something; the mask and its scores are those of ``segment`` itself."""
    from bmcore.imaging.preprocess import prepare, restore
    from bmcore.intake.datasets import YaleDataset
    from bmcore.models.bundles import load_bundle
    from bmcore.models.inference import segment
    from bmcore.stats.segmentation import dice, region

    out = tmp_path / "out"
    evaluate_segmentation.main(cohort, bundle, out, "cpu", limit=2, subset=["all"])
    kept = read_json(out / "segmentation" / "BraTS-MET-00001-000.json")
    case = YaleDataset(cohort).load("BraTS-MET-00001-000")
    prepared = prepare(case)
    labels = segment(load_bundle(bundle).segmenter, prepared.images, prepared.brain)
    mask = restore(labels, prepared).data
    whole = dice(region(mask, (1, 2, 3)), region(case.truth.mask.data, (1, 2, 3)))
    assert kept["subsets"]["all"]["regions"]["WT"]["dice"] == pytest.approx(whole, abs=0.02)
    result = read_json(out / "segmentation.json")
    assert result["cases"] == 2 and result["data"] == "cohort"
    assert "trained on synthetic data only" in (out / "model_card.md").read_text()
    assert read_json(out / "model_card.json")["segmentation"]["cases"] == 2


def test_unknown_subsets_and_folders_without_masks_are_refused(bundle, tmp_path):
    write_case(tmp_path / "bare", 1, None)
    with pytest.raises(InputRefused, match="no case could be measured"):
        evaluate_segmentation.main(tmp_path / "bare", bundle, tmp_path / "out", "cpu")
    with pytest.raises(InputRefused, match="unknown subset"):
        evaluate_segmentation.main(tmp_path / "bare", bundle, tmp_path / "o", "cpu", subset=["t3"])


# --- the answers --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers():
    """90 patients, three primaries; the fused answer knows more than the clinical one."""
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 3, 4], 90)
    logits = {k: rng.normal(size=(90, 6)) for k in ("clinical", "image", "fused")}
    for kind, strength in (("clinical", 0.5), ("image", 0.2), ("fused", 2.5)):
        logits[kind] += strength * np.eye(6)[truth]
    return truth, {k: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for k, x in logits.items()}


def test_subgroups_of_the_answers_by_sex_age_and_lesions(answers):
    truth, p = answers
    patients = [
        Described("female" if i < 60 else None, None if i == 0 else 40.0 + i % 40, 1 + i % 3, 12.0)
        for i in range(90)
    ]
    tables = subgroups(truth, p, patients, minimum=20)
    sex = {row["name"]: row for row in tables["Sex"]}
    assert sex["female"]["n"] == 60 and sex["male"]["words"] == "too few (n = 0)"
    assert sex["not known"]["n"] == 30
    right = p["fused"].argmax(axis=1)[:60] == truth[:60]
    assert sex["female"]["numbers"]["fused_accuracy"].value == pytest.approx(right.mean())
    assert [row["name"] for row in tables["Number of lesions"]] == ["1", "2 to 4", "5 or more"]
    assert sum(row["n"] for row in tables["Age"]) == 90
    assert tables["Largest lesion"][1]["n"] == 90


def test_tests_and_decision_curves_of_the_answers(answers):
    truth, p = answers
    found = paired_tests(truth, p["fused"], p["clinical"])
    assert found["macro_auc_delong"]["difference"].value > 0.1
    assert all(found[k]["p"] < 0.01 for k in found)
    same = paired_tests(truth, p["image"], p["image"])
    assert all(same[k]["p"] == 1 for k in same)
    curves = decision_curves(truth, p)
    melanoma = curves["answers"]["fused"]["melanoma"]
    at = curves["thresholds"].index(0.5)
    assert melanoma["gain_value"][at] > 0.1 and melanoma["gain_low"][at] > 0
    assert melanoma["treat_all"][at] == pytest.approx(2 * (truth == 3).mean() - 1)


# --- the card -----------------------------------------------------------------------------------


@pytest.fixture
def measured(cohort, bundle, tmp_path, monkeypatch):
    """OUT with a segmentation and the demo models' old card, which knows the answers."""
    from bmcore.settings import PROJECT

    monkeypatch.setattr(segmentation_case, "read", drawn_reading)
    out = tmp_path / "out"
    out.mkdir()
    old = PROJECT / "models" / "demo" / "model_card.json"
    (out / "model_card.json").write_bytes(old.read_bytes())
    evaluate_segmentation.main(cohort, bundle, out, "cpu", minimum=2)
    return out


def test_a_new_segmentation_joins_the_answers_of_an_earlier_card(measured):
    both = read_json(measured / "model_card.json")
    assert both["patients"] > 100 and both["segmentation"]["cases"] == 4
    text = (measured / "model_card.md").read_text()
    for title in (
        "## Intended use", "## Not for", "## Training data", "## Segmentation", "Goals set before",
        "### Lesion by lesion", "With fewer sequences", "Detection by size", "(FROC)",
        "## The answers side by side", "Each primary, fused answer", "Who was taken for whom",
        "Can the percentages be believed?", "Does the autoencoder help?", "## Limits",
    ):  # fmt: skip
        assert title in text, title
    assert "too few (n = 1)" in text and "All of it is synthetic" in text
    assert "BraTS-METS 2023" in text and "Left out: 1" in text
    assert "The mask itself, no threshold moved: 0.75" in text


def test_the_ablation_table_is_in_the_card_where_there_is_one(measured, bundle):
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 12, "method": "m"}
    rows = [{"Variant": "as trained", "Dice": estimate}, {"Variant": "no dropout", "Dice": 0.25}]
    write_json(measured / "ablation.json", {"title": "What matters", "rows": rows, "notes": "A."})
    assert build.rebuild_card(measured, bundle)
    text = (measured / "model_card.md").read_text()
    assert "## What matters" in text and "| as trained | 0.500 (0.400 to 0.600) |" in text
    assert "| no dropout | 0.250 |" in text and "- A." in text
    write_json(measured / "ablation.json", {"rows": ["no dropout"]})
    with pytest.raises(InputRefused, match=r"ablation\.json"):
        build.rebuild_card(measured, bundle)


def test_what_was_read_once_is_in_the_card(measured, bundle):
    from tests.test_pages_models import naming_test, new_cases
    from training.model_card import naming

    write_json(measured / "segmentation_test.json", new_cases())
    assert build.rebuild_card(measured, bundle)
    text = (measured / "model_card.md").read_text()
    assert "10 synthetic cases, on which nothing was chosen, read once." in text
    assert "| Found, under 5 mm | 0.00 (0.00 to " in text and "| plaque | 1.00 (" in text
    text = "\n".join(naming._test(naming_test()))
    assert "60 new synthetic patients, read once" in text
    assert "| image only, macro AUC at least 0.72 | 0.500" in text


def test_the_card_goes_into_the_bundle_too_when_one_is_named(measured, bundle, tmp_path):
    for path in bundle.iterdir():
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    card.main(measured, tmp_path / "b")
    assert read_json(tmp_path / "b" / "model_card.json") == read_json(measured / "model_card.json")
    with pytest.raises(InputRefused, match="no evaluation"):
        card.main(tmp_path / "b" / "empty", tmp_path / "b")


def test_the_card_lists_the_runs_of_a_net_first_one_first():
    first = {"steps": 90, "batch": 8, "patch": 96, "seconds": 30, "hardware": "GPU"}
    last = first | {"steps": 40, "batch": 1, "seconds": 6.0, "hardware": "CPU"}
    parts = {"segmenter": build._part(last | {"training_of_the_start": first | {"seed": 3}})}
    assert [run["steps"] for run in parts["segmenter"]["runs"]] == [90, 40]
    text = "\n".join(
        card_lines({"notice": "N", "parts": parts, "limits": [], "segmentation": None})
    )
    assert "run 1: 90 steps of 8 patches of 96 voxels, GPU, 0.5 min" in text
    assert "run 2, from the weights of run 1: 40 steps of 1 patch of 96 voxels, CPU" in text
    assert "runs" not in build._part(first)


def test_a_card_without_answers_or_without_segmentation_says_so(bundle, tmp_path):
    from bmcore.models.bundles import load_bundle

    manifest = load_bundle(bundle).manifest
    write_json(tmp_path / "metrics.json", {"evaluate": {}})
    assert build.build_card(tmp_path, manifest) is None
    bare = {"notice": "N", "parts": {}, "limits": ["L"], "segmentation": None}
    text = "\n".join(card_lines(bare))
    assert "Not measured on a cohort." in text and "## The answers\n\nNot measured." in text


def test_a_cell_holds_value_and_interval_or_words():
    assert cell({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.50 (0.40 to 0.60)"
    assert cell({"value": 0.5, "low": None, "high": None}) == "0.50"
    assert cell({"value": None, "low": None, "high": None}) == "not defined"
    assert (cell(None), cell("words"), cell(0.125, 3), cell(4)) == ("", "words", "0.125", "4")


def test_the_card_of_the_demo_models_is_still_readable_as_text():
    from bmcore.settings import PROJECT

    old = json.loads((PROJECT / "models" / "demo" / "model_card.json").read_text())
    assert "| Fused | 0." in "\n".join(card_lines(old))
