"""What the models are, on what they were trained, how good they are, and where not to trust."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import streamlit as st

from bmcore.models.manifest import PARTS
from bmcore.settings import settings
from pages.parts import loaders
from pages.parts.access.guard import page
from pages.parts.models import card as model_card
from pages.parts.models import naming as naming_card
from pages.parts.models.metrics import in_words, metric_rows
from pages.parts.words import escaped, when

PART_WORDS = {
    "segmenter": ("Segmentation net", "Marks necrosis, oedema and enhancing tumour in the images."),
    "cnn": ("Lesion net", "Turns a 48 mm cube around each lesion into image features."),
    "trees": ("Trees", "Weigh the measurements of the lesions together: more image features."),
    "autoencoder": ("Autoencoder", "Reduces the image features to a short code."),
    "clinical_mlr": ("Clinical answer", "Regression on the clinical record alone."),
    "image_mlr": ("Image answer", "Regression on the image code alone."),
    "fused_mlr": ("Fused answer", "Regression on the clinical record and the image code."),
    "uncertainty": (
        "Uncertainty",
        "Prediction sets; how unlike the training cases images are.",
    ),
    "spread": ("Spread", "How far the answers move with other training patients."),
}
LIMITS = [
    "Research software. Not a medical device, and not for decisions about a patient.",
    "Six primaries are known: breast, gastrointestinal, small cell lung, melanoma, non-small cell "
    "lung, renal cell. Any other primary gets a wrong answer.",
    "Not for primary brain tumours, treated metastases or follow-up examinations.",
    "The images must be brain MRI on one grid, T1 post-gadolinium among them.",
    "Compare an image answer with the clinical one: where it is not better, the images add "
    "nothing.",
    "A percentage is a model's output. It is not the chance of this patient.",
]
SYNTHETIC = (
    "These are demo models. They have seen synthetic brains only, never a patient's images, so "
    "their answers on real images mean nothing. They are here to show how the dashboard works."
)
TABS = (
    "Naming the primary",
    "Finding lesions",
    "For whom",
    "What helps",
    "Use and limits",
    "Parts",
)


def draw_glance(manifest: dict[str, Any], card: model_card.Card | None) -> None:
    """What, on what trained, how good, where not to trust: four short columns."""
    what, seen, good, distrust = st.columns(4, gap="medium", border=True)
    with what:
        st.markdown("**What they are**")
        st.markdown(
            "A net that marks brain metastases in MRI, and three answers that name one of six "
            "primaries: from the clinical record, from the images, from both."
        )
        st.text(f"{manifest['name']} {manifest['version']}")
    with seen:
        st.markdown("**Trained on**")
        st.text(_sentence(_plain(manifest["trained_on"])) or "It is not stated on what.")
        if manifest["notes"]:
            st.text(manifest["notes"])
    with good:
        st.markdown("**How good**")
        st.markdown("\n".join(f"- {line}" for line in model_card.how_good(card)))
    with distrust:
        st.markdown("**Where not to trust them**")
        st.markdown("\n".join(f"- {line}" for line in model_card.distrust(card)))


_LOOKS = {"CLINIC": "ordinary", "WILD": "varied"}  # the generator's names for how scans look


def _plain(text: str) -> str:
    """What the models were trained on, without the generator's own words for how it paints."""
    text = text.replace(", painted anew for each patch", "")
    for name, look in _LOOKS.items():
        text = text.replace(f" of the style {name}", f" of {look} looks")
    return text.replace(" of the styles CLINIC and WILD", " of ordinary and varied looks")


def _sentence(text: str) -> str:
    """Begins with a capital and ends with a full stop."""
    text = text.strip()
    return text and text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def draw_part(name: str, entry: dict[str, Any]) -> None:
    title, purpose = PART_WORDS.get(name, (name, ""))
    with st.expander(f"{escaped(title)}: {purpose}" if purpose else escaped(title)):
        rows = metric_rows(entry["metrics"])
        if rows:
            st.markdown("**Measured**")
            model_card.draw_table(rows)
        else:
            st.caption("No measurement is stored with this part.")
        left, right = st.columns(2)
        left.markdown("**Training**")
        left.json(entry["training"], expanded=1)
        right.markdown("**Configuration**")
        right.json(entry["config"], expanded=1)
        st.caption(escaped(f"File {entry['file']}, sha256 {entry['sha256']}"))


def draw_comparison(parts: dict[str, Any]) -> None:
    """Without a card: what is stored with the three answers themselves."""
    columns = {
        PART_WORDS[part][0]: {row["What"]: row for row in metric_rows(parts[part]["metrics"])}
        for part in ("clinical_mlr", "image_mlr", "fused_mlr")
        if part in parts and parts[part]["metrics"]
    }
    if not columns:
        return
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [
        {"What": name, **{t: in_words(c[name]) if name in c else "" for t, c in columns.items()}}
        for name in names
    ]
    model_card.draw_table(rows)
    st.caption("Value (95 % interval), n. The clinical answer is the floor that images must beat.")


def draw_parts(manifest: dict[str, Any]) -> None:
    made = manifest["created"] or "unfinished"
    with suppress(ValueError):  # another's date is shown as it stands
        made = when(datetime.fromisoformat(made))
    facts = {
        "Made": made,
        "Digest": loaders.bundle().info.digest[:16],
    }
    for words, value in facts.items():
        st.text(f"{words}: {value}")
    for part, entry in manifest["parts"].items():
        draw_part(part, entry)
    absent = [PART_WORDS[p][0] for p in PARTS if p not in manifest["parts"]]
    if absent:
        st.info(f"Not in this bundle: {', '.join(absent)}. What needs them gives no answer.")
    with st.expander("Packages, seeds and training times"):
        st.json({k: manifest[k] for k in ("packages", "seeds", "timings_s")}, expanded=2)


def draw(manifest: dict[str, Any], card: model_card.Card | None) -> None:
    if manifest["synthetic"]:
        st.warning(SYNTHETIC)
    draw_glance(manifest, card)
    naming, finding, whom, helps, use, parts = st.tabs(TABS)
    with naming:
        if card:
            naming_card.draw_answers(card)
        else:
            st.info(model_card.NO_CARD)
            draw_comparison(manifest["parts"])
    sections = (
        (finding, model_card.draw_segmentation),
        (whom, model_card.draw_subgroups),
        (helps, naming_card.draw_ablations),
    )
    for place, section in sections:
        with place:
            if card:
                section(card)
            else:
                st.info(model_card.NO_CARD)
    with use:
        model_card.draw_use(card, LIMITS)
    with parts:
        draw_parts(manifest)


with page("Models", "models.see"):
    st.header("Models", anchor=False)
    problem = loaders.models().problem
    if problem:
        st.warning("No usable models are installed. Cases can be read and voted on without them.")
        st.text(problem)
    else:
        draw(loaders.bundle().manifest, model_card.read(settings().bundle))
