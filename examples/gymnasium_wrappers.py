"""Gymnasium's wrappers, around one environment and around many.

    pip install moviepy
    python examples/gymnasium_wrappers.py

The package moviepy writes the videos of `RecordVideo`.
"""

from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FrameStackObservation, NormalizeReward, RecordEpisodeStatistics, RecordVideo
from gymnasium.wrappers.vector import NumpyToTorch, RecordEpisodeStatistics as VectorStatistics

import restore_env  # noqa: F401 - registers ImageRestore-v1


def one(steps: int, videos: str) -> None:
    """Stack images, record the first episode as a video, and count returns."""
    env = gym.make("ImageRestore-v1", observation="image", render_mode="rgb_array")
    env = RecordVideo(env, videos, episode_trigger=lambda number: number == 0)
    env = NormalizeReward(RecordEpisodeStatistics(FrameStackObservation(env, 3, padding_type="zero")))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    env.close()
    gains = np.array(env.get_wrapper_attr("return_queue"))
    videos_made = len(list(Path(videos).iterdir()))
    print(f"one: {observation.shape}, {len(gains)} episodes, {gains.mean():+.2f} dB, {videos_made} video")


def many(steps: int) -> None:
    """Step tensors through the batched environment."""
    envs = NumpyToTorch(VectorStatistics(gym.make_vec("ImageRestore-v1", num_envs=16)))
    envs.action_space.seed(0)
    envs.reset(seed=0)
    ended = []
    for _ in range(steps // envs.num_envs):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        ended += infos["episode"]["r"][infos["_episode"]].tolist() if "episode" in infos else []
    envs.close()
    images = observations["image"]
    print(f"many: {images.dtype} {tuple(images.shape)}, {len(ended)} episodes, {np.mean(ended):+.2f} dB")


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    count = parser.parse_args().steps
    with TemporaryDirectory() as folder:
        one(count, f"{folder}/videos")
    many(count)
