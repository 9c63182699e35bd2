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
from training.common import World, atomic_path, progress

if TYPE_CHECKING:
    import torch

    from bmcore.phantom.batch import Looks
    from bmcore.phantom.scene import Scene

    # images (b, 4, e, e, e), labels (b, e, e, e), loss weights and lesion numbers of that shape
    Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Arrays = tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]  # a Batch in numpy


@dataclass(frozen=True)
class Sampling:
    """Which patches: a sentence a field.

    batch, patch: patches a step, edge of a patch in voxels of 1 mm. lesion_share: share of patches
    centred near a lesion. core_share: share centred on necrosis, which few lesions have.
    decoy_share: share centred on enhancing tissue that is no lesion (synthetic heads only). drop:
    chance to lose t1n, t2w, t2f. repaint: whether a synthetic scene looks different each time.
    calm: share of patches that are painted like clinical scans; the others look wilder.
    """

    batch: int = 2
    patch: int = 80
    lesion_share: float = 0.55
    core_share: float = 0.2
    decoy_share: float = 0.1
    drop: float = 0.25
    repaint: bool = True
    calm: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        # 32 leaves 2x2x2 at the deepest level, where bfloat16 gradients on CPUs come out as NaN
        if self.patch % 16 or self.patch < 48:
            raise refuse(
                "the patch edge does not fit the net",
                found=self.patch,
                expected="a multiple of 16, at least 48",
                hint="take --patch 80.",
            )


AUGMENTATION = {
    "mirror": "left-right, chance 0.5",
    "painting": "synthetic heads: every patch in a contrast, field, blur and noise of its own",
    "gain and shift": "each sequence: gain exp(N(0, 0.2)), shift N(0, 0.15) spreads; painted "
    "patches gain exp(N(0.08, 0.15)), shift N(0, 0.1)",
    "gamma": "each sequence, chance 0.3: exponent exp(N(0, 0.25)) of the range",
    "noise": "chance 0.3: Gaussian, up to 0.3 spreads",
    "blur": "each sequence, chance 0.15: mean over 2-3 voxels along one axis",
    "missing sequences": "t1n, t2w, t2f each lost by chance 'drop'; all three by 0.08",
}


# --- cases, prepared once -----------------------------------------------------------------------


def _spots(labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Up to 8 voxels of each lesion, so that each lesion is met about as often."""
    from scipy import ndimage

    parts, n = ndimage.label(labels > 0, np.ones((3, 3, 3)))
    spots = [rng.permutation(np.argwhere(parts == i + 1))[:8] for i in range(min(n, 60))]
    return np.concatenate(spots or [np.zeros((0, 3))]).astype(np.int16)


def prepare_case(data: Path, case_id: str, cache: Path) -> Path:
    """Write images (float16), labels and loss weights of one case to ``cache/CASE.*.npy``."""
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.intake.datasets import YaleDataset
    from bmcore.models.losses import small_lesion_weights

    done = cache / f"{case_id}.spots.npy"
    if done.exists():
        return done
    case = YaleDataset(data).load(case_id)
    if case.truth is None or case.truth.mask is None:
        raise refuse(
            "no reference mask",
            file=case_id,
            expected="a seg file beside the sequences",
            hint="leave this case out of the training folder.",
        )
    prepared = prepare(case)
    labels = np.where(prepared.brain, to_working_grid(case.truth.mask, prepared), 0).astype(
        np.uint8
    )
    weights = np.rint(small_lesion_weights(labels) * 20).astype(np.uint8)
    arrays: dict[str, npt.NDArray] = {
        "images": prepared.images.astype(np.float16),
        "labels": labels,
        "weights": weights,
        "cores": np.random.default_rng(1)
        .permutation(np.argwhere(labels == 1))[:64]
        .astype(np.int16),
        "spots": _spots(labels, np.random.default_rng(0)),
    }
    for name, array in arrays.items():  # spots last: its presence says that the case is whole
        target = cache / f"{case_id}.{name}.npy"
        with atomic_path(target) as beside, beside.open("wb") as file:
            np.save(file, array)
    return done


def prepare_all(folders: list[Path], cache: Path, world: World) -> list[str]:
    """Prepare every case of the data folders; names are ``FOLDER-NUMBER/CASE`` in order."""
    from bmcore.intake.datasets import YaleDataset

    names = []
    with progress(world) as bars:
        for number, folder in enumerate(folders):
            place = cache / str(number)
            place.mkdir(parents=True, exist_ok=True)
            ids = YaleDataset(folder).case_ids
            task = bars.add_task(f"prepare {folder.name}", total=len(ids))
            for index, case_id in enumerate(ids):
                if index % world.size == world.rank:
                    prepare_case(folder, case_id, place)
                bars.advance(task)
                names.append(f"{number}/{case_id}")
    world.barrier()
    return names


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


def lost_sequences(rng: np.random.Generator, drop: float) -> npt.NDArray[np.bool_]:
    """Which of the four sequences a patch does without; never t1c."""
    lost = rng.uniform(size=4) < drop
    if rng.uniform() < 0.08:
        lost[[0, 2, 3]] = True
    lost[1] = False
    return lost


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


def augment(
    images: npt.NDArray[np.float32], rng: np.random.Generator, drop: float
) -> npt.NDArray[np.float32]:
    """The intensity part of AUGMENTATION on a standardised patch (4, i, j, k); 0 stays 0."""
    from scipy import ndimage

    inside = (images != 0).any(0)
    out = np.empty_like(images)
    for c, image in enumerate(images):
        x = image
        if rng.uniform() < 0.15:
            x = ndimage.uniform_filter1d(x, int(rng.integers(2, 4)), axis=int(rng.integers(3)))
        if rng.uniform() < 0.3:
            low, high = -4.0, 6.0
            exponent = np.float32(np.exp(rng.normal(0, 0.25)))
            unit = np.clip((x - low) / (high - low), 0, 1)
            x = unit**exponent * (high - low) + low
            x -= np.float32((-low / (high - low)) ** exponent * (high - low) + low)
        x = x * np.float32(np.exp(rng.normal(0, 0.2))) + np.float32(rng.normal(0, 0.15))
        if rng.uniform() < 0.3:
            noise = rng.standard_normal(x.shape, dtype=np.float32)
            x = x + noise * np.float32(rng.uniform(0, 0.3))
        out[c] = np.where(inside & image.any(), np.clip(x, -6, 6), 0)  # what is missing stays so
    out[lost_sequences(rng, drop)] = 0
    return out
