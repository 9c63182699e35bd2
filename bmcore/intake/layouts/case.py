"""One case of a data set, as its files lie there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bmcore.domain import SEQUENCES, Finding

KINDS = (*SEQUENCES, "seg")


@dataclass(frozen=True)
class LayoutCase:
    """own_id: as the data set calls the case. files: sequence (or "seg") -> file.

    patient: as the data set calls the person; cases of one person share it. ids: further names that
    a clinical table may use. notes: what has to be known of such a case. mask: how the labels of
    "seg" are meant, see ``nifti_file.read_mask``; "" where the layout does not say.
    """

    own_id: str
    files: Mapping[str, Path]
    patient: str = ""
    ids: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()
    mask: str = ""

    def __post_init__(self) -> None:
        unknown = set(self.files) - set(KINDS)
        if unknown or not self.own_id:
            raise ValueError(f"a case needs an id and files of {KINDS}, but has {unknown}")


def folders(folder: Path) -> Iterator[Path]:
    """The folders directly in ``folder``, sorted, without hidden ones; none where it is none."""
    if folder.is_dir():
        yield from sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def image(folder: Path, stem: str) -> Path | None:
    """The image ``stem`` in ``folder``, packed or not; None where it is not there. Another case of
    letters ("T2F.nii.gz", ".NII.GZ") counts where one file only is so called."""
    names = [f"{stem}{ending}" for ending in (".nii.gz", ".nii")]
    exact = next((folder / name for name in names if (folder / name).is_file()), None)
    if exact is not None or not folder.is_dir():
        return exact
    lower = {name.lower() for name in names}
    near = [path for path in folder.iterdir() if path.name.lower() in lower and path.is_file()]
    return near[0] if len(near) == 1 else None


def images(folder: Path, stems: Mapping[str, str]) -> dict[str, Path]:
    """Kind -> file, of those that are there. stems: kind -> stem."""
    found = {kind: image(folder, stem) for kind, stem in stems.items()}
    return {kind: path for kind, path in found.items() if path is not None}
