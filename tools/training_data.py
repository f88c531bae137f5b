"""Batches of distorted patches to train a tool on, made while the last one is learnt from."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
from torch import Tensor

from restore_env.arrays import images_to_tensor
from restore_env.pairs import Pairs, PairSource

Batch = tuple[Tensor, Tensor]

AHEAD: Final = 3
"""Batches that are made ahead."""


class TrainingBatches:
    """Batches of pairs; the one of an iteration depends on the seed and its number alone.

    A training that goes on from a checkpoint therefore needs no state of a generator to see the same data.

    Args:
        source: where pairs come from.
        batch_size: pairs in a batch.
        seed: together with an iteration's number, what is drawn.
    """

    def __init__(self, source: PairSource, batch_size: int, seed: int) -> None:
        self.source, self.batch_size, self.seed = source, batch_size, seed

    def __repr__(self) -> str:
        """What decides which batches come."""
        return f"{self.batch_size} pairs a batch, seed {self.seed}, {self.source!r}"

    def batch(self, iteration: int) -> Batch:
        """Distorted and reference, each float32 (batch, 3, h, w) in [0, 1]."""
        rng = np.random.default_rng([self.seed, iteration])
        pairs = [self.source.sample(rng) for _ in range(self.batch_size)]
        return images_to_tensor([pair.distorted for pair in pairs]), images_to_tensor(
            [pair.reference for pair in pairs]
        )

    def since(self, iteration: int) -> Iterator[Batch]:
        """Endless batches from `iteration` on, made ahead in a second thread."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
            ahead: list[Future[Batch]] = []
            try:
                while True:
                    while len(ahead) < AHEAD:
                        ahead.append(pool.submit(self.batch, iteration))
                        iteration += 1
                    yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()


def pairs_to_tensors(pairs: Pairs) -> Batch:
    """All pairs as float32 (n, 3, h, w) in [0, 1], distorted and reference."""
    return images_to_tensor(pairs.distorted), images_to_tensor(pairs.reference)
