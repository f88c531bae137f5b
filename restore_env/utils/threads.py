"""Work on a CPU's cores in parallel, each task on one core.

PyTorch splits every single operation over all cores. For the small images and networks here much of the time is then
spent waiting for the slowest part of each operation; whole tasks side by side keep the cores busy.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Task = TypeVar("Task")


def run_in_threads(function: Callable[[Task], None], tasks: Iterable[Task]) -> None:
    """Call a function for every task, in as many threads as PyTorch may use; in this thread where that is better.

    Args:
        function: called once for each task, from several threads at once.
        tasks: the longest first, so that all threads end at about the same time.

    Raises:
        Exception: the first that a call raised.
    """
    pending = list(tasks)
    threads = torch.get_num_threads()
    if threads == 1 or len(pending) < threads:  # PyTorch's own way, which splits each operation
        for task in pending:
            function(task)
        return
    futures = [_pool(threads).submit(function, task) for task in pending]
    wait(futures)
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in each of which PyTorch uses one core."""
    started = Barrier(threads + 1)
    pool = ThreadPoolExecutor(threads, "tools", initializer=_use_one_core, initargs=(started,))
    for _ in range(threads):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # what a thread sets is also the default of threads that begin later
    return pool


def _use_one_core(started: Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # settles the number in this thread
    started.wait()


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
