"""The transition: apply the chosen tools to a batch of images, measure, reward, finish."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from restore_env.constants import MAX_STEPS
from restore_env.restoration.metrics import psnr
from restore_env.restoration.rewards import Reward, Transition, as_reward, pay
from restore_env.toolbox import Toolbox
from restore_env.utils.checks import check_choice, check_flag, check_whole
from restore_env.utils.tensors import tensor_to_images

TIME_LIMITS: Final = ("truncate", "terminate")
NO_TOOL: Final = -1
"""Fills the toolchains of a batch beyond their end."""


class Observation(NamedTuple):
    """What a policy sees of n episodes, on the batch's device.

    Attributes:
        image: uint8 (n, h, w, 3), RGB, clipped and rounded.
        previous_action: int64 (n,), the last tool applied; `len(toolbox)` where none was.
        step: int64 (n,), steps taken.
    """

    image: Tensor
    previous_action: Tensor
    step: Tensor


class Outcome(NamedTuple):
    """What a step of n episodes led to; 0 and False in the rows whose episodes had ended before.

    Attributes:
        reward: float64 (n,).
        terminated: bool (n,).
        truncated: bool (n,).
    """

    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Trial(NamedTuple):
    """What a step of n episodes would lead to; on the batch's device.

    Attributes:
        images: float32 (n, 3, h, w), the states after it.
        psnr: float64 (n,), of those, in dB.
        outcome: rewards, and which episodes it would end.
        acting: bool (n,), the episodes that have not ended before.
        applied: bool (n,), the episodes to which a tool is applied.
        actions: int64 (n,), *stop* for episodes that have ended before.
        taken: how many steps the batch had taken when it was tried.
    """

    images: Tensor
    psnr: Tensor
    outcome: Outcome
    acting: Tensor
    applied: Tensor
    actions: Tensor
    taken: int


class RestorationBatch:
    """n episodes of restoration side by side; nothing else applies a tool and pays a reward.

    The images are float32 (n, 3, h, w), RGB, about [0, 1], and are neither clipped nor rounded between tools, as in the
    authors' program. Without references (restoring a photo) PSNR is NaN and rewards are 0.

    Args:
        toolbox: the tools; its device is that of the batch.
        max_steps: tools in a toolchain at most.
        stop_action: whether the action *stop* is allowed.
        time_limit: whether reaching `max_steps` "truncate"s or "terminate"s an episode.
        stop_if_worse: whether an episode terminates when its PSNR falls below that of its input.
        reward: a name of `restore_env.restoration.rewards.REWARDS` or a function.
        record: whether to keep the image of every step in `history`.

    Raises:
        ValueError, TypeError: for an argument that is none of these.
    """

    images: Tensor
    """float32 (n, 3, h, w), the present state."""
    reference: Tensor | None
    """float32 (n, 3, h, w)."""
    psnr: Tensor
    """float64 (n,), of `images`, in dB."""
    psnr_initial: Tensor
    """float64 (n,), at the start of the episodes."""
    previous_action: Tensor
    """int64 (n,)."""
    steps: Tensor
    """int64 (n,), steps taken, *stop* among them."""
    ended: Tensor
    """bool (n,)."""
    toolchains: Tensor
    """int64 (n, max_steps), the actions taken, then -1; *stop* is not among them."""
    history: Tensor | None
    """uint8 (n, max_steps + 1, h, w, 3), the image before the first and after each step."""
    psnr_history: Tensor
    """float64 (n, max_steps + 1), the PSNR of those."""

    def __init__(
        self,
        toolbox: Toolbox,
        *,
        max_steps: int = MAX_STEPS,
        stop_action: bool = True,
        time_limit: str = "truncate",
        stop_if_worse: bool = False,
        reward: str | Reward = "step_psnr",
        record: bool = False,
    ) -> None:
        check_choice("time_limit", time_limit, TIME_LIMITS)
        self.toolbox = toolbox
        self.max_steps = check_whole("max_steps", max_steps, 1)
        self.stop_action = check_flag("stop_action", stop_action)
        self.time_limit = time_limit
        self.stop_if_worse = check_flag("stop_if_worse", stop_if_worse)
        self.reward = as_reward(reward)
        self.record = record
        self._taken = 0

    def __len__(self) -> int:
        return len(self.images)

    def start(self, images: Tensor, reference: Tensor | None = None) -> None:
        """Begin n new episodes.

        Args:
            images: float32 (n, 3, h, w), the distorted images.
            reference: what they should be, of the same shape; needed for PSNR and rewards.
        """
        if reference is None and self.stop_if_worse:
            raise ValueError("stop_if_worse=True needs reference images")
        n, device = len(images), images.device
        self._taken += 1
        self.images = images.clone(memory_format=torch.channels_last)
        self.reference = None if reference is None else reference.clone(memory_format=torch.channels_last)
        self.psnr = self._measure(self.images)
        self.psnr_initial = self.psnr.clone()
        self.previous_action = torch.full((n,), self.toolbox.stop, device=device)
        self.steps = torch.zeros(n, dtype=torch.int64, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)
        self.toolchains = torch.full((n, self.max_steps), NO_TOOL, device=device)
        height, width = images.shape[2:]
        self.psnr_history = torch.full((n, self.max_steps + 1), torch.nan, dtype=torch.float64, device=device)
        shape = (n, self.max_steps + 1, height, width, 3)
        self.history = torch.zeros(shape, dtype=torch.uint8, device=device) if self.record else None
        self._record(torch.arange(n, device=device))

    def restart(self, rows: Tensor, images: Tensor, reference: Tensor) -> None:
        """Begin new episodes in some rows.

        Args:
            rows: int64 (k,), their numbers.
            images: float32 (k, 3, h, w).
            reference: the same shape.
        """
        assert self.reference is not None  # only batches with references are restarted
        self._taken += 1
        self.images[rows] = images
        self.reference[rows] = reference
        self.psnr[rows] = self.psnr_initial[rows] = psnr(images, reference)
        self.previous_action[rows] = self.toolbox.stop
        self.steps[rows] = 0
        self.ended[rows] = False
        self.toolchains[rows] = NO_TOOL
        self.psnr_history[rows] = torch.nan
        self._record(rows)

    def step(self, actions: Tensor) -> Outcome:
        """Take one step in every episode that has not ended.

        Args:
            actions: n integers; those of ended episodes are ignored.

        Raises:
            ValueError: if an action is not allowed, or the reward is none; nothing has changed then.
            ToolError: if a tool fails; nothing has changed then.
        """
        trial = self.attempt(actions)
        # Nothing has changed until here, so that a failing tool or reward leaves the episodes where they were.
        self.commit(trial)
        return trial.outcome

    def attempt(self, actions: Tensor) -> Trial:
        """What `step` would lead to, without taking it.

        Args:
            actions: n integers; those of ended episodes are ignored.

        Raises:
            ValueError, ToolError: as `step`.
        """
        acting = ~self.ended
        chosen = self._checked(actions)
        images = self.toolbox.apply(self.images, chosen)
        applied = acting & (chosen != self.toolbox.stop)
        values = torch.where(applied, self._measure(images), self.psnr)
        terminated, truncated = self._ends(acting, applied, values)
        reward = self._pay(images, values, acting, terminated | truncated)
        return Trial(images, values, Outcome(reward, terminated, truncated), acting, applied, chosen, self._taken)

    def commit(self, trial: Trial) -> None:
        """Take the step of a trial, whose images become the state.

        Raises:
            ValueError: if another step or episode has begun since it was tried.
        """
        if trial.taken != self._taken:
            raise ValueError("this trial was made before the last step; try again from the present state")
        self._taken += 1
        self.images, self.psnr = trial.images, trial.psnr
        self.ended = self.ended | trial.outcome.terminated | trial.outcome.truncated
        self._count(trial.acting, trial.applied, trial.actions)

    def observe(self, rows: Tensor | None = None) -> Observation:
        """What a policy sees now, in new tensors.

        Args:
            rows: int64 (k,), the episodes wanted; by default all.
        """
        rows = torch.arange(len(self), device=self.images.device) if rows is None else rows
        return Observation(tensor_to_images(self.images[rows]), self.previous_action[rows], self.steps[rows])

    def toolchain(self, row: int) -> tuple[str, ...]:
        """The names of the tools applied so far in one episode."""
        return self.named_toolchains(slice(row, row + 1))[0]

    def named_toolchains(self, rows: slice | Tensor) -> list[tuple[str, ...]]:
        """The names of the tools applied so far, of each of these episodes."""
        names = self.toolbox.names
        return [
            tuple(names[action] for action in chain if action != NO_TOOL) for chain in self.toolchains[rows].tolist()
        ]

    def _checked(self, actions: Tensor) -> Tensor:
        ended = self.ended.cpu()
        given = torch.as_tensor(actions).cpu()
        chosen = torch.where(ended, self.toolbox.stop, given) if given.shape == ended.shape else given
        chosen = self.toolbox.check_actions(chosen, len(self))
        if not self.stop_action and bool((~ended & (chosen == self.toolbox.stop)).any()):
            names = ", ".join(self.toolbox.names)
            raise ValueError(f"action {self.toolbox.stop} is not one of 0 to {self.toolbox.stop - 1} ({names})")
        return chosen.to(self.images.device)

    def _count(self, acting: Tensor, applied: Tensor, chosen: Tensor) -> None:
        places = self.steps.clamp(max=self.max_steps - 1).unsqueeze(1)
        kept = self.toolchains.gather(1, places).squeeze(1)
        self.toolchains.scatter_(1, places, torch.where(applied, chosen, kept).unsqueeze(1))
        self.previous_action = torch.where(applied, chosen, self.previous_action)
        self.steps = self.steps + acting
        self._record(acting.nonzero().flatten())

    def _ends(self, acting: Tensor, applied: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Which episodes this step terminates, and which it truncates."""
        terminated = acting & ~applied
        if self.stop_if_worse:
            terminated = terminated | (acting & (values < self.psnr_initial))
        at_limit = acting & (self.steps + 1 >= self.max_steps) & ~terminated
        if self.time_limit == "terminate":
            return terminated | at_limit, torch.zeros_like(at_limit)
        return terminated, at_limit

    def _pay(self, images: Tensor, values: Tensor, acting: Tensor, ended: Tensor) -> Tensor:
        if self.reference is None:
            return torch.zeros_like(values)
        step = Transition(self.images, images, self.reference, self.psnr_initial, self.psnr, values, ended)
        return torch.where(acting, pay(self.reward, step), 0.0)

    def _measure(self, images: Tensor) -> Tensor:
        if self.reference is None:
            return torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
        return psnr(images, self.reference)

    def _record(self, rows: Tensor) -> None:
        places = self.steps[rows]
        self.psnr_history[rows, places] = self.psnr[rows]
        if self.history is not None:
            self.history[rows, places] = tensor_to_images(self.images[rows])
