"""On what the nets run: device, number type, threads.

Half precision (bfloat16) pays where the machine has units for it: every CUDA GPU since Ampere, CPUs
with AMX (six times faster, masks alike) and CPUs with AVX-512 BF16 (1.4-1.5 times faster on the
segmentation net, Zen 4). Other CPUs compute bfloat16 more slowly than float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Runtime:
    """device: ``cpu`` or ``cuda``; precision: ``fp32`` or ``bf16``; threads: of the CPU."""

    device: str
    precision: str
    threads: int

    @property
    def words(self) -> str:
        return f"{self.device}, {self.precision}, {self.threads} threads"


def choose(device: str = "auto", threads: int | None = None) -> Runtime:
    """Look at the machine and choose; sets the number of CPU threads of torch.

    device: auto, cpu or cuda. threads: None takes ``settings().threads``; 0 leaves torch's own
    number (the cores, or OMP_NUM_THREADS). ValueError for an unknown or absent device.
    """
    import torch

    from bmcore.settings import settings

    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, but is {device!r}")
    gpu = torch.cuda.is_available()
    if device == "cuda" and not gpu:
        raise ValueError("device cuda was asked for, but there is none")
    wanted = settings().threads if threads is None else threads
    if wanted > 0:
        torch.set_num_threads(wanted)
    if gpu and device != "cpu":
        precision = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp32"
        return Runtime("cuda", precision, torch.get_num_threads())
    able = torch.cpu.get_capabilities()
    fast = any(able.get(unit, False) for unit in ("amx_bf16", "avx512_bf16"))
    return Runtime("cpu", "bf16" if fast else "fp32", torch.get_num_threads())


@contextmanager
def inference(runtime: Runtime) -> Iterator[torch.device]:
    """No gradients and, where chosen, bfloat16; yields the torch device."""
    import torch

    with (
        torch.inference_mode(),
        torch.autocast(runtime.device, torch.bfloat16, enabled=runtime.precision == "bf16"),
    ):
        yield torch.device(runtime.device)
