"""The program that measures how much of an agent's expected gain comes true."""

import json

import numpy as np
import pytest
import torch

from agents.calibrate_gain import Args, Calibration, main
from restore_env import Tool, Toolbox, load_policy, restore, save_policy, save_toolbox
from restore_env.policies import FixedToolchain, RecurrentQNetwork, RecurrentQPolicy
from restore_env.toolbox.networks import ThreeLayerCNN

PROMISED = 2.0


@pytest.fixture
def args(tmp_path, photo_folder):
    """An agent that always applies the only tool, and promises two dB."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        toolbox = Toolbox([Tool.from_module("only", ThreeLayerCNN(4, 3))], "mine")
        network = RecurrentQNetwork(1, (3, 3, 3, 3), features=4, hidden=5, patch_size=32)
    with torch.no_grad():
        network.values.weight.zero_()
        network.values.bias.copy_(torch.tensor([PROMISED, 0.0]))
    save_toolbox(toolbox, tmp_path / "tools")
    save_policy(RecurrentQPolicy(network, toolbox.action_names, "agent"), tmp_path / "agent", toolbox)
    return Args(photos=photo_folder, policy=tmp_path / "agent", toolbox=str(tmp_path / "tools"), n=4, severity="any")


def test_the_factor_is_written_and_used(args, photos):
    found = main(args)
    assert found.expected == [PROMISED] * 4 and len(set(found.gained)) == 4
    scale = max(0.0, float(np.mean(found.gained)) / PROMISED)
    assert load_policy(args.policy).gain_scale == pytest.approx(scale, abs=1e-4)
    assert restore(photos[0], args.policy, args.toolbox).expected_gain == pytest.approx(PROMISED * scale, abs=1e-3)
    record = json.loads((args.policy / "training.json").read_text())["calibration"]
    assert record["photos"] == 4 and record["severity"] == "any" and record["error"] == round(found.error, 3)


def test_what_was_found_before_does_not_count(args):
    first = main(args)
    assert main(args) == first
    assert main(Args(**{**vars(args), "seed": 1})) != first


def test_what_a_policy_expects_in_the_mean_comes_true():
    found = Calibration([1.0, 3.0], [1.0, 1.0])
    assert found.scale == 0.5 and found.bias == 0 and found.error == 0.5
    assert Calibration([1.0], [-1.0]).scale == 0
    assert Calibration([0.0], [0.0]).scale == 1


def test_a_policy_without_q_values_is_refused(args, tmp_path):
    save_policy(FixedToolchain(["only"], ("only", "stop")), tmp_path / "fixed", "mine")
    with pytest.raises(ValueError, match="policy='.*fixed' has no Q-values"):
        main(Args(**{**vars(args), "policy": tmp_path / "fixed"}))
