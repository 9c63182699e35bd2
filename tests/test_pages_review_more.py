"""The Review page: intervals, similar cases, the audit of a map, 3D; without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import pages_fixture as fixture
from tests import pages_home, runs_fixture
from tests.test_pages_app import (  # noqa: F401  (fixtures)
    home,
    models,
    open_page,
    press,
    read_case,
    read_with_models,
    sign_in,
    words,
)


@pytest.fixture
def second(read_case: str, models, tmp_path: Path, home: Path) -> str:  # noqa: F811
    """Another case that the models have read; its code is the same."""
    case = pages_home.add_case(home, tmp_path / "files", "Case-2")
    pages_home.store_prediction(home, case, models[1])
    return "Case-2"


def store_votes(home: Path, case_id: str, *phases: str) -> None:  # noqa: F811
    from bmcore.review.store import open_store
    from bmcore.review.votes import Evidence, VoteDraft

    store = open_store(f"sqlite:///{home / 'bmcore.sqlite'}")
    store.add_reader("Dr A", "radiologist")
    for phase in phases:
        draft = VoteDraft(
            case_id=case_id,
            reader="Dr A",
            role="radiologist",
            phase=phase,
            primary="rcc",
            confidence=60,
            idempotency_key=f"{case_id} {phase}",
            segmentation_quality=4 if phase == "aided" else None,
        )
        if phase == "aided":
            store.show_models("Dr A", case_id, Evidence(bundle="0" * 64))
        store.add_vote(draft)
    store.close()


def test_bars_without_stored_refits_say_that_they_have_no_intervals(read_case: str) -> None:  # noqa: F811
    assert "the bars have no intervals" in words(read_with_models(read_case))


def test_a_case_that_the_reader_has_not_read_is_not_named_as_similar(
    home: Path,  # noqa: F811
    read_case: str,  # noqa: F811
    second: str,
) -> None:
    """Not even after an unaided vote: the models' answers on it were not seen."""
    store_votes(home, second, "unaided")
    page = read_with_models(read_case)
    assert not page.exception and not page.error
    assert "1 other case is left out until you have read" in words(page)
    assert second not in [b.label for b in page.button]
    assert "Very alike" not in words(page)


def test_a_case_read_with_the_models_is_named_with_distance_and_answers(
    home: Path,  # noqa: F811
    read_case: str,  # noqa: F811
    second: str,
) -> None:
    store_votes(home, second, "unaided", "aided")
    page = read_with_models(read_case)
    assert not page.exception and not page.error
    text = words(page)
    assert "Very alike" in text and "You: Renal cell" in text
    assert "Models: Non-small cell" in text and "left out" not in text
    next(b for b in page.button if b.label == second).click().run()
    assert page.query_params["case"] in (second, [second])


def test_nothing_of_similar_cases_is_sent_before_the_vote(
    home: Path,  # noqa: F811
    read_case: str,  # noqa: F811
    second: str,
) -> None:
    store_votes(home, second, "unaided", "aided")
    page = sign_in(open_page("review", case=read_case))
    assert "Similar cases" not in words(page) and "alike" not in words(page)


def do_the_maps(case_id: str) -> None:
    """What the worker would do now for the maps of this case."""
    from bmcore.review import runs
    from bmcore.review.store import open_store
    from bmcore.running import tasks, worker

    with open_store(f"sqlite:///{page_home() / 'bmcore.sqlite'}") as store:
        while (run := runs.take(store)) is not None:
            assert (run.kind, run.subject) == (runs.MAPS, case_id)
            worker.work(page_home(), store, run, tasks.known())
            if runs.find(store, runs.MAPS, case_id).rank == runs.BEHIND:  # type: ignore[union-attr]
                runs.cancel(store, runs.MAPS)  # what nobody asked for is not needed here


