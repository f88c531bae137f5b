import pytest
import torch
from torch import nn
from torch.nn.functional import pad, relu

from restore_env.policies import RecurrentQNetwork, RecurrentQPolicy
from restore_env.policies.degradation_features import degradation_features
from restore_env.policies.recurrent_q import CHUNK, LSTMState
from restore_env.restoration.batch import Observation

TOOLS = 3
ACTIONS = ("median", "soften", "brighten", "stop")


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return RecurrentQNetwork(TOOLS, channels=(6, 5, 4, 4), features=7, hidden=5, patch_size=20)


@pytest.fixture
def policy(network):
    return RecurrentQPolicy(network, ACTIONS)


def observation(n, seed=0, previous=TOOLS, side=20):
    images = torch.randint(0, 256, (n, side, side, 3), generator=torch.Generator().manual_seed(seed))
    return Observation(images.to(torch.uint8), torch.full((n,), previous), torch.zeros(n, dtype=torch.int64))


def test_the_papers_network_has_87863_parameters():
    assert sum(parameter.numel() for parameter in RecurrentQNetwork(12).parameters()) == 87_863


def test_features_pad_as_the_released_program_does():
    torch.manual_seed(1)
    network = RecurrentQNetwork(TOOLS)
    maps = images = torch.rand(2, 3, 63, 63)
    for convolution, (before, after) in zip(
        network.encoder.convolutions, [(4, 4), (1, 2), (1, 2), (1, 2)], strict=True
    ):
        maps = relu(convolution(pad(maps, (before, after, before, after))))
    assert maps.shape == (2, 24, 4, 4)
    flat = torch.stack([maps[:, :, row, column] for row in range(4) for column in range(4)], dim=1).flatten(1)
    expected = relu(flat @ network.encoder.projection.weight.T + network.encoder.projection.bias)
    torch.testing.assert_close(network.embed(images), expected, atol=1e-6, rtol=0)  # another order of summing


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("side", [11, 16, 20, 33, 63, 100])
def test_any_patch_size_works(side, features):
    network = RecurrentQNetwork(TOOLS, patch_size=side, degradation_features=features)
    values, state = network(torch.rand(2, 3, side, side), torch.tensor([0, TOOLS]), network.initial_state(2))
    assert values.shape == (2, TOOLS + 1) and bool(values.isfinite().all())
    assert state.hidden.shape == state.cell.shape == (2, 50)


def test_memory_is_that_of_an_lstm_cell(network):
    cell = nn.LSTMCell(7 + TOOLS, 5)
    enter, candidate, forget, leave = network.gates.weight.detach().chunk(4)
    weights = torch.cat([enter, forget, candidate, leave])  # PyTorch's order of the gates
    enter, candidate, forget, leave = network.gates.bias.detach().chunk(4)
    with torch.no_grad():
        cell.weight_ih.copy_(weights[:, : 7 + TOOLS])
        cell.weight_hh.copy_(weights[:, 7 + TOOLS :])
        cell.bias_ih.copy_(torch.cat([enter, forget, candidate, leave]))
        cell.bias_hh.zero_()
    generator = torch.Generator().manual_seed(0)
    features, hidden, memory = (torch.randn(4, size, generator=generator) for size in (7, 5, 5))
    previous = torch.tensor([0, 1, 2, TOOLS])
    found = network.lstm_step(features, previous, LSTMState(hidden, memory))
    vectors = torch.eye(TOOLS + 1)[previous][:, :TOOLS]
    expected = cell(torch.cat([features, vectors], dim=1), (hidden, memory))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)  # float32, summed in another order


def test_the_forget_gate_keeps_the_cell_at_first(network):
    enter, candidate, forget, leave = network.gates.bias.detach().chunk(4)
    assert forget.tolist() == [1.0] * network.hidden
    assert not torch.cat([enter, candidate, leave]).any()


def test_what_was_seen_before_changes_the_values(policy):
    now = observation(3, seed=1, previous=0)
    fresh, _ = policy.q_values(now, policy.initial_state(3))
    _, state = policy.q_values(observation(3, seed=2), policy.initial_state(3))
    after, _ = policy.q_values(now, state)
    assert (fresh - after).abs().min() > 1e-6


