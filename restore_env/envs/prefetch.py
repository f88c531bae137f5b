"""Drawing the pairs of the next episodes while the tools work on the current ones."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from restore_env.data.pairs import Pair
from restore_env.data.sources import PairSource

_Drawn = tuple[int, np.random.Generator, Pair | None, BaseException | None]
"""A row, its generator, and the pair that was drawn from it, or the error."""


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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pairs") if enabled else None
        self._ahead: dict[int, tuple[np.random.Generator, Future[Pair]]] = {}

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
