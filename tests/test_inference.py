import cv2
import numpy as np
import pytest
import torch

from restore_env import FormatError, Tool, Toolbox, ToolError, restore
from restore_env.policies import GreedyWithReference, Oracle, Policy

SHAPES = [(70, 80), (70, 80, 1), (70, 80, 2), (70, 80, 3), (70, 80, 4)]
KINDS = ["grey", "grey-1", "grey-alpha", "rgb", "rgba"]
SMALL = [(1, 1, 3), (1, 1), (1, 200, 4), (62, 3, 2), (63, 62, 3)]


class ByFirstPixel(Policy):
    """A patch votes for the action that its first pixel stands for."""

    name = "by-first-pixel"
    patch_size = 16

    def act(self, observation, state):
        return observation.image[:, 0, 0, 0].long() // 64, state


@pytest.fixture
def raising():
    """Tools that add 10/255, and the multiples of it for red, green and blue."""
    colours = torch.tensor([0.0, 10.0, 20.0]).view(3, 1, 1) / 255
    return Toolbox([Tool("raise", lambda images: images + 10 / 255), Tool("tint", lambda images: images + colours)])


def photo(shape, dtype, seed=0, highest=None):
    highest = np.iinfo(dtype).max if highest is None else highest
    return np.random.default_rng(seed).integers(0, highest, shape, dtype=dtype, endpoint=True)


def colours(image):
    return image if image.ndim == 2 else image[..., : 1 if image.shape[2] < 3 else 3]


def alpha(image):
    return None if image.ndim == 2 or image.shape[2] in (1, 3) else image[..., -1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=KINDS)
def test_shape_dtype_and_alpha_are_kept(shape, dtype, raising):
    image = photo(shape, dtype, highest=np.iinfo(dtype).max // 2)
    given = image.copy()
    restored = restore(image, "fixed:raise", raising).image
    assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
    step = 10 if dtype == np.uint8 else 10 * 257
    assert np.array_equal(colours(restored), colours(image) + step)
    assert alpha(image) is None or np.array_equal(alpha(restored), alpha(image))
    assert np.array_equal(image, given)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=KINDS)
def test_stop_returns_the_photo_bit_for_bit(shape, dtype, raising):
    image = photo(shape, dtype)
    restored = restore(image, "stop", raising)
    assert np.array_equal(restored.image, image)
    assert not np.shares_memory(restored.image, image)
    assert [step["action"] for step in restored.steps] == ["stop"]


def test_every_16_bit_value_survives(raising):
    image = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(restore(image, "stop", raising).image, image)


@pytest.mark.parametrize("shape", SMALL)
def test_photos_smaller_than_a_patch_are_restored(shape, raising):
    image = photo(shape, np.uint8, highest=200)
    restored = restore(image, "fixed:raise", raising)
    assert np.array_equal(colours(restored.image), colours(image) + 10)
    assert restored.image.shape == image.shape
    assert np.array_equal(restore(image, "stop", raising).image, image)
    assert restored.steps[0]["votes"] == {"raise": 1}


def test_a_small_photo_is_continued_by_reflection(function_toolbox):
    image = photo((40, 50, 3), np.uint8)
    enlarged = np.pad(image, ((0, 23), (0, 13), (0, 0)), mode="symmetric")
    expected = cv2.GaussianBlur(enlarged, (5, 5), 1.0)[:40, :50]
    assert np.array_equal(restore(image, "fixed:soften", function_toolbox).image, expected)


def test_colours_keep_their_order(raising):
    image = photo((64, 64, 3), np.uint8, highest=200)
    expected = image + np.array([0, 10, 20], dtype=np.uint8)
    assert np.array_equal(restore(image, "fixed:tint", raising).image, expected)


def test_grey_stays_grey_where_a_tool_tints(raising):
    image = photo((64, 64), np.uint8, highest=200)
    assert np.array_equal(restore(image, "fixed:tint", raising).image, image + 10)  # the mean of 0, 10 and 20


def test_values_out_of_range_are_clipped(raising):
    image = photo((64, 64, 3), np.uint8)
    restored = restore(image, "fixed:raise,raise,raise", raising).image
    assert np.array_equal(restored, np.minimum(image.astype(int) + 30, 255))


def test_steps_tell_the_actions_and_the_votes(function_toolbox):
    image = np.zeros((40, 50, 3), dtype=np.uint8)  # six patches; what is left votes for nothing
    image[:16, :48] = 2 * 64 + 10
    image[16:32, 16:32] = 1 * 64 + 10
    restored = restore(image, ByFirstPixel(), function_toolbox, decide="vote", max_steps=2)
    votes = {"median": 2, "soften": 1, "brighten": 3}
    assert restored.steps == [
        {"step": 1, "action": "brighten", "votes": votes},
        {"step": 2, "action": "brighten", "votes": votes},
    ]
    assert np.array_equal(restored.image, image + 6)


