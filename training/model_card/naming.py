"""How the models name the primary, in the model card's Markdown."""

from __future__ import annotations

from training.model_card.tables import WORDS, Card, bullets, cell, goals, section, subgroups, table

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


def naming_lines(card: Card) -> list[str]:
    """The answers side by side and in detail, from the card's JSON."""
    counts = ", ".join(f"{WORDS.get(k, k)} {n}" for k, n in card["primaries"].items())
    intro = [
        f"{card['patients']} patients in {card['folds']} folds, by patient: {counts}.",
        "Trees, autoencoder, penalty, temperature and regression are learnt inside the fold; the "
        "CNN's scores come from the net that has not seen the patient. Brackets: 95 % interval, "
        f"patients resampled, over {card.get('repeats', 1)} cross-validations dealt anew.",
    ]
    rows = [[ANSWER_WORDS[kind], *(cell(numbers[key]) for key in NUMBERS)]
            for kind, numbers in card["answers"].items()]  # fmt: skip
    lines = _test(card["test"]) if card.get("test") else []
    lines += section("The answers side by side", [
        *intro, "", *table(["Answer", *NUMBERS.values()], rows), "", *bullets(card["verdicts"]),
    ])  # fmt: skip
    if card.get("tests"):
        lines += section("Tests on the same patients", _tests(card["tests"]), 3)
    fused = card["answers"]["fused"]
    rows = [[word, *(cell(fused["per_class"][key][c]) for key in PER_CLASS)]
            for c, word in WORDS.items()]  # fmt: skip
    lines += section("Each primary, fused answer", table(["Primary", *PER_CLASS.values()], rows))
    lines += _decisions(card, fused)
    rows = [[word, *(str(int(n)) for n in line)]
            for word, line in zip(WORDS.values(), fused["confusion"], strict=True)]  # fmt: skip
    lines += section("Who was taken for whom, fused answer",
                      table(["Truth, then the answer", *WORDS.values()], rows))  # fmt: skip
    rows = [[f"{r['low']:.0%} to {r['high']:.0%}", str(r["n"]), cell(r["confidence"]),
             cell(r["accuracy"])] for r in fused["reliability"] if r["n"]]  # fmt: skip
    head = ["Highest probability", "Patients", "Mean of it", "Share that was right"]
    lines += section("Can the percentages be believed? Fused answer", table(head, rows))
    if card.get("decision"):
        lines += section("Decision curves, fused answer", _decision(card["decision"]))
    if card.get("subgroups"):
        columns = {"fused_accuracy": "Fused, accuracy", "clinical_accuracy": "Clinical, accuracy",
                   "fused_macro_auc": "Fused, macro AUC",
                   "clinical_macro_auc": "Clinical, macro AUC"}  # fmt: skip
        lines += subgroups(card["subgroups"], columns, card["minimum"])
    columns = {
        "image_macro_auc": "Image only, macro AUC",
        "image_log_loss": "Image only, log loss",
        "fused_macro_auc": "Fused, macro AUC",
        "fused_log_loss": "Fused, log loss",
        "image_auc_gain": "Image only, AUC against no reduction",
        "fused_auc_gain": "Fused, AUC against no reduction",
    }
    rows = [[row["reduction"], *(cell(row.get(c)) for c in columns)] for row in card["reductions"]]
    if card.get("learning_curves"):
        lines += _learning(card["learning_curves"])
    if card.get("predicted_masks"):
        lines += _predicted(card["predicted_masks"])
    if card.get("start_naming"):
        lines += _beside_the_start(card["start_naming"])
    return lines + section("Does the autoencoder help?", table(["Code", *columns.values()], rows))


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
    return table(head, rows)


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
    return [words, "", *table(head, rows)]


