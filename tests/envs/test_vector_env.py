"""The vector environment must be `SyncVectorEnv` over single environments, only faster."""

import inspect
from itertools import combinations
from time import sleep

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from restore_env import ImageRestoreEnv, ImageRestoreVectorEnv, Pairs, Tool, Toolbox, ToolError
from restore_env.data.pairs import Pair
from restore_env.envs.common import EnvOptions

MODES = list(AutoresetMode)
STOP = 3  # of function_toolbox


def darken(image, rng):
    return np.uint8(rng.uniform(0.5, 0.8) * image), {"kind": "dark", "blur_sigma": np.nan}


@pytest.fixture
def arguments(photos, function_toolbox) -> dict:
    return {"images": photos, "toolbox": function_toolbox, "patch_size": 24}


def both(num_envs: int, mode: AutoresetMode, **arguments) -> tuple[ImageRestoreVectorEnv, SyncVectorEnv]:
    ours = ImageRestoreVectorEnv(num_envs, autoreset_mode=mode, **arguments)
    theirs = SyncVectorEnv([lambda: ImageRestoreEnv(**arguments)] * num_envs, autoreset_mode=mode)
    return ours, theirs


def assert_same(one: object, other: object, where: str = "", tolerance: float = 0) -> None:
    """Equal in structure, types, dtypes and values; floats and bytes may differ by `tolerance`."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}", tolerance)
    elif isinstance(one, tuple | list) or (isinstance(one, np.ndarray) and one.dtype == object):
        assert len(one) == len(other), where
        for index, parts in enumerate(zip(one, other, strict=True)):
            assert_same(*parts, f"{where}[{index}]", tolerance)
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        if tolerance and one.dtype != np.bool_:
            np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=0, atol=tolerance, err_msg=where)
        else:
            assert np.array_equal(one, other), where
    else:
        assert one == other, where


def assert_lockstep(
    ours: ImageRestoreVectorEnv, theirs: SyncVectorEnv, n_steps: int, seed: int = 0, tolerance: float = 0
) -> int:
    """Step both with the same random actions, resetting ended episodes with `DISABLED`; return how many ended."""
    rng = np.random.default_rng(seed)
    assert_same(ours.reset(seed=seed), theirs.reset(seed=seed), "reset", tolerance)
    ended = 0
    for step in range(n_steps):
        actions = rng.integers(0, ours.single_action_space.n, ours.num_envs)
        results = [envs.step(actions) for envs in (ours, theirs)]
        assert_same(*results, f"step {step}", tolerance)
        over = results[0][2] | results[0][3]
        ended += int(over.sum())
        if ours.autoreset_mode is AutoresetMode.DISABLED and over.any():
            resets = [envs.reset(options={"reset_mask": over.copy()}) for envs in (ours, theirs)]
            assert_same(*resets, f"reset after step {step}", tolerance)
    return ended


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"stop_if_worse": True, "include_step": True, "time_limit": "terminate", "reward": "final_psnr"},
        {"stop_action": False, "reward": "final_mse", "max_steps": 2},
        {"severity": darken},
        {"observation": "image"},
    ],
    ids=["default", "worse", "no-stop", "own-distortion", "image"],
)
def test_equal_to_sync_vector_env(arguments, mode, variant):
    ours, theirs = both(5, mode, **arguments, **variant)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    assert ours.metadata == theirs.metadata
    assert assert_lockstep(ours, theirs, n_steps=40) > 20


@pytest.mark.parametrize("num_envs", [1, 2, 9])
@pytest.mark.parametrize("mode", MODES)
def test_equal_for_any_number_of_environments(arguments, mode, num_envs):
    assert assert_lockstep(*both(num_envs, mode, **arguments), n_steps=12, seed=num_envs) > 0


@pytest.mark.parametrize("mode", MODES)
def test_equal_with_networks_and_ssim_up_to_rounding(photos, network_toolbox, mode):
    environments = both(4, mode, images=photos, toolbox=network_toolbox, patch_size=24, reward="step_ssim")
    # The order of float32 sums depends on the batch size: 1e-6 of a pixel, 1e-5 dB; a byte on the edge may tip over.
    assert assert_lockstep(*environments, n_steps=15, tolerance=1) > 5
    # Rewards and PSNR are held to less than the bytes.
    for envs in environments:
        envs.reset(seed=1)
    rng = np.random.default_rng(1)
    actions = rng.integers(0, 2, 4)
    (_, rewards, *_, infos), (_, expected, *_, expected_infos) = (envs.step(actions) for envs in environments)
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(infos["psnr"], expected_infos["psnr"], rtol=0, atol=1e-4)


def test_random_generators_are_those_of_the_sub_environments(arguments):
    ours, theirs = both(3, AutoresetMode.NEXT_STEP, **arguments)
    for envs in (ours, theirs):
        envs.reset(seed=5)
    assert ours.np_random_seed == theirs.np_random_seed == (5, 6, 7)
    assert [rng.random() for rng in ours.np_random] == [rng.random() for rng in theirs.np_random]


@pytest.mark.parametrize("seed", [[3, 1, 4], [2, None, 7], (9, 9, 9), np.int64(3)])
def test_seeds_may_be_a_sequence(arguments, seed):
    ours, theirs = both(3, AutoresetMode.NEXT_STEP, **arguments)
    for envs in (ours, theirs):
        envs.reset(seed=0)
    expected = seed if not isinstance(seed, np.integer) else int(seed)
    assert_same(ours.reset(seed=seed), theirs.reset(seed=expected))
    with pytest.raises(ValueError, match="seed holds 2 seeds for 3 environments"):
        ours.reset(seed=[1, 2])


def test_a_second_reset_goes_on_where_the_generators_are(arguments):
    ours, theirs = both(3, AutoresetMode.NEXT_STEP, **arguments)
    for _ in range(2):
        assert_same(ours.reset(seed=1), theirs.reset(seed=1))
        assert_same(ours.reset(), theirs.reset())


def test_reset_in_the_middle_forgets_what_had_ended(arguments):
    ours, theirs = both(3, AutoresetMode.NEXT_STEP, **arguments)
    for envs in (ours, theirs):
        envs.reset(seed=2)
        envs.step(np.array([STOP, 0, 1]))
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.step(np.array([0, 1, 2])), theirs.step(np.array([0, 1, 2])))


def test_next_step_ignores_the_action_of_an_ended_episode(arguments):
    envs = ImageRestoreVectorEnv(2, **arguments)
    envs.reset(seed=0)
    envs.step(np.array([STOP, 0]))
    _, rewards, terminated, truncated, infos = envs.step(np.array([1, 1]))
    assert rewards[0] == 0 and not terminated[0] and not truncated[0]
    assert infos["step"].tolist() == [0, 2]
    assert infos["toolchain"].tolist() == [[-1, -1, -1], [0, 1, -1]]


def test_same_step_hands_over_the_final_observation_and_info(arguments):
    envs = ImageRestoreVectorEnv(2, autoreset_mode="SameStep", **arguments)
    envs.reset(seed=0)
    first, *_ = envs.step(np.array([0, 0]))
    observation, _, terminated, _, infos = envs.step(np.array([STOP, 1]))
    assert terminated.tolist() == [True, False]
    assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True, False]
    assert infos["final_obs"][1] is None
    assert np.array_equal(infos["final_obs"][0]["image"], first["image"][0])
    assert infos["final_info"]["toolchain"][0].tolist() == [0, -1, -1]
    assert infos["final_info"]["_toolchain"].tolist() == [True, False]
    assert observation["previous_action"].tolist() == [STOP, 1]
    assert infos["step"].tolist() == [0, 2]


def test_disabled_needs_a_mask_and_does_not_take_it_away(arguments):
    envs = ImageRestoreVectorEnv(3, autoreset_mode=AutoresetMode.DISABLED, **arguments)
    envs.reset(seed=0)
    before, *_ = envs.step(np.array([0, STOP, 0]))
    with pytest.raises(gym.error.ResetNeeded, match="episode 1 has ended.*'reset_mask'"):
        envs.step(np.array([0, 0, 0]))
    options = {"reset_mask": np.array([False, True, False])}
    observation, infos = envs.reset(options=options)
    assert options["reset_mask"].tolist() == [False, True, False]
    assert infos["_psnr"].tolist() == [False, True, False]
    assert np.array_equal(observation["image"][[0, 2]], before["image"][[0, 2]])
    assert not np.array_equal(observation["image"][1], before["image"][1])
    *_, infos = envs.step(np.array([1, 1, 1]))
    assert infos["step"].tolist() == [2, 1, 2]


def test_mask_with_seeds_and_pairs(arguments):
    ours, theirs = both(3, AutoresetMode.DISABLED, **arguments)
    for envs in (ours, theirs):
        envs.reset(seed=0)
        envs.step(np.array([0, STOP, STOP]))
    mask = np.array([False, True, True])
    resets = [envs.reset(seed=[7, 8, None], options={"reset_mask": mask.copy()}) for envs in (ours, theirs)]
    assert_same(*resets)
    assert ours.np_random_seed == theirs.np_random_seed == (0, 8, 2)
    pair = {key: np.full((24, 24, 3), value, np.uint8) for key, value in (("distorted", 90), ("reference", 100))}
    resets = [envs.reset(options={"reset_mask": mask.copy(), **pair}) for envs in (ours, theirs)]
    assert_same(*resets)
    assert (resets[0][0]["image"][1:] == 90).all() and not (resets[0][0]["image"][0] == 90).all()


@pytest.mark.parametrize(
    "mask", [[True, False], np.array([1, 0]), np.array([True]), np.zeros(2, bool), np.ones((2, 1), bool), None]
)
def test_wrong_masks_are_named(arguments, mask):
    envs = ImageRestoreVectorEnv(2, autoreset_mode="Disabled", **arguments)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"options\['reset_mask'\]"):
        envs.reset(options={"reset_mask": mask})


def test_mask_before_anything_began(arguments):
    envs = ImageRestoreVectorEnv(2, autoreset_mode="Disabled", **arguments)
    with pytest.raises(gym.error.ResetNeeded, match="without a 'reset_mask' first"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    assert envs.reset(seed=0, options={"reset_mask": np.array([True, True])})[0]["image"].any()


def test_a_pair_for_each_environment_or_one_for_all(arguments):
    envs = ImageRestoreVectorEnv(3, **arguments)
    distorted, reference = np.random.default_rng(0).integers(0, 256, (2, 3, 24, 24, 3), dtype=np.uint8)
    observation, infos = envs.reset(options={"distorted": distorted, "reference": reference})
    assert np.array_equal(observation["image"], distorted)
    assert all(infos[key].tolist() == [-1] * 3 for key in ("blur_sigma", "noise_sigma", "jpeg_quality"))
    errors = np.mean((distorted / 255 - reference / 255) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(infos["psnr"], -10 * np.log10(errors), atol=1e-4)  # float32 sums
    observation, _ = envs.reset(options={"distorted": distorted[1], "reference": reference[1]})
    assert np.array_equal(observation["image"], np.stack([distorted[1]] * 3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda pair: {"distorted": pair[:2], "reference": pair}, ValueError, "holds 2 images for 3 environments"),
        (lambda pair: {"distorted": pair}, ValueError, "both are needed"),
        (
            lambda pair: {"distorted": pair, "reference": pair / 1.0},
            TypeError,
            r"options\['reference'\]\[0\] is an arr",
        ),
        (lambda pair: {"distorted": pair, "reference": pair, "seed": 1}, ValueError, "the key 'seed'"),
        (lambda pair: {"distorted": pair[:, :20], "reference": pair[:, :20]}, ValueError, r"needs \(24, 24, 3\)"),
    ],
)
def test_wrong_options_are_named(arguments, change, error, message):
    with pytest.raises(error, match=message):
        ImageRestoreVectorEnv(3, **arguments).reset(options=change(np.zeros((3, 24, 24, 3), np.uint8)))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.array([0, 1]), "3 integers are needed"),
        (np.zeros((3, 1), int), "3 integers are needed"),
        (np.array([True, True, False]), "3 integers are needed"),
        (np.array([0.0, 1.0, 2.0]), "3 integers are needed"),
        (np.array([0, 4, 1]), r"action 4 is not one of 0 to 3 \(median, soften, brighten, stop\)"),
        ([0, -1, 1], "action -1 is not one of 0 to 3"),
        (["a", "b", "c"], "3 integers are needed"),
        (None, "3 integers are needed"),
    ],
)
def test_wrong_actions_change_nothing(arguments, actions, message):
    envs, untouched = ImageRestoreVectorEnv(3, **arguments), ImageRestoreVectorEnv(3, **arguments)
    for each in (envs, untouched):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(actions)
    assert_same(envs.step(np.array([0, 1, 2])), untouched.step(np.array([0, 1, 2])))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.uint64, list])
def test_actions_in_any_integer_form(arguments, dtype):
    envs = ImageRestoreVectorEnv(3, **arguments)
    envs.reset(seed=0)
    envs.step(np.array([STOP, 0, 0]))
    actions = [0, 1, STOP]
    *_, infos = envs.step(actions if dtype is list else np.array(actions, dtype))
    assert infos["toolchain"].tolist() == [[-1, -1, -1], [0, 1, -1], [0, -1, -1]]


def test_a_failing_tool_leaves_all_episodes_where_they_were(arguments, function_toolbox):
    def fail(image):
        raise RuntimeError("jammed")

    toolbox = Toolbox([*function_toolbox, Tool.from_function("bad", fail)])
    envs, untouched = (ImageRestoreVectorEnv(3, **{**arguments, "toolbox": toolbox}) for _ in range(2))
    for each in (envs, untouched):
        each.reset(seed=0)
    with pytest.raises(ToolError, match="tool 'bad' raised RuntimeError: jammed"):
        envs.step(np.array([0, 3, 1]))
    assert_same(envs.step(np.array([0, 1, 4])), untouched.step(np.array([0, 1, 4])))


class Slow:
    """A source that takes a while between two numbers."""

    def sample(self, rng: np.random.Generator) -> Pair:
        images = []
        for _ in range(2):
            images.append(rng.integers(256, size=(24, 24, 3), dtype=np.uint8))
            sleep(0.01)
        return Pair(*images)


@pytest.mark.parametrize(
    "variant",
    [{"images": Slow()}, {"autoreset_mode": "SameStep"}, {"prefetch": False}],
    ids=["slow", "same-step", "no-prefetch"],
)
def test_a_copy_goes_on_as_the_original_does(arguments, network_toolbox, duplicate, variant):
    envs = ImageRestoreVectorEnv(4, **{**arguments, "toolbox": network_toolbox, **variant})
    assert_same(duplicate(envs).reset(seed=0), envs.reset(seed=0))
    envs.step(np.array([0, 1, 2, 0]))
    other = duplicate(envs)  # while pairs are drawn ahead
    rng = np.random.default_rng(0)
    for step in range(6):
        actions = rng.integers(0, 3, 4)
        assert_same(envs.step(actions), other.step(actions), f"step {step}")
    assert_same(envs.reset(), other.reset())
    assert_same(envs.reset(seed=3), other.reset(seed=3))
    assert envs.np_random[0] is not other.np_random[0]


def test_after_close_nothing_goes_on(arguments, duplicate):
    envs = ImageRestoreVectorEnv(2, **{**arguments, "toolbox": "classical"})
    envs.reset(seed=0)
    envs.step(np.array([0, 1]))
    envs.close()
    envs.close()
    for closed in (envs, duplicate(envs)):
        with pytest.raises(gym.error.ClosedEnvironmentError, match="the environment is closed"):
            closed.reset()
        with pytest.raises(gym.error.ClosedEnvironmentError, match="the environment is closed"):
            closed.step(np.array([0, 1]))


def test_step_before_reset(arguments):
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step\(\)"):
        ImageRestoreVectorEnv(2, **arguments).step(np.array([0, 0]))


def arrays_of(infos: dict) -> list[np.ndarray]:
    """The arrays of infos, those within too, without arrays of objects."""
    nested = [arrays_of(value) if isinstance(value, dict) else [value] for value in infos.values()]
    return [array for arrays in nested for array in arrays if array.dtype != object]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variant", [{}, {"severity": darken, "stop_action": False}], ids=["default", "own-distortion"])
def test_infos_have_the_same_keys_shapes_and_dtypes_at_each_call(arguments, mode, variant):
    envs = ImageRestoreVectorEnv(3, autoreset_mode=mode, **arguments, **variant)
    n = int(envs.single_action_space.n)
    calls = [envs.reset(seed=0)[1]] + [envs.step(np.array([0, 1, 2]))[4] for _ in range(3)]
    kinds = {
        "psnr": ((3,), np.float64),
        "step": ((3,), np.int64),
        "toolchain": ((3, 3), np.int64),
        "action_mask": ((3, n), np.bool_),
        **{key: ((3,), np.float64) for key in ("blur_sigma", "noise_sigma", "jpeg_quality")},
    }
    kinds |= {f"_{key}": ((3,), np.bool_) for key in kinds}
    assert ["final_info" in infos for infos in calls] == [False] * 3 + [mode is AutoresetMode.SAME_STEP]
    for infos in calls:
        ordinary = {key: value for key, value in infos.items() if "final_" not in key}
        for found in (ordinary, infos.get("final_info", ordinary)):
            assert {key: (value.shape, value.dtype) for key, value in found.items()} == kinds
            assert not any(np.isnan(array).any() for array in arrays_of(found))
            assert found["_psnr"].all() and found["action_mask"].all()
    arrays = [array for infos in calls for array in arrays_of(infos)]
    assert not any(np.shares_memory(*two) for two in combinations(arrays, 2))


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])  # Gymnasium's own object arrays of SameStep do not convert
def test_numpy_to_torch(arguments, mode):
    pytest.importorskip("array_api_compat")
    from gymnasium.wrappers.vector import NumpyToTorch  # noqa: PLC0415

    envs = NumpyToTorch(ImageRestoreVectorEnv(2, autoreset_mode=mode, **arguments))
    _, infos = envs.reset(seed=0)
    _, rewards, _, _, last = envs.step(torch.tensor([0, 1]))
    assert rewards.dtype == torch.float64 and infos.keys() == last.keys()
    assert last["toolchain"].tolist() == [[0, -1, -1], [1, -1, -1]]
    assert last["action_mask"].dtype == last["_psnr"].dtype == torch.bool


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_source_may_use_its_arrays_again(arguments, prefetch):
    class Drawing:
        image = np.zeros((24, 24, 3), np.uint8)

        def sample(self, rng):
            self.image[:] = rng.integers(256, size=self.image.shape)
            return Pair(self.image, self.image)

    arguments["images"] = Drawing()
    ours, theirs = ImageRestoreVectorEnv(3, prefetch=prefetch, **arguments), both(3, MODES[0], **arguments)[1]
    assert assert_lockstep(ours, theirs, n_steps=8) > 0


def test_what_is_returned_can_be_written_over(arguments):
    for mode in MODES:
        envs, untouched = (ImageRestoreVectorEnv(3, autoreset_mode=mode, **arguments) for _ in range(2))
        for each in (envs, untouched):
            results = each.reset(seed=0), each.step(np.array([0, 1, 2]))
            if each is envs:
                for observation in (results[0][0], results[1][0]):
                    for value in observation.values():
                        value.fill(0)
                for value in results[1][1:4]:
                    value.fill(1)
                for array in [*arrays_of(results[0][1]), *arrays_of(results[1][4])]:
                    array.fill(1)
                results[1][4].clear()
        assert_same(envs.step(np.array([1, 2, 0])), untouched.step(np.array([1, 2, 0])))


def test_it_says_its_own_step_limit(arguments):
    envs = gym.make_vec("ImageRestore-v1", num_envs=2, max_steps=5, max_episode_steps=4, **arguments)
    assert envs.unwrapped.max_steps == 4 and envs.spec.max_episode_steps is None


def test_make_vec(arguments):
    envs = gym.make_vec("ImageRestore-v1", num_envs=3, **arguments)
    assert type(envs.unwrapped) is ImageRestoreVectorEnv
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert "autoreset_mode" not in ImageRestoreVectorEnv.metadata  # the class's own stays as it is
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert observation["image"].shape == (3, 24, 24, 3)
    observation, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert observation in envs.observation_space
    assert rewards.dtype == np.float64 and terminated.dtype == truncated.dtype == np.bool_
    envs.close()


@pytest.mark.parametrize(("limit", "steps"), [(2, 2), (9, 3)])
def test_make_vec_with_another_step_limit(arguments, limit, steps):
    envs = gym.make_vec("ImageRestore-v1", num_envs=2, max_episode_steps=limit, **arguments)
    envs.reset(seed=0)
    ends = [envs.step(np.array([0, 1]))[3].tolist() for _ in range(steps)]
    assert ends == [[False, False]] * (steps - 1) + [[True, True]]


def test_make_vec_with_a_mode(arguments):
    envs = gym.make_vec("ImageRestore-v1", num_envs=2, autoreset_mode="SameStep", **arguments)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    assert "final_obs" in envs.step(np.array([STOP, 0]))[4]


def test_make_vec_can_also_copy_the_single_environment(arguments):
    ours = gym.make_vec("ImageRestore-v1", num_envs=2, **arguments)
    theirs = gym.make_vec("ImageRestore-v1", num_envs=2, vectorization_mode="sync", **arguments)
    assert_same(ours.reset(seed=0), theirs.reset(seed=0))
    assert_same(ours.step(np.array([0, STOP])), theirs.step(np.array([0, STOP])))


def test_render_draws_each_episode(arguments):
    ours, theirs = both(2, AutoresetMode.NEXT_STEP, **arguments, render_mode="rgb_array")
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        ours.render()
    for envs in (ours, theirs):
        envs.reset(seed=0)
        envs.step(np.array([STOP, 1]))
    assert_same(ours.render(), theirs.render())
    ours.step(np.array([0, 1])), theirs.step(np.array([0, 1]))
    assert_same(ours.render(), theirs.render())


@pytest.mark.parametrize(
    ("wrong", "error", "fragments"),
    [
        ({"num_envs": 0}, ValueError, ["num_envs=0", "at least 1"]),
        ({"num_envs": 2.0}, ValueError, ["num_envs=2.0", "whole number"]),
        ({"autoreset_mode": "Never"}, ValueError, ["autoreset_mode='Never'", "'NextStep', 'SameStep', 'Disabled'"]),
        ({"max_episode_steps": 0}, ValueError, ["=0", "at least 1"]),
        ({"reward": "psnr"}, ValueError, ["reward='psnr'", "'step_psnr'"]),
        ({"patch_size": 3}, ValueError, ["patch_size=3", "at least 11"]),
        ({"observation": "image", "include_step": True}, ValueError, ["include_step=True needs observation='dict'"]),
        ({"patch": 63}, TypeError, ["unexpected keyword argument 'patch'"]),
    ],
)
def test_wrong_arguments_are_named(arguments, wrong, error, fragments):
    with pytest.raises(error) as caught:
        ImageRestoreVectorEnv(**{**arguments, **wrong})
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_the_options_are_those_of_the_single_environment():
    assert EnvOptions.__annotations__.keys() == inspect.signature(ImageRestoreEnv).parameters.keys()


def test_rewards_see_the_label_of_the_pair_that_is_played():
    """Each pair's label is a level of grey, which the reward compares with the reference."""
    images = [np.full((16, 16, 3), level, np.uint8) for level in (0, 51, 102, 153)]
    pairs = Pairs(images, images, labels=[0, 51, 102, 153])

    def matches(step):
        levels = 255 * step.reference.mean((1, 2, 3))
        return levels.round() == torch.tensor(step.label)

    options = {"patch_size": 16, "toolbox": "classical", "autoreset_mode": "SameStep"}
    envs = ImageRestoreVectorEnv(3, images=pairs, reward=matches, **options)
    envs.reset(seed=0)
    for _ in range(6):  # the last episode ends at each step, the others at every third
        _, rewards, *_ = envs.step(np.array([0, 0, envs.toolbox.stop]))
        assert rewards.tolist() == [1, 1, 1]
    envs.close()
