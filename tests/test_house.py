"""The floors of the house: an import only goes down, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    "domain": 0,
    "geometry": 0,
    "origin": 0,
    "anatomy": 0,
    "workers": 0,
    "plain": 0,
    "zips": 0,
    "settings": 0,
    "disk": 0,
    "stats": 0,
    "intake": 1,
    "phantom": 1,
    "imaging": 2,
    "models": 3,
    "inference": 4,
    "review": 5,
    "door": 5,
    "analysis": 6,
    "report": 7,
    "running": 7,
    "cli": 8,
    "cli_dicom": 8,
    "cli_import": 8,
    "cli_predict": 8,
    "cli_statistics": 8,
    "cli_study": 8,
    "cli_lock": 8,
    "cli_account": 8,
    "cli_recalibrate": 8,
    "__main__": 8,
}
ALLOWED_ROOMS = {
    "streamlit": {"app.py", "pages"},
    "sqlalchemy": {"review"},
    "alembic": {"review"},
    "pydicom": {"intake", "report"},
}
LONGEST = 400  # lines of a file
LONG: Mapping[str, str] = {  # files that may be longer, and why
    "bmcore/domain.py": "the nouns of the project, each small",
    "bmcore/review/schema.py": "all tables of the database, as the migrations left them",
    "training/bench/coverage.py": "a table of simulated studies",
}
CIRCLES: tuple[frozenset[str], ...] = ()
# The files that stand between a page and ``review.access``; the others ask ``guard``.
GATES = ("door", "guard", "header", "http_guard", "navigation", "session", "sign_in")
NOUNS_OF_ACCESS = {"AccessRefused", "Role", "Standing", "User"}
NAMES_OF_ACCESS = {
    *("reader", "investigator", "administrator"),
    *("unaided", "aided", "aided_explained"),
}
RULES_IN_PAGES: Mapping[str, int] = {  # what is there still, a place each; no place may be added
    "pages/accounts.py": 1,  # a button is dead while the role is the one that is stored
    "pages/parts/study/case.py": 3,  # asks ``allowed`` with the standing it read from the list
    "pages/parts/study/worklist.py": 1,  # sheets that wait are not offered
    "pages/parts/study/readiness.py": 2,  # a button for whom the action is at all
    "pages/parts/study/context.py": 1,  # the standing of the sheet that is open
    "pages/parts/study/sheet.py": 1,  # what an answer rests on
    "pages/parts/study/waiting.py": 1,  # a hint for who runs the study
    "pages/parts/case/vote.py": 3,  # which boxes the form has
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
        ("imaging", "from bmcore.inference import pipeline"),
        ("intake", "import bmcore.models.cnn"),
        ("stats", "from bmcore.domain import Case"),
        ("analysis", "from bmcore.report.build import build"),
        ("models", "import streamlit as st"),
        ("inference", "from sqlalchemy import text"),
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
        "requirements-weights.lock",
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
        "bmcore.intake.library, bmcore.running.line, bmcore.inference.archive, pages.parts; "
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


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _circles(sources: Mapping[str, str]) -> list[frozenset[str]]:
    """Sets of modules that import each other, also inside functions or for types alone."""
    needs = {
        module: {
            target
            for name in _imports(ast.parse(source))
            for target in (name, name.rsplit(".", 1)[0])
            if target in sources and target != module
        }
        for module, source in sources.items()
    }
    reached = {module: _reached(needs, module) for module in needs}
    return sorted(
        {
            frozenset({m for m in reached[module] if module in reached[m]})
            for module in needs
            if module in reached[module]
        },
        key=sorted,
    )


def _reached(needs: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = list(needs[start])
    while ahead:
        module = ahead.pop()
        if module not in found:
            found.add(module)
            ahead += needs[module]
    return found


def test_no_two_files_import_each_other() -> None:
    sources = {_module(f): f.read_text(encoding="utf-8") for f in _product_files()}
    new = [c for c in _circles(sources) if not any(c <= known for known in CIRCLES)]
    assert not new, f"files import each other: {[sorted(c) for c in new]}"


@pytest.mark.parametrize(
    "back",
    [
        "import bmcore.b.one",
        "from bmcore.b import one",
        "from bmcore.b.one import thing",
        "def late():\n    from bmcore.b import one",
        "if TYPE_CHECKING:\n    from bmcore.b.one import Thing",
    ],
)
def test_a_planted_circle_is_found(back: str) -> None:
    there = {"bmcore.b.one": "from bmcore.a.two import x", "bmcore.a.two": "import bmcore.c"}
    assert _circles(there | {"bmcore.c": "import math"}) == []
    assert _circles(there | {"bmcore.c": back}) == [
        frozenset({"bmcore.a.two", "bmcore.b.one", "bmcore.c"})
    ]


def _too_long(name: str, lines: int) -> list[str]:
    return [f"{name} has {lines} lines"] if lines > LONGEST and name not in LONG else []


def test_no_file_is_too_long() -> None:
    files = {f.relative_to(ROOT).as_posix(): f for f in _product_files()}
    counted = {name: f.read_text(encoding="utf-8").count("\n") for name, f in files.items()}
    assert [fault for name, n in counted.items() for fault in _too_long(name, n)] == []
    assert _too_long("bmcore/planted.py", LONGEST + 1)


def _rules(path: Path, source: str) -> list[str]:
    """Where a page decides by itself who may do or see what, in words."""
    if path.stem in GATES:
        return []
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "bmcore.review.access":
            strange = {alias.name for alias in node.names} - NOUNS_OF_ACCESS
            found += [f"line {node.lineno}: takes {name} from access" for name in sorted(strange)]
        elif isinstance(node, ast.Attribute) and _is_name(node.value, "access"):
            if node.attr not in NOUNS_OF_ACCESS and not node.attr.isupper():
                found.append(f"line {node.lineno}: asks access.{node.attr} past the guard")
        elif isinstance(node, ast.Compare) and any(map(_decides, [node.left, *node.comparators])):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _decides(node: ast.expr) -> bool:
    """A role, an arm or a standing, or several of them: what a rule of access compares with."""
    if isinstance(node, (ast.Tuple, ast.Set, ast.List)):
        return any(map(_decides, node.elts))
    if isinstance(node, ast.Constant):
        return node.value in NAMES_OF_ACCESS
    if isinstance(node, ast.Attribute):
        return node.attr == "role" or ast.unparse(node.value).split(".")[-1] in ("Role", "Standing")
    return False


def test_pages_hold_no_rule_of_blinding_or_access() -> None:
    faults = []
    for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]:
        name = path.relative_to(ROOT).as_posix()
        found = _rules(path, path.read_text(encoding="utf-8"))
        if len(found) > RULES_IN_PAGES.get(name, 0):
            faults.append(f"{name}: {'; '.join(found)}")
    assert not faults, "rules live in bmcore/review; ask guard: " + " | ".join(faults)


@pytest.mark.parametrize(
    "line",
    [
        "shown = user.role == 'administrator'",
        "shown = user.role in (Role.READER, Role.ADMINISTRATOR)",
        "hidden = place.arm != 'unaided'",
        "hidden = 'aided' == phase",
        "closed = standing is guard.Standing.CLOSED",
        "from bmcore.review.access import RULES",
        "may = access.allowed(user, 'report.make', standing)",
        "may = user.role in RULES['report.make'].roles",
    ],
)
def test_a_planted_rule_in_a_page_is_found(line: str) -> None:
    assert _rules(ROOT / "pages" / "planted.py", line)
    assert not _rules(ROOT / "pages" / "planted.py", "name = phase_names[place.arm]")


def _unnamed(modules: list[str], text: str) -> list[str]:
    """Modules that the map does not name in the line of their room."""
    rooms = dict(re.findall(r"^- `([\w/]+)/?`: (.*)$", text, re.MULTILINE))
    missing = []
    for module in modules:
        room, _, name = module.rpartition("/")
        if not re.search(rf"`{re.escape(name)}`", rooms.get(room, "")):
            missing.append(module)
    return missing


def test_the_map_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = [
        f.relative_to(ROOT).with_suffix("").as_posix()
        for f in _product_files()
        if f.stem not in ("__init__", "__main__", "app") and "migrations" not in f.parts
    ]
    assert _unnamed(modules, text) == [], "name them in docs/architecture.md, List of modules"
    assert _unnamed(["bmcore/planted"], text) == ["bmcore/planted"]


# --- models and training -------------------------------------------------------------------------

FOREIGN_NET = "bmcore/imaging/hd_bet_net.py"  # learnt elsewhere, and needed below models
BUILDERS = ("segmenter", "cnn", "autoencoder", "candidates", "lesion_refinement")
METRICS = {"dice", "auc", "accuracy", "sensitivity", "specificity", "brier", "hd95", "coverage"}


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
    in_nets = place.startswith("bmcore/models/nets/") or place == FOREIGN_NET
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
