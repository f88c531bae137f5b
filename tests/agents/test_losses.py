"""Targets and losses, against numbers worked out by hand."""

from dataclasses import replace
from math import nan

import pytest
import torch
from agent_problems import small_network
from torch import tensor

from agents.drqn.losses import q_targets, random_shift, soft_regret, targets_of_actions, td_loss, unroll
from agents.drqn.replay_buffer import Episodes
from restore_env.utils.tensors import bytes_to_floats


def episode(actions=(0, 1, 0)) -> Episodes:
    """One episode of three steps with three actions; rewards 1, 2, 3 for what was taken."""
    reward = tensor([[step + 1.0 if action >= 0 else 0.0 for step, action in enumerate(actions)]])
    image = torch.arange(3 * 16 * 16 * 3).remainder(251).to(torch.uint8).view(1, 3, 16, 16, 3)
    return Episodes(image, tensor([actions]), reward, torch.full((1, 3, 3), nan))


VALUES = tensor([[[0.0, 0.0, 0.0], [9.0, 1.0, 0.0], [0.0, 5.0, 1.0]]])
LATER = tensor([[[0.0, 0.0, 0.0], [10.0, 40.0, 0.0], [20.0, 30.0, 50.0]]])


@pytest.mark.parametrize(
    ("double_q", "gamma", "expected"),
    [(False, 1.0, [1 + 40, 2 + 50, 3]), (True, 1.0, [1 + 10, 2 + 30, 3]), (False, 0.5, [1 + 20, 2 + 25, 3])],
)
def test_targets_of_the_actions_taken(double_q, gamma, expected):
    assert q_targets(episode(), VALUES, LATER, gamma, double_q)[0].tolist() == pytest.approx(expected)


def test_the_preferred_action_is_valued_not_the_highest_value():
    preferences = torch.full((1, 3, 3), 0.0).index_fill(2, tensor([1]), 1.0)
    assert q_targets(episode(), preferences, LATER, 1.0, double_q=True)[0].tolist() == [1 + 40, 2 + 30, 3]


def test_nothing_follows_the_end_of_an_episode():
    wanted = q_targets(episode((0, 2, -1)), VALUES, LATER, gamma=1.0, double_q=False)
    assert wanted[0, :2].tolist() == [1 + 40, 2]


def test_of_actions_not_taken_the_noted_value_counts():
    tried = tensor([[[7.0, 8.0, nan], [nan, 9.0, nan], [nan, nan, 6.0]]])
    played = replace(episode((0, 1, -1)), tried=tried)
    found = targets_of_actions(played, tensor([[1.0, 2.0, 3.0]]))
    expected = tensor([[[1.0, 8.0, nan], [nan, 2.0, nan], [nan, nan, 6.0]]])
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_only_actions_with_a_target_count_in_the_loss_and_in_its_gradient():
    values = torch.full((2, 3, 3), 100.0)
    targets = torch.full((2, 3, 3), nan)
    for step, (action, value) in enumerate([(0, 0.5), (1, -2.0), (0, 0.0)]):
        values[0, step, action], targets[0, step, action] = value, 0.0
    values[1, 0, 2], targets[1, 0, 2] = 3.0, 0.0
    found = {loss: td_loss(values, targets, loss).tolist() for loss in ("huber", "squared")}
    assert found["huber"] == pytest.approx([(0.125 + 1.5 + 0) / 3, 2.5])
    assert found["squared"] == pytest.approx([(0.25 + 4 + 0) / 3, 9.0])
    values.requires_grad_()
    (td_loss(values, targets, "huber") + soft_regret(values, targets)).sum().backward()
    assert values.grad.isfinite().all() and not values.grad[targets.isnan()].any()


