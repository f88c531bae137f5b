"""What every training here has in common: a budget, reports, and a checkpoint from which it goes on exactly."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from restore_env.utils.files import replacing

EVERY = 60.0
"""Seconds between checkpoints."""


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

    def left(self, iteration: int, seconds: float) -> float | None:
        """Seconds of training that are left, None if unknown."""
        used = self.progress(iteration, seconds)
        return max(0.0, seconds / used - seconds) if used else None


class Status(Protocol):
    """How a training stands; as a text it is one line."""

    @property
    def iteration(self) -> int:
        """Iterations so far."""

    def scalars(self) -> Mapping[str, float]:
        """What is logged, by TensorBoard's names."""


@dataclass(frozen=True)
class Progress:
    """How the training of one or more tools stands.

    Args:
        name: what is trained.
        iteration: updates so far.
        loss: of the last batch, None before the first.
        before: mean PSNR in dB of the validation patches, before the tool or with the tools as they were.
        after: the same, after the tool or with the tools as they are.
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
            f"{self.name}: iteration {self.iteration}, {loss}{self.before:.3f} -> {self.after:.3f} dB, "
            f"{self.seconds / 60:.1f} min{left}"
        )

    def scalars(self) -> dict[str, float]:
        """What is logged."""
        loss = {} if self.loss is None else {"training/loss": self.loss}
        return loss | {
            "validation/psnr": self.after,
            "validation/gain": self.after - self.before,
            "training/learning_rate": self.rate,
            "training/minutes": self.seconds / 60,
        }


class Training(ABC):
    """Work in iterations; call `run`.

    Stopped at any moment, it goes on from its last checkpoint as if it had never stopped: what an iteration does
    depends on the state, the number of the iteration, and the share of the budget that is used. With a budget in
    iterations the result on a CPU is the same to the bit; in minutes the share depends on the machine.

    Args:
        budget: when it ends.
        checkpoint: where its state is kept.
    """

    budget: Budget
    checkpoint: Path
    iteration: int = 0
    seconds: float = 0.0
    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Counts the seconds of training; `time.process_time` lets trainings be compared that share a busy processor."""

    @abstractmethod
    def advance(self) -> None:
        """One iteration; raises `iteration` by one."""

    @abstractmethod
    def status(self) -> Status:
        """How the training stands."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What must be the same for a training to go on; the budget may differ, to train for longer."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next iteration depends on, but for `iteration` and `seconds`."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; raise a KeyError, TypeError or RuntimeError if it does not fit."""

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.iteration, self.seconds)

    def run(
        self, report: Callable[[Any], None], stopping: Callable[[], bool] = lambda: False, every: float = EVERY
    ) -> bool:
        """Train until the budget is used up, or until `stopping`; report and checkpoint every so many seconds.

        Args:
            report: called with the status.
            stopping: asked after every iteration.
            every: seconds between two checkpoints.

        Returns:
            whether the budget is used up.
        """
        reported = time.monotonic()
        while self.progress < 1 and not stopping():
            started = self.clock()
            self.advance()
            self.seconds += self.clock() - started
            if time.monotonic() - reported >= every:
                report(self.status())
                self.save()
                reported = time.monotonic()
        report(self.status())
        self.save()
        return self.progress >= 1

    def save(self) -> None:
        """Write the checkpoint."""
        position = {"settings": self.settings(), "iteration": self.iteration, "seconds": self.seconds}
        save_checkpoint(self.checkpoint, position | self.state())

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            ValueError: if it is damaged or belongs to another training.
        """
        state: dict[str, Any] | None = load_checkpoint(self.checkpoint)
        if state is None:
            return
        settings = self.settings()
        differing = [key for key, value in settings.items() if state.get("settings", {}).get(key) != value]
        if differing:
            raise ValueError(
                f"{self.checkpoint}: belongs to a training with another {differing[0]}; delete it to start afresh, or "
                "choose another folder of checkpoints"
            )
        try:
            self.load_state(state)
            self.iteration, self.seconds = state["iteration"], state["seconds"]
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{self.checkpoint}: not a checkpoint of this training") from error


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, texts, lists and dictionaries.

    Args:
        path: where to; the folder is made.
        state: what `load_checkpoint` shall return.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a state, or None if there is no such file; nothing but tensors and plain values is ever unpickled.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"{path}: not a checkpoint, or damaged; delete it to start afresh") from error
    return state
