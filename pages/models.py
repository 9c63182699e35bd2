"""What the models are: parts, training data, measured quality, limits."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages.parts import loaders
from pages.parts.guard import page
from pages.parts.metrics import in_words, metric_rows

PART_WORDS = {
    "segmenter": ("Segmentation net", "Marks necrosis, oedema and enhancing tumour in the images."),
    "cnn": ("Lesion net", "Turns a 48 mm cube around each lesion into image features."),
    "autoencoder": ("Autoencoder", "Reduces the image features to a short code."),
    "clinical_mlr": ("Clinical answer", "Regression on the clinical record alone."),
    "image_mlr": ("Image answer", "Regression on the image code alone."),
    "fused_mlr": ("Fused answer", "Regression on the clinical record and the image code."),
}
LIMITS = [
    "Research software. Not a medical device, and not for decisions about a patient.",
    "Six primaries are known: breast, gastrointestinal, small cell lung, melanoma, non-small cell "
    "lung, renal cell. Any other primary gets a wrong answer.",
    "Not for primary brain tumours, treated metastases or follow-up examinations.",
    "The images must be brain MRI on one grid, T1 post-gadolinium among them.",
    "Read an image answer beside the clinical one: where it is not better, the images add nothing.",
    "A percentage is a model's output. It is not the chance of this patient.",
]
SYNTHETIC = (
    "These are demo models. They have seen synthetic brains only, never a patient's images, so "
    "their answers on real images mean nothing. They are here to show how the dashboard works."
)


def draw_part(name: str, entry: dict[str, Any]) -> None:
    title, purpose = PART_WORDS.get(name, (name, ""))
    with st.expander(f"{title}: {purpose}"):
        rows = metric_rows(entry["metrics"])
        if rows:
            st.markdown("**Measured**")
            st.dataframe(pd.DataFrame(rows), hide_index=True)
        else:
            st.caption("No measurement is stored with this part.")
        left, right = st.columns(2)
        left.markdown("**Training**")
        left.json(entry["training"], expanded=1)
        right.markdown("**Configuration**")
        right.json(entry["config"], expanded=1)
        st.caption(f"File {entry['file']}, sha256 {entry['sha256']}")


def draw_comparison(parts: dict[str, Any]) -> None:
    """The three answers side by side, on the patients that were held out in training."""
    columns = {
        PART_WORDS[part][0]: {row["What"]: row for row in metric_rows(parts[part]["metrics"])}
        for part in ("clinical_mlr", "image_mlr", "fused_mlr")
        if part in parts and parts[part]["metrics"]
    }
    if not columns:
        return
    st.subheader("How good the three answers were in testing", anchor=False)
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    table = {"What": names}
    for title, column in columns.items():
        table[title] = [in_words(column[name]) if name in column else "" for name in names]
    st.dataframe(pd.DataFrame(table), hide_index=True)
    st.caption("Value (95 % interval), n. The clinical answer is the floor that images must beat.")


def draw_manifest(manifest: dict[str, Any]) -> None:
    facts = {
        "Name": f"{manifest['name']} {manifest['version']}",
        "Trained on": manifest["trained_on"],
        "Data": "synthetic" if manifest["synthetic"] else "patients",
        "Made": manifest["created"] or "unfinished",
        "Digest": loaders.bundle().info.digest[:16],
    }
    for words, value in facts.items():
        st.text(f"{words}: {value}")
    if manifest["notes"]:
        st.text(manifest["notes"])


with page("Models"):
    st.header("Models", anchor=False)
    problem = loaders.models().problem
    if problem:
        st.warning("No usable models are installed. Cases can be read and voted on without them.")
        st.text(problem)
    else:
        manifest = loaders.bundle().manifest
        if manifest["synthetic"]:
            st.warning(SYNTHETIC)
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader("What they are", anchor=False)
            draw_manifest(manifest)
        with right:
            st.subheader("What they cannot do", anchor=False)
            st.markdown("\n".join(f"- {limit}" for limit in LIMITS))
        draw_comparison(manifest["parts"])
        st.subheader("Parts", anchor=False)
        for part, entry in manifest["parts"].items():
            draw_part(part, entry)
        with st.expander("Packages, seeds and training times"):
            st.json(
                {k: manifest[k] for k in ("packages", "seeds", "timings_s")},
                expanded=2,
            )
