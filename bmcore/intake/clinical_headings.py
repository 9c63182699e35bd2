"""The headings of a clinical table: which field each stands for, and the note beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bmcore.intake.clinical_values import is_unit, tidy

ALIASES: Mapping[str, tuple[str, ...]] = {
    "case_id": (
        "brats_met_id", "brats_mets_id", "brats_id", "case_id", "caseid", "case", "subject_id",
        "subject", "patient_id", "patient", "id", "participant_id", "participant", "participantid",
        "patientid", "subjectid", "pat_id", "patid", "subj_id", "subj", "id_patient", "patient_no",
        "patient_nr", "patient_number", "pat_nr", "pat_no", "subject_no", "subject_number",
        "case_no", "case_nr", "case_number", "caseno", "casenumber", "patienten_id",
        "patientenid", "patienten_nr", "patientennummer", "fall_id", "fall_nr",
        "fallnummer", "mrn", "medical_record_number", "pseudonym", "record_id", "study_id",
        "studyid", "study_number", "study_no", "identifier", "identifiant", "identificador",
    ),
    "primary": (
        "primary", "primary_tumour", "primary_tumor", "primary_site", "primary_cancer",
        "primary_diagnosis", "primary_type", "cancer_type", "primary_code", "primarius",
        "primärtumor", "tumeur_primitive", "tumor_primario", "tumore_primitivo",
    ),
    "sex": (
        "sex", "gender", "sex_at_birth", "patient_sex", "patients_sex", "patientsex", "geschlecht",
        "sexo", "sexe", "sesso", "geslacht", "płeć", "pohlaví", "cinsiyet", "kön", "køn", "пол",
        "性别", "性別",
    ),
    "age_years": (
        "age_years", "age", "age_yrs", "age_at_diagnosis", "age_at_dx", "age_at_imaging",
        "age_at_scan", "age_at_mri", "patient_age", "patients_age", "patientage", "alter",
        "edad", "âge", "età", "idade", "leeftijd", "wiek", "věk", "yaş", "ålder", "alder",
        "возраст", "年龄", "年齢",
    ),
    "smoking": (
        "smoking", "smoking_status", "smoking_history", "smoking_hx", "smoker", "tobacco",
        "tobacco_use", "tobacco_history", "raucherstatus", "rauchstatus", "rauchen", "tabagisme",
        "tabaquismo", "tabagismo",
    ),
    "pack_years": (
        "pack_years", "packyears", "pack_year", "pack_yrs", "pack_years_smoked",
        "pack_year_history", "smoking_pack_years", "number_of_pack_years", "packyrs",
        "packungsjahre", "paquets_année", "paquetes_año",
    ),
    "extracranial_metastases": (
        "extracranial_metastases", "extracranial_metastasis", "extracranial_mets", "extracranial",
        "extracranial_disease", "extra_cranial_metastases", "extra_cranial_mets",
        "extranodal_metastases", "extranodal_metastasis", "extranodal_mets", "extranodal",
        "extra_nodal_metastases", "extranodal_disease", "metastases_outside_the_brain",
        "extrakranielle_metastasen", "extrazerebrale_metastasen", "métastases_extracrâniennes",
        "metástasis_extracraneales", "metastasi_extracraniche",
    ),
    "not used": (
        "ethnicity", "race", "race_ethnicity", "ethnic_group", "et_num", "death", "deceased",
        "notes", "comment", "comments",
    ),
}  # fmt: skip
FIELD_WORDS: Mapping[str, str] = {
    "case_id": "case",
    "primary": "primary tumour",
    "sex": "sex",
    "age_years": "age in years",
    "smoking": "smoking",
    "pack_years": "pack-years",
    "extracranial_metastases": "metastases outside the brain",
    "not used": "known, not used",
}
EXPECTED = {
    "sex": "male or female",
    "age_years": "a number of years from 0 to 120",
    "smoking": "never, former or current",
    "pack_years": "a number from 0 to 300",
    "extracranial_metastases": "yes or no",
    "primary": "the name of the primary",
}
YALE_HEADINGS = ("brats_met_id", "brats_mets_id", "brats_id")


_SAID_OF = r"=|:|[-–—]+>|[→⇒≙≡≘]"
# Where a note may begin that stands in no brackets.
_CUT = re.compile(rf"(?=[,:;|]|\s[-–—]\s)|(?<!\S)(?=\S+\s*(?:{_SAID_OF})|\d)")
_CLOSES = {"(": ")", "[": "]", "{": "}", "<": ">"}


def split_heading(heading: str) -> tuple[str, str]:
    """A heading without its legend or unit, and those: what stands in brackets, and what follows
    the longest beginning that is a heading."""
    bare, notes = _without_brackets(tidy(heading))
    for cut in (len(bare), *sorted((m.start() for m in _CUT.finditer(bare)), reverse=True)):
        name = _name_of(_plain(bare[:cut]))
        if name is not None and (cut == len(bare) or name != "case_id"):
            rest = bare[cut:].strip(" ,:;|-–—")
            return bare[:cut], "; ".join(part for part in (rest, *notes) if part.strip())
    return bare, "; ".join(notes)


def _without_brackets(text: str) -> tuple[str, list[str]]:
    """A text without what stands in brackets, and the contents of the outermost ones."""
    bare = ""
    notes: list[str] = []
    open_: list[str] = []
    for sign in text:
        if sign in _CLOSES and (sign != "<" or not open_):
            if not open_:
                notes.append("")
                bare += " "
            else:
                notes[-1] += sign
            open_.append(_CLOSES[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
            if open_:
                notes[-1] += sign
        elif open_:
            notes[-1] += sign
        else:
            bare += sign
    return bare.strip(), notes


def plain_heading(heading: str) -> str:
    """A heading as a key: without legend and unit, small letters and underscores."""
    return _plain(split_heading(heading)[0])


def _plain(text: str) -> str:
    """Small letters and underscores. Signs that may change what is meant (%, <, !, ±) stay."""
    joined = re.sub(r"['’`]|\s*#$", "", text.lower().strip())
    return re.sub(r"[\s\-–—_.,:;?\"/\\&*†‡§()\[\]{}]+", "_", joined).strip("_")


def unit_apart(plain: str) -> tuple[str, str]:
    """ "age_in_months" -> ("age", "months")."""
    match = re.fullmatch(r"(.*?)_(?:in_|en_)?([^\W\d_]+)", plain)
    return (match[1], match[2]) if match and is_unit(match[2]) else (plain, "")


def field_of(heading: str) -> str | None:
    """The field of ALIASES that a heading stands for; None where it is not understood."""
    return _name_of(plain_heading(heading))


def _name_of(plain: str) -> str | None:
    for form in (plain, unit_apart(plain)[0]):
        for name, aliases in ALIASES.items():
            if form in aliases and (form == plain or name == "age_years"):
                return name
    return None
