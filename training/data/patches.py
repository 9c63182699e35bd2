"""Patches to learn from: cut from prepared cases, or painted anew from synthetic heads.

Both sources give the same batch for step n of a seed, whatever was drawn before, so that a killed
run goes on to the bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.workers import worker_pool
from training.data.sampling import Sampling, augment, lost_sequences

if TYPE_CHECKING:
    import torch

    from bmcore.phantom.batch import Looks
    from bmcore.phantom.scene import Scene

    # images (b, 4, e, e, e), labels (b, e, e, e), loss weights and lesion numbers of that shape
    Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Arrays = tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]  # a Batch in numpy


# --- cases, prepared once -----------------------------------------------------------------------


# --- sources --------------------------------------------------------------------------------------


class Source:
    """Batches by number; a source says how one is drawn."""

    def __init__(self, config: Sampling, rank: int) -> None:
        self.config, self.rank = config, rank
        self.names: list[str] = []

    def draw(self, step: int) -> Any:
        """What a step needs, as far as a worker process can make it ready."""
        raise NotImplementedError

    def finish(self, drawn: Any) -> Batch:
        """The batch of what ``draw`` gave, made in the training process."""
        return _tensors(drawn)

    def step(self, step: int) -> Batch:
        return self.finish(self.draw(step))

    def stream(self, start: int, stop: int, workers: int = 0) -> Iterator[tuple[int, Batch]]:
        """Steps start..stop-1, made ready ahead: in a thread, or in ``workers`` processes."""
        pool: Executor
        if workers:
            pool = worker_pool(workers, _settle, (self,))
            draw: Any = _draw
        else:
            pool, draw = ThreadPoolExecutor(1), self.draw
        with pool:
            ahead = deque(
                pool.submit(draw, s) for s in range(start, min(stop, start + 2 + 3 * workers))
            )
            following = start + len(ahead)
            for step in range(start, stop):
                drawn = ahead.popleft().result()
                if following < stop:
                    ahead.append(pool.submit(draw, following))
                    following += 1
                yield step, self.finish(drawn)

    def _random(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, self.rank, step])


_settled: list[Source] = []


def _settle(source: Source) -> None:
    import torch

    torch.set_num_threads(1)
    _settled.append(source)


def _draw(step: int) -> Any:
    return _settled[0].draw(step)


def _tensors(arrays: Arrays) -> Batch:
    import torch

    images, labels, weights, parts = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
    return images, labels.long(), weights, parts


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that a painted batch of b patches and n scans depends on.

    places: (head, set of lesions) of each patch. centres: (b, 3). looks: n scans, sequences: (n,),
    which of SEQUENCES each is. gains, shifts: (b, 4), in spreads. mirror: (b,), left-right. seed:
    of the noise.
    """

    places: list[tuple[int, int]]
    centres: npt.NDArray[np.int_]
    looks: Looks
    sequences: npt.NDArray[np.int64]
    gains: npt.NDArray[np.float32]
    shifts: npt.NDArray[np.float32]
    mirror: npt.NDArray[np.bool_]
    seed: int


