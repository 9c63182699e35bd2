"""The floors of the house: an import only goes down, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "domain": 0,
    "geometry": 0,
    "anatomy": 0,
    "workers": 0,
    "plain": 0,
    "zips": 0,
    "settings": 0,
    "disk": 0,
    "intake": 1,
    "phantom": 1,
    "imaging": 2,
    "models": 3,
    "reading": 4,
    "review": 5,
    "stats": 6,
    "report": 6,
    "cli": 7,
    "cli_dicom": 7,
    "cli_study": 7,
    "cli_lock": 7,
    "cli_account": 7,
    "__main__": 7,
}
ALLOWED_ROOMS = {
    "streamlit": {"app.py", "pages"},
    "sqlalchemy": {"review"},
    "alembic": {"review"},
    "pydicom": {"intake", "report"},
}
HEAVY = ("torch", "monai", "shap", "captum", "SimpleITK")


def _product_files() -> list[Path]:
    files = [ROOT / "app.py"]
    for folder in ("bmcore", "pages", "training"):
        files += sorted((ROOT / folder).rglob("*.py"))
    return [f for f in files if f.exists()]


def _room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "bmcore" and len(parts) > 1:
        return parts[1].removesuffix(".py")
    return parts[0]


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _faults(path: Path, source: str) -> list[str]:
    """What breaks the rules in one file, in words."""
    room, faults = _room(path), []
    for name in _imports(ast.parse(source)):
        parts = name.split(".")
        for library, rooms in ALLOWED_ROOMS.items():
            if parts[0] == library and room not in rooms:
                faults.append(f"{path.name}: {library} is not for {room}")
        if parts[0] in ("pages", "training") and _is_engine(path):
            faults.append(f"{path.name}: the engine must not import {parts[0]}")
        if parts[0] != "bmcore" or len(parts) < 2 or not _is_engine(path):
            continue
        target = parts[1]
        if target in FLOORS and room in FLOORS and target != room:
            too_high = FLOORS[target] > FLOORS[room]
            if room == "stats" or (too_high and room != "__init__"):
                faults.append(f"{path.name}: {room} must not import {target}")
    return faults


def _is_engine(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] == "bmcore"


def test_every_import_goes_down_and_libraries_stay_in_their_rooms() -> None:
    files = _product_files()
    assert len(files) > 30
    assert [fault for f in files for fault in _faults(f, f.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("imaging", "from bmcore.reading import pipeline"),
        ("intake", "import bmcore.models.cnn"),
        ("stats", "from bmcore.domain import Case"),
        ("models", "import streamlit as st"),
        ("reading", "from sqlalchemy import text"),
        ("models", "import pydicom"),
        ("review", "from training import common"),
    ],
)
def test_a_planted_forbidden_import_is_found(room: str, line: str) -> None:
    assert _faults(ROOT / "bmcore" / room / "planted.py", line)


def test_every_room_has_a_floor() -> None:
    rooms = {p.name.removesuffix(".py") for p in (ROOT / "bmcore").iterdir()}
    rooms -= {"__pycache__", "__init__"}
    assert rooms <= set(FLOORS), f"give a floor to {sorted(rooms - set(FLOORS))}"


def test_the_top_level_holds_only_what_the_house_allows() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    allowed = {
        *("app.py", "pages", "bmcore", "training", "tests", "requirements.txt", "README.md"),
        *(".streamlit", "pyproject.toml", "Makefile", ".ci", "CHANGELOG.md", "docs", "models"),
        *("LICENSE", ".gitignore"),
        *("requirements.lock", "requirements-cpu.lock", "requirements-torch.lock"),
    }
    assert top <= allowed


def test_no_page_loads_torch_or_its_like_when_imported() -> None:
    pages = [p for p in sorted((ROOT / "pages").rglob("*.py")) if p.name != "__init__.py"]
    assert pages
    found = []
    for path in [ROOT / "app.py", *pages]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            found += [(path.name, n) for n in _imports_of(node) if n.split(".")[0] in HEAVY]
    assert found == []
    code = (
        "import sys; import bmcore.domain, bmcore.settings, bmcore.cli, bmcore.review.store, "
        "bmcore.intake.library, bmcore.reading.jobs, bmcore.reading.archive, pages.parts; "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "[]", run.stdout + run.stderr


def test_pydicom_is_imported_where_a_file_is_parsed_and_not_before() -> None:
    files = sorted((ROOT / "bmcore" / "intake" / "dicom").glob("*.py"))
    assert len(files) > 10
    found = [
        (path.name, name)
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        for name in _imports_of(node)
        if name.split(".")[0] == "pydicom"
    ]
    assert found == []


def _imports_of(node: ast.stmt) -> list[str]:
    return _imports(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else []
