"""Work in several processes, none of which outlives the process that started it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any, Final, TypeVar

import cv2
import numpy as np

from restore_env.data.pairs import Pairs
from restore_env.data.sources import PairSource, draw_pairs
from restore_env.training.program import flush_denormals
from restore_env.training.signals import StopRequest
from restore_env.utils.progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")
Train = Callable[[Item, Callable[[], bool]], Result]
"""Trains an item until its end, or until a function says stop."""

PART: Final = 250
"""Pairs that a process draws at a time."""


def when_orphaned(call: Callable[[], None]) -> None:
    """Call a function once the process that started this one has died, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        call()

    threading.Thread(target=watch, name="orphaned", daemon=True).start()


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM, which often reach every process at once: the parent process answers them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def draw_in_parallel(source: PairSource, n: int, seed: int, jobs: int, what: str) -> Pairs:
    """Draw pairs as `draw_pairs` does, in `jobs` processes; the result does not depend on how many.

    Args:
        source: where the pairs come from; it is sent to the processes.
        n: number of pairs.
        seed: together with a pair's number, it determines what is drawn.
        jobs: processes that work side by side; with 1 this process does the work.
        what: name of the work on the progress bar.

    Returns:
        The pairs, all of one size.
    """
    ranges = [range(first, min(first + PART, n)) for first in range(0, n, PART)]
    if min(jobs, len(ranges)) == 1:
        return _joined((draw_pairs(source, numbers, seed) for numbers in ranges), len(ranges), what)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(ranges)), context, _start_drawing, (source,)) as pool:
        return _joined(pool.map(partial(_draw, seed=seed), ranges), len(ranges), what)


def train_in_parallel(
    train: Train[Item, Result | None], items: Sequence[Item], jobs: int, request: StopRequest
) -> list[Result]:
    """Train items, each in a process of its own and `jobs` at a time; with one job, in this process.

    A process that loses its parent ends as soon as its training has stopped and written its checkpoint.

    Args:
        train: trains an item until its end, or until its second argument says stop: then it returns None. It is sent to
            the processes.
        items: what is trained.
        jobs: processes that work side by side.
        request: asked whether to stop.

    Returns:
        What `train` returned, in the order of the items.

    Raises:
        Exception: the first that a training raised; the others were stopped then.
        Stopped: if a signal came before all were trained.
    """
    if min(jobs, len(items)) == 1:
        trained = [train(item, request) for item in items]
    else:
        trained = _in_processes(train, items, jobs, request)
    finished = [result for result in trained if result is not None]
    if len(finished) < len(items):
        request.check()
    return finished


def _in_processes(train: Train[Item, Result], items: Sequence[Item], jobs: int, request: StopRequest) -> list[Result]:
    """Train each item in a process of its own; return what `train` returned."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(min(jobs, len(items)), context, _start_training, (train, stop)) as pool:
        futures = [pool.submit(_train, item) for item in items]
        while wait(futures, timeout=0.2).not_done:
            if request() or any(future.done() and future.exception() for future in futures):
                stop.set()
    try:
        return [future.result() for future in futures]
    except BrokenProcessPool:
        request.check()  # a signal ended a process that did not ignore it yet
        raise


_source: PairSource
"""What this process draws from; set by `_start_drawing`."""

_training: Train[Any, Any]
"""What this process trains with; set by `_start_training`."""

_stop: Event
"""Tells this process to stop; set by `_start_training`."""

_busy: Final = threading.Lock()
"""Held while this process trains."""


def _joined(parts: Iterable[Pairs], n: int, what: str) -> Pairs:
    """Join all parts in order, with a progress bar while they come."""
    pairs: list[Pairs] = []
    with progress_bar(what) as report:
        for part in parts:
            pairs.append(part)
            report(len(pairs) / n)
    distorted = np.concatenate([np.asarray(part.distorted) for part in pairs])
    reference = np.concatenate([np.asarray(part.reference) for part in pairs])
    names, photos, labels = (
        [value for part in pairs for value in getattr(part, column)] for column in ("names", "photos", "labels")
    )
    known = None if None in labels else labels
    return Pairs(distorted, reference, names, photos=photos, labels=known)  # type: ignore[arg-type]


def _start_drawing(source: PairSource) -> None:
    """Make a new process ready to draw from a source."""
    global _source
    when_orphaned(lambda: os._exit(1))
    ignore_signals()
    cv2.setNumThreads(1)
    _source = source


def _draw(numbers: range, seed: int) -> Pairs:
    """Draw the pairs of some numbers in this process."""
    return draw_pairs(_source, numbers, seed)


def _start_training(train: Train[Any, Any], stop: Event) -> None:
    """Make a new process ready to train."""
    global _training, _stop
    _training, _stop = train, stop
    flush_denormals()  # as in the process that started this one
    ignore_signals()
    when_orphaned(_leave)


def _leave() -> None:
    """End this process once its training has stopped and written its checkpoint."""
    _stop.set()
    with _busy:
        os._exit(1)


def _train(item: Any) -> Any:
    """Train one item in this process."""
    with _busy:
        return _training(item, _stop.is_set)
