"""The text format of the iMRMC software (.imrmc, or saved as CSV by a spreadsheet): read and write.

Free text, optionally the lines NR, N0, N1 and NM, then "BEGIN DATA:" and one row a reading: reader,
case, modality, score. Rows of the reader -1 (or "truth") hold the truth of a case, 0 or 1. As in
iMRMC, blanks inside a name do not count ("reader 1" is "reader1"), and numbers of the heading that
do not fit the rows are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TRUTH_READERS = ("-1", "truth")
_MOST_TOLD = 5


@dataclass(frozen=True)
class ImrmcStudy:
    """``truth``: case to 0 or 1; ``scores``: (reader, case, modality) to the score; ``heading``:
    the free text before the data."""

    truth: Mapping[str, int]
    scores: Mapping[tuple[str, str, str], float]
    heading: str = ""

    @property
    def readers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reader for reader, _, _ in self.scores))

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(modality for _, _, modality in self.scores))

    def arrays(
        self, modalities: tuple[str, ...] = ()
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Scores (modalities, readers, cases), NaN where not read, and truth bool (cases,), for
        ``incomplete.compare_auc``. KeyError for a modality that is not in the file."""
        wanted = modalities or self.modalities
        if unknown := set(wanted) - set(self.modalities):
            raise KeyError(
                f"no modality {', '.join(sorted(unknown))}; they are {', '.join(self.modalities)}"
            )
        at = {
            (m, r, c): (i, j, k)
            for i, m in enumerate(wanted)
            for j, r in enumerate(self.readers)
            for k, c in enumerate(self.truth)
        }
        table = np.full((len(wanted), len(self.readers), len(self.truth)), np.nan)
        for (reader, case, modality), score in self.scores.items():
            if modality in wanted:
                table[at[modality, reader, case]] = score
        return table, np.array([bool(t) for t in self.truth.values()])


def parse(text: str) -> ImrmcStudy:
    """Read a study. ValueError lists what is wrong, with line numbers: no "BEGIN DATA:", a row that
    has not four fields, a score that is no number, a truth other than 0 and 1 or given twice, a
    reading given twice or of a case without truth."""
    lines = text.lstrip("\ufeff").splitlines()
    starts = [i for i, x in enumerate(lines) if x.strip().upper().startswith("BEGIN DATA:")]
    if not starts:
        raise ValueError('there is no line "BEGIN DATA:"; is this a file of the iMRMC software?')
    truth: dict[str, int] = {}
    scores: dict[tuple[str, str, str], float] = {}
    lines_of: dict[tuple[str, str, str], int] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines[starts[0] + 1 :], start=starts[0] + 2):
        fields = ["".join(f.split()) for f in line.split(",")]
        if not any(fields):
            continue
        problem = _take(fields, truth, scores)
        if problem:
            wrong.append(f"line {number}: {problem}")
        elif fields[0] not in TRUTH_READERS:
            lines_of[fields[0], fields[1], fields[2]] = number
    wrong += [
        f"line {lines_of[key]}: case {key[1]} has no truth row" for key in scores
        if key[1] not in truth
    ]  # fmt: skip
    if not wrong and not scores:
        wrong.append("there is no reading after BEGIN DATA:")
    if wrong:
        more = f"; and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        raise ValueError("; ".join(wrong[:_MOST_TOLD]) + more)
    return ImrmcStudy(truth, scores, "\n".join(lines[: starts[0]]).strip())


def write(study: ImrmcStudy) -> str:
    """The study as text that ``parse`` and iMRMC read. ValueError on a name with a comma, a line
    break or a blank, which the format cannot hold."""
    names = {n for key in study.scores for n in key} | set(study.truth)
    bad = sorted(n for n in names if not n or "," in n or "".join(n.split()) != n)
    if bad:
        raise ValueError(
            "names in the iMRMC format hold no comma and no blank, but there is "
            + ", ".join(repr(n) for n in bad[:_MOST_TOLD])
        )
    positive = sum(study.truth.values())
    head = [
        study.heading,
        f"NR: {len(study.readers)}",
        f"N0: {len(study.truth) - positive}",
        f"N1: {positive}",
        f"NM: {len(study.modalities)}",
        "",
        "BEGIN DATA:",
    ]
    rows = [f"-1,{case},0,{kind}" for case, kind in study.truth.items()]
    rows += [f"{r},{c},{m},{score!r}" for (r, c, m), score in study.scores.items()]
    return "\n".join([*head, *rows]).lstrip("\n") + "\n"


def _take(
    fields: list[str], truth: dict[str, int], scores: dict[tuple[str, str, str], float]
) -> str:
    """Put one row where it belongs; what is wrong with it, or "" """
    while len(fields) > 4 and not fields[-1]:
        fields.pop()
    if len(fields) != 4 or not all(fields):
        return f"expected reader,case,modality,score but found {','.join(fields)!r}"
    reader, case, modality, last = fields
    try:
        score = float(last)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        return f"the score must be a number, but is {last!r}"
    if reader in TRUTH_READERS:
        if score not in (0, 1):
            return f"the truth of case {case} must be 0 or 1, but is {last}"
        if case in truth:
            return f"the truth of case {case} is given twice"
        truth[case] = int(score)
        return ""
    if (reader, case, modality) in scores:
        return f"reader {reader} scored case {case} under {modality} twice"
    scores[reader, case, modality] = score
    return ""
