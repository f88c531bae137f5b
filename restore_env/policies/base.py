"""The interface of a policy, and `play`, which lets one play a batch of episodes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.toolbox import Toolbox
from restore_env.utils.progress import Progress

State = Any
"""The memory of a policy: whatever its `initial_state` returns, for example None or the state of an LSTM."""


class Policy(ABC):
    """Chooses an action for each of n episodes.

    Subclasses implement `act`. A policy with a memory also implements `initial_state`. A policy that compares with
    reference images sets `needs_reference` and implements `start`, which receives the batch with its references.

    Attributes:
        name: name in reports.
        needs_reference: whether the policy needs the reference images. Such a policy cannot restore photos.
        patch_size: height and width in pixels of the images that the policy accepts; None accepts any size.
        action_names: actions that the policy was made for; None if unknown.
        n_actions: number of these actions; None accepts any number.
        network: network of the policy; None if it has none.
        fingerprint: digest of the toolbox that the policy was trained with (`digest_of_toolbox`); None if unknown.

    Example:
        >>> import torch
        >>> class AlwaysStop(Policy):
        ...     name = "always-stop"
        ...
        ...     def act(self, observation, state):
        ...         return torch.full_like(observation.step, 12), state
        >>> from restore_env import draw_pairs, evaluate, as_source
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> evaluate(pairs, AlwaysStop()).steps
        0.0
    """

    name: str
    needs_reference: ClassVar[bool] = False
    patch_size: int | None = None
    action_names: tuple[str, ...] | None = None
    n_actions: int | None = None
    network: nn.Module | None = None
    fingerprint: str | None = None

    def initial_state(self, n: int) -> State:
        """Return the state at the start of n episodes."""
        return None

    def start(self, batch: RestorationBatch, progress: Progress | None = None) -> State:
        """Return the state at the start of the episodes of a batch.

        `play` calls this method once. The default calls `initial_state` with the number of patches in all images.

        Args:
            batch: started episodes.
            progress: called with the finished share of a long search.

        Returns:
            The state for the first call of `act`.
        """
        return self.initial_state(len(batch) * _patches_per_image(batch, self.patch_size))

    @abstractmethod
    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose an action for each episode.

        Args:
            observation: observations of n episodes.
            state: the state that the last call returned; `initial_state(n)` at first.

        Returns:
            int64 (n,) actions, and the state for the next call. Episodes that have ended still have a row; their
            actions are ignored.
        """

    def to(self, device: str | torch.device) -> Self:
        """Move the policy's network to a device and return the policy."""
        if self.network is not None:
            self.network.to(device)
        return self


def check_actions_fit(policy: Policy, toolbox: Toolbox) -> None:
    """Raise a `ValueError` that lists both if the policy was made for other actions than the toolbox has."""
    names, expected = policy.action_names, toolbox.action_names
    if names is None and policy.n_actions not in (None, len(expected)):
        made, found = f"{policy.n_actions} actions", f"{len(expected)}"
    elif names not in (None, expected):
        made, found = f"the actions {', '.join(names or ())}", ", ".join(expected)
    else:
        return
    raise ValueError(f"policy {policy.name!r} was made for {made}, but the toolbox {toolbox.name!r} has {found}")


def play(
    policy: Policy,
    batch: RestorationBatch,
    on_step: Callable[[Tensor, Tensor], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Play the started episodes of a batch to their end.

    An image that is larger than the policy's patches is cut into whole patches that do not overlap. Each patch has its
    own state and one vote. The action with the most votes is taken for the whole image, as in the authors' program.
    *Stop* wins a tie, so an image stays as it is unless a tool has more votes than *stop*.

    Args:
        policy: the policy that chooses.
        batch: started episodes. Their images are at least as large as the policy's patches.
        on_step: called at each step, before it is taken, with the actions int64 (n,) and the votes int64 (n, actions).
            An episode that has ended counts as *stop*.
        progress: called with the finished share of a reference policy's search.

    Raises:
        ValueError: if the policy was made for another toolbox, the images are too small for it, or it needs references
            and the batch has none.

    Example:
        >>> from restore_env import draw_pairs, as_source, load_policy, load_toolbox
        >>> from restore_env.restoration.batch import RestorationBatch
        >>> toolbox = load_toolbox("classical")
        >>> batch = RestorationBatch(toolbox)
        >>> batch.start(*draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0).to_tensors())
        >>> play(load_policy("fixed:median-3", toolbox), batch)
        >>> batch.toolchain(0)
        ('median-3',)
    """
    check_actions_fit(policy, batch.toolbox)
    if policy.needs_reference and batch.reference is None:
        raise ValueError(f"policy {policy.name!r} needs reference images, and the batch has none")
    height, width = batch.part_shape
    size, count = policy.patch_size, _patches_per_image(batch, policy.patch_size)
    if not count:
        raise ValueError(f"images of {width}x{height} pixels; policy {policy.name!r} looks at {size}x{size}")
    state = policy.start(batch, progress)
    while not bool(batch.ended.all()):
        actions, state = policy.act(_observe_patches(batch, size, count), state)
        voices = one_hot(batch.toolbox.check_actions(actions, len(batch) * count), len(batch.toolbox) + 1)
        votes = voices.view(len(batch), count, -1).sum(1)  # (n * count, actions) -> (n, actions)
        votes[batch.ended] = count * torch.eye(votes.shape[1], dtype=votes.dtype, device=votes.device)[-1]
        chosen = _winners(votes)
        if on_step is not None:
            on_step(chosen, votes)
        batch.step(chosen)


def _patches_per_image(batch: RestorationBatch, size: int | None) -> int:
    """Return how many whole patches an image holds; one if any size will do."""
    height, width = batch.part_shape
    return 1 if size is None else (height // size) * (width // size)


def _observe_patches(batch: RestorationBatch, size: int | None, count: int) -> Observation:
    """Return what the patches of each image show; all patches of an image share its previous action and step."""
    seen = batch.observe()
    previous_action, step = (values.repeat_interleave(count) for values in seen[1:])  # (n,) -> (n * count,)
    return Observation(seen.image if size is None else _cut(seen.image, size), previous_action, step)


def _cut(images: Tensor, size: int) -> Tensor:
    """Cut images into their whole patches, row by row: (n, h, w, 3) -> (n * patches, size, size, 3)."""
    n, height, width, _ = images.shape
    rows, columns = height // size, width // size
    # (n, h, w, 3) -> (n, rows, size, columns, size, 3)
    grid = images[:, : rows * size, : columns * size].reshape(n, rows, size, columns, size, 3)
    # (n, rows, size, columns, size, 3) -> (n * rows * columns, size, size, 3)
    return grid.permute(0, 1, 3, 2, 4, 5).reshape(n * rows * columns, size, size, 3)


def _winners(votes: Tensor) -> Tensor:
    """Return the actions with the most votes, (n, actions) -> (n,); *stop*, the last action, wins a tie."""
    most, first = votes.max(1)
    stop = votes.shape[1] - 1
    return torch.where(votes[:, stop] == most, stop, first)
