"""The environment `ImageRestore-v1`."""

from itertools import combinations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from restore_env import GaussianBlur, GaussianNoise, ImageRestoreEnv, MixedDistortion, Tool, Toolbox, ToolError
from restore_env.data.pairs import Pair
from restore_env.data.photos import embedded_photos

STOP = 3  # of function_toolbox

PINNED = {
    "distortion": {"blur_sigma": 0.11017993638630569, "noise_sigma": 40.92185905349335, "jpeg_quality": 30.0},
    "psnr": 20.7764,
    "rewards": [3.8957, 1.5424, -0.1373],
}
"""What the environment draws and pays for the seed 123."""

INFO = {
    "psnr": ((), np.float64),
    "step": ((), np.int64),
    "toolchain": ((3,), np.int64),
    "action_mask": ((4,), np.bool_),
    "blur_sigma": ((), np.float64),
    "noise_sigma": ((), np.float64),
    "jpeg_quality": ((), np.float64),
}
"""Shapes and dtypes of the values in an info, with function_toolbox."""


@pytest.fixture
def make(photos, function_toolbox):
    """Makes environments on small photos with three cheap tools."""

    def make_env(**arguments) -> gym.Env:
        return gym.make("ImageRestore-v1", **{"images": photos, "toolbox": function_toolbox, **arguments})

    return make_env


@pytest.fixture
def pair(photos) -> dict[str, np.ndarray]:
    """Options with a noisy patch and what it was."""
    reference = photos[0][:63, :63]
    noise = np.random.default_rng(0).normal(0, 20, reference.shape)
    return {"distorted": np.clip(reference + noise, 0, 255).astype(np.uint8), "reference": reference.copy()}


def darken(image, rng):
    factor = rng.uniform(0.5, 0.8)
    return np.uint8(factor * image), {"factor": factor, "kind": "dark", "blur_sigma": np.nan, "noise_sigma": None}


def without_parameters(image, rng):
    return 255 - image, None


VARIANTS = [
    {},
    {"include_step": True, "stop_action": False, "time_limit": "terminate"},
    {"reward": "step_ssim", "stop_if_worse": True, "patch_size": 40},
    {"reward": "final_mse", "max_steps": 5, "severity": GaussianNoise(10, 30)},
    {"severity": darken},
    {"severity": without_parameters},
    {"observation": "image", "time_limit": "terminate"},
]


@pytest.mark.parametrize("arguments", VARIANTS)
def test_gymnasiums_check_env_has_no_objection(make, arguments):
    check_env(make(render_mode="rgb_array", **arguments).unwrapped)  # warnings are errors


@pytest.mark.parametrize("arguments", VARIANTS)
def test_sb3s_check_env_has_no_objection(make, arguments):
    sb3_check_env(make(**arguments).unwrapped, warn=True)


def test_the_default_environment_passes_both_checks():
    env = gym.make("ImageRestore-v1", render_mode="rgb_array").unwrapped
    assert env.action_space == gym.spaces.Discrete(13)
    assert env.toolbox.name and env.toolbox.names[0] == "blur-1"
    check_env(env)
    sb3_check_env(env, warn=True)


@pytest.mark.parametrize("arguments", VARIANTS)
def test_two_environments_in_lockstep(make, arguments):
    arguments = {"render_mode": "rgb_array", **arguments}
    check_environments_match(make(**arguments), make(**arguments), num_steps=15, seed=7)


def test_lockstep_down_to_the_bytes(make):
    one, other = make(), make()
    one.action_space.seed(0)
    results = [env.reset(seed=11) for env in (one, other)]
    for _ in range(30):
        assert data_equivalence(*results, exact=True)
        if len(results[0]) == 5 and (results[0][2] or results[0][3]):
            results = [env.reset() for env in (one, other)]
        else:
            action = one.action_space.sample()
            results = [env.step(action) for env in (one, other)]


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value.dtype == other[key].dtype and np.array_equal(value, other[key]), key


