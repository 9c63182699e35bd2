"""The segmentation net at work: a head read in windows, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bmcore.domain import SEQUENCES
from bmcore.imaging.masks import box_of
from bmcore.models.configs import CLASSES, MULTIPLE, Inference
from bmcore.models.false_positive_reduction import reduce_false_positives
from bmcore.models.postprocessing import to_labels

if TYPE_CHECKING:
    import torch

    from bmcore.models.nets.segmenter import Segmenter


def segment(
    net: Segmenter,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Labels 0-3 (uint8, (i, j, k)) for standardised images (4, i, j, k): the two steps below.

    ValueError where the arrays do not fit.
    """
    probabilities = predict_probabilities(net, images, brain, on_progress)
    return to_labels(probabilities, brain, net.config.postprocessing)


def predict_probabilities(
    net: Segmenter,
    images: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    on_progress: Callable[[float], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Probabilities (4, i, j, k), float32, of background, necrosis, oedema, enhancing tumour.

    net: from ``build_segmenter``, whose config decides. The box of the brain is read in overlapping
    windows whose softmax is blended with Gaussian weights, or in one go; outside ``brain`` always
    background. With ``reduction.candidates`` in its config each candidate is classified.
    ValueError where the arrays do not fit.
    """
    import torch

    if images.shape != (len(SEQUENCES), *brain.shape):
        raise ValueError(
            f"images must be (4, i, j, k) over the brain {brain.shape}, but are {images.shape}"
        )
    config = net.config.inference
    out = np.zeros((CLASSES, *brain.shape), np.float32)
    out[0] = 1
    if not brain.any():
        return out
    box = box_of(brain)
    device = next(net.parameters()).device
    tensor = torch.from_numpy(np.ascontiguousarray(images[(slice(None), *box)]))[None].to(device)
    read = _read_whole if config.whole else _read_windows
    report = _window_counter(tensor.shape[2:], config, on_progress)
    net.eval().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    with torch.inference_mode():
        probabilities = read(net, tensor, config, report)
        if config.flip_augmentation:
            mirrored = read(net, tensor.flip(2), config, report).flip(2)
            probabilities = (probabilities + mirrored) / 2
    out[(slice(None), *box)] = probabilities[0].float().cpu().numpy()
    out[:, ~brain] = np.array([1, 0, 0, 0], np.float32)[:, None]
    if net.config.reduction.candidates:
        return reduce_false_positives(net, images, brain, out)
    return out


def _read_whole(
    net: Segmenter, tensor: torch.Tensor, config: Inference, report: Callable[[], None]
) -> torch.Tensor:
    """Softmax of the net on the whole tensor (1, 4, i, j, k), whose norms go by place."""
    import torch

    sizes = tensor.shape[2:]
    more = [-n % MULTIPLE for n in sizes]  # zeros as outside the brain, half on each side
    sides = [side for n in reversed(more) for side in (n // 2, n - n // 2)]
    padded = torch.nn.functional.pad(tensor, sides)
    out = torch.softmax(net.whole(padded, config.window).float(), dim=1)
    report()
    i, j, k = (slice(n // 2, n // 2 + size) for n, size in zip(more, sizes, strict=True))
    return out[..., i, j, k]


def _read_windows(
    net: Segmenter, tensor: torch.Tensor, config: Inference, report: Callable[[], None]
) -> torch.Tensor:
    import torch
    from monai.inferers import sliding_window_inference

    def probabilities(window: torch.Tensor) -> torch.Tensor:
        out = torch.softmax(net(window).float(), dim=1)
        report()
        return out

    edge = (config.window,) * 3
    read = sliding_window_inference(
        tensor, edge, 1, probabilities, overlap=config.overlap, mode="gaussian"
    )
    return read  # type: ignore[return-value]


def _window_counter(
    shape: tuple[int, ...], config: Inference, on_progress: Callable[[float], None] | None
) -> Callable[[], None]:
    """A function to call after each window, or the whole; tells ``on_progress`` what is done."""
    step = max(1, int(config.window * (1 - config.overlap)))
    counts = [1 + max(0, -(-(n - config.window) // step)) for n in shape]
    total = (1 if config.whole else int(np.prod(counts))) * (2 if config.flip_augmentation else 1)
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(min(1.0, done / total))

    return report
