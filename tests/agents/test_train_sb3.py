"""The program that trains agents of SB3: each algorithm runs, stops, goes on, and its file is a policy."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stable_baselines3 import A2C, PPO

from agents import train_sb3
from agents.train_sb3 import Args, main, plan
from restore_env import evaluate, load_policy, restore
from restore_env.data.sources import as_source, draw_pairs
from restore_env.envs.sb3_vec_env import SB3VecEnv
from restore_env.errors import FormatError
from restore_env.policies.sb3_policy import ALGORITHMS
from restore_env.toolbox import load_toolbox, save_toolbox
from restore_env.training.logging import read_history
from restore_env.utils.files import replacing

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path, monkeypatch) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    small = {"dqn": {"learning_starts": 20, "batch_size": 8}, "qrdqn": {"learning_starts": 20, "batch_size": 8}}
    small |= dict.fromkeys(("ppo", "maskable_ppo", "recurrent_ppo"), {"n_steps": 8, "batch_size": 16, "n_epochs": 1})
    monkeypatch.setattr(train_sb3, "DEFAULTS", small)
    return Args(
        photos=str(photo_folder),
        output=tmp_path / "agent.zip",
        toolbox=str(tmp_path / "tools"),
        steps=64,
        n_envs=4,
        buffer_size=200,
        patches=2,
        every=32,
        checkpoints=tmp_path / "runs",
    )


def folder_of(args: Args) -> Path:
    return args.checkpoints / args.algo


@pytest.fixture
def last(monkeypatch):
    """Trains, and returns the agent as it was at the end, which need not be the best."""
    kept = []

    def save(model, plan, better=False):
        kept.append(model)
        train_sb3_save(model, plan, better)

    def train(args):
        main(args)
        return kept[-1]

    train_sb3_save = train_sb3.save
    monkeypatch.setattr(train_sb3, "save", save)
    return train


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_each_algorithm_trains_and_its_file_is_a_policy(algo, args, one_thread, capsys):
    args = replace(args, algo=algo, oracle=1)
    trained = main(args)
    assert "32 steps, gain" in capsys.readouterr().err
    history = read_history(folder_of(args))
    assert [item["iteration"] for item in history][0] == 32 and history[-1]["iteration"] >= 64
    assert {"validation/gain", "step_1/three", "validation/stop_ratio", "validation/share_of_oracle"} <= set(history[0])
    record = json.loads(args.output.with_suffix(".json").read_text())
    assert record["validation/gain"] == max(item["validation/gain"] for item in history)
    assert record["best_after"] == trained.model.num_timesteps <= record["steps"] == history[-1]["iteration"]
    pairs = draw_pairs(as_source(args.photos, "moderate", 63), 3, 0)
    toolbox = load_toolbox(args.toolbox)
    expected = evaluate(pairs, trained, toolbox)
    loaded = load_policy(args.output, toolbox, trust=True)
    assert type(loaded.model) is ALGORITHMS[algo]
    assert loaded.action_names == toolbox.action_names
    assert [image.toolchain for image in evaluate(pairs, loaded, toolbox).images] == [
        image.toolchain for image in expected.images
    ]
    photo = as_source(args.photos, "moderate", 63).photos[0]
    assert restore(photo, policy=loaded, toolbox=toolbox).image.shape == photo.shape
    with pytest.raises(ValueError, match="was made for the actions three, eight, stop"):
        load_policy(args.output, load_toolbox("rl-restore-12"), trust=True)
    logged = list((folder_of(args) / "tensorboard").rglob("events*"))
    assert logged


@pytest.mark.parametrize("algo", ["dqn", "recurrent_ppo"])
def test_a_training_goes_on_from_its_checkpoint(algo, args, one_thread, last):
    args = replace(args, algo=algo)
    first = last(args).num_timesteps
    again = last(replace(args, steps=first + 32))
    assert again.num_timesteps >= first + 32
    steps = [item["iteration"] for item in read_history(folder_of(args))]
    assert steps == sorted(set(steps)) and {first, again.num_timesteps} <= set(steps)
    if algo == "dqn":
        assert again.replay_buffer.size() > first // args.n_envs  # what was remembered before is there
    written = load_policy(args.output, trust=True).network.state_dict()
    kept = last(replace(args, steps=first + 32))
    assert kept is again  # there was nothing left to do
    for key, value in load_policy(args.output, trust=True).network.state_dict().items():
        assert torch.equal(value, written[key])


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"no pickle")])
def test_a_checkpoint_without_its_memory_is_refused(damage, args, one_thread):
    args = replace(args, algo="dqn")
    main(args)
    damage(folder_of(args) / "memory.pkl")
    with pytest.raises(ValueError, match=r"memory\.pkl: what belongs to .*checkpoint\.zip is missing or damaged"):
        main(args)


def flip(path, place=0.5):
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 16
    path.write_bytes(content)


def test_a_flipped_bit_is_refused_wherever_it_is(args, one_thread):
    args = replace(args, algo="dqn")
    main(args)
    delete = r"delete .*checkpoint\.zip to start afresh"
    for name, message in (
        ("memory.pkl", r"memory\.pkl: what belongs to .* is missing or damaged"),
        ("best.zip", rf"best\.zip: missing, not an agent, or damaged; {delete}"),
        ("checkpoint.zip", rf"checkpoint\.zip: missing, not an agent, or damaged; {delete}"),
    ):
        flip(folder_of(args) / name)
        with pytest.raises(ValueError, match=message) as error:
            main(args)
        assert "\n" not in str(error.value)
        flip(folder_of(args) / name)
    flip(args.output)
    with pytest.raises(FormatError, match=r"agent\.zip: not an agent .* damaged, its SHA-256 is not the one"):
        load_policy(args.output, trust=True)


def test_an_agent_that_sees_the_step_is_not_asked_for_longer_toolchains(args, one_thread):
    agent = main(replace(args, algo="ppo"))
    pairs = draw_pairs(as_source(args.photos, "moderate", 63), 2, 0)
    agent.model.policy.action_net.bias.data[-1] = -1e9  # never stops
    with pytest.raises(ValueError, match="toolchains of at most 3 tools and is asked for more; give max_steps=3"):
        evaluate(pairs, agent, args.toolbox, max_steps=5)


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_the_learning_rate_falls_over_all_steps_also_when_a_training_goes_on(algo, args, one_thread, last):
    def progress(steps):
        return last(replace(args, algo=algo, steps=steps, learning_rate=1e-3))._current_progress_remaining

    assert progress(32) == pytest.approx(0)
    model = last(replace(args, algo=algo, steps=64, learning_rate=1e-3))
    assert [model.lr_schedule(left) for left in (1, 0.5, 0)] == pytest.approx([1e-3, 5e-4, 0])
    assert model._current_progress_remaining == pytest.approx(0)
    assert model.policy.optimizer.param_groups[0]["lr"] < 6e-4


def test_the_best_agent_is_kept_though_it_grows_worse(args, one_thread, monkeypatch):
    found = iter([1.0, 3.0, 2.0, 2.5])
    monkeypatch.setattr(train_sb3, "scalars_of", lambda _: {"validation/gain": next(found), "validation/tools": 1.0})
    best = main(replace(args, algo="ppo", steps=96))
    assert [item["validation/gain"] for item in read_history(folder_of(args))] == [1.0, 3.0, 2.0]
    assert best.model.num_timesteps == read_history(folder_of(args))[1]["iteration"]


@pytest.mark.parametrize("killed_after", ["best.zip", "checkpoint.zip"])
def test_a_kill_while_the_best_agent_is_saved_does_not_lose_it(killed_after, args, one_thread, monkeypatch):
    gains = iter([1.0, 3.0, 2.0, 2.5, 2.7])
    found = {"validation/tools": 1.0}
    monkeypatch.setattr(train_sb3, "scalars_of", lambda _: found | {"validation/gain": next(gains)})

    @contextmanager
    def killed(path):
        with replacing(path) as temporary:
            yield temporary
        if path.name == killed_after and len(saved) == 1:
            raise KeyboardInterrupt
        saved.extend([path] * (path.name == "checkpoint.zip"))

    saved = []
    monkeypatch.setattr(train_sb3, "replacing", killed)
    with pytest.raises(KeyboardInterrupt):
        main(replace(args, steps=96))
    monkeypatch.setattr(train_sb3, "replacing", replacing)
    best = (folder_of(args) / "best.zip").read_bytes()
    main(replace(args, steps=96))
    assert (folder_of(args) / "best.zip").read_bytes() == best
    assert 3.0 not in [item["validation/gain"] for item in read_history(folder_of(args))]  # it was never logged


def test_a_resumed_training_draws_other_pairs(args, one_thread, last):
    seen = []
    for steps in (64, 128):
        model = last(replace(args, steps=steps))
        seen.append(model.get_env().get_attr("np_random_seed")[0])
    assert seen[0] != seen[1]


@pytest.mark.parametrize("changes", [{"severity": "mild"}, {"learning_rate": 0.1}, {"max_steps": 2}, {"seed": 1}])
def test_a_checkpoint_of_another_training_is_refused(changes, args, one_thread):
    main(args)
    with pytest.raises(ValueError, match=f"belongs to a training with another {next(iter(changes))}; delete it"):
        main(replace(args, **changes))


@pytest.mark.parametrize(("algo", "channels"), [("dqn", 6), ("maskable_ppo", 6), ("recurrent_ppo", 3)])
def test_the_image_alone_is_seen_in_a_stack_or_remembered(algo, channels, args, one_thread):
    policy = main(replace(args, algo=algo, observation="image", max_steps=2))
    assert policy.model.observation_space.shape == (channels, 63, 63)
    loaded = load_policy(args.output, load_toolbox(args.toolbox), trust=True)
    pairs = draw_pairs(as_source(args.photos, "moderate", 63), 3, 0)
    found = [evaluate(pairs, each, args.toolbox, max_steps=2) for each in (policy, loaded)]
    assert [image.toolchain for image in found[0].images] == [image.toolchain for image in found[1].images]
    assert json.loads(args.output.with_suffix(".json").read_text())["observation"] == "image"


def test_patches_have_the_size_that_is_asked_for(args, one_thread):
    policy = main(replace(args, patch_size=40))
    assert policy.patch_size == load_policy(args.output, trust=True).patch_size == 40
    assert policy.model.observation_space["image"].shape == (3, 40, 40)
    assert plan(replace(args, patch_size=40)).data.validation.distorted.shape == (2, 40, 40, 3)
    assert json.loads(args.output.with_suffix(".json").read_text())["patch_size"] == 40
    with pytest.raises(ValueError, match="belongs to a training with another patch_size; delete it"):
        main(args)


def test_a_checkpoint_that_names_no_patch_size_and_observation_is_of_the_only_ones_there_were(
    args, one_thread, monkeypatch
):
    with monkeypatch.context() as before:
        names = tuple(name for name in train_sb3.SETTINGS if name not in train_sb3.EARLIER_SETTINGS)
        before.setattr(train_sb3, "SETTINGS", names)
        main(args)
    main(replace(args, steps=96))
    for changes in ({"patch_size": 40}, {"observation": "image"}):
        with pytest.raises(ValueError, match=f"belongs to a training with another {next(iter(changes))}; delete it"):
            main(replace(args, **changes))


def test_a_checkpoint_of_other_settings_of_the_algorithm_is_refused(args, one_thread, monkeypatch):
    main(args)
    monkeypatch.setitem(train_sb3.DEFAULTS, "ppo", train_sb3.DEFAULTS["ppo"] | {"n_epochs": 2})
    with pytest.raises(ValueError, match="with another setting of the algorithm; delete it"):
        main(args)


def test_memoryless_agents_see_the_step(args, one_thread):
    seen = {algo: main(replace(args, algo=algo)).model.observation_space.spaces.keys() for algo in ALGORITHMS}
    assert {algo for algo, keys in seen.items() if "step" not in keys} == {"recurrent_ppo"}


def test_a_checkpoint_is_not_gone_on_with_when_the_tools_of_that_name_are_others(args, network_toolbox, one_thread):
    main(args)
    with torch.no_grad():
        for parameter in network_toolbox[0].module.parameters():
            parameter += 0.01
    save_toolbox(network_toolbox, args.toolbox)
    with pytest.raises(ValueError, match="belongs to a training with another photos or tools; delete it"):
        main(args)


def test_value_based_agents_learn_once_in_four_steps(args, one_thread, last):
    model = last(replace(args, algo="dqn", steps=200))
    assert model._n_updates == pytest.approx((200 - 20) / 4, abs=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": "a2c"}, "algo='a2c'"),
        ({"steps": 0}, "steps"),
        ({"output": Path("agent.pt")}, r"output='agent.pt' does not end in .zip"),
        ({"device": "tpu"}, "tpu"),
        ({"single_distortion_fraction": 1.5}, "single_distortion_fraction=1.5 is not between 0 and 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not more than 0"),
        ({"observation": "pixels"}, "observation='pixels' is not one of 'dict', 'image'"),
        ({"observation": "image", "max_steps": 21}, "max_steps=21: with patch_size=63 at most 20 images can be"),
        ({"patch_size": 10}, "patch_size=10 is not a whole number of at least 11"),
    ],
)
def test_what_cannot_be_is_refused(changes, message, args):
    with pytest.raises(ValueError, match=message):
        plan(replace(args, **changes))


def test_other_files_are_refused(args, tmp_path, network_toolbox):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK not really")
    with pytest.raises(FormatError, match=r"broken\.zip: not an agent that dqn, qrdqn, ppo"):
        load_policy(broken, trust=True)
    envs = SB3VecEnv(1, images=args.photos, toolbox=network_toolbox)
    A2C("MultiInputPolicy", envs, device="cpu").save(tmp_path / "a2c.zip")
    with pytest.raises(FormatError, match=r"a2c\.zip: not an agent that"):
        load_policy(tmp_path / "a2c.zip", trust=True)


def test_an_agent_that_was_trained_without_this_program_is_a_policy_too(args, tmp_path, network_toolbox):
    envs = SB3VecEnv(1, images=args.photos, toolbox=network_toolbox, include_step=True)
    PPO("MultiInputPolicy", envs, device="cpu").save(tmp_path / "own.zip")
    pairs = draw_pairs(as_source(args.photos, "moderate", 63), 2, 0)
    assert evaluate(pairs, load_policy(tmp_path / "own.zip", trust=True), network_toolbox).policy == "own"
    with pytest.raises(ValueError, match="was made for 3 actions, but the toolbox 'restore-12' has 13"):
        evaluate(pairs, load_policy(tmp_path / "own.zip", trust=True))


def test_an_agent_of_another_environment_is_refused(tmp_path):
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "cart.zip")
    with pytest.raises(FormatError, match=r"cart\.zip: "):
        load_policy(tmp_path / "cart.zip", trust=True)


@pytest.mark.slow
def test_a_signal_ends_it_well_and_the_checkpoint_is_there(args):
    command = [sys.executable, "-m", "agents.train_sb3", "--photos", args.photos, "--output", str(args.output)]
    command += ["--toolbox", args.toolbox, "--patches", "2", "--every", "64", "--n-envs", "4"]
    command += ["--checkpoints", str(args.checkpoints), "--steps", "10000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not (folder_of(args) / "checkpoint.zip").exists():
            assert process.poll() is None
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert told.splitlines()[-1] == "train_sb3: stopped by SIGTERM; run the same command again to go on"
