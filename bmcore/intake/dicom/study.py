"""Everything that a user brought, as patients, examinations and series with a verdict on each."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmcore.domain import Finding, Severity, refuse
from bmcore.geometry import voxel_sizes_mm
from bmcore.intake.dicom.extent import with_coverage
from bmcore.intake.dicom.files import is_packed, list_files
from bmcore.intake.dicom.found import (
    SURE,
    ExaminationFound,
    Image,
    PatientFound,
    SeriesFound,
    SourceFile,
    StudyFound,
    title,
)
from bmcore.intake.dicom.scan import Scanned, scan
from bmcore.intake.dicom.sequence import (
    Everywhere,
    Verdict,
    agent_tag,
    description,
    is_localiser,
    judge,
    object_kind,
)
from bmcore.intake.dicom.sorting import Group, examinations, patients
from bmcore.intake.dicom.sorting import series as groups_of_series
from bmcore.intake.dicom.volumes import Part, measured_at, origin, volumes
from bmcore.intake.nifti_file import MAX_VOXELS, MIN_VOXELS_AN_AXIS, VOXEL_MM
from bmcore.intake.sequence_name import contrast

Source = str | Path | Iterable[str | Path]
_STORAGE = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_NAMED = 5  # files that a problem names one by one


def read_study(source: Source) -> StudyFound:
    """Find all series in a folder, files, zips, or what a DICOMDIR lies beside.

    Nothing is chosen and no pixel is converted yet; ``close`` the result when done. InputRefused
    where there is no DICOM image, or an archive that must not be opened.
    """
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(p) for p in source]
    files, unpacked = list_files(paths)
    try:
        found = of_files(files, paths[0].name if paths else None)
    except BaseException:
        if unpacked is not None:
            unpacked.cleanup()
        raise
    found.unpacked = unpacked
    return found


def of_files(files: Sequence[SourceFile], name: str | None = None) -> StudyFound:
    """``read_study`` of files that were listed already. name: of all, as the user knows it."""
    scanned = scan(files)
    if not scanned.images and not scanned.others:
        packed = [file for file in files if is_packed(file)]
        if packed:
            raise refuse(
                "there is no DICOM image in it, but an archive that has to be unpacked first",
                file=name,
                found="; ".join(f"{file.name}{f' ({file.closed})' if file.closed else ''}"
                                for file in packed[:_NAMED]),
                expected="a folder or zip of a DICOM examination",
                hint="unpack it and choose its folder.",
            )  # fmt: skip
        raise refuse(
            "there is no DICOM image in it",
            file=name,
            found=f"{len(files)} other files" if files else "no file",
            expected="a folder or zip of a DICOM examination",
            hint="choose the folder that the images lie in.",
        )
    return StudyFound(tuple(_patients(scanned)), scanned.notes, absent=scanned.absent)


def _patients(scanned: Scanned) -> Iterator[PatientFound]:
    number = 0
    found_patients = patients((*scanned.images, *scanned.others))
    for patient in sorted(found_patients, key=lambda group: group.label):
        found = []
        for group in examinations(patient.images):
            number += 1
            series = tuple(series_of(group.images, scanned.absent))
            found.append(ExaminationFound(str(number), str(group.key[0]), group.label, series))
        identity = "\0".join(map(str, patient.key[: 3 if patient.key[0] else 4]))
        yield PatientFound(patient.label, identity, tuple(found))


def series_of(images: Sequence[Image], absent: Mapping[str, int]) -> list[SeriesFound]:
    """All volumes of one examination, with what each is; in the order of the scanner's numbers."""
    parts: list[tuple[Group, Part]] = []
    for group in groups_of_series(images):
        name = title(group.label, str(group.images[0].get("SeriesDescription", "")))
        with_pixels = [i for i in group.images if i.get("pixels")]
        if not with_pixels:
            parts.append((group, Part(group.images, None)))
            continue
        parts += [(group, part) for part in volumes(with_pixels, name)]
    agents = any(_speaks_of_agent(part) for _, part in parts)
    shared = _shared_protocols(part for _, part in parts)
    everywhere = _agent_everywhere([part for _, part in parts])
    labels = _labels([group.label for group, _ in parts])
    found = [
        _found(label, group, part, judge(part, agents, shared, everywhere), absent)
        for label, (group, part) in zip(labels, parts, strict=True)
    ]
    if any(s.sequence == "t1n" and s.usable and s.confidence >= SURE for s in found):
        found = [replace(s, surely_after=s.sequence == "t1c") for s in found]
    return with_coverage(found)


