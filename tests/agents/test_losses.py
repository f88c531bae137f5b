"""Targets and losses, against numbers worked out by hand."""

import pytest
import torch
from agent_problems import small_network
from torch import tensor

from agents.drqn.losses import q_targets, random_shift, td_loss, unroll
from agents.drqn.replay_buffer import Episodes
from restore_env.utils.tensors import bytes_to_floats


def episode(actions=(0, 1, 0)) -> Episodes:
    """One episode of three steps with three actions; rewards 1, 2, 3 for what was taken."""
    reward = tensor([[step + 1.0 if action >= 0 else 0.0 for step, action in enumerate(actions)]])
    image = torch.arange(3 * 16 * 16 * 3).remainder(251).to(torch.uint8).view(1, 3, 16, 16, 3)
    return Episodes(image, tensor([actions]), reward)


VALUES = tensor([[[0.0, 0.0, 0.0], [9.0, 1.0, 0.0], [0.0, 5.0, 1.0]]])
LATER = tensor([[[0.0, 0.0, 0.0], [10.0, 40.0, 0.0], [20.0, 30.0, 50.0]]])


@pytest.mark.parametrize(
    ("double_q", "gamma", "expected"),
    [(False, 1.0, [1 + 40, 2 + 50, 3]), (True, 1.0, [1 + 10, 2 + 30, 3]), (False, 0.5, [1 + 20, 2 + 25, 3])],
)
def test_targets_of_the_actions_taken(double_q, gamma, expected):
    assert q_targets(episode(), VALUES, LATER, gamma, double_q)[0].tolist() == pytest.approx(expected)


def test_nothing_follows_the_end_of_an_episode():
    wanted = q_targets(episode((0, 2, -1)), VALUES, LATER, gamma=1.0, double_q=False)
    assert wanted[0, :2].tolist() == [1 + 40, 2]


def test_only_actions_that_were_taken_count_in_the_loss():
    values = torch.full((2, 3, 3), 100.0)
    actions = tensor([[0, 1, 0], [2, -1, -1]])
    for step, value in enumerate((0.5, -2.0, 0.0)):
        values[0, step, actions[0, step]] = value
    values[1, 0, 2] = 3.0
    targets = torch.zeros(2, 3)
    found = {loss: td_loss(values, targets, actions, loss).tolist() for loss in ("huber", "squared")}
    assert found["huber"] == pytest.approx([(0.125 + 1.5 + 0) / 3, 2.5])
    assert found["squared"] == pytest.approx([(0.25 + 4 + 0) / 3, 9.0])


def test_the_unrolled_network_is_the_network_step_by_step():
    network, episodes = small_network(), episode()
    state, previous = network.initial_state(1), tensor([2])
    for step in range(3):
        expected, state = network(bytes_to_floats(episodes.image[:, step]), previous, state)
        torch.testing.assert_close(unroll(network, episodes)[:, step], expected)
        previous = episodes.action[:, step]


def test_shifted_images_repeat_their_border():
    image = episode().image
    moved = random_shift(torch.cat([image, image]), tensor([[2, 0], [0, -3]]))
    assert torch.equal(moved[0, :, 2:], image[0, :, :-2])
    assert torch.equal(moved[0, :, :2], image[0, :, :1].expand(-1, 2, -1, -1))
    assert torch.equal(moved[1, :, :, :-3], image[0, :, :, 3:])
    assert torch.equal(moved[1, :, :, -3:], image[0, :, :, -1:].expand(-1, -1, 3, -1))
