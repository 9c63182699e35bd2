"""An endpoint and its result in words: what a table is headed with, and the verdict sentence."""

from __future__ import annotations

import math
from types import MappingProxyType

from bmcore.analysis.tables import ARM_NAMES, TOO_FEW, Column, cell_text
from bmcore.domain import PRIMARY_NAMES
from bmcore.review.plan_endpoint import MEASURE_WORDS
from bmcore.stats.endpoint import Finding
from bmcore.stats.endpoint_choice import SHARES, Endpoint
from bmcore.stats.estimate import Estimate
from bmcore.stats.multiplicity import Claim
from bmcore.stats.readings import MODELS

_PLURAL = ("accuracy", "false lesions", "lesion sensitivity")
COLUMNS = MappingProxyType(
    {"points": "Difference", "number": "Difference (number)", "ratio": "Ratio of times"}
)
_ANALYSES = MappingProxyType(
    {
        "without drop-outs": "Without readers who read less than 80 % of the cases",
        "cases read by everyone": "Only cases that every reader read in both phases",
        "cannot tell: lowest": "Cannot tell ranks lowest",
        "cannot tell: differential": "Cannot tell by the share in the differential",
        "cannot tell: middle": "Cannot tell in the middle",
        "cannot tell: left_out": "Cannot tell left out",
    }
)


def name(choice: Endpoint) -> str:
    """The measure in a sentence, for instance "sensitivity for melanoma"."""
    words = MEASURE_WORDS.get(choice.measure, choice.measure)
    if choice.category:
        words += f" for {PRIMARY_NAMES[choice.category]}"
    low, high = choice.size_mm
    if low > 0 and math.isfinite(high):
        words += f" of {low:g} to under {high:g} mm"
    elif low > 0:
        words += f" of {low:g} mm or more"
    elif math.isfinite(high):
        words += f" under {high:g} mm"
    return words


def title(choice: Endpoint) -> str:
    """``name`` as a heading."""
    words = name(choice)
    return words[0].upper() + words[1:]


def unit(choice: Endpoint) -> str:
    """Unit of an arm's value, see ``tables.Column``."""
    if choice.measure == "decision time":
        return "seconds"
    return "share" if choice.measure in SHARES else "number"


def change_unit(choice: Endpoint) -> str:
    """Unit of the difference."""
    if choice.measure == "decision time":
        return "ratio"
    return "points" if choice.measure in SHARES else "number"


def column(choice: Endpoint) -> str:
    """Heading over the difference."""
    return COLUMNS[change_unit(choice)].replace(" (number)", "")


def arms(choice: Endpoint) -> str:
    """For instance "With the models against without the models"."""
    control, new = (ARM_NAMES[a] for a in choice.arms)
    return f"{new} against {control[0].lower()}{control[1:]}"


def difference(choice: Endpoint) -> str:
    """Title of the table of the difference."""
    return f"{arms(choice)}: {name(choice)}"


def in_full(choice: Endpoint) -> str:
    """The endpoint as a plan states it, in one line."""
    kind = "readers and cases like these" if choice.readers == "random" else "these very readers"
    better = "" if not choice.direction else f", {choice.direction} is better"
    return (
        f"{title(choice)}, {arms(choice)[0].lower()}{arms(choice)[1:]}: {aim(choice)}{better}; "
        f"alpha {choice.alpha:g}; for {kind}"
    )


def question(choice: Endpoint | None) -> str:
    """What the endpoint asks, as the beginning of a sentence on what cannot be said."""
    if choice is not None and MODELS in choice.arms:
        return "How readers do against the models alone"
    return "Whether the models help"


def read_in_both(choice: Endpoint, readers: int = 0) -> str:
    """How a case counts, behind its number; with the number of readers, where there is one."""
    who = f"{readers} reader" + "s" * (readers != 1)
    if MODELS in choice.arms:
        return f"answered by the models and by {who if readers else 'readers'}"
    return "read in both phases" + (f" by {who}" if readers else "")


def analysis(key: str) -> str:
    """One of ``endpoint.sensitivity_analyses`` in words."""
    return _ANALYSES.get(key, key)


