"""Tianshou's DQN on the environment.

pip install tianshou
python examples/tianshou_dqn.py --steps 600
"""

from argparse import ArgumentParser

import gymnasium as gym
import torch
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from torch import nn
from torch.nn.functional import one_hot

import restore_env  # noqa: F401 - registers ImageRestore-v1
from restore_env.policies.encoder import PatchEncoder

ENVS = 8


class QNetwork(nn.Module):
    """Q-values of an image and a step."""

    def __init__(self, actions: int, lengths: int) -> None:
        super().__init__()
        self.encoder, self.lengths = PatchEncoder(), lengths
        self.head = nn.Sequential(nn.Linear(32 + lengths, 64), nn.ReLU(), nn.Linear(64, actions))

    def forward(self, obs: Batch, state: None = None, info: object = None) -> tuple[torch.Tensor, None]:
        """Return Q-values (n, actions)."""
        images = torch.as_tensor(obs.image).permute(0, 3, 1, 2) / 255  # (n, h, w, 3) -> (n, 3, h, w)
        steps = one_hot(torch.as_tensor(obs.step), self.lengths)
        return self.head(torch.cat([self.encoder(images), steps], 1)), state


def main(steps: int) -> None:
    """Train, and print what a test episode gains."""
    make = [lambda: gym.make("ImageRestore-v1", time_limit="terminate", include_step=True)] * ENVS
    envs, tests = DummyVectorEnv(make), DummyVectorEnv(make)
    observation, action = envs.observation_space[0], envs.action_space[0]
    network = QNetwork(int(action.n), int(observation["step"].n))
    policy = DiscreteQLearningPolicy(model=network, action_space=action, eps_training=0.3)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), gamma=1.0, target_update_freq=50)
    buffer = VectorReplayBuffer(2_000, ENVS)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=Collector(algorithm, envs, buffer, exploration_noise=True),
            test_collector=Collector(algorithm, tests),
            max_epochs=2,
            epoch_num_steps=steps // 2,
            collection_step_num_env_steps=ENVS,
            test_step_num_episodes=16,
            update_step_num_gradient_steps_per_sample=1 / ENVS,
            show_progress=False,
        )
    )
    print(f"{result.train_step} steps, the best test gained {result.best_reward:+.2f} dB")
    print(f"infos in the buffer: psnr {buffer.info.psnr.shape}, toolchain {buffer.info.toolchain.shape}")


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
