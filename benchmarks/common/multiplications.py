"""What restoring an image costs in multiplications (paper, Table 3 counts them on patches of 63x63)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from restore_env.evaluation import Evaluation
from restore_env.policies import Policy, Yardstick
from restore_env.restoration.batch import Observation
from restore_env.toolbox import Toolbox


def multiplications(work: Callable[[], Any]) -> float:
    """Multiplications of the convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 2  # each counts with its addition


def of_tools(toolbox: Toolbox, side: int) -> dict[str, float]:
    """Of each tool on one image, by name; 0 for a tool that is no network."""
    image = torch.rand(1, 3, side, side)
    return {tool.name: 0.0 if tool.module is None else multiplications(partial(tool.module, image)) for tool in toolbox}


def of_decision(policy: Policy | Yardstick, toolbox: Toolbox, side: int) -> float | None:
    """Of one look at one image; None for a yardstick, whose search is no part of what it shows."""
    if not isinstance(policy, Policy):
        return None
    black = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    seen = Observation(black, torch.tensor([toolbox.stop]), torch.zeros(1, dtype=torch.int64))
    state = policy.initial_state(1)
    return multiplications(lambda: policy.act(seen, state))


def of_evaluation(found: Evaluation, policy: Policy | Yardstick, toolbox: Toolbox, side: int) -> float | None:
    """Of restoring one image, mean over those of an evaluation; None for a yardstick."""
    decision, tools = of_decision(policy, toolbox, side), of_tools(toolbox, side)
    if decision is None:
        return None
    steps = len(found.tool_ratio)
    chains = [image.toolchain for image in found.images]
    # An episode that is not at its last step ends by the decision to stop.
    looks = sum(min(len(chain) + 1, steps) for chain in chains)
    return (sum(tools[name] for chain in chains for name in chain) + looks * decision) / len(chains)