def readers(choice: Endpoint) -> str:
    """For whom the interval holds, as a short word in a heading."""
    return "readers like these" if choice.readers == "random" else "these readers"


def note(finding: Finding) -> str:
    """How the result was computed, for readers of which kind, and who was left out."""
    choice = finding.endpoint
    kind = "readers and cases like these" if choice.readers == "random" else "these very readers"
    level = f"{100 * choice.level:g} %"
    words = f"{aim(choice)[0].upper()}{aim(choice)[1:]}, for {kind}; {level} interval."
    if finding.left_out:
        words += f" Left out, having read too little: {', '.join(finding.left_out)}."
    if choice.readers == "random" and 0 < finding.readers < 4:
        words += (
            f" With {finding.readers} readers such intervals cover about 90 to 93 % instead of "
            "95 % in simulations."
        )
    return words


def aim(choice: Endpoint) -> str:
    """For instance "non-inferiority with a margin of 5 points"."""
    if choice.aim == "superiority":
        return choice.aim
    return f"{choice.aim} with a margin of {margin(choice)}"


def margin(choice: Endpoint) -> str:
    """The margin with its unit."""
    if choice.measure == "decision time" or change_unit(choice) == "ratio":
        return f"{100 * choice.margin:g} %"
    if change_unit(choice) == "points":
        return f"{100 * choice.margin:g} points"
    return f"{choice.margin:g}"


def verdict(finding: Finding) -> str:
    """The result in one sentence."""
    choice, change = finding.endpoint, finding.difference
    if change.method.startswith(TOO_FEW):
        few = change.method.removeprefix(TOO_FEW)
        return f"{question(choice)} cannot be said yet: {few}."
    if not change.has_interval:
        return f"{question(choice)} cannot be said: {_no_interval(choice, change)}."
    shown = cell_text(Column("", change_unit(choice)), change)
    new, control = _arm(choice.arms[1]), _arm(choice.arms[0])
    if choice.aim == "superiority":
        return _superiority(finding, new, control, shown)
    what = title(choice)
    is_ = "are" if choice.measure in _PLURAL else "is"
    said = "not inferior to" if choice.aim == "non-inferiority" else "equivalent to"
    if finding.verdict == "shown":
        return f"{what} {new} {is_} {said} {control} (margin {margin(choice)}): {shown}."
    return (
        f"That {name(choice)} {new} {is_} {said} {control} is not shown "
        f"(margin {margin(choice)}): {shown}."
    )


def _no_interval(choice: Endpoint, change: Estimate) -> str:
    if not change.defined:
        return change.method.rsplit("not defined: ", 1)[-1]
    between = "readers and models" if MODELS in choice.arms else "the phases"
    if change.value == (1 if choice.measure == "decision time" else 0):
        return f"no result differs between {between}"
    return f"every result differs alike between {between}, so chance cannot be judged"


def _superiority(finding: Finding, new: str, control: str, shown: str) -> str:
    choice, what = finding.endpoint, name(finding.endpoint)
    if finding.verdict not in ("shown", "opposite"):
        return f"No difference in {what} {new} against {control} is shown: {shown}."
    upward = (finding.verdict == "shown") == (choice.better == "higher")
    if choice.measure in _PLURAL:
        return f"{'More' if upward else 'Fewer'} {what} {new} than {control}: {shown}."
    if choice.measure == "decision time":
        return f"{'Longer' if upward else 'Shorter'} {what} {new} than {control}: {shown}."
    return f"{'Higher' if upward else 'Lower'} {what} {new} than {control}: {shown}."


def _arm(arm: str) -> str:
    words = ARM_NAMES[arm]
    return words[0].lower() + words[1:]


def claim(finding: Finding, found: Claim, rule: str, open_: bool) -> str:
    """What may be claimed of a secondary endpoint."""
    if finding.verdict != "shown":
        return f"{finding.endpoint.aim} not shown"
    if not open_:
        return "exploratory: the primary endpoint was not shown"
    if found.claimed:
        return f"{finding.endpoint.aim} shown"
    if rule == "fixed sequence":
        return "exploratory: an endpoint before it was not shown"
    return f"not claimed: adjusted p = {found.adjusted:.3f}"
