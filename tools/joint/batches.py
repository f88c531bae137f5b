"""Batches of toolchains to fine-tune tools along: from logs, and from the tools' own tasks as chains of one tool."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.data.pairs import Pairs
from restore_env.data.toolchain_log import ToolchainLog
from restore_env.restoration.batch import NO_TOOL
from restore_env.utils.tensors import bytes_to_floats

SYMMETRIES = 8


class ChainBatch(NamedTuple):
    """Some toolchains, on the device that trains.

    Attributes:
        distorted: float32 (n, 3, h, w) in [0, 1].
        reference: float32 (n, 3, h, w) in [0, 1].
        chain: int64 (n, max_steps) on the CPU, the numbers of the tools, then -1.
    """

    distorted: Tensor
    reference: Tensor
    chain: Tensor


class ChainBatches:
    """Batches of toolchains; the one of an iteration depends on the logs, the seed and its number alone.

    Patches are cut, mirrored and transposed at random. Toolchains without a tool are left out: they teach nothing.

    Args:
        logs: of equal actions; together one set of toolchains.
        batch_size: toolchains in a batch.
        crop: height and width in pixels of what is cut.
        seed: together with an iteration's number, what is drawn.
        pools: for some tools, by their numbers, pairs of their own task.
        own_task: share of a batch that comes from the pools, from all of them equally often.
        device: where batches go.
        kept_aside: so many of the last toolchains of each log are not drawn, half of it at most: logs of one seed hold
            the same pairs.

    Raises:
        ValueError: if there is no toolchain, or patches are smaller than the crop; if there can be no own tasks.
    """

    def __init__(
        self,
        logs: Sequence[ToolchainLog],
        batch_size: int,
        crop: int,
        seed: int,
        pools: Mapping[int, Pairs] | None = None,
        own_task: float = 0.0,
        device: str | torch.device = "cpu",
        kept_aside: int = 0,
    ) -> None:
        self.logs, self.batch_size, self.crop, self.seed, self.device = logs, batch_size, crop, seed, device
        self.pools = dict(pools or {})
        self.own_count = round(own_task * batch_size)
        if own_task and not (self.pools and self.own_count):
            reason = "no tool says what it is made for" if not self.pools else f"it is none of {batch_size} toolchains"
            raise ValueError(f"own_task={own_task}: {reason}")
        sides = [log.header.patch_size for log in logs]
        sides += [min(image.shape[:2]) for pool in self.pools.values() for image in pool.distorted[:1]]
        if min(sides) < crop:
            raise ValueError(f"patches of {min(sides)} pixels are smaller than the crop of {crop}")
        rows = [_used_rows(log) for log in logs]
        ends = [len(log) - min(kept_aside, len(log) // 2) for log in logs]
        rows = [some[some < end] for end, some in zip(ends, rows, strict=True)]
        self._places = np.concatenate([np.stack([np.full_like(some, log), some], 1) for log, some in enumerate(rows)])
        if not len(self._places):
            raise ValueError("the logs hold no toolchain with a tool")
        self.max_steps = max(log.header.max_steps for log in logs)

    def __len__(self) -> int:
        """Toolchains with a tool in the logs."""
        return len(self._places)

    def batch(self, iteration: int) -> ChainBatch:
        """The batch of an iteration."""
        rng = np.random.default_rng([self.seed, iteration])
        images: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        chains: list[NDArray[np.int64]] = []
        for number, row in self._places[rng.integers(len(self._places), size=self.batch_size - self.own_count)]:
            found = self.logs[number][[int(row)]]
            images.append((found.distorted[0], found.reference[0]))
            chains.append(found.chain[0])
        tools = sorted(self.pools)
        for tool in np.resize(rng.permutation(tools), self.own_count):
            pool = self.pools[int(tool)]
            pair = pool[int(rng.integers(len(pool)))]
            images.append((pair.distorted, pair.reference))
            chains.append(np.array([tool]))
        cut = [self._cut(pair, rng) for pair in images]
        distorted, reference = (
            bytes_to_floats(torch.from_numpy(np.stack(column)).to(self.device)) for column in zip(*cut, strict=True)
        )
        chain = np.full((len(chains), self.max_steps), NO_TOOL)
        for place, tools_used in enumerate(chains):
            chain[place, : len(tools_used)] = tools_used
        return ChainBatch(distorted, reference, torch.from_numpy(chain))

    def _cut(
        self, pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        height, width = pair[0].shape[:2]
        top, left = int(rng.integers(height - self.crop + 1)), int(rng.integers(width - self.crop + 1))
        symmetry = int(rng.integers(SYMMETRIES))

        def turned(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
            part = image[top : top + self.crop, left : left + self.crop]
            part = part[:: -1 if symmetry & 1 else 1, :: -1 if symmetry & 2 else 1]
            return part.transpose(1, 0, 2) if symmetry & 4 else part

        return turned(pair[0]), turned(pair[1])


def _used_rows(log: ToolchainLog) -> NDArray[np.int64]:
    """The numbers of a log's toolchains with at least one tool."""
    used = [(log.part(number)["toolchain"] != NO_TOOL).any(1) for number in range(len(log.lengths))]
    return np.flatnonzero(np.concatenate(used)) if used else np.empty(0, np.int64)