def test_the_regret_falls_when_the_better_action_is_preferred():
    wanted = tensor([[[1.0, 0.0, 0.0]] * 3])
    good, bad = tensor([[[0.6, 0.0, 0.0]] * 3]), tensor([[[0.0, 0.6, 0.0]] * 3])
    best = tensor([1.0, 0.0, 0.0]).div(0.3).softmax(0)  # 0.3, the temperature
    for values in (good, bad):
        shares = values[0, 0].div(0.3).softmax(0)
        divergence = (shares * (shares / best).log()).sum()
        assert soft_regret(values, wanted).item() == pytest.approx(0.3 * divergence.item(), abs=1e-5)
    assert soft_regret(good, wanted) < soft_regret(bad, wanted)


def test_an_agent_does_not_become_surer_than_the_values_are():
    wanted = tensor([[[0.1, 0.0]]])
    gradients = {}
    for margin in (0.0, 0.1, 0.5):  # of the better action
        preferences = tensor([[[margin, 0.0]]], requires_grad=True)
        soft_regret(preferences, wanted).sum().backward()
        gradients[margin] = preferences.grad[0, 0, 0].item()
    assert gradients[0.0] < -0.01 and gradients[0.1] == pytest.approx(0, abs=1e-6) and gradients[0.5] > 0.01


def test_the_regret_is_over_known_actions_and_over_steps_that_were_taken():
    wanted = tensor([[[1.0, 0.0, nan]] * 2 + [[nan] * 3]])
    values = tensor([[[0.12, 0.06, 9.0]] * 3])
    assert soft_regret(values, wanted).item() == pytest.approx(soft_regret(values[:, :1, :2], wanted[:, :1, :2]).item())


def test_the_unrolled_network_is_the_network_step_by_step():
    network, both = small_network(preference_head=True), [episode(), episode((0, 2, -1))]
    joined = Episodes(*(torch.cat(parts) for parts in zip(*(vars(one).values() for one in both), strict=True)))
    found = unroll(network, joined)
    for row, (one, steps) in enumerate(zip(both, (3, 2), strict=True)):
        state, previous = network.initial_state(1), tensor([2])
        for step in range(steps):
            expected, state = network(bytes_to_floats(one.image[:, step]), previous, state)
            torch.testing.assert_close(found.q_values[row, step], expected[0])
            torch.testing.assert_close(found.preferences[row, step], network.preferences(state)[0])
            previous = one.action[:, step]
    assert not torch.equal(found.q_values, found.preferences)


def test_each_loss_trains_its_own_head():
    wanted = tensor([[[1.0, 0.0, -1.0]] * 3])
    for loss, trained, other in (("td", "values", "preferred"), ("regret", "preferred", "values")):
        network = small_network(preference_head=True)
        q_values, preferences = unroll(network, episode())
        found = td_loss(q_values, wanted, "huber") if loss == "td" else soft_regret(preferences, wanted)
        found.sum().backward()
        assert network.get_submodule(trained).weight.grad.any()
        assert network.get_submodule(other).weight.grad is None


def test_shifted_images_repeat_their_border():
    image = episode().image
    moved = random_shift(torch.cat([image, image]), tensor([[2, 0], [0, -3]]))
    assert torch.equal(moved[0, :, 2:], image[0, :, :-2])
    assert torch.equal(moved[0, :, :2], image[0, :, :1].expand(-1, 2, -1, -1))
    assert torch.equal(moved[1, :, :, :-3], image[0, :, :, 3:])
    assert torch.equal(moved[1, :, :, -3:], image[0, :, :, -1:].expand(-1, -1, 3, -1))


@pytest.mark.parametrize("loss", ["huber", "squared"])
def test_a_cautious_value_is_below_the_mean_of_its_targets(loss):
    targets, value = torch.tensor([[[0.0]], [[1.0]]]), torch.zeros(1, requires_grad=True)
    found = []
    for pessimism in (0.5, 0.9):
        optimizer = torch.optim.SGD([value], lr=0.2)
        for _ in range(200):
            optimizer.zero_grad()
            td_loss(value.expand(2, 1, 1), targets, loss, pessimism).mean().backward()
            optimizer.step()
        found.append(value.item())
    # Of two targets, the expectile weighs the lower nine times as much
    assert found == [pytest.approx(0.5, abs=1e-3), pytest.approx(0.1, abs=1e-3)]
