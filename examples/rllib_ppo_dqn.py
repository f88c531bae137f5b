"""RLlib: PPO with a small convolutional network and an LSTM, and DQN without memory.

    pip install "ray[rllib]" torch
    python examples/rllib_ppo_dqn.py --steps 500

RLlib has no default network for observations that are a dictionary, so this program brings its own. Two env runners
collect experience. Each has a batched environment, which Gymnasium's `vector_entry_point` makes.
"""

from argparse import ArgumentParser
from typing import Any

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.utils.schedules.scheduler import Scheduler
from torch import Tensor, nn
from torch.nn.functional import one_hot

from restore_env.policies.encoder import PatchEncoder

HIDDEN = 50


class Encoder(nn.Module):
    """Features of an image and of one number, as one-hot."""

    def __init__(self, space: gym.spaces.Dict, key: str) -> None:
        super().__init__()
        self.images, self.key, self.count = PatchEncoder(), key, int(space[key].n)
        self.size = 32 + self.count

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return features (..., size) of images (..., h, w, 3) and numbers (...)."""
        image, number = batch[Columns.OBS]["image"], batch[Columns.OBS][self.key]
        encoded = self.images(image.flatten(0, -4).permute(0, 3, 1, 2) / 255).unflatten(0, image.shape[:-3])
        return {ENCODER_OUT: torch.cat([encoded, one_hot(number.long(), self.count)], -1)}


class RecurrentModule(TorchRLModule, ValueFunctionAPI):
    """Logits and values from an LSTM that sees the image and the previous action."""

    def setup(self) -> None:
        """Make the networks."""
        self.encoder = Encoder(self.observation_space, "previous_action")
        self.lstm = nn.LSTM(self.encoder.size, HIDDEN, batch_first=True)
        self.logits, self.values = nn.Linear(HIDDEN, int(self.action_space.n)), nn.Linear(HIDDEN, 1)

    def get_initial_state(self) -> dict[str, np.ndarray]:
        """Return the memory at the start of an episode."""
        return {key: np.zeros(HIDDEN, np.float32) for key in ("h", "c")}

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        state = batch[Columns.STATE_IN]
        memory = state["h"].unsqueeze(0), state["c"].unsqueeze(0)
        embeddings, (hidden, cell) = self.lstm(self.encoder(batch)[ENCODER_OUT], memory)  # (n, time, HIDDEN)
        state = {"h": hidden.squeeze(0), "c": cell.squeeze(0)}
        logits = self.logits(embeddings)
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.STATE_OUT: state, Columns.EMBEDDINGS: embeddings}

    def compute_values(self, batch: dict[str, Any], embeddings: Tensor | None = None) -> Tensor:
        """Return the values of states."""
        embeddings = self._forward(batch)[Columns.EMBEDDINGS] if embeddings is None else embeddings
        return self.values(embeddings).squeeze(-1)


class QModule(DefaultDQNTorchRLModule):
    """Q-values of the image and the step."""

    def setup(self) -> None:
        """Make the networks."""
        self.uses_dueling, self.uses_double_q, self.num_atoms = False, True, 1
        self.epsilon_schedule = Scheduler(fixed_value_or_schedule=self.model_config["epsilon"], framework="torch")
        self.encoder = Encoder(self.observation_space, "step")
        self.af = nn.Linear(self.encoder.size, int(self.action_space.n))


def train(config: AlgorithmConfig, module: type[TorchRLModule], steps: int, **options: bool) -> None:
    """Train for at least so many steps, and print the mean return of the episodes."""
    config.environment("restore_env:ImageRestore-v1", env_config={"time_limit": "terminate", **options})
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=4, gym_env_vectorize_mode="vector_entry_point")
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=module, model_config={"max_seq_len": 3}))
    config.reporting(min_sample_timesteps_per_iteration=128)
    algorithm = config.build_algo()
    done = 0
    while done < steps:
        result = algorithm.train()["env_runners"]
        done, gain = int(result["num_env_steps_sampled_lifetime"]), result["episode_return_mean"]
        print(f"{type(algorithm).__name__}: {done} steps, {gain:+.2f} dB")
    algorithm.stop()


def main(steps: int) -> None:
    """Train with both algorithms."""
    ray.init(num_cpus=3, include_dashboard=False)
    ppo = PPOConfig().training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=2)
    train(ppo, RecurrentModule, steps)
    dqn = DQNConfig().training(
        train_batch_size_per_learner=32,
        num_steps_sampled_before_learning_starts=100,
        replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 2_000},
        epsilon=[(0, 1.0), (steps, 0.1)],
        double_q=True,
        dueling=False,
    )
    train(dqn, QModule, steps, include_step=True)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    main(parser.parse_args().steps)