def test_stop_is_the_last_step(function_toolbox):
    image = photo((63, 63, 3), np.uint8)
    steps = restore(image, "fixed:soften", function_toolbox).steps
    assert steps == [
        {"step": 1, "action": "soften", "votes": {"soften": 1}},
        {"step": 2, "action": "stop", "votes": {"stop": 1}},
    ]


def test_max_steps_bounds_the_toolchain(raising):
    image = photo((63, 63, 3), np.uint8, highest=200)
    restored = restore(image, "fixed:raise,raise,raise", raising, max_steps=2)
    assert np.array_equal(restored.image, image + 20)
    assert len(restored.steps) == 2


@pytest.mark.parametrize("policy", ["greedy", "oracle", GreedyWithReference(), Oracle()])
def test_policies_that_need_a_reference_are_refused(policy, raising):
    with pytest.raises(ValueError, match="needs a reference; a photo that is to be restored has none"):
        restore(photo((64, 64, 3), np.uint8), policy, raising)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1, 2]], "image is list; a uint8 or uint16 array is needed"),
        (None, "image is NoneType"),
        (np.zeros((64, 64, 3), dtype=np.float32), "image is an array of float32"),
        (np.zeros((64, 64, 3), dtype=bool), "image is an array of bool"),
        (torch.zeros(64, 64, 3, dtype=torch.uint8), "image is Tensor"),
    ],
    ids=["list", "none", "float", "bool", "tensor"],
)
def test_what_is_no_image_is_a_type_error(image, message, raising):
    with pytest.raises(TypeError, match=message):
        restore(image, "stop", raising)


@pytest.mark.parametrize("shape", [(), (64,), (64, 64, 5), (64, 64, 0), (0, 64, 3), (64, 0), (2, 64, 64, 3)])
def test_other_shapes_are_refused(shape, raising):
    with pytest.raises(ValueError, match=r"image has the shape \(.*\); \(h, w\) or \(h, w, channels\)"):
        restore(np.zeros(shape, dtype=np.uint8), "stop", raising)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"policy": "nope"}, ValueError, "policy='nope' is neither"),
        ({"policy": 3}, TypeError, "policy=3"),
        ({"toolbox": "nope"}, ValueError, "toolbox='nope' is neither"),
        ({"max_steps": 0}, ValueError, "max_steps=0"),
        ({"device": "gpu"}, ValueError, "device='gpu'"),
    ],
)
def test_other_wrong_arguments_are_refused(arguments, error, message, raising):
    with pytest.raises(error, match=message):
        restore(photo((64, 64, 3), np.uint8), **({"policy": "stop", "toolbox": raising} | arguments))


def test_a_damaged_policy_folder_is_refused(tmp_path, raising):
    (tmp_path / "policy.json").write_text("{")
    with pytest.raises(FormatError, match=r"policy\.json"):
        restore(photo((64, 64, 3), np.uint8), tmp_path, raising)


def test_a_tool_that_fails_is_named():
    def fail(images):
        raise RuntimeError("out of ideas")

    with pytest.raises(ToolError, match="tool 'broken' raised RuntimeError: out of ideas"):
        restore(photo((64, 64, 3), np.uint8), "fixed:broken", Toolbox([Tool("broken", fail)]))


def test_the_shipped_toolbox_restores_a_small_photo():
    image = photo((20, 30, 3), np.uint8)
    restored = restore(image, "fixed:noise-3", "rl-restore-12")
    assert (restored.image.shape, restored.image.dtype) == (image.shape, image.dtype)
    assert not np.array_equal(restored.image, image)
    assert [step["action"] for step in restored.steps] == ["noise-3", "stop"]


class Darken(torch.nn.Module):
    radius = 0

    def forward(self, images):
        return images - 20 / 255


def test_who_watches_sees_each_step_of_each_block(monkeypatch):
    monkeypatch.setattr("restore_env.inference.BLOCK_PIXELS", 100 * 100)
    toolbox = Toolbox([Tool.from_module("darker", Darken())])
    image = np.full((100, 200, 3), 200, np.uint8)
    seen = []
    found = restore(image, "fixed:darker,darker", toolbox, strength=0.5, record=True, watch=seen.append)
    assert len(seen) == 4 and (image == 200).all()
    for number, shown in enumerate(seen):
        block, step = divmod(number, 2)
        assert (shown[:, 190] == (found.images[step][:, 190] if block else 200)).all()
        assert (shown[:, 10] == found.images[1 if block else step][:, 10]).all()
