"""How long the pages take to draw while nothing runs and while the worker reads a case.

``python -m training.bench.page_draws [--draws 20] [--home FOLDER --case ID]``

A real server and a real worker; the browser's part of the websocket is spoken by hand. A page is
asked for as a click in the menu does, and the time runs until its script has ended, so the network
and the browser's own drawing are no part of it. Without ``--home`` a home with the three synthetic
demo cases is made. The pages are asked for in turn, ``--draws`` times each: first with an idle
worker, then while it reads the case over and over. The first round of each is not counted.

Printed are n, the median, the 95th percentile and the longest, in ms, and the load of the machine
(processes that want a processor, mean of a minute). Only a machine on which nothing else runs gives
numbers that mean something.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from websockets.sync.client import ClientConnection, connect

from training.bench.viewer_step import serve

if TYPE_CHECKING:
    from bmcore.review.store import Store

PAGES = ("cases", "review", "agreement", "runs", "models")


def draw(window: ClientConnection, page: str, case_id: str) -> float:
    """Ask for a page and read until its script has ended; seconds."""
    back = importlib.import_module("streamlit.proto.BackMsg_pb2")
    forward = importlib.import_module("streamlit.proto.ForwardMsg_pb2")
    asked = back.BackMsg()
    asked.rerun_script.page_name = page
    asked.rerun_script.query_string = f"case={case_id}" if page == "review" else ""
    begun = time.perf_counter()
    window.send(asked.SerializeToString())
    while True:
        told = forward.ForwardMsg()
        told.ParseFromString(window.recv(timeout=120))
        kind = told.WhichOneof("type")
        if kind == "delta" and told.delta.new_element.WhichOneof("type") == "exception":
            raise RuntimeError(str(told.delta.new_element.exception))
        if kind == "script_finished" and "RERUN" not in str(told):
            return time.perf_counter() - begun


def busy(home: Path, store: Store, case_id: str) -> None:
    """See to it that the worker reads the case now."""
    from bmcore.running import line

    while (now := line.state(home, store, case_id)).state != "running" or now.fraction < 0.05:
        if not now.busy:
            line.submit(home, store, [case_id], "bench")
        time.sleep(0.1)


def rounds(address: str, home: Path, store: Store, case_id: str, draws: int, work: bool) -> None:
    """Ask for every page in turn, and print what it took."""
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    host = address.removeprefix("http://")
    with connect(  # type: ignore[call-overload]
        f"ws://{host}/_stcore/stream",
        subprotocols=["streamlit", "xsrf"],
        origin=address,
        max_size=None,
    ) as window:
        for number in range(draws + 1):
            for page in PAGES:
                if work:
                    busy(home, store, case_id)
                took = draw(window, page, case_id)
                if number:
                    times[page].append(1000 * took)
    state = "the worker reads a case" if work else "nothing runs"
    times["all pages"] = [t for page in PAGES for t in times[page]]
    for page, found in times.items():
        p50, p95 = np.percentile(found, [50, 95])
        print(f"{state:24s} {page:10s} n {len(found):4d}   p50 {p50:6.0f}   p95 {p95:6.0f}   "
              f"max {max(found):6.0f} ms   load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--draws", type=int, default=20)
    options.add_argument("--home", type=Path)
    options.add_argument("--case", default="Demo-1")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bmcore-draws-") as temporary:
        home = (asked.home or Path(temporary)).resolve()
        os.environ |= {"BMCORE_HOME": str(home), "BMCORE_WORKER_MINUTES": "0.2"}
        from bmcore.inference.demo import ensure_demo_cases
        from bmcore.review.store import open_store
        from bmcore.settings import settings

        if asked.home is None:
            ensure_demo_cases(home)
        with (
            serve("app.py", BMCORE_HOME=str(home)) as address,
            open_store(settings().url) as store,
        ):
            for work in (False, True):
                rounds(address, home, store, asked.case, asked.draws, work)


if __name__ == "__main__":
    main()
