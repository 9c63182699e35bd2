"""The model card in Markdown, from the card's JSON alone, so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmcore.stats.surface_elements import CONVENTIONS
from training.model_card.naming import naming_lines
from training.model_card.tables import WORDS, Card, bullets, cell, goals, section, subgroups, table

REGION_NUMBERS = {
    "dice": "Dice",
    "nsd": "Surface Dice",
    "hd95_mm": "HD95 mean, mm",
    "hd95_median_mm": "HD95 median, mm",
    "volume_error_mm3": "Volume error, mm3",
    "volume_error_relative": "Volume error, share",
}
LESION_NUMBERS = {
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95_mm": "Lesion-wise HD95, mm",
    "sensitivity": "Lesions found",
    "false_per_case": "False lesions a case",
}
SUBSET_WORDS = {
    "all": "all sequences",
    "t1c": "T1 Gd alone",
    "t1c+t2f": "T1 Gd and FLAIR",
    "without t2w, t2f": "without T2 and FLAIR",
}
REGION_WORDS = {"ET": "Enhancing tumour", "TC": "Tumour core", "WT": "Whole tumour"}


def card_lines(card: Card) -> list[str]:
    """The whole card; a section whose results are not there is left out, and its absence said."""
    models = card.get("models") or {}
    lines = ["# Model card", "", card["notice"], ""]
    if models.get("name"):
        kind = "synthetic data only" if models.get("synthetic") else "patients"
        lines += [f"{models['name']} {models['version']}, trained on {kind}: "
                  f"{models.get('trained_on') or 'not stated'}.", ""]  # fmt: skip
    lines += section("Intended use", bullets(card.get("intended_use", [])))
    lines += section("Not for", bullets(card.get("not_for", [])))
    lines += section("Training data and training", _parts(card["parts"]))
    lines += (
        _segmentation(card["segmentation"])
        if card.get("segmentation")
        else section("Segmentation", ["Not measured on a cohort."])
    )
    if card.get("segmentation_test"):
        lines += _new_cases(card["segmentation_test"])
    lines += (
        naming_lines(card) if card.get("answers") else section("The answers", ["Not measured."])
    )
    if card.get("ablation"):
        lines += _ablation(card["ablation"])
    lines += section("Limits", bullets(card["limits"]))
    return lines[:-1]


def size_words(row: Mapping[str, Any]) -> str:
    """For instance "under 5 mm", "5 to under 10 mm", "20 mm or more"."""
    low, high = row["low_mm"], row["high_mm"]
    if high is None:
        return f"{low:g} mm or more"
    return f"under {high:g} mm" if low == 0 else f"{low:g} to under {high:g} mm"


def _segmentation(found: Card) -> list[str]:
    scoring = found["scoring"]
    cases = (
        f"Cases with reference masks: {found['cases']} ({found['data']}), "
        f"{found['cases_without_lesion']} of them without a lesion; lesions of the tumour core: "
        f"{found['lesions']}. Left out: {len(found['left_out'])}."
    )
    surfaces = CONVENTIONS[scoring.get("surfaces", "voxels")]
    rules = (
        f"Surface Dice at a tolerance of {scoring['tolerance_mm']:g} mm. "
        f"HD95 and surface Dice on {surfaces}. Lesion-wise as BraTS-METS "
        "2023: pieces within a dilation of 1 mm are one lesion, lesions under "
        f"{scoring['smallest_voxels']} voxels are left out, a missed and a false lesion each count "
        "Dice 0 and HD95 374 mm. Both masks empty: Dice 1, HD95 0; one empty: Dice 0, HD95 374 mm. "
        "Means over cases; brackets: 95 % interval, patients resampled."
    )
    whole = found["subsets"].get("all")
    lines = section("Segmentation", [cases, "", rules])
    if found.get("goals"):
        lines += section("Goals set before", goals(found["goals"]), 3)
    if whole and whole["regions"]:
        for title, columns in (
            ("Each region", REGION_NUMBERS),
            ("Lesion by lesion", LESION_NUMBERS),
        ):
            rows = [[REGION_WORDS[r], *(cell(n[c]) for c in columns)]
                    for r, n in whole["regions"].items()]  # fmt: skip
            lines += section(title, table(["Region", *columns.values()], rows), 3)
    lines += section("With fewer sequences", _subsets(found), 3)
    if found.get("detection"):
        rows = [
            [size_words(r), str(r["lesions"]), cell(r["sensitivity"]), cell(r["lesion_dice"]),
             str(r["false_lesions"]), cell(r["false_per_case"])]
            for r in found["detection"]
        ]  # fmt: skip
        head = [
            "Largest diameter",
            "Lesions",
            "Found",
            "Dice of the lesion",
            "False",
            "False a case",
        ]
        lines += section("Detection by size, tumour core", table(head, rows), 3)
    if found.get("froc"):
        body = [*_froc(found["froc"]), "", _operating(found["operating"])]
        lines += section("Found lesions for a price in false ones (FROC)", body, 3)
    if found.get("subgroups"):
        columns = {"dice": "Dice, tumour core", "lesion_dice": "Lesion-wise Dice, ET",
                   "sensitivity": "Lesions found", "false_per_case": "False a case"}  # fmt: skip
        lines += subgroups(found["subgroups"], columns, found["minimum"])
    if whole:
        words = ", ".join(found["hardware"])
        lines += [f"Time a case, images in memory to mask: {cell(whole['seconds'], 1)} s, median "
                  f"({words}).", ""]  # fmt: skip
    return lines


def _new_cases(found: Card) -> list[str]:
    """Synthetic cases that were drawn for this, read once: a column a group."""
    groups = found["groups"]
    measures = dict.fromkeys(measure for group in groups.values() for measure in group)
    rows = [[m, *(cell(group.get(m)) for group in groups.values())] for m in measures]
    count = sum(group["False lesions a case"]["n"] for group in groups.values())
    body = [f"{count} synthetic cases, on which nothing was chosen, read once.", "",
            *table(["", *groups], rows), "",
            *table(["What is no metastasis, yet enhances", "Marked as one"],
                   [[name, cell(share)] for name, share in found["mimics"].items()])]  # fmt: skip
    return section("Segmentation of new cases", body)


def _subsets(found: Card) -> list[str]:
    rows = []
    for name, part in found["subsets"].items():
        loss = (found["differences"].get(name) or {}).get("TC") or {}
        regions = part["regions"]
        rows.append([
            SUBSET_WORDS.get(name, name), str(part["cases"]),
            *(cell(regions[r]["dice"]) if regions else "" for r in ("ET", "TC", "WT")),
            cell(regions["ET"]["lesion_dice"]) if regions else "", cell(loss.get("dice")),
        ])  # fmt: skip
    head = ["Sequences", "Cases", "Dice ET", "Dice TC", "Dice WT", "Lesion-wise Dice ET",
            "Change of Dice TC, paired"]  # fmt: skip
    return table(head, rows)


def _froc(curves: Card) -> list[str]:
    rates = [row["false_per_case"] for row in next(iter(curves.values()))["at"]]
    rows = [
        [f"{c['score']} probability"
         + (f", lesions of {c['smallest_mm']:g} mm and more" if c["smallest_mm"] else ""),
         *(cell(row["sensitivity"]) for row in c["at"])]
        for c in curves.values()
    ]  # fmt: skip
    return table(["Score of a part", *(f"{r:g} false a case" for r in rates)], rows)


def _operating(at: Card) -> str:
    return (
        f"The mask itself, no threshold moved: {cell(at['sensitivity'])} of the lesions found, "
        f"{cell(at['sensitivity_from_5_mm'])} of those from 5 mm on, with "
        f"{cell(at['false_per_case'])} false lesions a case."
    )


def _ablation(found: Card) -> list[str]:
    columns = list(dict.fromkeys(key for row in found["rows"] for key in row))
    rows = [[cell(row.get(c), 3) for c in columns] for row in found["rows"]]
    notes = ["", *bullets(found["notes"])] if found["notes"] else []
    return section(found["title"], [*table(columns, rows), *notes])


def _parts(parts: Card) -> list[str]:
    lines = []
    for part, training in parts.items():
        facts = []
        for key, value in training.items():
            if value is None or key in ("augmentation", "runs"):
                continue
            if isinstance(value, Mapping):
                value = ", ".join(f"{WORDS.get(k, k)} {n}" for k, n in value.items())
            facts.append(f"{key.replace('_', ' ')}: {value}")
        lines.append(f"- {part.replace('_', ' ')}: {'; '.join(facts)}.")
        for number, run in enumerate(training.get("runs") or (), start=1):
            begun = f", from the weights of run {number - 1}" if number > 1 else ""
            patches = "1 patch" if run["batch"] == 1 else f"{run['batch']} patches"
            time = f", {run['seconds'] / 60:.1f} min" if run.get("seconds") else ""
            lines.append(
                f"  - run {number}{begun}: {run['steps']} steps of {patches} of {run['patch']} "
                f"voxels, {run['hardware']}{time}"
            )
        for name, words in (training.get("augmentation") or {}).items():
            lines.append(f"  - augmentation, {name}: {words}")
    return lines
