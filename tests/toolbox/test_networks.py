"""The two networks: sizes, reach and wiring as the authors released them."""

import pytest
import torch
from torch.nn.functional import relu

from restore_env.toolbox.networks import ARCHITECTURES, EightLayerCNN, ThreeLayerCNN

NETWORKS = [ThreeLayerCNN, EightLayerCNN]


def seeded(network):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return network().eval()


@pytest.mark.parametrize(("network", "count"), [(ThreeLayerCNN, 21_827), (EightLayerCNN, 50_851)])
def test_parameter_counts_are_the_released_ones(network, count):
    assert sum(parameter.numel() for parameter in network().parameters()) == count


@pytest.mark.parametrize("network", NETWORKS)
def test_an_output_pixel_looks_exactly_as_far_as_radius_says(network):
    net = seeded(network)
    for parameter in net.parameters():  # all positive, so that no ReLU cuts a path and none cancels another
        parameter.data.abs_()
    image = torch.rand(1, 3, 41, 41, generator=torch.Generator().manual_seed(1), requires_grad=True)
    net(image)[0, :, 20, 20].sum().backward()
    seen = image.grad.abs().sum((0, 1)) > 0
    expected = torch.zeros(41, 41, dtype=torch.bool)
    side = slice(20 - network.radius, 20 + network.radius + 1)
    expected[side, side] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("network", NETWORKS)
def test_without_its_last_layer_a_network_returns_its_input_unclipped(network):
    net = seeded(network)
    torch.nn.init.zeros_(net.conv3.weight)
    torch.nn.init.zeros_(net.conv3.bias)
    images = torch.randn(2, 3, 15, 17, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(images), images)


@torch.no_grad()
def test_skip_connections_start_at_the_bottleneck_that_has_no_activation():
    net = seeded(EightLayerCNN)
    for layer in (net.conv2a, net.conv2d):  # cuts both residual blocks; what is left is the skip path
        layer.weight.zero_()
        layer.bias.zero_()
    images = torch.rand(2, 3, 15, 17, generator=torch.Generator().manual_seed(1))
    bottleneck = net.conv1_2(relu(net.conv1(images)))
    assert bottleneck.min() < 0  # so that a ReLU there would show
    assert torch.equal(net(images), images + net.conv3(relu(net.conv2_2(bottleneck))))


@torch.no_grad()
@pytest.mark.parametrize("layers", [("conv2", "conv2a"), ("conv2c", "conv2d")])
def test_each_residual_block_adds_to_the_skip_path(layers):
    net = seeded(EightLayerCNN)
    images = torch.rand(1, 3, 15, 17, generator=torch.Generator().manual_seed(1))
    full = net(images)
    getattr(net, layers[0]).weight.zero_()
    getattr(net, layers[0]).bias.zero_()
    getattr(net, layers[1]).bias.zero_()
    assert not torch.allclose(net(images), full, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_arguments_rebuild_the_network(name):
    net = ARCHITECTURES[name](5, 4)
    again = ARCHITECTURES[name](**net.arguments)
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (7, 30), (63, 63)])
def test_any_size_is_kept(network, size):
    images = torch.zeros(2, 3, *size)
    assert seeded(network)(images).shape == images.shape
