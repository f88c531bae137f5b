"""Work in several processes, none of which outlives the one that started it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_env.data.pairs import Pairs
from restore_env.data.sources import PairSource, draw_pairs
from restore_env.utils.progress import progress_bar

PART: Final = 250
"""Pairs that a process draws at a time."""

_source: PairSource
"""What this process draws from; set by `_start`."""


def when_orphaned(call: Callable[[], None]) -> None:
    """Call a function once the process that started this one has died, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        call()

    threading.Thread(target=watch, name="orphaned", daemon=True).start()


def only_the_parent_is_told() -> None:
    """Ignore SIGINT and SIGTERM, which often reach every process at once: the one that started this one answers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def draw_in_parallel(source: PairSource, n: int, seed: int, jobs: int, what: str) -> Pairs:
    """Draw pairs as `draw_pairs` does, in `jobs` processes; the result does not depend on how many.

    Args:
        source: where they come from; it is sent to the processes.
        n: how many.
        seed: together with a pair's number, what is drawn.
        jobs: processes that work side by side; with 1 this one does the work.
        what: what to call the work on the progress bar.
    """
    ranges = [range(first, min(first + PART, n)) for first in range(0, n, PART)]
    if min(jobs, len(ranges)) == 1:
        return _joined((_arrays(source, numbers, seed) for numbers in ranges), len(ranges), what)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(ranges)), context, _start, (source,)) as pool:
        return _joined(pool.map(partial(_draw, seed=seed), ranges), len(ranges), what)


Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _joined(parts: Iterable[Arrays], n: int, what: str) -> Pairs:
    """All parts in order as one, with a progress bar while they come."""
    arrays: list[Arrays] = []
    with progress_bar(what) as report:
        for part in parts:
            arrays.append(part)
            report(len(arrays) / n)
    distorted, reference = (np.concatenate(column) for column in zip(*arrays, strict=True))
    return Pairs(distorted, reference)  # type: ignore[arg-type]


def _start(source: PairSource) -> None:
    """Make a new process ready to draw from a source."""
    global _source
    when_orphaned(lambda: os._exit(1))
    only_the_parent_is_told()
    cv2.setNumThreads(1)
    _source = source


def _draw(numbers: range, seed: int) -> Arrays:
    return _arrays(_source, numbers, seed)


def _arrays(source: PairSource, numbers: range, seed: int) -> Arrays:
    """Distorted and reference of some numbers, uint8 (n, h, w, 3)."""
    pairs = draw_pairs(source, numbers, seed)
    return np.asarray(pairs.distorted), np.asarray(pairs.reference)
