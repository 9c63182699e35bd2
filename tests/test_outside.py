"""The run itself fails when a test writes outside its own folders (tests/conftest.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
FAULTS = {
    "nothing": "tmp_path.joinpath('x').touch()",
    "its own home": "p = Path.home() / '.bmcore'; p.mkdir(); (p / 'x').touch()",
    "the settings' home": "p = Path(os.environ['BMCORE_HOME']); p.mkdir(); (p / 'x').touch()",
    "a temporary file": "tempfile.mkstemp()",
    "the real home": "p = Path(os.environ['BMCORE_TESTS_REAL_HOME'], '.bmcore'); p.mkdir(); "
    "(p / 'x').touch()",
    "the checkout": "Path(__file__).parents[1].joinpath('left.txt').touch()",
    "an ignored folder": "p = Path(__file__).parents[1] / 'runs'; p.mkdir(); (p / 'x').touch()",
}
HARMLESS = ("nothing", "its own home", "the settings' home", "a temporary file")


@pytest.mark.parametrize(
    ("where", "workers"),
    [(where, []) for where in FAULTS] + [(w, ["-n", "1"]) for w in ("nothing", "the real home")],
)
def test_a_test_that_writes_outside_fails_the_run(
    tmp_path: Path, where: str, workers: list[str]
) -> None:
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(CONFTEST, tests)
    (tests / "test_it.py").write_text(
        "import os, tempfile\nfrom pathlib import Path\n\n"
        f"def test_it(tmp_path):\n    {FAULTS[where]}\n"
    )
    (tmp_path / "real").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BMCORE_", "PYTEST_"))}
    environment |= {"HOME": str(tmp_path / "real"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, "tests"]
    done = subprocess.run(
        command, cwd=tests.parent, env=environment, capture_output=True, text=True
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert (done.returncode == 0) == (where in HARMLESS), done.stdout
    assert ("written outside" in done.stdout) == (where not in HARMLESS)
