"""Words in names and descriptions that say: this brain was operated on or treated before.

The models know brains before any treatment. A name only suggests; what it says becomes a warning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from bmcore.domain import Finding, Severity

# What is said -> how names say it, on words parted by single spaces, in lower case, without
# accents. "Post" alone is contrast; "SRS" alone is a plan, made before the treatment.
_SAYS = {
    "an operation": (
        r"post ?op|post ?operat\w*|postchirurg\w*|post ?surg\w*|post ?craniotom\w*|post ?resekt\w*|"
        r"post ?resect\w*|craniotom\w*|kraniotomi\w*|craniectom\w*|resektions?hoe?hle|"
        r"resection cavity|(?:nach|n|z n|status post|st p|s p|after|apres|dopo) "
        r"(?:op|operation|surgery|chirurgie|intervento|resektion|resection|resezione|kraniotomie|"
        r"craniotomy)|pooperacyjn\w*|po operacji|послеоперационн\w*|после операции"
    ),
    "radiotherapy": (
        r"post ?(?:rt|xrt|srs|sbrt|wbrt|radio\w*|radiation|gamma ?knife|cyber ?knife)|"
        r"(?:nach|z n|status post|st p|s p|after|apres|dopo) (?:rt|srs|wbrt|bestrahlung|"
        r"strahlentherapie|radiochirurgie|radio\w*|radiation)|radio ?ne[ck]ros\w*|strahlennekros\w*"
    ),
    "treatment": (
        r"post ?(?:treatment|tx|therap\w*|chemo\w*)|(?:nach|after|apres) (?:therapi\w*|chemo\w*)"
    ),
    "a tumour that came back": r"recurren\w*|rezidiv\w*|recidiv\w*|nawrot\w*|рецидив\w*",
}
_PATTERNS = {what: re.compile(rf"\b(?:{words})\b") for what, words in _SAYS.items()}


def said(text: str) -> str | None:
    """What a name says of treatment, in words of ours; None where it says nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = " ".join(re.findall(r"[^\W_]+", plain))
    return next((what for what, words in _PATTERNS.items() if words.search(plain)), None)


def doubt(names: Iterable[str]) -> tuple[Finding, ...]:
    """A warning where a name speaks of treatment; it quotes no name."""
    found = list(dict.fromkeys(what for what in map(said, names) if what is not None))
    if not found:
        return ()
    return (
        Finding(
            Severity.WARNING,
            f"the names speak of {' and '.join(found)}: this brain may have been treated before",
            expected="a brain before any treatment; the models have seen no other",
            hint="use the examination before the treatment, if there is one.",
        ),
    )
