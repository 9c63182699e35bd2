"""A package goes to a computer without the nets, and a reader reads it there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from bmcore.cli import app
from bmcore.domain import InputRefused
from bmcore.models.bundles import load_bundle
from bmcore.review.package import pack, unpack
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import open_store
from bmcore.settings import PROJECT, settings
from tests import pages_fixture as fixture
from tests import pages_home, people_fixture

CASES = ["Case-1", "Case-2"]
IMPORT_NAMES = {
    "scikit-learn": "sklearn",
    "psycopg": "psycopg",
    "PyYAML": "yaml",
    "pydantic-settings": "pydantic_settings",
    "argon2-cffi": "argon2",
}


def requirements(path: Path) -> dict[str, str]:
    """Name -> pinned version."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {re.sub(r"\[.*\]", "", name): version for name, version in pairs}


def not_installed() -> list[str]:
    """Modules of requirements.txt that the review-only list does not have."""
    whole = requirements(PROJECT / "requirements.txt")
    small = requirements(PROJECT / "docs" / "requirements-review.txt")
    return sorted(IMPORT_NAMES.get(n, n).replace("-", "_").lower() for n in whole if n not in small)


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory):
    """Home with two cases, their predictions, a reference mask, and models."""
    root = tmp_path_factory.mktemp("sender")
    made = pages_home.make_bundle(root / "models")
    people_fixture.make_home(root / "home", root / "files", made, CASES)
    folder = root / "home" / "cases" / "Case-1"
    record = json.loads((folder / "case.json").read_text())
    seg = folder / "Case-1-seg.nii.gz"
    mask = fixture.make_prediction(fixture.make_case("Case-1")).mask
    nib.save(nib.Nifti1Image(np.asarray(mask.data), mask.affine), seg)
    record["original_names"]["seg"] = "Patient-seg.nii.gz"
    record["sha256"][seg.name] = hashlib.sha256(seg.read_bytes()).hexdigest()
    (folder / "case.json").write_text(json.dumps(record))
    return root / "home", load_bundle(root / "models")


@pytest.fixture(scope="module")
def package(sender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home, bundle = sender
    out = tmp_path_factory.mktemp("package") / "study.zip"
    assert pack(people_fixture.make_study(CASES), home, bundle, out) == 2
    return out


def test_the_review_list_pins_the_same_versions_and_no_net() -> None:
    whole = requirements(PROJECT / "requirements.txt")
    small = requirements(PROJECT / "docs" / "requirements-review.txt")
    assert small.items() <= whole.items()
    assert {"torch", "monai", "shap", "captum", "simpleitk"} <= set(not_installed())


def test_a_package_holds_maps_and_predictions_but_no_answer(package: Path) -> None:
    with zipfile.ZipFile(package) as packed:
        names = packed.namelist()
        records = [json.loads(packed.read(f"cases/{c}/case.json")) for c in CASES]
    for ending in (".nii.gz", ".json"):  # the map and its audit
        kept = [n for n in names if n.startswith("maps/") and n.endswith(ending)]
        assert len(kept) == 2 * 2 * 6  # cases, lesions, primaries
    assert sum(n.endswith("prediction.json") for n in names) == 2
    assert not any("-seg" in n or "sqlite" in n or "demo-cases" in n for n in names)
    assert all(set(r["original_names"].values()) == set(r["sha256"]) for r in records)


def test_a_packed_map_is_the_checked_map_of_the_nets(sender, package: Path, tmp_path: Path) -> None:
    from bmcore.domain import Primary
    from bmcore.inference import archive, audit, explain
    from bmcore.inference.checked_maps import Shelf
    from bmcore.intake import library

    home, bundle = sender
    unpack(package, tmp_path / "home", "Dr Ada")
    prediction = archive.latest(home, "Case-1", bundle.info.digest)
    case = library.load_case(home, "Case-1")
    shelf = Shelf(tmp_path / "home", "ef" * 32, prediction)
    for primary in (Primary.MELANOMA, Primary.BREAST):
        kept = shelf.find((2, primary))
        patches, _ = explain.lesion_patches(bundle, case, prediction, [2])
        assert kept.audit == audit.trusted(bundle.cnn, patches.cubes, 2, primary)
        fresh = explain.gradcam(bundle, case, prediction, 2, primary, kept.audit.method)
        assert np.abs(kept.heat.data - fresh.data).max() <= 0.5 / 255 + 1e-6
        assert np.allclose(kept.heat.affine, fresh.affine)


def test_what_was_made_for_a_package_is_not_made_again(
    sender, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bmcore.inference import audit

    home, bundle = sender
    monkeypatch.setattr(audit, "trusted", None)
    pack(people_fixture.make_study(CASES), home, bundle, tmp_path / "again.zip")
    with zipfile.ZipFile(tmp_path / "again.zip") as again, zipfile.ZipFile(package) as first:
        maps = [n for n in first.namelist() if n.startswith("maps/")]
        assert maps and all(again.read(n) == first.read(n) for n in maps)


READ = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].lower() in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Refuse())
from streamlit.testing.v1 import AppTest