def test_seeds_decide_and_differ(make):
    env = make()
    first, info = env.reset(seed=1)
    second, _ = env.reset()
    other, _ = env.reset(seed=2)
    again, info_again = env.reset(seed=1)
    following, _ = env.reset()
    assert_same(first, again)
    assert_same(second, following)
    assert_same(info, info_again)
    assert not np.array_equal(first["image"], second["image"])
    assert not np.array_equal(first["image"], other["image"])


def test_global_generators_are_left_alone(make):
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.random(), torch.rand(1).item()
    np.random.seed(0)
    torch.manual_seed(0)
    env = make()
    env.reset(seed=3)
    env.step(0)
    assert (np.random.random(), torch.rand(1).item()) == expected


@pytest.mark.parametrize("arguments", VARIANTS)
def test_observations_stay_inside_their_space(make, arguments):
    env = make(**arguments).unwrapped
    env.action_space.seed(0)
    for seed in range(8):
        observation, info = env.reset(seed=seed)
        assert observation in env.observation_space
        terminated = truncated = False
        for step in range(1, env._core.batch.max_steps + 1):
            action = env.action_space.sample()
            observation, reward, terminated, truncated, info = env.step(action)
            assert observation in env.observation_space
            assert type(reward) is float and np.isfinite(reward)
            assert type(terminated) is bool and type(truncated) is bool
            assert info["step"] == step
            if terminated or truncated:
                break
        assert terminated or truncated


def test_previous_action_is_the_last_tool_and_never_stop(make):
    env = make(max_steps=4)
    observation, _ = env.reset(seed=0)
    assert observation["previous_action"] == STOP  # N: nothing applied yet
    assert env.observation_space["previous_action"] == gym.spaces.Discrete(4)
    for action in (2, 0, 1):
        observation, *_ = env.step(action)
        assert observation["previous_action"] == action
    observation, _, terminated, _, info = env.step(STOP)
    assert terminated
    assert observation["previous_action"] == 1
    assert info["toolchain"].tolist() == [2, 0, 1, -1]
    observation, info = env.reset()
    assert observation["previous_action"] == STOP and info["toolchain"].tolist() == [-1] * 4


def test_stopping_at_once_leaves_the_image(make):
    env = make()
    first, info = env.reset(seed=0)
    last, reward, terminated, truncated, info_last = env.step(STOP)
    assert_same(first, last)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert_same(info_last, info | {"step": np.int64(1)})


def test_include_step_counts_the_steps(make):
    env = make(include_step=True, max_steps=2)
    assert env.observation_space["step"] == gym.spaces.Discrete(3)
    assert [env.reset(seed=0)[0]["step"], env.step(0)[0]["step"], env.step(STOP)[0]["step"]] == [0, 1, 2]
    assert "step" not in make().observation_space.spaces


def test_the_image_alone_is_that_of_the_dictionary(make):
    alone, whole = make(observation="image"), make()
    assert alone.observation_space == whole.observation_space["image"]
    alone_results = [alone.reset(seed=0), *(alone.step(action) for action in (0, 2, STOP))]
    whole_results = [whole.reset(seed=0), *(whole.step(action) for action in (0, 2, STOP))]
    for (image, *rest), (parts, *expected) in zip(alone_results, whole_results, strict=True):
        assert data_equivalence(image, parts["image"], exact=True)
        assert data_equivalence(rest, expected, exact=True)


def test_the_spec_has_no_step_limit_and_the_environment_says_its_own(make):
    env = make(max_steps=2)
    assert env.spec.max_episode_steps is None and "TimeLimit" not in str(env)
    assert env.get_wrapper_attr("max_steps") == 2


def test_gymnasiums_wrapper_stacks_images_alone(make):
    env = gym.wrappers.FrameStackObservation(make(observation="image", patch_size=24), 3, padding_type="zero")
    first, _ = env.reset(seed=0)
    second, *_ = env.step(0)
    assert first.shape == (3, 24, 24, 3) and not first[:2].any() and second[:1].max() == 0
    assert np.array_equal(second[1], first[2]) and not np.array_equal(second[2], first[2])


