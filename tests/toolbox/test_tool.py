"""The contract of a tool: one float tensor in, a new one of the same shape out, or an error that says who and why."""

import numpy as np
import pytest
import torch
from own_networks import Darker
from torch import nn

from restore_env import Tool, Toolbox, ToolError
from restore_env.restoration.batch import RestorationBatch
from restore_env.toolbox.fingerprint import digest_of_toolbox
from restore_env.utils.tensors import images_to_tensor


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 12, 14, generator=torch.Generator().manual_seed(0))


def raising(_):
    raise RuntimeError("out of ink\nwith a second line")


WRONG_FUNCTIONS = [
    (raising, "uint8", "raised RuntimeError: out of ink"),
    (lambda image: image[:-1], "uint8", r"the shape \(11, 14, 3\) for an image of the shape \(12, 14, 3\)"),
    (lambda image: image[..., 0], "uint8", r"the shape \(12, 14\)"),
    (lambda image: None, "uint8", "returned NoneType"),
    (lambda image: image.tolist(), "uint8", "returned list"),
    (lambda image: image / 255, "uint8", "returned float64 for uint8"),
    (lambda image: image.astype(np.int32), "uint8", "returned int32 for uint8"),
    (lambda image: image * np.nan, "float32", "returned NaN or infinity"),
    (lambda image: image / 0 * np.inf, "float32", "returned NaN or infinity"),
    (lambda image: image + np.float32(1e20), "float32", "returned values beyond 1,000,000"),
    (lambda image: (image * 255).astype(np.uint8), "float32", "returned uint8"),
    (lambda image: image.astype(complex), "float32", "returned complex128"),
]

WRONG_TENSOR_FUNCTIONS = [
    (raising, "raised RuntimeError: out of ink"),
    (lambda x: x[:, :, :-1], r"the shape \(3, 3, 11, 14\) for \(3, 3, 12, 14\)"),
    (lambda x: x[:1], r"the shape \(1, 3, 12, 14\)"),
    (lambda x: x * torch.nan, "returned NaN or infinity"),
    (lambda x: x - torch.inf, "returned NaN or infinity"),
    (lambda x: x + 1e30, "returned values beyond 1,000,000"),
    (lambda x: x - 1.1e6, "returned values beyond 1,000,000"),
    (lambda x: x.double() + 1e300, "returned values beyond 1,000,000"),  # infinity as float32
    (lambda x: (x * 255).to(torch.uint8), "returned torch.uint8, not floats"),
    (lambda x: None, "returned NoneType, not a tensor"),
    (lambda x: x.numpy(), "returned ndarray, not a tensor"),
]


def assert_refused(tool: Tool, images: torch.Tensor, cause: str) -> None:
    """Alone and in a toolbox, the error names tool and cause in one line, and the images stay as they are."""
    before = images.clone()
    for attempt in (lambda: tool(images), lambda: Toolbox([tool]).apply(images, [0, 0, 0])):
        with pytest.raises(ToolError, match=f"^tool 'wrong' .*{cause}") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert torch.equal(images, before)


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize(("function", "dtype", "cause"), WRONG_FUNCTIONS)
def test_wrong_image_function_is_a_tool_error(function, dtype, cause, images):
    assert_refused(Tool.from_function("wrong", function, dtype=dtype), images, cause)


@pytest.mark.parametrize(("function", "cause"), WRONG_TENSOR_FUNCTIONS)
def test_wrong_tensor_function_is_a_tool_error(function, cause, images):
    assert_refused(Tool("wrong", function), images, cause)


