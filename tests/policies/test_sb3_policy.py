"""Agents that Stable-Baselines3 saved."""

from pathlib import Path

import pytest
import torch

from restore_env.policies import load_policy
from restore_env.restoration.batch import Observation

AGENTS = sorted((Path(__file__).parents[2] / "benchmarks" / "sb3-agents").glob("*.zip"))


@pytest.mark.parametrize("file", AGENTS, ids=lambda file: file.stem)
def test_the_agents_of_the_repository_load_with_their_weights(file):
    policy = load_policy(file)
    assert (policy.name, policy.patch_size, policy.n_actions) == (file.stem, 63, 13)
    images = torch.randint(0, 256, (6, 63, 63, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    none = torch.zeros(6, dtype=torch.int64)
    actions, _ = policy.act(Observation(images, none + 12, none), policy.initial_state(6))
    assert actions.shape == (6,)
    encoders = [module for name, module in policy.network.named_modules() if name.endswith("encoder")]
    assert encoders and all(encoder.projection.bias.abs().sum() > 0 for encoder in encoders)  # not as initialised
