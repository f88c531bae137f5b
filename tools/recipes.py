"""How tools are trained: the project's recipe `fast`, the paper's, and what all trainings by a recipe share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from restore_env.training.optimizers import Optimizer, learning_rate, new_optimizer, take_step
from restore_env.training.trainer import ToolStatus, Training
from restore_env.utils.checks import check_literals

Loss = Literal["psnr", "mse", "sum"]
RecipeName = Literal["fast", "paper"]
LRSchedule = Literal["cosine", "steps", "constant"]

PSNR_FLOOR: Final = 1e-5
"""Added to the mean squared error of a patch in the loss "psnr": beyond 50 dB nothing is left to gain."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a tool is trained; the defaults are the recipe `fast`.

    Raises:
        ValueError: if an option is out of its range.

    Example:
        >>> recipe = Recipe(learning_rate=0.01, warmup_updates=4)
        >>> recipe.rate(progress=0.5, iteration=100)
        0.005
    """

    optimizer: Optimizer = "soap"
    """"soap" (Adam in the eigenbasis of Shampoo: arXiv 2409.11321), "adam", "sgd" with momentum 0.9, or "plain-sgd"."""
    learning_rate: float = 3e-3
    """Peak of the learning rate."""
    lr_schedule: LRSchedule = "cosine"
    """"cosine": falls as half a cosine to zero over the budget; "steps": divided by 10 after each quarter of it;
    "constant"."""
    warmup_updates: int = 50
    """Updates over which the learning rate rises first."""
    batch_size: int = 4
    """Patches in a batch."""
    crop: int = 48
    """Height and width of a patch in pixels."""
    loss: Loss = "psnr"
    """"psnr": minus the mean PSNR in dB, which is what tools are measured by. "mse": the mean squared error; the few
    patches with most detail dominate it. "sum": half the squared error summed over a patch, as in VDSR."""
    max_grad_norm: float = 100.0
    """Largest norm of the loss's gradient."""
    ema_decay: float = 0.998
    """Decay of the exponential average of the weights, which becomes the tool; 0 takes the last weights."""
    branch_scale: float = 0.1
    """Factor on the first weights at the end of each residual branch, so that training starts near the identity."""

    def __post_init__(self) -> None:
        check_literals(self)
        for name in ("learning_rate", "batch_size", "crop", "max_grad_norm", "branch_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not more than 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay} is not in [0, 1)")

    def rate(self, progress: float, iteration: int) -> float:
        """Return the learning rate of an update.

        Args:
            progress: share of the budget that is used.
            iteration: updates so far.
        """
        return learning_rate(self.lr_schedule, self.learning_rate, progress, iteration, self.warmup_updates)

    def loss_of(self, restored: Tensor, reference: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            restored: float (n, 3, h, w).
            reference: float32 (n, 3, h, w).

        Returns:
            float32, a single value.
        """
        errors = (restored.float() - reference).square().mean((1, 2, 3))  # (n, 3, h, w) -> (n,)
        if self.loss == "psnr":
            return 10 * (errors + PSNR_FLOOR).log10().mean()
        return errors.mean() * (reference[0].numel() / 2 if self.loss == "sum" else 1)

    def new_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer of a network's parameters."""
        return new_optimizer(self.optimizer, network.parameters(), self.learning_rate)


RECIPES: Final[Mapping[RecipeName, Recipe]] = {
    "fast": Recipe(),
    # Paper, section 3.3, which follows VDSR (Kim et al., CVPR 2016) and does not say where gradients are clipped; the
    # summed loss makes them long, so that nearly every step is clipped.
    "paper": Recipe(
        optimizer="sgd",
        learning_rate=0.1,
        lr_schedule="steps",
        warmup_updates=0,
        batch_size=64,
        crop=63,
        max_grad_norm=0.4,
        loss="sum",
        ema_decay=0.0,
    ),
}
"""The recipes of single tools, by name."""

JOINT_RECIPES: Final[Mapping[RecipeName, Recipe]] = {
    "fast": Recipe(learning_rate=1e-3, batch_size=16),
    # Paper, section 3.4 and Algorithm 1: M = 64 whole patches, a step of 1e-4 along the gradient of the summed loss.
    # Unclipped, those steps diverge at once; clipped as the single tools' gradients are, they do not.
    "paper": replace(RECIPES["paper"], optimizer="plain-sgd", learning_rate=1e-4, lr_schedule="constant"),
}
"""The recipes of joint training, by name."""


def recipe_of(args: Any, recipes: Mapping[RecipeName, Recipe]) -> Recipe:
    """Return the recipe that a program's options describe.

    Args:
        args: the options: `recipe`, a name in `recipes`, and fields of it where they are not None.
        recipes: the recipes by name.
    """
    options = {field.name: getattr(args, field.name, None) for field in fields(Recipe)}
    return replace(recipes[args.recipe], **{name: value for name, value in options.items() if value is not None})


class RecipeTraining(Training):
    """Train one or more tools by a recipe.

    Args:
        name: name of what is trained.
        recipe: how it is trained.
        loss: of the last batch, None before the first.
    """

    name: str
    recipe: Recipe
    loss: Tensor | None = None

    @abstractmethod
    def validate(self) -> tuple[float, float]:
        """Return the mean PSNR in dB of the validation patches without and with the training."""

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return self.recipe.rate(self.progress, self.iteration)

    def update(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Update a network by its gradients, clipped as the recipe says."""
        take_step(optimizer, network, self.rate, self.recipe.max_grad_norm)

    def status(self) -> ToolStatus:
        """Measure how the training stands."""
        loss = None if self.loss is None else float(self.loss.detach())
        left = self.budget.left(self.iteration, self.seconds)
        return ToolStatus(self.name, self.iteration, loss, *self.validate(), self.rate, self.seconds, left)
