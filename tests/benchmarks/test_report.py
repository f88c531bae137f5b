import math
from statistics import stdev

import numpy as np
import pytest

from benchmarks.common.report import half_interval, mean_rise


def test_of_patches_of_their_own_photos_it_is_the_textbook_interval():
    values = [1.0, 2.5, -0.5, 4.0, 0.0]
    expected = 1.96 * stdev(values) / math.sqrt(len(values))
    assert half_interval(values) == pytest.approx(expected)
    assert half_interval(values, "abcde") == pytest.approx(expected)


def test_copies_of_a_patch_tell_nothing_new():
    values, photos = [1.0, 2.5, -0.5, 4.0], [0, 1, 2, 3]
    assert half_interval(values * 8, photos * 8) == pytest.approx(half_interval(values))
    assert half_interval(values * 8) < half_interval(values) / 2


def test_it_covers_the_mean_as_often_as_it_says():
    """Where patches of a photo are alike; patches taken for independent would cover it half as often."""
    rng = np.random.default_rng(0)
    photos = np.repeat(np.arange(40), 12)
    covered = {"clustered": 0, "independent": 0}
    for _ in range(400):
        values = (rng.normal(size=40)[photos] + 0.5 * rng.normal(size=480)).tolist()
        covered["clustered"] += abs(np.mean(values)) <= half_interval(values, photos.tolist())
        covered["independent"] += abs(np.mean(values)) <= half_interval(values)
    assert 0.91 <= covered["clustered"] / 400 <= 0.98
    assert covered["independent"] / 400 < 0.6


def test_one_photo_has_no_interval():
    assert math.isnan(half_interval([1.0, 2.0], ["a", "a"]))
    assert math.isnan(half_interval([1.0]))


def test_a_rise_is_paired():
    rise, half = mean_rise([20.0, 30.0, 25.0], [21.0, 31.5, 25.5], [0, 0, 1])
    assert rise == pytest.approx(1.0)
    assert half == pytest.approx(half_interval([1.0, 1.5, 0.5], [0, 0, 1]))
