"""Targets and losses, against numbers worked out by hand."""

from dataclasses import replace

import pytest
import torch
from agent_problems import small_network
from torch import tensor

from agents.drqn.losses import q_targets, random_shift, regret, td_loss, unroll
from agents.drqn.replay_buffer import Episodes
from restore_env.utils.tensors import bytes_to_floats


def episode(actions=(0, 1, 0)) -> Episodes:
    """One episode of three steps with three actions; rewards 1, 2, 3 for what was taken."""
    reward, known = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool)
    for step, action in enumerate(actions):
        if action >= 0:
            reward[0, step, action], known[0, step, action] = step + 1.0, True
    image = torch.arange(3 * 16 * 16 * 3).remainder(251).to(torch.uint8).view(1, 3, 16, 16, 3)
    return Episodes(image, tensor([actions]), reward, torch.zeros(1, 3, 3), known)


VALUES = tensor([[[0.0, 0.0, 0.0], [9.0, 1.0, 0.0], [0.0, 5.0, 1.0]]])
LATER = tensor([[[0.0, 0.0, 0.0], [10.0, 40.0, 0.0], [20.0, 30.0, 50.0]]])


@pytest.mark.parametrize(
    ("double_q", "gamma", "expected"),
    [(False, 1.0, [1 + 40, 2 + 50, 3]), (True, 1.0, [1 + 10, 2 + 30, 3]), (False, 0.5, [1 + 20, 2 + 25, 3])],
)
def test_targets_of_the_actions_taken(double_q, gamma, expected):
    wanted = q_targets(episode(), VALUES, LATER, gamma, double_q)
    taken = [float(wanted[0, step, action]) for step, action in enumerate((0, 1, 0))]
    assert taken == pytest.approx(expected)


def test_nothing_follows_the_end_of_an_episode():
    wanted = q_targets(episode((0, 2, -1)), VALUES, LATER, gamma=1.0, double_q=False)
    assert float(wanted[0, 0, 0]) == 1 + 40
    assert float(wanted[0, 1, 2]) == 2


def test_of_actions_not_taken_the_noted_value_counts():
    known = episode()
    known = Episodes(known.image, known.action, known.reward + 0.5, known.value + 7, torch.ones(1, 3, 3).bool())
    wanted = q_targets(known, VALUES, LATER, gamma=0.5, double_q=False)
    assert float(wanted[0, 0, 1]) == 0.5 + 3.5
    assert float(wanted[0, 0, 0]) == 1.5 + 20


def test_only_known_actions_count_in_the_loss():
    values, known = torch.full((1, 3, 3), 100.0), episode().known
    values[known] = tensor([0.5, -2.0, 0.0])
    assert float(td_loss(values, torch.zeros(1, 3, 3), known, "huber")) == pytest.approx((0.125 + 1.5 + 0) / 3)
    assert float(td_loss(values, torch.zeros(1, 3, 3), known, "squared")) == pytest.approx((0.25 + 4 + 0) / 3)


def test_the_regret_falls_when_the_better_action_is_preferred():
    known = replace(episode(), known=torch.ones(1, 3, 3).bool())
    wanted = tensor([[[1.0, 0.0, 0.0]] * 3])
    good, bad = tensor([[[1.0, 0.0, 0.0]] * 3]), tensor([[[0.0, 1.0, 0.0]] * 3])
    shares = tensor([2.0, 0.0, 0.0]).softmax(0)
    found = [float(regret(values, wanted, known, temperature=0.5)) for values in (good, bad)]
    assert found == pytest.approx([float(1 - shares[0]), float(1 - shares[1])], abs=1e-5)


def test_the_regret_is_over_known_actions():
    known = torch.tensor([[[True, True, False]] * 2 + [[False] * 3]])
    played = replace(episode((0, 1, -1)), known=known)
    values = tensor([[[0.2, 0.1, 9.0]] * 3])
    shares = tensor([0.4, 0.2]).softmax(0)
    for wanted in (tensor([[[1.0, 0.0, 0.0]] * 3]), tensor([[[1.0, 0.0, 50.0]] * 3])):
        assert float(regret(values, wanted, played, 0.5)) == pytest.approx(float(1 - shares[0]), abs=1e-5)


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
