"""Whether all that the installed packages need is there, as ``pip check`` says.

The packages of ``requirements-weights.lock`` are let off: they are taken for the weights that lie
in them, none of their code is imported, and what that code would need is left out on purpose.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements-weights.lock"


def weights() -> set[str]:
    """The names of the packages that are taken for their weights."""
    names = re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return {plain(name) for name in names}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def faults(told: str) -> list[str]:
    """The lines of ``pip check`` that are about other packages."""
    lines = [line for line in told.splitlines() if line.strip()]
    return [line for line in lines if plain(line.split()[0]) not in weights()]


def main() -> int:
    asked = [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"]
    done = subprocess.run(asked, capture_output=True, text=True)
    left = faults(done.stdout) if done.returncode else []
    print("\n".join([*left, done.stderr.strip()]).strip(), file=sys.stderr)
    return 1 if left or (done.returncode and not done.stdout.strip()) else 0


if __name__ == "__main__":
    sys.exit(main())
