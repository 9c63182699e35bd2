"""Writing that is never half there: write beside, then rename."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bmcore import disk
from bmcore.domain import refuse


def folder_name(text: str, what: str) -> str:
    """``text`` if it can safely be one folder or file name, else ``InputRefused``."""
    if not text.strip() or text.startswith(".") or any(c in text for c in "/\\\0\n\r"):
        raise refuse(
            f"{what} cannot be used as the name of a folder",
            found=repr(text),
            expected="letters, digits, spaces, '-', '_' and '.', not beginning with '.'",
        )
    return text


def to_json(value: Mapping[str, Any]) -> str:
    """Readable JSON; ValueError on NaN or infinity, which are not JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` so that a reader sees the old file or the new one, never a part."""
    disk.write(path, to_json(value))


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """A fresh hidden folder in ``parent``; removed at the end unless it was moved away
    (``disk.move_in``)."""
    folder = disk.private_folder(parent) / f".{name}.{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir(mode=disk.FOLDER_MODE)
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder)
