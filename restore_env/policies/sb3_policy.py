"""Agents of Stable-Baselines3 as policies, and the paper's extractor for them.

    from restore_env.policies.sb3_policy import PaperExtractor

    model = DQN("MultiInputPolicy", envs, policy_kwargs={"features_extractor_class": PaperExtractor})

SB3's files hold pickled Python objects: loading one runs whatever code its author put in. Load only files you trust.
Needs stable-baselines3 and sb3-contrib.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Final

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from restore_env.errors import FormatError
from restore_env.policies.base import Policy, State
from restore_env.policies.encoder import PatchEncoder
from restore_env.restoration.batch import Observation

ALGORITHMS: Final[dict[str, type[BaseAlgorithm]]] = {
    "dqn": DQN,
    "qrdqn": QRDQN,
    "ppo": PPO,
    "maskable_ppo": MaskablePPO,
    "recurrent_ppo": RecurrentPPO,
}
"""SB3's algorithms that train on the environment, by name."""


_MODULES: Final = {
    "stable_baselines3.dqn.policies": "dqn",
    "sb3_contrib.qrdqn.policies": "qrdqn",
    "stable_baselines3.common.policies": "ppo",
    "sb3_contrib.common.maskable.policies": "maskable_ppo",
    "sb3_contrib.common.recurrent.policies": "recurrent_ppo",
}
"""Whose policies a file holds, by the module that defines them; the file does not name its algorithm."""


class PaperExtractor(BaseFeaturesExtractor):
    """The paper's convolutions, joined with the previous action and, where it is observed, the step (section 3.2).

    Args:
        observation_space: of the environment.
        features: size of the image's description.
        centred: whether images enter as differences from their own mean (`PatchEncoder`).
        statistics: whether the description is also made from statistics of the differences between pixels.
    """

    def __init__(
        self, observation_space: gym.spaces.Dict, features: int = 32, centred: bool = False, statistics: bool = False
    ) -> None:
        self._discrete = sorted(key for key in observation_space.spaces if key != "image")
        sizes = [int(space.n) for key, space in observation_space.items() if isinstance(space, gym.spaces.Discrete)]
        super().__init__(observation_space, features + sum(sizes))
        image = observation_space["image"]
        assert image.shape is not None
        self.encoder = PatchEncoder(
            features=features, patch_size=max(image.shape[1:]), centred=centred, statistics=statistics
        )

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Describe observations as SB3 prepares them: images channels first in [0, 1], the rest as one-hot vectors."""
        # SB3 gives a one-hot as (n, k) when it acts and as (n, 1, k) when it trains.
        rest = [observations[key].flatten(1) for key in self._discrete]
        return torch.cat([self.encoder.features(observations["image"]), *rest], dim=1)


class SB3Policy(Policy):
    """Acts by an agent of SB3, greedily.

    Args:
        model: a trained agent of one of `ALGORITHMS`.
        name: what to call the policy.
    """

    def __init__(self, model: BaseAlgorithm, name: str) -> None:
        self.model, self.name = model, name
        self.network = model.policy
        spaces = model.observation_space
        assert isinstance(spaces, gym.spaces.Dict)
        image = spaces["image"]
        assert image.shape is not None
        self.patch_size = max(image.shape)
        names = getattr(model, "action_names", None)
        self.action_names = None if names is None else tuple(names)
        assert isinstance(model.action_space, gym.spaces.Discrete)
        self.n_actions = int(model.action_space.n)
        self._keys = tuple(spaces.spaces)
        steps = spaces.spaces.get("step")
        self._most_steps = int(steps.n) - 1 if isinstance(steps, gym.spaces.Discrete) else None

    def to(self, device: str | torch.device) -> "SB3Policy":
        """Move the agent's networks to a device."""
        self.model.policy.to(device)
        self.model.device = torch.device(device)
        return self

    def act(self, observation: Observation, state: State) -> tuple[Tensor, State]:
        """Choose; only recurrent agents remember something.

        Raises:
            ValueError: if the agent observes the step and was trained for shorter toolchains.
        """
        if self._most_steps is not None and int(observation.step.max()) > self._most_steps:
            raise ValueError(
                f"policy {self.name!r} was trained for toolchains of at most {self._most_steps} tools and is asked for "
                f"more; give max_steps={self._most_steps}"
            )
        seen = {key: getattr(observation, key).cpu().numpy() for key in self._keys}
        starts = np.asarray(observation.step.cpu().numpy() == 0)
        actions, state = self.model.predict(seen, state=state, episode_start=starts, deterministic=True)
        return torch.from_numpy(np.asarray(actions, dtype=np.int64)).to(observation.image.device), state


def load_sb3_policy(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> SB3Policy:
    """Load an agent from SB3's own file. This can run code: load only files you trust.

    Args:
        path: a `.zip` that `model.save` of one of `ALGORITHMS` wrote.
        device: where it computes.

    Raises:
        FormatError: if it is no such file.
    """
    file = Path(path)
    try:
        with zipfile.ZipFile(file) as archive:
            content = json.loads(archive.read("data"))
        name = _MODULES[content["policy_class"]["__module__"]]
        if name == "ppo" and "n_epochs" not in content:
            raise ValueError("A2C shares PPO's networks, but is none of these")
        model = ALGORITHMS[name].load(file, device=device)
    except Exception as error:  # unpickling raises almost anything
        raise FormatError(f"{file}: not an agent that {', '.join(ALGORITHMS)} of SB3 saved ({error})") from error
    seen = model.observation_space
    if not isinstance(seen, gym.spaces.Dict) or not {"image"} <= seen.spaces.keys() <= set(Observation._fields):
        raise FormatError(f"{file}: an agent of another environment; it observes {seen}")
    return SB3Policy(model, file.stem)
