"""Whether contrast was given, in the words of many languages; derived images; ids of patients.

Each name is of a kind that was once read wrongly, most often a native T1 as one after contrast. The
names are no list to be known by heart: others of the same kinds should be read as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bmcore.intake import layouts
from bmcore.intake.naming import propose_all
from bmcore.intake.nifti import choose_files
from bmcore.intake.sequence_name import contrast, derived, propose, says_both
from tests.volumes_fixture import make_case, save

NATIVE = """
T1 vor Applikation des Kontrastmittels
T1 noch ohne Kontrastmittelgabe
T1 vor der intravenösen Gadoliniumgabe
t1_mprage_vor_Gabe_von_Dotarem
T1 ohne jegliches KM
T1 ohne das Kontrastmittel Gadovist
T1 (vor KM)
T1-vor-Kontrast-sag
T1 axial nativ vor Gadobutrol
T1 kein Gadolinium gegeben
T1 KM: nein
T1 Kontrastmittel nicht verabreicht
T1 kontrastfrei
T1 kontrastlos
T1 gadoliniumfrei
T1 sans aucune injection
T1 avant toute injection de contraste
T1 avant la prise de contraste gadolinium
T1 pas de contraste
T1 pas d'injection
T1 sans gadolinium IV
T1 sans Dotarem
T1 avant passage du gadolinium
T1 sin la administración del medio de contraste
T1 antes de la inyección de gadolinio
T1 sin uso de gadolinio
T1 no contrastada axial
T1 sin contraste endovenoso
T1 previo al gadolinio
T1 previa inyección de contraste
T1 senza l'uso del mezzo di contrasto
T1 prima dell'iniezione di gadolinio
T1 prima di somministrare mdc
T1 senza alcun mezzo di contrasto
T1 non contrastato
T1 sem uso de contraste
T1 antes da administração endovenosa de gadolínio
T1 sem o meio de contraste
T1 sem gadolinio EV
T1 não injetado
T1 vóór toediening gadolinium
T1 voor de toediening van contrastvloeistof
T1 zonder het contrastmiddel
T1 geen contrast
T1 zonder intraveneus contrast
T1 bez podaży środka kontrastowego
T1 przed dożylnym podaniem gadolinu
T1 bez użycia kontrastu
T1 przed wzmocnieniem kontrastowym
T1 bez použití kontrastní látky
T1 před intravenózním podáním kontrastu
T1 bez podania kontrastnej látky
T1 pred aplikáciou kontrastu
T1 brez kontrastnega sredstva
T1 prije davanja kontrasta
T1 bez primjene kontrastnog sredstva
T1 fără administrare de contrast
T1 înainte de administrarea substanței de contrast
T1 utan någon kontrast
T1 före injektion av gadolinium
T1 uden indgift af kontrast
T1 før injeksjon av kontrast
T1 uten bruk av kontrastmiddel
T1 ingen kontrast
T1 ikke kontrast
T1 ilman gadoliniumia
T1 ennen kontrastin antoa
T1 ei varjoainetta
T1 enne kontrasti manustamist
T1 pirms kontrastvielas
T1 prieš kontrastą
T1 kontrasztanyag beadása előtt
T1 gadolínium nélkül
T1 kontrast verilmeden
T1 kontrast madde enjeksiyonu öncesi
T1 gadolinyum öncesi
T1 без применения контраста
T1 до внутривенного введения контраста
T1 перед введением контраста
T1 до гадолиния
T1 без гадолиния
T1 до введення контрасту
T1 преди контраст
T1 πριν από τη χορήγηση γαδολινίου
T1 χωρίς χορήγηση σκιαγραφικού
T1 造影剤投与前
T1 造影前 矢状断
T1 非造影 軸位
T1 增强前 轴位
T1 无增强
T1 未注射
T1 조영전
T1 조영제 투여 전
T1 비조영
T1 قبل الحقن
T1 לפני ניגוד
T1 tanpa kontras
T1 sebelum kontras
T1 without any gadolinium-based contrast agent
T1 before administration of gadobutrol
T1 prior to the injection of gad
T1 no intravenous contrast
T1 without Dotarem
T1 gadolinium not administered
T1_contrast_none_given
T1_Gd_false
T1_contrast_absent
T1_contrast_off
T1_CE_neg
T1_contrast-neg
T1_no-enh
T1_unenh
T1 non-enhanced
T1_pre-Gd-DTPA
T1_preGadovist
T1_noGadovist
T1_withoutGadolinium
T1_sansGadolinium
T1_nongado
T1_noncontrasted
T1 kontrastlosen
T1_KM-
T1 [-] Gd
T1 Gd [-]
T1_woKM
T1_ohne_Kontrast_cor
T1_KM_ohne_tra
T1_contrast_without
T1_gado_sans_sag
T1_bez_KM
T1 s/ gadolinio
T1 s/ CTE
T1 S/CONTRASTE
T1 s.contraste
T1 s/mdc
T1 w/out Gadavist
T1 w.o. contrast
T1 nativ (ohne KM)
t1_se_nativ_tra
native_T1
T1 natywny
T1 nativne
T1_nativo
sub-12_ce-false_T1w
sub-12_ce-without_T1w
sub-12_ce-sans_T1w
sub-12_ce-ohne_T1w
sub-12_ce-unenhanced_T1w
sub-12_ce-wo_T1w
sub-12_ce-nongad_T1w
sub-12_ce-precontrast_T1w
sub-12_ce-0_run-1_T1w
sub-12_acq-noGd_T1w
sub-12_acq-native_T1w
sub-Gd12_T1w
T1_aligned_T1c
T1_affine_T1c
T1_greedy_to_T1c
T1_elastix_T1ce
T1_to_Flair
T1_coregistered_T1c
t1_reg_flair
T1pre_aligned_T1post
T1n_to_T1c
T1_resliced_T2
T1_rigid_FLAIR
Pd_003_T1
NC01_T1
CE-12_T1
T1 vor jeder Kontrastierung
T1 axial, noch ohne i.v. Gabe eines Kontrastmittels
T1 ohne vorherige Gabe von Gadoteridol
T1 vor Bolus KM
T1 (nativ, vor KM)
t1_tse_tra_vor_km_gabe_2mm
T1 KM keines
T1 sans recours au gadolinium
T1 avant que le gado soit injecté
T1 sans la moindre injection de contraste
T1 SANS PRODUIT DE CONTRASTE IODE
T1 coupe axiale sans injection IV
T1 antes de pasar el contraste
T1 axial simple sin medio paramagnético de contraste
T1 sin paso de gadolinio
T1 senza bolo di mdc
T1 prima di infondere il contrasto
T1 senza utilizzo di gadolinio
T1 antes de injetar o contraste
T1 sem nenhum contraste
T1 sem a utilização de gadolínio
T1 voordat contrast is toegediend
T1 zonder enige vorm van contrast
T1 vóór gadoliniumtoediening
T1 bez zastosowania środka kontrastującego
T1 przed iniekcją kontrastu
T1 bez i.v. podání gadolinia
T1 před podáním gadoliniové kontrastní látky
T1 bez primene kontrasta
T1 pre primene kontrasta
T1 pre davanja kontrasta
T1 utan tillförd kontrast
T1 innan kontrast
T1 uden brug af gadolinium
T1 ennen gadolinium-tehostetta
T1 kontraszt beadás nélkül
T1 kontrasztanyag adása előtt
T1 gadolinyumsuz
T1 kontrastsızdır
T1 kontrast madde kullanılmadan önce
T1 до болюса контраста
T1 без болюсного контрастирования
T1 до в/в введения гадобутрола
T1 без контрастного препарата
T1 πριν τη σκιαγραφική ουσία
T1 χωρίς ενίσχυση σκιαγραφικού
T1 注射对比剂前
T1 未注射对比剂
T1 无造影剂
T1 造影剤なし 冠状断
T1 造影剤注入前
T1 조영제 없이
T1 조영제 주사 전
T1 بدون صبغة
T1 بدون مادة تباين
T1 ללא גדוליניום
T1 tanpa bahan kontras
T1 sebelum pemberian kontras
T1 without giving any contrast
T1 before we gave gad
T1 without intravenous injection of contrast
T1 no gadolinium was given
T1 contrast: none
T1 contrast = no
T1 Gd = 0
T1_contrast_not_used
T1_gad_not_injected
T1_noIVcontrast
T1_no_IV_gad
T1_NoContrastGiven
T1WithoutContrastAgent
T1BeforeContrast
T1beforeGd
T1PriorToContrast
T1 W/O CONT
T1 pre-dose
T1 PREGADO
T1preKM
T1vorKM
T1OHNEKM
T1 KM (−)
T1 ohne-KM
T1_o_KM
T1 N.C.
MPRAGE non contrasté
BRAVO before Gadavist
SPGR ohne Gadolinium
VIBE vor der Kontrastmittelgabe
Ax T1 FSE w/o gado
3D T1 sin gad
sub-A1_ce-off_T1w
sub-A1_ce-NoGad_T1w
sub-A1_ce-nativ_T1w
sub-A1_ce-preGd_T1w
sub-A1_acq-noncontrast_T1w
sub-A1_acq-unenhanced_T1w
""".strip().splitlines()
CONTRAST = """
T1 mit Kontrastmittelgabe
T1 nach Applikation von Gadovist
T1 nach Gadoliniumgabe
T1 nach der Injektion
T1 kontrastmittelverstärkt
T1 KM ja
T1 nach KM ohne FS
T1 nach i.v.-Gabe
t1_space_nach_KM_sag
T1 après administration de gadolinium
T1 après prise de contraste
T1 avec contraste IV
T1 gadolinium
T1 après IV
T1 rehaussée
T1 después de gadolinio
T1 tras contraste endovenoso
T1 con medio de contraste paramagnético
T1 posterior a contraste
T1 con gadolinio EV
T1 postgadolinium
T1 post-gadolinio
T1 contraste gadolinio
T1 dopo contrasto
T1 dopo iniezione di gadolinio
T1 con mdc e.v.
T1 dopo la somministrazione di mezzo di contrasto
T1 com contraste EV
T1 após a administração de gadolínio
T1 pós-gadolínico
T1 realce
T1 na toediening van gadolinium
T1 met contrastvloeistof
T1 na contrasttoediening
T1 po dożylnym podaniu gadolinu
T1 po podaniu środka cieniującego kontrast
T1 ze środkiem kontrastowym
T1 po podání kontrastní látky
T1 po i.v. aplikaci gadolinia
T1 s kontrastní látkou sag
T1 po kontraste
T1 nakon primjene kontrasta
T1 po aplikaciji kontrasta
T1 după gadolinium
T1 cu contrast iv
T1 efter kontrastinjektion
T1 med gadolinium
T1 efter indgift af kontrast
T1 etter injeksjon av kontrast
T1 med intravenøs kontrast
T1 kontrastin jälkeen
T1 gadoliniumin jälkeen
T1 varjoaineen kanssa
T1 parast kontrasti
T1 po kontrasto
T1 kontrasztanyag beadása után
T1 kontrasztanyagos
T1 gadolinyum sonrası
T1 kontrast madde enjeksiyonu sonrası
T1 kontrast sonrası koronal
T1 после внутривенного введения контраста
T1 после гадолиния
T1 с контрастированием сагиттально
T1 с внутривенным контрастным усилением
T1 після контрасту
T1 след контраст
T1 μετά από χορήγηση γαδολινίου
T1 με σκιαγραφικό μέσο
T1 造影剤投与後
T1 造影あり
T1 增强 冠状位
T1 强化
T1 조영 후
T1 조영제 투여 후
T1 بعد حقن
T1 dengan kontras
T1 setelah kontras
T1 after administration of gadolinium
T1 following IV contrast
T1 with Gadavist
T1 post-Gadavist
T1 contrast given
T1_contrast-true
T1_CE2
T1_Gd3
T1_post3
T1post1
T1_Gd_10ml
T1_postCon
T1POSTCON
T1_w_gad
T1withcontrast
T1WithGd
T1mitKontrast
T1AvecGado
T1ConMdc
T1comGadolinio
T1nachGd
T1medKontrast
T1 CE (+)
T1 contrast [+]
T1 Gd+ tra
T1 IV +
T1 s kontrastem tra
T1 z gadolinem
T1 s k.l. sag
T1 con m.d.c. cor
T1 dopo MdC
T1 IVKM
T1 po k. l.
T1_SE_KM_FS
Ax T1 FS +C
T1 SPACE +Gd
T1 gd no FS
T1 post FatSat
post gd MPRAGE
SENSE T1 GD
T1 3D TFE GD SENSE
sub-12_ce-true_T1w
sub-12_ce-with_T1w
sub-12_ce-gadoterate_T1w
sub-12_acq-gado_T1w
sub-12_acq-contrast_T1w
sub-12_acq-postcontrast_T1w
sub-noGd1_ce-gd_T1w
sub-pre01_ses-pre_ce-gd_T1w
PD-017_T1c
NC-12_T1_gd
SUB-12_T1c
Sub-Q12_T1_post
sub_A07_T1c
MR_0012_T1_KM
Mueller_pre-op_T1_gd
T1_KM_vor_OP
T1_gd_vor_der_Operation
T1_Gd_before_surgery
T1 gado avant chirurgie
T1 mdc prima dell'intervento
T1_gd_pretherapeutic
T1c_to_T1
T1c_aligned_T1
T1gd_flirt_T1
T1ce_rigid_FLAIR
post_T1_to_T2
T1c_bias_corrected
T1c_HDBET
T1c_defaced
T1 nach Bolus KM
T1 nach Gabe von Gadoteridol
T1 mit KM coronal FS
T1 nach 0,1 mmol/kg Gadobutrol
T1 sag nach Kontrastmittel i.v.
T1 après bolus de gadolinium
T1 axial avec produit
T1 avec gadobutrol
T1 con paso de gadolinio
T1 tras gadobutrol
T1 con contraste paramagnético
T1 dopo bolo di mdc
T1 dopo infusione di gadolinio
T1 após injetar contraste
T1 com gadobutrol
T1 na gadobutrol
T1 met intraveneus contrast
T1 po iniekcji kontrastu
T1 z użyciem środka kontrastowego
T1 po i.v. podání gadolinia
T1 posle kontrasta
T1 efter gadobutrol
T1 efter bolus kontrast
T1 gadolinium-tehosteinen
T1 tehosteaineen jälkeen
T1 kontrasztanyag adása után
T1 gadolinyumlu
T1 kontrast madde ile
T1 после болюса контраста
T1 после гадобутрола
T1 с контрастным препаратом
T1 с контрастом, сагиттальная
T1 μετά τη σκιαγραφική ουσία
T1 注射对比剂后
T1 对比剂后
T1 造影剤注入後
T1 조영제 주사 후
T1 sesudah kontras
T1 with gadoteridol
T1 5 min after Gd
T1 after bolus
T1 gd enhanced axial
T1 CE axial FS
T1 post contrast no motion
T1 contrast for navigation
T1_gd_for_stealth
T1_for_navigation_gd
T1 gad planning
T1KMtra
T1GdSag
T1PostContrast
T1AfterGd
T1_afterContrast
T1ContrastEnhanced
MPRAGE nach KM
BRAVO mit Gadolinium
VIBE dopo mdc
Ax T1 FSE w/ gado
T1_gadovist_1mm
T1_post_gd_2
T1_post-contrast_1
T1 mit KM, ohne FS
T1 mit Navi nach KM
sub-A1_ce-given_T1w
sub-A1_ce-on_T1w
sub-A1_ce-Magnevist_T1w
sub-A1_acq-postGad_T1w
sub-A1_acq-t1gd_T1w
sub-A1_ce-gd_rec-mprage_T1w
PD12_T1_gd
Ve-04_T1c
Dr-11_T1_post
MS_014_T1_gd
Keller_nicht_operiert_T1_gd
Vor-OP_T1_KM
avant_op_T1_gado
T1_KM_praeoperativ
T1_gd_before_resection
T1_KM_vor_Bestrahlung
T1_gd_no_artifacts
Before_RT_T1c
""".strip().splitlines()
T2 = """
rT2_T1
T2_flirt_T1c
T2_ANTS_T1ce
T2_registered_T1
T2_rigid_T1post
Т2 корональная
T2加权 矢状
T2強調 軸位
t2haste_cor
T2 HASTE SAG
T2_TSE_vor_KM
T2 ohne Kontrast
T2 SE
T2 SPACE iso
T2 DRIVE
t2_tse_fs_cor
sub-12_acq-highres_T2w
T2_coregistered_T1c
T2_moved_T1
T2_snapped_to_T1
T2 lange TE
T2 3D SPACE sag
Т2 сагиттальная
T2_TSE_GD
""".strip().splitlines()
FLAIR = """
t2_spc_da-fl_tra
t2_spc_dafl_sag_iso
T2 SPACE da fl
spc_dark-fl
dark fluid T2 tra
T2_dark_fluid_TIRM
Fluid Attenuated T2 axial
fluid-attenuated_inv_recovery
T2 флаир
FLAIR аксиальная
T2压水
T2 FLAIR压水 横断
FLAIR_coreg_T1c
FLAIR_flirt_T1
flair_elastix_T1ce
rFLAIR_T1c
T2FLAIR_aligned_T1
FLAIR mit KM
FLAIR ohne KM
FLAIR nach Gadovist
t2_spc_da-fl_cor
T2 da_fl
T2 DARKFLUID sag
T2w fluid attenuation
FLAIR_warped_T1c
FLAIR_transformed_T1
Флаир корональная
""".strip().splitlines()
ASIDE = """
T2_GRE
T2-weighted gradient echo
T2 Gradienten-Echo
T2_FFE_tra
T2 fl2d tra hemo
T2 merge sag
qT2
qT1
T1_mapping
T2_mapping
T1 relaxation map
T2_STIR_sag
STIR T2 cor
T2 BWS sag
T2 LWS
T2 cervical spine
T2 lumbar spine sag
T1_lesions
lesion_T1c
T1c_lesionmask
T1c_tumour
tumor_T1
oedema_FLAIR
FLAIR_lesionmask
T1_GM
WM_T1
T1_aparc
T1_gradcam
T1c_gradCAM
T1_saliency
T1_warp
T1_residuals
T1_subtraktion
T1_Subtraktion_KM
T1 post substraction
T1 sustracción
T1 sottrazione mdc
T1 subtração
T1 odečtení
T1 вычитание
T1_delta
deltaT1c
T1 dynamisch KM
T1 DCE
T1_perf_dynamic
T1_permeability
Synthetic T2
synthetic FLAIR
SyMRI T2
T1 PSIR
sub-12_part-phase_T1w
sub-12_desc-sub_T1w
sub-12_ce-gd_desc-subtraction_T1w
sub-12_ce-gd_acq-mip_T1w
sub-12_acq-stir_T2w
sub-12_inplaneT2
sub-12_inv-2_MP2RAGE
maska_T1c
masker_T1c
maske_T1c
T1c_pred
T1gd_minus_T1
post_minus_pre_T1
T1_post_minus_T1_pre
T1_subtracted_post
T1_Differenzbild
T1c_T1n_difference
T1 Subtraktionsbild
T1_segmentacja
T1_segmentazione
Segmentierung_T1c
T1c_ROIs
T1c_annotated
T1_lesion_seg
laesion_T1c
FLAIR_edema_seg
FLAIR_odem
T1_qmap
T1_relaxometry
T1_quantitative
T1 dynamique
T1 DCE perfusion
T1_jacobians
T1_uncertainty
T1c_heatmap
T1_overlay
T2_GE
T2 MEDIC
T2 hemo
T2*w
T2_STIR
T2 sag cervicale
T2 thoracic spine
T2 sag Wirbelsäule
symri_T1
synthetic_t1c
T1_post_minus_pre
T1 postcontrast minus precontrast
FA_017_map
""".strip().splitlines()
OPEN = """
T1 vor/nach KM
T1 vor und nach Gadovist
T1 vor sowie nach KM
T1 mit bzw. ohne KM
T1 ohne/mit Kontrast
T1 avec ou sans contraste
T1 avant puis après gado
T1 avant/après contraste
T1 sin/con gadolinio
T1 sin y con gadolinio
T1 antes/después de gadolinio
T1 senza/con mdc
T1 prima/dopo mdc
T1 sem/com contraste
T1 antes e depois do contraste
T1 zonder/met contrast
T1 voor/na gadolinium
T1 bez/s kontrastem
T1 przed/po kontraście
T1 před a po kontrastu
T1 utan/med kontrast
T1 før og etter kontrast
T1 до и после контраста
T1 до/после введения контраста
T1 öncesi sonrası kontrast
T1 kontrast öncesi ve sonrası
T1 kontrasztanyag előtt és után
T1 πριν και μετά σκιαγραφικό
T1 with/without Gd
T1 with or without contrast
T1 without/with contrast
T1 w/ and w/o gad
T1 w+w/o contrast
T1 W WO GAD
T1 before/after gad
T1 pre+post contrast
T1 PRE/POST
T1 +/-C
T1 -/+ Gd
T1 ± contrast
T1 Gd +/-
T1 KM+/-
T1 gd nicht sicher
T1 ohne FS KM
T1 native + gad
T1 nativ KM
sub-12_ce-gd_acq-pre_T1w
T1 s gd
T1 z/c
T1c_noncontrast
T1_T2_FLAIR
T1 vor, während und nach KM
T1 ohne und danach mit KM
T1 sans puis avec gadolinium
T1 sin contraste y con contraste
T1 antes e após contraste
T1 prima e dopo gadolinio
T1 voor en na gadolinium
T1 bez i po kontraście
T1 před a po kontrastní látce
T1 før/etter gadolinium
T1 без/с контрастированием
T1 до и после введения гадолиния
T1 kontrastsız ve kontrastlı
T1 造影前後
T1 增强前后
T1 조영 전후
T1 without then with gad
T1 w/wo Gd
T1 w & w/o contrast
T1 non-con and post
T1 pre- and post-contrast
T1 pre/post-gad
T1 (pre & post)
T1 ∓ Gd
T1 Gd -/+
T1 KM ±
T1 s/c gad, c/gad
sub-A1_ce-prepost_T1w
T1_nativ_nach_KM
T1_native_gad
""".strip().splitlines()
# The reading is not certain: nothing may be proposed for T1 after contrast.
DOUBTFUL = """
T1_noFS_gd
T1 ohne FS KM
T1 gd nicht sicher
T1_KM_nicht_erhalten
T1 sin que se administre contraste
T1 s gd
T1_contraste_sin
T1_nCE
""".strip().splitlines()


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        *((name, "t1n") for name in NATIVE),
        *((name, "t1c") for name in CONTRAST),
        *((name, "t2w") for name in T2),
        *((name, "t2f") for name in FLAIR),
        *((name, "aside") for name in ASIDE),
        *((name, None) for name in (*OPEN, *DOUBTFUL)),
    ],
)
def test_a_name_in_any_language_proposes_what_it_says(name, sequence):
    assert propose(name).sequence == sequence, propose(name)


@pytest.mark.parametrize(
    ("without", "agent"),
    [
        ("ohne", "KM"), ("vor", "Kontrastmittel"), ("sans", "gado"), ("avant", "gadolinium"),
        ("senza", "mdc"), ("prima", "contrasto"), ("sin", "contraste"), ("antes", "gadolinio"),
        ("sem", "contraste"), ("zonder", "contrast"), ("bez", "kontrastu"), ("przed", "kontrastem"),
        ("utan", "kontrast"), ("fara", "contrast"), ("без", "контраста"), ("до", "гадолиния"),
        ("χωρίς", "σκιαγραφικό"), ("ilman", "tehostetta"), ("without", "Gd"), ("before", "gad"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("between", ["", "xyz", "der xyz von", "l'xyz de", "x. yz"])
def test_a_negation_reaches_over_words_that_nobody_listed(without, agent, between):
    assert propose(f"T1 {without} {between} {agent}").sequence == "t1n"
    assert contrast(f"MPRAGE {without} {between} {agent} sag") is False


@pytest.mark.parametrize(
    ("without", "given", "agent"),
    [
        ("ohne", "mit", "KM"), ("vor", "nach", "KM"), ("sans", "avec", "gado"),
        ("avant", "après", "gado"), ("sin", "con", "contraste"), ("antes", "después", "contraste"),
        ("senza", "con", "mdc"), ("prima", "dopo", "mdc"), ("sem", "com", "contraste"),
        ("zonder", "met", "contrast"), ("voor", "na", "contrast"), ("bez", "z", "kontrastu"),
        ("przed", "po", "kontrastu"), ("bez", "s", "kontrastem"), ("utan", "med", "kontrast"),
        ("före", "efter", "kontrast"), ("без", "с", "контрастом"), ("до", "после", "контраста"),
        ("without", "with", "gad"), ("before", "after", "gad"), ("pre", "post", "gad"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("joined", ["/", " / ", " & ", " and ", " und ", " y ", " "])
def test_both_told_is_neither(without, given, agent, joined):
    for name in (f"T1 {without}{joined}{given} {agent}", f"T1 {given}{joined}{without} {agent}"):
        assert propose(name).sequence is None and contrast(name) is None, propose(name)
        assert says_both(name)


def test_a_word_before_the_sequence_is_of_a_patient_and_denies_nothing():
    for name in ("Sin T1 KM", "Vor_Lena_T1_KM", "O_Brien_T1_KM", "No_12_T1c", "Bez_T1_gd"):
        assert propose(name).sequence == "t1c"
    assert propose("ohne KM T1").sequence == "t1n"  # unless the agent stands there, too


def test_ids_in_front_of_all_names_are_no_words_for_masks():
    names = [f"Tumor_Anna_{s}.nii" for s in ("T1c", "T1", "T2", "FLAIR", "T1_seg")]
    told = [p.sequence for p in propose_all(names).values()]
    assert told == ["t1c", "t1n", "t2w", "t2f", "aside"]
    assert propose("Tumor_T1c").sequence == "aside"
    one = propose_all(["lesion_T1c.nii", "T1c.nii", "FLAIR.nii"])
    assert [p.sequence for p in one.values()] == ["aside", "t1c", "t2f"]


def test_what_was_made_from_images_is_told_of_descriptions_too():
    for said in ("T1 çıkarma", "T1 odečet", "T1 substracción", "Synthetic T2", "T1 mapping"):
        assert derived(said) is not None
    for said in ("T1 post", "T1 brain tumor protocol", "T1 sub-acute", "T1 mdc", "T1minusGd"):
        assert derived(said) is None


def put(folder: Path, *names: str) -> Path:
    images = list(make_case().sequences.values())
    for number, name in enumerate(names):
        save(images[number % 4], folder / name)
    return folder


@pytest.mark.parametrize(
    ("native", "after"),
    [
        ("T1 antes da administração do contraste", "T1 após gadolínio"),
        ("T1 без введения контраста", "T1 с контрастным усилением"),
        ("T1 kontraszt előtt", "T1 kontraszt után"),
        ("T1 sin gadolinio", "T1 con gadolinio"),
        ("AX T1 PRE CON", "AX T1 POST CON"),
        ("T1 KM(-)", "T1 KM(+)"),
        ("sub-P01_ce-without_T1w", "sub-P01_ce-with_T1w"),
        ("T1_flirt_T1c", "T1c"),
    ],
)
def test_a_pair_is_not_exchanged(tmp_path, native, after):
    names = (f"{native}.nii.gz", f"{after}.nii.gz", "T2.nii.gz", "FLAIR.nii.gz")
    files = choose_files(put(tmp_path, *names)).files
    assert (files["t1n"].name, files["t1c"].name) == names[:2]


def test_bids_reads_a_name_as_every_door_does(tmp_path):
    names = ["ce-native_T1w", "ce-nogad_T1w", "ce-0_T1w", "ce-false_T1w", "ce-sans_T1w"]
    after = ["acq-postGd_T1w", "acq-ce_T1w", "ce-1_T1w"]
    left = ["desc-sub_T1w", "part-phase_T1w", "ce-gd_acq-mip_T1w", "acq-stir_T2w", "ce-gd_T2w"]
    kept = {"t1n": names, "t1c": after, None: left}
    subject = 0
    for sequence, entities in kept.items():
        for entity in entities:
            subject += 1
            anat = tmp_path / f"sub-{subject:02d}" / "anat"
            anat.mkdir(parents=True)
            (anat / f"sub-{subject:02d}_{entity}.nii.gz").write_bytes(b"x")
            (anat / f"sub-{subject:02d}_FLAIR.nii.gz").write_bytes(b"x")
            case = layouts.find(tmp_path, "bids")[-1]
            assert set(case.files) == {"t2f"} | ({sequence} if sequence else set()), entity
            derived_one = sequence is None and entity != "ce-gd_T2w"
            assert bool(case.notes) is derived_one, entity


AFTER_WHAT = {
    None: (
        "T1 post stroke", "post_trauma_T1", "T1 post 6mo", "T1 post sedation", "T1 post shunt ax",
        "T1 av gado", "T1 do kontrasta",
    ),
    "t1c": (
        "T1 post 5min", "T1 POST MPR", "T1_post_defaced", "T1_post_brain", "t1_post_3mm_ax",
        "T1 post dis3d", "T1_post_1", "CT1", "cT1w", "Patient-007_CT1_reg", "T1 +MC", "T1 G+",
        "T1 efter injektion av gadolinium", "T1 depois do contraste", "T1 Gd後", "T1 注药后",
        "t1 po kontr.", "T1 s KU",
    ),
    "t1n": (
        "T1 ss gado", "T1 avt inj", "T1 vr gado", "T1 k. KM", "T1 IVKM'siz", "T1 G-",
        "T1 KM verweigert", "T1 contraste rechazado", "T1 KM 0 ml", "T1 Gd前", "T1 bez k.k.",
        "PDC_014_T1w", "T1_20190304_KM123", "t1_mp2rage_sag_p3_iso_UNI_Images",
    ),
    "aside": (
        "FAT: AX T1 FLEX +C", "t1_vibe_dixon_tra_F", "T2 étoile axial", "AX HEME T2",
        "Übersicht sag T1",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sequence"), [(n, s) for s, listed in AFTER_WHAT.items() for n in listed]
)
def test_post_of_something_else_and_abbreviations_are_read(name, sequence):
    assert propose(name).sequence == sequence, propose(name)
