"""What importing the package does, and what it leaves alone."""

import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import restore_env

FOLDER = Path(restore_env.__file__).parent


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=600, cwd=FOLDER.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_registers_and_loads_no_heavy_module():
    output = run_python(
        "import sys, gymnasium, restore_env\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "print('ImageRestore-v1' in gymnasium.registry)"
    )
    modules, registered = output.splitlines()
    assert not {"torch", "cv2", "skimage", "stable_baselines3", "sb3_contrib"} & set(modules.split())
    assert "gymnasium" in modules.split()
    assert registered == "True"


@pytest.mark.parametrize("name", restore_env.__all__)
def test_every_public_name_resolves(name):
    assert getattr(restore_env, name).__name__ == name
    assert name in dir(restore_env)


def test_public_names_are_listed_once_for_readers_and_once_for_loading():
    assert sorted(restore_env._HOMES) == sorted(restore_env.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Toolbx'"):
        _ = restore_env.Toolbx


def test_registering_twice_does_not_warn():
    before = gym.spec("ImageRestore-v1")
    importlib.reload(restore_env)  # warnings are errors here
    assert gym.spec("ImageRestore-v1") is before


def test_make_can_import_the_package():
    output = run_python(
        "import gymnasium\n"
        "env = gymnasium.make('restore_env:ImageRestore-v1', toolbox='classical')\n"
        "print(env.reset(seed=0)[0]['image'].shape, env.action_space)"
    )
    assert output.strip() == "(63, 63, 3) Discrete(18)"


def test_spec_with_plain_arguments_survives_json():
    env = gym.make("ImageRestore-v1", toolbox="classical", severity="mild", patch_size=32, max_steps=2)
    spec = gym.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gym.make(spec)
    assert again.observation_space == env.observation_space
    assert again.unwrapped.toolbox.names == env.unwrapped.toolbox.names
    assert again.spec.kwargs["severity"] == "mild"


def test_spec_has_no_time_limit_or_wrappers_of_its_own():
    spec = gym.spec("ImageRestore-v1")
    assert spec.max_episode_steps is None  # the environment has its own limit
    assert spec.additional_wrappers == ()  # they would make make_vec fail
