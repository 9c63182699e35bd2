"""What names propose, of files and series, in the words of many clinics; whose files they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bmcore.domain import InputRefused, Severity
from bmcore.intake.belongs import different_people
from bmcore.intake.naming import guess_sequences, propose_all
from bmcore.intake.nifti import choose_files, read_case
from bmcore.intake.sequence_name import propose
from tests.volumes_fixture import make_case, save, save_yale

NATIVE = """
T1_sans_gado
T1_PRE
T1_to_T1c
sub-01_ce-none_T1w
sub-01_ses-post_T1w
sub-01_T1w
T1 senza mdc
T1 sin contraste
T1_ohne_KM
T1_vor_KM
T1 nativ
T1_oKM
T1 o. KM
T1 zonder contrast
T1 bez kontrastu
T1 uden kontrast
T1 u/k
T1 без контраста
T1平扫
T1_造影前
T1_非造影
T1 kontrastsız
T1 sem contraste
T1 pre contraste
T1 avant injection
T1 sans injection de gado
T1 sans produit de contraste
T1 non injecté
T1 senza mezzo di contrasto
T1 basale
T1_noncontrast
T1_non-contrast
T1_no_contrast
T1_w/o_contrast
T1_without_gad
T1_unenhanced
T1_non_enhanced
T1_pre_gad
T1_pregad
T1pregd
T1 C-
T1 -C
T1-
t1_mpr_sag
MPRAGE
sT1W_3D_TFE
T1_post_op
T1_postop
T1 GRE
t1_2_t1c
T1_in_T1c_space
T1_to_T2
UCSF_100101A_T1pre
T1 ilman tehostetta
T1 natiivi
T1 fara contrast
t1n
T1_native
T1_contrast-none
T1_contrast_no
T1_gad-no
sub-1_T1
T1_no_gado
T1_nogado
T1_sansgado
T1sansgado
T1 SE tra
T1 senza contrasto
T1 χωρίς σκιαγραφικό
T1_baseline
T1 simple
T1 kontraszt nélkül
T1 s/c
T1_AX_OtherEXampleTCIA_TCGA-FG-6692_Si_TCGA-FG-6692_T1_AX_SE_10_se2d1_t1
T1 ax 5mm ohne Kontrastmittel
t1_se_sag_nativ
pre_T1
T1_PRECONTRAST
Precontrast T1
T1-weighted without intravenous contrast
T1_vor_Gabe
T1 unkontrastiert
T1_without
T1_brain
T1_sin_gd
T1_simple
t1_vor_km
T1 SE KM-
noncontrast_T1
no_gad_T1
3DT1_SANS
AX T1 NON INJ
""".strip().splitlines()
CONTRAST = """
T1c
sub-01_ce-gadolinium_T1w
sub-01_acq-postGd_T1w
sub-01_ce-GD_T1w
postCE_T1
T1_postCE
T1 con contraste
T1_con_mdc
T1_mit_KM
T1_nach_KM
T1_KM
T1 met contrast
T1 na contrast
T1 z kontrastem
T1 po kontraście
T1 m/k
T1 с контрастом
T1 после контраста
T1增强
T1_造影後
T1 kontrastlı
T1 pós contraste
T1 après injection
T1 avec gado
T1 injecté
T1 dopo contrasto
T1 w/ contrast
T1_enhanced
T1postgd
t1wpost
axt1post
T1+C
T1 +C
AX T1 +C
T1 C+
T1_GD+
T1+
t1_mprage_sag_p2_iso_KM
mprage_post
MPRAGE_GAD
sT1W_3D_TFE_GD
T1_CE_MPRAGE
CE_T1
cet1w
MyT1c
Pat01_T1Post
T1_post_op_gd
T1c_to_MNI
T1c_reg
UCSF_100101A_T1post
BraTS-MET-00110-000-t1c
T1_post_contrast
T1_Gd
t1gd
T1wCE
T1 gadovist
T1 cu contrast
SAG T1 MPRAGE POST
sub01_T1c
T1_c
T1_ax_c
BRAVO_C
T1 FS GAD
t1_tse_tra_fs_km
T1_fatsat_post
T1_s_kontrastem
T1 post iv
T1 con civ
T1 c/c
T1 VIBE FS POST
AX_T1_POST_FS
anat_T1w_postcontrast
T1 ax nach Kontrastmittelgabe
T1 post Gadolinium MPR cor
T1_SE_GD_axial
post_T1
3D T1 BRAVO +C
T1 contrast enhanced
T1wI_enh
T1 delayed post
T1_with_contrast
T1c_n4
T1c_brain_bet
t1c_bet
T1c_skullstripped
T1c_defaced
T1c_reg2MNI
T1_con_gd
t1km
T1-KM
T1 SE KM+
T1_Gado
3DT1GADO
3D T1 INJ
AX T1 INJ
T1 stealth +gad
T1 NEURONAV GD
""".strip().splitlines()
T2 = """
T2_to_T1c
sub-01_space-T1c_T2w
eT2W
T2toT1c
T2_reg_T1CE
T2_registered_to_T1c
T2_TSE
cor T2
""".strip().splitlines()
FLAIR = """
t2_space_dark-fluid_sag
t2_space_dark_fluid_sag
t2_space_darkfluid_sag
FLAIR_to_T1c
myFlair
X-t2f
AX T2 FLAIR
t2_tirm_tra_dark-fluid
FLAIR2T1c
fla_bet
AX FLAIR INJ
T2_FLAIR_registered_to_T1Gd
""".strip().splitlines()
ASIDE = """
T1_POST_GAD_SUB
sub-03_desc-brain_mask
t2star
T2*
T2_star
T2S
T2_SWI
T2 GRE
ADC
ROI
T1c_mask
T1ce_roi
tumor_seg
T1c_minus_T1n
T1_diff
T1_map
T1map
T2map
rCBV
brain_mask_t1
PD
perfusion_T1
T1_dce
tumor_ROI_t1c
DIFF
SWI
T1c_SUBTRACTION
T1 difference post-pre
postcontrast_minus_precontrast
T1GD_minus_T1
""".strip().splitlines()
OPEN = """
T1 W WO CONTRAST
T1_pre_post
T1_FLAIR
image1
Ax T1 FLAIR
T1 TSE dark fluid
T1_gd_sin
""".strip().splitlines()


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        *((name, "t1n") for name in NATIVE),
        *((name, "t1c") for name in CONTRAST),
        *((name, "t2w") for name in T2),
        *((name, "t2f") for name in FLAIR),
        *((name, "aside") for name in ASIDE),
        *((name, None) for name in OPEN),
    ],
)
def test_a_name_proposes_a_sequence_sets_aside_or_leaves_open(name, sequence):
    proposal = propose(name)
    assert proposal.sequence == sequence, proposal
    assert proposal.reason.startswith(("says", "does not say"))
    assert (proposal.confidence > 0) == (sequence is not None)


def test_the_reason_holds_the_words_that_decided():
    assert propose("T1_sans_gado").reason == "says T1 and 'sans gado': no contrast"
    assert "'sub': a difference of two images" in propose("T1_POST_GAD_SUB").reason
    assert propose("MPRAGE").confidence < propose("MPRAGE_nativ").confidence


def test_a_word_of_contrast_in_every_name_is_none():
    names = ["post_gad_T1.nii", "post_gad_T2.nii", "post_gad_FLAIR.nii"]
    assert guess_sequences(names) == {names[0]: None, names[1]: "t2w", names[2]: "t2f"}


def test_a_t1_that_says_nothing_beside_a_native_one_is_left_open():
    found = propose_all(["T1.nii", "T1_sans_gado.nii", "T2.nii"])
    assert found["T1.nii"].sequence is None and "beside a native T1" in found["T1.nii"].reason
    assert found["T1_sans_gado.nii"].sequence == "t1n"


def put(folder: Path, *names: str) -> list[Path]:
    case = make_case()
    images = list(case.sequences.values())
    return [save(images[n % 4], folder / name) for n, name in enumerate(names)]


def refusal(*args, **kwargs) -> list[str]:
    with pytest.raises(InputRefused) as caught:
        choose_files(*args, **kwargs)
    return [f.sentence for f in caught.value.findings]


def words(case) -> str:
    return "\n".join(f.sentence for f in case.findings)


def test_a_native_t1_is_not_taken_for_contrast_and_every_file_is_listed(tmp_path):
    put(tmp_path, "T1_sans_gado.nii.gz", "T2.nii.gz", "FLAIR.nii.gz", "ROI.nii.gz")
    with pytest.raises(InputRefused) as caught:
        read_case(tmp_path)
    said = [f.sentence for f in caught.value.findings]
    assert "there is no T1 image after gadolinium" in said[0]
    for name, reason in (
        ("T1_sans_gado.nii.gz", "taken as T1 native (t1n): its name says T1 and 'sans gado'"),
        ("T2.nii.gz", "taken as T2"),
        ("FLAIR.nii.gz", "taken as FLAIR"),
        ("ROI.nii.gz", "the file was not used: its name says 'roi'"),
    ):
        assert any(s.startswith(f"{name}: {reason}") for s in said), said


def test_a_subtraction_is_set_aside_with_the_reason(tmp_path):
    put(tmp_path, "T1_PRE.nii", "T2.nii", "FLAIR.nii", "T1_POST_GAD_SUB.nii")
    with pytest.raises(InputRefused) as caught:
        read_case(tmp_path)
    assert "T1_POST_GAD_SUB.nii: the file was not used: its name says 'sub'" in str(caught.value)


def test_registered_images_are_what_stands_before_to(tmp_path):
    put(tmp_path, "T1_to_T1c.nii", "T1c.nii", "T2_to_T1c.nii", "FLAIR_to_T1c.nii")
    files = choose_files(tmp_path).files
    assert {s: p.name for s, p in files.items()} == {
        "t1n": "T1_to_T1c.nii",
        "t1c": "T1c.nii",
        "t2w": "T2_to_T1c.nii",
        "t2f": "FLAIR_to_T1c.nii",
    }


@pytest.mark.parametrize("copy", ["{}-t2f.nii (1).gz", "{}-t2f.nii(2).gz", "{}-t2f (1).nii.gz"])
def test_copies_as_browsers_name_them_are_read_by_content(tmp_path, copy):
    folder = save_yale(tmp_path)
    old = folder / f"{folder.name}-t2f.nii.gz"
    old.rename(folder / copy.format(folder.name))
    assert "t2f" in read_case(folder).sequences


def test_a_second_copy_is_left_out_and_other_files_are_named(tmp_path):
    folder = save_yale(tmp_path)
    twice = folder / f"{folder.name}-t2f.nii (1).gz"
    twice.write_bytes((folder / f"{folder.name}-t2f.nii.gz").read_bytes())
    (folder / "report.txt").write_text("text")
    (folder / "x.nii (1).gz").write_bytes(gzip.compress(b"no image" * 100))
    case = read_case(folder)
    assert len(case.sequences) == 4
    assert "it is a copy of" in words(case)
    for name in ("report.txt", "x.nii (1).gz"):
        assert f"{name}: the file was not used" in words(case)


def test_what_the_user_settles_wins_over_every_name(tmp_path):
    files = put(tmp_path, "a.nii", "T1_post.nii", "T2.nii")
    choice = choose_files(tmp_path, {"t1c": files[0]})
    assert choice.files["t1c"].name == "a.nii" and choice.files["t2w"].name == "T2.nii"
    said = "\n".join(f.sentence for f in choice.findings)
    assert "T1_post.nii: the file was not used: another file was chosen for T1 post" in said
    assert "a.nii: taken as T1 post-gadolinium (t1c): chosen by hand" in said


@pytest.mark.parametrize(
    "names",
    [
        ("UCSF_100101A_T1post.nii", "UCSF_100102B_T1pre.nii", "UCSF_100102B_FLAIR.nii"),
        ("pat7_T1c.nii", "pat8_T2.nii"),
        ("Mueller_T1c.nii", "Schmidt_FLAIR.nii"),
        ("20230101_t1c.nii", "20230615_t2.nii"),
        ("x_2023-01-01_t1c.nii", "x_01.02.2023_t2.nii"),
        ("sub-01_ses-1_ce-gd_T1w.nii", "sub-01_ses-2_T2w.nii"),
        ("sub-01_ce-gd_T1w.nii", "sub-02_T2w.nii"),
        ("A1_t1c.nii", "A2_t2.nii"),
    ],
)
def test_names_of_two_patients_or_dates_are_refused_until_they_are_said_to_belong(tmp_path, names):
    put(tmp_path, *names)
    (said,) = refusal(tmp_path)
    assert "the names of the files point at a different" in said
    assert names[0] in said and "--same-patient" in said
    choice = choose_files(tmp_path, same_patient=True)
    assert len(choice.files) == len(names)
    (warned,) = [f for f in choice.findings if f.severity is Severity.WARNING]
    assert "said that they belong together" in warned.what


@pytest.mark.parametrize(
    "names",
    [
        ("T1_PRE.nii", "T1_POST.nii", "FLAIR.nii"),
        ("MRHR_T1_AX_POST_GAD_X_TCGA-FG-6692_SE_13_t1c.nii", "T1_AX_X_TCGA-FG-6692_SE_10_t1.nii"),
        ("Brain_t1c_20230101101530_4.nii", "Brain_t2_20230101102233_7.nii"),
        ("ax_T1c.nii", "cor_T2.nii", "brain_flair.nii"),
        ("t1_mprage_p2_iso_KM.nii", "t2_tse_tra_p3.nii"),
        ("S3_T1c.nii", "S5_T2.nii"),
    ],
)
def test_other_differences_of_names_do_not_matter(names):
    assert different_people([Path(n) for n in names]) is None


def test_folders_count_where_the_files_lie_in_several():
    assert different_people([Path("a/pat1/t1c.nii"), Path("a/pat2/t2.nii")]) is not None
    assert different_people([Path("pat1/t1c/i.nii"), Path("pat1/t2/i.nii")]) is None
