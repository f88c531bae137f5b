"""A recurrent DQN with TorchRL: the batched environment, a collector, an LSTM and a loss.

pip install torchrl
python examples/torchrl_drqn.py --steps 600
"""

from argparse import ArgumentParser

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import Compose, GymWrapper, InitTracker, TransformedEnv, check_env_specs
from torchrl.modules import EGreedyModule, LSTMModule, QValueModule, set_recurrent_mode
from torchrl.objectives import DQNLoss, SoftUpdate

import restore_env  # noqa: F401 - registers ImageRestore-v1
from restore_env.policies.encoder import PatchEncoder

ENVS, TIME = 10, 6


class Embedding(nn.Module):
    """A vector of an image and the previous action."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.encoder, self.actions = PatchEncoder(), actions

    def forward(self, image: Tensor, previous_action: Tensor) -> Tensor:
        """Return vectors (..., features) of images (..., h, w, 3) and actions (...)."""
        images = image.flatten(0, -4).permute(0, 3, 1, 2) / 255  # (..., h, w, 3) -> (n, 3, h, w)
        encoded = self.encoder(images).unflatten(0, image.shape[:-3])
        return torch.cat([encoded, one_hot(previous_action, self.actions)], -1)


def main(steps: int) -> None:
    """Train, and print the mean reward of a step for each batch."""
    envs = gym.make_vec("ImageRestore-v1", num_envs=ENVS, autoreset_mode="Disabled", time_limit="terminate")
    env = GymWrapper(envs, categorical_action_encoding=True).auto_register_info_dict()  # infos become tensors
    check_env_specs(env)
    action_spec, actions = env.action_spec_unbatched, int(envs.single_action_space.n)
    lstm = LSTMModule(input_size=32 + actions, hidden_size=50, in_key="embedding", out_key="memory")
    policy = TensorDictSequential(
        TensorDictModule(Embedding(actions), in_keys=["image", "previous_action"], out_keys=["embedding"]),
        lstm,
        TensorDictModule(nn.Linear(50, actions), in_keys=["memory"], out_keys=["action_value"]),
        QValueModule(spec=action_spec),
    )
    greedy = EGreedyModule(spec=action_spec, annealing_num_steps=steps)
    env = TransformedEnv(env, Compose(InitTracker(), lstm.make_tensordict_primer()))
    collector = Collector(env, TensorDictSequential(policy, greedy), frames_per_batch=ENVS * TIME, total_frames=steps)
    loss_of = DQNLoss(policy, action_space=action_spec, delay_value=True, double_dqn=True)
    loss_of.make_value_estimator(gamma=1.0)
    target = SoftUpdate(loss_of, eps=0.95)
    optimizer = torch.optim.Adam(loss_of.parameters(), lr=1e-3)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(200), batch_size=16)
    for number, data in enumerate(collector):  # (envs, time)
        buffer.extend(data)
        for _ in range(4):
            with set_recurrent_mode(True):
                loss = loss_of(buffer.sample())["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            target.step()
        greedy.step(data.numel())
        psnr, reward = data["next", "psnr"].mean(), data["next", "reward"].mean()
        print(f"{(number + 1) * data.numel()} steps: {reward:+.2f} dB a step, {psnr:.2f} dB, loss {loss.item():.2f}")
    collector.shutdown()


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
