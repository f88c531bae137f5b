"""Trying toolchains: all of them, or those that begin well."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Toolbox
from restore_env.utils.progress import Progress

Chain = tuple[int, ...]


@dataclass(frozen=True)
class ChainTable:
    """What every toolchain makes of every image.

    Attributes:
        chains: the toolchains as actions, the empty one first; a toolchain comes before those that it begins.
        psnr: float64 (n, chains), in dB.
        actions: int64 (chains, max_steps), the toolchains filled up with *stop*.
    """

    chains: list[Chain]
    psnr: Tensor
    actions: Tensor


def chain_psnrs(
    toolbox: Toolbox, images: Tensor, reference: Tensor, max_steps: int, progress: Progress | None = None
) -> ChainTable:
    """Apply every toolchain of at most `max_steps` tools to every image.

    Args:
        toolbox: the tools.
        images: float32 (n, 3, h, w).
        reference: the same shape.
        max_steps: tools in a toolchain at most.
        progress: called with the share that is done.
    """
    chains: list[Chain] = []
    values: list[Tensor] = []
    total = count_chains(len(toolbox), max_steps)
    for chain, result in _results(toolbox, images, max_steps):
        chains.append(chain)
        values.append(psnr(result, reference).cpu())
        if progress is not None:
            progress(len(chains) / total)
    return ChainTable(chains, torch.stack(values, dim=1), _padded(chains, toolbox.stop, max_steps))


def count_chains(tools: int, max_steps: int) -> int:
    """How many toolchains of at most `max_steps` tools there are, the empty one among them."""
    return sum(tools**length for length in range(max_steps + 1))


def best_fixed_toolchain(
    toolbox: Toolbox,
    images: Tensor,
    reference: Tensor,
    max_steps: int,
    beam: int | None = None,
    progress: Progress | None = None,
) -> Chain:
    """The toolchain with the highest mean PSNR over a set of images.

    Args:
        toolbox: the tools.
        images: float32 (n, 3, h, w).
        reference: the same shape.
        max_steps: tools in a toolchain at most.
        beam: how many of the toolchains of one length are made longer; None tries every toolchain.
        progress: called with the share that is done.

    Returns:
        Its actions; the empty toolchain if no tool helps.
    """
    found: dict[Chain, float] = {(): float(psnr(images, reference).mean())}
    kept: list[Chain] = [()]
    for length in range(1, max_steps + 1):
        reached = _extended(toolbox, images, reference, kept)
        found |= reached
        kept = sorted(reached, key=reached.__getitem__, reverse=True)[:beam]
        if progress is not None:
            progress(length / max_steps)
    return max(found, key=found.__getitem__)


def _extended(toolbox: Toolbox, images: Tensor, reference: Tensor, chains: list[Chain]) -> dict[Chain, float]:
    """Mean PSNR of every toolchain that is one of `chains` and one more tool."""
    values = {}
    for chain in chains:
        start = images
        for action in chain:
            start = _applied(toolbox, start, action)
        for action in range(len(toolbox)):
            values[(*chain, action)] = float(psnr(_applied(toolbox, start, action), reference).mean())
    return values


def _results(toolbox: Toolbox, images: Tensor, steps: int, chain: Chain = ()) -> Iterator[tuple[Chain, Tensor]]:
    """Every toolchain of at most `steps` tools with what it makes of the images, each prefix computed once."""
    yield chain, images
    if steps:
        for action in range(len(toolbox)):
            yield from _results(toolbox, _applied(toolbox, images, action), steps - 1, (*chain, action))


def _applied(toolbox: Toolbox, images: Tensor, action: int) -> Tensor:
    return toolbox.apply(images, [action] * len(images))


def _padded(chains: list[Chain], stop: int, max_steps: int) -> Tensor:
    return torch.tensor([[*chain, *[stop] * (max_steps - len(chain))] for chain in chains])
