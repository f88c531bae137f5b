"""An agent for a larger toolbox starts as the one that it starts from."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from agents.drqn.new_actions import network_for
from restore_env import Tool, Toolbox, evaluate
from restore_env.data.sources import as_source, draw_pairs
from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy
from restore_env.toolbox.fingerprint import digest_of_toolbox

SIDE = 20
NEW = Tool("invert", lambda images: 1 - images)


def policy_for(toolbox: Toolbox, **options: bool) -> RecurrentQPolicy:
    """A policy with random weights whose choices depend on image, memory and previous action."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = RecurrentQNetwork(len(toolbox), (4, 4, 4, 4), features=6, hidden=8, patch_size=SIDE, **options)
        nn.init.normal_(network.gates.weight, std=0.3)
        nn.init.zeros_(network.gates.bias)
        if network.preferred is not None:
            nn.init.normal_(network.preferred.weight, std=0.5)
            nn.init.normal_(network.preferred.bias, std=0.02)
    return RecurrentQPolicy(network, toolbox.action_names)


def larger(toolbox: Toolbox) -> Toolbox:
    """The same tools in another order, with a new one among them."""
    first, second, third = toolbox
    return Toolbox([third, NEW, first, second], "larger")


@pytest.mark.parametrize("options", [{}, {"scaled": True}, {"scaled": True, "preference_head": True}])
def test_the_same_toolchains_are_chosen_until_something_is_learnt(options, function_toolbox, photo_folder):
    policy, toolbox = policy_for(function_toolbox, **options), larger(function_toolbox)
    grown = RecurrentQPolicy(network_for(policy, toolbox), toolbox.action_names)
    pairs = draw_pairs(as_source(str(photo_folder), "any", SIDE), 48, seed=0)
    before, after = evaluate(pairs, policy, function_toolbox), evaluate(pairs, grown, toolbox)
    assert [image.toolchain for image in after.images] == [image.toolchain for image in before.images]
    assert len({image.toolchain for image in before.images}) > 2


@pytest.mark.parametrize("scaled", [False, True])
def test_values_and_memory_are_matched_by_name_and_a_new_tool_has_the_mean_value(scaled, function_toolbox):
    policy, toolbox = policy_for(function_toolbox, scaled=scaled), larger(function_toolbox)
    network, grown = policy.network, network_for(policy, toolbox)
    places = torch.tensor([toolbox.index(name) for name in policy.action_names])
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    state, grown_state = network.initial_state(4), grown.initial_state(4)
    for previous in ([3, 3, 3, 3], [0, 1, 2, 3]):
        values, state = network(images, torch.tensor(previous), state)
        grown_values, grown_state = grown(images, places[previous], grown_state)
        torch.testing.assert_close(grown_values[:, places], values, atol=1e-5, rtol=0)
        torch.testing.assert_close(grown_values[:, 1], values.mean(1), atol=1e-5, rtol=0)


def test_a_new_tool_is_remembered_as_the_mean_of_the_others(function_toolbox):
    policy, toolbox = policy_for(function_toolbox), larger(function_toolbox)
    network, grown = policy.network, network_for(policy, toolbox)
    mean = network.gates.weight[:, 6:9].mean(1)
    torch.testing.assert_close(grown.gates.weight[:, 6 + toolbox.index("invert")], mean)


def test_training_the_larger_network_leaves_the_policy_alone(function_toolbox):
    policy = policy_for(function_toolbox)
    before = [parameter.clone() for parameter in policy.network.parameters()]
    grown = network_for(policy, larger(function_toolbox))
    with torch.no_grad():
        for parameter in grown.parameters():
            assert parameter.requires_grad
            parameter.add_(1)
    assert all(torch.equal(one, other) for one, other in zip(policy.network.parameters(), before, strict=True))


def test_the_network_keeps_its_parts(function_toolbox):
    policy = policy_for(function_toolbox, scaled=True, degradation_features=True)
    grown = network_for(policy, larger(function_toolbox))
    assert grown.arguments == policy.network.arguments | {"n_tools": 4}


def test_a_toolbox_that_lacks_tools_is_refused(function_toolbox):
    median, *_ = function_toolbox
    with pytest.raises(
        ValueError, match="made for tools that the toolbox 'small' does not have: soften, brighten; it needs all"
    ):
        network_for(policy_for(function_toolbox), Toolbox([median, NEW], "small"))


def test_other_tools_of_the_same_names_cause_a_warning(network_toolbox):
    policy = policy_for(network_toolbox)
    policy.fingerprint = digest_of_toolbox(network_toolbox)
    three, eight = network_toolbox
    network = nn.Conv2d(3, 3, 3, padding=1)
    with warnings.catch_warnings(action="error"):
        for tools in ([eight, NEW, three], [eight, Tool.from_module("new", network), three]):
            network_for(policy, Toolbox(tools))
        assert network_for(policy, Toolbox([replace(three, function=network), eight])) is policy.network
    with pytest.warns(UserWarning, match="was trained with other tools of the same names than those of 'mine'"):
        network_for(policy, Toolbox([replace(three, function=network), eight, NEW], "mine"))
