"""The last step of the door: whatever came, as a case on one grid without skull for the models.

Files that lie on one grid without skull are left as they are. Everything else is registered, the
skull is taken away, and the exact way back to T1 post-gadolinium as it came is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bmcore.domain import (
    Case,
    ClinicalRecord,
    Finding,
    InputRefused,
    Severity,
    Volume,
)
from bmcore.imaging import alignment_quality, extraction, heads, skull
from bmcore.imaging.alignment_quality import Quality
from bmcore.inference import alignment_store, reference_placement
from bmcore.intake import gatekeeper, library
from bmcore.intake.library import CaseEntry
from bmcore.intake.one_grid import off_grid
from bmcore.intake.raw import RawStudy
from bmcore.origin import Origin

OnStep = Callable[[str, float], None]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outline:
    """What a reader looks at before the case is used; nothing of it is stored.

    image: T1 post-gadolinium on the working grid with skull and all. brain: (i, j, k) there.
    """

    image: Volume
    brain: Mask
    quality: Quality


@dataclass(frozen=True, eq=False)
class Admission:
    """A case that is ready for ``pipeline.predict`` and for ``library.add_volumes``.

    case: on one grid without skull, with the findings that may be stored. findings: all that was
    noticed, in the words of the user's files. raw: what came. alignment: how it was brought there,
    None where nothing was done. steps_s: words of a step -> seconds.
    """

    case: Case
    findings: tuple[Finding, ...]
    raw: RawStudy
    alignment: heads.Alignment | None = None
    steps_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def origin(self) -> Origin | None:
        return self.case.origin

    def outline(self) -> Outline | None:
        """T1 post-gadolinium around the brain's outline (made when asked for, below 1 s)."""
        if self.alignment is None:
            return None
        image = heads.head(self.raw.volumes, self.alignment)
        return Outline(image, self.alignment.brain, self.alignment.quality)


def admit(
    raw: RawStudy,
    clinical: ClinicalRecord | None = None,
    home: Path | None = None,
    on_step: OnStep | None = None,
) -> Admission:
    """Bring what came onto one grid without skull, where it is not there already.

    home: where the alignment of the same images is kept and found again (matrices and the outline,
    no image); None keeps nothing. on_step: (what begins, share 0-1 of the whole). InputRefused as
    ``heads.align`` and where a finding blocks the case.
    """
    watch = _Watch(on_step or (lambda words, fraction: None))
    watch("Checking that the images fit together", 0.0)
    alignment = None
    if skull.needs_alignment(raw.volumes):
        _check_possible(raw.volumes)
        key = alignment_store.key_of(raw.volumes)
        if home is not None:
            alignment = alignment_store.read(home, key, raw.volumes["t1c"])
        if alignment is None:
            alignment = heads.align(raw.volumes, lambda w, f: watch(w, 0.02 + 0.9 * f))
            if home is not None:
                alignment_store.keep(home, key, alignment)
    if alignment is not None:
        watch("Writing the images on one grid", 0.93)
    return _admission(raw, alignment, clinical or ClinicalRecord(), watch)


def _check_possible(volumes: Mapping[str, Volume]) -> None:
    """Without brain extraction only heads that came without skull can be aligned."""
    if not extraction.available() and not skull.stripped(volumes["t1c"]):
        what, hint = heads.NOT_INSTALLED, heads.INSTALL
        skull_there = Finding(Severity.REFUSED, what, "t1c", hint=hint)
        raise InputRefused(skull_there, *off_grid(volumes, hint))


def admit_again(admission: Admission, brain: Mask) -> Admission:
    """The same with another outline of the brain: (i, j, k) of the working grid, as corrected with
    the brush. ValueError where nothing was aligned or the shapes differ."""
    before = admission.alignment
    if before is None:
        raise ValueError("the images came without skull; there is no outline to correct")
    if brain.shape != before.brain.shape:
        raise ValueError(f"the outline must be {before.brain.shape}, but is {brain.shape}")
    brain = np.asarray(brain, bool)
    if not brain.any():
        raise InputRefused(*alignment_quality.judge(Quality(parts=0)))
    quality = replace(before.quality, second=None, **alignment_quality.of_mask(brain))
    alignment = replace(before, brain=brain, extraction=heads.BY_HAND, quality=quality)
    return _admission(
        admission.raw, alignment, admission.case.clinical, _Watch(lambda words, fraction: None)
    )


def keep(home: Path, admission: Admission, case_id: str | None = None) -> CaseEntry:
    """Put an admitted case into the library, without skull; the next free number where no id is
    given."""
    return library.add_volumes(
        home, admission.case, admission.raw.technical, case_id=case_id or None
    )


def as_came(volume: Volume, origin: Origin | None) -> Volume:
    """What lies on the grid of a case on that of T1 post-gadolinium as it came; the same where
    nothing was aligned."""
    return volume if origin is None else heads.back(volume, origin)


def _admission(
    raw: RawStudy, alignment: heads.Alignment | None, clinical: ClinicalRecord, watch: _Watch
) -> Admission:
    """The case, as it is or drawn on the working grid, with all findings."""
    volumes: Mapping[str, Volume] = raw.volumes
    origin, side_doubt = None, raw.side_doubt
    new: tuple[Finding, ...] = ()
    if alignment is not None:
        volumes = heads.draw(raw.volumes, alignment)
        side_doubt = side_doubt or _cut_sideways(alignment.quality)
        origin = replace(alignment.origin, side_doubt=side_doubt)
        new = alignment.findings
    truth, placed = reference_placement.place(raw.truth, raw.volumes, alignment)
    stored, shown = (gatekeeper.collect(f, new, placed) for f in (raw.stored, raw.findings))
    gatekeeper.stop(stored)
    case = Case(raw.case_id, volumes, clinical, stored, truth, side_doubt, origin)
    return Admission(case, shown, raw, alignment, watch.done())


def _cut_sideways(quality: Quality) -> str | None:
    """Why the side cannot be told where a side of the brain is missing: its middle is not known."""
    sides = [side for side in quality.cuts if side in ("left", "right")]
    return f"the image ends within the brain at the {sides[0]}" if sides else None


class _Watch:
    """Passes the words of each step on and notes how long it took."""

    def __init__(self, tell: OnStep) -> None:
        self.tell, self.steps_s = tell, dict[str, float]()
        self.words, self.begun = "", time.perf_counter()

    def __call__(self, words: str, fraction: float) -> None:
        self._end()
        self.words, self.begun = words, time.perf_counter()
        self.tell(words, fraction)

    def _end(self) -> None:
        if self.words:
            spent = self.steps_s.get(self.words, 0.0) + time.perf_counter() - self.begun
            self.steps_s[self.words] = round(spent, 2)

    def done(self) -> dict[str, float]:
        self._end()
        self.words = ""
        return self.steps_s
