"""From a home folder and its database to what results and reports rest on; for page and command."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bmcore.analysis.lesion_match import kept_lesions, match_points, number_lesions
from bmcore.analysis.readings import (
    CaseFacts,
    Floats,
    LesionMarks,
    StudyData,
    from_study,
    from_votes,
)
from bmcore.domain import REGIONS, Case, Prediction, Primary, Volume
from bmcore.inference import archive
from bmcore.intake import library
from bmcore.review import corrections, marks, old_drafts, row_mapping
from bmcore.review.answers import in_force
from bmcore.review.marks import Mark
from bmcore.review.owner import Owner
from bmcore.review.record import StudyRecord
from bmcore.review.store import Store
from bmcore.review.votes import Reader, Vote, current
from bmcore.stats.continuous import reader_dice

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry


def of_cases(known: Mapping[str, Primary], cases: Collection[str]) -> dict[str, Primary]:
    """The known primaries of ``cases``: a hospital's table may list other patients by name."""
    return {case_id: primary for case_id, primary in known.items() if case_id in cases}


def light_predictions(home: Path, digest: str) -> dict[str, Prediction]:
    """The newest prediction of every case by the models ``digest``, without the masks' voxels: 0
    everywhere, on the grid they lie on. For what is in a mask: ``archive.latest``.
    """
    shelves = home / "predictions"
    cases = sorted(p.name for p in shelves.iterdir()) if shelves.is_dir() else []
    found = {}
    for case in cases:
        prediction = None if case.startswith(".") else archive.latest(home, case, digest)
        if prediction is not None:
            empty = np.broadcast_to(np.uint8(0), prediction.mask.shape)
            mask = Volume(empty, prediction.mask.affine)
            found[case] = replace(prediction, mask=mask)
    return found


def case_facts(
    entries: Iterable[CaseEntry],
    predictions: Mapping[str, Prediction],
    known: Mapping[str, Primary],
) -> dict[str, CaseFacts]:
    """What is known of every case that is listed, predicted or has a known primary."""
    listed = {e.case_id: e.clinical for e in entries if e.readable}
    facts = {}
    for case in sorted({*listed, *predictions, *known}):
        found = predictions.get(case)
        record = listed.get(case) or (found.clinical_record if found else None)
        facts[case] = CaseFacts(
            case_id=case,
            sex=record.sex if record else None,
            age_years=record.age_years if record else None,
            smoking=record.smoking if record else None,
            extracranial_metastases=record.extracranial_metastases if record else None,
            lesions=len(found.lesions) if found else None,
            truth=str(known[case]) if case in known else None,
            answers={a.kind: a.probabilities for a in found.answers} if found else {},
        )
    return facts


def free_votes(
    home: Path,
    store: Store,
    votes: Iterable[Vote],
    facts: Mapping[str, CaseFacts],
    predictions: Mapping[str, Prediction],
    readers: Iterable[Reader] = (),
) -> tuple[StudyData, LesionMarks]:
    """The free votes, with the readers' corrected masks and lesion marks."""
    latest = current(votes)
    years = {r.name: r.years for r in readers}
    names = sorted({v.reader for v in latest})
    data = from_votes(latest, facts, mask_agreement(home, store, predictions, names), years)
    wanted = {(v.reader, v.case_id, v.phase) for v in latest}
    return data, marks_of_readers(home, store, wanted, predictions)


def of_study(
    home: Path,
    store: Store,
    record: StudyRecord,
    facts: Mapping[str, CaseFacts],
    predictions: Mapping[str, Prediction],
) -> tuple[StudyData, LesionMarks]:
    """The answers of one study; lesion marks are the models' lesions that a reader kept."""
    names = [r.name for r in record.study.readers]
    mine = {c: p for c, p in predictions.items() if c in record.study.cases}
    data = from_study(record, facts, mask_agreement(home, store, mine, names))
    return data, marks_in_study(home, record, mine)


def mask_agreement(
    home: Path, store: Store, predictions: Mapping[str, Prediction], readers: Iterable[str]
) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """{case: (readers, Dice (readers, readers) of the tumour core)} where two corrected a case.

    A correction of an earlier segmentation of the models is left out.
    """
    names, found, places = list(readers), {}, _places(store)
    for case, prediction in sorted(predictions.items()):
        painted = {}
        for name in names:
            owner, site = places(case, name)
            old_drafts.adopt(store, home, owner)
            now = store.read(lambda c, o=owner, s=site: corrections.state(c, o, s))  # type: ignore[misc]
            if now is not None and now.sha256 is not None:
                painted[name] = now
        if len(painted) < 2:
            continue
        stored = archive.latest(home, case, prediction.bundle.digest) or prediction
        basis = corrections.content_id(stored.mask)
        masks = {
            name: corrections.load(home, str(now.sha256), stored.mask)
            for name, now in painted.items()
            if now.fits(basis)
        }
        if len(masks) > 1:
            cores = np.stack([np.isin(m.data, REGIONS["TC"]) for m in masks.values()])
            found[case] = (tuple(masks), reader_dice(cores))
    return found


