"""The dossier as five files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bmcore.domain import refuse
from bmcore.report.dossier import Dossier


def write(dossier: Dossier, out: Path) -> list[Path]:
    """Write PDF, HTML, both CSV and JSON (see ``files``) into ``out``.

    The same dossier gives the same bytes. All are made in a temporary folder first and then moved,
    so that ``out`` never holds a half-written file. Refused where ``out`` cannot be written.
    """
    from bmcore.report.chapters.contents import sections
    from bmcore.report.render import data_files, html, pdf

    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".report-", dir=out))
    except OSError as fault:
        raise refuse(
            "the report cannot be written here",
            file=out,
            found=fault.strerror,
            hint="choose another folder.",
        ) from fault
    names = files(dossier)
    try:
        blocks = sections(dossier)
        pdf.write_pdf(dossier, blocks, work / names[0])
        html.write_html(dossier, blocks, work / names[1])
        data_files.write_csv(dossier, work / names[2])
        data_files.write_results(dossier, work / names[3])
        data_files.write_json(dossier, work / names[4])
        return [(work / name).replace(out / name) for name in names]
    except OSError as fault:
        raise refuse(
            "the report could not be written",
            file=out,
            found=fault.strerror,
            hint="check the room on the disk and that no file of the report is open.",
        ) from fault
    finally:
        shutil.rmtree(work, ignore_errors=True)


def files(dossier: Dossier) -> tuple[str, ...]:
    """The names of the files that ``write`` makes."""
    said = "answers.csv" if dossier.record else "votes.csv"
    return ("report.pdf", "report.html", said, "results.csv", "report.json")
