"""The images of one series to volumes: what does not belong together is taken apart.

Echoes, magnitude and phase, diffusion weightings, matrices and orientations are always taken apart.
Acquisitions, time points and other marks of the scanner only where several images lie at one place:
a single volume may well be measured in packages. Copies of one image are dropped; two different
images under one UID are a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import numpy as np

from bmcore.domain import Finding, InputRefused, Severity
from bmcore.intake.child import Limits, ask
from bmcore.intake.dicom.agent import of_image
from bmcore.intake.dicom.found import Image, Stack
from bmcore.intake.dicom.geometry import (
    Fault,
    by_orientation,
    in_order,
    normal_of,
    orientation,
    same_place,
    stack,
)
from bmcore.intake.dicom.pieces import piece, seconds_for

_STRAY = 0.1  # of the slices
_MANY = 8
_PAUSE_S = 600.0  # no package of slices is measured for longer
_SOFT_TYPE = "type of image"
_SOFT: tuple[tuple[str, str], ...] = (
    ("ContrastAgent", "contrast agent"),
    ("TemporalPositionIdentifier", "time point"),
    ("TemporalPositionIndex", "time point"),
    ("AcquisitionNumber", "acquisition number"),
    ("FrameAcquisitionNumber", "acquisition number"),
    ("InversionTime", "inversion time"),
    ("FlipAngle", "flip angle"),
    ("RepetitionTime", "repetition time"),
    ("ImageType", _SOFT_TYPE),
    ("ScanningSequence", "type of sequence"),
    ("AcquisitionContrast", "weighting"),
    ("FrameOfReferenceUID", "frame of reference"),
    ("SeriesTime", "time of acquisition"),
    ("AcquisitionTime", "time of acquisition"),
    ("TriggerTime", "trigger time"),
    ("StackID", "stack"),
    ("file", "file"),
)


@dataclass(frozen=True)
class Part:
    """One volume of a series, or images that are none (``faults`` say why).

    part: what tells it from the other volumes of its series, in words. of: how many volumes lie
    over each other, at different times or settings.
    """

    images: tuple[Image, ...]
    stack: Stack | None
    faults: tuple[Fault, ...] = ()
    part: str = ""
    of: int = 1
    notes: tuple[Finding, ...] = ()


def volumes(images: Sequence[Image], title: str) -> list[Part]:
    """The volumes of one series; title: the series as findings name it."""
    placed = [image for image in images if orientation(image) is not None]
    lost = [image for image in images if orientation(image) is None]
    parts = list(_planes(placed, title)) if placed else []
    if lost:
        fault = Fault("none", "it does not say where its images lie", f"{len(lost)} images")
        parts.append(Part(tuple(lost), None, (fault,)))
    return parts


def _planes(images: list[Image], title: str) -> Iterator[Part]:
    """One part or more for each orientation; a few images of another plane are left out, named."""
    main, *rest = by_orientation(images)
    stray = [g for g in rest if len(g) <= max(2, _STRAY * len(main)) and len(main) >= _MANY]
    others = [g for g in rest if g not in stray]
    if others and min(len(g) for g in (main, *others)) < _MANY:
        counts = " and ".join(str(len(g)) for g in (main, *others))
        what = f"the series mixes {len(others) + 1} orientations"
        fault = Fault("mixed", what, f"{counts} images", tuple(images))
        yield Part(tuple(images), None, (fault,))
        return
    notes = tuple(_left_out(g, title) for g in stray)
    for group in (main, *others):
        for members, words in _kinds(group):
            for part in _stacks(members, title):
                both = ", ".join(w for w in (words, part.part) if w)
                yield replace(part, part=both, notes=(*part.notes, *notes))
        notes = ()


def _left_out(images: Sequence[Image], title: str) -> Finding:
    many = "one image" if len(images) == 1 else f"{len(images)} images"
    names = ", ".join(image.file.name for image in images[:3])
    name = str(images[0].get("SeriesDescription", "")) or "the series"
    what = f"{many} of another plane left out of {name}"
    return Finding(Severity.WARNING, what, title, found=names, expected="parallel slices")


def _kinds(images: Sequence[Image]) -> Iterator[tuple[list[Image], str]]:
    """Images of one echo, one component, one b-value, one matrix and pixel size."""
    echoes = clusters([image.get("EchoTime", 0.0) for image in images], 0.3, 0.08)
    spacings = [image.get("PixelSpacing", (0.0, 0.0)) for image in images]
    edges = [clusters([s[n] for s in spacings], 1e-4, 5e-3) for n in (0, 1)]
    groups: dict[tuple[Hashable, ...], list[Image]] = defaultdict(list)
    for image, echo, *edge in zip(images, echoes, *edges, strict=True):
        key = (
            *(echo, component(image), round(image.get("DiffusionBValue", 0.0) / 10), *edge),
            *(image.get("Rows"), image.get("Columns"), image.get("SamplesPerPixel")),
            *(origin(image), "LOCALIZER" in image.get("ImageType", ())),
        )
        groups[key].append(image)
    several = len({key[0] for key in groups}) > 1
    for key, members in groups.items():
        words = []
        if several:
            words.append(f"TE {members[0].get('EchoTime', 0):g}")
        if len({k[1] for k in groups}) > 1:
            words.append(str(key[1]))
        if len({k[2] for k in groups}) > 1:
            words.append(f"b {members[0].get('DiffusionBValue', 0):g}")
        yield members, ", ".join(words)


def component(image: Image) -> str:
    """magnitude, phase, real or imaginary."""
    told = str(image.get("ComplexImageComponent", "")).strip().upper()
    by_number = {0: "magnitude", 1: "phase", 2: "real", 3: "imaginary"}
    kinds = [str(t) for t in image.get("ImageType", ())][2:]
    if told in ("PHASE", "REAL", "IMAGINARY"):
        return told.lower()
    for token, name in (("P", "phase"), ("R", "real"), ("I", "imaginary")):
        if token in kinds or name.upper() in kinds or f"{name.upper()} MAP" in kinds:
            return name
    if image.get("GeComponent") is not None and "GE" in str(image.get("Manufacturer", "")).upper():
        return by_number.get(int(image.get("GeComponent")), "magnitude")
    return "magnitude"


def origin(image: Image) -> str:
    """derived, secondary or original, by ImageType."""
    kinds = tuple(image.get("ImageType", ()))[:2]
    return "derived" if "DERIVED" in kinds else "secondary" if "SECONDARY" in kinds else "original"


def clusters(values: Sequence[float], least: float, share: float) -> list[int]:
    """A number for each value: values closer than ``least`` or ``share`` of them have the same."""
    order = np.argsort(values, kind="stable")
    numbers, current, last = [0] * len(values), 0, None
    for place in order:
        value = float(values[place])
        if last is not None and value - last > max(least, share * abs(last)):
            current += 1
        numbers[place], last = current, value
    return numbers


def _stacks(images: Sequence[Image], title: str) -> Iterator[Part]:
    kept, notes, faults = _without_copies(images, title)
    whole, found = stack(kept)
    if whole is not None:
        faults += _mixed_agent(kept)
        notes += _pause(kept, title)
    if faults or whole is not None:
        yield Part(tuple(kept), None if faults else whole, tuple(faults), notes=tuple(notes))
        return
    split = _taken_apart(kept)
    if not split:
        yield Part(tuple(kept), None, tuple(found), notes=tuple(notes))
        return
    words, parts = split
    many = {2: "two", 3: "three", 4: "four"}.get(len(parts), str(len(parts)))
    what = f"{many} volumes in one series, taken apart by {words}"
    note = Finding(Severity.WARNING, what, title, found=f"{len(kept)} images")
    for number, (members, own) in enumerate(parts, start=1):
        part = f"volume {number} of {len(parts)}"
        of = 1 if words == _SOFT_TYPE else len(parts)
        mixed = tuple(_mixed_agent(members))
        paused = _pause(members, title)
        yield Part(tuple(members), None if mixed else own, mixed, part, of, (*notes, note, *paused))


def _mixed_agent(images: Sequence[Image]) -> list[Fault]:
    """A fault where slices before and after contrast agent, by their tags, make up one volume."""
    given = [image for image in images if of_image(image.values)]
    others = [image for image in images if not of_image(image.values)]
    if not given or not others:
        return []
    what = "its slices are from before and after contrast agent, by their tags"
    found = f"{len(given)} of {len(images)} name an agent"
    return [Fault("agent", what, found, tuple(others if len(others) < len(given) else given))]


def _pause(images: Sequence[Image], title: str) -> list[Finding]:
    """A warning where slices of one volume were measured minutes apart."""
    times = sorted({time for time in map(_seconds, images) if time is not None})
    longest = max((b - a for a, b in pairwise(times)), default=0.0)
    if longest < _PAUSE_S:
        return []
    what = "its slices were measured with a long pause between; they may be of two measurements"
    found, expected = f"{longest / 60:.0f} minutes", f"less than {_PAUSE_S / 60:.0f} minutes"
    hint = "check that all slices are either before or after contrast agent."
    return [Finding(Severity.WARNING, what, title, found, expected, hint)]


def _taken_apart(images: Sequence[Image]) -> tuple[str, list[tuple[list[Image], Stack]]] | None:
    """The first mark that takes the images apart into even stacks that lie over each other."""
    for name, words in _SOFT:
        groups: dict[str, list[Image]] = defaultdict(list)
        for image in images:
            groups[_mark(image, name)].append(image)
        if len(groups) < 2 or len(groups) > len(images) // 2:
            continue
        stacks = [(members, stack(members)[0]) for members in groups.values()]
        even = [(members, own) for members, own in stacks if own is not None]
        if len(even) == len(stacks) and _over_each_other([own for _, own in even]):
            return words, sorted(even, key=lambda pair: _when(pair[0]))
    return None


def _mark(image: Image, name: str) -> str:
    if name == "file":
        return image.file.name
    return str(image.get(name, False if name == "ContrastAgent" else ""))


def _over_each_other(stacks: Sequence[Stack]) -> bool:
    """Whole volumes over each other, not every second slice of one."""
    counts = [len(own.images) for own in stacks]
    distances = [float(np.linalg.norm(own.affine[:3, 2])) for own in stacks]
    if min(counts) < 0.6 * max(counts) or max(distances) > 1.1 * min(distances):
        return False
    images = [image for own in stacks for image in own.images]
    thick = min(float(image.get("SliceThickness", 0.0)) for image in images)
    if thick and min(distances) > 1.5 * thick:
        return False  # each has a gap where the slices of the other lie
    ordered, places = in_order(images, normal_of(images))
    gaps = np.diff(places @ normal_of(ordered))
    half = min(distances) / len(stacks)
    return bool((np.abs(gaps - half) < 0.1 * half).mean() < 0.6)


def measured_at(images: Sequence[Image]) -> float | None:
    """When the first of the images was measured, in seconds; None where no time is given."""
    return min((t for t in map(_seconds, images) if t is not None), default=None)


def _seconds(image: Image) -> float | None:
    """The time of acquisition, counted from a day that is the same for all images."""
    clock = str(image.get("AcquisitionTime", "")).replace(":", "")
    day = str(image.get("AcquisitionDate", "")).replace(".", "").replace("-", "")
    both = str(image.get("AcquisitionDateTime", ""))
    day, clock = (day, clock) if clock else (both[:8], both[8:])
    try:
        days = date(int(day[:4]), int(day[4:6]), int(day[6:8])).toordinal() if day else 0
        time = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6] or 0)
    except ValueError:
        return None
    return float(days * 86_400 + time)


def _when(images: Sequence[Image]) -> tuple[str, float]:
    """The order in which volumes were measured."""
    times = [str(i.get("AcquisitionTime") or i.get("AcquisitionDateTime", "")) for i in images]
    numbers = [float(i.get("AcquisitionNumber") or i.get("InstanceNumber", 0)) for i in images]
    return min(times), min(numbers)


# --- the same image twice ------------------------------------------------------------------------


def _without_copies(
    images: Sequence[Image], title: str
) -> tuple[list[Image], list[Finding], list[Fault]]:
    """The images without copies of the same; a fault where one UID stands for two images."""
    groups = same_place(images) if len(images) > 1 else [list(images)]
    double = [image for group in groups if len(group) > 1 for image in group]
    if not double:
        return list(images), [], []
    digests = _digests(double)
    kept: list[Image] = []
    faults: list[Fault] = []
    for group in groups:
        own, conflict = _distinct(group, digests)
        kept += own
        faults += conflict
    dropped = len(images) - len(kept)
    notes = []
    if dropped:
        many = "1 copy of an image was" if dropped == 1 else f"{dropped} copies of images were"
        notes.append(Finding(Severity.INFO, f"{many} dropped", title))
    return kept, notes, faults


def _distinct(group: Sequence[Image], digests: dict[int, str]) -> tuple[list[Image], list[Fault]]:
    kept: list[Image] = []
    for image in sorted(group, key=lambda i: "fault" in i.get("pixels", {})):
        content, uid = digests.get(id(image)), image.get("SOPInstanceUID")
        for other in kept:
            same_uid = uid is not None and uid == other.get("SOPInstanceUID")
            same_uid = same_uid and image.frame == other.frame
            if content is None and same_uid:
                break  # its pixels cannot be read, and a whole copy is there
            if content == digests.get(id(other)) and (content or same_uid):
                break
            if same_uid and content is not None:
                what = "two different images with one identity (SOP Instance UID) at one place"
                names = f"{other.file.name} and {image.file.name}"
                return list(group), [Fault("identity", what, names, (other, image))]
        else:
            kept.append(image)
    return kept, []


def _digests(images: Sequence[Image]) -> dict[int, str]:
    """A hash of the pixels by ``id`` of the image; none for those that cannot be read."""
    readable = [image for image in images if "fault" not in image.get("pixels", {})]
    found: dict[int, str] = {}
    for start in range(0, len(readable), 200):
        batch = readable[start : start + 200]
        pieces = [piece(image) for image in batch]
        try:
            job = {"pieces": pieces}
            told = ask("dicom digests", job, batch[0].file.name, Limits(seconds_for(pieces)))
            found |= {id(i): str(d) for i, d in zip(batch, told["digests"], strict=True)}
        except InputRefused:
            for image, own in zip(batch, pieces, strict=True):
                digest = _digest(image, own)
                if digest is not None:
                    found[id(image)] = digest
    return found


def _digest(image: Image, own: dict) -> str | None:
    try:
        told = ask("dicom digests", {"pieces": [own]}, image.file.name, Limits(seconds_for([own])))
    except InputRefused:
        return None  # told when its series is read
    return str(told["digests"][0])
