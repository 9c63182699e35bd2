"""The segmentation net: MONAI's residual SegResNet between a space-to-depth stem and its inverse.

Every 2x2x2 block of 1 mm voxels becomes one position with eight times the channels, so that the
trunk works at 2 mm with a wide view and the head still answers for each 1 mm voxel. On a CPU this
costs about an eighth of the same trunk at 1 mm and loses nothing at the input. A thin branch at
1 mm may join the trunk's answer, for what is only a few voxels wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from bmcore.domain import SEQUENCES
from bmcore.models.candidates import FEATURES, build_candidate_head
from bmcore.models.contours import build_contour_net
from bmcore.models.second_look import revise

if TYPE_CHECKING:
    import torch

CLASSES = 4  # background, necrosis, oedema, enhancing tumour
MULTIPLE = 16  # windows and patches must be a multiple of this along each axis
_TOUCHING = np.ones((3, 3, 3))


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


def build_segmenter(config: SegmenterConfig) -> torch.nn.Module:
    """A net from images (b, 4, i, j, k) to logits of that shape; i, j, k multiples of 16.

    With ``config.deep_supervision`` a net in training mode gives a list: those logits, then the
    logits (b, 4, i / 2, j / 2, k / 2) and so on of the coarser levels. With ``config.candidates``,
    ``net.candidates`` judges candidates, with ``config.contours`` ``net.contours`` draws them.
    """
    import torch
    from monai.networks.nets import SegResNet
    from monai.networks.utils import pixelshuffle, pixelunshuffle

    class Segmenter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = config
            self.trunk = SegResNet(
                spatial_dims=3,
                init_filters=config.filters,
                in_channels=8 * len(SEQUENCES),
                out_channels=8 * (config.fine or CLASSES),
                dropout_prob=config.dropout or None,
                norm=("GROUP", {"num_groups": 8}),
                blocks_down=config.blocks_down,
                blocks_up=config.blocks_up,
            )

            if config.fine:
                self.fine = _Fine(config.fine)
            if config.candidates:
                self.candidates = build_candidate_head(len(FEATURES), config.candidates)
            if config.contours:
                self.contours = build_contour_net(config.contours)
            if config.deep_supervision:
                levels = range(len(config.blocks_up) - 1, 0, -1)
                self.coarse = torch.nn.ModuleList(
                    torch.nn.Conv3d(config.filters * 2**level, 8 * CLASSES, 1) for level in levels
                )

        def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
            x, passed = self.trunk.encode(pixelunshuffle(images, 3, 2))
            decoded = []  # maps at …, 4 mm, 2 mm
            for level, (up, layer) in enumerate(
                zip(self.trunk.up_samples, self.trunk.up_layers, strict=True)
            ):
                x = layer(up(x) + passed[-2 - level])
                decoded.append(x)
            wide = pixelshuffle(self.trunk.conv_final(decoded[-1]), 3, 2)
            answer = self.fine(images, wide) if config.fine else wide
            if not (config.deep_supervision and self.training):
                return answer
            coarse = zip(self.coarse, decoded[:-1], strict=True)
            others = [pixelshuffle(layer(x), 3, 2) for layer, x in coarse]
            return [answer, *reversed(others)]

    class _Fine(torch.nn.Module):
        """The images at 1 mm join the trunk's answer; one residual step, and then the logits."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.stem = torch.nn.Conv3d(len(SEQUENCES), channels, 3, padding=1)
            self.norm = torch.nn.GroupNorm(8, channels)
            self.mix = torch.nn.Conv3d(channels, channels, 3, padding=1)
            self.last = torch.nn.GroupNorm(8, channels)
            self.out = torch.nn.Conv3d(channels, CLASSES, 1)

        def forward(self, images: torch.Tensor, wide: torch.Tensor) -> torch.Tensor:
            x = wide + self.stem(images)
            x = x + self.mix(torch.relu(self.norm(x)))
            return self.out(torch.relu(self.last(x)))

    return Segmenter()


