"""Each region of a photo gets its own toolchain, and no seam shows."""

import numpy as np
import pytest
import torch

from restore_env import Tool, Toolbox
from restore_env.restoration.metrics import psnr
from restore_env.restoration.regions import Axis, RegionBatch, axis_of, rectangles
from restore_env.toolbox.networks import EightLayerCNN, TwoScaleCNN

SIZE = 24
UP, DOWN, STOP = range(3)


@pytest.fixture
def toolbox():
    return Toolbox([Tool("up", lambda images: images + 0.5), Tool("down", lambda images: images - 0.25)])


@pytest.fixture(scope="module")
def networks():
    """Tools of a known radius whose effect can be seen everywhere."""
    torch.manual_seed(0)
    made = EightLayerCNN(), TwoScaleCNN(8, 8)
    for network in made:
        for parameter in network.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return Toolbox([Tool.from_module(name, network) for name, network in zip(("eight", "two"), made, strict=True)])


def started(toolbox, height=2 * SIZE, width=3 * SIZE, n=1, **options):
    batch = RegionBatch(toolbox, SIZE, **options)
    generator = torch.Generator().manual_seed(1)
    batch.start(torch.rand(n, 3, height, width, generator=generator), torch.rand(n, 3, height, width))
    return batch


@pytest.mark.parametrize(
    ("side", "count"), [(24, 1), (35, 1), (36, 2), (48, 2), (59, 2), (61, 3), (240, 10), (251, 10)]
)
def test_patches_lie_evenly_from_one_end_to_the_other(side, count):
    axis = axis_of(side, SIZE)
    assert len(axis) == count and axis.starts[0] == 0
    if count > 1:
        assert axis.starts[-1] == side - SIZE
        steps = np.diff(axis.starts)
        assert steps.max() - steps.min() <= 1 and steps.max() <= 1.5 * SIZE
    middles = np.array(axis.starts) + SIZE / 2
    assert axis.edges[0] == 0 and axis.edges[-1] == side
    assert (np.array(axis.edges[:-1]) < middles).all() and (middles < np.array(axis.edges[1:])).all()


@pytest.mark.parametrize("side", [24, 36, 60, 251])
def test_the_weights_of_all_regions_add_up_to_one(side):
    axis = axis_of(side, SIZE)
    single = torch.stack([axis.weights(number, number + 1) for number in range(len(axis))])
    torch.testing.assert_close(single.sum(0), torch.ones(side))
    torch.testing.assert_close(axis.weights(0, len(axis)), torch.ones(side))
    if len(axis) > 2:
        torch.testing.assert_close(axis.weights(1, 3), single[1:3].sum(0))
    for number, weights in enumerate(single):
        inside = torch.zeros(side, dtype=torch.bool)
        inside[axis.span(number, number + 1)] = True
        assert not weights[~inside].any()


def test_each_region_gets_its_tool_and_its_neighbours_results_pass_into_it(toolbox):
    batch = started(toolbox)
    before = batch.images.clone()
    batch.step(torch.tensor([UP, STOP, DOWN, UP, STOP, DOWN]))
    change = batch.images - before
    torch.testing.assert_close(change[..., :18], torch.full_like(change[..., :18], 0.5))  # up to 6 pixels from the edge
    assert change[..., 30:42].abs().max() < 1e-6
    torch.testing.assert_close(change[..., 54:], torch.full_like(change[..., 54:], -0.25))
    line = change[0, 0, 0]
    assert (line[17:31].diff() <= 1e-6).all() and line[24].item() == pytest.approx(0.25, abs=0.03)
    assert line.diff().abs().max() < 0.5 / 10  # no seam


def test_a_tool_that_all_regions_choose_is_applied_to_the_photo(networks):
    batch = started(networks, n=2)
    wanted = networks.apply(batch.images, [0, 1])
    batch.step(torch.tensor([0] * 6 + [1] * 6))
    assert torch.equal(batch.images, wanted)