def _places(store: Store) -> Callable[[str, str], tuple[Owner, str | None]]:
    """(case, name on screens) -> whose marks and of which site; see ``row_mapping.shown_names``."""
    shown = {name: at for at, name in store.read(row_mapping.shown_names).items()}

    def place(case_id: str, name: str) -> tuple[Owner, str | None]:
        site, own = shown.get(name, (None, name))
        return Owner(case_id, own), site

    return place


def marks_of_readers(
    home: Path,
    store: Store,
    wanted: set[tuple[str, str, str]],
    predictions: Mapping[str, Prediction],
) -> LesionMarks:
    """Marks of the viewer on cases with a reference mask. wanted: (reader, case, phase) voted on.

    Unaided: the marks as they stood before the answers were seen. Aided: all marks, and the models'
    lesions that the reader accepted. A reader who never marked anything on a case is not counted
    there: he may not have marked at all.
    """
    hits, lesions = {}, {}
    drawn = _drawn(home, store, {(case, reader) for reader, case, _ in wanted})
    for case in sorted({case for case, _ in drawn}):
        reference = reference_mask(home, case)
        if reference is None:
            continue
        numbered = number_lesions(reference)
        lesions[case] = int(numbered.max())
        centres = (
            {n.number: n.centroid_mm for n in predictions[case].lesions}
            if case in predictions
            else {}
        )
        for reader, _, phase in sorted(w for w in wanted if w[1] == case):
            if (case, reader) not in drawn:
                continue
            found = drawn[case, reader][phase]
            points = [m.points_mm[0] for m in found if m.kind == "missed"]
            if phase == "aided":
                points += [
                    centres[m.lesion] for m in found if m.kind == "accept" and m.lesion in centres
                ]
            hits[phase, reader, case] = match_points(points, numbered, reference.affine)
    return LesionMarks(hits, lesions)


def _drawn(
    home: Path, store: Store, pairs: set[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, tuple[Mark, ...]]]:
    """{(case, reader): {phase: marks}} of those who have marked something, as votes rest on it."""
    places, drawn = _places(store), {}
    for case, name in sorted(pairs):
        owner, site = places(case, name)
        old_drafts.adopt(store, home, owner)
        all_of = marks.load(store, owner, site)
        before = marks.load(store, owner, site, "unaided")
        if before or all_of:
            drawn[case, name] = {"unaided": before, "aided": all_of}
    return drawn


def marks_in_study(
    home: Path, record: StudyRecord, predictions: Mapping[str, Prediction]
) -> LesionMarks:
    """The models' lesions that readers kept (accepted or edited), against the reference mask.

    Lesions that a reader called missed are not among them: the sheet holds their number alone.
    """
    kinds = {q.id: q.kind for q in record.study.questions}
    said = [
        a for a in in_force(record.answers) if kinds.get(a.question) == "lesions" and not a.occasion
    ]
    hits, lesions = {}, {}
    for case in sorted({a.case_id for a in said} & set(predictions)):
        reference = reference_mask(home, case)
        if reference is None:
            continue
        numbered = number_lesions(reference)
        lesions[case] = int(numbered.max())
        own = predictions[case]
        stored = archive.latest(home, case, own.bundle.digest)
        touched = kept_lesions(stored or own, numbered)
        for a in said:
            if a.case_id == case:
                name = record.study.reader(a.reader).name
                kept = [int(n) for n, v in a.value["lesions"].items() if v != "reject"]
                on = [touched[n] for n in kept if n in touched]
                found = frozenset(n for numbers in on for n in numbers)
                hits[a.arm, name, case] = (found, sum(not numbers for numbers in on))
    return LesionMarks(hits, lesions)


def reference_mask(home: Path, case_id: str) -> Volume | None:
    """The reference segmentation of a case, None where it has none or the case is gone."""
    if not (home / "cases" / case_id).is_dir():
        return None
    if not library.get_entry(home, case_id).has_reference_mask:
        return None
    truth = library.load_case(home, case_id).truth
    return truth.mask if truth else None


def load_images(home: Path, case_id: str) -> Case | None:
    """The images of a case, None where the case is not in the library."""
    return library.load_case(home, case_id) if (home / "cases" / case_id).is_dir() else None
