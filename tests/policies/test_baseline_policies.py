from itertools import product

import cv2
import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox
from restore_env.policies import FixedToolchain, GreedyWithReference, Oracle, RandomPolicy, play
from restore_env.restoration.batch import Observation, RestorationBatch
from restore_env.restoration.metrics import psnr
from restore_env.utils.tensors import images_to_tensor

SIDE = 24


@pytest.fixture
def pairs(photos):
    """Distorted and reference: blurred, noisy, dark, dark and noisy, and one that is fine."""
    rng = np.random.default_rng(0)
    clean = [photo[row : row + SIDE, row : row + SIDE] for photo in photos for row in (0, 40)][:5]
    noise = [rng.normal(0, 25, clean[0].shape) for _ in range(2)]
    distorted = [
        cv2.GaussianBlur(clean[0], (5, 5), 1.5),
        np.clip(clean[1] + noise[0], 0, 255).astype(np.uint8),
        cv2.subtract(clean[2], np.full_like(clean[2], 9)),
        np.clip(clean[3] - 6 + noise[1], 0, 255).astype(np.uint8),
        clean[4],
    ]
    return images_to_tensor(distorted), images_to_tensor(clean)


@pytest.fixture
def shifts():
    """Two tools with which the best first step does not begin the best toolchain."""
    return Toolbox([Tool("up-10", lambda images: images + 10 / 255), Tool("up-7", lambda images: images + 7 / 255)])


def observation(n, step=0):
    return Observation(
        torch.zeros(n, 63, 63, 3, dtype=torch.uint8), torch.full((n,), 3), torch.full((n,), step, dtype=torch.int64)
    )


def played(policy, toolbox, pairs, max_steps=3):
    batch = RestorationBatch(toolbox, max_steps=max_steps)
    batch.start(*pairs)
    play(policy, batch)
    return batch


def toolchains(batch):
    return [batch.toolchain(row) for row in range(len(batch))]


def apply_chain(toolbox, image, chain):
    for action in chain:
        image = toolbox[action](image)
    return image


def test_random_draws_every_action_equally_often(function_toolbox):
    policy = RandomPolicy(function_toolbox, seed=1)
    actions, _ = policy.act(observation(1)._replace(image=torch.zeros(40_000, 1, 1, 3)), policy.initial_state(1))
    shares = torch.bincount(actions, minlength=4) / len(actions)
    assert shares.tolist() == pytest.approx([0.25] * 4, abs=0.01)  # 4.6 standard deviations


def test_random_depends_on_the_seed_alone(function_toolbox):
    def draws(seed):
        policy = RandomPolicy(function_toolbox, seed)
        state, drawn = policy.initial_state(32), []
        for _ in range(3):
            actions, state = policy.act(observation(32), state)
            drawn.append(tuple(actions.tolist()))
        return drawn

    torch.manual_seed(0)
    first = draws(0)
    torch.manual_seed(1)
    assert draws(0) == first
    assert draws(1) != first
    assert len(set(first)) == 3  # the steps differ


def test_fixed_toolchain_takes_its_tools_in_turn_then_stops(function_toolbox, photos):
    policy = FixedToolchain(["brighten", "median"], function_toolbox.action_names)
    image = images_to_tensor(photos[:2])
    taken = []
    batch = RestorationBatch(function_toolbox, max_steps=5)
    batch.start(image)
    play(policy, batch, lambda actions, _: taken.append(actions.tolist()))
    assert taken == [[2, 2], [0, 0], [3, 3]]
    assert toolchains(batch) == [("brighten", "median")] * 2
    assert policy.act(observation(1, step=4), None)[0].tolist() == [3]


def test_fixed_toolchain_without_tools_is_stop(function_toolbox):
    policy = FixedToolchain([], function_toolbox.action_names)
    assert policy.name == "stop"
    assert policy.act(observation(2), None)[0].tolist() == [3, 3]


