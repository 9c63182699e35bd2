"""Whose scan each case is: by its id, by the table, and by the images themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from training.data.cohort import person_of
from training.pipeline.case_look import Looked
from training.pipeline.table import TableRow


@dataclass(frozen=True)
class Persons:
    """of: case id -> person. doubled: groups of case ids that hold one and the same image."""

    of: Mapping[str, str]
    doubled: tuple[tuple[str, ...], ...]


def find_persons(looked: Mapping[str, Looked], rows: Mapping[str, TableRow]) -> Persons:
    """Join the cases of one person: other time points of one id, one person in the table, or an
    image that is the same voxel for voxel. A person is called by the first of its cases' ids,
    without the time point."""
    parent = {case: case for case in looked}

    def top(case: str) -> str:
        while parent[case] != case:
            case = parent[case]
        return case

    def join(a: str, b: str) -> None:
        first, second = sorted((top(a), top(b)))
        parent[second] = first

    seen: dict[tuple[str, str], str] = {}
    images: dict[str, set[str]] = {}
    for case in sorted(looked):
        row = rows.get(case)
        keys = [("id", person_of(case))]
        if row is not None and row.person:
            keys.append(("table", row.person))
        for key in keys:
            join(case, seen.setdefault(key, case))
        for _, digest in looked[case].voxels:  # of any sequence: one image under two names
            first = seen.setdefault(("image", digest), case)
            if first != case:
                join(case, first)
                images.setdefault(first, {first}).add(case)
    return Persons(
        {case: person_of(top(case)) for case in looked},
        tuple(sorted(tuple(sorted(group)) for group in images.values())),
    )
