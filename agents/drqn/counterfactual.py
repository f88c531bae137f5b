"""Counterfactual actions: their outcomes can be computed without taking a step, so the network learns them too."""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from restore_env.policies.recurrent_q import LSTMState, RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch, Trial
from restore_env.utils.tensors import bytes_to_floats, tensor_to_images

TEMPERATURE: Final = 1.0
"""Temperature, in units of the reward, of the softmax of the preferences from which the tools to try are drawn."""


class Valuer(NamedTuple):
    """Values the states that tried actions lead to, by double Q-learning (van Hasselt et al., 2016).

    If the network that chooses the next action also valued it, tools would be overrated: the largest of several values
    with errors is too large on average.

    Attributes:
        network: chooses the next action.
        target: values it; the same network stands for Q-learning without a second one.
        state: the network's memory of the episodes so far.
        target_state: that of the target.
        gamma: discount factor.
    """

    network: RecurrentQNetwork
    target: RecurrentQNetwork
    state: LSTMState
    target_state: LSTMState
    gamma: float

    def value_after(self, trial: Trial) -> Tensor:
        """Return the discounted values of the states that a trial leads to, float32 (n,); 0 where an episode ends."""
        over = trial.outcome.terminated | trial.outcome.truncated | ~trial.acting
        found = torch.zeros_like(trial.psnr, dtype=torch.float32)
        rows = (~over).nonzero().squeeze(1)
        if len(rows):
            images, actions = bytes_to_floats(tensor_to_images(trial.images[rows])), trial.actions[rows]
            state, target_state = (LSTMState(*(part[rows] for part in of)) for of in (self.state, self.target_state))
            values, after = self.network(images, actions, state)
            known = values if self.target is self.network else self.target(images, actions, target_state)[0]
            preferred = self.network.preferences(after).argmax(1, keepdim=True)
            found[rows] = self.gamma * known.gather(1, preferred).squeeze(1)  # (rows, actions) -> (rows, 1) -> (rows,)
        return found


def step_with_trials(batch: RestorationBatch, tried: Tensor, valuer: Valuer) -> tuple[Tensor, Tensor]:
    """Try several actions in each episode, then take the first of them.

    Args:
        batch: n started episodes.
        tried: int64 (k, n), the actions to try.
        valuer: values the states that the actions lead to.

    Returns:
        The rewards of the actions taken, float32 (n,); and the values of the actions that were only tried, float32
        (n, actions): reward plus discounted value of the next state. It is NaN for other actions, and for episodes that
        had ended.
    """
    trials = [batch.attempt(actions) for actions in tried]
    values = [trial.outcome.reward.float() + valuer.value_after(trial) for trial in trials[1:]]
    unknown = torch.full((len(batch), len(batch.toolbox) + 1), torch.nan, device=batch.images.device)
    known = unknown.scatter(1, tried[1:].T, torch.stack(values, dim=1))  # k - 1 times (n,) -> (n, k - 1)
    batch.commit(trials[0])
    return trials[0].outcome.reward.float(), torch.where(trials[0].acting.unsqueeze(1), known, torch.nan)


def draw_actions(chosen: Tensor, preferences: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return the actions to try: the chosen one, *stop*, which costs nothing, and some tools.

    The tools are drawn without replacement by the softmax of the preferences: they have the largest ones after Gumbel
    noise is added (Kool et al., 2019).

    Args:
        chosen: int64 (n,), the actions that will be taken.
        preferences: float32 (n, actions).
        n: number of tools, at most all.
        generator: draws them, on the CPU.

    Returns:
        int64 (k, n).
    """
    noise = -torch.empty(preferences.shape).exponential_(generator=generator).log().to(chosen.device)
    order = noise + preferences / TEMPERATURE
    order.scatter_(1, chosen.unsqueeze(1), -torch.inf)  # the chosen action is tried anyway
    drawn = order[:, :-1].argsort(1, descending=True)[:, :n].T  # (n, actions) -> (k, n)
    stop = torch.full_like(chosen, preferences.shape[1] - 1)
    return torch.cat([chosen.unsqueeze(0), stop.unsqueeze(0), drawn])
