"""The paper's agent: an image encoder, an LSTM, and a Q-value for each action (section 3.2)."""

from functools import partial
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from restore_env.constants import PATCH_SIZE
from restore_env.policies.base import State
from restore_env.policies.encoder import PatchEncoder, rename_weights
from restore_env.policies.q_policy import QPolicy
from restore_env.restoration.batch import Observation
from restore_env.utils.tensors import bytes_to_floats
from restore_env.utils.threads import map_in_threads

VALUE_SCALE: Final = 10.0
"""Factor of a scaled network's Q-values: one tool changes the PSNR by up to about 10 dB."""

TIE: Final = 1e-4
"""How far other Q-values are at least below that of the preferred action."""

CHUNK: Final = 16
"""Number of patches that a thread encodes at once; it bounds the memory that a large photo needs."""

# In files of version 0.1 the weights of the encoder are those of the network itself.
_OLD_NAMES: Final = {f"{name}.": f"encoder.{name}." for name in ("convolutions", "describe", "statistics")}


class LSTMState(NamedTuple):
    """The state of an LSTM for n episodes.

    Attributes:
        hidden: float32 (n, hidden).
        cell: float32 (n, hidden).
    """

    hidden: Tensor
    cell: Tensor


class RecurrentQNetwork(nn.Module):
    """Computes Q-values from the image, the previous action and the LSTM's state.

    With 12 tools the paper's network has 87,863 parameters.

    Args:
        n_tools: number of tools; there is one action more.
        channels: output channels of the four convolutions.
        features: size of the encoder's output.
        hidden: size of the LSTM.
        patch_size: height and width of the images in pixels.
        scaled: whether images are centred (`PatchEncoder`) and Q-values multiplied by `VALUE_SCALE`. Inputs and outputs
            then have the size for which weights are initialised. The paper's network does neither.
        degradation_features: whether the encoder also uses `degradation_features`. The paper's network does not.
        preference_head: whether a layer of its own says which action to take. Otherwise it is that of the highest
            Q-value, as in the paper; the highest of many values with errors is too high on average.

    Example:
        >>> import torch
        >>> network = RecurrentQNetwork(n_tools=12)
        >>> images, no_action = torch.rand(2, 3, 63, 63), torch.tensor([12, 12])
        >>> values, state = network(images, no_action, network.initial_state(2))
        >>> values.shape
        torch.Size([2, 13])
    """

    def __init__(
        self,
        n_tools: int,
        channels: tuple[int, ...] = (32, 24, 24, 24),
        features: int = 32,
        hidden: int = 50,
        patch_size: int = PATCH_SIZE,
        scaled: bool = False,
        degradation_features: bool = False,
        preference_head: bool = False,
    ) -> None:
        super().__init__()
        self.n_tools, self.hidden, self.patch_size = n_tools, hidden, patch_size
        self.arguments = {
            "n_tools": n_tools,
            "channels": list(channels),
            "features": features,
            "hidden": hidden,
            "patch_size": patch_size,
            "scaled": scaled,
            "degradation_features": degradation_features,
            "preference_head": preference_head,
        }
        self.encoder = PatchEncoder(channels, features, patch_size, scaled, degradation_features)
        # One matrix for input and hidden state, and one bias, as in TensorFlow's BasicLSTMCell; nn.LSTMCell has two.
        self.gates = nn.Linear(features + n_tools + hidden, 4 * hidden)
        self.scale = VALUE_SCALE if scaled else 1.0
        self.values = nn.Linear(hidden, n_tools + 1)
        self.preferred = nn.Linear(hidden, n_tools + 1) if preference_head else None
        with torch.no_grad():  # a forget gate with bias 1 keeps the cell's state at first
            self.gates.bias.zero_()
            self.gates.bias[2 * hidden : 3 * hidden] = 1
        self.register_load_state_dict_pre_hook(partial(rename_weights, _OLD_NAMES))  # type: ignore[no-untyped-call]

    def initial_state(self, n: int) -> LSTMState:
        """Return the state at the start of n episodes: zeros."""
        zeros = self.gates.weight.new_zeros(n, self.hidden)
        return LSTMState(zeros, zeros)

    def embed(self, images: Tensor) -> Tensor:
        """Encode images: float32 (n, 3, h, w), about [0, 1] -> float32 (n, features)."""
        features: Tensor = self.encoder(images)
        return features

    def lstm_step(self, features: Tensor, previous_action: Tensor, state: LSTMState) -> LSTMState:
        """Return the state after one step of the LSTM.

        Args:
            features: float32 (n, features), encoded images.
            previous_action: int64 (n,); `n_tools`, for no action, is a vector of zeros instead of a one-hot vector.
            state: the state before the step.
        """
        action = one_hot(previous_action, self.n_tools + 1)[:, :-1].to(features)
        gates = self.gates(torch.cat([features, action, state.hidden], dim=1))
        enter, candidate, forget, leave = gates.chunk(4, dim=1)  # (n, 4 * hidden) -> 4 times (n, hidden)
        cell = state.cell * forget.sigmoid() + enter.sigmoid() * candidate.tanh()
        return LSTMState(leave.sigmoid() * cell.tanh(), cell)

    def q_values(self, state: LSTMState) -> Tensor:
        """Return the Q-values of an LSTM's state, float32 (n, n_tools + 1)."""
        values: Tensor = self.scale * self.values(state.hidden)
        return values

    def preferences(self, state: LSTMState) -> Tensor:
        """Return how much each action is preferred, float32 (n, n_tools + 1); the highest one is taken."""
        if self.preferred is None:
            return self.q_values(state)
        preferences: Tensor = self.scale * self.preferred(state.hidden)
        return preferences

    def bounded_q_values(self, state: LSTMState) -> Tensor:
        """Return the Q-values, float32 (n, n_tools + 1), none as high as that of the preferred action."""
        values = self.q_values(state)
        if self.preferred is None:
            return values
        best = self.preferences(state).argmax(1, keepdim=True)
        highest = values.gather(1, best)  # (n, actions) -> (n, 1)
        return torch.minimum(values, highest - TIE).scatter(1, best, highest)

    def forward(self, images: Tensor, previous_action: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Return the Q-values, float32 (n, n_tools + 1), and the next state; see `embed` and `lstm_step`."""
        state = self.lstm_step(self.embed(images), previous_action, state)
        return self.q_values(state), state


class RecurrentQPolicy(QPolicy):
    """Takes the action with the highest Q-value of a recurrent network, or the one that the network prefers.

    Args:
        network: the network; it is set to evaluation mode.
        action_names: the actions of the toolbox that the network was trained with, *stop* last.
        name: name of the policy.

    Raises:
        ValueError: if the number of actions is not the number of Q-values.

    Example:
        >>> from restore_env import load_policy, load_toolbox
        >>> policy = load_policy("drqn", load_toolbox("rl-restore-12"))
        >>> type(policy).__name__, policy.network.n_tools, policy.patch_size
        ('RecurrentQPolicy', 12, 63)
    """

    def __init__(self, network: RecurrentQNetwork, action_names: tuple[str, ...], name: str = "recurrent-q") -> None:
        if len(action_names) != network.n_tools + 1:
            raise ValueError(f"{len(action_names)} action names for a network of {network.n_tools + 1} Q-values")
        self.network: RecurrentQNetwork = network.eval()
        self.action_names: tuple[str, ...] = tuple(action_names)
        self.name = name
        self.patch_size: int = network.patch_size

    def initial_state(self, n: int) -> State:
        """Return the LSTM's state at the start of n episodes."""
        return self.network.initial_state(n)

    @torch.no_grad()
    def q_values(self, observation: Observation, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Return the Q-values, float32 (n, actions) in the reward's unit, and the next state.

        If the network has preferences, no Q-value is as high as that of the action it prefers.
        """
        features = torch.cat(map_in_threads(self._embed, observation.image.split(CHUNK)))
        state = self.network.lstm_step(features, observation.previous_action, state)
        return self.network.bounded_q_values(state), state

    @torch.no_grad()  # a setting of each thread
    def _embed(self, images: Tensor) -> Tensor:
        """Encode images: uint8 (n, h, w, 3) -> float32 (n, features)."""
        return self.network.embed(bytes_to_floats(images))
