"""The model card on the Models page: what the evaluation found, as sentences, charts and tables.

A card is the plain data of model_card.json. What an older card does not hold is said in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from bmcore import disk
from bmcore.domain import ANSWER_NAMES, PRIMARY_NAMES
from bmcore.plain import NotPlain, load_json
from bmcore.stats.estimate import per_cent, proportion
from bmcore.stats.surface_elements import CONVENTIONS
from bmcore.stats.verdict import BETTER, NOT_SHOWN, WORSE, of_differences
from pages.parts.models import charts
from pages.parts.models.metrics import share_words, size_words, table_cell, with_ends
from pages.parts.words import escaped

Card = Mapping[str, Any]
Estimate = Mapping[str, Any]
INFORMED = dict(ANSWER_NAMES)
ANSWERS = {"trivial": "Shares of the primaries", **INFORMED}
REGIONS = {"ET": "Enhancing tumour", "TC": "Tumour core", "WT": "With oedema"}
SUBSETS = {
    "all": "All four",
    "t1c": "T1 Gd alone",
    "t1c+t2f": "T1 Gd and FLAIR",
    "without t2w, t2f": "Without T2 and FLAIR",
}
CURVES = {
    "peak": "Score: highest probability",
    "mean": "Score: mean probability",
    "peak_from_5_mm": "Lesions of 5 mm and more",
}
REGION_COLUMNS = {
    "dice": "Dice",
    "nsd": "Surface Dice",
    "hd95_median_mm": "HD95, median (mm)",
    "volume_error_relative": "Volume error (share)",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95_mm": "Lesion-wise HD95 (mm)",
    "sensitivity": "Lesions found",
    "false_per_case": "False lesions per case",
}
MIMICS = {
    "plaque": "Enhancing plaques",
    "infarct": "Subacute infarcts",
    "meningioma": "Meningiomas",
    "cavity": "Cavities after an operation",
}
NO_CARD = (
    "These models come without a model card, so it is not known how good they are. Whoever "
    "trained them can make one: the evaluation writes it."
)
NO_SEGMENTATION = (
    "How well these models mark lesions was not measured on a set of cases, or the models come "
    "with an older card that does not say it. Look at every mask yourself."
)


def read(folder: Path) -> Card | None:
    """The card of the bundle in ``folder``; None where there is none or it cannot be read."""
    path = folder / "model_card.json"
    found = disk.stat_of(path)
    return None if found is None else _read(path, found.st_mtime_ns)


@st.cache_data(max_entries=4, show_spinner=False)
def _read(path: Path, stamp: int) -> Card | None:
    try:
        card = load_json(path, finite=False)
    except (NotPlain, OSError):
        return None
    return with_ends(card) if isinstance(card, dict) else None


# --- in five seconds ------------------------------------------------------------------------------


def how_good(card: Card | None) -> list[str]:
    """One sentence for each thing the models do, from the measured numbers."""
    if card is None:
        return [NO_CARD]
    lines = []
    answers = card.get("answers") or {}
    test = card.get("test")
    if test:
        fused, counts = test["answers"]["net"]["fused"]["accuracy"], test["primaries"].values()
        floor = proportion(max(counts), sum(counts)).as_dict()
        lines.append(_named_right(fused, f"{test['patients']} new patients", floor))
        lines.append(_images_add(test["fused_minus_clinical"]))
    elif "fused" in answers:
        fused, floor = answers["fused"]["accuracy"], answers["trivial"]["accuracy"]
        lines.append(_named_right(fused, f"{card['patients']} patients", floor))
        lines.append(_images_add((card.get("differences") or {}).get("fused_minus_clinical")))
    else:
        lines.append("How well they name the primary was not measured.")
    found = _whole(card)
    if found:
        core = found["regions"]["TC"]
        share = core["sensitivity"]["value"]
        if share is not None:
            lines.append(
                f"Finds **{per_cent(share)}%** of {card['segmentation']['lesions']} lesions in "
                f"{found['cases']} cases{_range(core['sensitivity'])}; false ones per case: "
                f"{_with_n(core['false_per_case'])}; Dice of the tumour core: "
                f"{_with_n(core['dice'])}."
            )
    else:
        lines.append("How well they mark lesions was not measured on a set of cases.")
    return lines


def _named_right(accuracy: Estimate, whom: str, floor: Estimate) -> str:
    """How often the fused answer is right; floor: naming the most common primary."""
    return (
        f"Names the right one of six primaries in **{per_cent(accuracy['value'])}%** of {whom}"
        f"{_range(accuracy)}; always naming the most common one is right in "
        f"{per_cent(floor['value'])}%{_range(floor)}."
    )


def _range(estimate: Estimate) -> str:
    """The 95 % interval of a share in brackets, or nothing where there is none."""
    if estimate["low"] is None:
        return ""
    low, high = per_cent(estimate["low"]), per_cent(estimate["high"])
    return f" (95 % interval {low}% to {high}%, n = {estimate['n']})"


def _with_n(estimate: Estimate) -> str:
    cell = table_cell(estimate)
    return cell if "n = " in cell else f"{cell}, n = {estimate['n']}"


def distrust(card: Card | None) -> list[str]:
    """Where the measured numbers say that an answer should not be believed."""
    lines = []
    sensitivity = (((card or {}).get("answers") or {}).get("fused") or {}).get("per_class", {})
    weak = [
        f"{PRIMARY_NAMES[p]} ({share_words(e)})"
        for p, e in sensitivity.get("sensitivity", {}).items()
        if e["value"] is not None and e["value"] < 0.25
    ]
    if weak:
        lines.append(f"Hardly ever recognised: {', '.join(weak)}.")
    small = [
        r for r in ((card or {}).get("segmentation") or {}).get("detection", [])
        if r["sensitivity"]["value"] is not None and r["sensitivity"]["value"] < 0.9
    ]  # fmt: skip
    if small:
        lines.append(
            "Lesions are missed: "
            + "; ".join(f"{size_words(r)}, found {share_words(r['sensitivity'])}" for r in small)
            + "."
        )
    mimics = ((card or {}).get("segmentation_test") or {}).get("mimics") or {}
    mistaken = [
        f"{MIMICS.get(name, name).lower()} ({share_words(share)})"
        for name, share in mimics.items()
        if share["value"] is not None and share["value"] >= 0.25
    ]
    if mistaken:
        lines.append(f"Taken for metastases: {', '.join(mistaken)}.")
    lines.append("Any primary other than the six gets a wrong answer.")
    lines.append("Treated metastases, follow-up and other tumours: not meant for them.")
    return lines


def _images_add(difference: Card | None) -> str:
    """Whether the images add to the clinical record, by the one rule (``stats.verdict``)."""
    found = of_differences(difference or {})
    words = {
        BETTER: "The images add to the clinical record.",
        WORSE: "The images make the answer worse than the clinical record alone.",
        NOT_SHOWN: "It is not shown that the images add anything to the clinical record.",
    }
    if found is None:
        return "Whether the images add to the clinical record was not measured."
    return words[found]


def _whole(card: Card) -> Card | None:
    """The segmentation with all sequences, where it was measured."""
    part = ((card.get("segmentation") or {}).get("subsets") or {}).get("all")
    return part if part and part["regions"] else None


# --- finding lesions ------------------------------------------------------------------------------


def draw_segmentation(card: Card) -> None:
    found = card.get("segmentation")
    whole = _whole(card)
    if not found or not whole:
        st.info(NO_SEGMENTATION)
        return
    seconds = whole["seconds"]["value"]
    st.caption(
        f"Cases with reference masks: {found['cases']}, without a lesion: "
        f"{found['cases_without_lesion']}; lesions: {found['lesions']}. Value (95 % interval). "
        f"About {seconds:.0f} s per case ({', '.join(found['hardware'])})."
    )
    if found["left_out"]:
        st.warning(f"Cases that could not be measured and are left out: {len(found['left_out'])}.")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Which lesions are found", anchor=False)
        rows = found["detection"]
        chart(charts.detection(rows, [size_words(r) for r in rows]), "detection")
    with right:
        st.subheader("The price of finding more", anchor=False)
        chart(charts.froc(found["froc"], CURVES), "froc")
    st.subheader("How well they are outlined", anchor=False)
    rows = [
        {"Region": REGIONS[r], **{v: table_cell(n.get(k)) for k, v in REGION_COLUMNS.items()}}
        for r, n in whole["regions"].items()
    ]
    draw_table(rows)
    surfaces = CONVENTIONS.get(
        found["scoring"].get("surfaces", "voxels"), "surfaces not known here"
    )
    st.caption(
        f"Surface Dice: share of the outline within {found['scoring']['tolerance_mm']:g} mm. "
        f"It and HD95 on {surfaces}. "
        "Lesion-wise: as in BraTS-METS 2023, a missed and a false lesion each count Dice 0 and "
        "374 mm."
    )
    st.subheader("With fewer sequences", anchor=False)
    draw_table(_subset_rows(found))
    if found.get("goals"):
        draw_goals("Goals set before measuring", found["goals"])
    draw_new_cases(card.get("segmentation_test"))


def draw_new_cases(found: Card | None) -> None:
    """What the net marked in cases that were drawn for this and read once."""
    if not found:
        return
    st.subheader("On new cases, read once", anchor=False)
    groups = found["groups"]
    count = sum(group["False lesions a case"]["n"] for group in groups.values())
    st.caption(f"{count} synthetic cases, on which nothing was chosen. Value (95 % interval).")
    measures = dict.fromkeys(measure for group in groups.values() for measure in group)
    rows = [
        {
            "": measure,
            **{name.capitalize(): table_cell(g.get(measure)) for name, g in groups.items()},
        }
        for measure in measures
    ]
    draw_table(rows)
    mimics = [
        {
            "Enhances, but is no metastasis": MIMICS.get(name, name),
            "Marked as one": table_cell(share),
            "Cases": str(share["n"]),
        }
        for name, share in found["mimics"].items()
    ]
    draw_table(mimics)


def draw_goals(heading: str, rows: Sequence[Card]) -> None:
    """What was aimed at, what was found, and whether it was met."""
    st.subheader(heading, anchor=False)
    goals = [
        {
            "Goal": row["goal"][:1].upper() + row["goal"][1:],
            "Found": table_cell(row["found"], 3),  # 0.746 misses 0.75
            "Met": "yes" if row["met"] else "no",
        }
        for row in rows
    ]
    draw_table(goals)


def _subset_rows(found: Card) -> list[dict[str, str]]:
    rows = []
    for name, part in found["subsets"].items():
        change = (found["differences"].get(name) or {}).get("TC") or {}
        row = {"Sequences": SUBSETS.get(name, name), "Cases": str(part["cases"])}
        for region, words in REGIONS.items():
            row[f"Dice, {words.lower()}"] = table_cell(
                (part["regions"].get(region) or {}).get("dice")
            )
        rows.append(row | {"Change, tumour core": table_cell(change.get("dice"))})
    return rows


# --- for whom, and what the parts are worth -------------------------------------------------------


def draw_subgroups(card: Card) -> None:
    answers = {
        "fused_accuracy": "Right, fused",
        "clinical_accuracy": "Right, clinical",
        "fused_macro_auc": "AUC, fused",
        "clinical_macro_auc": "AUC, clinical",
    }
    masks = {
        "dice": "Dice, tumour core",
        "lesion_dice": "Lesion-wise Dice",
        "sensitivity": "Lesions found",
        "false_per_case": "False lesions per case",
    }
    segmentation = card.get("segmentation") or {}
    drawn = _group_tables("Naming the primary", card.get("subgroups"), answers, card.get("minimum"))
    drawn |= _group_tables(
        "Finding lesions", segmentation.get("subgroups"), masks, segmentation.get("minimum")
    )
    if not drawn:
        st.info("This card holds no numbers for parts of the patients.")


def _group_tables(
    heading: str, tables: Card | None, columns: Mapping[str, str], minimum: int | None
) -> bool:
    if not tables:
        return False
    st.subheader(heading, anchor=False)
    st.caption(f"Value (95 % interval). Groups of fewer than {minimum} patients get no number.")
    places = st.columns(2, gap="large")
    for place, (title, rows) in enumerate(tables.items()):
        body = []
        for row in rows:
            numbers = row["numbers"] or {}
            cells = {v: table_cell(numbers.get(k)) for k, v in columns.items()}
            if not row["numbers"]:
                cells[next(iter(cells))] = row["words"]
            body.append({title: row["name"], "Patients": row["n"], **cells})
        with places[place % 2]:
            draw_table(body)
    return True


def draw_use(card: Card | None, limits: Sequence[str]) -> None:
    """Intended use and limits; ``limits`` stand where there is no card."""
    left, right = st.columns(2, gap="large")
    with left:
        for title, key in (("Meant for", "intended_use"), ("Not meant for", "not_for")):
            if card and card.get(key):
                st.subheader(title, anchor=False)
                st.markdown("\n".join(f"- {s}" for s in card[key]))
        st.subheader("What they cannot do", anchor=False)
        st.markdown("\n".join(f"- {s}" for s in limits))
    with right:
        st.subheader("How to read the numbers", anchor=False)
        if card and card.get("limits"):
            st.markdown("\n".join(f"- {s}" for s in card["limits"]))
        else:
            st.info(NO_CARD)


def draw_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows at once; where there is little room, headings and cells wrap, and nothing is cut."""
    shown = [{escaped(k): escaped(_unbroken(str(v))) for k, v in row.items()} for row in rows]
    st.table(pd.DataFrame(shown), hide_index=True, border="horizontal")


def chart(figure: Any, key: str) -> None:
    st.plotly_chart(figure, key=f"chart {key}", config={"displayModeBar": False})


def _unbroken(cell: str) -> str:
    """An interval in brackets stays on one line."""
    return re.sub(r"\(([^()]*)\)", lambda m: m[0].replace(" ", "\u00a0"), cell)
