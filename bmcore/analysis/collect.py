"""From a home folder and its database to what results and reports rest on; for page and command."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmcore import disk
from bmcore.analysis.lesion_match import (
    Labels,
    diameters_mm,
    kept_lesions,
    match_each,
    match_points,
    number_lesions,
)
from bmcore.analysis.readings import (
    RESTATED,
    CaseFacts,
    Floats,
    LesionMarks,
    StudyData,
    from_study,
    from_votes,
)
from bmcore.domain import REGIONS, Case, Prediction, Primary, Volume
from bmcore.inference import archive, case_mix
from bmcore.intake import library
from bmcore.models.case_mix import CaseMix
from bmcore.review import corrections, marks, old_drafts, row_mapping
from bmcore.review.allocation import Place
from bmcore.review.answers import in_force
from bmcore.review.marks import Mark
from bmcore.review.owner import Owner, drawer
from bmcore.review.record import StudyRecord
from bmcore.review.store import Store
from bmcore.review.study import ARMS, Study
from bmcore.review.votes import Reader, Vote, current
from bmcore.stats.continuous import reader_dice
from bmcore.stats.endpoint_choice import ON_LESIONS
from bmcore.stats.readings import MODELS

if TYPE_CHECKING:
    from bmcore.intake.library import CaseEntry


def of_cases(known: Mapping[str, Primary], cases: Collection[str]) -> dict[str, Primary]:
    """The known primaries of ``cases``: a hospital's table may list other patients by name."""
    return {case_id: primary for case_id, primary in known.items() if case_id in cases}


def light_predictions(home: Path, digest: str) -> dict[str, Prediction]:
    """The newest prediction of every case by the models ``digest``, in words and numbers alone, see
    ``archive.latest_words``. For what is in a mask: ``archive.latest``.
    """
    found = {}
    for case in (path.name for path in disk.below(home / "predictions")):
        prediction = None if case.startswith(".") else archive.latest_words(home, case, digest)
        if prediction is not None:
            found[case] = prediction
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


def for_plan(
    facts: Mapping[str, CaseFacts], predictions: Mapping[str, Prediction], mix: CaseMix | None
) -> dict[str, CaseFacts]:
    """The facts with the fused answer for the plan's case mix beside the models' own."""
    told = dict(facts)
    for case, prediction in predictions.items() if mix is not None else ():
        for answer in case_mix.restated(prediction, mix).answers:
            if answer.kind == "fused" and case in told and answer.at_site is not None:
                answers = {**told[case].answers, RESTATED: answer.at_site}
                told[case] = replace(told[case], answers=answers)
    return told


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
    """The answers of one study, and what its readers took for lesions."""
    mine = {c: p for c, p in predictions.items() if c in record.study.cases}
    facts = for_plan(facts, mine, record.study.mix)
    data = from_study(record, facts, mask_agreement_in_study(home, store, record, mine))
    return data, marks_in_study(home, store, record, mine)


def for_progress(
    home: Path,
    store: Store,
    record: StudyRecord,
    known: Mapping[str, Primary],
    predictions: Mapping[str, Prediction],
) -> tuple[StudyData, LesionMarks]:
    """What the width of a running study's primary endpoint needs, and no more."""
    cases = record.study.cases
    mine = {c: p for c, p in predictions.items() if c in cases}
    facts = {c: CaseFacts(c, truth=str(known[c]) if c in known else None) for c in cases}
    if MODELS in record.study.primary_endpoint.compare:
        facts = case_facts((), mine, of_cases(known, cases)) | {
            c: facts[c] for c in cases if c not in mine
        }
    data = from_study(record, facts)
    if record.study.primary_endpoint.measure not in ON_LESIONS:
        return data, LesionMarks()
    return data, marks_in_study(home, store, record, mine)


