"""The Models page with a new card, an old one, a broken one and none."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from bmcore.domain import PRIMARIES, Volume
from bmcore.settings import PROJECT, settings
from pages.parts.models import card as model_card
from pages.parts.models import charts
from pages.parts.models.metrics import table_cell, with_ends
from tests import pages_home

SHIPPED = PROJECT / "models" / "demo" / "model_card.json"
SINCE_FORMAT_2 = (
    "format", "intended_use", "not_for", "decision", "subgroups", "minimum", "segmentation",
    "ablation", "learning_curves", "sets", "test", "segmentation_test",
)  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    pages_home.make_bundle(folder)
    return folder


@pytest.fixture
def place(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bundle of random models without a card, and the pages pointed at it."""
    shutil.copytree(bundle, tmp_path / "bundle")
    monkeypatch.setenv("BMCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BMCORE_BUNDLE", str(tmp_path / "bundle"))
    monkeypatch.setenv("BMCORE_DEMO", "0")
    (tmp_path / "home").mkdir()
    settings.cache_clear()
    st.cache_resource.clear()
    yield tmp_path / "bundle"
    settings.cache_clear()
    st.cache_resource.clear()


def segmentation() -> dict:
    """Five cases with one lesion of 7 mm, found in four; a sixth without a lesion is clean."""
    from training.evaluation.segmentation_case import Reading, Scoring, score
    from training.evaluation.segmentation_summary import summarise
    from training.run.files import plain

    lesion = np.zeros((16, 16, 16), np.uint8)
    lesion[4:8, 4:8, 4:8] = 3
    empty = np.zeros_like(lesion)
    records = []
    for number in range(6):
        truth, found = (empty, empty) if number == 5 else (lesion, empty if number == 4 else lesion)
        reading = Reading(found, (found > 0).astype(np.float32) * 0.9, 12.0)
        scores = score(reading, Volume(truth, np.eye(4)), Scoring())
        records.append(
            {"case_id": str(number), "primary": "nsclc", "hardware": "cpu, fp32, 1 threads",
             "subsets": {"all": scores, "t1c": None}}
        )  # fmt: skip
    return plain(
        summarise(records, minimum=3)
        | {"data": "drawn", "left_out": {"x": "no mask"}, "scoring": {"tolerance_mm": 1.0}}
    )


def old_card() -> dict:
    """What a card held before format 2: the shipped one without what has been added since."""
    return {k: v for k, v in json.loads(SHIPPED.read_text()).items() if k not in SINCE_FORMAT_2}


@pytest.fixture(scope="module")
def new_card() -> dict:
    """The old card's answers with all that a new card holds besides."""
    from training.evaluation.answer_subgroups import Described, decision_curves, subgroups
    from training.run.files import plain

    card = old_card() | {k: json.loads(SHIPPED.read_text())[k] for k in ("learning_curves", "sets")}
    card["learning_curves"] = card["learning_curves"] | {"not_reached": [2000]}
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 60)
    answers = {k: rng.dirichlet(np.ones(6), 60) for k in ("clinical", "image", "fused")}
    patients = [Described("female", 60.0, 1 + i % 2, 12.0) for i in range(60)]
    rows = [{"Variant": "no dropout", "Dice": card["answers"]["fused"]["accuracy"]}]
    return card | plain(
        {
            "format": 2,
            "intended_use": ["Research on a drawn cohort."],
            "not_for": ["Cats."],
            "decision": decision_curves(truth, answers),
            "subgroups": subgroups(truth, answers, patients),
            "minimum": 20,
            "segmentation": segmentation(),
            "ablation": {"title": "What matters", "rows": rows, "notes": ["A short run."]},
        }
    )


def open_page(card: dict | str | None, folder: Path) -> AppTest:
    if card is not None:
        text = card if isinstance(card, str) else json.dumps(card)
        (folder / "model_card.json").write_text(text)
    page = AppTest.from_file(str(PROJECT / "pages" / "models.py"), default_timeout=120).run()
    assert not page.exception and not page.error, [e.value for e in page.error]
    return page


def words(page: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "text", "subheader")
    return "\n".join(str(e.value) for kind in kinds for e in getattr(page, kind))


