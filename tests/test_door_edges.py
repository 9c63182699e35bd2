"""The door's edges, by examples that nobody chose: names, pieces, orders of slices, painting."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bmcore.domain import InputRefused
from bmcore.door import arrival, inbox, picture, uploads
from bmcore.intake.dicom import read_study, read_volume
from tests import dicom_fixture as fixture

FEW = settings(max_examples=25, deadline=None)
NAMES = st.lists(st.text(max_size=60), min_size=1, max_size=6)


@given(NAMES, st.data())
@FEW
def test_files_of_any_name_and_size_arrive_as_they_were_sent(names, data) -> None:
    sizes = [data.draw(st.integers(0, 40)) for _ in names]
    content = [bytes(random.Random(n).randbytes(size)) for n, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        try:
            made = uploads.begin(home, "ada", list(zip(names, sizes, strict=True)), "", 10**6)
        except InputRefused:
            assert sum(sizes) == 0
            return
        whole, at = b"".join(content), 0
        while at < len(whole):
            step = data.draw(st.integers(1, len(whole) - at))
            with uploads.appending(made, at) as writer:
                writer.write(whole[at : at + step])
            at += step
            assert made.received == at
        found = arrival.find(home, made.id, "ada")
        kept = [c for c in content if c]
        assert [s.path.read_bytes() for s in found.sources()] == kept
        assert all(name and name.isprintable() and name[0] != "/" for name, _ in found.files)
        below = {p.resolve() for p in home.rglob("*")}
        assert all(p.is_relative_to(home.resolve()) for p in below)


@given(st.permutations(range(12)), st.integers(0, 2**16))
@settings(max_examples=6, deadline=None)
def test_slices_in_any_order_under_any_name_are_one_volume(order, seed) -> None:
    source = fixture.volume(3)
    made = fixture.slices(source)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for place, number in enumerate(order):
            made[number].InstanceNumber = rng.randint(1, 99)
            name = f"{rng.getrandbits(40):x}{place}"
            (Path(folder) / name).write_bytes(fixture.to_bytes(made[number]))
        with read_study(folder) as found:
            (series,) = found.patients[0].examinations[0].series
            volume, _ = read_volume(series)
    assert fixture.agrees(volume, source)


@given(st.lists(st.text("abcX0123456789 ._-", min_size=1, max_size=12), unique=True, max_size=8))
@FEW
def test_the_inbox_lists_each_folder_once_and_finds_it(names) -> None:
    names = [n for n in names if n.strip(". ") and n[0] != "."]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).mkdir(exist_ok=True)
        listed = [item.name for item in inbox.listed(Path(folder))]
        assert sorted(listed) == sorted({p.name for p in Path(folder).iterdir()})
        assert all(inbox.find(Path(folder), name).name == name for name in listed)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**16))
@FEW
def test_what_was_not_painted_keeps_its_fine_edge(shape, seed) -> None:
    rng = np.random.default_rng(seed)
    brain = rng.random(shape) < 0.6
    coarse = picture.coarse(brain)
    np.testing.assert_array_equal(picture.corrected(brain, coarse), brain)
    painted = coarse ^ (rng.random(coarse.shape) < 0.3)
    after = picture.corrected(brain, painted)
    for index in np.ndindex(*shape):
        block = tuple(i // picture.STEP for i in index)
        expected = brain[index] if painted[block] == coarse[block] else painted[block]
        assert after[index] == expected
