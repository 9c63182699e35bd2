"""How hospitals say, in their languages, whether contrast agent was given.

Written without accents and in lower case, as ``sequence_name`` reads them. A word that ends in *
stands for all that begin so.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple


def plain(text: str) -> str:
    """Without accents, and as ``sequence_name`` takes letters of other scripts apart."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c))


class Words:
    """Words of a table, asked with ``in``."""

    def __init__(self, text: str) -> None:
        self.whole = frozenset(w for w in text.split() if not w.endswith("*"))
        self._stems = tuple(w[:-1] for w in text.split() if w.endswith("*"))

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and (word in self.whole or word.startswith(self._stems))


class Language(NamedTuple):
    """without, before: no agent, in front of its name. given, after: agent, in front of its name.
    agent: its names, and what is done with it. none, later: no agent and agent, behind its name."""

    without: str
    before: str = ""
    given: str = ""
    after: str = ""
    agent: str = ""
    none: str = ""
    later: str = ""


LANGUAGES = {
    "any": Language(
        "minus zero neg", "pre", "plus", "post",
        "gd gad gado* gdiv kmiv kliv delayed gadavist gadolini* gddtpa ce cm civ cte kl km "
        "ivkm mdc cmdc pdc sdc "
        "inj* contras* kontras* kontr dotarem magnevist multihance prohance clariscan omniscan "
        "primovist "
        "vueway elucirem pixxoscan dotagraf* eovist artirem ablavar vasovist optimark magnegita "
        "magnograf magnetolux cyclolux dotavist feraheme ferumox* resovist feridex endorem",
        "neg negativ*",
    ),
    "English": Language(
        "no non not without witho* whitout wihtout wo wout none false off absent never",
        "before prior", "with w", "after following", "enhanc* enh infus*",
        "none false off absent nil free withheld refus* declined contraindic*",
    ),
    "German": Language(
        "ohne o k kein keine keinen keinem keiner keines nicht", "vor bevor v prae pra",
        "mit m unter", "nach n", "verstark*",
        "nein frei keines keiner abgelehnt verweiger* entfall* entfiel* kontraindi*", "ja",
    ),
    "French": Language(
        "sans ss pas aucun aucune", "avant avt", "avec", "apres", "rehauss*", "contre contreindiq*",
    ),
    "Spanish": Language(
        "sin ningun*", "antes previo previa", "con c", "despues tras pos", "realce realzad* inyec*",
        "rechaz*",
    ),
    "Catalan": Language("", "abans", "amb", "despres"),
    "Portuguese": Language("sem nao nenhum*", "", "com", "depois apos", "", "recus*"),
    "Italian": Language("senza nessun*", "prima", "", "dopo", "iniez* iniettat*", "rifiut*"),
    "Romanian": Language("fara", "inainte", "cu", "dupa"),
    "Dutch": Language("zonder niet geen", "voor voordat vr", "met", "na", "", "geweiger*"),
    "Danish, Norwegian, Swedish": Language(
        "uden uten utan u ikke inte ingen", "fore for innan", "med", "efter etter",
    ),
    "Icelandic": Language("", "fyrir", "", "eftir", "skuggaefni*"),
    "Finnish": Language("ilman ei", "ennen", "", "", "tehost* varjoain*", "", "jalkeen"),
    "Estonian": Language("ilma", "enne", "", "parast"),
    "Latvian and Lithuanian": Language("be", "pries pirms", "su ar", "pec"),
    "Polish": Language("bez nie", "przed", "z ze", "po", "wzmocnien*", "odmow*"),
    "Czech and Slovak": Language("zadn* nepodan*", "pred", "s", "", "", "nepodan* odmit*"),
    "South Slavic": Language("brez", "prije", "sa", "nakon poslije posle"),
    "Hungarian": Language("", "", "", "", "", "nelkul elott", "utana"),
    "Turkish": Language(
        "", "", "", "", "opakli* ilacli*", "oncesi* once yok hayir verilmeden", "sonrasi* sonra",
    ),
    "Greek": Language("χωρις", "πριν προ", "με", "μετα", "σκιαγραφ* skiagraf* γαδολιν* σκ"),
    "Russian, Ukrainian, Bulgarian": Language(
        "без не нет", "до преди перед", "с со з", "после след пост пiсля після",
        "контрас* гадо* усилени* підсилен* ку кв", "нет",
    ),
    "agents in other scripts": Language(
        "", "", "", "", plain(
            "магневист* дотарем* омнискан* мультиханс* примовист* прохэнс* кларискан* "
            "ガドリ* ガドビ* ガドブ* ガドテ* ガドキ* マグネビスト* マグネスコープ* プロハンス* "
            "オムニスキャン* リゾビスト* フェリデックス* 钆* 釓* 马根维显* 馬根維顯* 多它灵* "
            "莫迪司* 欧乃影* 가도* 도타렘* 마그네비스트* 프로한스* 옴니스캔* 클라리스캔* "
            "غادولين* جادولين* غادوفيست* γαδο* гадо*"
        ),
    ),
    "Arabic and Persian": Language(
        "بدون", "قبل", "مع با", "بعد",
        "حقن الحقن صبغة الصبغة تزريق تزریق",
    ),
    "Hebrew": Language("ללא בלי", "לפני", "עם", "אחרי", "ניגוד גדוליניום"),
    "Vietnamese": Language("khong", "truoc", "", "sau", "tiem"),
    "Albanian": Language("pa", "para", "me"),
    "Afrikaans": Language("sonder"),
    "Irish and Welsh": Language("gan heb"),
    "Filipino and Swahili": Language("walang wala bila"),
    "Indonesian and Malay": Language("tanpa", "sebelum", "dengan", "setelah sesudah selepas"),
}  # fmt: skip


