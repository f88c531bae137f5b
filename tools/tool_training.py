"""The training of one tool, with everything it needs to stop and go on."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from restore_env.metrics import psnr
from restore_env.toolbox.tool import Tool
from tools.checkpoint import load_checkpoint, save_checkpoint
from tools.recipes import Recipe
from tools.specs import ToolSpec
from tools.training_data import Batch

VALIDATION_CHUNK = 16
EVERY = 60.0
"""Seconds between checkpoints."""


class Batches(Protocol):
    """Where training data come from; the batch of an iteration always is the same."""

    def batch(self, iteration: int) -> Batch:
        """Distorted and reference, each float32 (batch, 3, h, w) in [0, 1] on the device that trains."""


@dataclass(frozen=True)
class Budget:
    """When a training is over: after so many iterations, or so many minutes of training."""

    iterations: int | None = None
    minutes: float | None = None

    def progress(self, iteration: int, seconds: float) -> float:
        """Share of the budget that is used; 1 or more when it is used up."""
        if self.iterations is not None:
            return iteration / self.iterations if self.iterations else 1.0
        return seconds / (60 * (self.minutes or 0)) if self.minutes else 1.0


@dataclass(frozen=True)
class Progress:
    """How a training stands.

    Args:
        name: the tool's name.
        iteration: updates so far.
        loss: of the last batch, None before the first.
        before: mean PSNR in dB of the validation patches.
        after: the same, after the tool.
        rate: the learning rate.
        seconds: of training so far.
        left: seconds of training that are left, None if unknown.
    """

    name: str
    iteration: int
    loss: float | None
    before: float
    after: float
    rate: float
    seconds: float
    left: float | None

    def __str__(self) -> str:
        loss = "" if self.loss is None else f"loss {self.loss:.3g}, "
        left = "" if self.left is None else f", {self.left / 60:.1f} min left"
        return (
            f"{self.name}: iteration {self.iteration}, {loss}{self.before:.2f} -> {self.after:.2f} dB, "
            f"{self.seconds / 60:.1f} min{left}"
        )


@dataclass
class ToolTraining:
    """Trains one tool; call `run`.

    Stopped at any moment, it goes on from its last checkpoint as if it had never stopped: a batch depends on the seed
    and the iteration alone, and all else is in the checkpoint. With a budget in iterations the result on a CPU is the
    same to the bit; in minutes, how many iterations fit depends on the machine.

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

    def __post_init__(self) -> None:
        self.device = self.validation[0].device
        self.network = self._new_network()
        self.average = self._new_network()
        self.optimizer = self.recipe.new_optimizer(self.network)
        self.iteration = 0
        self.seconds = 0.0
        self.loss: Tensor | None = None
        self._restore()

    def run(
        self, report: Callable[[Progress], None], stopping: Callable[[], bool] = lambda: False, every: float = EVERY
    ) -> bool:
        """Train until the budget is used up, or until `stopping`; checkpoint and report every so many seconds.

        Returns:
            whether the budget is used up.
        """
        reported = time.monotonic()
        while self.progress < 1 and not stopping():
            started = time.monotonic()
            self.step(self.batches.batch(self.iteration))
            self.seconds += time.monotonic() - started
            if time.monotonic() - reported >= every:
                self.save()
                report(self.state())
                reported = time.monotonic()
        self.save()
        report(self.state())
        return self.progress >= 1

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.iteration, self.seconds)

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
        self._update_average()
        self.iteration += 1

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "settings": self._settings(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
        }
        save_checkpoint(self.checkpoint, state)

    def state(self) -> Progress:
        """How the training stands."""
        left = self.seconds / self.progress - self.seconds if self.progress else None
        loss = None if self.loss is None else float(self.loss.detach())
        rate = self.recipe.rate(self.progress, self.iteration)
        return Progress(
            self.spec.name,
            self.iteration,
            loss,
            *self.validate(),
            rate,
            self.seconds,
            None if left is None else max(0.0, left),
        )

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def _update_average(self) -> None:
        # Early on the plain mean of all weights so far, so that the first, random ones do not linger.
        weight = max(1 - self.recipe.average, 1 / (self.iteration + 1))
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(parameter, weight)

    def _new_network(self) -> nn.Module:
        network = self.spec.network(self.seed)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.split(".")[0] in ("conv3", "conv2a", "conv2d"):
                    parameter.mul_(self.recipe.branch_scale)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    def _restore(self) -> None:
        state: dict[str, Any] | None = load_checkpoint(self.checkpoint)
        if state is None:
            return
        settings = self._settings()
        differing = [key for key, value in settings.items() if state.get("settings", {}).get(key) != value]
        if differing:
            raise ValueError(
                f"{self.checkpoint}: belongs to a training with another {differing[0]}; delete it to start afresh, or "
                "choose another folder of checkpoints"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.iteration, self.seconds = state["iteration"], state["seconds"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{self.checkpoint}: not a checkpoint of the tool {self.spec.name!r}") from error

    def _settings(self) -> dict[str, Any]:
        """What must be the same for a training to go on; the budget may differ, to train for longer."""
        return {
            "tool": asdict(self.spec),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "data": self.data,
            "precision": "bfloat16" if self.bfloat16 else "float32",
        }
