"""Intervals of the answers: regressions learnt again from resampled patients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bmcore.domain import PRIMARIES, BundleRefused
from bmcore.models import bootstrap_refits
from bmcore.models.bootstrap_refits import Refits
from bmcore.models.bundle_writer import finish, write_part
from bmcore.models.bundles import load_bundle
from bmcore.models.manifest import MANIFEST, belongs_to
from bmcore.models.mlr import MLR, MLRConfig
from bmcore.models.optional_parts import pack_refits
from tests.reading_fixture import prediction, tiny_bundle


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n patients of two numbers: the first tells the primary a little, the second nothing."""
    rng = np.random.default_rng(1)
    y = np.arange(n) % 6
    return np.stack([y + rng.normal(0, 3, n), rng.normal(0, 1, n)], axis=1), y


def learnt(n: int, refits: int = 60) -> tuple[MLR, Refits, np.ndarray]:
    x, y = rows(n)
    shipped = MLR((), MLRConfig(c=0.3)).fit(x, y)
    return shipped, bootstrap_refits.fit(shipped, x, y, np.arange(n), refits), x


def test_two_regressions_that_say_70_and_90_percent_span_nearly_that() -> None:
    """exp(offset): 7 and 27 times as likely as the five others together."""
    offset = np.zeros((2, 6))
    offset[:, 0] = np.log([5 * 7 / 3, 5 * 9])
    made = Refits(np.zeros((2, 6, 1)), np.zeros((2, 1)), offset)
    np.testing.assert_allclose(made.probabilities([3.0])[:, 0], [0.7, 0.9])
    low, high = made.interval([3.0])
    assert (low[0], high[0]) == pytest.approx((0.705, 0.895))  # middle 95 % between two points


def test_the_shipped_answer_lies_inside_and_more_patients_make_it_narrower() -> None:
    widths = []
    for n in (60, 960):
        shipped, refits, x = learnt(n)
        answers = shipped.predict_proba(x[:40])
        ends = np.array([refits.interval(row) for row in x[:40]])
        inside = (ends[:, 0] <= answers) & (answers <= ends[:, 1])
        assert inside.mean() > 0.9
        widths.append((ends[:, 1] - ends[:, 0]).mean())
    assert widths[1] < 0.5 * widths[0]  # 16 times the patients: about a quarter


def test_all_scans_of_one_person_come_and_go_together() -> None:
    """Six persons of ten scans each: fewer patients than scans, so the interval is wide."""
    x, y = rows(60)
    shipped = MLR((), MLRConfig(c=0.3)).fit(x, y)
    alone = bootstrap_refits.fit(shipped, x, y, np.arange(60), 60)
    together = bootstrap_refits.fit(shipped, x, y, y, 60)  # each person has one primary
    width = [np.ptp(np.array(r.interval([0.0, 0.0])), axis=0).mean() for r in (alone, together)]
    assert width[1] > 1.5 * width[0]


def test_what_is_missing_counts_as_the_mean_of_each_draw() -> None:
    _, refits, _ = learnt(60, 5)
    gap = refits.probabilities([np.nan, np.nan])
    e = np.exp(refits.offset)
    np.testing.assert_allclose(gap, e / e.sum(axis=1, keepdims=True), rtol=1e-5)


def with_spread(folder: Any) -> Any:
    """The tiny bundle with refits of its own regressions."""
    bundle = load_bundle(tiny_bundle(folder))
    found = {}
    for kind in ("clinical", "image", "fused"):
        mlr = getattr(bundle, f"{kind}_mlr")
        x = np.random.default_rng(0).normal(1, 1, (60, len(mlr.mean_)))
        found[kind] = bootstrap_refits.fit(mlr, x, np.arange(60) % 6, np.arange(60), 20)
    config = {"belongs_to": belongs_to(json.loads((folder / MANIFEST).read_text()))}
    write_part(folder, "spread", pack_refits(found), config)
    return finish(folder, "tiny", "1", "nothing", True)


def test_a_bundle_gives_intervals_where_it_holds_them_and_none_where_not(tmp_path: Any) -> None:
    from bmcore.inference.intervals import intervals

    old = load_bundle(tiny_bundle(tmp_path / "old"))
    new = with_spread(tmp_path / "new")
    code, record = np.zeros(3, np.float32), np.zeros(7)
    found = prediction(code=code, clinical_vector=record)
    assert intervals(old, found) is None
    ends = intervals(new, found)
    assert ends is not None and set(ends) == {"clinical", "image", "fused"}
    assert all(len(pair) == len(PRIMARIES) for pair in ends.values())
    assert all(0 <= low <= high <= 1 for pair in ends.values() for low, high in pair)
    blind = prediction(lesions=0, clinical_vector=record)
    assert set(intervals(new, blind) or {}) == {"clinical"}


def test_a_spread_of_other_regressions_is_refused(tmp_path: Any) -> None:
    with_spread(tmp_path)
    mlr = MLR(("c1", "c2", "c3")).fit(
        np.random.default_rng(3).normal(size=(30, 3)), np.arange(30) % 6
    )
    write_part(tmp_path, "image_mlr", mlr.tensors(), {"features": ["c1", "c2", "c3"]})
    with pytest.raises(BundleRefused, match=r"spread belongs to other models.*another image_mlr"):
        finish(tmp_path, "tiny", "1", "nothing", True)


def test_the_shipped_answers_of_middling_patients_lie_inside_their_intervals() -> None:
    """Within one spread of the mean training patient in every number."""
    from bmcore.settings import PROJECT

    bundle = load_bundle(PROJECT / "models" / "demo")
    assert bundle.bootstrap_refits is not None
    rng = np.random.default_rng(0)
    for kind, refits in bundle.bootstrap_refits.items():
        mlr = getattr(bundle, f"{kind}_mlr")
        for _ in range(20):
            x = mlr.mean_ + mlr.scale_ * rng.uniform(-1, 1, len(mlr.mean_))
            low, high = refits.interval(x)
            answer = mlr.predict_proba(x[None])[0]
            assert ((low <= answer) & (answer <= high)).all(), kind
            assert (high - low).max() > 0.02  # there is something to see
