"""What Q-values should be, given episodes, and how far they are from it."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from agents.drqn.config import Options
from agents.drqn.replay_buffer import NO_STEP, Episodes
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.utils.tensors import bytes_to_floats


def unrolled(network: RecurrentQNetwork, episodes: Episodes) -> Tensor:
    """Q-values along episodes, float32 (n, t, actions); rows after an episode's end mean nothing."""
    n, steps = episodes.action.shape
    features = network.features(bytes_to_floats(episodes.image.flatten(0, 1))).view(n, steps, -1)
    memory, values = network.initial_state(n), []
    previous = torch.full_like(episodes.action[:, 0], network.n_tools)
    for step in range(steps):
        memory = network.remember(features[:, step], previous, memory)
        values.append(network.q_values(memory))
        previous = episodes.action[:, step].clamp(min=0)
    return torch.stack(values, dim=1)


@torch.no_grad()
def targets(episodes: Episodes, values: Tensor, later: Tensor, options: Options) -> Tensor:
    """What the Q-values should be.

    Args:
        episodes: n of at most t steps.
        values: float32 (n, t, actions), the network's Q-values.
        later: the same of the target network.
        options: discount, n-step returns, double Q-learning.

    Returns:
        float32 (n, t, actions): rewards and what follows; for actions not taken what follows is what was thought when
        the episode was played.
    """
    wanted = episodes.reward + options.gamma * episodes.value
    best = later.gather(2, values.argmax(2, keepdim=True)).squeeze(2) if options.double else later.amax(2)
    steps = episodes.action.shape[1]
    taken = episodes.action.clamp(min=0)
    rewards = episodes.reward.gather(2, taken.unsqueeze(2)).squeeze(2)
    lives = episodes.action != NO_STEP  # (n, t)
    for first in range(steps):
        total, discount = torch.zeros_like(best[:, 0]), 1.0
        for step in range(first, min(first + options.n_step, steps)):
            total = total + discount * torch.where(lives[:, step], rewards[:, step], 0.0)
            discount *= options.gamma
        after = first + options.n_step
        if after < steps:
            total = total + discount * torch.where(lives[:, after], best[:, after], 0.0)
        wanted[:, first].scatter_(1, taken[:, first : first + 1], total.unsqueeze(1))
    return wanted


def losses(values: Tensor, wanted: Tensor, episodes: Episodes, options: Options) -> tuple[Tensor, Tensor]:
    """How far Q-values are from their targets.

    Returns:
        float32 (n,), the mean loss of each episode, and its largest absolute error.
    """
    errors = torch.where(episodes.known, values - wanted, 0.0)
    if options.loss == "huber":
        single = smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none")
    else:
        single = errors.square()
    count = episodes.known.flatten(1).sum(1).clamp(min=1)
    loss = single.flatten(1).sum(1) / count
    if options.decision:
        loss = loss + options.decision * _regret(values, wanted, episodes, options.temperature)
    return loss, errors.detach().abs().flatten(1).amax(1)


def _regret(values: Tensor, wanted: Tensor, episodes: Episodes, temperature: float) -> Tensor:
    """Expected loss of value, float32 (n,), when actions whose value is known are drawn by the softmax of Q-values."""
    lives = episodes.action != NO_STEP
    known = episodes.known | ~lives.unsqueeze(2)  # a softmax over nothing would be NaN
    shares = (values / temperature).masked_fill(~known, -torch.inf).softmax(2)
    best = wanted.masked_fill(~known, -torch.inf).amax(2, keepdim=True)
    regret = (shares * (best - wanted)).sum(2)  # (n, t)
    mean: Tensor = torch.where(lives, regret, 0.0).sum(1) / lives.sum(1).clamp(min=1)
    return mean


def turned(episodes: Episodes, symmetry: int) -> Episodes:
    """The episodes with their images mirrored and transposed: one of the eight symmetries of a square, 0 to 7."""
    image = episodes.image
    if symmetry & 1:
        image = image.flip(2)
    if symmetry & 2:
        image = image.flip(3)
    if symmetry & 4:
        image = image.transpose(2, 3)
    return replace(episodes, image=image)


def shifted(episodes: Episodes, moves: Tensor) -> Episodes:
    """The episodes with their images moved down and right, each by its own numbers of pixels, int64 (n, 2).

    What comes in from outside repeats the border (random shifts: Kostrikov et al., 2021, arXiv 2004.13649).
    """
    n, steps, height, width, _ = episodes.image.shape
    rows, columns = (
        (torch.arange(side, device=moves.device) - moves[:, axis, None]).clamp(0, side - 1)
        for axis, side in enumerate((height, width))
    )
    places = torch.arange(n).view(n, 1, 1, 1), torch.arange(steps).view(1, steps, 1, 1)
    return replace(episodes, image=episodes.image[(*places, rows[:, None, :, None], columns[:, None, None, :])])
