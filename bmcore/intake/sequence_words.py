"""The words that hospitals use for sequences, in names of files and descriptions of series.

Written without accents and in lower case, as ``sequence_name`` reads them.
"""

from __future__ import annotations

T1 = frozenset(
    "t1 t1w t1wi t1weighted mprage mp2rage rage bravo spgr fspgr vibe tfl3d t1tfe lava thrive".split()
)
T2 = frozenset("t2 t2w t2wi t2weighted".split())
FLAIR = frozenset("flair fla darkfluid tirm t2f t2wf t2flair flairt2".split())
# A sequence and its contrast in one word, as public data sets write them.
T1_CONTRAST = frozenset("t1c t1ce t1gd t1gad t1km t1p t1cm t1wc t1wce t1wgd t1mdc t1kl".split())
T1_NATIVE = frozenset("t1n t1nc t1wn".split())

# What a contrast agent is called.
AGENT = frozenset(
    "gd gad gado gadolinium gadovist dotarem magnevist multihance prohance clariscan omniscan "
    "gadobutrol gadoterat gadoterate gadoterico vueway elucirem contrast contraste contrasto "
    "contrastes contrastado contrastata contrasted kontrast kontrastu kontrastem kontrastom "
    "kontrasta kontrastmiddel kontrastmedel kontrastmittel kontrastmitteln kontraszt kontrastli "
    "kontrastna kontrastni contraststof contrastmiddel ce km cm mdc pdc kl civ enhanced enh enhance "
    "enhancement inj injection injecte injectee iniezione inyeccion injecao infused infusion "
    "tehoste tehosteella tehosteaine kontrastnim skiagrafiko "
    "контраст контраста контрастом контрастированием контрастирование контрастирования ку "
    "гадолиний гадолинием гадолиния σκιαγραφικο".split()
)
# Agents only where a word before them says with, without or after.
WEAK_AGENT = frozenset("iv c k".split())
# After the agent, whatever it is; "post" and its like may stand alone.
AFTER = frozenset(
    "post pos postcontrast postcontraste postgd postgad postgado postkm postce postmdc postinj "
    "poscontraste postkontrast".split()
)
AFTER_AGENT = frozenset(
    "after nach apres dopo despues depois na po dupa efter etter nakon poslije jalkeen после "
    "with w avec con com mit m met med z ze cu s со с με plus".split()
)
# No agent: before the agent's name, with small words between.
WITHOUT = frozenset(
    "no non not without wo sans ohne o sin sem senza zonder bez uden uten utan ilman fara ilma "
    "none minus zero before prior vor avant antes prima voor przed foer for fore ante inainte "
    "prije pred ennen без до χωρις pre u".split()
)
# No agent, after the agent's name: a BIDS value, or the grammar of the language.
NONE_AFTER = frozenset("none no neg negative nelkul oncesi nein non off absent 0".split())
# Said at the end of a name with the agent left out, as in T1_sans and T1_avec.
ALONE = frozenset(
    "without wo sans ohne sin sem senza zonder bez utan uten uden ilman fara без with avec con com "
    "mit met med с".split()
)
NATIVE = frozenset(
    "native nativ natif nativo nativa natiivi nativni nativna nativt nativna pre precontrast "
    "precontraste pregd pregad pregado prekm prece premdc prekontrast nc noncontrast noncon "
    "noncontrasted nongd nogd nogad nogado nocontrast noce nonenhanced unenhanced nonce plain "
    "blanco basale basal simple okm wocontrast uninfused noninfused unkontrastiert kontrastsiz "
    "onkontrastmittel нативная нативный нативные нативно".split()
)
BETWEEN = frozenset(
    "iv i v de del du di da the of any agent mezzo medio meio produit intravenous intraveneux "
    "injection media medium dye kontrastmittel".split()
)
NOT_OF_CONTRAST = frozenset(
    "op operative operativ operatoire operatorio operatorisch surgery surgical rt radio "
    "radiotherapy radiation srs treatment treated tx therapy therapie chemo chemotherapy biopsy "
    "resection icu ictal".split()
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
TAILS = frozenset(
    "w wi 2d 3d ax axial sag sagittal cor coronal tra trans transversal tse fse se ffe gre space "
    "cube vista blade propeller mvxd fl3d fl2d flash tfe ir fs fatsat iso mr mri brain head bet "
    "hr hires n4 reg".split()
)