def _speaks_of_agent(part: Part) -> bool:
    said = contrast(description(part.images[0])[0])
    return bool(agent_tag(part.images) or said)


def _agent_everywhere(parts: Sequence[Part]) -> Everywhere | None:
    """Given where the contrast tag does not tell series before the agent from those after it: all
    of two or more series carry it, or the localiser with which the examination begins."""
    images = [part for part in parts if not object_kind(part.images[0])]
    measured = [part for part in images if origin(part.images[0]) == "original"]
    series = {str(part.images[0].get("SeriesInstanceUID", "")) for part in measured}
    if len(series) < 2:
        return None
    first = min(measured, key=_order)
    carried = all(agent_tag(part.images) for part in measured)
    if not carried and not (is_localiser(first.images[0]) and agent_tag(first.images)):
        return None
    named = [measured_at(p.images) for p in parts if contrast(description(p.images[0])[0])]
    return Everywhere(min((time for time in named if time is not None), default=None))


def _order(part: Part) -> tuple[float, float]:
    time = measured_at(part.images)
    number = float(part.images[0].get("SeriesNumber", math.inf))
    return (math.inf if time is None else time), number


def _shared_protocols(parts: Iterable[Part]) -> set[str]:
    """Names of protocols under which different series were measured."""
    under: dict[str, set[tuple]] = defaultdict(set)
    for part in parts:
        text, protocol = description(part.images[0])
        first = part.images[0]
        under[protocol].add((text, first.get("RepetitionTime"), first.get("EchoTime")))
    return {protocol for protocol, kinds in under.items() if len(kinds) > 1}


def _labels(numbers: Sequence[str]) -> list[str]:
    """The scanner's numbers, with letters where one number stands for several volumes."""
    counts, seen = Counter(numbers), Counter[str]()
    labels = []
    for number in numbers:
        seen[number] += 1
        alone = counts[number] == 1 and number
        labels.append(number if alone else f"{number or 'x'}{_letters(seen[number], not number)}")
    return labels


