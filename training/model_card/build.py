"""What the model card says, as plain data, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmcore.domain import RESEARCH_NOTICE, refuse
from training.model_card.text import card_lines
from training.run.files import read_json, write_json, write_text

FORMAT = 2
INTENDED_USE = (
    "Research on brain metastases in MRI: to mark metastases, and to name the likelier of six "
    "primaries from images and clinical record, beside the answer of the clinical record alone.",
    "Input: one adult patient before treatment of the brain; T1 post-gadolinium, and T1, T2 and "
    "FLAIR where there are any, on one grid.",
    "Readers: radiologists and researchers who look at the images and decide for themselves.",
)
NOT_FOR = (
    "Decisions about a patient. This is not a medical device.",
    "Primaries other than the six, primary brain tumours, treated metastases, follow-up, children.",
    "Ruling out metastases: a case in which nothing is marked may still hold some.",
)
LIMITS = (
    "The image answers are measured with the reference masks. In use, the lesions come from the "
    "segmentation net, and its errors add to those shown here.",
    "Trees, autoencoder and regressions of the evaluation learnt from four fifths of the patients, "
    "the shipped ones from all of them; the CNN's scores come from the one net that has not seen "
    "the patient, while in use the codes of all nets are averaged, which may do a little better.",
    "The CNN's scores of the training patients come from nets that have seen labels of the test "
    "fold, the usual small optimism of stacking. What the shipped weights do on new patients is "
    "measured apart (training.evaluate_naming).",
    "The intervals hold the chance of the patients and of the cross-validation, dealt anew several "
    "times; the nets that read the lesions were trained once.",
    "Folds differ a little in their shares of the primaries, so an answer without any information "
    "can come out somewhat below an AUC of 0.50.",
    "A patient without any lesion has no image answer and is not in these tables.",
    "Many numbers are shown and none is corrected for that: a single interval that leaves out 0 by "
    "a little may be chance.",
    "The calibration error is biased upwards in small samples; where its interval lies above its "
    "value, read it as an upper bound.",
)
SEGMENTATION_LIMITS = (
    "That the segmentation net has not seen the cases it is measured on rests on the choice of the "
    "folder; the evaluation cannot check it.",
    "Detection counts a lesion as found when one predicted voxel touches it; how much of it was "
    "marked is told by the lesion-wise Dice.",
)
SYNTHETIC_LIMIT = (
    "All of it is synthetic, training and evaluation. The numbers say how well the models know the "
    "generator; on patients they may be much worse."
)


def build_card(out: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The card as plain data, or None where OUT holds no evaluation at all."""
    answers = _answers(out)
    segmentation = _optional(out / "segmentation.json")
    if not answers and segmentation is None:
        return None
    limits = list(LIMITS if answers else ())
    limits += SEGMENTATION_LIMITS if segmentation else ()
    if manifest.get("synthetic"):
        limits.insert(0, SYNTHETIC_LIMIT)
    known = ("name", "version", "created", "trained_on", "synthetic")
    return {
        "format": FORMAT,
        "notice": RESEARCH_NOTICE,
        "models": {k: manifest.get(k) for k in known},
        "intended_use": list(INTENDED_USE),
        "not_for": list(NOT_FOR),
        **answers,
        "segmentation": segmentation,
        "segmentation_test": _optional(out / "segmentation_test.json"),
        "ablation": ablation_table(out / "ablation.json"),
        "limits": limits,
        "parts": {part: _part(entry["training"]) for part, entry in manifest["parts"].items()},
    }


def _part(training: Mapping[str, Any]) -> dict[str, Any]:
    """What the card says of one part's training. A net that began with the weights of an earlier
    run has "runs", the first one first."""
    known = ("data", "patients", "seconds", "hardware", "seed", "steps", "epochs",
             "regularisation", "augmentation")  # fmt: skip
    part = {k: training.get(k) for k in known if k in training}
    runs = []
    while training.get("steps"):
        runs.append(
            {k: training.get(k) for k in ("steps", "batch", "patch", "seconds", "hardware")}
        )
        training = training.get("training_of_the_start") or {}
    return part | ({"runs": runs[::-1]} if len(runs) > 1 else {})


def rebuild_card(out: Path, bundle: Path | None = None) -> bool:
    """Write OUT/model_card.json and .md from what is there; False where there is no evaluation.

    The manifest is that of ``bundle``, else of OUT itself.
    """
    from bmcore.models.bundles import load_bundle

    card = build_card(out, load_bundle(bundle or out).manifest)
    if card is None:
        return False
    write_card(out, card)
    return True


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    write_json(folder / "model_card.json", card)
    plain = read_json(folder / "model_card.json")
    write_text(folder / "model_card.md", "\n".join(card_lines(plain)) + "\n")


def ablation_table(path: Path) -> dict[str, Any] | None:
    """The ablation: {"title", "rows": [{column: text, number or estimate}], "notes": [text]}.

    None where there is no file. A bare list of rows serves too. InputRefused for anything else.
    """
    content = _optional(path)
    if content is None:
        return None
    table = {"rows": content} if isinstance(content, list) else dict(content)
    rows = table.get("rows")
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise refuse(
            "the ablation table cannot be read",
            file=path,
            expected='{"title": "...", "rows": [{"Variant": "...", "Dice": 0.5}, ...]}',
        )
    notes = table.get("notes") or []
    return {
        "title": str(table.get("title") or "What each part of the training is worth"),
        "rows": rows,
        "notes": [notes] if isinstance(notes, str) else list(notes),
    }


def _answers(out: Path) -> dict[str, Any]:
    """The evaluation of the answers: from metrics.json, else from an earlier card in OUT."""
    metrics = _optional(out / "metrics.json") or {}
    if metrics.get("evaluate"):
        found = dict(metrics["evaluate"])
        sets = metrics.get("uncertainty") or {}
        found["sets"] = {
            kind: sets[kind] for kind in ("clinical", "image", "fused") if kind in sets
        }
        for name in ("learning_curves", "diagnosis", "predicted_masks", "start_naming"):
            if name in metrics:
                found[name] = metrics[name]
        test = _optional(out / "naming_test.json")
        return found | ({"test": test} if test else {})
    earlier = _optional(out / "model_card.json") or {}
    keep = ("patients", "folds", "primaries", "answers", "differences", "verdicts", "tests",
            "decision", "subgroups", "minimum", "reductions", "seconds", "data", "repeats", "sets",
            "learning_curves", "diagnosis", "predicted_masks", "start_naming", "test")  # fmt: skip
    return {k: earlier[k] for k in keep if k in earlier} if earlier.get("answers") else {}


def _optional(path: Path) -> Any:
    return read_json(path) if path.exists() else None
