"""DQN in a single file, as CleanRL writes it.

pip install tyro
python examples/cleanrl_dqn.py --steps 500
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

import restore_env  # noqa: F401 - registers ImageRestore-v1


@dataclass
class Args:
    """Train a DQN."""

    seed: int = 0
    steps: int = 1_000
    """steps of all environments together"""
    num_envs: int = 16
    learning_rate: float = 1e-3
    buffer_size: int = 2_000
    batch_size: int = 64
    target_network_frequency: int = 10
    end_e: float = 0.1


class QNetwork(nn.Module):
    """Q-values of an image and a step."""

    def __init__(self, actions: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 9, 2), nn.ReLU(), nn.Conv2d(32, 24, 5, 2), nn.ReLU(), nn.Conv2d(24, 24, 5, 2), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Linear(384 + steps, 64), nn.ReLU(), nn.Linear(64, actions))

    def forward(self, images: Tensor, steps: Tensor) -> Tensor:
        """Return Q-values (n, actions) of images, uint8 (n, h, w, 3), and numbers of steps."""
        encoded = self.encoder(images.permute(0, 3, 1, 2) / 255).flatten(1)
        return self.head(torch.cat([encoded, one_hot(steps, self.steps)], 1))


def main(args: Args) -> None:
    """Train, and print the mean return of the last episodes."""
    rng = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    # The time limit belongs to the task, so it terminates. Then no target needs the last observation.
    options = {"autoreset_mode": "SameStep", "time_limit": "terminate", "include_step": True}
    envs = gym.make_vec("ImageRestore-v1", num_envs=args.num_envs, **options)
    envs = gym.wrappers.vector.RecordEpisodeStatistics(envs, buffer_length=100)
    actions, lengths = int(envs.single_action_space.n), int(envs.single_observation_space["step"].n)
    network, target = QNetwork(actions, lengths), QNetwork(actions, lengths)
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=args.learning_rate)
    buffer: list[tuple] = []
    obs, _ = envs.reset(seed=args.seed)
    for update in range(updates := args.steps // args.num_envs):
        epsilon = max(args.end_e, 1 - 2 * update / updates)
        with torch.no_grad():
            greedy = network(torch.from_numpy(obs["image"]), torch.from_numpy(obs["step"])).argmax(1).numpy()
        chosen = np.where(rng.random(args.num_envs) < epsilon, rng.integers(actions, size=args.num_envs), greedy)
        next_obs, rewards, terminated, _, _ = envs.step(chosen)
        rows = (obs["image"], obs["step"], chosen, rewards, next_obs["image"], next_obs["step"], terminated)
        buffer = [*buffer, *zip(*rows, strict=True)][-args.buffer_size :]
        obs = next_obs

        drawn = [buffer[place] for place in rng.integers(len(buffer), size=args.batch_size)]
        image, step, action, reward, next_image, next_step, done = (
            torch.from_numpy(np.stack(column)) for column in zip(*drawn, strict=True)
        )
        with torch.no_grad():
            goal = reward.float() + target(next_image, next_step).amax(1) * ~done
        loss = mse_loss(network(image, step).gather(1, action.unsqueeze(1)).squeeze(1), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update % args.target_network_frequency == 0:
            target.load_state_dict(network.state_dict())
    gain = np.mean(envs.return_queue)
    print(f"{updates * args.num_envs} steps, loss {loss.item():.2f}, the last episodes gained {gain:+.2f} dB")
    envs.close()


if __name__ == "__main__":
    main(tyro.cli(Args))
