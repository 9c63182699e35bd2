"""How long each step from a raw head to an answer takes, and how much memory.

    python -m training.bench.raw_head /path/to/study.zip [--bundle models/demo]

Run it on a quiet machine. The study is NIfTI files in a folder, or DICOM as ``predict`` takes it.
Every step runs in this one process; what it held at most is its own high-water mark. Nothing is
kept afterwards, so nothing is found again but by ``--again``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path


def main(words: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("study", type=Path)
    options.add_argument("--bundle", type=Path)
    options.add_argument("--again", action="store_true", help="run it once more, with what is kept")
    asked = options.parse_args(words)
    with tempfile.TemporaryDirectory() as home:
        for _ in range(2 if asked.again else 1):
            measure(asked.study, asked.bundle, Path(home))


def measure(study: Path, bundle: Path | None, home: Path) -> None:
    """Print a line a step: seconds, and the most memory held by its end."""
    from bmcore import cli_dicom
    from bmcore.inference import pipeline
    from bmcore.inference.admission import admit
    from bmcore.intake.nifti import choose_files, read_raw
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    started = time.perf_counter()
    wanted = cli_dicom.Wanted([study], {}, [], None)
    if cli_dicom.is_dicom(wanted):
        raw = cli_dicom.read(wanted, None, home)
    else:
        raw = read_raw(choose_files(study))
    tell("Reading the study", time.perf_counter() - started)
    made = admit(raw, home=home)
    for words, seconds in made.steps_s.items():
        tell(words, seconds)
    prediction = pipeline.predict(made.case, load_bundle(bundle or settings().bundle))
    for words, seconds in prediction.timings_s.items():
        tell(f"predict: {words}", seconds)
    tell("all, from file to answer", time.perf_counter() - started)
    cores = ", ".join(f"{lesion.volume_mm3 / 1000:.1f} ml" for lesion in prediction.lesions)
    print(f"{len(prediction.lesions)} lesions: {cores}")


def tell(words: str, seconds: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = peak / (2**30 if sys.platform == "darwin" else 2**20)
    print(f"{seconds:7.1f} s  {gib:5.2f} GiB  {words}", flush=True)


if __name__ == "__main__":
    main()
