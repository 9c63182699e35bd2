"""What a net is like: one frozen dataclass a net, and the numbers that its inputs and outputs have.

The same names and values stand in the manifest of a bundle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bmcore.domain import SEQUENCES

# The segmenter
CLASSES = 4  # background, necrosis, oedema, enhancing tumour
MULTIPLE = 16  # windows and patches must be a multiple of this along each axis
# The head that classifies candidates
KNOTS = 101  # quantiles of each feature that a head keeps
# The net that draws candidates anew
CONTOUR_INPUTS = len(SEQUENCES) + 5
CONTOUR_OUTPUTS = 3  # outside the tumour core, necrosis, enhancing tumour
LOG_ODDS_CHANNEL = len(SEQUENCES)  # of the inputs; the share of necrosis is the one behind
LOG_ODDS_SCALE = 3  # what the log odds are divided by there
# The lesion CNN
PATCH_SHAPE = (7, 32, 32, 32)
CELLS_SHAPE = (15, 16, 16, 16)  # a patch on 3 mm: what the kind "tissue" computes on
KINDS = ("whole", "tissue")


@dataclass(frozen=True)
class SegmenterConfig:
    """filters: channels of the first trunk level. blocks_down, blocks_up: residual blocks a level.

    core_chance: a voxel is tumour core (necrosis or enhancing) where that is more likely than this;
    None takes the likeliest label instead.
    min_lesion_voxels: connected parts of the tumour core below this size are dropped.
    min_lesion_chance: so are parts whose likeliest voxel is tumour core with less probability.
    lone_oedema: keep oedema that is connected with no tumour core.
    speck_share: a piece of enhancing tumour with less than this share of its lesion's becomes
    necrosis.
    window: edge in voxels of the windows read one by one, as large as the training patches,
    since group norm looks at the whole window. overlap: share of a window that its neighbour reads
    too. mirror: also read the left-right mirror image and average (twice the time).
    deep_supervision: in training, the coarser levels of the decoder answer too. fine: channels of
    the branch at 1 mm, 0 for none. candidates: hidden units of what takes a second look at each
    place whose probability of tumour core exceeds ``candidate_chance``
    (``bmcore.models.second_look``), 0 for none. least_t1c: how bright in t1c such a place has to be
    somewhere, in spreads above the median of the brain, None for no limit. contours: channels of
    what draws the small ones anew, 0 leaves their outlines.
    """

    filters: int = 32
    blocks_down: tuple[int, ...] = (1, 2, 2, 3)
    blocks_up: tuple[int, ...] = (1, 1, 1)
    dropout: float = 0.0
    core_chance: float | None = None
    min_lesion_voxels: int = 3
    min_lesion_chance: float = 0.0
    lone_oedema: bool = False
    speck_share: float = 0.0
    window: int = 80
    overlap: float = 0.25
    mirror: bool = False
    deep_supervision: bool = False
    fine: int = 0
    candidates: int = 0
    candidate_chance: float = 0.02
    least_t1c: float | None = None
    contours: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks_down", tuple(self.blocks_down))
        object.__setattr__(self, "blocks_up", tuple(self.blocks_up))
        if self.filters % 8:
            raise ValueError(f"filters must be a multiple of 8, but is {self.filters}")
        if self.fine % 8:
            raise ValueError(f"fine must be a multiple of 8, but is {self.fine}")
        for name in ("candidates", "contours"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, but is {getattr(self, name)}")
        if self.contours and not self.candidates:
            raise ValueError("contours belong to a second look: give candidates too")
        if self.window % MULTIPLE or self.window <= 0:
            raise ValueError(f"window must be a multiple of {MULTIPLE}, but is {self.window}")
        if self.core_chance is not None and not 0 < self.core_chance < 1:
            raise ValueError(f"core_chance must lie between 0 and 1, but is {self.core_chance}")
        if not 0 < self.candidate_chance < 1:
            raise ValueError(
                f"candidate_chance must lie between 0 and 1, but is {self.candidate_chance}"
            )
        if not 0 <= self.speck_share < 1:
            raise ValueError(f"speck_share must be at least 0 and below 1: {self.speck_share}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, but is {self.overlap}")
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError("blocks_up must have one entry less than blocks_down")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CNNConfig:
    """The net. What is not given is as in bundles of the first version.

    width: channels of the trunk on the 8 x 8 x 8 grid; blocks: residual blocks there; maps:
    channels of the last convolution; embedding: numbers a lesion; dropout: before the last layer.
    kind: "whole" computes on the patch and pools over all of it; "tissue" computes on the
    brightness of the lesion's tissues in 3 mm cells and pools inside the lesion.
    """

    width: int = 48
    blocks: int = 4
    maps: int = 32
    embedding: int = 24
    dropout: float = 0.3
    kind: str = "whole"

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, self.maps, self.embedding) < 1 or self.width % 8:
            raise ValueError(f"sizes must be 1 or more and width a multiple of 8: {self}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), but is {self.dropout}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, but is {self.kind!r}")


TRAINED = CNNConfig(width=16, blocks=1, maps=12, embedding=8, dropout=0.2, kind="tissue")


@dataclass(frozen=True)
class AutoencoderConfig:
    """The net.

    features: numbers a patient; hidden: width of the layer between; code: numbers in the code.
    dropout: in the hidden layers, while training only.
    """

    features: int
    hidden: int = 32
    code: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.features, self.hidden, self.code) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"an autoencoder needs sizes of 1 or more and dropout in [0, 1): {self}"
            )
