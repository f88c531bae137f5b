"""Run tasks in parallel on a CPU, each on one core.

PyTorch splits every single operation over all cores. With small images and networks, most cores then wait for the
slowest part of each operation. They wait in a loop: where other processes keep the cores busy, that takes a hundred
times as long as the work. Whole tasks side by side, each on one core, never wait for each other.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from math import ceil, inf
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """Return the number of cores that this process may use: by its CPU affinity, and by the limit of its container.

    Example:
        >>> 1 <= available_cores() <= (os.cpu_count() or 1)
        True
    """
    count: Callable[[], int | None]
    if hasattr(os, "process_cpu_count"):  # from Python 3.13; it regards the affinity
        count = os.process_cpu_count
    elif hasattr(os, "sched_getaffinity"):
        count = lambda: len(os.sched_getaffinity(0))  # noqa: E731
    else:
        count = os.cpu_count
    return max(1, ceil(min(count() or 1, _container_limit())))


def limit_threads() -> None:
    """Let PyTorch use no more threads than there are cores for them, unless OMP_NUM_THREADS says how many.

    PyTorch does not know the limit of a container. Threads beyond it stop all others from time to time.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), available_cores()))


def _container_limit(root: Path = Path("/")) -> float:
    """Return how many cores the container of this process may keep busy, infinity if there is no limit.

    Args:
        root: where `proc` and `sys` are.
    """
    limits = [inf]
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:  # not Linux
        return inf
    for _, controllers, path in groups:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folder = top / path.lstrip("/")
        while True:  # a group is limited by those above it, too; within a container the path may not exist
            limits.append(_quota(folder))
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent
    return min(limits)


def _quota(folder: Path) -> float:
    """Return the cores that a control group may keep busy: `cpu.max` in version 2, two files in version 1."""
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((folder / file).read_text().strip() for file in files).split()
            return float(quota) / float(period) if float(quota) > 0 else inf
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return inf


def run_in_threads(function: Callable[[Task], None], tasks: Iterable[Task]) -> None:
    """Call a function once for each task, in as many threads as PyTorch may use; each thread uses one core.

    Args:
        function: called from several threads at once.
        tasks: arguments of the calls. Put the longest first, so that all threads end at about the same time.

    Raises:
        Exception: the first error that a call raised.

    Example:
        >>> done = []
        >>> run_in_threads(done.append, range(8))
        >>> sorted(done)
        [0, 1, 2, 3, 4, 5, 6, 7]
    """
    pending = list(tasks)
    threads = torch.get_num_threads()
    if threads == 1:
        for task in pending:
            function(task)
        return
    futures = [_pool(threads).submit(function, task) for task in pending]
    wait(futures)
    for future in futures:
        future.result()


def map_in_threads(function: Callable[[Task], Result], items: Sequence[Task]) -> list[Result]:
    """Return what a function returns for each item, computed as `run_in_threads` does.

    Example:
        >>> map_in_threads(abs, [-1, 2, -3])
        [1, 2, 3]
    """
    results: dict[int, Result] = {}
    run_in_threads(lambda number: results.update({number: function(items[number])}), range(len(items)))
    return [results[number] for number in range(len(items))]


@contextmanager
def one_core() -> Iterator[None]:
    """Let PyTorch use one core in this thread, in a `with` block or a decorated function.

    Example:
        >>> with one_core():
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Start threads in each of which PyTorch uses one core."""
    started = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, "tools", initializer=_use_one_core, initargs=(started,))
    for _ in range(threads):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # a thread's setting also becomes the default of later threads
    return pool


def _use_one_core(started: Barrier) -> None:
    """Let PyTorch use one core in this thread, and wait until all threads have started."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # makes PyTorch apply the number in this thread
    started.wait()


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads, so it needs a pool of its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