def press(page, label):
    return next(b for b in page.button if b.label == label).click().run()

def key(widgets, start):
    return next((w for w in widgets if str(w.key).startswith(start + " ")), None)

page = AppTest.from_file("pages/study.py", default_timeout=120)
page.query_params["seat"] = "small/ra"
page = press(page.run(), "Read next case (1)")
for arm in range(3):
    assert not page.error and not page.exception, [e.value for e in page.error]
    key(page.radio, "primary").set_value("melanoma")
    key(page.number_input, "primary confidence").set_value(70)
    for name, value in (("quality", 4), ("why", "helpful")):
        if key(page.radio, name):
            key(page.radio, name).set_value(value)
    page = page.run()
    if key(page.number_input, "lesions missed"):
        key(page.number_input, "lesions missed").set_value(0)
        page = press(page.run(), "Accept all that have no verdict yet")
    if arm == 2:  # reasons and a map
        page.session_state["study_panel"] = "Why"
        page = page.run()
        assert page.get("plotly_chart"), "no reasons"
        from bmcore.domain import Primary
        from pages.parts import loaders
        from pages.parts.case import map_on_demand
        place = next(e.case_id for e in loaders.entries())
        found = map_on_demand.find(loaders.prediction(place), (1, Primary("melanoma")))
        assert found.heat.shape == loaders.prediction(place).mask.shape
        assert found.audit is not None and found.audit.primary == "melanoma"
    if arm:
        page.session_state["study_panel"] = "The models' answers"
        page = page.run()
    page = press(page, "Lock my answer").run()
assert not page.error, [e.value for e in page.error]
assert any(b.label == "Read next case (2)" for b in page.button)
loaded = {{m.split(".")[0].lower() for m in sys.modules}} & {blocked!r}
assert not loaded, loaded
print("read")
"""


def test_a_reader_reads_the_unpacked_study_without_any_of_the_nets_libraries(
    package: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    unpack(package, home, "Dr Ada")
    code = READ.format(blocked=set(not_installed()))
    environment = {
        **os.environ,
        "BMCORE_HOME": str(home),
        "BMCORE_BUNDLE": str(home / "models"),
        "BMCORE_DEMO": "0",
        "BMCORE_DATABASE_URL": "",
    }
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert run.stdout.strip().endswith("read"), run.stdout[-1500:] + run.stderr[-3000:]
    with open_store(people_fixture.url(home)) as store:
        assert ReadingSession(store, "small").progress()["ra"]["aided locked"] == 2


@pytest.mark.parametrize("fault", ["changed", "missing", "extra", "outside"])
def test_a_package_that_was_tampered_with_is_refused_and_leaves_nothing(
    package: Path, tmp_path: Path, fault: str
) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            if info.filename == "cases/Case-1/case.json":
                if fault == "missing":
                    continue
                content = content + b" " if fault == "changed" else content
            if info.filename == "package.json" and fault == "outside":
                about = json.loads(content)
                about["files"]["cases/../../evil"] = "0" * 64
                content = json.dumps(about).encode()
            target.writestr(info.filename, content)
        if fault == "extra":
            target.writestr("cases/Case-1/more.txt", b"x")
        if fault == "outside":
            target.writestr("cases/../../evil", b"x")
    with pytest.raises(InputRefused):
        unpack(bad, tmp_path / "home", "Dr Ada")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip"]


KILL = """
import os, sys
from pathlib import Path
from bmcore.review import package
real, left = package._extract, [20]
def extract(*given):
    real(*given)
    left[0] -= 1
    if not left[0]:
        os._exit(9)
