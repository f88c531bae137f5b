"""The program that trains the recurrent agent."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents.data import draw_validation, sources
from agents.drqn.config import PRESETS, Options
from agents.train_drqn import Args, best_of, check, main, new_training, parse
from restore_env import evaluate, load_policy
from restore_env.data.pairs import save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.toolbox import load_toolbox, save_toolbox

ROOT = Path(__file__).parent.parent.parent
QUICK = Options(episodes=4, updates=2, batch_size=4, learning_starts=0, replay_steps=60)


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    return Args(
        str(photo_folder),
        tmp_path / "agent",
        toolbox=str(tmp_path / "tools"),
        iterations=2,
        options=QUICK,
        channels=(4, 4, 4, 4),
        features=8,
        hidden=8,
        patches=3,
        oracle=2,
        checkpoints=tmp_path / "runs",
        licence="made up",
    )


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
    assert record["settings"]["options"]["targets"] == "all"
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
    with pytest.raises(ValueError, match=r"singles=0\.5: the pairs in .* are distorted already; give singles=0"):
        main(replace(args, photos=str(file), validation=str(file), options=replace(QUICK, singles=0.5)))
    main(replace(args, photos=str(file), validation=str(file), iterations=1))


def test_patches_of_a_pairs_file_are_measured_on_one_by_one(args, tmp_path):
    known = draw_pairs(as_source(args.photos, "moderate", 63), 4, 0)
    save_pairs(tmp_path / "pairs.npz", known)
    _, source = sources(args.photos, str(tmp_path / "pairs.npz"), "moderate", 0)
    assert (draw_validation(source, 3).distorted == known.distorted[:3]).all()
    assert len(draw_validation(source, 9)) == 4


def test_the_oracle_is_asked_once(args, monkeypatch, one_thread):
    check(args)
    toolbox = load_toolbox(args.toolbox)
    validation = draw_pairs(as_source(args.photos, "moderate", 63), 3, 0)
    best = best_of(args, toolbox, validation)
    assert best.n == 2
    expected = evaluate(validation.first(2), "oracle", toolbox).gain
    assert best.gain == pytest.approx(expected)
    monkeypatch.setattr("restore_env.training.oracle_cache.evaluate", None)
    assert best_of(args, toolbox, validation) == best
    assert best_of(replace(args, oracle=0), toolbox, validation) is None


def test_an_agent_is_refreshed_on_changed_tools(args, network_toolbox, tmp_path, one_thread):
    first = main(args)
    with torch.no_grad():
        network_toolbox[0].module.conv1.bias.add_(1)
    save_toolbox(network_toolbox, tmp_path / "changed")
    changes = {"toolbox": str(tmp_path / "changed"), "start": str(args.output), "channels": (9, 9, 9, 9)}
    refreshed = replace(args, output=tmp_path / "again", checkpoints=tmp_path / "again-runs", **changes)
    toolbox = load_toolbox(refreshed.toolbox)
    check(refreshed)
    training, validation = sources(args.photos, args.photos, "moderate", 0)
    run = new_training(refreshed, toolbox, training, draw_validation(validation, 2))
    for one, other in zip(first.network.parameters(), run.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert main(refreshed).name == "again"
    with pytest.raises(ValueError, match="belongs to a training with another"):
        main(replace(refreshed, start=""))
    with pytest.raises(ValueError, match="start='random' is not a recurrent Q-network"):
        main(replace(refreshed, start="random"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0}, "minutes=0 is not more than 0"),
        ({"iterations": 0}, "iterations"),
        ({"channels": (4, 4)}, r"channels=\(4, 4\) are not four numbers"),
        ({"device": "tpu"}, "tpu"),
        ({"patches": 0}, "patches"),
        ({"reward": "psnr"}, "reward='psnr'"),
        ({"severity": "wild"}, "wild"),
        ({"preset": "slow"}, "preset='slow'"),
        ({"channels": (4, 4, 0, 4)}, "each is at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(changes, message, args):
    with pytest.raises(ValueError, match=message):
        main(replace(args, **changes))


def test_presets_can_be_changed_one_by_one():
    words = ["--photos", "p", "--output", "o"]
    assert parse(words).options == PRESETS["fast"]
    assert parse([*words, "--preset", "paper"]).options == PRESETS["paper"]
    changed = parse([*words, "--preset=released-code", "--gamma", "0.5", "--double"])
    assert changed.options == replace(PRESETS["released-code"], gamma=0.5, double=True)
    assert changed.preset == "released-code"
    with pytest.raises(ValueError, match="preset='slow'"):
        parse([*words, "--preset", "slow"])


@pytest.mark.slow
def test_a_signal_ends_it_well_and_the_same_command_goes_on(args):
    command = [sys.executable, "-m", "agents.train_drqn", "--photos", args.photos, "--output", str(args.output)]
    command += ["--toolbox", args.toolbox, "--channels", "4", "4", "4", "4", "--patches", "2", "--episodes", "4"]
    command += ["--checkpoints", str(args.checkpoints), "--updates", "1", "--iterations", "100000"]
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