def _all(*columns: str) -> Words:
    return Words(" ".join(getattr(row, name) for row in LANGUAGES.values() for name in columns))


BEFORE = _all("before")
AFTER = Words(" ".join((*_all("after").whole, "post")))
# These images, behind a word for before or after that follows the agent.
SERIES = Words(
    "serie series seria serien serii sequenz* sequence* sequenza* secuencia* sequencia* sekvens* "
    "sekwenc* scan scans messung* aufnahme* acquisition* acquisizion* adquisici* aquisica* "
    "сери* последоват*"
)
NO = _all("without", "before")
YES = _all("given", "after")
AGENT = _all("agent")
NONE = _all("none")
LATER = _all("later")
# Those that are words of other languages, too, and count only right in front of the agent, as do
# all of one or two letters but these.
NEAR = frozenset(("for", "zero", "off", "once", "free", "para", "gan"))
FAR = frozenset(("no", "wo", "до", "не"))
# With or after in front of agents that begin so; in front of others they may mean without (SENSE is
# a technique, and Catalan).
# "av" is both avec and avant, "do" Slavic for before and Portuguese for of the.
UNCLEAR = {
    "s": ("k",), "z": ("k", "gadolin"), "n": ("k",), "sense": ("g", "k", "ce"), "av": ("-",),
    "do": ("c", "g"),
}  # fmt: skip
OF = frozenset(("av", "do"))  # also "of", behind another word of these
# Agents only where a word before them says with, without or after.
WEAK = Words(
    "iv ev c k mc pc cont ka kk ks ku ky gabe applik* appliz* admin* somministra* podan* "
    "podaj* aplika* toediening "
    "bolus введ* substan* madde con medio mezzo meio produit"
)
# Agent without its name, even where nothing follows; and no agent, wherever they stand.
POST = Words("post pos пост")
PRE = Words("pre prae pra")
NATIVE = Words(
    "native nativ* natif natiiv* natyv* natywn* nc nect plain blanco bianco basale "
    "basal simple simples smdc нативн*"
)
# Said at the end of a name with the agent left out, as in T1_sans and T1_avec.
ALONE = Words(
    "without wo wout neg sans ohne sin sem senza zonder bez brez utan uten uden ilman fara без "
    "with plus avec con com mit met med с"
)
# No agent, at the end, behind its name: T1_KM_ohne, T1_contrast_no. Not "sin", which is a name too.
LAST = Words(
    "0 no non not nicht niet ikke inte pas nao wo wout without sans ohne sem senza zonder bez brez "
    "uten uden ilman fara без"
)
# Behind "not", behind the name of the agent: contrast not given.
GIVEN = Words(
    "given admin* used applied gegeben appliz* verabreicht fait* faite* done inj* eseguit* "
    "somministrat* realizad* usado aplicad* podan* toegediend gitt givet ml mmol cc"
)
AND = Words(
    "and und et y e en i a и та og och ja or ou oder bzw sowie resp puis then ve sau si es"
).whole
# What comes before or after them is no contrast agent.
NOT_OF_CONTRAST = Words(
    "op operat* operac* operaz* oper surg* chirur* resec* resek* rt radio* radiation bestrahl* "
    "srs treat* tx therap* terap* trait* behandl* chemo* chimio* biops* icu ictal embo* "
    "interv* zabieg* ingrep* интервен* операц*"
)
# Behind "post" what leaves it that of contrast agent: how long after, how it was made and kept.
AS_IT_IS = Words(
    "min mins minute* minut* sec sek s ml mmol dose double single late early spat fruh final copy "
    "kopie copia new old orig* raw anon* deid* deface* n4 n3 biascorr* bfc ss skull* strip* brain "
    "stripped head kopf hirn cerveau cerebro cranio bias correct* rigid reg* coreg* resampl* "
    "align* warp* norm* mask* crop* iso isotrop* thin thick quick fast delay* ax axiale axiaal "
    "koronar coronale sagitt* transv* nav stealth brainlab stereo* planning plan mpr rfmt reform* "
    "dis2d dis3d ndis nd"
)
# What "no" and "without" may deny in place of contrast agent: fat, motion, a step of processing.
OTHER = Words(
    "fs fat* fett* spair spir dixon suppression supp sat presat satur* artefa* artifact* motion "
    "gap skull* strip* corr* norm* rigid reg* resampl* crop* mask* sense grappa"
)
BOTH = frozenset({"plusminus", "wwo", "prepost", "preandpost"})

# Prefixes and endings in one word with an agent: unenhanced, nekontrastni, kontrastsiz, KM-frei.
PREFIXES = {
    **{p: p for p in sorted((NO.whole | YES.whole) - NEAR - {"s", "z", "u", "c", "с"})},
    "un": "no", "ne": "no", "nie": "no", "бес": "без", "pos": "post",
}  # fmt: skip
ENDINGS = "(?:siz|suz|sizdir|los|frei|free|less|loos|fri|mentes|сыз|сиз)(?:e|er|en|es|em|t)?"