def test_without_a_stop_action_the_action_space_is_smaller_but_the_observation_is_not(make):
    env = make(stop_action=False)
    assert env.action_space == gym.spaces.Discrete(3)
    assert env.observation_space == make().observation_space
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 3 is not one of 0 to 2"):
        env.unwrapped.step(STOP)
    assert [env.step(action)[2:4] for action in range(3)] == [(False, False), (False, False), (False, True)]


def test_time_limit_terminate(make):
    env = make(time_limit="terminate", max_steps=1)
    env.reset(seed=0)
    assert env.step(0)[2:4] == (True, False)


def test_the_tool_is_applied_and_the_gain_is_paid(make, pair, function_toolbox):
    env = make()
    _, first = env.reset(options=pair)
    observation, reward, _, _, info = env.step(0)
    assert np.array_equal(observation["image"], function_toolbox[0].function.function(pair["distorted"]))
    errors = [
        np.mean((image / 255.0 - pair["reference"] / 255.0) ** 2) for image in (pair["distorted"], observation["image"])
    ]
    # float32 sums of 12,000 squares: 1e-6 relative, 1e-5 dB
    assert [first["psnr"], info["psnr"]] == pytest.approx([-10 * np.log10(error) for error in errors], abs=1e-4)
    assert reward == pytest.approx(info["psnr"] - first["psnr"], abs=1e-9)
    assert reward > 1  # a median of a noisy image


@pytest.mark.parametrize("arguments", [{}, {"stop_action": False}, {"images": "embedded", "severity": darken}])
def test_infos_have_the_same_keys_shapes_and_dtypes_at_each_call(make, arguments):
    env = make(**arguments)
    infos = [env.reset(seed=0)[1]] + [env.step(action)[4] for action in (0, 1, 2)]
    expected = INFO | ({"action_mask": ((3,), np.bool_)} if "stop_action" in arguments else {})
    for step, info in enumerate(infos):
        assert {key: (value.shape, value.dtype) for key, value in info.items()} == expected
        assert all(isinstance(value, np.generic | np.ndarray) for value in info.values())
        assert not any(np.isnan(value).any() for value in info.values())
        assert info["step"] == step
        assert info["toolchain"].tolist() == [0, 1, 2][:step] + [-1] * (3 - step)
        assert info["action_mask"].all()
        parameters = [info[key] for key in ("blur_sigma", "noise_sigma", "jpeg_quality")]
        assert parameters == [infos[0][key] for key in ("blur_sigma", "noise_sigma", "jpeg_quality")]
        assert parameters == [-1] * 3 if "severity" in arguments else min(parameters) > 0
    arrays = [value for info in infos for value in info.values() if isinstance(value, np.ndarray)]
    assert not any(np.shares_memory(*two) for two in combinations(arrays, 2))


def test_infos_hold_what_is_known_of_a_distortion_and_the_pair_holds_all(make):
    env = make(severity=MixedDistortion([GaussianNoise(5, 5), GaussianBlur(1, 1), GaussianNoise(9, 9)]))
    _, info = env.reset(seed=0)
    assert [info[key] for key in ("blur_sigma", "noise_sigma", "jpeg_quality")] == [1, 5, -1]
    assert env.unwrapped.pair.distortion == {"noise_sigma": 5, "blur_sigma": 1, "noise_sigma_2": 9}
    env = make(severity=darken)
    env.reset(seed=0)
    assert env.unwrapped.pair.distortion["kind"] == "dark"


