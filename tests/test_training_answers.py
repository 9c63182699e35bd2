"""CNN, autoencoder, regressions and evaluation on small fabricated patients."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bmcore.domain import PRIMARIES, ClinicalRecord, InputRefused, Lesion
from bmcore.models.autoencoder import AutoencoderTraining
from bmcore.models.bundles import load_bundle
from bmcore.models.configs import CNNConfig
from bmcore.models.folds import stratified_folds
from bmcore.models.image_features import FEATURE_NAMES, MEASURED, PLAIN
from bmcore.models.lesion_training import (
    augment_geometry,
    augment_intensity,
    class_weights,
    patient_loss,
)
from bmcore.models.losses import largest_near
from bmcore.models.mlr import MLRConfig, log_loss
from training import autoencoder, mlr
from training import evaluate as evaluation
from training.cnn import runs_of, train_all
from training.data import held_out as held_out_data
from training.data.cohort import (
    Patient,
    load_cohort,
    load_patient,
    person_of,
    save_patient,
    write_index,
)
from training.data.held_out import HeldOut, load_held_out
from training.evaluation.answers import (
    Reduction,
    differences,
    evaluate,
    held_out_probabilities,
    verdict,
)
from training.loops.cnn_trainer import (
    CNNTraining,
    Run,
    choose,
    make_views,
    train_net,
)
from training.run.files import read_json, tensors_hash
from training.run.processes import World

ROOT = Path(__file__).resolve().parent.parent
ALONE = World(0, 1, "cpu")
TINY = CNNConfig(width=8, blocks=1, maps=8, embedding=8, kind="tissue")


def lesion(number: int, volume: float) -> Lesion:
    diameter = (6 * volume / np.pi) ** (1 / 3)
    zero = (0.0, 0.0, 0.0)
    return Lesion(number, volume, volume, 0.0, 0.0, diameter, zero, zero, "left", "frontal")


def make_patient(index: int, label: int, random: np.random.Generator, shine: float) -> Patient:
    """One to three lesions, a ball of radius 7 each, t1n as bright as ``shine``."""
    n = int(random.integers(1, 4))
    ball = ((np.mgrid[:32, :32, :32] - 15.5) ** 2).sum(axis=0) <= 49
    patches = random.normal(0, 0.3, (n, 7, 32, 32, 32)).astype(np.float16)
    patches[:, 4:] = 0
    patches[:, 0, ball] += shine
    patches[:, 1, ball] += 3
    patches[:, 6, ball] = 1
    record = ClinicalRecord(age_years=float(random.integers(40, 80)), sex="female")
    lesions = tuple(lesion(i + 1, 1400.0 - i) for i in range(n))
    measured = random.normal(size=len(MEASURED))
    return Patient(f"case-{index:03d}", patches, lesions, record, PRIMARIES[label], measured)


def write_patients(folder: Path, n: int, seed: int = 0, tells: bool = True) -> Path:
    """Melanoma (bright on t1n where ``tells``) and NSCLC in turn, and one patient left out."""
    random = np.random.default_rng(seed)
    ids = []
    for index in range(n):
        label = 3 if index % 2 else 4
        patient = make_patient(index, label, random, 4.0 if tells and label == 3 else 0.0)
        save_patient(folder / f"{patient.case_id}.npz", patient)
        ids.append(patient.case_id)
    write_index(folder, ids, {"case-999": "no reference mask"})
    return folder


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("cohort"), 18)


# --- patients ----------------------------------------------------------------------------------


def test_a_patient_comes_back_as_it_was_kept(tmp_path):
    patient = make_patient(3, 1, np.random.default_rng(0), 1.0)
    save_patient(tmp_path / "p.npz", patient)
    again = load_patient(tmp_path / "p.npz")
    assert np.array_equal(again.patches, patient.patches)
    assert np.array_equal(again.measured, patient.measured)
    assert (again.lesions, again.record, again.primary) == (
        patient.lesions,
        patient.record,
        patient.primary,
    )
    with pytest.raises(ValueError, match="lesions, but patches"):
        replace(patient, lesions=patient.lesions + patient.lesions)
    with pytest.raises(ValueError, match="measured must be"):
        replace(patient, measured=patient.measured[1:])


def test_those_left_out_are_counted_and_a_lost_file_is_refused(cohort_folder, tmp_path):
    cohort = load_cohort(cohort_folder)
    assert cohort.counts["melanoma"] == cohort.counts["nsclc"] == 9
    assert cohort.counts["left out: no reference mask"] == 1
    assert cohort.clinical.shape == (18, 7) and set(cohort.labels) == {3, 4}
    for path in cohort_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert load_cohort(tmp_path).digest == cohort.digest
    (tmp_path / "case-004.npz").unlink()
    with pytest.raises(InputRefused, match=r"case-004.npz"):
        load_cohort(tmp_path)


# --- augmentation and loss ----------------------------------------------------------------------


def test_augmentation_repeats_keeps_t1c_and_leaves_the_original():
    patches = torch.randn(6, 7, 32, 32, 32)
    patches[:, 4:] = (patches[:, 4:] > 1).float()
    patches[:, 2] = 0  # a missing sequence
    before = patches.clone()
    patient = torch.tensor([0, 0, 1, 1, 2, 2])
    for change in (augment_geometry, augment_intensity):
        first, second = (change(patches, patient, np.random.default_rng(3)) for _ in range(2))
        assert torch.equal(first, second) and torch.equal(patches, before)
        assert not torch.equal(first, before)
        assert (first[:, 2] == 0).all() and first[:, 1].abs().amax(dim=(1, 2, 3)).min() > 0
        assert first[:, 4:].min() >= 0 and first[:, 4:].max() < 1.001


def test_gain_and_shift_are_those_of_the_sequence_in_images_and_in_tissue_brightness():
    """Channels 0-2 are masks; 3-6, 7-10 and 11-14 the four sequences in three tissues."""
    x = torch.ones(4, 15, 16, 16, 16)
    x[:, :, 0] = 0  # outside
    out = augment_intensity(x, torch.arange(4), np.random.default_rng(1))
    assert not torch.equal(out[:, 3:7], x[:, 3:7]) and torch.equal(out[:, :3], x[:, :3])
    assert all(torch.equal(out[:, 3:7], out[:, k : k + 4]) for k in (7, 11))
    assert (out[:, 3:, 0] == 0).all()


def test_growing_masks_is_a_maximum_over_neighbours():
    masks = (torch.rand(2, 3, 9, 10, 11) > 0.9).float()
    assert torch.equal(largest_near(masks), torch.nn.functional.max_pool3d(masks, 3, 1, 1))


def test_each_losable_sequence_is_lost_now_and_then_for_the_whole_patient():
    patches, patient = torch.ones(80, 7, 32, 32, 32), torch.arange(40).repeat_interleave(2)
    out = augment_intensity(patches, patient, np.random.default_rng(0))
    lost = (out[:, :4] == 0).flatten(2).all(dim=2).reshape(40, 2, 4)
    assert torch.equal(lost[:, 0], lost[:, 1])
    share = lost[:, 0].float().mean(dim=0)
    assert share[1] == 0 and ((share[[0, 2, 3]] > 0.02) & (share[[0, 2, 3]] < 0.35)).all()


def test_a_turned_ball_in_the_middle_stays_a_ball():
    """Turning leaves a centred ball in place; mirror, too. 0.9 to 1.1 zoom moves its edge."""
    ball = ((np.mgrid[:32, :32, :32] - 15.5) ** 2).sum(axis=0) <= 100
    patches = torch.zeros(20, 7, 32, 32, 32)
    patches[:, 6] = torch.from_numpy(ball.astype(np.float32))
    out = augment_geometry(patches, torch.arange(20), np.random.default_rng(1))
    inner = torch.from_numpy(((np.mgrid[:32, :32, :32] - 15.5) ** 2).sum(axis=0) <= 49)
    outer = torch.from_numpy(((np.mgrid[:32, :32, :32] - 15.5) ** 2).sum(axis=0) >= 196)
    assert out[:, 6][:, inner].min() > 0.99 and out[:, 6][:, outer].max() < 0.01


def test_the_loss_is_that_of_the_mean_logit():
    logits = torch.tensor([[4.0, 0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0, 0], [0.0, 2, 0, 0, 0, 0]])
    patient, labels = torch.tensor([0, 0, 1]), torch.tensor([0, 1])
    loss = patient_loss(logits, patient, labels, torch.ones(6), lesion_term=0, smoothing=0)
    # both patients have a mean logit of 2 for their class: -ln(e^2 / (e^2 + 5))
    assert loss.item() == pytest.approx(-np.log(np.exp(2) / (np.exp(2) + 5)), abs=1e-6)


def test_class_weights_between_even_patients_and_even_primaries():
    labels = np.repeat([0, 4], [10, 40])
    none, half, full = (class_weights(labels, 6, power) for power in (0, 0.5, 1))
    assert np.allclose(none, 1)
    assert half[0] / half[4] == pytest.approx(2) and full[0] / full[4] == pytest.approx(4)
    assert (full[labels]).mean() == pytest.approx(1) and full[2] == 1


# --- the CNN's training -------------------------------------------------------------------------


def test_each_fold_has_a_net_that_did_not_see_it():
    runs = runs_of(5)
    assert [r.unseen for r in runs] == list(range(5)) and len({r.number for r in runs}) == 5


def silent(name: str, value: float, step: int) -> None:
    """No log."""


class Killed(Exception):
    """Stands for a kill."""


def test_a_killed_run_goes_on_to_the_same_bits(cohort_folder, tmp_path):
    config, run = (
        CNNTraining(epochs=3, every=2, batch=3, lesions=2, seed=5, views=2),
        Run("without-0", 0, 0),
    )
    members = make_views(load_cohort(cohort_folder).patients[:6], config, TINY)
    args = (members, run, config, TINY)
    whole = train_net(*args, tmp_path / "whole" / "x", ALONE, silent)

    def kill(loss: float, seen: list = []) -> None:  # noqa: B006  counts over calls
        seen.append(loss)
        if len(seen) == 2:
            raise Killed

    place = tmp_path / "killed" / "x"
    with pytest.raises(Killed):
        train_net(*args, place, ALONE, silent, kill)
    assert {p.name for p in place.iterdir()} == {"without-0.pt"}
    torch.manual_seed(12345)  # another process would not share our random state
    epochs: list[float] = []
    gone_on = train_net(*args, place, ALONE, silent, epochs.append)
    assert len(epochs) == 1  # the third alone
    again = train_net(*args, place, ALONE, silent)
    assert list(whole) == list(gone_on) == list(again) == [2, 3]
    for epochs, tensors in whole.items():
        assert tensors_hash(gone_on[epochs]) == tensors_hash(tensors)
        assert tensors_hash(again[epochs]) == tensors_hash(tensors)
    assert tensors_hash(whole[2]) != tensors_hash(whole[3])
    assert {p.name for p in place.iterdir()} == {"without-0.safetensors"}
    other = CNNTraining(epochs=4, batch=3, lesions=2, seed=5, views=2)
    with pytest.raises(InputRefused, match="other options"):
        train_net(members, run, other, TINY, place, ALONE, silent)


@pytest.fixture(scope="module")
def trained(cohort_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("answers")
    config = CNNTraining(epochs=36, every=6, batch=4, folds=3, lesions=3, rate=1e-2, views=2)
    train_all(load_cohort(cohort_folder), out, config, TINY, ALONE)
    return out


def test_held_out_features_come_from_nets_that_did_not_see_the_patient(trained):
    held_out = load_held_out(trained)
    assert held_out.features.shape == (18, len(FEATURE_NAMES))
    assert np.isfinite(held_out.features[:, :12]).all() and held_out.judged.all()
    assert set(held_out.fold) == {0, 1, 2} and held_out.folds == 3
    some = held_out.rows(held_out.fold == 1)
    assert len(some.labels) == len(some.sex) == 6


def test_the_net_finds_the_bright_lesions_of_patients_it_has_not_seen(trained):
    metrics = read_json(trained / "metrics.json")["cnn"]
    assert metrics["accuracy"]["value"] >= 0.85  # they are told apart by t1n alone
    assert metrics["training"]["patients"]["left out: no reference mask"] == 1
    assert load_bundle(trained).manifest["parts"]["cnn"]["training"]["nets"] == 3


def test_the_number_of_passes_is_that_of_the_least_loss_over_all_unseen_folds():
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, 200)
    truth = 3.0 * np.eye(6)[labels]
    noise = random.normal(size=(200, 6))
    logits = {3: noise, 6: 5 * (truth + 1.5 * noise), 9: truth + 4 * noise}
    choice = choose(logits, labels)
    assert choice.epochs == 6 and choice.patients == 200
    assert choice.temperature > 2  # five times too sure, and noisy
    assert choice.loss == pytest.approx(log_loss(logits[6] / choice.temperature, labels))
    assert choice.loss == min(choose({k: v}, labels).loss for k, v in logits.items())


def test_one_temperature_is_divided_out_of_every_member(trained):
    """What the members say of their unseen folds is the same with and without, but for it."""
    bundle = load_bundle(trained)
    choice = bundle.manifest["parts"]["cnn"]["training"]["choice"]
    place = next(p for p in (trained / "cnn").iterdir() if (p / "without-0.safetensors").exists())
    kept = load_file(place / "without-1.safetensors")
    raw = kept[f"{choice['epochs']}.head.weight"]
    own = bundle.cnn.members[1].head.weight.detach()
    assert torch.allclose(own * choice["temperature"], raw, rtol=1e-5)


def test_features_in_use_are_those_of_the_training(trained, cohort_folder):
    """The member that has not seen a patient gives in use the features that were learnt from."""
    from bmcore.models.cnn import member_logits
    from bmcore.models.image_features import scores_of

    bundle, held_out = load_bundle(trained), load_held_out(trained)
    for position, patient in enumerate(load_cohort(cohort_folder).patients[:6]):
        logits = member_logits(bundle.cnn, patient.patches.astype(np.float32))
        scores = scores_of(logits[held_out.fold[position]])
        np.testing.assert_allclose(held_out.features[position, :12], scores, atol=2e-2)
        np.testing.assert_array_equal(
            held_out.features[position, 12:PLAIN], patient.measured.astype(np.float32)
        )
        said = bundle.trees.scores(patient.measured[None])[held_out.fold[position], 0]
        np.testing.assert_allclose(held_out.features[position, PLAIN:], said, atol=1e-6)


def command(module: str, *options: str, processes: int = 1) -> None:
    starter = [sys.executable]
    if processes > 1:
        starter += ["-m", "torch.distributed.run", "--standalone"]
        starter += [f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [*starter, "-m", module, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_rest_of_the_chain_runs_and_writes_a_card(trained, cohort_folder):
    autoencoder.main(cohort_folder, trained, steps=30)
    mlr.main(cohort_folder, trained)
    evaluation.main(cohort_folder, trained)
    bundle = load_bundle(trained)
    held_out = load_held_out(trained)
    code = bundle.autoencoder.encode(held_out.features)
    fused = np.hstack([held_out.clinical, code])
    assert bundle.fused_mlr.predict_proba(fused).shape == (18, 6)
    numbers = read_json(trained / "metrics.json")["evaluate"]["answers"]
    assert numbers["trivial"]["accuracy"]["value"] <= 0.5
    for kind in ("trivial", "clinical", "image", "fused"):
        assert numbers[kind]["macro_auc"]["low"] is None or numbers[kind]["macro_auc"]["n"] == 18
    card = (trained / "model_card.md").read_text()
    assert "Clinical only" in card and "fused answer is" in card and "pca, 8" in card
    assert json.loads((trained / "model_card.json").read_text())["patients"] == 18
    assert (trained / "held_out.csv").read_text().count("\n") == 19


def test_a_run_killed_by_the_system_ends_with_the_same_tensors(cohort_folder, tmp_path):
    def options(name: str) -> list[str]:
        place = ["--data", str(cohort_folder), "--out", str(tmp_path / name), "--device", "cpu"]
        return [*place, "--epochs", "2", "--folds", "3"]

    def finish(name: str) -> str:
        command("training.cnn", *options(name))
        manifest = load_bundle(tmp_path / name).manifest
        return manifest["parts"]["cnn"]["training"]["tensors_sha256"]

    start = [sys.executable, "-m", "training.cnn", *options("killed")]
    quiet = subprocess.DEVNULL
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(start, cwd=ROOT, env=env, stdout=quiet, stderr=quiet) as process:
        until = time.monotonic() + 300
        while not list((tmp_path / "killed").rglob("without-0.pt")) and time.monotonic() < until:
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.005)
        process.kill()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert finish("killed") == finish("whole")


def test_two_processes_train_one_net_alike(cohort_folder, tmp_path):
    """Under torchrun both processes leave one bundle part, and a second start only reads it."""
    place = ("--data", str(cohort_folder), "--out", str(tmp_path), "--device", "cpu")
    options = (*place, "--epochs", "1", "--folds", "3", "--batch", "2")
    command("training.cnn", *options, processes=2)
    first = load_bundle(tmp_path)
    assert first.manifest["parts"]["cnn"]["training"]["processes"] == 2
    assert len(list((tmp_path / "cnn").rglob("*.safetensors"))) == 3
    assert not list((tmp_path / "cnn").rglob("*.pt"))
    assert load_held_out(tmp_path).features.shape[0] == 18


def test_steps_out_of_order_are_refused_with_one_line_and_exit_2(tmp_path):
    options = [sys.executable, "-m", "training.mlr", "--data", str(tmp_path), "--out"]
    done = subprocess.run(
        [*options, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert "run training.cnn first" in done.stderr and done.stderr.count("\n") == 1


# --- the evaluation -----------------------------------------------------------------------------


def held_out_of(labels: np.ndarray, signal: np.ndarray, clinical: np.ndarray, seed: int) -> HeldOut:
    """Four folds; feature 0 carries ``signal`` with a little noise, the rest is noise."""
    random = np.random.default_rng(seed)
    n, folds = len(labels), 4
    fold = np.arange(n) % folds
    features = np.zeros((n, PLAIN), np.float32)
    features[:, :6] = random.normal(size=(n, 6))
    features[:, 0] = signal + random.normal(0, 0.1, n)
    return whole(features, fold, labels, clinical, np.arange(n).astype(str))


def whole(features, fold, labels, clinical, ids) -> HeldOut:
    n = len(labels)
    p, one = np.full((n, 6), 1 / 6, np.float32), np.ones(n)
    return HeldOut(
        features, p, fold, labels, clinical, ids, one.astype(int), 9 * one,
        np.where(np.arange(n) % 2, "female", ""), np.where(np.arange(n) % 3, 60.0, np.nan),
    )  # fmt: skip


QUICK = AutoencoderTraining(steps=60)


def test_image_information_shows_in_image_and_fused_but_not_in_clinical():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 160)
    clinical = random.normal(size=(160, 12))
    held_out = held_out_of(labels, labels * 3.0, clinical, 1)
    answers = held_out_probabilities(held_out, Reduction("none", 0), QUICK, MLRConfig())
    right = {k: (p.argmax(axis=1) == labels).mean() for k, p in answers.items()}
    assert right["image"] > 0.85 and right["fused"] > 0.85
    assert right["clinical"] < 0.5
    some = {kind: p[None] for kind, p in answers.items()}
    better = differences(labels, some["fused"], some["clinical"])
    assert better["macro_auc"].low > 0.2 and better["log_loss"].high < 0
    assert "fused answer is better than the clinical" in verdict(better, "fused", "clinical")
    same = differences(labels, some["fused"], some["fused"])
    assert same["macro_auc"].value == 0
    assert "not shown to be better" in verdict(same, "fused", "fused")


def scans_that_tell_who_it_is(folds_by: str) -> HeldOut:
    """60 persons with 4 scans each; the image features are a mark of the person, nothing else.

    The primary of a person is drawn by lot of two. ``folds_by``: persons, or (wrongly) scans, which
    then go by names that do not tell whose they are, so that no step can keep them together.
    """
    random = np.random.default_rng(4)
    persons = np.repeat(np.arange(60), 4)
    labels = random.permutation(np.arange(60) % 2)[persons]
    whose = persons if folds_by == "persons" else None
    fold = stratified_folds(labels, 4, 0, whose)
    marks = random.normal(size=(60, 40))[persons]
    features = (marks + random.normal(0, 0.05, (240, 40))).astype(np.float32)
    ids = np.array([f"BraTS-MET-{p:05d}-{n % 4:03d}" for n, p in enumerate(persons)])
    if folds_by == "scans":
        ids = np.array([f"BraTS-MET-{n:05d}-000" for n in range(240)])
    return whole(features, fold, labels, random.normal(size=(240, 7)), ids)


def area_of(held_out: HeldOut, kind: str):
    """AUC of the second of two primaries; the interval resamples persons."""
    from bmcore.stats.classification import auc

    answers = held_out_probabilities(held_out, Reduction("none", 0), QUICK, MLRConfig(), (kind,))
    pair = answers[kind][:, :2] / answers[kind][:, :2].sum(axis=1, keepdims=True)
    return auc(held_out.labels, pair, held_out.persons).macro


def test_a_planted_leak_by_identity_is_at_chance_by_patient_and_shows_when_split_by_scan():
    """Who the patient is predicts the label of the patient's other scans, and nothing else does.

    Split by patient no answer can use that; split by scan the same features and the same code are
    nearly always right, so the first half of this test can fail."""
    by_patient = scans_that_tell_who_it_is("persons")
    for person in set(by_patient.persons):
        assert len(set(by_patient.fold[by_patient.persons == person])) == 1
    honest = area_of(by_patient, "image")
    assert honest.n == 60 and honest.low < 0.5 < honest.high
    leaking = area_of(scans_that_tell_who_it_is("scans"), "image")
    assert leaking.low > 0.9


def test_scans_of_one_patient_lie_in_one_fold_of_the_whole_training(tmp_path):
    """Two time points of each of nine patients, each with a mark: the nets get both or neither."""
    random = np.random.default_rng(4)
    ids = []
    for index in range(18):
        patient = make_patient(index, 3 + (index // 2) % 2, random, 0.0)
        mark = np.random.default_rng(index // 2).normal(0, 3, (4, 1, 1, 1)).astype(np.float16)
        patient.patches[:, :4, :8, :8, :8] = mark
        case_id = f"BraTS-MET-{100 + index // 2:05d}-{index % 2:03d}"
        scan = replace(patient, case_id=case_id)
        save_patient(tmp_path / f"{case_id}.npz", scan)
        ids.append(case_id)
    write_index(tmp_path, ids, {})
    config = CNNTraining(epochs=1, batch=6, folds=3, lesions=2, views=1)
    train_all(load_cohort(tmp_path), tmp_path / "out", config, TINY, ALONE)
    held_out = load_held_out(tmp_path / "out")
    assert np.array_equal(held_out.fold[::2], held_out.fold[1::2])
    assert set(np.bincount(held_out.fold)) == {6}
    assert person_of("BraTS-MET-00100-001") == "BraTS-MET-00100" and person_of("x-001") == "x-001"
    assert person_of("head00012-3@net") == person_of("head00012-0") == "head00012"


def test_codes_are_learnt_without_the_test_fold(monkeypatch):
    """The encoder and the regression of a fold never meet a row of that fold."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    held_out = held_out_of(labels, labels * 1.0, random.normal(size=(80, 12)), 0)
    held_out.features[:, 1] = np.arange(80)  # the patient's number, to know the row by
    import training.evaluation.answers as module

    seen = []
    true_fit = module.fit_autoencoder

    def spy(x, config, how):
        seen.append(set(x[:, 1].astype(int)))
        return true_fit(x, config, how)

    monkeypatch.setattr(module, "fit_autoencoder", spy)
    held_out_probabilities(held_out, Reduction("autoencoder", 2), QUICK, MLRConfig(), ("image",))
    assert len(seen) == 4
    left_out = [set(range(80)) - rows for rows in seen]
    assert sorted(n for rows in left_out for n in rows) == list(range(80))  # each once
    for rows in left_out:  # and judged by the regression that did not meet it
        assert 15 <= len(rows) <= 25


