"""Drawing the pairs of the next episodes while the tools work on the current ones."""

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final
from weakref import WeakSet

import numpy as np

from restore_env.data.pairs import Pair
from restore_env.data.sources import PairSource

_Drawn = tuple[int, np.random.Generator, Pair | None, BaseException | None]
"""A row, its generator, and the pair that was drawn from it, or the error."""

_THREAD: Final = "pairs"
"""What the names of the threads that draw begin with."""


class Prefetcher:
    """Draws the next pair of each environment ahead, in one thread.

    Each environment has its own generator, and its pairs are drawn from it in order. The pairs are therefore the same
    with and without the thread. All draws happen in the same thread, so a source of one prefetcher need not be
    thread-safe.

    Args:
        source: the source of the pairs.
        enabled: whether pairs are drawn ahead; otherwise a pair is drawn when `take` is called.

    Example:
        >>> from restore_env import as_source
        >>> prefetcher = Prefetcher(as_source("embedded", "moderate", 63), enabled=True)
        >>> generator = np.random.default_rng(0)
        >>> prefetcher.prepare([generator])
        >>> prefetcher.take(0, generator).distorted.shape
        (63, 63, 3)
        >>> prefetcher.close()
    """

    def __init__(self, source: PairSource, enabled: bool) -> None:
        self.source = source
        self._thread = _new_thread() if enabled else None
        self._ahead: dict[int, tuple[np.random.Generator, Future[Pair]]] = {}
        _prefetchers.add(self)

    def prepare(self, generators: Iterable[np.random.Generator]) -> None:
        """Begin to draw the next pair of each environment that has none yet.

        Args:
            generators: the generators of the environments, in order.
        """
        if self._thread is None:
            return
        for row, rng in enumerate(generators):
            if row not in self._ahead:
                self._ahead[row] = rng, self._thread.submit(self.source.sample, rng)

    def take(self, row: int, rng: np.random.Generator) -> Pair:
        """Return the next pair of an environment.

        Args:
            row: number of the environment.
            rng: its generator. A pair that was drawn from another generator, before a new seed, is dropped.
        """
        if self._thread is None:
            return self.source.sample(rng)
        drawn_from, future = self._ahead.pop(row, (None, None))
        if future is None or drawn_from is not rng:
            future = self._thread.submit(self.source.sample, rng)
        return future.result()

    def settle(self) -> None:
        """Wait until the thread rests; the generators do not change any more until `prepare` or `take` is called."""
        wait(future for _, future in self._ahead.values())

    def close(self) -> None:
        """End the thread, and drop the pairs that were drawn ahead."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._ahead.clear()

    def restart(self) -> None:
        """Begin a new thread in place of one that is gone, as in a forked process; keep what was drawn ahead."""
        if self._thread is not None:
            self._thread = _new_thread()
        self._ahead = {row: (rng, future) for row, (rng, future) in self._ahead.items() if future.done()}

    def __getstate__(self) -> tuple[PairSource, bool, list[_Drawn]]:
        """Return the pairs that were drawn ahead, or the errors; threads and futures cannot be pickled."""
        self.settle()
        errors = {row: future.exception() for row, (_, future) in self._ahead.items()}
        ahead = [
            (row, rng, None if errors[row] else future.result(), errors[row])
            for row, (rng, future) in self._ahead.items()
        ]
        return self.source, self._thread is not None, ahead

    def __setstate__(self, state: tuple[PairSource, bool, list[_Drawn]]) -> None:
        source, enabled, ahead = state
        Prefetcher.__init__(self, source, enabled)
        for row, rng, pair, error in ahead:
            future: Future[Any] = Future()
            if error is None:
                future.set_result(pair)
            else:
                future.set_exception(error)
            self._ahead[row] = rng, future


_prefetchers: Final[WeakSet[Prefetcher]] = WeakSet()


def _new_thread() -> ThreadPoolExecutor:
    """Return a pool of one thread, which starts with the first draw."""
    return ThreadPoolExecutor(1, thread_name_prefix=_THREAD)


def _settle_all() -> None:
    """Wait until no thread draws, so that a forked process does not get generators in the middle of a draw."""
    if not threading.current_thread().name.startswith(_THREAD):  # a source that forks would wait for itself
        for prefetcher in list(_prefetchers):
            prefetcher.settle()


def _restart_all() -> None:
    """Give each prefetcher a thread of this forked process."""
    for prefetcher in list(_prefetchers):
        prefetcher.restart()


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads, and would wait for them
    os.register_at_fork(before=_settle_all, after_in_child=_restart_all)
