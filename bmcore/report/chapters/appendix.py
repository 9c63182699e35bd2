"""The last pages: deviations and amendments, versions and hashes, the checklists."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bmcore.analysis.tables import ARM_NAMES
from bmcore.domain import PRIMARY_NAMES
from bmcore.report.blocks import NONE, Block, Heading, Table, Words, moment
from bmcore.report.chapters import checklists_more as more
from bmcore.report.chapters.checklists import CLAIM_SOURCE, TRIPOD_SOURCE, claim, tripod
from bmcore.report.words import SHORT
from bmcore.review.answer_words import in_words

if TYPE_CHECKING:
    from bmcore.report.dossier import Dossier
    from bmcore.review.record import StudyRecord

METHODS = (
    "Each number stands with its interval and the number of cases; report.json and results.csv "
    "name the method of each. "
    "Shares of one reader: Wilson. "
    "Shares over readers: linearised variance over cases. "
    "Cohen's kappa: Fleiss, Cohen and Everitt 1969. "
    "Fleiss' kappa, Gwet's AC1 and AC2: Gwet 2008. "
    "Krippendorff's alpha, medians, mean confidence: bootstrap of cases, 2,000 resamples. "
    "ICC: Shrout and Fleiss 1979. "
    "Limits of agreement: Bland and Altman 1986, Carkeet 2015. "
    "AUC: DeLong 1988. "
    "Readers and cases as samples: Obuchowski and Rockette 1995 with Hillis 2007; U-statistics, "
    "Gallas 2009. "
    "Two readings of one reader: McNemar, mid-p, Newcombe 1998. "
    "Only answers in force are counted."
)


def deviations(d: Dossier) -> list[Block]:
    """What did not go as planned: versions of the plan, skipped, flagged and corrected sheets."""
    blocks: list[Block] = [Heading("Deviations and amendments")]
    if d.record is None:
        replaced = [v for v in d.votes if v.supersedes is not None]
        if not replaced:
            return [
                *blocks,
                Words("Free votes have no plan to deviate from. No vote was replaced."),
            ]
        blocks.append(Words("Free votes have no plan to deviate from. Votes that were replaced:"))
        rows = tuple(
            (str(v.id), f"{v.created_at:%d %b %Y %H:%M}", v.reader, v.case_id, v.reason or NONE)
            for v in replaced
        )
        head = ("Vote", "Time (UTC)", "Reader", "Case", "Reason")
        return [*blocks, Table(head, rows, (0.08, 0.16, 0.2, 0.2, 0.36), (0,))]
    blocks += [*_plan_versions(d.record), *_conduct(d.record)]
    return [*blocks, *_sheets(d), *_corrections(d), *_decisions(d)]


def _plan_versions(record: StudyRecord) -> list[Block]:
    rows = tuple(
        (
            str(v.version),
            f"{v.created_at:%d %b %Y %H:%M}",
            v.author,
            "locked at the start" if v.reason is None else v.reason,
            v.digest,
        )
        for v in record.versions
    )
    head = ("Version", "Time (UTC)", "By", "Reason", "Hash of the plan")
    return [
        Heading("Versions of the plan", 3),
        Table(head, rows, (0.09, 0.15, 0.16, 0.28, 0.32), (0,)),
    ]


def _conduct(record: StudyRecord) -> list[Block]:
    """Pauses, deadlines and the closing."""
    if not record.steps:
        return []
    names = {r.id: r.name for r in record.study.readers}
    rows = tuple(
        (
            f"{s.at:%d %b %Y %H:%M}",
            s.kind
            if s.kind != "deadline"
            else f"deadline of {names.get(s.reader, 'all readers')}: "
            + (f"{s.due:%d %b %Y}" if s.due else "taken away"),
            s.by,
            s.reason or NONE,
        )
        for s in record.steps
    )
    head = ("Time (UTC)", "What", "By", "Reason")
    return [
        Heading("Pauses, deadlines, closing", 3),
        Table(head, rows, (0.18, 0.34, 0.18, 0.3)),
    ]


def _sheets(d: Dossier) -> list[Block]:
    assert d.record is not None
    rows = []
    for s in d.record.sheets:
        marks = [s.state] if s.state == "skipped" else []
        marks += ["flagged"] if s.flagged else []
        if marks:
            name = d.record.study.reader(s.place.reader).name
            phase = ARM_NAMES[s.place.arm] + (", repeat" if s.place.occasion else "")
            rows.append((name, s.place.case_id, phase, ", ".join(marks), s.note or NONE))
    blocks: list[Block] = [Heading("Skipped and flagged readings", 3)]
    if not rows:
        return [*blocks, Words("None.")]
    head = ("Reader", "Case", "Phase", "What", "Note")
    return [*blocks, Table(head, tuple(rows), (0.2, 0.2, 0.2, 0.12, 0.28))]


def _corrections(d: Dossier) -> list[Block]:
    assert d.record is not None
    rows = tuple(
        (
            d.record.study.reader(a.reader).name,
            a.case_id,
            ARM_NAMES[a.arm],
            a.question,
            f"{a.created_at:%d %b %Y %H:%M}",
            a.reason or NONE,
        )
        for a in d.record.answers
        if a.supersedes is not None
    )
    head = ("Reader", "Case", "Phase", "Question", "Time (UTC)", "Reason")
    return _once_finished(
        d, "Corrected answers", Table(head, rows, (0.16, 0.16, 0.16, 0.12, 0.14, 0.26))
    )


def _decisions(d: Dossier) -> list[Block]:
    """What was decided on which answers, by whom, and on what it rests."""
    assert d.record is not None
    asked = {q.id: q for v in d.record.versions for q in v.study.questions}
    said = {(a.site, a.id): a.value for a in d.record.answers}
    replaced = {(x.site, x.supersedes) for x in d.record.decisions}
    rows = []
    for x in d.record.decisions:
        question = asked[x.question]
        given = Counter(
            in_words(question, said[b["site"], b["id"]])
            for b in x.basis
            if (b["site"], b["id"]) in said
        )
        decision = in_words(question, x.value)
        if (x.site, x.id) in replaced:
            decision += " (replaced later)"
        notes = [x.note, f"Replaces an earlier one: {x.reason}" if x.reason else ""]
        rows.append(
            (
                x.case_id,
                ARM_NAMES[x.arm],
                question.text,
                "; ".join(f"{n} x {words}" for words, n in sorted(given.items())) or NONE,
                decision,
                f"{x.decided_by}, {x.created_at:%d %b %Y %H:%M}",
                " ".join(n for n in notes if n) or NONE,
            )
        )
    head = ("Case", "Phase", "Question", "Answers", "Decision", "By, time (UTC)", "It rests on")
    widths = (0.12, 0.11, 0.14, 0.19, 0.16, 0.14, 0.14)
    return _once_finished(d, "Decisions on disagreements", Table(head, tuple(rows), widths))


def _once_finished(d: Dossier, title: str, table: Table) -> list[Block]:
    """The table under its title; of a study that is running only how many rows it has."""
    blocks: list[Block] = [Heading(title, 3)]
    if not table.rows:
        return [*blocks, Words("None.")]
    if d.running is not None:
        return [*blocks, Words(f"{len(table.rows)}; listed once the study is finished.")]
    return [*blocks, table]


def versions(d: Dossier) -> list[Block]:
    """How the numbers were made, and the fingerprints of all that they rest on."""
    names = "; ".join(
        name if SHORT[p] in name else f"{name} ({SHORT[p]})" for p, name in PRIMARY_NAMES.items()
    )
    said = "Digest of the answers" if d.record else "Digest of the votes"
    rows = [
        ("Digest of the models", d.bundle.digest if d.bundle else NONE),
        (said, d.votes_digest),
        *([("Hash of the plan in force", d.record.versions[-1].digest)] if d.record else []),
    ]
    if d.chain is None:
        rows.append(("Hash chain of the database", "not checked for this report"))
    else:
        verdict = (
            "; ".join(d.chain.problems) or "intact: no row was edited, removed, added or moved"
        )
        rows.append(("Hash chain of the database", verdict))
        rows += [
            (f"Head of {site}", f"{count} rows, {head}")
            for site, (count, head) in sorted(d.chain.heads.items())
        ]
    return [
        Heading("Versions and hashes"),
        Table(("What", "Fingerprint (SHA-256)"), tuple(rows), (0.3, 0.7)),
        Table(("Software", "Version"), tuple(d.versions.items()), (0.3, 0.7)),
        Heading("How the numbers were made"),
        Words(METHODS),
        Words(f"Primaries that the models can name: {names}."),
    ]


def checklists(d: Dossier) -> list[Block]:
    """Five checklists: filled in where the data allow, open where they do not."""
    blocks: list[Block] = [
        Heading("Checklists"),
        Words(
            "The items are named in our own few words; the published wording counts. Filled: this "
            "report or its data answer the item. Partly: something is left to the authors. Open: "
            "nothing here can answer it."
        ),
    ]
    for title, source, items in (
        ("CLAIM, 2024 update", CLAIM_SOURCE, claim(d)),
        ("TRIPOD+AI, 2024", TRIPOD_SOURCE, tripod(d)),
        ("STARD-AI, 2025", more.STARD_SOURCE, more.stard(d)),
        ("DECIDE-AI, 2022", more.DECIDE_SOURCE, more.decide(d)),
        ("METRICS, 2024", more.METRICS_SOURCE, more.metrics(d)),
    ):
        done = sum(item.state == "filled" for item in items)
        partly = sum(item.state == "partly" for item in items)
        count = (
            f"{done} filled, {partly} partly, {len(items) - done - partly} open of {len(items)}."
        )
        blocks += [Heading(title, 3), Words(f"{count} {source}", "quiet")]
        rows = tuple((i.number, i.topic, i.state, i.text) for i in items)
        blocks.append(Table(("Item", "About", "State", "Here"), rows, (0.07, 0.27, 0.09, 0.57)))
    return [*blocks, Words(f"Report of {moment(d.created_at)}.", "quiet")]