def test_fixed_toolchain_of_an_unknown_tool_is_refused(function_toolbox):
    with pytest.raises(ValueError, match="'sharpen' is not one of median, soften, brighten, stop"):
        FixedToolchain(["median", "sharpen"], function_toolbox.action_names)


def test_greedy_takes_the_best_next_action(function_toolbox, pairs):
    expected = []
    for distorted, reference in zip(*(tensor.split(1) for tensor in pairs), strict=True):
        image, chain = distorted, []
        for _ in range(3):
            tried = [tool(image) for tool in function_toolbox]
            values = [float(psnr(result, reference)) for result in tried]
            best = int(np.argmax(values))
            if values[best] <= float(psnr(image, reference)):
                break
            image = tried[best]
            chain.append(function_toolbox[best].name)
        expected.append(tuple(chain))
    assert toolchains(played(GreedyWithReference(), function_toolbox, pairs)) == expected
    assert len(set(expected)) > 2  # the images really ask for different tools


def test_greedy_stops_where_a_tool_changes_nothing(pairs):
    idle = Toolbox([Tool("nothing", torch.clone)])
    batch = played(GreedyWithReference(), idle, pairs)
    assert toolchains(batch) == [()] * 5
    assert batch.steps.tolist() == [1] * 5


def test_oracle_equals_trying_every_toolchain(function_toolbox, pairs):
    chains = [chain for length in range(4) for chain in product(range(3), repeat=length)]
    assert len(chains) == 40
    expected = []
    for distorted, reference in zip(*(tensor.split(1) for tensor in pairs), strict=True):
        expected.append(
            max(float(psnr(apply_chain(function_toolbox, distorted, chain), reference)) for chain in chains)
        )
    batch = played(Oracle(), function_toolbox, pairs)
    assert batch.psnr.tolist() == pytest.approx(expected, abs=1e-9)
    assert batch.toolchain(4) == ()  # nothing helps the image that is fine


def test_oracle_is_at_least_as_good_as_greedy_and_greedy_as_stop(function_toolbox, pairs):
    oracle, greedy = (played(policy, function_toolbox, pairs).psnr for policy in (Oracle(), GreedyWithReference()))
    assert (oracle >= greedy).all()
    assert (greedy >= psnr(*pairs)).all()
    assert greedy.mean() > psnr(*pairs).mean() + 1


def test_oracle_looks_further_ahead_than_greedy(shifts):
    distorted = torch.full((1, 3, SIDE, SIDE), 0.4)
    pair = distorted, distorted + 14 / 255
    assert toolchains(played(GreedyWithReference(), shifts, pair)) == [("up-10", "up-7")]
    assert toolchains(played(Oracle(), shifts, pair)) == [("up-7", "up-7")]


def test_oracle_keeps_to_the_steps_allowed(shifts):
    distorted = torch.full((1, 3, SIDE, SIDE), 0.4)
    assert toolchains(played(Oracle(), shifts, (distorted, distorted + 30 / 255), 1)) == [("up-10",)]
    assert toolchains(played(Oracle(), shifts, (distorted, distorted + 30 / 255), 3)) == [("up-10",) * 3]


def test_oracle_tells_how_far_it_is(shifts, pairs):
    shares = []
    batch = played(FixedToolchain((), shifts.action_names), shifts, pairs, max_steps=2)
    Oracle().start(batch, shares.append)
    assert shares == pytest.approx([number / 7 for number in range(1, 8)])


@pytest.mark.parametrize("policy", [GreedyWithReference(), Oracle()], ids=lambda policy: policy.name)
def test_reference_policies_need_a_reference(policy, function_toolbox, pairs):
    assert policy.needs_reference
    with pytest.raises(ValueError, match=f"policy '{policy.name}' needs reference images, and the batch has none"):
        played(policy, function_toolbox, (pairs[0], None))


def test_random_choices_go_on_from_one_batch_to_the_next(shifts, pairs):
    policy = RandomPolicy(shifts)
    chains = [[played(policy, shifts, pairs).toolchain(row) for row in range(len(pairs[0]))] for _ in range(20)]
    assert any(chain != chains[0] for chain in chains[1:])
