"""The readings for statisticians: CSV, Parquet, their codebook, and iMRMC's format.

While a study runs they hold no reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmcore.analysis import raw_data
from bmcore.report.render.data_files import write_table
from bmcore.stats import imrmc_file
from bmcore.stats.imrmc_file import ImrmcStudy

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier

_TYPES = {"text": "string", "number": "Float64", "whole number": "Int64"}


def _rows(dossier: Dossier) -> list[dict[str, Any]]:
    if dossier.running is not None:
        return []
    return raw_data.rows(dossier.data, dossier.marks)


def write_csv(dossier: Dossier, path: Path) -> None:
    """One row a reading in force; UTF-8, missing values are empty."""
    names = tuple(raw_data.codebook(dossier.data))
    write_table(path, names, [[r[c] for c in names] for r in _rows(dossier)])


def write_parquet(dossier: Dossier, path: Path) -> None:
    """The same as Parquet, with the types of the codebook."""
    import pandas as pd

    rows = _rows(dossier)
    columns = {
        name: pd.array([r[name] for r in rows], dtype=_TYPES[kind])
        for name, (kind, _, _) in raw_data.codebook(dossier.data).items()
    }
    pd.DataFrame(columns).to_parquet(path, index=False)


def write_codebook(dossier: Dossier, path: Path) -> None:
    """What each column is."""
    lines = [(name, *words) for name, words in raw_data.codebook(dossier.data).items()]
    write_table(path, ("column", "type", "unit or values", "what it is"), lines)


def write_imrmc(dossier: Dossier, path: Path) -> None:
    """Scores for one primary against the rest, to be read by iMRMC; saved with commas, as its CSV.

    The primary is that of the plan's endpoint, else the commonest.
    """
    study = ImrmcStudy({}, {}, "Withheld: the study is not finished")
    if dossier.running is None:
        plan = dossier.data.plan
        category = plan.primary_endpoint.primary if plan else None
        study = raw_data.imrmc(dossier.data, category or dossier.data.category)
    path.write_text(imrmc_file.write(study), encoding="utf-8")