@pytest.mark.parametrize("form", ["dict", "image"])
def test_what_is_returned_can_be_written_over(make, form):
    env, untouched = make(observation=form), make(observation=form)
    for env_ in (env, untouched):
        observation, info = env_.reset(seed=0)
    expected = untouched.step(0)
    observation, info = env.reset(seed=0)
    (observation["image"] if form == "dict" else observation)[:] = 0
    info["toolchain"][:] = 7
    info["action_mask"][:] = False
    info.clear()
    assert data_equivalence(env.step(0), expected, exact=True)


def test_options_give_the_pair(make, pair):
    env = make()
    before = {key: value.copy() for key, value in pair.items()}
    observation, info = env.reset(options=pair)
    assert np.array_equal(observation["image"], pair["distorted"])
    assert info["blur_sigma"] == info["noise_sigma"] == info["jpeg_quality"] == -1
    observation["image"][:] = 0
    assert all(np.array_equal(pair[key], before[key]) for key in before)
    env.step(0)
    observation, _ = env.reset()  # holds for one episode only
    assert not np.array_equal(observation["image"], pair["distorted"])


def test_the_callers_arrays_may_be_written_over(make, pair):
    env = make()
    buffer = {key: value.copy() for key, value in pair.items()}
    env.reset(options=buffer)
    for array in buffer.values():
        array[:] = 0
    assert all(np.array_equal(getattr(env.unwrapped.pair, key), pair[key]) for key in pair)


@pytest.mark.parametrize(
    ("drawn", "error", "message"),
    [
        (
            Pair(np.zeros((63, 63, 3)), np.zeros((63, 63, 3), np.uint8)),
            TypeError,
            "distorted .* is an array of float64",
        ),
        (Pair(np.zeros((63, 63, 3), np.uint8), np.zeros((63, 63))), TypeError, "reference .* is an array of float64"),
        ((np.zeros((63, 63, 3), np.uint8),) * 2, TypeError, "the source of images drew tuple"),
    ],
)
def test_a_source_that_draws_anything_else_is_refused(make, drawn, error, message):
    class Drawing:
        def sample(self, rng):
            return drawn

    with pytest.raises(error, match=message):
        make(images=Drawing()).reset(seed=0)


def test_a_source_may_use_its_arrays_again(make):
    class Drawing:
        image = np.zeros((63, 63, 3), np.uint8)

        def sample(self, rng):
            self.image[:] = rng.integers(256, size=self.image.shape)
            return Pair(self.image, self.image)

    env = make(images=Drawing())
    observation, _ = env.reset(seed=0)
    Drawing.image[:] = 0
    assert np.array_equal(env.unwrapped.pair.distorted, observation["image"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda pair: {"distorted": pair["distorted"]}, ValueError, "both are needed"),
        (lambda pair: {"reference": pair["reference"]}, ValueError, "both are needed"),
        (lambda pair: {**pair, "severity": "mild"}, ValueError, "the key 'severity'; 'distorted' and 'reference'"),
        (lambda pair: {**pair, "reset_mask": np.ones(1, bool)}, ValueError, "the key 'reset_mask'"),
        (lambda pair: {**pair, "distorted": pair["distorted"].tolist()}, TypeError, r"options\['distorted'\] is list"),
        (lambda pair: {**pair, "reference": pair["reference"] / 255}, TypeError, r"\['reference'\] is an array of flo"),
        (lambda pair: {**pair, "distorted": pair["distorted"][..., 0]}, ValueError, r"has the shape \(63, 63\)"),
        (lambda pair: {**pair, "reference": pair["reference"][:60]}, ValueError, r"reference is \(60, 63, 3\)"),
        (lambda pair: {key: value[:60] for key, value in pair.items()}, ValueError, r"needs \(63, 63, 3\)"),
    ],
)
def test_wrong_options_are_named(make, pair, change, error, message):
    env = make()
    with pytest.raises(error, match=message):
        env.reset(options=change(pair))


