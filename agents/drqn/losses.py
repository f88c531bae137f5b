"""The unrolled network, the targets of its Q-values, and the losses."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.utils.tensors import bytes_to_floats

REGRET_TEMPERATURE: Final = 0.3
"""Temperature of the softmax policy whose regret is a loss, in units of the reward."""

NEVER: Final = -1e4
"""Logarithm of the probability of an action that is not drawn; infinity would make gradients NaN."""


class Unrolled(NamedTuple):
    """What a network says along n episodes of at most t steps; rows after an episode's end have no meaning.

    Attributes:
        q_values: float32 (n, t, actions).
        preferences: float32 (n, t, actions), the Q-values if the network has no preferences.
    """

    q_values: Tensor
    preferences: Tensor


def unroll(network: RecurrentQNetwork, episodes: Episodes) -> Unrolled:
    """Return what a network says along episodes."""
    n, steps = episodes.action.shape
    rows = (episodes.action.flatten() != NO_STEP).nonzero().squeeze(1)  # those before the episodes' ends
    images = bytes_to_floats(episodes.image.flatten(0, 1)[rows])  # (n, t, h, w, 3) -> (rows, 3, h, w)
    found = network.embed(images)
    features = found.new_zeros(n * steps, found.shape[1]).index_copy(0, rows, found).view(n, steps, -1)
    state, values, preferences = network.initial_state(n), [], []
    previous_action = torch.full_like(episodes.action[:, 0], network.n_tools)
    for step in range(steps):
        state = network.lstm_step(features[:, step], previous_action, state)
        values.append(network.q_values(state))
        preferences.append(network.preferences(state))
        previous_action = episodes.action[:, step].clamp(min=0)
    # t times (n, actions) -> (n, t, actions)
    return Unrolled(torch.stack(values, dim=1), torch.stack(preferences, dim=1))


def q_targets(episodes: Episodes, preferences: Tensor, target_q_values: Tensor, gamma: float, double_q: bool) -> Tensor:
    """Return the targets of the Q-values: the reward of the action taken plus the discounted value of the next state.

    Args:
        episodes: n episodes of at most t steps.
        preferences: float32 (n, t, actions), the network's; it chooses the action with the highest one.
        target_q_values: float32 (n, t, actions), Q-values of the target network.
        gamma: discount factor.
        double_q: whether the network chooses the next action, instead of the target network.

    Returns:
        float32 (n, t).
    """
    if double_q:
        values = target_q_values.gather(2, preferences.argmax(2, keepdim=True)).squeeze(2)  # (n, t)
    else:
        values = target_q_values.amax(2)  # (n, t)
    next_values = torch.zeros_like(values)  # nothing follows the last step
    next_values[:, :-1] = torch.where(episodes.action[:, 1:] != NO_STEP, values[:, 1:], 0.0)
    return episodes.reward + gamma * next_values


def targets_of_actions(episodes: Episodes, taken: Tensor) -> Tensor:
    """Return the targets of all actions whose outcomes are known.

    Args:
        episodes: n episodes of at most t steps.
        taken: float32 (n, t), targets of the actions taken.

    Returns:
        float32 (n, t, actions). Actions that were tried but not taken have the value that was computed at that time;
        actions that were not tried have NaN.
    """
    alive = episodes.action != NO_STEP  # (n, t)
    targets = torch.where(alive, taken, torch.nan).unsqueeze(2)  # (n, t) -> (n, t, 1)
    return episodes.tried.scatter(2, episodes.action.clamp(min=0).unsqueeze(2), targets)


def td_loss(q_values: Tensor, targets: Tensor, loss: str, pessimism: float = 0.5) -> Tensor:
    """Return each episode's mean loss over the actions whose targets are known.

    Args:
        q_values: float32 (n, t, actions).
        targets: float32 (n, t, actions), NaN where they are unknown.
        loss: "huber" or "squared".
        pessimism: how much values that are too high count, of both; beyond 0.5 they are learnt too low where they are
            uncertain (expectile regression: Newey and Powell, 1987).

    Returns:
        float32 (n,).

    Example:
        >>> q_values, targets = torch.tensor([[[3.0, 7.0]]]), torch.tensor([[[1.0, torch.nan]]])
        >>> td_loss(q_values, targets, "squared")
        tensor([4.])
    """
    known = ~targets.isnan()
    errors = torch.where(known, q_values - targets.nan_to_num(), 0.0)  # a NaN times 0 would be a NaN in the gradient
    single = smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none") if loss == "huber" else errors.square()
    single = 2 * torch.where(errors > 0, pessimism, 1 - pessimism) * single
    return single.flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)  # (n, t, actions) -> (n,)


def soft_regret(preferences: Tensor, targets: Tensor) -> Tensor:
    """Return what an agent that draws actions by the softmax of its preferences loses, its entropy counted as a value.

    It is the divergence of its choice from the softmax of the values, times the temperature (maximum entropy: Haarnoja
    et al., 2018, equation 10). The loss of value alone makes an agent sure before it has learnt which of two tools of
    about the same value is the better one, and then its gradient vanishes.

    Args:
        preferences: float32 (n, t, actions).
        targets: float32 (n, t, actions), NaN where they are unknown. Only actions whose targets are known are drawn.

    Returns:
        float32 (n,), the mean over the steps of each episode; 0 if the preferences are the values but for a constant.

    Example:
        >>> preferences, targets = torch.tensor([[[2.0, 1.0, 9.0]]]), torch.tensor([[[1.0, 0.0, torch.nan]]])
        >>> soft_regret(preferences, targets)
        tensor([0.])
    """
    known = ~targets.isnan()
    alive = known.any(2)  # (n, t, actions) -> (n, t)
    chosen, wanted = (
        (values / REGRET_TEMPERATURE).masked_fill(~known, NEVER).log_softmax(2)
        for values in (preferences, targets.nan_to_num())
    )
    lost = REGRET_TEMPERATURE * (chosen.exp() * (chosen - wanted)).sum(2)  # (n, t, actions) -> (n, t)
    return (lost * alive).sum(1) / alive.sum(1).clamp(min=1)  # (n, t) -> (n,)


def random_shift(images: Tensor, moves: Tensor) -> Tensor:
    """Return images that are moved down and right, each episode by its own numbers of pixels.

    The border is repeated where nothing moves in (random shifts: Kostrikov et al., 2021, arXiv 2004.13649).

    Args:
        images: uint8 (n, t, h, w, 3).
        moves: int64 (n, 2), pixels down and right; negative numbers move up and left.

    Example:
        >>> images = torch.tensor([1, 2, 3]).view(1, 1, 1, 3, 1)
        >>> random_shift(images, torch.tensor([[0, 1]])).flatten().tolist()
        [1, 1, 2]
    """
    n, steps, height, width, _ = images.shape
    rows, columns = (
        (torch.arange(side, device=moves.device) - moves[:, axis, None]).clamp(0, side - 1)  # (n, side)
        for axis, side in enumerate((height, width))
    )
    episode, step = torch.arange(n).view(n, 1, 1, 1), torch.arange(steps).view(1, steps, 1, 1)
    return images[episode, step, rows[:, None, :, None], columns[:, None, None, :]]  # all (n, t, h, w)
