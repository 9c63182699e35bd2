"""No test writes outside its own folders.

Home, caches and temporary files of the whole run lie in one folder that goes away at the end. The
run fails if anything new lies in the real home's ``.bmcore`` or in the checkout afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_FOLDER = "BMCORE_TESTS_FOLDER"
_BEFORE, _NEW = pytest.StashKey[set](), pytest.StashKey[list]()
# What tools keep in a checkout by themselves; all ignored by git.
_TOOLS = {".git", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


# Files that take longest, longest first: begun last, one would run alone while the other process
# idles.
_LONG = (
    "test_training_scenes", "test_browser", "test_training_own_run", "test_browser_viewer",
    "test_browser_marks", "test_demo_bundle", "test_access_server", "test_segmenter",
    "test_browser_study", "test_browser_screens", "test_candidates", "test_browser_investigator",
    "test_review_durability", "test_privacy_strings", "test_real_heads", "test_intake_dicom_trials",
    "test_browser_readiness", "test_browser_flow", "test_phantom_grids", "test_workers",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order inside a file, and of all others, stays."""
    place = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(_LONG)))


def _redirect(folder: Path) -> None:
    """Point everything that a program might write by itself into ``folder``."""
    places = {
        "HOME": "home",
        "USERPROFILE": "home",
        "BMCORE_HOME": "home/.bmcore",
        "XDG_CACHE_HOME": "home/.cache",
        "XDG_CONFIG_HOME": "home/.config",
        "XDG_DATA_HOME": "home/.local/share",
        "XDG_STATE_HOME": "home/.local/state",
        "MPLCONFIGDIR": "home/.config/matplotlib",
        "HYPOTHESIS_STORAGE_DIRECTORY": "home/.hypothesis",
        "TMPDIR": "tmp",
    }
    for name, place in places.items():
        os.environ[name] = str(folder / place)
    os.environ["BMCORE_WORKER_EARLY"] = "0"  # no page of a test starts a process by itself
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "tmp").chmod(0o1777)  # a test's server may run as another account
    tempfile.tempdir = None


def _seen() -> set[str]:
    """Every file of the real ``~/.bmcore`` and of the checkout, and what git holds for changed."""
    found = {str(p) for p in _real_home().rglob("*")} if _real_home().exists() else set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _TOOLS]
        found.update(os.path.join(folder, name) for name in files)  # noqa: PTH118
    if os.environ.get("CI"):  # at a desk somebody may be editing while the tests run
        git = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "status", "--porcelain"]
        told = subprocess.run(git, capture_output=True, text=True)
        found.update(f"git: {line}" for line in told.stdout.splitlines())
    return found


def _real_home() -> Path:
    return Path(os.environ["BMCORE_TESTS_REAL_HOME"]) / ".bmcore"


if _FOLDER not in os.environ:  # the run itself; its workers find all this set
    os.environ["BMCORE_TESTS_REAL_HOME"] = str(Path.home())
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="bmt-")  # short: paths of sockets have 107 bytes
    Path(os.environ[_FOLDER]).chmod(0o711)
    _redirect(Path(os.environ[_FOLDER]))
    _OWNER = True
else:
    _OWNER = False


def pytest_sessionstart(session: pytest.Session) -> None:
    if _OWNER:
        session.config.stash[_BEFORE] = _seen()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _OWNER:
        return
    new = sorted(_seen() - session.config.stash[_BEFORE])
    if os.environ.get("BMCORE_SCREENSHOTS"):
        new = [name for name in new if "screen" not in name]
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)  # else there is something to look at
    if new:
        session.config.stash[_NEW] = new
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    new = terminalreporter.config.stash.get(_NEW, [])
    if new:
        terminalreporter.section("written outside the tests' own folders", red=True)
        for name in new[:20]:
            terminalreporter.line(name)
