"""What files and web sites do to photos: compression with loss, and fewer pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from restore_env.constants import JPEG_EDGES, RESAMPLING_EDGES, WEBP_EDGES
from restore_env.data.distortions.base import Distortion
from restore_env.utils.tensors import FloatImage, to_bytes, to_float

LARGEST_WEBP: Final = 16383
"""Largest height and width in pixels that a WebP file can have."""

MARGIN: Final = 16
"""Pixels mirrored around an image that is shrunk: what the enlarged pixels at its edges depend on, at least."""


class _Compression(Distortion):
    """Base class of compression with a quality, which is an integer."""

    bounds = (1.0, 100.0)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw the quality, rounded to an integer."""
        return float(round(super().draw(rng)))


@dataclass(frozen=True)
class JPEGCompression(_Compression):
    """Write as JPEG and read again, with libjpeg and chroma 4:2:0.

    The parameter `jpeg_quality` is libjpeg's quality, an integer.

    Args:
        low: smallest quality, at least 1.
        high: largest quality, at most 100, which is the best.

    Example:
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> compressed, parameters = JPEGCompression(10, 10)(image, np.random.default_rng(0))
        >>> compressed.shape, parameters
        ((16, 16, 3), {'jpeg_quality': 10.0})
    """

    low: float = min(JPEG_EDGES)
    high: float = max(JPEG_EDGES)
    parameter = "jpeg_quality"
    edges = JPEG_EDGES

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Compress an image; see `Distortion.apply`."""
        options = [cv2.IMWRITE_JPEG_QUALITY, round(value)]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        return _written_and_read(image, ".jpg", options)


@dataclass(frozen=True)
class WebPCompression(_Compression):
    """Write as WebP with loss and read again, with libwebp.

    The parameter `webp_quality` is libwebp's quality, an integer. Blocks are predicted from their neighbours, so what a
    pixel becomes depends on more of the image than with JPEG.

    Args:
        low: smallest quality, at least 1.
        high: largest quality, at most 100, which is the best.

    Raises:
        ValueError: if the image to distort is larger than 16383 pixels.

    Example:
        >>> image = np.full((16, 16, 3), 128, np.uint8)
        >>> compressed, parameters = WebPCompression(10, 10)(image, np.random.default_rng(0))
        >>> compressed.shape, parameters
        ((16, 16, 3), {'webp_quality': 10.0})
    """

    low: float = min(WEBP_EDGES)
    high: float = max(WEBP_EDGES)
    parameter = "webp_quality"
    edges = WEBP_EDGES

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Compress an image; see `Distortion.apply`."""
        height, width = image.shape[:2]
        if max(height, width) > LARGEST_WEBP:
            raise ValueError(f"an image of {width}x{height} pixels is too large for WebP, which takes {LARGEST_WEBP}")
        return _written_and_read(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, round(value)])


@dataclass(frozen=True)
class Resampling(Distortion):
    """Shrink by a factor, each pixel to the mean of those it covers, and enlarge again with bicubic interpolation.

    The parameter `resampling_factor` is the factor; 1 changes nothing. Edges are mirrored, and values clipped.

    Args:
        low: smallest factor, at least 1.
        high: largest factor, at most 8.

    Example:
        >>> image = np.zeros((8, 8, 3), np.uint8)
        >>> image[:, 4:] = 200
        >>> soft, parameters = Resampling(2, 2)(image, np.random.default_rng(0))
        >>> soft[0, :, 0].tolist(), parameters
        ([0, 0, 0, 45, 155, 221, 207, 204], {'resampling_factor': 2.0})
    """

    low: float = min(RESAMPLING_EDGES)
    high: float = max(RESAMPLING_EDGES)
    parameter = "resampling_factor"
    edges = RESAMPLING_EDGES
    bounds = (1.0, 8.0)

    def apply(self, image: FloatImage, value: float, rng: np.random.Generator) -> FloatImage:
        """Shrink and enlarge an image; see `Distortion.apply`."""
        padded = cv2.copyMakeBorder(image, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT_101)
        height, width = padded.shape[:2]
        small = cv2.resize(padded, (round(width / value), round(height / value)), interpolation=cv2.INTER_AREA)
        enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(np.asarray(enlarged[MARGIN:-MARGIN, MARGIN:-MARGIN], dtype=np.float32), 0, 1)


def _written_and_read(image: FloatImage, extension: str, options: Sequence[int]) -> FloatImage:
    """Round an image to bytes, write it as a file in memory, and read the file."""
    _, data = cv2.imencode(extension, to_bytes(image)[..., ::-1], options)
    return to_float(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])
