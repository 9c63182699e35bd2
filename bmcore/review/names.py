"""Names of people and cases: how they are compared, which would be taken for one another.

Letters that look alike follow Unicode's confusables (UTS 39) for small letters of Latin, Cyrillic
and Greek, the alphabets that are mixed up in practice.
"""

from __future__ import annotations

import re
import unicodedata

_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_ALIKE = str.maketrans(
    {
        **dict(zip("авекмнорстухѕіјһԛԝԁѵ", "abekmhopctyxsijhqwdv", strict=True)),
        **dict(zip("αβεζηικμνορτυχωϲϳ", "abezhikmvoptuxwcj", strict=True)),
    }
)

# Without a shape of their own: fillers, variation selectors and the like, which Unicode counts
# among letters, marks and symbols.
_SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def tidy(name: str) -> str:
    """Single spaces, and no characters that cannot be seen (zero-width, direction marks)."""
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return " ".join(visible.split())


def key(name: str) -> str:
    """What makes a name one person's: without regard to case, spaces and ways of writing."""
    return unicodedata.normalize("NFKC", tidy(name)).casefold()


def as_seen(text: str) -> str:
    """The same for texts that are seen as the same, "" where nothing is seen.

    Ways of writing (NFC, NFD, full width), blanks and unseen characters make no difference;
    capitals do.
    """
    return unicodedata.normalize("NFKC", tidy(_SHAPELESS.sub("", text)))


def mixed_alphabets(name: str) -> tuple[str, ...]:
    """The alphabets of a name that holds letters of more than one; empty if of one alone."""
    found = {
        alphabet.capitalize()
        for character in unicodedata.normalize("NFKC", name)
        if character.isalpha()
        for alphabet in _ALPHABETS
        if unicodedata.name(character, "").startswith(alphabet)
    }
    return tuple(sorted(found)) if len(found) > 1 else ()


def look(name: str) -> str:
    """The same text for names that look alike, in whatever alphabet they are typed."""
    return key(name).translate(_ALIKE)
