"""How policies decide for photos: by region, with a gate, or by a vote."""

import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox, evaluate, restore
from restore_env.data.pairs import Pairs
from restore_env.policies.base import play
from restore_env.policies.q_policy import QPolicy
from restore_env.policies.regions import RegionPolicy, episodes_of
from restore_env.restoration.batch import RestorationBatch
from restore_env.restoration.regions import RegionBatch

SIZE = 16


class Reads(QPolicy):
    """Values the two tools by the first pixel's red and green, in tenths, and *stop* by 0; wants one step."""

    name = "reads"
    patch_size = SIZE
    action_names = ("up", "down", "stop")

    def q_values(self, observation, state):
        values = observation.image[:, 0, 0].float() / 10  # (n, 3); blue is 0
        values[observation.step > 0] = torch.tensor([-1.0, -1.0, 0.0])
        return values, state


@pytest.fixture
def toolbox():
    return Toolbox([Tool("up", lambda images: images + 0.2), Tool("down", lambda images: images - 0.2)])


def photo(values):
    """A photo whose patches have these pairs of values (rows, columns, 2); a pixel of each differs."""
    levels = np.concatenate([10 * np.array(values), np.zeros((*np.shape(values)[:2], 1))], 2).astype(np.uint8)
    image = levels.repeat(SIZE, 0).repeat(SIZE, 1)
    image[SIZE - 1 :: SIZE, SIZE - 1 :: SIZE] += 2
    return image


def choices(image, toolbox, **options):
    batch = RegionBatch(toolbox, SIZE)
    batch.start(torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0) / 255)
    policy = RegionPolicy(Reads(), **options)
    taken = []
    play(policy, batch, lambda actions, _: taken.append(actions.view(batch.shape[1:]).tolist()))
    return taken[0], policy.expected_gain.tolist()


def test_each_region_gets_the_action_with_the_highest_value(toolbox):
    image = photo([[(5, 1), (1, 5)], [(0, 0), (2, 3)]])
    assert choices(image, toolbox) == ([[0, 1], [0, 1]], [pytest.approx((5 + 5 + 0 + 3) / 4)])


def test_a_photo_on_which_little_is_expected_is_left_alone(toolbox):
    image = photo([[(1, 0), (0, 0)], [(0, 0), (0, 0)]])
    assert choices(image, toolbox, gate=0.25)[0][0][0] == 0
    assert choices(image, toolbox, gate=0.26) == ([[2, 2], [2, 2]], [pytest.approx(0.25)])


def test_what_comes_true_of_what_is_promised_decides_whether_a_photo_is_left_alone(toolbox):
    image, policy = photo([[(4, 0), (0, 0)]]), Reads()
    policy.gain_scale = 0.5
    assert restore(image, policy, toolbox).expected_gain == pytest.approx(1)
    policy.gain_scale = 0.1
    left = restore(image, policy, toolbox)
    assert left.expected_gain == pytest.approx(0.2) and (left.image == image).all()


def test_a_single_patch_has_no_gate(toolbox):
    assert choices(photo([[(1, 0)]]), toolbox, gate=5.0)[0] == [[0]]


def test_consistency_lets_neighbours_count(toolbox):
    image = photo([[(5, 1), (2, 3), (5, 1)]])
    assert choices(image, toolbox)[0] == [[0, 1, 0]]
    assert choices(image, toolbox, consistency=0.25)[0] == [[0, 1, 0]]  # 2 + (2 + 2 + 5 + 5) / 16 < 3 + 8 / 16
    assert choices(image, toolbox, consistency=1.0)[0] == [[0, 0, 0]]  # 2 + 14 / 4 > 3 + 8 / 4


def test_the_gate_is_each_photos_own(toolbox):
    images = [photo([[(5, 1), (5, 1)]]), photo([[(0, 0), (1, 0)]])]
    batch, policy = episodes_of("regions", Reads(), toolbox, 1)
    batch.start(torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images]))
    policy.gate = 0.6
    play(policy, batch)
    assert batch.named_toolchains(slice(None)) == [("up",), ("up",), (), ()]


