"""Searches over toolchains: an exhaustive one for each image, and one for the best fixed toolchain."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor

from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Toolbox
from restore_env.utils.progress import Progress

Chain = tuple[int, ...]
"""A toolchain as actions."""

MOST_CHAINS: Final = 10**6
"""Toolchains that an exhaustive search may apply: twelve tools and five steps make 271,453."""


class ChainTable(NamedTuple):
    """The PSNR that each toolchain reaches on each image.

    Attributes:
        chains: the toolchains. The empty one is first, and each comes before those that extend it.
        psnr: float64 (n, chains), in dB.
        actions: int64 (chains, max_steps), the toolchains filled up with *stop*.
    """

    chains: list[Chain]
    psnr: Tensor
    actions: Tensor


def chain_psnrs(
    toolbox: Toolbox, images: Tensor, reference: Tensor, max_steps: int, progress: Progress | None = None
) -> ChainTable:
    """Apply each toolchain of at most `max_steps` tools to each image.

    Args:
        toolbox: the toolbox.
        images: float32 (n, 3, h, w), distorted images.
        reference: float32 (n, 3, h, w), reference images.
        max_steps: largest number of tools in a toolchain.
        progress: called with the share of the toolchains that are done.

    Returns:
        The table of all toolchains, the empty one included.

    Raises:
        ValueError: if these are more than a million toolchains.

    Example:
        >>> from restore_env import Tool
        >>> toolbox = Toolbox([Tool("up", lambda images: images + 0.1), Tool("down", lambda images: images - 0.1)])
        >>> images = torch.full((1, 3, 16, 16), 0.5)
        >>> table = chain_psnrs(toolbox, images, images + 0.2, max_steps=2)
        >>> table.chains
        [(), (0,), (0, 0), (0, 1), (1,), (1, 0), (1, 1)]
        >>> table.chains[int(table.psnr[0].argmax())]
        (0, 0)
    """
    chains: list[Chain] = []
    values: list[Tensor] = []
    total = _count_chains(len(toolbox), max_steps)
    for chain, result in _results(toolbox, images, max_steps):
        chains.append(chain)
        values.append(psnr(result, reference).cpu())
        if progress is not None:
            progress(len(chains) / total)
    actions = torch.tensor([[*chain, *[toolbox.stop] * (max_steps - len(chain))] for chain in chains])
    return ChainTable(chains, torch.stack(values, dim=1), actions)


def _count_chains(n_tools: int, max_steps: int) -> int:
    """Return the number of toolchains of at most `max_steps` tools, or raise a `ValueError` if they are too many."""
    total = 0
    for length in range(max_steps + 1):
        total += n_tools**length
        if total > MOST_CHAINS:
            raise ValueError(
                f"max_steps={max_steps} with {n_tools} tools: over {MOST_CHAINS:,} toolchains to try; "
                f"at most {length - 1} steps can be searched"
            )
    return total


def best_fixed_toolchain(
    toolbox: Toolbox,
    images: Tensor,
    reference: Tensor,
    max_steps: int,
    beam: int | None = None,
    progress: Progress | None = None,
) -> Chain:
    """Find the toolchain with the highest mean PSNR over a set of images.

    Args:
        toolbox: the toolbox.
        images: float32 (n, 3, h, w), distorted images.
        reference: float32 (n, 3, h, w), reference images.
        max_steps: largest number of tools in the toolchain.
        beam: number of toolchains of each length that are extended; None extends all, which is an exhaustive search.
        progress: called with the share of the lengths that are done.

    Returns:
        The actions; none if no tool helps.

    Example:
        >>> from restore_env import Tool
        >>> toolbox = Toolbox([Tool("up", lambda images: images + 0.1), Tool("down", lambda images: images - 0.1)])
        >>> images = torch.full((2, 3, 16, 16), 0.5)
        >>> best_fixed_toolchain(toolbox, images, images - 0.2, max_steps=3)
        (1, 1)
    """
    found: dict[Chain, float] = {(): float(psnr(images, reference).mean())}
    kept: list[Chain] = [()]
    for length in range(1, max_steps + 1):
        reached = _extend(toolbox, images, reference, kept)
        found |= reached
        kept = sorted(reached, key=reached.__getitem__, reverse=True)[:beam]
        if progress is not None:
            progress(length / max_steps)
    return max(found, key=found.__getitem__)


def _extend(toolbox: Toolbox, images: Tensor, reference: Tensor, chains: list[Chain]) -> dict[Chain, float]:
    """Extend each toolchain by each tool, and return the mean PSNR of the new toolchains."""
    values = {}
    for chain in chains:
        start = images
        for action in chain:
            start = _apply(toolbox, start, action)
        for action in range(len(toolbox)):
            values[(*chain, action)] = float(psnr(_apply(toolbox, start, action), reference).mean())
    return values


def _results(toolbox: Toolbox, images: Tensor, steps: int, chain: Chain = ()) -> Iterator[tuple[Chain, Tensor]]:
    """Yield each toolchain of at most `steps` tools with the resulting images; each prefix is computed once."""
    yield chain, images
    if steps:
        for action in range(len(toolbox)):
            yield from _results(toolbox, _apply(toolbox, images, action), steps - 1, (*chain, action))


def _apply(toolbox: Toolbox, images: Tensor, action: int) -> Tensor:
    """Apply one tool to all images."""
    return toolbox.apply(images, [action] * len(images))
