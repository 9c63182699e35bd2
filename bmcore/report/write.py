"""The dossier as files: the report, and all numbers and readings behind it."""

from __future__ import annotations

from pathlib import Path

from bmcore.inference.files import together
from bmcore.report.dossier import Dossier


def write(dossier: Dossier, out: Path) -> list[Path]:
    """Write PDF, HTML, CSV, Parquet and JSON (see ``files``) into ``out``.

    The same dossier gives the same bytes. All are made first and then moved, together or not at
    all; ``report.pdf`` comes last. Refused where ``out`` cannot be written.
    """
    from bmcore.report.chapters.contents import sections
    from bmcore.report.render import data_files, drawings, html, pdf, readings

    out = Path(out)
    names = files(dossier)
    with together(out, names[::-1]) as work:
        blocks = sections(dossier)
        pdf.write_pdf(dossier, blocks, work / names[0])
        html.write_html(dossier, blocks, work / names[1])
        data_files.write_csv(dossier, work / names[2])
        data_files.write_results(dossier, work / names[3])
        data_files.write_json(dossier, work / names[4])
        readings.write_csv(dossier, work / "readings.csv")
        readings.write_parquet(dossier, work / "readings.parquet")
        readings.write_codebook(dossier, work / "codebook.csv")
        readings.write_imrmc(dossier, work / "imrmc.csv")
        if dossier.record is not None:
            drawings.write_archive(dossier, work / "drawings.zip")
        if "preferences.csv" in names:
            drawings.write_preferences(dossier, work / "preferences.csv")
            drawings.write_preferences_codebook(work / "preferences-codebook.csv")
    return [out / name for name in names]


def files(dossier: Dossier) -> tuple[str, ...]:
    """The names of the files that ``write`` makes."""
    said = "answers.csv" if dossier.record else "votes.csv"
    readings = ("readings.csv", "readings.parquet", "codebook.csv", "imrmc.csv")
    more: tuple[str, ...] = ("drawings.zip",) if dossier.record else ()
    if dossier.record is not None and dossier.record.study.preference is not None:
        more = (*more, "preferences.csv", "preferences-codebook.csv")
    return ("report.pdf", "report.html", said, "results.csv", "report.json", *readings, *more)