def test_the_page_asks_for_a_map_says_so_and_shows_it_with_its_check(
    read_case: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of it is computed in the page."""
    from bmcore.inference import audit, explain
    from pages.parts.case import lesions

    runs_fixture.no_worker(monkeypatch)
    monkeypatch.setattr(lesions, "_chosen_row", lambda _: 0)  # a row of the table was clicked
    page = read_with_models(read_case)
    with monkeypatch.context() as patched:
        patched.setattr(explain, "evidence", lambda *_: pytest.fail("computed in the page"))
        page = press(page.run(), "Show for lesion 1")
        assert "is being made and checked" in words(page)
        assert "audit_on" not in [t.key for t in page.toggle]
        page.run()
        assert "is being made and checked" in words(page)
    do_the_maps(read_case)
    with monkeypatch.context() as patched:
        patched.setattr(explain, "evidence", lambda *_: pytest.fail("computed in the page"))
        page.run()
        text = words(page)
    assert "is being made" not in text and not page.exception and not page.error
    assert "Is the map on the lesion?" in text or "nothing to check" in text
    if "Is the map on the lesion?" in text:
        verdicts = (audit.PASSES, audit.FAILS, audit.OPEN)
        assert any(f"lesion? {v[:1].upper()}{v[1:]}**" in text for v in verdicts)
        assert "Do not rely" in text or "cannot be checked" in text or "passes all" in text
    page.toggle(key="audit_on").set_value(False).run()
    assert "Is the map on the lesion?" not in words(page)


def test_a_map_that_cannot_be_made_is_said_and_can_be_tried_again(
    read_case: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bmcore.domain import refuse
    from bmcore.inference import explain

    def broken(*_: object) -> None:
        raise refuse("the net has no last layer")

    from pages.parts.case import lesions

    runs_fixture.no_worker(monkeypatch)
    monkeypatch.setattr(lesions, "_chosen_row", lambda _: 0)  # a row of the table was clicked
    page = read_with_models(read_case)
    page = press(page.run(), "Show for lesion 1")
    with monkeypatch.context() as patched:
        patched.setattr(explain, "evidence", broken)
        do_the_maps(read_case)
    page.run()
    assert "could not be made" in " ".join(e.value for e in page.error)
    assert "the net has no last layer" in " ".join(t.value for t in page.text)
    press(page, "Try again")
    do_the_maps(read_case)
    assert "could not be made" not in " ".join(e.value for e in page.run().error)


def page_home() -> Path:
    from bmcore.settings import settings

    return settings().home


def three_d(page) -> list[dict]:  # type: ignore[no-untyped-def]
    found = [json.loads(e.proto.json_args) for e in page.get("component_instance")]
    return [args for args in found if "nifti_data" in args]


def test_the_3d_view_is_loaded_when_asked_and_gets_the_tumour_only_with_the_models(
    read_case: str,  # noqa: F811
) -> None:
    pytest.importorskip("niivue_component")
    page = sign_in(open_page("review", case=read_case))
    assert three_d(page) == []
    page.toggle(key="three_d").set_value(True).run()
    (blinded,) = three_d(page)
    assert blinded["nifti_data"] and not blinded["overlays"] and not blinded["styled"]
    page = read_with_models(read_case, "Dr B")
    page.toggle(key="three_d").set_value(True).run()
    (shown,) = three_d(page)
    assert [o["name"] for o in shown["overlays"]] == ["core.nii.gz"]


def test_the_3d_view_gets_the_voxels_where_they_are() -> None:
    import gzip

    import nibabel as nib
    import numpy as np

    from pages.parts.case import three_d as part

    mask = fixture.make_prediction(fixture.make_case(sizes_mm=(1, 1, 5))).mask
    data = part.nifti((np.asarray(mask.data) > 0).astype(np.uint8), mask.affine)
    read = nib.Nifti1Image.from_bytes(gzip.decompress(data))
    np.testing.assert_array_equal(read.affine, mask.affine)
    np.testing.assert_array_equal(np.asarray(read.dataobj), np.asarray(mask.data) > 0)


# ---- states: running, failed, no models --------------------------------------------------------


@pytest.fixture
def new_case(home: Path, tmp_path: Path) -> str:  # noqa: F811
    """A case that the models have not read."""
    pages_home.add_case(home, tmp_path / "files", "Case-9")
    return "Case-9"


def put_state(home: Path, case_id: str, monkeypatch: pytest.MonkeyPatch, **values) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    runs_fixture.no_worker(monkeypatch)
    runs_fixture.put(home, case_id, values["state"], values.get("message", ""))
    if "stage" in values:
        more = {name: values[name] for name in ("fraction", "eta_s", "ago_s") if name in values}
        runs_fixture.say(home, case_id, values["stage"], **more)


def bars(page) -> list[str]:  # type: ignore[no-untyped-def]
    return [e.proto.text for e in page.get("progress")]


def test_work_going_on_is_shown_with_the_time_left_on_both_pages(
    home: Path,  # noqa: F811
    new_case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = {"state": "running", "stage": "Finding the tumour", "fraction": 0.4, "eta_s": 42.0}
    put_state(home, new_case, monkeypatch, **running)
    page = open_page("cases")
    assert bars(page) == ["Case-9: Finding the tumour, about 40 s left"]
    assert list(page.dataframe[0].value["Models"]) == ["Running"]
    page = open_page("review", case=new_case)
    assert bars(page) == ["Finding the tumour, about 40 s left"]
    runs_fixture.put(home, "Case-0", "queued")
    put_state(home, new_case, monkeypatch, state="queued")
    assert bars(open_page("review", case=new_case)) == ["Waiting for 1 other case to finish."]


def test_work_without_a_sign_of_life_says_so(
    home: Path,  # noqa: F811
    new_case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = {"state": "running", "stage": "Finding the tumour"}
    put_state(home, new_case, monkeypatch, **running)
    assert "No progress for a while" not in words(open_page("review", case=new_case))
    put_state(home, new_case, monkeypatch, **running, ago_s=500)
    assert "No progress for a while" in words(open_page("review", case=new_case))


def test_a_failed_case_says_why_and_can_be_tried_again(
    home: Path,  # noqa: F811
    new_case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_state(home, new_case, monkeypatch, state="failed", message="The disk is full.")
    page = open_page("review", case=new_case)
    assert "could not read this case" in words(page) and "The disk is full." in words(page)
    assert "Try again" in [b.label for b in page.button]
    assert list(open_page("cases").dataframe[0].value["Models"]) == ["Failed"]


def test_without_models_both_pages_say_what_still_works(
    home: Path,  # noqa: F811
    new_case: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from bmcore.settings import settings

    monkeypatch.setenv("BMCORE_BUNDLE", str(tmp_path / "nothing here"))
    settings.cache_clear()
    for page in (open_page("cases"), open_page("review", case=new_case)):
        assert not page.exception and not page.error
        assert "there will be no answers" in words(page)
    assert "Run the models on this case" not in [b.label for b in page.button]


def test_what_the_server_imports_at_its_start_is_there_and_no_page() -> None:
    """In a process of its own: it takes everything out of the search for garbage."""
    import subprocess
    import sys

    from bmcore.settings import PROJECT
    from pages.parts import preload

    code = "import gc; from pages.parts import preload as p; p.load(); "
    code += "print(gc.get_freeze_count() > 1e4)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "True" and "could not be imported" not in run.stderr
    assert not any(name.startswith("pages") for name in preload.MODULES)


def test_the_own_marks_and_the_corrected_segmentation_can_be_taken_away(
    home: Path,  # noqa: F811
    read_case: str,  # noqa: F811
    models,  # noqa: F811
) -> None:
    """Only once there are some, and to the reader whose they are."""
    from bmcore.inference import archive
    from bmcore.review import corrections, marks
    from bmcore.review.owner import Owner
    from bmcore.review.store import open_store

    def offered(page) -> list[str]:
        return [b.proto.label for b in page.get("download_button")]

    assert offered(sign_in(open_page("review", case=read_case))) == []
    content = {"kind": "length", "points": [[0, 0, 0], [3, 4, 0]], "plane": "axial"}
    change = {"key": "a/0", "mark": "a", "action": "set", "after": 0, "content": content}
    mask = archive.latest(home, read_case, models[1].digest).mask
    basis = corrections.content_id(mask)
    stroke = corrections.read_strokes([{"id": "s", "runs": [0, 5, 3]}], mask.data.size)
    with open_store(f"sqlite:///{home / 'bmcore.sqlite'}") as store:
        store.add_reader("Dr A", "radiologist")
        owner = Owner(read_case, "Dr A")
        assert marks.record(store, owner, [change], marks.Scene("unaided")) == {}
        corrections.save(store, owner, stroke, corrections.Canvas(home, mask, basis))
    unaided = sign_in(open_page("review", case=read_case))
    assert offered(unaided) == ["Your marks (CSV)"]  # the correction shows the models' own
    assert offered(sign_in(open_page("review", case=read_case), "Dr B")) == []
    page = read_with_models(read_case)
    assert not page.exception and not page.error
    assert set(offered(page)) == {
        "Your marks (CSV)",
        "Your corrected segmentation (NIfTI)",
        "The models' segmentation (NIfTI)",
    }


def test_the_lesion_table_has_both_axial_diameters_beside_the_one_in_space(
    read_case: str,  # noqa: F811
) -> None:
    page = read_with_models(read_case)
    table = next(t.value for t in page.dataframe if "3D, mm" in t.value)
    assert list(table["Axial, mm"]) == ["8.6 × 8.6"] * 2
    assert "Core, ml" in table and "Remark" not in table


def test_a_lesion_at_the_edge_says_so_in_the_table_and_the_mask_lies_on_the_scan() -> None:
    """The case was turned upright on 1 mm voxels; the file has the grid that the scanner gave."""
    import gzip
    from dataclasses import replace

    import nibabel as nib
    import numpy as np

    from bmcore.origin import Origin
    from pages.parts.case import lesions
    from tests import reading_fixture as reading

    scan = np.diag([0.5, 0.5, 3.0, 1.0])
    made = reading.prediction(lesions=2)
    near = replace(made.lesions[1], at_edge=True)
    made = replace(made, lesions=(made.lesions[0], near))
    assert list(lesions._rows(made)["Remark"]) == ["", "at the edge"]
    made = replace(made, mask=reading.prediction().mask, origin=Origin((12, 14, 4), scan, {}, "x"))
    file = nib.Nifti1Image.from_bytes(gzip.decompress(lesions._mask_file(made)))
    assert file.shape == (12, 14, 4) and np.allclose(file.affine, scan)
    plain = replace(made, origin=None)
    file = nib.Nifti1Image.from_bytes(gzip.decompress(lesions._mask_file(plain)))
    assert np.array_equal(np.asarray(file.dataobj), made.mask.data)


def test_how_a_reader_likes_the_viewer_is_kept_and_sent_with_the_next_case(
    home: Path,  # noqa: F811
    read_case: str,  # noqa: F811
) -> None:
    from bmcore.review import view_settings

    def sent(page) -> dict:
        found = [e.proto for e in page.get("bidi_component")]
        return json.loads(next(p.json for p in found if p.component_name == "bmcore_viewer"))

    assert sent(sign_in(open_page("review", case=read_case)))["settings"] == {}
    view_settings.save(home, "Dr A", {"layout": "four"})
    data = sent(sign_in(open_page("review", case=read_case)))
    assert data["keepsSettings"] and data["settings"]["layout"] == "four"
    assert sent(sign_in(open_page("review", case=read_case), "Dr B"))["settings"] == {}


def test_the_numbers_of_signed_bars_stand_in_the_margin_where_no_width_cuts_them() -> None:
    from pages.parts.case.charts import signed_bars

    figure = signed_bars(["Age", "Sex"], [0.1, -0.34], "log-odds")
    told = {(a.y, a.text, a.xref, a.x) for a in figure.layout.annotations}
    assert told == {("Age", "+0.10", "paper", 1), ("Sex", "-0.34", "paper", 1)}
    assert figure.layout.margin.r >= 50 and figure.data[0].text is None
