"""The model card in Markdown, from the card's JSON alone, so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmcore.domain import PRIMARY_NAMES

ANSWER_WORDS = {
    "trivial": "Trivial (shares of the primaries)",
    "clinical": "Clinical only",
    "image": "Image only",
    "fused": "Fused",
}
NUMBERS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_auc": "Macro AUC",
    "log_loss": "Log loss",
    "brier": "Brier",
    "calibration_error": "Calibration error",
}
PER_CLASS = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "auc": "AUC",
}
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
WORDS = {str(k): v for k, v in PRIMARY_NAMES.items()}

Card = Mapping[str, Any]


def card_lines(card: Card) -> list[str]:
    """The whole card; a section whose results are not there is left out, and its absence said."""
    models = card.get("models") or {}
    lines = ["# Model card", "", card["notice"], ""]
    if models.get("name"):
        kind = "synthetic data only" if models.get("synthetic") else "patients"
        lines += [f"{models['name']} {models['version']}, trained on {kind}: "
                  f"{models.get('trained_on') or 'not stated'}.", ""]  # fmt: skip
    lines += _section("Intended use", _bullets(card.get("intended_use", [])))
    lines += _section("Not for", _bullets(card.get("not_for", [])))
    lines += _section("Training data and training", _parts(card["parts"]))
    lines += (
        _segmentation(card["segmentation"])
        if card.get("segmentation")
        else _section("Segmentation", ["Not measured on a cohort."])
    )
    lines += _answers(card) if card.get("answers") else _section("The answers", ["Not measured."])
    if card.get("ablation"):
        lines += _ablation(card["ablation"])
    lines += _section("Limits", _bullets(card["limits"]))
    return lines[:-1]


def cell(estimate: Any, digits: int = 2) -> str:
    """``0.54 (0.47 to 0.62)`` from an estimate as JSON; "not defined" where it has no value."""
    if estimate is None:
        return ""
    if not isinstance(estimate, Mapping):
        return f"{estimate:.{digits}f}" if isinstance(estimate, float) else str(estimate)
    if estimate.get("value") is None:
        return "not defined"
    text = f"{estimate['value']:z.{digits}f}"
    if estimate.get("low") is None:
        return text
    return f"{text} ({estimate['low']:z.{digits}f} to {estimate['high']:z.{digits}f})"


def size_words(row: Mapping[str, Any]) -> str:
    """For instance "under 5 mm", "5 to under 10 mm", "20 mm or more"."""
    low, high = row["low_mm"], row["high_mm"]
    if high is None:
        return f"{low:g} mm or more"
    return f"under {high:g} mm" if low == 0 else f"{low:g} to under {high:g} mm"


def _section(title: str, body: Sequence[str], level: int = 2) -> list[str]:
    return [f"{'#' * level} {title}", "", *body, ""]


def _bullets(sentences: Sequence[str]) -> list[str]:
    return [f"- {sentence}" for sentence in sentences]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _segmentation(found: Card) -> list[str]:
    scoring = found["scoring"]
    cases = (
        f"Cases with reference masks: {found['cases']} ({found['data']}), "
        f"{found['cases_without_lesion']} of them without a lesion; lesions of the tumour core: "
        f"{found['lesions']}. Left out: {len(found['left_out'])}."
    )
    rules = (
        f"Surface Dice at a tolerance of {scoring['tolerance_mm']:g} mm. Lesion-wise as BraTS-METS "
        "2023: pieces within a dilation of 1 mm are one lesion, lesions under "
        f"{scoring['smallest_voxels']} voxels are left out, a missed and a false lesion each count "
        "Dice 0 and HD95 374 mm. Both masks empty: Dice 1, HD95 0; one empty: Dice 0, HD95 374 mm. "
        "Means over cases; brackets: 95 % interval, patients resampled."
    )
    whole = found["subsets"].get("all")
    lines = _section("Segmentation", [cases, "", rules])
    if found.get("goals"):
        rows = [
            [g["goal"], cell(g["found"], 3), "yes" if g["met"] else "no"]  # 0.746 misses 0.75
            for g in found["goals"]
        ]
        lines += _section("Goals set before", _table(["Goal", "Found", "Met"], rows), 3)
    if whole and whole["regions"]:
        for title, columns in (
            ("Each region", REGION_NUMBERS),
            ("Lesion by lesion", LESION_NUMBERS),
        ):
            rows = [[REGION_WORDS[r], *(cell(n[c]) for c in columns)]
                    for r, n in whole["regions"].items()]  # fmt: skip
            lines += _section(title, _table(["Region", *columns.values()], rows), 3)
    lines += _section("With fewer sequences", _subsets(found), 3)
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
        lines += _section("Detection by size, tumour core", _table(head, rows), 3)
    if found.get("froc"):
        body = [*_froc(found["froc"]), "", _operating(found["operating"])]
        lines += _section("Found lesions for a price in false ones (FROC)", body, 3)
    if found.get("subgroups"):
        columns = {"dice": "Dice, tumour core", "lesion_dice": "Lesion-wise Dice, ET",
                   "sensitivity": "Lesions found", "false_per_case": "False a case"}  # fmt: skip
        lines += _subgroups(found["subgroups"], columns, found["minimum"])
    if whole:
        words = ", ".join(found["hardware"])
        lines += [f"Time a case, images in memory to mask: {cell(whole['seconds'], 1)} s, median "
                  f"({words}).", ""]  # fmt: skip
    return lines


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
    return _table(head, rows)


def _froc(curves: Card) -> list[str]:
    rates = [row["false_per_case"] for row in next(iter(curves.values()))["at"]]
    rows = [
        [f"{c['score']} probability"
         + (f", lesions of {c['smallest_mm']:g} mm and more" if c["smallest_mm"] else ""),
         *(cell(row["sensitivity"]) for row in c["at"])]
        for c in curves.values()
    ]  # fmt: skip
    return _table(["Score of a part", *(f"{r:g} false a case" for r in rates)], rows)


def _operating(at: Card) -> str:
    return (
        f"The mask itself, no threshold moved: {cell(at['sensitivity'])} of the lesions found, "
        f"{cell(at['sensitivity_from_5_mm'])} of those from 5 mm on, with "
        f"{cell(at['false_per_case'])} false lesions a case."
    )


def _subgroups(tables: Card, columns: Mapping[str, str], minimum: int) -> list[str]:
    lines = []
    for title, rows in tables.items():
        body = [
            [r["name"], str(r["n"]),
             *([cell(r["numbers"][c]) for c in columns] if r["numbers"]
               else [r["words"], *[""] * (len(columns) - 1)])]
            for r in rows
        ]  # fmt: skip
        table = _table([title, "Patients", *columns.values()], body)
        lines += _section(f"By {title.lower()} (from {minimum} patients)", table, 3)
    return lines


def _answers(card: Card) -> list[str]:
    counts = ", ".join(f"{WORDS.get(k, k)} {n}" for k, n in card["primaries"].items())
    intro = [
        f"{card['patients']} patients in {card['folds']} folds, by patient: {counts}.",
        "Everything that is learnt (standardisation, CNN, autoencoder, penalty, temperature, "
        "regression) is learnt inside the fold. Brackets: 95 % interval, patients resampled.",
    ]
    rows = [[ANSWER_WORDS[kind], *(cell(numbers[key]) for key in NUMBERS)]
            for kind, numbers in card["answers"].items()]  # fmt: skip
    lines = _section("The answers side by side", [
        *intro, "", *_table(["Answer", *NUMBERS.values()], rows), "", *_bullets(card["verdicts"]),
    ])  # fmt: skip
    if card.get("tests"):
        lines += _section("Tests on the same patients", _tests(card["tests"]), 3)
    fused = card["answers"]["fused"]
    rows = [[word, *(cell(fused["per_class"][key][c]) for key in PER_CLASS)]
            for c, word in WORDS.items()]  # fmt: skip
    lines += _section("Each primary, fused answer", _table(["Primary", *PER_CLASS.values()], rows))
    rows = [[word, *(str(int(n)) for n in line)]
            for word, line in zip(WORDS.values(), fused["confusion"], strict=True)]  # fmt: skip
    lines += _section("Who was taken for whom, fused answer",
                      _table(["Truth, then the answer", *WORDS.values()], rows))  # fmt: skip
    rows = [[f"{r['low']:.0%} to {r['high']:.0%}", str(r["n"]), cell(r["confidence"]),
             cell(r["accuracy"])] for r in fused["reliability"] if r["n"]]  # fmt: skip
    head = ["Highest probability", "Patients", "Mean of it", "Share that was right"]
    lines += _section("Can the percentages be believed? Fused answer", _table(head, rows))
    if card.get("decision"):
        lines += _section("Decision curves, fused answer", _decision(card["decision"]))
    if card.get("subgroups"):
        columns = {"fused_accuracy": "Fused, accuracy", "clinical_accuracy": "Clinical, accuracy",
                   "fused_macro_auc": "Fused, macro AUC",
                   "clinical_macro_auc": "Clinical, macro AUC"}  # fmt: skip
        lines += _subgroups(card["subgroups"], columns, card["minimum"])
    columns = {
        "image_macro_auc": "Image only, macro AUC",
        "image_log_loss": "Image only, log loss",
        "fused_macro_auc": "Fused, macro AUC",
        "fused_log_loss": "Fused, log loss",
        "image_auc_gain": "Image only, AUC against no reduction",
        "fused_auc_gain": "Fused, AUC against no reduction",
    }
    rows = [[row["reduction"], *(cell(row.get(c)) for c in columns)] for row in card["reductions"]]
    return lines + _section("Does the autoencoder help?", _table(["Code", *columns.values()], rows))


def _tests(tests: Card) -> list[str]:
    def p(value: float | None) -> str:
        return "not defined" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"

    rows = [
        [name.replace("_minus_", " against "), cell(t["macro_auc_delong"]["difference"], 3),
         *(p(t[key]["p"]) for key in ("macro_auc_delong", "macro_auc_permutation",
                                      "log_loss_permutation", "accuracy_permutation"))]
        for name, t in tests.items()
    ]  # fmt: skip
    head = ["Pair", "Macro AUC, difference (DeLong)", "p, DeLong", "p, permutation",
            "p, log loss", "p, accuracy"]  # fmt: skip
    return _table(head, rows)


def _decision(found: Card) -> list[str]:
    """What the fused answer gains over the better of acting on all and on nobody."""
    shown = [i for i, t in enumerate(found["thresholds"]) if t in (0.1, 0.2, 0.3, 0.4, 0.5)]
    rows = []
    for primary, curve in found["answers"]["fused"].items():
        gains = [
            {"value": curve["gain_value"][i], "low": curve["gain_low"][i],
             "high": curve["gain_high"][i]} for i in shown
        ]  # fmt: skip
        rows.append([WORDS.get(primary, primary), *(cell(g, 3) for g in gains)])
    words = (
        "Net benefit (Vickers and Elkin 2006) of acting on a primary when its probability reaches "
        "the threshold, less that of the better of acting on all and on nobody. Above 0 the answer "
        "is of use there."
    )
    head = ["Primary", *(f"at {found['thresholds'][i]:.0%}" for i in shown)]
    return [words, "", *_table(head, rows)]


def _ablation(table: Card) -> list[str]:
    columns = list(dict.fromkeys(key for row in table["rows"] for key in row))
    rows = [[cell(row.get(c), 3) for c in columns] for row in table["rows"]]
    notes = ["", *_bullets(table["notes"])] if table["notes"] else []
    return _section(table["title"], [*_table(columns, rows), *notes])


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
