"""What each tool is made for, and what the tools of several toolboxes reach on it."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.intervals import mean_difference
from restore_env import Pairs, Toolbox
from restore_env.data.distortions import Distortion
from restore_env.restoration.metrics import psnr
from tools.specs import DISTORTIONS, distortion_of


def own_distortions(toolboxes: Sequence[Toolbox]) -> dict[str, Distortion]:
    """Return the distortion that each tool of the first toolbox is made for, by the tool's name.

    Tools that are made for no known distortion are left out.

    Raises:
        ValueError: if no tool is left, or another toolbox lacks one of them.
    """
    first, *others = toolboxes
    found = {
        tool.name: distortion_of(tool.name, tool.removes, tool.interval)
        for tool in first
        if tool.removes in DISTORTIONS and tool.interval
    }
    if not found:
        raise ValueError(f"toolbox={first.name!r} has no tool that says which of {', '.join(DISTORTIONS)} it removes")
    for toolbox in others:
        missing = [name for name in found if name not in toolbox.names]
        if missing:
            raise ValueError(f"the toolbox {toolbox.name!r} has no tool {missing[0]!r}")
    return found


def psnr_along(toolboxes: Sequence[Toolbox], tools: Sequence[str], pairs: Pairs) -> Tensor:
    """Return the PSNR of each patch before the first and after each tool of a toolchain.

    PSNR is that of what the tools compute, neither clipped nor rounded, as in the environment.

    Args:
        toolboxes: each applies its own tools of these names.
        tools: names of the tools, in order.
        pairs: n distorted patches and their references.

    Returns:
        dB, float64 (toolboxes, 1 + tools, n).
    """
    images, reference = pairs.to_tensors()
    curves = []
    for toolbox in toolboxes:
        states = [images]
        for tool in tools:
            actions = torch.full((len(images),), toolbox.names.index(tool))
            states.append(toolbox.apply(states[-1], actions))
        curves.append(torch.stack([psnr(state, reference) for state in states]))
    return torch.stack(curves)


def compare_tools(name: str, toolboxes: Sequence[Toolbox], pairs: Pairs) -> dict[str, float | list[float]]:
    """Return the mean PSNR in dB of patches, and of what each toolbox's tool of that name makes of them."""
    values = psnr_along(toolboxes, [name], pairs)
    return {
        "psnr_in": float(values[0, 0].mean()),
        "psnr_out": means(values[:, -1]),
        **first_two_differ(values[:, -1], pairs.photos),
    }


def psnr_cells(compared: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the cells of a table for what `compare_tools` returns, by the heads of their columns.

    Args:
        compared: mean PSNR in dB of the patches, and after each toolbox's tool.
        names: of the toolboxes.
    """
    values = zip(("input", *names), (compared["psnr_in"], *compared["psnr_out"]), strict=True)
    return {name: f"{value:.2f}" for name, value in values}


def means(rows: Tensor) -> list[float]:
    """Return the mean of each row of a tensor."""
    return [float(row.mean()) for row in rows]


def first_two_differ(psnrs: Tensor, photos: Sequence[Hashable]) -> dict[str, float]:
    """Return by how much the first toolbox exceeds the second, and half its 95% interval; empty for one toolbox.

    Args:
        psnrs: dB, (toolboxes, n) of the same patches.
        photos: the photo of each patch.
    """
    if len(psnrs) < 2:
        return {}
    mean, half = mean_difference(psnrs[1].tolist(), psnrs[0].tolist(), photos)
    return {"difference": mean, "difference_95": half}
