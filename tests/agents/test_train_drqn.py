"""The program that trains the recurrent agent."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from agents.drqn.config import PRESETS, DRQNConfig
from agents.train_drqn import Args, main, new_training, parse, plan, reward_of
from restore_env import Tool, Toolbox, evaluate, load_policy
from restore_env.data import photos
from restore_env.data.pairs import save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies.ensemble import EnsembleQPolicy
from restore_env.toolbox import save_toolbox
from restore_env.toolbox.networks import ThreeLayerCNN

ROOT = Path(__file__).parent.parent.parent
QUICK = DRQNConfig(n_networks=1, n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    return Args(
        photos=str(photo_folder),
        output=tmp_path / "agent",
        toolbox=str(tmp_path / "tools"),
        iterations=2,
        config=QUICK,
        channels=(4, 4, 4, 4),
        features=8,
        hidden=8,
        patches=3,
        oracle=2,
        checkpoints=tmp_path / "runs",
        licence="made up",
    )


def test_the_reward_loses_what_tools_cost(args):
    assert reward_of(args) == "step_psnr"
    assert reward_of(replace(args, cost=0.1)).weights == {"step_psnr": 1.0, "cost": -0.1}
    both = reward_of(replace(args, reward="step_ssim", cost=0.1, step_cost=0.2))
    assert both.weights == {"step_ssim": 1.0, "cost": -0.1, "tools": -0.2}


def test_it_writes_a_policy_that_runs_and_says_how_it_was_made(args, one_thread):
    policy = main(args)
    loaded = load_policy(args.output)
    assert loaded.name == "agent"
    for one, other in zip(policy.network.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(one, other)
    pairs = draw_pairs(as_source(args.photos, "moderate", 63), 2, 0)
    assert evaluate(pairs, args.output, args.toolbox).policy == "agent"
    record = json.loads((args.output / "training.json").read_text())
    assert (record["patches"], record["updates"], record["steps"]) == (3, 4, record["steps"])
    assert record["settings"]["config"]["degradation_features"] is True
    card = (args.output / "README.md").read_text()
    for words in ("# agent", "photos: made up", "seed: 0", "4 updates", "torch"):
        assert words in card
    history = json.loads((args.checkpoints / "history.json").read_text())
    assert history[-1]["iteration"] == 2
    assert {"validation/gain", "step_1/three", "validation/stop_ratio"} <= set(history[-1])
    assert list((args.checkpoints / "tensorboard").iterdir())


def test_a_finished_training_is_packed_again_and_a_longer_one_goes_on(args, one_thread):
    first = main(args)
    again = main(args)
    assert torch.equal(first.network.values.weight, again.network.values.weight)
    main(replace(args, iterations=3))
    assert json.loads((args.output / "training.json").read_text())["updates"] == 6


def test_a_folder_of_photos_is_opened_once(args, monkeypatch, one_thread):
    opened, image_files = [], photos.image_files
    monkeypatch.setattr(photos, "image_files", lambda folder: opened.append(folder) or image_files(folder))
    main(args)
    assert opened == [Path(args.photos)]


def test_patches_have_the_size_that_is_asked_for(args, one_thread, tmp_path):
    args = replace(args, patch_size=32)
    policy = main(args)
    assert policy.patch_size == load_policy(args.output).patch_size == 32
    assert plan(args).data.validation.distorted.shape == (3, 32, 32, 3)
    assert json.loads((args.output / "training.json").read_text())["settings"]["patch_size"] == 32
    pairs = draw_pairs(as_source(args.photos, "moderate", 32), 2, 0)
    assert evaluate(pairs, args.output, args.toolbox).n == 2
    with pytest.raises(ValueError, match="belongs to a training with another network"):
        main(replace(args, patch_size=40))
    other = replace(args, output=tmp_path / "next", checkpoints=tmp_path / "next-runs", start=str(args.output))
    assert main(other).patch_size == 32
    with pytest.raises(ValueError, match=r"start='.*agent' looks at patches of 32 pixels; give --patch-size 32"):
        main(replace(other, patch_size=63))


def test_another_task_or_other_tools_are_another_training(args, network_toolbox, tmp_path, one_thread):
    main(args)
    with pytest.raises(ValueError, match="belongs to a training with another data"):
        main(replace(args, reward="final_psnr"))
    with torch.no_grad():
        network_toolbox[0].module.conv1.bias.add_(1)
    save_toolbox(network_toolbox, tmp_path / "tools")
    with pytest.raises(ValueError, match="belongs to a training with another data"):
        main(args)


def test_what_was_logged_of_a_deleted_training_is_forgotten(args, one_thread):
    main(args)
    (args.checkpoints / "training.pt").unlink()
    main(replace(args, iterations=1))
    history = json.loads((args.checkpoints / "history.json").read_text())
    assert [item["iteration"] for item in history] == [1]


def test_pairs_files_can_be_trained_and_measured_on(args, tmp_path, one_thread):
    file = tmp_path / "pairs.npz"
    save_pairs(file, draw_pairs(as_source(args.photos, "moderate", 63), 4, 0))
    with pytest.raises(ValueError, match="are fixed pairs; --validation with others is needed"):
        main(replace(args, photos=str(file)))
    with pytest.raises(ValueError, match=r"single_distortion_fraction=0\.5: the pairs in .* are distorted already"):
        main(
            replace(args, photos=str(file), validation=str(file), config=replace(QUICK, single_distortion_fraction=0.5))
        )
    main(replace(args, photos=str(file), validation=str(file), iterations=1))


def test_the_oracle_is_asked_once(args, monkeypatch, one_thread):
    planned = plan(args)
    best = planned.oracle
    assert best.n == 2
    expected = evaluate(planned.data.validation.first(2), "oracle", planned.toolbox).gain
    assert best.gain == pytest.approx(expected)
    monkeypatch.setattr("restore_env.training.oracle_cache.evaluate", None)
    assert plan(args).oracle == best
    assert plan(replace(args, oracle=0)).oracle is None


def test_an_agent_is_refreshed_on_changed_tools(args, network_toolbox, tmp_path, one_thread):
    first = main(args)
    with torch.no_grad():
        network_toolbox[0].module.conv1.bias.add_(1)
    save_toolbox(network_toolbox, tmp_path / "changed")
    changes = {"toolbox": str(tmp_path / "changed"), "start": str(args.output), "channels": (9, 9, 9, 9)}
    refreshed = replace(args, output=tmp_path / "again", checkpoints=tmp_path / "again-runs", **changes)
    network = new_training(plan(refreshed)).network
    for one, other in zip(first.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert main(refreshed).name == "again"
    with pytest.raises(ValueError, match="belongs to a training with another"):
        main(replace(refreshed, start=""))
    with pytest.raises(ValueError, match="start='random' is not a recurrent Q-network"):
        main(replace(refreshed, start="random"))


def test_two_networks_begin_apart_and_become_one_policy(args, tmp_path, one_thread):
    args = replace(args, config=replace(QUICK, n_networks=2))
    one, other = plan(args).networks
    assert not torch.equal(one.values.weight, other.values.weight)
    policy = main(args)
    assert isinstance(policy, EnsembleQPolicy) and len(policy.members) == 2
    loaded = load_policy(args.output)
    for first, second in zip(policy.network.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(first, second)
    again = replace(args, start=str(args.output), output=tmp_path / "again", checkpoints=tmp_path / "again-runs")
    for network, member in zip(plan(again).networks, loaded.members, strict=True):
        assert torch.equal(network.values.weight, member.network.values.weight)
    with pytest.raises(ValueError, match="has 2 networks; give --n-networks 2"):
        plan(replace(again, config=replace(QUICK, n_networks=3)))


def test_one_network_to_start_from_is_copied(args, tmp_path, one_thread):
    first = main(args)
    again = {"start": str(args.output), "output": tmp_path / "again", "checkpoints": tmp_path / "again-runs"}
    networks = plan(replace(args, **again, config=replace(QUICK, n_networks=2))).networks
    assert len(networks) == 2 and networks[0] is not networks[1]
    assert all(torch.equal(network.values.weight, first.network.values.weight) for network in networks)


@pytest.fixture
def larger(args, network_toolbox, tmp_path, one_thread) -> Args:
    """Options of a training from an agent of two tools, on a toolbox of three."""
    main(args)
    three, eight = network_toolbox
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        new = Tool.from_module("new", ThreeLayerCNN(4, 3))
    save_toolbox(Toolbox([eight, new, three], "larger"), tmp_path / "larger")
    changes = {"toolbox": str(tmp_path / "larger"), "start": str(args.output), "iterations": 3, "keep_last": True}
    return replace(args, output=tmp_path / "next", checkpoints=tmp_path / "next-runs", **changes)


def test_an_agent_for_a_larger_toolbox_starts_from_one_for_a_smaller(args, larger):
    before, trained = load_policy(args.output), main(larger)
    first = new_training(plan(replace(larger, checkpoints=larger.checkpoints / "fresh"))).network
    assert first.n_tools == 3 and torch.equal(first.values.weight[[2, 0, 3]], before.network.values.weight)
    assert load_policy(larger.output).action_names == ("eight", "new", "three", "stop")
    assert not torch.equal(trained.network.values.weight, first.values.weight)
    with pytest.raises(ValueError, match="start: policy 'next' was made for tools that .* does not have: new;"):
        main(replace(larger, start=str(larger.output), toolbox=args.toolbox, output=args.output / "other"))


def test_a_training_on_a_larger_toolbox_resumes_exactly(larger, tmp_path):
    expected = main(replace(larger, output=tmp_path / "whole", checkpoints=tmp_path / "whole-runs"))
    asked = count()
    stopped = new_training(plan(larger))
    assert not stopped.run(lambda status: None, stopping=lambda: next(asked) == 1)
    assert stopped.iteration == 1
    resumed = main(larger)
    for one, other in zip(expected.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("optimizer", ["soap", "adam"])
def test_only_what_concerns_new_tools_is_learnt(optimizer, args, larger):
    config = replace(args.config, optimizer=optimizer, exploration_final_eps=1.0)  # so that the new tool is applied
    only = replace(larger, only_new_tools=True, config=config)
    first = new_training(plan(replace(only, checkpoints=only.checkpoints / "fresh"))).network
    trained = main(only).network
    for (name, one), other in zip(first.named_parameters(), trained.parameters(), strict=True):
        changed = one != other
        if name.startswith(("values.", "preferred.")):
            assert changed[1].any() and not changed[[0, 2, 3]].any()  # the new tool is the second of three
        elif name == "gates.weight":
            new = trained.gates.in_features - trained.hidden - 3 + 1
            assert changed[:, new].any() and not changed[:, :new].any() and not changed[:, new + 1 :].any()
        else:
            assert not changed.any(), name
    record = json.loads((only.output / "training.json").read_text())
    assert record["settings"]["only_tools"] == [1]


def test_without_new_tools_there_is_nothing_to_learn_about(args, larger):
    only = replace(larger, only_new_tools=True, toolbox=args.toolbox)
    with pytest.raises(ValueError, match="only_new_tools: start='.*agent' knows all tools of the toolbox 'networks'"):
        main(only)
    with pytest.raises(ValueError, match="only_new_tools needs a policy to continue from; give --start"):
        main(replace(only, start=""))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0}, "minutes=0 is not more than 0"),
        ({"iterations": 0}, "iterations"),
        ({"channels": (4, 4)}, r"channels=\(4, 4\) are not four numbers of at least 1"),
        ({"device": "tpu"}, "tpu"),
        ({"patches": 0}, "patches"),
        ({"patch_size": 10}, "patch_size=10 is not a whole number of at least 11"),
        ({"reward": "psnr"}, "reward='psnr'"),
        ({"severity": "furious"}, "furious"),
        ({"channels": (4, 4, 0, 4)}, r"channels=\(4, 4, 0, 4\)"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(changes, message, args):
    with pytest.raises(ValueError, match=message):
        main(replace(args, **changes))


def test_presets_can_be_changed_one_by_one(capsys):
    words = ["--photos", "p", "--output", "o"]
    for name, config in PRESETS.items():
        assert parse([name, *words]).config == config
    changed = parse(["released-code", *words, "--gamma", "0.5", "--double-q"])
    assert changed.config == replace(PRESETS["released-code"], gamma=0.5, double_q=True)
    assert changed.photos == "p"
    for wrong in (["slow", *words], words):
        with pytest.raises(SystemExit):
            parse(wrong)
    assert "fast, refresh, paper, released-code" in capsys.readouterr().err


def test_the_hyperparameters_given_are_those_that_train(args):
    paper = replace(PRESETS["paper"], n_envs=4, gradient_steps=1, batch_size=4, learning_starts=0, buffer_size=60)
    training = new_training(plan(replace(args, config=paper)))
    assert training.config == paper
    assert isinstance(training.optimizers[0], torch.optim.Adam) and not training.network.arguments["scaled"]


@pytest.mark.slow
def test_a_signal_ends_it_well_and_the_same_command_goes_on(args):
    command = [sys.executable, "-m", "agents.train_drqn", "fast", "--photos", args.photos]
    command += ["--output", str(args.output)]
    command += ["--toolbox", args.toolbox, "--channels", "4", "4", "4", "4", "--patches", "2", "--n-envs", "4"]
    command += ["--checkpoints", str(args.checkpoints), "--gradient-steps", "1", "--iterations", "100000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not (args.checkpoints / "replay" / "replay.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        time.sleep(2)
        os.kill(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert told.splitlines()[-1] == "train_drqn: stopped by SIGTERM; run the same command again to go on"
    assert (args.checkpoints / "training.pt").exists()
