"""Which file is which sequence, told from its name; and names that are safe as folder names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

from bmcore.domain import refuse

_PLANES = r"(?:[23]d|axial|ax|sagittal|sag|coronal|cor|transversal|tra|mr)*"
_TAILS = r"(?:[23]d|ax|sag|cor|tra|tse|fse|se|space|cube|blade|propeller|mprage|bravo|spgr|fspgr)*"
_CONTRAST = r"(?:c|ce|gd|gad|gado|post|postgd|postgad|postcontrast|km|cm|contrast|enhanced)"
_NATIVE = r"(?:n|native|nativ|pre|precontrast|nc)"

_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("t1 contrast", re.compile(rf"{_PLANES}t1w?{_TAILS}{_CONTRAST}{_TAILS}")),
    ("t1 contrast", re.compile(rf"(?:ce|gd|c|post){_PLANES}t1w?{_TAILS}")),
    ("t1 native", re.compile(rf"{_PLANES}t1w?{_TAILS}{_NATIVE}{_TAILS}")),
    ("t1", re.compile(rf"{_PLANES}t1w?{_TAILS}|{_PLANES}(?:mprage|mp2rage|bravo|f?spgr|vibe)")),
    ("t2", re.compile(rf"{_PLANES}t2w?{_TAILS}")),
    ("flair", re.compile(rf"{_PLANES}(?:t2w?{_TAILS})?(?:flair|fla|darkfluid){_TAILS}|t2w?f")),
    (
        "contrast",
        re.compile(
            r"(?:post)?(?:gd|gad|gado|gadolinium|gadovist|dotarem|contrast)|post|ce|km|enhanced"
        ),
    ),
    ("native", re.compile(r"pre|native|nativ|precontrast|noncontrast|unenhanced|nongd|nogd")),
    (
        "other",
        re.compile(
            r"seg|segmentation|mask|labels?|pred|prediction|truth|gt|groundtruth|swi|swan|dwi|adc|"
            r"trace|dti|fa|perf|perfusion|dsc|dce|asl|cbf|cbv|t2star|star|gre|pd|pdw|subtraction|"
            r"subtracted|localizer|localiser|scout|bold|fmri|mra|tof|ct|pet|t1map|t2map|map"
        ),
    ),
)
_NEGATIONS = {"no", "non", "without", "ohne", "wo"}
YALE_NAME = re.compile(r"(?P<case>[A-Za-z0-9._-]+)-(?P<kind>t1n|t1c|t2w|t2f|seg)\.nii(?:\.gz)?")


def stem(name: str) -> str:
    """The file name without folder and without ``.nii`` / ``.nii.gz``."""
    return re.sub(r"\.nii(\.gz)?$|\.gz$", "", PurePath(name).name, flags=re.IGNORECASE)


def guess_sequences(names: Iterable[str]) -> dict[str, str | None]:
    """Guess the sequence of each file from its name.

    names: file names, with or without folders and endings. Returns for each name "t1n", "t1c",
    "t2w", "t2f", or None where the name does not say, says two things, or names something else
    (a mask, SWI, diffusion ...). A name that says T1 and nothing of contrast counts as T1 native.
    Words that stand in every name ("post" in all of them) are not taken as a sign of contrast.
    """
    wanted = list(names)
    words = {name: _words(stem(name)) for name in wanted}
    shared = set.intersection(*(set(w) for w in words.values())) if len(words) > 1 else set()
    guesses: dict[str, str | None] = {}
    for name in wanted:
        own = [w for w in words[name] if w not in shared]
        first = _decide(words[name])
        if first == "t1c" and _only_shared_contrast(words[name], shared):
            guesses[name] = None
        else:
            guesses[name] = first or _decide(own)
    return guesses


def looks_like_mask(name: str) -> bool:
    """True where the name speaks of a segmentation rather than of an image."""
    masks = {"seg", "segmentation", "mask", "label", "labels", "pred", "prediction", "truth", "gt"}
    return bool(masks & set(_words(stem(name))))


def clean_case_id(text: str) -> str:
    """A case id safe as a folder name: letters, digits, ``.``, ``_``, ``-``; 64 characters at most.

    Other characters become ``-``; leading and trailing dots and dashes fall away, so that no id
    leaves its folder. InputRefused where nothing is left.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    cleaned = re.sub(r"\.{2,}", ".", cleaned).strip("._-")[:64].strip("._-")
    if not cleaned:
        raise refuse(
            "the case id holds no letter or digit",
            found=repr(text[:80]),
            expected="letters, digits, dot, underscore or dash",
            hint="give the case another id.",
        )
    return cleaned


def common_name(names: Iterable[str]) -> str:
    """What file names begin with in common, up to the last mark between words; "" for nothing."""
    given, same = list(names), 0
    while len(given) > 1 and same < min(map(len, given)) and len({n[same] for n in given}) == 1:
        same += 1
    common = given[0][:same]
    cut = max(common.rfind(mark) for mark in "-_. ")
    return common[: cut if cut > 0 else None].strip("-_. ")


def _words(text: str) -> list[str]:
    lowered = text.lower().replace("+c", " contrast ").replace("t2*", " t2star ")
    return [w for w in re.split(r"[^a-z0-9]+", lowered) if w]


def _kinds(words: list[str]) -> list[str]:
    kinds = []
    for place, word in enumerate(words):
        kind = next((k for k, pattern in _WORDS if pattern.fullmatch(word)), "")
        before = words[place - 1] if place else ""
        after = words[place + 1] if place + 1 < len(words) else ""
        if word == "post" and after in ("op", "operative", "rt", "treatment", "surgery"):
            kind = ""
        if word == "pre" and after in ("op", "operative", "rt", "treatment", "surgery"):
            kind = ""
        if kind == "contrast" and (before in _NEGATIONS or (before == "pre" and word != "post")):
            kind = "native"
        if not kind and word == "c" and re.fullmatch(r"t1w?", before):
            kind = "contrast"
        kinds.append(kind)
    return kinds


def _decide(words: list[str]) -> str | None:
    kinds = set(_kinds(words))
    t1 = bool(kinds & {"t1", "t1 contrast", "t1 native"})
    t2, flair = "t2" in kinds, "flair" in kinds
    if "other" in kinds or (t1 and (t2 or flair)):
        return None
    if flair:
        return "t2f"
    if t2:
        return "t2w"
    if not t1:
        return None
    contrast = bool(kinds & {"t1 contrast", "contrast"})
    native = bool(kinds & {"t1 native", "native"})
    if contrast and native:
        return None
    return "t1c" if contrast else "t1n"


def _only_shared_contrast(words: list[str], shared: set[str]) -> bool:
    signs = [w for w, k in zip(words, _kinds(words), strict=True) if "contrast" in k]
    return all(w in shared for w in signs)
