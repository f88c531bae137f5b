"""The auxiliary loss: the strengths of distortions."""

import numpy as np
import pytest
import torch
from agent_problems import SIDE, Shifts, small_network

from agents.drqn.auxiliary import AuxiliaryTask, strengths
from restore_env.data.distortions import GaussianNoise
from restore_env.data.sampling import PatchSampler


def noisy() -> PatchSampler:
    return PatchSampler([np.full((SIDE, SIDE, 3), 128, np.uint8)], GaussianNoise(5, 50), SIDE)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"blur_sigma": 2.5, "noise_sigma": 50.0, "jpeg_quality": 100}, [0.5, 1.0, 0.0]),
        ({"jpeg_quality": 10}, [0.0, 0.0, 1.0]),
        ({"noise_sigma": 25.0, "noise_sigma_2": 1.0, "other": 3.0}, [0.0, 0.5, 0.0]),
    ],
)
def test_strengths_go_from_none_to_the_papers_strongest(parameters, expected):
    assert strengths(parameters) == pytest.approx(expected)


def test_fresh_patches_are_drawn_by_number():
    task = AuxiliaryTask(small_network(), noisy(), seed=1)
    every = task.draw(6, 0)
    some = task.draw(2, 1)
    assert torch.equal(every.image[2:4], some.image) and torch.equal(every.strength[2:4], some.strength)
    assert len(every.image.unique(dim=0)) == 6
    measured = (every.image.float() - 128).std((1, 2, 3)) / 50
    torch.testing.assert_close(every.strength[:, 1], measured, atol=0.05, rtol=0.1)
    assert not every.strength[:, [0, 2]].any()


def test_a_source_that_does_not_know_its_distortions_gives_none():
    assert AuxiliaryTask(small_network(), Shifts((20,)), seed=0).draw(3, 0) is None


def test_convolutions_learn_to_see_noise():
    torch.manual_seed(0)
    network = small_network(width=8, scaled=True)
    task = AuxiliaryTask(network, noisy(), seed=0)
    optimizer = torch.optim.Adam([*network.parameters(), *task.parameters()], 1e-2)
    known, rng = task.draw(64, 1000), np.random.default_rng(0)
    before = float(task.loss(network, known, rng).detach())
    for number in range(60):
        optimizer.zero_grad()
        task.loss(network, task.draw(16, number), rng).backward()
        optimizer.step()
    assert float(task.loss(network, known, rng).detach()) < before / 5
