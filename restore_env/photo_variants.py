"""One clean photo in several sizes and colours."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from restore_env.constants import PATCH_SIZE
from restore_env.distortions import ByteImage

SHRINK_FACTORS: Final = (1.0, 2.0, 3.0, 4.0)
FINE_SHRINK_FACTORS: Final = (1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0)
"""For training tools: photos in more sizes."""

SHRUNK_SIDE: Final = (320, 1080)
"""A photo is shrunk by any of the factors that leaves its shorter side within these bounds, in pixels. The authors
shrank DIV2K by 2, 3 and 4, to shorter sides of about 340 to 700."""

TONE_RANGE: Final = 32
"""Levels of 255 by which black and white points are moved at most."""


def recoloured(window: ByteImage, rng: np.random.Generator) -> ByteImage:
    """Exchange the channels and move the black and the white point of each inwards, by up to `TONE_RANGE` levels."""
    order = rng.permutation(3)
    black, white = rng.uniform(0, TONE_RANGE, 3), 255 - rng.uniform(0, TONE_RANGE, 3)
    return np.rint(black + window[..., order] * ((white - black) / 255)).astype(np.uint8)


def shrink_factors(side: int, patch_size: int = PATCH_SIZE, factors: Sequence[float] = SHRINK_FACTORS) -> list[float]:
    """Those by which a photo whose shorter side has `side` pixels may be shrunk before a patch is cut."""
    smallest, largest = SHRUNK_SIDE
    fitting = [factor for factor in factors if max(smallest, patch_size) <= side // factor <= largest]
    too_large = side // max(factors) > max(largest, patch_size)
    return fitting or [max(factors) if too_large else 1]


def shrink(photo: ByteImage, factor: float) -> ByteImage:
    """Shrink a uint8 (h, w, 3) photo by a factor, averaging the pixels that fall together."""
    if factor == 1:
        return photo
    height, width = photo.shape[:2]
    size = (int(width // factor), int(height // factor))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