def test_trees_are_learnt_without_those_who_are_asked():
    from training.data.tree_scores import dealt

    random = np.random.default_rng(0)
    labels = np.arange(180) % 3
    held_out = held_out_of(labels, labels * 1.0, random.normal(size=(180, 12)), 0)
    held_out.features[:, 12] = labels + random.normal(size=180)  # a measured one tells
    ask = np.arange(180) % 4 == 1
    part = dealt(held_out, ~ask, ask, members=3)
    assert part.x.shape == (135, len(FEATURE_NAMES))
    assert part.asked.shape == (3, 45, len(FEATURE_NAMES))
    np.testing.assert_array_equal(part.ask, np.flatnonzero(ask))
    right = part.x[:, PLAIN:].argmax(axis=1) == labels[part.learn]
    assert 0.5 < right.mean() < 0.9  # not by heart
    labels[ask] = 5
    again = dealt(held_out, ~ask, ask, members=3)
    np.testing.assert_array_equal(again.x, part.x)
    np.testing.assert_array_equal(again.asked, part.asked)
    labels[0] = 5
    assert not np.array_equal(dealt(held_out, ~ask, ask, members=3).asked, part.asked)


def test_the_whole_evaluation_states_counts_intervals_and_baselines():
    random = np.random.default_rng(0)
    labels = random.choice(6, 90, p=[0.15, 0.1, 0.1, 0.2, 0.35, 0.1])
    clinical = np.column_stack([labels + random.normal(size=90), random.normal(size=(90, 11))])
    result, answers = evaluate(
        held_out_of(labels, random.normal(size=90), clinical, 2), 4, QUICK, MLRConfig(c=0.1), 2
    )
    commonest = (labels == 4).mean()
    assert result["answers"]["trivial"]["accuracy"].value == pytest.approx(commonest)
    assert result["answers"]["clinical"]["macro_auc"].value > 0.6
    assert sum(result["primaries"].values()) == result["patients"] == 90
    assert len(result["reductions"]) == 8 and len(result["verdicts"]) == 3
    assert np.allclose(answers["fused"].sum(axis=1), 1)
    said = result["answers"]["clinical"]
    assert "2 trainings" in said["macro_auc"].method
    assert said["accuracy"].value < said["top_2"].value < said["top_3"].value
    even = said["balanced_decision"]["sensitivity"]
    assert set(even) == {str(p) for p in PRIMARIES}
    found = np.mean([e.value for e in even.values()])
    assert said["balanced_decision_balanced_accuracy"].value == pytest.approx(found, abs=0.08)
    for points in said["operating_points"].values():
        assert all(0 <= e.low <= e.value <= e.high <= 1 for e in points.values() if e.has_interval)


