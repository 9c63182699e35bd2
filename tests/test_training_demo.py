"""The chain that makes the demo models: order, skipping, and the bundle at its end.

The steps themselves are replaced by writers of small random parts; they have tests of their own.
"""

import json

import numpy as np
import pytest
import torch

from bmcore.domain import BundleRefused, InputRefused
from bmcore.imaging.image_statistics import STATISTICS
from bmcore.models.autoencoder import build_autoencoder
from bmcore.models.bootstrap_refits import Refits
from bmcore.models.bundle_writer import write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.cnn import build_cnn
from bmcore.models.configs import AutoencoderConfig, CNNConfig, SegmenterConfig
from bmcore.models.conformal import Conformal
from bmcore.models.image_features import FEATURE_NAMES
from bmcore.models.manifest import belongs_to
from bmcore.models.measurement_trees import fit
from bmcore.models.mlr import MLR
from bmcore.models.novelty import NoveltyModel
from bmcore.models.optional_parts import pack_refits, pack_uncertainty
from bmcore.models.segmenter import build_segmenter
from training import demo_models

SEGMENTER = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,))


class Steps:
    """Stands for the commands: notes each call and leaves what the command would leave."""

    def __init__(self):
        self.calls: list[str] = []
        self.fail_at = ""

    def draw(self, cases, seed, folder, workers):
        names = {"held": "held-out cohort", "tune": "cohort for the limits"}
        self.calls.append(names.get(folder.name, "cohort"))
        folder.mkdir(parents=True)
        (folder / "complete.json").write_text("{}")

    def heads(self, folder, heads, sets, seed, workers):
        self.calls.append("heads")
        folder.mkdir(parents=True)
        (folder / demo_models.PLAN).write_text("{}")

    def naming(self, options, workers):
        self.calls.append("naming patients")
        cases = int(options[options.index("--n") + 1])
        out = demo_models.Path(options[options.index("--out") + 1])
        last = demo_models.patient_file(out, (cases - 1) // 5, 4, "reference")
        last.parent.mkdir(parents=True)
        last.write_bytes(b"")

    def command(self, module, *options):
        names = {
            "postprocessing_search": "limits",
            "bootstrap_refits": "spread",
            "evaluate_segmentation": "segmentation",
            "candidates": "second look",
        }
        step = module.split(".")[1]
        step = names.get(step, step)
        if step == "card":  # written anew each time, from the finished bundle
            bundle = demo_models.Path(options[options.index("--bundle") + 1])
            (bundle / "model_card.md").write_text(
                f"# card of {load_bundle(bundle).info.trained_on}"
            )
            return
        self.calls.append(step)
        if step == self.fail_at:
            raise InputRefused(*demo_models.refuse("stopped").findings)
        if step == "limits":
            return
        out = demo_models.Path(options[options.index("--out") + 1])
        torch.manual_seed(0)
        if step in ("segmenter", "second look"):
            write_part(out, "segmenter", build_segmenter(SEGMENTER).state_dict(), SEGMENTER)
            (out / "metrics.json").write_text("{}")
        elif step == "cnn":
            config = CNNConfig(width=8, blocks=1)
            write_part(out, step, build_cnn(config).state_dict(), config)
            x, y = np.arange(12.0)[:, None], np.arange(12) % 6
            write_part(out, "trees", fit(x, y, np.arange(12) // 6).tensors(), {})
        elif step == "autoencoder":
            config = AutoencoderConfig(len(FEATURE_NAMES), feature_set=3)
            write_part(out, step, build_autoencoder(config).state_dict(), config)
        elif step == "mlr":
            model = MLR(["a"]).fit(np.arange(12.0)[:, None], np.arange(12) % 6)
            for part in ("clinical_mlr", "image_mlr", "fused_mlr"):
                write_part(out, part, model.tensors(), {"features": ["a"]})
        elif step == "learning_curves":
            (out / "metrics.json").write_text("{}")
        elif step == "evaluate":
            (out / "model_card.json").write_text("{}")
        elif step == "segmentation":
            assert load_bundle(out).has("cnn")
            (out / "segmentation.json").write_text("{}")
        elif step == "uncertainty":
            sets = dict.fromkeys(("clinical", "image", "fused"), Conformal(np.linspace(0, 1, 9)))
            rows = np.random.default_rng(0).normal(size=(10, len(STATISTICS)))
            tensors, config = pack_uncertainty(sets, NoveltyModel(rows, np.arange(10), [0.1, 0.2]))
            config["belongs_to"] = belongs_to(load_bundle(out).manifest)
            write_part(out, step, tensors, config)
        elif step == "spread":
            one = Refits(np.zeros((2, 6, 1)), np.zeros((2, 1)), np.zeros((2, 6)))
            tensors = pack_refits(dict.fromkeys(("clinical", "image", "fused"), one))
            config = {"belongs_to": belongs_to(load_bundle(out).manifest)}
            write_part(out, step, tensors, config)


NET = ["heads", "segmenter", "second look", "cohort for the limits", "limits"]
NAMING = ["cnn", "autoencoder", "mlr", "evaluate", "uncertainty", "spread", "learning_curves"]
ALL = ["held-out cohort", *NET, "cohort", "naming patients", *NAMING, "segmentation"]


@pytest.fixture
def steps(monkeypatch):
    stand_in = Steps()
    monkeypatch.setattr(demo_models, "_command", stand_in.command)
    monkeypatch.setattr(demo_models, "_draw_cohort", stand_in.draw)
    monkeypatch.setattr(demo_models, "draw_heads", stand_in.heads)
    monkeypatch.setattr(demo_models, "_draw_naming", stand_in.naming)
    return stand_in


def test_the_chain_ends_in_a_complete_bundle_with_its_card_and_times(steps, tmp_path):
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12, seed=3)
    assert steps.calls == ALL
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.info.synthetic and "12 patients (primary)" in bundle.info.trained_on
    assert set(bundle.manifest["timings_s"]) == {*ALL, "all"}
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert card == f"# card of {bundle.info.trained_on}"
    assert (
        bundle.cnn is not None
        and bundle.novelty is not None
        and bundle.bootstrap_refits is not None
    )


def test_a_second_start_does_nothing_again_and_other_options_do(steps, tmp_path):
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12)
    digest = load_bundle(tmp_path / "bundle").info.digest
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12)
    assert steps.calls == ALL
    assert load_bundle(tmp_path / "bundle").info.digest == digest
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12, epochs=3)
    assert steps.calls == ALL + NAMING  # the cohorts and the segmenter are the same


