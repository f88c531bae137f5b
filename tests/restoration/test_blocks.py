"""Blocks of a photo, what they see, and that a photo restored in blocks is the photo restored at once."""

import numpy as np
import pytest
import torch

import restore_env.inference
from restore_env import restore
from restore_env.policies.q_policy import QPolicy
from restore_env.restoration.blocks import blocks_of
from restore_env.restoration.canvas import Canvas
from restore_env.restoration.regions import axis_of

SIZE = 16


class ByBrightness(QPolicy):
    """Values tools by the brightness of the patch: dark ones get the first, bright ones the second."""

    name, patch_size = "by-brightness", SIZE

    def __init__(self, toolbox):
        self.action_names = toolbox.action_names

    def q_values(self, observation, state):
        values = torch.zeros(len(observation.image), len(self.action_names))
        bright = observation.image.float().mean((1, 2, 3)) / 255
        values[:, 0], values[:, 1] = 1 - bright, bright
        return values, state


@pytest.fixture
def photo():
    rng = np.random.default_rng(0)
    shades = np.kron(rng.integers(0, 2, (4, 6)) * 150, np.ones((40, 40))).astype(np.uint8)
    return shades[:150, :230, None] + rng.integers(0, 90, (150, 230, 3), dtype=np.uint8)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(restore_env.inference, "BLOCK_PIXELS", 64 * 64)


@pytest.mark.parametrize("most", [1, 2000, 10_000, 1e9])
def test_blocks_fill_the_photo_once_and_decide_for_each_region_once(most):
    rows, columns = axis_of(150, SIZE), axis_of(230, SIZE)
    pixels, regions = np.zeros((150, 230), int), np.zeros((len(rows), len(columns)), int)
    for block in blocks_of(rows, columns, most):
        pixels[block.rows.own, block.columns.own] += 1
        regions[block.rows.regions, block.columns.regions] += 1
        if most > 2 * SIZE**2:
            assert pixels[block.rows.own, block.columns.own].size <= 1.5 * most
    assert (pixels == 1).all() and (regions == 1).all()


def test_a_block_sees_its_regions_where_they_are_in_the_photo():
    rows, columns = axis_of(150, SIZE), axis_of(230, SIZE)
    for block in blocks_of(rows, columns, 5000):
        for stretch, axis in zip(block, (rows, columns), strict=True):
            starts = [start + stretch.begin for start in stretch.axis.starts[stretch.decided]]
            assert starts == axis.starts[stretch.regions]
            edges = [edge + stretch.begin for edge in stretch.axis.edges]
            assert edges[stretch.around] >= 0 and edges[stretch.decided.stop] == stretch.own.stop
            assert stretch.begin >= 0 and stretch.begin + stretch.axis.side <= axis.side


def test_what_a_block_sees_is_read_and_what_it_fills_is_written(photo):
    canvas = Canvas(photo)
    for block in blocks_of(axis_of(150, SIZE), axis_of(230, SIZE), 5000):
        seen = canvas.read(block)
        assert seen.shape[2:] == (block.rows.axis.side, block.columns.axis.side)
        canvas.write(block, [seen])
    assert (canvas.images[-1] == photo).all()


def test_a_photo_in_blocks_is_restored_as_at_once(network_toolbox, photo, monkeypatch):
    policy = ByBrightness(network_toolbox)
    options = {"max_steps": 2, "record": True, "strength": 0.75}
    at_once = restore(photo, policy, network_toolbox, **options)
    monkeypatch.setattr(restore_env.inference, "BLOCK_PIXELS", 64 * 64)
    in_blocks = restore(photo, policy, network_toolbox, **options)
    assert len(np.unique(at_once.choices)) == 2 and (in_blocks.choices == at_once.choices).all()
    assert in_blocks.steps == at_once.steps and in_blocks.expected_gain == pytest.approx(at_once.expected_gain)
    for one, other in zip(in_blocks.images, at_once.images, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.usefixtures("small_blocks")
def test_a_given_toolchain_in_blocks_gives_the_same(network_toolbox, photo, monkeypatch):
    name = network_toolbox.names[0]
    in_blocks = restore(photo, f"fixed:{name}", network_toolbox)
    monkeypatch.setattr(restore_env.inference, "BLOCK_PIXELS", 1e9)
    at_once = restore(photo, f"fixed:{name}", network_toolbox)
    assert np.abs(in_blocks.image.astype(int) - at_once.image).max() <= 1
    assert in_blocks.choices.tolist() == at_once.choices.tolist()


@pytest.mark.usefixtures("small_blocks")
def test_the_gate_is_one_for_all_blocks(network_toolbox, photo, monkeypatch):
    policy = ByBrightness(network_toolbox)
    expected = restore(photo, policy, network_toolbox, max_steps=1).expected_gain
    for gate, left_alone in ((expected - 0.01, False), (expected + 0.01, True)):
        monkeypatch.setattr("restore_env.policies.regions.GATE", gate)
        restored = restore(photo, policy, network_toolbox, max_steps=1)
        assert (restored.image == photo).all() == left_alone
        assert restored.expected_gain == pytest.approx(expected)
        assert (restored.steps[0]["action"] == "stop") == left_alone


@pytest.mark.usefixtures("small_blocks")
def test_blocks_that_end_early_keep_their_result(network_toolbox, photo):
    class StopsInTheDark(ByBrightness):
        def q_values(self, observation, state):
            values, state = super().q_values(observation, state)
            values[:, 0], values[:, -1] = -1.0, 0.1
            return 10 * values, state

    photo[:, :120] //= 16
    restored = restore(photo, StopsInTheDark(network_toolbox), network_toolbox, max_steps=3, record=True)
    assert {len(restored.images), len(restored.choices), len(restored.steps)} == {3}
    assert (restored.images[0][:, :80] == restored.image[:, :80]).all()
    assert all(sum(step["votes"].values()) == restored.choices[0].size for step in restored.steps)


@pytest.mark.usefixtures("small_blocks")
def test_progress_goes_from_block_to_block(network_toolbox, photo):
    shares = []
    restore(photo, ByBrightness(network_toolbox), network_toolbox, progress=shares.append)
    assert len(shares) > 4 and shares == sorted(shares) and shares[-1] == 1
