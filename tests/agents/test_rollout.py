"""Playing to learn: what is noted must be what the transition says."""

import pytest
import torch
from agent_problems import Shifts, shift_toolbox, small_network

from agents.drqn.counterfactual import draw_actions
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


GAMMA = 0.9
ALL, SOME, NONE = 2, 1, 0
"""Numbers of tools that are tried."""


def collected(batch, exploration_rate=0.7, tried=NONE, network=None):
    generator = torch.Generator().manual_seed(3)
    network = network or small_network()
    return collect_episodes(network, network, batch, exploration_rate, tried, GAMMA, generator)


def played(exploration_rate: float = 0.7, tried: int = NONE, **options):
    return collected(started(**options), exploration_rate, tried)


@pytest.mark.parametrize("tried", [NONE, ALL])
def test_the_rewards_are_those_of_the_transition(tried):
    episodes = played(tried=tried)
    assert {0, 1, STOP} <= set(episodes.action.flatten().tolist())
    batch = started()
    for step in range(3):
        lives = ~batch.ended
        assert torch.equal(episodes.image[:, step][lives], batch.observe().image[lives])
        assert torch.equal(episodes.action[:, step] == -1, batch.ended)
        outcome = batch.step(torch.where(lives, episodes.action[:, step].clamp(min=0), STOP))
        torch.testing.assert_close(episodes.reward[:, step], outcome.reward.float())
        assert not episodes.reward[:, step][~lives].any()
        assert episodes.tried[:, step][~lives].isnan().all()
    assert batch.ended.all()


def test_episodes_that_all_end_early_are_filled_up():
    network = small_network()
    with torch.no_grad():
        network.values.bias[STOP] = 1000.0
    episodes = collected(started(), 0.0, ALL, network)
    assert episodes.action.tolist() == [[STOP, -1, -1]] * N
    assert episodes.reward.shape == (N, 3) and not episodes.reward.any()
    assert episodes.tried.shape == (N, 3, 3) and episodes.tried[:, 1:].isnan().all()


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


@pytest.mark.parametrize("tried", [NONE, SOME, ALL])
def test_the_batch_remembers_the_actions_that_were_taken(tried):
    batch = started()
    episodes = collected(batch, 1.0, tried)
    tools = torch.where(episodes.action == STOP, -1, episodes.action)
    assert len(set(map(tuple, tools.tolist()))) > 3
    assert torch.equal(batch.toolchains, tools)


def test_trying_tools_does_not_change_what_is_played():
    without, trying = (played(exploration_rate=0.0, tried=tried) for tried in (NONE, ALL))
    assert torch.equal(without.action, trying.action)
    assert torch.equal(without.image, trying.image)
    torch.testing.assert_close(without.reward, trying.reward)
    assert without.tried.isnan().all()


def test_a_tried_action_has_its_reward_and_the_discounted_value_of_what_follows():
    episodes, network = played(tried=ALL), small_network()
    for action in range(3):
        batch = started()
        seen = batch.observe()
        _, memory = network(bytes_to_floats(seen.image), seen.previous_action, network.initial_state(N))
        reward = batch.step(torch.full((N,), action)).reward.float()
        after = batch.observe()
        values, _ = network(bytes_to_floats(after.image), after.previous_action, memory)
        following = torch.zeros(N) if action == STOP else values.amax(1)
        torch.testing.assert_close(episodes.tried[:, 0, action], (reward + GAMMA * following).detach())
    lives = episodes.action[:, 2] != -1  # nothing follows the last step
    taken = episodes.tried[lives, 2].gather(1, episodes.action[lives, 2].unsqueeze(1)).squeeze(1)
    assert lives.any()
    torch.testing.assert_close(taken, episodes.reward[lives, 2])


def test_what_follows_a_tried_tool_is_chosen_by_one_network_and_valued_by_the_other():
    network, target, batch = small_network(), small_network(1), started()
    with torch.no_grad():
        target.values.bias[0] = 1.0  # so that the two choose differently
    episodes = collect_episodes(network, target, batch, 0.0, ALL, GAMMA, torch.Generator().manual_seed(3))
    batch = started()
    seen = batch.observe()
    images = bytes_to_floats(seen.image)
    memories = [each(images, seen.previous_action, each.initial_state(N))[1] for each in (network, target)]
    reward = batch.step(torch.zeros(N, dtype=torch.int64)).reward.float()
    after = batch.observe()
    chooses, values = (
        each(bytes_to_floats(after.image), after.previous_action, memory)[0]
        for each, memory in zip((network, target), memories, strict=True)
    )
    following = values.gather(1, chooses.argmax(1, keepdim=True)).squeeze(1)
    assert not torch.equal(chooses.argmax(1), values.argmax(1))
    expected = torch.where(episodes.action[:, 0] == 0, episodes.tried[:, 0, 0], (reward + GAMMA * following).detach())
    torch.testing.assert_close(episodes.tried[:, 0, 0], expected, equal_nan=True)
    assert (episodes.action[:, 0] != 0).any()


def test_trying_some_tools_notes_the_same_of_fewer():
    every, some = (played(exploration_rate=0.0, tried=tried) for tried in (ALL, SOME))
    lives = some.action != -1
    known = ~some.tried[lives].isnan()
    assert known[:, STOP].all() and known.gather(1, some.action[lives].unsqueeze(1)).all()
    tools_known = known[:, :STOP].sum(1)
    assert torch.equal(tools_known, 1 + (some.action[lives] != STOP).long())  # what was taken is not tried again
    torch.testing.assert_close(some.tried[lives][known], every.tried[lives][known])


@pytest.mark.parametrize("chosen", [0, 3, 6])
def test_tools_that_could_be_the_best_are_tried(chosen):
    """Six tools and stop; two are tried beside the one chosen and stop."""
    values = torch.tensor([4.0, 1.0, 3.0, 0.0, 5.0, 2.0, 9.0]).repeat(1000, 1)
    taken = torch.full((1000,), chosen)

    def tried(scale):
        found = draw_actions(taken, scale * values, 2, torch.Generator().manual_seed(0))
        assert found.shape == (4, 1000) and (found[0] == chosen).all() and (found[1] == 6).all()
        return torch.bincount(found[2:].flatten(), minlength=7)

    best = [tool for tool in (4, 0, 2) if tool != chosen][:2]
    assert tried(1e3).tolist() == [1000 * (tool in best) for tool in range(7)]
    evenly = tried(0.0)
    others = [tool for tool in range(6) if tool != chosen]
    assert int(evenly.sum()) == 2000
    assert evenly[others].tolist() == pytest.approx([2000 / len(others)] * len(others), abs=80)
    softly = tried(0.5)[others]
    assert (softly > 0).all() and torch.equal(softly.argsort(), values[0, others].argsort())
