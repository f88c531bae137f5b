"""What the throughput benchmark times: each case takes random actions in its own way, and steps are counted alike.

Actions are drawn evenly from all tools and stop. Every case but `one_by_one` begins a new episode where one ends.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, Final

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from torch import nn

from restore_env import Pairs, Toolbox, load_toolbox
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage
from restore_env.toolbox.tool import apply_padded

Case = Callable[[], int]
"""Takes some steps and returns how many there were."""

ENV: Final = "restore_env:ImageRestore-v1"


def plain_network(module: nn.Module) -> nn.Module:
    """Return a copy of a tool's network with PyTorch's own convolutions only, laid out as PyTorch does by default."""
    plain = deepcopy(module)
    for name, child in list(plain.named_children()):
        if isinstance(child, ConvFromImage | ConvToImage):
            size = child.kernel_size[0]
            conv = nn.Conv2d(child.in_channels, child.out_channels, size, padding=size // 2)
            conv.load_state_dict(child.state_dict())
            setattr(plain, name, conv)
    for weight in plain.parameters():
        weight.data = weight.data.contiguous()
    return plain


def one_by_one(toolbox: Toolbox, pairs: Pairs, *, plain: bool, seed: int) -> Case:
    """Apply tools alone to one image after another: no environment, no reset, no metric.

    Args:
        toolbox: the tools.
        pairs: their distorted images are used.
        plain: use PyTorch's own convolutions and memory layout.
        seed: of the actions.
    """
    networks = [*(tool.module for tool in toolbox), None]  # the last action is stop
    images, _ = pairs.to_tensors()
    images = images.contiguous() if plain else images
    networks = [plain_network(network) if plain and network is not None else network for network in networks]
    rng = np.random.default_rng(seed)

    def play() -> int:
        with torch.inference_mode():
            for action in rng.integers(0, len(networks), 8):
                network, row = networks[action], rng.integers(len(images))
                if network is not None:
                    apply_padded(network, images[row : row + 1], toolbox[action].multiple)
        return 8

    return play


def single(seed: int, **options: Any) -> Case:
    """Step the single environment."""
    env = gym.make(ENV, **options)
    env.reset(seed=seed)
    env.action_space.seed(seed)

    def play() -> int:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        return 1

    return play


def vector(envs: gym.vector.VectorEnv[Any, Any, Any], seed: int) -> Case:
    """Step a vector environment whose episodes begin anew in the step in which they end."""
    envs.reset(seed=seed)
    envs.action_space.seed(seed)

    def play() -> int:
        envs.step(envs.action_space.sample())
        return int(envs.num_envs)

    return play


def batched(n: int, seed: int, **options: Any) -> Case:
    """Step the batched environment."""
    return vector(gym.make_vec(ENV, num_envs=n, autoreset_mode="SameStep", **options), seed)


def synchronous(n: int, seed: int, **options: Any) -> Case:
    """Step Gymnasium's `SyncVectorEnv` over single environments."""
    make = partial(gym.make, ENV, **options)
    return vector(SyncVectorEnv([make] * n, autoreset_mode=AutoresetMode.SAME_STEP), seed)


def asynchronous(n: int, seed: int, **options: Any) -> Case:
    """Step Gymnasium's `AsyncVectorEnv`: n processes, each of which computes with one thread."""
    threads = torch.get_num_threads()
    make = partial(_one_threaded, **options)
    envs = AsyncVectorEnv([make] * n, context="spawn", autoreset_mode=AutoresetMode.SAME_STEP)
    torch.set_num_threads(threads)  # it makes one environment in this process too, to know the spaces
    return vector(envs, seed)


def _one_threaded(**options: Any) -> gym.Env[Any, Any]:
    torch.set_num_threads(1)
    return gym.make(ENV, **options)


def on_device(pairs: Pairs, device: str, n: int, dtype: str, toolbox: str, seed: int) -> Case:
    """Step the transition alone, on tensors that stay on their device."""
    batch = RestorationBatch(load_toolbox(toolbox, device, dtype))
    distorted, reference = pairs.to_tensors(device)
    generator = torch.Generator(device).manual_seed(seed)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(len(distorted), (count,), generator=generator, device=device)
        return distorted[rows], reference[rows]

    batch.start(*draw(n))

    def play() -> int:
        batch.step(torch.randint(len(batch.toolbox) + 1, (n,), generator=generator, device=device))
        ended = batch.ended.nonzero().flatten()
        if len(ended):
            batch.restart(ended, *draw(len(ended)))
        batch.observe()
        if device != "cpu":
            torch.cuda.synchronize()
        return n

    return play


def sb3_rollout(n: int, steps: int, *, adapter: bool, seed: int, **options: Any) -> Case:
    """Let SB3's PPO collect `steps` steps of `n` environments, over `SB3VecEnv` or over `DummyVecEnv`."""
    from stable_baselines3 import PPO  # noqa: PLC0415  -- importing it takes seconds
    from stable_baselines3.common.callbacks import CallbackList  # noqa: PLC0415
    from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: PLC0415

    from restore_env.envs.sb3_vec_env import SB3VecEnv  # noqa: PLC0415

    envs = SB3VecEnv(n, **options) if adapter else DummyVecEnv([partial(gym.make, ENV, **options)] * n)
    model = PPO("MultiInputPolicy", envs, n_steps=steps, batch_size=n * steps, seed=seed, device="cpu")
    _, callback = model._setup_learn(n * steps, CallbackList([]))
    wrapped = model.get_env()  # SB3 puts the channels of images first
    assert wrapped is not None

    def play() -> int:
        model.collect_rollouts(wrapped, callback, model.rollout_buffer, steps)
        return n * steps

    return play
