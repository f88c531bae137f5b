"""The exponential moving average of a network's weights, which is steadier and better than the last weights."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that averages its weights; call `update_parameters(network)` after each update.

    Early on the average is the plain mean of all weights, so that the first ones do not linger.

    Args:
        network: the network to average.
        decay: share of the average that stays at an update; 0 makes it the network.

    Returns:
        The average, itself callable as the network is; `.module` is the averaged network.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> average = averaged(network, decay=0.9)
        >>> for value in (1.0, 2.0, 6.0):
        ...     _ = nn.init.constant_(network.weight, value)
        ...     average.update_parameters(network)
        >>> round(average.module.weight.item(), 3)
        3.0
    """

    def move(means: Sequence[Tensor], parameters: Sequence[Tensor], _: object) -> None:
        # The third argument is the count on the network's device: to read it there would make the program wait for a
        # GPU. The average's own count is on the CPU.
        weight = max(1 - decay, 1 / (int(average.n_averaged) + 1))
        for mean, parameter in zip(means, parameters, strict=True):
            mean.lerp_(parameter, weight)

    average = AveragedModel(network, multi_avg_fn=move)
    return average
