"""How the work list and the Agreement page grow with the number of cases and votes.

``python -m training.bench.large_home [--cases 100 1000 10000] [--votes-a-case 10] [--readers 10]``

For each size a home is grown: tiny images whose files all cases share (hard links), a record a
case, an answer of the models on each, and votes in their chain, half of them without and half with
the models. Then, each in a process of its own:

- index: making the index of the work list from nothing;
- list: one draw of the Cases page with an index that is up to date, by ``pages/cases.py`` itself,
  once to warm up and then ``--draws`` times;
- results: computing the results of the Agreement page, which the worker does, off the page;
- agreement: one draw of that page with the results that were kept.

Printed are seconds by the clock and on the processor (median of the draws) and the highest memory
of the process, with what the bare process and its imports took before. Clock times depend on what
else the machine does; seconds on the processor hardly do.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bmcore.domain import PRIMARIES
from bmcore.review import chain
from bmcore.review.store import Store, open_store

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("index", "list", "results", "agreement")


# --- a large home ---------------------------------------------------------------------------------


def grow(
    home: Path, cases: int, votes_a_case: int, readers: int, with_models: bool = False
) -> None:
    """Cases and votes up to these numbers; what is there stays.

    with_models: the models have an answer on every case, and each reader of a case votes on it
    without and with them; else all votes are without.
    """
    from bmcore.intake import library
    from bmcore.intake.case_record import CaseEntry, record_text

    (home / "cases").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(21)
    model = _model(home)
    for number in range(len(library.record_stamps(home)), cases):
        name = f"case-{number:05d}"
        folder = home / "cases" / name
        folder.mkdir()
        sums = {}
        for sequence, path in model.files.items():
            place = folder / f"{name}-{sequence}.nii.gz"
            os.link(path, place)
            sums[place.name] = model.sha256[path.name]
        record = replace(model.clinical, age_years=float(rng.integers(30, 85)),
                         sex=str(rng.choice(["female", "male"])))  # fmt: skip
        added = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        entry = CaseEntry(name, folder, model.sequences, record, (), False, added, {}, sums,
                          model.content_sha256)  # fmt: skip
        (folder / "case.json").write_text(record_text(entry), encoding="utf-8")
    names = sorted(library.record_stamps(home))[:cases]
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        people = [f"Reader {n + 1}" for n in range(readers)]
        whose = [(name, *at) for n, name in enumerate(names)
                 for at in _readings(n, votes_a_case, people, with_models)]  # fmt: skip
        _vote(store, whose, people, rng)
    if with_models:
        _answers(home, names, rng)
    truth = ["case_id,primary", *(f"{name},{_truth(name)}" for name in names)]
    (home / "truth.csv").write_text("\n".join(truth), encoding="utf-8")


def _model(home: Path) -> Any:
    """A tiny case, added as every case is, that the others link to."""
    import nibabel as nib

    from bmcore.intake import library

    there = home / "cases" / "case-00000"
    if not there.exists():
        grid = np.indices((16, 16, 16)).sum(0) % 7
        with tempfile.TemporaryDirectory() as work:
            files = {}
            for n, sequence in enumerate(("t1n", "t1c", "t2w", "t2f")):
                files[sequence] = Path(work) / f"{sequence}.nii.gz"
                nib.save(nib.Nifti1Image((grid + n).astype(np.int16), np.eye(4)), files[sequence])
            library.add_case(home, files, "case-00000")
    return library.get_entry(home, "case-00000")


def _truth(name: str) -> str:
    return str(PRIMARIES[int(name[-5:]) % len(PRIMARIES)])


def _readings(number: int, each: int, readers: list[str], aided: bool) -> list[tuple[str, str]]:
    """(reader, phase) of the votes on one case; with both phases the readers take turns."""
    if not aided:
        return [(reader, "unaided") for reader in readers[:each]]
    chosen = [readers[(number + n) % len(readers)] for n in range(min(each // 2, len(readers)))]
    return [(reader, phase) for reader in chosen for phase in ("unaided", "aided")]


def _answers(home: Path, names: list[str], rng: np.random.Generator) -> None:
    """An answer of the loaded models on every case, right in three of five; what does not differ
    (a mask, arrays) is one file for all."""
    from bmcore.domain import Answer, ClinicalRecord, Lesion, Prediction, Volume
    from bmcore.inference import archive, serial
    from bmcore.inference.files import to_json
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    info = load_bundle(settings().bundle).info
    spot = Lesion(1, 500.0, 400.0, 100.0, 900.0, 10.0, (8.0, 8.0, 8.0), (8.0, 8.0, 8.0), "left",
                  "frontal lobe")  # fmt: skip
    even = (1 / 6,) * 6
    model = Prediction(
        "case-00000", ("t1n", "t1c", "t2w", "t2f"), Volume(np.zeros((16, 16, 16), np.uint8),
        np.eye(4)), (spot,), Answer("clinical", even), Answer("image", even),
        Answer("fused", even), info, ClinicalRecord(), np.full((1, 6), 1 / 6, np.float32),
        np.zeros(64, np.float32), np.zeros(8, np.float32), np.zeros(12), 0.1, {"total": 30.0},
    )  # fmt: skip
    shelf = home / "predictions"
    with tempfile.TemporaryDirectory(dir=home) as work:
        first = archive.save(model, Path(work) / "model")
        sums = json.loads((first / "sha256.json").read_text(encoding="utf-8"))
        for name in names:
            folder = shelf / name / info.digest[:16] / f"{1:020d}"
            if folder.exists():
                continue
            clinical, image, fused = (
                replace(a, probabilities=_chances(name, rng)) for a in model.answers
            )
            made = replace(model, case_id=name, clinical=clinical, image=image, fused=fused)
            text = to_json(serial.full_dict(made))
            folder.mkdir(parents=True)
            for file in ("arrays.npz", "mask.nii.gz"):
                os.link(first / file, folder / file)
            (folder / "prediction.json").write_text(text, encoding="utf-8")
            its = {**sums, "prediction.json": hashlib.sha256(text.encode()).hexdigest()}
            (folder / "sha256.json").write_text(to_json(its), encoding="utf-8")


def _chances(name: str, rng: np.random.Generator) -> tuple[float, ...]:
    raw = rng.random(len(PRIMARIES)) + 1.5 * (
        np.array([str(p) == _truth(name) for p in PRIMARIES]) & (rng.random() < 0.6)
    )
    return tuple((raw / raw.sum()).tolist())


def _vote(
    store: Store,
    whose: list[tuple[str, str, str]],
    readers: list[str],
    rng: np.random.Generator,
) -> None:
    """Votes, right in three of five, in one chain as if stored one by one. whose: (case, reader,
    phase) of each."""
    for reader in readers:
        store.add_reader(reader, "radiologist", 5.0)
    with closing(sqlite3.connect(store.where.removeprefix("sqlite:///"))) as base:
        base.execute("PRAGMA cache_size = -400000")  # kB: all indexes stay in memory
        base.execute("PRAGMA synchronous = OFF")
        guards = base.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' "
            "AND tbl_name IN ('chains', 'votes')"
        ).fetchall()  # they look at one row after the other; here many come at once
        for guard, _ in guards:
            base.execute(f"DROP TRIGGER {guard}")
        _add_votes(base, whose, rng)
        for _, text in guards:
            base.execute(text)
        base.commit()


def _add_votes(
    base: sqlite3.Connection, whose: list[tuple[str, str, str]], rng: np.random.Generator
) -> None:
    columns = [row[1] for row in base.execute("PRAGMA table_info(votes)")]
    site, seq, previous = base.execute("SELECT site, length, head FROM chains WHERE own").fetchone()
    there = set(base.execute("SELECT case_id, reader, phase FROM votes"))
    newest = base.execute("SELECT coalesce(max(id), 0) FROM votes").fetchone()[0]
    rows = []
    for name, reader, phase in whose:
        if (name, reader, phase) in there:
            continue
        seq, newest, now = seq + 1, newest + 1, datetime.now(UTC)
        right = rng.random() < 0.6
        row = dict.fromkeys(columns) | {
            "site": site, "seq": seq, "previous": previous, "id": newest, "case_id": name,
            "reader": reader, "role": "radiologist", "phase": phase,
            "primary": _truth(name) if right else str(rng.choice(list(PRIMARIES))),
            "confidence": int(rng.integers(20, 100)), "comment": "", "created_at": now,
            "idempotency_key": f"{name} {reader} {phase}",
        }  # fmt: skip
        if phase == "aided":
            row |= {"segmentation_quality": int(rng.integers(1, 6)),
                    "model_primary": str(rng.choice(list(PRIMARIES)))}  # fmt: skip
        row["hash"] = previous = chain.digest("votes", row)
        rows.append({**row, "created_at": now.strftime("%Y-%m-%d %H:%M:%S.%f")})
    quoted = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join(f":{name}" for name in columns)
    base.executemany(f"INSERT INTO votes ({quoted}) VALUES ({places})", rows)
    base.execute("UPDATE chains SET length = ?, head = ? WHERE own", (seq, previous))


# --- what is measured ----------------------------------------------------------------------------


def memory_mb() -> float:
    """The most that this process has held; getrusage counts what the parent held at the start."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = next(row for row in status.splitlines() if row.startswith("VmHWM"))
    return int(held.split()[1]) / 1024


