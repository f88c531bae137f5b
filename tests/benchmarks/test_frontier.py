from dataclasses import replace

import pytest

from agents.drqn.config import DRQNConfig
from benchmarks.frontier import Args, main, means, plan
from restore_env import save_toolbox

QUICK = DRQNConfig(n_envs=4, gradient_steps=2, batch_size=4, learning_starts=0, buffer_size=60)


@pytest.fixture
def args(photo_folder, network_toolbox, tmp_path):
    save_toolbox(network_toolbox, tmp_path / "tools")
    return Args(
        photos=photo_folder,
        train_photos=str(photo_folder),
        output=tmp_path / "frontier.json",
        toolbox=str(tmp_path / "tools"),
        costs=(0.0, 1000.0),
        networks=(f"one=fixed:{network_toolbox.names[0]}", "nothing=stop"),
        budget="none",
        minutes=0.005,
        config=QUICK,
        n=3,
        checkpoints=tmp_path / "runs",
    )


def test_agents_of_each_cost_and_networks_are_measured(args, network_toolbox):
    results = main(args)
    rows = results["rows"]
    assert [(row["system"], row["cost"]) for row in rows[::3]] == [
        *(("agent", 0.0), ("agent", 1000.0)),
        *(("one", None), ("nothing", None)),
    ]
    assert [row["severity"] for row in rows] == ["mild", "moderate", "severe"] * 4
    one, nothing = rows[6], rows[9]
    cost = network_toolbox[0].multiplications(63) / 1e9
    assert one["multiplications"] == pytest.approx(cost) and one["of_a_tool"] == pytest.approx(cost)
    assert one["tools"] == 1 and one["stops_early"] == 1 and nothing["multiplications"] == 0
    assert nothing["gain"] == 0 and nothing["of_a_tool"] == 0
    mean = means(rows)[2]
    assert mean["gain"] == pytest.approx(sum(row["gain"] for row in rows[6:9]) / 3)
    text = args.output.with_suffix(".md").read_text()
    assert text.count("\n| ") == 1 + 1 + 4 + 12 and "| mean | agent, cost 1000 |" in text and "Budgets" in text
    assert args.output.with_suffix(".png").exists()


def test_each_agent_pays_its_cost_and_has_a_folder_of_its_own(args):
    trainings = plan(args).trainings
    assert {cost: training.cost for cost, training in trainings.items()} == {0.0: 0.0, 1000.0: 1000.0}
    assert len({training.checkpoints for training in trainings.values()}) == 2
    assert {training.severity for training in trainings.values()} == {"mild+moderate+severe"}


@pytest.mark.parametrize("costs", [(), (1.0, 1.0)])
def test_costs_without_sense_are_refused(args, costs):
    with pytest.raises(ValueError, match="at least one is needed, and each once"):
        replace(args, costs=costs)