def tables_of(page: AppTest) -> list[pd.DataFrame]:
    """Text tables, which show all of their rows and wrap; none that scrolls and cuts."""
    assert not page.dataframe
    plain = {"\u00a0": " ", r"\\": ""}  # as it is on the screen
    return [t.value.replace(plain, regex=True) for t in page.table]


def test_the_first_view_says_what_on_what_how_good_and_where_not(new_card, place: Path) -> None:
    text = words(open_page(new_card, place))
    for heading in ("What they are", "Trained on", "How good", "Where not to trust them"):
        assert heading in text
    accuracy = new_card["answers"]["fused"]["accuracy"]["value"]
    patients = new_card["answers"]["fused"]["accuracy"]["n"]
    assert f"in **{accuracy:.0%}** of {patients} patients (95 % interval " in text
    assert (
        "Finds **80%** of 5 lesions in 6 cases (95 % interval 38% to 96%, n = 5); "
        "false ones per case: 0 (0 to 0.61), n = 6; Dice of the tumour core: "
    ) in text
    assert "5 to under 10 mm, found 80%, 95 % interval 38% to 96%, n = 5" in text
    weak = next(line for line in text.splitlines() if "Hardly ever recognised: " in line)
    assert "Renal cell (" in weak and "% interval" in weak and ", n = " in weak


def test_a_new_card_shows_every_chart_and_table(new_card, place: Path) -> None:
    page = open_page(new_card, place)
    assert len(page.get("plotly_chart")) == 8
    text = words(page)
    assert "Research on a drawn cohort." in text and "Cats." in text and "A short run." in text
    assert "Cases that could not be measured and are left out: 1." in text
    tables = tables_of(page)
    goals = next(t for t in tables if "Goal" in t)
    assert list(goals["Met"]).count("no") >= 1
    sex = next(t for t in tables if "Sex" in t)
    assert sex.set_index("Sex").loc["male", "Right, fused"] == "too few (n = 0)"
    outline = next(t for t in tables if "Region" in t).set_index("Region")
    assert outline.loc["Tumour core", "Lesions found"] == "0.80 (0.38 to 0.96)"
    each = next(t for t in tables if "Found, balanced decision" in t)
    assert {
        "Sensitivity at specificity .90",
        "Specificity at sensitivity .90",
        "In the 90 % set",
    } <= {*each}
    assert "among the first two" in text and "Not reached yet" in text
    page.toggle(key="card balanced").set_value(True).run()
    assert not page.exception and len(page.get("plotly_chart")) == 8


def naming_test() -> dict:
    """60 new patients; the fused answer knows 54 primaries, the record and the images none."""
    from types import SimpleNamespace

    from bmcore.models.case_mix import EVEN
    from training.evaluate_naming import summarise
    from training.run.files import plain

    flat, names, rows = [1 / 6] * 6, [str(p) for p in PRIMARIES], []
    for number in range(60):
        primary = names[number % 6]
        told = names[(number + (number % 10 == 0)) % 6]
        known = [0.95 if name == told else 0.01 for name in names]
        said = {
            "lesions": 1,
            "answers": {"clinical": flat, "image": flat, "fused": known},
            "sets": {"clinical": names, "image": names, "fused": [primary]},
        }
        rows.append({"primary": primary, "masks": {"net": said, "reference": said}})
    learnt: Any = SimpleNamespace(shares=EVEN, folder="models")
    return plain(summarise(rows, learnt))


def test_what_new_patients_showed_comes_before_the_cross_validation(new_card, place: Path) -> None:
    page = open_page(new_card | {"test": naming_test()}, place)
    text = words(page)
    assert "in **90%** of 60 new patients (95 % interval " in text and "is right in 17%" in text
    assert "On new patients, read once" in text
    assert "The fused answer is better than the clinical answer" in text
    goals = next(t for t in tables_of(page) if "Image only, macro AUC" in str(t))
    met = dict(zip(goals["Goal"], goals["Met"], strict=True))
    assert met["Image only, macro AUC at least 0.72"] == "no"
    assert met["Fused, macro AUC at least 0.82"] == "yes"


