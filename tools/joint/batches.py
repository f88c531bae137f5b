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
from restore_env.utils.tensors import SYMMETRIES, augment_dihedral, bytes_to_floats


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
    """Batches of toolchains; each depends only on the logs, the seed and the iteration's number.

    Patches are cut, mirrored and transposed at random. Toolchains without a tool are left out: they teach nothing.

    Args:
        logs: logs of the same actions; together they are one set of toolchains.
        batch_size: toolchains in a batch.
        crop: height and width of the patches in pixels.
        seed: together with an iteration's number, it determines what is drawn.
        pools: for some tools, by their numbers, pairs of their own task.
        own_task: share of a batch that comes from the pools, equally often from each.
        device: where batches go.
        held_out: number of toolchains at the end of each log that are not drawn, at most half of the log. Logs of one
            seed hold the same pairs.

    Raises:
        ValueError: if there is no toolchain, patches are smaller than the crop, or own tasks are not possible.
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
        held_out: int = 0,
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
        self._places = np.concatenate([_places(number, log, held_out) for number, log in enumerate(logs)])
        if not len(self._places):
            raise ValueError("the logs hold no toolchain with a tool")
        self.max_steps = max(log.header.max_steps for log in logs)

    def __len__(self) -> int:
        """Return the number of toolchains with a tool in the logs."""
        return len(self._places)

    def batch(self, iteration: int) -> ChainBatch:
        """Return the batch of an iteration."""
        rng = np.random.default_rng([self.seed, iteration])
        drawn = self._logged(rng) + self._own_tasks(rng)
        images = np.stack([self._cut(pair, rng) for pair, _ in drawn], 1)  # n of (2, h, w, 3) -> (2, n, h, w, 3)
        distorted, reference = (bytes_to_floats(part.to(self.device)) for part in torch.from_numpy(images))
        chain = np.full((len(drawn), self.max_steps), NO_TOOL)
        for row, (_, tools) in zip(chain, drawn, strict=True):
            row[: len(tools)] = tools
        return ChainBatch(distorted, reference, torch.from_numpy(chain))

    def _logged(self, rng: np.random.Generator) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Draw toolchains from the logs: images (2, h, w, 3), distorted and reference, and the tools applied."""
        places = self._places[rng.integers(len(self._places), size=self.batch_size - self.own_count)]
        found = [self.logs[number][[int(row)]] for number, row in places]
        return [(np.concatenate([one.distorted, one.reference]), one.chain[0]) for one in found]

    def _own_tasks(self, rng: np.random.Generator) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Draw pairs of single tools' tasks, in the same form."""
        drawn = []
        for tool in np.resize(rng.permutation(sorted(self.pools)), self.own_count):
            pair = self.pools[int(tool)][int(rng.integers(len(self.pools[int(tool)])))]
            drawn.append((np.stack([pair.distorted, pair.reference]), np.array([tool])))
        return drawn

    def _cut(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Cut, mirror and transpose the images (2, h, w, 3) of a pair alike."""
        top, left = (int(rng.integers(side - self.crop + 1)) for side in images.shape[1:3])
        part = images[:, top : top + self.crop, left : left + self.crop]
        return augment_dihedral(part, int(rng.integers(SYMMETRIES)))


def _places(number: int, log: ToolchainLog, held_out: int) -> NDArray[np.int64]:
    """Return where the toolchains with a tool lie that may be drawn: rows of the log's number and the toolchain's."""
    used = [(log.part(part)["toolchain"] != NO_TOOL).any(1) for part in range(len(log.lengths))]
    rows = np.flatnonzero(np.concatenate(used)) if used else np.empty(0, np.int64)
    rows = rows[rows < len(log) - min(held_out, len(log) // 2)]
    return np.stack([np.full_like(rows, number), rows], 1)  # twice (rows,) -> (rows, 2)
