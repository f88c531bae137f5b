"""The cost of restoring an image in multiplications (paper, Table 3 counts them on patches of 63x63)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.systems import System
from restore_env import Evaluation, Policy, Toolbox
from restore_env.constants import PATCH_SIZE
from restore_env.restoration.batch import Observation


def multiplications(work: Callable[[], Any]) -> float:
    """Return how many multiplications the convolutions and matrix products of a call need.

    Example:
        >>> multiplications(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
        24.0
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 2  # each counts with its addition


def tool_multiplications(toolbox: Toolbox, side: int) -> dict[str, float]:
    """Return the multiplications of each tool on one image, by the tool's name; 0 for a tool that is no network.

    Args:
        toolbox: the tools.
        side: height and width of the image in pixels; a tool may pad them to a multiple.
    """
    return {tool.name: tool.multiplications(side) for tool in toolbox}


def decision_multiplications(policy: Policy, toolbox: Toolbox, side: int) -> float:
    """Return the multiplications of choosing one action for one image."""
    black = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    seen = Observation(black, torch.tensor([toolbox.stop]), torch.zeros(1, dtype=torch.int64))
    state = policy.initial_state(1)
    return multiplications(lambda: policy.act(seen, state))


def evaluation_multiplications(found: Evaluation, system: System, side: int = PATCH_SIZE) -> float:
    """Return the multiplications of restoring one image, mean over the images of an evaluation.

    Args:
        found: what the system reached.
        system: its policy must not need the reference.
        side: height and width of the images in pixels.
    """
    decision = decision_multiplications(system.policy, system.toolbox, side)
    tools = tool_multiplications(system.toolbox, side)
    steps = len(found.tool_ratio)
    chains = [image.toolchain for image in found.images]
    # An episode that is not at its last step ends by the decision to stop.
    decisions = sum(min(len(chain) + 1, steps) for chain in chains)
    return (sum(tools[name] for chain in chains for name in chain) + decisions * decision) / len(chains)
