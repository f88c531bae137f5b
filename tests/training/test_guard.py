"""The guard against a training that diverges."""

import pytest
import torch

from restore_env.training.guard import SNAPSHOT_UPDATES, DivergenceGuard


def test_a_noisy_loss_that_falls_is_left_alone():
    guard, noise = DivergenceGuard(), torch.Generator().manual_seed(0)
    for update in range(1, 5001):
        loss = -20 - update / 1000 + 2 * float(torch.randn((), generator=noise))
        assert guard.check(update, loss, lambda: {"weights": 0}) is None
    assert guard.scale == 1


def test_a_jump_brings_the_last_good_state_back_and_halves_the_rate():
    guard, weights = DivergenceGuard(), torch.zeros(1)
    restored = []

    def state() -> dict[str, torch.Tensor]:
        return {"weights": weights}

    for update in range(1, 3000):
        weights.add_(1)
        found = guard.check(update, -25.0 if update < 2200 else -21.0, state)
        if found is not None:
            restored.append((update, float(found["weights"])))
            weights.copy_(found["weights"])
            break
    ((update, value),) = restored
    assert value == 2000  # the last snapshot before the jump
    assert 2200 < update < 2300
    assert guard.scale == 0.5


def test_it_goes_on_from_a_checkpoint_as_if_it_had_never_stopped():
    def losses(update: int) -> float:
        return -25.0 if update < SNAPSHOT_UPDATES + 300 else -20.0

    def run(guard: DivergenceGuard, first: int, last: int) -> list[int]:
        return [update for update in range(first, last) if guard.check(update, losses(update), lambda: {"at": 1})]

    whole = DivergenceGuard()
    jumps = run(whole, 1, 1200)
    part = DivergenceGuard()
    before = run(part, 1, 810)
    again = DivergenceGuard()
    again.load_state_dict(part.state_dict())
    assert before + run(again, 810, 1200) == jumps
    assert jumps and again.scale == whole.scale


def test_nothing_is_restored_before_a_state_was_good():
    guard = DivergenceGuard()
    assert guard.check(10, -25.0, lambda: {}) is None
    assert guard.check(20, 500.0, lambda: {}) is None


def test_it_looks_at_every_tenth_update_and_misses_no_loss():
    guard = DivergenceGuard()
    for update in range(1, SNAPSHOT_UPDATES + 1):
        guard.check(update, torch.tensor(-25.0), lambda: {"weights": 0})
    found = [guard.check(update, torch.tensor(75.0), lambda: {"weights": 1}) for update in range(501, 511)]
    assert found == 9 * [None] + [{"weights": 0}]


@pytest.mark.parametrize("tolerance", [0.5, 2.0])
def test_the_tolerance_is_in_decibels(tolerance):
    guard = DivergenceGuard(tolerance)
    for update in range(1, 1001):
        guard.check(update, -25.0, lambda: {"weights": 0})
    rises = [guard.check(update, -25.0 + 0.9 * tolerance, lambda: {"weights": 0}) for update in range(1001, 3000)]
    assert not any(rises)
