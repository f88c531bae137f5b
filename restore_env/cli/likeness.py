"""How like its reference a photo is."""

from collections.abc import Sequence
from math import log10
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from restore_env.constants import MSE_FLOOR
from restore_env.data.image_io import AnyImage, as_rgb_bytes
from restore_env.restoration.metrics import SSIM_RADIUS, mse, ssim
from restore_env.utils.tensors import images_to_tensor

WINDOW: Final = 2 * SSIM_RADIUS + 1
"""Height and width in pixels of the window of SSIM."""

ROWS: Final = 256
"""Rows of a photo that are compared with the reference at once."""


class Likeness(NamedTuple):
    """How like its reference a photo is.

    Attributes:
        psnr: in dB.
        ssim: at most 1.
    """

    psnr: float
    ssim: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.4f}"


def likeness_of(photos: Sequence[AnyImage], reference: AnyImage | None) -> list[Likeness]:
    """Return how like a reference photos are; nothing if there is none.

    Args:
        photos: photos of one size.
        reference: how they should be.

    Raises:
        ValueError: if the reference has another size, or is smaller than the window of SSIM.

    Example:
        >>> photo = np.full((64, 64, 3), 100, np.uint8)
        >>> print(likeness_of([photo], photo + np.uint8(10))[0])
        PSNR 28.13 dB, SSIM 0.9955
    """
    if reference is None:
        return []
    check_reference(photos[0], reference)
    other = as_rgb_bytes(reference)
    return [_likeness(as_rgb_bytes(photo), other) for photo in photos]


def check_reference(photo: AnyImage, reference: AnyImage | None) -> None:
    """Raise a `ValueError` if a photo cannot be compared with a reference."""
    if reference is None:
        return
    height, width = reference.shape[:2]
    if photo.shape[:2] != (height, width):
        size = f"{photo.shape[1]}x{photo.shape[0]}"
        raise ValueError(f"the reference has {width}x{height} pixels, and the photo {size}")
    if min(height, width) < WINDOW:
        raise ValueError(f"a reference of {width}x{height} pixels; SSIM needs {WINDOW}x{WINDOW}")


def _likeness(photo: NDArray[np.uint8], reference: NDArray[np.uint8]) -> Likeness:
    """Compare a photo with its reference, some rows at once, since a photo may be large."""
    squares, similar, rows = 0.0, 0.0, len(photo) - WINDOW + 1
    for first in range(0, rows, ROWS):
        one, other = (images_to_tensor([each[first : first + ROWS + WINDOW - 1]]) for each in (photo, reference))
        similar += float(ssim(one, other)) * (one.shape[2] - WINDOW + 1)  # a mean over the places of the window
    for first in range(0, len(photo), ROWS):
        one, other = (images_to_tensor([each[first : first + ROWS]]) for each in (photo, reference))
        squares += float(mse(one, other)) * one.shape[2]
    return Likeness(-10 * log10(squares / len(photo) + MSE_FLOOR), similar / rows)
