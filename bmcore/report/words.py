"""Short names for tables and figures."""

SHORT = {
    "breast": "Breast",
    "gi": "GI",
    "sclc": "SCLC",
    "melanoma": "Melanoma",
    "nsclc": "NSCLC",
    "rcc": "Renal",
    "other": "Other",
    "cannot_tell": "Cannot tell",
}
