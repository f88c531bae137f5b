"""The pixels of a photo while it is restored: any dtype and channels outside, blocks of floats inside."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from restore_env.data.image_io import AnyImage
from restore_env.restoration.blocks import Block, Stretch

ROWS: Final = 64
"""Rows of a block that are converted at once."""


class Canvas:
    """A photo of which blocks are read as tensors, and the photos after each step, of which blocks are written.

    Args:
        image: uint8 or uint16; (h, w) grey, (h, w, 1) grey, (h, w, 2) grey and alpha, (h, w, 3) RGB, or (h, w, 4) RGB
            and alpha. Alpha does not change.
        record: whether the photos after all steps are kept, or the last alone.

    Attributes:
        images: the photos that are kept; before the first block is written, there is none.
    """

    def __init__(self, image: AnyImage, record: bool = False) -> None:
        self.image, self.record = image, record
        self.images: list[AnyImage] = []

    def read(self, block: Block) -> Tensor:
        """Return what a block sees, float32 (1, 3, h, w) in [0, 1]; a small photo is extended by its reflection."""
        height, width = self.image.shape[:2]
        rows, columns = _reflected(block.rows, height), _reflected(block.columns, width)
        seen = self.image[rows[:, None], columns]  # (h, w) or (h, w, channels)
        if seen.ndim == 2 or seen.shape[2] < 3:
            grey = seen if seen.ndim == 2 else seen[..., 0]
            seen = np.broadcast_to(grey[..., None], (*grey.shape, 3))  # (h, w) -> (h, w, 3)
        floats = np.divide(seen[..., :3], np.iinfo(seen.dtype).max, dtype=np.float32)
        return torch.from_numpy(floats).permute(2, 0, 1).unsqueeze(0)  # (h, w, 3) -> (3, h, w) -> (1, 3, h, w)

    def write(self, block: Block, steps: list[Tensor]) -> None:
        """Write what a block fills.

        Args:
            block: the block.
            steps: float32 (1, 3, h, w), what it sees after each step; with `record` off, only the last counts.
        """
        steps = steps if self.record else steps[-1:]
        while len(self.images) < len(steps):
            self.images.append((self.images[-1] if self.images else self.image).copy())
        for number, image in enumerate(self.images):
            self._write(image, block, steps[min(number, len(steps) - 1)])

    def preview(self, block: Block, seen: Tensor) -> AnyImage:
        """Return a copy of the photo as it stands, with what a block sees now, float32 (1, 3, h, w)."""
        image = (self.images[-1] if self.images else self.image).copy()
        self._write(image, block, seen)
        return image

    def _write(self, image: AnyImage, block: Block, seen: Tensor) -> None:
        """Write what a block fills into one photo."""
        place = image[block.rows.own, block.columns.own]  # a view; a small photo is smaller than the patch it fills
        height, width = place.shape[:2]
        inner = seen[0, :, block.rows.inner, block.columns.inner][:, :height, :width]
        grey = place.ndim == 2 or place.shape[2] < 3
        for first in range(0, height, ROWS):
            rows = place[first : first + ROWS]
            colour = inner[:, first : first + ROWS].permute(1, 2, 0).cpu().numpy()  # (3, h, w) -> (h, w, 3)
            colour = colour.mean(axis=2, keepdims=True) if grey else colour
            rounded = np.rint(np.clip(colour, 0, 1) * np.iinfo(image.dtype).max)
            if place.ndim == 2:
                rows[...] = rounded[..., 0]
            else:
                rows[..., : rounded.shape[2]] = rounded


def _reflected(stretch: Stretch, side: int) -> NDArray[np.int64]:
    """Return the rows or columns of a photo that a stretch sees; behind the last one they are its reflection."""
    places = np.arange(stretch.begin, stretch.begin + stretch.axis.side) % (2 * side)
    return np.minimum(places, 2 * side - 1 - places)
