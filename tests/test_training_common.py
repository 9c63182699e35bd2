"""Checkpoints, seeds, EMA and atomic files of the training scripts."""

import json
import random

import numpy as np
import pytest
import torch

from bmcore.domain import InputRefused
from training.loops.ema import EMA
from training.run.checkpoint import Checkpoint
from training.run.files import (
    atomic_path,
    fingerprint,
    read_json,
    tensors_hash,
    write_json,
)
from training.run.processes import distributed, progress
from training.run.random_state import seed_everything


def draws(generator: np.random.Generator) -> list[float]:
    """One number from each source of randomness that a run may use."""
    return [
        float(torch.rand(1)),
        float(np.random.random()),  # noqa: NPY002
        random.random(),
        float(generator.normal()),
    ]


def test_a_checkpoint_sets_every_random_state_back(tmp_path):
    generator = seed_everything(5)
    draws(generator)
    checkpoint = Checkpoint(tmp_path / "run.pt", "a")
    checkpoint.save({"epoch": 3, "w": torch.arange(3)}, {"augment": generator})
    expected = draws(generator)
    seed_everything(99)
    other = np.random.default_rng(1)
    state = checkpoint.load({"augment": other})
    assert state is not None and state["epoch"] == 3
    assert torch.equal(state["w"], torch.arange(3))
    assert draws(other) == expected


def test_without_a_checkpoint_nothing_is_loaded(tmp_path):
    assert Checkpoint(tmp_path / "none.pt").load() is None


def test_a_checkpoint_of_other_options_is_refused(tmp_path):
    Checkpoint(tmp_path / "run.pt", fingerprint({"lr": 1})).save({"epoch": 1})
    with pytest.raises(InputRefused, match="other options"):
        Checkpoint(tmp_path / "run.pt", fingerprint({"lr": 2})).load()


def test_a_cut_off_checkpoint_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / "run.pt"
    Checkpoint(path).save({"w": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputRefused, match="cannot be read"):
        Checkpoint(path).load()


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as beside:
        beside.write_text("half")
        raise RuntimeError("killed")
    assert read_json(target) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_knows_numpy_and_writes_nan_as_null(tmp_path):
    write_json(tmp_path / "a.json", {"x": np.float32(0.5), "y": float("nan"), "z": np.arange(2)})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"x": 0.5, "y": None, "z": [0, 1]}


def test_ema_of_a_constant_net_is_that_net_and_it_comes_back():
    net = torch.nn.Linear(2, 1)
    ema = EMA(net, 0.9)
    start = tensors_hash(net.state_dict())
    for _ in range(5):
        ema.update(net)
    with ema.applied(net):
        assert all(torch.allclose(a, ema.shadow[n]) for n, a in net.state_dict().items())
    assert tensors_hash(net.state_dict()) == start
    # one update at decay min(0.9, 2/11): the shadow moves 9/11 of the way from 0 to 1
    torch.nn.init.zeros_(net.weight)
    fresh = EMA(net, 0.9)
    torch.nn.init.ones_(net.weight)
    fresh.update(net)
    assert torch.allclose(fresh.shadow["weight"], torch.full((1, 2), 9 / 11))


def test_the_hash_sees_values_shapes_types_and_names():
    base = {"a": torch.arange(6.0)}
    others = (
        {"a": torch.arange(6.0).reshape(2, 3)},
        {"a": torch.arange(6.0).double()},
        {"b": torch.arange(6.0)},
        {"a": torch.arange(6.0) + 1},
    )
    hashes = {tensors_hash(t) for t in (base, *others)}
    assert len(hashes) == 5
    assert tensors_hash({"a": torch.arange(6.0)}) == tensors_hash(base)
    assert tensors_hash({"n": torch.tensor(3)}) != tensors_hash({"n": torch.tensor(4)})


def test_alone_a_process_is_the_main_one(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with distributed("cpu") as world, progress(world) as bars:
        bars.advance(bars.add_task("x", total=1))
        assert (world.rank, world.size, world.device, world.main) == (0, 1, "cpu", True)
        assert world.mean(2.5) == 2.5
    with pytest.raises(InputRefused, match="unknown device"), distributed("tpu"):
        pass
