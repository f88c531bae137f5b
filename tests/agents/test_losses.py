"""Targets and losses, against numbers worked out by hand."""

from dataclasses import replace

import pytest
import torch
from agent_problems import small_network
from torch import tensor

from agents.drqn.config import Options
from agents.drqn.losses import losses, shifted, targets, turned, unrolled
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


TAKEN = Options(targets="taken", tries=0, decision=0.0)

VALUES = tensor([[[0.0, 0.0, 0.0], [9.0, 1.0, 0.0], [0.0, 5.0, 1.0]]])
LATER = tensor([[[0.0, 0.0, 0.0], [10.0, 40.0, 0.0], [20.0, 30.0, 50.0]]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (replace(TAKEN, double=False, gamma=1.0), [1 + 40, 2 + 50, 3]),
        (replace(TAKEN, double=True, gamma=1.0), [1 + 10, 2 + 30, 3]),
        (replace(TAKEN, double=False, gamma=0.5), [1 + 20, 2 + 25, 3]),
        (replace(TAKEN, double=False, gamma=0.5, n_step=2), [1 + 1 + 0.25 * 50, 2 + 1.5, 3]),
        (replace(TAKEN, double=False, gamma=0.5, n_step=3), [1 + 1 + 0.75, 2 + 1.5, 3]),
    ],
)
def test_targets_of_the_actions_taken(options, expected):
    wanted = targets(episode(), VALUES, LATER, options)
    taken = [float(wanted[0, step, action]) for step, action in enumerate((0, 1, 0))]
    assert taken == pytest.approx(expected)


def test_nothing_follows_the_end_of_an_episode():
    wanted = targets(episode((0, 2, -1)), VALUES, LATER, replace(TAKEN, double=False, gamma=1.0))
    assert float(wanted[0, 0, 0]) == 1 + 40
    assert float(wanted[0, 1, 2]) == 2


def test_of_actions_not_taken_the_noted_value_counts():
    known = episode()
    known = Episodes(known.image, known.action, known.reward + 0.5, known.value + 7, torch.ones(1, 3, 3).bool())
    wanted = targets(known, VALUES, LATER, Options(gamma=0.5, double=False, decision=0.0))
    assert float(wanted[0, 0, 1]) == 0.5 + 3.5
    assert float(wanted[0, 0, 0]) == 1.5 + 20


def test_only_known_actions_count_in_the_loss():
    wanted = torch.zeros(1, 3, 3)
    values = torch.full((1, 3, 3), 100.0)
    values[episode().known] = tensor([0.5, -2.0, 0.0])
    huber, errors = losses(values, wanted, episode(), TAKEN)
    assert float(huber) == pytest.approx((0.125 + 1.5 + 0) / 3)
    squared, _ = losses(values, wanted, episode(), replace(TAKEN, loss="squared"))
    assert float(squared) == pytest.approx((0.25 + 4 + 0) / 3)
    assert float(errors) == 2


def test_the_regret_falls_when_the_better_action_is_preferred():
    known = episode()
    known = Episodes(known.image, known.action, known.reward, known.value, torch.ones(1, 3, 3).bool())
    wanted = tensor([[[1.0, 0.0, 0.0]] * 3])
    good, bad = tensor([[[1.0, 0.0, 0.0]] * 3]), tensor([[[0.0, 1.0, 0.0]] * 3])
    plain, decided = Options(decision=0.0), Options(decision=2.0, temperature=0.5)
    regret = [float(losses(v, wanted, known, decided)[0] - losses(v, wanted, known, plain)[0]) for v in (good, bad)]
    shares = tensor([2.0, 0.0, 0.0]).softmax(0)
    assert regret == pytest.approx([2 * float(1 - shares[0]), 2 * float(1 - shares[1])], abs=1e-5)


def test_the_regret_is_over_known_actions():
    known = torch.tensor([[[True, True, False]] * 2 + [[False] * 3]])
    played = episode()
    played = Episodes(played.image, torch.tensor([[0, 1, -1]]), played.reward, played.value, known)
    values = tensor([[[0.2, 0.1, 9.0]] * 3])
    plain, decided = Options(decision=0.0), Options(decision=1.0, temperature=0.5)
    regret = [
        float(losses(values, wanted, played, decided)[0] - losses(values, wanted, played, plain)[0])
        for wanted in (tensor([[[1.0, 0.0, 0.0]] * 3]), tensor([[[1.0, 0.0, 50.0]] * 3]))
    ]
    shares = tensor([0.4, 0.2]).softmax(0)
    assert regret == pytest.approx([float(1 - shares[0])] * 2, abs=1e-5)


@pytest.mark.parametrize("dueling", [False, True])
def test_unrolled_is_the_network_step_by_step(dueling):
    network, episodes = small_network(dueling=dueling), episode()
    memory, previous = network.initial_state(1), tensor([2])
    for step in range(3):
        expected, memory = network(bytes_to_floats(episodes.image[:, step]), previous, memory)
        torch.testing.assert_close(unrolled(network, episodes)[:, step], expected)
        previous = episodes.action[:, step]


def test_the_eight_symmetries_differ_and_keep_all_but_the_images():
    episodes = episode()
    images = [turned(episodes, symmetry).image for symmetry in range(8)]
    assert torch.equal(images[0], episodes.image)
    assert torch.equal(images[1], episodes.image.flip(2))
    assert torch.equal(images[6], episodes.image.flip(3).transpose(2, 3))
    assert len({image.contiguous().numpy().tobytes() for image in images}) == 8
    assert turned(episodes, 5).reward is episodes.reward


def test_shifted_images_repeat_their_border():
    first, second = episode(), episode()
    both = replace(first, image=torch.cat([first.image, second.image]))
    moved = shifted(both, tensor([[2, 0], [0, -3]]))
    assert torch.equal(moved.image[0, :, 2:], first.image[0, :, :-2])
    assert torch.equal(moved.image[0, :, :2], first.image[0, :, :1].expand(-1, 2, -1, -1))
    assert torch.equal(moved.image[1, :, :, :-3], second.image[0, :, :, 3:])
    assert torch.equal(moved.image[1, :, :, -3:], second.image[0, :, :, -1:].expand(-1, -1, 3, -1))
    assert moved.reward is both.reward
