"""Cases for the segmenter, prepared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import refuse
from bmcore.imaging.masks import connected
from training.data.content import image_content
from training.data.datasets import open_dataset
from training.run.files import atomic_path, read_json, write_json
from training.run.processes import World, progress

if TYPE_CHECKING:
    import torch

    # images (b, 4, e, e, e), labels (b, e, e, e), loss weights and lesion numbers of that shape
    Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

VERSION = 1


def _spots(labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Up to 8 voxels of each lesion, so that each lesion is met about as often."""

    parts, n = connected(labels > 0)
    spots = [rng.permutation(np.argwhere(parts == i + 1))[:8] for i in range(min(n, 60))]
    return np.concatenate(spots or [np.zeros((0, 3))]).astype(np.int16)


def prepare_case(data: Path, case_id: str, cache: Path) -> Path:
    """Write images (float16), labels and loss weights of one case to ``cache/CASE.*.npy``.

    Nothing is done where that was made from the same files, by their content.
    """
    from bmcore.imaging.preprocess import prepare, to_working_grid
    from bmcore.models.losses import small_lesion_weights

    dataset = open_dataset(data)
    done = cache / f"{case_id}.source.json"
    source = {"version": VERSION, "content": image_content(dataset, case_id)}
    if done.exists() and read_json(done) == source:
        return done
    done.unlink(missing_ok=True)
    case = dataset.load(case_id)
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
    for name, array in arrays.items():
        target = cache / f"{case_id}.{name}.npy"
        with atomic_path(target) as beside, beside.open("wb") as file:
            np.save(file, array)
    write_json(done, source)  # last: it says that the case is whole
    return done


def prepare_all(folders: list[Path], cache: Path, world: World) -> list[str]:
    """Prepare every case of the data folders; names are ``FOLDER-NUMBER/CASE`` in order."""
    names = []
    with progress(world) as bars:
        for number, folder in enumerate(folders):
            place = cache / str(number)
            place.mkdir(parents=True, exist_ok=True)
            ids = open_dataset(folder).case_ids
            task = bars.add_task(f"prepare {folder.name}", total=len(ids))
            for index, case_id in enumerate(ids):
                if index % world.size == world.rank:
                    prepare_case(folder, case_id, place)
                bars.advance(task)
                names.append(f"{number}/{case_id}")
    world.barrier()
    return names