def _letters(count: int, plain: bool) -> str:
    if plain:
        return str(count)
    text = ""
    while count:
        count, rest = divmod(count - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _found(
    label: str,
    group: Group,
    part: Part,
    verdict: Verdict,
    absent: Mapping[str, int],
) -> SeriesFound:
    first = part.images[0]
    text = str(first.get("SeriesDescription", ""))
    name = title(label, text)
    own = str(first.get("SeriesInstanceUID", ""))
    problems = [] if verdict.aside else list(_problems(name, part))
    odd = [f.what for f in part.faults if verdict.aside and f.kind not in ("few", "none")]
    notes = [*part.notes, *_notes(name, part, absent.get(own, 0))]
    return SeriesFound(
        label=label,
        uid=own,
        number=int(group.label) if group.label else None,
        description=text,
        part=part.part,
        kind=verdict.kind,
        sequence=verdict.sequence,
        confidence=verdict.confidence,
        reason="; ".join((verdict.reason, *odd)),
        images=part.images,
        stack=part.stack,
        problems=tuple(problems),
        notes=tuple(notes),
        reformatted=verdict.reformatted,
        fat_suppressed=verdict.fat_suppressed,
        surely_after=verdict.after_by_name,
    )


def _problems(name: str, part: Part) -> Iterator[Finding]:
    """Why a volume cannot be used, in words; the series is named, and the files."""
    for fault in part.faults:
        files = ", ".join(dict.fromkeys(image.file.name for image in fault.images[:4]))
        found = f"{fault.found}; in {files}" if files and len(fault.images) < 5 else fault.found
        expected = "one even stack of parallel slices"
        if fault.kind == "agent":
            expected = "all slices before contrast agent, or all after it"
        yield _refused(fault.what, name, found, expected)
    yield from _faulty_files(name, part.images)
    yield from _odd_values(name, part.images)
    if part.stack is None:
        return
    shape, sizes = part.stack.shape, voxel_sizes_mm(part.stack.affine)
    if min(shape) < MIN_VOXELS_AN_AXIS:
        few = f"{min(shape)} slices" if min(shape) == shape[2] else " x ".join(map(str, shape))
        yield _refused("the series has too few slices", name, few, f"at least {MIN_VOXELS_AN_AXIS}")
    if shape[0] * shape[1] * shape[2] > MAX_VOXELS:
        words_ = " x ".join(map(str, shape))
        yield _refused("the series is too large", name, words_, f"at most {MAX_VOXELS} voxels")
    if sizes.min() < VOXEL_MM[0] or sizes.max() > VOXEL_MM[1]:
        found = " x ".join(f"{s:.3g}" for s in sizes) + " mm"
        expected = f"{VOXEL_MM[0]} to {VOXEL_MM[1]} mm"
        yield _refused("the voxel size is not plausible for a head MRI", name, found, expected)


def _refused(what: str, file: str, found: str | None, expected: str | None = None) -> Finding:
    hint = "send or copy the series again."
    return Finding(Severity.REFUSED, what, file, found, expected, hint)


def _faulty_files(name: str, images: Sequence[Image]) -> Iterator[Finding]:
    faulty = {i.file.name: str(i.get("pixels")["fault"]) for i in images
              if "fault" in i.get("pixels", {})}  # fmt: skip
    for file, fault in list(faulty.items())[:_NAMED]:
        yield _refused(fault, file, f"an image of {name}", "complete pixel data")
    if len(faulty) > _NAMED:
        kinds = "; ".join(dict.fromkeys(fault.split(":")[0] for fault in faulty.values()))
        yield _refused(f"{len(faulty) - _NAMED} more of its files cannot be read", name, kinds)


def _odd_values(name: str, images: Sequence[Image]) -> Iterator[Finding]:
    """Values that have no scale, or not the same kind of scale everywhere."""
    slopes = [image.get("RescaleSlope") for image in images]
    if None in slopes and len(set(slopes)) > 1:
        found = f"{slopes.count(None)} of {len(slopes)} images have none"
        yield _refused("a scale of the values is given for some of its images only", name, found)
    if 0 in slopes:
        yield _refused("the scale of its values is 0", name, None)
    if any(image.get("ModalityLut") for image in images):
        yield _refused("its values are coded by a table", name, "a modality LUT", "a linear scale")
    allowed = {"MONOCHROME1", "MONOCHROME2"}
    kinds = {str(i.get("PhotometricInterpretation", "")).strip() for i in images} - allowed
    if kinds:
        found = ", ".join(sorted(kinds)) or "nothing"
        yield _refused("its pixels are not plain grey values", name, found)


def _notes(name: str, part: Part, absent: int) -> Iterator[Finding]:
    images = part.images
    if absent:
        many = "1 of its images is" if absent == 1 else f"{absent} of its images are"
        what = f"{many} missing that DICOMDIR names"
        yield Finding(Severity.WARNING, what, name)
    yield from _few_or_twice(name, part)
    frames = {str(image.get("FrameOfReferenceUID", "")) for image in images}
    if len(frames) > 1:
        what = "its images name more than one frame of reference; the patient may have moved"
        yield Finding(Severity.WARNING, what, name, found=f"{len(frames)} of them")
    if any(image.get("LossyImageCompression") for image in images):
        what = "its images were compressed with loss; small lesions may be lost"
        yield Finding(Severity.WARNING, what, name)
    stored = {tuple(image.get(name) for name in _STORAGE) for image in images}
    if len(stored) > 1:
        what = "its images store their values in different ways; check whether one stands out"
        yield Finding(Severity.WARNING, what, name, found=f"{len(stored)} ways")
    turned = {str(image.get("PhotometricInterpretation", "")).strip() for image in images}
    if "MONOCHROME1" in turned:
        what = "its values were stored inverted (MONOCHROME1) and were turned"
        yield Finding(Severity.INFO, what, name)


def _few_or_twice(name: str, part: Part) -> Iterator[Finding]:
    """Slices that may be lost though the rest is even, and one identity for several images."""
    if part.stack is None:
        return
    first = part.images[0]
    step = float(voxel_sizes_mm(part.stack.affine)[2])
    told, thick = first.get("SpacingBetweenSlices", 0.0), first.get("SliceThickness", 0.0)
    times = step / told if told else 1.0
    if round(times) >= 2 and abs(times - round(times)) < 0.05 and step > 1.5 * max(thick, told):
        what = "its slices lie further apart than its header says; every second one may be missing"
        found, expected = f"{step:.2f} mm", f"{told:.2f} mm"
        yield Finding(Severity.WARNING, what, name, found, expected)
    uids = [(i.get("SOPInstanceUID"), i.frame) for i in part.images if i.get("SOPInstanceUID")]
    if len(set(uids)) < len(uids):
        what = "several of its images, at different places, bear one identity (SOP Instance UID)"
        yield Finding(Severity.WARNING, what, name, found=f"{len(uids) - len(set(uids))} images")
