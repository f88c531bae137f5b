"""Environments in worker processes, whatever the parent did before."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import gymnasium, numpy, torch
import restore_env

def main():
    torch.rand(2000, 2000) @ torch.rand(2000, 2000)  # starts PyTorch's threads in the parent
    if {kind!r} == "gymnasium":
        envs = gymnasium.make_vec("ImageRestore-v1", num_envs=2, vectorization_mode="async")
        envs.reset(seed=0)
        rewards = envs.step(numpy.array([7, 12]))[1]
    else:
        from stable_baselines3.common.vec_env import SubprocVecEnv
        envs = SubprocVecEnv([lambda: gymnasium.make("ImageRestore-v1")] * 2, start_method={kind!r})
        envs.reset()
        rewards = envs.step([7, 12])[1]
    assert rewards[0] != 0 and rewards[1] == 0
    envs.close()

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gymnasium", "fork", "spawn"])
def test_workers_answer_after_the_parent_has_used_pytorch(kind, tmp_path):
    if kind == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(kind=kind))
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-W", "ignore", str(program)], check=True, timeout=120, env=environment)
