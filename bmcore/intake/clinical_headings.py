"""The headings of a clinical table: which field each stands for, and the note beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bmcore.intake.clinical_values import (
    WHEN,
    is_unit,
    of_pack_years,
    tidy,
)

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
        "pt_id", "ptid", "pt", "pid", "anon_id", "anonymised_id", "anonymized_id",
        "deidentified_id", "de_identified_id", "patient_code", "patient_identifier",
        "subject_code", "participant_number", "participant_no", "id_number", "hospital_number",
        "unique_id", "fall", "fallnr", "patientennr", "pseudonym_id", "proband", "probanden_id",
        "n°_patient", "numéro_patient", "id_paciente", "paciente", "no_paciente",
        "código_paciente", "codigo_paciente", "nhc", "id_paziente", "paziente",
        "codice_paziente", "patiënt", "patiëntnummer", "patientnummer",
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
        "age_at_mri", "age_at_scan", "age_at_imaging", "age_years", "age", "age_yrs",
        "age_at_diagnosis", "age_at_dx", "patient_age", "patients_age", "patientage", "alter",
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
        "notes", "comment", "comments", "remarks", "bemerkung", "kps", "karnofsky", "ecog",
        "ecog_ps", "gpa", "ds_gpa", "height", "weight", "bmi", "größe", "gewicht", "date",
        "date_of_mri", "mri_date", "scan_date", "datum", "lesions", "number_of_lesions", "ldh",
        "physician", "scanner", "steroids", "dexamethasone",
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
    base, note = split_heading(heading)
    name = _name_of(_plain(base))
    return "pack_years" if name == "smoking" and note and of_pack_years(note, named=True) else name


def place_of(name: str, plain: str) -> int:
    """Where a heading stands among those of its field, the usual ones first."""
    known = ALIASES[name]
    return next((known.index(form) for form in _forms(plain) if form in known), len(known))


def _forms(plain: str) -> tuple[str, ...]:
    """A heading as it is, without the unit behind it, and without when the value was taken."""
    bare = re.sub(rf" {WHEN}$", "", plain.replace("_", " ")).replace(" ", "_")
    return plain, unit_apart(plain)[0], bare


def _name_of(plain: str) -> str | None:
    whole, unitless, timeless = _forms(plain)
    for name, aliases in ALIASES.items():
        if whole in aliases or (name == "age_years" and unitless in aliases):
            return name
        if timeless in aliases and name not in ("case_id", "not used"):
            return name
    return None


# Columns that a patient's table holds beside the fields, in words of their headings: no id.
_CLINICAL = re.compile(
    r"(?:^|_)(?:"
    r"kps|karnofsky|ecog|who|gpa|rpa|height|weight|bmi|bsa|size|volume|diameter|"
    r"count|lesion|lesions|läsionen|metastases|metastasen|mets|date|datum|fecha|"
    r"data|dob|birth|year|stage|grade|tnm|her2|er|pr|pdl1|pd|egfr|alk|ros1|"
    r"braf|kras|mutation|mutations|marker|markers|ki67|ldh|crp|psa|hb|survival|"
    r"followup|follow|os|pfs|death|status|physician|doctor|arzt|radiologist|reader|"
    r"oncologist|referring|scanner|field|manufacturer|vendor|protocol|institution|"
    r"centre|center|ward|station|department|country|city|ethnicity|race|language|"
    r"steroids|steroid|dexamethasone|treatment|therapy|therapie|chemotherapy|"
    r"radiotherapy|surgery|srs|wbrt|resection|symptoms|seizure|seizures|headache|"
    r"pathology|histology|histologie|diagnosis|diagnose|comment|comments|remark|"
    r"remarks|bemerkung|note|notes|mri|scan|laterality|side|location|lobe|region|"
    r"handedness|education|cigarettes|packs|pack|alcohol|comorbidities|diabetes|"
    r"hypertension|allergy|allergies|contrast|dose|agent|smoker|größe|gewicht|talla|"
    r"peso|taille|poids|altezza"
    r")(?:_|$)"
)
_IDS = ("id", "ids", "code", "mrn", "pseudonym", "accession", "identifier", "key")
# Dates, numbers with decimals or a unit, a range: no id of a case.
_MEASURED = re.compile(
    r"[+-]?\d*[.,]\d+|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*|\d{1,2}[/.]\d{4}|\d{1,2}\s*-\s*\d{1,2}"
    r"|\d{1,2}\s+[^\W\d]{3,}\s+\d{4}"
    r"|[+-]?\d+(?:[.,]\d+)?\s*(?:%|kg|g|cm|mm|ml|cc|gy|mg|days?|weeks?|months?|years?|h|min|t)",
    re.IGNORECASE,
)


def may_be_an_id(heading: str, value: str) -> bool:
    """Whether a column that is not understood may say whose row it is: headed as an id, or not one
    of the usual clinical columns and with a number in one or two words, no date or measure. A name
    of a person is none: it could not be compared with a case."""
    said = plain_heading(heading)
    if said.split("_")[-1] in _IDS:
        return True
    numbered = re.search(r"\d", value) is not None and len(value.split()) < 3
    return numbered and not _CLINICAL.search(said) and not _MEASURED.fullmatch(value)
