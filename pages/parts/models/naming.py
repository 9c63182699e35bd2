"""How well the models name the primary: answers side by side, each primary, what would help."""

from __future__ import annotations

import streamlit as st

from bmcore.domain import PRIMARY_NAMES
from pages.parts.case.charts import SHORT_PRIMARIES
from pages.parts.models import charts
from pages.parts.models.card import ANSWERS, INFORMED, Card, chart, draw_goals, draw_table
from pages.parts.models.metrics import table_cell


def draw_answers(card: Card) -> None:
    """The answers side by side, then one of them in detail."""
    answers = card.get("answers")
    if not answers:
        st.info("How well these models name the primary was not measured.")
        return
    st.caption(
        f"{card['patients']} patients, each answered by models that had not seen them. Dot: value; "
        "line: 95 % interval. The clinical answer is the floor that images must beat."
    )
    measures = {
        "accuracy": "Right answers",
        "balanced_accuracy": "Right, each primary<br>counts the same",
        "macro_auc": "Discrimination (AUC):<br>0.5 guessing, 1 perfect",
        "log_loss": "Log loss:<br>lower is better",
    }
    kinds = [k for k in ANSWERS if k in answers]
    panels = [(words, [answers[k].get(m) for k in kinds]) for m, words in measures.items()]
    chart(
        charts.intervals(
            panels, [ANSWERS[k] for k in kinds], [charts.COLOURS[k] for k in kinds], {2: 0.5}
        ),
        "answers",
    )
    st.markdown("\n".join(f"- {sentence}" for sentence in card.get("verdicts", [])))
    _new_patients(card.get("test"))
    kind = st.segmented_control(
        "Look closer at", list(INFORMED), format_func=INFORMED.__getitem__, default="fused",
        key="card answer",
    ) or "fused"  # fmt: skip
    left, right = st.columns(2, gap="large")
    names = [SHORT_PRIMARIES[p] for p in PRIMARY_NAMES]
    with left:
        st.subheader("Confusion matrix", anchor=False)
        even = answers[kind].get("balanced_confusion")
        balanced = even is not None and st.toggle(
            "Balanced decision: all primaries as if equally common", key="card balanced"
        )
        shown = even if balanced else answers[kind]["confusion"]
        chart(charts.confusion(shown, names), "confusion")
    with right:
        st.subheader("Can the percentages be believed?", anchor=False)
        chart(charts.reliability(answers[kind]["reliability"], charts.COLOURS[kind]), "reliable")
        st.caption(
            "On the dotted line they can. Below it the model is too sure. Mean gap: "
            f"{table_cell(answers[kind].get('calibration_error'))}."
        )
    st.subheader("Each primary", anchor=False)
    _per_class(answers[kind]["per_class"], _more_columns(card, kind))
    if answers[kind].get("top_2"):
        first = {w: table_cell(answers[kind].get(f"top_{w}")) for w in (2, 3)}
        st.caption(f"The true one is among the first two: {first[2]}; first three: {first[3]}.")
    _decision(card, kind)


def _new_patients(test: Card | None) -> None:
    """What the finished models said of patients that were drawn for this and read once."""
    if not test:
        return
    draw_goals("On new patients, read once", test["targets"])
    st.caption(
        f"{test['patients']} patients on whom nothing was chosen, with the lesions as the "
        f"segmentation net marks them. {test['verdict']}"
    )


def _more_columns(card: Card, kind: str) -> dict[str, Card]:
    """What else is known of each primary: heading -> primary -> estimate."""
    said = card["answers"][kind]
    points, even = said.get("operating_points") or {}, said.get("balanced_decision") or {}
    sets = ((card.get("sets") or {}).get(kind) or {}).get("coverage_per_primary")
    columns = {
        "Found, balanced decision": even.get("sensitivity"),
        "Sensitivity at specificity .90": points.get("sensitivity_at_specificity_90"),
        "Specificity at sensitivity .90": points.get("specificity_at_sensitivity_90"),
        "In the 90 % set": sets,
    }
    return {heading: column for heading, column in columns.items() if column}


