import numpy as np
import pytest
import torch

from restore_env.policies import FixedToolchain, Policy, play
from restore_env.restoration.batch import RestorationBatch
from restore_env.utils.tensors import images_to_tensor, tensor_to_images

MEDIAN, SOFTEN, BRIGHTEN, STOP = range(4)
PATCH = 8


class ReadsColour(Policy):
    """Votes for the action that the first pixel of a patch stands for; remembers that pixel."""

    name = "reads-colour"
    patch_size = PATCH

    def __init__(self):
        self.seen, self.states = [], []

    def initial_state(self, n):
        return torch.full((n,), -1)

    def act(self, observation, state):
        self.seen.append(observation)
        self.states.append(state)
        pixels = observation.image[:, 0, 0, 0].long()
        return pixels // 64, pixels


def coloured(votes, margin=0):
    """An image of plain patches, each in the colour that stands for its vote; the margin has that of stop."""
    colours = np.asarray(votes, dtype=np.uint8) * 64 + 10
    plain = colours.repeat(PATCH, axis=0).repeat(PATCH, axis=1)
    plain = np.pad(plain, ((0, margin), (0, margin)), constant_values=STOP * 64 + 10)
    return np.stack([plain] * 3, axis=2)


def started(toolbox, *images, max_steps=2):
    batch = RestorationBatch(toolbox, max_steps=max_steps)
    batch.start(images_to_tensor(images))
    return batch


def test_the_whole_image_gets_the_tool_most_patches_vote_for(function_toolbox):
    image = coloured([[BRIGHTEN, MEDIAN, BRIGHTEN], [STOP, BRIGHTEN, SOFTEN]])
    batch = started(function_toolbox, image, max_steps=1)
    taken = []
    play(ReadsColour(), batch, lambda actions, votes: taken.append((actions.tolist(), votes.tolist())))
    assert taken == [([BRIGHTEN], [[1, 1, 3, 1]])]
    assert batch.toolchain(0) == ("brighten",)
    assert np.array_equal(tensor_to_images(batch.images)[0].numpy(), image + 3)


def test_an_image_is_left_alone_where_no_tool_has_more_votes_than_stop(function_toolbox):
    tied, torn, going = ([[STOP, MEDIAN]], [[MEDIAN, STOP, BRIGHTEN]], [[BRIGHTEN, MEDIAN, BRIGHTEN]])
    for votes, chain in ((tied, ()), (torn, ()), (going, ("brighten",))):
        batch = started(function_toolbox, coloured(votes), max_steps=1)
        play(ReadsColour(), batch)
        assert batch.toolchain(0) == chain


def test_pixels_beyond_the_last_whole_patch_do_not_vote_but_are_restored(function_toolbox):
    image = coloured([[BRIGHTEN, BRIGHTEN]], margin=PATCH - 1)
    batch = started(function_toolbox, image, max_steps=1)
    votes = []
    play(ReadsColour(), batch, lambda _, counted: votes.append(counted.tolist()))
    assert votes == [[[0, 0, 2, 0]]]
    assert np.array_equal(tensor_to_images(batch.images)[0].numpy(), image + 3)


def test_every_patch_sees_the_action_that_won_the_vote(function_toolbox):
    policy = ReadsColour()
    play(policy, started(function_toolbox, coloured([[MEDIAN, BRIGHTEN, BRIGHTEN]]), max_steps=2))
    assert [seen.previous_action.tolist() for seen in policy.seen] == [[STOP] * 3, [BRIGHTEN] * 3]
    assert [seen.step.tolist() for seen in policy.seen] == [[0] * 3, [1] * 3]


