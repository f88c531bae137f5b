"""Several recurrent Q-networks that decide together: what one has learnt wrong by chance, the others outvote."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from restore_env.policies.base import Policy, State
from restore_env.policies.recurrent_q import LSTMState, RecurrentQPolicy
from restore_env.restoration.batch import Observation


class MeanQPolicy(Policy):
    """Takes the action with the highest mean of several agents' Q-values (an ensemble: Dietterich, 2000).

    What stopping is worth an agent knows well, what tools are worth it estimates, and the highest of many estimates is
    too high (van Hasselt, 2010). With `least_gain` it stops unless a tool promises so much more than stopping.

    Looking at an image costs as much as there are agents.

    Args:
        members: the agents, made for the same actions and patches of the same size.
        name: what to call the policy.
        least_gain: in units of the reward, dB mostly.

    Raises:
        ValueError: if there are none, they were made for different actions or patches, or `least_gain` is less than 0.
    """

    def __init__(self, members: Sequence[RecurrentQPolicy], name: str = "mean-q", least_gain: float = 0.0) -> None:
        if not members:
            raise ValueError("a mean of no agents; give at least one")
        if not 0 <= least_gain < inf:
            raise ValueError(f"least_gain={least_gain} is not a number of at least 0")
        first = members[0]
        for other in members[1:]:
            if other.action_names != first.action_names:
                actions, others = (", ".join(names) for names in (first.action_names, other.action_names))
                raise ValueError(f"agents for different actions: {actions}, and {others}")
            if other.patch_size != first.patch_size:
                raise ValueError(f"agents for patches of {first.patch_size} and of {other.patch_size} pixels")
        self.members = tuple(members)
        self.network = nn.ModuleList(member.network for member in members)
        self.name, self.least_gain = name, least_gain
        self.action_names: tuple[str, ...] = first.action_names
        self.patch_size: int = first.patch_size

    def initial_state(self, n: int) -> State:
        """An empty memory of every agent for n episodes."""
        return tuple(member.initial_state(n) for member in self.members)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose greedily, and stop where no tool promises enough."""
        values, state = self.q_values(observation, state)
        tools, stop = values[:, :-1].max(1), values.shape[1] - 1
        return torch.where(tools.values < values[:, stop] + self.least_gain, stop, tools.indices), state

    def q_values(self, observation: Observation, state: tuple[LSTMState, ...]) -> tuple[Tensor, tuple[LSTMState, ...]]:
        """Explain the choice: the mean Q-values float32 (n, actions), in units of the reward, and the next state."""
        found = [member.q_values(observation, own) for member, own in zip(self.members, state, strict=True)]
        return torch.stack([values for values, _ in found]).mean(0), tuple(memory for _, memory in found)

    def to(self, device: str | torch.device) -> "MeanQPolicy":
        """Move the networks to a device."""
        self.network.to(device)
        return self
