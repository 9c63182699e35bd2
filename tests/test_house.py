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
        ("review", "from training.run import files"),
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


def _imports_of(node: ast.stmt) -> list[str]:
    return _imports(node) if isinstance(node, (ast.Import, ast.ImportFrom)) else []


# --- models and training -------------------------------------------------------------------------

BUILDERS = ("segmenter", "cnn", "autoencoder", "candidates", "lesion_refinement")
METRICS = {"dice", "auc", "accuracy", "sensitivity", "specificity", "brier", "hd95", "coverage"}
MOST_LINES = 400


def _model_files() -> list[Path]:
    found = [*(ROOT / "bmcore" / "models").rglob("*.py"), *(ROOT / "training").rglob("*.py")]
    return sorted(f for f in found if "bench" not in f.parts)


def _without_typing(tree: ast.AST) -> ast.AST:
    """The tree without what stands below ``if TYPE_CHECKING``."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return Drop().visit(tree)


def _model_faults(path: Path, source: str) -> list[str]:
    """Nets elsewhere than in ``nets``, who imports those, and losses or metrics of training."""
    place, faults = path.relative_to(ROOT).as_posix(), []
    in_nets = place.startswith("bmcore/models/nets/")
    training = place.startswith("training/")
    tree = _without_typing(ast.parse(source))
    at_once = [n for node in getattr(tree, "body", []) for n in _imports_of(node)]
    for name in _imports(tree):
        if name.startswith("bmcore.models.nets") and not in_nets:
            builds = place in {f"bmcore/models/{b}.py" for b in BUILDERS}
            if not builds or name in at_once:
                faults.append(f"{place}: {name} is for the builders, when they build")
        if training and name.startswith("sklearn.metrics"):
            faults.append(f"{place}: metrics are those of bmcore.stats")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not in_nets:
            if any(ast.unparse(base).split(".")[-1] == "Module" for base in node.bases):
                faults.append(f"{place}: the net {node.name} does not lie in models/nets")
            if training and node.name.lower().endswith("loss"):
                faults.append(f"{place}: training defines the loss {node.name}")
        if isinstance(node, ast.FunctionDef) and training:
            name = node.name.strip("_")
            if name == "loss" or name.endswith("_loss"):
                faults.append(f"{place}: training defines the loss {name}")
            if name in METRICS or name.rpartition("_")[2] in {"dice", "auc"}:
                faults.append(f"{place}: training defines the metric {name}")
    return faults


def test_training_defines_no_net_loss_or_metric_and_nets_are_for_their_builders() -> None:
    files = [f for f in _product_files() if "bench" not in f.parts]  # those check bmcore's own
    assert len(_model_files()) > 60
    assert [x for f in files for x in _model_faults(f, f.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("place", "source", "what"),
    [
        ("training/loops/x.py", "class Net(torch.nn.Module): ...", "does not lie in models/nets"),
        ("bmcore/models/x.py", "def f():\n    class Net(nn.Module): ...", "lie in models/nets"),
        ("training/x.py", "def _loss(logits): ...", "the loss loss"),
        ("training/x.py", "class FocalLoss: ...", "the loss FocalLoss"),
        ("training/x.py", "def soft_dice(a, b): ...", "the metric soft_dice"),
        ("training/x.py", "def sensitivity(found): ...", "the metric sensitivity"),
        ("training/x.py", "from sklearn.metrics import f1_score", "bmcore.stats"),
        ("training/x.py", "def f():\n    from bmcore.models.nets import cnn", "for the builders"),
        ("bmcore/models/cnn.py", "from bmcore.models.nets.lesion_cnn import A", "when they build"),
        ("pages/x.py", "import bmcore.models.nets.segmenter", "for the builders"),
    ],
)
def test_a_planted_net_loss_or_metric_is_found(place: str, source: str, what: str) -> None:
    (fault,) = _model_faults(ROOT / place, source)
    assert what in fault


def test_a_builder_may_import_its_net_when_it_builds_and_for_types() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from bmcore.models.nets.lesion_cnn import LesionNet\n"
        "def build():\n    from bmcore.models.nets.lesion_cnn import LesionNet\n"
    )
    assert _model_faults(ROOT / "bmcore" / "models" / "cnn.py", source) == []


def _too_long(files: list[Path]) -> list[str]:
    lines = {f.name: f.read_text(encoding="utf-8").count("\n") for f in files}
    return [f"{name}: {n} lines" for name, n in lines.items() if n > MOST_LINES]


def test_no_file_of_models_and_training_is_long(tmp_path: Path) -> None:
    assert _too_long(_model_files()) == []
    planted = tmp_path / "planted.py"
    planted.write_text("\n" * (MOST_LINES + 1))
    assert _too_long([planted]) == [f"planted.py: {MOST_LINES + 1} lines"]


def _heavy_of(modules: list[str]) -> str:
    code = (
        f"import sys\nfor name in {modules!r}: __import__(name)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return run.stdout.strip() or run.stderr


def test_models_and_training_load_no_torch_when_imported_but_the_nets_do() -> None:
    names = [f.relative_to(ROOT).with_suffix("").as_posix() for f in _model_files()]
    modules = [n.replace("/", ".").removesuffix(".__init__") for n in names]
    light = [m for m in modules if ".nets." not in m]
    assert _heavy_of(light) == "[]"
    assert "torch" in _heavy_of(["bmcore.models.nets.autoencoder"])
