"""The dossier as one web page that needs nothing else: styles and figures are inside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.report.blocks import Block, Heading, Picture, Table, Words, moment
from bmcore.report.figures.style import as_svg

if TYPE_CHECKING:
    from bmcore.report.blocks import Titled

_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --quiet: #52606d; --line: #cbd2d9; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink);
  background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.8rem; margin: 0 0 .5rem; } h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.notice { border: 2px solid #e08e45; padding: .6rem .8rem; font-weight: 600; }
.finding { font-size: 1.1rem; margin: .6rem 0; }
.quiet, .note, footer { color: var(--quiet); font-size: .85rem; }
.wide { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .5rem; text-align: left;
  vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere; min-width: 3.5rem; }
thead th { background: #e4e7eb; border-bottom: 2px solid var(--ink); }
.number { text-align: right; }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0; }
@media print { body { margin: 0; max-width: none; } }
"""


def write_html(dossier: Titled, blocks: Sequence[Block], path: Path) -> None:
    """Draw the blocks to ``path``; every text is escaped, and no script may run."""
    body = "\n".join(_drawn(block) for block in blocks)
    made = escape(moment(dossier.created_at))
    page = f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Validation report</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Validation report</h1>
{body}
<footer><p>{escape(dossier.notice)} Made on {made}.</p></footer>
</body>
</html>
"""
    path.write_text(page, encoding="utf-8")


def _drawn(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Words):
        kind = "" if block.kind == "plain" else f' class="{block.kind}"'
        return f"<p{kind}>{escape(block.text)}</p>"
    if isinstance(block, Picture):
        return _picture(block)
    return _table(block)


def _picture(block: Picture) -> str:
    figure = block.figure
    svg = base64.b64encode(as_svg(figure)).decode("ascii")
    wide = round(figure.get_size_inches()[0] * 96)
    return f'<img width="{wide}" alt="{escape(block.alt)}" src="data:image/svg+xml;base64,{svg}">'


def _table(block: Table) -> str:
    def row(texts: Sequence[str], tag: str) -> str:
        cells = "".join(
            f"<{tag}{_side(i, block)}>{escape(text)}</{tag}>" for i, text in enumerate(texts)
        )
        return f"<tr>{cells}</tr>"

    head = f"<thead>{row(block.head, 'th')}</thead>" if any(block.head) else ""
    rows = "\n".join(row(texts, "td") for texts in block.rows)
    return f'<div class="wide"><table>{head}<tbody>\n{rows}\n</tbody></table></div>'


def _side(column: int, block: Table) -> str:
    return ' class="number"' if column in block.numbers else ""
