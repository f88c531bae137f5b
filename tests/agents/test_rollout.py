"""Playing to learn: what is noted must be what the transition says."""

import pytest
import torch
from agent_problems import Shifts, shift_toolbox, small_network

from agents.drqn.config import DRQNConfig
from agents.drqn.counterfactual import draw_actions
from agents.drqn.rollout import collect_episodes
from restore_env.data.sources import draw_pairs
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import bytes_to_floats

N = 12
STOP = 2
CONFIGS = {
    "taken": DRQNConfig(n_counterfactual=0, regret_coef=0.0),
    "some": DRQNConfig(n_counterfactual=1),
    "all": DRQNConfig(n_counterfactual=2),
}


def started(**options) -> RestorationBatch:
    pairs = draw_pairs(Shifts((-60, -40, -20, 0, 20, 40)), N, seed=0)
    batch = RestorationBatch(shift_toolbox(), **options)
    batch.start(*pairs.to_tensors())
    return batch


def played(targets: str, epsilon: float = 0.7, **options):
    generator = torch.Generator().manual_seed(3)
    return collect_episodes(small_network(), started(**options), CONFIGS[targets], epsilon, generator)


@pytest.mark.parametrize("targets", ["taken", "all"])
def test_the_rewards_of_the_actions_taken_are_those_of_the_transition(targets):
    episodes = played(targets)
    assert {0, 1, STOP} <= set(episodes.action.flatten().tolist())
    batch = started()
    for step in range(3):
        assert torch.equal(episodes.image[:, step][~batch.ended], batch.observe().image[~batch.ended])
        lives = ~batch.ended
        assert torch.equal(episodes.action[:, step] == -1, batch.ended)
        actions = episodes.action[:, step].clamp(min=0)
        outcome = batch.step(torch.where(lives, actions, STOP))
        taken = episodes.reward[:, step].gather(1, actions.unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(taken[lives], outcome.reward[lives].float())
        assert episodes.known[:, step].gather(1, actions.unsqueeze(1)).squeeze(1)[lives].all()
        assert not episodes.known[:, step][~lives].any()
    assert batch.ended.all()


def test_both_ways_play_the_same_episodes():
    one, other = played("taken"), played("all")
    assert torch.equal(one.action, other.action)
    lives = one.action != -1
    assert torch.equal(one.image[lives], other.image[lives])


def test_trying_all_actions_notes_what_each_would_have_brought_and_what_follows():
    episodes, network = played("all"), small_network()
    assert episodes.known[:, 0].all()
    for action in range(3):
        batch = started()
        seen = batch.observe()
        _, memory = network(bytes_to_floats(seen.image), seen.previous_action, network.initial_state(N))
        outcome = batch.step(torch.full((N,), action))
        torch.testing.assert_close(episodes.reward[:, 0, action], outcome.reward.float())
        after = batch.observe()
        values, _ = network(bytes_to_floats(after.image), after.previous_action, memory)
        expected = torch.zeros(N) if action == STOP else values.amax(1)
        torch.testing.assert_close(episodes.value[:, 0, action], expected.detach())
    assert (episodes.value[:, 2] == 0).all()  # nothing follows the last step


def test_only_the_action_taken_is_known_without_trying():
    episodes = played("taken")
    assert (episodes.known.sum(2) == (episodes.action != -1)).all()
    assert (episodes.value == 0).all()


def test_without_chance_the_network_decides_and_with_nothing_else_it_does_not():
    greedy = played("taken", epsilon=0.0)
    batch, network = started(), small_network()
    values, _ = network(bytes_to_floats(batch.observe().image), batch.previous_action, network.initial_state(N))
    assert torch.equal(greedy.action[:, 0], values.argmax(1))
    assert len(set(played("taken", epsilon=1.0).action[:, 0].tolist())) == 3


def test_an_episode_that_falls_below_its_input_can_end():
    assert (played("all", epsilon=1.0, stop_if_worse=True).action == -1).sum() > (
        played("all", epsilon=1.0).action == -1
    ).sum()


@pytest.mark.parametrize("targets", CONFIGS)
def test_the_batch_remembers_the_actions_that_were_taken(targets):
    batch = started()
    episodes = collect_episodes(small_network(), batch, CONFIGS[targets], 1.0, torch.Generator().manual_seed(3))
    tools = torch.where(episodes.action == STOP, -1, episodes.action)
    assert len(set(map(tuple, tools.tolist()))) > 3
    assert torch.equal(batch.toolchains, tools)


def test_trying_some_tools_notes_the_same_of_fewer():
    every, some = (played(targets, epsilon=0.0) for targets in ("all", "some"))
    assert torch.equal(every.action, some.action)  # without chance both take what the network wants
    lives = some.action != -1
    known = some.known[lives]
    assert known[:, STOP].all() and known.gather(1, some.action[lives].unsqueeze(1)).all()
    tools_known = known[:, :STOP].sum(1)
    assert torch.equal(tools_known, 1 + (some.action[lives] != STOP).long())  # what was taken is not tried again
    torch.testing.assert_close(some.reward[some.known], every.reward[some.known])
    torch.testing.assert_close(some.value[some.known], every.value[some.known])


@pytest.mark.parametrize("chosen", [0, 3, 6])
def test_tools_that_could_be_the_best_are_tried(chosen):
    """Six tools and stop; two are tried beside the one chosen and stop."""
    values = torch.tensor([4.0, 1.0, 3.0, 0.0, 5.0, 2.0, 9.0]).repeat(1000, 1)
    taken = torch.full((1000,), chosen)

    def tried(temperature):
        config = DRQNConfig(n_counterfactual=2, counterfactual_temperature=temperature)
        found = draw_actions(taken, values, config, torch.Generator().manual_seed(0))
        assert found.shape == (4, 1000) and (found[0] == chosen).all() and (found[1] == 6).all()
        return torch.bincount(found[2:].flatten(), minlength=7)

    best = [tool for tool in (4, 0, 2) if tool != chosen][:2]
    assert tried(1e-3).tolist() == [1000 * (tool in best) for tool in range(7)]
    evenly = tried(0.0)
    others = [tool for tool in range(6) if tool != chosen]
    assert int(evenly.sum()) == 2000
    assert evenly[others].tolist() == pytest.approx([2000 / len(others)] * len(others), abs=80)
    softly = tried(2.0)[others]
    assert (softly > 0).all() and torch.equal(softly.argsort(), values[0, others].argsort())
