"""The model card: what the evaluation found, in words and in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmcore.domain import RESEARCH_NOTICE
from training.common import write_json, write_text

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
LIMITS = (
    "The image answers are measured with the reference masks. In use, the lesions come from the "
    "segmentation net, and its errors add to those shown here.",
    "The nets of the evaluation saw about 60 % of the patients, the shipped net all of them. The "
    "numbers describe the way of training rather than the shipped weights.",
    "A test patient's answer is the mean over several nets, while one net answers in use; the mean "
    "may do a little better.",
    "Folds differ a little in their shares of the primaries, so an answer without any information "
    "can come out somewhat below an AUC of 0.50.",
    "A patient without any lesion has no image answer and is not in these tables.",
)


def write_card(
    out: Path, result: Mapping[str, Any], manifest: Mapping[str, Any], names: Mapping[Any, str]
) -> None:
    """Write OUT/model_card.json and OUT/model_card.md."""
    trained = {
        part: {k: entry["training"].get(k) for k in ("patients", "seconds", "hardware", "seed")}
        for part, entry in manifest["parts"].items()
    }
    words = {str(k): v for k, v in names.items()}
    card = {"notice": RESEARCH_NOTICE, **result, "limits": list(LIMITS), "parts": trained}
    write_json(out / "model_card.json", card)
    write_text(out / "model_card.md", "\n".join(_lines(result, manifest, words)) + "\n")


def _lines(
    result: Mapping[str, Any], manifest: Mapping[str, Any], words: Mapping[str, str]
) -> list[str]:
    counts = ", ".join(f"{words[k]} {n}" for k, n in result["primaries"].items())
    return [
        "# Model card",
        "",
        RESEARCH_NOTICE,
        "",
        f"{result['patients']} patients in {result['folds']} folds, by patient: {counts}.",
        "Everything that is learnt (standardisation, CNN, autoencoder, penalty, temperature, "
        "regression) is learnt inside the fold. Brackets: 95 % interval, patients resampled.",
        "",
        "## The answers side by side",
        "",
        *_answers(result),
        "",
        *(f"- {sentence}" for sentence in result["verdicts"]),
        "",
        "## Each primary, fused answer",
        "",
        *_per_class(result["answers"]["fused"]["per_class"], words),
        "",
        "## Who was taken for whom, fused answer",
        "",
        *_confusion(result["answers"]["fused"]["confusion"], words),
        "",
        "## Does the autoencoder help?",
        "",
        *_reductions(result["reductions"]),
        "",
        "## How the parts were trained",
        "",
        *_parts(manifest),
        "",
        "## Limits",
        "",
        *(f"- {sentence}" for sentence in LIMITS),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cell(estimate: Any) -> str:
    text = estimate.text()
    return text.rsplit(", n =", 1)[0]


def _answers(result: Mapping[str, Any]) -> list[str]:
    rows = [
        [ANSWER_WORDS[kind], *(_cell(numbers[key]) for key in NUMBERS)]
        for kind, numbers in result["answers"].items()
    ]
    return _table(["Answer", *NUMBERS.values()], rows)


def _per_class(per_class: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    columns = {
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "ppv": "PPV",
        "npv": "NPV",
        "auc": "AUC",
    }
    rows = [[word, *(_cell(per_class[c][key]) for c in columns)] for key, word in words.items()]
    return _table(["Primary", *columns.values()], rows)


def _confusion(table: Any, words: Mapping[str, str]) -> list[str]:
    rows = [
        [word, *(str(int(n)) for n in line)]
        for word, line in zip(words.values(), table, strict=True)
    ]
    return _table(["Truth, then the answer", *words.values()], rows)


def _reductions(rows: list[dict[str, Any]]) -> list[str]:
    columns = {
        "image_macro_auc": "Image only, macro AUC",
        "image_log_loss": "Image only, log loss",
        "fused_macro_auc": "Fused, macro AUC",
        "fused_log_loss": "Fused, log loss",
    }
    body = [[row["reduction"], *(_cell(row[c]) for c in columns)] for row in rows]
    return _table(["Code", *columns.values()], body)


def _parts(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    for part, entry in manifest["parts"].items():
        training = entry["training"]
        facts = [
            f"{key.replace('_', ' ')}: {training[key]}"
            for key in ("hardware", "seconds", "epochs", "steps", "seed", "regularisation")
            if key in training
        ]
        lines.append(f"- {part}: {'; '.join(facts)}.")
        for name, words in training.get("augmentation", {}).items():
            lines.append(f"  - augmentation, {name}: {words}")
    return lines
