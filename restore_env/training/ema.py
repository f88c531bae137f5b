"""The exponential average of a network's weights, which is steadier and better than the last of them."""

import torch
from torch import nn


def update_average(average: nn.Module, network: nn.Module, decay: float, updates: int) -> None:
    """Move the average towards the network.

    Args:
        average: a network of the same kind.
        network: after an update.
        decay: share of the average that stays; 0 makes it the network.
        updates: so far. Early on the average is the plain mean of all weights, so that the first ones do not linger.
    """
    weight = max(1 - decay, 1 / updates)
    with torch.no_grad():
        for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
            mean.lerp_(parameter, weight)
