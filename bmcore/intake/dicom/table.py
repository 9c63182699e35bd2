"""What was found, as lines of text: one row a series, with the reason for each choice."""

from __future__ import annotations

from bmcore.intake.dicom.found import ExaminationFound, SeriesFound, StudyFound


def table(found: StudyFound) -> str:
    """All series of all examinations; for the screen, never stored."""
    several = len(found.patients) > 1
    lines = []
    for patient, examination in found.examinations():
        whose = f"patient {patient.label}, " if several else ""
        lines.append(f"Examination {examination.label}: {whose}{examination.date}")
        lines += _rows(examination)
    return "\n".join(lines)


def _rows(examination: ExaminationFound) -> list[str]:
    cells = [("series", "sequence", "images", "description", "reason")]
    cells += [_cells(series) for series in examination.series]
    widths = [max(len(row[n]) for row in cells) for n in range(4)]
    return [
        "  " + "  ".join([*(c.ljust(w) for c, w in zip(row[:4], widths, strict=True)), row[4]])
        for row in cells
    ]


def _cells(series: SeriesFound) -> tuple[str, str, str, str, str]:
    sequence = series.sequence or "-"
    if series.sequence and not series.usable:
        sequence = f"({sequence})"
    problems = "; ".join(problem.what for problem in series.problems[:3])
    reason = f"cannot be used: {problems}" if problems else series.reason
    sure = f" ({series.confidence:.0%} sure)" if series.sequence else ""
    count = str(len(series.images))
    return series.label, sequence, count, series.described[:48], f"{reason}{sure}"
