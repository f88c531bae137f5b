"""The picture of an episode shows what was computed."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from restore_env.envs.rendering import BACKGROUND, CAPTION, MARGIN, PANEL, Panel, draw_episode, draw_panels
from restore_env.restoration.batch import RestorationBatch

STOP = 3  # of function_toolbox
SCALE = 8  # from patches of 32 pixels to panels of 256


@pytest.fixture
def env(photos, function_toolbox):
    return gym.make(
        "ImageRestore-v1", images=photos, toolbox=function_toolbox, patch_size=PANEL // SCALE, render_mode="rgb_array"
    )


def panel(frame: np.ndarray, column: int, row: int = 0) -> np.ndarray:
    """The image in a panel of a frame."""
    top, left = MARGIN + CAPTION + row * (CAPTION + PANEL + MARGIN), MARGIN + column * (PANEL + MARGIN)
    return frame[top : top + PANEL, left : left + PANEL]


def caption(frame: np.ndarray, column: int) -> np.ndarray:
    left = MARGIN + column * (PANEL + MARGIN)
    return frame[MARGIN : MARGIN + CAPTION, left : left + PANEL]


def is_empty(part: np.ndarray) -> bool:
    return bool((part == np.array(BACKGROUND)).all())


def enlarged(image: np.ndarray) -> np.ndarray:
    return image.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def test_frames_keep_their_size_and_are_large_enough(env):
    env.reset(seed=0)
    frames = [env.render()] + [(env.step(action), env.render())[1] for action in (0, 1, 2)]
    env.reset()
    frames.append(env.render())
    assert {frame.shape for frame in frames} == {(MARGIN + CAPTION + PANEL + MARGIN, 5 * (PANEL + MARGIN) + MARGIN, 3)}
    assert all(frame.dtype == np.uint8 and min(frame.shape[:2]) >= 256 for frame in frames)


def test_panels_show_the_images_of_the_episode(env, photos):
    distorted = photos[0][:32, :32] // 2
    reference = photos[0][:32, :32].copy()
    observation, _ = env.reset(options={"distorted": distorted, "reference": reference})
    images = [observation["image"]]
    for action in (2, 0, 1):
        frame = env.render()
        for column in range(4):
            if column < len(images):
                assert np.array_equal(panel(frame, column), enlarged(images[column]))
                assert not is_empty(caption(frame, column))
            else:
                assert is_empty(panel(frame, column)) and is_empty(caption(frame, column))
        assert np.array_equal(panel(frame, 4), enlarged(reference))
        images.append(env.step(action)[0]["image"])
    frame = env.render()
    assert all(np.array_equal(panel(frame, column), enlarged(image)) for column, image in enumerate(images))
    assert np.array_equal(panel(frame, 4), enlarged(reference))


def test_stop_has_a_panel_of_its_own(env):
    env.reset(seed=0)
    env.step(0)
    before = env.render()
    env.step(STOP)
    frame = env.render()
    assert np.array_equal(panel(frame, 2), panel(frame, 1))
    assert not np.array_equal(caption(frame, 2), caption(frame, 1))
    assert is_empty(panel(frame, 3))
    assert np.array_equal(frame[:, : MARGIN + 2 * (PANEL + MARGIN)], before[:, : MARGIN + 2 * (PANEL + MARGIN)])


def test_an_episode_ended_for_being_worse_shows_no_stop(photos, function_toolbox):
    env = gym.make(
        "ImageRestore-v1",
        images=photos,
        toolbox=function_toolbox,
        patch_size=32,
        stop_if_worse=True,
        render_mode="rgb_array",
    )
    reference = photos[0][:32, :32].copy()
    distorted = np.clip(reference.astype(int) + 2, 0, 255).astype(np.uint8)
    env.reset(options={"distorted": distorted, "reference": reference})
    assert env.step(2)[2]  # brighter still: worse
    assert not is_empty(panel(env.render(), 1))
    assert is_empty(panel(env.render(), 2)) and is_empty(caption(env.render(), 2))


def test_a_frame_is_a_picture_of_the_moment(env):
    env.reset(seed=0)
    frame = env.render()
    kept = frame.copy()
    env.step(2)
    env.render()
    assert np.array_equal(frame, kept)


def test_no_trace_of_the_episode_before(env):
    env.reset(seed=0)
    for action in (0, 1, 2):
        env.step(action)
    env.reset(seed=5)
    frame = env.render()
    env.reset(seed=5)
    assert np.array_equal(env.render(), frame)
    assert all(is_empty(panel(frame, column)) for column in (1, 2, 3))


def test_max_steps_decides_how_many_panels(photos, function_toolbox):
    env = gym.make("ImageRestore-v1", images=photos, toolbox=function_toolbox, max_steps=1, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape[1] == 3 * (PANEL + MARGIN) + MARGIN


def test_rendering_needs_a_mode_and_an_episode(env, photos, function_toolbox):
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) first"):
        env.unwrapped.render()
    silent = gym.make("ImageRestore-v1", images=photos, toolbox=function_toolbox).unwrapped
    silent.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert silent.render() is None


def test_a_batch_without_history_cannot_be_drawn(function_toolbox):
    batch = RestorationBatch(function_toolbox)
    batch.start(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="record=True"):
        draw_episode(batch, 0)


def test_a_batch_without_references_is_drawn_without_psnr(function_toolbox):
    batch = RestorationBatch(function_toolbox, record=True)
    batch.start(torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    batch.step(torch.tensor([0]))
    frame = draw_episode(batch, 0)
    assert frame.shape[1] == 4 * (PANEL + MARGIN) + MARGIN  # no panel for a reference
    assert is_empty(caption(frame, 0)[22:])  # a title, but no line with the PSNR
    assert not is_empty(caption(frame, 0)[:22])


def test_large_images_are_averaged():
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    shown = panel(draw_panels([[Panel("photo", "", image)]]), 0)
    averaged = image.reshape(256, 2, 256, 2, 3).mean((1, 3))
    assert np.abs(shown - averaged).max() <= 0.5  # rounding


@pytest.mark.parametrize(("height", "width"), [(16, 32), (32, 16), (1, 40)])
def test_the_longer_side_fills_the_panel_and_the_shape_stays(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    shown = panel(draw_panels([[Panel("", "", image)]]), 0)
    factor = PANEL / max(height, width)
    expected = np.zeros((PANEL, PANEL), bool)
    expected[: round(height * factor), : round(width * factor)] = True
    assert np.array_equal((shown == 200).all(2), expected)


def test_rows_of_different_lengths():
    dark, light = (np.full((8, 8, 3), value, np.uint8) for value in (10, 240))
    frame = draw_panels([[Panel("a", "", dark)], [Panel("b", "", light), Panel("c", "", dark)]])
    assert (panel(frame, 0) == 10).all() and is_empty(panel(frame, 1))
    assert (panel(frame, 0, row=1) == 240).all() and (panel(frame, 1, row=1) == 10).all()
