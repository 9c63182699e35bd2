"""Test patients that are read once, each kept as a small file, perhaps by several processes."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from bmcore.domain import refuse
from training.run.files import atomic_path, read_json, write_json


def part_of(text: str) -> tuple[int, int]:
    """(this part, number of parts) from "0/2"; InputRefused for anything else."""
    first, _, count = text.partition("/")
    if not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise refuse("--part cannot be used", found=text, expected="for instance 0/2 or 1/2")
    return int(first), int(count)


def only_by(path: Path, mark: dict[str, Any]) -> None:
    """Keep in ``path`` who reads the patients; InputRefused where others did before."""
    if path.exists() and read_json(path) != mark:
        raise refuse(
            "these patients have been read by other models or under another seed",
            file=path,
            hint="they are to be read once; take another folder and say so where you report it.",
        )
    write_json(path, mark)


def pack(out: Path, file: Path, mark: dict[str, Any]) -> int:
    """Put the rows that OUT holds so far into one file (gzip, JSON lines: who read them, then a
    line a patient); how many."""
    rows = [
        json.dumps({"position": int(path.stem), "row": read_json(path)}, separators=(",", ":"))
        for path in sorted((out / "patients").glob("*.json"))
    ]
    with atomic_path(file) as beside:
        lines = [json.dumps(mark), *rows]
        beside.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return len(rows)


def unpack(file: Path, out: Path, mark: dict[str, Any]) -> int:
    """Put rows that ``pack`` kept where OUT lacks them; how many the file holds. InputRefused where
    others read them."""
    try:
        first, *lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise refuse("the kept rows cannot be read", file=file, found=error) from None
    if json.loads(first) != mark:
        raise refuse(
            "the kept rows were read by other models or under another seed",
            file=file,
            hint="leave --kept out; the patients are then read anew.",
        )
    for line in lines:
        kept = json.loads(line)
        path = out / "patients" / f"{kept['position']:05d}.json"
        if not path.exists():
            write_json(path, kept["row"])
    return len(lines)


def read_each(
    out: Path, count: int, part: tuple[int, int], read: Callable[[int], dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Read the patients of this part that OUT does not hold yet; ``read(position)`` gives a row.

    All rows in order, or None where those of other parts are still missing.
    """
    paths = [out / "patients" / f"{position:05d}.json" for position in range(count)]
    first, parts = part
    for position in range(first, count, parts):
        if not paths[position].exists():
            write_json(paths[position], read(position))
            typer.echo(f"patient {position + 1} of {count}")
    if not all(path.exists() for path in paths):
        typer.echo("this part is read; the others are not yet")
        return None
    return [read_json(path) for path in paths]