def new_cases() -> dict:
    """Two cases a group: a lesion of 3 mm missed, one of 12 mm found; a plaque is marked."""
    from training.bench.segmentation_test import GROUPS, summarise
    from training.run.files import plain

    rows: list[dict] = []
    for group in GROUPS:
        lesions = [
            {"diameter_mm": 3.0, "detected": False}, {"diameter_mm": 12.0, "detected": True},
        ]  # fmt: skip
        region = {
            "dice": 0.8, "lesion_dice": 0.7, "false_diameters_mm": [4.0],
            "lesions": [] if group.style.no_lesion_share else lesions,
        }  # fmt: skip
        scores = {"regions": dict.fromkeys(("TC", "WT", "ET"), region)}
        rows += [{"group": group.name, "scores": scores} for _ in range(2)]
    rows[-1]["mimic"] = {"name": "plaque", "marked": True, "voxels": 9}
    return plain(summarise(rows))


def test_what_new_cases_showed_of_the_net_is_a_table_by_group_and_one_by_mimic(
    new_card, place: Path
) -> None:
    page = open_page(new_card | {"segmentation_test": new_cases()}, place)
    assert "10 synthetic cases, on which nothing was chosen" in words(page)
    tables = tables_of(page)
    groups = next(t for t in tables if "Ordinary looks" in t).set_index("")
    assert groups.loc["Found, under 5 mm", "Ordinary looks"].startswith("0 (0 to 0.")
    assert groups.loc["Found, under 5 mm", "Varied looks, no metastasis"] == ""
    mimics = next(t for t in tables if "Marked as one" in t).set_index(
        "Enhances, but is no metastasis"
    )
    assert mimics.loc["Enhancing plaques", "Cases"] == "1"
    assert mimics.loc["Subacute infarcts", "Cases"] == "0"
    assert (
        "Taken for metastases: enhancing plaques (100%, 95 % interval 21% to 100%, n = 1)."
    ) in words(page)


def test_another_answer_and_another_primary_can_be_looked_at(new_card, place: Path) -> None:
    page = open_page(new_card, place)
    assert page.selectbox[0].value == "nsclc"
    page.selectbox[0].select("melanoma").run()
    assert not page.error and len(page.get("plotly_chart")) == 8


def test_an_old_card_still_shows_and_says_what_it_does_not_hold(place: Path) -> None:
    page = open_page(old_card(), place)
    text = words(page)
    assert len(page.get("plotly_chart")) == 4  # answers, confusion, reliability, code sizes
    assert "was not measured on a set of cases" in text
    assert "no decision curves" in text and "no numbers for parts of the patients" in text


@pytest.mark.parametrize("card", [None, "{ broken", "[1, 2]"])
def test_without_a_readable_card_the_page_says_that_nothing_is_known(card, place: Path) -> None:
    page = open_page(card, place)
    assert model_card.NO_CARD in words(page)
    assert not page.get("plotly_chart")
    assert "What they cannot do" in words(page)


def test_a_card_with_one_half_only_says_so(new_card, place: Path) -> None:
    half = {k: new_card[k] for k in ("notice", "segmentation", "limits", "parts")}
    text = words(open_page(half, place))
    assert "How well they name the primary was not measured." in text
    assert "Finds **80%**" in text


# --- charts -------------------------------------------------------------------------------------


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high, "n": 9, "method": "m"}


def test_a_dot_has_its_interval_and_a_missing_number_no_dot() -> None:
    panels = [("A", [estimate(0.5, 0.4, 0.7), None, estimate(None)])]
    figure = charts.intervals(panels, ["x", "y", "z"], ["#111111"] * 3, {0: 0.5})
    assert [t.y[0] for t in figure.data] == ["x"]
    assert figure.data[0].error_x.array[0] == pytest.approx(0.2)
    assert figure.data[0].error_x.arrayminus[0] == pytest.approx(0.1)
    assert "0.50 (0.40 to 0.70), n = 9" in figure.data[0].hovertemplate


def test_the_confusion_chart_is_shaded_by_the_share_of_the_row() -> None:
    figure = charts.confusion([[3, 1], [0, 0]], ["a", "b"])
    assert [list(row) for row in figure.data[0].z] == [[0.75, 0.25], [0, 0]]
    assert list(figure.data[0].text[1]) == ["", ""]