def test_a_vote_and_policies_of_any_size_decide_for_the_whole_photo(toolbox):
    policy = Reads()
    assert type(episodes_of("vote", policy, toolbox, 1)[0]) is RestorationBatch
    policy.patch_size = None
    assert type(episodes_of("regions", policy, toolbox, 1)[0]) is RestorationBatch
    with pytest.raises(ValueError, match="decide='both' is not one of 'regions', 'vote'"):
        episodes_of("both", policy, toolbox, 1)


def test_restore_tells_what_each_region_got(toolbox):
    image = photo([[(9, 1), (1, 9)], [(9, 1), (9, 1)]])
    restored = restore(image, Reads(), toolbox)
    assert restored.choices.tolist() == [[[0, 1], [0, 0]], [[2, 2], [2, 2]]]
    assert restored.steps[0] == {"step": 1, "action": "up", "votes": {"up": 3, "down": 1}}
    assert restored.expected_gain == pytest.approx(9)
    assert (restored.image[-1, -1] == image[-1, -1] + 51).all() and restored.image[0, -1, 0] == 0
    voted = restore(image, Reads(), toolbox, decide="vote")
    assert voted.choices.tolist() == [[[0]], [[2]]] and np.isnan(voted.expected_gain)
    assert (voted.image == image + 51).all()


def test_regions_that_have_stopped_count_as_stop(toolbox):
    class GoesOn(Reads):
        def q_values(self, observation, state):
            return observation.image[:, 0, 0].float() / 10, state

    restored = restore(photo([[(9, 1), (0, 0)]]), GoesOn(), toolbox, max_steps=2, record=True)
    assert restored.choices.tolist() == [[[0, 0]], [[0, 0]]]  # a tie goes to the tool
    image = photo([[(9, 1), (0, 0)]])
    image[:, SIZE:, 2] = 10  # *stop* is worth more there
    restored = restore(image, GoesOn(), toolbox, max_steps=2, record=True)
    assert restored.choices.tolist() == [[[0, 2]], [[0, 2]]] and restored.steps[1]["votes"] == {"up": 1, "stop": 1}
    assert len(restored.images) == 2 and (restored.images[1] == restored.image).all()
    assert (restored.images[0][:, 0] == image[:, 0] + 51).all() and (restored.image[:, 0] == image[:, 0] + 102).all()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_areas_stay_as_they_are(level):
    photo = np.full((130, 200, 3), level, np.uint8)
    photo[::7, ::5] ^= 1
    restored = restore(photo)
    assert (restored.image == photo).all() and restored.expected_gain == 0
    rng = np.random.default_rng(0)
    photo[:, 137:] = rng.integers(0, 256, (130, 63, 3))  # the last of three columns of regions
    half = restore(photo)
    assert (half.image[:, :110] == photo[:, :110]).all() and (half.image[:, 140:] != photo[:, 140:]).any()


def test_strength_blends_with_the_photo(toolbox):
    image = photo([[(9, 1), (9, 1)]])
    full, half, none = (restore(image, Reads(), toolbox, strength=strength).image for strength in (1.0, 0.5, 0.0))
    assert (full == image + 51).all() and np.isin(half.astype(int) - image, (25, 26)).all() and (none == image).all()
    with pytest.raises(ValueError, match=r"strength=1\.5 is not a number from 0 to 1"):
        restore(image, Reads(), toolbox, strength=1.5)


def test_evaluate_decides_by_regions_too(toolbox):
    image = photo([[(9, 1), (1, 9)], [(9, 1), (9, 1)]])
    reference = restore(image, Reads(), toolbox).image
    found = evaluate(Pairs([image], [reference]), Reads(), toolbox)
    voted = evaluate(Pairs([image], [reference]), Reads(), toolbox, decide="vote")
    assert found.psnr_out > voted.psnr_out + 3 and found.images[0].toolchain == ("up",) and found.steps == 1
    assert found.tool_ratio[0] == {"up": 0.75, "down": 0.25, "stop": 0}
    assert voted.steps == 1 and voted.tool_ratio[0]["up"] == 1