package._extract = extract
package.unpack(Path(sys.argv[1]), Path(sys.argv[2]), "Dr Ada")
"""


@pytest.mark.parametrize("there", [False, True])
def test_a_package_whose_unpacking_was_killed_is_unpacked_anew(
    package: Path, tmp_path: Path, there: bool
) -> None:
    from bmcore.intake import library

    home = tmp_path / "home"
    if there:
        home.mkdir()
    ended = subprocess.run([sys.executable, "-c", KILL, str(package), str(home)], cwd=PROJECT)
    assert ended.returncode == 9 and library.list_cases(home) == []
    unpack(package, home, "Dr Ada")
    assert [entry.case_id for entry in library.list_cases(home)] == CASES
    with open_store(people_fixture.url(home)) as store:
        assert ReadingSession(store, "small").progress()["ra"]["not started"] > 0
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    assert not [p for p in home.iterdir() if p.name.startswith(".")]


def test_a_full_disk_is_no_fault_of_the_package(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bmcore.review.package.disk.create", full)
    with pytest.raises(InputRefused, match="home: the disk is full"):
        unpack(package, tmp_path / "home", "Dr Ada")
    with pytest.raises(InputRefused, match=r"none\.zip: there is no such file"):
        unpack(tmp_path / "none.zip", tmp_path / "home", "Dr Ada")
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_what_is_missing(sender, tmp_path: Path, monkeypatch) -> None:
    home, bundle = sender
    monkeypatch.setenv("BMCORE_HOME", str(home))
    monkeypatch.setenv("BMCORE_BUNDLE", str(bundle.folder))
    settings.cache_clear()
    plan = tmp_path / "study.yaml"
    plan.write_text(json.dumps(people_fixture.plan_data([*CASES, "Case-9"])))
    try:
        words = ["package", "--study", str(plan), "--out", str(tmp_path / "x.zip")]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2 and "case Case-9 is not in the work list" in result.output
        plan.write_text(json.dumps(people_fixture.plan_data(CASES)))
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0 and "2 cases" in result.output
        target = tmp_path / "there"
        words = ["unpack", str(tmp_path / "x.zip"), "--home", str(target), "--author", "Ada"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0 and f"BMCORE_HOME={target}" in result.output
    finally:
        settings.cache_clear()


def test_a_package_brings_the_practice_cases_and_their_primaries_alone(
    sender, tmp_path: Path
) -> None:
    home, bundle = sender
    out = tmp_path / "practice.zip"
    made = people_fixture.make_study(["Case-1"], practice=["Case-2"])
    with pytest.raises(InputRefused, match="practice case Case-2 has no known primary"):
        pack(made, home, bundle, out)
    truth = home / "truth.csv"
    truth.write_text("case_id,primary\nCase-1,melanoma\nCase-2,rcc\n")
    try:
        assert pack(made, home, bundle, out) == 1
    finally:
        truth.unlink()
    unpack(out, tmp_path / "home", "Dr Ada")
    brought = (tmp_path / "home" / "truth.csv").read_text()
    assert "Case-2,rcc" in brought and "Case-1" not in brought
    assert (tmp_path / "home" / "cases" / "Case-2" / "case.json").is_file()
