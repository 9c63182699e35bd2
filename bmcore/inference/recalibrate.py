"""Prediction sets from a site's own cases: the promise of coverage, made good for its patients.

The sets of a bundle hold for patients like those it was calibrated on. With cases of the site whose
primary is known, and which the models have not learnt from, the thresholds are learnt anew; nets
and regressions stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import PRIMARIES, PRIMARY_NAMES, Prediction, Primary, refuse
from bmcore.inference.files import new_folder
from bmcore.models.conformal import LEAST_OWN, Conformal, fit
from bmcore.models.manifest import ANSWERS, SPREAD, UNCERTAINTY, belongs_to

if TYPE_CHECKING:
    from bmcore.models.bundles import Bundle

LEAST = 30  # cases below which sets of the site would say less than those of the training
TOLERANCE, CERTAINTY = 0.05, 0.9


def needed(coverage: float) -> int:
    """Cases behind one threshold so that its coverage lies within ``TOLERANCE`` of the chosen one
    with probability ``CERTAINTY``.

    The coverage of new patients, given n calibration cases, is Beta(k, n + 1 - k) distributed with
    k = ceil((n + 1) coverage) (Vovk 2012, Machine Learning 92:349).
    """
    from scipy.stats import beta

    for n in range(10, 5000):
        k = math.ceil((n + 1) * coverage - 1e-9)
        if k > n:
            continue
        law = beta(k, n + 1 - k)
        inside = law.cdf(coverage + TOLERANCE) - law.cdf(coverage - TOLERANCE)
        if inside >= CERTAINTY:
            return n
    raise ValueError(f"no number of cases below 5000 holds a coverage of {coverage}")


@dataclass(frozen=True, eq=False)
class Cases:
    """answers: kind -> probabilities (n, 6); labels: kind -> (n,) of the same cases; left_out: why
    cases with a known primary do not count -> how many."""

    answers: Mapping[str, npt.NDArray[np.float64]]
    labels: Mapping[str, npt.NDArray[np.int64]]
    left_out: Mapping[str, int]

    @property
    def n(self) -> int:
        return max(len(y) for y in self.labels.values())


def usable(predictions: Mapping[str, Prediction | None], known: Mapping[str, Primary]) -> Cases:
    """Cases of known primary with an answer; predictions: case id -> that of the models."""
    rows: dict[str, list[tuple[tuple[float, ...], int]]] = {kind: [] for kind in ANSWERS}
    left_out = {"not read by these models": 0, "no lesion found": 0}
    for case_id, primary in known.items():
        prediction = predictions.get(case_id)
        if prediction is None:
            left_out["not read by these models"] += 1
            continue
        left_out["no lesion found"] += int(not prediction.lesions)
        for answer in prediction.answers:
            if answer.probabilities is not None:
                rows[answer.kind].append((answer.probabilities, PRIMARIES.index(primary)))
    return Cases(
        {k: np.array([p for p, _ in some]).reshape(-1, len(PRIMARIES)) for k, some in rows.items()},
        {k: np.array([y for _, y in some], np.int64) for k, some in rows.items()},
        left_out,
    )


def sets_of(cases: Cases, coverage: float) -> dict[str, Conformal]:
    """The thresholds of each answer. InputRefused with fewer than ``LEAST`` cases."""
    fewest = min(len(y) for y in cases.labels.values())
    if fewest < LEAST:
        raise refuse(
            "too few cases to recalibrate the prediction sets",
            found=f"{fewest} cases with a known primary and all three answers",
            expected=f"at least {LEAST} in all; {LEAST_OWN} of a primary for a threshold of its "
            f"own; {needed(coverage)} behind a threshold hold its coverage within "
            f"{TOLERANCE:.0%} nine times in ten",
            hint="read more cases with these models, and name their primaries in truth.csv.",
        )
    return {kind: fit(p, cases.labels[kind], coverage) for kind, p in cases.answers.items()}


def words(cases: Cases, sets: Mapping[str, Conformal]) -> tuple[str, ...]:
    """What stands behind each threshold of the fused answer, and what would be enough."""
    fused, enough = sets["fused"], needed(sets["fused"].coverage)
    count = np.bincount(cases.labels["fused"], minlength=len(PRIMARIES))
    lines = []
    for i, primary in enumerate(PRIMARIES):
        behind = int(fused.patients[i])
        own = "own threshold" if fused.groups[i] == i else "threshold shared with the rarer ones"
        if np.isinf(fused.thresholds[i]):
            own = "too few: in every set"
        more = "" if behind >= enough else f"; {enough - behind} more would make it reliable"
        lines.append(
            f"{PRIMARY_NAMES[primary]}: {int(count[i])} cases, {own}, {behind} behind it{more}."
        )
    lines += [f"Left out: {n}, {why}." for why, n in cases.left_out.items() if n]
    return tuple(lines)


def write(bundle: Bundle, sets: Mapping[str, Conformal], out: Path, site: str) -> Bundle:
    """A copy of the bundle with these sets in OUT, finished and checked: whole, or not at all.

    InputRefused where OUT holds anything, or the bundle has no part ``uncertainty``.
    """
    from bmcore.models.bundles import load_bundle
    from bmcore.models.manifest import MANIFEST

    if bundle.novelty is None:
        raise refuse("these models hold no prediction sets to recalibrate", file=bundle.folder)
    with new_folder(out, last=MANIFEST) as unfinished:
        _fill(unfinished, bundle, sets, site)
    return load_bundle(out)


def _fill(out: Path, bundle: Bundle, sets: Mapping[str, Conformal], site: str) -> None:
    from bmcore.models.bundle_writer import copy_part, finish, write_part
    from bmcore.models.optional_parts import pack_uncertainty

    assert bundle.novelty is not None  # write has looked
    for part in bundle.manifest["parts"]:
        if part not in (UNCERTAINTY, SPREAD):
            copy_part(bundle.folder, out, part)
    tensors, config = pack_uncertainty(sets, bundle.novelty)
    config["belongs_to"] = belongs_to(bundle.manifest)
    before = bundle.manifest["parts"][UNCERTAINTY]["training"]
    training = {
        **before,
        "data": site,
        "scores_from": f"{sets['fused'].n} cases of {site}, read by the finished models",
        "recalibrated_from": bundle.info.digest,
    }
    write_part(out, UNCERTAINTY, tensors, config, training)
    if bundle.has(SPREAD):
        copy_part(bundle.folder, out, SPREAD)
    m = bundle.manifest
    finish(
        out, m["name"], f"{m['version']}, sets of {site}", m["trained_on"], m["synthetic"],
        seeds=m["seeds"], timings_s=m["timings_s"], notes=m["notes"],
    )  # fmt: skip
