"""The guard warns where a reward is hacked, and only there."""

import pytest
import torch

from restore_env import Pairs
from restore_env.restoration.rewards import Weighted, as_reward
from restore_env.training.logging import RunLogger
from restore_env.training.reward_guard import RewardGuard, reward_of_references, warning_of
from restore_env.training.trainer import Status


@pytest.fixture
def pairs(photos):
    reference = [photo[:96, :96] for photo in photos]
    return Pairs([image // 2 for image in reference], reference, labels=[0, 1, 2])


def brightness(step):
    """A reward that anything white pleases."""
    return step.after.mean((1, 2, 3)) - step.before.mean((1, 2, 3))


def test_references_are_worth_what_a_step_to_them_is(pairs, function_toolbox):
    distorted, reference = pairs.to_tensors()
    wanted = (reference.mean((1, 2, 3)) - distorted.mean((1, 2, 3))).mean().item()
    assert reward_of_references(brightness, pairs, function_toolbox) == pytest.approx(wanted)
    with_cost = Weighted({"final_mse": 1.0, "cost": -0.5})
    error = (reference - distorted).square().mean().item()
    assert reward_of_references(with_cost, pairs, function_toolbox) == pytest.approx(error, rel=1e-4)


def test_labels_reach_the_reward(pairs, function_toolbox):
    assert reward_of_references(lambda step: torch.tensor(step.label), pairs, function_toolbox) == 1


def test_a_reward_above_that_of_clean_photos_is_reported(pairs, function_toolbox, tmp_path, capsys):
    with RunLogger(tmp_path, 0) as log:
        guard = RewardGuard(brightness, pairs, function_toolbox, "cpu", log)
        for number, reward in enumerate((guard.clean - 0.01, guard.clean + 0.01), start=1):
            guard.report(Status(number, "line", {"validation/gain": 1.0, "validation/reward": reward}))
    first, second, warning = capsys.readouterr().err.splitlines()
    assert first == second == "line"
    assert warning.startswith("warning: the reward of ") and "above that of the clean photos" in warning
    assert len(log.entries) == 2


@pytest.mark.parametrize(
    ("measured", "warns"),
    [
        ([(1.0, 1.0)], False),
        ([(1.0, 1.0), (2.0, 2.0)], False),  # both rise
        ([(2.0, 1.0), (1.95, 2.0)], False),  # so small a fall is chance
        ([(2.0, 1.0), (1.5, 2.0)], True),
        ([(2.0, 1.0), (1.5, 0.9)], False),  # both fall
        ([(2.0, 1.0), (1.0, 0.5), (1.5, 2.0)], True),  # from the highest gain, not from the last
        ([(2.0, 3.0), (1.0, 0.5), (0.5, 2.0)], False),  # the reward is not at its highest
    ],
)
def test_a_reward_that_rises_while_psnr_falls_is_reported(measured, warns):
    entries = [{"validation/gain": gain, "validation/reward": reward} for gain, reward in measured]
    assert bool(warning_of(entries, clean=10.0)) == warns


def test_measurements_of_earlier_versions_have_no_reward():
    now = {"validation/gain": 1.0, "validation/reward": 1.0}
    assert warning_of([{"validation/gain": 5.0}, now], clean=10.0) == ""
    assert warning_of([{"validation/gain": 5.0}], clean=10.0) == ""


def test_psnr_is_never_reported(pairs, function_toolbox):
    assert reward_of_references(as_reward("step_psnr"), pairs, function_toolbox) > 50