@contextmanager
def measured(into: dict[str, list[float]]) -> Iterator[None]:
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    into.setdefault("clock_s", []).append(time.perf_counter() - clock)
    into.setdefault("cpu_s", []).append(time.process_time() - cpu)


def part(name: str, draws: int) -> dict[str, float]:
    """One part, in this process; the home is that of the settings."""
    from bmcore.settings import settings
    from pages.parts import preload

    for module in preload.MODULES:
        __import__(module)
    times: dict[str, list[float]] = {}
    if name == "index":
        from bmcore.review import case_index

        bare = memory_mb()
        with open_store(settings().url) as store, measured(times):
            while case_index.sync(store, settings().home):
                pass
    else:
        testing = importlib.import_module("streamlit.testing.v1")
        page = testing.AppTest.from_file(
            str(PROJECT / "pages" / f"{_PAGES[name]}.py"), default_timeout=600
        )
        bare = memory_mb()
        work: Callable[[], Any] = page.run
        if name == "results":
            work = _results
            draws = 1
        else:
            page.run()
        for _ in range(draws):
            with measured(times):
                work()
        if name != "results":
            assert not page.exception and not page.error, [e.value for e in page.error]
    found = {key: statistics.median(values) for key, values in times.items()}
    return {**found, "memory_mb": memory_mb(), "bare_mb": bare}