def test_learning_curves_rise_with_what_is_learnt_from_and_know_what_they_lack(monkeypatch):
    from training import learning_curves

    rows = [r for r in learning_curves.ROWS if r.words in (
        "CNN scores alone", "measured features alone", "Clinical only",
    )]  # fmt: skip
    monkeypatch.setattr(learning_curves, "ROWS", rows)
    monkeypatch.setattr(learning_curves, "SIZES", (30, 100, 200))
    random = np.random.default_rng(0)
    labels = np.arange(170) % 3
    features = random.normal(size=(170, len(FEATURE_NAMES))).astype(np.float32)
    features[:, 12] += 2 * labels  # a measured one tells; scores and record do not
    ids = np.array([f"p{n}" for n in range(169)] + ["p0@net"])
    held_out = whole(features, labels, labels, random.normal(size=(170, 7)), ids)
    found = learning_curves.curves(held_out, QUICK, 3, 0)
    assert found["patients"] == 169 and found["sizes"] == [30, 100]
    assert found["not_reached"] == [200] and found["drawn"] == [r.words for r in rows]
    measured = found["curves"]["measured features alone"]
    assert [p["n"] for p in measured] == [30, 100]
    assert measured[1]["value"] > measured[0]["value"] + 0.02 and measured[1]["value"] > 0.65
    for words in ("CNN scores alone", "Clinical only"):
        assert abs(found["curves"][words][1]["value"] - 0.5) < 0.1
    assert all(p["low"] <= p["value"] <= p["high"] for p in measured)


def test_features_of_another_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(held_out_data, "FEATURE_NAMES", ("a",))
    (tmp_path / "cnn").mkdir()
    np.savez(tmp_path / "cnn" / "features.npz", names=np.array(["b"]))
    with pytest.raises(InputRefused, match="another version"):
        load_held_out(tmp_path)
