"""What a series is called, in the words of many clinics and languages.

Descriptions are read as claims: what kind of image ("t1", "flair", "adc" ...). Whether an agent
was given is read by ``intake.sequence_name``, as in names of files. Words propose; ``sequence``
compares them with the numbers of the measurement.
"""

from __future__ import annotations

import re
import unicodedata

# kind -> what a description says of it; looked for in this order, all that match are kept.
_CLAIMS: tuple[tuple[str, str], ...] = (
    (
        "localiser",
        r"\b\w*locali[sz]\w*|\bloc\b|\bscouts?\b|\bsurvey\w*|\b3[- ]?plane\w*|"
        r"\bplan(?:scan|ung)\b|\btopogra\w*|\bcalib\w*|\brepérage\b|\breperage\b|"
        r"\baahead\w*|\bpilot\b|\bsmartbrain\b|\blokali\w*|\bcentrator\w*|\blocator\b|"
        r"\bhead ?scout\b|定位",
    ),
    (
        "subtraction",
        r"\bsub(?:tr\w*|s)?\b(?![-\d])|\b\w*subtra\w*|\bpost\w*\s*-\s*pre|\bsottraz\w*|\bsoustr\w*|\bdifference\b",
    ),
    (
        "projection",
        r"\bmips?\b|\bminips?\b|\bmaxip\b|\bthick mip\b|\brotat\w*|\bvrt?\b|\b3d[- ]?render\w*",
    ),
    (
        "diffusion",
        r"\bdwi\b|\bdti\b|\bdiff?(?:u\w*)?\b|\btrace\w*|\btracew\b|\bb\d{3,4}\b|\bresolve\b|"
        r"\bepi[- ]diff|\bdifu[sz]\w*|\bдиффуз\w*|\btensor\b|\bhardi\b|\bdki\b",
    ),
    (
        "map",
        r"\be?adc\b|\bfa\b(?= ?map)|\bmap(?:s|pa|pe|as?|it\w*)?\b|\bt[12] ?map\w*|\br2star\b|"
        r"\bcbf\b|\bcbv\b|\bmtt\b|\bttp\b|\btmax\b|\brel?cb[fv]\b|\bcolfa\b|\bktrans\b|"
        r"\bperfusion[_ ]weighted\b",
    ),
    (
        "perfusion",
        r"\bperf\w*|\bdsc\b|\bdce\b|\bp?c?asl\b|\btwist\b|\bpwi\b|\bперфуз\w*|\bdynami\w*|"
        r"\bdyn\b|\bpermeab\w*",
    ),
    (
        "functional",
        r"\bbold\b|\bfmri\b|\bresting\b|\brs[- ]?fmri\b",
    ),
    (
        "susceptibility",
        r"\bswi\b|\bswan\b|\bswip\b|\bvenobold\b|\bqsm\b|\bsuscept\w*|\bhemo\b",
    ),
    (
        "t2star",
        r"\bt2star\w*|\bt2 ?stern\b|\bt2 ?gre\b|\bhemo\w*|\bmedic\b|\bmerge\b|\bffe[- ]t2\b|"
        r"\bt2 ?ffe\b|\bfl2d\b.*\bt2\b",
    ),
    (
        "angiography",
        r"\btof\b|\bmra\b|\bmrv\b|\bangio\w*|\bvenogra\w*|\bpca\b|\bphase contrast\b|"
        r"\binhance\b|\btricks\b",
    ),
    (
        "spectroscopy",
        r"\bmrs\b|\bspectr\w*|\bspektr\w*|\bcsi\b|\bsvs\b|\bpress\b",
    ),
    (
        "cisternography",
        r"\bciss\b|\bfiesta\w*|\bb-?ffe\b|\btrufi\w*|\bbssfp\b",
    ),
    (
        "short inversion",
        r"\bstir\b",
    ),
    (
        "double inversion",
        r"\bdir\b|\bpsir\b",
    ),
    (
        "spine",
        r"\bc-?spine\b|\bspine\b|\bhws\b|\blws\b|\bbws\b|\bcervi[ck]\w*|\blumb\w*|"
        r"\bthora[ck]\w*|\brachis\b|\bcolumna\b|\bcolonna\b|\bwirbels\w*|\bmyelo\w*|"
        r"\bwhole ?spine\b",
    ),
    (
        "elsewhere",
        r"\bknee\b|\bknie\b|\bgenou\b|\babdom\w*|\bpelvi\w*|\bprostat\w*|\bliver\b|\bleber\b|"
        r"\bbreast\b|\bmamm\w*|\bcardi\w*|\bheart\b|\bshoulder\b|\bschulter\b|\bhip\b|\bankle\b",
    ),
    (
        "screen",
        r"\bscreen\w*|\bsnapshots?\b|\bkey ?images?\b|\bprotocol\b|\bprotokoll\b|\breport\b|"
        r"\bfilm\w*|\bdocument\w*|\bresults?\b",
    ),
    (
        "region of interest",
        r"\broi\w*|\bsegment\w*|\bmasks?\b|\bcontours?\b|\brtstruct\b|\blabels?\b|\bfused\b|"
        r"\bfusion\b|\boverlays?\b",
    ),
    (
        "reformat",
        r"\bmprs?\b|\breform\w*|\bmpvr\b|\brekon\w*|\breco?ns?t\w*",
    ),
    (
        "fat suppressed",
        r"\bfs\b|\bfat ?sat\w*|\bfatsup\w*|\bspir\b|\bspair\b|\bfatsat\w*|\bdixon\w*",
    ),
    (
        "flair",
        r"\bt?2?w?[- ]?flair\w*|\w*flair\b|\bfla\b|\bdark[- ]?fl\w*|\bdunkelflüss\w*|\bt2w?f\b|"
        r"\bfluid[- ]?att\w*|\bflair\w*|\btirm[- ]?dark\w*|флэйр|флаир",
    ),
    (
        "pd",
        r"\bpdw?\b|\bproton\w*|\bdp\b|\brho\b|\bpd[- /]t2\b|\bdensidad\w*|\bprotoni\w*",
    ),
    (
        "t2",
        r"\bt2w?\w{0,8}\b|\w*_t2w?\b|\bt2\b",
    ),
    (
        "t1",
        r"\bt1w?\w{0,8}\b|\w*_t1w?\b|\bcet1\w*|\w*mp2?rage\w*|\bbravo\b|\bf?spgr\b|\bvibe\b|"
        r"\bmdeft\b|\btfl3?d?\b|\bir[- ]?f?spgr\b|\b3d[- ]?tfe\b|\bthrive\b|\bfame\b|\blava\b",
    ),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _CLAIMS)


def plain(text: str) -> str:
    """One case, one form of each letter, underscores as blanks, ``T2*`` as a word."""
    lowered = unicodedata.normalize("NFKC", text).casefold()
    lowered = re.sub(r"т(?=[12])", "t", lowered.replace("–", "-"))  # Cyrillic
    lowered = re.sub(r"t2[\s_-]*(?:\*|star\b|stern\b)", " t2star ", lowered)
    return " ".join(lowered.replace("_", " ").split())


def claims(text: str) -> set[str]:
    """Every kind of image that a description speaks of."""
    words = plain(text)
    found = {name for name, pattern in _PATTERNS if pattern.search(words)}
    if "t2star" in found or re.search(r"\bt2star", words):
        found.discard("t2")
        found.add("t2star")
    if "flair" in found and "t1" not in found:
        found.discard("t2")
    return found
