"""Are the outputs of two versions of the code the same to the byte? For moves that change nothing.

    python -m tests.same_outputs make HOME            # once: a home with a study and free votes
    python -m tests.same_outputs write HOME OUT       # with each version
    python -m tests.same_outputs compare OUT OTHER    # exit 0: equal; 1: names what differs

Written are the report's files (the PDF as text), the tables of the Agreement page, of the free
votes and of the study, and the predictions of a demo case and, where the real scans are, of the
metastasis case 01.
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bmcore.analysis import collect
from bmcore.domain import Prediction
from bmcore.inference import archive, pipeline, references
from bmcore.intake import library
from bmcore.models.bundles import load_bundle
from bmcore.phantom.cohort import draw_case
from bmcore.phantom.cohort import write_case as write_phantom
from bmcore.report import make
from bmcore.report.write import write
from bmcore.review import plan
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.review.votes import Evidence, VoteDraft
from bmcore.review.worklist import Seconds
from bmcore.settings import PROJECT
from tests import study_fixture

DATE = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
CASES = tuple(f"Same-{n}" for n in range(4))
CHOICES = ("nsclc", "melanoma", "breast", "cannot_tell")
REAL = Path(os.environ.get("BMCORE_REALDATA", PROJECT.parent / "shared" / "realdata"))


def make_home(home: Path) -> None:
    """Four synthetic cases, read by the shipped models, with free votes and a study."""
    home.mkdir(parents=True)
    bundle = load_bundle(PROJECT / "models" / "demo")
    for number, case_id in enumerate(CASES):
        case = draw_case(8_000_000_011 + number)
        write_phantom(case, case_id, home / "drawn")
        library.add_case(home, home / "drawn" / case_id, case_id, case.clinical)
        archive.keep(home, pipeline.predict(library.load_case(home, case_id), bundle))
    (home / "truth.csv").write_text(
        "BraTS_MET_ID,Primary\n" + "".join(f"{c},{n + 1}\n" for n, c in enumerate(CASES))
    )
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        for who, name in enumerate(("Cy Dahl", "Di Frey", "Ed Holm")):
            store.add_reader(name, "radiologist", 5.0 + who)
            for number, case_id in enumerate(CASES):
                for phase in ("unaided", "aided"):
                    if phase == "aided":
                        store.show_models(name, case_id, Evidence(bundle=bundle.info.digest))
                    store.add_vote(
                        VoteDraft(
                            case_id=case_id,
                            reader=name,
                            role="radiologist",
                            phase=phase,
                            primary=CHOICES[(who + number + (phase == "aided")) % 4],
                            confidence=20 * (number + 1),
                            segmentation_quality=3 if phase == "aided" else None,
                            idempotency_key=f"{name} {case_id} {phase}",
                        )
                    )
        _read_study(store)


def _read_study(store) -> None:
    drawn = study_fixture.study(repeats=1, study="same", cases=list(CASES))
    plan.lock(store, drawn, "Ida Lund")
    clock = [DATE - timedelta(days=20)]
    desk = ReadingSession(store, "same", clock=lambda: clock[0])
    for who, reader in enumerate(drawn.readers):
        for number, work in enumerate(desk.work(reader.id)):
            clock[0] += timedelta(minutes=2)
            place = work.item.place
            choice = CHOICES[(who + number) % 4]
            values = {"primary": {"choice": choice, "confidence": 10 * (number % 10)}}
            if place.arm == "aided":
                verdicts = {"1": ("accept", "reject", "edit")[number % 3]}
                values |= {"lesions": {"lesions": verdicts, "missed": number % 2}, "quality": 4}
            desk.submit(place, values, Seconds(30.0 + number, 3.0), f"{place}")


def write_outputs(home: Path, out: Path) -> None:
    """All outputs of ``home`` by the code at hand, into the new folder ``out``."""
    out.mkdir(parents=True)
    bundle = load_bundle(PROJECT / "models" / "demo")
    predictions = collect.light_predictions(home, bundle.info.digest)
    known = references.truths(home)
    url = f"sqlite:///{home / 'bmcore.sqlite'}"
    with open_store(url) as store:
        for study in (None, "same"):
            made = make.make(home, store, url, predictions, known, bundle.info, study, DATE)
            folder = out / (study or "free")
            for path in write(made, folder):
                if path.suffix == ".pdf":
                    subprocess.run(["pdftotext", "-layout", path, path.with_suffix(".txt")])
                    path.unlink()
            _write_tables(made.results, folder / "agreement.json")
    cases = [library.load_case(home, CASES[0])]
    real = REAL / "01_brats_met_00110"
    if real.is_dir():
        from bmcore.intake.nifti import read_case

        names = {s: next(real.glob(f"*-{s}.nii.gz"), None) for s in ("t1n", "t1c", "t2w", "t2f")}
        cases.append(read_case({s: p for s, p in names.items() if p is not None}, "real-01"))
    for case in cases:
        _write_prediction(pipeline.predict(case, bundle), out / case.case_id)


def _write_tables(results, path: Path) -> None:
    """What the Agreement page draws: sentences, and each table's texts and reasons."""
    drawn = [
        {
            "title": section.title,
            "sentence": section.sentence,
            "tables": [
                [t.title, list(t.header), [list(r) for r in t.texts()], list(t.reasons()), t.note]
                for t in section.tables
            ],
        }
        for section in results.sections
    ]
    whole = {"summary": list(results.summary), "sections": drawn}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")


def _write_prediction(prediction: Prediction, folder: Path) -> None:
    """The mask, and everything but times as text with all digits."""
    folder.mkdir()
    np.save(folder / "mask.npy", np.asarray(prediction.mask.data))
    told = [*prediction.answers, *prediction.lesions, *prediction.findings, prediction.novelty]
    told.append(prediction.reconstruction_error)
    arrays = [prediction.lesion_probabilities, prediction.image_features, prediction.code]
    told += [None if a is None else a.tolist() for a in [*arrays, prediction.clinical_vector]]
    (folder / "prediction.txt").write_text("\n".join(map(repr, told)))


def differences(one: Path, other: Path) -> list[str]:
    """Files that are in one folder alone or differ."""
    names = {p.relative_to(f).as_posix() for f in (one, other) for p in f.rglob("*") if p.is_file()}
    return [
        name
        for name in sorted(names)
        if not ((one / name).is_file() and (other / name).is_file())
        or not filecmp.cmp(one / name, other / name, shallow=False)
    ]


def main(words: list[str]) -> int:
    match words:
        case ["make", home]:
            make_home(Path(home))
        case ["write", home, out]:
            write_outputs(Path(home), Path(out))
        case ["compare", one, other]:
            found = differences(Path(one), Path(other))
            count = sum(p.is_file() for p in Path(one).rglob("*"))
            print("\n".join(f"differs: {name}" for name in found) or f"equal: {count} files")
            return 1 if found else 0
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
