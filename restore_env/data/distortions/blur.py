"""Blur: Gaussian, by motion, and by a lens that is out of focus."""

from dataclasses import dataclass

import cv2
import numpy as np

from restore_env.constants import BLUR_EDGES, BLUR_KERNEL_SIZE, DEFOCUS_EDGES, MOTION_EDGES
from restore_env.data.distortions.base import Distortion, Parameters
from restore_env.utils.kernels import convolve, disk_kernel, motion_kernel
from restore_env.utils.tensors import FloatImage


@dataclass(frozen=True)
class GaussianBlur(Distortion):
    """Blur with a 21x21 Gaussian kernel; the image's edges are replicated.

    The parameter `blur_sigma` is the kernel's standard deviation in pixels.

    Args:
        low: smallest standard deviation, at least 0.
        high: largest standard deviation, at most 50.

    Example:
        >>> image = np.zeros((5, 5, 3), np.uint8)
        >>> image[2, 2] = 255
        >>> blurred, parameters = GaussianBlur(1, 1)(image, np.random.default_rng(0))
        >>> int(blurred[2, 2, 0]), parameters
        (41, {'blur_sigma': 1.0})
    """

    low: float = min(BLUR_EDGES)
    high: float = max(BLUR_EDGES)
    parameter = "blur_sigma"
    edges = BLUR_EDGES
    bounds = (0.0, 50.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Blur an image; see `Distortion.apply`."""
        if value < 0.05:  # the kernel is a single 1, and OpenCV takes 0 for "choose by yourself"
            return image.copy()
        size = (BLUR_KERNEL_SIZE, BLUR_KERNEL_SIZE)
        blurred = cv2.GaussianBlur(image, size, value, sigmaY=value, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred, dtype=np.float32)


@dataclass(frozen=True)
class MotionBlur(Distortion):
    """Blur along a straight line, as a camera or a subject does that moves; edges are mirrored.

    The parameter `motion_length` is the line's length in pixels; 1 is no blur. The line's direction is drawn, too:
    `motion_angle`, in degrees. 0 is horizontal, 45 rises to the right, 90 is vertical.

    Args:
        low: smallest length, at least 1.
        high: largest length, at most 101.
        angles: smallest and largest direction; by default every direction.

    Example:
        >>> image = np.zeros((5, 5, 3), np.uint8)
        >>> image[2, 2] = 255
        >>> blurred, parameters = MotionBlur(3, 3, angles=(90, 90))(image, np.random.default_rng(0))
        >>> blurred[:, 2, 0].tolist(), parameters
        ([0, 85, 85, 85, 0], {'motion_length': 3.0, 'motion_angle': 90.0})
    """

    low: float = min(MOTION_EDGES)
    high: float = max(MOTION_EDGES)
    angles: tuple[float, float] = (0.0, 180.0)
    parameter = "motion_length"
    edges = MOTION_EDGES
    bounds = (1.0, 101.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        first, last = self.angles
        if not -360 <= first <= last <= 360:
            raise ValueError(f"MotionBlur: angles={self.angles!r} is not an interval within [-360, 360]")

    def distort(self, image: FloatImage, rng: np.random.Generator) -> tuple[FloatImage, Parameters]:
        """Draw the length and the direction, and blur an image; see `Distortion.distort`."""
        length, angle = self.draw(rng), float(rng.uniform(*self.angles))
        return convolve(image, motion_kernel(length, angle)), {self.parameter: length, "motion_angle": angle}

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Blur an image in a direction that is drawn; see `Distortion.apply`."""
        return convolve(image, motion_kernel(value, rng.uniform(*self.angles)))


@dataclass(frozen=True)
class DefocusBlur(Distortion):
    """Blur with a disk, as a lens does that is out of focus; edges are mirrored.

    The parameter `defocus_radius` is the disk's radius in pixels.

    Args:
        low: smallest radius, at least 0.
        high: largest radius, at most 50.

    Example:
        >>> image = np.zeros((5, 5, 3), np.uint8)
        >>> image[2, 2] = 255
        >>> blurred, parameters = DefocusBlur(1, 1)(image, np.random.default_rng(0))
        >>> blurred[2, :, 0].tolist(), parameters
        ([0, 37, 82, 37, 0], {'defocus_radius': 1.0})
    """

    low: float = min(DEFOCUS_EDGES)
    high: float = max(DEFOCUS_EDGES)
    parameter = "defocus_radius"
    edges = DEFOCUS_EDGES
    bounds = (0.0, 50.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Blur an image; see `Distortion.apply`."""
        return convolve(image, disk_kernel(value))
