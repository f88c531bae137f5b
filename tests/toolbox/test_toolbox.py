"""An ordered set of tools acting on a batch: grouping, chunks and tiles must not show in the result."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.throughput_cases import plain_network
from restore_env import Tool, Toolbox, ToolError, load_toolbox
from restore_env.restoration.metrics import psnr
from restore_env.toolbox import toolbox as toolbox_module
from restore_env.toolbox.toolbox import CHUNK_PIXELS, TILE


def random_images(n: int, height: int = 63, width: int = 63, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def assert_like_a_naive_loop(toolbox: Toolbox, images: torch.Tensor, actions: list[int], tolerance: float) -> None:
    result = toolbox.apply(images, actions)
    for image, action, restored in zip(images, actions, result, strict=True):
        with torch.inference_mode():
            alone = image if action == toolbox.stop else toolbox[action](image.unsqueeze(0))[0]
        torch.testing.assert_close(restored, alone, rtol=0, atol=tolerance)


def test_networks_in_groups_equal_a_naive_loop(network_toolbox):
    actions = np.random.default_rng(0).integers(0, 3, 25).tolist()
    assert set(actions) == {0, 1, 2}
    assert max(map(actions.count, (0, 1))) > CHUNK_PIXELS["cpu"] // 63**2  # so that a group has several chunks
    # float32 sums of a convolution are added in another order for another batch size
    assert_like_a_naive_loop(network_toolbox, random_images(25), actions, tolerance=1e-5)


def test_functions_in_groups_equal_a_naive_loop_exactly(function_toolbox):
    actions = np.random.default_rng(1).integers(0, 4, 25).tolist()
    assert_like_a_naive_loop(function_toolbox, random_images(25), actions, tolerance=0)


def test_shipped_toolbox_equals_a_naive_loop():
    toolbox = load_toolbox("rl-restore-12")
    actions = list(range(13))
    assert_like_a_naive_loop(toolbox, random_images(13), actions, tolerance=1e-5)  # order of float32 sums, as above


def test_stop_leaves_an_image_untouched_and_the_input_stays(network_toolbox):
    images = random_images(4, 20, 22) * 3 - 1  # beyond [0, 1], where clipping would show
    before = images.clone()
    result = network_toolbox.apply(images, [2, 0, 2, 1])
    assert torch.equal(images, before)
    assert torch.equal(result[[0, 2]], images[[0, 2]])
    assert not torch.allclose(result[[1, 3]], images[[1, 3]], atol=1e-3)
    result.zero_()
    assert torch.equal(images, before)  # even a batch of stops is a copy
    network_toolbox.apply(images, [2, 2, 2, 2]).zero_()
    assert torch.equal(images, before)


def test_actions_may_be_a_tensor_an_array_or_a_list(function_toolbox):
    images = random_images(3, 8, 8)
    expected = function_toolbox.apply(images, [0, 3, 1])
    for actions in (np.array([0, 3, 1]), torch.tensor([0, 3, 1], dtype=torch.int32), np.array([0, 3, 1], np.uint8)):
        assert torch.equal(function_toolbox.apply(images, actions), expected)


def test_result_carries_no_gradient(network_toolbox):
    result = network_toolbox.apply(random_images(2, 12, 12), [0, 1])
    assert not result.requires_grad
    assert not result.is_inference()


@pytest.mark.parametrize("action", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(170, 300), (300, 170), (TILE + 1, 2 * TILE + 3)])
def test_a_large_image_in_tiles_equals_the_whole_image(network_toolbox, action, height, width):
    images = random_images(1, height, width)
    assert height * width > CHUNK_PIXELS["cpu"]
    with torch.inference_mode():
        whole = network_toolbox[action](images)
    tiled = network_toolbox.apply(images, [action])
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)  # order of float32 sums, as above


def test_many_small_tiles_equal_the_whole_image(network_toolbox, monkeypatch):
    monkeypatch.setattr(toolbox_module, "TILE", 16)
    monkeypatch.setitem(CHUNK_PIXELS, "cpu", 400)
    images = random_images(2, 50, 37)
    shapes = []
    for tool in network_toolbox:
        spied = Toolbox([Tool(tool.name, _Spy(tool, shapes))])
        with torch.inference_mode():
            whole = tool(images)
        tiled = spied.apply(images, [0, 0])
        torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)  # order of float32 sums, as above
    assert len(shapes) == 2 * 2 * 4 * 3  # for each tool and each image 4 x 3 tiles
    assert max(max(shape[2:]) for shape in shapes) == 16 + 2 * 8  # of 16 pixels, and the radius on either side


class _Spy:
    def __init__(self, tool: Tool, shapes: list) -> None:
        self.tool, self.shapes, self.radius = tool, shapes, tool.radius

    def __call__(self, images):
        self.shapes.append(tuple(images.shape))
        return self.tool(images)


def test_a_tool_of_unknown_radius_gets_the_whole_image():
    shapes = []
    tool = Tool("keep", lambda images: (shapes.append(tuple(images.shape)), images)[1])
    Toolbox([tool]).apply(random_images(1, 200, 300), [0])
    assert shapes == [(1, 3, 200, 300)]


def test_an_image_on_its_own_is_the_same_in_any_company(network_toolbox):
    images = random_images(12)
    together = network_toolbox.apply(images, [0, 1] * 6)
    alone = network_toolbox.apply(images[5:6], [1])
    torch.testing.assert_close(together[5:6], alone, rtol=0, atol=1e-5)  # order of float32 sums, as above


def test_a_tool_that_fails_late_changes_nothing():
    calls = []

    def fails_later(images):
        calls.append(len(images))
        if len(calls) > 1:
            raise MemoryError("none left")
        return images + 1

    images = random_images(20)
    before = images.clone()
    with pytest.raises(ToolError, match="^tool 'late' raised MemoryError: none left$"):
        Toolbox([Tool("late", fails_later)]).apply(images, [0] * 20)
    assert len(calls) == 2
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1, 4], r"action 4 is not one of 0 to 3 \(median, soften, brighten, stop\)"),
        ([0, -1, 1], "action -1 is not one of 0 to 3"),
        ([0, 1], r"actions of the shape \(2,\) and torch.int64; 3 integers are needed"),
        ([[0, 1, 2]], r"\(1, 3\)"),
        (1, r"actions of the shape \(\)"),
        ([0.0, 1.0, 2.0], "torch.float32; 3 integers are needed"),
        ([True, False, True], "torch.bool; 3 integers are needed"),
    ],
)
def test_wrong_actions_are_refused(function_toolbox, actions, message):
    images = random_images(3, 8, 8)
    before = images.clone()
    with pytest.raises(ValueError, match=message):
        function_toolbox.apply(images, actions)
    assert torch.equal(images, before)


def keep(name: str) -> Tool:
    return Tool(name, lambda images: images)


@pytest.mark.parametrize(
    ("tools", "error", "message"),
    [
        ([], ValueError, "tools is empty"),
        ([keep("a"), keep("b"), keep("a")], ValueError, "the name 'a' is taken twice"),
        ([keep("a"), keep("stop")], ValueError, "the name 'stop' is reserved"),
        ([keep("a"), abs], TypeError, "abs.* is not a Tool; Tool.from_function"),
    ],
)
def test_what_no_toolbox_can_be_made_of(tools, error, message):
    with pytest.raises(error, match=message):
        Toolbox(tools)


def test_toolboxes_combine_and_stay_as_they_are(function_toolbox, network_toolbox):
    combined = Toolbox([*network_toolbox, keep("mine"), *function_toolbox[:2]])
    assert combined.names == ("three", "eight", "mine", "median", "soften")
    assert combined.action_names == (*combined.names, "stop")
    assert combined.stop == len(combined) == 5
    assert combined.index("mine") == 2 and combined.index("stop") == 5
    assert len(network_toolbox) == 2 and len(function_toolbox) == 3
    with pytest.raises(TypeError):
        combined[0] = keep("other")


def test_index_of_an_unknown_tool_lists_the_known(function_toolbox):
    with pytest.raises(ValueError, match="'mean' is not an action of the toolbox 'functions': median, soften"):
        function_toolbox.index("mean")


def test_a_name_is_in_the_toolbox_or_not(function_toolbox):
    assert "median" in function_toolbox and function_toolbox[0] in function_toolbox
    assert "stop" not in function_toolbox


def noisy_patches() -> tuple[torch.Tensor, torch.Tensor]:
    """Thirteen images and what they should be."""
    generator = torch.Generator().manual_seed(0)
    reference = nn.functional.interpolate(torch.rand(13, 3, 9, 9, generator=generator), 63, mode="bicubic").clamp(0, 1)
    return (reference + 0.05 * torch.randn(reference.shape, generator=generator)).clamp(0, 1), reference


def test_bfloat16_equals_a_naive_loop_of_plain_networks_in_bfloat16():
    toolbox = load_toolbox("rl-restore-12", dtype="bfloat16")
    images, reference = noisy_patches()
    result = toolbox.apply(images, torch.arange(13))
    for row, tool in enumerate(toolbox):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            alone = plain_network(tool.module)(images[row : row + 1]).float()
        one, other = psnr(result[row : row + 1], reference[row : row + 1]), psnr(alone, reference[row : row + 1])
        assert float((one - other).abs()) < 0.02


def test_bfloat16_changes_little_and_keeps_float32_images():
    toolbox = load_toolbox("rl-restore-12")
    images, reference = noisy_patches()
    actions = torch.arange(13)
    exact, result = toolbox.apply(images, actions), toolbox.to("cpu", "bfloat16").apply(images, actions)
    assert result.dtype == torch.float32
    assert torch.equal(result[12], images[12])
    assert all(not torch.equal(exact[row], result[row]) for row in range(12))
    by = (psnr(exact, reference) - psnr(result, reference)).abs()
    assert float(by.mean()) < 0.02
    assert float(by.max()) < 0.1  # of tools that do not suit their image


def test_functions_know_nothing_of_bfloat16(function_toolbox):
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    rounded = function_toolbox.to("cpu", "bfloat16")
    assert (rounded.dtype, rounded.to("cpu").dtype, function_toolbox.dtype) == ("bfloat16", "bfloat16", "float32")
    assert torch.equal(rounded.apply(images, [0, 1, 2]), function_toolbox.apply(images, [0, 1, 2]))


def test_an_unknown_precision_is_refused(function_toolbox):
    with pytest.raises(ValueError, match="dtype='float16' is not one of 'float32', 'bfloat16'"):
        function_toolbox.to("cpu", "float16")


def test_bfloat16_that_the_processor_imitates_gives_a_warning(function_toolbox, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.warns(UserWarning, match="imitates bfloat16, which is 4 to 7 times slower"):
        assert load_toolbox(function_toolbox, dtype="bfloat16").dtype == "bfloat16"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_toolbox(function_toolbox, dtype="bfloat16")
