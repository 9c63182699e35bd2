"""Who this process is among several, and what the user sees of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bmcore.domain import refuse
from training.run.plain_progress import PlainProgress

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress


@dataclass(frozen=True)
class World:
    """Who this process is: ``rank`` of ``size``, on which torch device (``cpu``, ``cuda:0``)."""

    rank: int
    size: int
    device: str

    @property
    def main(self) -> bool:
        return self.rank == 0

    def barrier(self) -> None:
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def mean(self, value: float) -> float:
        """The mean of ``value`` over the processes, the same in each."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total.item()) / self.size

    def wrap(self, net: torch.nn.Module) -> torch.nn.Module:
        """Move ``net`` to the device and, with several processes, into DistributedDataParallel."""
        net = net.to(self.device)
        if self.size == 1:
            return net
        from torch.nn.parallel import DistributedDataParallel

        ids = [int(self.device.split(":")[1])] if self.device.startswith("cuda") else None
        return DistributedDataParallel(net, device_ids=ids)


@contextmanager
def distributed(device: str = "auto") -> Iterator[World]:
    """Join the processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK), or be alone.

    nccl on GPUs, gloo on the CPU. ``device``: auto, cpu or cuda.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise refuse("unknown device", found=device, expected="auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise refuse("no GPU can be reached", expected="a CUDA device", hint="use --device cpu.")
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    gpu = device != "cpu" and torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(local)
    world = World(rank, size, f"cuda:{local}" if gpu else "cpu")
    if size == 1:
        yield world
        return
    import torch.distributed as dist

    dist.init_process_group("nccl" if gpu else "gloo", rank=rank, world_size=size)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def threads_each(workers: int) -> int:
    """Threads of torch in each of several processes; 0, all of them, for one alone."""
    return 0 if workers == 1 else 1


@contextmanager
def progress(world: World | None = None) -> Iterator[Progress | PlainProgress]:
    """A progress display on stderr, silent in every process but the first; without a terminal
    plain lines with the time left.

    ``with progress(world) as bars: task = bars.add_task("epoch 1", total=n); bars.advance(task)``.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = world is not None and not world.main
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainProgress(_silent if hidden else _on_stderr)
        return
    with Progress(*columns, console=console, disable=hidden) as bars:
        yield bars


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _silent(line: str) -> None:
    return


@contextmanager
def board(out: Path, world: World | None = None) -> Iterator[Callable[[str, float, int], None]]:
    """TensorBoard scalars below ``out/logs``: yields ``log(name, value, step)``."""
    if world is not None and not world.main:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(out / "logs")) as writer:
        yield lambda name, value, step: writer.add_scalar(name, value, step)


@dataclass
class Stopwatch:
    """Seconds since it was made: ``watch.seconds``."""

    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started