def test_wrong_module_is_a_tool_error(images):
    assert_refused(Tool.from_module("wrong", nn.Conv2d(3, 3, 3)), images, r"the shape \(\d, 3, 10, 12\)")
    assert_refused(Tool.from_module("wrong", nn.Conv2d(4, 3, 1)), images, "raised RuntimeError: .*channels")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_become_those_of_the_images(images, dtype):
    tool = Tool("other", lambda x: x.to(dtype))
    for result in (tool(images), Toolbox([tool]).apply(images, [0, 0, 0])):
        assert result.dtype == torch.float32
        assert torch.equal(result, images.to(dtype).float())
    double = Tool.from_function("double", lambda image: image.astype(np.float64), dtype="float32")
    assert torch.equal(double(images), images)


def test_large_values_are_left_alone(images):
    assert torch.equal(Tool("bright", lambda x: x * 1e5)(images), images * 1e5)


def test_a_huge_result_is_blamed_on_the_tool_and_not_on_the_reward(images):
    batch = RestorationBatch(Toolbox([Tool("huge", lambda x: x * 1e30)]))
    batch.start(images, images)
    with pytest.raises(ToolError, match="tool 'huge' returned values beyond 1,000,000"):
        batch.step(torch.tensor([0, 0, 0]))


def test_tool_error_keeps_the_cause(images):
    with pytest.raises(ToolError) as caught:
        Tool("wrong", raising)(images)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_byte_function_gets_rounded_clipped_contiguous_rgb_images_one_by_one():
    seen = []
    tool = Tool.from_function("keep", lambda image: (seen.append(image), image)[1])
    images = torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1).repeat(2, 1, 4, 5)
    result = tool(images)
    assert [image.shape for image in seen] == [(4, 5, 3)] * 2
    assert all(image.dtype == np.uint8 and image.flags.c_contiguous for image in seen)
    assert seen[0][0, 0].tolist() == [0, 128, 255]
    assert result[0, :, 0, 0].tolist() == pytest.approx([0, 128 / 255, 1])


def test_float_function_gets_values_that_are_clipped_but_not_rounded():
    seen = []
    tool = Tool.from_function("keep", lambda image: (seen.append(image), image)[1], dtype="float32")
    result = tool(torch.tensor([-0.5, 0.123456, 1.5]).view(1, 3, 1, 1).repeat(1, 1, 2, 2))
    assert seen[0].dtype == np.float32
    assert result[0, :, 0, 0].tolist() == pytest.approx([0, 0.123456, 1])


def test_byte_function_is_exact_on_bytes(photos):
    batch = images_to_tensor(photos)
    inverted = Tool.from_function("invert", lambda image: 255 - image)(batch)
    assert torch.equal((inverted * 255).round().to(torch.uint8), 255 - (batch * 255).round().to(torch.uint8))


def test_function_that_works_in_place_leaves_the_batch_alone(photos):
    def blacken(image):
        image[:] = 0
        return image

    batch = images_to_tensor(photos)
    before = batch.clone()
    for dtype in ("uint8", "float32"):
        result = Tool.from_function("blacken", blacken, dtype=dtype)(batch)
        assert not result.any()
        assert torch.equal(batch, before)


def test_module_is_put_in_evaluation_mode(images):
    network = nn.Sequential(nn.Dropout(0.5)).train()
    tool = Tool.from_module("dropout", network)
    assert torch.equal(tool(images), images)
    assert tool.module is network


