import pytest

from agents.drqn.config import PRESETS, Options


def test_schedules_go_from_their_start_to_their_end():
    for rates in ("exponential", "cosine"):
        options = Options(rates=rates, learning_rate=1e-2, final_rate=1e-4)
        values = [options.rate(progress, 100) for progress in (0, 0.25, 0.5, 0.75, 1.0, 1.2)]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(1e-2)
        assert values[-2] == values[-1] == pytest.approx(1e-4)
    assert Options(rates="exponential", learning_rate=1e-2, final_rate=1e-4).rate(0.5, 100) == pytest.approx(1e-3)
    assert Options(rates="cosine", learning_rate=1e-2, final_rate=1e-4).rate(0.5, 100) == pytest.approx(5.05e-3)


def test_exploration_falls_over_its_share_of_the_budget():
    options = Options(epsilon=1.0, final_epsilon=0.2, epsilon_share=0.5)
    assert [options.exploration(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx([1, 0.6, 0.2, 0.2])
    assert Options(final_epsilon=0.3, epsilon_share=0).exploration(0) == pytest.approx(0.3)


def test_the_papers_numbers():
    paper = PRESETS["paper"]
    assert (paper.gamma, paper.batch_size, paper.target_every, paper.replay_steps) == (0.99, 32, 2_500, 500_000)
    assert (paper.learning_rate, paper.final_rate, paper.rates) == (2.5e-4, 2.5e-5, "exponential")
    assert (paper.targets, paper.double, paper.dueling, paper.priority, paper.dropout) == ("taken", False, False, 0, 0)
    code = PRESETS["released-code"]
    assert (code.target_every, code.learning_starts, code.loss, code.stop_if_worse) == (2_500, 5_000, "huber", True)
    assert code.singles == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": "some"}, "targets='some'"),
        ({"loss": "l1"}, "loss='l1'"),
        ({"rates": "linear"}, "rates='linear'"),
        ({"gamma": 1.5}, "gamma=1.5 is not between 0 and 1"),
        ({"singles": -0.1}, "singles=-0.1 is not between 0 and 1"),
        ({"dropout": 1.0}, r"dropout=1.0 is not in \[0, 1\)"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate=0 is not more than 0"),
        ({"priority": -1.0}, "priority=-1.0 is less than 0"),
        ({"targets": "taken", "tries": 0, "decision": 1.0}, "decision=1.0 needs targets='all'"),
        ({"targets": "taken", "tries": 3}, "tries=3 needs targets='all'; with targets='taken' give tries=0"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Options(**changes)


def test_the_learning_rate_rises_first():
    options = Options(warm_up=10, learning_rate=1e-2)
    assert [options.rate(0.0, updates) for updates in (0, 4, 9, 50)] == pytest.approx([1e-3, 5e-3, 1e-2, 1e-2])
    assert PRESETS["paper"].rate(0.0, 0) == PRESETS["paper"].learning_rate
