"""What the throughput benchmark times: each contender takes random actions in its own way, steps counted alike.

A contender is a function that takes one round of steps and returns how many there were. Random actions are drawn evenly
from all tools and stop; only the tools alone begin no episodes.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from torch import nn

from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox import Toolbox, load_toolbox
from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage

Contender = Callable[[], int]

ENV: Final = "restore_env:ImageRestore-v0"


def plain_network(module: nn.Module) -> nn.Module:
    """A copy of a tool's network with PyTorch's own convolutions only, laid out as PyTorch does by default."""
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


def one_by_one(toolbox: Toolbox, pairs: Pairs, *, plain: bool, seed: int) -> Contender:
    """Tools alone on one image after another: no environment, no reset, no metric."""
    networks = [tool.module for tool in toolbox]
    images, _ = pairs.to_tensors()
    images = images.contiguous() if plain else images
    tools = [plain_network(network) if plain and network is not None else network for network in networks]
    rng = np.random.default_rng(seed)

    def play() -> int:
        with torch.inference_mode():
            for action in rng.integers(0, len(tools) + 1, 8):
                tool = tools[action] if action < len(tools) else None
                row = rng.integers(len(images))
                if tool is not None:
                    tool(images[row : row + 1])
        return 8

    return play


def single(seed: int, **options: Any) -> Contender:
    """The single environment."""
    env = gym.make(ENV, **options)
    env.reset(seed=seed)
    env.action_space.seed(seed)

    def play() -> int:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        return 1

    return play


def vector(envs: gym.vector.VectorEnv[Any, Any, Any], seed: int) -> Contender:
    """Any of Gymnasium's vector environments that begins episodes anew in the step in which they end."""
    envs.reset(seed=seed)
    envs.action_space.seed(seed)

    def play() -> int:
        envs.step(envs.action_space.sample())
        return int(envs.num_envs)

    return play


def batched(n: int, seed: int, **options: Any) -> Contender:
    """The batched environment."""
    return vector(gym.make_vec(ENV, num_envs=n, autoreset_mode="SameStep", **options), seed)


def synchronous(n: int, seed: int, **options: Any) -> Contender:
    """Gymnasium's `SyncVectorEnv` over single environments."""
    make = partial(gym.make, ENV, **options)
    return vector(SyncVectorEnv([make] * n, autoreset_mode=AutoresetMode.SAME_STEP), seed)


def asynchronous(n: int, seed: int, **options: Any) -> Contender:
    """Gymnasium's `AsyncVectorEnv`: as many processes, each of which computes with one thread."""
    threads = torch.get_num_threads()
    make = partial(_one_threaded, **options)
    envs = AsyncVectorEnv([make] * n, context="spawn", autoreset_mode=AutoresetMode.SAME_STEP)
    torch.set_num_threads(threads)  # it makes one environment in this process too, to know the spaces
    return vector(envs, seed)


def _one_threaded(**options: Any) -> gym.Env[Any, Any]:
    torch.set_num_threads(1)
    return gym.make(ENV, **options)


def on_device(n: int, pairs: Pairs, device: str, dtype: str, toolbox: str, seed: int) -> Contender:
    """The transition alone, on tensors that stay on their device."""
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


def sb3_rollout(n: int, steps: int, *, adapter: bool, seed: int, **options: Any) -> Contender:
    """SB3's PPO collecting `steps` steps of `n` environments, over the adapter or over `DummyVecEnv`."""
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


def embedded_pairs(n: int, seed: int, folder: Path) -> tuple[Pairs, Path]:
    """Pairs of the shipped photos, and the file that holds them."""
    pairs = draw_pairs(as_source("embedded", "moderate", 63), n, seed)
    save_pairs(folder / "pairs.npz", pairs)
    return pairs, folder / "pairs.npz"
