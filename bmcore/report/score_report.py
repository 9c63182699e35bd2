"""A report on a reader study of scores that another program recorded."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bmcore.analysis.tables import CSV_COLUMNS, Section, csv_rows
from bmcore.domain import RESEARCH_NOTICE
from bmcore.inference.files import together
from bmcore.report.blocks import Block, Title, Words
from bmcore.report.chapters.results import section_blocks
from bmcore.report.render import html, pdf
from bmcore.report.render.data_files import write_table

FILES = ("report.pdf", "report.html", "results.csv")


def write(section: Section, source: str, out: Path, created_at: datetime) -> list[Path]:
    """Write PDF, HTML and CSV into ``out``, together or not at all.

    source: the file, as the user named it.
    """
    head = Title(created_at, RESEARCH_NOTICE)
    words = f"Read from {source}. Computed from these scores alone."
    blocks: list[Block] = [Words(head.notice, "notice"), Words(words), *section_blocks(section)]
    with together(out, FILES[::-1]) as work:
        pdf.write_pdf(head, blocks, work / FILES[0])
        html.write_html(head, blocks, work / FILES[1])
        write_table(work / FILES[2], CSV_COLUMNS, csv_rows([section]))
    return [out / name for name in FILES]
