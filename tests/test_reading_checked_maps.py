"""Maps with their checks: made once by the worker, those first that somebody waits for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmcore.domain import Primary, Volume
from bmcore.inference import audit, checked_maps, explain, maps, pipeline
from bmcore.inference.checked_maps import Shelf
from bmcore.inference.files import write_json
from tests import reading_fixture as fixture

IMAGES = "cd" * 32


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """A bundle, a case with one lesion, and what the bundle says of it."""
    folder = fixture.tiny_bundle(tmp_path_factory.mktemp("bundle"))
    bundle, case = fixture.bundle_that_sees_the_spot(folder), fixture.head()
    return bundle, case, pipeline.predict(case, bundle)


def test_the_map_for_the_named_primary_is_made_and_equals_the_nets(
    read: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    bundle, case, found = read
    shelf, place = Shelf(tmp_path, IMAGES, found), (1, found.image.top)
    assert shelf.find(place) is None and shelf.next(()) == (place, False)
    assert list(checked_maps.make(shelf, bundle, case)) == [(0.5, False)]
    kept = shelf.find(place)
    assert kept is not None and kept.audit is not None and kept.audit.lesion == 1
    fresh = explain.gradcam(bundle, case, found, *place, kept.audit.method)
    assert np.abs(kept.heat.data - fresh.data).max() <= 0.5 / 255 + 1e-6
    assert shelf.next(()) is None and not list(checked_maps.make(shelf, bundle, case))


def test_what_somebody_waits_for_comes_first_and_one_may_stop_in_between(
    read: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    bundle, case, found = read
    shelf = Shelf(tmp_path, IMAGES, found)
    other = next(p for p in Primary if p != found.image.top)
    shelf.ask((1, other))
    assert shelf.next(()) == ((1, other), True)
    _, asked = next(checked_maps.make(shelf, bundle, case))  # and no further
    assert asked and shelf.find((1, other)) is not None
    assert shelf.next(()) == ((1, found.image.top), False)


def test_another_segmentation_or_other_images_have_maps_of_their_own(
    read: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    bundle, case, found = read
    shelf, place = Shelf(tmp_path, IMAGES, found), (1, found.image.top)
    list(checked_maps.make(shelf, bundle, case))
    grown = replace(found, mask=replace(found.mask, data=np.maximum(found.mask.data, 1)))
    assert shelf.find(place) is not None
    assert Shelf(tmp_path, IMAGES, grown).find(place) is None
    assert Shelf(tmp_path, "ef" * 32, found).find(place) is None


def brought(home: Path, found: Any, turned: float) -> Any:
    """A prediction on axes turned by so many radians, and its map from an old package."""
    affine = np.array(found.mask.affine)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]
    mask = Volume(found.mask.data, turn @ affine)
    prediction = replace(found, mask=mask)
    path = maps.map_path(home, prediction, 1, Primary.BREAST)
    maps.write_map(path, Volume(np.zeros(mask.shape, np.float32), mask.affine))
    return prediction


@pytest.mark.parametrize(("turned", "shown"), [(0.0, True), (0.2, False)])
def test_a_map_of_an_old_package_is_not_shown_where_it_lay_turned(
    read: tuple[Any, Any, Any], tmp_path: Path, turned: float, shown: bool
) -> None:
    prediction = brought(tmp_path, read[2], turned)
    kept = Shelf(tmp_path, IMAGES, prediction).find((1, Primary.BREAST))
    assert (kept is not None) == shown and (kept is None or kept.audit is None)


def test_a_map_with_its_check_is_shown_on_oblique_images(
    read: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    prediction = brought(tmp_path, read[2], 0.2)
    path = checked_maps.audit_path(maps.map_path(tmp_path, prediction, 1, Primary.BREAST))
    checked = audit.Audit(1, Primary.BREAST, empty=True)
    write_json(path, audit.as_json(checked))
    kept = Shelf(tmp_path, IMAGES, prediction).find((1, Primary.BREAST))
    assert kept is not None and kept.audit == checked
    path.write_text(path.read_text().replace("gradcam", "unheard of"))
    assert Shelf(tmp_path, IMAGES, prediction).find((1, Primary.BREAST)) is None


@pytest.mark.parametrize("ending", ["json", "nii.gz"])
def test_a_damaged_map_is_made_again(
    read: tuple[Any, Any, Any], tmp_path: Path, ending: str
) -> None:
    bundle, case, found = read
    shelf, place = Shelf(tmp_path, IMAGES, found), (1, found.image.top)
    list(checked_maps.make(shelf, bundle, case))
    next(shelf.folder.glob(f"*.{ending}")).write_text("{")
    assert shelf.find(place) is None
    assert [asked for _, asked in checked_maps.make(shelf, bundle, case)] == [False]
    assert shelf.find(place) is not None
