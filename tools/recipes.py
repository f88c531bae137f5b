"""How a tool is trained: the project's recipe `fast`, and the paper's."""

from dataclasses import dataclass
from math import cos, pi
from typing import Final

import torch
from torch import Tensor, nn

from restore_env.training.optimizers import new_optimizer

CHOICES: Final = {
    "optimizer": ("soap", "adam", "sgd", "plain-sgd"),
    "loss": ("psnr", "mse", "sum"),
    "schedule": ("cosine", "steps", "constant"),
}

PSNR_FLOOR: Final = 1e-5
"""Added to the mean squared error of a patch in the loss "psnr": beyond 50 dB nothing is left to gain."""


@dataclass(frozen=True)
class Recipe:
    """How a tool is trained; the defaults are the recipe `fast`.

    Raises:
        ValueError: if a number cannot be.
    """

    optimizer: str = "soap"
    """"soap" (Adam in the eigenbasis of Shampoo: arXiv 2409.11321), "adam", "sgd" with momentum 0.9, or "plain-sgd"."""
    learning_rate: float = 3e-3
    """Its peak."""
    schedule: str = "cosine"
    """"cosine": falls as half a cosine to zero over the budget; "steps": divided by 10 after each quarter of it;
    "constant"."""
    warm_up: int = 50
    """Iterations over which the learning rate rises first."""
    batch_size: int = 4
    """Patches in a batch."""
    crop: int = 48
    """Height and width of a patch in pixels."""
    loss: str = "psnr"
    """"psnr": minus the mean PSNR in dB, which is what tools are measured by; "mse": the mean squared error, which is
    ruled by the few patches with most detail; "sum": half the squared error summed over a patch, as in VDSR."""
    clip: float = 100.0
    """Largest norm of the loss's gradient."""
    average: float = 0.998
    """Decay of the exponential average of the weights, which is what becomes the tool; 0 takes the last weights."""
    branch_scale: float = 0.1
    """Factor on the first weights of the last convolution of each branch, so that training starts near the identity."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is not one of {', '.join(map(repr, choices))}")
        for name in ("learning_rate", "batch_size", "crop", "clip", "branch_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not more than 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"average={self.average} is not in [0, 1)")

    def rate(self, progress: float, iteration: int) -> float:
        """The learning rate when a share of the budget is used."""
        progress = min(1.0, progress)
        falling = {
            "cosine": 0.5 * (1 + cos(pi * progress)),
            "steps": 0.1 ** min(3, int(4 * progress)),
            "constant": 1.0,
        }
        return self.learning_rate * falling[self.schedule] * min(1.0, (iteration + 1) / max(1, self.warm_up))

    def loss_of(self, restored: Tensor, reference: Tensor) -> Tensor:
        """The loss of a batch, (n, 3, h, w) each."""
        errors = (restored.float() - reference).square().mean((1, 2, 3))
        if self.loss == "psnr":
            return 10 * (errors + PSNR_FLOOR).log10().mean()
        return errors.mean() * (reference[0].numel() / 2 if self.loss == "sum" else 1)

    def new_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """An optimizer of a network's parameters."""
        return new_optimizer(self.optimizer, network.parameters(), self.learning_rate)


RECIPES: Final = {
    "fast": Recipe(),
    # Paper, section 3.3, which follows VDSR (Kim et al., CVPR 2016) and does not say where gradients are clipped; the
    # summed loss makes them long, so that nearly every step is clipped.
    "paper": Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        schedule="steps",
        warm_up=0,
        batch_size=64,
        crop=63,
        clip=0.4,
        loss="sum",
        average=0.0,
    ),
}
"""The recipes of single tools, by name."""

JOINT_RECIPES: Final = {
    "fast": Recipe(learning_rate=1e-3, batch_size=16),
    # Paper, section 3.4 and Algorithm 1: M = 64 whole patches, a step of 1e-4 along the gradient of the summed loss.
    # Unclipped, those steps diverge at once; clipped as the single tools' gradients are, they do not.
    "paper": Recipe(
        optimizer="plain-sgd",
        learning_rate=1e-4,
        schedule="constant",
        warm_up=0,
        batch_size=64,
        crop=63,
        clip=0.4,
        loss="sum",
        average=0.0,
    ),
}
"""The recipes of joint training, by name."""
