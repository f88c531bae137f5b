"""Convolutions that blur: distortions apply them, and tools invert them."""

from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from restore_env.utils.tensors import FloatImage

_SUBPIXELS: Final = 9
"""Points along a pixel's side at which a disk is sampled; it is odd, so that one point lies in the middle."""

_POINTS: Final = 64
"""Points of a line at which it is sampled, for each pixel of its length."""


def disk_kernel(radius: float) -> NDArray[np.float32]:
    """Return the blur of a lens that is out of focus: a disk. A pixel weighs as much of the disk as it covers.

    Args:
        radius: radius of the disk in pixels, at least 0.

    Returns:
        float32 (side, side), where side is `2 * ceil(radius) + 1`; the values add up to 1.

    Example:
        >>> (100 * disk_kernel(1.0)).round().tolist()
        [[2.0, 15.0, 2.0], [15.0, 32.0, 15.0], [2.0, 15.0, 2.0]]
    """
    side = 2 * ceil(radius) + 1
    line = (np.arange(side * _SUBPIXELS) - (side * _SUBPIXELS - 1) / 2) / _SUBPIXELS
    inside = line[:, None] ** 2 + line**2 <= radius**2
    # (side * 9, side * 9) -> (side, 9, side, 9) -> (side, side)
    return _normalized(inside.reshape(side, _SUBPIXELS, side, _SUBPIXELS).mean((1, 3)))


def motion_kernel(length: float, angle: float) -> NDArray[np.float32]:
    """Return the blur of a straight motion: a line. A pixel weighs as much of the line as it covers.

    Args:
        length: length of the line in pixels; up to 1 there is no blur.
        angle: direction of the line in degrees: 0 is horizontal, 45 rises to the right, 90 is vertical.

    Returns:
        float32 (side, side), where side is the smallest odd number that is at least `length`; the values add up to 1.

    Example:
        >>> motion_kernel(2, 0).tolist()
        [[0.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]
    """
    side = 2 * ceil((length - 1) / 2) + 1
    n = _POINTS * ceil(length)
    points = ((np.arange(n) + 0.5) / n - 0.5) * length
    edges = np.arange(side + 1) - side / 2
    turn = np.deg2rad(angle)
    covered, _, _ = np.histogram2d(-points * np.sin(turn), points * np.cos(turn), bins=(edges, edges))
    return _normalized(covered)


def convolve(image: FloatImage, kernel: NDArray[np.float32]) -> FloatImage:
    """Return an image convolved with a kernel that stays the same when it is turned by 180 degrees.

    Args:
        image: float32 (h, w, 3); its edges are mirrored.
        kernel: float32 (side, side), where side is odd.

    Returns:
        A new image, float32 (h, w, 3).

    Example:
        >>> image = np.eye(3, dtype=np.float32)[..., None].repeat(3, axis=2)
        >>> convolve(image, motion_kernel(3, 135))[1, 1].tolist()
        [1.0, 1.0, 1.0]
    """
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)


def _normalized(kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a kernel whose values add up to 1."""
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