def mask_agreement(
    home: Path, store: Store, predictions: Mapping[str, Prediction], readers: Iterable[str]
) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """{case: (readers, Dice (readers, readers) of the tumour core)} where two corrected a case.

    A correction of an earlier segmentation of the models is left out.
    """
    names, places = list(readers), _places(store)
    painted_on = old_drafts.cases_drawn_on(store, home)
    drawn = {}
    for case in sorted(painted_on & set(predictions)):
        whose = {name: places(case, name) for name in names}
        for owner, _ in whose.values():
            old_drafts.adopt(store, home, owner)
        drawn[case] = whose
    return _agreement(home, store, predictions, drawn)


def mask_agreement_in_study(
    home: Path, store: Store, record: StudyRecord, predictions: Mapping[str, Prediction]
) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """``mask_agreement`` of what was painted in a study's own readings.

    Each drawing is that of the reader whose locked reading it belongs to (``owner.drawer``), not of
    whoever voted under the name outside the study; of several arms the last that shows the models.
    """
    study = record.study
    sites = {a.place: a.site for a in record.answers}
    last: dict[tuple[str, str], Place] = {}
    for sheet in record.sheets:
        place = sheet.place
        if sheet.state == "locked" and place.arm != "unaided" and not place.occasion:
            before = last.get((place.case_id, place.reader))
            if before is None or ARMS.index(place.arm) > ARMS.index(before.arm):
                last[place.case_id, place.reader] = place
    drawn: dict[str, dict[str, tuple[Owner, str | None]]] = {}
    for (case, reader), place in sorted(last.items()):
        owner = Owner(case, drawer(study, place))
        drawn.setdefault(case, {})[study.reader(reader).name] = (owner, sites.get(place))
    return _agreement(home, store, predictions, drawn)