def _per_class(per_class: Card, more: dict[str, Card]) -> None:
    columns = {
        "sensitivity": "Found (sensitivity)",
        "specificity": "Others left alone (specificity)",
        "ppv": "Right when named (PPV)",
        "npv": "Right when not named (NPV)",
        "f1": "F1",
        "auc": "AUC",
    }
    shown = {k: v for k, v in columns.items() if k in per_class}
    rows = [
        {
            "Primary": word,
            **{v: table_cell(per_class[k][p]) for k, v in shown.items()},
            **{heading: table_cell(column[str(p)]) for heading, column in more.items()},
        }
        for p, word in PRIMARY_NAMES.items()
    ]
    draw_table(rows)


def _decision(card: Card, kind: str) -> None:
    st.subheader("Would acting on it do more good than harm?", anchor=False)
    found = card.get("decision")
    if not found:
        st.info("This card holds no decision curves.")
        return
    counts = card.get("primaries") or {}
    commonest = max(counts, key=lambda p: counts[p]) if counts else next(iter(PRIMARY_NAMES))
    options = [str(p) for p in PRIMARY_NAMES]
    primary = st.selectbox(
        "Primary", options, index=options.index(commonest), key="card decision",
        format_func=lambda p: PRIMARY_NAMES[p], width=320,
    )  # fmt: skip
    curves = {k: c[primary] for k, c in found["answers"].items()}
    chart(charts.decision(found["thresholds"], curves, INFORMED, kind), "decision")
    st.caption(
        "Net benefit: right actions minus wrong ones, a wrong one weighed by the probability from "
        "which one would act. A curve is of use where it lies above both acting on all and acting "
        f"on nobody (0). Band: 95 % interval of the {INFORMED[kind].lower()} answer."
    )


def draw_ablations(card: Card) -> None:
    """What more patients, the code size and each part of the training are worth."""
    _learning(card)
    reductions = card.get("reductions")
    if reductions:
        st.subheader("Short code of the image features: does it help?", anchor=False)
        names = [_code_words(row["reduction"]) for row in reductions]
        measures = {
            "image_macro_auc": "Image only: AUC",
            "fused_macro_auc": "Fused: AUC",
            "image_log_loss": "Image only: log loss",
            "fused_log_loss": "Fused: log loss",
        }
        panels = [(words, [r.get(k) for r in reductions]) for k, words in measures.items()]
        chart(charts.intervals(panels, names, [charts.COLOURS["fused"]] * len(names)), "codes")
        draw_table(
            [
                {"Code": n, **{v: table_cell(r.get(k)) for k, v in measures.items()}}
                for n, r in zip(names, reductions, strict=True)
            ]
        )
    table = card.get("ablation")
    if table:
        st.subheader(table["title"], anchor=False)
        rows = [{k: table_cell(v) for k, v in row.items()} for row in table["rows"]]
        draw_table(rows)
        for note in table["notes"]:
            st.caption(note)
    if not reductions and not table and not card.get("learning_curves"):
        st.info("This card does not compare ways of training.")


def _code_words(reduction: str) -> str:
    """``autoencoder, 8`` -> ``Autoencoder, 8 numbers``."""
    kind, _, size = reduction.partition(", ")
    name = {"pca": "PCA", "autoencoder": "Autoencoder", "no reduction": "All features"}.get(
        kind, kind
    )
    return f"{name}, {size} numbers" if size else name


def _learning(card: Card) -> None:
    found = card.get("learning_curves")
    if not found or not found["sizes"]:
        return
    st.subheader("What more patients would bring", anchor=False)
    drawn = found.get("drawn", list(found["curves"]))  # older cards draw all of them
    curves = {words: found["curves"][words] for words in drawn}
    chart(charts.learning(curves, found["public_set"]), "learning")
    st.caption(
        f"Macro AUC of the patients left over, of {found['patients']}; mean over "
        f"{found['repeats']} draws. Dotted line: the number of patients in the public set. "
        + (f"Not reached yet: {', '.join(str(n) for n in found['not_reached'])} patients. "
           if found["not_reached"] else "")
        + "The net that reads the lesions is the same in all."
    )  # fmt: skip
    rows = [
        {"What is learnt from": words, **{f"n = {p['n']}": table_cell(p) for p in points}}
        for words, points in found["curves"].items()
    ]
    draw_table(rows)
