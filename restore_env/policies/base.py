"""The contract of a policy, and how one plays the episodes of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.toolbox import Toolbox
from restore_env.utils.progress import Progress

State = Any
"""What a policy remembers of n episodes: None, or whatever it makes in `initial_state` and returns from `act`."""


class Policy(ABC):
    """Chooses an action for each of n episodes from what can be seen of them.

    Attributes:
        name: what to call it in reports.
        patch_size: height and width in pixels of the images it looks at, None if any will do.
        action_names: the actions it was made for, None if they are not known or any will do.
        n_actions: how many those are, None if any number will do.
    """

    name: str
    patch_size: int | None = None
    action_names: tuple[str, ...] | None = None
    n_actions: int | None = None

    def initial_state(self, n: int) -> State:
        """The state at the start of n episodes."""
        return None

    @abstractmethod
    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose.

        Args:
            observation: of n episodes.
            state: what the last call returned, at first `initial_state(n)`.

        Returns:
            int64 (n,) actions, and the state for the next call. Episodes that have ended still have a row; what is
            chosen for them is ignored.
        """

    def to(self, device: str | torch.device) -> "Policy":
        """The policy on a device."""
        return self


class Yardstick(ABC):
    """Chooses with the reference in hand: what a policy is compared with, no policy itself.

    Attributes:
        name: what to call it in reports.
    """

    name: str

    def initial_state(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """The state at the start of the episodes of `batch`; `progress` is told how far a long search has come."""
        return None

    @abstractmethod
    def act(self, batch: RestorationBatch, state: State) -> tuple[Tensor, State]:
        """Choose; as `Policy.act`, but from the batch itself, with its images and references."""


def check_actions_fit(policy: Policy | Yardstick, toolbox: Toolbox) -> None:
    """Raise a `ValueError` with both lists if a policy was made for other actions than the toolbox has."""
    if not isinstance(policy, Policy):
        return
    names, expected = policy.action_names, len(toolbox.action_names)
    if names is None and policy.n_actions not in (None, expected):
        raise ValueError(
            f"policy {policy.name!r} was made for {policy.n_actions} actions, but the toolbox {toolbox.name!r} has "
            f"{expected}"
        )
    if names is not None and names != toolbox.action_names:
        raise ValueError(
            f"policy {policy.name!r} was made for the actions {', '.join(names)}, but the toolbox {toolbox.name!r} has "
            f"{', '.join(toolbox.action_names)}"
        )


def play(
    policy: Policy | Yardstick,
    batch: RestorationBatch,
    on_step: Callable[[Tensor, Tensor], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Play the episodes of a batch that has been started, to their end.

    An image larger than what a policy looks at is cut into all whole patches that do not overlap; each patch has a
    state of its own and votes, and the whole image gets the winning action (the authors' way with real photos). Where
    no tool has more votes than *stop*, the image is left as it is.

    Args:
        policy: who chooses.
        batch: started episodes; the images are at least as large as the policy's patches.
        on_step: called at each step with the actions (n,) and the votes (n, actions).
        progress: told how far a yardstick's search has come.

    Raises:
        ValueError: if the policy was made for another toolbox, or the images are too small for it.
    """
    check_actions_fit(policy, batch.toolbox)
    if isinstance(policy, Policy):
        choose = _choose_from_patches(policy, batch)
    else:
        choose = _choose_from_batch(policy, batch, progress)
    while not bool(batch.ended.all()):
        votes = choose()
        actions = _winners(votes)
        if on_step is not None:
            on_step(actions, votes)
        batch.step(actions)


def _choose_from_patches(policy: Policy, batch: RestorationBatch) -> Callable[[], Tensor]:
    size = policy.patch_size
    height, width = batch.images.shape[2:]
    if size is not None and min(height, width) < size:
        raise ValueError(f"images of {width}x{height} pixels; policy {policy.name!r} looks at {size}x{size}")
    count = 1 if size is None else (height // size) * (width // size)
    state = policy.initial_state(len(batch) * count)

    def choose() -> Tensor:
        nonlocal state
        seen = batch.observe()
        repeated = (rows.repeat_interleave(count) for rows in seen[1:])
        actions, state = policy.act(
            Observation(seen.image if size is None else _patches(seen.image, size), *repeated), state
        )
        return _votes(actions, batch.toolbox, len(batch) * count).view(len(batch), count, -1).sum(1)

    return choose


def _choose_from_batch(
    yardstick: Yardstick, batch: RestorationBatch, progress: Progress | None
) -> Callable[[], Tensor]:
    state = yardstick.initial_state(batch, progress)

    def choose() -> Tensor:
        nonlocal state
        actions, state = yardstick.act(batch, state)
        return _votes(actions, batch.toolbox, len(batch))

    return choose


def _votes(actions: Tensor, toolbox: Toolbox, n: int) -> Tensor:
    return one_hot(toolbox.check_actions(actions, n), len(toolbox) + 1)


def _winners(votes: Tensor) -> Tensor:
    """The actions with the most votes, (n, actions) -> (n,): *stop*, the last, before tools that have no more."""
    most, first = votes.max(1)
    stop = votes.shape[1] - 1
    return torch.where(votes[:, stop] == most, stop, first)


def _patches(images: Tensor, size: int) -> Tensor:
    """(n, h, w, 3) -> (n * patches, size, size, 3): the whole patches of an image, row by row."""
    n, height, width, _ = images.shape
    rows, columns = height // size, width // size
    whole = images[:, : rows * size, : columns * size].reshape(n, rows, size, columns, size, 3)
    return whole.permute(0, 1, 3, 2, 4, 5).reshape(n * rows * columns, size, size, 3)
