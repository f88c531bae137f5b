"""The transition of the task: apply the chosen tools to a batch of images, measure them, pay rewards, end episodes."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from restore_env.constants import MAX_STEPS
from restore_env.data.pairs import Label
from restore_env.restoration.metrics import psnr
from restore_env.restoration.rewards import Reward, Transition, as_reward, compute_reward
from restore_env.toolbox import Toolbox
from restore_env.utils.checks import check_choice, check_flag, check_whole
from restore_env.utils.tensors import tensor_to_images

TIME_LIMITS: Final = ("truncate", "terminate")
NO_TOOL: Final = -1
"""Fills up toolchains that are shorter than `max_steps`."""


class Observation(NamedTuple):
    """The observations of n episodes, on the batch's device.

    Attributes:
        image: uint8 (n, h, w, 3), current images, RGB, clipped and rounded.
        previous_action: int64 (n,), the last tool applied; `len(toolbox)` before the first.
        step: int64 (n,), number of steps taken.
    """

    image: Tensor
    previous_action: Tensor
    step: Tensor


class Outcome(NamedTuple):
    """The result of a step of n episodes; 0 and False in the rows whose episodes had ended before.

    Attributes:
        reward: float64 (n,), the rewards.
        terminated: bool (n,), whether each episode terminated.
        truncated: bool (n,), whether each episode was truncated.
    """

    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Trial(NamedTuple):
    """A step of n episodes that was tried and not taken, on the batch's device.

    Attributes:
        images: float32 (n, 3, h, w), images after the step.
        psnr: float64 (n,), their PSNR in dB.
        outcome: rewards and ends of episodes.
        acting: bool (n,), whether each episode had not ended before.
        applied: bool (n,), whether a tool is applied in each episode.
        actions: int64 (n,), actions; *stop* for episodes that had ended before.
        taken: value of the batch's step counter when the step was tried.
    """

    images: Tensor
    psnr: Tensor
    outcome: Outcome
    acting: Tensor
    applied: Tensor
    actions: Tensor
    taken: int


class RestorationBatch:
    """A batch of n episodes that take their steps together.

    The environments, `evaluate`, `restore` and the agents all use this class, so there is one definition of a step. The
    images are neither clipped nor rounded between tools, as in the authors' program. Without references, as when a
    photo is restored, PSNR is NaN and rewards are 0.

    Args:
        toolbox: the toolbox; it is on the device of the images.
        max_steps: largest number of tools in a toolchain.
        stop_action: whether the action *stop* is allowed.
        time_limit: whether an episode "truncate"s or "terminate"s after `max_steps` steps.
        stop_if_worse: whether an episode terminates when its PSNR falls below that of its input.
        reward: a name of `restore_env.restoration.rewards.REWARDS`, or a function.
        record: whether `history` keeps the images of all steps.

    Raises:
        ValueError, TypeError: if an argument is none of these.

    Example:
        >>> import torch
        >>> from restore_env import Tool, Toolbox
        >>> batch = RestorationBatch(Toolbox([Tool("brighten", lambda images: images + 0.1)]))
        >>> batch.start(torch.full((2, 3, 16, 16), 0.4), torch.full((2, 3, 16, 16), 0.5))
        >>> outcome = batch.step(torch.tensor([0, 1]))  # 1 is stop
        >>> (outcome.reward > 0).tolist(), outcome.terminated.tolist()
        ([True, False], [False, True])
        >>> batch.toolchain(0)
        ('brighten',)
    """

    images: Tensor
    """float32 (n, 3, h, w), current images, RGB, about [0, 1]."""
    reference: Tensor | None
    """float32 (n, 3, h, w), reference images."""
    psnr: Tensor
    """float64 (n,), PSNR of the current images in dB."""
    psnr_initial: Tensor
    """float64 (n,), PSNR at the start of the episodes in dB."""
    previous_action: Tensor
    """int64 (n,), the last tools applied; `len(toolbox)` before the first."""
    steps: Tensor
    """int64 (n,), number of steps taken, *stop* included."""
    ended: Tensor
    """bool (n,), whether each episode has ended."""
    toolchains: Tensor
    """int64 (n, max_steps), the tools applied, filled up with `NO_TOOL`."""
    returns: Tensor
    """float64 (n,), sum of the rewards so far."""
    labels: list[Label | None]
    """What each image shows; None if that is unknown."""
    history: Tensor | None
    """uint8 (n, max_steps + 1, h, w, 3), images at the start and after each step; None unless `record`."""
    psnr_history: Tensor
    """float64 (n, max_steps + 1), PSNR at the start and after each step in dB."""

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
        return len(self.steps)

    @property
    def part_shape(self) -> tuple[int, int]:
        """Height and width in pixels of what the policy sees of an episode."""
        return self.images.shape[2], self.images.shape[3]

    def start(
        self, images: Tensor, reference: Tensor | None = None, labels: Sequence[Label | None] | None = None
    ) -> None:
        """Begin n new episodes.

        Args:
            images: float32 (n, 3, h, w), distorted images.
            reference: float32 (n, 3, h, w), reference images; needed for PSNR and rewards.
            labels: n labels, for rewards; by default none is known.

        Raises:
            ValueError: if there is no reference and `stop_if_worse` needs one.
        """
        if reference is None and self.stop_if_worse:
            raise ValueError("stop_if_worse=True needs reference images")
        device = images.device
        self._taken += 1
        self.images = images.clone(memory_format=torch.channels_last)
        self.reference = None if reference is None else reference.clone(memory_format=torch.channels_last)
        self.psnr = self._measure(self.images)
        self.psnr_initial = self.psnr.clone()
        n = len(self.psnr)
        self.previous_action = torch.full((n,), self.toolbox.stop, device=device)
        self.steps = torch.zeros(n, dtype=torch.int64, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)
        self.toolchains = torch.full((n, self.max_steps), NO_TOOL, device=device)
        self.returns = torch.zeros(n, dtype=torch.float64, device=device)
        self.labels = [None] * n if labels is None else list(labels)
        self.psnr_history = torch.full((n, self.max_steps + 1), torch.nan, dtype=torch.float64, device=device)
        shape = (n, self.max_steps + 1, *images.shape[2:], 3)
        self.history = torch.zeros(shape, dtype=torch.uint8, device=device) if self.record else None
        self._record(torch.arange(n, device=device))

    def restart(
        self, rows: Tensor, images: Tensor, reference: Tensor, labels: Sequence[Label | None] | None = None
    ) -> None:
        """Begin new episodes in some rows.

        Args:
            rows: int64 (k,), numbers of the rows.
            images: float32 (k, 3, h, w), distorted images.
            reference: float32 (k, 3, h, w), reference images.
            labels: k labels, for rewards; by default none is known.
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
        self.returns[rows] = 0.0
        for row, label in zip(rows.tolist(), labels or [None] * len(rows), strict=True):
            self.labels[row] = label
        self.psnr_history[rows] = torch.nan
        self._record(rows)

    def step(self, actions: Tensor) -> Outcome:
        """Take one step in each episode that has not ended.

        Args:
            actions: n integers; those of ended episodes are ignored.

        Returns:
            The rewards, and which episodes ended.

        Raises:
            ValueError: if an action is not allowed, or a reward is not a finite number. No episode changes.
            ToolError: if a tool fails. No episode changes.
            RuntimeError, TypeError: if a reward function raises an error or returns no numbers. No episode changes.
        """
        trial = self.attempt(actions)
        self.commit(trial)  # nothing has changed before, so a tool or reward that fails changes no episode
        return trial.outcome

    def attempt(self, actions: Tensor) -> Trial:
        """Try a step without taking it.

        Args:
            actions: n integers; those of ended episodes are ignored.

        Returns:
            The trial, for `commit`.

        Raises:
            ValueError, ToolError, RuntimeError, TypeError: as `step` does.
        """
        acting = ~self.ended
        chosen = self._checked(actions)
        images = self._apply(chosen)
        applied = acting & (chosen != self.toolbox.stop)
        values = torch.where(applied, self._measure(images), self.psnr)
        terminated, truncated = self._ends(acting, applied, values)
        reward = self._rewards(images, values, acting, terminated | truncated, chosen)
        return Trial(images, values, Outcome(reward, terminated, truncated), acting, applied, chosen, self._taken)

    def commit(self, trial: Trial) -> None:
        """Take the step that a trial tried.

        Args:
            trial: what `attempt` returned.

        Raises:
            ValueError: if a step was taken or an episode begun after the trial.
        """
        if trial.taken != self._taken:
            raise ValueError("this trial was made before the last step; try again from the present state")
        self._taken += 1
        self.images, self.psnr = trial.images, trial.psnr
        self.returns = self.returns + trial.outcome.reward
        self.ended = self.ended | trial.outcome.terminated | trial.outcome.truncated
        self._count(trial.acting, trial.applied, trial.actions)

    def observe(self, rows: Tensor | None = None) -> Observation:
        """Return observations in new tensors.

        Args:
            rows: int64 (k,), numbers of the episodes; by default all.
        """
        rows = torch.arange(len(self), device=self.images.device) if rows is None else rows
        return Observation(self._seen(rows), self.previous_action[rows], self.steps[rows])

    def toolchain(self, row: int) -> tuple[str, ...]:
        """Return the names of the tools applied so far in one episode."""
        return self.named_toolchains(slice(row, row + 1))[0]

    def named_toolchains(self, rows: slice | Tensor) -> list[tuple[str, ...]]:
        """Return the names of the tools applied so far in each of the episodes `rows`."""
        names = self.toolbox.names
        return [
            tuple(names[action] for action in chain if action != NO_TOOL) for chain in self.toolchains[rows].tolist()
        ]

    def transition(self, images: Tensor, values: Tensor, ended: Tensor, actions: Tensor) -> Transition:
        """Return what a reward function sees of a step from the current images.

        Args:
            images: float32 (n, 3, h, w), images after the step.
            values: float64 (n,), their PSNR in dB.
            ended: bool (n,), whether each episode ends with the step.
            actions: int64 (n,), the actions.
        """
        assert self.reference is not None
        return Transition(
            before=self._parts(self.images),
            after=self._parts(images),
            reference=self._parts(self.reference),
            psnr_initial=self.psnr_initial,
            psnr_before=self.psnr,
            psnr_after=values,
            ended=ended,
            action=actions,
            step=self.steps,
            label=tuple(self.labels),
            toolbox=self.toolbox,
        )

    def _apply(self, actions: Tensor) -> Tensor:
        """Return the images after the actions of all episodes."""
        return self.toolbox.apply(self.images, actions)

    def _episodes(self, images: Tensor) -> int:
        """Return the number of episodes on some images."""
        return len(images)

    def _parts(self, images: Tensor) -> Tensor:
        """Return what of the images each episode is about: its own image."""
        return images

    def _seen(self, rows: Tensor) -> Tensor:
        """Return what the policy sees of some episodes, uint8 (k, h, w, 3)."""
        return tensor_to_images(self.images[rows])

    def _checked(self, actions: Tensor) -> Tensor:
        """Return valid actions on the batch's device, with *stop* for ended episodes, or raise a `ValueError`."""
        ended = self.ended.cpu()
        given = torch.as_tensor(actions).cpu()
        chosen = torch.where(ended, self.toolbox.stop, given) if given.shape == ended.shape else given
        chosen = self.toolbox.check_actions(chosen, len(self))
        if not self.stop_action and bool((~ended & (chosen == self.toolbox.stop)).any()):
            names = ", ".join(self.toolbox.names)
            raise ValueError(f"action {self.toolbox.stop} is not one of 0 to {self.toolbox.stop - 1} ({names})")
        return chosen.to(self.images.device)

    def _count(self, acting: Tensor, applied: Tensor, chosen: Tensor) -> None:
        """Write the actions of a step into the toolchains and count the step."""
        places = self.steps.clamp(max=self.max_steps - 1).unsqueeze(1)  # (n,) -> (n, 1)
        kept = self.toolchains.gather(1, places).squeeze(1)  # (n, max_steps) -> (n, 1) -> (n,)
        self.toolchains.scatter_(1, places, torch.where(applied, chosen, kept).unsqueeze(1))
        self.previous_action = torch.where(applied, chosen, self.previous_action)
        self.steps = self.steps + acting
        self._record(acting.nonzero().flatten())

    def _ends(self, acting: Tensor, applied: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return which episodes a step terminates and which it truncates; `values` is the PSNR after it."""
        terminated = acting & ~applied
        if self.stop_if_worse:
            terminated = terminated | (acting & (values < self.psnr_initial))
        at_limit = acting & (self.steps + 1 >= self.max_steps) & ~terminated
        if self.time_limit == "terminate":
            return terminated | at_limit, torch.zeros_like(at_limit)
        return terminated, at_limit

    def _rewards(self, images: Tensor, values: Tensor, acting: Tensor, ended: Tensor, chosen: Tensor) -> Tensor:
        """Return the rewards of a step; `values` is the PSNR after it."""
        if self.reference is None:
            return torch.zeros_like(values)
        step = self.transition(images, values, ended, chosen)
        return torch.where(acting, compute_reward(self.reward, step), 0.0)

    def _measure(self, images: Tensor) -> Tensor:
        """Return the PSNR of images in dB; NaN without references."""
        if self.reference is None:
            return torch.full((self._episodes(images),), torch.nan, dtype=torch.float64, device=images.device)
        return psnr(self._parts(images), self._parts(self.reference))

    def _record(self, rows: Tensor) -> None:
        """Write the current PSNR, and the images if they are kept, into the history of some rows."""
        places = self.steps[rows]
        self.psnr_history[rows, places] = self.psnr[rows]
        if self.history is not None:
            self.history[rows, places] = tensor_to_images(self.images[rows])
