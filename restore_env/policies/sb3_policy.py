"""Agents of Stable-Baselines3 as policies, and the paper's features extractor for them.

SB3's files hold pickled Python objects, and loading one can run code: load only files that you trust. This module needs
stable-baselines3 and sb3-contrib, which the extra `train` installs.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from restore_env.errors import FormatError
from restore_env.policies.base import Policy, State
from restore_env.policies.encoder import PatchEncoder
from restore_env.restoration.batch import Observation
from restore_env.utils.checks import one_line
from restore_env.utils.checksums import check_checksum

ALGORITHMS: Final[dict[str, type[BaseAlgorithm]]] = {
    "dqn": DQN,
    "qrdqn": QRDQN,
    "ppo": PPO,
    "maskable_ppo": MaskablePPO,
    "recurrent_ppo": RecurrentPPO,
}
"""Algorithms of SB3 that can be loaded, by name."""

CHANNELS: Final = 3
"""Channels of a frame."""

_MODULES: Final = {next(iter(kind.policy_aliases.values())).__module__: name for name, kind in ALGORITHMS.items()}
"""Algorithm of a file by the module of its policy class; the file does not name its algorithm."""


class PaperExtractor(BaseFeaturesExtractor):
    """Extracts features as the paper's agent does (section 3.2).

    The output is the encoded image, the previous action and, if it is observed, the step, the last two as one-hot
    vectors. If images alone are observed, the output is the encoded image. Stacked frames are encoded one by one.

    Args:
        observation_space: observation space of the environment, with the channels first, as SB3 prepares it.
        features: size of the encoded image.
        centred: whether images are centred (`PatchEncoder`).
        degradation_features: whether the encoder also uses `degradation_features`.
        statistics: name of `degradation_features` in files of version 0.1.

    Example:
        >>> from restore_env import SB3VecEnv
        >>> envs = SB3VecEnv(2, toolbox="classical", time_limit="terminate")
        >>> policy_kwargs = {"features_extractor_class": PaperExtractor}
        >>> model = DQN("MultiInputPolicy", envs, buffer_size=10, policy_kwargs=policy_kwargs)
        >>> model.policy.q_net.features_extractor.features_dim  # 32 features, 18 possible previous actions
        50
        >>> envs.close()
    """

    def __init__(
        self,
        observation_space: gym.spaces.Dict | gym.spaces.Box,
        features: int = 32,
        centred: bool = False,
        degradation_features: bool = False,
        statistics: bool = False,
    ) -> None:
        parts = _parts(observation_space)
        self._discrete = sorted(key for key in parts if key != "image")
        sizes = [int(space.n) for space in parts.values() if isinstance(space, gym.spaces.Discrete)]
        channels, side, _ = parts["image"].shape or ()
        self._frames = channels // CHANNELS
        super().__init__(observation_space, self._frames * features + sum(sizes))
        self.encoder = PatchEncoder(
            features=features,
            patch_size=side,
            centred=centred,
            degradation_features=degradation_features or statistics,
        )

    def forward(self, observations: dict[str, Tensor] | Tensor) -> Tensor:
        """Extract features from observations as SB3 prepares them.

        Args:
            observations: `image`, float32 (n, 3 * frames, h, w) in [0, 1], and one-hot vectors; or the image alone.

        Returns:
            float32 (n, features_dim).
        """
        parts = observations if isinstance(observations, dict) else {"image": observations}
        # (n, 3 * frames, h, w) -> (n, frames, 3, h, w) -> (n * frames, 3, h, w)
        frames = parts["image"].unflatten(1, (self._frames, CHANNELS)).flatten(0, 1)
        encoded = self.encoder(frames).view(len(parts["image"]), -1)  # (n * frames, features) -> (n, frames * features)
        # SB3's one-hot vectors are (n, k) when it acts and (n, 1, k) when it trains; both -> (n, k).
        return torch.cat([encoded, *(parts[key].flatten(1) for key in self._discrete)], dim=1)


class AgentState(NamedTuple):
    """The memory of an SB3 agent for n episodes.

    Attributes:
        frames: uint8 (n, h, w, 3 * frames), the last images, the newest one last, as `VecFrameStack` stacks them.
        lstm: state of the agent's LSTM; None at the start, and for an agent without one.
    """

    frames: NDArray[np.uint8]
    lstm: Any


class SB3Policy(Policy):
    """Takes the greedy actions of an SB3 agent.

    An agent that observes images alone may see several of them stacked by `VecFrameStack`; so it does here.

    Args:
        model: an agent of one of `ALGORITHMS`.
        name: name of the policy.

    Raises:
        ValueError: if the agent belongs to another environment.

    Example:
        >>> from restore_env import SB3VecEnv, as_source, draw_pairs, evaluate
        >>> envs = SB3VecEnv(2, toolbox="classical", time_limit="terminate")
        >>> policy = SB3Policy(PPO("MultiInputPolicy", envs), "untrained")
        >>> envs.close()
        >>> pairs = draw_pairs(as_source("embedded", "moderate", 63), 2, seed=0)
        >>> evaluate(pairs, policy, "classical").n
        2
    """

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        seen, acts = model.observation_space, model.action_space
        if not _fits(seen) or not isinstance(acts, gym.spaces.Discrete):
            raise ValueError(f"an agent of another environment; it observes {seen} and acts in {acts}")
        self.model, self.network, self.name = model, model.policy, name
        parts = _parts(seen)
        self._stacked_channels, self.patch_size, _ = parts["image"].shape or ()
        names = getattr(model, "action_names", None)
        self.action_names = None if names is None else tuple(names)
        self.n_actions = int(acts.n)
        self._keys = tuple(parts) if isinstance(seen, gym.spaces.Dict) else ()
        steps = parts.get("step")
        self._most_steps = int(steps.n) - 1 if isinstance(steps, gym.spaces.Discrete) else None

    def to(self, device: str | torch.device) -> Self:
        """Move the agent's networks to a device and return the policy."""
        super().to(device)
        self.model.device = torch.device(device)
        return self

    def initial_state(self, n: int) -> State:
        """Return the state at the start of n episodes: black frames, and no state of an LSTM."""
        assert self.patch_size is not None
        return AgentState(np.zeros((n, self.patch_size, self.patch_size, self._stacked_channels), np.uint8), None)

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose the agent's greedy actions; see `Policy.act`.

        Raises:
            ValueError: if the agent observes the step and was trained for shorter toolchains.
        """
        if self._most_steps is not None and int(observation.step.max()) > self._most_steps:
            raise ValueError(
                f"policy {self.name!r} was trained for toolchains of at most {self._most_steps} tools and is asked for "
                f"more; give max_steps={self._most_steps}"
            )
        # The oldest frame goes: (n, h, w, 3 * frames) and (n, h, w, 3) -> (n, h, w, 3 * frames)
        frames = np.concatenate([state.frames[..., CHANNELS:], observation.image.cpu().numpy()], axis=3)
        seen = {key: getattr(observation, key).cpu().numpy() for key in self._keys} | {"image": frames}
        starts = np.asarray(observation.step.cpu().numpy() == 0)
        actions, lstm = self.model.predict(
            seen if self._keys else frames, state=state.lstm, episode_start=starts, deterministic=True
        )
        chosen = torch.from_numpy(np.asarray(actions, dtype=np.int64)).to(observation.image.device)
        return chosen, AgentState(frames, lstm)


def load_sb3_policy(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> SB3Policy:
    """Load an agent from SB3's own file. This can run code: load only files that you trust.

    Args:
        path: a `.zip` file that `model.save` of one of `ALGORITHMS` wrote.
        device: device of the agent's networks.

    Returns:
        The agent as a policy; the file's name is the name of the policy.

    Raises:
        FormatError: if it is not such a file.
    """
    file = Path(path)
    try:
        check_checksum(file)
        with zipfile.ZipFile(file) as archive:
            content = json.loads(archive.read("data"))
        name = _MODULES[content["policy_class"]["__module__"]]
        if name == "ppo" and "n_epochs" not in content:
            raise ValueError("A2C shares PPO's networks, but is none of these")
        model = ALGORITHMS[name].load(file, device=device)
    except Exception as error:  # unpickling raises almost anything
        reason = one_line(error)
        raise FormatError(f"{file}: not an agent that {', '.join(ALGORITHMS)} of SB3 saved ({reason})") from error
    try:
        return SB3Policy(model, file.stem)
    except ValueError as error:
        raise FormatError(f"{file}: {one_line(error)}") from error


def _parts(space: gym.Space[Any]) -> dict[str, gym.Space[Any]]:
    """Return the spaces that an agent observes, by their keys; an image alone is `image`."""
    return space.spaces if isinstance(space, gym.spaces.Dict) else {"image": space}


def _fits(space: gym.Space[Any]) -> bool:
    """Return whether an agent observes what the environment shows: square images of whole frames, channels first."""
    parts = _parts(space)
    shape = parts["image"].shape if "image" in parts else None
    known = shape is not None and len(shape) == 3 and shape[0] % CHANNELS == 0 and shape[1] == shape[2]
    return known and parts.keys() <= set(Observation._fields)
