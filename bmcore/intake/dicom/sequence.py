"""Which sequence a volume is: by the numbers of the measurement, by words, by contrast agent.

The numbers (TR, TE, TI, kind of echo) and the description are read apart. Where they agree the
answer is sure; where only one of them speaks, less so; where they disagree the user is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from bmcore.intake.dicom.agent import of_image
from bmcore.intake.dicom.found import Image
from bmcore.intake.dicom.volumes import Part, component, measured_at, origin
from bmcore.intake.dicom.words import claims
from bmcore.intake.sequence_name import contrast as contrast_said
from bmcore.intake.sequence_name import derived, says_both

_MR = {f"1.2.840.10008.5.1.4.1.1.4{tail}" for tail in ("", ".1", ".3", ".4")}
_OBJECTS = (
    ("1.2.840.10008.5.1.4.1.1.7", "a screenshot or scanned page; it may show burned-in text"),
    ("1.2.840.10008.5.1.4.1.1.66", "a segmentation or registration, not an image"),
    ("1.2.840.10008.5.1.4.1.1.481", "regions of interest of a radiotherapy plan, not an image"),
    ("1.2.840.10008.5.1.4.1.1.88", "a structured report, not an image"),
    ("1.2.840.10008.5.1.4.1.1.104", "a document, not an image"),
    ("1.2.840.10008.5.1.4.1.1.11", "a presentation state, not an image"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "spectroscopy"),
    ("1.2.840.10008.5.1.4.1.1.30", "a computed map"),
)
_TOKENS: tuple[tuple[str, str], ...] = (
    ("LOCALIZER SCOUT", "a localiser"),
    ("MIP MINIP MIN_IP MAX_IP PROJECTION VOLREN MNIP", "a projection"),
    ("ADC EADC FA TENSOR TRACEW TRACE DIFFUSION COLFA", "a diffusion image or map"),
    ("PERFUSION ASL CBF CBV MTT TTP RELCBF RELCBV TMAX", "a perfusion image or map"),
    ("SUBTRACTION SUBTRACT SUB SUBTR", "a subtraction of two series"),
    ("MOSAIC", "slices put together in a mosaic"),
    ("SWI SWAN", "a susceptibility-weighted image"),
    ("MAP T1_MAP T2_MAP R2_MAP T2STAR_MAP B0 B1 FIELD_MAP", "a computed map"),
    ("FAT F FAT_ONLY OPP_PHASE OUT_PHASE OPP OUT", "fat or opposed phase of a Dixon measurement"),
    ("ROI SEGMENTATION MASK", "a region of interest"),
)  # fmt: skip
_CLAIMED = {
    "localiser": "a localiser",
    "subtraction": "a subtraction of two series",
    "projection": "a projection",
    "diffusion": "a diffusion image or map",
    "map": "a computed map",
    "perfusion": "perfusion, or a series over time",
    "functional": "functional imaging",
    "susceptibility": "a susceptibility-weighted image",
    "t2star": "T2*",
    "angiography": "an angiography",
    "spectroscopy": "spectroscopy",
    "cisternography": "a steady-state image",
    "short inversion": "STIR",
    "double inversion": "an inversion recovery of another kind",
    "spine": "of the spine",
    "elsewhere": "of another part of the body",
    "screen": "a screenshot or protocol; it may show burned-in text",
    "region of interest": "a region of interest",
}
_SKULL = {"", "BRAIN", "HEAD", "SKULL", "NEURO", "WHOLEBODY", "HEADNECK", "PITUITARY", "IAC"}
_BASE = {"t1": "T1", "t2": "T2", "flair": "FLAIR", "pd": "proton density"}


@dataclass(frozen=True)
class Verdict:
    """kind: in words. sequence: t1n, t1c, t2w, t2f or None. aside: why it is never used.
    after_by_name: its own name says that it is after contrast agent."""

    kind: str
    sequence: str | None
    confidence: float
    reason: str
    reformatted: bool = False
    fat_suppressed: bool = False
    aside: bool = False
    after_by_name: bool = False


@dataclass(frozen=True)
class Everywhere:
    """The contrast tag of an examination whose series carry it alike, before and after the agent.

    since: when the first series was measured whose name says contrast agent, in seconds; None where
    no name does, or no time is given.
    """

    since: float | None = None


def judge(
    part: Part,
    agents: bool,
    shared_protocols: Collection[str],
    everywhere: Everywhere | None = None,
) -> Verdict:
    """agents: contrast agent was given in this examination, as far as is known.

    shared_protocols: names of protocols that stand in series of several kinds, so that they say
    nothing of this one. everywhere: given where the contrast tag says nothing.
    """
    why = _aside(part)
    if why:
        return Verdict(why, None, 1.0, f"set aside: {why}", aside=True)
    first = part.images[0]
    text, protocol = description(first)
    claimed = claims(text)
    if not claimed & set(_BASE) and protocol not in shared_protocols:
        claimed |= claims(protocol) & set(_BASE)
    base, sure, reason = _base(first, claimed)
    if base in ("t2star", "stir", "epi", "steady state"):
        kind = {"t2star": "T2*", "stir": "STIR", "epi": "an echo-planar image"}.get(base, base)
        return Verdict(kind, None, sure, f"set aside: {kind} ({reason})", aside=True)
    verdict = _named(base, sure, reason, part, agents, shared_protocols, everywhere)
    reformatted = _reformatted(first, claimed)
    fat = "fat suppressed" in claimed or "FS" in str(first.get("ScanOptions", "")).split("\\")
    if reformatted and verdict.sequence:
        why = f"{verdict.reason}; a reformat of another series"
        verdict = replace(verdict, confidence=min(verdict.confidence, 0.6), reason=why)
    elif origin(first) != "original" and verdict.sequence:
        why = f"{verdict.reason}; a derived image"
        verdict = replace(verdict, confidence=min(verdict.confidence, 0.72), reason=why)
    verdict = replace(verdict, reformatted=reformatted, fat_suppressed=fat)
    body = str(first.get("BodyPartExamined", "")).upper().replace(" ", "")
    if verdict.sequence and body not in _SKULL:
        why = f"{verdict.reason}; its header says another part of the body than the head"
        verdict = replace(verdict, confidence=min(verdict.confidence, 0.5), reason=why)
    return verdict


def description(image: Image) -> tuple[str, str]:
    """(SeriesDescription, ProtocolName), as they may be shown."""
    return str(image.get("SeriesDescription", "")), str(image.get("ProtocolName", ""))


def is_localiser(image: Image) -> bool:
    tokens = {str(token).upper() for token in image.get("ImageType", ())}
    return "LOCALIZER" in tokens or "localiser" in claims(description(image)[0])


def object_kind(image: Image) -> str:
    """What an object without an MR image is; "" for an MR image."""
    own = str(image.get("SOPClassUID", ""))
    if own in _MR:
        return ""
    for uid, kind in _OBJECTS:
        if own == uid or own.startswith(uid + "."):
            return kind
    modality = str(image.get("Modality", "")).upper()
    if modality == "MR" and image.get("Rows"):
        return ""
    named = modality in ("CT", "PT", "US", "CR", "DX")
    return f"not MR but {modality}" if named else "not an MR image"


def _aside(part: Part) -> str:
    """Why a volume is none of the four sequences, whatever it is called; "" where it may be."""
    first = part.images[0]
    kind = object_kind(first)
    if kind:
        return kind
    if first.get("SamplesPerPixel", 1) != 1 or first.get("BitsAllocated", 16) == 1:
        return "a colour picture; it may show burned-in text"
    if str(first.get("BurnedInAnnotation", "")).upper() == "YES":
        return "its header says that text is burned in"
    tokens = {str(t).upper() for t in first.get("ImageType", ())}
    if {"SCREEN SAVE", "SCREENSHOT", "SCREEN SHOT", "VXTL STATE"} & tokens:
        return "a screenshot; it may show burned-in text"
    if first.get("FloatPixels"):
        return "a computed map"
    if component(first) != "magnitude":
        return f"{component(first)} images"
    for names, told in _TOKENS:
        if tokens & set(names.split()) or (told == "a projection" and "PROJECTION IMAGE" in tokens):
            return told
    if "fault:none" in {f"fault:{f.kind}" for f in part.faults}:
        return "its images do not say where they lie"
    return _aside_by_measurement(part, first)


def _aside_by_measurement(part: Part, first: Image) -> str:
    contrast = str(first.get("AcquisitionContrast", "")).upper()
    if first.get("DiffusionBValue", 0) > 0 or contrast == "DIFFUSION":
        return "a diffusion image or map"
    told = {"PERFUSION": "perfusion", "T2_STAR": "T2*", "TOF": "an angiography",
            "SUSCEPTIBILITY": "a susceptibility-weighted image"}.get(contrast)  # fmt: skip
    if told:
        return told
    claimed = claims(description(first)[0])
    if claimed & set(_BASE):
        claimed.discard("screen")  # "T1, protocol of the trial"
    for name, kind in _CLAIMED.items():
        if name in claimed:
            return kind
    made = derived(description(first)[0])
    if made:
        return made
    if part.of >= 3:
        return f"one of {part.of} volumes of one series, over time or of several settings"
    mixed = sum(fault.kind == "mixed" for fault in part.faults) and len(part.images) < 24
    three = bool(mixed) and not any("mixes 2" in fault.what for fault in part.faults)
    few = len(part.images) < 4 and part.stack is None and not mixed
    return "a localiser or single images" if few or three else ""


def _reformatted(image: Image, claimed: Collection[str]) -> bool:
    tokens = {str(t).upper() for t in image.get("ImageType", ())}
    if origin(image) == "original":
        return "reformat" in claimed
    return bool(tokens & {"MPR", "REFORMATTED", "CURVED", "CSA RESAMPLED", "RESAMPLED"}) or (
        "reformat" in claimed or "SECONDARY" in tokens
    )


# --- the kind of image ---------------------------------------------------------------------------


def _base(image: Image, claimed: Collection[str]) -> tuple[str | None, float, str]:
    """t1, t2, flair, pd or another kind; how sure; why."""
    measured, numbers = _measured(image)
    said = {name for name in _BASE if name in claimed}
    if {"t1", "flair"} <= said or {"pd", "t2"} <= said:  # T1-FLAIR, and both echoes in one name
        said = {measured} & said if measured in said else said
    if measured and not said:
        return measured, 0.85, f"{numbers}; its name does not say"
    if measured in said and len(said) == 1:
        return measured, 0.95, f"its name and {numbers}"
    if len(said) != 1:
        what = "its name says several things" if said else "nothing says which sequence it is"
        return None, 0.3, what
    word = next(iter(said))
    if not measured:
        given = image.get("EchoTime") is not None
        odd = f", though {numbers} is unusual" if given else "; no times are given"
        return word, 0.6 if given else 0.75, f"its name{odd}"
    if (word, measured) == ("t2", "flair"):
        return "flair", 0.85, f"its name and {numbers}"
    if (word, measured) == ("flair", "t2") and not image.get("InversionTime"):
        sure = 0.8 if image.get("RepetitionTime", 0) >= 4500 else 0.5
        return "flair", sure, f"its name; no inversion time is given ({numbers})"
    if (word, measured) == ("t2", "t2star"):
        return "t2star", 0.9, numbers
    why = f"its name says {_BASE[word]}, its numbers {_BASE.get(measured, measured)} ({numbers})"
    return (measured if measured in _BASE else word), 0.4, why


def _measured(image: Image) -> tuple[str | None, str]:
    """The kind of image by its times, None where they fit none; and the times in words."""
    tr, te = image.get("RepetitionTime"), image.get("EchoTime")
    ti = image.get("InversionTime", 0.0) or 0.0
    told = [f"{n} {v:g}" for n, v in (("TR", tr), ("TE", te), ("TI", ti or None)) if v is not None]
    numbers = ", ".join(told) or "no times"
    by_tag = {"T1": "t1", "T2": "t2", "PROTON_DENSITY": "pd", "FLUID_ATTENUATED": "flair",
              "STIR": "stir"}.get(str(image.get("AcquisitionContrast", "")).upper())  # fmt: skip
    if tr is None or te is None:
        return by_tag, f"{numbers} {image.get('AcquisitionContrast', '')}".strip()
    echo = _echo(image)
    if echo == "planar":
        return "epi", f"echo-planar, {numbers}"
    if echo == "gradient":
        return _by_gradient_echo(image, tr, te), f"gradient echo, {numbers}"
    return _by_spin_echo(tr, te, ti), numbers


def _echo(image: Image) -> str:
    kinds = str(image.get("ScanningSequence", "")).upper().split("\\")
    name = f"{image.get('SequenceName', '')} {image.get('PulseSequenceName', '')}".lower()
    pulse = str(image.get("EchoPulseSequence", "")).upper()
    if "EP" in kinds or "*ep" in name or "epfid" in name:
        return "planar"
    if "SE" in kinds or pulse == "SPIN":
        return "spin"
    if "GR" in kinds or pulse == "GRADIENT" or any(n in name for n in ("tfl", "*fl", "spgr")):
        return "gradient"
    # without a word on it: short times are those of gradient echoes
    short = image.get("RepetitionTime", 0) < 60 and image.get("EchoTime", 99) < 12
    return "gradient" if short or image.get("FlipAngle", 90) < 35 else "spin"


def _by_gradient_echo(image: Image, tr: float, te: float) -> str | None:
    variant = set(str(image.get("SequenceVariant", "")).upper().split("\\"))
    if te >= 12:
        return "t2star"
    if "SS" in variant and not variant & {"SP", "MP"} and image.get("FlipAngle", 0) >= 40:
        return "steady state"
    return "t1"


def _by_spin_echo(tr: float, te: float, ti: float) -> str | None:
    if ti >= 1400:
        return "flair" if tr >= 3500 and te >= 60 else None
    if ti >= 350:
        return "t1" if te <= 45 else None
    if ti >= 60:
        return "stir"
    if tr <= 1300:
        return "t1" if te <= 40 else None
    if te >= 60:
        return "t2" if tr >= 1500 else None
    return "pd" if te <= 45 and tr >= 1500 else None


# --- contrast agent ------------------------------------------------------------------------------


def _named(
    base: str | None,
    sure: float,
    reason: str,
    part: Part,
    agents: bool,
    shared_protocols: Collection[str],
    everywhere: Everywhere | None,
) -> Verdict:
    if base is None:
        return Verdict("not known", None, sure, f"set aside: {reason}")
    if base == "pd":
        why = f"set aside: proton density ({reason})"
        return Verdict("proton density", None, sure, why, aside=sure > 0.7)
    if base != "t1":
        sequence, kind = {"t2": ("t2w", "T2"), "flair": ("t2f", "FLAIR")}[base]
        return Verdict(kind, sequence, sure, f"by {reason}")
    named = _said_by_name(part, shared_protocols)
    if everywhere is not None and named is None:
        given, certain, why = _by_time(part, everywhere)
    else:
        given, certain, why = _contrast(part, agents, named, everywhere is not None)
    sequence, kind = ("t1c", "T1 after contrast") if given else ("t1n", "T1 native")
    why = f"T1 by {reason}; {why}"
    return Verdict(kind, sequence, min(sure, certain), why, after_by_name=named is True)


def _said_by_name(part: Part, shared_protocols: Collection[str]) -> bool | None:
    text, protocol = description(part.images[0])
    said = contrast_said(text)
    if said is None and not claims(text) and protocol not in shared_protocols:
        said = contrast_said(protocol)
    return said


def _contrast(
    part: Part, agents: bool, said: bool | None, everywhere: bool
) -> tuple[bool, float, str]:
    """After contrast agent or not, by name (``said``) and tag; how sure; why."""
    tag = None if everywhere else agent_tag(part.images)
    if tag is None and said is None:
        if says_both(description(part.images[0])[0]) and not (agents and part.of > 1):
            return False, 0.5, "its name says both with and without contrast"
        if any(image.get("ContrastAgentUnclear") for image in part.images):
            return True, 0.5, "its contrast tag does not say for sure whether agent was given"
        if agents:
            return False, 0.9, "no sign of contrast agent, which other series have"
        return False, 0.75, "no sign of contrast agent"
    if tag is None or said is None or tag == said:
        answer = bool(said if tag is None else tag)
        by = [w for w, s in (("its name", said), ("its contrast tag", tag)) if s is not None]
        state = "after contrast" if answer else "native"
        return answer, 0.95 if len(by) == 2 else 0.85, f"{state} by {' and '.join(by)}"
    names = "after contrast" if said else "native"
    return said, 0.5, f"its name says {names}, its contrast tag the opposite"


def _by_time(part: Part, everywhere: Everywhere) -> tuple[bool, float, str]:
    """As ``_contrast``, where neither the name nor the tag says it."""
    own, why = measured_at(part.images), "the contrast tag stands in every series and says nothing"
    if own is None or everywhere.since is None:
        return True, 0.5, why
    if own < everywhere.since:
        return False, 0.85, f"measured before the series whose name says contrast; {why}"
    return True, 0.6, f"measured after a series whose name says contrast; {why}"


def agent_tag(images: Sequence[Image]) -> bool | None:
    """What the contrast tags of a volume say; None where they say nothing or not the same."""
    said = {of_image(image.values) for image in images}
    return next(iter(said)) if len(said) == 1 else None
