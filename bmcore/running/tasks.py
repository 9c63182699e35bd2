"""What the worker can do, by kind. What is loaded once stays loaded as long as the worker lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.domain import BmcoreError
from bmcore.review import case_index, runs
from bmcore.review.store import Store

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Bench:
    """What a task works with. store: the database. tell(stage in words, fraction 0-1). many: asked
    for with many others at once, not by a click on this one."""

    home: Path
    store: Store
    tell: Tell
    many: bool = False


class AlreadyRead(Exception):
    """There was nothing to do: these models had read the case before. digest: of the models."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


Task = Callable[[Bench, str], str | None]  # subject -> digest of the models that answered
_kept: dict[Path, tuple[str, Bundle]] = {}


def known() -> Mapping[str, Task]:
    """{kind of run: what does it}."""
    return {runs.PREDICT: predict, runs.RESULTS: results}


def results(bench: Bench, key: str) -> None:
    """Results of many votes, for the Agreement page."""
    from bmcore.running import kept_results

    choice = kept_results.asked(bench.home, key)
    try:
        digest = bundle().info.digest
    except BmcoreError:
        digest = ""  # no models: the readers are compared without them
    kept_results.compute(bench.home, bench.store, choice, digest, bench.tell)


def bundle() -> Bundle:
    """The models of the settings; loaded again where a file of theirs was changed."""
    from bmcore.models.bundles import load_bundle
    from bmcore.settings import settings

    folder = settings().bundle
    stamp = _stamp(folder)
    kept = _kept.get(folder)
    if kept is None or kept[0] != stamp:
        _kept.clear()
        _kept[folder] = (stamp, load_bundle(folder))
    return _kept[folder][1]


def _stamp(folder: Path) -> str:
    there = sorted(folder.glob("*")) if folder.is_dir() else []
    return repr([(p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in there])


def warm_up() -> None:
    """Import what the nets need and build them, while the first case is still being read."""
    ready = bundle()
    for part in ("segmenter", "cnn", "autoencoder"):
        getattr(ready, part)


def predict(bench: Bench, case_id: str) -> str:
    """The models read a case of the library; the prediction is stored.

    Of many asked for at once, a case that these models have read is passed over (AlreadyRead): the
    work list's index, from which they were chosen, may know of an answer later than the folder.
    """
    from bmcore.inference import archive, pipeline
    from bmcore.intake.library import load_case

    if bench.many:
        digest = bundle().info.digest
        if archive.newest(bench.home, case_id, digest) is not None:
            case_index.set_predicted(bench.store, case_id, digest)
            raise AlreadyRead(digest)
    bench.tell("Loading the images", 0.0)
    case = load_case(bench.home, case_id)
    bench.tell("Loading the models", 0.02)
    made = pipeline.predict(case, bundle(), bench.tell)
    archive.keep(bench.home, made)
    case_index.set_predicted(bench.store, case_id, made.bundle.digest)
    return made.bundle.digest