def test_moving_a_network_copies_it_and_a_function_stays():
    network = Tool.from_module("net", nn.Conv2d(3, 3, 1), removes="noise", interval=(0.0, 12.5))
    moved = network.to("cpu")
    assert moved.module is not network.module
    assert torch.equal(moved.module.weight, network.module.weight)
    assert (moved.name, moved.removes, moved.interval) == ("net", "noise", (0.0, 12.5))
    function = Tool.from_function("keep", lambda image: image)
    assert function.to("cpu") is function
    assert function.module is None and function.radius is None


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_tool_needs_a_name(name):
    with pytest.raises(ValueError, match="needs a name, such as 'median-3'"):
        Tool(name, lambda images: images)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tool("median", 3), TypeError, "tool 'median': 3 cannot be called"),
        (lambda: Tool.from_module("median", lambda x: x), TypeError, "not a torch.nn.Module; Tool.from_function"),
        (lambda: Tool.from_function("median", abs, dtype="int8"), ValueError, "dtype='int8' is not one of 'uint8'"),
        (lambda: Tool("median", abs, removes=3), ValueError, "tool 'median': removes is int, not a text"),
        (lambda: Tool("median", abs, interval=5), ValueError, "tool 'median': interval=5 is not two numbers"),
        (lambda: Tool.from_function("a", abs, cost=-1), ValueError, "tool 'a': cost=-1 is not a number of at least 0"),
        (lambda: Tool.from_module("a", nn.Identity(), cost=torch.inf), ValueError, "cost=inf is not a number of at"),
        (lambda: Tool.parametric("a", abs, [1]), TypeError, "tool 'a': <.* abs> is not a torch.nn.Module"),
        (
            lambda: Tool.parametric("a", Darker(), []),
            ValueError,
            r"levels=\[\] are not different numbers, at least one",
        ),
        (lambda: Tool.parametric("a", Darker(), [5, 5.0]), ValueError, r"levels=\[5, 5.0\] are not different numbers"),
        (lambda: Tool.parametric("a", Darker(), ["5"]), ValueError, "tool 'a': level='5' is not a finite number"),
        (lambda: Tool.parametric("a", Darker(), [1], scale=torch.nan), ValueError, "scale=nan is not a finite number"),
    ],
)
def test_what_no_tool_can_be_made_of(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_given_cost_is_taken_and_counts_in_a_toolbox():
    slow = Tool.from_function("slow", lambda image: image, removes="noise", interval=(0, 50), cost=1e6)
    assert (slow.removes, slow.interval, slow.cost) == ("noise", (0.0, 50.0), 1e6)
    cheap = Tool.from_module("cheap", nn.Conv2d(3, 3, 1), cost=2)
    counted = Tool.from_module("counted", nn.Conv2d(3, 3, 1))
    toolbox = Toolbox([slow, cheap, counted, Tool("free", lambda images: images)])
    for each in (toolbox, toolbox.to("cpu")):
        assert (each.costs * 1e9 / 63**2).round().tolist() == [1e6, 2, 9, 0, 0]


def test_a_network_that_needs_large_multiples_has_a_cost():
    network = nn.Conv2d(3, 3, 1)
    network.multiple = 128
    assert Tool.from_module("coarse", network).cost == 9


def test_one_network_makes_a_tool_for_each_level(images):
    tools = Tool.parametric("noise", Darker(), levels=[5, 12.5], scale=1 / 255, removes="noise")
    assert [tool.name for tool in tools] == ["noise-5", "noise-12.5"]
    assert [(tool.removes, tool.interval) for tool in tools] == [("noise", (5, 5)), ("noise", (12.5, 12.5))]
    assert [(tool.radius, tool.multiple) for tool in tools] == [(0, 2)] * 2
    assert tools[0].module.network is tools[1].module.network
    toolbox = Toolbox(tools)
    for each in (toolbox, toolbox.to("cpu")):
        restored = each.apply(images, [0, 1, 2])
        expected = torch.stack([images[0] - 5 / 255, images[1] - 12.5 / 255, images[2]])
        assert torch.allclose(restored, expected)
        assert each[0].module.network is each[1].module.network
    assert digest_of_toolbox(toolbox) != digest_of_toolbox(Toolbox(Tool.parametric("noise", Darker(), [5, 12])))


def test_networks_of_half_precision_have_fingerprints():
    halves = [Toolbox([Tool.from_module("half", nn.Conv2d(3, 3, 1).bfloat16())]) for _ in range(2)]
    digests = [digest_of_toolbox(toolbox) for toolbox in (*halves, halves[0].to("cpu"))]
    assert digests[0] == digests[2] != digests[1]
