import threading
from itertools import islice

import numpy as np
import pytest
import torch

from restore_env import Pairs
from restore_env.pairs import Pair, PatchSampler
from tools.training_data import AHEAD, TrainingBatches, pairs_to_tensors


@pytest.fixture
def source(photos):
    return PatchSampler(photos, patch_size=24, augment=True)


def equal(one, other):
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def test_a_batch_is_pairs_of_patches(source):
    distorted, reference = TrainingBatches(source, 5, seed=0).batch(0)
    for images in (distorted, reference):
        assert images.shape == (5, 3, 24, 24)
        assert images.dtype == torch.float32
        assert 0 <= images.min() < images.max() <= 1
    assert not torch.equal(distorted, reference)


def test_a_batch_depends_on_the_seed_and_its_number_alone(photos, source):
    batches = TrainingBatches(source, 3, seed=1)
    third = batches.batch(3)
    other = TrainingBatches(PatchSampler(photos, patch_size=24, augment=True), 3, seed=1)
    other.batch(0)
    np.random.seed(5)
    assert equal(other.batch(3), third)
    assert not equal(batches.batch(4), third)
    assert not equal(TrainingBatches(source, 3, seed=2).batch(3), third)


def test_batches_go_on_from_any_iteration(source):
    batches = TrainingBatches(source, 2, seed=0)
    for batch, number in zip(islice(batches.since(7), 2 * AHEAD), range(7, 7 + 2 * AHEAD), strict=True):
        assert equal(batch, batches.batch(number))


def test_batches_are_made_ahead_in_a_thread_that_ends_with_them():
    made, enough = [], threading.Event()

    class Source:
        def sample(self, rng):
            made.append(threading.current_thread())
            if len(made) == AHEAD:
                enough.set()
            return Pair(np.zeros((4, 4, 3), dtype=np.uint8), np.zeros((4, 4, 3), dtype=np.uint8))

    batches = TrainingBatches(Source(), 1, seed=0).since(0)
    next(batches)
    assert enough.wait(timeout=10)  # more than was asked for
    assert threading.current_thread() not in made
    batches.close()
    assert not any(thread.is_alive() for thread in made)


def test_a_source_that_fails_says_so():
    class Broken:
        def sample(self, rng):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        next(TrainingBatches(Broken(), 2, seed=0).since(0))


def test_pairs_become_tensors(photos):
    pairs = Pairs(np.stack(photos), np.stack(photos[::-1]))
    distorted, reference = pairs_to_tensors(pairs)
    assert distorted.shape == (3, 3, 96, 128)
    assert np.array_equal((distorted * 255).round().permute(0, 2, 3, 1).numpy(), np.stack(photos))
    assert torch.equal(reference, distorted.flip(0))