@pytest.mark.parametrize("action", [4, -1, 99])
def test_action_out_of_range_changes_nothing(make, action):
    env = make().unwrapped
    before, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match=f"action {action} is not one of 0 to 3 \\(median, soften, brighten, stop\\)"):
        env.step(action)
    observation, _, _, _, info = env.step(STOP)
    assert_same(observation, before)
    assert info["step"] == 1


@pytest.mark.parametrize("action", [1.0, None, "median", True, [0, 1], 10**30])
def test_action_that_is_no_integer(make, action):
    env = make().unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not an integer"):
        env.step(action)


@pytest.mark.parametrize("action", [1, np.int64(1), np.uint8(1), np.array(1), np.array([1]), torch.tensor(1)])
def test_action_in_any_integer_form(make, action):
    env = make().unwrapped
    env.reset(seed=0)
    assert env.step(action)[4]["toolchain"].tolist() == [1, -1, -1]


def test_a_failing_tool_leaves_the_episode_where_it_was(make, function_toolbox):
    def fail(image):
        raise RuntimeError("jammed")

    env = make(toolbox=Toolbox([*function_toolbox, Tool.from_function("bad", fail)]))
    env.reset(seed=0)
    before = env.step(0)[0]
    with pytest.raises(ToolError, match="tool 'bad' raised RuntimeError: jammed"):
        env.step(3)
    observation, _, _, _, info = env.step(4)
    assert_same(observation, before)
    assert info["step"] == 2


def test_step_before_reset_and_after_the_end(make):
    env = make().unwrapped
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\)"):
        env.step(0)
    env.reset(seed=0)
    env.step(STOP)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\)"):
        env.step(0)
    env.reset()
    assert env.step(0)[4]["step"] == 1


@pytest.mark.parametrize(
    ("arguments", "error", "fragments"),
    [
        ({"reward": "psnr"}, ValueError, ["reward='psnr'", "'step_psnr'", "'final_mse'"]),
        ({"reward": 5}, TypeError, ["reward=5", "'step_psnr'", "nor a function"]),
        ({"severity": "hard"}, ValueError, ["severity='hard'", "'mild', 'moderate', 'severe'"]),
        ({"severity": 3}, TypeError, ["severity=3", "'mild'", "nor a distortion"]),
        ({"toolbox": "rl-restore"}, ValueError, ["toolbox='rl-restore'", "'rl-restore-12'", "'classical'", "folder"]),
        ({"toolbox": 5}, TypeError, ["toolbox=5", "a Toolbox"]),
        ({"render_mode": "human"}, ValueError, ["render_mode='human'", "None, 'rgb_array'"]),
        ({"time_limit": "stop"}, ValueError, ["time_limit='stop'", "'truncate', 'terminate'"]),
        ({"device": "warp"}, ValueError, ["device='warp'", "'cpu'"]),
        ({"device": "meta"}, ValueError, ["device='meta'", "'cpu'"]),
        ({"patch_size": 10}, ValueError, ["patch_size=10", "at least 11"]),
        ({"patch_size": 63.0}, ValueError, ["patch_size=63.0", "whole number"]),
        ({"max_steps": 0}, ValueError, ["max_steps=0", "at least 1"]),
        ({"observation": "pixels"}, ValueError, ["observation='pixels'", "'dict', 'image'"]),
        ({"observation": "image", "include_step": True}, ValueError, ["include_step=True needs observation='dict'"]),
        ({"include_step": "yes"}, TypeError, ["include_step='yes'", "True or False"]),
        ({"images": "nowhere/"}, ValueError, ["images='nowhere'", "'embedded'"]),
        ({"images": 5}, TypeError, ["images=5", "'embedded'"]),
        ({"images": [np.zeros((70, 70))]}, TypeError, ["images[0]", "float64", "uint8"]),
        ({"patch": 63}, TypeError, ["patch"]),
    ],
)
def test_wrong_arguments_are_named_with_what_would_do(photos, function_toolbox, arguments, error, fragments):
    with pytest.raises(error) as caught:
        ImageRestoreEnv(**{"images": photos, "toolbox": function_toolbox, **arguments})
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(make):
    with pytest.raises(ValueError, match="device='cuda' is not available here; 'cpu' is"):
        make(device="cuda")


