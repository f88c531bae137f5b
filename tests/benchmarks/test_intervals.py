import math
from statistics import stdev

import numpy as np
import pytest

from benchmarks.common.intervals import half_interval, mean_difference, share_interval


def test_with_one_patch_per_photo_the_interval_is_the_textbook_one():
    values = [1.0, 2.5, -0.5, 4.0, 0.0]
    expected = 1.96 * stdev(values) / math.sqrt(len(values))
    assert half_interval(values) == pytest.approx(expected)
    assert half_interval(values, "abcde") == pytest.approx(expected)


def test_copies_of_a_patch_do_not_narrow_the_interval():
    values, photos = [1.0, 2.5, -0.5, 4.0], [0, 1, 2, 3]
    assert half_interval(values * 8, photos * 8) == pytest.approx(half_interval(values))
    assert half_interval(values * 8) < half_interval(values) / 2


def test_the_interval_covers_the_mean_as_often_as_it_says():
    """Patches of a photo are alike here. Treated as independent, they would cover the mean half as often."""
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


def test_a_difference_is_paired():
    mean, half = mean_difference([20.0, 30.0, 25.0], [21.0, 31.5, 25.5], [0, 0, 1])
    assert mean == pytest.approx(1.0)
    assert half == pytest.approx(half_interval([1.0, 1.5, 0.5], [0, 0, 1]))


def test_the_interval_of_a_share_is_that_of_a_ratio_of_means():
    best = [4.0, 5.0, 6.0, 5.0]
    assert share_interval([2.0, 2.5, 3.0, 2.5, 99.0], best, range(5)) == pytest.approx(0)  # always the same share
    scattered = share_interval([1.0, 4.0, 2.0, 4.0], best, range(4))
    assert scattered > 0
    assert share_interval([1.0, 4.0, 2.0, 4.0], best, [0, 0, 1, 1]) != scattered
