"""What the cells of a clinical table mean: words, numbers with their units, and codes.

A code is read by a legend: one that stands in the heading, one that the user gives, or that of a
published data set. Without one it is asked for, never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from bmcore.domain import Primary

Word = str | bool | Primary | None

MISSING = {
    "", "na", "n/a", "#n/a", "n.a.", "<na>", "nan", "none", "null", "unknown", "unk", "missing",
    "-", "--", "–", "—", ".", "?", "not available", "not known", "not recorded", "not reported",
    "nd",
}  # fmt: skip
# Where a word is asked for, these may mean "nothing there" as well as "nothing known".
TWO_MEANINGS = {"none", "-", "--", "–", "—", "null", "nil"}
SEX: Mapping[str, Word] = {
    **dict.fromkeys((
        "m", "male", "man", "masculine", "männlich", "mann", "homme", "hombre", "varón", "varon",
        "maschio", "uomo", "masculino", "homem", "mężczyzna", "muž", "mand", "erkek", "мужской",
        "мужчина", "男", "男性", "♂",
    ), "male"),
    **dict.fromkeys((
        "f", "female", "woman", "w", "weiblich", "frau", "femme", "mujer", "femmina", "donna",
        "femenino", "feminino", "mulher", "kobieta", "žena", "vrouw", "kvinna", "kvinde", "kvinne",
        "kadın", "женский", "женщина", "女", "女性", "♀",
    ), "female"),
}  # fmt: skip
YES_NO: Mapping[str, Word] = {
    **dict.fromkeys((
        "no", "n", "false", "absent", "negative", "neg", "nein", "non", "não", "nie", "nee", "nej",
        "nem", "hayır", "нет",
    ), False),
    **dict.fromkeys((
        "yes", "y", "true", "present", "positive", "pos", "ja", "j", "oui", "si", "sí", "sì",
        "sim", "tak", "ano", "igen", "evet", "да",
    ), True),
}  # fmt: skip
# Letters that say nothing of the other letters of a column: neither, not known.
NEITHER = {"sex": {"d", "x", "u", "o", "i"}, "extracranial_metastases": {"u"}}
SMOKING: Mapping[str, Word] = {
    **dict.fromkeys((
        "never", "never smoker", "non smoker", "nonsmoker", "never smoked", "nichtraucher",
        "nieraucher", "non fumeur", "jamais", "nunca", "no fumador", "mai", "non fumatore",
    ), "never"),
    **dict.fromkeys((
        "former", "former smoker", "ex", "ex smoker", "past", "previous", "quit", "exraucher",
        "ex raucher", "ehemaliger raucher", "ehemals", "ex fumeur", "ancien fumeur", "sevré",
        "exfumador", "ex fumador", "ex fumatore",
    ), "former"),
    **dict.fromkeys((
        "current", "current smoker", "active", "active smoker", "aktiver raucher", "aktiv",
        "fumeur actif", "actif", "fumador activo", "fumatore attivo",
    ), "current"),
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
    **dict.fromkeys((
        "breast ca", "breast carcinoma", "mammakarzinom", "mamma ca", "mamma", "brustkrebs",
        "brust", "sein", "mama", "seno", "borst", "borstkanker", "tnbc", "cancer du sein",
        "cáncer de mama", "invasive ductal carcinoma", "mammary carcinoma",
    ), Primary.BREAST),
    **dict.fromkeys((
        "colorectal", "colorectal cancer", "colorectal carcinoma", "crc", "colon", "colon cancer",
        "rectal", "rectal cancer", "rectal adenocarcinoma", "gastric", "gastric cancer", "stomach",
        "esophageal", "esophageal cancer", "oesophageal", "oesophageal cancer", "kolonkarzinom",
        "kolorektales karzinom", "magenkarzinom", "rektumkarzinom", "ösophaguskarzinom",
    ), Primary.GI),
    **dict.fromkeys((
        "small cell lung carcinoma", "kleinzelliges lungenkarzinom",
    ), Primary.SCLC),
    **dict.fromkeys((
        "malignant melanoma", "cutaneous melanoma", "melanom", "malignes melanom", "mélanome",
        "melanoma maligno", "melanoom",
    ), Primary.MELANOMA),
    **dict.fromkeys((
        "lung adenocarcinoma", "adenocarcinoma of the lung", "non small cell lung carcinoma",
        "squamous cell lung carcinoma", "lung squamous cell carcinoma", "lung (nsclc)",
        "nicht kleinzelliges lungenkarzinom", "nichtkleinzelliges lungenkarzinom",
        "adenokarzinom der lunge",
    ), Primary.NSCLC),
    **dict.fromkeys((
        "clear cell rcc", "clear cell renal cell carcinoma", "ccrcc", "nierenzellkarzinom",
        "kidney cancer", "renal cancer", "renal carcinoma", "cancer du rein",
        "carcinome rénal", "carcinoma renal",
    ), Primary.RCC),
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

_CODE = re.compile(r"([+-]?)0*(\d{1,3})(?:[.,]0+)?")
_SHORT = {  # months, weeks and days as DICOM writes ages: "018M", "052W"
    "m": 12.0, "w": 52.1775, "d": 365.2425,
}  # fmt: skip
_YEARS = {
    "y", "yr", "yrs", "year", "years", "j", "jahr", "jahre", "jahren", "an", "ans", "année",
    "années", "año", "años", "anno", "anni", "ano", "anos", "jaar", "år", "lat", "let", "roky",
    "лет", "歳", "岁",
}  # fmt: skip
_PER_YEAR = {
    **dict.fromkeys(_YEARS, 1.0),
    **dict.fromkeys((
        "mo", "mos", "mon", "mth", "mths", "month", "months", "monat", "monate", "monaten", "mois",
        "mes", "meses", "mese", "mesi", "mês", "maand", "maanden", "måned", "måneder", "månad",
        "månader", "miesiąc", "miesiące", "miesięcy", "měsíc", "měsíce", "měsíců", "месяц",
        "месяца", "месяцев",
    ), 12.0),
    **dict.fromkeys((
        "wk", "wks", "week", "weeks", "woche", "wochen", "semaine", "semaines", "semana",
        "semanas", "settimana", "settimane", "weken", "uger", "veckor", "tygodnie", "týdny",
    ), 52.1775),
    **dict.fromkeys((
        "day", "days", "tag", "tage", "tagen", "jour", "jours", "día", "días", "dia", "dias",
        "giorno", "giorni", "dag", "dagen", "dage", "dagar", "dni", "дней",
    ), 365.2425),
}  # fmt: skip
# When a value was taken, as headings say it; it changes nothing in how it is read.
WHEN = (
    r"(?:(?:(?:at|on) (?:the )?(?:time of (?:the )?)?"
    r"(?:(?:first|initial|index|baseline|brain|bm|mets|metastas[ei]s|cerebral|cranial) )*"
    r"(?:diagnosis|dx|mri|mr|ct|scan|scanning|imaging|study|exam(?:ination)?|surgery|treatment"
    r"|radiosurgery|srs|baseline|inclusion|enrol?lment|presentation|admission))"
    r"|bei (?:diagnose(?:stellung)?|untersuchung|mrt|einschluss)|au diagnostic|al diagnóstico"
    r"|alla diagnosi|baseline)"
)
_AGE_NOTE = (
    rf"(?:(?:age )?(?:in |en )?(?:completed |full |whole )?(?P<unit>{'|'.join(_PER_YEAR)})\.?"
    rf"(?: old| of age)?(?: {WHEN})?|{WHEN}|(?:of (?:the )?)?patient|diagnosis|dx|mri|scan|imaging)"
)
_PACK_NOTE = rf"(?:pack years|packyears|pack yrs|py|number|total|lifetime|cumulative|{WHEN})"
_PACKS = {"py", "pack years", "pack year", "packyears"} | _YEARS
ADULT_YEARS = 18.0


def tidy(text: str) -> str:
    """A text with signs of one width, single blanks, and nothing that cannot be seen."""
    seen = "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"
    )
    return re.sub(r"\s+", " ", seen).strip()


def plain_word(text: str) -> str:
    """A cell as the tables of words above write it."""
    return re.sub(r"[\s_-]+", " ", text.lower()).strip() or text.strip()


@lru_cache(maxsize=4096)
def code_key(text: str) -> str:
    """A cell as a key of a legend: 01, 1.0 and 1 are one code, -1 is another; words as above."""
    text = tidy(text).replace("\u2212", "-")
    number = _CODE.fullmatch(text)
    return f"{number[1]}{int(number[2])}" if number else plain_word(text)


def is_code(text: str) -> bool:
    text = text.strip()
    return text in ("+", "-") or _CODE.fullmatch(text) is not None


def meaning(name: str, text: str) -> Word:
    """The value of a word of field ``name``; KeyError where the word is not known."""
    return WORDS[name][plain_word(text)]


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
    units = _PER_YEAR | _SHORT
    if not match or (match[2] and match[2] not in units):
        return Number(None)
    if match[2] in _SHORT and not re.fullmatch(r"\d{3}[MWD]", text.strip()):
        return Number(None)  # 61M may be a man of 61
    number = float(match[1].replace(",", "."))
    own = units[match[2]] if match[2] else per_year or 1.0
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


def unit_of(note: str) -> float | None:
    """How many of the unit in a heading's note make a year; 1.0 without a unit. None where any
    part of the note is not understood, or two units are named."""
    units = set()
    for part in _parts(note):
        found = re.fullmatch(_AGE_NOTE, part)
        if not found:
            return None
        units |= {_PER_YEAR[found["unit"]]} if found["unit"] else set()
    return None if len(units) > 1 else units.pop() if units else 1.0


def of_pack_years(note: str, named: bool = False) -> bool:
    """Whether a heading's note leaves its numbers pack-years; named: it says so itself."""
    if named and not any(part.replace(" ", "") in ("packyears", "packyrs", "py")
                         for part in _parts(note)):  # fmt: skip
        return False
    return all(re.fullmatch(_PACK_NOTE, part) for part in _parts(note))


def is_unit(word: str) -> bool:
    """Whether a word names a unit of age in full: not "m", which may be many things."""
    return len(word) > 1 and word in _PER_YEAR


def _parts(note: str) -> list[str]:
    return [plain_word(part) for part in re.split(r"[,;|/]", tidy(note)) if part.strip()]