class PaintedPatches(Source):
    """Patches of synthetic heads (``training.scenes``), each painted in a look of its own.

    device: of torch. On a GPU the heads are kept in its memory (about 70 MB each) and painted
    there, by the training process. like: another source of the same folder and device whose heads
    in memory are used too.
    """

    def __init__(
        self,
        folder: Path,
        config: Sampling,
        rank: int = 0,
        device: str = "cpu",
        like: PaintedPatches | None = None,
    ) -> None:
        super().__init__(config, rank)
        heads = sorted(f.parent for f in folder.glob("*/whole"))
        if not heads:
            raise refuse(
                "no synthetic heads are there",
                file=folder,
                expected="the folder that training.scenes has written",
                hint="run python -m training.scenes --out DIR first.",
            )
        self.folder, self.heads, self.device = folder, heads, device
        self.names = [head.name for head in heads]
        self._read: dict[int, list[Scene]] = {}
        self._open: dict[int, list[Scene]] = like._open if like else {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_read": {}, "_open": {}}  # what is open is not sent elsewhere

    def draw(self, step: int) -> Recipe | Arrays:
        recipe = self.recipe(step)
        if self.device != "cpu":
            return recipe
        images, labels, weights, parts = self.paint(recipe)
        return images.numpy(), labels.numpy(), weights.numpy(), parts.numpy()

    def finish(self, drawn: Any) -> Batch:
        return self.paint(drawn) if isinstance(drawn, Recipe) else _tensors(drawn)

    def recipe(self, step: int) -> Recipe:
        """Everything about the batch of a step but its voxels."""
        from bmcore.domain import SEQUENCES
        from bmcore.phantom.appearance import draw_looks
        from bmcore.phantom.batch import stack_looks
        from bmcore.phantom.style import CLINIC, WILD

        rng, config = self._random(step), self.config
        places, centres, looks, box, sequences = [], [], [], [], []
        for number in range(config.batch):
            head = int(rng.integers(len(self.heads)))
            scenes = self._scenes(head)
            scene = int(rng.integers(len(scenes)))
            places.append((head, scene))
            centres.append(self._centre(rng, scenes[scene]))
            style = CLINIC if rng.uniform() < config.calm else WILD
            brush = rng if config.repaint else np.random.default_rng(places[-1])
            drawn = draw_looks(brush, scenes[scene].kinds, style)
            for place in np.flatnonzero(~lost_sequences(rng, config.drop)):
                looks.append(drawn[SEQUENCES[place]])
                box.append(number)
                sequences.append(int(place))
        size = (config.batch, len(SEQUENCES))
        return Recipe(
            places,
            np.array(centres),
            stack_looks(looks, box),
            np.array(sequences),
            # blur narrows the spread of a scan, and brain masks differ a little
            np.exp(rng.normal(0.08, 0.15, size)).astype(np.float32),
            rng.normal(0, 0.1, size).astype(np.float32),
            rng.uniform(size=config.batch) < 0.5,
            int(rng.integers(2**62)),
        )

    def paint(self, recipe: Recipe) -> Batch:
        """The batch of a recipe, on ``device``; labels as int64."""
        import torch

        from bmcore.imaging.standardise import CLIP
        from bmcore.phantom.batch import send
        from bmcore.phantom.scene import paint_patches

        scenes = [self._at_hand(head)[scene] for head, scene in recipe.places]
        patches = paint_patches(
            scenes, recipe.centres, self.config.patch, recipe.looks, recipe.sequences, recipe.seed
        )
        images = patches.images
        gains, shifts = (
            send(v, images.device)[:, :, None, None, None] for v in (recipe.gains, recipe.shifts)
        )
        images = (images * gains + (images != 0) * shifts).clamp(-CLIP, CLIP)
        flip = send(recipe.mirror, images.device)[:, None, None, None]
        labels, weights, parts = (
            torch.where(flip, x.flip(1), x)
            for x in (patches.labels.long(), patches.weights, patches.parts)
        )
        return torch.where(flip[:, None], images.flip(2), images), labels, weights, parts

    def _scenes(self, head: int) -> list[Scene]:
        from bmcore.phantom.scene import read_head

        if head not in self._read:
            self._read[head] = read_head(self.heads[head])
        return self._read[head]

    def _at_hand(self, head: int) -> list[Scene]:
        from bmcore.phantom.scene import settle

        if self.device == "cpu":
            return self._scenes(head)
        if head not in self._open:
            self._open[head] = settle(self._scenes(head), self.device)
        return self._open[head]

    def _centre(self, rng: np.random.Generator, scene: Scene) -> npt.NDArray[np.int_]:
        config, lot = self.config, rng.uniform()
        edge, shape = config.patch, np.array(scene.shape)
        for share, places, reach in (
            (config.core_share, scene.cores, edge // 6),
            (config.decoy_share, scene.decoys, edge // 3),
            (config.lesion_share, scene.spots, edge // 3),
        ):
            if lot < share and len(places):
                moved = rng.integers(-reach, reach + 1, 3)
                centre = places[int(rng.integers(len(places)))].astype(int) + moved
                return np.clip(centre, 0, shape - 1)
            lot -= share
        return rng.integers(shape // 5, shape - shape // 5)


class CutPatches(Source):
    """Patches cut from the cases that ``prepare_all`` keeps in ``cache``, augmented."""

    def __init__(self, cache: Path, names: list[str], config: Sampling, rank: int = 0) -> None:
        super().__init__(config, rank)
        self.cache, self.names = cache, names
        self.with_core = [n for n in names if len(self._load(n, "cores")) == 64]

    def _load(self, name: str, kind: str) -> npt.NDArray:
        return np.load(self.cache / f"{name}.{kind}.npy", mmap_mode="r")

    def draw(self, step: int) -> Arrays:
        rng = self._random(step)
        rows = zip(*[self._one(rng) for _ in range(self.config.batch)], strict=True)
        images, labels, weights, parts = (np.stack(row) for row in rows)
        return images, labels, weights, parts

    def _one(self, rng: np.random.Generator) -> Arrays:
        from bmcore.models.losses import core_parts

        lot = rng.uniform()
        on_core = bool(self.with_core) and lot < self.config.core_share
        pool = self.with_core if on_core else self.names
        name = pool[int(rng.integers(len(pool)))]
        images, labels = self._load(name, "images"), self._load(name, "labels")
        weights, spots = self._load(name, "weights"), self._load(name, "spots")
        edge = self.config.patch
        shape = np.array(labels.shape)
        if on_core:
            cores = self._load(name, "cores")
            centre = cores[int(rng.integers(len(cores)))] + rng.integers(-edge // 6, edge // 6, 3)
        elif len(spots) and lot < self.config.core_share + self.config.lesion_share:
            centre = spots[int(rng.integers(len(spots)))] + rng.integers(-edge // 3, edge // 3, 3)
        else:
            centre = rng.integers(shape // 5, shape - shape // 5)
        low = np.clip(centre - edge // 2, 0, np.maximum(shape - edge, 0))
        box = tuple(slice(a, a + edge) for a in low)
        missing = [(0, edge - len(range(*b.indices(n)))) for b, n in zip(box, shape, strict=True)]
        crop = np.pad(np.asarray(images[(slice(None), *box)], np.float32), [(0, 0), *missing])
        target = np.pad(np.asarray(labels[box]), missing)
        weight = np.pad(
            weights[box].astype(np.float32) * np.float32(0.05), missing, constant_values=1
        )
        crop = augment(crop, rng, self.config.drop)
        if rng.uniform() < 0.5:
            crop, target, weight = crop[:, ::-1], target[::-1], weight[::-1]
        return crop, target, weight, core_parts(target)
