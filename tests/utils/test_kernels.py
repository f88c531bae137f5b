"""The kernels of blur: they add up to 1, lie in the middle, and are as wide as they say."""

import numpy as np
import pytest

from restore_env.utils.kernels import disk_kernel, motion_kernel

KERNELS = [
    *(disk_kernel(radius) for radius in (0, 0.3, 1, 2.5, 10)),
    *(motion_kernel(length, angle) for length in (1, 2, 3.3, 9, 21) for angle in (0, 30, 45, 90, 135, 179)),
]


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_keeps_the_brightness_and_shifts_nothing(kernel):
    side = len(kernel)
    assert kernel.shape == (side, side) and side % 2 == 1 and kernel.dtype == np.float32
    assert kernel.min() >= 0 and kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=0.01)
    offsets = np.arange(side) - side // 2
    assert abs((kernel * offsets).sum()) < 0.02 and abs((kernel * offsets[:, None]).sum()) < 0.02


@pytest.mark.parametrize("radius", [1.5, 4, 10])
def test_a_disk_spreads_as_a_disk_does(radius):
    kernel = disk_kernel(radius)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    # The variance of a disk along a line is a quarter of its squared radius; that of a pixel is 1/12.
    assert (kernel * offsets**2).sum() == pytest.approx(radius**2 / 4, abs=0.15)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)


@pytest.mark.parametrize("length", [3, 8.5, 21])
@pytest.mark.parametrize("angle", [0, 22.5, 45, 90, 150])
def test_a_line_spreads_along_its_direction_only(length, angle):
    kernel = motion_kernel(length, angle)
    columns = np.arange(len(kernel)) - len(kernel) // 2
    rows = -columns[:, None]  # upwards, as angles are counted
    along = columns * np.cos(np.deg2rad(angle)) + rows * np.sin(np.deg2rad(angle))
    across = -columns * np.sin(np.deg2rad(angle)) + rows * np.cos(np.deg2rad(angle))
    # The variance of a line is a twelfth of its squared length; pixels that it covers in part add to it.
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, abs=0.35)
    assert (kernel * across**2).sum() < 0.15


@pytest.mark.parametrize(("length", "side"), [(1, 1), (1.5, 3), (3, 3), (3.5, 5), (21, 21)])
def test_a_line_fits_the_smallest_odd_side(length, side):
    assert motion_kernel(length, 10).shape == (side, side)
