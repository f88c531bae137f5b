"""Policies that choose by Q-values."""

from abc import abstractmethod

import torch
from torch import Tensor

from restore_env.policies.base import Policy, State
from restore_env.restoration.batch import Observation


class QPolicy(Policy):
    """Takes the action with the highest Q-value; *stop* unless a tool's value exceeds that of *stop* by a margin.

    Subclasses implement `q_values`.

    Attributes:
        stop_margin: the margin in the reward's unit, usually dB.
        gain_scale: how much of the gain that the Q-values promise comes true on a photo; `agents.calibrate_gain`
            measures it.
    """

    stop_margin: float = 0.0
    gain_scale: float = 1.0

    @abstractmethod
    def q_values(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Return the Q-values, float32 (n, actions) in the reward's unit, and the next state."""

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose the tools with the highest Q-values, or *stop* within the margin; see `Policy.act`."""
        values, state = self.q_values(observation, state)
        return self.choose(values), state

    def choose(self, values: Tensor) -> Tensor:
        """Return the actions for Q-values: float (n, actions) -> int64 (n,)."""
        tools, stop = values[:, :-1].max(1), values.shape[1] - 1
        return torch.where(tools.values < values[:, stop] + self.stop_margin, stop, tools.indices)
