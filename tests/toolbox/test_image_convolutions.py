"""Rearranged or not, a convolution from or to an image gives the same numbers."""

import pytest
import torch
from torch.nn.functional import conv2d

from benchmarks.throughput_cases import plain_network
from restore_env.restoration.metrics import psnr
from restore_env.toolbox.image_convolutions import ConvFromImage, ConvToImage
from restore_env.toolbox.networks import EightLayerCNN, ThreeLayerCNN

SIZES = [(63, 63), (20, 9), (9, 20), (1, 7), (5, 1), (1, 1)]


def layers() -> list[torch.nn.Conv2d]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [ConvFromImage(6, 9), ConvFromImage(5, 3, in_channels=1), ConvToImage(7, 5), ConvToImage(8, 3, 2)]


def maps_for(layer: torch.nn.Conv2d, height: int, width: int) -> torch.Tensor:
    return torch.rand(3, layer.in_channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_without_gradients_the_result_is_that_of_the_plain_convolution(number, height, width, memory_format):
    layer = layers()[number]
    maps = maps_for(layer, height, width).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        result = layer(maps)
        expected = conv2d(maps, layer.weight, layer.bias, padding=layer.padding)
    assert result.shape == expected.shape
    torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("number", range(4))
def test_gradients_are_those_of_the_plain_convolution(number):
    layer = layers()[number]
    maps = maps_for(layer, 12, 13).requires_grad_()
    gradients = []
    for result in (layer(maps), conv2d(maps, layer.weight, layer.bias, padding=layer.padding)):
        gradients.append(torch.autograd.grad(result.square().sum(), [maps, layer.weight, layer.bias]))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("number", range(4))
def test_in_bfloat16_parts_are_summed_in_float32(number):
    layer = layers()[number]
    maps = maps_for(layer, 40, 40)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        result = layer(maps)
    with torch.inference_mode():
        exact = layer(maps)
    assert (result - exact).abs().max() < 0.02 * exact.abs().max()
    assert result.dtype == (torch.float32 if isinstance(layer, ConvToImage) else torch.bfloat16)


@pytest.mark.parametrize("network", [ThreeLayerCNN, EightLayerCNN])
def test_networks_equal_their_plain_copies(network):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = network().eval()
    images = torch.rand(4, 3, 63, 63, generator=torch.Generator().manual_seed(1))
    plain = plain_network(net)
    assert not any(isinstance(layer, ConvFromImage | ConvToImage) for layer in plain.children())
    with torch.inference_mode():
        assert (net(images) - plain(images)).abs().max() < 1e-5
        assert psnr(net(images), plain(images)).min() > 100 - 1
    assert plain.state_dict().keys() == net.state_dict().keys()