def _decisions(card: Card, fused: Card) -> list[str]:
    """Points of work, the balanced decision and the coverage of the sets, each primary."""
    if not fused.get("operating_points"):
        return []
    points, even = fused["operating_points"], fused["balanced_decision"]
    sets = ((card.get("sets") or {}).get("fused") or {}).get("coverage_per_primary") or {}
    columns = {
        "Sensitivity at specificity .90": points["sensitivity_at_specificity_90"],
        "Specificity at sensitivity .90": points["specificity_at_sensitivity_90"],
        "Sensitivity, balanced decision": even["sensitivity"],
        "Specificity, balanced decision": even["specificity"],
        "In the 90 % set": sets,
    }
    rows = [[word, *(cell(column.get(c)) for column in columns.values())]
            for c, word in WORDS.items()]  # fmt: skip
    first = (
        f"The true primary is among the first two named in {cell(fused['top_2'])}, among the first "
        f"three in {cell(fused['top_3'])}. Balanced decision: the largest likelihood ratio, as if "
        "all primaries were equally common."
    )
    return section("Decisions, fused answer", [*table(["Primary", *columns], rows), "", first])


def _learning(found: Card) -> list[str]:
    if not found["sizes"]:
        return section("What more patients would bring", ["Too few patients to tell."])
    rows = [
        [words, *(cell(point) for point in points)] for words, points in found["curves"].items()
    ]
    body = table(["Learnt from", *(f"n = {n}" for n in found["sizes"])], rows)
    missing = ", ".join(str(n) for n in found["not_reached"])
    notes = [f"{found['method']}; {found['patients']} patients, {found['repeats']} draws.",
             f"The public set has about {found['public_set']} such patients."]  # fmt: skip
    if missing:
        notes.append(f"Not reached yet: {missing} patients.")
    return section("What more patients would bring", [*body, "", *bullets(notes)])


def _predicted(found: Card) -> list[str]:
    """The answers on the masks of nets that have not seen the patient, as use will bring them."""
    title = "With the masks of nets that have not seen the patient"
    if not found["answers"]:
        return section(title, [found["note"]])
    columns = {
        "reference_macro_auc": "Macro AUC, reference masks",
        "predicted_macro_auc": "Macro AUC, predicted masks",
        "lost_macro_auc": "Lost, paired",
        "predicted_log_loss": "Log loss, predicted masks",
    }
    rows = [[ANSWER_WORDS[kind], *(cell(row[c], 3) for c in columns)]
            for kind, row in found["answers"].items()]  # fmt: skip
    words = (
        f"{found['patients']} patients in whom the net finds a lesion; the same cross-validation, "
        "intervals by person."
    )
    return section(title, [words, "", *table(["Answer", *columns.values()], rows)])


def _beside_the_start(found: Card) -> list[str]:
    """The naming learnt here and that of the bundle it began from, on the same patients."""
    title = "Beside the bundle that training began from"
    if not found["answers"]:
        return section(title, [f"Not compared: {found['why']}."])
    columns = {
        "own_macro_auc": "Macro AUC, this bundle",
        "start_macro_auc": "Macro AUC, begun from",
        "macro_auc": "Difference, paired",
        "log_loss": "Log loss, difference",
    }
    rows = [[ANSWER_WORDS[kind], *(cell(row[c], 3) for c in columns), row["verdict"]]
            for kind, row in found["answers"].items()]  # fmt: skip
    words = (
        f"{found['patients']} patients in whom the net finds a lesion, named by {found['start']} "
        "as it is and by the cross-validation of this bundle, which learns from fewer patients "
        "than the bundle itself; intervals by person."
    )
    head = ["Answer", *columns.values(), "This bundle is"]
    return section(title, [words, "", *table(head, rows)])


def _test(found: Card) -> list[str]:
    body = [f"{found['patients']} new synthetic patients, read once, masks from the segmentation "
            "net.", "", *goals(found["targets"]), "",
            *bullets([found["verdict"]])]  # fmt: skip
    return section("New patients, the shipped models", body)