def test_images_may_be_a_folder_or_the_embedded_photos(make, photo_folder, photos):
    from_folder, _ = make(images=str(photo_folder)).reset(seed=4)
    from_list, _ = make(images=photos).reset(seed=4)
    assert_same(from_folder, from_list)
    embedded, _ = make(images="embedded").reset(seed=4)
    same, _ = make(images=embedded_photos()).reset(seed=4)
    assert_same(embedded, same)


@pytest.mark.parametrize("toolbox", ["classical", "networks"])
def test_a_copy_goes_on_as_the_original_does(make, network_toolbox, duplicate, toolbox):
    env = make(toolbox=network_toolbox if toolbox == "networks" else toolbox, patch_size=32, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    other = duplicate(env)
    for action in (0, 1):
        results = [each.step(action) for each in (env, other)]
        assert data_equivalence(*results, exact=True)
        assert np.array_equal(env.render(), other.render())
    for seed in (None, 5, None):
        assert data_equivalence(*(each.reset(seed=seed) for each in (env, other)), exact=True)
    env.step(0)
    other.step(1)
    assert not data_equivalence(*(each.step(0) for each in (env, other)))  # nothing is shared


def test_spaces_are_built_once(make):
    env = make().unwrapped
    spaces = env.observation_space, env.action_space
    env.reset(seed=0)
    env.step(0)
    env.reset()
    assert env.observation_space is spaces[0] and env.action_space is spaces[1]


@pytest.mark.filterwarnings("ignore:.*ImageRestore-v0 is out of date")
@pytest.mark.parametrize("name", ["ImageRestore-v0", "ImageRestore-v1"])
def test_it_pays_and_ends_as_it_always_did(name, photos, function_toolbox):
    """A change of these numbers is another environment and needs the version -v2."""
    env = gym.make(name, images=photos, toolbox=function_toolbox, patch_size=32)
    observation, info = env.reset(seed=123)
    transitions = [env.step(action) for action in (0, 1, 2)]
    assert [transition[2:4] for transition in transitions] == [(False, False), (False, False), (False, True)]
    assert list(observation) == ["image", "previous_action"]
    assert {key: info[key] for key in PINNED["distortion"]} == pytest.approx(PINNED["distortion"], abs=1e-9)
    # JPEG and blur may differ by a level between builds of OpenCV
    assert info["psnr"] == pytest.approx(PINNED["psnr"], abs=0.05)
    assert [transition[1] for transition in transitions] == pytest.approx(PINNED["rewards"], abs=0.05)


@pytest.mark.filterwarnings("ignore:.*ImageRestore-v0 is out of date")
@pytest.mark.parametrize(("name", "toolbox"), [("ImageRestore-v0", "rl-restore-12"), ("ImageRestore-v1", "restore-12")])
def test_each_version_has_its_toolbox(name, toolbox, photos):
    env, envs = gym.make(name, images=photos), gym.make_vec(name, num_envs=2, images=photos)
    assert env.unwrapped.toolbox.name == envs.unwrapped.toolbox.name == toolbox
    assert env.action_space == gym.spaces.Discrete(13)


def test_bfloat16_is_an_option(make, pair):
    gains = {}
    for dtype in ("float32", "bfloat16"):
        env = make(toolbox="rl-restore-12", dtype=dtype)
        assert env.unwrapped.toolbox.dtype == dtype
        env.reset(options=pair)
        gains[dtype] = env.step(5)[1]
    assert gains["float32"] != gains["bfloat16"]
    assert gains["float32"] == pytest.approx(gains["bfloat16"], abs=0.02)
    assert make(toolbox="rl-restore-12").unwrapped.toolbox.dtype == "float32"
    with pytest.raises(ValueError, match="dtype='half'"):
        make(dtype="half")