def segment(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Labels 0-3 (uint8, (i, j, k)) for standardised images (4, i, j, k): the two steps below.

    ValueError where the arrays do not fit.
    """
    chances = read_chances(net, images, brain, on_progress)
    return to_labels(chances, brain, net.config)  # type: ignore[arg-type]


def read_chances(
    net: torch.nn.Module,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k), float32, of background, necrosis, oedema, enhancing tumour.

    net: from ``build_segmenter``, whose config decides. The box of the brain is read in overlapping
    windows whose softmax is blended with Gaussian weights; outside ``brain`` always background.
    With ``config.candidates`` a second look at each candidate follows.
    ValueError where the arrays do not fit.
    """
    import torch

    if images.shape != (len(SEQUENCES), *brain.shape):
        raise ValueError(
            f"images must be (4, i, j, k) over the brain {brain.shape}, but are {images.shape}"
        )
    config: SegmenterConfig = net.config  # type: ignore[assignment]
    out = np.zeros((CLASSES, *brain.shape), np.float32)
    out[0] = 1
    if not brain.any():
        return out
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    device = next(net.parameters()).device
    tensor = torch.from_numpy(np.ascontiguousarray(images[(slice(None), *box)]))[None].to(device)
    report = _window_counter(tensor.shape[2:], config, on_progress)
    net.eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    with torch.inference_mode():
        chances = _read_windows(net, tensor, config, report)
        if config.mirror:
            chances = (chances + _read_windows(net, tensor.flip(2), config, report).flip(2)) / 2
    out[(slice(None), *box)] = chances[0].float().cpu().numpy()
    out[:, ~brain] = np.array([1, 0, 0, 0], np.float32)[:, None]
    if config.candidates:
        return revise(net, images, brain, out)
    return out


def to_labels(
    chances: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_], config: SegmenterConfig
) -> npt.NDArray[np.uint8]:
    """Labels 0-3 (uint8, (i, j, k)) from probabilities (4, i, j, k).

    The likeliest label of each voxel; with ``core_chance`` tumour core where it is more likely than
    that, then the likelier of necrosis and enhancing, else of background and oedema. 0 outside
    ``brain``. Parts of the core that are too small or nowhere likely enough
    (``min_lesion_voxels``, ``min_lesion_chance``) are cleared, specks of enhancing tumour become
    necrosis (``quieten_specks``), and then, without ``lone_oedema``, oedema that no core is left to
    explain is cleared too.
    """
    core = chances[1] + chances[3]
    if config.core_chance is None:
        labels = chances.argmax(0).astype(np.uint8)
    else:
        inside = np.where(chances[1] > chances[3], np.uint8(1), np.uint8(3))
        outside = np.where(chances[2] > chances[0], np.uint8(2), np.uint8(0))
        labels = np.where(core > config.core_chance, inside, outside)
    labels[~brain] = 0
    kept = drop_small_lesions(labels, config.min_lesion_voxels, core, config.min_lesion_chance)
    kept = quieten_specks(kept, config.speck_share)
    return kept if config.lone_oedema else drop_lone_oedema(kept)


def _read_windows(
    net: torch.nn.Module, tensor: torch.Tensor, config: SegmenterConfig, report: Callable[[], None]
) -> torch.Tensor:
    import torch
    from monai.inferers import sliding_window_inference

    def chances(window: torch.Tensor) -> torch.Tensor:
        out = torch.softmax(net(window).float(), dim=1)
        report()
        return out

    edge = (config.window,) * 3
    read = sliding_window_inference(
        tensor, edge, 1, chances, overlap=config.overlap, mode="gaussian"
    )
    return read  # type: ignore[return-value]


def _window_counter(
    shape: tuple[int, ...], config: SegmenterConfig, on_progress: Callable[[float], None] | None
) -> Callable[[], None]:
    """A function to call after each window; tells ``on_progress`` the share that is done."""
    step = max(1, int(config.window * (1 - config.overlap)))
    counts = [1 + max(0, -(-(n - config.window) // step)) for n in shape]
    total = int(np.prod(counts)) * (2 if config.mirror else 1)
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(min(1.0, done / total))

    return report


def drop_small_lesions(
    labels: npt.NDArray[np.uint8],
    least: int,
    core_chance: npt.NDArray[np.float32] | None = None,
    least_chance: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """Clear parts (26-neighbourhood) of the tumour core with fewer voxels than ``least``.

    With ``core_chance`` (i, j, k), also parts in which it stays below ``least_chance`` everywhere.
    """
    parts, n = ndimage.label(np.isin(labels, (1, 3)), _TOUCHING)
    if n == 0:
        return labels
    weak = np.bincount(parts.ravel()) < least
    if core_chance is not None and least_chance > 0:
        inside = parts > 0
        peaks = np.zeros(n + 1, core_chance.dtype)
        np.maximum.at(peaks, parts[inside], core_chance[inside])  # ndimage.maximum sorts all voxels
        weak |= peaks < least_chance
    return _without(labels, parts, weak)


def quieten_specks(labels: npt.NDArray[np.uint8], share: float) -> npt.NDArray[np.uint8]:
    """Turn specks of enhancing tumour into necrosis.

    A speck is a piece (26-neighbourhood) with less than ``share`` of the enhancing voxels of the
    part of the tumour core that it belongs to: a few voxels at the rim or within necrosis that
    connect with no other enhancing voxel. The tumour core stays as it is.
    """
    if share <= 0:
        return labels
    pieces, count = ndimage.label(labels == 3, _TOUCHING)
    if count < 2:
        return labels
    parts, _ = ndimage.label(np.isin(labels, (1, 3)), _TOUCHING)
    inside = pieces > 0
    part_of = np.zeros(count + 1, parts.dtype)
    part_of[pieces[inside]] = parts[inside]
    sizes = np.bincount(pieces[inside], minlength=count + 1)
    whole = np.bincount(part_of, weights=sizes)
    speck = sizes < share * whole[part_of]
    if not speck.any():
        return labels
    out = labels.copy()
    out[speck[pieces]] = 1
    return out


def drop_lone_oedema(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Clear parts (26-neighbourhood) of the whole tumour that hold no tumour core.

    The oedema of a metastasis surrounds it; bright white matter far from any core is something
    else.
    """
    parts, n = ndimage.label(labels > 0, _TOUCHING)
    lone = np.ones(n + 1, bool)
    lone[parts[np.isin(labels, (1, 3))]] = False
    return _without(labels, parts, lone)


def _without(
    labels: npt.NDArray[np.uint8], parts: npt.NDArray[np.int32], gone: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Labels without the parts whose ``gone`` (n + 1,) is true; ``labels`` itself if none is."""
    gone[0] = False  # no part: what lies outside of all
    if not gone.any():
        return labels
    out = labels.copy()
    out[gone[parts]] = 0
    return out
