from copy import deepcopy

import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from restore_env import ImageRestoreEnv
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


@pytest.mark.parametrize("extra", [{}, {"time_limit": "terminate", "include_step": True}, {"stop_if_worse": True}])
def test_equals_dummy_vec_env_step_by_step(options, extra):
    mine = SB3VecEnv(N, **options, **extra)
    theirs = DummyVecEnv([lambda: ImageRestoreEnv(**options, **extra) for _ in range(N)])
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    for envs in (mine, theirs):
        envs.seed(7)
    rng = np.random.default_rng(0)
    assert_same(dict(mine.reset()), dict(theirs.reset()))
    assert_same(mine.reset_infos, theirs.reset_infos)
    ended = truncated = 0
    for _ in range(20):
        actions = rng.integers(mine.action_space.n, size=N)
        (one, *mine_rest), (other, *their_rest) = mine.step(actions), theirs.step(actions)
        assert_same(dict(one), dict(other))
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
    DQN: ("MultiInputPolicy", {"buffer_size": 100, "learning_starts": 20, "batch_size": 8}),
    QRDQN: ("MultiInputPolicy", {"buffer_size": 100, "learning_starts": 20, "batch_size": 8}),
    PPO: ("MultiInputPolicy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
    MaskablePPO: ("MultiInputPolicy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
    RecurrentPPO: ("MultiInputLstmPolicy", {"n_steps": 10, "batch_size": 10, "n_epochs": 1}),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda kind: kind.__name__)
def test_every_algorithm_trains(options, algorithm):
    policy, arguments = ALGORITHMS[algorithm]
    envs = VecMonitor(SB3VecEnv(N, time_limit="terminate", **{**options, "patch_size": 40}))
    with torch.random.fork_rng(devices=[]):
        model = algorithm(policy, envs, seed=0, **arguments)
        before = [parameter.detach().clone() for parameter in model.policy.parameters()]
        model.learn(200)
    assert model.num_timesteps >= 200
    moved = zip(before, model.policy.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in moved)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())
    assert len(model.ep_info_buffer) > 0
