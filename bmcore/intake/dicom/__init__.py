"""The door for DICOM: folder, files, zip or DICOMDIR to volumes in world RAS+ mm.

    with read_study("/media/cdrom") as found:
        print(table(found))
        choice = choose(found, series={"t1c": "7"})
        raw = to_raw(choice, home)      # each sequence on its own grid
        case = to_case(raw)             # where the grids agree

Only this room and ``report`` know DICOM; patient coordinates (LPS) become world coordinates (RAS+)
in ``geometry`` and nowhere else. Files are parsed in the child process of ``intake.child``.
"""

from bmcore.intake.dicom.choose import TAKEN, choose, propose
from bmcore.intake.dicom.convert import read_image, read_volume, to_case, to_raw
from bmcore.intake.dicom.files import holds_dicom, holds_packed
from bmcore.intake.dicom.found import ChoiceNeeded, RawStudy, SeriesFound, StudyChoice, StudyFound
from bmcore.intake.dicom.study import of_files, read_study
from bmcore.intake.dicom.table import table
from bmcore.intake.dicom.visit import as_one_visit, together, with_visits

__all__ = [
    "TAKEN",
    "ChoiceNeeded",
    "RawStudy",
    "SeriesFound",
    "StudyChoice",
    "StudyFound",
    "as_one_visit",
    "choose",
    "holds_dicom",
    "holds_packed",
    "of_files",
    "propose",
    "read_image",
    "read_study",
    "read_volume",
    "table",
    "to_case",
    "to_raw",
    "together",
    "with_visits",
]
