"""Toolchain logs become Minari data sets and logs again."""

import os
import signal

import gymnasium as gym
import numpy as np
import pytest

import restore_env
from restore_env import load_toolchain_log, save_toolbox
from restore_env.data.sources import as_source, draw_pairs
from restore_env.data.toolchain_log import LogHeader, ToolchainLogWriter, Toolchains
from restore_env.envs.common import DISTORTION_KEYS
from restore_env.training.signals import Stopped

minari = pytest.importorskip("minari", reason="minari is not installed here; the extra dev installs it")
pytest.importorskip("h5py", reason="h5py is not installed here; the extra dev installs it")

import agents.export_minari as module  # noqa: E402
from agents import import_minari  # noqa: E402
from agents.export_minari import Args, main  # noqa: E402

CHAINS = [[1, 0, -1], [-1, -1, -1], [0, 0, 1], [0, 1, -1], [1, 1, 1]]
LENGTHS = [3, 1, 3, 3, 3]
"""Numbers of steps, *stop* included."""


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(import_minari, "BATCH", 2)
    return tmp_path / "minari"


@pytest.fixture
def args(network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    pairs = draw_pairs(as_source("embedded", "motion+moderate", 40), len(CHAINS), 0)
    header = LogHeader(
        "mine", "networks", network_toolbox.action_names, 40, 3, "motion+moderate, embedded", 0, "digest"
    )
    distortions = [*pairs.distortions[:3], None, pairs.distortions[4]]
    with ToolchainLogWriter(tmp_path / "log", header) as log:
        log.add(Toolchains(np.stack(pairs.distorted), np.stack(pairs.reference), np.array(CHAINS), distortions))
    return Args(log=tmp_path / "log", output="restore-env/mine-v0", toolbox=str(tmp_path / "tools"))


def same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert np.asarray(one[key]).dtype == np.asarray(other[key]).dtype, key
        assert np.array_equal(one[key], other[key]), key


def test_an_episode_holds_what_the_environment_returns(args):
    assert main(args) == len(CHAINS)
    dataset = minari.load_dataset(args.output)
    assert len(dataset) == len(CHAINS) and dataset.total_steps == sum(LENGTHS)
    env = dataset.recover_environment()
    assert env.observation_space == dataset.observation_space and env.action_space == dataset.action_space
    log = load_toolchain_log(args.log)[:]
    for episode, length in zip(dataset, LENGTHS, strict=True):
        assert len(episode) == length
        images = {"distorted": log.distorted[episode.id], "reference": log.reference[episode.id]}
        observation, _ = env.reset(options=images)
        for step in range(length):
            same({key: values[step] for key, values in episode.observations.items()}, observation)
            observation, reward, terminated, truncated, info = env.step(episode.actions[step])
            assert reward == episode.rewards[step]
            assert (terminated, truncated) == (episode.terminations[step], episode.truncations[step])
            logged = {key: values[step + 1] for key, values in episode.infos.items()}
            assert np.array_equal(logged.pop("reference"), images["reference"])
            known = log.distortions[episode.id] or {}  # `reset` does not know them
            same(logged, info | {key: np.float64(known.get(key, -1)) for key in DISTORTION_KEYS})
        same({key: values[-1] for key, values in episode.observations.items()}, observation)
        assert terminated or truncated


def test_the_log_comes_back(args, tmp_path):
    main(args)
    back = import_minari.Args(dataset=args.output, output=tmp_path / "back")
    assert import_minari.main(back) == len(CHAINS)
    one, other = load_toolchain_log(args.log), load_toolchain_log(back.output)
    assert one.header == other.header and list(one[:].distortions) == list(other[:].distortions)
    assert all(np.array_equal(a, b) for a, b in zip(one[:][:3], other[:][:3], strict=True))
    assert import_minari.main(back) == len(load_toolchain_log(back.output)) == len(CHAINS)  # nothing comes twice


def test_a_log_of_the_wrapper_is_exported(tmp_path):
    env = gym.make("ImageRestore-v1", toolbox="classical")
    with restore_env.RecordToolchains(env, tmp_path / "log", "mine") as recorded:
        recorded.reset(seed=0)
        rewards = [recorded.step(action)[1] for action in (3, 1, 2)]
    assert main(Args(log=tmp_path / "log", output="mine-v0")) == 1
    assert minari.load_dataset("mine-v0")[0].rewards.tolist() == pytest.approx(rewards)
    assert list(minari.list_local_datasets()) == ["mine-v0"]


def test_stopped_it_leaves_nothing(args, datasets, monkeypatch):
    episodes = module.episodes

    def play_and_signal(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return episodes(*arguments)

    monkeypatch.setattr(module, "episodes", play_and_signal)
    with pytest.raises(Stopped):
        main(args)
    assert not [path for path in datasets.rglob("*") if path.is_file()]
    assert not minari.list_local_datasets()
    monkeypatch.setattr(module, "episodes", episodes)
    assert main(args) == len(CHAINS)


def test_what_is_there_stays(args, tmp_path):
    main(args)
    with pytest.raises(ValueError, match="output='restore-env/mine-v0': .* exists; choose another name or version"):
        main(args)
    assert len(minari.load_dataset(args.output)) == len(CHAINS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "mine"}, "output='mine' is not a name such as restore-env/drqn-v0"),
        ({"output": "../mine-v0"}, "output='../mine-v0' is not a name"),
        ({"toolbox": None}, "made with the toolbox 'networks'; name its folder with --toolbox"),
        ({"toolbox": "classical"}, "toolbox='classical' has not the actions of .*: three, eight, stop"),
    ],
)
def test_wrong_options_are_one_line(args, datasets, change, message):
    with pytest.raises(ValueError, match=message):
        main(Args(**vars(args) | change))
    assert not list(datasets.rglob("*.hdf5"))


def test_other_data_sets_are_refused(args, tmp_path):
    with pytest.raises(ValueError, match="dataset='nothing-v0': Dataset nothing-v0 not found"):
        import_minari.main(import_minari.Args(dataset="nothing-v0", output=tmp_path / "back"))
    main(args)
    metadata = minari.load_dataset(args.output).storage.data_path / "metadata.json"
    metadata.write_text(metadata.read_text().replace("toolchain_log", "something"))
    with pytest.raises(ValueError, match="not one that agents.export_minari wrote"):
        import_minari.main(import_minari.Args(dataset=args.output, output=tmp_path / "back"))
    assert not (tmp_path / "back").exists()