def test_a_stopped_chain_goes_on_where_it_stopped(steps, tmp_path):
    steps.fail_at = "mlr"
    with pytest.raises(InputRefused, match="stopped"):
        demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12)
    with pytest.raises(BundleRefused, match="has no cnn"):
        _ = load_bundle(tmp_path / "bundle").cnn  # nothing that could pass for finished
    kept = json.loads((tmp_path / "work" / "steps.json").read_text())
    assert kept["mlr"]["options"].startswith("begun")
    steps.fail_at, steps.calls = "", []
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12)
    assert steps.calls == ALL[ALL.index("mlr") :]


def test_a_segmenter_trained_before_is_taken_over(steps, tmp_path):
    ready = tmp_path / "ready"
    steps.command("training.segmenter", "--out", str(ready))
    steps.calls = []
    demo_models.main(tmp_path / "bundle", tmp_path / "work", cases=12, segmenter=ready)
    assert steps.calls == [step for step in ALL if step not in NET]
    ours, theirs = (
        load_bundle(f).manifest["parts"]["segmenter"] for f in (tmp_path / "bundle", ready)
    )
    assert ours == theirs


def test_a_command_that_fails_stops_the_chain_with_its_name():
    with pytest.raises(InputRefused, match=r"training.mlr has failed"):
        demo_models._command("training.mlr", "--data", "none", "--out", "/nonexistent/none")
