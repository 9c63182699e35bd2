"""The road of the door in one process: steps at once instead of in a child, admission quick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmcore.door import arrival, uploads, work, worker
from bmcore.door.arrival import Arrival
from bmcore.door.work import Work
from bmcore.imaging import preprocess, skull

OWNER = "this computer"


def quick(patch: pytest.MonkeyPatch) -> None:
    """Images that lie on one grid are left as they are; nothing is compared; steps run at once."""
    patch.setattr(skull, "needs_alignment", lambda images: False)
    patch.setattr(preprocess, "inspect", lambda case: ())
    patch.setattr(work, "submit", at_once)


def at_once(home: Path, of: Arrival, step: str, asked: Mapping[str, Any] | None = None) -> Work:
    if asked is not None:
        (of.folder / f"{step}.json").write_text(json.dumps(dict(asked)))
    work.record(of, Work(step, "queued", "Starting"))
    worker.run(home, of, worker.known_steps())
    return work.state(of)


def upload(home: Path, owner: str, files: Mapping[str, bytes]) -> Arrival:
    """Files sent as the browser sends them."""
    listed = [(name, len(content)) for name, content in files.items()]
    made = uploads.begin(home, owner, listed, "", 10**9)
    whole = b"".join(files.values())
    for offset in np.arange(0, len(whole), 1 << 20):
        with uploads.appending(made, int(offset)) as writer:
            writer.write(whole[offset : offset + (1 << 20)])
    return arrival.find(home, made.id, owner)


def below(folder: Path) -> dict[str, bytes]:
    """Name from the folder on, as a browser tells it, to content."""
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
