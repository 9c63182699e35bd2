"""What the worker can do, by kind. What is loaded once stays loaded as long as the worker lives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore import disk
from bmcore.domain import BmcoreError, refuse
from bmcore.review import case_index, runs
from bmcore.review.runs import Run
from bmcore.review.store import Store

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

Tell = Callable[[str, float], None]


class Later(Exception):
    """A task has stopped half-way and is to go on later, with this rank."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        self.rank = rank


@dataclass(frozen=True)
class Bench:
    """What a task works with. store: the database. tell(stage in words, fraction 0-1). run: what
    is being done."""

    home: Path
    store: Store
    tell: Tell
    run: Run

    @property
    def many(self) -> bool:
        """Asked for with many others at once, not by a click on this one."""
        from bmcore.review import runs

        return self.run.rank == runs.MANY


class AlreadyRead(Exception):
    """There was nothing to do: these models had read the case before. digest: of the models."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


Task = Callable[[Bench, str], str | None]  # subject -> digest of the models that answered
_kept: dict[Path, tuple[str, Bundle]] = {}


def known() -> Mapping[str, Task]:
    """{kind of run: what does it}."""
    return {runs.PREDICT: predict, runs.RESULTS: results, runs.MAPS: maps}


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
    there = ((path.name, disk.stat_of(path)) for path in disk.below(folder))
    return repr([(name, s.st_mtime_ns, s.st_size) for name, s in there if s is not None])


def warm_up(at_work: Callable[[], bool]) -> None:
    """Import what a case needs, build the nets, and let the largest read an empty window, which
    makes PyTorch prepare its kernels; while nobody has asked for anything, or the first case is
    still being read.

    at_work: a case is being read, so from here on it is that which warms up.
    """
    import sklearn.covariance  # noqa: F401
    import torch

    from bmcore.imaging.orientation import template_grid
    from bmcore.inference import pipeline  # noqa: F401
    from bmcore.models import runtime

    ready = bundle()
    for part in ("segmenter", "cnn", "autoencoder"):
        getattr(ready, part)
    template_grid()
    if at_work():
        return
    chosen = runtime.choose()
    edge = (ready.segmenter_config.inference.window,) * 3
    net = ready.segmenter.to(chosen.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    with runtime.inference(chosen) as device:
        net(torch.zeros(1, 4, *edge, device=device))


def predict(bench: Bench, case_id: str) -> str:
    """The models read a case of the library; the prediction is stored.

    Of many asked for at once, a case that these models have read is passed over (AlreadyRead): the
    work list's index, from which they were chosen, may know of an answer later than the folder.
    """
    from bmcore.inference import archive, pipeline
    from bmcore.intake import library

    if bench.many:
        digest = bundle().info.digest
        if archive.newest(bench.home, case_id, digest) is not None:
            case_index.set_predicted(bench.store, case_id, digest)
            raise AlreadyRead(digest)
    bench.tell("Loading the images", 0.0)
    images = library.get_entry(bench.home, case_id).images_sha256
    case = library.load_case(bench.home, case_id)
    bench.tell("Loading the models", 0.02)
    made = pipeline.predict(case, bundle(), bench.tell)
    now = library.find_entry(bench.home, case_id)
    if now is None or now.images_sha256 != images:
        raise refuse(f"case {case_id} was deleted meanwhile")
    archive.keep(bench.home, made, images)
    case_index.set_predicted(bench.store, case_id, made.bundle.digest)
    if made.lesions:
        runs.ask(bench.store, runs.MAPS, [case_id], bench.run.asked_by, runs.BEHIND)
    return made.bundle.digest


def maps(bench: Bench, case_id: str) -> str:
    """The maps of the image net's evidence on a case, checked and kept; those first that somebody
    waits for, and the others only while nobody waits for anything else."""
    from bmcore.inference import archive, checked_maps
    from bmcore.intake import library

    bench.tell("Loading the images", 0.0)
    digest = bundle().info.digest
    prediction = archive.latest(bench.home, case_id, digest)
    if prediction is None:
        raise refuse("the models that are loaded have not read this case", hint="run them first.")
    entry = library.get_entry(bench.home, case_id)
    shelf = checked_maps.Shelf(bench.home, entry.images_sha256, prediction)
    if shelf.next(()) is None:
        return digest
    case = library.load_case(bench.home, case_id)
    bench.tell("Making the maps", 0.05)
    for share, _ in checked_maps.make(shelf, bundle(), case):
        if not entry.folder.is_dir():
            shelf.clear()
            raise refuse(f"case {case_id} was deleted meanwhile")
        bench.tell("Making the maps", share)
        left = shelf.next(())
        if left is None:
            break
        somebody_waits = left[1]
        if not somebody_waits and bench.run.rank < runs.BEHIND:
            raise Later(runs.BEHIND)  # the rest is what nobody asked for
        if runs.waits_before(bench.store, bench.run):
            raise Later(bench.run.rank)
    return digest
