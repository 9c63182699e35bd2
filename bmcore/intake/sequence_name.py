"""Which sequence a name proposes: of a file, or of a series as the scanner described it.

A name only proposes. It may negate contrast in any clinic's language, name the image that another
was registered to, or speak of something made from a sequence; what it says comes with a confidence
and a reason, and the picture has the last word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from bmcore.intake import contrast_said, contrast_words
from bmcore.intake import sequence_words as words
from bmcore.intake.contrast_words import AGENT, NATIVE, POST, PRE, PREFIXES, Words

ASIDE = "aside"
SURE = 0.9
UNSAID = 0.6  # T1 with no word on contrast

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# The id of a patient in front: PD-001, CT001, sub12, SUB-P01; "sub" is a subtraction elsewhere.
_ID = re.compile(
    r"^(?:[a-z]{2}[-_ ]?\d{2,}(?=[-_ ])|sub[-_ ]?(?!t[12])(?:\d+|[a-z]{1,2}\d{2,})(?=[-_ ]))|"
    r"^sub[-_ ]?(?=\d)",
    re.IGNORECASE,
)
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
_REGISTERED = Words(
    "to onto into in on auf sur verso vers reg reg* coreg* warped align* resampl* reslic* rigid* "
    "flirt fnirt ants elastix moved mapped matched transformed recal* affine"
)
_BESIDE = frozenset(("the", "space", "of", "raum", "espace"))
_TEMPLATES = frozenset(("mni", "mni152", "sri", "sri24", "atlas", "template", "talairach"))
# With and without contrast as some clinics abbreviate them.
_STROKES = {
    "c/c(?:te|ontraste?)?": "con contraste",
    "s/c(?:te|ontraste?)?": "sin contraste",
    "m/k": "med kontrast",
    "u/k": "uden kontrast",
}
_DOTTED = re.compile(r"(?<![^\W_])(?:[a-z]\.){2,4}", re.IGNORECASE)


# Agents that a plus or minus may stand beside.
_MARKED = AGENT.whole | frozenset(
    ("c", "k", "iv", "mc", "cont", "ka", "kk", "ks", "ku", "ky", "gado", "contrast", "kontrast",
     "contraste", "contrasto")
)  # fmt: skip


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


def read(text: str, ids: frozenset[str] = frozenset()) -> Reading:
    """As ``propose``, with the words that it rests on. ids: words that are none where they stand in
    front of the sequence, as they name a patient or study."""
    said = split_words(text)
    first = next((n for n, word in enumerate(said) if word in words.NAMED), 0)
    said = [w for n, w in enumerate(said) if n >= first or w not in ids]
    aside = _aside(said)
    if aside:
        return Reading(Proposal(ASIDE, SURE, aside), frozenset(said))
    said = _before_registration(said)
    proposal, signs = _decide(said)
    return Reading(proposal, frozenset(said), frozenset(signs))


def contrast(text: str) -> bool | None:
    """True: after contrast agent; False: native; None: the words do not say, or say both."""
    signs, denials = _contrast(text)
    return None if bool(signs) == bool(denials) else bool(signs)


def says_both(text: str) -> bool:
    """Whether a name says both that contrast agent was given and that it was not."""
    return all(_contrast(text))


def _contrast(text: str) -> tuple[list[str], list[str]]:
    return contrast_said.read(_before_registration(split_words(text)))


def derived(text: str) -> str | None:
    """What was made from images by a long word of the name: a map, a difference; None for a word of
    up to four letters (sub, map), which descriptions of series use for other things, too."""
    kinds = (kind for word, kind in _kinds_aside(split_words(text)) if len(word) > 4)
    return next((kind for kind in kinds if kind in words.DERIVED), None)


def _decide(said: list[str]) -> tuple[Proposal, list[str]]:
    t1 = [w for w in said if w in words.T1 | words.T1_CONTRAST | words.T1_NATIVE]
    t2 = [w for w in said if w in words.T2]
    flair = [w for w in said if w in words.FLAIR]
    if t1 and (t2 or flair):
        both = ", ".join(dict.fromkeys((*t1, *t2, *flair)))
        return Proposal(None, 0.0, f"says two things: {both}"), []
    if flair:
        return Proposal("t2f", SURE, "says FLAIR"), []
    if t2:
        return Proposal("t2w", SURE, "says T2"), []
    if not t1:
        return Proposal(None, 0.0, "does not say which sequence it is"), []
    return _of_t1(said, t1[0])


def _of_t1(said: list[str], sequence: str) -> tuple[Proposal, list[str]]:
    """T1 with or without contrast."""
    signs, denials = contrast_said.read(said)
    if signs and denials:
        told = ", ".join(dict.fromkeys((*signs, *denials)))
        what = "says both with and without contrast"
        if set(signs) == set(denials) and told.split()[0] in POST and told.split()[-1] not in PRE:
            what = "does not say whether it is after contrast or after something else"
        told = f"{what}: {told}"
        return Proposal(None, 0.0, told), signs
    if signs:
        told = f"says T1 and '{' '.join(signs)}', which is after contrast"
        return Proposal("t1c", SURE, told), signs
    if denials:
        told = f"says T1 and '{' '.join(denials)}': no contrast"
        return Proposal("t1n", SURE, told), []
    return Proposal("t1n", UNSAID, f"says {sequence.upper()} and nothing of contrast"), []


def _aside(said: list[str]) -> str | None:
    """Why the file is none of the four sequences; None where it may be one."""
    return next((f"says '{word}': {kind}" for word, kind in _kinds_aside(said)), None)


def _kinds_aside(said: list[str]) -> Iterator[tuple[str, str]]:
    """Words that name another image than the four, and which."""
    for place, word in enumerate(said):
        rest = said[place + 1 :]
        if word == "minus" and not _between_images(said[:place], rest):
            continue  # minus as "without"
        if word == "pred" and any(w in AGENT for w in rest):
            continue  # "before" in Czech, not a prediction
        kind = words.aside_kind(word) or _aside_beside(said, place)
        if kind is not None:
            yield word, kind


def _aside_beside(said: list[str], place: int) -> str | None:
    """What a word names only beside others: T2 GE, T2 STIR, qT1, T1_bias."""
    word, before, after = said[place], said[:place][-1:], said[place + 1 :][:1]
    if not any(w in words.T1 or w in words.T1_CONTRAST or w in words.T1_NATIVE for w in said):
        if word in words.GRADIENT_ECHO or (word in ("ge", "eg") and {*before} & words.T2):
            return words.GRADIENT
        if word == "stir":
            return "an inversion recovery of another kind"
    if (word == "fat" and not place) or (word == "f" and not after and "dixon" in said):
        return "a fat image"
    is_map = (
        (word == "bias" and after != ["corrected"])
        or (word == "q" and {*after} & (words.T1 | words.T2))
        or (word == "images" and {"mp2rage", "t1"} <= {*said} and "uni" not in said)
        or (word == "affine" and not after and "to" in said)
    )
    return words.MAP if is_map else None


def _between_images(before: list[str], after: list[str]) -> bool:
    """Whether a word between them stands between two images, not in front of an agent."""
    return all(
        any(w in words.NAMED or w in POST or w in PRE or w in NATIVE for w in side)
        for side in (before, after)
    )


def _before_registration(said: list[str]) -> list[str]:
    """The words before "to T1c": what follows names the image that this one was moved onto."""
    if said[:1] == ["r"] and len(said) > 2 and {said[1], said[2]} <= words.NAMED:
        return said[1:2]  # rT2_T1c
    for place, word in enumerate(said):
        first, rest = said[:place], said[place + 1 :]
        between = bool(first and rest) and {first[-1], rest[0]} <= words.NAMED
        if not (word in _REGISTERED or (word == "2" and between)):
            continue
        named = any(w in words.NAMED for w in first)
        onto = [w for w in rest if w not in _BESIDE and w not in _REGISTERED
                and w not in words.TAILS]  # fmt: skip
        if not onto or not (onto[0] in words.NAMED or onto[0] in _TEMPLATES
                            or onto[0] in POST or onto[0] in PRE or onto[0] in NATIVE):  # fmt: skip
            continue
        if named:
            return first
        if any(w in POST or w in PRE or w in NATIVE for w in first):  # pre_to_post_T1
            return first + [w for w in rest if w in words.T1]
    return said


def split_words(text: str) -> list[str]:
    """The words of a name, split where it is written together, without accents."""
    text = _entities(re.sub("[\u2010-\u2015\u2212]", "-", unicodedata.normalize("NFKC", text)))
    for ideogram, word in words.IDEOGRAMS.items():
        text = text.replace(ideogram, word)
    text = words.IDEOGRAM_AGENT.sub(_spoken, text)
    text = re.sub("(?i)(?<=\\w)['\u2019](?=s[iıuü]z)", "", text)  # Turkish KM'siz
    text = re.sub(r"(?i)után", "utana", text)  # Hungarian "after", not Swedish "without"
    text = re.sub(r"(?i)(?<![^\W_])f[øö]r(?![^\W_])", "fore", text)  # "before", not English "for"
    flat = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    flat = flat.replace("ø", "o").replace("ı", "i").replace("ł", "l").replace("ß", "ss")
    flat = re.sub("[тТ](?=[12])", "T", flat)  # Cyrillic
    flat = _DOTTED.sub(lambda m: m[0].replace(".", "") + " ", flat)
    flat = re.sub(r"[^\W_]+", lambda m: m[0] if m[0].lower() in _known() else _CAMEL.sub(" ", m[0]),
                  flat)  # fmt: skip
    flat = _marks(flat.lower())
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", flat):
        found += _parts(word)
    return found


def _spoken(match: re.Match[str]) -> str:
    """Contrast in ideograms, in words."""
    before = "no " if match["no"] else ""
    after = "none" if match["none"] else "sonrasi" if match["later"] else ""
    return f" {before}contrast {after} " if not match["both"] else " plusminus "


def _entities(text: str) -> str:
    """A name without the ids of patients, and a BIDS name without the entities that speak of the
    subject or of another image."""
    if not re.match(r"sub-[^_]+_", text):
        return _ID.sub("subject ", text)

    def keep(match: re.Match[str]) -> str:
        key, value = match["key"].lower(), match["value"]
        if key in _NOT_THIS:
            return ""
        if key in ("label", "desc") and re.search("mask|seg|label", value, re.IGNORECASE):
            return "mask"
        if key == "ce":
            signs, denials = contrast_said.read(["t1", *split_words(value)])
            return "without ce" if denials and not signs else f"ce {value}"  # ce-native, ce-nogad
        if (key, value.lower()) in (("part", "phase"), ("part", "imag"), ("part", "real")):
            return "pha"
        return f"{key}{value}" if key == "inv" else f"{key} {value}"

    return _ENTITY.sub(keep, text)


def _marks(text: str) -> str:
    """Plus, minus, stroke and star as words, and FLAIR as Siemens calls it."""
    agent = rf"(?:{'|'.join(sorted(_MARKED))})"
    text = re.sub(r"t2\s*\*", " t2star ", text)
    text = re.sub(
        r"(?<![^\W_])(?:da[\s_-]*fl|dark[\s_-]*fl(?:uid)?|fluid[\s_-]*att\w*|фл[аэ]и?р)(?![^\W_])",
        " flair ", text,
    )  # fmt: skip
    text = re.sub(r"\+\s*/?\s*-|-\s*/\s*\+|[±∓]", " plusminus ", text)
    text = re.sub(r"[(\[]\s*-\s*[)\]]", " neg ", text)
    text = re.sub(r"[(\[]\s*\+\s*[)\]]", " plus ", text)
    text = re.sub(r"(?<![^\W_])w[\s_./-]*o(?:ut)?(?![^\W_])", " without ", text)
    text = re.sub(r"(?<![^\W_])w\s*/(?=\s*\w)", " with ", text)
    for mark, spoken in _STROKES.items():
        text = re.sub(rf"(?<![^\W_]){mark}(?![^\W_])", f" {spoken} ", text)
    text = re.sub(r"(?<![^\W_])s\s*/(?=\s*[^\W_])(?!\s*(?:bez|без))", " sin ", text)
    text = re.sub(r"(?<![^\W_])s\.(?=\s*[^\W_])", " sin ", text)
    text = re.sub(r"(?<![^\W_])g\s*\+(?![^\W_])", " plus gd ", text)  # French
    text = re.sub(r"(?<![^\W_])g-(?=[\s_.)\]]|$)", " without gd ", text)
    text = re.sub(rf"\+\s*({agent})(?![^\W_])", r" plus \1 ", text)
    text = re.sub(rf"(?<![^\W_])({agent})\s*\+", r" plus \1 ", text)
    text = re.sub(rf"(?<![^\W_])({agent})-(?=[\s_.)\]]|$)", r" without \1 ", text)
    text = re.sub(rf"(?<=[\s_(\[])-({agent})(?![^\W_])", r" without \1 ", text)
    text = re.sub(r"\b(t1[\s_]*w?)\s*\+(?=[\s_.)\]]|$)", r" \1 plus contrast ", text)
    return re.sub(r"[/&]", " and ", text)


@lru_cache(maxsize=4096)
def _parts(word: str) -> tuple[str, ...]:
    """A word in its parts where it is written together: t1mpragepost, axt2flair, kontrastsiz."""
    if word in _known() or word in contrast_words.BOTH:
        return (word,)
    numbered = re.fullmatch(r"([^\W\d_]{2,})(\d\w{0,3})", word)
    if numbered and len(numbered[2]) > 2 and numbered[2].isdigit() and numbered[1] in AGENT:
        return (word,)  # KM123 is a patient
    if numbered and any(numbered[1] in known for known in (AGENT, POST, PRE)):
        return (numbered[1], numbered[2])  # post1, gd2
    if not re.search("t1|t2|flair|mprage|bravo|spgr", word):
        return _of_agent(word)
    count = re.fullmatch(r"(\w*(?:post|pre|gd|gad|km|ce|c))(\d{1,2})", word)
    if count and _segment(count[1]):
        return (*_segment(count[1]), count[2])  # t1post2
    return _segment(word) or (word,)


def _of_agent(word: str) -> tuple[str, ...]:
    """postgd, unenhanced, kontrastsiz: the agent with what is written together with it."""
    ending = re.fullmatch(rf"(\w{{2,}}?){contrast_words.ENDINGS}", word)
    if ending and ending[1] in AGENT:
        return ("without", ending[1])
    if word in AGENT:
        return (word,)
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        rest = word.removeprefix(prefix)
        if rest == word or not (rest in AGENT or rest == "con"):
            continue
        if len(prefix) > 1 or rest == "km":
            return (PREFIXES[prefix], rest)
    return (word,)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    agent = AGENT.whole | contrast_words.NO.whole | contrast_words.YES.whole | NATIVE.whole
    return words.NAMED | agent | words.TAILS | frozenset(words.ASIDE_KIND)


def _segment(word: str) -> tuple[str, ...]:
    """The fewest known parts that make up ``word``; nothing where there are none."""
    free = words.NAMED | words.TAILS
    leads = {w for w in PREFIXES if len(w) > 1} | {"z"}
    after_t1 = AGENT.whole | NATIVE.whole | leads | {"c", "n", "p", "to", "2"} | POST.whole
    after_t1 |= set(words.ASIDE_KIND)
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            before = best[start]
            if before is None:
                continue
            part = word[start:end]
            seen = any(p in words.T1 | words.T2 | words.FLAIR for p in before)
            leading = part in {"gd", "ce", "post", "pre", "gad", "c"} and start == 0
            agent = seen and end == len(word) and (part in AGENT or part in NATIVE)
            if part not in free and not (part in after_t1 and seen) and not leading and not agent:
                continue
            kept = "to" if part == "2" else part
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = (*before, kept)
    return best[len(word)] or ()
