"""What all trainings share: the budget, the clock, reports and checkpoints."""

from pathlib import Path

import pytest
import torch

from restore_env import FormatError
from restore_env.training.trainer import Budget, Status, Training


class Counting(Training):
    """Counts; an iteration takes ten seconds of a made-up clock."""

    saved = ("total",)
    name = "counting"

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.budget, self.checkpoint, self.total, self.now = budget, folder / "counting.pt", 0, 0.0
        self.clock = lambda: self.now
        self.restore()

    rate = 0.5

    def advance(self) -> None:
        self.total += self.iteration
        self.iteration += 1
        self.now += 10

    def status(self) -> Status:
        return self.new_status(f"total {self.total}", "measured", {})

    def settings(self) -> dict[str, str]:
        return {"kind": "counting"}


def test_minutes_are_counted_on_by_a_training_that_resumes(tmp_path):
    first = Counting(tmp_path, Budget(minutes=1))
    stops = iter([False, False, True])
    assert not first.run(lambda status: None, lambda: next(stops))
    again = Counting(tmp_path, Budget(minutes=1))
    assert (again.iteration, again.total, again.seconds, again.progress) == (2, 1, 20.0, pytest.approx(1 / 3))
    lines = []
    assert again.run(lambda status: lines.append(status.line))
    assert (again.iteration, again.total, again.seconds) == (6, 15, 60.0)
    assert lines == ["total 15, measured, 1.0 min, 0.0 min left"]


def test_a_status_says_how_long_it_took_and_how_long_it_takes(tmp_path):
    seen, stops = [], iter([False, False, False, True])
    assert not Counting(tmp_path, Budget(minutes=1.5)).run(seen.append, lambda: next(stops))
    assert seen[-1].line == "total 3, measured, 0.5 min, 1.0 min left"
    assert seen[-1].scalars == {"training/learning_rate": 0.5, "training/minutes": 0.5}


def test_time_between_two_runs_does_not_count(tmp_path):
    first = Counting(tmp_path, Budget(iterations=2))
    assert first.run(lambda status: None)
    again = Counting(tmp_path, Budget(iterations=3))
    again.now = 1000.0
    assert again.run(lambda status: None) and again.seconds == 30.0


class Several(Counting):
    """Saves two parts under one name."""

    saved = ("parts",)

    def __init__(self, folder: Path, n: int) -> None:
        self.parts = [torch.nn.Linear(2, 2) for _ in range(n)]
        super().__init__(folder, Budget(iterations=1))


@pytest.mark.parametrize("n", [1, 3])
def test_a_checkpoint_of_fewer_or_more_parts_is_refused(tmp_path, n):
    assert Several(tmp_path, 2).run(lambda status: None)
    assert Several(tmp_path, 2).iteration == 1
    with pytest.raises(FormatError, match="not a checkpoint of this training"):
        Several(tmp_path, n)