def _agreement(
    home: Path,
    store: Store,
    predictions: Mapping[str, Prediction],
    drawn: Mapping[str, Mapping[str, tuple[Owner, str | None]]],
) -> dict[str, tuple[tuple[str, ...], Floats]]:
    """drawn: {case: {reader: whose corrections, and of which site}}."""
    found = {}
    for case, whose in drawn.items():
        if case not in predictions:
            continue
        prediction, painted = predictions[case], {}
        for name, (owner, site) in whose.items():
            now = store.read(lambda c, o=owner, s=site: corrections.state(c, o, s))  # type: ignore[misc]
            if now is not None and now.sha256 is not None:
                painted[name] = now
        if len(painted) < 2:
            continue
        stored = archive.latest(home, case, prediction.bundle.digest)
        if stored is None:
            continue  # its folder has gone meanwhile
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
    lesions that the reader accepted. A case without a mark counts as all missed, unless the reader
    never marked a lesion in that phase: he may not have marked at all.
    """
    drawn = _drawn(home, store, {(case, reader) for reader, case, _ in wanted})
    using = {
        (reader, phase)
        for (_, reader), phases in drawn.items()
        for phase, found in phases.items()
        if any(m.kind in ("missed", "accept") for m in found)
    }
    hits, sizes = {}, {}
    counted = sorted(w for w in wanted if (w[0], w[2]) in using)
    for case in sorted({case for _, case, _ in counted}):
        reference = reference_mask(home, case)
        if reference is None:
            continue
        numbered = number_lesions(reference)
        sizes[case] = diameters_mm(numbered, reference.affine)
        own = predictions.get(case)
        centres = {n.number: n.centroid_mm for n in own.lesions} if own else {}
        for reader, _, phase in (w for w in counted if w[1] == case):
            found = drawn.get((case, reader), {}).get(phase, ())
            points = [m.points_mm[0] for m in found if m.kind == "missed"]
            if phase == "aided":
                points += [
                    centres[m.lesion] for m in found if m.kind == "accept" and m.lesion in centres
                ]
            hits[phase, reader, case] = match_points(points, numbered, reference.affine)
    return LesionMarks(hits, sizes)


def _drawn(
    home: Path, store: Store, pairs: set[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, tuple[Mark, ...]]]:
    """{(case, reader): {phase: marks}} of those who have marked something, as votes rest on it."""
    places, drawn = _places(store), {}
    drawn_on = old_drafts.cases_drawn_on(store, home)
    for case, name in sorted(pair for pair in pairs if pair[0] in drawn_on):
        owner, site = places(case, name)
        old_drafts.adopt(store, home, owner)
        all_of = marks.load(store, owner, site)
        before = marks.load(store, owner, site, "unaided")
        if before or all_of:
            drawn[case, name] = {"unaided": before, "aided": all_of}
    return drawn


def marks_in_study(
    home: Path, store: Store, record: StudyRecord, predictions: Mapping[str, Prediction]
) -> LesionMarks:
    """What readers took for lesions in each arm, against the reference mask.

    The models' lesions that they kept (accepted or edited) on the sheet, and the lesions that they
    marked in the viewer, where the arm asks for either. A locked sheet without a mark counts as all
    missed.
    """
    study = record.study
    kinds = {q.id: q.kind for q in study.questions}
    rated = {q.id for q in study.questions if q.rated}
    judged: dict[Place, Mapping[str, Any]] = {}
    graded: dict[Place, Mapping[str, int]] = {}
    asked: dict[Place, str] = {}  # the site of each
    for a in in_force(record.answers):
        if kinds.get(a.question) in ("lesions", "marks") and not a.occasion:
            asked[a.place] = a.site
            if kinds[a.question] == "lesions":
                judged[a.place] = a.value["lesions"]
            elif a.question in rated:
                graded[a.place] = a.value["marks"]
    hits, sizes, ratings = {}, {}, {}
    for case in sorted({place.case_id for place in asked}):
        reference = reference_mask(home, case)
        if reference is None:
            continue
        numbered = number_lesions(reference)
        sizes[case] = diameters_mm(numbered, reference.affine)
        touched = _touched(home, predictions.get(case), numbered)
        if case in predictions:
            alone = frozenset[int]().union(*touched.values())
            hits[MODELS, MODELS, case] = (alone, sum(not on for on in touched.values()))
        for place in (p for p in asked if p.case_id == case):
            kept = [int(n) for n, v in judged.get(place, {}).items() if v != "reject"]
            on = [touched[n] for n in kept if n in touched]
            drawn = _marked(store, study, place, asked[place])
            each = match_each([m.points_mm[0] for m in drawn], numbered, reference.affine)
            found = frozenset(n for n in each if n).union(*on)
            false = sum(not n for n in each) + sum(not numbers for numbers in on)
            at = (place.arm, study.reader(place.reader).name, case)
            hits[at] = (found, false)
            if place in graded and place not in judged:
                given = [graded[place].get(m.id, 0) for m in drawn]
                ratings[at] = _rated(each, given, len(sizes[case]))
    return LesionMarks(hits, sizes, ratings)


def _rated(
    each: Sequence[int], given: Sequence[int], lesions: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The highest rating on each lesion, and that of each mark on none. each: the lesion of each
    mark, 0 for none."""
    marks = list(zip(each, (float(g) for g in given), strict=True))
    on = tuple(
        max((g for n, g in marks if n == lesion), default=-math.inf)
        for lesion in range(1, lesions + 1)
    )
    return on, tuple(g for n, g in marks if not n)


def _touched(
    home: Path, prediction: Prediction | None, numbered: Labels
) -> Mapping[int, frozenset[int]]:
    """{number of the models' lesion: reference lesions it lies on}; empty without a prediction."""
    if prediction is None:
        return {}
    stored = archive.latest(home, prediction.case_id, prediction.bundle.digest)
    return {} if stored is None else kept_lesions(stored, numbered)


def _marked(store: Store, study: Study, place: Place, site: str) -> list[Mark]:
    """The lesions that a reader marked in the viewer, as his answer in this arm rests on them."""
    owner = Owner(place.case_id, drawer(study, place))
    phase = "unaided" if place.arm == "unaided" else None
    return [m for m in marks.load(store, owner, site, phase) if m.kind == "missed"]


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
