"""The example for RLlib runs as its user would run it, if RLlib is installed, as in `make examples`."""

import re

import pytest
from examples_runner import need, output_of

STEPS = 500


@pytest.mark.slow
def test_rllib_ppo_dqn():
    need("ray")
    printed = output_of("rllib_ppo_dqn.py", "--steps", STEPS)
    for name in ("PPO", "DQN"):
        found = re.findall(rf"(?m)^{name}: (\d+) steps, (\S+) dB$", printed)
        assert int(found[-1][0]) >= STEPS and 1 < float(found[-1][1]) < 10
