"""What the tags on contrast agent say: that it was given, that it was not, or neither for sure.

Scanners and people write anything into them: a trade name, "NO", "kein KM", a volume of 0, a code.
Text is read by the rule that reads names of series. Only a known agent, a yes or a volume counts as
given; what is not understood is no statement, and is asked unless the name of the series speaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from bmcore.intake import contrast_said
from bmcore.intake import contrast_words as words
from bmcore.intake.contrast_words import Words
from bmcore.intake.sequence_name import split_words


class Said(Enum):
    GIVEN = "given"
    NOT_GIVEN = "not given"
    NOTHING = "nothing"
    UNCLEAR = "unclear"


_DOSE = re.compile(
    r"(?<![\d.,])(\d+(?:[.,]\d+)?)\s*(ml|cc|ccm|cm3|m?mol|[µμu]mol|mg|g|мл|ммоль|毫升)(?![^\W\d_])",
    re.IGNORECASE,
)
_ZERO = re.compile(r"(?<![\w.,])0+(?:[.,]0+)?(?![\w.,])")
_UNITS = frozenset(("ml", "cc", "ccm", "mmol", "mol", "mg", "g", "kg", "l"))
_AGENT = Words("gad* gd*")  # here, whatever is made of gadolinium
_YES = Words(words.plain(
    "yes y true ja j oui si sim tak да так evet igen ναι ano kylla da あり 有り 有 是 使用 예 있음 "
    "نعم"
))  # fmt: skip
_NO = Words(words.plain(
    "n o f nc ei ne nu nem null keins brak οχι ni ні لا 無 无 無し 无し なし 否 未 未使用 没有 "
    "沒有 いいえ 없음 아니오 아니요 미사용"
))  # fmt: skip
# Known neither way, or not for this examination.
_OPEN = Words(
    "unk unknown unbekannt* inconnu* descono* sconosc* onbekend* nieznan* неизвестн* na nd maybe "
    "allerg* plan* geplant* order* ggf evtl optional* possib* moglich* requested "
    "docum* dokum* record* specif* enter* available data info*"
)
_NO_CONTRAST = Words("nacl saline sodium koch* physiol* buscopan butylsco* glucagon* wasser water")


@lru_cache(maxsize=2048)
def said(text: str) -> Said:
    """What one value of ContrastBolusAgent, or of a tag like it, says."""
    plain = split_words(text)
    if not plain or "".join(plain) in ("na", "nanda") or text.strip().lower() == "n/a":
        return Said.NOTHING
    plain = [w for w in plain if w not in _UNITS and not w.isdigit()]
    told = ["gd" if word in _AGENT else word for word in plain]
    signs, denials = contrast_said.read(["t1", *told])
    doses = [float(number.replace(",", ".")) for number, _ in _DOSE.findall(text)]
    dosed = any(dose > 0 for dose in doses)
    zero = not dosed and (0 in doses or _ZERO.search(text) is not None)
    no = bool(denials) or zero or _denies(told)
    yes = dosed or (bool(signs) and not zero)
    yes = yes or (not no and any(word in _YES or word in words.GIVEN for word in told))
    if "?" in text or any(word in _OPEN for word in told):
        return Said.NOTHING if all(word in _OPEN for word in told) else Said.UNCLEAR
    if yes == no or (not signs and any(word in _NO_CONTRAST for word in told)):
        return Said.UNCLEAR
    return Said.GIVEN if yes else Said.NOT_GIVEN


def _denies(told: Sequence[str]) -> bool:
    """Whether a word says no; a short one only where nothing else stands beside it."""
    for word in told:
        long = len(word) > 2 and word not in words.NEAR
        if long and (word in words.NO or word in words.NONE or word in words.LAST or word in _NO):
            return True
        if word in words.FAR or word in words.NATIVE or word in words.PRE:
            return True
    return bool(told) and all(word in _NO for word in told)


def told(texts: Iterable[str], amounts: Iterable[float]) -> dict[str, bool]:
    """ContrastAgent of one file: True where it was given, False where not, absent where nothing is
    said; ContrastAgentUnclear where that cannot be told. amounts: volume and dose."""
    found = {said(text) for text in texts}
    found |= {Said.GIVEN if amount > 0 else Said.NOT_GIVEN for amount in amounts}
    given, refused = Said.GIVEN in found, Said.NOT_GIVEN in found
    if (given and refused) or (Said.UNCLEAR in found and not given):
        return {"ContrastAgentUnclear": True}
    return {"ContrastAgent": given} if given or refused else {}


def of_image(values: Mapping[str, Any]) -> bool | None:
    """Whether one image is after contrast agent by its tags; None where they do not say.

    What the frame of an enhanced file says of itself wins over what the file names.
    """
    frame = str(values.get("ContrastBolusAgentAdministered", "")).upper()
    if frame in ("YES", "NO"):
        return frame == "YES"
    own = values.get("ContrastAgent")
    return None if own is None else bool(own)
