"""The dossier as a typeset PDF: A4, page numbers, the research notice on every page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from bmcore.report.blocks import Block, Heading, Picture, Table, Words, moment
from bmcore.report.figures.style import INK, LINE, QUIET, SECOND, as_png

if TYPE_CHECKING:
    from bmcore.report.blocks import Titled

_MARGIN_MM = 18.0
_PADDING = 6.0  # points that reportlab puts between its frame and the text
_FONT, _BOLD = "bmcore-text", "bmcore-bold"


def write_pdf(dossier: Titled, blocks: Sequence[Block], path: Path) -> None:
    """Draw the blocks to ``path``."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import Paragraph, SimpleDocTemplate

    styles = _styles()
    document = SimpleDocTemplate(
        str(path),
        invariant=1,  # else the time of printing and a random name go into the file
        pagesize=A4,
        leftMargin=_MARGIN_MM * mm - _PADDING,
        rightMargin=_MARGIN_MM * mm - _PADDING,
        topMargin=24 * mm,
        bottomMargin=20 * mm,
        title="Validation report",
        author="bmcore",
        subject=dossier.notice,
        lang="en-GB",
    )
    story: list[Any] = [Paragraph("Validation report", styles["title"])]
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if isinstance(block, Heading) and isinstance(following, Table):
            story += _over_table(block, styles)
        else:
            story += _drawn(block, styles, document.width - 2 * _PADDING)
    document.build(story, canvasmaker=_numbered(dossier.notice, moment(dossier.created_at)))


def printable(text: str) -> str:
    """``text`` with each character that the font lacks written out, for instance [U+1F9E0]."""
    known = _known_characters()
    return "".join(c if c in "\n\t" or ord(c) in known else f"[U+{ord(c):04X}]" for c in text)


def _markup(text: str) -> str:
    return escape(printable(text)).replace("\n", "<br/>").replace("\t", " ")


@lru_cache(maxsize=1)
def _known_characters() -> frozenset[int]:
    """Register the two fonts (they ship with matplotlib) and tell what they can draw."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [
        TTFont(_FONT, folder / "DejaVuSans.ttf"),
        TTFont(_BOLD, folder / "DejaVuSans-Bold.ttf"),
    ]
    for font in fonts:
        pdfmetrics.registerFont(font)
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD, italic=_FONT, boldItalic=_BOLD)
    shared = set(fonts[0].face.charToGlyph) & set(fonts[1].face.charToGlyph)
    return frozenset(c for c in shared if 32 <= c < 0x10000)


def _styles() -> dict[str, Any]:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.enums import TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle

    _known_characters()
    ink, quiet = HexColor(INK), HexColor(QUIET)
    text = ParagraphStyle(
        "text", fontName=_FONT, fontSize=9, leading=12.5, textColor=ink, spaceAfter=5
    )

    def style(name: str, **changes: Any) -> ParagraphStyle:
        return ParagraphStyle(name, parent=text, **changes)

    heading = {"fontName": _BOLD, "keepWithNext": 1}
    return {
        "plain": text,
        "title": style("title", **heading, fontSize=20, leading=24, spaceAfter=8),
        "h2": style("h2", **heading, fontSize=13, leading=16, spaceBefore=14, spaceAfter=5),
        "h3": style("h3", **heading, fontSize=10, leading=13, spaceBefore=8, spaceAfter=3),
        "joined": style("joined", keepWithNext=1),
        "note": style("note", fontSize=7.5, leading=10, textColor=quiet, keepWithNext=1),
        "finding": style("finding", fontSize=11, leading=15, spaceAfter=7),
        "quiet": style("quiet", fontSize=7.5, leading=10, textColor=quiet),
        "notice": style(
            "notice",
            fontName=_BOLD,
            borderColor=HexColor(SECOND),
            borderWidth=1,
            borderPadding=6,
            leftIndent=7,
            rightIndent=7,
            spaceBefore=6,
            spaceAfter=14,
        ),
        "cell": style("cell", fontSize=7.2, leading=9.2, spaceAfter=0),
        "number": style("number", fontSize=7.2, leading=9.2, spaceAfter=0, alignment=TA_RIGHT),
        "head": style("head", fontName=_BOLD, fontSize=7.2, leading=9.2, spaceAfter=0),
        "headnumber": style(
            "headnumber",
            fontName=_BOLD,
            fontSize=7.2,
            leading=9.2,
            spaceAfter=0,
            alignment=TA_RIGHT,
        ),
    }


def _over_table(block: Heading, styles: dict[str, Any]) -> list[Any]:
    """A heading that stays with the first rows of a table, not with the whole of it."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import CondPageBreak, Paragraph

    free = ParagraphStyle("free", parent=styles[f"h{block.level}"], keepWithNext=0)
    return [CondPageBreak(110), Paragraph(_markup(block.text), free)]


def _drawn(block: Block, styles: dict[str, Any], width: float) -> list[Any]:
    from reportlab.platypus import Paragraph, Spacer

    if isinstance(block, Heading):
        return [Paragraph(_markup(block.text), styles[f"h{block.level}"])]
    if isinstance(block, Words):
        return [Paragraph(_markup(block.text), styles[block.kind])]
    if isinstance(block, Table):
        return [_table(block, styles, width), Spacer(1, 8)]
    return [_picture(block, width), Spacer(1, 6)]


def _picture(block: Picture, width: float) -> Any:
    from reportlab.platypus import Image

    figure = block.figure
    inches_wide, inches_high = figure.get_size_inches()
    wanted = min(width * block.width, inches_wide * 72)
    png = io.BytesIO(as_png(figure))
    return Image(png, wanted, wanted * inches_high / inches_wide, hAlign="LEFT")


def _table(block: Table, styles: dict[str, Any], width: float) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import LongTable, Paragraph, TableStyle

    def row(texts: Sequence[str], plain: str, number: str) -> list[Any]:
        return [
            Paragraph(_markup(text), styles[number if i in block.numbers else plain])
            for i, text in enumerate(texts)
        ]

    has_head = any(block.head)
    rows = [row(block.head, "head", "headnumber")] if has_head else []
    rows += [row(texts, "cell", "number") for texts in block.rows]
    commands: list[Any] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor(LINE)),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ]
    if has_head:
        commands.append(("BACKGROUND", (0, 0), (-1, 0), HexColor("#e4e7eb")))
        commands.append(("LINEBELOW", (0, 0), (-1, 0), 0.8, HexColor(INK)))
    return LongTable(
        rows,
        colWidths=[width * share for share in block.widths],
        repeatRows=1 if has_head else 0,
        hAlign="LEFT",
        style=TableStyle(commands),
    )


def _numbered(notice: str, made: str) -> type:
    """A canvas that writes header, footer and ``Page x of y`` once all pages are known."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas

    class Numbered(Canvas):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for page in self._pages:
                self.__dict__.update(page)
                self._frame(len(self._pages))
                super().showPage()
            super().save()

        def _frame(self, total: int) -> None:
            wide, high = self._pagesize
            left, right = _MARGIN_MM * mm, wide - _MARGIN_MM * mm
            self.setFont(_FONT, 7)
            self.setFillColor(HexColor(QUIET))
            self.setStrokeColor(HexColor(LINE))
            self.drawString(left, high - 14 * mm, notice)
            self.line(left, high - 16 * mm, right, high - 16 * mm)
            self.drawString(left, 11 * mm, f"bmcore validation report, {made}")
            self.drawRightString(right, 11 * mm, f"Page {self._pageNumber} of {total}")

    return Numbered
