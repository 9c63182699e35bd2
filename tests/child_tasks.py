"""What can go wrong in the child that reads files, as tasks of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from bmcore.domain import refuse

# What a child runs that knows these tasks instead of the real ones.
COMMAND = (
    "-c",
    "import sys; from bmcore.intake import child; from tests import child_tasks;"
    "child.TASKS = {n: ('tests.child_tasks', n) for n in child_tasks.NAMES};"
    "sys.exit(child.main())",
)
NAMES = (
    "say",
    "swell",
    "spin",
    "sleep",
    "crash",
    "stumble",
    "chatter",
    "flood",
    "leave",
    "decline",
)


def say(job: Mapping[str, Any]) -> dict[str, Any]:
    time.sleep(job.get("s", 0))
    return {"pid": os.getpid(), "names": sorted(os.environ), **job}


def swell(job: Mapping[str, Any]) -> dict[str, Any]:
    held = []
    while True:
        held.append(bytearray(b"x") * (50 << 20))


def spin(job: Mapping[str, Any]) -> dict[str, Any]:
    while True:
        pass


def sleep(job: Mapping[str, Any]) -> dict[str, Any]:
    time.sleep(1000)
    return {}


def crash(job: Mapping[str, Any]) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def stumble(job: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": [][3]}


def chatter(job: Mapping[str, Any]) -> dict[str, Any]:
    print('{"result": {"forged": 1}}', flush=True)
    os.write(1, b"noise\n")
    return {"value": 1}


def flood(job: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": "x" * (5 << 20)}


def leave(job: Mapping[str, Any]) -> dict[str, Any]:
    """Start another program and hang."""
    other = subprocess.Popen(["sleep", "1000"])
    with open(job["out"], "w") as file:  # noqa: PTH123
        file.write(str(other.pid))
    time.sleep(1000)
    return {}


def decline(job: Mapping[str, Any]) -> dict[str, Any]:
    raise refuse("the file is not liked", file="inner", found="7", hint="try.")