@pytest.mark.parametrize("number", [0, 1])
def test_a_tool_sees_beyond_its_regions(networks, number):
    """Where a tool is chosen, the result is that of the whole photo, to the outermost pixel of the region."""
    batch = started(networks, 6 * SIZE, 7 * SIZE)
    before, whole = batch.images.clone(), networks.apply(batch.images, [number])
    actions = torch.full((6, 7), networks.stop)
    actions[2:4, 1:5] = actions[4:, 6] = number
    batch.step(actions.flatten())
    rows, columns = batch.rows, batch.columns
    weights = torch.zeros(6 * SIZE, 7 * SIZE)
    for part in (((2, 4), (1, 5)), ((4, 6), (6, 7))):
        weights += torch.outer(rows.weights(*part[0]), columns.weights(*part[1]))
    torch.testing.assert_close(batch.images, before + weights * (whole - before), atol=1e-5, rtol=0)


def test_regions_end_at_different_steps(toolbox):
    batch = started(toolbox, SIZE, 2 * SIZE)
    before = batch.images.clone()
    outcome = batch.step(torch.tensor([STOP, UP]))
    assert outcome.terminated.tolist() == [True, False]
    batch.step(torch.tensor([UP, UP]))  # the first has ended
    batch.step(torch.tensor([UP, DOWN]))
    assert batch.ended.all() and batch.named_toolchains(slice(None)) == [(), ("up", "up", "down")]
    change = (batch.images - before)[0, 0, 0]
    assert change[0].abs() < 1e-6 and change[-1].item() == pytest.approx(0.75)


def test_what_the_policy_sees_are_the_patches(toolbox):
    batch = started(toolbox, 2 * SIZE + 5, 3 * SIZE + 7, n=2)
    seen = batch.observe().image
    assert seen.shape == (12, SIZE, SIZE, 3) and batch.shape == (2, 2, 3) and batch.part_shape == (SIZE, SIZE)
    photo = (batch.images[1].permute(1, 2, 0) * 255).round().byte()
    top, left = batch.rows.starts[1], batch.columns.starts[2]
    assert torch.equal(seen[6 + 5], photo[top : top + SIZE, left : left + SIZE])
    assert torch.equal(batch.observe(torch.tensor([11])).image[0], seen[11])


def test_psnr_and_rewards_are_those_of_the_patches(toolbox):
    batch = started(toolbox, SIZE, 2 * SIZE, reward="final_psnr")
    right = slice(SIZE, 2 * SIZE)
    before = psnr(batch.images[..., right], batch.reference[..., right])
    assert batch.psnr[1].item() == pytest.approx(before.item())
    rewards = batch.step(torch.tensor([STOP, STOP])).reward
    assert rewards.tolist() == [0, 0]
    batch.start(batch.images, batch.reference)
    for _ in range(3):
        rewards = batch.step(torch.tensor([STOP, UP])).reward
    after = psnr(batch.images[..., right], batch.reference[..., right])
    assert rewards[1].item() == pytest.approx((after - before).item()) == batch.returns[1].item()


def test_rectangles_cover_each_region_once():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = torch.from_numpy(rng.random((5, 7)) < 0.6)
        covered = torch.zeros(5, 7, dtype=torch.int64)
        for part in rectangles(mask):
            covered[slice(*part.rows), slice(*part.columns)] += 1
        assert torch.equal(covered, mask.long())


def test_small_photos_are_refused(toolbox):
    with pytest.raises(ValueError, match="images of 60x23 pixels; the policy looks at 24x24"):
        RegionBatch(toolbox, SIZE).start(torch.zeros(1, 3, 23, 60))


def test_an_axis_of_one_region_counts_everywhere():
    axis = axis_of(30, SIZE)
    assert axis == Axis(30, SIZE, 12, [0], [0, 30]) and axis.span(0, 1) == slice(0, 30)
