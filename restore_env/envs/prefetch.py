"""Drawing the pairs of coming episodes while the tools work on the present ones."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from restore_env.data.pairs import Pair
from restore_env.data.sources import PairSource


class Prefetcher:
    """Draws the next pair of each environment ahead, in a thread of its own.

    An environment's pairs come from its own generator, one after the other, so they are the same with and without the
    thread. All draws of one prefetcher happen in one thread, so a source need not be safe for several unless it is
    given to several environments.

    Args:
        source: where pairs come from.
        enabled: whether to draw ahead; otherwise a pair is drawn when it is asked for.
    """

    def __init__(self, source: PairSource, enabled: bool) -> None:
        self.source = source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pairs") if enabled else None
        self._ahead: dict[int, tuple[np.random.Generator, Future[Pair]]] = {}

    def prepare(self, generators: Iterable[np.random.Generator]) -> None:
        """Begin to draw the next pair of every environment that has none waiting.

        Args:
            generators: one for each environment, in their order.
        """
        if self._thread is None:
            return
        for row, rng in enumerate(generators):
            if row not in self._ahead:
                self._ahead[row] = rng, self._thread.submit(self.source.sample, rng)

    def take(self, row: int, rng: np.random.Generator) -> Pair:
        """The next pair of an environment; what was drawn from another generator, before a new seed, is dropped."""
        if self._thread is None:
            return self.source.sample(rng)
        drawn_from, future = self._ahead.pop(row, (None, None))
        if future is None or drawn_from is not rng:
            future = self._thread.submit(self.source.sample, rng)
        return future.result()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
