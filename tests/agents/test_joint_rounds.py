"""Rounds of joint training: what follows on what, which round is kept, when it ends."""

import json
from dataclasses import replace

import pytest
import torch

import agents.joint_rounds as module
from agents.drqn.config import DRQNConfig
from agents.joint_rounds import Args, main, plan
from restore_env import evaluate, load_policy, load_toolbox, load_toolchain_log, save_policy, save_toolbox
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies.recurrent_q import RecurrentQNetwork, RecurrentQPolicy
from restore_env.training.split import VALIDATION_SEED
from tools.finetune_joint import JOINT_RECIPES

QUICK = DRQNConfig(n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path, monkeypatch) -> Args:
    # A loaded machine may have time for one step a round, and SOAP's first only measures.
    quick = replace(JOINT_RECIPES["fast"], optimizer="adam", batch_size=2, crop=24)
    monkeypatch.setitem(JOINT_RECIPES, "fast", quick)
    save_toolbox(network_toolbox, tmp_path / "tools")
    torch.manual_seed(0)
    policy = RecurrentQPolicy(RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8), network_toolbox.action_names)
    save_policy(policy, tmp_path / "first", "tools")
    return Args(
        photos=str(photo_folder),
        validation=str(photo_folder),
        output=tmp_path / "jointly",
        policy=str(tmp_path / "first"),
        toolbox=str(tmp_path / "tools"),
        rounds=2,
        toolchains=8,
        tool_minutes=0.01,
        agent_minutes=0.01,
        config=QUICK,
        patches=4,
        checkpoints=tmp_path / "runs",
    )


@pytest.fixture
def gains(monkeypatch):
    """What is measured of each round, instead of how good it is."""

    def set_gains(*values):
        monkeypatch.setattr(
            module,
            "measure",
            lambda number, *_: {"round": number, "gain": values[number]},
        )

    return set_gains


def weights(toolbox):
    return [parameter for tool in load_toolbox(toolbox) for parameter in tool.module.parameters()]


def test_every_round_goes_on_from_the_one_before_and_the_best_is_kept(args, gains):
    gains(1.0, 2.0, 3.0)
    record = main(args)
    assert [entry["round"] for entry in record] == [0, 1, 2]
    assert json.loads((args.output / "rounds.json").read_text()) == record
    rounds = [args.checkpoints / f"round-{number}" for number in (1, 2)]
    logs = [load_toolchain_log(folder / "log") for folder in rounds]
    assert [(log.header.policy, log.header.toolbox, log.header.seed) for log in logs] == [
        ("recurrent-q", "networks", 1),
        ("jointly-agent-1", "jointly-tools-1", 2),
    ]
    start, first, second = (
        weights(folder) for folder in (args.toolbox, rounds[0] / "jointly-tools-1", args.output / "toolbox")
    )
    assert not all(torch.equal(one, other) for one, other in zip(start, first, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    load_policy(args.output / "policy", load_toolbox(args.output / "toolbox"))


def test_there_is_no_further_round_once_the_gain_falls(args, gains):
    gains(1.0, 0.5, 9.0)
    assert [entry["round"] for entry in main(args)] == [0, 1]
    assert not (args.output / "toolbox").exists()


def test_the_same_call_repeats_nothing(args, gains, monkeypatch):
    gains(1.0, 2.0, 3.0)
    first = main(args)
    kept = weights(args.output / "toolbox")
    for work in (
        "agents.log_toolchains.play",
        "tools.joint.trainer.backpropagate",
        "agents.drqn.trainer.collect_episodes",
    ):
        monkeypatch.setattr(work, None)
    assert main(args) == first
    assert all(torch.equal(one, other) for one, other in zip(kept, weights(args.output / "toolbox"), strict=True))


def test_all_patches_have_the_size_that_the_policy_looks_at(args, network_toolbox, tmp_path):
    torch.manual_seed(0)
    network = RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8, patch_size=32)
    save_policy(RecurrentQPolicy(network, network_toolbox.action_names), tmp_path / "small", "tools")
    args = replace(args, policy=str(tmp_path / "small"), rounds=1)
    assert plan(args).pairs.distorted.shape == (4, 32, 32, 3)
    main(args)
    folder = args.checkpoints / "round-1"
    assert load_toolchain_log(folder / "log").header.patch_size == 32
    assert load_policy(folder / "jointly-agent-1").patch_size == 32


def test_wrong_options_are_one_line(args):
    with pytest.raises(ValueError, match="rounds=0"):
        main(replace(args, rounds=0))
    with pytest.raises(ValueError, match="policy='nobody' is neither"):
        main(replace(args, policy="nobody"))
    for change, message in (
        ({"policy": "fixed:three"}, "policy='fixed:three' is not a recurrent Q-network"),
        ({"agent_minutes": 0.0}, "minutes=0.0"),
        ({"tool_minutes": -1.0}, "minutes=-1.0"),
        ({"own_task": 2.0}, "own_task=2.0"),
        ({"patches": 0}, "patches"),
    ):
        with pytest.raises(ValueError, match=message):
            main(replace(args, **change))
    assert not (args.checkpoints / "round-1" / "log").exists()


def test_the_record_tells_how_good_each_round_is_on_pairs_that_chose_nothing(args):
    record = main(replace(args, rounds=1))
    pairs = draw_pairs(as_source(args.validation, "moderate", 63), 4, VALIDATION_SEED + 1)
    folder = args.checkpoints / "round-1"
    found = [
        evaluate(pairs, args.policy, args.toolbox),
        evaluate(pairs, folder / "jointly-agent-1", folder / "jointly-tools-1"),
    ]
    assert [entry["gain"] for entry in record] == pytest.approx([result.gain for result in found], abs=1e-4)
