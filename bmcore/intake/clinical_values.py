"""What the cells of a clinical table mean: words, numbers with their units, and codes.

A code is read by a legend: one that stands in the heading, one that the user gives, or that of a
published data set. Without one it is asked for, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bmcore.domain import Primary, refuse

Word = str | bool | Primary | None

MISSING = {
    "", "na", "n/a", "#n/a", "n.a.", "<na>", "nan", "none", "null", "unknown", "unk", "missing",
    "-", "--", ".", "?", "not available", "not known", "not recorded", "not reported", "nd",
}  # fmt: skip
# Where a word is asked for, these may mean "nothing there" as well as "nothing known".
TWO_MEANINGS = {"none", "-", "--", "null", "nil", "0.0"}
SEX: Mapping[str, Word] = {
    "m": "male", "male": "male", "man": "male", "masculine": "male", "männlich": "male",
    "homme": "male", "hombre": "male", "maschio": "male", "masculino": "male",
    "f": "female", "female": "female", "woman": "female", "w": "female", "weiblich": "female",
    "femme": "female", "mujer": "female", "femmina": "female", "femenino": "female",
    "feminino": "female",
}  # fmt: skip
YES_NO: Mapping[str, Word] = {
    "no": False, "n": False, "false": False, "absent": False, "negative": False, "nein": False,
    "non": False, "yes": True, "y": True, "true": True, "present": True, "positive": True,
    "ja": True, "oui": True, "si": True, "sí": True, "sì": True, "sim": True,
}  # fmt: skip
SMOKING: Mapping[str, Word] = {
    "never": "never", "never smoker": "never", "non smoker": "never", "nonsmoker": "never",
    "never smoked": "never", "former": "former", "former smoker": "former", "ex": "former",
    "ex smoker": "former", "past": "former", "previous": "former", "quit": "former",
    "current": "current", "current smoker": "current", "active": "current",
    "active smoker": "current",
}  # fmt: skip
PRIMARY: Mapping[str, Word] = {
    "other": None,
    "breast": Primary.BREAST, "breast cancer": Primary.BREAST,
    "gi": Primary.GI, "gastrointestinal": Primary.GI, "gastrointestinal cancer": Primary.GI,
    "sclc": Primary.SCLC, "small cell lung": Primary.SCLC, "small cell lung cancer": Primary.SCLC,
    "melanoma": Primary.MELANOMA, "skin melanoma": Primary.MELANOMA,
    "nsclc": Primary.NSCLC, "non small cell lung": Primary.NSCLC,
    "non small cell lung cancer": Primary.NSCLC,
    "rcc": Primary.RCC, "renal": Primary.RCC, "renal cell": Primary.RCC, "kidney": Primary.RCC,
    "renal cell carcinoma": Primary.RCC, "renal cell cancer": Primary.RCC,
}  # fmt: skip
WORDS: Mapping[str, Mapping[str, Word]] = {
    "sex": SEX,
    "smoking": SMOKING,
    "extracranial_metastases": YES_NO,
    "primary": PRIMARY,
}
# Codes of Pretreat-MetsToBrain-Masks. The coding of smoking is not published; it is said so.
YALE_CODES: Mapping[str, Mapping[str, Word]] = {
    "sex": {"0": "male", "1": "female"},
    "extracranial_metastases": {"0": False, "1": True},
    "primary": {
        "1": Primary.BREAST, "2": Primary.GI, "3": Primary.SCLC, "4": Primary.MELANOMA,
        "5": Primary.NSCLC, "6": Primary.RCC, "7": None,
    },
}  # fmt: skip
NO_YES: Mapping[str, Word] = {"0": False, "1": True}

_CODE = re.compile(r"[+-]?\d{1,3}|\+|-")
_PAIR = re.compile(r"([^\s=:,;/()\[\]]+)\s*(?:=|:)\s*([^,;/()\[\]=]+?)(?=\s*(?:[,;/]|$|\s\S+\s*=))")
_YEARS = {"y", "yr", "yrs", "year", "years", "jahre", "ans", "años", "anni", "anos"}
_PER_YEAR = {
    **dict.fromkeys(_YEARS, 1.0),
    **dict.fromkeys(("m", "mo", "mos", "month", "months", "monate", "mois", "meses", "mesi"), 12.0),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks", "wochen"), 52.1775),
    **dict.fromkeys(("d", "day", "days", "tage"), 365.2425),
}
_PACKS = {"py", "pack years", "pack year", "packyears"} | _YEARS
ADULT_YEARS = 18.0


def plain_word(text: str) -> str:
    """A cell as the tables of words above write it."""
    return re.sub(r"[\s_-]+", " ", text.lower()).strip() or text.strip()


def is_code(text: str) -> bool:
    return _CODE.fullmatch(text.strip()) is not None


def meaning(name: str, text: str) -> Word:
    """The value of a word of field ``name``; KeyError where the word is not known."""
    return WORDS[name][plain_word(text)]


def legend_of(name: str, pairs: Mapping[str, str]) -> dict[str, Word] | None:
    """Code -> value, by the meanings in ``pairs``; None where one of them is not understood.

    A meaning such as "unknown" makes the code a missing value.
    """
    found: dict[str, Word] = {}
    for code, word in pairs.items():
        if plain_word(word) in MISSING | {"not known", "unknown"}:
            found[code] = None
            continue
        try:
            found[code] = meaning(name, word)
        except KeyError:
            return None
    return found


def pairs_in(text: str) -> dict[str, str]:
    """The pairs of a legend such as "0 = yes, 1 = no", codes and words in either order."""
    found = {}
    for first, second in _PAIR.findall(text):
        first, second = first.strip(), second.strip()
        if is_code(second) and not is_code(first):
            first, second = second, first
        found[first] = second
    return found


def parse_legends(texts: Iterable[str]) -> dict[str, dict[str, Word]]:
    """Legends as typed, "sex: 1=male, 2=female" -> field -> code -> value. InputRefused."""
    found = {}
    for text in texts:
        name, _, rest = text.partition(":")
        field = {"extracranial": "extracranial_metastases"}.get(name.strip(), name.strip())
        legend = legend_of(field, pairs_in(rest)) if field in WORDS else None
        if not legend:
            raise refuse(
                "the legend is not understood",
                found=text[:80],
                expected="for instance 'sex: 1=male, 2=female'; fields " + ", ".join(WORDS),
            )
        found[field] = legend
    return found


@dataclass(frozen=True)
class Number:
    """value: None where the text is none. note: how it was read, where that is worth saying."""

    value: float | None
    note: str | None = None


def age_years(text: str, per_year: float | None) -> Number:
    """An age in years. per_year: how many of the heading's unit make a year; None where it is not
    said (years). ``>89`` and ``90+`` count as 90, as records that hide higher ages write them;
    ``061Y`` and ``018M`` are ages of DICOM."""
    plain = text.strip().lower()
    open_end = re.fullmatch(r"(?:[>≥]=?\s*(\d+)|(\d+)\s*\+)\s*(?:y|yrs?|years?)?", plain)
    if open_end:
        edge = float(open_end[1] or open_end[2])
        strict = plain.startswith(">") and not plain.startswith(">=")
        if 85 <= edge <= 100 and per_year in (None, 1.0):
            value = edge + 1 if strict else edge
            return Number(value, f"'{text}' was read as {value:.0f}")
        return Number(None)
    match = re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*([^\W\d]*)", plain)
    if not match or (match[2] and match[2] not in _PER_YEAR):
        return Number(None)
    number = float(match[1].replace(",", "."))
    own = _PER_YEAR[match[2]] if match[2] else per_year or 1.0
    value = number / own
    if not 0 <= value <= 120:
        return Number(None)
    return Number(value, None if own == 1.0 else f"'{text}' was read as {value:.1f} years")


def pack_years(text: str) -> Number:
    """A number of pack-years; a comma before exactly three digits may part thousands, so it is
    not read."""
    match = re.fullmatch(r"(\d+(?:[.,]\d+)?)\s*(.*)", text.strip().lower())
    if not match or (match[2] and plain_word(match[2]) not in _PACKS):
        return Number(None)
    if re.fullmatch(r"\d+,\d{3}", match[1]):
        return Number(None)
    value = float(match[1].replace(",", "."))
    return Number(value if value <= 300 else None)


def unit_of(note: str) -> float | bool | None:
    """How many of the unit in a heading's note make a year; None without a unit; False where it
    cannot be told."""
    words = re.findall(r"[^\W\d_]+", note.lower())
    units = {_PER_YEAR[w] for w in words if w in _PER_YEAR and len(w) > 1}
    if len(units) > 1:
        return False
    if units:
        return units.pop()
    if re.search(r"decade|quarter|hour|minute|group|category|class|z.?score|norm", note.lower()):
        return False
    return None
