"""Playing to learn: what is noted must be what the transition says."""

import torch
from agent_problems import Shifts, shift_toolbox, small_network

from agents.drqn.rollout import collect_episodes
from restore_env.data.sources import draw_pairs
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import bytes_to_floats

N = 12
STOP = 2


def started(**options) -> RestorationBatch:
    pairs = draw_pairs(Shifts((-60, -40, -20, 0, 20, 40)), N, seed=0)
    batch = RestorationBatch(shift_toolbox(), **options)
    batch.start(*pairs.to_tensors())
    return batch


def played(exploration_rate: float = 0.7, **options):
    return collect_episodes(small_network(), started(**options), exploration_rate, torch.Generator().manual_seed(3))


def test_the_rewards_are_those_of_the_transition():
    episodes = played()
    assert {0, 1, STOP} <= set(episodes.action.flatten().tolist())
    batch = started()
    for step in range(3):
        lives = ~batch.ended
        assert torch.equal(episodes.image[:, step][lives], batch.observe().image[lives])
        assert torch.equal(episodes.action[:, step] == -1, batch.ended)
        outcome = batch.step(torch.where(lives, episodes.action[:, step].clamp(min=0), STOP))
        torch.testing.assert_close(episodes.reward[:, step], outcome.reward.float())
        assert not episodes.reward[:, step][~lives].any()
    assert batch.ended.all()


def test_episodes_that_all_end_early_are_filled_up():
    network = small_network()
    with torch.no_grad():
        network.values.bias[STOP] = 1000.0
    episodes = collect_episodes(network, started(), 0.0, torch.Generator())
    assert episodes.action.tolist() == [[STOP, -1, -1]] * N
    assert episodes.reward.shape == (N, 3) and not episodes.reward.any()


def test_without_chance_the_network_decides_and_with_nothing_else_it_does_not():
    greedy = played(exploration_rate=0.0)
    batch, network = started(), small_network()
    values, _ = network(bytes_to_floats(batch.observe().image), batch.previous_action, network.initial_state(N))
    assert torch.equal(greedy.action[:, 0], values.argmax(1))
    assert len(set(played(exploration_rate=1.0).action[:, 0].tolist())) == 3


def test_an_episode_that_falls_below_its_input_can_end():
    assert (played(exploration_rate=1.0, stop_if_worse=True).action == -1).sum() > (
        played(exploration_rate=1.0).action == -1
    ).sum()


def test_the_batch_remembers_the_actions_that_were_taken():
    batch = started()
    episodes = collect_episodes(small_network(), batch, 1.0, torch.Generator().manual_seed(3))
    tools = torch.where(episodes.action == STOP, -1, episodes.action)
    assert len(set(map(tuple, tools.tolist()))) > 3
    assert torch.equal(batch.toolchains, tools)
