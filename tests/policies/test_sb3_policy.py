"""Agents that Stable-Baselines3 saved."""

import pickle
import zipfile
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecFrameStack

from restore_env import FormatError, SB3VecEnv, restore
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies import load_policy, play
from restore_env.policies.sb3_policy import PaperExtractor, SB3Policy
from restore_env.restoration.batch import Observation, RestorationBatch

AGENTS = sorted((Path(__file__).parents[2] / "benchmarks" / "sb3-agents").glob("*.zip"))


@pytest.mark.parametrize("file", AGENTS, ids=lambda file: file.stem)
def test_the_agents_of_the_repository_load_with_their_weights(file):
    policy = load_policy(file, trust=True)
    assert (policy.name, policy.patch_size, policy.n_actions) == (file.stem, 63, 13)
    images = torch.randint(0, 256, (6, 63, 63, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    none = torch.zeros(6, dtype=torch.int64)
    actions, _ = policy.act(Observation(images, none + 12, none), policy.initial_state(6))
    assert actions.shape == (6,)
    encoders = [module for name, module in policy.network.named_modules() if name.endswith("encoder")]
    assert encoders and all(encoder.projection.bias.abs().sum() > 0 for encoder in encoders)  # not as initialised


@pytest.fixture
def pairs(photos):
    return draw_pairs(as_source(photos, "moderate", 40), 6, seed=1)


def stacked_agent(photos, toolbox):
    """A DQN with random weights that sees the last two images, and chooses not always the same."""
    envs = SB3VecEnv(6, images=photos, toolbox=toolbox, patch_size=40, observation="image", time_limit="terminate")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        extractor = {"features_extractor_class": PaperExtractor, "features_extractor_kwargs": {"centred": True}}
        model = DQN("CnnPolicy", VecFrameStack(envs, 2), buffer_size=1, policy_kwargs=extractor, device="cpu")
    return model


def test_an_agent_that_sees_stacked_images_acts_as_in_sb3s_wrapper(photos, function_toolbox, pairs):
    model = stacked_agent(photos, function_toolbox)
    envs = model.get_env()
    envs.set_options([{"distorted": pair.distorted, "reference": pair.reference} for pair in pairs])
    observation, chains = envs.reset(), {}
    while len(chains) < len(pairs):
        observation, _, done, infos = envs.step(model.predict(observation, deterministic=True)[0])
        chains = {row: infos[row]["toolchain"].tolist() for row in np.flatnonzero(done)} | chains
    batch = RestorationBatch(function_toolbox)
    batch.start(*pairs.to_tensors())
    play(SB3Policy(model, "stacked"), batch)
    assert batch.toolchains.tolist() == [chains[row] for row in range(len(pairs))]
    assert len({tuple(chain) for chain in chains.values()}) > 1


def test_the_extractor_encodes_each_frame_alone(photos, function_toolbox):
    extractor = stacked_agent(photos, function_toolbox).policy.q_net.features_extractor
    images = torch.rand(5, 6, 40, 40, generator=torch.Generator().manual_seed(0))
    expected = torch.cat([extractor.encoder(images[:, :3]), extractor.encoder(images[:, 3:])], dim=1)
    torch.testing.assert_close(extractor(images), expected, atol=1e-6, rtol=0)  # summed in another order
    assert extractor.features_dim == 64


class Foreign(gym.Env):
    """An environment that is not ours: it can be reset only."""

    def __init__(self, seen, acts) -> None:
        self.observation_space, self.action_space = seen, acts

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}


@pytest.mark.parametrize(
    ("shape", "acts"),
    [
        ((40, 40, 3), gym.spaces.Box(-1, 1, (2,))),  # a racing car
        ((4, 84, 84), gym.spaces.Discrete(4)),  # Atari: four grey frames
        ((3, 40, 60), gym.spaces.Discrete(4)),
    ],
)
def test_agents_of_other_environments_with_images_are_refused(tmp_path, shape, acts):
    model = PPO("CnnPolicy", Foreign(gym.spaces.Box(0, 255, shape, np.uint8), acts), device="cpu")
    model.save(tmp_path / "other.zip")
    with pytest.raises(FormatError, match=r"other\.zip: an agent of another environment; it observes Box"):
        load_policy(tmp_path / "other.zip", trust=True)


def test_a_file_of_sb3_is_only_loaded_with_trust(tmp_path):
    """It holds pickled objects: this one makes a file when it is loaded."""

    class Opens:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        archive.writestr("data", pickle.dumps(Opens()))
    for load in (load_policy, partial(restore, np.zeros((64, 64, 3), np.uint8))):
        with pytest.raises(ValueError, match=r"agent\.zip.*can run any code when it is loaded; give trust=True"):
            load(tmp_path / "agent.zip")
    assert not (tmp_path / "opened").exists()
