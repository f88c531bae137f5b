from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor

from restore_env import ImageRestoreEnv, ImageRestoreVectorEnv
from restore_env.envs.sb3_vec_env import SB3VecEnv

N = 5


@pytest.fixture
def options(photos, function_toolbox):
    return {"images": photos, "toolbox": function_toolbox, "patch_size": 24}


def assert_same(one, other, where="result"):
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}[{number}]")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    else:
        assert one == other, where


def plain(observation):
    """An observation without SB3's kind of dictionary."""
    return dict(observation) if isinstance(observation, dict) else observation


@pytest.mark.parametrize(
    "extra",
    [{}, {"time_limit": "terminate", "include_step": True}, {"stop_if_worse": True}, {"observation": "image"}],
    ids=["default", "terminate", "worse", "image"],
)
def test_equals_dummy_vec_env_step_by_step(options, extra):
    mine = SB3VecEnv(N, **options, **extra)
    theirs = DummyVecEnv([lambda: ImageRestoreEnv(**options, **extra) for _ in range(N)])
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    for envs in (mine, theirs):
        envs.seed(7)
    rng = np.random.default_rng(0)
    assert_same(plain(mine.reset()), plain(theirs.reset()))
    assert_same(mine.reset_infos, theirs.reset_infos)
    ended = truncated = 0
    for _ in range(20):
        actions = rng.integers(mine.action_space.n, size=N)
        (one, *mine_rest), (other, *their_rest) = mine.step(actions), theirs.step(actions)
        assert_same(plain(one), plain(other))
        for mine_part, their_part in zip(mine_rest, their_rest, strict=True):
            assert_same(deepcopy(mine_part), their_part)
        assert_same(mine.reset_infos, theirs.reset_infos)
        ended += mine_rest[1].sum()
        truncated += sum(info["TimeLimit.truncated"] for info in mine_rest[2])
    assert ended > N
    assert bool(truncated) == (extra.get("time_limit") != "terminate")


def test_options_and_seeds_are_used_once(options, photos):
    envs = SB3VecEnv(2, **options)
    patches = [photo[:24, :24] for photo in photos[:2]]
    envs.set_options([{"distorted": patch, "reference": patch} for patch in patches])
    np.testing.assert_array_equal(envs.reset()["image"], np.stack(patches))
    assert not np.array_equal(envs.reset()["image"], np.stack(patches))
    envs.set_options([{"distorted": patches[0], "reference": patches[0]}, {}])
    with pytest.raises(ValueError, match=r"options of environment 1: all environments need the same"):
        envs.reset()


def test_attributes_are_shared(options):
    envs = SB3VecEnv(3, **options, render_mode="rgb_array")
    assert envs.get_attr("toolbox", [0, 2]) == [envs.envs.toolbox] * 2
    assert envs.env_is_wrapped(VecMonitor) == [False] * 3
    envs.set_attr("note", 5)
    assert envs.envs.note == 5
    with pytest.raises(ValueError, match="'note' can be set for all environments only"):
        envs.set_attr("note", 6, indices=1)
    assert [mask.tolist() for mask in envs.env_method("action_masks", indices=[1])] == [[True] * 4]
    assert envs.has_attr("action_masks") and not envs.has_attr("nothing")
    envs.reset()
    assert envs.render().ndim == 3  # SB3 tiles the pictures
    envs.close()


ALGORITHMS = {
    DQN: ("Policy", {"buffer_size": 100, "learning_starts": 20, "batch_size": 8}),
    QRDQN: ("Policy", {"buffer_size": 100, "learning_starts": 20, "batch_size": 8}),
    PPO: ("Policy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
    MaskablePPO: ("Policy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
    RecurrentPPO: ("LstmPolicy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("observation", ["dict", "image"])
def test_every_algorithm_trains(options, algorithm, observation):
    policy, arguments = ALGORITHMS[algorithm]
    options |= {"patch_size": 40, "observation": observation}
    envs = SB3VecEnv(N, time_limit="terminate", **options)
    envs, kind = (VecFrameStack(envs, 3), "Cnn") if observation == "image" else (envs, "MultiInput")
    envs = VecMonitor(envs)
    with torch.random.fork_rng(devices=[]):
        model = algorithm(kind + policy, envs, seed=0, **arguments)
        before = [parameter.detach().clone() for parameter in model.policy.parameters()]
        model.learn(100)
    assert model.num_timesteps >= 100
    moved = zip(before, model.policy.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())
    assert len(model.ep_info_buffer) > 0


def test_maskable_ppo_finds_the_masks_of_both_environments_and_obeys_them(options, monkeypatch):
    single, envs = gym.make("ImageRestore-v1", **options), VecMonitor(SB3VecEnv(N, **options))
    for environment, shape in ((single, (4,)), (envs, (N, 4))):
        assert is_masking_supported(environment)
        mask = get_action_masks(environment)
        assert mask.dtype == np.bool_ and mask.shape == shape and mask.all()
    seen, step = [], ImageRestoreVectorEnv.step
    monkeypatch.setattr(
        ImageRestoreVectorEnv, "step", lambda self, actions: seen.append(actions) or step(self, actions)
    )
    monkeypatch.setattr(
        ImageRestoreVectorEnv, "action_masks", lambda self: np.arange(self.num_envs)[:, None] % 3 == np.arange(4)
    )
    with torch.random.fork_rng(devices=[]):
        envs = SB3VecEnv(N, **{**options, "patch_size": 40})
        MaskablePPO("MultiInputPolicy", envs, n_steps=4, batch_size=20, n_epochs=1, seed=0).learn(N * 4)
    assert [actions.tolist() for actions in seen] == [[0, 1, 2, 0, 1]] * 4
