"""A toolbox without training: well-known filters of OpenCV and scikit-image."""

from collections.abc import Callable
from functools import partial
from typing import Final

import cv2
import numpy as np

from restore_env.toolbox.tool import Tool
from restore_env.toolbox.toolbox import Toolbox
from restore_env.utils.tensors import ByteImage, FloatImage


def classical_toolbox() -> Toolbox:
    """Return nine filters: median, bilateral, non-local means, unsharp mask, total variation and Richardson-Lucy.

    Their strengths suit noise of about 10 to 40 on the 0-255 scale, and blur of about 1 to 2 pixels.

    Example:
        >>> classical_toolbox().names[:3]
        ('median-3', 'bilateral', 'nl-means-mild')
    """
    bytes_tools: dict[str, Callable[[ByteImage], ByteImage]] = {
        "median-3": partial(_median, size=3),
        "bilateral": partial(_bilateral, size=7, sigma_colour=40, sigma_space=3),
        "nl-means-mild": partial(_non_local_means, strength=6),
        "nl-means-strong": partial(_non_local_means, strength=15),
        "unsharp-mild": partial(_unsharp_mask, sigma=1.0, amount=0.5),
        "unsharp-strong": partial(_unsharp_mask, sigma=2.0, amount=1.0),
    }
    float_tools: dict[str, Callable[[FloatImage], FloatImage]] = {
        "tv-mild": partial(_total_variation, weight=0.05),
        "tv-strong": partial(_total_variation, weight=0.12),
        "deblur": _richardson_lucy,
    }
    tools = [Tool.from_function(name, function) for name, function in bytes_tools.items()]
    tools += [Tool.from_function(name, function, dtype="float32") for name, function in float_tools.items()]
    return Toolbox(tools, "classical")


# Functions of the module, because neither lambdas nor functions of OpenCV can be pickled by their names.
def _median(image: ByteImage, size: int) -> ByteImage:
    return np.asarray(cv2.medianBlur(image, size), dtype=np.uint8)


def _bilateral(image: ByteImage, size: int, sigma_colour: float, sigma_space: float) -> ByteImage:
    return np.asarray(cv2.bilateralFilter(image, size, sigma_colour, sigma_space), dtype=np.uint8)


def _non_local_means(image: ByteImage, strength: float) -> ByteImage:
    return np.asarray(cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 5, 15), dtype=np.uint8)


def _unsharp_mask(image: ByteImage, sigma: float, amount: float) -> ByteImage:
    soft = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.addWeighted(image, 1 + amount, soft, -amount, 0), dtype=np.uint8)


# scikit-image's filters import SciPy, which takes longer than PyTorch, so they are imported when they are used.
def _total_variation(image: FloatImage, weight: float) -> FloatImage:
    from skimage.restoration import denoise_tv_chambolle  # noqa: PLC0415

    return np.asarray(denoise_tv_chambolle(image, weight=weight, channel_axis=2), dtype=np.float32)


_BLUR_SIGMA: Final = 1.5
_RADIUS: Final = 5
_MARGIN: Final = 4 * _RADIUS
"""Pixels mirrored around an image. Otherwise the zeros beyond its edges darken it more with each round."""


def _richardson_lucy(image: FloatImage) -> FloatImage:
    """Deblur with ten rounds of Richardson-Lucy and a Gaussian kernel of 1.5 pixels."""
    from skimage.restoration import richardson_lucy  # noqa: PLC0415

    line = cv2.getGaussianKernel(2 * _RADIUS + 1, _BLUR_SIGMA)
    kernel = line @ line.T
    padded = np.pad(image, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="reflect")
    channels = [richardson_lucy(padded[..., channel], kernel, num_iter=10) for channel in range(3)]
    return np.stack(channels, axis=2).astype(np.float32)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
