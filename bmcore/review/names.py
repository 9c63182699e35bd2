"""Names of people: how they are compared, and which would be taken for one another.

Letters that look alike follow Unicode's confusables (UTS 39) for small letters of Latin, Cyrillic
and Greek, the alphabets that are mixed up in practice.
"""

from __future__ import annotations

import unicodedata

_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_ALIKE = str.maketrans(
    {
        **dict(zip("авекмнорстухѕіјһԛԝԁѵ", "abekmhopctyxsijhqwdv", strict=True)),
        **dict(zip("αβεζηικμνορτυχωϲϳ", "abezhikmvoptuxwcj", strict=True)),
    }
)


def tidy(name: str) -> str:
    """Single spaces, and no characters that cannot be seen (zero-width, direction marks)."""
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return " ".join(visible.split())


def key(name: str) -> str:
    """What makes a name one person's: without regard to case, spaces and ways of writing."""
    return unicodedata.normalize("NFKC", tidy(name)).casefold()


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
