"""What enhances and is no metastasis: it is painted, and not in the reference."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bmcore.domain import InputRefused, Label
from bmcore.models.bundle_writer import write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.configs import SegmenterConfig
from bmcore.models.segmenter import build_segmenter
from bmcore.phantom.cohort import draw_case
from bmcore.phantom.lesions import Growth, draw_kinds, draw_lesions
from bmcore.phantom.mimics import MIMICS, add_mimics, without_mimics
from bmcore.phantom.style import CLINIC, PRIORS
from bmcore.phantom.tissue import draw_map, draw_tissue
from training.bench import reduction_pair, segmentation_test
from training.run.read_once import only_by, pack, read_each, unpack


@pytest.fixture(scope="module")
def tissue():
    rng = np.random.default_rng(0)
    return draw_tissue(rng, draw_map(rng), False)


@pytest.mark.parametrize("name", list(MIMICS))
def test_each_kind_lies_where_it_belongs(tissue, name):
    growth = Growth()
    there = add_mimics(np.random.default_rng(2), tissue, growth, (name,) * 6)
    assert len(there) >= 4 and set(there) == {name} and len(growth.kinds) == len(there)
    enhancing = growth.labels == Label.ET
    assert tissue.mask[enhancing].mean() > 0.98
    if name == "plaque":
        assert tissue.white[enhancing].mean() > 0.7
    if name == "infarct":
        assert tissue.grey[enhancing].min() > 0.6 and tissue.depth[enhancing].min() > -8
    if name == "meningioma":
        for number in range(1, len(there) + 1):  # each reaches the dura
            assert tissue.depth[enhancing & (growth.owner == number)].max() > -3
    fluid = np.count_nonzero(growth.labels == Label.NETC)
    assert (fluid > np.count_nonzero(enhancing)) == (name == "cavity")


def test_metastases_stay_as_they_are_and_the_reference_holds_nothing_else(tissue):
    prior = next(iter(PRIORS.values()))
    rng = np.random.default_rng(1)
    growth = draw_lesions(rng, tissue, prior, draw_kinds(rng, prior))
    before = growth.labels.copy(), growth.owner.copy(), list(growth.kinds)
    there = add_mimics(rng, tissue, growth, tuple(MIMICS) * 2)
    assert np.count_nonzero(growth.labels) > np.count_nonzero(before[0]) and there
    true = without_mimics(growth, len(there))
    np.testing.assert_array_equal(true.labels, before[0])
    np.testing.assert_array_equal(true.owner, before[1])
    assert true.kinds == before[2]
    assert without_mimics(growth, 0) is growth


def test_a_patient_with_a_mimic_shows_it_and_is_drawn_as_ever_without():
    style = replace(CLINIC, mimic_share=1.0, no_lesion_share=1.0)
    found = draw_case(5, style, mimics=("meningioma",))
    assert found.mimics == ("meningioma",) and found.lesion_count == 0
    assert not found.labels.any() and not found.owner.any() and found.kinds == ()
    own = found.mimic_labels == Label.ET
    white = np.median(found.images["t1c"][found.images["t1c"] > 0])
    assert np.median(found.images["t1c"][own]) > 1.3 * white
    assert not found.as_case("x").truth.mask.data.any()


def test_false_positive_reduction_learns_from_some_patients_with_mimics(monkeypatch):
    from training.data.candidate_dataset import CALM, Reader

    asked = []
    drawn = SimpleNamespace(as_case=lambda name: name)
    monkeypatch.setattr(
        "bmcore.phantom.cohort.draw_case", lambda seed, style: asked.append((seed, style)) or drawn
    )
    for mimics in (0.0, 0.5):
        for number in range(300):
            assert Reader(None, None, 9, 0.1, mimics).case(number) == f"synthetic-{number}"
    without, some = asked[:300], asked[300:]
    assert not any(style.mimic_share for _, style in without)
    assert 0.4 < np.mean([style.mimic_share for _, style in some]) < 0.6
    assert [(s, replace(style, mimic_share=0.0)) for s, style in some] == without
    assert abs(np.mean([style == CLINIC for _, style in without]) - CALM) < 0.1


# --- the test of the segmentation net ----------------------------------------------------------


def _row(group, marked=None, false=0):
    lesions = [] if "no met" in group else [
        {"diameter_mm": 3.0, "detected": False}, {"diameter_mm": 12.0, "detected": True},
    ]  # fmt: skip
    region = {"dice": 0.8, "lesion_dice": 0.7, "lesions": lesions,
              "false_diameters_mm": [4.0] * false}  # fmt: skip
    row = {"group": group, "scores": {"regions": dict.fromkeys(("TC", "WT", "ET"), region)}}
    if marked is not None:
        row["mimic"] = {"name": "plaque", "marked": marked, "voxels": 9 * marked}
    return row


def test_the_summary_counts_small_lesions_false_ones_and_mimics():
    groups = [g.name for g in segmentation_test.GROUPS]
    rows = [_row(name, false=n % 2) for name in groups[:-1] for n in range(6)]
    rows += [_row(groups[-1], marked=n < 2) for n in range(8)]
    found = segmentation_test.summarise(rows)
    groups = found["groups"]
    assert groups["ordinary looks"]["Found, under 5 mm"].value == 0
    assert groups["ordinary looks"]["Found, 5 mm or more"].value == 1
    assert groups["varied looks"]["False lesions a case"].value == 0.5
    bare = groups["varied looks, no metastasis"]
    assert bare["Cases without a false lesion"].value == 0.5 and "Dice, tumour core" not in bare
    assert found["mimics"]["plaque"].value == 0.25 and found["mimics"]["plaque"].n == 8


def test_two_reductions_are_compared_patient_by_patient():
    groups = [g.name for g in segmentation_test.GROUPS]
    first = [_row(name, false=n % 2) for name in groups[:-1] for n in range(6)]
    second = [_row(name) for name in groups[:-1] for n in range(6)]
    first += [_row(groups[-1], marked=True) for n in range(8)]
    second += [_row(groups[-1], marked=n < 2) for n in range(8)]
    found = reduction_pair.compare(first, second)
    fewer = found["ordinary looks"]["False lesions a case"]
    assert fewer.value == -0.5 and fewer.low < -0.5 < fewer.high < 0 and fewer.n == 6
    assert found["ordinary looks"]["Dice, whole tumour"].value == 0
    assert set(found["varied looks, no metastasis"]) == {"False lesions a case"}
    assert found["mimics"]["Marked"].value == -0.75 and found["mimics"]["Marked"].n == 8


def test_two_reductions_over_different_nets_are_refused(tmp_path):
    config = SegmenterConfig.of(filters=8, blocks_down=(1, 1), blocks_up=(1,), window=32)
    weights = build_segmenter(config).state_dict()
    write_part(tmp_path / "a", "segmenter", weights, config)
    other = {k: v + 1 if k.endswith("weight") else v for k, v in weights.items()}
    write_part(tmp_path / "b", "segmenter", other, config)
    a, b = load_bundle(tmp_path / "a"), load_bundle(tmp_path / "b")
    reduction_pair.check_same_net(a, a)
    with pytest.raises(InputRefused, match="different segmentation nets"):
        reduction_pair.check_same_net(a, b)


def test_each_group_has_what_its_name_says(monkeypatch):
    counts = {g.name: g.count for g in segmentation_test.GROUPS}
    assert sum(n for name, n in counts.items() if "mimics" not in name) == 150
    asked = []

    def draw(seed, style, mimics):
        asked.append((seed, style.no_lesion_share, style.mimic_share, mimics))
        raise StopIteration

    monkeypatch.setattr("bmcore.phantom.cohort.draw_case", draw)
    for position in (0, 119, 120, 149, 150, 153, 209):
        with pytest.raises(StopIteration):
            segmentation_test.read_one(position, None)
    assert [a[1] for a in asked] == [0, 0, 1, 1, 1, 1, 1]
    assert [a[2] for a in asked] == [0, 0, 0, 0, 1, 1, 1]
    assert [a[3] for a in asked[4:]] == [("plaque",), ("cavity",), ("cavity",)]
    assert len({a[0] for a in asked}) == 7


def test_patients_are_read_once_in_parts_and_by_one_net(tmp_path):
    read = []

    def one(position):
        read.append(position)
        return {"position": position}

    assert read_each(tmp_path, 5, (0, 2), one) is None and read == [0, 2, 4]
    rows = read_each(tmp_path, 5, (1, 2), one)
    assert [r["position"] for r in rows] == [0, 1, 2, 3, 4] and read == [0, 2, 4, 1, 3]
    assert read_each(tmp_path, 5, (0, 1), one) == rows and len(read) == 5
    file, mark = tmp_path / "rows.gz", {"nets": "n"}
    assert pack(tmp_path, file, mark) == 5
    other = tmp_path / "other"
    assert unpack(file, other, mark) == 5
    assert read_each(other, 5, (0, 1), one) == rows and len(read) == 5
    with pytest.raises(InputRefused, match="were read by other models"):
        unpack(file, other, {"nets": "m"})
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(InputRefused, match="kept rows cannot be read"):
        unpack(file, other, mark)
    only_by(tmp_path / "by.json", {"a": 1})
    only_by(tmp_path / "by.json", {"a": 1})
    with pytest.raises(InputRefused, match="have been read by other models"):
        only_by(tmp_path / "by.json", {"a": 2})


def test_a_mimic_counts_as_marked_where_its_core_is():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0], labels[3, 3, 3] = Label.ET, Label.SNFH
    oedema_alone = np.where(labels == Label.SNFH, Label.ET, 0).astype(np.uint8)
    marked = segmentation_test._marked
    assert not marked("plaque", labels, oedema_alone)["marked"]
    assert marked("plaque", labels, labels) == {"name": "plaque", "marked": True, "voxels": 1}
