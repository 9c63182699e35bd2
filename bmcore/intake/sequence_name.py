"""Which sequence a name proposes: of a file, or of a series as the scanner described it.

A name only proposes. It may negate contrast in any clinic's language, name the image that another
was registered to, or speak of something made from a sequence; what it says comes with a confidence
and a reason, and the picture has the last word.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from bmcore.intake import sequence_words as words

ASIDE = "aside"
SURE = 0.9
UNSAID = 0.6  # T1 with no word on contrast

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+|[-+*/]")
_ENTITY = re.compile(r"(?:^|(?<=_))(?P<key>[a-zA-Z]+)-(?P<value>[^_]+)(?=_|$)")
# Entities of BIDS that name a subject, a visit or another image, not this one.
_NOT_THIS = frozenset(
    (
        "sub",
        "ses",
        "run",
        "space",
        "from",
        "to",
        "ref",
        "dir",
        "proc",
        "recording",
        "split",
        "chunk",
    )
)
_REGISTERED = frozenset(
    (
        "to",
        "onto",
        "into",
        "in",
        "on",
        "auf",
        "sur",
        "verso",
        "vers",
        "reg",
        "registered",
        "coreg",
        "warped",
    )
)
_BESIDE = frozenset(("the", "space", "of", "registered", "aligned", "raum", "espace"))
_TEMPLATES = frozenset(("mni", "mni152", "sri", "sri24", "atlas", "template", "talairach"))
# With and without contrast as some clinics abbreviate them.
_STROKES = {
    "c/c(?:te|ontraste?)?": "con contraste",
    "s/c(?:te|ontraste?)?": "sin contraste",
    "m/k": "med kontrast",
    "u/k": "uden kontrast",
}
_BOTH = ["with", "and", "without"]
_KNOWN_SHORT = frozenset(("c", "ce", "n", "p", "km", "gd", "pre", "post", "gad", "gado"))


_SAYS_BOTH = re.compile(
    r"\+\s*/\s*-|±|-\s*/\s*\+|w\s*/\s*(?:&\s*)?wo\b|w\s*(?:&|and|\+)\s*w\s*/?\s*o|"
    r"\bpre\s*(?:/|&|\+|and|und|et|y|e)\s*post|"
    r"\b(?:with|mit|avec|con|com|met|z|с|med)\s+(?:and|und|et|y|e|en|i|и|og|och)\s+"
    r"(?:without|ohne|sans|sin|senza|sem|zonder|bez|без|uden|utan)|"
    r"\b(?:without|ohne|sans|sin|senza|sem|zonder|bez|без|uden|utan)\s+"
    r"(?:and|und|et|y|e|en|i|и|og|och)\s+(?:with|mit|avec|con|com|met|z|с|med)\b"
)
_DOTTED = re.compile(r"(?<![^\W_])([a-z])\.([a-z])\.(?:([a-z])\.)?", re.IGNORECASE)


class Proposal(NamedTuple):
    """sequence: one of t1n, t1c, t2w, t2f; "aside" for what is none of them; None where the name
    does not say or says two things. confidence: 0-1. reason: words that follow "its name"."""

    sequence: str | None
    confidence: float
    reason: str


@dataclass(frozen=True)
class Reading:
    """A proposal, the words that count, and those taken for signs of contrast."""

    proposal: Proposal
    words: frozenset[str]
    signs: frozenset[str] = frozenset()


def propose(text: str) -> Proposal:
    """What ``text``, a name without folder and ending or a description, says of the sequence."""
    return read(text).proposal


def read(text: str) -> Reading:
    """As ``propose``, with the words that it rests on."""
    said = split_words(text)
    aside = _aside(said)
    if aside:
        return Reading(Proposal(ASIDE, SURE, aside), frozenset(said))
    said = _before_registration(said)
    proposal, signs = _decide(said)
    return Reading(proposal, frozenset(said), frozenset(signs))


def contrast(text: str) -> bool | None:
    """True: after contrast agent; False: native; None: the words do not say, or say both."""
    if _says_both(text):
        return None
    said = _before_registration(split_words(_DOTTED.sub(r"\1\2\3 ", text)))
    signs, denials = _contrast(said)
    return None if bool(signs) == bool(denials) else bool(signs)


def _says_both(text: str) -> bool:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _SAYS_BOTH.search(" ".join(plain.replace("_", " ").split())) is not None


def _decide(said: list[str]) -> tuple[Proposal, list[str]]:
    t1 = [w for w in said if w in words.T1 | words.T1_CONTRAST | words.T1_NATIVE]
    t2 = [w for w in said if w in words.T2]
    flair = [w for w in said if w in words.FLAIR]
    dark = [b for a, b in pairwise(said) if (a, b) == ("dark", "fluid")]
    if t1 and (t2 or flair or dark):
        both = ", ".join(dict.fromkeys((*t1, *t2, *flair, *dark)))
        return Proposal(None, 0.0, f"says two things: {both}"), []
    if flair or dark:
        return Proposal("t2f", SURE, "says FLAIR"), []
    if t2:
        return Proposal("t2w", SURE, "says T2"), []
    if not t1:
        return Proposal(None, 0.0, "does not say which sequence it is"), []
    return _of_t1(said, t1[0])


def _of_t1(said: list[str], sequence: str) -> tuple[Proposal, list[str]]:
    """T1 with or without contrast."""
    signs, denials = _contrast(said)
    if signs and denials:
        told = f"says both with and without contrast: {', '.join((*signs, *denials))}"
        return Proposal(None, 0.0, told), signs
    if signs:
        told = f"says T1 and '{' '.join(signs)}', which is after contrast"
        return Proposal("t1c", SURE, told), signs
    if denials:
        told = f"says T1 and '{' '.join(denials)}': no contrast"
        return Proposal("t1n", SURE, told), []
    return Proposal("t1n", UNSAID, f"says {sequence.upper()} and nothing of contrast"), []


def _contrast(said: list[str]) -> tuple[list[str], list[str]]:
    """Words that say that there is contrast, and words that say that there is none."""
    signs: list[str] = []
    denials: list[str] = []
    used: set[int] = set()
    for place, word in enumerate(said):
        after = said[place + 1] if place + 1 < len(said) else ""
        if word in words.T1_CONTRAST:
            signs.append(word)
        elif word in words.T1_NATIVE:
            denials.append(word)
        elif _is_agent(said, place):
            told, spent = _told_of(said, place)
            used |= spent
            if told[:3] == _BOTH:
                return [f"with {word}"], [f"without {word}"]
            (denials if told[0] in words.WITHOUT or told[-1] in words.NONE_AFTER else signs).append(
                " ".join(told)
            )
        elif word in words.AFTER and after not in words.NOT_OF_CONTRAST:
            nothing = place and said[place - 1] in words.WITHOUT - {"pre"}
            (denials if nothing else signs).append(word)
        elif word in words.ALONE and not set(said[place + 1 :]) - words.TAILS:
            (denials if word in words.WITHOUT else signs).append(word)  # T1_sans, T1_avec
        elif word in words.NATIVE and after not in words.NOT_OF_CONTRAST and place not in used:
            denials.append(word)
    agents = [n for n, w in enumerate(said) if _is_agent(said, n)]
    # "pre contrast" was told with the agent; the word alone would be told twice.
    denials = [d for d in denials if d != "pre" or not any(_pre_of(said, n) for n in agents)]
    if "post" in signs and any(_post_of(said, n) for n in agents):
        signs.remove("post")
    return signs, denials


def _pre_of(said: list[str], place: int) -> bool:
    return "pre" in said[max(0, place - 3) : place]


def _post_of(said: list[str], place: int) -> bool:
    return "post" in said[max(0, place - 3) : place]


def _is_agent(said: list[str], place: int) -> bool:
    word = said[place]
    before = said[place - 1] if place else ""
    after = said[place + 1] if place + 1 < len(said) else ""
    if word in words.AGENT:
        return not (word in words.BETWEEN and after in words.AGENT | words.BETWEEN)
    if word not in words.WEAK_AGENT:
        return False
    leads = words.WITHOUT | words.AFTER | words.AFTER_AGENT
    led = len(before) > 1 and before in leads
    return led or (word == "c" and before in words.T1 | words.TAILS and place > 0)


def _told_of(said: list[str], place: int) -> tuple[list[str], set[int]]:
    """The agent at ``place`` with the word that says with or without, and their places."""
    after = said[place + 1] if place + 1 < len(said) else ""
    if after in words.NONE_AFTER:
        return [said[place], after], {place, place + 1}
    back = place - 1
    while back >= 0 and said[back] in words.BETWEEN:
        back -= 1
    leads = words.WITHOUT | words.AFTER | words.AFTER_AGENT
    if back >= 0 and said[back] in leads:
        first = back
        both = back > 0 and said[back - 1] in words.WITHOUT | {"with", "w"} and said[back] != "post"
        if both and (said[back - 1] in words.WITHOUT) != (said[back] in words.WITHOUT):
            return [*_BOTH, said[place]], set(range(back - 1, place + 1))
        return said[first : place + 1], set(range(first, place + 1))
    return [said[place]], {place}


def _aside(said: list[str]) -> str | None:
    """Why the file is none of the four sequences; None where it may be one."""
    for place, word in enumerate(said):
        kind = words.ASIDE_KIND.get(word)
        if kind is None and word == "gre" and not set(said) & words.T1:
            kind = "susceptibility or T2*"
        if word == "minus" and not set(said[:place]) & (words.T1 | words.T1_CONTRAST | words.AFTER):
            continue  # minus as "without"
        if kind is not None:
            return f"says '{word}': {kind}"
    return None


def _before_registration(said: list[str]) -> list[str]:
    """The words before "to T1c": what follows names the image that this one was moved onto."""
    sequences = words.T1 | words.T2 | words.FLAIR | words.T1_CONTRAST | words.T1_NATIVE
    for place, word in enumerate(said):
        between = 0 < place < len(said) - 1 and {said[place - 1], said[place + 1]} <= sequences
        if (
            not (word in _REGISTERED or (word == "2" and between))
            or not set(said[:place]) & sequences
        ):
            continue
        rest = [w for w in said[place + 1 :] if w not in _BESIDE | _REGISTERED | words.TAILS]
        if rest and (rest[0] in sequences or rest[0] in _TEMPLATES or rest[0] in words.AFTER):
            return said[:place]
    return said


def split_words(text: str) -> list[str]:
    """The words of a name, split where it is written together, without accents."""
    text = _entities(unicodedata.normalize("NFKC", text))
    for ideogram, word in words.IDEOGRAMS.items():
        text = text.replace(ideogram, word)
    flat = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    flat = flat.replace("ø", "o").replace("ı", "i").replace("ł", "l").replace("ß", "ss")
    flat = _marks(_CAMEL.sub(" ", flat).lower())
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", flat):
        found += _parts(word)
    return found


def _entities(text: str) -> str:
    """A BIDS name without the entities that speak of the subject or of another image."""
    if not re.match(r"sub-[^_]+_", text):
        # "sub" in front of a number is a subject, anywhere else a subtraction
        return re.sub(r"^sub[-_ ]?(?=\d)", "subject ", text, flags=re.IGNORECASE)

    def keep(match: re.Match[str]) -> str:
        key, value = match["key"].lower(), match["value"]
        if key in _NOT_THIS:
            return ""
        if key in ("label", "desc") and re.search("mask|seg|label", value, re.IGNORECASE):
            return "mask"
        return f"{key} {value}"

    return _ENTITY.sub(keep, text)


def _marks(text: str) -> str:
    """Plus, minus, stroke and star around an agent as words."""
    agent = r"(?:c|k|gd|gad|gado|km|cm|mdc|kl|pdc|contrast|kontrast|contraste|contrasto|ce)"
    text = re.sub(r"t2\s*\*", " t2star ", text)
    text = re.sub(r"(?<![^\W_])w\s*/\s*o(?![^\W_])", " without ", text)
    text = re.sub(r"(?<![^\W_])w\s*/(?=\s*\w)", " with ", text)
    for mark, spoken in _STROKES.items():
        text = re.sub(rf"(?<![^\W_]){mark}(?![^\W_])", f" {spoken} ", text)
    text = re.sub(rf"\+\s*({agent})(?![^\W_])", r" plus \1 ", text)
    text = re.sub(rf"(?<![^\W_])({agent})\s*\+", r" plus \1 ", text)
    text = re.sub(rf"(?<![^\W_])({agent})-(?=[\s_.)\]]|$)", r" without \1 ", text)
    text = re.sub(rf"(?<=[\s_(\[])-({agent})(?![^\W_])", r" without \1 ", text)
    return re.sub(r"\b(t1w?)\s*\+(?=[\s_.)\]]|$)", r" \1 plus contrast ", text)


@lru_cache(maxsize=4096)
def _parts(word: str) -> tuple[str, ...]:
    """A word in its parts where it is written together: t1mpragepost, axt2flair, t2tot1c."""
    whole = (
        words.T1 | words.T2 | words.FLAIR | words.T1_CONTRAST | words.T1_NATIVE | words.AGENT
        | words.AFTER | words.NATIVE | words.WITHOUT | words.TAILS | set(words.ASIDE_KIND)
    )  # fmt: skip
    if word in whole:
        return (word,)
    if re.fullmatch(r"[ck]ontras[tc]\w{0,14}", word) and not re.search("l[eo]s|siz|suz", word):
        return ("contrast",)  # as any language inflects it
    if not re.search("t1|t2|flair|mprage|bravo|spgr", word):
        agent = re.fullmatch(
            r"(post|pre|no|non|ohne|sans|sin|sem|senza|mit|con|avec|nach|vor)"
            r"(gd|gado?|gadolinium|km|ce|mdc|contraste?|contrasto|kontrast(?:mittel)?|inj)",
            word,
        )
        return (agent[1], agent[2]) if agent else (word,)
    split = _segment(word)
    return split or (word,)


def _segment(word: str) -> tuple[str, ...]:
    """The fewest known parts that make up ``word``; nothing where there are none."""
    free = words.T1 | words.T2 | words.FLAIR | words.T1_CONTRAST | words.T1_NATIVE | words.TAILS
    after_t1 = (
        words.AGENT | words.AFTER | words.NATIVE | words.WITHOUT | _KNOWN_SHORT | {"to", "2"}
    ) | set(words.ASIDE_KIND)
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            before = best[start]
            if before is None:
                continue
            part = word[start:end]
            seen = any(p in words.T1 | words.T2 | words.FLAIR for p in before)
            leading = part in {"gd", "ce", "post", "pre", "gad", "c"} and start == 0
            if part not in free and not (part in after_t1 and seen) and not leading:
                continue
            kept = "to" if part == "2" else part
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = (*before, kept)
    return best[len(word)] or ()