def test_a_size_without_lesions_is_said_and_not_drawn_as_nought() -> None:
    rows = [
        {"lesions": 4, "sensitivity": estimate(0.5, 0.2, 0.8)},
        {"lesions": 0, "sensitivity": estimate(None)},
    ]
    figure = charts.detection(rows, ["small", "large"])
    assert list(figure.data[0].y) == [0.5, 0]
    assert [a.text for a in figure.layout.annotations] == ["none"]


def test_an_empty_froc_curve_is_drawn_without_a_fault() -> None:
    empty = {"false_per_case": [], "sensitivity": [], "at": []}
    assert len(charts.froc({"peak": empty}, {}).data) == 2


def test_where_all_or_none_was_seen_a_card_shows_the_interval_of_the_ends_or_says_none() -> None:
    def flat(value: float, n: int = 15) -> dict:
        return {"value": value, "low": value, "high": value, "n": n, "method": "bootstrap"}

    old = {
        "rows": [{"sensitivity": flat(1.0), "false_per_case": flat(0.0), "dice": flat(1.0)}],
        "f1": {"sclc": {**flat(0.0, 300), "low": None, "high": None}},
        "auc": flat(0.5),
    }
    new = with_ends(old)
    (row,) = new["rows"]
    assert table_cell(row["sensitivity"]) == "1.00 (0.80 to 1.00)"  # Wilson: 15 / (15 + 1.96^2)
    assert table_cell(row["false_per_case"]) == "0 (0 to 0.25)"  # Poisson: -log(.025) / 15
    assert table_cell(row["dice"]) == "1.00 (no interval, n = 15)"
    assert table_cell(new["f1"]["sclc"]) == "0 (no interval, n = 300)"
    assert table_cell(new["auc"]) == "0.50 (no interval, n = 15)"
    assert with_ends(new) == new


def test_what_is_not_one_is_not_shown_as_one() -> None:
    assert table_cell({"value": 1.0, "low": 0.99574, "high": 1.0, "n": 900}) == (
        "1.00 (0.996 to 1.00)"
    )
    assert table_cell({"value": 0.99896, "low": 0.99626, "high": 0.99972, "n": 1946}) == (
        "0.999 (0.996 to 0.9997)"
    )


def test_no_number_of_the_shipped_card_has_an_interval_of_no_width() -> None:
    def walk(part: Any) -> None:
        if isinstance(part, dict) and {"value", "low", "high"} <= set(part):
            assert part["low"] is None or part["low"] < part["high"], part
        for inner in part.values() if isinstance(part, dict) else part:
            if isinstance(inner, dict | list):
                walk(inner)

    card = model_card.read(SHIPPED.parent)
    assert card is not None
    walk(card)


def test_every_shipped_part_says_what_it_is_and_the_date_is_readable(place, monkeypatch) -> None:
    monkeypatch.setenv("BMCORE_BUNDLE", str(SHIPPED.parent))
    settings.cache_clear()
    page = AppTest.from_file(str(PROJECT / "pages" / "models.py"), default_timeout=120).run()
    labels = [e.label for e in page.expander]
    assert any(label.startswith("Spread: How far") for label in labels)
    assert not [label for label in labels if label.rstrip().endswith(":")]
    made = next(t.value for t in page.text if t.value.startswith("Made: "))
    assert re.fullmatch(r"Made: \d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d", made)
    seen = words(page)
    assert re.search(r"enhancing plaques \(47%, 95 % interval \d+% to \d+%, n = 15\)", seen)


def test_a_learning_curve_has_its_own_colour_in_both_themes() -> None:
    found = json.loads(SHIPPED.read_text())["learning_curves"]
    curves = {words: found["curves"][words] for words in found["drawn"]}
    colours = {line.name: line.line.color for line in charts.learning(curves, 200).data}
    assert len({*colours.values()}) == len(curves) and None not in colours.values()
    assert colours["Clinical only"] == charts.COLOURS["clinical"]
    assert colours["Fused, autoencoder of 16"] == charts.COLOURS["fused"]