def test_every_patch_keeps_its_own_state(function_toolbox):
    votes = [[BRIGHTEN, MEDIAN, BRIGHTEN], [BRIGHTEN, SOFTEN, BRIGHTEN]]
    policy = ReadsColour()
    play(policy, started(function_toolbox, coloured(votes), coloured(votes[::-1]), max_steps=2))
    assert policy.states[0].tolist() == [-1] * 12
    rows = np.concatenate([np.ravel(votes), np.ravel(votes[::-1])])
    assert policy.states[1].tolist() == (rows * 64 + 10).tolist()  # what this very patch showed before
    assert torch.equal(policy.seen[1].image[:, 0, 0, 0], policy.states[1] + 3)


def test_the_images_of_a_batch_vote_and_stop_apart(function_toolbox):
    stopping, going = coloured([[STOP, STOP, BRIGHTEN]]), coloured([[BRIGHTEN, STOP, BRIGHTEN]])
    batch = started(function_toolbox, stopping, going, max_steps=3)
    play(ReadsColour(), batch)
    assert batch.steps.tolist() == [1, 3]
    assert [batch.toolchain(row) for row in range(2)] == [(), ("brighten",) * 3]
    restored = tensor_to_images(batch.images).numpy()
    assert np.array_equal(restored[0], stopping) and np.array_equal(restored[1], going + 9)


def test_an_image_of_one_patch_is_seen_as_it_is(function_toolbox):
    image = np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), dtype=np.uint8)
    policy = ReadsColour()
    play(policy, started(function_toolbox, image, max_steps=1))
    assert np.array_equal(policy.seen[0].image[0].numpy(), image)


def test_patches_are_cut_row_by_row(function_toolbox):
    image = np.random.default_rng(0).integers(0, 256, (2 * PATCH + 3, 3 * PATCH + 5, 3), dtype=np.uint8)
    policy = ReadsColour()
    play(policy, started(function_toolbox, image, max_steps=1))
    cut = [
        image[row : row + PATCH, column : column + PATCH]
        for row in range(0, 2 * PATCH, PATCH)
        for column in range(0, 3 * PATCH, PATCH)
    ]
    assert np.array_equal(policy.seen[0].image.numpy(), np.stack(cut))


def test_images_smaller_than_a_patch_are_refused(function_toolbox):
    batch = started(function_toolbox, np.zeros((PATCH + 4, PATCH - 1, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="images of 7x12 pixels; policy 'reads-colour' looks at 8x8"):
        play(ReadsColour(), batch)
    assert batch.steps.tolist() == [0]


def test_a_policy_for_other_actions_is_refused_with_both_lists(function_toolbox):
    policy = FixedToolchain(["sharpen"], ("sharpen", "denoise", "stop"))
    batch = started(function_toolbox, np.zeros((63, 63, 3), dtype=np.uint8))
    with pytest.raises(ValueError) as refusal:
        play(policy, batch)
    assert "sharpen, denoise, stop" in str(refusal.value)
    assert "median, soften, brighten, stop" in str(refusal.value)


def test_the_order_of_the_actions_counts(function_toolbox):
    policy = FixedToolchain([], ("soften", "median", "brighten", "stop"))
    with pytest.raises(ValueError, match="made for the actions soften, median, brighten, stop"):
        play(policy, started(function_toolbox, np.zeros((63, 63, 3), dtype=np.uint8)))


def test_a_reference_policy_starts_with_the_batch_itself(function_toolbox):
    class Brightens(Policy):
        name = "brightens"
        needs_reference = True

        def start(self, batch, progress=None):
            return batch.reference

        def act(self, observation, state):
            darker = observation.image.float().mean() / 255 < state.mean()
            return torch.where(darker, torch.tensor([BRIGHTEN]), STOP), state

    batch = RestorationBatch(function_toolbox, max_steps=4)
    batch.start(torch.zeros(1, 3, 5, 9), torch.full((1, 3, 5, 9), 6 / 255))  # it brightens by 3 levels
    votes = []
    play(Brightens(), batch, lambda _, counted: votes.append(counted.tolist()))
    assert batch.toolchain(0) == ("brighten", "brighten")
    assert votes == [[[0, 0, 1, 0]], [[0, 0, 1, 0]], [[0, 0, 0, 1]]]
