"""Fifty strings that name a person, planted wherever DICOM, names of files and a zip hold one.

Searched for with ``planted.found_in(folder, STRINGS)``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests import dicom_fixture as fixture

TAGS = {
    "PatientName": "Zerubbabelsson^Ilkamaria", "OtherPatientNames": "Ausgrabinger^Trudi",
    "PatientBirthName": "Hinterkirchner^Walburga", "PatientMotherBirthName": "Schwanthalerin",
    "PatientID": "MRN-77120-Kx", "OtherPatientIDs": "Versicherung-551982",
    "IssuerOfPatientID": "KlinikumOberland", "PatientBirthDate": "19420311",
    "PatientAddress": "Ahornkehre 17, Quellingen", "PatientTelephoneNumbers": "07531-445566",
    "PatientComments": "sister of Brunhildis", "EthnicGroup": "Tschuktschin",
    "Occupation": "Glasblaeserin", "MilitaryRank": "Oberstleutnantin",
    "AdditionalPatientHistory": "seen by Featherstonehaw", "ResponsiblePerson": "Montgomerinia",
    "PatientReligiousPreference": "Zeugin-Jehovae", "PregnancyStatus": None,
    "ReferringPhysicianName": "Achternbuscher^Egon", "PerformingPhysicianName": "Radziwillowicz",
    "OperatorsName": "Szymborskowa^K", "NameOfPhysiciansReadingStudy": "Wolfeschlegelst",
    "RequestingPhysician": "Papadiamantopou", "PhysiciansOfRecord": "Nakashimotosan",
    "InstitutionName": "Marienhospitalis", "InstitutionAddress": "Sonnenberger Kehre 4",
    "InstitutionalDepartmentName": "Neuroradiologia-III", "StationName": "MRROOM-QUELL",
    "AccessionNumber": "ACC-99881-QQ", "StudyID": "ST-4411-ZZ", "DeviceSerialNumber": "SN-661-WW9",
    "StudyDescription": "Schaedel Zerubbabelsson", "ImageComments": "Kontrolle Vukovarskaja",
    "AdmittingDiagnosesDescription": "Bronchialkarzinom Erstdx",
    "PerformedProcedureStepID": "PP-31-TT",
    "RequestedProcedureDescription": "Verlauf Guggenbichl",
    "CurrentPatientLocation": "Station-9-Ost",
    "PerformedProcedureStepDescription": "Bartholomeusin", "ProtocolName": "t1_Rasmussenovna",
    "AdmissionID": "ADM-2201-LL", "SpecialNeeds": "Rollstuhl-Tervon",
}  # fmt: skip
TAGS = {name: text for name, text in TAGS.items() if text}
DESCRIPTION = "Zerubbabelsson"  # within the description of each series
NESTED, PRIVATE, CREATOR = "Chukotkanina^Sif", b"Oyelaransonne private note", "XOCHIQUETZ"
PREAMBLE, TRAILING = b"made for Guggenmosi", b"after the pixels: Taliesinova"
SENDER, VERSION = "PACS_ILKA_77", "KOWALCZ_1955"
FOLDER, FILE, ZIP, COMMENT = (
    "Kowalczykowska_19551224",
    "Mustermannova",
    "Lindquistova",
    "Steinbrecherin",
)
STRINGS: tuple[str, ...] = (
    *TAGS.values(), NESTED, PRIVATE.decode(), CREATOR, PREAMBLE.decode(), TRAILING.decode(), SENDER,
    VERSION, FOLDER, FILE, ZIP, COMMENT,
)  # fmt: skip


def plant(one: Dataset) -> Dataset:
    """A data set with a string in every field that can hold one."""
    for name, text in TAGS.items():
        setattr(one, name, text)
    one.SeriesDescription = f"{one.SeriesDescription} {DESCRIPTION}"
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledPerformingPhysicianName = "1", NESTED
    one.RequestAttributesSequence = Sequence([request])
    block = one.private_block(0x0029, CREATOR, create=True)
    block.add_new(0x10, "OB", PRIVATE if len(PRIVATE) % 2 == 0 else PRIVATE + b" ")
    padding = TRAILING + b" " * (len(TRAILING) % 2)
    one.add_new(0xFFFCFFFC, "OB", padding)
    return one


def file_bytes(one: Dataset) -> bytes:
    """The file, with strings in its preamble and its meta header, too."""
    raw = fixture.to_bytes(plant(one))
    meta = fixture.with_meta(
        raw, SourceApplicationEntityTitle=SENDER, ImplementationVersionName=VERSION
    )
    return PREAMBLE.ljust(128, b"\0") + meta[128:]


def write_folder(folder: Path) -> Path:
    """One patient: a folder a series; names of files and folders tell the patient's."""
    place = folder / FOLDER
    for number, name in enumerate(fixture.TIMES, start=1):
        volume = fixture.volume(number)
        made = fixture.slices(volume, name, number)
        fixture.save(made, place / f"{FILE} {name}", file_bytes, name=FILE + " {:04d}.dcm")
    return place


def write_zip(place: Path, path: Path) -> Path:
    """The folder as a zip, with comments of the archive and of each file."""
    with zipfile.ZipFile(path / f"{ZIP}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = COMMENT.encode()
        for file in sorted(place.rglob("*.dcm")):
            part = zipfile.ZipInfo(f"{FOLDER}/{file.relative_to(place).as_posix()}")
            part.comment = COMMENT.encode()
            archive.writestr(part, file.read_bytes())
    return path / f"{ZIP}.zip"
