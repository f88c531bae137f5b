import pytest

from agents.drqn.config import PRESETS, DRQNConfig


def test_schedules_go_from_their_start_to_their_end():
    for schedule in ("exponential", "cosine"):
        config = DRQNConfig(lr_schedule=schedule, learning_rate=1e-2, final_learning_rate=1e-4)
        values = [config.rate(progress, 100) for progress in (0, 0.25, 0.5, 0.75, 1.0, 1.2)]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(1e-2)
        assert values[-2] == values[-1] == pytest.approx(1e-4)
        assert config.rate(0.5, 100) == pytest.approx({"exponential": 1e-3, "cosine": 5.05e-3}[schedule])


def test_exploration_falls_over_its_share_of_the_budget():
    config = DRQNConfig(exploration_initial_eps=1.0, exploration_final_eps=0.2, exploration_fraction=0.5)
    assert [config.exploration_rate(progress) for progress in (0, 0.25, 0.5, 1)] == pytest.approx([1, 0.6, 0.2, 0.2])
    at_once = DRQNConfig(exploration_final_eps=0.3, exploration_fraction=0)
    assert at_once.exploration_rate(0) == pytest.approx(0.3)


def test_the_papers_numbers():
    paper = PRESETS["paper"]
    assert (paper.gamma, paper.batch_size, paper.buffer_size) == (0.99, 32, 500_000)
    assert (paper.learning_rate, paper.final_learning_rate, paper.lr_schedule) == (2.5e-4, 2.5e-5, "exponential")
    assert (paper.double_q, paper.scaled, paper.degradation_features) == (False, False, False)
    assert (paper.n_counterfactual, paper.regret_coef) == (0, 0)
    code = PRESETS["released-code"]
    assert (code.target_update_interval, code.learning_starts, code.loss, code.stop_if_worse) == (
        2_500,
        5_000,
        "huber",
        True,
    )
    assert code.single_distortion_fraction == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "l1"}, "loss='l1'"),
        ({"lr_schedule": "linear"}, "lr_schedule='linear'"),
        ({"gamma": 1.5}, "gamma=1.5 is not between 0 and 1"),
        ({"exploration_fraction": -0.1}, "exploration_fraction=-0.1 is not between 0 and 1"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0 is not in \[0, 1\)"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate=0 is not more than 0"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DRQNConfig(**changes)


def test_the_learning_rate_rises_first():
    config = DRQNConfig(warmup_updates=10, learning_rate=1e-2)
    assert [config.rate(0.0, updates) for updates in (0, 4, 9, 50)] == pytest.approx([1e-3, 5e-3, 1e-2, 1e-2])
    assert PRESETS["paper"].rate(0.0, 0) == PRESETS["paper"].learning_rate
