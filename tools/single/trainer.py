"""The training of one tool, which can stop and resume at any moment."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from restore_env.restoration.metrics import psnr
from restore_env.toolbox import Tool
from restore_env.toolbox.fingerprint import digest_of_weights
from restore_env.toolbox.networks import ToolNetwork
from restore_env.training.ema import averaged
from restore_env.training.guard import DivergenceGuard
from tools.recipes import RecipeTraining, compute_in
from tools.single.pool import Batch
from tools.specs import ToolSpec

VALIDATION_CHUNK: Final = 16
"""Patches that the tool restores at once."""


@dataclass(kw_only=True)
class ToolTraining(RecipeTraining):
    """Trains one tool; call `run`.

    A batch depends only on the seed and the iteration, and everything else is in the checkpoint. With a budget in
    iterations the result on a CPU is the same to the bit, however often it was stopped. With a budget in minutes, the
    number of iterations depends on the machine.

    Takes also the arguments of `RecipeTraining`.

    Args:
        spec: the tool.
        batch: returns the batch of an iteration, always the same one.
        validation: distorted and reference patches that it is measured on, on the device that trains.
        seed: of the first weights.
        start: network of the same sizes to begin with, instead of random weights.
    """

    saved = ("network", "average", "optimizer", "guard")

    spec: ToolSpec
    batch: Callable[[int], Batch]
    validation: Batch
    seed: int = 0
    start: nn.Module | None = None

    def __post_init__(self) -> None:
        self.name = self.spec.name
        self.device = self.validation[0].device
        self.network = self._new_network()
        self.average = averaged(self.network, self.recipe.ema_decay)
        self.optimizer = self.recipe.new_optimizer(self.network)
        self.guard = DivergenceGuard()
        self.restore()

    @property
    def tool(self) -> Tool:
        """The tool as it stands: the average of the weights."""
        return self.spec.tool(self.average.module)

    @property
    def rate(self) -> float:
        """Learning rate of the next update."""
        return super().rate * self.guard.scale

    def validate(self) -> tuple[float, float]:
        """Return the mean PSNR in dB of the validation patches, before and after the tool."""
        distorted, reference = self.validation
        tool = self.tool
        with torch.inference_mode():
            restored = torch.cat([tool(chunk) for chunk in distorted.split(VALIDATION_CHUNK)])
            return float(psnr(distorted, reference).mean()), float(psnr(restored, reference).mean())

    def advance(self) -> None:
        """Update the network on the iteration's batch."""
        distorted, reference = self.batch(self.iteration)
        with compute_in(self.precision, self.device):
            restored = self.network(distorted)
        loss = self.recipe.loss_of(restored, reference)
        self.optimizer.zero_grad()
        loss.backward()
        self.loss = loss.detach()
        self.update(self.network, self.optimizer)
        self.average.update_parameters(self.network)
        self.iteration += 1
        if self.recipe.loss == "psnr":
            self._guard(self.loss)

    def settings(self) -> dict[str, Any]:
        """Return tool, recipe, seed, data, precision and the digest of the first network."""
        return {
            "tool": asdict(self.spec),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "data": self.data,
            "precision": self.precision,
            "start": "" if self.start is None else digest_of_weights([self.start]),
        }

    def _guard(self, loss: Tensor) -> None:
        """Go back to the last good weights if the loss, in dB, has jumped."""
        parts: dict[str, Any] = {"network": self.network, "average": self.average, "optimizer": self.optimizer}
        good = self.guard.check(self.iteration, loss, lambda: {name: part.state_dict() for name, part in parts.items()})
        for name, state in (good or {}).items():
            parts[name].load_state_dict(state)

    def _new_network(self) -> ToolNetwork:
        """Return the network with its first weights, on the device that trains."""
        network = self.spec.network(self.seed)
        if self.start is not None:
            network.load_state_dict(self.start.state_dict())
        else:
            with torch.no_grad():
                for parameter in (p for name in network.branch_ends for p in network.get_submodule(name).parameters()):
                    parameter.mul_(self.recipe.branch_scale)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]
