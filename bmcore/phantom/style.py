"""How a synthetic cohort is drawn: the style, and the priors by primary with their source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bmcore.domain import Primary


@dataclass(frozen=True)
class Style:
    """One setting a sentence; two ready-made styles stand below.

    wildness: 0 draws contrasts near those of clinical scans, 1 far beyond them.
    no_lesion_share: share of cases without any metastasis.
    distractor_share: share of cases with lesions that are no metastases (plaques, infarcts).
    thick_slice_share: chance, for each sequence, to be acquired in thick slices along one axis.
    artefact_share: chance, for each sequence, of ghosting, of strong noise or of strong bias.
    rare_contrast_share: chance, for each sequence but t1c, that tissue contrasts are arbitrary.
    even_size_share: chance that number and diameters of the lesions do not follow the primary, but
    spread evenly over 1-30 and 2-60 mm.
    residue_share: chance that pieces of scalp, skull or eye are left outside the brain.
    shift_share: chance, for each sequence, to lie one voxel off.
    mimic_share: share of cases with lesions that enhance and are no metastases
    (``phantom.mimics``).
    """

    wildness: float = 0.3
    no_lesion_share: float = 0.0
    distractor_share: float = 0.3
    thick_slice_share: float = 0.1
    artefact_share: float = 0.05
    rare_contrast_share: float = 0.0
    even_size_share: float = 0.0
    residue_share: float = 0.1
    shift_share: float = 0.1
    mimic_share: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, but is {value}")


CLINIC = Style()
WILD = Style(
    wildness=0.8,
    no_lesion_share=0.08,
    distractor_share=0.5,
    thick_slice_share=0.25,
    artefact_share=0.2,
    rare_contrast_share=0.15,
    even_size_share=0.6,
    residue_share=0.35,
    shift_share=0.3,
)


@dataclass(frozen=True)
class Prior:
    """Distributions of one primary. Quantiles are those at 25, 50, 75 and 95 %.

    share: of the cohort.  female, age_mean, age_sd (years).  counts, diameters_mm: quantiles of
    the number of lesions and of the largest diameter.  never_smoker, extracranial: chances.
    t1_bright, haemorrhage, t2_dark: chance for a lesion.  enhancement: mean strength, 0 faint to
    1 strong.  places: weights of the lobes.
    """

    share: float
    female: float
    age_mean: float
    age_sd: float
    counts: tuple[float, float, float, float]
    diameters_mm: tuple[float, float, float, float]
    never_smoker: float
    extracranial: float
    t1_bright: float
    haemorrhage: float
    t2_dark: float
    enhancement: float
    places: Mapping[str, float]


_EVEN = {
    "frontal": 0.30,
    "parietal": 0.20,
    "temporal": 0.13,
    "occipital": 0.13,
    "cerebellum": 0.16,
    "brainstem": 0.02,
    "deep": 0.06,
}


def _places(**factors: float) -> Mapping[str, float]:
    weights = {k: v * factors.get(k, 1.0) for k, v in _EVEN.items()}
    total = sum(weights.values())
    return MappingProxyType({k: v / total for k, v in weights.items()})


_LUNG_PLACES = _places(temporal=1.5, parietal=1.35)

# Shares: class counts of Pretreat-MetsToBrain-Masks (spreadsheet of 2024-04-10; doi
# 10.7937/6be1-r748). Sex, age, counts, diameters: first examinations of the UCSF-BMSR collection.
# Never-smokers of lung cancer 14.9 % (NSCLC) and 2.5 % (SCLC), T1-bright lesions: melanoma 55 %,
# lung 12 %. Known in words and assumed in numbers: adenocarcinoma of the gut is often dark on T2,
# renal cell cancer is rich in vessels (strong enhancement) and bleeds, as melanoma does. Not from a
# source (assumed): never-smokers elsewhere, extracranial, places.
PRIORS: Mapping[Primary, Prior] = MappingProxyType(
    {
        Primary.BREAST: Prior(
            0.130, 1.00, 55, 11, (3, 5, 12, 53), (8, 15, 21, 33),
            0.60, 0.80, 0.12, 0.10, 0.10, 0.50,
            _places(cerebellum=1.8),
        ),
        Primary.GI: Prior(
            0.070, 0.44, 61, 8, (2, 4, 8, 15), (16, 18, 25, 29),
            0.50, 0.80, 0.15, 0.15, 0.50, 0.40,
            _places(cerebellum=1.9),
        ),
        Primary.SCLC: Prior(
            0.085, 0.52, 66, 9, (2, 4, 8, 29), (8, 12, 19, 28),
            0.025, 0.60, 0.10, 0.05, 0.05, 0.45,
            _LUNG_PLACES,
        ),
        Primary.MELANOMA: Prior(
            0.205, 0.39, 60, 12, (1, 4, 6, 16), (10, 16, 21, 32),
            0.55, 0.75, 0.55, 0.35, 0.15, 0.50,
            _places(frontal=1.6),
        ),
        Primary.NSCLC: Prior(
            0.430, 0.52, 65, 11, (2, 4, 8, 29), (8, 12, 19, 28),
            0.149, 0.55, 0.12, 0.10, 0.12, 0.50,
            _LUNG_PLACES,
        ),
        Primary.RCC: Prior(
            0.080, 0.25, 64, 7, (2, 4, 6, 10), (13, 17, 19, 30),
            0.50, 0.80, 0.15, 0.35, 0.10, 0.85,
            _places(),
        ),
    }
)  # fmt: skip
