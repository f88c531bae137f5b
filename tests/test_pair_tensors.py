"""Pairs on a device, and a loop of episodes over them."""

import numpy as np
import pytest
import torch

from restore_env.pair_tensors import PairTensors, restart_ended
from restore_env.pairs import Pairs, as_source, draw_pairs
from restore_env.restoration import RestorationBatch


@pytest.fixture
def pairs(photos) -> Pairs:
    return draw_pairs(as_source(photos, "moderate", 24), 5, seed=0)


def test_rows_are_the_images_as_floats(pairs):
    distorted, reference = PairTensors(pairs)[torch.tensor([3, 0])]
    assert distorted.shape == reference.shape == (2, 3, 24, 24)
    assert distorted.dtype == torch.float32
    for tensor, images in ((distorted, pairs.distorted), (reference, pairs.reference)):
        expected = np.stack([images[3], images[0]]).astype(np.float32).transpose(0, 3, 1, 2) / 255
        assert np.array_equal(tensor.numpy(), expected)


def test_pairs_of_different_sizes_are_refused():
    images = [np.zeros((11, 11, 3), np.uint8), np.zeros((12, 11, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"shapes \(11, 11, 3\) and \(12, 11, 3\); one size is needed"):
        PairTensors(Pairs(images, images))


def test_ended_episodes_begin_anew_and_the_others_go_on(pairs, function_toolbox):
    tensors, generator = PairTensors(pairs), torch.Generator().manual_seed(0)
    batch = RestorationBatch(function_toolbox)
    batch.start(*tensors[torch.arange(4)])
    stop = function_toolbox.stop
    batch.step(torch.tensor([0, stop, 1, stop]))
    before = batch.images.clone()
    rows = restart_ended(batch, tensors, generator)
    assert rows.tolist() == [1, 3]
    assert torch.equal(batch.images[[0, 2]], before[[0, 2]])
    assert batch.steps.tolist() == [1, 0, 1, 0]
    assert not batch.ended.any()
    everything, _ = tensors[torch.arange(len(tensors))]
    for row in rows.tolist():
        assert any(torch.equal(batch.images[row], image) for image in everything)
    assert restart_ended(batch, tensors, generator).tolist() == []


def test_draws_are_seeded_and_reach_every_pair(pairs):
    tensors = PairTensors(pairs)
    one, other = (tensors.draw(100, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, other)
    assert set(one.tolist()) == set(range(5))
