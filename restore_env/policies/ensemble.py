"""An ensemble of recurrent Q-networks: the members outvote what one of them has learnt wrong by chance."""

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from restore_env.policies.base import State
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.recurrent_q import LSTMState, RecurrentQPolicy
from restore_env.restoration.batch import Observation


class EnsembleQPolicy(QPolicy):
    """Takes the action with the highest mean of several agents' Q-values (an ensemble: Dietterich, 2000).

    An agent knows the value of *stop* well and estimates the values of tools. The highest of many estimates is too high
    (van Hasselt, 2010). With a `stop_margin` the policy stops unless a tool's value exceeds that of *stop* by at least
    the margin. Each decision costs as much as the decisions of all members.

    Args:
        members: agents for the same actions and the same patch size.
        name: name of the policy.
        stop_margin: the margin in the reward's unit, usually dB.

    Raises:
        ValueError: if there is no member, the members' actions or patch sizes differ, or `stop_margin` is less than 0.

    Example:
        >>> from restore_env import load_policy, load_toolbox
        >>> policy = load_policy("drqn-any", load_toolbox("rl-restore-12"))
        >>> len(policy.members), policy.stop_margin
        (3, 0.4)
    """

    def __init__(self, members: Sequence[RecurrentQPolicy], name: str = "ensemble-q", stop_margin: float = 0.0) -> None:
        if not members:
            raise ValueError("members is empty; an ensemble needs at least one agent")
        if not 0 <= stop_margin < inf:
            raise ValueError(f"stop_margin={stop_margin} is not a number of at least 0")
        first = members[0]
        for other in members[1:]:
            if other.action_names != first.action_names:
                actions, others = (", ".join(names) for names in (first.action_names, other.action_names))
                raise ValueError(f"members are agents for different actions: {actions}, and {others}")
            if other.patch_size != first.patch_size:
                raise ValueError(f"members are agents for patches of {first.patch_size} and {other.patch_size} pixels")
        self.members = tuple(members)
        self.network = nn.ModuleList(member.network for member in members)
        self.name, self.stop_margin = name, stop_margin
        self.action_names: tuple[str, ...] = first.action_names
        self.patch_size: int = first.patch_size
        self.fingerprint = first.fingerprint

    def initial_state(self, n: int) -> State:
        """Return the states of all members at the start of n episodes."""
        return tuple(member.initial_state(n) for member in self.members)

    def q_values(self, observation: Observation, state: tuple[LSTMState, ...]) -> tuple[Tensor, tuple[LSTMState, ...]]:
        """Return the mean Q-values, float32 (n, actions) in the reward's unit, and the next states."""
        found = [member.q_values(observation, own) for member, own in zip(self.members, state, strict=True)]
        return torch.stack([values for values, _ in found]).mean(0), tuple(own for _, own in found)
