"""The tags that are read from a DICOM file, and what may be done with each. No other leaves a file.

``TECHNICAL`` values describe the measurement and may be stored. ``SHOWN`` ones may name or date a
patient: they tell patients, examinations and series apart and are shown to whoever brings the
files, never stored. Of the patient's name, birth date, sex and age only a hash leaves the file, and
that is not stored either.
"""

from __future__ import annotations

TEXTS = (
    *("SOPClassUID", "Modality", "Manufacturer", "ImageType", "ScanningSequence"),
    *("SequenceVariant", "SequenceName", "PulseSequenceName", "ScanOptions", "MRAcquisitionType"),
    *("BodyPartExamined", "PhotometricInterpretation", "BurnedInAnnotation"),
    *("LossyImageCompression", "ConversionType", "AcquisitionContrast", "ComplexImageComponent"),
    *("InversionRecovery", "EchoPulseSequence", "VolumetricProperties", "StackID"),
    *("ContrastBolusAgentAdministered", "ContrastBolusAgentDetected", "PresentationLUTShape"),
)
NUMBERS = (
    *("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength"),
    *("EchoNumbers", "MagneticFieldStrength", "DiffusionBValue", "SliceThickness"),
    *("SpacingBetweenSlices", "SeriesNumber", "InstanceNumber", "AcquisitionNumber"),
    *(
        "TemporalPositionIdentifier",
        "TemporalPositionIndex",
        "TriggerTime",
        "FrameAcquisitionNumber",
    ),
    *("InStackPositionNumber", "ContrastBolusVolume", "ContrastBolusTotalDose"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "ImagesInAcquisition"),
)
LISTS = (
    *("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "DimensionIndexValues"),
)
TECHNICAL = frozenset((*TEXTS, *NUMBERS, *LISTS, "PhilipsScaleSlope"))

# Shown to whoever brings the files, and used to tell things apart; never stored.
SHOWN = (
    *("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID",),
    *("FrameOfReferenceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "SeriesTime"),
    *("AcquisitionTime", "AcquisitionDateTime"),
)
DESCRIPTIONS = ("SeriesDescription", "ProtocolName")  # free text: cleared of names, then shown
PERSON = ("PatientName", "PatientBirthDate", "PatientSex", "PatientAge")  # leave the file as hashes

# In functional groups the same values have other names.
SAME_AS = {
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameType": "ImageType",
}

# What must not stand in a description that is shown: its words are blotted out there.
NAMING = (
    *("PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames"),
    *("PatientBirthName", "PatientMotherBirthName", "PatientAddress", "AccessionNumber"),
    *("PatientTelephoneNumbers", "ReferringPhysicianName", "PerformingPhysicianName"),
    *("OperatorsName", "NameOfPhysiciansReadingStudy", "RequestingPhysician", "InstitutionName"),
    *("InstitutionAddress", "ResponsiblePerson", "StudyID"),
)
