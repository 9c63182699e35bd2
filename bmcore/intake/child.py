"""A child process that reads what users bring: what goes wrong there, goes wrong there only.

``ask(task, job, name, limits)`` runs one of the functions of ``TASKS`` in a child that has no
secrets of this process, at most ``MEMORY`` bytes and ``limits.seconds``. It returns plain values
(arrays lie in files that the job names) or raises InputRefused with a sentence about the file
``name``: what the function refused, or that it took too much time or memory, or that it died.

A child serves one job after the other, so that a file costs milliseconds, not the start of Python.
After anything but an answer or a refusal it is killed with its whole group and replaced. It ends
when its parent does. Where the system cannot limit memory (macOS), the child watches its own and
ends itself, a fraction of a second later.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmcore.domain import Finding, InputRefused, Severity, refuse
from bmcore.plain import NotPlain, read_json

TASKS: Mapping[str, tuple[str, str]] = {
    "start": ("bmcore.intake.images", "start_here"),
    "image": ("bmcore.intake.images", "read_here"),
    "table": ("bmcore.intake.spreadsheet", "read_here"),
    "dicom headers": ("bmcore.intake.dicom.tasks", "headers_here"),
    "dicom directory": ("bmcore.intake.dicom.tasks", "directory_here"),
    "dicom digests": ("bmcore.intake.dicom.tasks", "digests_here"),
    "dicom voxels": ("bmcore.intake.dicom.tasks", "voxels_here"),
}
_PROJECT = Path(__file__).resolve().parents[2]
MEMORY = 1000 * 2**20
FILE_BYTES = 500 * 2**20  # the largest file that a child may write
SECONDS = 8.0
TOGETHER = 2
COMMAND = ("-m", "bmcore.intake.child")
_PATIENCE_S = 120.0
_JOBS_A_CHILD = 300
_ANSWER_BYTES = 4 * 2**20
_KEPT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)

_seats = threading.BoundedSemaphore(TOGETHER)
_idle: list[_Child] = []
_lock = threading.Lock()
_warming = threading.Event()


@dataclass(frozen=True)
class Limits:
    """seconds: of computing, and a little more by the clock."""

    seconds: float = SECONDS

    @classmethod
    def for_file(cls, path: Path, bytes_a_second: int) -> Limits:
        """More for a file that is large on disk; a small one that swells is no reason to wait."""
        return cls(SECONDS + path.stat().st_size / bytes_a_second)


def ask(task: str, job: Mapping[str, Any], name: str, limits: Limits) -> dict[str, Any]:
    """What ``TASKS[task]`` makes of ``job``; InputRefused about ``name`` where there is nothing."""
    with _a_child(name) as child:
        answer = child.ask({"task": task, "job": dict(job), "seconds": limits.seconds})
    if "result" in answer:
        return dict(answer["result"])
    if "refused" in answer:
        raise InputRefused(*(_finding(values) for values in answer["refused"]))
    if "broken" in answer:
        logging.getLogger(__name__).warning("reading %s broke: %s", name, answer["broken"])
    raise _ended(answer, name, limits)


def warm() -> None:
    """Begin to start a child, if none waits for work: the first file then costs no start either."""
    with _lock:
        if _idle or _warming.is_set():
            return
        _warming.set()
    threading.Thread(target=_warm, daemon=True).start()


def _warm() -> None:
    try:
        ask("start", {}, "nothing", Limits())
    finally:
        _warming.clear()


def _ended(answer: Mapping[str, Any], name: str, limits: Limits) -> Exception:
    found: str | None
    if "memory" in answer:
        what, found = "reading the file takes too much memory", f"more than {MEMORY >> 20} MiB"
    elif "late" in answer:
        what, found = "reading the file takes too long", f"more than {limits.seconds:.0f} seconds"
    else:
        what, found = "the file is damaged and cannot be read", str(answer.get("died", "")) or None
    hint = "open it in the program that made it and export it again."
    return refuse(what, file=name, found=found, hint=hint)


def _finding(values: Mapping[str, Any]) -> Finding:
    texts = {k: None if v is None else str(v) for k, v in values.items() if k != "severity"}
    return Finding(Severity(values["severity"]), **texts)  # type: ignore[arg-type]


@contextmanager
def _a_child(name: str) -> Iterator[_Child]:
    """A child for one job, an idle one if there is; few at a time, others wait for their turn."""
    if not _seats.acquire(timeout=_PATIENCE_S):
        raise refuse("too many files are being read at once", file=name, hint="wait a minute.")
    try:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None or child.process.poll() is not None:
            child = _Child()
        try:
            yield child
        finally:
            if child.fit:
                with _lock:
                    _idle.append(child)
            else:
                child.end()
    finally:
        _seats.release()


class _Child:
    """One running child. ``fit``: it may be given another job."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *COMMAND],
            cwd=_PROJECT,
            env={k: os.environ[k] for k in _KEPT if k in os.environ} | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.done = 0
        self.fit = False

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer; {"late"}, {"memory"} or {"died"} where the child gave none."""
        self.fit = False
        self.done += 1
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
            line = self._line(time.monotonic() + message["seconds"] + 1)
        except OSError:  # it ended before it was asked
            line = b""
        if line is None:
            return {"late": True}
        if not line:
            return self._last_words()
        try:
            answer = read_json(line, _ANSWER_BYTES)
        except NotPlain as fault:
            return {"died": str(fault)}
        self.fit = bool({"result", "refused"} & set(answer)) and self.done < _JOBS_A_CHILD
        return answer

    def _line(self, deadline: float) -> bytes | None:
        """A line of the child; b"" where it ended or said too much, None where it is too late."""
        assert self.process.stdout is not None
        pipe, line = self.process.stdout.fileno(), b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return None
            piece = os.read(pipe, 1 << 16)
            if not piece or len(line) > _ANSWER_BYTES:
                return b""
            line += piece
        return line

    def _last_words(self) -> dict[str, Any]:
        try:
            code: int | None = self.process.wait(2)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives on
            code = None
        if code in (-signal.SIGXCPU, -signal.SIGALRM):
            return {"late": True}
        if code == _NO_MEMORY:
            return {"memory": True}
        return {"died": f"the program that reads it ended with code {code}"}

    def end(self) -> None:
        """Kill the child with all that it started, and take its exit code; leaves no zombie."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not read is of no use any more