_PAGES = {"list": "cases", "agreement": "agreement", "results": "agreement"}


def _results() -> None:
    """What the worker computes for the Agreement page."""
    from bmcore.analysis.readings import Choice
    from bmcore.running import kept_results, tasks
    from bmcore.settings import settings

    digest = tasks.bundle().info.digest
    with open_store(settings().url) as store:
        kept_results.compute(settings().home, store, Choice(), digest, lambda *_: None)


def in_a_process(home: Path, name: str, draws: int) -> dict[str, float]:
    code = "import json; from training.bench import large_home as bench; "
    code += f"print(json.dumps(bench.part({name!r}, {draws})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env={**os.environ, "BMCORE_HOME": str(home), "BMCORE_DEMO": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cases", type=int, nargs="+", default=[100, 1_000, 10_000])
    options.add_argument("--votes-a-case", type=int, default=10)
    options.add_argument("--readers", type=int, default=10)
    options.add_argument("--draws", type=int, default=5)
    options.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    options.add_argument("--home", type=Path, help="grow this one and keep it")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmcore-large-") as temporary:
        home = asked.home or Path(temporary)
        print(f"{'cases':>7} {'votes':>8}  part        clock s   CPU s   memory MB (bare)")
        for cases in sorted(asked.cases):
            grow(home, cases, asked.votes_a_case, asked.readers, with_models=True)
            for name in asked.parts:
                found = in_a_process(home, name, asked.draws)
                print(
                    f"{cases:7d} {cases * asked.votes_a_case:8d}  {name:10s} "
                    f"{found['clock_s']:8.2f} {found['cpu_s']:7.2f}   {found['memory_mb']:7.0f} "
                    f"({found['bare_mb']:.0f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
