"""How tools are trained: the project's recipe `fast`, the paper's, and what all trainings by a recipe share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, nn

from restore_env.training.optimizers import Optimizer, ScheduleWithoutFinal, learning_rate, new_optimizer, take_step
from restore_env.training.trainer import Budget, Status, Training
from restore_env.utils.checks import Count, Device, Name, Natural, Options, Positive, PositiveOrInfinite, ProperFraction
from restore_env.utils.tensors import computes_bfloat16

Loss = Literal["psnr", "mse", "sum"]
RecipeName = Literal["fast", "paper"]
Precision = Literal["float32", "bfloat16"]

PSNR_FLOOR: Final = 1e-5
"""Added to the mean squared error of a patch in the loss "psnr": beyond 50 dB nothing is left to gain."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
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
    learning_rate: Positive = 3e-3
    """Peak of the learning rate."""
    lr_schedule: ScheduleWithoutFinal = "cosine"
    """"cosine": falls as half a cosine to zero over the budget; "steps": divided by 10 after each quarter of it;
    "constant"."""
    warmup_updates: Natural = 50
    """Updates over which the learning rate rises first."""
    batch_size: Count = 4
    """Patches in a batch."""
    crop: Count = 48
    """Height and width of a patch in pixels."""
    loss: Loss = "psnr"
    """"psnr": minus the mean PSNR in dB, which is what tools are measured by. "mse": the mean squared error; the few
    patches with most detail dominate it. "sum": half the squared error summed over a patch, as in VDSR."""
    max_grad_norm: PositiveOrInfinite = 100.0
    """Largest norm of the loss's gradient."""
    ema_decay: ProperFraction = 0.998
    """Decay of the exponential average of the weights, which becomes the tool; 0 takes the last weights."""
    branch_scale: Positive = 0.1
    """Factor on the first weights at the end of each residual branch, so that training starts near the identity."""

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


@dataclass(kw_only=True)
class ToolArgs(Options):
    """The options of every program that trains tools."""

    output: Path
    """Toolbox folder to write."""
    recipe: RecipeName = "fast"
    """fast (SOAP, cosine, average of the weights) or paper (SGD, batches of 64); docs/train-tools.md compares them."""
    minutes: Positive = 60.0
    """Minutes of training."""
    iterations: Count | None = None
    """Iterations, instead of minutes."""
    batch_size: int | None = None
    """Patches or toolchains in a batch, instead of the recipe's."""
    crop: int | None = None
    """Height and width of a training patch in pixels, instead of the recipe's."""
    learning_rate: float | None = None
    """Peak of the learning rate, instead of the recipe's."""
    lr_schedule: ScheduleWithoutFinal | None = None
    """How the learning rate falls, instead of the recipe's schedule."""
    ema_decay: float | None = None
    """Decay of the average of the weights, instead of the recipe's."""
    precision: Literal["auto", Precision] = "auto"
    """float32, bfloat16, or auto: bfloat16 if the device computes with it."""
    device: Device = "cpu"
    """cpu or cuda."""
    seed: Natural = 0
    """Seed of the initial weights and all random numbers."""
    checkpoints: Path | None = None
    """Folder of pools, checkpoints and TensorBoard files; by default runs/ and the output's name."""
    name: Name = ""
    """Name of the toolbox, by default that of its folder."""
    weights: Literal["float32", "float16"] = "float32"
    """Precision in which the toolbox folder stores the weights; float16 takes half the space."""
    licence: str = "not stated"
    """Source and licence of the photos, for the model card."""

    @property
    def budget(self) -> Budget:
        """When a training ends."""
        return Budget(self.iterations, self.minutes)

    def recipe_of(self, recipes: Mapping[RecipeName, Recipe]) -> Recipe:
        """Return the recipe that was chosen, changed by the options that are given.

        Args:
            recipes: the recipes, by name.

        Raises:
            ValueError: if a value is outside its range.
        """
        options = {field.name: getattr(self, field.name, None) for field in fields(Recipe)}
        return replace(recipes[self.recipe], **{name: value for name, value in options.items() if value is not None})


def choose_precision(precision: Precision | Literal["auto"], device: str) -> Precision:
    """Return in which precision convolutions compute on a device."""
    if precision != "auto":
        return precision
    return "bfloat16" if computes_bfloat16(device) else "float32"


def compute_in(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which the convolutions of this thread compute in a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


@dataclass(kw_only=True)
class RecipeTraining(Training):
    """Train one or more tools by a recipe.

    Args:
        data: what the batches are drawn from, in words; a training resumes only with the same data.
        budget: when it ends.
        checkpoint: where its state is kept.
        recipe: how the tools are trained.
        precision: in which convolutions compute; the weights stay in float32.
    """

    data: str
    budget: Budget
    checkpoint: Path
    recipe: Recipe
    precision: Precision = "float32"

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

    def status(self) -> Status:
        """Measure how the training stands; see `Training.status`."""
        before, after = self.validate()
        scalars = {"validation/psnr": after, "validation/gain": after - before}
        return self.new_status(f"{self.name}: iteration {self.iteration}", f"{before:.3f} -> {after:.3f} dB", scalars)