@atexit.register
def end_children() -> None:
    """End the children that wait for work."""
    with _lock:
        while _idle:
            _idle.pop().end()


# --- in the child ------------------------------------------------------------------------------

_NO_MEMORY = 86


def main() -> int:
    """Answer jobs, a line of JSON each, until the parent is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_memory()
    parent, jobs = os.getppid(), b""
    while os.getppid() == parent:
        if not select.select([0], [], [], 20)[0]:
            continue
        piece = os.read(0, 1 << 16)
        if not piece:
            return 0
        jobs += piece
        while b"\n" in jobs:
            line, jobs = jobs.split(b"\n", 1)
            message = json.loads(line)
            _limit_time(message["seconds"])
            answers.write(json.dumps(_answer(message)).encode() + b"\n")
            answers.flush()
            _limit_time(None)
    return 0


def _answer(message: Mapping[str, Any]) -> dict[str, Any]:
    import importlib
    import traceback
    from dataclasses import asdict

    module, function = TASKS[message["task"]]
    try:
        return {"result": getattr(importlib.import_module(module), function)(message["job"])}
    except InputRefused as error:
        return {"refused": [asdict(finding) for finding in error.findings[:100]]}
    except MemoryError:
        return {"memory": True}
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:160]
        return {"broken": traceback.format_exc()[-4000:], "died": found}


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ValueError, OSError):  # macOS does not know this limit
        threading.Thread(target=_watch_memory, daemon=True).start()


def _watch_memory() -> None:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < MEMORY:
        time.sleep(0.05)
    os._exit(_NO_MEMORY)


def _limit_time(seconds: float | None) -> None:
    """Seconds of computing from now on, and by the clock as far as the parent waits."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime
    soft = hard if seconds is None else int(spent + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    signal.setitimer(signal.ITIMER_REAL, 0 if seconds is None else seconds + 2)


if __name__ == "__main__":
    sys.exit(main())
