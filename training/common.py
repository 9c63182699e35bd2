"""What every training script shares: options, seeds, checkpoints, progress, JSON, processes.

Nothing here knows a net, a loss or a metric. A run that is killed and started again with the same
options ends with the same tensors as a run that was left alone: a checkpoint holds every random
state, and it refuses to go on under other options.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from bmcore.domain import BmcoreError, refuse

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress

# --- options, the same words in every script ---------------------------------------------------

DataOption = Annotated[
    Path, typer.Option("--data", help="Folder of cases in the Yale layout.", show_default=False)
]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder for results; made if absent.", show_default=False)
]
SeedOption = Annotated[int, typer.Option("--seed", help="Start of every random draw.")]
EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu or cuda; auto takes a GPU where one is there.")
]


def run_app(main: Callable[..., Any]) -> None:
    """Run a script's ``main`` under typer; a refusal is one line a problem on stderr, exit 2."""

    def guarded(app: typer.Typer) -> None:
        try:
            app()
        except BmcoreError as error:
            for finding in error.findings:
                typer.echo(finding.sentence, err=True)
            raise SystemExit(2) from None

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    guarded(app)


# --- seeds -------------------------------------------------------------------------------------


def seed_everything(seed: int, rank: int = 0) -> np.random.Generator:
    """Seed Python, numpy and torch and return a numpy generator for this process.

    Weights must start alike in every process, so torch, Python and the global numpy state take
    ``seed`` alone; the returned generator (for augmentation) differs by ``rank``. Call
    ``torch.manual_seed`` again after the net is built if dropout should differ by process.
    """
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  libraries below us may use the global state
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return np.random.default_rng([seed, rank])


def _random_states(generators: Mapping[str, np.random.Generator]) -> dict[str, Any]:
    import torch

    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = random.getstate()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": json.dumps([kind, np.asarray(keys).tolist(), position, has_gauss, gauss]),
        "python": json.dumps([version, list(internal), gauss_next]),
        "generators": {n: json.dumps(_plain(g.bit_generator.state)) for n, g in generators.items()},
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _restore_random_states(
    states: Mapping[str, Any], generators: Mapping[str, np.random.Generator], path: Path
) -> None:
    import torch

    if set(states["generators"]) != set(generators):
        raise refuse(
            "the checkpoint holds other random generators than this run uses",
            file=path,
            found=sorted(states["generators"]),
            expected=sorted(generators),
            hint="remove the checkpoint to start again.",
        )
    torch.set_rng_state(states["torch"])
    kind, keys, *rest = json.loads(states["numpy"])
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss_next = json.loads(states["python"])
    random.setstate((version, tuple(internal), gauss_next))
    for name, generator in generators.items():
        generator.bit_generator.state = json.loads(states["generators"][name])
    if "cuda" in states and torch.cuda.is_available():
        if len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])
        else:
            torch.cuda.set_rng_state(states["cuda"][0])


# --- files -------------------------------------------------------------------------------------


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; renamed to ``path`` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    """Turn numpy numbers, arrays, paths and dataclasses into what JSON knows; NaN becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) at once or not at all."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON at once or not at all. numpy numbers and dataclasses are fine; NaN is null."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of ours; a clear refusal where it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refuse("the file is not there", file=path, hint="run the step before.") from None
    except json.JSONDecodeError as error:
        raise refuse("the file is not JSON", file=path, found=error) from None


def update_metrics(out: Path, stage: str, content: Any) -> None:
    """Set ``stage`` in OUT/metrics.json and leave what other steps wrote there."""
    path = out / "metrics.json"
    known = read_json(path) if path.exists() else {}
    write_json(path, known | {stage: content})


def tensors_hash(tensors: Mapping[str, torch.Tensor] | Mapping[str, npt.NDArray]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value: Any = tensors[name]
        if not isinstance(value, np.ndarray):
            import torch

            value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name}|{tensors[name].dtype}|{tuple(tensors[name].shape)}|".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def fingerprint(*parts: Any) -> str:
    """sha256 of the JSON of ``parts``: the same options give the same text."""
    text = json.dumps(_plain(list(parts)), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions that a manifest names, those that are installed."""
    names = ("torch", "monai", "numpy", "scipy", "scikit-learn", "safetensors", "nibabel")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


# --- checkpoints -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """One file that a killed run goes on from, to the bit.

    path: the file. options: the run's ``fingerprint``; a checkpoint of other options is refused.
    ``save`` takes a dict of tensors, numbers, texts, lists and dicts of these (the nets' and
    optimisers' ``state_dict`` are such); it is read back with ``weights_only``, so a checkpoint can
    run no code. With several processes call ``save`` in every one of them, each with its own path
    (``path.with_suffix(f".rank{rank}.pt")``), since the random states differ.
    """

    path: Path
    options: str = ""

    def save(
        self,
        state: Mapping[str, Any],
        generators: Mapping[str, np.random.Generator] | None = None,
    ) -> None:
        """Write ``state`` and every random state (torch, CUDA, numpy, Python, ``generators``)."""
        import torch

        content = {
            "format": 1,
            "options": self.options,
            "state": dict(state),
            "random": _random_states(generators or {}),
        }
        with atomic_path(self.path) as beside:
            torch.save(content, beside)

    def load(
        self, generators: Mapping[str, np.random.Generator] | None = None
    ) -> dict[str, Any] | None:
        """Return the state and set every random state back; None where there is no checkpoint.

        Tensors come back on the CPU. Raises InputRefused where the file is damaged or belongs to
        other options.
        """
        import torch

        if not self.path.exists():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise refuse(
                "the checkpoint cannot be read",
                file=self.path,
                found=type(error).__name__,
                hint="remove it to start again.",
            ) from error
        if content.get("format") != 1 or content.get("options") != self.options:
            raise refuse(
                "the checkpoint belongs to a run with other options or other data",
                file=self.path,
                hint="give the same options, another --out, or remove the checkpoint.",
            )
        _restore_random_states(content["random"], generators or {}, self.path)
        return content["state"]

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class EMA:
    """Exponential moving average of a net's weights (Polyak and Juditsky 1992).

    After ``update`` number n the decay is min(decay, (1 + n) / (10 + n)), so that the first, random
    weights are soon forgotten. Buffers and whole numbers are copied.
    """

    def __init__(self, net: torch.nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), but is {decay}")
        self.decay = decay
        self.updates = 0
        self.shadow = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self, net: torch.nn.Module) -> None:
        import torch

        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        trainable = {name for name, _ in net.named_parameters()}
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if name in trainable and value.dtype.is_floating_point:
                    self.shadow[name].lerp_(value.detach(), 1 - decay)
                else:
                    self.shadow[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])
        for name, value in self.shadow.items():
            value.copy_(state["shadow"][name])

    @contextmanager
    def applied(self, net: torch.nn.Module) -> Iterator[torch.nn.Module]:
        """Within the block ``net`` carries the averaged weights; afterwards its own again."""
        own = {k: v.detach().clone() for k, v in net.state_dict().items()}
        net.load_state_dict(self.shadow)
        try:
            yield net
        finally:
            net.load_state_dict(own)


# --- processes ---------------------------------------------------------------------------------


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


# --- what the user sees ------------------------------------------------------------------------


@contextmanager
def progress(world: World | None = None) -> Iterator[Progress]:
    """A rich progress display on stderr, silent in every process but the first.

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
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bars:
        yield bars


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
