"""The page of the blinded preference: after the list, and without a word of which is which."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bmcore.review.preference import PreferenceDesk, pairs
from bmcore.review.store import open_store
from tests import pages_fixture, people_fixture
from tests.test_pages_app import home, models, open_page, press, sent_to_viewer

__all__ = ["home", "models"]  # fixtures
CASES = ["Case-1"]


def give_reference(home: Path, case_id: str) -> None:
    """A reference mask that is the models' without its right half."""
    folder = home / "cases" / case_id
    record = json.loads((folder / "case.json").read_text())
    mask = pages_fixture.make_prediction(pages_fixture.make_case(case_id)).mask
    labels = np.array(mask.data)
    labels[: labels.shape[0] // 2] = 0
    seg = folder / f"{case_id}-seg.nii.gz"
    nib.save(nib.Nifti1Image(labels, mask.affine), seg)
    record["original_names"]["seg"] = "seg.nii.gz"
    record["sha256"][seg.name] = hashlib.sha256(seg.read_bytes()).hexdigest()
    (folder / "case.json").write_text(json.dumps(record))


@pytest.fixture
def study(home: Path, models, tmp_path: Path):
    made = people_fixture.make_study(CASES, preference={"candidates": ["models", "reference"]})
    people_fixture.make_home(home, tmp_path / "files", models[1], CASES)
    give_reference(home, "Case-1")
    people_fixture.start(home, made, with_accounts=False)
    return made


def test_two_masks_are_compared_after_the_list_without_their_names(home: Path, study) -> None:
    page = open_page("study", seat="small/ra", comparing="1")
    assert not page.get("image") and any(b.label.startswith("Read next") for b in page.button)
    with open_store(people_fixture.url(home)) as store:
        people_fixture.read_all(store, study, "ra")
    page = press(open_page("study", seat="small/ra"), "Compare the next two")
    assert not page.error and not page.exception
    pictures = page.get("image")
    assert [i.proto.imgs[0].caption for i in pictures] == ["A", "B"]
    assert len({i.proto.imgs[0].url for i in pictures}) == 2
    assert not sent_to_viewer(page)
    kinds = ("image", "radio", "slider", "button", "subheader", "markdown", "caption")
    sent = "".join(str(element.proto) for kind in kinds for element in page.get(kind))
    assert "Which segmentation is better?" in sent
    assert not any(name in sent for name in ("models", "reference", "Case-1-seg"))
    page = press(page, "Lock my choice")
    assert page.error[0].value == "Choose first."
    page.radio[0].set_value("right")
    page = press(page.run(), "Lock my choice").run()
    assert not page.exception
    assert any("Your list is done. Thank you." in s.value for s in page.success)
    with open_store(people_fixture.url(home)) as store:
        made = PreferenceDesk(store, "small")
        assert made.counts()["ra"] == (1, 1)
        (kept,) = made._own("ra")
    pair = pairs(study, "ra")[0]
    assert (kept.left, kept.right, kept.answer) == (pair.left, pair.right, "right")
    manage = open_page("study_manage")
    assert not manage.exception
    tables = [d.value for d in manage.dataframe if "Compared" in d.value.columns]
    assert list(tables[0]["Compared"]) == ["1 of 1", "0 of 1"]
