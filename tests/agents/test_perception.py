"""What agents learn of distortions beside the play."""

import numpy as np
import pytest
import torch
from agent_problems import SIDE, Shifts, small_network

from agents.drqn.perception import Perception, draw_glances, strengths
from restore_env.data.distortions import GaussianNoise
from restore_env.data.sampling import PatchSampler

CPU = torch.device("cpu")


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


def test_glances_are_drawn_by_number():
    some, more = draw_glances(noisy(), range(4), 1, CPU), draw_glances(noisy(), range(2, 6), 1, CPU)
    assert torch.equal(some.image[2:], more.image[:2]) and torch.equal(some.strength[2:], more.strength[:2])
    assert len(some.image.unique(dim=0)) == 4
    measured = (some.image.float() - 128).std((1, 2, 3)) / 50
    torch.testing.assert_close(some.strength[:, 1], measured, atol=0.05, rtol=0.1)
    assert not some.strength[:, [0, 2]].any()


def test_a_source_that_does_not_know_its_distortions_gives_none():
    assert draw_glances(Shifts((20,)), range(3), 0, CPU) is None


def test_convolutions_learn_to_see_noise():
    torch.manual_seed(0)
    network = small_network(width=8, scaled=True)
    perception = Perception(network, seed=0)
    optimizer = torch.optim.Adam([*network.parameters(), *perception.parameters()], 1e-2)
    known = draw_glances(noisy(), range(1000, 1064), 0, CPU)
    before = float(perception.loss(network, known).detach())
    for number in range(60):
        optimizer.zero_grad()
        perception.loss(network, draw_glances(noisy(), range(16 * number, 16 * number + 16), 0, CPU)).backward()
        optimizer.step()
    assert float(perception.loss(network, known).detach()) < before / 5
