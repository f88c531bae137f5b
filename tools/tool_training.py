"""The training of one tool: reference recipe `fast`, with everything it needs to stop and go on."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from restore_env.metrics import psnr
from restore_env.toolbox.tool import Tool
from tools.checkpoint import load_checkpoint, save_checkpoint
from tools.specs import ToolSpec
from tools.training_data import Batch, TrainingBatches


@dataclass(frozen=True)
class Recipe:
    """How a tool is trained."""

    learning_rate: float = 1e-3
    """Peak of Adam's learning rate, which falls as half a cosine over the budget."""
    warm_up: int = 500
    """Iterations over which the learning rate rises first; with a short rise many ReLUs die, never to come back."""
    batch_size: int = 16
    """Patches in a batch."""
    crop: int = 48
    """Height and width of a patch in pixels."""
    clip: float = 0.1
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the exponential average of the weights; the average is what becomes the tool."""
    branch_scale: float = 0.1
    """Factor on the first weights of the last convolution of each branch, so that training starts near the identity."""


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


@dataclass
class ToolTraining:
    """Trains one tool; call `run`.

    Stopped at any moment, it goes on from its last checkpoint as if it had never stopped: a batch depends on the seed
    and the iteration alone, and all else is in the checkpoint. With a budget in iterations the result on a CPU is the
    same to the bit; in minutes, how many iterations fit depends on the machine.

    Args:
        spec: the tool.
        batches: its training data.
        validation: distorted and reference patches that it is measured on.
        budget: when it ends.
        checkpoint: where its state is kept.
        recipe: how it is trained.
        seed: of the first weights.
        bfloat16: whether convolutions compute in bfloat16 (the weights stay in float32).
    """

    spec: ToolSpec
    batches: TrainingBatches
    validation: Batch
    budget: Budget
    checkpoint: Path
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    bfloat16: bool = False

    def __post_init__(self) -> None:
        self.network = self._new_network()
        self.average = self._new_network()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.recipe.learning_rate)
        self.iteration = 0
        self.seconds = 0.0
        self._restore()

    def run(self, report: Callable[[str], None], every: float = 60.0) -> Tool:
        """Train until the budget is used up; checkpoint and report every so many seconds."""
        if self.progress < 1:
            self._train(report, every)
        report(self._line())
        return self.spec.tool(self.average)

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.iteration, self.seconds)

    def validate(self) -> tuple[float, float]:
        """Mean PSNR in dB of the validation patches, before and after the averaged tool."""
        distorted, reference = self.validation
        tool = self.spec.tool(self.average)
        with torch.inference_mode():
            restored = torch.cat([tool(chunk) for chunk in distorted.split(self.recipe.batch_size)])
        return float(psnr(distorted, reference).mean()), float(psnr(restored, reference).mean())

    def step(self, batch: Batch) -> Tensor:
        """One update; returns the loss."""
        distorted, reference = batch
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * schedule(self.progress, self.iteration, self.recipe.warm_up)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            restored = self.network(distorted)
        loss = nn.functional.mse_loss(restored.float(), reference)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self._update_average()
        self.iteration += 1
        return loss.detach()

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

    def _train(self, report: Callable[[str], None], every: float) -> None:
        reported = time.monotonic()
        for batch in self._timed(self.batches.since(self.iteration)):
            self.step(batch)
            if time.monotonic() - reported >= every:
                self.save()
                report(self._line())
                reported = time.monotonic()
        self.save()

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Hand out batches until the budget is used up, counting the time spent on them."""
        while self.progress < 1:
            started = time.monotonic()
            yield next(batches)
            self.seconds += time.monotonic() - started

    def _update_average(self) -> None:
        # Early on the plain mean of all weights so far, so that the first, random ones do not linger.
        weight = max(1 - self.recipe.average, 1 / (self.iteration + 1))
        with torch.no_grad():
            for mean, parameter in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(parameter, weight)

    def _new_network(self) -> nn.Module:
        network = self.spec.network(self.seed).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.split(".")[0] in ("conv3", "conv2a", "conv2d"):
                    parameter.mul_(self.recipe.branch_scale)
        return network  # type: ignore[no-any-return]

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
            "data": repr(self.batches),
            "precision": "bfloat16" if self.bfloat16 else "float32",
        }

    def _line(self) -> str:
        before, after = self.validate()
        left = self.seconds / self.progress - self.seconds if self.progress else float("nan")
        return (
            f"{self.spec.name}: iteration {self.iteration}, {before:.2f} -> {after:.2f} dB, "
            f"{self.seconds / 60:.1f} min, {max(0.0, left) / 60:.1f} min left"
        )


def schedule(progress: float, iteration: int, warm_up: int) -> float:
    """Factor on the learning rate: half a cosine down to zero over the budget, times a linear rise at the start."""
    return min(1.0, (iteration + 1) / max(1, warm_up)) * 0.5 * (1 + cos(pi * min(1.0, progress)))
