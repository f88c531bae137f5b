"""Noise: Gaussian, Poisson, and salt and pepper."""

from dataclasses import dataclass

import numpy as np

from restore_env.constants import NOISE_EDGES, SALT_AND_PEPPER_EDGES
from restore_env.data.distortions.base import Distortion
from restore_env.utils.tensors import FloatImage


@dataclass(frozen=True)
class GaussianNoise(Distortion):
    """Add white Gaussian noise and clip to [0, 255].

    The parameter `noise_sigma` is the noise's standard deviation on the 0-255 scale.

    Args:
        low: smallest standard deviation, at least 0.
        high: largest standard deviation, at most 255.

    Example:
        >>> image = np.full((64, 64, 3), 128, np.uint8)
        >>> noisy, parameters = GaussianNoise(20, 20)(image, np.random.default_rng(0))
        >>> round(float(noisy.std())), parameters
        (20, {'noise_sigma': 20.0})
    """

    low: float = min(NOISE_EDGES)
    high: float = max(NOISE_EDGES)
    parameter = "noise_sigma"
    edges = NOISE_EDGES
    bounds = (0.0, 255.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Add noise to an image; see `Distortion.apply`."""
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        return np.clip(image + noise * np.float32(value / 255), 0, 1)


@dataclass(frozen=True)
class PoissonNoise(Distortion):
    """Add the noise of few photons, which grows with the square root of the brightness, and clip to [0, 255].

    The parameter `poisson_sigma` is the noise's standard deviation where the image is white, on the 0-255 scale. At a
    quarter of that brightness the noise is half as strong. White is `(255 / poisson_sigma) ** 2` photons.

    Args:
        low: smallest standard deviation, at least 0.
        high: largest standard deviation, at most 255.

    Example:
        >>> image = np.full((64, 64, 3), 64, np.uint8)
        >>> noisy, parameters = PoissonNoise(20, 20)(image, np.random.default_rng(0))
        >>> round(float(noisy.std())), parameters
        (10, {'poisson_sigma': 20.0})
    """

    low: float = min(NOISE_EDGES)
    high: float = max(NOISE_EDGES)
    parameter = "poisson_sigma"
    edges = NOISE_EDGES
    bounds = (0.0, 255.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Add noise to an image; see `Distortion.apply`."""
        white = (255 / max(value, 1e-3)) ** 2  # photons; the noise of more is nothing in 8 bits
        counted = rng.poisson(np.maximum(image, 0) * white)
        return np.asarray(np.minimum(counted / white, 1), dtype=np.float32)


@dataclass(frozen=True)
class SaltAndPepperNoise(Distortion):
    """Make some pixels white and as many black, as dead sensor cells and faulty transmissions do.

    The parameter `salt_and_pepper` is the fraction of the pixels that are replaced. All three channels of a pixel are.

    Args:
        low: smallest fraction, at least 0.
        high: largest fraction, at most 1.

    Example:
        >>> image = np.full((64, 64, 3), 128, np.uint8)
        >>> noisy, parameters = SaltAndPepperNoise(0.1, 0.1)(image, np.random.default_rng(0))
        >>> [round(float((noisy == value).mean()), 2) for value in (0, 128, 255)], parameters
        ([0.05, 0.9, 0.05], {'salt_and_pepper': 0.1})
    """

    low: float = min(SALT_AND_PEPPER_EDGES)
    high: float = max(SALT_AND_PEPPER_EDGES)
    parameter = "salt_and_pepper"
    edges = SALT_AND_PEPPER_EDGES
    bounds = (0.0, 1.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Replace pixels of an image; see `Distortion.apply`."""
        drawn = rng.random(image.shape[:2])
        result = image.copy()
        result[drawn < value / 2] = 0
        result[drawn >= 1 - value / 2] = 1
        return result
