"""Optimizers by name, and the schedules of the learning rate."""

from collections.abc import Callable, Iterable
from math import cos, pi
from typing import Final, Literal

import torch
from pytorch_optimizer import SOAP
from torch import Tensor, nn

Optimizer = Literal["soap", "adam", "sgd", "plain-sgd"]
"""Names that `new_optimizer` takes."""

ScheduleWithFinal = Literal["cosine", "exponential"]
"""Names of the schedules that end at a given rate."""

ScheduleWithoutFinal = Literal["cosine", "steps", "constant"]
"""Names of the schedules that need no rate at the end."""

Schedule = Literal[ScheduleWithFinal, ScheduleWithoutFinal]
"""Names that `learning_rate` takes."""


def new_optimizer(name: Optimizer, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Return an optimizer by its name.

    Args:
        name: "soap" (`ConvSOAP`), "adam", "sgd" (with momentum 0.9) or "plain-sgd".
        parameters: what it updates.
        learning_rate: the learning rate at first.
    """
    if name == "soap":
        return ConvSOAP(parameters, learning_rate)
    if name == "adam":
        return torch.optim.Adam(parameters, learning_rate)
    return torch.optim.SGD(parameters, learning_rate, momentum=0.9 if name == "sgd" else 0.0)


def learning_rate(
    schedule: Schedule, peak: float, progress: float, updates: int, warmup_updates: int = 0, final: float = 0.0
) -> float:
    """Return the learning rate of an update.

    Args:
        schedule: how it falls from `peak` to `final` over the budget. "cosine": half a cosine; "exponential": by the
            same factor in equal times; "steps": divided by 10 after each quarter; "constant": not at all.
        peak: the largest rate.
        progress: share of the budget that is used.
        updates: updates so far.
        warmup_updates: updates over which the rate rises linearly to the schedule's value first.
        final: the rate at the end, of "cosine" and "exponential".

    Example:
        >>> [learning_rate("steps", 0.1, progress, 100) for progress in (0.0, 0.25, 0.5)]
        [0.1, 0.010000000000000002, 0.0010000000000000002]
        >>> learning_rate("cosine", 0.2, 0.5, updates=4, warmup_updates=10)
        0.05
    """
    progress, rising = min(1.0, progress), min(1.0, (updates + 1) / max(1, warmup_updates))
    if schedule == "exponential":
        return float(rising * peak * (final / peak) ** progress)
    if schedule == "cosine":
        return rising * (final + (peak - final) * (1 + cos(pi * progress)) / 2)
    falling: float = 0.1 ** min(3, int(4 * progress)) if schedule == "steps" else 1.0
    return rising * peak * falling


def take_step(optimizer: torch.optim.Optimizer, network: nn.Module, learning_rate: float, max_grad_norm: float) -> None:
    """Update a network by the gradients of its parameters.

    Args:
        optimizer: updates the network's parameters.
        network: its gradients are clipped in place.
        learning_rate: the rate of this update.
        max_grad_norm: largest norm of all gradients together.
    """
    nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()


class ConvSOAP(SOAP):
    """SOAP, Adam in the eigenbasis of Shampoo (Vyas et al., arXiv 2409.11321), for small convolutional networks.

    A kernel is a tensor (outputs, height x width, inputs) with an eigenbasis for each of the three. The eigenbases of a
    matrix (outputs, height x width x inputs) cost more, and tools learnt slower with them.

    Args:
        parameters: what it updates.
        learning_rate: the learning rate at first.

    Raises:
        ValueError: if a kernel is laid out in such a way that no such tensor shares its memory.
    """

    LARGEST: Final = 900
    """Side of the largest matrix of gradients that gets an eigenbasis."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.tensors = [nn.Parameter(_unfolded(parameter.detach())) for parameter in self.parameters]
        for tensor, parameter in zip(self.tensors, self.parameters, strict=True):
            if tensor.data_ptr() != parameter.data_ptr():
                raise ValueError(f"a parameter {tuple(parameter.shape)} is laid out in an unusual way")
        super().__init__(self.tensors, learning_rate, weight_decay=0.0, max_precondition_dim=self.LARGEST)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the parameters by their gradients."""
        for tensor, parameter in zip(self.tensors, self.parameters, strict=True):
            tensor.grad = None if parameter.grad is None else _unfolded(parameter.grad)
        return super().step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def _unfolded(tensor: Tensor) -> Tensor:
    """Return a kernel (o, i, h, w) as (o, h * w, i), in the same memory; other parameters as they are."""
    # (o, i, h, w) -> (o, h, w, i) -> (o, h * w, i)
    return tensor.permute(0, 2, 3, 1).flatten(1, 2) if tensor.ndim == 4 else tensor
