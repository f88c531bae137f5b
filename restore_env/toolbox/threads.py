"""Work on a CPU's cores in parallel, each task on one core.

PyTorch splits every single operation over all cores. For the small images and networks here much of the time is then
spent waiting for the slowest part of each operation; whole tasks side by side keep the cores busy.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Task = TypeVar("Task")


def run_in_threads(function: Callable[[Task], None], tasks: Iterable[Task]) -> None:
    """Call a function for every task, in as many threads as PyTorch may use; in this thread where that is better.

    Args:
        function: called once for each task, from several threads at once.
        tasks: the longest first, so that all threads end at about the same time.

    Raises:
        Exception: the first that a call raised; the other calls are made nevertheless.
    """
    pending = list(tasks)
    threads = torch.get_num_threads()
    if threads == 1 or len(pending) < threads:  # PyTorch's own way, which splits each operation
        for task in pending:
            function(task)
        return
    for future in [_pool(threads).submit(function, task) for task in pending]:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in each of which PyTorch uses one core."""
    pool = ThreadPoolExecutor(threads, "tools", initializer=torch.set_num_threads, initargs=(1,))
    barrier = [pool.submit(torch.get_num_threads) for _ in range(threads)]
    for future in barrier:
        future.result()
    torch.set_num_threads(threads)  # what a thread sets is also the default of threads that begin later
    return pool


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
