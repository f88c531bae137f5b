"""The program that writes down what a policy does."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

import agents.log_toolchains as module
from agents.log_toolchains import Args, main
from restore_env import evaluate, load_toolchain_log, save_policy
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.sampling import FINE_SHRINK_FACTORS
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy
from restore_env.toolbox import load_toolbox, save_toolbox
from restore_env.training.signals import Stopped


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path) -> Args:
    save_toolbox(network_toolbox, tmp_path / "tools")
    return Args(
        images=str(photo_folder),
        output=tmp_path / "log",
        policy="random",
        toolbox=str(tmp_path / "tools"),
        augment=False,
        n=7,
    )


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)


def test_a_log_holds_the_pairs_of_the_seed_and_what_the_policy_did(args):
    assert main(args) == 7
    log = load_toolchain_log(args.output)
    assert (log.header.policy, log.header.toolbox, log.header.seed) == ("random", "networks", 0)
    assert log.header.source == "moderate, photos"
    pairs = draw_pairs(as_source(args.images, "moderate", 63), 7, 0)
    assert log[:].distortions == pairs.distortions and None not in pairs.distortions
    assert np.array_equal(log[:].distorted, pairs.distorted) and np.array_equal(log[:].reference, pairs.reference)
    names = load_toolbox(args.toolbox).names
    chains = [tuple(names[tool] for tool in chain if tool >= 0) for chain in log[:].chain]
    assert len(set(chains)) > 1


def test_a_random_policy_acts_differently_in_each_batch(args):
    main(replace(args, n=12))
    chains = load_toolchain_log(args.output)[:].chain.reshape(4, -1).tolist()  # four batches
    assert len(set(map(tuple, chains))) == 4


def test_logs_to_train_with_hold_turned_photos_of_other_colours_and_sizes(args, tmp_path):
    args = replace(args, augment=True, n=12)
    main(args)
    log = load_toolchain_log(args.output)
    assert log.header.source == "moderate, photos, augmented"
    plain = as_source(args.images, "moderate", 63)
    pairs = draw_pairs(replace(plain, augment=True, colours=True, factors=FINE_SHRINK_FACTORS, between=True), 12, 0)
    assert np.array_equal(log[:].reference, pairs.reference)
    save_pairs(tmp_path / "pairs.npz", pairs)
    fixed = replace(args, images=str(tmp_path / "pairs.npz"), output=tmp_path / "fixed")
    main(fixed)
    assert np.array_equal(load_toolchain_log(fixed.output)[:].reference, pairs.reference)


def test_a_fixed_policy_is_replayed_as_it_acted(args):
    main(replace(args, policy="fixed:eight,three"))
    assert load_toolchain_log(args.output)[:].chain.tolist() == [[1, 0, -1]] * 7


def test_a_pairs_file_is_taken_in_order(args, tmp_path):
    pairs = draw_pairs(as_source(args.images, "mild", 63), 5, 3)
    save_pairs(tmp_path / "pairs.npz", pairs)
    assert main(replace(args, images=str(tmp_path / "pairs.npz"), policy="greedy")) == 5
    log = load_toolchain_log(args.output)
    assert np.array_equal(log[:].reference, pairs.reference)
    found = evaluate(Pairs(pairs.distorted, pairs.reference), "greedy", args.toolbox)
    names = load_toolbox(args.toolbox).names
    chains = [tuple(names[tool] for tool in chain if tool >= 0) for chain in log[:].chain]
    assert chains == [image.toolchain for image in found.images]


def test_patches_have_the_size_that_is_asked_for(args, tmp_path):
    small = replace(args, patch_size=40, policy="fixed:three", n=3)
    assert main(small) == 3
    log = load_toolchain_log(args.output)
    assert log.header.patch_size == 40 and log[:].distorted.shape == (3, 40, 40, 3)
    with pytest.raises(ValueError, match="holds a log of another patch_size, 40 and not 63"):
        main(replace(small, patch_size=63))
    save_pairs(tmp_path / "pairs.npz", Pairs(log[:].distorted, log[:].reference))
    fixed = replace(small, images=str(tmp_path / "pairs.npz"), output=tmp_path / "fixed")
    assert main(fixed) == 3


def test_patches_that_do_not_fit_are_refused_before_the_log_is_made(args, tmp_path):
    save_pairs(tmp_path / "pairs.npz", draw_pairs(as_source(args.images, "mild", 63), 2, 3))
    with pytest.raises(ValueError, match="patch_size=40: pair 0 has 63x63 pixels"):
        main(replace(args, images=str(tmp_path / "pairs.npz"), patch_size=40))
    policy = RecurrentQPolicy(RecurrentQNetwork(2, (4, 4, 4, 4), 8, 8), ("three", "eight", "stop"))
    save_policy(policy, tmp_path / "agent", "networks")
    with pytest.raises(ValueError, match="patch_size=40: policy 'recurrent-q' looks at patches of 63 pixels"):
        main(replace(args, policy=str(tmp_path / "agent"), patch_size=40))
    assert not args.output.exists()


@pytest.mark.parametrize("policy", ["fixed:three", "random"])
def test_stopped_it_goes_on_where_the_log_ends(args, monkeypatch, policy):
    args = replace(args, policy=policy)
    whole = main(replace(args, output=args.output.with_name("whole")))
    play = module.play

    def play_and_signal(*arguments):
        play(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(module, "play", play_and_signal)
    with pytest.raises(Stopped):
        main(args)
    assert 0 < len(load_toolchain_log(args.output)) < whole
    monkeypatch.setattr(module, "play", play)
    assert main(args) == whole
    both = [load_toolchain_log(folder)[:] for folder in (args.output, args.output.with_name("whole"))]
    assert all(np.array_equal(one, other) for one, other in zip(*both, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"patch_size": 10}, "patch_size=10 is not a whole number of at least 11"),
        ({"patch_size": 2000}, "patch_size=2000 is more than 1024"),
        ({"policy": "nobody"}, "policy='nobody' is neither"),
        ({"toolbox": "nothing"}, "toolbox='nothing' is neither"),
        ({"severity": "hard"}, "hard"),
    ],
)
def test_wrong_options_are_one_line(args, change, message):
    with pytest.raises(ValueError, match=message):
        main(replace(args, **change))
