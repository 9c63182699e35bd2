"""The words that hospitals use for sequences, in names of files and descriptions of series.

Written without accents and in lower case, as ``sequence_name`` reads them.
"""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


T1 = _set(
    "t1 t1w t1wi t1weighted mprage mp2rage rage bravo spgr fspgr vibe tfl3d t1tfe lava thrive"
)
T2 = _set("t2 t2w t2wi t2weighted")
FLAIR = _set("flair fla darkfluid tirm t2f t2wf t2flair flairt2")
# A sequence and its contrast in one word, as public data sets write them.
T1_CONTRAST = _set("t1c t1ce t1gd t1gad t1km t1p t1cm t1wc t1wce t1wgd t1mdc t1kl")
T1_NATIVE = _set("t1n t1nc t1wn")

# What a contrast agent is called.
AGENT = _set(
    "gd gad gado gadolinium gadovist dotarem magnevist multihance prohance clariscan omniscan "
    "gadobutrol gadoterat gadoterate gadoterico vueway elucirem contrast contraste contrasto "
    "contrastes contrastado contrastata contrasted kontrast kontrastu kontrastem kontrastom "
    "kontrasta kontrastmiddel kontrastmedel kontrastmittel kontrastmitteln kontraszt kontrastli "
    "kontrastna kontrastni contraststof contrastmiddel ce km cm mdc pdc kl civ enhanced enh "
    "enhance enhancement inj injection injecte injectee iniezione inyeccion injecao infused "
    "infusion "
    "tehoste tehosteella tehosteaine kontrastnim skiagrafiko "
    "контраст контраста контрастом контрастированием контрастирование контрастирования ку "
    "гадолиний гадолинием гадолиния σκιαγραφικο"
)
# Agents only where a word before them says with, without or after.
WEAK_AGENT = _set("iv c k")
# After the agent, whatever it is; "post" and its like may stand alone.
AFTER = _set(
    "post pos postcontrast postcontraste postgd postgad postgado postkm postce postmdc postinj "
    "poscontraste postkontrast"
)
AFTER_AGENT = _set(
    "after nach apres dopo despues depois na po dupa efter etter nakon poslije jalkeen после "
    "with w avec con com mit m met med z ze cu s со с με plus"
)
# No agent: before the agent's name, with small words between.
WITHOUT = _set(
    "no non not without wo sans ohne o sin sem senza zonder bez uden uten utan ilman fara ilma "
    "none minus zero before prior vor avant antes prima voor przed foer for fore ante inainte "
    "prije pred ennen без до χωρις pre u"
)
# No agent, after the agent's name: a BIDS value, or the grammar of the language.
NONE_AFTER = _set("none no neg negative nelkul oncesi nein non off absent 0")
# Said at the end of a name with the agent left out, as in T1_sans and T1_avec.
ALONE = _set(
    "without wo sans ohne sin sem senza zonder bez utan uten uden ilman fara без with avec con com "
    "mit met med с"
)
NATIVE = _set(
    "native nativ natif nativo nativa natiivi nativni nativna nativt nativna pre precontrast "
    "precontraste pregd pregad pregado prekm prece premdc prekontrast nc noncontrast noncon "
    "noncontrasted nongd nogd nogad nogado nocontrast noce nonenhanced unenhanced nonce plain "
    "blanco basale basal simple okm wocontrast uninfused noninfused unkontrastiert kontrastsiz "
    "onkontrastmittel нативная нативный нативные нативно"
)
BETWEEN = _set(
    "iv i v de del du di da the of any agent mezzo medio meio produit intravenous intraveneux "
    "injection media medium dye kontrastmittel"
)
NOT_OF_CONTRAST = _set(
    "op operative operativ operatoire operatorio operatorisch surgery surgical rt radio "
    "radiotherapy radiation srs treatment treated tx therapy therapie chemo chemotherapy biopsy "
    "resection icu ictal"
)

# Images and files that are none of the four sequences, and what they are.
MASK = "a mask or a drawn region"
ASIDE = {
    MASK: (
        "seg segmentation segmentierung segmentacion segmentacao segmentazione segm mask masks "
        "maske maschera masque mascara label labels labelmap roi rois voi vois contour contours "
        "rtstruct gtv ctv ptv annotation annotations pred preds prediction predictions truth gt "
        "groundtruth brainmask tumormask lesionmask dseg probseg"
    ),
    "a difference of two images": (
        "sub subs subtr subtraction subtractions subtracted subtrakt subtraktion soustraction "
        "sustraccion substraccion sottrazione subtracao diff difference differenz ratio minus"
    ),
    "diffusion": (
        "dwi adc eadc dadc trace tracew dti dki fa colfa b0 b1000 b800 b500 diffusion difusion "
        "diffusione difusao ep2d resolve dwib"
    ),
    "perfusion": (
        "perf perfusion dsc dce asl pcasl cbf cbv rcbv rcbf nrcbv mtt ttp tmax ktrans kep ve vp "
        "pwi tics"
    ),
    "susceptibility or T2*": "swi swan swip swiphase t2star t2s star qsm medic hemo t2ffe",
    "a projection or a phase image": "mip mips minip pha",
    "proton density": "pd pdw rho dp",
    "a planning image": (
        "localizer localiser localisateur localizador localizzatore lokalizer scout survey "
        "topogram loc planung 3plane threeplane smartbrain aahead"
    ),
    "functional or field images": "bold fmri fieldmap fmap epi b1map calib calibration sbref",
    "vessels": "mra tof mrv angio angiography angiographie pca3d venography",
    "spectroscopy": "mrs spectro spectroscopy svs csi cest mtr",
    "another machine's image": "ct pet spect cbct",
    "a map, not an image": (
        "map maps mapa mapas mappa karte carte t1map t2map r1map r2map r2star t1rho "
        "jacobian warp xfm transform biasfield prob probability probmap pve heatmap saliency "
        "uncertainty entropy inv1 inv2 overlay"
    ),
    "a picture of a screen": "screenshot screensave capture presentation report",
}
ASIDE_KIND = {word: kind for kind, words in ASIDE.items() for word in words.split()}

# Letters that say both what and that it is after, or before, contrast; no spaces are written there.
IDEOGRAMS = {
    "非造影": " noncontrast ", "造影前": " precontrast ", "造影後": " postcontrast ",
    "造影后": " postcontrast ", "造影": " contrast ", "単純": " native ", "增强前": " precontrast ",
    "增强后": " postcontrast ", "增强": " contrast ", "增強": " contrast ", "平扫": " native ",
    "平掃": " native ", "비조영": " noncontrast ", "조영전": " precontrast ",
    "조영 전": " precontrast ", "조영후": " postcontrast ", "조영증강": " contrast ",
    "조영": " contrast ", "压水": " flair ", "水抑制": " flair ",
}  # fmt: skip

# Parts that stand in one word with a sequence: "axt1", "t1mpragepost".
TAILS = _set(
    "w wi 2d 3d ax axial sag sagittal cor coronal tra trans transversal tse fse se ffe gre space "
    "cube vista blade propeller mvxd fl3d fl2d flash tfe ir fs fatsat iso mr mri brain head bet "
    "hr hires n4 reg"
)
