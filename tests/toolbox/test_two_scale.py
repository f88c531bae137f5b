"""The two-scale network, and tools whose networks need sides of certain multiples."""

import pytest
import torch
from torch import nn

from restore_env import Tool, Toolbox, load_toolbox, save_toolbox
from restore_env.toolbox.networks import TwoScaleCNN


@pytest.fixture
def network() -> TwoScaleCNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TwoScaleCNN(8, 12).eval()


def test_sizes_are_those_that_results_were_published_for():
    assert sum(parameter.numel() for parameter in TwoScaleCNN().parameters()) == 462_876
    assert Tool.from_module("both", TwoScaleCNN()).cost * 64**2 == pytest.approx(0.18992e9, rel=1e-4)


def test_no_pixel_depends_on_pixels_beyond_the_radius():
    network = TwoScaleCNN(4, 4).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)  # no ReLU is closed
    for row in range(64, 64 + network.multiple):
        images = torch.zeros(1, 3, 132, 132, dtype=torch.double, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(images)[0, 0, row, 64], images)
        reached = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        assert 24 < max(row - int(reached[0]), int(reached[-1]) - row) <= network.radius


@pytest.mark.parametrize(("height", "width"), [(63, 63), (64, 61), (12, 13), (2, 3)])
def test_a_tool_pads_to_the_multiple_and_cuts(network, height, width):
    tool, images = Tool.from_module("both", network), torch.rand(2, 3, height, width)
    with torch.inference_mode():
        restored = tool(images)
    assert restored.shape == images.shape


def test_padding_reflects(network):
    images = torch.rand(1, 3, 63, 63)
    padded = torch.cat([images, images[:, :, 61:62]], dim=2)
    padded = torch.cat([padded, padded[:, :, :, 61:62]], dim=3)
    with torch.inference_mode():
        assert torch.allclose(Tool.from_module("both", network)(images), network(padded)[:, :, :63, :63], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(300, 530), (257, 259)])
def test_tiles_give_what_the_whole_image_gives(network, height, width):
    tool, images = Tool.from_module("both", network), torch.rand(1, 3, height, width)
    with torch.inference_mode():
        assert torch.allclose(Toolbox([tool]).apply(images, [0]), tool(images), atol=1e-5)


def test_a_toolbox_with_both_kinds_applies_them(network):
    toolbox = Toolbox([Tool.from_module("both", network), Tool("darken", lambda images: images / 2)])
    images = torch.rand(3, 3, 63, 63)
    result = toolbox.apply(images, [0, 1, 2])
    assert torch.equal(result[2], images[2])
    assert torch.equal(result[1], images[1] / 2)
    assert not torch.equal(result[0], images[0])


def test_functions_cost_no_multiplications():
    assert Tool("darken", lambda images: images / 2).cost == 0


def test_weights_are_stored_in_half_the_space_and_loaded_as_float32(network, tmp_path):
    toolbox = Toolbox([Tool.from_module("both", network)], "mine")
    save_toolbox(toolbox, tmp_path / "whole")
    save_toolbox(toolbox, tmp_path / "half", weights="float16")
    sizes = [(tmp_path / name / "tools.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = load_toolbox(tmp_path / "half")
    images = torch.rand(1, 3, 64, 64)
    assert loaded[0].module.enter.weight.dtype == torch.float32
    assert torch.allclose(loaded[0](images), toolbox[0](images), atol=2e-3)
    with pytest.raises(ValueError, match="weights='int8' is not one of 'float32', 'float16'"):
        save_toolbox(toolbox, tmp_path / "int", weights="int8")
