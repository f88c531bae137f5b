"""The network that looks at the surroundings: one context for a patch, one a cell for a photo, in tiles or at once."""

import pytest
import torch
from torch import nn

from restore_env import Tool, Toolbox
from restore_env.restoration.regions import RegionBatch
from restore_env.toolbox.networks import ContextCNN


@pytest.fixture
def network() -> ContextCNN:
    """A network that listens to its context, as it does after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ContextCNN(8, 12, context=8).eval()
        for block in (network.before, *network.inside, network.after):
            nn.init.normal_(block.scale.weight)
    return network


def test_sizes_are_those_that_results_were_published_for():
    large = ContextCNN(64, 128, blocks=4, context=96)
    assert sum(parameter.numel() for parameter in large.parameters()) == 1_687_244
    assert Tool.from_module("large", large).cost * 64**2 == pytest.approx(0.50522e9, rel=1e-4)


def test_a_new_network_listens_to_no_context():
    network, images = ContextCNN(8, 12, context=8), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(images)
        nn.init.constant_(network.describe.bias, 9.0)
        assert torch.equal(network(images), before)


@torch.no_grad()
def test_every_pixel_of_a_patch_has_the_same_context(network):
    images = torch.rand(2, 3, 64, 72)
    changed = images.clone()
    changed[0, :, :4, :4] = 0  # in a corner, far from the other one
    assert network.context_of(images).shape == (2, 8, 1, 1)
    difference = (network(changed) - network(images)).abs()
    assert (difference[0, :, -8:, -8:] > 0).float().mean() > 0.9
    assert not difference[1].any()


@torch.no_grad()
def test_cells_of_a_photo_have_the_mean_of_their_surroundings(network):
    images = torch.rand(1, 3, 160, 200)
    quarter = network.look1(nn.functional.pixel_unshuffle(images, 4)).relu()
    cells = network.look3(network.look2(quarter).relu()).relu()
    context, reach = network.context_of(images), network.REACH
    assert context.shape == (1, 8, 20, 25)
    for row, column in ((0, 0), (10, 12), (19, 3)):
        near = cells[:, :, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        expected = network.describe(near.mean((2, 3), keepdim=True)).relu()
        torch.testing.assert_close(context[:, :, row : row + 1, column : column + 1], expected, rtol=0, atol=1e-5)


def test_with_its_context_no_pixel_depends_on_pixels_beyond_the_radius():
    network = ContextCNN(4, 4, context=4).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)  # no ReLU is closed
    for row in (96, 99, 103):
        images = torch.rand(1, 3, 200, 80, dtype=torch.double, requires_grad=True)
        context = network.context_of(images.detach())
        (gradient,) = torch.autograd.grad(network(images, context)[0, 0, row, 40], images)
        reached = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        assert 24 < max(row - int(reached[0]), int(reached[-1]) - row) <= network.radius


@pytest.mark.parametrize(("height", "width"), [(600, 530), (257, 459)])
def test_tiles_give_what_the_whole_image_gives(network, height, width):
    tool, images = Tool.from_module("context", network), torch.rand(1, 3, height, width)
    with torch.inference_mode():
        torch.testing.assert_close(Toolbox([tool]).apply(images, [0]), tool(images), rtol=0, atol=2e-5)


@torch.inference_mode()
def test_regions_give_what_the_whole_photo_gives(network):
    toolbox = Toolbox([Tool.from_module("context", network), Tool("darken", lambda images: images / 2)])
    image = torch.rand(1, 3, 200, 260)
    batch = RegionBatch(toolbox, 60, blend=1)
    batch.start(image)
    chosen = torch.zeros(batch.shape, dtype=torch.int64)
    chosen[0, 1, 2] = toolbox.stop  # so that the rest is cut into rectangles
    batch.step(chosen.flatten())
    whole, found = toolbox[0](image), batch.images
    changed = (found - image).abs().amax(1) > 0
    torch.testing.assert_close(found[:, :, :60], whole[:, :, :60], rtol=0, atol=2e-5)
    torch.testing.assert_close(found[:, :, 160:], whole[:, :, 160:], rtol=0, atol=2e-5)
    assert not changed[0, 90, 150]