def test_the_memory_of_one_episode_is_not_that_of_another(policy):
    _, state = policy.q_values(observation(3, seed=2), policy.initial_state(3))
    together, _ = policy.q_values(observation(3, seed=1), state)
    for row in range(3):
        alone = LSTMState(state.hidden[row : row + 1], state.cell[row : row + 1])
        seen = Observation(*(column[row : row + 1] for column in observation(3, seed=1)))
        torch.testing.assert_close(policy.q_values(seen, alone)[0][0], together[row], atol=1e-6, rtol=0)


def test_no_previous_action_is_a_zero_vector(policy):
    def values(previous):
        return policy.q_values(observation(2, previous=previous), policy.initial_state(2))[0]

    before = [values(previous) for previous in range(TOOLS + 1)]
    with torch.no_grad():
        policy.network.gates.weight[:, 7 : 7 + TOOLS] += 0.5  # the columns of the one-hot
    after = [values(previous) for previous in range(TOOLS + 1)]
    assert torch.equal(before[TOOLS], after[TOOLS])
    assert all(not torch.equal(before[previous], after[previous]) for previous in range(TOOLS))


def test_many_patches_are_computed_in_chunks_with_the_same_values(policy):
    n = 2 * CHUNK + 5
    seen = observation(n, previous=1)
    _, state = policy.q_values(observation(n, seed=3), policy.initial_state(n))
    found, found_state = policy.q_values(seen, state)
    with torch.no_grad():
        expected, expected_state = policy.network(
            seen.image.permute(0, 3, 1, 2).float() / 255, seen.previous_action, state
        )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)  # float32, other batches
    torch.testing.assert_close(found_state.cell, expected_state.cell, atol=1e-6, rtol=0)


def test_the_action_of_the_highest_value_is_taken(policy):
    seen = observation(64, previous=2)
    values, _ = policy.q_values(seen, policy.initial_state(64))
    actions, _ = policy.act(seen, policy.initial_state(64))
    assert torch.equal(actions, values.argmax(1))


@torch.no_grad()
def test_the_preferred_action_is_taken_and_no_other_is_valued_higher():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RecurrentQNetwork(TOOLS, (6, 5, 4, 4), features=7, hidden=5, patch_size=20, preference_head=True)
    policy, seen = RecurrentQPolicy(network, ACTIONS), observation(64, previous=2)
    values, state = policy.q_values(seen, policy.initial_state(64))
    plain, preferences = network.q_values(state), network.preferences(state)
    best = preferences.argmax(1, keepdim=True)
    assert (plain.argmax(1, keepdim=True) != best).any()
    assert torch.equal(policy.act(seen, policy.initial_state(64))[0], best.squeeze(1))
    assert torch.equal(values.gather(1, best), plain.gather(1, best))
    lower = plain < plain.gather(1, best) - 1e-3
    assert torch.equal(values[lower], plain[lower])


def test_other_numbers_of_actions_are_refused(network):
    with pytest.raises(ValueError, match="3 action names for a network of 4 Q-values"):
        RecurrentQPolicy(network, ("median", "soften", "stop"))


def test_a_scaled_network_sees_differences_and_counts_in_tens(network):
    scaled = RecurrentQNetwork(TOOLS, channels=(6, 5, 4, 4), features=7, hidden=5, patch_size=20, scaled=True)
    scaled.load_state_dict(network.state_dict())
    images, none = torch.rand(2, 3, 20, 20), torch.full((2,), TOOLS)
    with torch.no_grad():
        values, state = scaled(images, none, scaled.initial_state(2))
        centred = 4 * (images - images.mean((1, 2, 3), keepdim=True))
        expected, memory = network(centred, none, network.initial_state(2))
        torch.testing.assert_close(values, 10 * expected)
        torch.testing.assert_close(state.hidden, memory.hidden)
        brighter, _ = scaled(images + 0.1, none, scaled.initial_state(2))
        torch.testing.assert_close(brighter, values, atol=1e-4, rtol=1e-4)


def test_statistics_enter_the_description_beside_the_convolutions():
    network = RecurrentQNetwork(TOOLS, patch_size=20, degradation_features=True)
    images = torch.rand(2, 3, 20, 20)
    before = []
    network.encoder.projection.register_forward_hook(lambda module, inputs, output: before.append(output))
    found = network.embed(images)
    torch.testing.assert_close(
        found, torch.relu(before[0] + network.encoder.degradation_projection(degradation_features(images)))
    )
    assert not torch.equal(found, torch.relu(before[0]))
    with pytest.raises(ValueError, match="patch_size=2 is less than 3"):
        RecurrentQNetwork(TOOLS, patch_size=2, degradation_features=True)
