"""The audit in plain lines: a table of every case, and a summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bmcore.domain import PRIMARIES, PRIMARY_NAMES
from bmcore.plain import safe_cell
from training.pipeline.audit import Audit, AuditedCase
from training.pipeline.published import against_published
from training.run.files import write_text

TOLD = 12  # cases named for each reason; the file names all


def _use(case: AuditedCase) -> str:
    if case.naming:
        return "segmentation and naming"
    return "segmentation" if case.segmentation else "not used"


def write_table(found: Audit, path: Path) -> None:
    """Every case with its use and why not, as CSV."""
    import csv
    import io

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["case", "person", "primary", "used for", "why not", "notes"])
    for c in found.cases:
        primary = "" if c.primary is None else str(c.primary)
        cells = [c.case_id, c.person, primary, _use(c), c.why, "; ".join(c.notes)]
        rows.writerow([safe_cell(cell) for cell in cells])
    write_text(path, text.getvalue())


def lines(found: Audit) -> list[str]:
    """What the audit found, to be printed."""
    out = [
        f"{len(found.cases)} cases; used: {len(found.used)} for segmentation "
        f"({len({c.person for c in found.used})} persons), {len(found.named)} for naming "
        f"({len({c.person for c in found.named})} persons)"
    ]
    reasons = Counter(c.why for c in found.cases if c.why)
    for reason in sorted(reasons, key=lambda r: -reasons[r]):
        cases = [c for c in found.cases if c.why == reason]
        use = "used for segmentation only" if cases[0].segmentation else "not used"
        names = ", ".join(c.case_id for c in cases[:TOLD])
        more = f" and {len(cases) - TOLD} more" if len(cases) > TOLD else ""
        out.append(f"  {use}, {reason}: {names}{more}")
    noted = [c for c in found.cases if c.notes]
    if noted:
        names = ", ".join(f"{c.case_id} ({'; '.join(c.notes)})" for c in noted[:TOLD])
        out.append(f"  used although something is missing: {names}")
    for group in found.doubled:
        out.append(f"  the same image under several ids, taken as one person: {', '.join(group)}")
    counts = found.counts
    out.append(
        "persons by primary: "
        + ", ".join(f"{PRIMARY_NAMES[p]} {counts[str(p)]}" for p in PRIMARIES)
    )
    rare = [PRIMARY_NAMES[p] for p in PRIMARIES if 0 < counts[str(p)] < 10]
    none = [PRIMARY_NAMES[p] for p in PRIMARIES if counts[str(p)] == 0]
    if rare:
        out.append(f"  fewer than 10 patients, so little can be said of: {', '.join(rare)}")
    if none:
        out.append(f"  none at all, so it will never be named: {', '.join(none)}")
    published = against_published(found)
    if published:
        out.append("against the published numbers of Pretreat-MetsToBrain-Masks:")
        out += [f"  {line}" for line in published]
    out += [f"table: {sentence}" for sentence in found.table[:TOLD]]
    return out
