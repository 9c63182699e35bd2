"""The three steps from files to a case: look, align, store. Each is done by a child process.

Between them the user looks: at what was found, at the outline of the brain. What a step makes lies
in the folder of its arrival: values as JSON, pictures as PNG.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from bmcore import disk
from bmcore.domain import ClinicalRecord, Volume, refuse
from bmcore.door import arrival, found, picture, ready, take, work
from bmcore.door.arrival import Arrival
from bmcore.door.look import for_page, look, opened
from bmcore.intake import gatekeeper
from bmcore.plain import load_json
from bmcore.zips import load_arrays

if TYPE_CHECKING:
    from bmcore.inference.admission import Admission

FOUND, ALIGNED, BRAIN, PAINTED = "found.json", "aligned.json", "brain.npz", "painted.npz"
_FITS = "The sequences fit together, and nothing about the outline stands out."
_AS_IT_CAME = "The images came on one grid without skull, and were left as they are."
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class Aligned:
    """What the page needs of an alignment. findings: (severity, sentence). outline: there is one
    to look at; False where the images came without skull. steps_s: step -> seconds."""

    findings: tuple[tuple[str, str], ...]
    outline: bool
    steps_s: Mapping[str, float]

    @property
    def sentence(self) -> str:
        return _FITS if self.outline else _AS_IT_CAME


# --- the steps -----------------------------------------------------------------------------------


def look_step(home: Path, of: Arrival, told: Told) -> None:
    """What is there: ``found.json``, and a picture of each series."""
    if of.demo:
        from bmcore.door import demo

        told("Drawing the synthetic study", 0.0)
        demo.study(home)
    told("Reading the headers", 0.1)
    pictures = disk.private_folder(of.folder / "series")

    def keep(examination: str, series: str, png: bytes) -> None:
        disk.write(pictures / f"{_safe(examination)}-{_safe(series)}.png", png)

    found.save(look(of.sources(), keep, home), of.folder / FOUND)


def align_step(home: Path, of: Arrival, told: Told) -> None:
    """The chosen series on one grid without skull: findings, pictures of the outline."""
    admission = _admitted(home, of, told)
    ready.keep(of, admission.case, admission.raw.technical)
    told("Drawing the outline", 0.98)
    outline = admission.outline()
    if outline is not None:
        brain = Volume(outline.brain.astype(np.uint8), outline.image.affine)
        for plane, png in picture.outlines(outline.image, brain):
            disk.write(outline_picture(of, plane), png)
        with disk.beside(of.folder / BRAIN) as new, disk.create(new) as file:
            blocks = picture.for_brush(outline.image, outline.brain)
            np.savez_compressed(file, image=blocks["image"], brain=blocks["brain"])
    else:
        image = admission.case.sequences["t1c"]
        for plane, png in picture.plain(image):
            disk.write(outline_picture(of, plane), png)
    findings = [(str(f.severity), for_page(f).sentence) for f in admission.findings]
    values = {"findings": findings, "outline": outline is not None,
              "steps_s": dict(admission.steps_s)}  # fmt: skip
    disk.write(of.folder / ALIGNED, json.dumps(values))


def store_step(home: Path, of: Arrival, told: Told) -> str:
    """The case in the library; its id. What was brought is removed."""
    from bmcore.intake import library

    asked = work.asked(of, work.ALIGN)
    told("Reading the images", 0.0)
    kept = ready.read(of, ClinicalRecord(**asked["clinical"]))
    if kept is None:
        admission = _admitted(home, of, told)
        kept = admission.case, admission.raw.technical
    told("Storing the images", 0.3)
    case, technical = kept
    read_as = tuple(ready.finding(values) for values in asked["read_as"])
    case = replace(case, findings=gatekeeper.collect(case.findings, read_as))
    entry = library.add_volumes(home, case, technical, case_id=asked["case_id"])
    arrival.empty(of)
    return entry.case_id


def _admitted(home: Path, of: Arrival, told: Told) -> Admission:
    """The choice of the user as a case; an alignment that was made before is found again."""
    from bmcore.imaging import preprocess
    from bmcore.inference import admission

    asked = work.asked(of, work.ALIGN)
    told("Reading the images", 0.0)
    with opened(of.sources()) as brought:
        raw, names = take.raw(brought, asked["series"], asked["study"], home)
    raw = replace(raw, case_id=asked["case_id"])
    with machine(home, told):
        made = admission.admit(raw, ClinicalRecord(**asked["clinical"]), home, told)
        painted = of.folder / PAINTED
        if painted.exists() and made.alignment is not None:
            told("Applying your outline", 0.94)
            mask = load_arrays(painted, picture.MOST_BRUSH)["brain"] > 0
            made = admission.admit_again(made, picture.corrected(made.alignment.brain, mask))
        told("Comparing the sequences with each other", 0.96)
        doubts = preprocess.inspect(made.case)
    stored = gatekeeper.collect(made.case.findings, doubts)
    shown = gatekeeper.as_named(gatekeeper.collect(made.findings, doubts), names)
    gatekeeper.stop(shown)
    return replace(made, case=replace(made.case, findings=stored), findings=shown)


@contextmanager
def machine(home: Path, told: Told) -> Iterator[None]:
    """One heavy work at a time on this computer: the lock that predictions take, too."""
    folder = disk.private_folder(Path(home) / "jobs")
    lock = FileLock(folder / "one-at-a-time.lock", mode=disk.FILE_MODE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        told("Waiting for other work to finish", 0.0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


# --- for the page --------------------------------------------------------------------------------


def aligned(of: Arrival) -> Aligned:
    """What ``align_step`` made of an arrival."""
    values = load_json(of.folder / ALIGNED)
    findings = tuple((str(severity), str(words)) for severity, words in values["findings"])
    return Aligned(findings, bool(values["outline"]), values["steps_s"])


def brush(of: Arrival) -> dict[str, npt.NDArray]:
    """What the brush paints on: "image" and "brain", (i, j, k) uint8."""
    return load_arrays(of.folder / BRAIN, 2 * picture.MOST_BRUSH)


def paint(of: Arrival, packed: bytes) -> None:
    """Keep the outline as it was painted: one bit a block of ``brush``, i fastest, gzipped.

    InputRefused where it is no such mask, or empty.
    """
    shape = brush(of)["brain"].shape
    count = int(np.prod(shape))
    raw = zlib.decompressobj(31).decompress(packed, count)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    if not count <= bits.size < count + 8 or not bits[:count].any():
        raise refuse("the outline that was painted is empty or damaged", hint="paint it again.")
    mask = bits[:count].reshape(shape, order="F")
    with disk.beside(of.folder / PAINTED) as new, disk.create(new) as file:
        np.savez_compressed(file, brain=mask)


def outline_picture(of: Arrival, plane: str) -> Path:
    return of.folder / f"outline-{plane}.png"


def series_picture(of: Arrival, examination: str, series: str) -> Path:
    return of.folder / "series" / f"{_safe(examination)}-{_safe(series)}.png"


def _safe(label: str) -> str:
    return "".join(c for c in label if c.isalnum())[:40]
