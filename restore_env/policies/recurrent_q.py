"""The paper's agent: convolutions, an LSTM, and a Q-value for every action (section 3.2)."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from restore_env.constants import PATCH_SIZE
from restore_env.policies.base import Policy, State
from restore_env.policies.encoder import PatchEncoder
from restore_env.restoration.batch import Observation
from restore_env.utils.tensors import bytes_to_floats

VALUE_SCALE: Final = 10.0
"""dB that a unit of a scaled network's last layer stands for: one tool changes an image by up to about so much."""

CHUNK: Final = 64
"""Patches whose features are computed at once, to bound memory when a large photo is looked at."""


class LSTMState(NamedTuple):
    """The memory of n episodes: float32 (n, hidden) each."""

    hidden: Tensor
    cell: Tensor


class RecurrentQNetwork(PatchEncoder):
    """Q-values from images, the previous action and what was seen before; 87,863 parameters for 12 tools.

    Args:
        n_tools: tools of the toolbox; there is one action more.
        channels: feature maps of the four convolutions.
        features: size of the image's description.
        hidden: size of the LSTM.
        patch_size: height and width of the images in pixels.
        dueling: whether the last layer computes a state's value and the actions' advantages (Wang et al., 2016).
        scaled: whether images enter centred and Q-values leave multiplied by `VALUE_SCALE`, so that both are of the
            size that weights are made for; the paper's network is not.
        statistics: whether it also sees statistics of the differences between pixels (`PatchEncoder`); the paper's does
            not.
    """

    def __init__(
        self,
        n_tools: int,
        channels: tuple[int, ...] = (32, 24, 24, 24),
        features: int = 32,
        hidden: int = 50,
        patch_size: int = PATCH_SIZE,
        dueling: bool = False,
        scaled: bool = False,
        statistics: bool = False,
    ) -> None:
        super().__init__(channels, features, patch_size, centred=scaled, statistics=statistics)
        self.n_tools, self.hidden, self.patch_size = n_tools, hidden, patch_size
        self.arguments = {
            "n_tools": n_tools,
            "channels": list(channels),
            "features": features,
            "hidden": hidden,
            "patch_size": patch_size,
            "dueling": dueling,
            "scaled": scaled,
            "statistics": statistics,
        }
        # One matrix for input and hidden state, and one bias, as in TensorFlow's BasicLSTMCell; nn.LSTMCell has two.
        self.gates = nn.Linear(features + n_tools + hidden, 4 * hidden)
        self.dueling = dueling
        self.scale = VALUE_SCALE if scaled else 1.0
        self.values = nn.Linear(hidden, n_tools + 1 + dueling)
        with torch.no_grad():  # at first what is remembered is kept
            self.gates.bias.zero_()
            self.gates.bias[2 * hidden : 3 * hidden] = 1

    def remember(self, features: Tensor, previous_action: Tensor, state: LSTMState) -> LSTMState:
        """One step of the LSTM.

        Args:
            features: float32 (n, features).
            previous_action: int64 (n,), `n_tools` where there was none: a zero vector instead of a one-hot.
            state: of the step before.
        """
        action = one_hot(previous_action, self.n_tools + 1)[:, :-1].to(features)
        gates = self.gates(torch.cat([features, action, state.hidden], dim=1))
        enter, candidate, forget, leave = gates.chunk(4, dim=1)
        cell = state.cell * forget.sigmoid() + enter.sigmoid() * candidate.tanh()
        return LSTMState(leave.sigmoid() * cell.tanh(), cell)

    def q_values(self, state: LSTMState) -> Tensor:
        """Q-values float32 (n, n_tools + 1) of what the LSTM holds."""
        values: Tensor = self.scale * self.values(state.hidden)
        if not self.dueling:
            return values
        worth, advantages = values[:, :1], values[:, 1:]
        return worth + advantages - advantages.mean(1, keepdim=True)

    def initial_state(self, n: int) -> LSTMState:
        """Zeros."""
        zeros = self.gates.weight.new_zeros(n, self.hidden)
        return LSTMState(zeros, zeros)

    def forward(self, images: Tensor, previous_action: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Q-values float32 (n, n_tools + 1) and the next state."""
        state = self.remember(self.features(images), previous_action, state)
        return self.q_values(state), state


class RecurrentQPolicy(Policy):
    """Takes the action with the highest Q-value.

    Args:
        network: the Q-values.
        action_names: the actions of the toolbox it was trained with, stop last.
        name: what to call the policy.

    Raises:
        ValueError: if there are not as many actions as Q-values.
    """

    def __init__(self, network: RecurrentQNetwork, action_names: tuple[str, ...], name: str = "recurrent-q") -> None:
        if len(action_names) != network.n_tools + 1:
            raise ValueError(f"{len(action_names)} action names for a network of {network.n_tools + 1} Q-values")
        self.network = network.eval()
        self.action_names: tuple[str, ...] = tuple(action_names)
        self.name = name
        self.patch_size: int = network.patch_size

    def initial_state(self, n: int) -> State:
        """An empty memory for n episodes."""
        return self.network.initial_state(n)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose greedily."""
        values, state = self.q_values(observation, state)
        return values.argmax(1), state

    @torch.no_grad()
    def q_values(self, observation: Observation, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Explain the choice: the Q-values float32 (n, actions), in units of the reward, and the next state."""
        chunks = observation.image.split(CHUNK)
        features = torch.cat([self.network.features(bytes_to_floats(chunk)) for chunk in chunks])
        state = self.network.remember(features, observation.previous_action, state)
        return self.network.q_values(state), state

    def to(self, device: str | torch.device) -> "RecurrentQPolicy":
        """Move the network to a device."""
        self.network.to(device)
        return self
