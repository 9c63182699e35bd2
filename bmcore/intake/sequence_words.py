"""The words that hospitals use for sequences, in names of files and descriptions of series.

Written without accents and in lower case, as ``sequence_name`` reads them.
"""

from __future__ import annotations

import re

from bmcore.intake.contrast_words import Words


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


T1 = _set(
    "t1 t1w t1wi t1weighted mprage mp2rage rage bravo spgr fspgr vibe tfl3d t1tfe lava thrive"
)
T2 = _set("t2 t2w t2wi t2weighted")
FLAIR = _set("flair flairw fla darkfluid tirm t2f t2wf t2flair flairt2")
# A sequence and its contrast in one word, as public data sets write them.
T1_CONTRAST = _set("t1c t1ce t1gd t1gad t1km t1p t1cm t1wc t1wce t1wgd t1mdc t1kl ct1 ct1w")
T1_NATIVE = _set("t1n t1nc t1wn")
NAMED = T1 | T2 | FLAIR | T1_CONTRAST | T1_NATIVE

# Images and files that are none of the four sequences, and what they are.
MASK = "a mask or a drawn region"
DIFFERENCE = "a difference of two images"
MAP = "a map, not an image"
COMPUTED = "computed from other images"
SERIES = "perfusion, or a series over time"
GRADIENT = "susceptibility or T2*"
ASIDE = {
    MASK: (
        "seg segm segment* mask masks maske masken masker maska maski maschera masque mascara "
        "label labels labelmap roi rois voi vois contour contours contorno* kontur* rtstruct rtss "
        "gtv ctv ptv annotation annotations annotated pred preds prediction predictions predicted "
        "truth gt groundtruth dseg probseg manual aseg aparc "
        "lesion lesions laesion* lasion* lesione lesioni lesao lesoes tumor tumors tumour* tumeur* "
        "tumore tumori edema oedem* odem odeme necrosis nekros* necrose gm wm csf"
    ),
    DIFFERENCE: (
        "sub subs subtr subtra* subtrakt* substra* soustra* sustra* sottra* diff difference "
        "differenz* differenc* delta ratio minus odejm* odcit* odect* odecet* cikarm* cikart* "
        "субтрак* вычит* afaf* kivon* scadere"
    ),
    "diffusion": (
        "dwi adc eadc dadc trace tracew dti dki fa colfa b0 b1000 b800 b500 diffus* difus* difuz* "
        "dyfuz* диффуз* ep2d resolve dwib dwibs"
    ),
    SERIES: (
        "perf perfus* perfuz* перфуз* dsc dce asl pcasl cbf cbv rcbv rcbf nrcbv relcbv relcbf mtt "
        "ttp tmax ktrans kep vp pwi tics dyn dynam* dinam* динамич* twist permeab*"
    ),
    GRADIENT: "swi swan swip swiphase t2star t2s star qsm medic hemo heme hemosiderin t2ffe "
    "etoile susceptib*",
    "a projection or a phase image": "mip mips minip minips pha",
    "proton density": "pd pdw rho dp",
    "a planning image": (
        "localizer localiser localisateur localizador localizzatore lokalizer lokalisator "
        "zlokalizer scout aahscout survey topogram loc planung ubersicht* uebersicht* 3plane "
        "threeplane smartbrain aahead"
    ),
    "functional or field images": (
        "bold fmri fieldmap fmap tractogra* traktogra* epi b1map calib calibration sbref "
        "inplanet2 inplanet1"
    ),
    "vessels": "mra tof mrv angio angiogra* pca3d venogra* venobold",
    "spectroscopy": "mrs spectro spectroscopy svs csi cest mtr",
    "an inversion recovery of another kind": "psir dir",
    "a steady-state image": "ciss fiesta bffe trufi",
    "of the spine": (
        "spine cspine tspine lspine hws bws lws wirbelsaule* cervical* lumbar* lumbal* thoracic* "
        "thorakal* rachis rachid* columna colonna coluna kregoslup* omurga*"
    ),
    "another machine's image": "ct pet spect cbct fdg fet",
    MAP: (
        "map maps mapa mapas mappa karte carte mapping r2star t1rho qt1 "
        "qt2 molli relaxom* quant quantit* jacobian* warp warpfield deffield displacement xfm "
        "transform biasfield prob probability pve saliency gradcam uncertainty "
        "entropy inv1 inv2 overlay residual residuals fusion fused fusi*"
    ),
    COMPUTED: "synthetic synthet* sintetic* symri magic synthsr",
    "a picture of a screen": "screenshot screensave capture presentation report",
}
ASIDE_KIND = {w: kind for kind, listed in ASIDE.items() for w in Words(listed).whole}
_ASIDE_STEMS = {w[:-1]: kind for kind, listed in ASIDE.items() for w in listed.split()
                if w.endswith("*")}  # fmt: skip
# Made from images, by whatever they were measured with.
DERIVED = frozenset((DIFFERENCE, MAP, COMPUTED))
# T2* or STIR beside T2; beside T1 they are ways of measuring it.
GRADIENT_ECHO = _set("gre ffe fl2d fl3d merge gradient gradiente gradienten gradientenecho")


def aside_kind(word: str) -> str | None:
    """Which of the images that are none of the four sequences a word names."""
    whole = ASIDE_KIND.get(word)
    if whole is None and word.endswith(("map", "maps", "mask", "masks")):
        whole = MASK if "mask" in word[-5:] else MAP  # t1map, lesionmask
    stems = (kind for stem, kind in _ASIDE_STEMS.items() if word.startswith(stem))
    return whole or next(stems, None)


# Letters that say both what and that it is after, or before, contrast; no spaces are written there.
IDEOGRAMS = {
    "単純": " native ", "平扫": " native ", "平掃": " native ", "压水": " flair ",
    "壓水": " flair ", "水抑制": " flair ", "黑水": " flair ", "强调": " ", "強調": " ",
    "加权": " ",
}  # fmt: skip
# The agent in Chinese, Japanese and Korean, with a word before or after it.
_LETTERS = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\s]{0,5}?"
IDEOGRAM_AGENT = re.compile(
    r"(?P<no>[非未無无不没]|비-?)?(?:造影[剤剂劑]?|[对對]比[剂劑]|增[强強]|[强強]化|注射|注[药藥]|[显顯]影[剂劑]|(?:gd|GD|Gd|CE)(?=\s?[前后後])|조영(?:증강|제)?)"
    rf"(?:{_LETTERS}(?:(?P<both>前[后後]|전후)|(?P<none>前(?![頭额額])|なし|無し|[无無]|전(?!두)|없)"
    "|(?P<later>[后後]|あり|有り|후|있음)))?"
)

# Parts that stand in one word with a sequence: "axt1", "t1mpragepost".
TAILS = _set(
    "w wi 2d 3d ax axial sag sagittal cor coronal tra trans transversal tse fse se ffe gre space "
    "cube vista blade propeller mvxd fl3d fl2d flash tfe ir fs fatsat iso mr mri brain head bet "
    "hr hires n4 reg haste drive vi"
)
