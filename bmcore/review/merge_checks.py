"""What has to fit before the rows of several sites are put together: the same images under the
same id, and no answer without the models after their answers were shown at another site.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bmcore.domain import Finding, Severity
from bmcore.review import names, schema

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SiteRows:
    """One site's chain: (table, row) in the order of writing."""

    name: str
    rows: Sequence[tuple[sa.Table, Row]]

    def of(self, table: sa.Table) -> Iterator[Row]:
        return (row for of, row in self.rows if of is table)


def different_images(sites: Sequence[SiteRows]) -> list[Finding]:
    """Answers of one study on different images cannot be put together."""
    return [
        Finding(
            Severity.REFUSED,
            f"study {study}: the images of case {case} differ between the sites",
            None,
            f"{len(images)} sets of images, at {', '.join(sorted(images.values()))}",
            "the same images at every site",
            "find out which patient each site read; give the sites one package.",
        )
        for (study, case), images in sorted(_images(sites, schema.events).items())
        if len(images) > 1
    ]


def late_sheets(sites: Sequence[SiteRows]) -> list[Finding]:
    """A study's reader is one person: what was shown at one site closes the sheet at another."""
    problems = []
    for site in sites:
        readers = _study_readers(site)
        for row in site.of(schema.events):
            if (row["kind"], row["arm"]) != ("locked", "unaided"):
                continue
            key, design = readers.get((row["study"], row["reader"]), ("", ""))
            shown = _shown_elsewhere(sites, site, key, row)
            earlier = [e for e in shown if _counts(e, row, design)]
            if earlier:
                problems.append(
                    Finding(
                        Severity.REFUSED,
                        f"study {row['study']}: reader {row['reader']} locked case "
                        f"{row['case_id']} without the models at {site.name} after their answers "
                        f"had been shown at {earlier[0]['site']}",
                        hint="leave one of the databases out, and tell the investigator.",
                    )
                )
    return problems


def _counts(exposure: Row, sheet: Row, design: str) -> bool:
    """An exposure outside the study, or one that the design puts after the sheet.

    A crossover shows the answers in one period and not in another; a hidden repeat follows them.
    """
    if exposure["study"] != sheet["study"]:
        return True
    return design == "sequential" and exposure["occasion"] >= sheet["occasion"]


def unstorable(sites: Sequence[SiteRows], postgresql: bool) -> list[Finding]:
    """Texts of earlier versions that the new database cannot hold; rows are copied as they are."""
    return [
        Finding(
            Severity.REFUSED,
            f"row {row['seq']} of {site.name} ({table.name}) cannot be copied: its {column} holds "
            f"U+{ord(held[0]):04X} at character {held.start() + 1}",
            expected="text that PostgreSQL can hold" if postgresql else "text",
            hint="merge into a SQLite database instead (--out FILE)." if postgresql else None,
        )
        for site in sites
        for table, row in site.rows
        for column, value in row.items()
        if isinstance(value, str)
        and (held := re.search("[\0\ud800-\udfff]" if postgresql else "[\ud800-\udfff]", value))
    ]


def notes(sites: Sequence[SiteRows]) -> Iterator[str]:
    """What a person should know of free votes: cases of one id, readers of one name."""
    yield from _case_notes(sites)
    for site in sites:
        for row in site.of(schema.votes):
            if row["phase"] != "unaided":
                continue
            earlier = _shown_elsewhere(sites, site, names.key(row["reader"]), row)
            for exposure in list(earlier)[:1]:
                yield (
                    f"vote {row['id']} of {row['reader']!r} at {site.name} was stored without the "
                    "models after a reader of that name had been shown them at "
                    f"{exposure['site']}; if that is one person, it is not a vote without the "
                    "models"
                )


def _case_notes(sites: Sequence[SiteRows]) -> Iterator[str]:
    owners: dict[str, set[str]] = defaultdict(set)
    unknown: set[str] = set()
    for site in sites:
        for row in site.of(schema.votes):
            owners[row["case_id"]].add(site.name)
            if not row["images_sha256"]:
                unknown.add(row["case_id"])
    images = _images(sites, schema.votes)
    shared = [case for case, at in sorted(owners.items()) if len(at) > 1]
    for case in shared:
        if len(images.get(("", case), {})) > 1:
            yield f"case {case!r} has different images at the sites and counts as several cases"
    unsure = [case for case in shared if case in unknown]
    if unsure:
        yield (
            "votes at several sites that do not say on which images they rest; make sure that each "
            f"case is one patient: {', '.join(unsure)}"
        )


def _images(sites: Sequence[SiteRows], table: sa.Table) -> dict[tuple[str, str], dict[str, str]]:
    """{(study or "", case): {images' hash: site}} of the rows of ``table``."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for site in sites:
        for row in site.of(table):
            if row["images_sha256"]:
                case = (row.get("study", ""), row["case_id"])
                found.setdefault(case, {}).setdefault(row["images_sha256"], site.name)
    return found


def _shown_elsewhere(
    sites: Sequence[SiteRows], here: SiteRows, key: str, row: Row
) -> Iterator[Row]:
    """Exposures of this reader and case at other sites, earlier by the clock."""
    for site in sites:
        if site is here:
            continue
        for exposure in site.of(schema.exposures):
            same = exposure["reader_key"] == key and exposure["case_id"] == row["case_id"]
            hashes = {exposure["images_sha256"], row["images_sha256"]} - {None}
            if same and len(hashes) < 2 and exposure["created_at"] < row["created_at"]:
                yield exposure


def _study_readers(site: SiteRows) -> dict[tuple[str, str], tuple[str, str]]:
    """{(study, id): (reader's key, kind of design)} of the plans locked at a site."""
    return {
        (row["study"], reader["id"]): (names.key(reader["name"]), plan["design"]["kind"])
        for row in site.of(schema.studies)
        for plan in [json.loads(row["content"])]
        for reader in plan["readers"]
    }
