"""Images to patients, examinations and series, by what the headers say and not by folders.

Patients are told apart by their ID with its issuer, their birth date and, where there is no ID, by
their name, sex and age. Examinations are told apart by their UID and by the date of acquisition:
images more than a day apart are of two time points, whatever their UIDs say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from bmcore.intake.dicom.found import Image

_NO_ID = frozenset(
    (
        "",
        "0",
        "00",
        "000",
        "unknown",
        "anonymous",
        "anonymized",
        "anonymised",
        "anonym",
        "none",
        "n/a",
        "na",
    )
)
_SAME_EXAMINATION = timedelta(days=1)


@dataclass(frozen=True)
class Group:
    """Images of one patient, examination or series. label: for the screen; key: what tells it
    apart."""

    key: tuple[Hashable, ...]
    label: str
    images: tuple[Image, ...]


def patients(images: Iterable[Image]) -> list[Group]:
    """The images of each patient; label is the patient's ID."""
    groups = []
    for (number, issuer), members in _grouped(images, _patient_id).items():
        for person in _persons(members, named=not number):
            label = str(person[0].get("PatientID", "")) or "without an ID"
            own = person[0]
            identity = (number, issuer, own.get("PatientBirthDate", ""))
            groups.append(Group((*identity, own.get("PatientName", "")), label, tuple(person)))
    return groups


def _patient_id(image: Image) -> tuple[str, str]:
    number = " ".join(str(image.get("PatientID", "")).split())
    if number.casefold() in _NO_ID:
        return "", ""
    return number, str(image.get("IssuerOfPatientID", "")).strip()


def _persons(images: Sequence[Image], named: bool) -> list[list[Image]]:
    """One ID may be borne by two persons: their birth dates differ, or both name and sex do.

    named: there is no ID, so that the name tells them apart, and the sex and the age on one day.
    """
    persons: list[list[Image]] = []
    for image in images:
        for members in persons:
            if _same_person(members[0], image, named):
                members.append(image)
                break
        else:
            persons.append([image])
    return persons


def _same_person(first: Image, second: Image, named: bool) -> bool:
    def differ(name: str, where_given: bool = True) -> bool:
        a, b = first.get(name), second.get(name)
        return a != b and (not where_given or (a is not None and b is not None))

    if differ("PatientBirthDate"):
        return False
    if named:
        same_day = first.get("StudyDate") == second.get("StudyDate")
        if differ("PatientSex") or (same_day and differ("PatientAge")):
            return False
        return not differ("PatientName", where_given=False)
    born = first.get("PatientBirthDate") and second.get("PatientBirthDate")
    return not (differ("PatientName") and (differ("PatientSex") or not born))


def examinations(images: Iterable[Image]) -> list[Group]:
    """The images of each examination of one patient, the oldest first; label is its date."""
    groups = []
    for uid, members in _grouped(images, lambda i: str(i.get("StudyInstanceUID", ""))).items():
        for when, own in _by_date(members):
            shown = when.isoformat() if when else "without a date"
            groups.append(Group((uid, shown), shown, tuple(own)))
    return sorted(groups, key=lambda g: (g.label == "without a date", g.label, str(g.key)))


def _by_date(images: Sequence[Image]) -> list[tuple[date | None, list[Image]]]:
    dated = defaultdict(list)
    for image in images:
        dated[_date(image)].append(image)
    undated = dated.pop(None, [])
    clusters: list[tuple[date, list[Image]]] = []
    last: date | None = None
    for day in sorted(d for d in dated if d is not None):
        if last is not None and day - last <= _SAME_EXAMINATION:
            clusters[-1][1].extend(dated[day])
        else:
            clusters.append((day, list(dated[day])))
        last = day
    if undated and len(clusters) == 1:
        clusters[0][1].extend(undated)
        undated = []
    return [*clusters, *([(None, undated)] if undated else [])]


def _date(image: Image) -> date | None:
    """When it was measured; a series that was computed later counts for the day of its study."""
    original = "DERIVED" not in image.get("ImageType", ())
    names = ["AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "StudyDate"]
    for name in names if original else ["AcquisitionDate", "AcquisitionDateTime", "StudyDate"]:
        text = str(image.get(name, "")).replace(".", "").replace("-", "")[:8]
        try:
            return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
        except ValueError:
            continue
    return None


def series(images: Iterable[Image]) -> list[Group]:
    """The images of each series of one examination, by the scanner's number; label is it."""

    def key(image: Image) -> tuple[str, ...]:
        uid = str(image.get("SeriesInstanceUID", ""))
        loose = (str(image.get("SeriesNumber", "")), str(image.get("SeriesDescription", "")))
        return (uid,) if uid else ("", *loose)

    groups = []
    for own, members in _grouped(images, key).items():
        number = members[0].get("SeriesNumber")
        groups.append(Group(own, "" if number is None else f"{int(number)}", tuple(members)))
    return sorted(groups, key=lambda g: (g.label == "", int(g.label or 0), str(g.key)))


def _grouped(images: Iterable[Image], key: Callable[[Image], Hashable]) -> dict[tuple, list[Image]]:
    groups: dict = defaultdict(list)
    for image in images:
        groups[key(image)].append(image)
    return groups
