"""The throughput benchmark: what it counts, and a small run of all of it."""

import json

import pytest
import torch

from benchmarks import throughput
from benchmarks.common.profiling import matrix_rate, operations, profile, steps_per_second
from benchmarks.throughput import Args, main, ratio
from benchmarks.throughput_cases import batched, on_device, one_by_one, synchronous
from restore_env import Tool, Toolbox, load_toolbox
from restore_env.data.pairs import Pairs, save_pairs
from restore_env.data.sources import as_source, draw_pairs
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN


@pytest.fixture
def pairs(tmp_path) -> tuple[Pairs, str]:
    made = draw_pairs(as_source("embedded", "moderate", 63), 4, 0)
    save_pairs(tmp_path / "pairs.npz", made)
    return made, str(tmp_path / "pairs.npz")


def test_operations_are_those_of_the_two_networks():
    three, eight = Tool.from_module("three", ThreeLayerCNN()), Tool.from_module("eight", EightLayerCNN())
    # reference figures: 0.173 and 0.401 GFLOP a patch; stop costs nothing
    assert operations(Toolbox([three])) == pytest.approx(0.173e9 / 2, rel=2e-3)
    assert operations(Toolbox([three, eight])) == pytest.approx((0.173e9 + 0.401e9) / 3, rel=2e-3)


def test_each_case_counts_its_steps(pairs, one_thread):
    made, file = pairs
    toolbox = load_toolbox("rl-restore-12")
    assert one_by_one(toolbox, made, plain=True, seed=0)() == 8
    assert one_by_one(toolbox, made, plain=False, seed=0)() == 8
    assert batched(3, 0, images=file)() == 3
    assert synchronous(2, 0, images=file)() == 2
    assert on_device(made, "cpu", 5, "float32", "rl-restore-12", 0)() == 5


def test_speed_is_steps_over_time_and_ratios_are_formed_inside_a_round():
    assert 0 < steps_per_second(lambda: 1, 0.001) < 1e9
    rates = {"one": [2.0, 40.0, 9.0], "other": [1.0, 10.0, 3.0]}
    assert ratio(rates, "one", "other") == 3.0


@pytest.mark.parametrize("threads", [1, 2])
def test_the_profile_adds_up(threads, pairs, one_thread):
    torch.set_num_threads(threads)
    shares = profile(8, 3, 0, images=pairs[1])
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0
    if threads == 1:  # two wait for each other where other programs take the cores
        assert shares["networks, with picking and placing their images"] > 0.5


def test_the_rate_of_matrix_products_is_plausible(one_thread):
    assert 1e8 < matrix_rate(0.05) < 1e13


@pytest.mark.slow
def test_a_small_run_writes_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "CHUNKS", (1, 2))
    output = tmp_path / "throughput.json"
    main(Args(output=output, seconds=0.01, rounds=1, sizes=(1, 2), pairs=4))
    results = json.loads(output.read_text())
    assert {"bound", throughput.NAIVE, "batched environment, 2"} <= results["steps"].keys()
    assert all(value > 0 for rates in results["steps"].values() for value in rates)
    assert results["precision"]["worst"] < 0.5
    text = output.with_suffix(".md").read_text()
    for heading in ("SB3", "Memory", "bfloat16", "Start", "gets at once"):
        assert heading in text
    assert output.with_suffix(".png").exists()
