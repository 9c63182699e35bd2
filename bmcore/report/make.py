"""One call from a home folder and its database to the dossier; the command and the page use it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from bmcore.analysis import collect, drawings
from bmcore.analysis.drawings import Drawings
from bmcore.domain import BundleInfo, Prediction, Primary
from bmcore.inference import archive
from bmcore.intake import library
from bmcore.report.build import build
from bmcore.report.dossier import Dossier, DossierInputs
from bmcore.review import corrections
from bmcore.review.record import StudyRecord, read_record
from bmcore.review.store import Store
from bmcore.review.verify import verify


def make(
    home: Path,
    store: Store,
    url: str,
    predictions: Mapping[str, Prediction],
    known: Mapping[str, Primary],
    bundle: BundleInfo | None,
    study: str | None = None,
    created_at: datetime | None = None,
    mixed_models: bool = False,
) -> Dossier:
    """The dossier of the free votes, or of ``study``. url: of the database, for the hash chain.

    predictions, known: see ``build.build``; created_at: the date on the report, now if None.
    Of ``known`` the report holds the cases that are here or were read, whatever else a table lists.
    """
    entries = library.list_cases(home)
    votes = store.votes() if study is None else []
    record: StudyRecord | None = None if study is None else read_record(store, study)
    told = {v.case_id for v in votes} | set(record.study.cases if record is not None else ())
    known = collect.of_cases(known, {e.case_id for e in entries} | set(predictions) | told)
    facts = collect.case_facts(entries, predictions, known)
    if record is None:
        data, marks = collect.free_votes(home, store, votes, facts, predictions, store.readers())
    else:
        data, marks = collect.of_study(home, store, record, facts, predictions)
    extra = DossierInputs(
        created_at=created_at,
        data=data,
        marks=marks,
        record=record,
        chain=verify(url, home=home),
        images=lambda case: collect.load_images(home, case),
        masks=lambda case: archive.latest(home, case, bundle.digest) if bundle else None,
        mixed_models=mixed_models,
        drawings=Drawings() if record is None else drawings.of_study(home, store, record),
        read_mask=lambda sha256: corrections.content_of(home, sha256),
    )
    return build(votes, predictions, known, bundle, extra)
