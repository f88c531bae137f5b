"""The training of the recurrent agent: it learns, stops and goes on, and needs its memory."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from agent_problems import Memoryless, Shifts, White, hidden_toolbox, shift_toolbox, small_network

from agents.data import AgentData
from agents.drqn.config import DRQNConfig
from agents.drqn.new_actions import network_for
from agents.drqn.trainer import DRQNTraining
from restore_env import FormatError, Tool, Toolbox
from restore_env.data.sources import draw_pairs
from restore_env.evaluation import evaluate
from restore_env.policies.recurrent_q import RecurrentQNetwork
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.rewards import Transition
from restore_env.training.trainer import Budget

QUICK = DRQNConfig(
    n_envs=8, gradient_steps=4, batch_size=8, learning_starts=16, target_update_interval=10, buffer_size=90
)

TAKEN = {"n_counterfactual": 0, "regret_coef": 0.0}
"""Options with which an agent learns from the actions taken only."""

STEADY = replace(QUICK, exploration_initial_eps=0.5, exploration_final_eps=0.5, final_learning_rate=QUICK.learning_rate)
"""Without schedules, which run over the whole budget: these trainings have different ones."""

LEARNING = {
    "n_envs": 16,
    "gradient_steps": 16,
    "batch_size": 16,
    "learning_starts": 0,
    "target_update_interval": 20,
    "optimizer": "adam",
    "learning_rate": 5e-3,
    "loss": "squared",
    "max_grad_norm": 100.0,
    "exploration_final_eps": 1.0,
}


def in_bels(step: Transition) -> torch.Tensor:
    """Rewards of about 1, which small networks learn fast."""
    return (step.psnr_after - step.psnr_before) / 10


def new_training(folder: Path, iterations: int, config: DRQNConfig = QUICK, seed: int = 0, **changes) -> DRQNTraining:
    source, toolbox = changes.get("source", Shifts((-40, -20, 0, 20, 40))), changes.get("toolbox", shift_toolbox())
    validation = draw_pairs(source, 8, changes.get("validation", 99))
    return DRQNTraining(
        changes.get("networks", [small_network(seed)]),
        RestorationBatch(toolbox, reward=in_bels, max_steps=changes.get("max_steps", 3)),
        AgentData(source, validation, changes.get("data", "shifts")),
        config,
        Budget(iterations=iterations),
        folder,
        name="agent",
        seed=seed,
        oracle=changes.get("oracle"),
        keep_last=changes.get("keep_last", False),
    )


def silent(status: object) -> None:
    pass


def finished(run: DRQNTraining, **options) -> DRQNTraining:
    assert run.run(silent, **options)
    return run


def same_weights(one: RecurrentQNetwork, other: RecurrentQNetwork) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("config", [QUICK, replace(QUICK, **TAKEN)], ids=["tried", "taken"])
def test_a_training_that_was_killed_ends_as_if_it_never_had_been(config, tmp_path, one_thread):
    expected = finished(new_training(tmp_path / "whole", 20, config), every=0.0)

    class KilledError(Exception):
        pass

    def kill(status):
        if status.iteration == 11:
            raise KilledError

    interrupted = new_training(tmp_path / "killed", 20, config)
    with pytest.raises(KilledError):
        interrupted.run(kill, every=0.0)
    for _ in range(3):  # lost with the kill, after files of the replay buffer had changed
        interrupted.advance()
    again = new_training(tmp_path / "killed", 20, config, networks=[small_network(5)])
    assert again.iteration == 10
    assert same_weights(finished(again, every=0.0).network, expected.network)
    assert same_weights(again.policy.network, expected.policy.network)
    assert (again.updates, again.steps) == (expected.updates, expected.steps)


PROGRAM = """
import sys; sys.path[:0] = {paths!r}
import torch; torch.set_num_threads(1)
from pathlib import Path
from test_drqn_trainer import STEADY, new_training
new_training(Path({folder!r}), 10_000, STEADY).run(lambda status: print(status.iteration, flush=True), every=0.0)
"""


@pytest.mark.slow
def test_a_training_that_was_ended_by_sigkill_ends_as_if_it_never_had_been(tmp_path, one_thread):
    root = Path(__file__).parent.parent.parent
    paths = [str(folder) for folder in (root, root / "tests", root / "tests" / "agents")]
    program = PROGRAM.format(paths=paths, folder=str(tmp_path / "killed"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= 9:
                os.kill(process.pid, signal.SIGKILL)
                break
    again = new_training(tmp_path / "killed", 1, STEADY)
    assert again.iteration >= 8
    again.budget = Budget(iterations=again.iteration + 4)
    expected = finished(new_training(tmp_path / "whole", again.iteration + 4, STEADY), every=1e9)
    assert same_weights(finished(again).network, expected.network)


def test_a_training_that_was_stopped_goes_on_where_it_was(tmp_path, one_thread):
    expected = finished(new_training(tmp_path / "whole", 12))
    asked = count()
    stopped = new_training(tmp_path / "stopped", 12)
    assert not stopped.run(silent, stopping=lambda: next(asked) == 5)
    again = new_training(tmp_path / "stopped", 12)
    assert again.iteration == 5
    assert same_weights(finished(again).network, expected.network)


def test_several_networks_go_on_where_they_were(tmp_path, one_thread):
    def training(name):
        return new_training(tmp_path / name, 9, networks=[small_network(0), small_network(1)])

    expected = finished(training("whole"))
    asked, stopped = count(), training("stopped")
    assert not stopped.run(silent, stopping=lambda: next(asked) == 4)
    again = finished(training("stopped"))
    for one, other in zip(again.networks, expected.networks, strict=True):
        assert same_weights(one, other)
    assert not same_weights(*again.networks) and len(again.policy.members) == 2
    assert same_weights(again.policy.network, expected.policy.network)


def test_the_next_of_several_networks_values_what_one_chooses(tmp_path):
    several = new_training(tmp_path / "several", 1, networks=[small_network(number) for number in range(3)])
    averaged = several.averaged_networks
    assert [several.valuer(number) for number in range(3)] == [averaged[1], averaged[2], averaged[0]]
    single = new_training(tmp_path / "single", 1)
    assert single.valuer(0) is single.target


def test_which_policy_is_the_best_does_not_depend_on_stops_and_reports(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr("agents.drqn.trainer.EVALUATIONS", 3)
    expected = finished(new_training(tmp_path / "whole", 12), every=1e9)
    seen, asked = [], count()
    stopped = new_training(tmp_path / "stopped", 12)
    assert not stopped.run(seen.append, stopping=lambda: next(asked) == 6, every=0.0)
    again = new_training(tmp_path / "stopped", 12)
    assert again.run(seen.append, every=0.0)
    assert again.kept_gain == expected.kept_gain
    assert same_weights(again.policy.network, expected.policy.network)
    assert not any("best" in status.line for status in seen if status.iteration < 4)


def test_the_same_seed_gives_the_same_agent_and_another_does_not(tmp_path, one_thread):
    one, same, other = (finished(new_training(tmp_path / str(i), 6, seed=seed)) for i, seed in enumerate((0, 0, 1)))
    assert same_weights(one.network, same.network)
    assert not same_weights(one.network, other.network)


ITERATIONS = 60
BOTH = pytest.mark.parametrize("learnt_from", [{}, pytest.param(TAKEN, marks=pytest.mark.slow)], ids=["tried", "taken"])


@BOTH
def test_the_agent_learns_what_helps(learnt_from, tmp_path, one_thread):
    config = DRQNConfig(**LEARNING, **learnt_from)
    source = Shifts((-25, 25))
    problem = {"source": source, "networks": [small_network(width=8)]}
    run = finished(new_training(tmp_path, ITERATIONS, config, **problem))
    pairs = draw_pairs(source, 24, seed=5)
    learnt, possible = (evaluate(pairs, policy, run.toolbox) for policy in (run.policy, "greedy"))
    assert learnt.gain == pytest.approx(possible.gain, abs=0.01)


@pytest.mark.slow
def test_a_new_tool_is_learnt_and_the_old_ones_are_kept(tmp_path, one_thread):
    config, old, new = DRQNConfig(**LEARNING), Shifts((-25, 25)), Shifts((-90,))
    first = finished(new_training(tmp_path / "old", ITERATIONS, config, source=old, networks=[small_network(width=8)]))
    toolbox = Toolbox([Tool("much-lighter", lambda images: images + 80 / 255), *first.toolbox])
    start = network_for(first.policy, toolbox)
    problem = {"source": Shifts((-25, 25, -90)), "toolbox": toolbox, "networks": [start]}
    run = finished(new_training(tmp_path / "new", ITERATIONS, replace(config, learning_rate=1e-3), **problem))
    for source in (old, new):
        pairs = draw_pairs(source, 24, seed=5)
        learnt, possible = (evaluate(pairs, policy, toolbox) for policy in (run.policy, "greedy"))
        assert learnt.gain == pytest.approx(possible.gain, abs=0.01)
    assert evaluate(draw_pairs(new, 24, seed=5), first.policy, first.toolbox).gain < possible.gain - 5


@BOTH
def test_a_problem_that_needs_the_previous_action_is_solved_with_memory_only(learnt_from, tmp_path, one_thread):
    config = DRQNConfig(**LEARNING, **learnt_from)
    gains = {}
    for kind in (RecurrentQNetwork, Memoryless):
        network = small_network(kind=kind, width=8)
        problem = {"toolbox": hidden_toolbox(), "source": White(), "networks": [network]}
        run = finished(new_training(tmp_path / kind.__name__, ITERATIONS, config, **problem))
        result = evaluate(draw_pairs(White(), 4, 0), run.policy, run.toolbox)
        gains[kind] = result.gain
        if kind is RecurrentQNetwork:
            assert {image.toolchain for image in result.images} == {("hide", "solve")}
    assert gains[RecurrentQNetwork] == pytest.approx(6.0, abs=0.1)
    assert gains[Memoryless] <= 0


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    finished(new_training(tmp_path, 1))
    changes = {
        "config": {"config": replace(QUICK, gamma=0.5)},
        "seed": {"seed": 1},
        "data": {"data": "other"},
        "validation": {"validation": 98},
        "network": {"networks": [small_network(scaled=True)]},
        "actions": {"toolbox": hidden_toolbox()},
    }
    for what, change in changes.items():
        with pytest.raises(ValueError, match=rf"training\.pt: belongs to a training with another {what}; delete"):
            new_training(tmp_path, 1, **change)


def test_a_refused_training_spoils_nothing(tmp_path, one_thread):
    expected = finished(new_training(tmp_path / "whole", 8))
    finished(new_training(tmp_path / "run", 4))
    with pytest.raises(ValueError, match="another config"):
        new_training(tmp_path / "run", 8, replace(QUICK, buffer_size=30))
    # schedules run over the whole budget, so only the replay buffers are compared
    again = new_training(tmp_path / "run", 8)
    assert len(again.replay_buffer) == 30
    drawn = again.replay_buffer.sample(64, np.random.default_rng(0))
    assert drawn.reward.any() and drawn.image.max() > 0
    assert len(expected.replay_buffer) == 30


def test_a_checkpoint_without_its_memory_is_refused(tmp_path):
    finished(new_training(tmp_path, 3))
    shutil.rmtree(tmp_path / "replay")
    with pytest.raises(FormatError, match=r"replay/replay\.json: missing.*; delete .*training\.pt to start afresh"):
        new_training(tmp_path, 4)


@pytest.mark.parametrize("max_steps", [1, 2])
def test_it_is_measured_with_its_own_number_of_steps(max_steps, tmp_path):
    run = new_training(tmp_path, 2, max_steps=max_steps)
    steps = {name.partition("/")[0] for name in run.status().scalars if name.startswith("step_")}
    assert len(steps) == max_steps


def test_the_status_says_how_the_training_stands(tmp_path):
    seen = []
    best = evaluate(draw_pairs(Shifts((-40, -20, 0, 20, 40)), 4, 99), "greedy", shift_toolbox())
    run = new_training(tmp_path, 3, oracle=replace(best, gain=10.0))
    assert run.run(seen.append, every=0.0)
    last = seen[-1]
    scalars = last.scalars
    assert (last.iteration, scalars["training/updates"]) == (3, run.updates)
    assert run.updates == 4 * sum(1 for status in seen[:-1] if "training/loss" in status.scalars)
    reached = [image.psnr_out - image.psnr_in for image in run.measure().images[:4]]
    assert scalars["validation/share_of_oracle"] == pytest.approx(sum(reached) / 4 / 10)
    assert sum(value for name, value in scalars.items() if name.startswith("step_2/")) == pytest.approx(1)
    assert scalars["validation/stop_ratio"] == scalars["step_3/stop"]
    assert run.kept_gain == max(status.scalars["validation/gain"] for status in seen)
    assert last.line.startswith(f"{run.updates} updates, {run.steps} steps, loss ")
    assert f"of the oracle's gain), best {run.kept_gain:.3f}, " in last.line
    assert last.line.endswith(", 0.0 min left")


def test_episodes_that_the_last_checkpoint_samples_are_not_replaced(tmp_path, one_thread):
    """Without reports nothing else saves: the training does so before its replay buffer wraps."""
    killed = new_training(tmp_path / "killed", 60)
    for _ in range(40):
        killed.advance()
    again = new_training(tmp_path / "killed", 60)
    assert 0 < again.iteration < 40 and again.updates < killed.updates
    straight = new_training(tmp_path / "straight", 60)
    for _ in range(again.iteration):
        straight.advance()
    for run in (again, straight):
        while run.iteration < 40:
            run.advance()
    assert same_weights(again.network, straight.network) and same_weights(again.network, killed.network)


def test_a_training_that_resumes_saves_no_earlier_than_it_must(tmp_path, monkeypatch):
    first = new_training(tmp_path, 60)
    for _ in range(30):
        first.advance()
    first.save()
    again, saved = new_training(tmp_path, 60), []
    monkeypatch.setattr(again, "save", lambda: saved.append(again.iteration))
    for _ in range(10):
        again.advance()
    assert again.iteration == 40 and not saved


def test_networks_are_compared_by_the_reward_of_which_costs_are_a_part(tmp_path, monkeypatch):
    script = iter([(1.0, 0.5), (1.6, 0.1), (1.2, 0.7)])  # gain and reward

    def scripted_evaluate(*args, **more):
        gain, reward = next(script)
        return replace(evaluate(*args, **more), gain=gain, reward=reward)

    monkeypatch.setattr("agents.drqn.trainer.evaluate", scripted_evaluate)
    run = finished(new_training(tmp_path, 3), every=0)
    assert (run.kept_gain, run.kept_score) == (1.2, 0.7)


@pytest.mark.parametrize(("keep_last", "kept"), [(False, 1), (True, 2)])
def test_the_policy_is_the_best_on_the_validation_pairs_or_the_last(keep_last, kept, tmp_path, monkeypatch):
    gains = [1.0, 3.0, 2.0]
    scripted = iter(gains)
    monkeypatch.setattr(
        "agents.drqn.trainer.evaluate", lambda *args, **more: replace(evaluate(*args, **more), reward=next(scripted))
    )
    run = new_training(tmp_path, len(gains), keep_last=keep_last)
    weights = []
    assert run.run(lambda status: weights.append(run.averaged_networks[0].values.weight.clone()), every=0)
    assert len(weights) == len(gains) + 1  # reported once more at the end, of what was measured already
    assert torch.equal(run.policy.network.values.weight, weights[kept])
    again = new_training(tmp_path, len(gains), keep_last=keep_last)
    assert again.kept_score == gains[kept]
    assert torch.equal(again.policy.network.values.weight, weights[kept])
