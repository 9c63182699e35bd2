"""How long each step from a raw head to an answer takes, and how much memory.

    python -m training.bench.raw_head /path/to/study.zip [--bundle models/demo] [--threads 2]

The study is NIfTI files in a folder, or DICOM as ``predict`` takes it. Every step runs in this one
process; what it held at most is its own high-water mark. Beside the seconds of the clock stand
those of the processor (user and system, of this process and of the readers it started), which
other work on the computer hardly changes. Nothing is kept afterwards, so nothing is found again but
by ``--again``.
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
    options.add_argument("--threads", type=int, default=2, help="of the processor, for the nets")
    options.add_argument("--again", action="store_true", help="run it once more, with what is kept")
    asked = options.parse_args(words)
    import torch

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as home:
        for _ in range(2 if asked.again else 1):
            measure(asked.study, asked.bundle, Path(home))


def measure(study: Path, bundle: Path | None, home: Path) -> None:
    """Print a line a step: seconds of the clock and of the processor, and the most memory held."""
    from bmcore import cli_dicom
    from bmcore.inference import pipeline
    from bmcore.inference.admission import admit
    from bmcore.intake.nifti import choose_files, read_raw
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    watch = Watch()
    watch("Reading the study")
    wanted = cli_dicom.Wanted([study], {}, [])
    if cli_dicom.is_dicom(wanted):
        raw = cli_dicom.read(wanted, None, home)
    else:
        raw = read_raw(choose_files(study))
    made = admit(raw, home=home, on_step=watch)
    watch("Loading the models")
    chosen = load_bundle(bundle or settings().bundle)
    prediction = pipeline.predict(made.case, chosen, watch)
    watch.done()
    cores = ", ".join(f"{lesion.volume_mm3 / 1000:.1f} ml" for lesion in prediction.lesions)
    print(f"{len(prediction.lesions)} lesions: {cores}")


class Watch:
    """Prints what each step took when the next one begins."""

    def __init__(self) -> None:
        self.words, self.begun, self.first = "", spent(), spent()

    def __call__(self, words: str, _fraction: float = 0.0) -> None:
        if words == self.words:
            return
        now = spent()
        if self.words:
            _tell(self.words, self.begun, now)
        self.words, self.begun = words, now

    def done(self) -> None:
        self("")
        _tell("all, from file to answer", self.first, spent())


def spent() -> tuple[float, float]:
    """Seconds so far: of the clock, and of the processor with that of children that ended."""
    own, readers = (resource.getrusage(who) for who in _WHO)
    used = own.ru_utime + own.ru_stime + readers.ru_utime + readers.ru_stime
    return time.perf_counter(), used


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def _tell(words: str, begun: tuple[float, float], now: tuple[float, float]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = peak / (2**30 if sys.platform == "darwin" else 2**20)
    clock, used = now[0] - begun[0], now[1] - begun[1]
    print(f"{clock:7.1f} s  {used:7.1f} s cpu  {gib:5.2f} GiB  {words}", flush=True)


if __name__ == "__main__":
    main()
