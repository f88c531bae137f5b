"""The training of one tool, with everything it needs to stop and go on."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from restore_env.restoration.metrics import psnr
from restore_env.toolbox.fingerprint import digest_of_weights
from restore_env.toolbox.tool import Tool
from restore_env.training.ema import update_average
from restore_env.training.trainer import Budget, Progress, Training
from tools.recipes import Recipe
from tools.single.pool import Batch
from tools.specs import ToolSpec

VALIDATION_CHUNK = 16


class Batches(Protocol):
    """Where training data come from; the batch of an iteration always is the same."""

    def batch(self, iteration: int) -> Batch:
        """Distorted and reference, each float32 (batch, 3, h, w) in [0, 1] on the device that trains."""


@dataclass
class ToolTraining(Training):
    """Trains one tool; call `run`.

    A batch depends on the seed and the iteration alone, and all else is in the checkpoint. With a budget in iterations
    the result on a CPU is the same to the bit however often it was stopped; in minutes, how many iterations fit depends
    on the machine.

    Args:
        spec: the tool.
        batches: its training data.
        data: what they are drawn from; a training goes on with the same only.
        validation: distorted and reference patches that it is measured on, on the device that trains.
        budget: when it ends.
        checkpoint: where its state is kept.
        recipe: how it is trained.
        seed: of the first weights.
        bfloat16: whether convolutions compute in bfloat16 (the weights stay in float32).
        start: network of the same sizes to begin with, instead of random weights.
    """

    spec: ToolSpec
    batches: Batches
    data: str
    validation: Batch
    budget: Budget
    checkpoint: Path
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    bfloat16: bool = False
    start: nn.Module | None = None

    def __post_init__(self) -> None:
        self.device = self.validation[0].device
        self.network = self._new_network()
        self.average = self._new_network()
        self.optimizer = self.recipe.new_optimizer(self.network)
        self.loss: Tensor | None = None
        self.restore()

    def advance(self) -> None:
        """One update on the iteration's batch."""
        self.step(self.batches.batch(self.iteration))

    @property
    def tool(self) -> Tool:
        """The tool as it stands: the average of the weights."""
        return self.spec.tool(self.average)

    def validate(self) -> tuple[float, float]:
        """Mean PSNR in dB of the validation patches, before and after the tool."""
        distorted, reference = self.validation
        tool = self.tool
        with torch.inference_mode():
            restored = torch.cat([tool(chunk) for chunk in distorted.split(VALIDATION_CHUNK)])
            return float(psnr(distorted, reference).mean()), float(psnr(restored, reference).mean())

    def step(self, batch: Batch) -> None:
        """One update."""
        distorted, reference = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.progress, self.iteration)
        with self._precision():
            restored = self.network(distorted)
        self.loss = self.recipe.loss_of(restored, reference)
        self.optimizer.zero_grad()
        self.loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.iteration += 1
        update_average(self.average, self.network, self.recipe.average, self.iteration)

    def state(self) -> dict[str, Any]:
        """Weights, their average, and the optimizer's memory."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from those."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def status(self) -> Progress:
        """How the training stands."""
        return Progress(
            self.spec.name,
            self.iteration,
            None if self.loss is None else float(self.loss.detach()),
            *self.validate(),
            self.recipe.rate(self.progress, self.iteration),
            self.seconds,
            self.budget.left(self.iteration, self.seconds),
        )

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def _new_network(self) -> nn.Module:
        network = self.spec.network(self.seed)
        if self.start is not None:
            network.load_state_dict(self.start.state_dict())
        else:
            with torch.no_grad():
                for name, parameter in network.named_parameters():
                    if name.split(".")[0] in ("conv3", "conv2a", "conv2d"):
                        parameter.mul_(self.recipe.branch_scale)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    def settings(self) -> dict[str, Any]:
        """Tool, recipe, seed, data and precision."""
        return {
            "tool": asdict(self.spec),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "data": self.data,
            "precision": "bfloat16" if self.bfloat16 else "float32",
            "start": "" if self.start is None else digest_of_weights([self.start]),
        }
