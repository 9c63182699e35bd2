"""Processes that work side by side, and end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import connection
from typing import Any


def worker_pool(
    workers: int, begin: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of ``workers`` fresh processes, each of which calls ``begin(*given)`` first.

    A pool of the standard library leaves its processes behind when the process that started them is
    killed: they work off what is queued and then wait for ever. These end at once.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _begin, (begin, given))


def in_processes(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
    begin: Callable[..., None] | None = None,
) -> Iterator[tuple[int, Any]]:
    """``work(*job)`` for every job: its number and the result, as each is done.

    In fresh processes if ``workers`` > 1, each of which calls ``begin()`` first; else here, one
    after the other. An error in one of them is raised, and what has not begun is not begun.
    """
    if workers <= 1:
        for number, job in enumerate(jobs):
            yield number, work(*job)
        return
    with worker_pool(workers, begin) as pool:
        waiting = {pool.submit(work, *job): number for number, job in enumerate(jobs)}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin(begin: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    connection.wait([parent.sentinel])
    os._exit(1)
