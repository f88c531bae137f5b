"""What every training has in common: a budget, reports, and a checkpoint from which it resumes exactly."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from restore_env.errors import FormatError
from restore_env.utils.checks import Count, Options, PositiveOrInfinite, check_whole
from restore_env.utils.checksums import add_checksum, check_checksum
from restore_env.utils.files import replacing

CHECKPOINT_SECONDS: Final = 60.0
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Budget(Options):
    """State when a training is over: after a number of iterations, or of minutes of training.

    Args:
        iterations: how many there are; None if the minutes count.
        minutes: how long it trains, where no iterations are given.

    Raises:
        ValueError: if one of them is 0 or less.

    Example:
        >>> Budget(iterations=10).progress(iteration=4, seconds=60.0)
        0.4
        >>> Budget(minutes=2).left(iteration=4, seconds=30.0)
        90.0
    """

    iterations: Count | None = None
    minutes: PositiveOrInfinite = inf

    def progress(self, iteration: int, seconds: float) -> float:
        """Return the share of the budget that is used; 1 or more when it is used up."""
        return seconds / (60 * self.minutes) if self.iterations is None else iteration / self.iterations

    def left(self, iteration: int, seconds: float) -> float | None:
        """Return the seconds of training that are left, None if unknown."""
        used = self.progress(iteration, seconds)
        return max(0.0, seconds / used - seconds) if used else None


class Status(NamedTuple):
    """How a training stands.

    Attributes:
        iteration: iterations so far.
        line: what is printed.
        scalars: what is logged, by TensorBoard's names.
    """

    iteration: int
    line: str
    scalars: Mapping[str, float]


class Training(ABC):
    """Train in iterations; call `run`.

    Stopped at any moment, a training resumes from its last checkpoint as if it had never stopped. What an iteration
    does depends on the state, the iteration's number and the share of the budget that is used. With a budget in
    iterations the result on a CPU is the same to the bit; in minutes the share depends on the machine.

    Args:
        name: name of what is trained.
        budget: when it ends.
        checkpoint: where its state is kept.
    """

    name: str
    budget: Budget
    checkpoint: Path
    saved: tuple[str, ...]
    """Names of the attributes that the next iteration depends on, besides `iteration` and `seconds`: plain values, and
    what has a `state_dict`, alone or in lists."""
    iteration: int = 0
    seconds: float = 0.0
    loss: float | Tensor | None = None
    """Loss of the last iteration; None before the first."""
    clock: Callable[[], float] = staticmethod(time.monotonic)
    """Counts the seconds of training; `time.process_time` lets trainings be compared that share a busy processor."""

    @property
    @abstractmethod
    def rate(self) -> float:
        """The learning rate."""

    @abstractmethod
    def advance(self) -> None:
        """Do one iteration and raise `iteration` by one."""

    @abstractmethod
    def status(self) -> Status:
        """Measure how the training stands."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what must be the same for a training to resume; the budget may differ, to train for longer."""

    def new_status(self, count: str, measured: str, scalars: Mapping[str, float]) -> Status:
        """Return the status of a measurement; loss, learning rate and time are added.

        Args:
            count: what was done so far, for the line.
            measured: what was measured, for the line.
            scalars: what is logged of it.
        """
        left = self.budget.left(self.iteration, self.seconds)
        time_left = "" if left is None else f", {left / 60:.1f} min left"
        found = {**scalars, "training/learning_rate": self.rate, "training/minutes": self.seconds / 60}
        if self.loss is not None:
            found["training/loss"] = float(self.loss)
            count += f", loss {found['training/loss']:.3g}"
        return Status(self.iteration, f"{count}, {measured}, {self.seconds / 60:.1f} min{time_left}", found)

    def state(self) -> dict[str, Any]:
        """Return all that the next iteration depends on, but for `iteration` and `seconds`."""
        return {name: _state_of(getattr(self, name)) for name in self.saved}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; raise any error if it does not fit."""
        for name in self.saved:
            value, found = getattr(self, name), state[name]
            if not isinstance(value, list):
                value, found = [value], [found]
            for part, part_state in zip(value, found, strict=True):
                if hasattr(part, "load_state_dict"):
                    part.load_state_dict(part_state)
                else:
                    _check_kind(name, part, part_state)
                    setattr(self, name, state[name])

    @property
    def progress(self) -> float:
        """Share of the budget that is used."""
        return self.budget.progress(self.iteration, self.seconds)

    def run(
        self,
        report: Callable[[Any], None],
        stopping: Callable[[], bool] = lambda: False,
        every: float = CHECKPOINT_SECONDS,
    ) -> bool:
        """Train until the budget is used up, or until `stopping`; report and checkpoint every so many seconds.

        Args:
            report: called with the status.
            stopping: asked after every iteration.
            every: seconds between two checkpoints.

        Returns:
            Whether the budget is used up.
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
        """Resume from the checkpoint, if there is one.

        Raises:
            ValueError: if it is damaged or belongs to another training.
        """
        state: dict[str, Any] | None = load_checkpoint(self.checkpoint)
        if state is None:
            return
        try:
            check_settings(state.get("settings"), self.settings(), self.checkpoint)
            self.load_state(state)
            self.iteration = check_whole("iteration", state["iteration"], 0)
            self.seconds = float(state["seconds"])
            if not 0 <= self.seconds < inf:
                raise ValueError(f"seconds={self.seconds}")
        except FormatError:
            raise
        except Exception as error:  # what belongs to another training fails anywhere, and in any way
            raise FormatError(
                f"{self.checkpoint}: not a checkpoint of this training; delete it to start afresh"
            ) from error


def _state_of(value: Any) -> Any:
    """Return the state of something that a checkpoint holds."""
    if isinstance(value, list):
        return [_state_of(part) for part in value]
    return value.state_dict() if hasattr(value, "state_dict") else value


def _check_kind(name: str, now: Any, found: Any) -> None:
    """Raise a `TypeError` if a plain value or a tensor in a checkpoint cannot replace the one that there is."""
    if isinstance(now, Tensor):
        fits = isinstance(found, Tensor) and (found.shape, found.dtype) == (now.shape, now.dtype)
    else:
        fits = isinstance(found, int | float) or found is now is None
    if not fits:
        raise TypeError(f"{name} is {type(found).__name__}")


def check_settings(before: Any, now: Mapping[str, Any], file: Path) -> None:
    """Raise a `FormatError` if a checkpoint belongs to a training with other settings.

    Args:
        before: the settings in the checkpoint; what is no mapping differs in everything.
        now: the settings of the training that would resume.
        file: the checkpoint, for the message.
    """
    found = before if isinstance(before, Mapping) else {}
    differing = [name for name, value in now.items() if found.get(name) != value]
    if differing:
        raise FormatError(
            f"{file}: belongs to a training with another {differing[0]}; delete it to start afresh, or choose another "
            "folder of checkpoints"
        )


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, texts, lists and dictionaries with its checksum, complete or not at all.

    Args:
        path: where to; the folder is made.
        state: what `load_checkpoint` returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()  # where a file cannot be written, PyTorch's error says neither which nor why
    torch.save(state, content)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
        add_checksum(temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a state, or None if there is no such file; nothing but tensors and plain values is ever unpickled.

    Raises:
        FormatError: if the file is damaged, or is none that `save_checkpoint` wrote.
    """
    if not path.exists():
        return None
    try:
        check_checksum(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict):
            return state
    except Exception as error:  # torch raises many kinds for a damaged file
        raise FormatError(f"{path}: not a checkpoint, or damaged; delete it to start afresh") from error
    raise FormatError(f"{path}: not a checkpoint; delete it to start afresh")
