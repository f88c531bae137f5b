"""Agents that decide together."""

import json

import pytest
import torch

from restore_env import FormatError, load_policy, save_policy
from restore_env.policies import EnsembleQPolicy, RecurrentQNetwork, RecurrentQPolicy
from restore_env.restoration.batch import Observation

SIDE, EPISODES = 16, 40


def agent(seed, actions, side=SIDE, **arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = {"channels": (3, 3, 3, 3), "features": 4, "hidden": 5, "patch_size": side}
        return RecurrentQPolicy(RecurrentQNetwork(len(actions) - 1, **sizes, **arguments), actions, f"agent {seed}")


def observation(seed, previous):
    images = torch.randint(0, 256, (EPISODES, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(seed))
    return Observation(images.to(torch.uint8), torch.full((EPISODES,), previous), torch.zeros(EPISODES, dtype=int))


@pytest.fixture
def members(function_toolbox):
    """Two that differ in what they see, too."""
    actions = function_toolbox.action_names
    return [agent(0, actions), agent(1, actions, scaled=True, degradation_features=True), agent(2, actions)]


def test_it_takes_the_best_of_the_mean_and_every_agent_remembers_for_itself(members):
    policy = EnsembleQPolicy(members)
    assert policy.name == "ensemble-q"
    state = policy.initial_state(EPISODES)
    own = [member.initial_state(EPISODES) for member in members]
    for step, previous in enumerate((3, 0, 2)):
        seen = observation(step, previous)
        actions, state = policy.act(seen, state)
        total = torch.zeros(EPISODES, 4)
        for number, member in enumerate(members):
            values, own[number] = member.q_values(seen, own[number])
            total += values
        assert torch.equal(actions, total.argmax(1))
        assert all(torch.equal(a.cell, b.cell) for a, b in zip(state, own, strict=True))
    alone = [member.act(observation(0, 3), member.initial_state(EPISODES))[0] for member in members]
    together = policy.act(observation(0, 3), policy.initial_state(EPISODES))[0]
    assert any(not torch.equal(together, each) for each in alone)


def test_its_values_are_the_mean_of_its_members(members):
    policy, seen = EnsembleQPolicy(members), observation(0, 3)
    values, _ = policy.q_values(seen, policy.initial_state(EPISODES))
    own = [member.q_values(seen, member.initial_state(EPISODES))[0] for member in members]
    torch.testing.assert_close(values, sum(own) / len(own))


def test_a_tool_that_promises_exactly_the_margin_is_taken(members, monkeypatch):
    policy = EnsembleQPolicy(members, stop_margin=0.5)
    values = torch.tensor([[1.5, 0.0, 0.0, 1.0], [1.25, 0.0, 0.0, 1.0]])
    monkeypatch.setattr(policy, "q_values", lambda seen, state: (values, state))
    assert policy.act(observation(0, 3), ())[0].tolist() == [0, 3]


@pytest.mark.parametrize("stop_margin", [0.0, 0.02, 10.0])
def test_it_stops_unless_a_tool_promises_enough(stop_margin, members):
    policy, seen = EnsembleQPolicy(members, stop_margin=stop_margin), observation(0, 3)
    values, _ = policy.q_values(seen, policy.initial_state(EPISODES))
    actions, _ = policy.act(seen, policy.initial_state(EPISODES))
    for action, (*tools, stop) in zip(actions.tolist(), values.tolist(), strict=True):
        assert action == (3 if max(tools) < stop + stop_margin else tools.index(max(tools)))
    stops = (actions == 3).sum()
    assert stops == EPISODES if stop_margin == 10 else stops < EPISODES


@pytest.mark.parametrize("stop_margin", [-0.1, float("nan"), float("inf")])
def test_a_stop_margin_that_cannot_be_is_refused(stop_margin, members):
    with pytest.raises(ValueError, match="stop_margin=.* is not a number of at least 0"):
        EnsembleQPolicy(members, stop_margin=stop_margin)


def test_one_agent_alone_is_itself(members):
    policy, member, seen = EnsembleQPolicy(members[:1]), members[0], observation(0, 3)
    assert torch.equal(
        policy.q_values(seen, policy.initial_state(EPISODES))[0],
        member.q_values(seen, member.initial_state(EPISODES))[0],
    )


def test_it_comes_back_as_it_was(members, function_toolbox, tmp_path):
    policy = EnsembleQPolicy(members, "together", stop_margin=0.25)
    save_policy(policy, tmp_path, "functions")
    loaded, seen = load_policy(tmp_path, function_toolbox), observation(0, 1)
    assert (loaded.name, loaded.patch_size, loaded.action_names) == ("together", SIDE, function_toolbox.action_names)
    assert loaded.stop_margin == 0.25
    assert torch.equal(
        loaded.q_values(seen, loaded.initial_state(EPISODES))[0],
        policy.q_values(seen, policy.initial_state(EPISODES))[0],
    )


def test_a_damaged_folder_is_refused(members, tmp_path):
    save_policy(EnsembleQPolicy(members, "together"), tmp_path, "functions")
    path = tmp_path / "policy.json"
    content = json.loads(path.read_text())
    content["arguments"]["networks"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"policy\.safetensors: Unexpected key\(s\) in state_dict: \"2\."):
        load_policy(tmp_path)
    path.write_text(json.dumps(content | {"arguments": {"networks": []}}))
    with pytest.raises(FormatError, match=r"policy\."):
        load_policy(tmp_path)


def test_agents_that_do_not_fit_each_other_are_refused(members, function_toolbox):
    with pytest.raises(ValueError, match="members is empty"):
        EnsembleQPolicy([])
    with pytest.raises(ValueError, match="for different actions: median, soften, brighten, stop, and sharpen, stop"):
        EnsembleQPolicy([members[0], agent(0, ("sharpen", "stop"))])
    with pytest.raises(ValueError, match="for patches of 16 and 20 pixels"):
        EnsembleQPolicy([members[0], agent(0, function_toolbox.action_names, side=20)])
